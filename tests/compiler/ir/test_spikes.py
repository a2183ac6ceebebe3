"""Spikes on disk: what is written is read back, plainly named, by input, as .npz and as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spikefab as sf


def test_spikes_are_sorted_by_sample_step_index() -> None:
    train = sf.SpikeTrain.of([3, 1, 1], [0, 5, 2], sample=[0, 0, 0])
    assert train.step.tolist() == [1, 1, 3]
    assert train.index.tolist() == [2, 5, 0]


def test_a_raster_comes_back_dense() -> None:
    counts = np.random.default_rng(1).integers(0, 3, (4, 6, 5))
    np.testing.assert_array_equal(sf.SpikeTrain.from_dense(counts).to_dense(6, 5, 4), counts)


def test_an_npz_by_input_name(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **{"a/step": [2, 0], "a/index": [1, 3], "b/step": [1], "b/index": [0]})
    trains = sf.load_input(path, {"a": 4, "b": 1})
    assert trains["a"].step.tolist() == [0, 2]
    assert trains["b"].index.tolist() == [0]


def test_a_csv_of_one_input(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("step,index,payload\n4,1,2\n0,3,1\n")
    train = sf.load_input(path, {"a": 4})["a"]
    assert train.payload is not None
    assert (train.step.tolist(), train.payload.tolist()) == ([0, 4], [1, 2])


def test_a_csv_with_a_column_of_inputs(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("input,step,index\na,4,1\nb,0,0\n")
    trains = sf.load_input(path, {"a": 4, "b": 1})
    assert trains["a"].step.tolist() == [4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step,index\n1\n", "column 'index'"),
        ("step,index\n1,x\n", "column 'index'"),
        ("step\n1\n", "'step' without 'index'"),
        ("when,where\n1,2\n", "no spikes"),
        ("", "no spikes"),
        ("step,index\n1,9\n", "index 9"),
        ("step,index\n-1,0\n", "'step'"),
        ('step,index\n"1,0\n', "not a CSV"),
    ],
)
def test_a_bad_csv_is_refused_by_file_and_cause(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(sf.SpikefabError, match=r"x\.csv") as refused:
        sf.load_input(path, {"a": 4})
    assert said in str(refused.value)


@pytest.mark.parametrize("odd", [0.5, -1, -1.0, 1.7, np.nan, np.inf])
def test_a_raster_of_what_are_no_counts_is_refused(odd: float) -> None:
    with pytest.raises(sf.SpikefabError, match=f"^{odd:g} in a raster in spikes: .* rate_code"):
        sf.SpikeTrain.from_dense([[0, odd], [1, 0]])
    whole = sf.SpikeTrain.from_dense([[0, 3.0], [True, 0]])
    assert whole.to_dense(2, 2).tolist() == [[0, 3], [1, 0]]
