"""How the command speaks: tables and JSON on stdout, progress and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .. import SpikefabError

out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True, highlight=False)


def say_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(value, indent=2))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; the first column is text, the rest are figures."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for n, column in enumerate(columns):
        made.add_column(column, justify="left" if n == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*("-" if cell is None else str(cell) for cell in row))
    out.print(made)


def say(text: str) -> None:
    """Print a line on stdout."""
    out.print(text, markup=False)


def note(text: str) -> None:
    """Print a line on stderr."""
    err.print(text, markup=False, soft_wrap=True)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr that appears with the first report."""
    bar = Progress(console=err, transient=True, disable=not sys.stderr.isatty())
    task: list[Any] = []

    def report(done: int, total: int) -> None:
        if not task:
            bar.start()
            task.append(bar.add_task(what, total=total))
        bar.update(task[0], completed=done, total=total)

    try:
        yield report
    finally:
        if task:
            bar.stop()


def share(value: float | None) -> str | None:
    """A share as a percentage."""
    return None if value is None else f"{100 * value:.1f} %"


def check_output(path: str) -> None:
    """Raise SpikefabError where no file can be written, before work is spent on its content."""
    place = Path(path)
    why = ""
    if place.is_dir():
        why = "it is a directory"
    elif place.exists() and not place.is_file():
        why = "it is not a regular file"
    elif not place.parent.is_dir():
        why = "its folder does not exist"
    elif not os.access(place.parent, os.W_OK):
        why = "its folder is not writable"
    if why:
        raise SpikefabError("cannot write", path, why)
