"""`diff` finds that devices are equal, and where they part: each of many planted differences."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from spikefab import (
    Emulator,
    Machine,
    Program,
    SpikefabError,
    SpikeTrain,
    compile,
    load,
    save_program,
    write_waveform,
)
from spikefab.boards import open as opening
from spikefab.boards.device import BoardDevice
from spikefab.boards.diff import Comparison, diff
from spikefab.boards.open import open_board
from spikefab.cli.main import main
from spikefab.compiler.ir.cores import core_images
from spikefab.compiler.ir.memory_map import core_map
from spikefab.compiler.ir.spikes import save_input
from spikefab.examples import digits

STEPS = digits.STEPS
Plant = Callable[["Planted"], None]


class Planted(BoardDevice):
    """A board with which something happens before a tick of each sample, or to its events."""

    when, what, events = -1, None, None
    _at = 0

    def restart(self, weights: bool = False) -> None:
        self._at = 0
        super().restart(weights)

    def _send_tick(self, events: Sequence[tuple[int, int]]) -> bytes:
        if self._at == self.when:
            if self.what:
                self.what(self)
            events = self.events(events) if self.events else events
        self._at += 1
        return super()._send_tick(events)


@pytest.fixture(scope="module", params=[False, True], ids=["states", "digests"])
def program(request: pytest.FixtureRequest) -> Program:
    """With states that are compared as they are read, or by the chip's digests."""
    network = load(digits.NETWORK, profile="snntorch", reset=digits.RESET)
    seen = SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))
    compiled = compile(network, calibrate={network.inputs[0].name: seen})[0]
    return replace(compiled, chip=replace(compiled.chip, digests=request.param))


@pytest.fixture(scope="module")
def spikes() -> SpikeTrain:
    return SpikeTrain.from_dense(digits.encode(digits.load_test_images()[0][:2]))


@contextmanager
def board(program: Program) -> Iterator[Planted]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "BoardDevice", Planted)
        with open_board("virtual", program) as opened:
            assert isinstance(opened, Planted)
            yield opened


@pytest.fixture(scope="module")
def planted(program: Program) -> Iterator[Planted]:
    with board(program) as opened:
        yield opened


def found(program: Program, spikes: SpikeTrain, planted: Planted) -> Comparison:
    try:
        return diff(Emulator(program), planted, spikes, STEPS)
    finally:
        planted.when, planted.what, planted.events = -1, None, None
        planted.load(program)


def test_equal_devices_are_equal(program: Program, spikes: SpikeTrain, planted: Planted) -> None:
    result = found(program, spikes, planted)
    assert result.equal
    assert (result.samples, result.ticks) == (2, 2 * program.ticks(STEPS))


def test_emulator_and_exact_machine_are_equal(program: Program, spikes: SpikeTrain) -> None:
    assert diff(Emulator(program), Machine(program), spikes, STEPS).equal


def low(planted: Planted) -> int:
    """The state of a hidden neuron with a very low potential."""
    names = planted.program.models[0].state
    return planted._map.state_entry(0, dict.fromkeys(names, 0) | {"v": -20000})


def changed(planted: Planted, region: str, entry: int, **fields: int) -> None:
    """Change fields of an entry."""
    stored = planted._map.regions[region]
    (before,) = planted._read(region, entry, 1)
    planted._write(region, [stored.pack(**(stored.unpack(before) | fields))], entry)


def test_a_weight_is_named_by_its_synapse(
    program: Program, spikes: SpikeTrain, planted: Planted
) -> None:
    weights = planted.read("weights")
    at = int(np.flatnonzero(weights > 5)[7])
    there = weights.copy()
    there[at] -= 3
    planted.write("weights", there)
    planted._program = program  # as if the memory had changed by itself
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable) == (-1, "weight")
    assert (first.a, first.b) == (weights[at], weights[at] - 3)
    synapses = program.synapses
    assert first.source == program.source_name(int(synapses.source[at]))
    assert first.neuron == program.neuron_name(int(synapses.target[at]))


def row_of(planted: Planted, entry: int, **fields: int) -> None:
    stored = planted._map.regions["rows"]
    (before,) = planted._read("rows", entry, 1)
    parts = stored.unpack(before)
    at = {name: sum(bits for _, bits in planted._map.row_extent[:n])
          for n, (name, _) in enumerate(planted._map.row_extent)}
    for name, value in fields.items():
        if name in parts:
            parts[name] = value
        else:
            bits = dict(planted._map.row_extent)[name]
            parts["extent"] &= ~(((1 << bits) - 1) << at[name])
            parts["extent"] |= value << at[name]
    planted._write("rows", [stored.pack(**parts)], entry)


@pytest.mark.parametrize(
    ("variable", "fields"),
    [("row delay", {"delay": 1}), ("row words", {"words": 3}), ("row follows", {"follows": 0})],
)
def test_a_row_is_named_by_its_source(
    program: Program, spikes: SpikeTrain, planted: Planted, variable: str, fields: dict[str, int]
) -> None:
    image = core_images(program)[0]
    entry = next(n for n, row in enumerate(image.rows) if row.follows)
    row_of(planted, entry, **fields)
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable) == (-1, variable)
    assert first.source == program.source_name(int(image.sources[entry]))
    assert first.b == next(iter(fields.values()))


def test_a_parameter_is_named_by_its_entry(
    program: Program, spikes: SpikeTrain, planted: Planted
) -> None:
    names = sorted(program.models[0].parameters)
    field = f"p{names.index('threshold')}"
    changed(planted, "parameters", 0, **{field: 1234})
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable, first.b) == (-1, f"parameter {field} of entry 0", 1234)


def test_a_route_is_named_by_its_neuron(
    program: Program, spikes: SpikeTrain, planted: Planted
) -> None:
    changed(planted, "routes", 4, axon=2)
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable, first.b) == (-1, "route axon", 2)
    assert first.neuron == program.neuron_name(4)


def test_a_state_is_named_by_its_neuron_and_tick(
    program: Program, spikes: SpikeTrain, planted: Planted
) -> None:
    hidden = program.populations[0].name

    def change(device: Planted) -> None:
        device._write("state", [low(device)], 3)

    planted.when, planted.what = 5, change
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.sample, first.tick, first.variable) == (0, 5, "v")
    assert first.neuron == f"{hidden}[3]"
    assert first.a > first.b


@pytest.mark.parametrize(
    "events", [lambda events: events[1:], lambda events: [*events, *missing(events)]]
)
def test_a_lost_and_an_added_event_show_in_the_clocks_of_deliver(
    program: Program, spikes: SpikeTrain, planted: Planted, events: Callable[..., object]
) -> None:
    planted.when, planted.events = 4, events
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable) == (4, "cycles of deliver")
    assert abs(first.a - first.b) > 5


def missing(events: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """An event of a line that has none."""
    given = {source for source, _ in events}
    return [(next(line for line in range(20, 64) if line not in given), 1)]


def test_a_population_that_starts_late_is_named(
    program: Program, spikes: SpikeTrain, planted: Planted
) -> None:
    late = planted._map.regions["phases"].pack(countdown=3, period=0)
    planted.when, planted.what = 0, lambda device: device._write("phases", [late], 1)
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable) == (program.populations[1].start, "cycles of update")


def test_a_sum_that_waits_is_named(program: Program, spikes: SpikeTrain, planted: Planted) -> None:
    """It is added to a neuron in the tick in which its slot comes."""

    def add(device: Planted) -> None:
        slots = device._map.chip.delay_slots
        device._write("accumulators", [700], device._first_sum(7 % slots) + 9)

    planted.when, planted.what = 7, add
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable) == (7, "v")
    assert first.neuron == program.neuron_name(9)


def test_a_pending_event_that_appears_is_an_event_of_that_tick(
    program: Program, spikes: SpikeTrain, planted: Planted
) -> None:
    def appear(device: Planted) -> None:
        device._write("pending", [0xFFFF], 0)

    planted.when, planted.what = 2, appear
    first = found(program, spikes, planted).first
    assert first is not None
    assert (first.tick, first.variable) == (2, "cycles of deliver")


def test_the_replay_shows_the_difference_again(
    program: Program, spikes: SpikeTrain, planted: Planted
) -> None:
    def change(device: Planted) -> None:
        device._write("state", [low(device)], 11)

    planted.when, planted.what = 9, change
    result = found(program, spikes, planted)
    planted.when, planted.what = 9, change
    again = diff(Emulator(program), planted, result.replay, result.steps)
    planted.when, planted.what = -1, None
    assert result.steps == 10
    assert again.first == result.first


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
    program: Program, spikes: SpikeTrain, planted: Planted, tmp_path: Path
) -> None:
    planted.when, planted.what = 5, lambda device: device._write("state", [low(device)], 3)
    result = found(program, spikes, planted)
    assert result.first is not None
    tick = result.first.tick
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
    assert [counted[n] for n in (1, 2, 3)] == run.cycles[0, tick, 0].tolist()
    stored = [here for here in clocks if here["top.core.stored"]]
    assert [here["top.core.stored_neuron"] for here in stored] == list(range(program.neurons))
    map = core_map(program)
    for p in program.populations:
        states = [map.state(p.model, here["top.core.stored_state"]) for here in stored[p.neurons]]
        expected = run.state[f"{p.name}.v"][0, tick - p.start]
        assert [state["v"] for state in states] == expected.tolist()


@pytest.mark.parametrize("when", [4, -1], ids=["differs", "equal"])
def test_diff_writes_a_waveform_where_there_is_a_difference(
    program: Program, spikes: SpikeTrain, when: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save_program(program, "p")
    save_input("in.npz", {program.inputs[0].name: spikes})
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
    assert sum(here["top.core.counting"] for here in wires[::2] if here["top.core.phase"] == 1) == (
        told["a"]
    )


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
    with pytest.raises(SpikefabError, match=r"no C\+\+ compiler in the virtual board: CXX is"):
        write_waveform(program, None, 0, tmp_path / "a.vcd")
    assert not (tmp_path / "a.vcd").exists()


def test_other_programs_are_refused(program: Program, planted: Planted) -> None:
    with pytest.raises(SpikefabError, match="different programs"):
        diff(Emulator(replace(program, seed=9)), planted, None, 3)
