"""Open a device by what the user calls it: `virtual`, or the name of a port."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import MemoryMap, core_map
from ..compiler.ir.program import Program
from ..emulator.cache import cache_folder
from .catalogue import baud_of
from .device import BoardDevice
from .link import Link, open_port
from .virtual import Faults, VirtualBoard, build

VIRTUAL = "virtual"
VIRTUAL_DIVISOR = 4
VIRTUAL_BAUD = 1_000_000  # which the pseudo-terminal does not heed
BAUD = 1_000_000
"""Of a port whose board is not known by its USB id."""
BEGAN = time.time()  # sources that changed since are not what runs here


def open_board(
    name: str,
    program: Program | None = None,
    *,
    baud: int | None = None,
    counts: bool = True,
    faults: Faults | None = None,
) -> BoardDevice:
    """The board on a port, or the virtual one, with a program loaded if one is given.

    name: `virtual`, for which the program is needed, as it is built to carry that one; or a serial
    port. baud: default is the board's own, where its USB id is known, else 1,000,000; counts:
    whether runs report clock cycles; faults: of the virtual board's wire. Raises SpikefabError
    where no board answers, or one that is not for this program.
    """
    with ExitStack() as opened:
        if name == VIRTUAL:
            if program is None:
                raise SpikefabError("no program", "the virtual board", hint="give one to build for")
            executable = virtual_executable(core_map(program))
            board = opened.enter_context(VirtualBoard(executable, VIRTUAL_DIVISOR, faults))
            name, baud = board.port, VIRTUAL_BAUD
        port = opened.enter_context(open_port(name, baud or baud_of(name) or BAUD))
        link = Link(port, name)
        link.open()
        device = BoardDevice(link, program, counts=counts)
        device.closing = opened.pop_all()
        return device


def virtual_executable(
    map: MemoryMap, building: Callable[[], None] | None = None, traced: bool = False
) -> Path:
    """The virtual board's program for a core, built once for this version of Spikefab.

    building: called if it has to be built, which may take a minute; traced: as in `build`.
    """
    index = cache_folder() / f"board_{_key(map)}{'_traced' if traced else ''}.json"
    try:
        known = Path(json.loads(index.read_text()))
        if known.exists() and _is_current():
            return known
    except (OSError, ValueError, TypeError):
        pass
    if building:
        building()
    try:
        from ..rtl.board import Board
    except ModuleNotFoundError as fault:
        raise SpikefabError(
            f"no module '{fault.name}'", "the virtual board", hint="pip install 'spikefab[rtl]'"
        ) from None
    made = build(Board(map, VIRTUAL_DIVISOR), "virtual", VIRTUAL_DIVISOR, traced)
    if _is_current():
        part = index.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(str(made)))
        os.replace(part, index)
    return made


def _key(map: MemoryMap) -> str:
    """Hash of all that the gateware of a core is made from."""
    digest = hashlib.sha256(repr((map.hash, map.chip, _version("amaranth"))).encode())
    digest.update(json.dumps([model.to_json() for model in map.models]).encode())
    for source in _sources():
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def _is_current() -> bool:
    """Whether the sources are those that this process runs, and so what it builds is theirs."""
    return all(source.stat().st_mtime < BEGAN for source in _sources())


def _sources() -> list[Path]:
    root = Path(__file__).parent.parent
    patterns = ("rtl/*.py", "compiler/ir/*.py", "boards/virtual.*")
    return [source for pattern in patterns for source in sorted(root.glob(pattern))]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
