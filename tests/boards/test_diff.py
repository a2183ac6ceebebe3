"""`diff` finds that devices are equal, and where they part: each of many planted differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from planted import Planted, digits_program, digits_spikes, low
from spikefab import Emulator, Machine, Program, SpikefabError, SpikeTrain
from spikefab.boards import open as opening
from spikefab.boards.diff import Comparison, diff
from spikefab.boards.open import open_board
from spikefab.compiler.ir.cores import core_images
from spikefab.examples import digits

STEPS = digits.STEPS


@pytest.fixture(scope="module", params=[False, True], ids=["states", "digests"])
def program(request: pytest.FixtureRequest) -> Program:
    """With states that are compared as they are read, or by the chip's digests."""
    compiled = digits_program()
    return replace(compiled, chip=replace(compiled.chip, digests=request.param))


@pytest.fixture(scope="module")
def spikes() -> SpikeTrain:
    return digits_spikes()


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


def test_other_programs_are_refused(program: Program, planted: Planted) -> None:
    with pytest.raises(SpikefabError, match="different programs"):
        diff(Emulator(replace(program, seed=9)), planted, None, 3)
