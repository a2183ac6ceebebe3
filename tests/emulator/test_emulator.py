"""The emulator's run form gives what the exact machine gives, however the work is shared out."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spikefab as sf
import strategies
from recordings import assert_equal
from spikefab.compiler.ir.program import Program
from spikefab.emulator import layout, run

PROGRAMS = int(os.environ.get("SPIKEFAB_PROGRAMS", "40"))


@pytest.fixture(autouse=True)
def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run change the number of its threads on the way."""
    monkeypatch.setattr(run, "TRIAL", 1)
    monkeypatch.setattr(run, "CALL_SECONDS", 0.0)


def everything(program: Program) -> list[str]:
    """Names of all state variables."""
    return [f"{p.name}.{v}" for p in program.populations for v in program.models[p.model].state]


def check_program(seed: int) -> None:
    """One random program on the exact machine and on the emulator, in one go and in two."""
    rng = np.random.default_rng(seed)
    program = strategies.random_program(rng)
    steps = int(rng.integers(1, 12))
    samples = None if rng.random() < 0.7 else int(rng.integers(1, 4))
    spikes = strategies.random_input(rng, program, steps, samples)
    record = everything(program)
    machine, emulator = sf.Machine(program), sf.Emulator(program, threads=1 + seed % 2)
    for device in (machine, emulator):
        device.load(program)
    expected = machine.run(spikes, steps, samples=samples, record=record)
    assert_equal(expected, emulator.run(spikes, steps, samples=samples, record=record))
    if samples is None:
        assert machine.pending() == emulator.pending()
        more = strategies.random_input(rng, program, 3)
        for drain in (False, True):
            expected = machine.run(more, 3, record=record, drain=drain)
            assert_equal(expected, emulator.run(more, 3, record=record, drain=drain))


def test_emulator_equals_the_exact_machine() -> None:
    for seed in range(PROGRAMS):
        check_program(seed)


def test_asking_for_accumulators_ahead_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "NEAR_BYTES", 0)
    for seed in range(2000, 2010):
        check_program(seed)


@pytest.mark.parametrize("slower", [1, 2])
def test_the_faster_number_of_threads_is_used_and_the_other_tried_at_times(slower: int) -> None:
    pace = run.Pace(2, neurons=1)
    ticks = {1: 0, 2: 0}

    def call(seconds: float) -> None:
        threads, limit = pace.choose()
        done = limit or 40
        ticks[threads] += done
        pace.note(threads, done, done * (seconds if threads == slower else 1.0))

    while sum(ticks.values()) < 4000:
        call(2.0)
    assert pace.trial <= ticks[slower] <= 4000 / run.EXPLORE + pace.trial
    while sum(ticks.values()) < 4400:  # what was slow has become fast
        call(0.5)
    assert pace.choose()[0] == slower
    before = ticks[slower]
    while sum(ticks.values()) < 4700:  # and then a little slow again
        call(0.9 * run.GAIN)
    assert ticks[slower] > before + 200


@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize("steps", [None, 0])
def test_a_run_without_input_or_steps_is_empty(samples: int | None, steps: int | None) -> None:
    program, _ = sf.compile(recurrent(np.random.default_rng(1), False), chip="auto")
    ran = sf.Emulator(program).run(None, steps, samples=samples)
    assert ran.cycles is not None
    assert ran.cycles.shape[:2] == (samples or 1, 0)
    assert ran.counters["events"] == 0


@pytest.mark.prove
def test_emulator_equals_the_exact_machine_on_many_programs() -> None:
    for seed in range(1000, 1400):
        check_program(seed)


def recurrent(rng: np.random.Generator, delays: bool, outputs: bool = True) -> sf.Network:
    """120 neurons in two populations that drive each other, with input."""
    net = sf.Network()
    x = net.input("x", 20)
    parts: list[Any] = []
    for name in ("a", "b"):
        parts.append(net.population(
            name, 60, "cubalif", keep=0.9, keep_i=0.7, threshold=40.0, bias=1.0, output=outputs,
        ))  # fmt: skip
    for source, target in ((x, parts[0]), (parts[0], parts[1]), (parts[1], parts[0])):
        count = 12 * source.size
        net.connect(source, target, sf.Triples(
            rng.integers(0, source.size, count), rng.integers(0, 60, count),
            rng.integers(-3, 8, count), scale=1.0,
            delay=rng.integers(2, 6, count) if delays else None,
        ), delay=0 if delays or source is x else 2)  # fmt: skip
    return net


@pytest.mark.parametrize("delays", [False, True])
def test_cores_threads_and_batches_change_nothing(delays: bool) -> None:
    rng = np.random.default_rng(3)
    net = recurrent(rng, delays)
    raster = rng.random((4, 30, 20)) < 0.3
    record = ["a.v", "a.i", "b.v"]
    first: sf.Recording | None = None
    for cores in (1, 2, 7, 30):
        program, _ = sf.compile(net, cores=cores)
        assert program.cores == cores
        batch = sf.Emulator(program).run(sf.SpikeTrain.from_dense(raster), record=record)
        assert batch.counters["spikes"] > 500
        first = first or batch
        assert_equal(first, batch, cycles=False)
        assert_equal(batch, sf.Emulator(program, threads=2).run(
            sf.SpikeTrain.from_dense(raster), record=record))  # fmt: skip
        for threads in (1, 2):
            emulator = sf.Emulator(program, threads=threads)
            single = emulator.run(sf.SpikeTrain.from_dense(raster[2]), record=record)
            for name in record:
                np.testing.assert_array_equal(single.state[name][0], batch.state[name][2])
            np.testing.assert_array_equal(single.cycles[0], batch.cycles[2])
            dense = batch.spikes["b"].to_dense(30, 60, 4)[2]
            np.testing.assert_array_equal(single.spikes["b"].to_dense(30, 60), dense)
        plain = sf.Emulator(program, counts=False).run(sf.SpikeTrain.from_dense(raster))
        assert plain.cycles is None
        assert plain.spikes["b"].equals(batch.spikes["b"])


@pytest.mark.parametrize("delays", [False, True])
def test_a_resumed_run_equals_an_unbroken_one(delays: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    program, _ = sf.compile(recurrent(rng, delays), cores=3)
    raster = rng.random((40, 20)) < 0.3
    whole = sf.Emulator(program).run(sf.SpikeTrain.from_dense(raster), drain=False)
    first = sf.Emulator(program, threads=2)
    early = first.run(sf.SpikeTrain.from_dense(raster[:17]), 17, drain=False)
    first.checkpoint(tmp_path / "c.npz")
    second = sf.Emulator(program)
    second.resume(tmp_path / "c.npz")
    np.testing.assert_array_equal(first.accumulators(), second.accumulators())
    late = second.run(sf.SpikeTrain.from_dense(raster[17:]), 23, drain=False)
    for name in ("a", "b"):
        step = np.concatenate([early.spikes[name].step, late.spikes[name].step + 17])
        index = np.concatenate([early.spikes[name].index, late.spikes[name].index])
        np.testing.assert_array_equal(step, whole.spikes[name].step)
        np.testing.assert_array_equal(index, whole.spikes[name].index)
    assert late.cycles is not None
    assert early.cycles is not None
    np.testing.assert_array_equal(
        np.concatenate([early.cycles, late.cycles], axis=1), whole.cycles
    )


def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    net = recurrent(rng, False)
    a, b = sf.compile(net)[0], sf.compile(net, seed=2)[0]
    sf.Emulator(a).checkpoint(tmp_path / "a.npz")
    with pytest.raises(sf.SpikefabError, match="checkpoint of another program"):
        sf.Emulator(b).resume(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(sf.SpikefabError, match="not a checkpoint"):
        sf.Emulator(a).resume(tmp_path / "a.npz")


def test_a_recording_larger_than_its_first_buffer_is_whole() -> None:
    net = sf.Network()
    p = net.population("p", 700, "if", threshold=1.0, bias=1.0, output=True)
    net.connect(p, p, np.zeros((700, 700)), delay=1)
    run = sf.Emulator(sf.compile(net)[0], threads=2).run(None, 50)
    np.testing.assert_array_equal(run.spikes["p"].to_dense(50, 700), np.ones((50, 700)))


def test_restart_and_weights() -> None:
    rng = np.random.default_rng(6)
    program, _ = sf.compile(recurrent(rng, False))
    emulator = sf.Emulator(program)
    spikes = sf.SpikeTrain.from_dense(rng.random((20, 20)) < 0.3)
    before = emulator.run(spikes)
    emulator.restart()
    assert_equal(before, emulator.run(spikes))
    emulator.write("weights", np.minimum(emulator.read("weights") * 2, 127))
    emulator.restart()
    assert len(emulator.run(spikes).spikes["b"]) != len(before.spikes["b"])
    emulator.restart(weights=True)
    assert_equal(before, emulator.run(spikes))


def test_state_is_read_and_written_within_its_format() -> None:
    program, _ = sf.compile(recurrent(np.random.default_rng(7), False))
    emulator = sf.Emulator(program)
    emulator.write("a.v", np.arange(60))
    np.testing.assert_array_equal(emulator.read("a.v"), np.arange(60))
    with pytest.raises(sf.SpikefabError, match=r"value 32768 in 'a.v': outside -32768..32767"):
        emulator.write("a.v", np.full(60, 32768))


def test_input_beyond_the_largest_payload_is_refused() -> None:
    program, _ = sf.compile(recurrent(np.random.default_rng(8), False))
    narrow = dataclasses.replace(program, chip=dataclasses.replace(program.chip, payload_bits=1))
    twice = sf.SpikeTrain.of([3, 3], [7, 7])
    assert sf.Emulator(program).run(twice).counters["events"] > 0
    with pytest.raises(sf.SpikefabError, match=r"2 events of x\[7\] in one step"):
        sf.Emulator(narrow).run(twice)


def test_an_empty_run_takes_no_tick() -> None:
    program, _ = sf.compile(recurrent(np.random.default_rng(9), False))
    assert sf.Emulator(program).run(None, 0).ticks == 0
