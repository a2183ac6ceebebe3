"""Update: the neurons of every population that is due, one per clock through the pipelines."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.cycles import input_clocks, take_clocks
from ..compiler.ir.language import topological
from ..compiler.ir.memory_map import PHASE_BITS, MemoryMap
from ..compiler.ir.region import UNIT, field_bits
from .deliver import struct
from .memories import Taps, later
from .pipeline import Pipeline, field, signed_as
from .primitives import LINE_REGISTERS, Target


class Neurons(wiring.Component):
    """Walks the populations, and updates the neurons of those that are due.

    start: one clock; done: high in the last clock. `table_data` is a population's phase, where that
    was asked for, or its entry, a clock later; of the phase a new value is written, and 0 where
    none is. `take` and `neuron` ask the accumulators, `current` comes `take_clocks` later. Each
    unit of a neuron's state and parameters is asked for at its own address, so that it is there
    when the pipelines want it (`MemoryMap.wanted`); of parameters that is what `index_data` tells.
    Each unit of the state is written when the pipelines have it. `stored` reports an update: the
    state, the spikes, and with `listed` a spike or a value for the list. On a core that learns,
    `phase_due` is whether the population is due whose phase is written, and `soon` the neuron that
    is stored `memory_latency` + `LearnMap.trace_lead` clocks later.
    """

    def __init__(
        self, map: MemoryMap, target: Target = "generic", line_registers: int = LINE_REGISTERS
    ) -> None:
        self.map, self.target, self.line_registers = map, target, line_registers
        self.before = input_clocks(map.chip)
        regions, bits = map.regions, map.neuron_bits
        population = len(Signal(range(max(2, map.chip.populations))))
        index = dict(regions["parameter_index"].fields)["set"]
        learning = {"phase_due": Out(1), "soon": Out(bits)} if map.learn else {}
        super().__init__(
            {
                **learning,
                "start": In(1),
                "done": Out(1),
                "populations": In(range(map.chip.populations + 1)),
                "random_word": In(32),
                "population": Out(population),
                "asks_phase": Out(1),
                "table_data": In(UNIT),
                "phase_write": Out(1),
                "phase_population": Out(population),
                "phase_written": Out(regions["phases"].bits),
                "take": Out(1),
                "neuron": Out(bits),
                "current": In(map.chip.accumulator_bits),
                "index_address": Out(bits),
                "index_data": In(index),
                "parameter_addresses": Out(data.ArrayLayout(index, regions["parameters"].units)),
                "parameter_data": In(regions["parameters"].bits),
                "state_addresses": Out(data.ArrayLayout(bits, regions["state"].units)),
                "state_data": In(regions["state"].bits),
                "state_write_addresses": Out(data.ArrayLayout(bits, regions["state"].units)),
                "state_writes": Out(regions["state"].units),
                "state_written": Out(regions["state"].bits),
                "stored": Out(1),
                "stored_neuron": Out(bits),
                "stored_state": Out(regions["state"].bits),
                "stored_spikes": Out(map.chip.payload_bits),
                "listed": Out(1),
                "value": Out(map.value_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The sequencer, the delays and the pipelines."""
        m = Module()
        map = self.map
        latency, before, wait = map.chip.neuron_latency, self.before, map.chip.memory_latency
        output, model, number, running = self._sequencer(m, before + latency)
        numbers, valid = Taps(number, "neuron"), [running]
        index = Taps(self.index_data, "index")
        for n in range(1, before + latency + 1):
            valid.append(Signal(name=f"valid{n}"))
            m.d.sync += valid[n].eq(valid[n - 1])

        if map.learn:
            m.d.comb += self.soon.eq(numbers[before + latency - wait - map.learn.trace_lead])

        # The pipelines' first clock is `before` after a neuron's number; memories answer in `wait`.
        currents = [arrivals.get("current", 0) for arrivals in map.arrivals]
        first = min(currents)
        m.d.comb += [
            self.take.eq(valid[before - take_clocks(map.chip) + first]),
            self.neuron.eq(numbers[before - take_clocks(map.chip) + first]),
            self.index_address.eq(numbers[before - 2 * wait]),
        ]
        for n, clock in enumerate(map.wanted("state")):
            m.d.comb += self.state_addresses[n].eq(numbers[before - wait + clock])
        for n, clock in enumerate(map.wanted("parameters")):
            m.d.comb += self.parameter_addresses[n].eq(index[clock])
        results = [
            self._pipeline(m, n, numbers, currents[n] - first) for n in range(len(map.models))
        ]
        shown = later(m, output, before + latency, "output")
        kind = later(m, model, before + latency, "model")
        m.d.comb += [self.stored.eq(valid[-1]), self.stored_neuron.eq(numbers[before + latency])]
        for n, (_, value, spikes) in enumerate(results):
            with m.If(kind == n):
                m.d.comb += [
                    self.value.eq(value),
                    self.listed.eq(valid[-1] & ((value != 0) if spikes else shown)),
                    self.stored_spikes.eq(value if spikes else 0),
                ]

        stored = []
        for unit in range(map.regions["state"].units):
            # When the last pipeline has its part; those before wait.
            when = max(clock for state, _, _ in results for k, clock, _ in state if k == unit)
            m.d.comb += [
                self.state_write_addresses[unit].eq(numbers[before + when]),
                self.state_writes[unit].eq(valid[before + when]),
            ]
            part = self.state_written[unit * UNIT : (unit + 1) * UNIT]
            written = Signal(len(part), name=f"written{unit}")
            kind_then = later(m, model, before + when, f"model_{unit}_")
            for n, (state, _, _) in enumerate(results):
                for k, clock, bits in state:
                    if k == unit:
                        ready = later(m, bits, when - clock, f"written{n}_{unit}_")
                        with m.If(kind_then == n):
                            m.d.comb += written.eq(ready)
            m.d.comb += part.eq(written)
            stored.append(later(m, written, latency - when, f"stored{unit}_"))
        m.d.comb += self.stored_state.eq(Cat(stored))
        for line in (numbers, index):
            line.connect(m, self.line_registers if self.target == "ice40" else 0)
        return m

    def _sequencer(self, m: Module, latency: int) -> tuple[Signal, Signal, Signal, Signal]:
        """Two clocks per population, one per neuron of one that is due: (whether its population is
        an output, its model, its number, whether there is one)."""
        map = self.map
        entry = data.View(
            struct(map.regions["populations"].fields),
            self.table_data[: map.regions["populations"].bits],
        )
        phase = data.View(struct(map.regions["phases"].fields), self.table_data)
        last = Signal(map.neuron_bits, reset_less=True)
        output, output_there = Signal(), Signal(reset_less=True)
        model, model_there = Signal(map.model_bits), Signal(map.model_bits, reset_less=True)
        begin, neuron = Signal(map.neuron_bits), Signal(map.neuron_bits, reset_less=True)
        population = Signal(range(map.chip.populations + 1))
        wait = Signal(range(latency + 2))
        due, running = Signal(), Signal()
        fresh = Signal()  # the entry of the last population has come in this clock
        m.d.comb += [
            due.eq(phase.countdown == 0),
            self.population.eq(population),
            output.eq(Mux(fresh, entry.output, output_there)),
            model.eq(Mux(fresh, entry.model if map.model_bits else 0, model_there)),
        ]
        m.d.sync += [  # a clock after it was read
            self.phase_write.eq(0), self.phase_written.eq(0), self.phase_population.eq(population),
        ]  # fmt: skip
        m.d.sync += [output_there.eq(output), model_there.eq(model), fresh.eq(0)]
        if map.learn:
            m.d.sync += self.phase_due.eq(due)
        with m.If(fresh):
            m.d.sync += [last.eq(entry.last), begin.eq(entry.last + 1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [population.eq(0), begin.eq(0), wait.eq(latency)]
                with m.If(self.start):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.asks_phase.eq(1)
                with m.If(population == self.populations):
                    m.next = "DRAIN"
                with m.Else():
                    m.next = "DECIDE"
            with m.State("DECIDE"):
                countdown = Mux(due, phase.period, phase.countdown - 1)[:PHASE_BITS]
                m.d.sync += self.phase_write.eq(1)
                m.d.sync += self.phase_written.eq(Cat(countdown, phase.period))
                m.d.sync += neuron.eq(begin)
                m.d.sync += [fresh.eq(1), population.eq(population + 1)]
                with m.If(due):
                    m.next = "RUN"
                with m.Else():
                    m.next = "READ"
            with m.State("RUN"):
                m.d.comb += running.eq(1)
                m.d.sync += neuron.eq(neuron + 1)
                with m.If(Mux(fresh, entry.single, neuron == last)):
                    m.next = "READ"
            with m.State("DRAIN"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
        return output, model, neuron, running

    def _pipeline(
        self, m: Module, number: int, numbers: Taps, early: int
    ) -> tuple[list[tuple[int, int, Value]], Value, bool]:
        """A model's state as (unit, clock, bits), and its spike count or value after the latency,
        and whether that is a spike.

        early: clocks by which `current` comes before this model wants it.
        """
        map = self.map
        model, arrivals = map.models[number], map.arrivals[number]
        pipeline = Pipeline(model.outputs, self.target, line_registers=self.line_registers)
        m.submodules[f"model{number}"] = pipeline
        given: dict[str, Value] = {}
        if "current" in arrivals:
            given["current"] = later(m, self.current, early, f"current{number}_")
        given |= self._fields(m, number, "state", self.state_data)
        given |= self._fields(m, number, "parameters", self.parameter_data)
        for name, _ in pipeline.inputs.shape():
            key, raw = next((k, value) for k, value in given.items() if field(k) == name)
            m.d.comb += pipeline.inputs[name].eq(signed_as(pipeline, key, raw))
        spare = map.chip.neuron_latency - pipeline.latency
        if any(v.op == "random" for v in topological(model.outputs.values())):
            m.d.comb += [
                pipeline.word.eq(self.random_word),
                pipeline.core.eq(0),
                pipeline.address.eq(numbers[self.before + spare + pipeline.drawn]),
            ]  # fmt: skip
        layout = struct(map.regions["state"].fields)
        pieces: dict[int, list[tuple[int, int, Value]]] = {}
        for n, name in enumerate(sorted(model.state)):
            start = layout[f"s{n}"].offset
            clock = spare + pipeline.departures[field(f"next.{name}")]
            following = Signal(field_bits(*model.state[name]), name=f"next{number}_{name}")
            m.d.comb += following.eq(pipeline.outputs[field(f"next.{name}")])
            for bit in range(start, start + len(following)):
                pieces.setdefault(bit // UNIT, []).append((bit, clock, following[bit - start]))
        state = []
        for unit, bits in pieces.items():
            last = max(clock for _, clock, _ in bits)
            whole = Signal(min(UNIT, len(self.state_data) - unit * UNIT), name=f"s{number}_{unit}")
            for clock in sorted({clock for _, clock, _ in bits}):
                here = [(bit, value) for bit, when, value in bits if when == clock]
                m.d.comb += Cat(whole[bit % UNIT] for bit, _ in here).eq(
                    later(m, Cat(value for _, value in here), last - clock, f"s{number}_{unit}_")
                )
            state.append((unit, last, whole))
        result = field("spike" if model.spikes else "value")
        value = Signal(map.value_bits, name=f"value{number}")
        wait = pipeline.latency - pipeline.departures[result]
        m.d.comb += value.eq(pipeline.outputs[result])
        return state, later(m, value, wait, f"value{number}_"), model.spikes

    def _fields(self, m: Module, number: int, region: str, stored: Value) -> dict[str, Value]:
        """What a model reads of a region, by input name, in the clock in which it is wanted."""
        map, kind = self.map, region.removesuffix("s")
        model, arrivals, wanted = map.models[number], map.arrivals[number], map.wanted(region)
        formats = model.state if region == "state" else model.parameters
        layout = struct(map.regions[region].fields)
        given: dict[str, Value] = {}
        for n, (name, interval) in enumerate(sorted(formats.items())):
            if f"{kind}.{name}" not in arrivals:
                continue
            place = layout[f"{kind[0]}{n}"]
            parts = []
            for bit in range(place.offset, place.offset + field_bits(*interval)):
                parts.append((bit // UNIT, stored[bit]))
            clock = arrivals[f"{kind}.{name}"]
            given[f"{kind}.{name}"] = Cat(
                later(m, Cat(*[b for unit, b in parts if unit == k]), clock - wanted[k],
                      f"{kind}{number}_{name}_{k}_")
                for k in sorted({unit for unit, _ in parts})
            )  # fmt: skip
        return given
