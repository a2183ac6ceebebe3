"""The accumulators: one bank per lane, a word of each at (delay slot, neuron div lanes).

Deliver adds a synapse word per clock, Update takes and clears one neuron per clock. There is no
forwarding: an accumulator is not read again within `accumulate_latency` clocks (`cycles.row_gap`).
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..compiler.ir.cores import entry_stride
from ..compiler.ir.cycles import take_clocks
from ..compiler.ir.memory_map import MemoryMap, sparse_entry
from ..compiler.ir.region import UNIT
from .deliver import struct
from .memories import later


class Retired(wiring.Signature):
    """What the accumulators write in a clock: per lane whether, where, and the sum."""

    def __init__(self, map: MemoryMap) -> None:
        lanes, place = map.chip.lanes, map.slot_bits + map.word_bits
        super().__init__(
            {
                "write": Out(lanes),
                "place": Out(lanes * place),
                "sum": Out(lanes * map.chip.accumulator_bits),
            }
        )


class Accumulators(wiring.Component):
    """Banks of accumulators with an adder each.

    add, sparse, word, slot: a synapse word is being read (its data is `synapses`, one clock later).
    take, neuron, now: read the sum of a neuron in slot `now`, `current` `take_clocks` later; with
    `store` its unit `unit` (all, if `whole`) is written back, as 0 with `clear`, else with the bits
    of `given` set, which is to be 0 but where the host writes. No `take` within
    `accumulate_latency` + 2 clocks of an `add`, and none of the other kind.
    """

    def __init__(self, map: MemoryMap) -> None:
        self.map = map
        chip = map.chip
        self.units = map.regions["accumulators"].units
        super().__init__(
            {
                "add": In(1),
                "sparse": In(1),
                "word": In(map.word_bits),
                "slot": In(map.slot_bits),
                "synapses": In(map.regions["synapses"].bits),
                "take": In(1),
                "store": In(1),
                "clear": In(1),
                "given": In(UNIT),
                "whole": In(1),
                "unit": In(max(1, map.regions["accumulators"].unit_bits)),
                "neuron": In(map.word_bits + map.lane_bits),
                "now": In(map.slot_bits),
                "current": Out(signed(chip.accumulator_bits)),
                "retired": Out(Retired(map)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Decoder, banks and adders."""
        m = Module()
        map, chip = self.map, self.map.chip
        lanes, groups = chip.lanes, chip.sparse_lanes
        place_bits = map.slot_bits + map.word_bits

        # Clock 1: the synapse word is there.
        adding, sparse = Signal(), Signal(reset_less=True)
        word = Signal(map.word_bits, reset_less=True)
        slot = Signal(map.slot_bits, reset_less=True)
        m.d.sync += [
            adding.eq(self.add), sparse.eq(self.sparse), word.eq(self.word), slot.eq(self.slot),
        ]  # fmt: skip

        # Still there: per sparse entry its place, which is read; in clock 2 per lane its weight and
        # whether it is on.
        weight = [Signal(chip.weight_bits, name=f"weight{n}", reset_less=True)
                  for n in range(lanes)]  # fmt: skip
        on = Signal(lanes)
        place = [Signal(place_bits, name=f"place{j}") for j in range(groups)]
        clear = Signal(reset_less=True)
        taken = self.neuron[map.lane_bits :]
        m.d.sync += clear.eq(self.clear)
        entry_layout = struct(sparse_entry(chip))
        ratio = (lanes // groups).bit_length() - 1
        for j in range(groups):
            entry = data.View(
                entry_layout, self.synapses[j * entry_stride(chip) :][: entry_layout.size]
            )
            entry_slot = slot
            if map.slot_bits:
                entry_slot = (slot + entry.delay)[: map.slot_bits]
            sparse_place = _place(map, entry.target[ratio:], entry_slot)
            # What comes from the memory comes late: it is chosen last.
            other = Mux(self.take, _place(map, taken, self.now), _place(map, word, slot))
            m.d.comb += place[j].eq(Mux(sparse & ~self.take, sparse_place, other))
            for group in range(lanes // groups):
                lane = group * groups + j
                here = entry.target[:ratio] == group
                dense_weight = self.synapses.word_select(lane, chip.weight_bits)
                m.d.sync += [
                    weight[lane].eq(Mux(self.take, 0, Mux(sparse, entry.weight, dense_weight))),
                    on[lane].eq(
                        Mux(
                            self.take,
                            self.store & (self.neuron[: map.lane_bits] == lane),
                            adding & (~sparse | here),
                        )
                    ),
                ]  # fmt: skip

        # Clock 2: the sums are there; write back, `accumulate_latency` - 2 clocks later: where
        # that is two or more, one of them lies before the adder, the rest behind it. A sparse entry
        # without a weight is none, and has no place of its own.
        steps = chip.accumulate_latency - 2
        before = take_clocks(chip) - 2
        entries = Signal(reset_less=True)
        m.d.sync += entries.eq(sparse & ~self.take)
        live = Cat(~entries | (weight[n % groups] != 0) for n in range(lanes))
        write = later(m, on & live, steps, "write")
        write_place = [later(m, p, 1 + steps, f"write_place{j}") for j, p in enumerate(place)]
        chosen = Signal(self.units, reset_less=True)
        m.d.sync += chosen.eq(Mux(self.whole, -1, 1 << self.unit))
        chosen = later(m, chosen, steps, "chosen")
        clear = later(m, clear, before, "cleared")
        given = self.given.replicate(self.units)[: chip.accumulator_bits]
        read = []
        for lane in range(lanes):
            there = Signal(signed(chip.accumulator_bits), name=f"there{lane}")
            held = later(m, there, before, f"held{lane}").as_signed()
            added = later(m, weight[lane], before, f"added{lane}").as_signed()
            total = Signal(chip.accumulator_bits, name=f"sum{lane}")
            m.d.comb += total.eq(Mux(clear, 0, (held + added)[: len(total)] | given))
            written = later(m, total, steps - before, f"write_sum{lane}")
            width, granularity = chip.accumulator_bits, None
            if self.units > 1:  # whole units, of which each can be written
                width, granularity = self.units * UNIT, UNIT
            m.submodules[f"bank{lane}"] = bank = Memory(
                shape=width, depth=1 << place_bits, init=[]
            )
            read_port = bank.read_port()
            write_port = bank.write_port(granularity=granularity)
            m.d.comb += [
                read_port.addr.eq(place[lane % groups]),
                there.eq(read_port.data),
                write_port.addr.eq(write_place[lane % groups]),
                write_port.data.eq(written),
                write_port.en.eq(Mux(write[lane], chosen, 0)),
                self.retired.write[lane].eq(write[lane]),
                self.retired.place.word_select(lane, place_bits).eq(write_place[lane % groups]),
                self.retired.sum.word_select(lane, chip.accumulator_bits).eq(written),
            ]
            read.append(held)

        lane = later(m, self.neuron[: map.lane_bits], 1 + before, "lane")
        m.d.sync += self.current.eq(Array(read)[lane] if lanes > 1 else read[0])
        return m


def _place(map: MemoryMap, word: Value, slot: Value) -> Value:
    return Cat(Cat(word, *[0] * map.word_bits)[: map.word_bits], slot)
