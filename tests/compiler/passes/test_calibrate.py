"""The weight LSB is chosen by spikes: never worse than least weight error on what it saw."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import spikefab as sf
from spikefab.compiler import float_reference
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
    told = under_test.told_spikes(net, reference, inputs)
    for p in net.populations:
        least = quantised(draft, p, ranges[p.name])
        chosen = quantised(draft, p, ranges[p.name], steps[p.name])
        scores = [under_test.score(p, x, net, told, reference) for x in (least, chosen)]
        assert scores[0] <= scores[1] <= 1.0
        assert chosen.scale.error <= 1.5 * least.scale.error


def uneven(rng: np.random.Generator, neurons: int = 40) -> sf.Network:
    """Neurons whose weights and drives differ by up to 2^6."""
    net = sf.Network()
    scale = 2.0 ** -(np.arange(neurons) % 7)
    p = net.population("p", neurons, "lif", keep=0.9, threshold=1.0, bias=0.6 - scale / 2,
                       output=True)  # fmt: skip
    net.connect(net.input("x", 10), p, rng.normal(0, 0.8, (10, neurons)) * scale)
    return net


def test_neurons_of_small_weights_get_a_finer_step_where_that_helps() -> None:
    rng = np.random.default_rng(0)
    net, inputs = uneven(rng), seen(rng)
    program, report = sf.compile(net, weight_bits=4, calibrate=inputs)
    (row,) = report.populations
    gains = program.populations[0].parameters["gain"]
    assert len(np.unique(gains)) >= 5
    assert gains[:7].tolist() == sorted(gains[:7], reverse=True)
    kept = np.zeros((10, 40))
    kept[program.synapses.source, program.synapses.target] = program.synapses.weight
    (weights,) = (x.connections for x in net.projections)
    error = np.sqrt(np.mean((kept * row.lsb * 2.0**gains - weights) ** 2) / np.mean(weights**2))
    assert row.weight_error == pytest.approx(error, rel=1e-6)
    assert (np.abs(kept).max(axis=0) > 3).all()  # each neuron uses its bits
    common = sf.ChipSpec("few", cores=1, neurons=64, axons=64, synapse_words=4096, routes=64,
                         weight_bits=4, parameter_sets=40)  # fmt: skip
    (same,) = sf.compile(net, common, weight_bits=4, calibrate=inputs)[1].populations
    assert same.spike_agreement == row.spike_agreement
    tight = dataclasses.replace(common, parameter_sets=8)
    program, report = sf.compile(net, tight, weight_bits=4, calibrate=inputs)
    assert len(program.populations[0].parameters["gain"]) == 1
    assert report.populations[0].spike_agreement < row.spike_agreement - 0.01


@pytest.mark.parametrize("form", ["matrix", "rows", "triples"])
def test_every_form_of_synapses_takes_finer_steps_alike(form: str) -> None:
    rng = np.random.default_rng(0)
    net, inputs = uneven(rng), seen(rng)
    (projection,) = net.projections
    weights = projection.connections
    source, target = np.nonzero(weights)
    flat = weights[source, target]
    made = uneven(np.random.default_rng(0))
    if form != "matrix":
        made = sf.Network()
        p = net.populations[0]
        first = np.searchsorted(source, np.arange(11))
        copy = made.population("p", p.size, p.model, options=p.options, output=True,
                               **p.parameters)  # fmt: skip
        sparse = {
            "rows": sf.Rows(first, target, flat), "triples": sf.Triples(source, target, flat)
        }  # fmt: skip
        made.connect(made.input("x", 10), copy, sparse[form])
    reports = [sf.compile(n, weight_bits=4, calibrate=inputs)[1] for n in (net, made)]
    assert reports[0].program == reports[1].program
    assert reports[0].populations == reports[1].populations


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


@pytest.mark.parametrize("block", [1, 300, 1 << 22])
def test_a_population_alone_does_as_within_its_network(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(float_reference, "_BLOCK", block)
    rng = np.random.default_rng(5)
    net, inputs = network(rng), seen(rng)
    a, b = net.populations[:2]
    net.connect(b, a, sf.Triples(
        np.arange(6), np.arange(6), rng.normal(0, 0.5, 6), delay=np.arange(1, 7)
    ))  # fmt: skip
    net.connect(a, b, rng.normal(0, 0.1, (12, 6)), delay=60)  # beyond the run
    reference = sf.FloatReference(net).run(inputs, 40, record=[p.name for p in net.populations])
    told = under_test.told_spikes(net, reference, inputs)
    for p in net.populations:
        into = [x for x in net.projections if x.target == p.name]
        alone = float_reference.respond(net, p, into, {x.source: told[x.source] for x in into})
        expected = {**reference.spikes, **reference.values}[p.name]
        np.testing.assert_allclose(alone.astype(float), expected.astype(float), atol=1e-9)


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
