"""A disk that is full ends a command in one line, and leaves what was there."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from planted import Planted, digits_program, digits_spikes
from spikefab import SpikefabError, save_program
from spikefab.boards import open as opening
from spikefab.cli.devices import build_virtual
from spikefab.cli.main import main
from spikefab.cli.rtl import write_folder
from spikefab.compiler.ir.spikes import save_input

RUN = ["run", "p", "--input", "in.npz"]
DIFF = ["diff", "p", "--input", "in.npz", "--devices", "emulator,virtual"]
COMMANDS = {
    "run": ([*RUN, "-o", "out.npz"], 300, "out.npz"),
    "run, state": ([*RUN, "--record", "lif1.v", "-o", "out.npz"], 2000, "out.npz"),
    "run, virtual": ([*RUN, "--device", "virtual", "-o", "out.npz"], 300, "out.npz"),
    "run, checkpoint": (["run", "p", "--steps", "3", "--checkpoint", "c"], 300, "c"),
    "diff": ([*DIFF, "--replay", "again.npz"], 300, "again.npz"),
    "diff, waveform": ([*DIFF, "--waveform", "tick.vcd"], 20_000, "tick.vcd"),
    "stream": (["stream", "p", "--log", "log.npz"], 300, "log.npz"),
}


@contextmanager
def full_beyond(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents() -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in Path().rglob("*")}


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "there before"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_named_and_leaves_what_was_there(
    name: str, earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments, size, output = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    save_program(digits_program(), "p")
    save_input("in.npz", {digits_program().inputs[0].name: digits_spikes()})
    for traced in (False, True):
        build_virtual(digits_program(), traced)
    monkeypatch.setattr(opening, "BoardDevice", Planted)
    monkeypatch.setattr(Planted, "when", 4)
    monkeypatch.setattr(Planted, "events", lambda self, events: events[1:])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(sys, "argv", ["spikefab", *arguments])
    lines = "".join(f"{step} {line}\n" for step in range(9) for line in range(step, 60, 5))

    def run(size: int | None) -> int:
        monkeypatch.setattr(sys, "stdin", StringIO(lines))
        try:
            with full_beyond(size or resource.RLIM_INFINITY):
                main()
        except SystemExit as left:
            return int(left.code or 0)
        return 0

    given = contents()
    assert run(None) == int(name.startswith("diff"))  # compiles what is not compiled yet, too
    Path("replay.npz").unlink(missing_ok=True)
    if not earlier:
        for made in sorted(contents().keys() - given, reverse=True):
            Path(made).rmdir() if Path(made).is_dir() else Path(made).unlink()
    before = contents()
    capsys.readouterr()
    assert run(size) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == f"spikefab: error: cannot write in {output}: File too large"
    left = contents()
    left.pop("replay.npz", None)
    assert left == before


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "there before"])
def test_a_folder_on_a_full_disk_is_as_it_was(
    earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `rtl` and `build` write one."""
    monkeypatch.chdir(tmp_path)
    if earlier:
        write_folder(Path("made"), {"a": "yesterday's", "b": "yesterday's"})
    before = contents()
    with (
        pytest.raises(SpikefabError, match="cannot write in made: File too large"),
        full_beyond(300),
    ):
        write_folder(Path("made"), {"a": "today's", "b": "today's" * 100})
    assert contents() == before


def test_yosys_on_a_full_disk_is_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = digits_program()
    monkeypatch.setenv("SPIKEFAB_CACHE", str(tmp_path))
    said = r"Yosys failed in the virtual board: .*File too large \(os error 27\)$"
    with pytest.raises(SpikefabError, match=said), full_beyond(10_000):
        build_virtual(program)
    assert not list((tmp_path / "kernels").iterdir())
