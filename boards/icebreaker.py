"""iCEBreaker: an iCE40 UP5K, a crystal of 12 MHz, an FT2232H whose second port is the wire."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..compiler.ir.chip import chip
from .spec import BoardSpec


@dataclass(frozen=True)
class ICEBreaker(BoardSpec):
    """The board as it is sold, v1.0 and later."""

    def platform(self) -> Any:
        """Its pins."""
        from amaranth_boards.icebreaker import ICEBreakerPlatform

        return ICEBreakerPlatform()

    def clock(self, m: Any, crystal: Any) -> tuple[Any, Any]:
        """A multiple of the 12 MHz, between 533 and 1066 MHz, / 16."""
        from amaranth.hdl import Const, Instance, Signal

        clock, locked = Signal(), Signal()
        m.submodules.pll = Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE", p_FILTER_RANGE=1,
            p_DIVR=0, p_DIVF=round(self.clock_mhz * 16 / 12) - 1, p_DIVQ=4,
            i_PACKAGEPIN=crystal.io, i_RESETB=Const(1), i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock, o_LOCK=locked,
        )  # fmt: skip
        return clock, locked


BOARD = ICEBreaker(
    name="icebreaker",
    title="iCEBreaker",
    part="up5k",
    chip=chip("up5k"),
    clock_mhz=48.0,
    baud=3_000_000,  # 48 MHz / 16; the FT2232H makes 12 MHz / 4
    usb=((0x0403, 0x6010),),
    product="iCEBreaker",
    interface=1,
    programmer=("iceprog",),
    install="Debian: apt install fpga-icestorm",
)

# Larger cores that learn fill the part, and reach less.
SLOWER = replace(BOARD, name="icebreaker-36", title="iCEBreaker at 36 MHz", clock_mhz=36.0)
