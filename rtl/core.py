"""The core: memories, the three phases of a tick, the host's port."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.language import topological
from ..compiler.ir.memory_map import REGISTERS, UNIT, MemoryMap, Region
from .accumulators import CLOCKS as ACCUMULATOR_CLOCKS
from .accumulators import Accumulators, Retired, later
from .deliver import Deliver
from .emit import CLOCK_BITS, Emit, event_layout, list_layout, output_layout
from .memories import RegionMemory
from .neurons import Neurons
from .primitives import SinglePortMemory, Target

READ_CLOCKS = 3  # from an accepted read to its data
IDLE, DELIVER, UPDATE, EMIT = range(4)


class MemoryPort(wiring.Signature):
    """The host's port to everything a core holds, 16 bits at a time.

    An access is taken in a clock with `ready`, which is when the core is between ticks; what is
    read comes with `read_valid` three clocks later. Addresses are `MemoryMap.address`.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                "address": Out(address_bits),
                "write": Out(1),
                "read": Out(1),
                "write_data": Out(UNIT),
                "ready": In(1),
                "read_data": In(UNIT),
                "read_valid": In(1),
            }
        )


class Core(wiring.Component):
    """One core of a chip.

    memory: see `MemoryPort`; events: the host's events for the next tick, between ticks; start: one
    clock, while `idle`, runs a tick; output: spikes and values of the tick and the clocks of each
    phase, the last of them those of Emit. A core that the host keeps waiting stalls, and counts
    that apart. The rest reports what happens, for tests: `phase`, `counting` in clocks that count,
    `retired` accumulator writes of Deliver, `stored` neuron updates.
    """

    def __init__(self, map: MemoryMap, target: Target = "generic") -> None:
        self.map, self.target = map, target
        super().__init__(
            {
                "memory": In(MemoryPort(map.address_bits)),
                "events": In(stream.Signature(event_layout(map))),
                "start": In(1),
                "idle": Out(1),
                "output": Out(stream.Signature(output_layout(map))),
                "phase": Out(2),
                "counting": Out(1),
                "retired": Out(Retired(map)),
                "stored": Out(1),
                "stored_neuron": Out(map.neuron_bits),
                "stored_state": Out(map.regions["state"].bits),
                "stored_value": Out(map.value_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the phases to the memories."""
        m = Module()
        map = self.map
        regions = map.regions
        steps = map.chip.accumulate_latency - 2
        m.submodules.deliver = deliver = Deliver(map, ACCUMULATOR_CLOCKS + steps - 1)
        m.submodules.accumulators = accumulators = Accumulators(map)
        m.submodules.neurons = neurons = Neurons(map, self.target)
        m.submodules.emit = emit = Emit(map)
        m.submodules.synapses = synapses = SinglePortMemory(
            max(2, regions["synapses"].entries), regions["synapses"].units * UNIT, self.target
        )
        memories = {
            name: RegionMemory(region)
            for name, region in regions.items()
            if name not in ("registers", "synapses", "accumulators")
        }
        for name, memory in memories.items():
            m.submodules[name] = memory
        m.submodules.list = spikes = RegionMemory(
            Region("list", map.chip.neurons, list_layout(map).size)
        )
        host = _Host(m, self, memories, accumulators, synapses)
        ticked, stalled = Signal(), Signal()
        phase = self._phases(m, deliver, neurons, emit, host, ticked, stalled)
        slot, populations, pending_words, word = self._registers(m, host, ticked, stalled)

        # Deliver
        m.d.comb += [
            deliver.slot.eq(slot),
            deliver.pending_words.eq(pending_words),
            deliver.pending_data.eq(memories["pending"].data),
            deliver.row_data.eq(memories["rows"].data),
            memories["rows"].address.eq(deliver.row_address),
            memories["rows"].enable.eq(deliver.row_enable),
            accumulators.add.eq(deliver.read),
            accumulators.sparse.eq(deliver.sparse),
            accumulators.word.eq(deliver.word),
            accumulators.slot.eq(deliver.to_slot),
            accumulators.synapses.eq(synapses.read_data),
            memories["pending"].address.eq(
                Mux(phase == DELIVER, deliver.pending_address, emit.pending_address)
            ),
            memories["pending"].write.eq(deliver.pending_clear | emit.pending_write),
            memories["pending"].write_address.eq(
                Mux(phase == DELIVER, deliver.pending_clear_address, emit.pending_write_address)
            ),
            memories["pending"].write_data.eq(Mux(phase == DELIVER, 0, emit.pending_written)),
        ]
        if "payloads" in memories:
            m.d.comb += [
                memories["payloads"].address.eq(deliver.row_address),
                memories["payloads"].enable.eq(deliver.row_enable),
                deliver.payload_data.eq(memories["payloads"].data),
                memories["payloads"].write.eq(emit.payload_write),
                memories["payloads"].write_address.eq(emit.payload_address),
                memories["payloads"].write_data.eq(emit.payload),
            ]

        # Update
        m.d.comb += [
            accumulators.take.eq(neurons.take),
            accumulators.neuron.eq(neurons.neuron),
            accumulators.now.eq(slot),
            neurons.current.eq(accumulators.current),
            neurons.populations.eq(populations),
            neurons.random_word.eq(word),
            memories["populations"].address.eq(neurons.population),
            neurons.population_data.eq(memories["populations"].data),
            memories["phases"].address.eq(neurons.population),
            neurons.phase_data.eq(memories["phases"].data),
            memories["phases"].write.eq(neurons.phase_write),
            memories["phases"].write_address.eq(neurons.population),
            memories["phases"].write_data.eq(neurons.phase_written),
            memories["parameter_index"].address.eq(neurons.neuron),
            neurons.index_data.eq(memories["parameter_index"].data),
            memories["parameters"].address.eq(neurons.parameter_address),
            neurons.parameter_data.eq(memories["parameters"].data),
            memories["state"].address.eq(neurons.state_address),
            neurons.state_data.eq(memories["state"].data),
            memories["state"].write.eq(neurons.stored),
            memories["state"].write_address.eq(neurons.stored_neuron),
            memories["state"].write_data.eq(neurons.state_written),
        ]

        # Emit
        m.d.comb += [
            emit.push.eq(neurons.listed),
            emit.pushed.neuron.eq(neurons.stored_neuron),
            emit.pushed.value.eq(neurons.value),
            spikes.address.eq(emit.list_address),
            spikes.enable.eq(emit.advance),
            emit.list_data.eq(spikes.data),
            spikes.write.eq(emit.list_write),
            spikes.write_address.eq(emit.list_write_address),
            spikes.write_data.eq(emit.pushed),
            memories["routes"].address.eq(emit.route_address),
            memories["routes"].enable.eq(emit.advance),
            emit.route_data.eq(memories["routes"].data),
            emit.pending_data.eq(memories["pending"].data),
        ]

        m.d.comb += [
            self.retired.write.eq(Mux(phase == DELIVER, accumulators.retired.write, 0)),
            self.retired.place.eq(accumulators.retired.place),
            self.retired.sum.eq(accumulators.retired.sum),
            self.stored.eq(neurons.stored),
            self.stored_neuron.eq(neurons.stored_neuron),
            self.stored_state.eq(neurons.state_written),
            self.stored_value.eq(neurons.value),
        ]
        with m.If(~host.active):
            m.d.comb += synapses.address.eq(deliver.synapse)
        return m

    def _phases(
        self, m: Module, deliver: Deliver, neurons: Neurons, emit: Emit, host: _Host,
        ticked: Signal, stalled: Signal,
    ) -> Signal:  # fmt: skip
        """Deliver, Update, Emit, and after each its clocks to the host."""
        phase, reporting, clocks = Signal(2), Signal(), Signal(CLOCK_BITS)
        ended, accepted, starting = Signal(), Signal(), Signal()
        m.d.comb += [
            self.phase.eq(phase),
            self.idle.eq(phase == IDLE),
            starting.eq(self.idle & self.start),
            stalled.eq(emit.stalled | (reporting & ~self.output.ready)),
            self.counting.eq((phase != IDLE) & ~reporting & ~emit.stalled),
            accepted.eq(reporting & self.output.ready),
            ticked.eq(accepted & (phase == EMIT)),
            deliver.start.eq(starting),
            neurons.start.eq(accepted & (phase == DELIVER)),
            emit.start.eq(accepted & (phase == UPDATE)),
            ended.eq(deliver.done | neurons.done | emit.done),
        ]
        with m.If(self.counting):
            m.d.sync += clocks.eq(clocks + 1)
        with m.If(ended):
            m.d.sync += reporting.eq(1)
        with m.If(accepted):
            m.d.sync += [reporting.eq(0), clocks.eq(0)]
        with m.If(starting | accepted):
            m.d.sync += phase.eq(phase + 1)

        # Its number tells which phase's clocks a report holds: DELIVER is 1, an entry 0.
        m.d.comb += [
            self.output.valid.eq(reporting | emit.output.valid),
            self.output.payload.eq(emit.output.payload),
            emit.output.ready.eq(self.output.ready & ~reporting),
        ]
        with m.If(reporting):
            m.d.comb += [self.output.payload.kind.eq(phase), self.output.payload.value.eq(clocks)]

        free = Signal()
        m.d.comb += [
            free.eq(self.idle & ~self.start & ~host.active & ~host.asked),
            emit.event.payload.eq(self.events.payload),
            emit.event.valid.eq(self.events.valid & free),
            self.events.ready.eq(free),
        ]
        return phase

    def _registers(
        self, m: Module, host: _Host, ticked: Signal, stalled: Signal
    ) -> tuple[Signal, Signal, Signal, Signal]:
        """(slot, populations, pending words, random word), and the count of stalls."""
        map = self.map
        slot = Signal(map.slot_bits)
        populations = Signal(range(map.chip.populations + 1))
        pending_words = Signal(range(map.regions["pending"].entries + 1))
        word, stalls = Signal(32), Signal(UNIT)
        draws = any(
            v.op == "random" for model in map.models for v in topological(model.outputs.values())
        )
        with m.If(ticked):
            m.d.sync += slot.eq(slot + 1)
            if draws:
                m.d.sync += word.eq(_next_word(word))
        with m.If(stalled):
            m.d.sync += stalls.eq(stalls + 1)
        registers = dict(
            zip(
                REGISTERS,
                (slot, populations, pending_words, word[:UNIT], word[UNIT:], stalls),
                strict=True,
            )
        )
        with m.If(host.write("registers")), m.Switch(host.offset[:4]):
            for n, register in enumerate(registers.values()):
                with m.Case(n):
                    m.d.sync += register.eq(host.data)
        shown = Signal(UNIT, reset_less=True)
        m.d.sync += shown.eq(Array(registers.values())[host.offset[:4]])
        m.d.comb += host.shown["registers"].eq(shown)
        return slot, populations, pending_words, word


class _Host:
    """The memory port: an access is registered, done in the next clock, its data muxed after.

    active: in this clock an access is done; asked: in this clock one is taken.
    """

    def __init__(
        self, m: Module, core: Core, memories: dict[str, RegionMemory],
        accumulators: Accumulators, synapses: SinglePortMemory,
    ) -> None:  # fmt: skip
        map, port = core.map, core.memory
        self.names = list(map.regions)
        self.active, self.asked = Signal(), Signal()
        self.offset = Signal(map.offset_bits, reset_less=True)
        self.data = Signal(UNIT, reset_less=True)
        self._region = Signal(range(max(2, len(self.names))), reset_less=True)
        self._write = Signal(reset_less=True)
        self.shown = {name: Signal(UNIT, name=f"shown_{name}") for name in self.names}
        m.d.comb += [
            port.ready.eq(core.idle & ~core.start),
            self.asked.eq(port.ready & (port.write | port.read)),
        ]
        m.d.sync += [
            self.active.eq(self.asked),
            self.offset.eq(port.address[: map.offset_bits]),
            self._region.eq(port.address[map.offset_bits :]),
            self._write.eq(port.write),
            self.data.eq(port.write_data),
        ]
        parts = {name: (memory.host, memory.host_data) for name, memory in memories.items()}
        parts["accumulators"] = (accumulators.host, accumulators.host_data)
        for name, (host, there) in parts.items():
            unit_bits = map.regions[name].unit_bits
            m.d.comb += [
                host.active.eq(self.active),
                host.entry.eq(self.offset[unit_bits:]),
                host.unit.eq(self.offset[:unit_bits]),
                host.data.eq(self.data),
                host.write.eq(self.write(name)),
                self.shown[name].eq(there),
            ]
        self._synapses(m, map, synapses)
        region = later(m, self._region, 1, "host_region")
        padded = [self.shown[name] for name in self.names]
        m.d.sync += port.read_data.eq(Array(padded)[region])
        valid = self.active & ~self._write
        for n in range(READ_CLOCKS - 1):
            after = Signal(name=f"host_read{n}")
            m.d.sync += after.eq(valid)
            valid = after
        m.d.comb += port.read_valid.eq(valid)

    def write(self, name: str) -> Signal:
        """Whether this clock writes a region."""
        return self.active & self._write & (self._region == self.names.index(name))

    def _synapses(self, m: Module, map: MemoryMap, synapses: SinglePortMemory) -> None:
        region = map.regions["synapses"]
        unit = self.offset[: region.unit_bits]
        m.d.comb += [
            synapses.write_data.eq(Cat(*[self.data] * region.units)),
            synapses.write_mask.eq(Cat(unit == n for n in range(region.units))),
            synapses.write.eq(self.write("synapses")),
        ]
        with m.If(self.active):
            m.d.comb += synapses.address.eq(self.offset[region.unit_bits :])
        there = later(m, unit, 1, "host_unit")
        parts = [synapses.read_data[n * UNIT : (n + 1) * UNIT] for n in range(region.units)]
        m.d.comb += self.shown["synapses"].eq(
            Array(parts)[there] if region.units > 1 else parts[0]
        )


def _next_word(word: Any) -> Any:
    """xorshift32, as `interpret.next_word` steps it."""
    word = (word ^ (word << 13))[:32]
    word = word ^ (word >> 17)
    return (word ^ (word << 5))[:32]
