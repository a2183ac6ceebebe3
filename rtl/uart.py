"""Bytes on a wire: 8 data bits, no parity, one stop bit, at any number of clocks per bit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..compiler.ir.errors import SpikefabError

LEAST_DIVISOR = 4
BITS = 10  # of a byte on the wire: start, eight from the least significant, stop


class UartReceiver(wiring.Component):
    """Bytes from a wire.

    divisor: clocks per bit; raises SpikefabError for fewer than 4. Each bit is taken in its middle;
    the sender's clock may be off by as much as moves that by less than half a bit over a byte.
    `valid` for one clock with each `byte`, and `blank` with it if that is 0; `broken` instead where
    there is no stop bit: noise, a break, or a sender that is off by more. After that the wire must
    be high for a clock before a byte is looked for.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = _checked(divisor)
        super().__init__(
            {
                "wire": In(1, init=1),
                "byte": Out(8),
                "valid": Out(1),
                "blank": Out(1),
                "broken": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A clock for bits that starts anew with each byte, and a shift register."""
        m = Module()
        wire = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.wire, wire, init=1)
        wait = Signal(range(self.divisor + self.divisor // 2))
        bits = Signal(range(BITS))  # that are left, with the stop bit
        held = Signal(init=1)  # the wire has been high since the last byte
        m.d.sync += [self.valid.eq(0), self.broken.eq(0)]
        with m.If(bits == 0):
            m.d.sync += held.eq(held | wire)
            with m.If(held & ~wire):
                # From the clock after this one to the middle of the first data bit.
                m.d.sync += [bits.eq(BITS - 1), held.eq(0), self.blank.eq(1)]
                m.d.sync += wait.eq(self.divisor + self.divisor // 2 - 2)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Else():
            m.d.sync += [bits.eq(bits - 1), wait.eq(self.divisor - 1)]
            with m.If(bits != 1):
                m.d.sync += [self.byte.eq(Cat(self.byte[1:], wire)),
                             self.blank.eq(self.blank & ~wire)]
            with m.Else():
                m.d.sync += [self.valid.eq(wire), self.broken.eq(~wire), held.eq(wire)]
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a wire, without a gap while `bytes` is valid.

    divisor: clocks per bit; raises SpikefabError for fewer than 4.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = _checked(divisor)
        super().__init__({"bytes": In(stream.Signature(8)), "wire": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """A shift register whose lowest bit is the wire."""
        m = Module()
        shift = Signal(BITS - 1, init=-1)
        wait = Signal(range(self.divisor))
        bits = Signal(range(BITS + 1))  # that are left, with the one on the wire
        ends = Signal()
        m.d.comb += [
            self.wire.eq(shift[0]),
            ends.eq(wait == 0),
            self.bytes.ready.eq((bits == 0) | ((bits == 1) & ends)),
        ]
        with m.If(self.bytes.valid & self.bytes.ready):
            m.d.sync += [shift.eq(Cat(0, self.bytes.payload)), bits.eq(BITS)]
            m.d.sync += wait.eq(self.divisor - 1)
        with m.Elif(bits != 0):
            m.d.sync += wait.eq(Mux(ends, self.divisor - 1, wait - 1))
            with m.If(ends):
                m.d.sync += [shift.eq(Cat(shift[1:], 1)), bits.eq(bits - 1)]
        return m


def _checked(divisor: int) -> int:
    if divisor < LEAST_DIVISOR:
        raise SpikefabError(
            f"{divisor} clocks per bit", "UART", hint=f"use {LEAST_DIVISOR} or more: a lower rate"
        )
    return divisor
