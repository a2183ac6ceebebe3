"""The core: memories, the three phases of a tick, the host's port."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from ..compiler.ir.chip import ChipSpec
from ..compiler.ir.cycles import take_clocks
from ..compiler.ir.digest import digest_bits
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.region import UNIT, Region
from .accumulators import Accumulators, Retired
from .deliver import Deliver
from .emit import CLOCK_BITS, Emit, event_layout, list_layout, output_layout
from .memories import RegionMemory, later
from .neurons import Neurons
from .primitives import SinglePortMemory, Target

WRITTEN = ("state", "payloads")  # by the core itself, not only its host
TABLES = ("pending", "populations", "phases")  # small regions that share a memory
SPREAD = ("state", "parameters")  # each unit is read when it is wanted
IDLE, DELIVER, UPDATE, EMIT = range(4)


def read_clocks(chip: ChipSpec) -> int:
    """Clocks from an accepted read to its data, but of an accumulator."""
    return 3 + chip.memory_latency


class MemoryPort(wiring.Signature):
    """The host's port to everything a core holds, 16 bits at a time.

    An access is taken in a clock with `ready`, which is when the core is between ticks and no
    accumulator is being read or written; what is read comes with `read_valid`, `read_clocks` later
    (of an accumulator three after `take_clocks`). Addresses are `MemoryMap.address`.
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
    phase, the last of them those of Emit; digest: of the tick that ended, where the chip has
    digests. A core that the host keeps waiting stalls, and counts that apart. The rest reports what
    happens, for tests: `phase`, `counting` in clocks that count, `retired` accumulator writes of
    Deliver, `stored` neuron updates.
    """

    def __init__(self, map: MemoryMap, target: Target = "generic") -> None:
        self.map, self.target = map, target
        digest = {"digest": Out(32)} if map.chip.digests else {}
        super().__init__(
            {
                **digest,
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
        waits = map.chip.memory_latency - 1
        m.submodules.deliver = deliver = Deliver(map, map.chip.accumulate_latency - 1 + waits)
        m.submodules.accumulators = accumulators = Accumulators(map)
        m.submodules.neurons = neurons = Neurons(map, self.target)
        m.submodules.emit = emit = Emit(map)
        m.submodules.synapses = synapses = SinglePortMemory(
            max(2, regions["synapses"].entries), regions["synapses"].units * UNIT, self.target
        )
        memories = {
            name: RegionMemory(
                region, written=name in WRITTEN, spread=name in SPREAD, clocks=1 + waits
            )
            for name, region in regions.items()
            if name not in ("registers", "synapses", "accumulators", *TABLES)
        }
        for name, memory in memories.items():
            m.submodules[name] = memory
        m.submodules.list = spikes = RegionMemory(
            Region("list", map.chip.neurons, list_layout(map).size),
            written=True, shared=False, clocks=1 + waits, small=True, target=self.target,
        )  # fmt: skip
        m.submodules.tables = tables = RegionMemory(
            _tables(map), written=True, clocks=1 + waits, small=True, target=self.target
        )
        word = later(m, synapses.read_data, waits, "synapse_word")
        host = _Host(m, self, memories, tables, accumulators, synapses, word)
        ticked, stalled = Signal(), Signal()
        phase, resting = self._phases(m, deliver, neurons, emit, host, ticked, stalled)
        slot, populations, pending_words, random_word = self._registers(m, host, ticked, stalled)

        # Deliver
        m.d.comb += [
            deliver.slot.eq(slot),
            deliver.pending_words.eq(pending_words),
            deliver.pending_data.eq(tables.data),
            deliver.row_data.eq(memories["rows"].data),
            memories["rows"].address.eq(deliver.row_address),
            memories["rows"].enable.eq(deliver.row_enable),
            accumulators.add.eq(later(m, deliver.read, waits, "adding")),
            accumulators.sparse.eq(later(m, deliver.sparse, waits, "sparse")),
            accumulators.word.eq(later(m, deliver.word, waits, "word")),
            accumulators.slot.eq(later(m, deliver.to_slot, waits, "to_slot")),
            accumulators.synapses.eq(word),
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

        # The small memories: pending events but in Update, then populations and their phases.
        delivering, half = phase == DELIVER, len(tables.address) - 1
        m.d.comb += [
            tables.enable.eq(~delivering | deliver.pending_enable),
            tables.address.eq(Mux(delivering, deliver.pending_address, emit.pending_address)),
            tables.write.eq(deliver.pending_clear | emit.pending_write | neurons.phase_write),
            tables.write_address.eq(
                Mux(delivering, deliver.pending_clear_address, emit.pending_write_address)
            ),
            tables.write_data.eq(Mux(delivering, 0, emit.pending_written)),
        ]
        with m.If(phase == UPDATE):
            m.d.comb += [
                tables.address.eq(
                    Cat(Cat(neurons.population, Const(0, 16))[: half - 1], neurons.asks_phase, 1)
                ),
                tables.write_address.eq(
                    Cat(Cat(neurons.phase_population, Const(0, 16))[: half - 1], 1, 1)
                ),
                tables.write_data.eq(neurons.phase_written),
            ]

        # Update
        taken = Signal.like(accumulators.neuron)
        m.d.comb += [
            taken.eq(neurons.neuron),
            accumulators.take.eq(neurons.take | host.take),
            accumulators.store.eq(neurons.take | host.store),
            accumulators.clear.eq(neurons.take | host.clear),
            accumulators.given.eq(host.given),
            accumulators.whole.eq(~resting),
            accumulators.unit.eq(host.offset[: regions["accumulators"].unit_bits]),
            Cat(accumulators.neuron, accumulators.now).eq(
                Mux(resting, host.place, Cat(taken, slot))
            ),
            neurons.current.eq(accumulators.current),
            neurons.populations.eq(populations),
            neurons.random_word.eq(random_word),
            neurons.table_data.eq(tables.data),
            memories["parameter_index"].address.eq(neurons.index_address),
            neurons.index_data.eq(memories["parameter_index"].data),
            memories["parameters"].addresses.eq(neurons.parameter_addresses),
            neurons.parameter_data.eq(memories["parameters"].data),
            memories["state"].addresses.eq(neurons.state_addresses),
            neurons.state_data.eq(memories["state"].data),
            memories["state"].writes.eq(neurons.state_writes),
            memories["state"].write_addresses.eq(neurons.state_write_addresses),
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
            emit.pending_data.eq(tables.data),
        ]

        m.d.comb += [
            self.retired.write.eq(Mux(phase == DELIVER, accumulators.retired.write, 0)),
            self.retired.place.eq(accumulators.retired.place),
            self.retired.sum.eq(accumulators.retired.sum),
            self.stored.eq(neurons.stored),
            self.stored_neuron.eq(neurons.stored_neuron),
            self.stored_state.eq(neurons.stored_state),
            self.stored_value.eq(neurons.value),
        ]
        with m.If(~host.active):
            m.d.comb += synapses.address.eq(deliver.synapse)
        if map.chip.digests:
            self._digest(m, neurons)
        return m

    def _digest(self, m: Module, neurons: Neurons) -> None:
        """See `compiler.ir.digest`."""
        m.submodules.crc = crc = CRC32_ISO_HDLC(digest_bits(self.map)).create()
        updated = Cat(neurons.stored_state, Const(0, -len(neurons.stored_state) % UNIT))
        m.d.comb += [
            crc.start.eq(neurons.start),
            crc.valid.eq(neurons.stored),
            crc.data.eq(Cat(updated, neurons.stored_spikes)),
            self.digest.eq(crc.crc),
        ]

    def _phases(
        self, m: Module, deliver: Deliver, neurons: Neurons, emit: Emit, host: _Host,
        ticked: Signal, stalled: Signal,
    ) -> tuple[Signal, Signal]:  # fmt: skip
        """Deliver, Update, Emit, and after each its clocks to the host: (phase, whether none)."""
        phase, reporting, clocks = Signal(2), Signal(), Signal(CLOCK_BITS)
        ended, accepted, starting, resting = Signal(), Signal(), Signal(), Signal(init=1)
        m.d.comb += [
            self.phase.eq(phase),
            self.idle.eq(resting & ~host.busy),
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
            m.d.sync += [phase.eq(phase + 1), resting.eq(phase == EMIT)]

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
        return phase, resting

    def _registers(
        self, m: Module, host: _Host, ticked: Signal, stalled: Signal
    ) -> tuple[Signal, Signal, Signal, Signal]:
        """(slot, populations, pending words, random word), and the count of stalls."""
        map = self.map
        registers = {name: Signal(bits, name=name) for name, bits in map.registers.items()}
        with m.If(ticked):
            m.d.sync += registers["slot"].eq(registers["slot"] + 1)
        with m.If(stalled):
            m.d.sync += registers["stalls"].eq(registers["stalls"] + 1)
        word = Const(0, 32)
        if map.draws:
            word = Cat(registers["word_low"], registers["word_high"])
            with m.If(ticked):
                m.d.sync += word.eq(_next_word(word))
        with m.If(host.write("registers")), m.Switch(host.offset[:3]):
            for n, (name, register) in enumerate(registers.items()):
                with m.Case(n):  # of stalls, any write starts the count anew
                    m.d.sync += register.eq(0 if name == "stalls" else host.data)
        shown = Signal(UNIT, reset_less=True)
        m.d.sync += shown.eq(Array(registers.values())[host.offset[:3]])
        waits = map.chip.memory_latency - 1
        m.d.comb += host.shown["registers"].eq(later(m, shown, waits, "register_shown"))
        return registers["slot"], registers["populations"], registers["pending_words"], word


def _tables(map: MemoryMap) -> Region:
    """The memory of the small regions: pending events in the lower half, populations and phases in
    a quarter each. Raises SpikefabError for a population's entry beyond 16 bits."""
    if map.regions["populations"].bits > UNIT:
        raise SpikefabError(
            f"{map.chip.neurons} neurons per core", f"chip '{map.chip.name}'",
            f"an entry of a population takes {map.regions['populations'].bits} bits, it has {UNIT}",
            "gateware has 4,096 neurons per core or fewer",
        )  # fmt: skip
    half = max(map.regions["pending"].entries, 2 * map.chip.populations, 4)
    return Region("tables", 2 << (half - 1).bit_length(), UNIT)


class _Host:
    """The memory port: an access is registered, done in the next clock, its data muxed after.

    active: in this clock an access is done; asked: in this clock one is taken. An accumulator is
    accessed through its own pipeline (`take`, `store`, `clear`, `given`, at `place`): it is read,
    or cleared and, when that has gone through, written.
    """

    def __init__(
        self, m: Module, core: Core, memories: dict[str, RegionMemory], tables: RegionMemory,
        accumulators: Accumulators, synapses: SinglePortMemory, synapse_word: Value,
    ) -> None:  # fmt: skip
        map, port = core.map, core.memory
        self.names = list(map.regions)
        self.active, self.asked = Signal(), Signal()
        self.offset = Signal(map.offset_bits, reset_less=True)
        self.data = Signal(UNIT, reset_less=True)
        self._region = Signal(range(max(2, len(self.names))), reset_less=True)
        self._write = Signal(reset_less=True)
        self.shown = {name: Signal(UNIT, name=f"shown_{name}") for name in self.names}
        self.take, self.store, self.clear, self.given = Signal(), Signal(), Signal(), Signal(UNIT)
        self.busy = Signal()  # an accumulator is being accessed
        self.place = Signal(map.slot_bits + map.word_bits + map.lane_bits)
        m.d.comb += [
            port.ready.eq(core.idle & ~core.start),
            self.asked.eq(port.ready & (port.write | port.read)),
        ]
        # Decoded in the clock before, as the memories are far.
        number = port.address[map.offset_bits :]
        self._writes = {name: Signal(name=f"host_write_{name}") for name in self.names}
        m.d.sync += [
            self.active.eq(self.asked),
            *(
                write.eq(self.asked & port.write & (number == n))
                for n, write in enumerate(self._writes.values())
            ),
        ]
        with m.If(port.ready):
            m.d.sync += [
                self.offset.eq(port.address[: map.offset_bits]),
                self._region.eq(port.address[map.offset_bits :]),
                self._write.eq(port.write),
                self.data.eq(port.write_data),
            ]
        for name, memory in memories.items():
            unit_bits = map.regions[name].unit_bits
            m.d.comb += [
                memory.host.active.eq(self.active),
                memory.host.entry.eq(self.offset[unit_bits:]),
                memory.host.unit.eq(self.offset[:unit_bits]),
                memory.host.data.eq(self.data),
                memory.host.write.eq(self.write(name)),
                self.shown[name].eq(memory.host_data),
            ]
        half = len(tables.address) - 1
        phases, populations = self._is("phases"), self._is("populations")
        m.d.comb += [
            tables.host.active.eq(self.active),
            tables.host.entry.eq(
                Cat(
                    self.offset[: half - 1],
                    Mux(phases | populations, phases, self.offset[half - 1]),
                    phases | populations,
                )
            ),
            tables.host.data.eq(self.data),
            tables.host.write.eq(Cat(self.write(name) for name in TABLES).any()),
            *(self.shown[name].eq(tables.host_data) for name in TABLES),
        ]
        late = self._accumulators(m, core, accumulators)
        self._synapses(m, core, synapses, synapse_word)
        # In two steps, as the synapses' memory is slow and far.
        wait = map.chip.memory_latency
        region = later(m, self._region, wait, "host_region")
        others = {name: shown for name, shown in self.shown.items() if name != "synapses"}
        padded = [others.get(name, self.shown["registers"]) for name in self.names]
        chosen = Signal(UNIT, name="host_chosen", reset_less=True)
        word = later(m, self.shown["synapses"], 1, "host_word")
        m.d.sync += chosen.eq(Array(padded)[region])
        of_synapses = later(m, region == self._number("synapses"), 1, "host_synapses")
        m.d.sync += port.read_data.eq(Mux(of_synapses, word, chosen))
        valid = self.active & ~self._write & ~self._is("accumulators")
        for n in range(read_clocks(map.chip) - 1):
            after = Signal(name=f"host_read{n}")
            m.d.sync += after.eq(valid)
            valid = after
        m.d.comb += port.read_valid.eq(valid | late)

    def _number(self, name: str) -> int:
        return self.names.index(name)

    def _is(self, name: str) -> Value:
        return self._region == self._number(name)

    def write(self, name: str) -> Signal:
        """Whether this clock writes a region."""
        return self._writes[name]

    def _accumulators(self, m: Module, core: Core, accumulators: Accumulators) -> Value:
        """An access goes round once to be read or cleared, and again to be written. Returns
        whether in this clock the port shows what was read."""
        map = core.map
        latency = map.chip.accumulate_latency
        region = map.regions["accumulators"]
        clock = Signal(range(2 * latency + 2))
        number = core.memory.address[map.offset_bits :]
        asked = self.asked & (number == self._number("accumulators"))
        chosen, again = Signal(), Signal()
        with m.If(asked):
            m.d.sync += self.busy.eq(1)
        with m.Elif(clock == 2 * latency):
            m.d.sync += self.busy.eq(0)
        giving = later(m, again, take_clocks(map.chip) - 2, "giving")
        m.d.sync += [
            chosen.eq(asked),
            again.eq(clock == latency - 1),
            clock.eq(Mux(self.busy, clock + 1, 0)),
            self.given.eq(Mux(self._write & giving, self.data, 0)),
        ]
        parts = [accumulators.current[n * UNIT :][:UNIT] for n in range(region.units)]
        unit = self.offset[: region.unit_bits]
        m.d.comb += [
            self.take.eq(chosen | again),
            self.store.eq(self._write & self.take),
            self.clear.eq(chosen),
            self.place.eq(self.offset[region.unit_bits :]),
            self.shown["accumulators"].eq(Array(parts)[unit] if region.units > 1 else parts[0]),
        ]
        return ~self._write & (clock == 2 + take_clocks(map.chip))

    def _synapses(
        self, m: Module, core: Core, synapses: SinglePortMemory, word: Value
    ) -> None:
        map = core.map
        region = map.regions["synapses"]
        unit = self.offset[: region.unit_bits]
        mask = Signal(region.units, name="synapse_mask")
        m.d.sync += mask.eq(
            Cat(core.memory.address[: region.unit_bits] == n for n in range(region.units))
        )
        m.d.comb += [
            synapses.write_data.eq(Cat(*[self.data] * region.units)),
            synapses.write_mask.eq(mask),
            synapses.write.eq(self.write("synapses")),
        ]
        with m.If(self.active):
            m.d.comb += synapses.address.eq(self.offset[region.unit_bits :])
        there = later(m, unit, map.chip.memory_latency, "host_unit")
        parts = [word[n * UNIT : (n + 1) * UNIT] for n in range(region.units)]
        parts += [parts[-1]] * ((1 << region.unit_bits) - region.units)
        m.d.comb += self.shown["synapses"].eq(
            Array(parts)[there] if region.units > 1 else parts[0]
        )


def _next_word(word: Any) -> Any:
    """xorshift32, as `interpret.next_word` steps it."""
    word = (word ^ (word << 13))[:32]
    word = word ^ (word >> 17)
    return (word ^ (word << 5))[:32]
