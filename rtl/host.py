"""The host's port to the memories of a core, between ticks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.chip import ChipSpec
from ..compiler.ir.cycles import take_clocks
from ..compiler.ir.region import UNIT
from .accumulators import Accumulators
from .memories import RegionMemory, later
from .primitives import SinglePortMemory
from .traces import Traces

if TYPE_CHECKING:
    from .core import Core

TABLES = ("pending", "populations", "phases")  # small regions that share a memory
TOGETHER = 8  # of what can be read, as much as goes into one register


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


class Host:
    """The memory port: an access is registered, done in the next clock, its data muxed after.

    active: in this clock an access is done; asked: in this clock one is taken; data: what is
    written, 0 where nothing is. An accumulator is accessed through its own pipeline (`take`,
    `store`, `clear`, at `place`): it is read, or cleared and, when that has gone through, written.
    """

    def __init__(
        self, m: Module, core: Core, memories: Mapping[str, RegionMemory | Traces],
        tables: RegionMemory,
        accumulators: Accumulators, synapses: SinglePortMemory, synapse_word: Value,
    ) -> None:  # fmt: skip
        map, port = core.map, core.memory
        self._map = map
        self.names = list(map.regions)
        self.active, self.asked = Signal(), Signal()
        self.offset = Signal(map.offset_bits, reset_less=True)
        self.data = Signal(UNIT, reset_less=True)
        self._region = Signal(range(max(2, len(self.names))), reset_less=True)
        self._write = Signal(reset_less=True)
        self._sources: list[tuple[Value, Value]] = []
        self.take, self.store, self.clear = Signal(), Signal(), Signal()
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
            ]
        m.d.sync += self.data.eq(
            Mux(self.asked, port.write_data, Mux(self.busy, self.data, 0))
        )
        for name, memory in memories.items():
            unit_bits = map.regions[name].unit_bits
            m.d.comb += [
                memory.host.active.eq(self.active),
                memory.host.entry.eq(self.offset[unit_bits:]),
                memory.host.unit.eq(self.offset[:unit_bits]),
                memory.host.data.eq(self.data),
                memory.host.write.eq(self.write(name)),
            ]
            self._show(name, memory.host_data)
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
        ]
        self.show(Cat(self._is(name) for name in TABLES).any(), tables.host_data)
        late = self._accumulators(m, core, accumulators)
        self._synapses(m, core, synapses)
        self._show("synapses", synapse_word)
        valid = self.active & ~self._write & ~self._is("accumulators")
        for n in range(read_clocks(map.chip) - 1):
            after = Signal(name=f"host_read{n}")
            m.d.sync += after.eq(valid)
            valid = after
        m.d.comb += port.read_valid.eq(valid | late)

    def _show(self, name: str, entry: Value) -> None:
        """Let the host read the units of the entries of a region, see `show`."""
        bits = self._map.regions[name].unit_bits
        for n in range(self._map.regions[name].units):
            self.show(self._is(name) & (self.offset[:bits] == n), entry[n * UNIT : (n + 1) * UNIT])

    def show(self, asked: Value, value: Value) -> None:
        """Let the host read a value: whether it is `asked` for in the clock of `active`, and what
        it is `memory_latency` clocks later."""
        self._sources.append((asked, value))

    def show_register(self, m: Module, name: str, number: int, register: Value) -> None:
        """Let the host read a register, an entry of the region `name`."""
        bits = (self._map.regions[name].entries - 1).bit_length()
        asked = self._is(name) & (self.offset[:bits] == number)
        self.show(asked, later(m, register, self._map.chip.memory_latency - 1, "register"))

    def connect(self, m: Module, core: Core) -> None:
        """Show the host what it asks for. In two steps, as memories are far."""
        some = []
        for n, (asked, value) in enumerate(self._sources):
            there = later(m, asked, self._map.chip.memory_latency, f"asks{n}")
            some.append(value & there.replicate(len(value)))
        parts = []
        for n in range(0, len(some), TOGETHER):
            part = Signal(UNIT, name=f"read{n}", reset_less=True)
            m.d.sync += part.eq(reduce(or_, some[n : n + TOGETHER]))
            parts.append(part)
        m.d.sync += core.memory.read_data.eq(reduce(or_, parts))

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
        again = Signal()
        with m.If(asked):
            m.d.sync += self.busy.eq(1)
        with m.Elif(clock == 2 * latency):
            m.d.sync += self.busy.eq(0)
        m.d.sync += [
            self.clear.eq(asked), again.eq(clock == latency - 1),
            clock.eq(Mux(self.busy, clock + 1, 0)),
        ]  # fmt: skip
        m.d.comb += [
            self.take.eq(self.clear | again), self.store.eq(self._write & self.take),
            self.place.eq(self.offset[region.unit_bits :]),
        ]  # fmt: skip
        self._show("accumulators", accumulators.current)
        return ~self._write & (clock == 2 + take_clocks(map.chip))

    def _synapses(self, m: Module, core: Core, synapses: SinglePortMemory) -> None:
        map = core.map
        region = map.regions["synapses"]
        mask = Signal(region.units, name="synapse_mask")
        m.d.sync += mask.eq(
            Cat(core.memory.address[: region.unit_bits] == n for n in range(region.units))
        )
        of_unit = len(synapses.write_mask) // region.units
        m.d.comb += [
            synapses.write_data.eq(Cat(*[self.data] * region.units)),
            synapses.write_mask.eq(Cat(bit.replicate(of_unit) for bit in mask)),
            synapses.write.eq(self.write("synapses")),
        ]
        self.synapse = self.offset[region.unit_bits :]
