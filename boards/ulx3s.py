"""ULX3S: an ECP5 of four sizes, a crystal of 25 MHz, an FT231X."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..compiler.ir.chip import chip
from .spec import BoardSpec


@dataclass(frozen=True)
class ULX3S(BoardSpec):
    """The board; bitstreams are for one size of the ECP5, the number in the part's name."""

    def platform(self) -> Any:
        """Its pins."""
        from amaranth_boards import ulx3s

        size = self.part.removeprefix("ecp5-").upper()
        return getattr(ulx3s, f"ULX3S_{size}_Platform")()

    def clock(self, m: Any, crystal: Any) -> tuple[Any, Any]:
        """25 MHz x 4 x 6 = 600 MHz, / 6 = 100 MHz."""
        from amaranth.hdl import Const, Instance, Signal
        from amaranth.lib import io

        m.submodules.crystal = pin = io.Buffer("i", crystal)
        clock, locked = Signal(), Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI="25", a_FREQUENCY_PIN_CLKOP="100",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_FEEDBK_PATH="CLKOP", p_CLKI_DIV=1, p_CLKFB_DIV=4,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=6, p_CLKOP_CPHASE=2, p_CLKOP_FPHASE=0,
            p_OUTDIVIDER_MUXA="DIVA", p_INTFB_WAKE="DISABLED", p_DPHASE_SOURCE="DISABLED",
            p_PLLRST_ENA="DISABLED", p_STDBY_ENABLE="DISABLED",
            i_CLKI=pin.i, i_CLKFB=clock, i_RST=Const(0), i_STDBY=Const(0), i_ENCLKOP=Const(0),
            i_PHASESEL0=Const(0), i_PHASESEL1=Const(0), i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1), i_PHASELOADREG=Const(1), i_PLLWAKESYNC=Const(0),
            o_CLKOP=clock, o_LOCK=locked,
        )  # fmt: skip
        return clock, locked


BOARD = ULX3S(
    name="ulx3s",
    title="ULX3S, 25F",
    part="ecp5-25f",
    chip=chip("ecp5-25f"),
    clock_mhz=100.0,
    baud=2_000_000,  # 100 MHz / 50; the FT231X makes 3, 2 and 1.5 MHz, and less
    usb=((0x0403, 0x6015),),
    product="ULX3S",
    interface=0,
    programmer=("openFPGALoader", "-b", "ulx3s", "-f"),
    install="Debian: apt install openfpgaloader",
)
SIZES = tuple(
    replace(BOARD, name=f"ulx3s-{size}", title=f"ULX3S, {size.upper()}", part=f"ecp5-{size}")
    for size in ("12f", "45f", "85f")
)
