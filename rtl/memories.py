"""A memory of the core: one port for the core, and the host's access between ticks."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..compiler.ir.region import UNIT, Region
from .primitives import DelayLine, Target


class HostAccess(wiring.Signature):
    """What the host asks of the memories, one 16-bit unit at a time, while `active`.

    `write` and `data` are for the memory that is selected; a read gives its data `clocks` later.
    """

    def __init__(self, entry_bits: int, unit_bits: int) -> None:
        super().__init__(
            {
                "active": Out(1),
                "entry": Out(entry_bits),
                "unit": Out(unit_bits),
                "write": Out(1),
                "data": Out(UNIT),
            }
        )


class RegionMemory(wiring.Component):
    """A region of the memory map, a memory per unit of 16 bits.

    `clocks` is from an address to its data for the host, and for the core too unless the region is
    `small`: then that is one, and where clocks are two it is made of lookup tables, unless the
    target has no such memory; and what the core is to write is 0 where it does not. The core reads
    (`address`; data goes on with `enable`, else it is held) and, where it is `written`, writes
    whole entries; or, `spread`, each unit at an address of its own. While `host.active` the port is
    the host's, if the region is `shared` with it; of what is `joined`, `read` and `write`, the core
    gives the address of both. No read meets a write of its entry in the same clock, but for reads
    whose data is not used.
    """

    def __init__(
        self, region: Region, *, written: bool = False, shared: bool = True, spread: bool = False,
        clocks: int = 1, small: bool = False, target: Target = "generic",
        joined: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.region, self.written, self.shared, self.spread = region, written, shared, spread
        self.waits, self.small, self.target = clocks - 1, small, target
        self.joined = joined
        address = max(1, (region.entries - 1).bit_length())
        members: dict[str, Any] = {"data": Out(region.bits)}
        members["enable"] = In(1, init=1)
        if spread:
            members["addresses"] = In(data.ArrayLayout(address, region.units))
        else:
            members["address"] = In(address)
        if written and spread:
            members |= {
                "write_addresses": In(data.ArrayLayout(address, region.units)),
                "writes": In(region.units), "write_data": In(region.bits),
            }  # fmt: skip
        elif written:
            members |= {
                "write_address": In(address), "write": In(1), "write_data": In(region.bits),
            }  # fmt: skip
        if shared:
            members["host"] = In(HostAccess(address, region.unit_bits))
            members["host_data"] = Out(region.bits)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """The memories, and two multiplexers where both sides use them."""
        m = Module()
        enable = self.enable
        late = self.waits and not self.small
        moves = enable | later(m, self.host.active, 1, "host_active") if self.shared else enable
        tables = self.waits and self.small and self.target != "ice40"
        attrs = {"ram_style": "distributed"} if tables else None
        units = self.region.units
        parts = []
        for n in range(units):
            width = min(UNIT, self.region.bits - n * UNIT)
            memory = Memory(shape=width, depth=max(2, self.region.entries), init=[], attrs=attrs)
            m.submodules[f"unit{n}"] = memory
            read, write = memory.read_port(), memory.write_port()
            part = read.data
            if late:
                part = Signal(width, name=f"held{n}", reset_less=True)
                with m.If(moves):
                    m.d.sync += part.eq(read.data)
            parts.append(part)
            m.d.comb += [
                read.addr.eq(self.addresses[n] if self.spread else self.address),
                read.en.eq(enable),
                self.data[n * UNIT : n * UNIT + width].eq(part),
            ]
            if self.written:
                m.d.comb += [
                    write.addr.eq(self.write_addresses[n] if self.spread else self.write_address),
                    write.data.eq(self.write_data[n * UNIT :]),
                    write.en.eq(self.writes[n] if self.spread else self.write),
                ]
            if not self.shared:
                continue
            host = self.host
            with m.If(host.active):
                m.d.comb += read.en.eq(1)
                if "read" not in self.joined:
                    m.d.comb += read.addr.eq(host.entry)
            with m.If(host.active if self.written else Const(1)):
                m.d.comb += [
                    write.data.eq(host.data), write.en.eq(host.write & (host.unit == n)),
                ]  # fmt: skip
                if "write" not in self.joined:
                    m.d.comb += write.addr.eq(host.entry)
            if self.small:
                m.d.comb += write.data.eq(self.write_data[n * UNIT :] | host.data)
        if self.shared:
            if self.waits and self.small:
                parts = [later(m, part, 1, f"shown{n}") for n, part in enumerate(parts)]
            m.d.comb += self.host_data.eq(Cat(parts))
        return m


class Taps:
    """A value some clocks later, where it is asked for: `taps[clocks]`."""

    def __init__(self, value: Value, name: str) -> None:
        self._name, self._kept = name, {0: value}

    def __getitem__(self, clocks: int) -> Value:
        if clocks not in self._kept:
            self._kept[clocks] = Signal(len(self._kept[0]), name=f"{self._name}{clocks}")
        return self._kept[clocks]

    def connect(self, m: Module, line_registers: int) -> None:
        """Drive what was asked for; so many registers are worth a block RAM, none if 0."""
        for last, clocks in itertools.pairwise(sorted(self._kept)):
            before, waits = self._kept[last], clocks - last
            if DelayLine.is_worth(len(before), waits, line_registers):
                m.submodules[f"{self._name}{clocks}_line"] = line = DelayLine(len(before), waits)
                m.d.comb += line.given.eq(before)
                before, waits = line.taken, 0
            m.d.comb += self._kept[clocks].eq(later(m, before, waits, f"{self._name}{last}"))


def later(m: Module, value: Value, clocks: int, name: str) -> Value:
    """`value` some clocks later."""
    for n in range(clocks):
        after = Signal(len(value), name=f"{name}_{n + 1}", reset_less=True)
        m.d.sync += after.eq(value)
        value = after
    return value
