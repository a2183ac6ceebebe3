"""A memory of the core: one port for the core, and the host's access between ticks."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
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
    """A region of the memory map as block RAM.

    The core reads (`address`, data one clock after, held while not `enable`) and writes whole
    entries; while `host.active` the port is the host's. No read meets a write of its entry in the
    same clock, but for reads whose data is not used.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.width = region.units * UNIT
        address = max(1, (region.entries - 1).bit_length())
        self.unit_bits = region.unit_bits
        super().__init__(
            {
                "address": In(address),
                "enable": In(1, init=1),
                "data": Out(region.bits),
                "write_address": In(address),
                "write": In(1),
                "write_data": In(region.bits),
                "host": In(HostAccess(address, region.unit_bits)),
                "host_data": Out(UNIT),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The memory and its two multiplexers."""
        m = Module()
        depth = max(2, self.region.entries)
        m.submodules.memory = memory = Memory(shape=self.width, depth=depth, init=[])
        read, write = memory.read_port(), memory.write_port(granularity=UNIT)
        host, units = self.host, self.region.units
        m.d.comb += [
            read.addr.eq(Mux(host.active, host.entry, self.address)),
            read.en.eq(host.active | self.enable),
            self.data.eq(read.data),
            write.addr.eq(Mux(host.active, host.entry, self.write_address)),
            write.data.eq(
                Mux(host.active, Cat(*[host.data] * units), self.write_data)
            ),
            write.en.eq(
                Mux(
                    host.active,
                    Cat(*[host.write & (host.unit == unit) for unit in range(units)]),
                    self.write.replicate(units),
                )
            ),
        ]
        unit = Signal(max(1, self.unit_bits), reset_less=True)
        m.d.sync += unit.eq(host.unit)
        parts = [read.data[n * UNIT : (n + 1) * UNIT] for n in range(units)]
        parts += [parts[-1]] * ((1 << self.unit_bits) - units)
        m.d.comb += self.host_data.eq(Array(parts)[unit] if units > 1 else parts[0])
        return m
