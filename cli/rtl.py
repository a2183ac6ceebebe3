"""`spikefab rtl`: the core that carries a program, as Verilog with a run to compare with."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from .. import Emulator, SpikefabError, load_program
from .console import progress, say, say_json
from .inputs import program_input

SUMS = "spikefab.sha256"


@click.command()
@click.argument("program")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write.")
@click.option("--input", "input_file", help="Spikes that the simulation gives.")
@click.option("--steps", type=click.IntRange(1), help="Default: to the last input, 1 without.")
@click.option(
    "--target", type=click.Choice(["generic", "ice40"]), default="generic", show_default=True,
    help="Plain Verilog, or with the blocks of the iCE40 UltraPlus.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def rtl(
    program: str, output: str, input_file: str | None, steps: int | None, target: Any,
    as_json: bool,
) -> None:  # fmt: skip
    """Write the core that carries PROGRAM as Verilog, with a simulation of a run."""
    try:
        from ..rtl.export import NAMES, export
    except ModuleNotFoundError as fault:
        if not str(fault.name).startswith("amaranth"):
            raise
        raise SpikefabError(
            f"no module '{fault.name}'", "spikefab rtl", hint="pip install 'spikefab[rtl]'"
        ) from None
    if not output:
        raise SpikefabError("no folder", "-o", hint="name the folder to write, '.' for this one")
    folder = Path(output)
    check_folder(folder, NAMES)
    loaded = load_program(program)
    given = program_input(input_file, loaded, steps)
    with progress("exporting") as report:
        report(0, 1)
        made = export(
            loaded, Emulator(loaded), given.spikes or None, given.steps, target, given.signals
        )
    write_folder(folder, made.files)
    summary = {
        "program": loaded.hash,
        "chip": made.chip.to_json(),
        "target": target,
        "samples": made.samples,
        "steps": made.steps,
        "ticks": made.ticks,
        "cycles": made.cycles,
        "outputs": made.outputs,
        "files": sorted([*made.files, SUMS]),
        "output": output,
    }
    if as_json:
        say_json(summary)
        return
    say(f"a core of {made.chip.neurons} neurons, {made.chip.axons} axons, "
        f"{made.chip.synapse_words} synapse words")
    say(f"{made.samples} sample(s) of {made.ticks} ticks: {made.cycles} cycles, "
        f"{made.outputs} spikes and values come out")
    say(f"wrote {len(made.files) + 1} files to {output}; README.md there says how to simulate it")


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Raise SpikefabError where `write_folder` could not write these, before work is spent."""
    _check_names(folder, [*names, SUMS], _check_folder(folder))


def write_folder(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files and their sums into a folder, all or none of them.

    Files that an earlier call left there go, as long as they are unchanged. Raises SpikefabError
    where any other stands in the way, or nothing can be written.
    """
    old = _check_folder(folder)
    _check_names(folder, [*files, SUMS], old)
    content = {
        name: made if isinstance(made, bytes) else made.encode() for name, made in files.items()
    }
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n"
                   for name, data in content.items())  # fmt: skip
    created = not folder.exists()
    moved: list[tuple[Path, Path]] = []
    stage = None
    try:
        folder.mkdir(exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".spikefab-", dir=folder))
        (stage / "old").mkdir()
        (stage / "new").mkdir()
        for name, data in {**content, SUMS: sums.encode()}.items():
            (stage / "new" / name).write_bytes(data)
        for kind, names in (("old", sorted(old)), ("new", [*content, SUMS])):
            for name in names:
                there, staged = folder / name, stage / kind / name
                places = (there, staged) if kind == "old" else (staged, there)
                moved.append(places)
                os.rename(*places)
    except BaseException as fault:
        for before, after in reversed(moved):
            if after.exists():  # else it was not moved yet
                os.rename(after, before)
        if isinstance(fault, OSError):
            raise SpikefabError(
                "cannot write", str(folder), fault.strerror or str(fault)
            ) from None
        raise
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        if created:
            with contextlib.suppress(OSError):  # it is not empty: all is well
                folder.rmdir()


def _check_folder(folder: Path) -> set[str]:
    """The files in it that an earlier export left as they are; raises SpikefabError if it cannot
    be written."""
    why = ""
    if folder.is_dir():
        if not os.access(folder, os.W_OK | os.X_OK):
            why = "it is not writable"
    elif folder.exists() or folder.is_symlink():
        why = "it is not a folder"
    elif not folder.parent.is_dir():
        why = "its folder does not exist"
    elif not os.access(folder.parent, os.W_OK):
        why = "its folder is not writable"
    if why:
        raise SpikefabError("cannot write", str(folder), why)
    sums = folder / SUMS
    lines = sums.read_text(errors="replace").splitlines() if sums.is_file() else []
    listed = [re.fullmatch(r"([\da-f]{64})  ([\w.]+)", line) for line in lines]
    if not listed or None in listed:
        return set()
    return {SUMS} | {
        m[2]
        for m in listed
        if m and (folder / m[2]).is_file()
        and hashlib.sha256((folder / m[2]).read_bytes()).hexdigest() == m[1]
    }  # fmt: skip


def _check_names(folder: Path, names: Iterable[str], old: set[str]) -> None:
    """Raise SpikefabError for a name that something else has."""
    for name in names:
        place = folder / name
        if name not in old and (place.exists() or place.is_symlink()):
            raise SpikefabError(
                "cannot write", str(place), "it is there, and not as an export left it",
                "name another folder",
            )  # fmt: skip
