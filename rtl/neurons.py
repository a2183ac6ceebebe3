"""Update: the neurons of every population that is due, one per clock through the pipelines."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.language import topological
from ..compiler.ir.memory_map import PHASE_BITS, MemoryMap, field_bits
from .accumulators import later
from .deliver import struct
from .pipeline import Pipeline, field
from .primitives import Target

CLOCKS = 3  # from a neuron's number to the inputs of its pipeline


class Neurons(wiring.Component):
    """Walks the populations, and updates the neurons of those that are due.

    start: one clock; done: high in the last clock. `take`, `neuron` ask the accumulators, `current`
    comes three clocks later. The index of a neuron's parameters is asked for with its number, the
    parameters a clock after the index, the state so that all are there together. `stored` reports
    an update: state written, and with `listed` a spike or a value for the list.
    """

    def __init__(self, map: MemoryMap, target: Target = "generic") -> None:
        self.map, self.target = map, target
        regions, bits = map.regions, map.neuron_bits
        population = len(Signal(range(max(2, map.chip.populations))))
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "populations": In(range(map.chip.populations + 1)),
                "random_word": In(32),
                "population": Out(population),
                "population_data": In(regions["populations"].bits),
                "phase_data": In(regions["phases"].bits),
                "phase_write": Out(1),
                "phase_written": Out(regions["phases"].bits),
                "take": Out(1),
                "neuron": Out(bits),
                "current": In(map.chip.accumulator_bits),
                "index_data": In(regions["parameter_index"].bits),
                "parameter_address": Out(regions["parameter_index"].bits),
                "parameter_data": In(regions["parameters"].bits),
                "state_address": Out(bits),
                "state_data": In(regions["state"].bits),
                "stored": Out(1),
                "stored_neuron": Out(bits),
                "state_written": Out(regions["state"].bits),
                "listed": Out(1),
                "value": Out(map.value_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The sequencer, the delays and the pipelines."""
        m = Module()
        map = self.map
        latency = map.chip.neuron_latency
        output, model = self._sequencer(m, CLOCKS + latency)
        number = later(m, self.neuron, CLOCKS - 1, "neuron")
        m.d.comb += self.state_address.eq(number)
        m.d.sync += self.parameter_address.eq(self.index_data)

        address = later(m, number, 1, "address")
        results = [
            self._pipeline(m, n, address) for n in range(len(map.models))
        ]
        valid = self.take
        for n in range(CLOCKS + latency):
            after = Signal(name=f"valid{n + 1}")
            m.d.sync += after.eq(valid)
            valid = after
        shown = later(m, output, CLOCKS + latency, "output")
        kind = later(m, model, CLOCKS + latency, "model")
        m.d.comb += [self.stored.eq(valid), self.stored_neuron.eq(later(m, address, latency, "to"))]
        for n, (state, value, spikes) in enumerate(results):
            with m.If(kind == n):
                m.d.comb += [
                    self.state_written.eq(state),
                    self.value.eq(value),
                    self.listed.eq(valid & ((value != 0) if spikes else shown)),
                ]
        return m

    def _sequencer(self, m: Module, latency: int) -> tuple[Signal, Signal]:
        """Two clocks per population, one per neuron of one that is due; (output, model)."""
        map = self.map
        entry = data.View(struct(map.regions["populations"].fields), self.population_data)
        phase = data.View(struct(map.regions["phases"].fields), self.phase_data)
        last = Signal(map.neuron_bits, reset_less=True)
        output, model = Signal(reset_less=True), Signal(map.model_bits, reset_less=True)
        begin, neuron = Signal(map.neuron_bits), Signal(map.neuron_bits, reset_less=True)
        population = Signal(range(map.chip.populations + 1))
        wait = Signal(range(latency + 2))
        due = Signal()
        m.d.comb += [
            due.eq(phase.countdown == 0),
            self.phase_written.eq(
                Cat(Mux(due, phase.period, phase.countdown - 1)[:PHASE_BITS], phase.period)
            ),
            self.population.eq(population),
            self.neuron.eq(neuron),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [population.eq(0), begin.eq(0), wait.eq(latency)]
                with m.If(self.start):
                    m.next = "READ"
            with m.State("READ"):
                with m.If(population == self.populations):
                    m.next = "DRAIN"
                with m.Else():
                    m.next = "DECIDE"
            with m.State("DECIDE"):
                m.d.sync += [
                    last.eq(entry.last),
                    output.eq(entry.output),
                    model.eq(entry.model if map.model_bits else 0),
                    neuron.eq(begin),
                    begin.eq(entry.last + 1),
                ]
                m.d.comb += self.phase_write.eq(1)
                with m.If(due):
                    m.next = "RUN"
                with m.Else():
                    m.d.sync += population.eq(population + 1)
                    m.next = "READ"
            with m.State("RUN"):
                m.d.comb += self.take.eq(1)
                m.d.sync += neuron.eq(neuron + 1)
                with m.If(neuron == last):
                    m.d.sync += population.eq(population + 1)
                    m.next = "READ"
            with m.State("DRAIN"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
        return output, model

    def _pipeline(
        self, m: Module, number: int, address: Value
    ) -> tuple[Value, Value, bool]:
        """(state, spike count or value, whether it spikes) of a model, all after the latency."""
        map = self.map
        model = map.models[number]
        pipeline = Pipeline(model.outputs, self.target)
        m.submodules[f"model{number}"] = pipeline
        given: dict[str, Value] = {"current": self.current}
        kept = struct(map.regions["state"].fields)
        state = data.View(kept, self.state_data[: kept.size])
        layout = struct(map.regions["parameters"].fields)
        parameters = data.View(layout, self.parameter_data[: layout.size])
        for n, (name, interval) in enumerate(sorted(model.state.items())):
            given[f"state.{name}"] = state[f"s{n}"][: field_bits(*interval)]
        for n, (name, interval) in enumerate(sorted(model.parameters.items())):
            given[f"parameter.{name}"] = parameters[f"p{n}"][: field_bits(*interval)]
        used = {
            str(v.attribute[0]) for v in topological(model.outputs.values()) if v.op == "input"
        }
        for name in sorted(used):
            target = pipeline.inputs[field(name)]
            raw = given[name]
            m.d.comb += target.eq(raw if name == "current" else _signed_as(target, raw))
        if any(v.op == "random" for v in topological(model.outputs.values())):
            m.d.comb += [
                pipeline.word.eq(self.random_word),
                pipeline.core.eq(0),
                pipeline.address.eq(address),
            ]  # fmt: skip
        spare = map.chip.neuron_latency - pipeline.latency
        written = []
        for n, (name, interval) in enumerate(sorted(model.state.items())):
            width = dict(map.regions["state"].fields)[f"s{n}"]
            following = Signal(field_bits(*interval), name=f"next{number}_{name}")
            m.d.comb += following.eq(pipeline.outputs[field(f"next.{name}")])
            written.append(Cat(following, Const(0, width - len(following))))
        result = pipeline.outputs["spike" if model.spikes else "value"]
        whole = later(m, Cat(*written), spare, f"state{number}")
        value = Signal(map.value_bits, name=f"value{number}")
        m.d.comb += value.eq(result)
        return whole, later(m, value, spare, f"value{number}"), model.spikes


def _signed_as(target: Value, raw: Value) -> Value:
    """The stored bits as the number that the pipeline's input wants."""
    return raw.as_signed() if target.shape().signed and len(raw) >= len(target) else raw

