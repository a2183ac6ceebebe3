"""Cmod A7-35T: an Artix-7, a crystal of 12 MHz, an FT2232H whose second port is the wire.

Vivado places it: what is built here are the files of a project for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..compiler.ir.chip import chip
from .spec import BoardSpec


@dataclass(frozen=True)
class CmodA7(BoardSpec):
    """The board with the larger of its two parts."""

    def platform(self) -> Any:
        """Its pins."""
        from amaranth_boards.cmod_a7 import CmodA7_35Platform

        return CmodA7_35Platform()

    def clock(self, m: Any, crystal: Any) -> tuple[Any, Any]:
        """12 MHz x 62.5 = 750 MHz, / 7.5 = 100 MHz."""
        from amaranth.hdl import Const, Instance, Signal
        from amaranth.lib import io

        m.submodules.crystal = pin = io.Buffer("i", crystal)
        made, feedback, clock, locked = Signal(), Signal(), Signal(), Signal()
        m.submodules.pll = Instance(
            "MMCME2_BASE",
            p_CLKIN1_PERIOD=83.333, p_CLKFBOUT_MULT_F=62.5, p_DIVCLK_DIVIDE=1,
            p_CLKOUT0_DIVIDE_F=7.5,
            i_CLKIN1=pin.i, i_CLKFBIN=feedback, i_RST=Const(0), i_PWRDWN=Const(0),
            o_CLKFBOUT=feedback, o_CLKOUT0=made, o_LOCKED=locked,
        )  # fmt: skip
        m.submodules.buffer = Instance("BUFG", i_I=made, o_O=clock)
        return clock, locked


BOARD = CmodA7(
    name="cmod-a7",
    title="Cmod A7-35T",
    part="artix7-35t",
    chip=replace(chip("ecp5-25f"), name="artix7-35t"),
    clock_mhz=100.0,
    baud=2_000_000,  # 100 MHz / 50; the FT2232H makes 12 MHz / 6
    usb=((0x0403, 0x6010),),
    product="Digilent",
    interface=1,
    programmer=("openFPGALoader", "-b", "cmoda7_35t", "-f"),
    install="Debian: apt install openfpgaloader",
)
