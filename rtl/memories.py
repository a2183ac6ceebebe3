"""A memory of the core: one port for the core, and the host's access between ticks."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..compiler.ir.memory_map import UNIT, Region


class HostAccess(wiring.Signature):
    """What the host asks of the memories, one 16-bit unit at a time, while `active`.

    `write` and `data` are for the memory that is selected; a read gives its data one clock later.
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
    """A region of the memory map as block RAM, a block per unit of 16 bits.

    The core reads (`address`, data one clock after, held while not `enable`) and, where it is
    `written`, writes whole entries; or, `spread`, each unit at an address of its own. While
    `host.active` the port is the host's, if the region is `shared` with it. No read meets a write
    of its entry in the same clock, but for reads whose data is not used.
    """

    def __init__(
        self, region: Region, *, written: bool = False, shared: bool = True, spread: bool = False
    ) -> None:
        self.region, self.written, self.shared, self.spread = region, written, shared, spread
        address = max(1, (region.entries - 1).bit_length())
        members: dict[str, Any] = {"data": Out(region.bits)}
        if spread:
            members["addresses"] = In(data.ArrayLayout(address, region.units))
        else:
            members |= {"address": In(address), "enable": In(1, init=1)}
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
            members |= {"host": In(HostAccess(address, region.unit_bits)), "host_data": Out(UNIT)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """The memories, and two multiplexers where both sides use them."""
        m = Module()
        units = self.region.units
        parts = []
        for n in range(units):
            width = min(UNIT, self.region.bits - n * UNIT)
            memory = Memory(shape=width, depth=max(2, self.region.entries), init=[])
            m.submodules[f"unit{n}"] = memory
            read, write = memory.read_port(), memory.write_port()
            parts.append(read.data)
            m.d.comb += [
                read.addr.eq(self.addresses[n] if self.spread else self.address),
                read.en.eq(1 if self.spread else self.enable),
                self.data[n * UNIT : n * UNIT + width].eq(read.data),
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
                m.d.comb += [read.addr.eq(host.entry), read.en.eq(1)]
            with m.If(host.active if self.written else Const(1)):
                m.d.comb += [
                    write.addr.eq(host.entry),
                    write.data.eq(host.data),
                    write.en.eq(host.write & (host.unit == n)),
                ]
        if self.shared:
            unit = Signal(max(1, self.region.unit_bits), reset_less=True)
            m.d.sync += unit.eq(host.unit)
            parts += [parts[-1]] * ((1 << self.region.unit_bits) - units)
            m.d.comb += self.host_data.eq(Array(parts)[unit] if units > 1 else parts[0])
        return m
