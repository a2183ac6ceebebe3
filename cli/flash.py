"""`spikefab flash`: a bitstream onto a board."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import click

from .. import SpikefabError
from ..boards.catalogue import find_board
from ..boards.spec import BoardSpec
from .console import note, say


@click.command()
@click.option("--board", "name", required=True, metavar="NAME|FILE.py", help="See `boards`.")
@click.argument("file")
def flash(name: str, file: str) -> None:
    """Write FILE, a bitstream or a folder of `spikefab build`, to the board that is attached."""
    board = find_board(name)
    bitstream = _bitstream(board, Path(file))
    programmer, *options = board.programmer
    tool = shutil.which(programmer)
    if tool is None:
        raise SpikefabError(
            f"no {programmer}", "spikefab flash", f"it writes to {board.title}",
            f"install it ({board.install})",
        )  # fmt: skip
    note(" ".join([programmer, *options, str(bitstream)]))
    sys.stderr.flush()
    # By its whole path, which is no option whatever its name.
    done = subprocess.run([tool, *options, str(bitstream.resolve())], stdout=2, check=False)
    if done.returncode:
        raise SpikefabError(
            f"{programmer} ended with status {done.returncode}", f"board '{board.name}'",
            hint="it says why above",
        )  # fmt: skip
    say(f"wrote {bitstream} to {board.title}")


def _bitstream(board: BoardSpec, path: Path) -> Path:
    """The bitstream that is meant; raises SpikefabError for one of another board, or none."""
    if not path.is_dir():
        try:
            with path.open("rb"):
                return path
        except OSError as fault:
            raise SpikefabError("cannot read", str(path), fault.strerror or str(fault)) from None
    place = path / "report.json"
    try:
        report = json.loads(place.read_text())
        built_for, name = str(report["board"]), report["bitstream"]
    except OSError as fault:
        raise SpikefabError("cannot read", str(place), fault.strerror or str(fault)) from None
    except (ValueError, KeyError, TypeError):
        raise SpikefabError("no report of a build", str(place)) from None
    if built_for != board.name:
        raise SpikefabError(f"a bitstream for board '{built_for}'", str(path))
    if name is None:
        raise SpikefabError("no bitstream", str(path), str(report.get("why") or ""))
    return _bitstream(board, path / str(name))
