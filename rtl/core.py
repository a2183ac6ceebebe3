"""The core: memories, and the phases of a tick."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from ..compiler.ir.digest import digest_bits
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.region import UNIT, Region
from .accumulators import Accumulators, Retired
from .deliver import Deliver
from .emit import CLOCK_BITS, Emit, event_layout, list_layout, output_layout, phase_bits
from .host import TABLES, Host, MemoryPort
from .learn import Learn
from .memories import RegionMemory, later
from .neurons import Neurons
from .primitives import LINE_REGISTERS, SinglePortMemory, Target
from .traces import Traces

WRITTEN = ("state", "payloads", "pre", "history", "awake")  # by the core itself, not only its host
SPREAD = ("state", "parameters")  # each unit is read when it is wanted
JOINED = {"pre": ["read"], "history": ["read", "write"], "awake": ["read"]}
"""What is addressed by Learn's scan, through which the host's addresses go too, where an entry is
one unit."""
IDLE, DELIVER, UPDATE, EMIT, LEARN = range(5)  # in this order, but for LEARN before EMIT


class Core(wiring.Component):
    """One core of a chip.

    memory: see `MemoryPort`; events: the host's events for the next tick, between ticks; start: one
    clock, while `idle`, runs a tick; output: spikes and values of the tick and the clocks of each
    phase, the last of them those of Emit; digest: of the tick that ended, where the chip has
    digests. A core that the host keeps waiting stalls, and counts that apart. The rest reports what
    happens, for tests: `phase`, `counting` in clocks that count, `retired` accumulator writes of
    Deliver, `stored` neuron updates. line_registers: see `Pipeline`, of neurons.
    """

    def __init__(
        self, map: MemoryMap, target: Target = "generic", *, line_registers: int = LINE_REGISTERS
    ) -> None:
        self.map, self.target, self.line_registers = map, target, line_registers
        digest = {"digest": Out(32)} if map.chip.digests else {}
        super().__init__(
            {
                **digest,
                "memory": In(MemoryPort(map.address_bits)),
                "events": In(stream.Signature(event_layout(map))),
                "start": In(1),
                "idle": Out(1),
                "output": Out(stream.Signature(output_layout(map))),
                "phase": Out(phase_bits(map)),
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
        m.submodules.neurons = neurons = Neurons(map, self.target, self.line_registers)
        m.submodules.emit = emit = Emit(map)
        m.submodules.synapses = synapses = SinglePortMemory(
            max(2, regions["synapses"].entries), regions["synapses"].units * UNIT, self.target,
            bytewise=bool(map.learn),
        )
        memories = {
            name: RegionMemory(
                region, written=name in WRITTEN, spread=name in SPREAD, clocks=1 + waits,
                joined=JOINED.get(name, ()) if region.units == 1 else (),
            )
            for name, region in regions.items()
            if name not in ("registers", "synapses", "accumulators", "post", "signals", *TABLES)
        }  # fmt: skip
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
        learn = Learn(map, self.target) if map.learn else None
        traces = {"post": Traces(map, self.target)} if map.learn else {}
        host = Host(m, self, memories | traces, tables, accumulators, synapses, word)
        ticked, stalled = Signal(), Signal()
        during, resting = self._phases(m, deliver, neurons, emit, learn, host, ticked, stalled)
        registers, random_word = self._registers(m, host, ticked, stalled)
        slot = registers["slot"]

        # Deliver. In Learn, rows are walked too, but not for sums.
        delivering, half = during[DELIVER], len(tables.address) - 1
        adding = deliver.read & delivering if learn else deliver.read
        m.d.comb += [
            deliver.slot.eq(slot),
            deliver.pending_words.eq(registers["pending_words"]),
            deliver.pending_data.eq(tables.data),
            deliver.row_data.eq(memories["rows"].data),
            accumulators.add.eq(later(m, adding, waits, "adding")),
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

        # The small memories: pending events but in Update, then populations and their phases. Where
        # there is Learn, it is to see what was pending, and clears it.
        clears, clearing = (learn, during[LEARN]) if learn else (deliver, delivering)
        m.d.comb += [
            tables.enable.eq(~delivering | deliver.pending_enable),
            tables.address.eq(Mux(delivering, deliver.pending_address, emit.pending_address)),
            tables.write.eq(clears.pending_clear | emit.pending_write | neurons.phase_write),
            tables.write_address.eq(
                Mux(clearing, clears.pending_clear_address, emit.pending_write_address)
            ),
            tables.write_data.eq(  # 0 where neither writes
                Mux(emit.pending_write, emit.pending_written, 0) | neurons.phase_written
            ),
        ]
        with m.If(during[UPDATE]):
            m.d.comb += [
                tables.address.eq(
                    Cat(Cat(neurons.population, Const(0, 16))[: half - 1], neurons.asks_phase, 1)
                ),
                tables.write_address.eq(
                    Cat(Cat(neurons.phase_population, Const(0, 16))[: half - 1], 1, 1)
                ),
            ]

        # Update
        taken = Signal.like(accumulators.neuron)
        m.d.comb += [
            taken.eq(neurons.neuron),
            accumulators.take.eq(neurons.take | host.take),
            accumulators.store.eq(neurons.take | host.store),
            accumulators.clear.eq(neurons.take | host.clear),
            accumulators.given.eq(host.data),
            accumulators.whole.eq(~resting),
            accumulators.unit.eq(host.offset[: regions["accumulators"].unit_bits]),
            Cat(accumulators.neuron, accumulators.now).eq(
                Mux(resting, host.place, Cat(taken, slot))
            ),
            neurons.current.eq(accumulators.current),
            neurons.populations.eq(registers["populations"]),
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
            self.retired.write.eq(Mux(delivering, accumulators.retired.write, 0)),
            self.retired.place.eq(accumulators.retired.place),
            self.retired.sum.eq(accumulators.retired.sum),
            self.stored.eq(neurons.stored),
            self.stored_neuron.eq(neurons.stored_neuron),
            self.stored_state.eq(neurons.stored_state),
            self.stored_value.eq(neurons.value),
        ]
        row, synapse, row_enable = deliver.row_address, deliver.synapse, deliver.row_enable
        if learn:  # of both addresses of rows, that of the one that rests is 0
            row, synapse = row | learn.rows_address, learn.synapse_address
            row_enable &= learn.advance
        m.d.comb += [
            memories["rows"].address.eq(row),
            memories["rows"].enable.eq(row_enable),
            synapses.address.eq(Mux(host.active, host.synapse, synapse)),
        ]
        if learn:
            m.submodules.learn, m.submodules.post = learn, traces["post"]
            self._learn(m, learn, traces["post"], neurons, memories, tables, host, during)
            m.d.comb += [
                deliver.load.eq(learn.load), deliver.hold.eq(during[LEARN] & ~learn.step),
                learn.walking.eq(during[LEARN] & deliver.walking),
                learn.walked.eq(deliver.synapse), learn.word.eq(deliver.word),
                learn.last.eq(deliver.last),
                learn.axons.eq(registers["axons"]), learn.random_word.eq(random_word),
                learn.synapse_data.eq(word), learn.asked.eq(host.asked),
                learn.asked_entry.eq(self.memory.address),
                learn.asked_data.eq(self.memory.write_data), learn.active.eq(host.active),
                learn.active_data.eq(host.data), synapses.write_data.eq(learn.synapse_written),
            ]  # fmt: skip
            with m.If(learn.synapse_write):
                m.d.comb += [
                    synapses.write.eq(1),
                    synapses.write_mask.eq(learn.synapse_mask),
                ]
        if map.chip.digests:
            self._digest(m, neurons)
        host.connect(m, self)
        return m

    def _learn(
        self, m: Module, learn: Learn, traces: Traces, neurons: Neurons,
        memories: Mapping[str, RegionMemory], tables: RegionMemory, host: Host,
        during: Mapping[int, Value],
    ) -> None:  # fmt: skip
        """Wire what learns to its memories, and to what it learns from."""
        event = Signal(name="spiking")
        m.d.comb += [
            event.eq(neurons.stored & (neurons.stored_spikes != 0)),
            traces.updating.eq(during[UPDATE]),
            traces.start.eq(neurons.start),
            traces.began.eq(neurons.phase_write),
            traces.soon.eq(neurons.soon),
            traces.stored.eq(neurons.stored),
            traces.stored_neuron.eq(neurons.stored_neuron),
            traces.spiked.eq(event),
            traces.word.eq(learn.post_word),
            traces.sparse.eq(learn.post_sparse & during[LEARN]),
            traces.targets.eq(learn.post_targets),
            learn.post_data.eq(traces.data),
        ]
        spiked, due = Signal(), Signal.like(learn.due)
        m.d.comb += [learn.spiked.eq(spiked), learn.due.eq(due)]
        with m.If(neurons.start):
            m.d.sync += spiked.eq(0)
        with m.Elif(event):
            m.d.sync += spiked.eq(1)
        with m.If(neurons.phase_write):  # of one population after the other
            m.d.sync += due.eq(Cat(neurons.phase_due, due))
        parameters, index = memories["parameters"], memories["parameter_index"]
        deciding = learn.learn.deciding_units
        m.d.comb += [learn.projection_data.eq(parameters.data), learn.index_data.eq(index.data)]
        with m.If(during[LEARN]):
            m.d.comb += [
                index.address.eq(learn.index_address),
                index.enable.eq(learn.advance),
                *(
                    address.eq(
                        learn.projection_address if n < deciding else learn.visited_address
                    )
                    for n, address in enumerate(parameters.addresses)
                ),
                parameters.enable.eq(learn.advance),
            ]
        for name in learn.scanned:
            memory = memories[name]
            m.d.comb += getattr(learn, f"{name}_data").eq(memory.data)
            if memory.written:
                m.d.comb += [
                    memory.address.eq(getattr(learn, f"{name}_address")),
                    memory.enable.eq(learn.advance),
                    memory.write.eq(getattr(learn, f"{name}_write")),
                    memory.write_address.eq(getattr(learn, f"{name}_write_address")),
                    memory.write_data.eq(getattr(learn, f"{name}_written")),
                ]
        m.d.comb += learn.pending_data.eq(tables.data)
        with m.If(during[LEARN]):
            m.d.comb += [
                tables.enable.eq(learn.advance),
                tables.address.eq(learn.pending_address),
            ]
        if self.map.learn and self.map.learn.signals:
            self._signals(m, learn, host)

    def _signals(self, m: Module, learn: Learn, host: Host) -> None:
        """Registers that the host writes between ticks."""
        count = self.map.regions["signals"].entries
        kept = [Signal(UNIT, name=f"signal{n}") for n in range(count)]
        number = host.offset[: max(1, (count - 1).bit_length())]
        with m.If(host.write("signals")), m.Switch(number):
            for n, signal in enumerate(kept):
                with m.Case(n):
                    m.d.sync += signal.eq(host.data)
        for n, signal in enumerate(kept):
            m.d.comb += learn.signals[n].eq(signal)
            host.show_register(m, "signals", n, signal)

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
        self, m: Module, deliver: Deliver, neurons: Neurons, emit: Emit, learn: Learn | None,
        host: Host, ticked: Signal, stalled: Signal,
    ) -> tuple[dict[int, Signal], Signal]:  # fmt: skip
        """Deliver, Update, Learn if it does, Emit, and after each its clocks to the host: (of each
        phase, whether it is, whether none)."""
        order = [DELIVER, UPDATE, *([LEARN] if learn else []), EMIT]
        during = {phase: Signal(name=f"during{phase}") for phase in order}
        reporting, clocks = Signal(), Signal(CLOCK_BITS)
        ended, accepted, starting, resting = Signal(), Signal(), Signal(), Signal(init=1)
        m.d.comb += [
            self.phase.eq(_any(Mux(x, phase, 0) for phase, x in during.items())),
            self.idle.eq(resting & ~host.busy),
            starting.eq(self.idle & self.start),
            stalled.eq(emit.stalled | (reporting & ~self.output.ready)),
            self.counting.eq(~resting & ~reporting & ~emit.stalled),
            accepted.eq(reporting & self.output.ready),
            ticked.eq(accepted & during[EMIT]),
            deliver.start.eq(starting),
            neurons.start.eq(accepted & during[DELIVER]),
            emit.start.eq(accepted & during[order[-2]]),
            ended.eq(deliver.done | neurons.done | emit.done | (learn.done if learn else 0)),
        ]
        if learn:
            m.d.comb += learn.start.eq(accepted & during[UPDATE])
        with m.If(self.counting):
            m.d.sync += clocks.eq(clocks + 1)
        with m.If(ended):
            m.d.sync += reporting.eq(1)
        with m.If(accepted):
            m.d.sync += [reporting.eq(0), clocks.eq(0)]
        with m.If(starting | accepted):
            m.d.sync += [
                during[DELIVER].eq(starting), resting.eq(during[EMIT]),
                *(during[b].eq(during[a]) for a, b in itertools.pairwise(order)),
            ]  # fmt: skip

        # Its number tells which phase's clocks a report holds: DELIVER is 1, an entry 0. The second
        # report of UPDATE is that of LEARN.
        m.d.comb += [
            self.output.valid.eq(reporting | emit.output.valid),
            self.output.payload.eq(emit.output.payload),
            emit.output.ready.eq(self.output.ready & ~reporting),
        ]
        with m.If(reporting):
            kinds = {phase: UPDATE if phase == LEARN else phase for phase in order}
            kind = _any(Mux(x, kinds[phase], 0) for phase, x in during.items())
            m.d.comb += [self.output.payload.kind.eq(kind), self.output.payload.value.eq(clocks)]

        free = Signal()
        m.d.comb += [
            free.eq(self.idle & ~self.start & ~host.active & ~host.asked),
            emit.event.payload.eq(self.events.payload),
            emit.event.valid.eq(self.events.valid & free),
            self.events.ready.eq(free),
        ]
        return during, resting

    def _registers(
        self, m: Module, host: Host, ticked: Signal, stalled: Signal
    ) -> tuple[dict[str, Signal], Value]:
        """The registers, and the random word."""
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
        for n, (name, register) in enumerate(registers.items()):
            with m.If(host.write("registers") & (host.offset[:3] == n)):
                # Of stalls, any write starts the count anew.
                m.d.sync += register.eq(0 if name == "stalls" else host.data)
        for n, register in enumerate(registers.values()):
            host.show_register(m, "registers", n, register)
        return registers, word


def _any(values: Iterable[Value]) -> Value:
    """Values of which all but one are 0."""
    return reduce(or_, values)


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


def _next_word(word: Any) -> Any:
    """xorshift32, as `interpret.next_word` steps it."""
    word = (word ^ (word << 13))[:32]
    word = word ^ (word >> 17)
    return (word ^ (word << 5))[:32]
