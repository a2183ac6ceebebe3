"""The boards that are known, a user's own from a file, and which of them are attached."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from serial.tools import list_ports

from ..compiler.ir.errors import SpikefabError
from . import cmod_a7, icebreaker, ulx3s
from .spec import BoardSpec

BOARDS: dict[str, BoardSpec] = {
    board.name: board
    for board in (
        icebreaker.BOARD, ulx3s.BOARD, *ulx3s.SIZES, cmod_a7.BOARD, icebreaker.SLOWER,
    )
}


def find_board(name: str) -> BoardSpec:
    """A board by name, or the `BOARD` of a Python file, which is run.

    Raises SpikefabError where there is neither.
    """
    if name in BOARDS:
        return BOARDS[name]
    if not name.endswith(".py"):
        raise SpikefabError(
            f"unknown board '{name}'", "--board", hint=f"use {', '.join(BOARDS)} or a .py file"
        )
    board = getattr(_module(Path(name)), "BOARD", None)
    if not isinstance(board, BoardSpec):
        raise SpikefabError("no board", name, "it has no BOARD", "see docs/boards.md")
    return board


def _module(path: Path) -> ModuleType:
    """What a file says, as if it stood beside this one, where relative imports begin."""
    try:
        source = path.read_text()
    except (OSError, ValueError) as fault:
        why = getattr(fault, "strerror", None) or str(fault)
        raise SpikefabError("cannot read", str(path), why) from None
    module = ModuleType(f"{__package__}.own_{path.stem}")
    module.__file__, module.__package__ = str(path), __package__
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except SpikefabError:
        raise
    except (Exception, SystemExit) as fault:  # whatever a user's file does
        raise SpikefabError("no board", str(path), f"{type(fault).__name__}: {fault}") from None
    return module


@dataclass(frozen=True)
class Port:
    """A serial port, and the names of the boards that it may be, most alike first."""

    device: str
    usb: tuple[int, int]
    description: str
    boards: tuple[str, ...]


def attached() -> list[Port]:
    """The serial ports on USB."""
    found = []
    for port in list_ports.comports():
        if port.vid is None or port.pid is None:
            continue
        usb = (port.vid, port.pid)
        said = port.product or port.description or ""
        interface = re.search(r":\d+\.(\d+)$", port.location or "")
        boards = [
            board for board in BOARDS.values()
            if usb in board.usb and (interface is None or int(interface[1]) == board.interface)
        ]  # fmt: skip
        named = [board for board in boards if re.search(board.product, said)]
        found.append(Port(port.device, usb, said, tuple(b.name for b in named or boards)))
    return sorted(found, key=lambda port: port.device)


def baud_of(device: str) -> int | None:
    """The rate of the board on a port, where all that it may be agree on one."""
    rates = {
        BOARDS[name].baud for port in attached() if port.device == device for name in port.boards
    }
    return rates.pop() if len(rates) == 1 else None
