"""The accumulators: one bank per lane, a word of each at (delay slot, neuron div lanes).

Deliver adds a synapse word per clock, Update takes and clears one neuron per clock. There is no
forwarding: an accumulator is not read again within `accumulate_latency` clocks (`cycles.row_gap`).
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.memory_map import MemoryMap, Region, sparse_entry
from .deliver import struct
from .memories import HostAccess, RegionMemory

CLOCKS = 3  # from the read of a synapse word to the reading accumulator's data


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
    take, neuron, now: take and clear the sum of a neuron for slot `now`; `current` three clocks
    later. No `take` within `accumulate_latency` + 2 clocks of an `add`, and none of the other kind.
    """

    def __init__(self, map: MemoryMap) -> None:
        self.map = map
        chip = map.chip
        super().__init__(
            {
                "add": In(1),
                "sparse": In(1),
                "word": In(map.word_bits),
                "slot": In(map.slot_bits),
                "synapses": In(map.regions["synapses"].bits),
                "take": In(1),
                "neuron": In(map.neuron_bits),
                "now": In(map.slot_bits),
                "current": Out(signed(chip.accumulator_bits)),
                "host": In(
                    HostAccess(
                        map.slot_bits + map.word_bits + map.lane_bits,
                        map.regions["accumulators"].unit_bits,
                    )
                ),
                "host_data": Out(16),
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

        # Clock 2: per lane its weight and whether it is on, per sparse entry its place.
        weight = [Signal(chip.weight_bits, name=f"weight{n}", reset_less=True)
                  for n in range(lanes)]  # fmt: skip
        on = Signal(lanes)
        place = [Signal(place_bits, name=f"place{j}", reset_less=True) for j in range(groups)]
        clear = Signal(reset_less=True)
        taken = self.neuron[map.lane_bits :]
        m.d.sync += clear.eq(self.take)
        entry_layout = struct(sparse_entry(chip))
        ratio = (lanes // groups).bit_length() - 1
        for j in range(groups):
            raw = self.synapses[j * entry_layout.size : (j + 1) * entry_layout.size]
            entry = data.View(entry_layout, raw)
            entry_slot = slot
            if map.slot_bits:
                entry_slot = (slot + entry.delay)[: map.slot_bits]
            sparse_place = _place(map, entry.target[ratio:], entry_slot)
            m.d.sync += place[j].eq(
                Mux(
                    self.take,
                    _place(map, taken, self.now),
                    Mux(sparse, sparse_place, _place(map, word, slot)),
                )
            )
            for group in range(lanes // groups):
                lane = group * groups + j
                here = entry.target[:ratio] == group
                m.d.sync += [
                    weight[lane].eq(
                        Mux(sparse, entry.weight, self.synapses.word_select(
                            lane, chip.weight_bits))
                    ),
                    on[lane].eq(
                        Mux(
                            self.take,
                            self.neuron[: map.lane_bits] == lane,
                            adding & (~sparse | (here & (entry.weight != 0))),
                        )
                    ),
                ]  # fmt: skip

        # Clock 3: the sums are there; write back, `accumulate_latency` - 2 clocks later.
        place3 = [Signal.like(p, name=f"{p.name}_there") for p in place]
        on3, clear3 = Signal(lanes), Signal(reset_less=True)
        m.d.sync += [
            on3.eq(on), clear3.eq(clear), *(b.eq(a) for a, b in zip(place, place3, strict=True)),
        ]  # fmt: skip
        steps = chip.accumulate_latency - 2
        write = later(m, on3, steps, "write")
        write_place = [later(m, p, steps, f"write_place{j}") for j, p in enumerate(place3)]
        read, there = [], []
        bank_region = Region(
            "bank", 1 << place_bits, chip.accumulator_bits
        )
        for lane in range(lanes):
            bank = RegionMemory(bank_region)
            m.submodules[f"bank{lane}"] = bank
            weight3 = Signal(chip.weight_bits, name=f"weight{lane}_there", reset_less=True)
            m.d.sync += weight3.eq(weight[lane])
            total = Signal(chip.accumulator_bits, name=f"sum{lane}")
            m.d.comb += total.eq(
                Mux(clear3, 0, bank.data.as_signed() + weight3.as_signed())
            )
            m.d.comb += [
                bank.address.eq(place[lane % groups]),
                bank.write.eq(write[lane]),
                bank.write_address.eq(write_place[lane % groups]),
                bank.write_data.eq(later(m, total, steps, f"write_sum{lane}")),
                bank.host.active.eq(self.host.active),
                bank.host.entry.eq(self.host.entry[map.lane_bits :]),
                bank.host.unit.eq(self.host.unit),
                bank.host.data.eq(self.host.data),
                bank.host.write.eq(
                    self.host.write & (self.host.entry[: map.lane_bits] == lane)
                ),
                self.retired.write[lane].eq(bank.write),
                self.retired.place.word_select(lane, place_bits).eq(bank.write_address),
                self.retired.sum.word_select(lane, chip.accumulator_bits).eq(bank.write_data),
            ]
            read.append(bank.data)
            there.append(bank.host_data)

        lane3 = later(m, self.neuron[: map.lane_bits], 2, "lane")
        m.d.sync += self.current.eq(Array(read)[lane3] if lanes > 1 else read[0])
        host_lane = later(m, self.host.entry[: map.lane_bits], 1, "host_lane")
        m.d.comb += self.host_data.eq(Array(there)[host_lane] if lanes > 1 else there[0])
        return m


def _place(map: MemoryMap, word: Value, slot: Value) -> Value:
    return Cat(Cat(word, *[0] * map.word_bits)[: map.word_bits], slot)


def later(m: Module, value: Value, clocks: int, name: str) -> Value:
    """`value` some clocks later."""
    for n in range(clocks):
        after = Signal(len(value), name=f"{name}_{n + 1}", reset_less=True)
        m.d.sync += after.eq(value)
        value = after
    return value
