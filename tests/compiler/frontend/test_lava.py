"""Lava's fixed-point LIF, held to its integer equations in every u, v and spike."""

from dataclasses import replace

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st

CHIP = replace(sf.CHIPS["auto"], state_bits=24)
STEPS = 40
TOP = 1 << 23


def stepped(p, weights, recurrent, raster):
    """(spikes, u, v) after each step, as lava-nc 0.10 computes them with NumPy."""
    n = len(weights)
    u, v, spikes = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    before, rows = np.zeros(raster.shape[1], np.int64), []
    for given_now in raster:
        a = weights @ before + recurrent @ spikes
        before = given_now
        u = np.sign(u) * (abs(u) * (4096 - (p["du"] + 1)) >> 12) + (a << 6)
        u = np.where(u >= TOP, u - 2 * TOP, np.where(u < -TOP, u + 2 * TOP, u))
        v = np.sign(v) * (abs(v) * (4096 - p["dv"]) >> 12) + u + (p["bias_mant"] << p["bias_exp"])
        v = np.clip(v, 1 - TOP, TOP - 1)
        spikes = (v > p["vth"] << 6).astype(np.int64)
        v = np.where(spikes, 0, v)
        rows.append((spikes, u, v))
    return [np.array(column) for column in zip(*rows, strict=True)]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_every_current_potential_and_spike_is_lavas(seed):
    rng = np.random.default_rng(seed)
    lines, n = 8, int(rng.integers(1, 9))
    raster = (rng.random((STEPS, lines)) < 0.5).astype(np.int64)
    p = {
        "du": rng.choice([0, 5, 4095, int(rng.integers(4096))]), "dv": rng.integers(0, 4096, n),
        "vth": rng.choice([30, 900, 131071], n), "bias_mant": rng.integers(-4096, 4096, n),
        "bias_exp": rng.integers(0, 8, n),
    }  # fmt: skip
    even = 2 * rng.integers(-128, 128, (n, lines))
    recurrent = 2 * rng.integers(-128, 128, (n, n))
    net = sf.Network()
    source = net.input("in", lines)
    cells = sf.lava_lif(net, "cells", n, **p, output=True)
    sf.lava_dense(net, source, cells, even)
    sf.lava_dense(net, cells, cells, recurrent)
    program, _ = sf.compile(net, CHIP, weight_bits=9)
    run = sf.Emulator(program).run(
        {"in": sf.SpikeTrain.from_dense(raster)}, STEPS, record=["cells.v", "cells.i"]
    )
    spikes, u, v = stepped(p, even, recurrent, raster)
    np.testing.assert_array_equal(run.state["cells.i"][0], u)
    np.testing.assert_array_equal(run.state["cells.v"][0], v)
    np.testing.assert_array_equal(run.spikes["cells"].to_dense(STEPS, n), spikes)


def test_a_current_wraps_at_24_bits():
    net = sf.Network()
    source = net.input("in", 300)
    cells = sf.lava_lif(net, "cells", 1, du=0, dv=4095, vth=131071, output=True)
    sf.lava_dense(net, source, cells, np.full((1, 300), 255))
    program, _ = sf.compile(net, CHIP, weight_bits=9)
    raster = np.ones((6, 300), int)
    given_all = {"in": sf.SpikeTrain.from_dense(raster)}
    run = sf.Emulator(program).run(given_all, 6, record=["cells.i"])
    p = {"du": 0, "dv": 4095, "vth": 131071, "bias_mant": np.zeros(1, int), "bias_exp": 0}
    _, u, _ = stepped(p, np.full((1, 300), 255), np.zeros((1, 1), int), raster)
    assert (u < 0).any()
    np.testing.assert_array_equal(run.state["cells.i"][0], u)


def test_weights_of_both_signs_lose_their_last_bit():
    net = sf.Network()
    source = net.input("in", 3)
    cells = sf.lava_lif(net, "cells", 1, du=4095, dv=4095, vth=9, output=True)
    mixed = sf.lava_dense(net, source, cells, np.array([[3, -3, 1]]))
    assert mixed.connections.weight.tolist() == [2, -4]
    positive = sf.lava_dense(net, cells, cells, np.array([[3]]))
    assert positive.connections.weight.tolist() == [3]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"du": 4096}, "'du' = 4096..4096 in population 'cells': Lava has 0..4095"),
        ({"vth": 1.5}, "'vth' of type float64 in population 'cells': Lava takes integers"),
        ({"bias_exp": [0, 8]}, "'bias_exp' = 0..8"),
    ],
)
def test_what_lava_does_not_take_is_refused(changed, said):
    net = sf.Network()
    with pytest.raises(sf.SpikefabError, match=said):
        sf.lava_lif(net, "cells", 2, **{"du": 1, "dv": 1, "vth": 10} | changed)


def test_weights_that_do_not_fit_are_refused():
    net = sf.Network()
    source, cells = net.input("in", 2), sf.lava_lif(net, "cells", 1, du=1, dv=1, vth=1)
    with pytest.raises(sf.SpikefabError, match=r"weights \(2, 1\) .*: expected \(1, 2\), target"):
        sf.lava_dense(net, source, cells, np.ones((2, 1), int))
    with pytest.raises(sf.SpikefabError, match=r"'weights' = 1..256 in projection 'in' to 'cells'"):
        sf.lava_dense(net, source, cells, np.array([[1, 256]]))
    with pytest.raises(sf.SpikefabError, match=r"gain \[8\.\] in population 'x': one of 0..7"):
        net.population("x", 1, "if", threshold=1.0, gain=8)
