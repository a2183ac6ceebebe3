"""What a board is: an FPGA with a crystal, a wire to the host, and a chip that fits it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..compiler.ir.chip import ChipSpec
from ..compiler.ir.errors import SpikefabError

MOST_OFF = 0.01  # that the wire's rate may be beside what it is called
NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class BoardSpec:
    """A board; a class of its own adds `platform` and `clock`.

    name: of the board and its bitstream; title: for people; part: of `rtl.synthesis.PARTS`; chip:
    what is built where no program says otherwise. clock_mhz: of all gateware, made of the crystal;
    baud: bits per second on the wire, which the board's USB chip must be able to make. usb: ids of
    that chip, vendor and product, and `product`, what its description says, as a regular
    expression: a chip is on many boards. interface: of the chip's ports, the number of the wire.
    programmer: the command that writes a bitstream, whose name follows; install: where to get it.
    Raises SpikefabError for a name that is none, and where clock / baud is no whole number within
    1 %.
    """

    name: str
    title: str
    part: str
    chip: ChipSpec
    clock_mhz: float
    baud: int
    usb: tuple[tuple[int, int], ...]
    product: str
    interface: int
    programmer: tuple[str, ...]
    install: str

    def __post_init__(self) -> None:
        """Check."""
        where = f"board '{self.name}'"
        if not NAME.fullmatch(self.name):
            raise SpikefabError("no name", where, hint="use a-z, 0-9, _ and -, a letter first")
        rate = self.clock_mhz * 1e6 / max(1, self.divisor)
        if self.divisor < 4 or abs(rate / self.baud - 1) > MOST_OFF:
            raise SpikefabError(
                f"{self.baud} baud", where,
                f"{self.clock_mhz:g} MHz makes {rate:.0f} of it, 4 clocks per bit or more",
            )  # fmt: skip

    @property
    def divisor(self) -> int:
        """Clocks per bit on the wire."""
        return round(self.clock_mhz * 1e6 / self.baud)

    def platform(self) -> Any:
        """The board's pins: a new platform of amaranth-boards, with `default_clk` and a `uart`.

        Import it here, as listing boards is to need no Amaranth.
        """
        raise NotImplementedError

    def clock(self, m: Any, crystal: Any) -> tuple[Any, Any]:
        """Add a PLL to module `m`: (its clock of `clock_mhz`, whether it has locked).

        crystal: the port of the pin `default_clk`.
        """
        raise NotImplementedError
