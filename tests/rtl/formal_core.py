"""Harnesses of a whole core: the host's port, and ticks with any program. See `proof`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Array, Assert, Assume, Cat, Const, Cover, Module, Mux, Signal, Value
from amaranth.hdl._ast import AnyConst
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from formal import first_clock, later
from proof import SETTLE, Cells, any_of
from spikefab.compiler.ir.cycles import (
    POPULATION_CLOCKS,
    deliver_constant,
    emit_constant,
    phases,
    row_gap,
    take_clocks,
    update_constant,
)
from spikefab.compiler.ir.memory_map import PHASE_BITS, MemoryMap
from spikefab.compiler.ir.region import UNIT, Region
from spikefab.rtl import core as core_module
from spikefab.rtl import emit as emit_module
from spikefab.rtl import host as host_module
from spikefab.rtl.deliver import struct

Load = tuple[str, int, int, Value]  # region, entry, unit, data
LOADED = ("rows", "pending", "populations", "phases", "routes")


class HostHarness(wiring.Component):
    """The core between ticks, with any memories: any accesses and events, one unit watched.

    A tick may be started, and ends the run.
    """

    def __init__(self, map: MemoryMap, block: Any = core_module) -> None:
        self.map, self.block = map, block
        super().__init__(
            {
                "memory": In(host_module.MemoryPort(map.address_bits)),
                "events": In(stream.Signature(emit_module.event_layout(map))),
                "start": In(1),
                "rest": Out(1),
            }
        )

    def elaborate(self, platform: Cells) -> Module:
        """What the watched unit was last given, and what is read of it."""
        m = Module()
        map, memory = self.map, self.memory
        m.submodules.core = core = self.block.Core(map)
        wiring.connect(m, core.memory, wiring.flipped(memory))
        wiring.connect(m, core.events, wiring.flipped(self.events))
        asked = memory.ready & (memory.write | memory.read)
        read = asked & memory.read & ~memory.write
        given = self.events.ready & self.events.valid
        started, ticking, pause = core.idle & self.start, Signal(), Signal(range(8))
        m.d.comb += [
            core.start.eq(self.start),
            self.rest.eq((pause == 7) & ~(asked | given | started | ticking)),
        ]
        m.d.sync += ticking.eq(ticking | started)
        with m.If(asked | given | started):
            m.d.sync += pause.eq(0)
        with m.Elif((pause != 7) & core.idle):
            m.d.sync += pause.eq(pause + 1)

        address, known, value = AnyConst(map.address_bits), Signal(), Signal(UNIT)
        there, changing, counter, late = self._unit(m, address)
        legal, _, _, asks_late = self._unit(m, memory.address)
        here = asked & (memory.address == address)
        with m.If(here & memory.write):  # to the count of stalls: it starts anew
            m.d.sync += [known.eq(1), value.eq(Mux(counter, 0, memory.write_data))]
        with m.If((given & changing) | started):
            m.d.sync += known.eq(0)
        clocks = host_module.read_clocks(self.map.chip)
        watched = read & here & known
        slow = 3 + take_clocks(self.map.chip)
        due = Mux(late, later(m, value, slow), later(m, value, clocks))
        expected = Mux(late, later(m, watched, slow), later(m, watched, clocks))
        answers = later(m, read & ~asks_late, clocks) | later(m, read & asks_late, slow)
        m.d.comb += [
            Assume(there != 0, "a unit of a memory"),
            Assume(~asked | (legal != 0), "accesses to memories"),
            Assert(asked + given + started <= 1, "one at a time"),
            Assert(~(asked | given) | (core.phase == core_module.IDLE), "between ticks"),
            Assert(memory.read_valid == answers, "each read is answered, in time"),
            Assert(
                ~expected | ((memory.read_data ^ due) & there == 0),
                "a read gives what was written there",
            ),
            Cover(expected & ~late & (memory.read_data == there), "what was written is read"),
            Cover(expected & late & (memory.read_data == there), "and of an accumulator"),
        ]
        return m

    def _unit(self, m: Module, address: Value) -> tuple[Signal, Signal, Signal, Signal]:
        """Of the unit at an address: its bits as a mask (0 if there is none), whether events
        change it, whether it counts stalls, whether it is an accumulator's."""
        map = self.map
        there, changing, counter, late = Signal(UNIT), Signal(), Signal(), Signal()
        offset = address[: map.offset_bits]
        with m.Switch(address[map.offset_bits :]):
            for number, region in enumerate(map.regions.values()):
                with m.Case(number):
                    m.d.comb += [
                        changing.eq(region.name in ("pending", "payloads")),
                        late.eq(region.name == "accumulators"),
                    ]
                    widths = [min(UNIT, region.bits - UNIT * n) for n in range(region.units)]
                    place = offset[: region.unit_bits]
                    if region.name == "registers":
                        widths, place = list(map.registers.values()), offset
                        stalls = list(map.registers).index("stalls")
                        m.d.comb += counter.eq(offset == stalls)
                    with m.If(offset >> region.unit_bits < region.entries), m.Switch(place):
                        for n, width in enumerate(widths):
                            with m.Case(n):
                                m.d.comb += there.eq((1 << width) - 1)
        return there, changing, counter, late


class TickHarness(wiring.Component):
    """A core that is loaded with any valid program, given events, and run; the host may hesitate.

    events, ticks: how many. stalls: clocks in which the host does not take an output. twin: a
    second core that differs in what a read gives of a word that is being written, and must do the
    same all the same.
    """

    def __init__(
        self, map: MemoryMap, events: int = 1, ticks: int = 1, stalls: int = 0, twin: bool = False,
        block: Any = core_module,
    ) -> None:  # fmt: skip
        self.map, self.events, self.ticks, self.stalls = map, events, ticks, stalls
        self.twins = ("core", "twin") if twin else ()
        self.block = block
        super().__init__({"taken": In(1), "rest": Out(1)})

    @property
    def _longest(self) -> int:
        """Clocks of the longest tick, without stalls."""
        chip = self.map.chip
        words = -(-chip.neurons // chip.lanes)
        walks = chip.axons * chip.largest_payload
        tick = deliver_constant(chip, chip.axons) + walks * (words + row_gap(chip))
        tick += update_constant(chip, chip.populations) + chip.neurons
        return tick + emit_constant(chip) + chip.neurons + len(phases(chip)) + 1

    @property
    def clocks(self) -> int:
        """From the reset to the rest after the last tick."""
        regions = (self.map.regions[name] for name in LOADED)
        loads = 3 + sum(region.entries * region.units for region in regions)
        return loads + self.events + self.ticks * self._longest + self.stalls + 2 + SETTLE

    def _loads(self, m: Module) -> tuple[list[Load], dict[str, list[Any]]]:
        """What the host loads, and the entries by region."""
        loads: list[Load] = []
        entries: dict[str, list[Any]] = {}
        registers = Region("registers", 3, UNIT)
        for region in (registers, *(self.map.regions[name] for name in LOADED)):
            layout = struct(region.fields or (("value", region.bits),))
            entries[region.name] = []
            for n in range(region.entries):
                whole = Signal(region.bits, name=f"{region.name}{n}")
                m.d.comb += whole.eq(AnyConst(region.bits))
                entries[region.name].append(data.View(layout, whole[: layout.size]))
                for unit in range(region.units):
                    loads.append((region.name, n, unit, whole[unit * UNIT :][:UNIT]))
        return loads, entries

    def _valid(self, entries: dict[str, list[Any]]) -> Iterator[Value]:
        """What holds of the contents that a program has."""
        map, chip = self.map, self.map.chip
        assert list(map.registers)[:3] == ["slot", "populations", "pending_words"]
        slot, populations, words = (entry.value for entry in entries["registers"])
        yield slot < chip.delay_slots
        yield (populations > 0) & (populations <= chip.populations)
        yield words == map.regions["pending"].entries
        yield Cat(entry.value for entry in entries["pending"])[chip.axons :] == 0
        begin: Value = Const(0)
        for n, entry in enumerate(entries["populations"]):
            fits = (entry.last >= begin) & (entry.last < chip.neurons)
            fits &= entry.single == (entry.last == begin)
            if map.model_bits:
                fits &= entry.model < len(map.models)
            yield (populations <= n) | fits
            begin = entry.last + 1
        for row in entries["rows"]:
            words = self._row_words(row)
            yield (words > 0) & (words <= -(-chip.neurons // chip.lanes))
        for route in entries["routes"]:
            yield route.axon < chip.axons

    def _row_words(self, row: Any) -> Value:
        layout = struct(self.map.row_extent)
        extent = data.View(layout, row.extent[: layout.size])
        return Mux(row.sparse, row.extent, extent.words)

    def elaborate(self, platform: Cells) -> Module:
        """Load, give events, run."""
        m = Module()
        map = self.map
        loads, entries = self._loads(m)
        m.d.comb += [Assume(fact, "a valid program") for fact in self._valid(entries)]
        step, tick = Signal(range(len(loads) + self.events + 1)), Signal(range(self.ticks + 1))
        core = self.block.Core(map)
        cores, words = [core], []
        m.submodules.core, cells = platform.opened(core)
        words.append(cells)
        if self.twins:
            cores.append(self.block.Core(map))
            m.submodules.twin, cells = Cells("old").opened(cores[1])
            words.append(cells)
        layout = emit_module.event_layout(map)
        events = [Signal(layout, name=f"event{n}") for n in range(self.events)]
        for event in events:
            m.d.comb += [
                event.as_value().eq(AnyConst(len(event.as_value()))),
                Assume(event.axon < map.chip.axons, "an axon"),
            ]
        loading, loaded = step < len(loads), step == len(loads) + self.events
        giving, started = ~loading & ~loaded, Signal()
        m.d.comb += started.eq(core.idle & loaded & (tick < self.ticks))
        for each in cores:
            m.d.comb += [
                each.memory.write.eq(loading),
                each.memory.address.eq(
                    Array(map.address(name, entry, unit) for name, entry, unit, _ in loads)[step]
                ),
                each.memory.write_data.eq(Array(value for *_, value in loads)[step]),
                each.events.valid.eq(giving),
                each.start.eq(started),
                each.output.ready.eq(self.taken),
            ]
            if events:
                given = Array(event.as_value() for event in events)[step - len(loads)]
                m.d.comb += each.events.payload.eq(given)
        with m.If((loading & core.memory.ready) | (giving & core.events.ready)):
            m.d.sync += step.eq(step + 1)
        m.d.sync += tick.eq(tick + started)
        waits, waited = core.output.valid & ~self.taken, Signal(range(self.stalls + 2))
        age = Signal(range(self._longest + self.stalls + 2))
        m.d.sync += waited.eq(waited + waits)
        with m.If(started):
            m.d.sync += age.eq(1)
        with m.Elif(~core.idle):
            m.d.sync += age.eq(age + 1)
        m.d.comb += [
            Assume(~waits | (waited < self.stalls), "the host takes outputs, if late"),
            Assert(~loading | core.memory.ready, "loads are taken"),
            Assert(core.idle | (age > 0), "a tick only when asked for"),
            Assert(core.idle | (age < self._longest + self.stalls), "a tick ends"),
            self.rest.eq(core.idle & (tick == self.ticks)),
        ]
        if self.twins:
            self._same(m, cores, words)
        else:
            self._clocks(m, core, entries, events, started)
        return m

    def _clocks(
        self, m: Module, core: Any, entries: dict[str, list[Any]], events: list[Any],
        started: Signal,
    ) -> None:  # fmt: skip
        """Each phase takes the clocks of its formula, for the events given and routed before."""
        chip, fresh = self.map.chip, first_clock(m)
        _, populations, words = (entry.value for entry in entries["registers"])
        assert chip.payload_bits == 1, "an event is one walk"
        deliver = deliver_constant(chip, 0) + words
        stores, spikes = core.stored & (core.stored_value != 0), Signal(range(chip.neurons + 1))
        at_first = Cat(entry.value for entry in entries["pending"])
        kind, value = core.output.payload.kind, core.output.payload.value
        over = core.output.valid & self.taken & (kind == core_module.EMIT)
        for n, row in enumerate(entries["rows"]):
            pending, following = Signal(name=f"pending{n}"), Signal(name=f"following{n}")
            given = any_of(event.axon == n for event in events) if events else Const(0)
            reached = any_of(
                stores & (core.stored_neuron == k) & route.valid & (route.axon == n)
                for k, route in enumerate(entries["routes"])
            )
            with m.If(fresh):
                m.d.sync += pending.eq(at_first[n] | given)
            with m.If(reached):
                m.d.sync += following.eq(1)
            with m.If(over):
                m.d.sync += [pending.eq(following), following.eq(0)]
            cost = self._row_words(row) + Mux(row.follows, 0, row_gap(chip))
            deliver = deliver + Mux(pending, cost, 0)
        update = update_constant(chip, 0) + POPULATION_CLOCKS * populations
        begin: Value = Const(0)
        for n, (entry, phase) in enumerate(
            zip(entries["populations"], entries["phases"], strict=True)
        ):
            due, countdown = Signal(name=f"due{n}"), Signal(PHASE_BITS, name=f"countdown{n}")
            with m.If(fresh):
                m.d.sync += countdown.eq(phase.countdown)
            with m.If(started):
                m.d.sync += [
                    due.eq(countdown == 0),
                    countdown.eq(Mux(countdown == 0, phase.period, countdown - 1)),
                ]
            update = update + Mux(due & (n < populations), entry.last + 1 - begin, 0)
            begin = entry.last + 1
        with m.If(started):
            m.d.sync += spikes.eq(0)
        with m.Elif(stores):
            m.d.sync += spikes.eq(spikes + 1)
        formulas = Array([0, deliver, update, emit_constant(chip) + spikes])
        m.d.comb += [
            Assert(
                ~core.output.valid | (kind == emit_module.ENTRY) | (value == formulas[kind]),
                "a phase takes the clocks of its formula",
            ),
            Cover(self.rest & (spikes == chip.neurons), "all neurons spike in the last tick"),
            Cover(self.rest & (spikes == 0), "none does"),
        ]

    def _same(
        self, m: Module, cores: list[Any], words: list[dict[str, list[Signal]]]
    ) -> None:
        """Both cores report the same, and hold the same after the tick."""
        ours, other = cores
        always = ("idle", "phase", "counting", "stored")
        m.d.comb += [
            *(Assert(getattr(ours, n) == getattr(other, n), f"the same {n}") for n in always),
            Assert(ours.output.valid == other.output.valid, "the same outputs"),
            Assert(
                ~ours.output.valid
                | (ours.output.payload.as_value() == other.output.payload.as_value()),
                "the same outputs",
            ),
            Assert(ours.retired.write == other.retired.write, "the same sums"),
            Cover(self.rest, "a tick ends"),
        ]
        for name in ("stored_neuron", "stored_state", "stored_value"):
            same = getattr(ours, name) == getattr(other, name)
            m.d.comb += Assert(~ours.stored | same, "the same state")
        for lane, write in enumerate(ours.retired.write):
            for name in ("place", "sum"):
                whole = getattr(ours.retired, name)
                part = slice(*(len(whole) // self.map.chip.lanes * k for k in (lane, lane + 1)))
                same = whole[part] == getattr(other.retired, name)[part]
                m.d.comb += Assert(~write | same, "the same sums")
        for name, ours_words in words[0].items():
            same = Cat(*ours_words) == Cat(*words[1][name])
            m.d.comb += Assert(~self.rest | same, f"the same in {name}")
