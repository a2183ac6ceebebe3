"""The virtual board learns as the exact machine does, and tells all that it learned."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soak
import strategies
from recordings import assert_equal
from spikefab import Emulator, Machine
from spikefab.boards.device import BoardDevice
from spikefab.boards.diff import diff
from spikefab.compiler.ir.cores import core_images
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.learn import plastic_part, plastic_range
from spikefab.compiler.ir.program import Program

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rtl"))

import cosim

CHIP = 7  # of `cosim.core`: reward-modulated, so that it has states and a signal; neurons draw


@pytest.fixture(scope="module")
def board() -> Iterator[BoardDevice]:
    with soak.opened(soak.executable(cosim.core(CHIP)[2])) as opened:
        yield opened.device


def drawn(seed: int, projections: int = 2) -> Program:
    """A random program for the chip."""
    rng = np.random.default_rng([7, seed])
    spec, pool, map = cosim.core(CHIP)
    while True:
        with suppress(SpikefabError):  # too much for the chip: draw another
            program = strategies.random_program(
                rng, neurons=16, cores=1, on=(spec, pool), plastic=projections, rules=map.rules
            )
            if program.plastic:
                map.contents(core_images(program)[0], 0)
                return program


def variables(program: Program) -> list[str]:
    found = []
    for q in program.plastic:
        rule = program.rules[q.rule]
        parts = ["weights", "learning", *rule.state, *rule.pre, *rule.post, *rule.held]
        found += [f"{q.name}.{part}" for part in parts]
    return found


def spiking(program: Program) -> list[str]:
    """The populations whose spikes are told only if they are recorded."""
    return [p.name for p in program.populations if program.models[p.model].spikes and not p.output]


def assert_learnt_alike(a: Any, b: Any, program: Program) -> None:
    for name in variables(program):
        np.testing.assert_array_equal(a.read(name), b.read(name), name)


def write_both(devices: tuple[Any, Any], name: str, rng: np.random.Generator) -> None:
    """Random values of a variable, but for traces of sources without a synapse."""
    program = devices[0].program
    part = plastic_part(program, name)
    assert part is not None
    _, lo, hi = plastic_range(program, *part)
    values = rng.integers(lo, hi, devices[0].read(name).shape, endpoint=True)
    if part[1] == "pre":
        values[np.diff(program.plastic[part[0]].rows) == 0] = 0
    for device in devices:
        device.write(name, values)


@pytest.mark.parametrize("seed", range(6))
def test_a_board_learns_as_the_exact_machine(seed: int, board: BoardDevice) -> None:
    program, rng = drawn(seed, projections=1), np.random.default_rng(seed)
    record = spiking(program)
    machine = Machine(program)
    board.load(program)
    for steps, samples in ((6, None), (3, None), (3, 2), (4, None)):
        spikes = strategies.random_input(rng, program, steps, samples)
        signals = strategies.random_signals(rng, program, steps, samples)
        drain = bool(rng.random() < 0.5)
        runs = [
            device.run(
                spikes, steps, samples=samples, signals=signals, drain=drain, record=record
            )
            for device in (machine, board)
        ]
        assert_equal(*runs)
        assert_learnt_alike(machine, board, program)
        for name in variables(program):
            if rng.random() < 0.4:
                write_both((machine, board), name, rng)
        if rng.random() < 0.3:
            whole, again = bool(rng.random() < 0.5), (None, 7)[int(rng.integers(2))]
            machine.restart(weights=whole, seed=again)
            board.restart(weights=whole, seed=again)
        assert_learnt_alike(machine, board, program)
    assert board.intact()


def test_a_board_draws_from_the_seed_of_its_restart(board: BoardDevice) -> None:
    program, rng = drawn(4), np.random.default_rng(4)
    spikes = strategies.random_input(rng, program, 12)
    signals = strategies.random_signals(rng, program, 12)
    board.load(program)
    emulator = Emulator(program)
    found = []
    for seed in (7, 8):
        for device in (emulator, board):
            device.restart(weights=True, seed=seed)
            device.run(spikes, 12, samples=2)
            device.write("weights", device.read("weights"))
            device.run(spikes, 12, signals=signals)
        assert_learnt_alike(emulator, board, program)
        weights = [board.read(f"{q.name}.weights") for q in program.plastic]
        found.append(np.concatenate(weights).tolist())
    assert found[0] != found[1]
    assert board.intact()


def test_fixed_weights_are_written_beside_learned_ones(board: BoardDevice) -> None:
    program, rng = drawn(1), np.random.default_rng(1)
    machine = Machine(program)
    board.load(program)
    spikes = strategies.random_input(rng, program, 8)
    record = spiking(program)
    for device in (machine, board):
        device.run(spikes, 8, record=record)
        device.write("weights", -device.read("weights") // 2)
    assert_learnt_alike(machine, board, program)
    np.testing.assert_array_equal(machine.read("weights"), board.read("weights"))
    runs = [device.run(spikes, 8, record=record) for device in (machine, board)]
    assert_equal(*runs)
    assert_learnt_alike(machine, board, program)


def test_diff_compares_what_was_learned(board: BoardDevice) -> None:
    program, rng = drawn(2), np.random.default_rng(2)
    spikes = strategies.random_input(rng, program, 12, 2)
    signals = strategies.random_signals(rng, program, 12, 2)
    board.load(program)
    assert diff(Emulator(program), board, spikes, 12, signals=signals).equal
    board.restart(weights=True)
    name = f"{program.plastic[0].name}.weights"
    values = board.read(name)
    q = program.plastic[0]
    lo, hi = q.parameters["w_min"], q.parameters["w_max"]
    values[3] = lo if values[3] != lo else hi
    board.write(name, values)
    first = diff(Emulator(program), board, spikes, 12, signals=signals).first
    assert first is not None
    assert first.variable == "weight"
    assert first.source == program.source_name(q.first + int(q.source[3]))
    assert first.neuron == program.neuron_name(int(q.to[3]))
