"""Scaling keeps the sum of each neuron's weights, and their ratios on average."""

from __future__ import annotations

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from spikefab.compiler.ir.program import Program
from strategies import seeds

PROJECTION = "input->cells"


def program(rng: np.random.Generator, **limits: float) -> Program:
    """5 to 30 inputs on 3 neurons after 2 others, sparse, an LSB being 1/127."""
    net = sf.Network()
    lines = int(rng.integers(5, 31))
    source = net.input("input", lines)
    net.population("others", 2, "lif", keep=0.9, threshold=1.0, output=True)
    cells = net.population("cells", 3, "lif", keep=0.9, threshold=1.0, output=True)
    at = np.argwhere(rng.random((lines, 3)) < 0.8)
    weight = rng.integers(0, 128, len(at)) / 127
    rule = sf.Plasticity("stdp", keep_pre=0.9, keep_post=0.9, up=0.1, down=0.1, **limits)
    net.connect(source, cells, sf.Triples(at[:, 0], at[:, 1], weight), plasticity=rule)
    made, _ = sf.compile(net)
    return made


def sums(device: sf.Device, p: Program) -> np.ndarray:
    q = p.projection(PROJECTION)
    return np.bincount(q.to - 2, device.read(f"{PROJECTION}.weights"), 3)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_every_sum_is_the_total_within_an_lsb(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = program(rng, w_min=0, w_max=1)
    device = sf.Machine(p)
    before = sums(device, p)
    total = float(rng.uniform(0.1, 2.0))
    kept = device.read(f"{PROJECTION}.weights")
    sf.scale_weights(device, p, PROJECTION, total, rng)
    after = device.read(f"{PROJECTION}.weights")
    assert (after[kept == 0] == 0).all()
    cut = np.isin(np.arange(3), p.projection(PROJECTION).to[after == 127] - 2)
    missed = np.abs(sums(device, p) - total * 127)[(before > 0) & ~cut]
    assert (missed < 1).all()


def test_scaled_weights_are_right_on_average() -> None:
    rng = np.random.default_rng(3)
    p = program(rng, w_min=0, w_max=1)
    device = sf.Machine(p)
    weights = device.read(f"{PROJECTION}.weights")
    factor = 1.5 * 127 / sums(device, p)[p.projection(PROJECTION).to - 2]
    runs = []
    for _ in range(400):
        device.write(f"{PROJECTION}.weights", weights)
        sf.scale_weights(device, p, PROJECTION, 1.5, rng)
        runs.append(device.read(f"{PROJECTION}.weights"))
    assert np.abs(np.mean(runs, axis=0) - weights * factor).max() < 5 * 0.5 / np.sqrt(400)


def test_weights_that_may_be_negative_are_refused() -> None:
    rng = np.random.default_rng(1)
    p = program(rng, w_min=-1, w_max=1)
    with pytest.raises(sf.SpikefabError, match="may be negative"):
        sf.scale_weights(sf.Machine(p), p, PROJECTION, 1.0, rng)


@pytest.mark.parametrize("total", [0.0, -1.0, float("nan")])
def test_a_total_that_is_no_sum_is_refused(total: float) -> None:
    rng = np.random.default_rng(1)
    p = program(rng, w_min=0, w_max=1)
    with pytest.raises(sf.SpikefabError, match="total"):
        sf.scale_weights(sf.Machine(p), p, PROJECTION, total, rng)
