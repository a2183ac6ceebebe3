"""The weight LSB is chosen by spikes: never worse than least weight error on what it saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spikefab as sf
from spikefab.compiler.ir.chip import CHIPS
from spikefab.compiler.passes import calibrate as under_test
from spikefab.compiler.passes.calibrate import agreement, calibrate, value_error
from spikefab.compiler.passes.draft import Draft, Range
from spikefab.compiler.passes.quantise import quantised


def network(rng: np.random.Generator) -> sf.Network:
    """Two layers, the first recurrent, and a readout."""
    net = sf.Network()
    x = net.input("x", 10)
    a = net.population("a", 12, "lif", keep=0.9, threshold=1.0, bias=0.013)
    b = net.population("b", 6, "cubalif", keep=0.8, keep_i=0.5, threshold=1.0, v_reset=0.05)
    out = net.population("out", 3, "li", keep=0.95, output=True)
    net.connect(x, a, rng.normal(0, 0.4, (10, 12)))
    net.connect(a, a, rng.normal(0, 0.1, (12, 12)), delay=1)
    net.connect(a, b, rng.normal(0.1, 0.4, (12, 6)))
    net.connect(b, out, rng.normal(0, 0.5, (6, 3)))
    return net


def seen(rng: np.random.Generator) -> dict[str, sf.SpikeTrain]:
    return {"x": sf.SpikeTrain.from_dense(rng.random((4, 40, 10)) < 0.3)}


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("seed", range(3))
def test_spikes_agree_at_least_as_well_as_with_least_weight_error(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    net, inputs = network(rng), seen(rng)
    names = [p.name for p in net.populations]
    reference = sf.FloatReference(net).run(inputs, 40, record=names)
    ranges = {n: Range(reference.ranges[n]["v"].peak) for n in names}
    draft = Draft(net, CHIPS["auto"], dict.fromkeys(names, bits))
    steps = calibrate(draft, ranges, reference, inputs)
    assert sorted(steps) == sorted(names)
    told: dict[str, Any] = {**inputs, **reference.spikes}
    for p in net.populations:
        least = quantised(draft, p, ranges[p.name])
        chosen = quantised(draft, p, ranges[p.name], steps[p.name])
        scores = [under_test._score(p, x, draft, told, reference) for x in (least, chosen)]
        assert scores[0] <= scores[1] <= 1.0
        assert chosen.scale.error <= 1.5 * least.scale.error


def test_calibration_improves_the_agreement_of_the_compiled_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mean_agreement() -> float:
        found = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            report = sf.compile(network(rng), weight_bits=3, calibrate=seen(rng))[1]
            found += [p.spike_agreement for p in report.populations[:2]]
        return float(np.mean(found))

    chosen = mean_agreement()
    monkeypatch.setattr(under_test, "CANDIDATES", np.ones(1))
    assert chosen > mean_agreement() + 0.01


def test_exact_weights_keep_their_step() -> None:
    net = sf.Network()
    p = net.population("p", 2, "lif", keep=0.9, threshold=1.0, output=True)
    net.connect(net.input("x", 2), p, np.array([[0.75, 0.25], [-0.5, 1.0]]))
    inputs = {"x": sf.SpikeTrain.from_dense(np.ones((9, 2)))}
    (row,) = sf.compile(net, weight_bits=4, calibrate=inputs)[1].populations
    assert (row.exact, row.weight_lsb) == (True, 0.25)


def test_agreement_counts_spikes_and_values_are_compared_by_size() -> None:
    assert agreement(np.array([0, 1, 1, 1]), np.array([1, 1, 1, 0], bool)) == 0.5
    assert agreement(np.array([3, 0]), np.array([1, 0])) == pytest.approx(1 / 3)
    assert agreement(np.zeros(3), np.zeros(3)) == 1.0
    assert value_error(np.array([3.0, 4.0]), np.array([3.0, 3.0])) == pytest.approx(1 / 18**0.5)
    assert value_error(np.ones(2), np.zeros(2)) == 1.0
