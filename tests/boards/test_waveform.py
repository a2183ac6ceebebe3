"""A waveform shows one tick of the gateware, clock by clock."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path

import pytest
from planted import Planted, digits_program, digits_spikes, low
from spikefab import (
    Emulator,
    Program,
    SpikefabError,
    diff,
    open_board,
    save_program,
    write_waveform,
)
from spikefab.boards import open as opening
from spikefab.cli.main import main
from spikefab.compiler.ir.memory_map import core_map
from spikefab.compiler.ir.spikes import save_input
from spikefab.examples import digits


@pytest.fixture
def program() -> Program:
    return digits_program()


def snapshots(path: Path) -> tuple[list[int], list[dict[str, int]]]:
    """Times of a waveform, and what each wire then is."""
    names: dict[str, str] = {}
    scope: list[str] = []
    lines = iter(path.read_text().splitlines())
    for line in lines:
        match line.split():
            case ["$scope", "module", name, "$end"]:
                scope.append(name)
            case ["$upscope", "$end"]:
                scope.pop()
            case ["$var", _, _, key, name, *_]:
                names[".".join([*scope, name])] = key
            case ["$enddefinitions", "$end"]:
                break
    times: list[int] = []
    seen: list[dict[str, int]] = []
    now: dict[str, int] = {}
    for line in lines:
        if line[0] == "#":
            times.append(int(line[1:]))
            seen.append(now := now.copy())
        elif line[0] == "b":
            value, key = line[1:].split()
            now[key] = int(value, 2)
        else:
            now[line[1:]] = int(line[0])
    return times, [{name: here[key] for name, key in names.items()} for here in seen]


def test_the_waveform_shows_the_gateware_in_the_tick_that_differs(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BoardDevice", Planted)
    with open_board("virtual", program) as planted:
        assert isinstance(planted, Planted)
        planted.when, planted.what = 5, lambda device: device._write("state", [low(device)], 3)
        result = diff(Emulator(program), planted, digits_spikes(), digits.STEPS)
    assert result.first is not None
    tick = result.first.tick
    assert tick == 5
    written = write_waveform(program, result.replay, tick, tmp_path / "tick.vcd")
    assert [path.name for path in tmp_path.iterdir()] == ["tick.vcd"]
    times, wires = snapshots(tmp_path / "tick.vcd")
    assert times == list(range(0, 10 * written - 5, 5))
    assert [here["top.clk"] for here in wires] == [0, *[1, 0] * (written - 1)]
    clocks = wires[::2]
    assert [value for value, _ in groupby(here["top.core.start"] for here in clocks)] == [1, 0]
    phases = [phase for phase, _ in groupby(here["top.core.phase"] for here in clocks)]
    assert phases == [0, 1, 2, 3, 0]

    emulator = Emulator(program)
    names = [f"{p.name}.v" for p in program.populations]
    run = emulator.run(result.replay, result.steps, record=names, drain=False)
    counted = Counter(here["top.core.phase"] for here in clocks if here["top.core.counting"])
    assert run.cycles is not None
    deliver, update, learn, emit = run.cycles[0, tick, 0].tolist()
    assert [counted[n] for n in (1, 2, 3)] == [deliver, update, emit]
    assert learn == 0
    stored = [here for here in clocks if here["top.core.stored"]]
    assert [here["top.core.stored_neuron"] for here in stored] == list(range(program.neurons))
    map = core_map(program)
    for p in program.populations:
        states = [map.state(p.model, here["top.core.stored_state"]) for here in stored[p.neurons]]
        expected = run.state[f"{p.name}.v"][0, tick - p.start]
        assert [state["v"] for state in states] == expected.tolist()


@pytest.mark.parametrize("when", [4, -1], ids=["differs", "equal"])
def test_diff_writes_a_waveform_where_there_is_a_difference(
    program: Program, when: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save_program(program, "p")
    save_input("in.npz", {program.inputs[0].name: digits_spikes()})
    monkeypatch.setattr(opening, "BoardDevice", Planted)
    monkeypatch.setattr(Planted, "when", when)
    monkeypatch.setattr(Planted, "events", lambda self, events: events[1:])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(sys, "argv", [
        "spikefab", "diff", "p", "--input", "in.npz", "--devices", "emulator,virtual",
        "--waveform", "tick.vcd", "--json",
    ])  # fmt: skip
    with nullcontext() if when < 0 else pytest.raises(SystemExit, match="1"):
        main()
    told = json.loads(capsys.readouterr().out)
    if when < 0:
        assert told["equal"]
        assert {path.name for path in tmp_path.iterdir()} == {"p", "in.npz"}
        return
    assert (told["tick"], told["waveform"]) == (4, "tick.vcd")
    _, wires = snapshots(tmp_path / "tick.vcd")
    delivering = [here for here in wires[::2] if here["top.core.phase"] == 1]
    assert sum(here["top.core.counting"] for here in delivering) == told["a"]


def test_a_waveform_that_cannot_be_is_refused(program: Program, tmp_path: Path) -> None:
    for tick, path, said in (
        (-1, tmp_path / "a.vcd", "tick -1 in write_waveform; give 0 or more"),
        (0, tmp_path / "none" / "a.vcd", "cannot write in .*a.vcd: No such file or directory"),
    ):
        with pytest.raises(SpikefabError, match=said):
            write_waveform(program, None, tick, path)
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_there_is_no_waveform(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEFAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("spikefab.rtl.board.Board", lambda *arguments: None)  # it is not reached
    with pytest.raises(SpikefabError, match=r"no C\+\+ compiler in the virtual board: CXX is"):
        write_waveform(program, None, 0, tmp_path / "a.vcd")
    assert not (tmp_path / "a.vcd").exists()
