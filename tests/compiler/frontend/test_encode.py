"""Codes of numbers, signals and event cameras as spikes."""

import faery
import numpy as np
import pytest
import spikefab as sf
from hypothesis import given
from hypothesis import strategies as st


def test_a_rate_is_the_share_of_steps_with_a_spike():
    values = np.array([[0.0, 0.25, 1.0], [1.0, 0.5, 0.0]])
    counts = sf.rate_code(values, 4000).to_dense(4000, 3, 2).mean(axis=1)
    np.testing.assert_allclose(counts, values, atol=0.03)
    assert (counts[values == 0] == 0).all()
    assert (counts[values == 1] == 1).all()


def test_a_seed_names_the_spikes_of_a_rate():
    values = np.linspace(0, 1, 50)
    assert sf.rate_code(values, 20, seed=3).equals(sf.rate_code(values, 20, seed=3))
    assert not sf.rate_code(values, 20, seed=3).equals(sf.rate_code(values, 20, seed=4))


def test_greater_values_spike_earlier_and_zeros_never():
    train = sf.latency_code(np.array([0.0, 0.001, 0.5, 1.0]), 11)
    assert dict(zip(train.index.tolist(), train.step.tolist(), strict=True)) == {1: 10, 2: 5, 3: 0}
    assert sf.latency_code(np.array([[0.3], [0.0], [1.0]]), 5).sample.tolist() == [0, 2]


@given(st.lists(st.integers(-40, 40), min_size=2, max_size=30), st.integers(1, 9))
def test_a_delta_code_follows_its_signal(signal, threshold):
    counts = sf.delta_code(np.array(signal)[:, None], threshold).to_dense(len(signal), 2)
    level = signal[0] + threshold * np.cumsum(counts[:, 0] - counts[:, 1])
    assert (abs(level - signal) < threshold).all()
    assert not (counts[:, 0] & counts[:, 1]).any()
    assert not counts[0].any()


def test_the_pixels_of_a_camera_are_lines():
    train = sf.camera_events([3, 0, 3, 3], [1, 0, 1, 1], [999, 1000, 5000, 5001],
                             [True, False, True, True], (2, 4), 1e-3)  # fmt: skip
    assert train.step.tolist() == [0, 1, 5]
    assert train.index.tolist() == [(1 * 2 + 1) * 4 + 3, 0, (1 * 2 + 1) * 4 + 3]
    counted = sf.camera_events([0] * 5, [0] * 5, [10] * 5, [0] * 5, (1, 1), 1e-3, most=3)
    assert counted.payload.tolist() == [3]


def test_times_on_the_grid_belong_to_the_step_that_begins():
    t = np.arange(2000)
    zeros = np.zeros_like(t)
    train = sf.camera_events(zeros, zeros, t * 100, zeros, (1, 1), 1e-4)
    np.testing.assert_array_equal(train.step, t)


@pytest.mark.parametrize("suffix", ["es", "dat", "raw", "aedat4"])
def test_a_recording_comes_back_as_it_was(suffix, tmp_path):
    rng = np.random.default_rng(1)
    events = np.zeros(500, faery.EVENTS_DTYPE)
    events["t"] = 700_000 + np.sort(rng.integers(0, 50_000, 500))
    events["x"], events["y"] = rng.integers(0, 32, 500), rng.integers(0, 24, 500)
    events["on"] = rng.random(500) < 0.5
    path = tmp_path / f"events.{suffix}"
    faery.events_stream_from_array(events, dimensions=(32, 24)).to_file(path)
    train, shape = sf.load_camera(path, 1e-3, most=9)
    after = events["t"] - events["t"].min()
    expected = sf.camera_events(
        events["x"], events["y"], after, events["on"], (24, 32), 1e-3, most=9
    )
    assert shape == (24, 32)
    assert train.equals(expected)
    part, _ = sf.load_camera(path, 1e-3, begin=0.01, end=0.02, most=9)
    inside = (expected.step >= 10) & (expected.step < 20)
    np.testing.assert_array_equal(part.step, expected.step[inside] - 10)


def test_single_runs_become_the_samples_of_a_batch():
    trains = [sf.SpikeTrain.of([2, 0], [1, 1]), sf.SpikeTrain.of([], []),
              sf.SpikeTrain.of([1], [0], [4])]  # fmt: skip
    both = sf.batch(trains)
    assert both.sample.tolist() == [0, 0, 2]
    assert both.step.tolist() == [0, 2, 1]
    assert both.payload.tolist() == [1, 1, 4]
    assert len(sf.batch([])) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sf.rate_code([2.0], 3), "values 2..2 in rate_code: they are shares, 0 to 1"),
        (lambda: sf.rate_code([[[0.5]]], 3), r"values of shape \(1, 1, 1\) in rate_code"),
        (lambda: sf.latency_code([0.5], 0), "0 steps in latency_code: it takes 1 or more"),
        (lambda: sf.latency_code([np.nan], 2), "NaN or infinite value in latency_code"),
        (lambda: sf.delta_code(["a"], 1), "no numbers in delta_code"),
        (lambda: sf.delta_code([[1.0]], 0), "threshold 0 in delta_code: it is above 0"),
        (lambda: sf.camera_events([4], [0], [0], [0], (2, 4), 1e-3), "x = 4..4 in camera_events"),
        (lambda: sf.camera_events([0.5], [0], [0], [0], (2, 4), 1e-3), "x of type float64"),
        (lambda: sf.camera_events([0], [0], [-1], [0], (2, 4), 1e-3), "t = -1..-1"),
        (lambda: sf.camera_events([0], [0, 1], [0], [0], (2, 4), 1e-3), "of different length"),
        (lambda: sf.camera_events([0], [0], [0], [0], (2, 4), 0), "dt = 0 in camera_events"),
        (lambda: sf.batch([sf.SpikeTrain.from_dense([[[1]]])]), "spikes 0 of several samples"),
    ],
)
def test_what_cannot_be_encoded_is_said(call, said):
    with pytest.raises(sf.SpikefabError, match=said):
        call()


@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
def test_a_file_that_is_no_recording_is_said_to_be_none(content, tmp_path):
    path = tmp_path / "odd.aedat4"
    path.write_bytes(content)
    with pytest.raises(sf.SpikefabError, match=r"not a recording of events in .*odd\.aedat4"):
        sf.load_camera(path, 1e-3)
    with pytest.raises(sf.SpikefabError, match="not a recording of events in"):
        sf.load_camera(tmp_path / "none.es", 1e-3)
