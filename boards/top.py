"""A board's gateware with its pins, clock and reset."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, ResetSignal, Signal
from amaranth.lib.cdc import FFSynchronizer

from ..compiler.ir.memory_map import MemoryMap
from ..rtl.board import Board
from ..rtl.primitives import Target
from .spec import BoardSpec

SETTLING = 16e-6
"""Seconds from a steady clock to the end of reset, at least: block RAM of the iCE40 reads as zeros
for some 3 us after power comes on."""


class Top(Elaboratable):
    """A core behind its link, on the pins `uart`; the first of `led`, if any, shows that it works.

    All is clocked by the board's PLL, and in reset until that has been locked for 16 us.
    """

    def __init__(self, spec: BoardSpec, map: MemoryMap, target: Target) -> None:
        self.spec, self.map, self.target = spec, map, target

    def elaborate(self, platform: Any) -> Module:
        """The clock, the reset, the wire."""
        m = Module()
        crystal = platform.request(platform.default_clk, dir="-")
        clock, locked = self.spec.clock(m, crystal)
        m.domains.start = ClockDomain(reset_less=True, local=True)
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal("start").eq(clock), ClockSignal("sync").eq(clock)]
        steady = Signal()
        m.submodules.locked = FFSynchronizer(locked, steady, o_domain="start")
        clocks = int(SETTLING * self.spec.clock_mhz * 1e6)
        waited = Signal(clocks.bit_length() + 1)  # its last bit says enough
        with m.If(~steady):
            m.d.start += waited.eq(0)
        with m.Elif(~waited[-1]):
            m.d.start += waited.eq(waited + 1)
        m.d.comb += ResetSignal("sync").eq(~waited[-1])

        m.submodules.board = board = Board(self.map, self.spec.divisor, self.target)
        uart = platform.request("uart")
        m.d.comb += [board.rx.eq(uart.rx.i), uart.tx.o.eq(board.tx)]
        if ("led", 0) in platform.resources:
            m.d.comb += platform.request("led").o.eq(board.busy)
        return m
