"""Devices by the names that the command line gives them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .. import Emulator, Program
from .console import note

EMULATOR = "emulator"


@contextlib.contextmanager
def open_device(
    name: str, program: Program, *, threads: int = 1, counts: bool = True, baud: int | None = None
) -> Iterator[Any]:
    """The emulator, the virtual board or the board on a port, with a program loaded.

    Raises SpikefabError where it cannot be opened, or is not for the program.
    """
    if name == EMULATOR:
        yield Emulator(program, threads=threads, counts=counts)
        return
    from ..boards.open import VIRTUAL, open_board

    if name == VIRTUAL:
        build_virtual(program)
    with open_board(name, program, baud=baud, counts=counts) as board:
        yield board


def build_virtual(program: Program, traced: bool = False) -> None:
    """Have the virtual board of a program's core there, or the one that writes waveforms."""
    from ..boards.open import virtual_executable
    from ..compiler.ir.memory_map import core_map

    which = "the virtual board with its waveforms" if traced else "the virtual board"
    virtual_executable(
        core_map(program), lambda: note(f"building {which}, once for this core"), traced
    )
