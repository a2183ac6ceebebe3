"""Harnesses: what the blocks of a core claim, on small chips with any contents. See `proof`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from amaranth.hdl import (
    Array,
    Assert,
    Assume,
    Cat,
    Const,
    Cover,
    Module,
    Mux,
    Signal,
    Value,
    signed,
)
from amaranth.hdl._ast import AnyConst
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from proof import Cells, any_of
from spikefab import rtl
from spikefab.compiler.ir.chip import ChipSpec
from spikefab.compiler.ir.cores import entry_stride
from spikefab.compiler.ir.cycles import (
    PENDING_WORD,
    deliver_constant,
    emit_constant,
    row_gap,
    take_clocks,
)
from spikefab.compiler.ir.language import bounds, saturate
from spikefab.compiler.ir.memory_map import MemoryMap, sparse_entry
from spikefab.compiler.ir.neuron import POTENTIAL, Update, neuron_model
from spikefab.rtl import accumulators as accumulators_module
from spikefab.rtl import deliver as deliver_module
from spikefab.rtl import emit as emit_module
from spikefab.rtl.deliver import struct


@neuron_model(state={"v": POTENTIAL}, parameters={"threshold": POTENTIAL})
def counter(s: Any, p: Any, current: Any) -> Update:
    """Adds its input, and spikes while the sum is above a threshold."""
    v = saturate(s.v + current, s.v.bits)
    return Update(spike=v > p.threshold, v=v)


def small_map(**fields: Any) -> MemoryMap:
    """The map of a small chip that carries the model above."""
    chosen: dict[str, Any] = {
        "cores": 1, "neurons": 4, "axons": 20, "synapse_words": 64, "routes": 4, "lanes": 2,
        "weight_bits": 4, "accumulator_bits": 8, "state_bits": 8, "delay_slots": 2,
        "parameter_sets": 2, "populations": 2,
    }  # fmt: skip
    spec = ChipSpec("small", **(chosen | fields))
    model = counter.datapath(spec.state_bits, spec.accumulator_bits, {})
    return MemoryMap(spec.carrying([model]), (model,))


def held(m: Module, value: Value, clocks: int, enable: Value) -> Value:
    """`value` so many clocks with `enable` later."""
    for _ in range(clocks):
        after = Signal.like(value, reset_less=True)
        with m.If(enable):
            m.d.sync += after.eq(value)
        value = after
    return value


def later(m: Module, value: Any, clocks: int = 1) -> Signal:
    """What a value was so many clocks ago; 0 before that since the reset."""
    for _ in range(clocks):
        after = Signal(len(value))
        m.d.sync += after.eq(value)
        value = after
    return value


def stored(
    m: Module, platform: Cells, name: str, entries: int, bits: int, address: Value, read: Signal,
    enable: Value, write: Value | None = None, write_address: Value | None = None,
    written: Value | None = None,
) -> list[Signal]:  # fmt: skip
    """A memory as the core has it, between these signals; returns its words."""
    memory = Memory(shape=bits, depth=entries, init=[])
    port = memory.read_port()
    m.d.comb += [port.addr.eq(address), port.en.eq(enable), read.eq(port.data)]
    if write is not None:
        into = memory.write_port()
        m.d.comb += [into.addr.eq(write_address), into.en.eq(write), into.data.eq(written)]
    m.submodules[name], words = platform.opened(memory)
    return words[""]


def first_clock(m: Module) -> Signal:
    """High in the first clock after the reset."""
    first = Signal(init=1)
    m.d.sync += first.eq(0)
    return first


def planted(file: str, right: str, wrong: str, into: ModuleType | None = None) -> ModuleType:
    """The module of a file of the gateware with an error in it; with `into`, that module with what
    the former defines in place of its own."""
    path = Path(rtl.__file__).with_name(file)
    text = path.read_text()
    assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times in {file}"
    module = _copied(path, text.replace(right, wrong))
    if into is None:
        return module
    outer = _copied(Path(str(into.__file__)), Path(str(into.__file__)).read_text())
    for name, value in vars(module).items():
        if name in vars(outer) and getattr(value, "__module__", "") == module.__name__:
            setattr(outer, name, value)
    return outer


def _copied(path: Path, text: str) -> ModuleType:
    module = ModuleType(f"spikefab.rtl.{path.stem}")
    module.__package__ = "spikefab.rtl"
    exec(compile(text, str(path), "exec"), vars(module))
    return module


class EmitHarness(wiring.Component):
    """Emit with its list, routes and pending set; any host, any routes, any back-pressure.

    Before a tick's Emit the host gives events and Update pushes up to `neurons` entries. Deliver,
    which may clear words, comes when no event was given for a clock.
    """

    def __init__(self, map: MemoryMap, block: Any = emit_module) -> None:
        self.map, self.block = map, block
        super().__init__(
            {
                "start": In(1),
                "push": In(1),
                "pushed": In(emit_module.list_layout(map)),
                "event": In(stream.Signature(emit_module.event_layout(map))),
                "clear": In(1),
                "clear_address": In(range(map.regions["pending"].entries)),
                "output": Out(stream.Signature(emit_module.output_layout(map))),
            }
        )

    def elaborate(self, platform: Cells) -> Module:
        """The wiring of `core`, what the list holds, and the claims."""
        m = Module()
        map, regions, neurons = self.map, self.map.regions, self.map.chip.neurons
        layout = emit_module.list_layout(map)
        m.submodules.emit = emit = self.block.Emit(map)
        entries = stored(
            m, platform, "list", neurons, layout.size, emit.list_address, emit.list_data,
            emit.advance, emit.list_write, emit.list_write_address, self.pushed.as_value(),
        )  # fmt: skip
        routes = stored(
            m, platform, "routes", neurons, regions["routes"].bits, emit.route_address,
            route_read := Signal.like(emit.route_data), emit.advance,
        )  # fmt: skip
        waits = map.chip.memory_latency - 1
        m.d.comb += emit.route_data.eq(held(m, route_read, waits, emit.advance))
        pending = stored(
            m, platform, "pending", regions["pending"].entries, PENDING_WORD,
            emit.pending_address, emit.pending_data, Const(1),
            emit.pending_write | self.clear,
            Mux(self.clear, self.clear_address, emit.pending_write_address),
            Mux(self.clear, 0, emit.pending_written),
        )  # fmt: skip
        m.d.comb += [
            emit.start.eq(self.start),
            emit.push.eq(self.push),
            emit.pushed.eq(self.pushed),
            emit.event.payload.eq(self.event.payload),
            emit.event.valid.eq(self.event.valid),
            self.event.ready.eq(emit.event.ready),
            self.output.payload.eq(emit.output.payload),
            self.output.valid.eq(emit.output.valid),
            emit.output.ready.eq(self.output.ready),
        ]

        # The entry whose turn it is: each takes a clock, once the first has come through.
        emitting, count = Signal(), Signal(range(neurons + 1))
        spent = Signal(range(neurons + emit_constant(map.chip)))
        with m.If(self.push):
            m.d.sync += count.eq(count + 1)
        with m.If(self.start):
            m.d.sync += emitting.eq(1)
        with m.If(emitting & ~emit.stalled):
            m.d.sync += spent.eq(spent + 1)
        with m.If(emit.done):
            m.d.sync += [emitting.eq(0), spent.eq(0), count.eq(0)]
        through = emit_constant(map.chip) - 1
        turn, entry = Signal(), Signal(layout)
        route = Signal(struct(regions["routes"].fields))
        at = Signal(range(neurons))
        m.d.comb += [
            turn.eq(emitting & (spent >= through) & (spent - through < count)),
            at.eq(Mux(turn, spent - through, 0)),
            entry.eq(Array(entries)[at]),
            route.eq(Array(routes)[entry.neuron]),
        ]
        given = self.event.valid & self.event.ready
        ending = later(m, emit.done)
        axons = [data.View(route.shape(), word[: len(route.as_value())]).axon for word in routes]
        m.d.comb += [
            *(Assume(axon < map.chip.axons, "an axon of the chip") for axon in axons),
            Assume(self.event.payload.axon < map.chip.axons, "an axon of the chip"),
            Assume(~((self.push | self.start) & emitting), "one phase at a time"),
            Assume(~(self.push & self.start), "one phase at a time"),
            Assume(~self.push | (count < neurons), "a neuron is listed once"),
            Assume(self.pushed.neuron < neurons, "a neuron of the chip"),
            Assume(
                ~self.clear | ~(emitting | self.start | given | later(m, given) | ending),
                "Deliver comes after the last event is written",
            ),
            Assert(self.event.ready == ~emitting, "events are taken while Emit is at rest"),
            Assert(emit.list_write == self.push, "what is pushed is listed"),
            Assert(
                emit.list_write_address == count[: map.neuron_bits], "it is listed at the end"
            ),
            Assert(
                emit.list_address == Mux(spent < count, spent, count)[: map.neuron_bits],
                "the list is read in order",
            ),
            Assert(
                ~turn | (emit.route_data[: len(route.as_value())] == route.as_value()),
                "the route is that of the entry",
            ),
            Assert(count <= neurons, "lemma"),
            Assert(emitting | (spent == 0), "lemma"),
            *(
                Assert((n >= count) | (data.View(layout, word).neuron < neurons), "lemma")
                for n, word in enumerate(entries)
            ),
        ]
        over = emitting & (spent == through + count)
        self._outputs(m, emit, turn, entry, route, over, count)
        self._pending(m, emit, turn, entry, route, given, pending)
        return m

    def _outputs(
        self, m: Module, emit: Any, turn: Value, entry: Any, route: Any, over: Value, count: Value
    ) -> None:
        """The outputs of a tick are the entries to be shown, each once and in order."""
        output = self.output
        waits = later(m, output.valid & ~output.ready)
        m.d.comb += [
            Assert(output.valid == (turn & route.output), "an output for each entry to be shown"),
            Assert(
                ~output.valid
                | (
                    (output.payload.kind == emit_module.ENTRY)
                    & (output.payload.neuron == entry.neuron)
                    & (output.payload.value == entry.value)
                ),
                "an output is its entry",
            ),
            Assert(~waits | output.valid, "an output stays until it is taken"),
            Assert(
                ~waits | (output.payload.as_value() == later(m, output.payload.as_value())),
                "an output that waits is stable",
            ),
            Assert(emit.stalled == (output.valid & ~output.ready), "only an output stalls"),
            Assert(emit.done == over, "Emit takes the clocks of its formula"),
            Cover(output.valid & ~output.ready, "an output waits"),
            Cover(emit.done & (self.map.chip.neurons == count), "Emit of all neurons ends"),
        ]

    def _pending(
        self, m: Module, emit: Any, turn: Value, entry: Any, route: Any, given: Value,
        words: list[Signal],
    ) -> None:  # fmt: skip
        """An axon is pending if it got an event since it was cleared, and only then."""
        map = self.map
        axon = AnyConst(map.axon_bits)
        owed, first = Signal(), Signal(init=1)
        paid, kept = (Signal(map.chip.payload_bits, name=name) for name in ("paid", "kept"))
        bit = Array(Array(words)[axon // PENDING_WORD])[axon % PENDING_WORD]
        writing = (
            emit.pending_write
            & (emit.pending_write_address == axon // PENDING_WORD)
            & Array(emit.pending_written)[axon % PENDING_WORD]
        )
        routed = turn & ~emit.stalled & route.valid & (route.axon == axon)
        event = self.event.payload
        with m.If(given & (event.axon == axon)):
            m.d.sync += [owed.eq(1), paid.eq(event.payload)]
        with m.Elif(routed):
            m.d.sync += [owed.eq(1), paid.eq(entry.value)]
        with m.Elif(self.clear & (self.clear_address == axon // PENDING_WORD)):
            m.d.sync += owed.eq(0)
        with m.If(emit.payload_write & (emit.payload_address == axon)):
            m.d.sync += kept.eq(emit.payload)
        m.d.sync += first.eq(0)
        m.d.comb += [
            Assume(axon < map.chip.axons, "an axon of the chip"),
            Assume(~first | (bit == owed), "what is pending at first"),
            Assert((bit | writing) == owed, "an axon is pending if it got an event"),
            Assert(~self.clear | (bit == owed), "Deliver finds all events written"),
            Assert(~owed | (kept == paid), "a payload is that of its event"),
            Cover(self.clear & owed, "an event is pending"),
        ]


class DeliverHarness(wiring.Component):
    """Deliver in the tick after a reset, with any pending set, rows and payloads.

    Row n lies at word 4 n of the synapse memory and has at most `longest` words, so that an address
    tells row and word. Up to `events` are pending.
    """

    def __init__(
        self, map: MemoryMap, longest: int, events: int, block: Any = deliver_module
    ) -> None:
        self.map, self.longest, self.events, self.block = map, longest, events, block
        super().__init__({"rest": Out(1)})

    @property
    def clocks(self) -> int:
        """The longest tick, from the reset to the rest after it."""
        chip = self.map.chip
        walks = self.events * chip.largest_payload
        return 6 + deliver_constant(chip, chip.axons) + walks * (self.longest + row_gap(chip))

    def elaborate(self, platform: Cells) -> Module:
        """The wiring of `core`, and the claims."""
        m = Module()
        map, chip, regions = self.map, self.map.chip, self.map.regions
        waits = chip.memory_latency - 1
        drain = chip.accumulate_latency - 1 + waits
        m.submodules.deliver = deliver = self.block.Deliver(map, drain)
        first, running = Signal(init=1), Signal()
        used, slot = AnyConst(range(chip.axons + 1)), AnyConst(map.slot_bits)
        pending = stored(
            m, platform, "pending", regions["pending"].entries, PENDING_WORD,
            deliver.pending_address, deliver.pending_data, deliver.pending_enable,
            deliver.pending_clear, deliver.pending_clear_address, Const(0, PENDING_WORD),
        )  # fmt: skip
        rows = stored(
            m, platform, "rows", chip.axons, regions["rows"].bits, deliver.row_address,
            row_read := Signal.like(deliver.row_data), deliver.row_enable,
        )  # fmt: skip
        m.d.comb += deliver.row_data.eq(held(m, row_read, waits, deliver.row_enable))
        payloads = [Const(1) for _ in rows]
        if chip.payload_bits > 1:
            payloads = stored(
                m, platform, "payloads", chip.axons, chip.payload_bits, deliver.row_address,
                payload_read := Signal.like(deliver.payload_data), deliver.row_enable,
            )  # fmt: skip
            taken = held(m, payload_read, waits, deliver.row_enable)
            m.d.comb += deliver.payload_data.eq(taken)
        m.d.sync += first.eq(0)
        m.d.comb += [
            deliver.start.eq(first),
            deliver.slot.eq(slot),
            deliver.pending_words.eq((used + PENDING_WORD - 1) // PENDING_WORD),
        ]
        with m.If(first):
            m.d.sync += running.eq(1)
        with m.If(deliver.done):
            m.d.sync += running.eq(0)
        m.d.comb += [
            Assume(used <= chip.axons, "axons of the chip"),
            Assume(~first | (Cat(*pending) >> used == 0), "only axons in use are pending"),
            Assume(
                ~first | (sum(bit for bit in Cat(*pending)) <= self.events), "so many events"
            ),
            Assert(~deliver.done | running, "only what runs ends"),
        ]
        costs, words = [], []
        for n, word in enumerate(rows):
            row = data.View(struct(regions["rows"].fields), word)
            layout = struct(map.row_extent)
            extent = data.View(layout, row.extent[: layout.size])
            count = Mux(row.sparse, row.extent, extent.words)
            m.d.comb += Assume(
                (row.address == 4 * n) & (count > 0) & (count <= self.longest) & (payloads[n] > 0),
                "a valid row",
            )
            words.append(count)
            costs.append(Mux(row.follows, count, count + row_gap(chip)))
        self._walks(m, deliver, first, running, used, slot, pending, rows, words, payloads)
        self._clocks(m, deliver, first, running, costs)
        return m

    def _walks(
        self, m: Module, deliver: Any, first: Signal, running: Signal, used: Value, slot: Value,
        pending: list[Signal], rows: list[Signal], words: list[Value], payloads: list[Value],
    ) -> None:  # fmt: skip
        """A row is walked as often as its axon's event counts, word by word, axons in order."""
        map, chip = self.map, self.map.chip
        axon = AnyConst(map.axon_bits)
        row = Signal(struct(map.regions["rows"].fields))
        layout = struct(map.row_extent)
        extent = data.View(layout, row.extent[: layout.size])
        length = Signal(range(self.longest + 1))
        bit = Cat(*pending).bit_select(axon, 1)
        owed, gap = Signal(map.chip.payload_bits), Signal(range(row_gap(chip) + 1))
        walks, at, reached = Signal(chip.payload_bits), Signal(2), Signal(map.axon_bits)
        here, n = deliver.synapse[2:], deliver.synapse[:2]
        reading = deliver.read & (here == axon)
        ends = reading & (n == length - 1)
        m.d.comb += [row.eq(Array(rows)[axon]), length.eq(Array(words)[axon])]
        with m.If(first):
            m.d.sync += owed.eq(Mux(bit, Array(payloads)[axon], 0))
        with m.If(deliver.read):
            m.d.sync += reached.eq(here)
        with m.If(reading):
            m.d.sync += at.eq(Mux(ends, 0, at + 1))
            m.d.sync += walks.eq(walks + (n == 0))
        with m.If(ends & ~row.follows):
            m.d.sync += gap.eq(row_gap(chip))
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        to_slot = slot
        if map.slot_bits:
            to_slot = Mux(row.sparse, slot, (slot + extent.delay)[: map.slot_bits])
        m.d.comb += [
            Assume(axon < used, "an axon in use"),
            Assert(~deliver.read | running, "rows are walked while Deliver runs"),
            Assert(~deliver.read | (here >= reached), "axons come in order"),
            Assert(~reading | (n == at), "a row is read word by word"),
            Assert((at == 0) | reading, "and without a pause"),
            Assert(~reading | (n != 0) | (walks < owed), "no event is delivered twice or made up"),
            Assert(~deliver.done | ((walks == owed) & (at == 0)), "no event is lost"),
            Assert(~deliver.done | ~bit, "no event is left"),
            Assert((gap == 0) | ~deliver.read, "a row that may not be followed is not"),
            Assert(~reading | (deliver.sparse == row.sparse), "dense rows are dense"),
            Assert(~reading | (deliver.to_slot == to_slot), "a row goes to its slot"),
            Assert(
                ~reading | row.sparse | (deliver.word == (extent.begin + n)[: map.word_bits]),
                "a dense row goes to its words",
            ),
            Cover(deliver.done & (owed == chip.largest_payload), "an event is delivered"),
            Cover(deliver.done & (owed == 0), "no event for the axon"),
        ]

    def _clocks(
        self, m: Module, deliver: Any, first: Signal, running: Signal, costs: list[Value]
    ) -> None:
        """Deliver takes the clocks of its formula, and leaves no trace in its registers."""
        chip = self.map.chip
        total, spent = Signal(8), Signal(8)
        here, n = deliver.synapse[2:], deliver.synapse[:2]
        with m.If(deliver.read & (n == 0)):
            m.d.sync += total.eq(total + Array(costs)[here])
        with m.If(running):
            m.d.sync += spent.eq(spent + 1)
        constant = deliver_constant(chip, 0) + deliver.pending_words
        m.d.comb += [
            Assert(
                ~deliver.done | (spent + 1 == constant + total),
                "Deliver takes the clocks of its formula",
            ),
            Assert(spent < self.clocks - 3, "Deliver ends"),
            self.rest.eq(later(m, deliver.done, 2)),
        ]


class AccumulatorsHarness(wiring.Component):
    """The accumulators: any rows in Deliver, any neurons in Update, one lane and place watched.

    Assumed is what rows and gaps between them provide (see `cycles`): what was read is not read
    again within `accumulate_latency` clocks, and no neuron is taken that soon after a row.
    """

    def __init__(self, map: MemoryMap, block: Any = accumulators_module) -> None:
        self.map, self.block = map, block
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
            }
        )

    def elaborate(self, platform: Cells) -> Module:
        """What is touched in the clock of its read, and what is written for it."""
        m = Module()
        map, chip = self.map, self.map.chip
        fragment, cells = platform.opened(banks := self.block.Accumulators(map))
        m.submodules.accumulators = fragment
        inputs = ("add", "sparse", "word", "slot", "synapses", "take", "neuron", "now")
        m.d.comb += [getattr(banks, name).eq(getattr(self, name)) for name in inputs]
        m.d.comb += [banks.store.eq(self.take), banks.clear.eq(self.take), banks.whole.eq(1)]
        lane, place_bits = AnyConst(map.lane_bits), map.slot_bits + map.word_bits
        place = AnyConst(place_bits)
        lanes = []
        for n in range(chip.lanes):
            lanes.append(cells[f"bank{n}"])
        sum_now = Signal(signed(chip.accumulator_bits))
        m.d.comb += sum_now.eq(Array(Array(words)[place] for words in lanes)[lane])

        # A row's word is there a clock after it was asked for; a neuron is read at once.
        asked = [later(m, x) for x in (self.add, self.sparse, self.word, self.slot)]
        hit, weight = self._hit(m, lane, place, *asked)
        taken = Signal()
        m.d.comb += taken.eq(
            self.take & (self.neuron == Cat(lane, place[: map.word_bits])[: map.neuron_bits])
            & (self.now == place[map.word_bits :])
        )  # fmt: skip
        touched = hit | taken
        latency = chip.accumulate_latency
        recent = [later(m, touched, n) for n in range(1, latency)]
        rows = [later(m, self.add, n) for n in range(latency + 3)]
        write = Signal()
        total = banks.retired.sum.word_select(lane, chip.accumulator_bits).as_signed()
        m.d.comb += write.eq(
            banks.retired.write.bit_select(lane, 1)
            & (banks.retired.place.word_select(lane, place_bits) == place)
        )
        clears = later(m, taken, latency - 1)
        due = Mux(clears, 0, sum_now + later(m, weight, latency - 1).as_signed())
        lo, hi = bounds(chip.accumulator_bits, True)
        fits = (due >= lo) & (due <= hi)
        changed = Mux(later(m, write), later(m, total), later(m, sum_now)).as_signed()
        m.d.comb += [
            Assume(~(touched & any_of(recent)), "what was read is not read again too soon"),
            Assume(~(self.take & any_of(rows)), "Update comes after the last row"),
            Assume(fits, "no sum overflows"),
            Assert(write == later(m, touched, latency - 1), "what is read is written back in time"),
            Assert(~write | (total == due), "the sum read and the weight, or 0 if it was taken"),
            Assert(
                ~later(m, taken, take_clocks(chip))
                | (banks.current == later(m, sum_now, take_clocks(chip)).as_signed()),
                "a neuron gets its sum",
            ),
            Assert(
                first_clock(m) | (sum_now == changed),
                "a sum changes by what is written, and only so",
            ),
            Cover(write & (due == -1), "a sum is written"),
            Cover(write & clears, "a sum is taken"),
        ]
        return m

    def _hit(
        self, m: Module, lane: Value, place: Value, add: Value, sparse: Value, word: Value,
        slot: Value,
    ) -> tuple[Value, Signal]:  # fmt: skip
        """Whether the word that is there adds to the place, and what."""
        map, chip = self.map, self.map.chip
        layout = struct(sparse_entry(chip))
        hits, weight = [], Signal(signed(chip.weight_bits))
        dense = add & ~sparse & (Cat(word, slot) == place)
        with m.If(dense):
            m.d.comb += weight.eq(self.synapses.word_select(lane, chip.weight_bits))
        for j in range(chip.sparse_lanes):
            entry = data.View(layout, self.synapses[j * entry_stride(chip) :][: layout.size])
            target = Signal(map.neuron_bits, name=f"target{j}")
            m.d.comb += target.eq(entry.target * chip.sparse_lanes + j)
            to_slot = (slot + entry.delay)[: map.slot_bits] if map.slot_bits else Const(0, 0)
            here = Signal(name=f"sparse_hit{j}")
            m.d.comb += here.eq(
                add & sparse & (entry.weight != 0)
                & (target == Cat(lane, place[: map.word_bits])[: map.neuron_bits])
                & (to_slot == place[map.word_bits :])
            )  # fmt: skip
            hits.append(here)
            with m.If(here):
                m.d.comb += weight.eq(entry.weight)
        return dense | any_of(hits), weight
