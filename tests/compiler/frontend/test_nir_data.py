"""NIR data to spikes and back: times on the grid keep their step, whatever dt."""

from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from spikefab.compiler.frontend.nir_data import save_nir_data
from spikefab.compiler.ir.errors import SpikefabError

DT = 1e-3
seeds = st.integers(0, 2**32 - 1)


def data(**nodes):
    return nir.NIRGraphData({k: nir.NIRNodeData(v) for k, v in nodes.items()})


def read(observable, size=4, dt=DT, **more):
    return sf.from_nir_data(data(x={"spikes": observable, **more}), {"x": size}, dt)


def events(index, time, neurons=4, t_max=1.0, value=None):
    rows = (np.array(index), np.array(time, float))
    if value is None:
        return nir.EventData(*rows, neurons, t_max)
    return nir.ValuedEventData(*rows, neurons, t_max, np.array(value))


@settings(deadline=None)
@given(seeds, st.sampled_from([1e-3, 1e-4, 0.1, 1 / 3, 2e-3, 7e-5]), st.sampled_from("fd"))
def test_every_time_of_the_grid_keeps_its_step(seed, dt, kind):
    step = np.random.default_rng(seed).integers(0, 100_000, (1, 200))
    times = (step * np.dtype(kind).type(dt)).astype(kind)
    found = read(nir.EventData(np.zeros_like(step), times, 4, 100_000 * dt), dt=dt)
    assert found.spikes["x"].step.tolist() == sorted(step[0].tolist())
    assert found.steps == 100_000


@given(seeds, st.floats(0.01, 0.99))
def test_a_time_within_a_step_belongs_to_it(seed, share):
    step = np.random.default_rng(seed).integers(0, 1000, (1, 50))
    found = read(nir.EventData(np.zeros_like(step), (step + share) * DT, 4, 1.0005))
    assert found.spikes["x"].step.tolist() == sorted(step[0].tolist())
    assert found.steps == 1001


def test_nirs_own_conversion_loses_times_of_the_grid():
    times = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    made = events([[0] * 7], [times], t_max=0.8)
    assert np.flatnonzero(made.to_time_gridded(0.1).data[0, :, 0]).tolist() == [1, 2, 4, 5, 6]
    assert read(made, dt=0.1).spikes["x"].step.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_events_of_samples_are_padded_and_counted():
    no = np.inf
    times = [[0.002, 0.001, no], [0, no, no], [no, no, no]]
    found = read(events([[1, 3, -1], [2, -1, -1], [-1, -1, -1]], times, t_max=0.01))
    train = found.spikes["x"]
    assert (train.sample.tolist(), train.step.tolist()) == ([0, 0, 1], [1, 2, 0])
    assert train.index.tolist() == [3, 1, 2]
    assert (found.steps, found.samples) == (10, 3)


def test_values_of_events_are_counts():
    found = read(events([[1, 2]], [[0, 0.001]], value=[[3.0, 1.0]]))
    assert found.spikes["x"].payload.tolist() == [3, 1]


@pytest.mark.parametrize("kind", [bool, np.int64, np.float32])
@pytest.mark.parametrize("samples", [1, 3])
def test_a_grid_of_time_is_taken_as_it_is(kind, samples):
    raster = np.random.default_rng(0).random((samples, 9, 4)) < 0.4
    raster[-1] = raster[:, -1] = 0
    found = read(nir.TimeGriddedData(raster.astype(kind), DT))
    assert (found.steps, found.samples) == (9, samples if samples > 1 else None)
    assert (found.spikes["x"].sample is None) == (samples == 1)
    np.testing.assert_array_equal(found.spikes["x"].to_dense(9, 4, samples), raster)


def test_a_grid_needs_no_dt():
    assert read(nir.TimeGriddedData(np.ones((1, 2, 4), bool), 0.7), dt=None).steps == 2


def test_nodes_that_are_no_inputs_are_not_looked_at():
    raster = nir.TimeGriddedData(np.ones((1, 2, 4), bool), DT)
    potential = nir.TimeGriddedData(np.ones((1, 2, 4)) / 3, DT)
    made = data(x={"only": raster}, y={"v": potential})
    assert len(sf.from_nir_data(made, {"x": 4}, DT).spikes["x"]) == 8


GRID = nir.TimeGriddedData(np.ones((2, 3, 4), bool), DT)
REFUSED = {
    "no such node": (data(y={"spikes": GRID}), "no data for input 'x'", "it has y"),
    "a graph for a node": (
        nir.NIRGraphData({"x": data(y={"spikes": GRID})}), "no data for input 'x'"
    ),
    "several observables": (data(x={"a": GRID, "b": GRID}), "no 'spikes' in node 'x'", "are a, b"),
    "no observable": (data(x={}), "no 'spikes' in node 'x'", "none"),
    "other size": (
        data(x={"s": nir.TimeGriddedData(np.ones((2, 3, 5), bool), DT)}), "shape (2, 3, 5)",
        "4 lines",
    ),
    "other dt": (
        data(x={"s": nir.TimeGriddedData(GRID.data, 2e-3)}), "a grid of 0.002 s in node 'x'",
        "is 0.001 s",
    ),
    "a potential": (
        data(x={"s": nir.TimeGriddedData(GRID.data / 3, DT)}), "a value of 0.333333 in node 'x'",
        "encode a signal",
    ),
    "a negative count": (data(x={"s": nir.TimeGriddedData(GRID.data - 2.0, DT)}), "value of -1"),
    "a NaN": (data(x={"s": nir.TimeGriddedData(GRID.data * np.nan, DT)}), "data of type float64"),
    "another number of neurons": (data(x={"s": events([[1]], [[0]], 5)}), "data of 5 neurons"),
    "index out of range": (data(x={"s": events([[4]], [[0]])}), "index 4 in node 'x'", "4 lines"),
    "negative index": (data(x={"s": events([[-2]], [[0]])}), "index -2 in node 'x'"),
    "float index": (data(x={"s": events([[1.5]], [[0]])}), "events of float64"),
    "negative time": (data(x={"s": events([[1]], [[-1.0]])}), "an event at -1 s in node 'x'"),
    "no time": (data(x={"s": events([[1]], [[np.inf]])}), "an event at inf s in node 'x'"),
    "NaN end": (data(x={"s": events([[1]], [[0]], t_max=np.nan)}), "t_max at nan s"),
    "half an event": (data(x={"s": events([[1]], [[0]], value=[[0.5]])}), "a value of 0.5"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_data_that_do_not_fit_are_refused(case):
    made, *fragments = REFUSED[case]
    with pytest.raises(SpikefabError) as refusal:
        sf.from_nir_data(made, {"x": 4}, DT)
    assert "\n" not in str(refusal.value)
    for fragment in ("the NIR data", *fragments):
        assert fragment in str(refusal.value)


def test_events_without_a_dt_are_refused():
    with pytest.raises(SpikefabError, match=r"events in seconds in node 'x'.*grid of time"):
        read(events([[1]], [[0]]), dt=None)


def test_samples_must_be_of_one_number():
    made = data(x={"s": GRID}, y={"s": nir.TimeGriddedData(GRID.data[:1], DT)})
    with pytest.raises(SpikefabError, match="2 of 'x', 1 of 'y'"):
        sf.from_nir_data(made, {"x": 4, "y": 4}, DT)


def cut(path):
    path.write_bytes(path.read_bytes()[:1500])


def without_dt(path):
    with h5py.File(path, "r+") as stored:
        del stored["nodes/x/observables/spikes"].attrs["dt"]


def of_other_kind(path):
    with h5py.File(path, "r+") as stored:
        stored["nodes/x/observables/spikes"].attrs["__type__"] = "Movie"


def a_graph(path):
    nir.write(path, nir.NIRGraph.from_list(nir.LIF(*[np.ones(3)] * 4)))


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (cut, "truncated"),
        (without_dt, "dt"),
        (of_other_kind, "Movie"),
        (a_graph, "not marked as NIRGraphData"),
        (lambda path: path.write_bytes(b""), "not HDF5"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage, cause):
    path = tmp_path / "x.h5"
    nir.write_data(path, data(x={"spikes": GRID}))
    assert sf.from_nir_data(path, {"x": 4}, DT).samples == 2
    damage(path)
    with pytest.raises(SpikefabError) as refusal:
        sf.from_nir_data(path, {"x": 4}, DT)
    assert cause in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def network():
    nodes = {
        "input": nir.Input(np.array([4])),
        "fc": nir.Linear(np.eye(4)),
        "cells": nir.IF(np.full(4, 1 / DT), np.full(4, 1.5)),
        "sum": nir.I(np.full(4, 1 / DT)),
        "spikes": nir.Output(np.array([4])),
        "values": nir.Output(np.array([4])),
    }
    edges = [*pairwise(["input", "fc", "cells", "sum", "values"]), ("cells", "spikes")]
    return nir.NIRGraph(nodes, edges)


@pytest.mark.parametrize("samples", [1, 3])
def test_a_recording_goes_to_nir_data_and_back(tmp_path, samples):
    program, report = sf.compile(sf.load(network(), dt=DT, reset="zero"))
    raster = np.random.default_rng(1).random((samples, 30, 4)) < 0.5
    given_ = sf.from_nir_data(
        data(input={"spikes": nir.TimeGriddedData(raster, DT)}), {"input": 4}, DT
    )
    run = sf.Emulator(program).run(
        given_.spikes, given_.steps, samples=given_.samples, record=["cells.v"]
    )
    path = tmp_path / "out.h5"
    save_nir_data(path, run, program)
    stored = nir.read_data(path)
    stored.check_nodes(network())
    back = sf.from_nir_data(path, {"cells": 4}, DT)
    assert back.steps == 30
    assert back.spikes["cells"].equals(run.spikes["cells"])
    lsb = {p.name: p.lsb for p in report.populations}
    for name, values in (("sum", run.values["sum"]), ("cells", run.state["cells.v"])):
        grid = stored.nodes[name].observables["v"]
        np.testing.assert_allclose(grid.data, values * lsb[name])
        assert grid.dt == DT


def test_a_network_without_dt_has_no_nir_data():
    net = sf.Network()
    cells = net.population("p", 1, "if", threshold=1.0, output=True)
    net.connect(net.input("x", 1), cells, np.ones((1, 1)))
    program, _ = sf.compile(net)
    with pytest.raises(SpikefabError, match=r"no dt in the program.*write an \.npz"):
        sf.to_nir_data(sf.Emulator(program).run(steps=2), program)
