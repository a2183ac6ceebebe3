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
    from ..boards.open import VIRTUAL, open_board, virtual_executable
    from ..compiler.ir.memory_map import core_map

    if name == VIRTUAL:
        virtual_executable(
            core_map(program), lambda: note("building the virtual board, once for this core")
        )
    with open_board(name, program, baud=baud, counts=counts) as board:
        yield board
