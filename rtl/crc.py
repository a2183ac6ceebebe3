"""CRC-32 as zlib computes it, a bit per clock."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

POLYNOMIAL = 0xEDB88320  # the highest power in the lowest bit
RESIDUE = 0xDEBB20E3  # what is left of data that its own CRC follows


class Crc32(wiring.Component):
    """start: begin anew; valid, bit: take a bit, of each byte the least significant first; crc: of
    all bits before this clock; whole: they ended with their own CRC."""

    def __init__(self) -> None:
        super().__init__(
            {"start": In(1), "valid": In(1), "bit": In(1), "crc": Out(32), "whole": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """The remainder as a shift register."""
        m = Module()
        rest = Signal(32, init=-1)
        with m.If(self.start):
            m.d.sync += rest.eq(-1)
        with m.Elif(self.valid):
            m.d.sync += rest.eq(
                Cat(rest[1:], 0) ^ Mux(rest[0] ^ self.bit, Const(POLYNOMIAL, 32), 0)
            )
        m.d.comb += [self.crc.eq(~rest), self.whole.eq(rest == RESIDUE)]
        return m
