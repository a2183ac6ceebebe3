"""Threshold and I nodes, several inputs and outputs, and parameters of any type."""

from itertools import pairwise

import nir
import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from spikefab.compiler.frontend.nir_reader import describe, load
from spikefab.compiler.ir.errors import SpikefabError

DT = 0.5
READ = {"dt": DT, "profile": "nir"}
seeds = st.integers(0, 2**32 - 1)


def graph(nodes, edges=None):
    return nir.NIRGraph(nodes, edges or list(pairwise(nodes)), type_check=False)


@settings(deadline=None, max_examples=60)
@given(seeds, st.sampled_from([None, ">", ">="]))
def test_a_threshold_compares_the_input_of_its_step(seed, fires):
    rng = np.random.default_rng(seed)
    lines, cells = rng.integers(1, 6, 2)
    weight, bias = rng.integers(-3, 4, (cells, lines)), 6 * rng.integers(-1, 2, cells)
    threshold = 6.0 * rng.integers(-1, 2, cells)
    network = load(
        graph({
            "input": nir.Input(np.array([lines])),
            "fc": nir.Affine(weight.astype(float), bias.astype(float)),
            "cells": nir.Threshold(threshold),
            "output": nir.Output(np.array([cells])),
        }),
        fires=fires, **READ,
    )  # fmt: skip
    raster = rng.integers(0, 2, (9, lines))
    level = raster @ weight.T + bias
    expected = level >= threshold if fires == ">=" else level > threshold
    reference = sf.FloatReference(network).run({"input": raster})
    np.testing.assert_array_equal(reference.spikes["cells"][0], expected)
    run = sf.Emulator(sf.compile(network)[0]).run(sf.SpikeTrain.from_dense(raster), 9)
    np.testing.assert_array_equal(run.spikes["cells"].to_dense(9, cells), expected)


def test_a_threshold_needs_no_reset_and_no_discretisation():
    made = graph({
        "input": nir.Input(np.array([2])),
        "cells": nir.Threshold(np.full(2, 0.5)),
        "output": nir.Output(np.array([2])),
    })  # fmt: skip
    network = load(made, dt=DT)
    assert (network.settings["reset"], network.settings["discretisation"]) == ("not needed",) * 2
    assert any("v > v_threshold" in said for said in network.assumptions)
    assert [u["name"] for u in describe(made)["undetermined"]] == ["dt", "fires"]


def test_an_integrator_sums_its_input_times_r_and_dt_for_good():
    nodes = {
        "input": nir.Input(np.array([2])),
        "fc": nir.Affine(np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([0.0, 1.0])),
        "sum": nir.I(np.array([1.0, 4.0])),
        "output": nir.Output(np.array([2])),
    }
    network = load(graph(nodes), dt=DT)
    raster = np.random.default_rng(0).integers(0, 3, (20, 2))
    expected = np.cumsum(raster @ nodes["fc"].weight.T + nodes["fc"].bias, axis=0) * [0.5, 2.0]
    run = sf.FloatReference(network).run({"input": raster})
    np.testing.assert_allclose(run.values["sum"][0], expected)
    spikes = {"input": sf.SpikeTrain.from_dense(raster)}
    program, report = sf.compile(network, calibrate=spikes)
    values = sf.Emulator(program).run(spikes, 20).values["sum"][0] * report.populations[0].lsb
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_several_inputs_and_outputs_of_several_shapes():
    """Two images are added, one of them pooled; one output shows spikes, the other sums."""
    one = np.ones((1, 1, 1, 1))
    nodes = {
        "large": nir.Input(np.array([1, 4, 6])),
        "small": nir.Input(np.array([1, 2, 3])),
        "pool": nir.SumPool2d(2, 2, 0),
        "same": nir.Conv2d((2, 3), 3 * one, 1, 0, 1, 1, np.zeros(1)),
        "cells": nir.Threshold(np.full((1, 2, 3), 2.5)),
        "sum": nir.I(np.full((1, 2, 3), 1 / DT)),
        "spikes": nir.Output(np.array([1, 2, 3])),
        "values": nir.Output(np.array([1, 2, 3])),
    }
    edges = [
        *pairwise(["large", "pool", "cells", "spikes"]),
        *pairwise(["small", "same", "cells", "sum", "values"]),
        ("small", "sum"),
    ]
    network = load(graph(nodes, edges), dt=DT)
    rng = np.random.default_rng(0)
    large, small = (rng.random((8, n)) < 0.5 for n in (24, 6))
    pooled = large.reshape(8, 2, 2, 3, 2).sum(axis=(2, 4)).reshape(8, 6)
    fired = pooled + 3 * small > 2.5
    inputs = {k: sf.SpikeTrain.from_dense(v) for k, v in (("large", large), ("small", small))}
    program, report = sf.compile(network, calibrate=inputs)
    run = sf.Emulator(program).run(inputs, 8)
    np.testing.assert_array_equal(run.spikes["cells"].to_dense(8, 6), fired)
    lsb = next(p.lsb for p in report.populations if p.name == "sum")
    total = np.cumsum(fired.astype(float) + small, axis=0)
    np.testing.assert_allclose(run.values["sum"][0] * lsb, total, rtol=1e-6)


class Tensor:
    """As torch's: it must be detached, brought to the processor and converted."""

    def __init__(self, values):
        self.array = np.array(values)
        self.shape = self.array.shape

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.array

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


def filled(kind, **fields):
    made = kind.__new__(kind)
    made.__dict__.update(fields)
    return made


@pytest.mark.parametrize("make", [Tensor, lambda v: np.array(v).tolist(), np.array])
def test_leaves_may_be_tensors_lists_scalars_and_integers(make):
    nodes = {
        "input": filled(nir.Input, input_type={"input": make([1, 4, 4])}),
        "conv": filled(
            nir.Conv2d, input_shape=None, weight=make([[[[1.0]]], [[[2.0]]]]), stride=make(2),
            padding=make([0, 0]), dilation=1, groups=make(1), bias=make([0.0, 1.0]),
        ),
        "flat": filled(nir.Flatten, input_type={"input": None}, start_dim=0, end_dim=-1),
        "cells": filled(
            nir.LIF, tau=make(2.0), r=make(1), v_leak=0, v_threshold=np.float32(1), v_reset=None
        ),
        "output": filled(nir.Output, output_type={"output": make([8])}),
    }  # fmt: skip
    made = filled(nir.NIRGraph, nodes=nodes, edges=list(pairwise(nodes)), metadata={})
    network = load(made, **READ)
    (cells,) = network.populations
    assert cells.size == 8
    np.testing.assert_array_equal(network.projections[0].connections.weight, [1, 2] * 4)
    np.testing.assert_array_equal(cells.parameters["bias"], [0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25])


def test_a_leaf_that_is_no_number_is_refused_by_node():
    nodes = {
        "input": nir.Input(np.array([2])),
        "cells": filled(nir.Threshold, threshold=[[1.0], [2.0, 3.0]]),
        "output": nir.Output(np.array([2])),
    }
    made = filled(nir.NIRGraph, nodes=nodes, edges=list(pairwise(nodes)), metadata={})
    with pytest.raises(SpikefabError, match="parameter 'threshold' in node 'cells' of the NIR gra"):
        load(made, dt=DT)


@pytest.mark.parametrize("kind", ["I", "LI", "CubaLI"])
def test_a_readout_that_feeds_neurons_is_refused(write_nir, nodes, kind):
    values = {"tau": 0.01, "tau_mem": 0.01, "tau_syn": 0.01, "r": 1.0, "v_leak": 0.0}
    fields = {"I": ("r",), "LI": ("tau", "r", "v_leak"),
              "CubaLI": ("tau_mem", "tau_syn", "r", "v_leak")}[kind]  # fmt: skip
    nodes["sum"] = {"type": kind} | {k: np.full(3, values[k]) for k in fields}
    nodes["cells"] = {"type": "Threshold", "threshold": np.ones(3)}
    edges = [("input", "fc"), ("fc", "sum"), ("sum", "cells"), ("cells", "output")]
    with pytest.raises(SpikefabError, match=f"{kind} 'sum' that feeds neurons in node 'cells'"):
        load(write_nir(nodes, edges), dt=1e-3, profile="nir")
