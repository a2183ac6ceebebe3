"""Delay nodes, beside rasters that are shifted by hand."""

from itertools import pairwise

import nir
import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from spikefab.compiler.frontend.nir_reader import load
from spikefab.compiler.ir.errors import SpikefabError

DT = 1e-3
STEP = {"dt": DT, "reset": "zero"}
seeds = st.integers(0, 2**32 - 1)


def late(raster, steps):
    """A raster [steps, lines] whose lines come so many steps later each."""
    out = np.zeros_like(raster)
    for line, k in enumerate(np.broadcast_to(steps, raster.shape[1])):
        out[k:, line] = raster[: len(raster) - k, line]
    return out


def graph(nodes, edges=None):
    return nir.NIRGraph(nodes, edges or list(pairwise(nodes)), type_check=False)


def port(n):
    return {"input": nir.Input(np.array([n]))}, {"output": nir.Output(np.array([n]))}


def neurons(n, threshold=1.0):
    return nir.IF(np.full(n, 1 / DT), np.full(n, threshold))


@settings(deadline=None, max_examples=60)
@given(seeds)
def test_delays_before_and_after_the_weights_add_up(seed):
    """An input, delayed by line, through weights, delayed by neuron; and a way past it all."""
    rng = np.random.default_rng(seed)
    lines, cells = rng.integers(1, 5, 2)
    before, after = rng.integers(0, 5, lines), rng.integers(0, 4, cells)
    weight, other = rng.integers(-3, 4, (2, cells, lines)).astype(float)
    nodes = {
        "input": nir.Input(np.array([lines])),
        "d1": nir.Delay(before * DT),
        "fc": nir.Linear(weight),
        "d2": nir.Delay((after * DT).astype(np.float32)),
        "sum": nir.I(np.full(cells, 1 / DT)),
        "output": nir.Output(np.array([cells])),
    }
    edges = [*pairwise(nodes), ("input", "past"), ("past", "sum")]
    network = load(graph({**nodes, "past": nir.Linear(other)}, edges), **STEP)
    raster = rng.integers(0, 3, (12, lines))
    run = sf.FloatReference(network).run({"input": raster})
    expected = late(late(raster, before) @ weight.T, after) + raster @ other.T
    np.testing.assert_allclose(run.values["sum"][0], np.cumsum(expected, axis=0), atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(seeds)
def test_the_emulator_delays_as_the_float_reference(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    nodes = {
        "input": nir.Input(np.array([n])),
        "w1": nir.Linear(rng.integers(-2, 4, (n, n)).astype(float)),
        "a": neurons(n, 6.0),
        "d1": nir.Delay(rng.integers(0, 4, n) * DT),
        "w2": nir.Linear(rng.integers(-2, 4, (n, n)).astype(float)),
        "b": neurons(n, 6.0),
        "d2": nir.Delay(rng.integers(0, 4, n) * DT),
        "output": nir.Output(np.array([n])),
    }
    network = load(graph(nodes), **STEP)
    raster = rng.random((30, n)) < 0.7
    spikes = {"input": sf.SpikeTrain.from_dense(raster)}
    program, _ = sf.compile(network, calibrate=spikes)
    run = sf.Emulator(program).run(spikes, 30, record=["b"])
    expected = sf.FloatReference(network).run({"input": raster}, record=["b", "d2.relay"])
    for name, fired in expected.spikes.items():
        np.testing.assert_array_equal(run.spikes[name].to_dense(30, n), fired[0])
    relayed = late(expected.spikes["b"][0], np.rint(nodes["d2"].delay / DT).astype(int))
    np.testing.assert_array_equal(expected.spikes["d2.relay"][0], relayed)


def test_a_delay_before_an_output_becomes_relay_neurons_and_is_said():
    ends, out = port(2)
    nodes = {**ends, "cells": neurons(2), "d": nir.Delay(np.array([0.0, 3 * DT])), **out}
    network = load(graph(nodes), **STEP)
    assert {(p.name, p.output) for p in network.populations} == {
        ("cells", False),
        ("d.relay", True),
    }
    assert any("'cells' reach 'output' through relay neurons" in a for a in network.assumptions)


@pytest.mark.parametrize("between", [[], ["flat"]])
def test_two_outputs_share_the_relay_of_a_delay(between):
    ends, out = port(2)
    nodes = {**ends, "cells": neurons(2), "d": nir.Delay(np.full(2, DT)), **out}
    nodes |= {"again": nir.Output(np.array([2]))}
    if between:
        nodes["flat"] = nir.Flatten({"input": np.array([2])}, 0)
    way = ["input", "cells", "d", *between]
    edges = [*pairwise(way), (way[-1], "output"), (way[-1], "again")]
    network = load(graph(nodes, edges), **STEP)
    assert {p.name for p in network.populations} == {"cells", "d.relay"}


def test_a_delay_carries_the_step_of_its_loop():
    """One neuron that takes its own spikes two steps later, and no step more."""
    ends, out = port(1)
    nodes = {**ends, "cells": neurons(1, 0.5), "d": nir.Delay(np.array([2 * DT])), **out}
    edges = [("input", "cells"), ("cells", "d"), ("d", "cells"), ("cells", "output")]
    network = load(graph(nodes, edges), **STEP)
    assert {(p.source, p.delay) for p in network.projections} == {("input", 0), ("cells", 2)}
    assert not any("acts in the next step" in said for said in network.assumptions)
    run = sf.FloatReference(network).run({"input": np.array([[1], [0], [0], [0], [0]])})
    assert run.spikes["cells"][0, :, 0].tolist() == [True, False, True, False, True]


def test_a_delay_of_no_step_leaves_the_loop_its_step():
    ends, out = port(1)
    nodes = {**ends, "cells": neurons(1, 0.5), "d": nir.Delay(np.zeros(1)), **out}
    edges = [("input", "cells"), ("cells", "d"), ("d", "cells"), ("cells", "output")]
    network = load(graph(nodes, edges), **STEP)
    assert {(p.source, p.delay) for p in network.projections} == {("input", 0), ("cells", 1)}


def test_a_delay_closes_a_loop_that_is_entered_twice():
    nodes = {
        "input": nir.Input(np.array([2])),
        "a": neurons(2),
        "b": neurons(2),
        "d": nir.Delay(np.full(2, DT)),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "a"), ("input", "b"), ("a", "b"), ("b", "d"), ("d", "a"), ("b", "output")]
    network = load(graph(nodes, edges), **STEP)
    assert {(p.source, p.target): p.delay for p in network.projections}["b", "a"] == 1


def test_a_delay_beyond_the_chip_names_the_slots_it_needs():
    ends, out = port(1)
    network = load(graph({**ends, "d": nir.Delay(np.full(1, 9 * DT)), "c": neurons(1), **out}),
                   **STEP)  # fmt: skip
    with pytest.raises(SpikefabError, match=r"'input' to 'c'.* 8 delay slots; it needs 10"):
        sf.compile(network, "up5k")


def test_chip_auto_has_the_slots_of_the_longest_delay():
    ends, out = port(1)
    for steps, slots in ((1, 64), (64, 128), (1023, 1024)):
        nodes = {**ends, "d": nir.Delay(np.full(1, steps * DT)), "c": neurons(1, 0.5), **out}
        program, _ = sf.compile(load(graph(nodes), **STEP))
        assert program.chip.delay_slots == slots
        run = sf.Emulator(program).run(sf.SpikeTrain.of([0], [0]), steps + 1)
        assert run.spikes["c"].step.tolist() == [steps]
    nodes["d"] = nir.Delay(np.full(1, 1024 * DT))
    with pytest.raises(SpikefabError, match=r"'auto' has 1024 delay slots; it needs 1025"):
        sf.compile(load(graph(nodes), **STEP))


def test_a_long_heterogeneous_delay_over_many_synapses_stays_sparse():
    n = 400
    steps = np.arange(n) % 60
    nodes = {
        "input": nir.Input(np.array([n])),
        "d": nir.Delay(steps * DT),
        "fc": nir.Linear(np.ones((n, n))),
        "c": neurons(n),
        "output": nir.Output(np.array([n])),
    }
    (projection,) = load(graph(nodes), **STEP).projections
    assert len(projection.connections.weight) == n * n
    np.testing.assert_array_equal(
        projection.connections.delay, steps[projection.connections.source]
    )


def change(**fields):
    return lambda nodes, edges: nodes["d"].update(fields)


def bias(nodes, edges):
    nodes["fc"] |= {"type": "Affine", "bias": np.ones(3)}


def before_a_readout(nodes, edges):
    nodes["cells"] = {"type": "LI", "tau": 0.01, "r": 1.0, "v_leak": 0.0}
    edges[:] = [("input", "fc"), ("fc", "cells"), ("cells", "d"), ("d", "output")]


def mixed_loop(nodes, edges):
    nodes["back"] = {"type": "Delay", "delay": np.array([0.0, 1.0, 2.0]) * DT}
    edges += [("cells", "back"), ("back", "cells")]


def taken_name(nodes, edges):
    nodes["d.relay"] = dict(nodes["cells"])
    edges[:] = [("input", "fc"), ("fc", "d.relay"), ("d.relay", "cells"), ("cells", "d"),
                ("d", "output")]  # fmt: skip


REFUSED = {
    "negative": (change(delay=np.full(3, -1e-3)), "'delay' = -0.001 in node 'd'", "before it is"),
    "between two steps": (
        change(delay=np.array([1e-3, 2.5e-3, 0])), "'delay' = 0.0025 s in node 'd'",
        "2.5 steps of dt = 0.001 s", "give a dt of which every delay is a multiple",
    ),
    "of years": (change(delay=np.full(3, 1e7)), "'delay' = 1e+07 s", "needs 10000000001 delay"),
    "of wrong number": (change(delay=np.zeros(5)), "shape [3] from 'fc' in node 'd'", "takes [5]"),
    "infinite": (change(delay=np.full(3, np.inf)), "'delay'[0] = inf in node 'd'"),
    "after a bias": (bias, "a bias before a Delay in node 'd'", "put the Delay before"),
    "after a readout": (before_a_readout, "LI 'cells' before the Delay in node 'd'", "not spike"),
    "mixed in a loop": (
        mixed_loop, "delays of 0, 1, 2 steps from 'cells' in a loop in node 'cells'",
        "give each a Delay of 1 step or more",
    ),
    "without a name for its relay": (taken_name, "name 'd.relay'", "relay neurons need it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_delay_that_cannot_be_is_refused(write_nir, nodes, chain, case):
    nodes["d"] = {"type": "Delay", "delay": np.full(3, 1e-3)}
    chain[:] = [("input", "fc"), ("fc", "d"), ("d", "cells"), ("cells", "output")]
    apply, *fragments = REFUSED[case]
    apply(nodes, chain)
    with pytest.raises(SpikefabError) as refusal:
        load(write_nir(nodes, chain), dt=DT, profile="nir")
    assert "\n" not in str(refusal.value)
    for fragment in fragments:
        assert fragment in str(refusal.value)
