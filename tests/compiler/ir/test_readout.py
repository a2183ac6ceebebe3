"""Answers are those of a plain loop over samples, steps and neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st


def spiking(raster: Any) -> sf.Recording:
    """A recording of one population with these counts [samples, steps, size]."""
    samples, steps, _ = np.shape(raster)
    train = sf.SpikeTrain.from_dense(raster)
    return sf.Recording(steps, steps, samples, spikes={"p": train})


def valued(values: Any) -> sf.Recording:
    samples, steps, _ = np.shape(values)
    return sf.Recording(steps, steps, samples, values={"p": np.asarray(values, np.int32)})


@st.composite
def rasters(draw: st.DrawFn) -> Any:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = rng.integers(1, 5), rng.integers(1, 7), rng.integers(2, 5)
    return (rng.random(shape) < rng.random()) * rng.integers(1, 4, shape)


@settings(deadline=None)
@given(rasters())
def test_counts_and_first_spikes(raster: Any) -> None:
    by_count, by_first = [], []
    for sample in raster:
        counts = sample.sum(axis=0).tolist()
        by_count.append(counts.index(max(counts)) if any(counts) else -1)
        order = [(t, n) for t, n in zip(*np.nonzero(sample), strict=True)]
        by_first.append(min(order)[1] if order else -1)
    assert sf.answer_by_count(spiking(raster)).tolist() == by_count
    assert sf.answer_by_first_spike(spiking(raster)).tolist() == by_first


@settings(deadline=None)
@given(rasters(), st.booleans(), st.integers(1, 6))
def test_early_exit_is_the_first_step_with_the_lead(raster: Any, spikes: bool, lead: int) -> None:
    run = spiking(raster) if spikes else valued(raster)
    answers, steps = [], []
    for sample in raster:
        for t in range(len(sample)):
            told = sample[: t + 1].sum(axis=0) if spikes else sample[t]
            best = sorted(told)[::-1]
            if best[0] - best[1] >= lead:
                break
        answers.append(int(told.argmax()) if told.any() or not spikes else -1)
        steps.append(t + 1)
    found = sf.answer_early(run, lead, period=3)
    assert found.answers.tolist() == answers
    assert found.steps.tolist() == steps
    assert found.mean_saved == pytest.approx(3 * (raster.shape[1] - np.mean(steps)))


def test_values_by_their_last_greatest_or_mean() -> None:
    run = valued([[[0, 9, 5], [0, 1, 5], [7, 1, 5]]])
    assert [sf.answer_by_membrane(run, over).tolist() for over in ("last", "max", "mean")] == [
        [0], [1], [2],
    ]  # fmt: skip


def test_a_lead_beyond_all_runs_to_the_end_and_answers_by_count() -> None:
    raster = np.random.default_rng(0).integers(0, 2, (5, 9, 4))
    found = sf.answer_early(spiking(raster), 1000)
    assert found.steps.tolist() == [9] * 5
    assert found.mean_saved == 0
    assert found.answers.tolist() == sf.answer_by_count(spiking(raster)).tolist()


def test_device_and_float_reference_are_read_alike() -> None:
    net = sf.Network()
    p = net.population("p", 3, "if", threshold=1.0, output=True)
    q = net.population("q", 3, "li", keep=0.5, output=True)
    x = net.input("x", 3)
    for target in (p, q):
        net.connect(x, target, np.diag([0.25, 1.0, 0.5]))
    spikes = sf.SpikeTrain.from_dense(np.ones((2, 8, 3)))
    run = sf.Emulator(sf.compile(net)[0]).run(spikes)
    reference = sf.FloatReference(net).run({"x": spikes}, 8)
    for read in (sf.answer_by_count, sf.answer_by_first_spike, sf.answer_by_membrane):
        assert read(run).tolist() == read(reference).tolist() == [1, 1]


def test_a_wrong_name_or_lead_is_refused() -> None:
    both = sf.Recording(
        1, 1, 1, spikes={"a": sf.SpikeTrain.of([], []), "b": sf.SpikeTrain.of([], [])}
    )
    with pytest.raises(sf.SpikefabError, match=r"no population is named .* a, b"):
        sf.answer_by_count(both)
    with pytest.raises(sf.SpikefabError, match=r"no population 'c' .* a, b"):
        sf.answer_by_count(both, "c")
    with pytest.raises(sf.SpikefabError, match="have values: none"):
        sf.answer_by_membrane(both)
    with pytest.raises(sf.SpikefabError, match="lead = 0"):
        sf.answer_early(both, 0, "a")
    with pytest.raises(sf.SpikefabError, match="1 neurons"):
        sf.answer_early(valued([[[1]]]), 1)
    with pytest.raises(sf.SpikefabError, match="over = 'sum'"):
        sf.answer_by_membrane(valued([[[1]]]), "sum")  # type: ignore[arg-type]
