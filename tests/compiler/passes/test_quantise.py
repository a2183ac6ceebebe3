"""Scales: exact where the weights are, finest where they are not, and told in the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st


def layer(weights: Any, **parameters: Any) -> sf.Network:
    net = sf.Network()
    weights = np.asarray(weights, float)
    x = net.input("x", weights.shape[0])
    given = {"keep": 0.9, "threshold": 1.0} | parameters
    p = net.population("p", weights.shape[1], output=True, **given)
    net.connect(x, p, weights)
    return net


@settings(deadline=None)
@given(st.integers(2, 16), st.data())
def test_weights_that_are_whole_steps_stay_exact(bits: int, data: st.DataObject) -> None:
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    inner = data.draw(st.lists(st.integers(least, most), max_size=30))
    whole = np.array([least, most, *inner])
    program, report = sf.compile(layer(whole[:, None] * 0.0371), weight_bits=bits)
    (p,) = report.populations
    assert (p.exact, p.weight_error, p.clipped) == (True, pytest.approx(0), 0)
    assert program.synapses.weight.tolist() == whole[whole != 0].tolist()


@settings(deadline=None)
@given(st.integers(2, 16), st.floats(0, 1e-7) | st.floats(0, 0.5), st.sampled_from([1, -1]))
def test_no_weight_that_is_clipped_is_called_exact(bits: int, less: float, sign: int) -> None:
    weights = sign * np.array([1, less - 1, 0.5])
    program, report = sf.compile(layer(weights[:, None]), weight_bits=bits)
    (p,) = report.populations
    kept = np.zeros(3)
    kept[program.synapses.source] = program.synapses.weight * p.weight_lsb
    assert p.clipped == np.mean(abs(kept - weights) > 0.501 * p.weight_lsb)
    if p.exact:
        assert kept.tolist() == pytest.approx(weights.tolist(), rel=1e-5)


@pytest.mark.parametrize("bits", range(2, 17))
def test_the_weight_error_is_the_one_of_the_program(bits: int) -> None:
    weights = np.random.default_rng(2).normal(size=(50, 20))
    program, report = sf.compile(layer(weights), weight_bits=bits)
    (p,) = report.populations
    kept = np.zeros((50, 20))
    kept[program.synapses.source, program.synapses.target] = program.synapses.weight * p.weight_lsb
    error = np.sqrt(np.mean((kept - weights) ** 2) / np.mean(weights**2))
    assert p.weight_error == pytest.approx(error, rel=1e-6)
    assert abs(program.synapses.weight).max() <= 2 ** (bits - 1)
    assert p.weight_error < 1.2 / 2 ** (bits - 2)


def test_every_population_has_its_own_bits() -> None:
    net = sf.Network()
    rng = np.random.default_rng(3)
    x = net.input("x", 9)
    a = net.population("a", 9, keep=0.9, threshold=1.0)
    b = net.population("b", 9, keep=0.9, threshold=1.0, output=True)
    net.connect(x, a, rng.normal(size=(9, 9)))
    net.connect(a, b, rng.normal(size=(9, 9)))
    program, report = sf.compile(net, weight_bits={"a": 3})
    assert [p.weight_bits for p in report.populations] == [3, 8]
    onto_a = program.synapses.target < 9
    assert abs(program.synapses.weight[onto_a]).max() <= 4
    assert abs(program.synapses.weight[~onto_a]).max() > 40
    with pytest.raises(sf.SpikefabError, match="no population 'c'"):
        sf.compile(net, weight_bits={"c": 3})
    with pytest.raises(sf.SpikefabError, match="1 weight bits in population 'a'"):
        sf.compile(net, weight_bits={"a": 1})


def test_a_threshold_far_above_the_weights_still_fits_the_potential() -> None:
    program, report = sf.compile(layer([[0.0001]], threshold=50.0))
    threshold = int(program.populations[0].parameters["threshold"][0])
    assert 8000 < threshold < 2**15
    assert threshold * report.populations[0].lsb == pytest.approx(50.0, rel=1e-3)


def test_calibration_keeps_potentials_within_their_range() -> None:
    net = layer(np.full((8, 1), 0.5), keep=0.999, threshold=100.0)
    spikes = {"x": sf.SpikeTrain.from_dense(np.ones((150, 8)))}
    report = sf.compile(net, calibrate=spikes)[1]
    (p,) = report.populations
    assert p.saturated == 0
    assert p.dead == p.dead_in_float == 0
    assert p.spike_agreement == 1.0
    assert report.agreement == 1.0
    assert report.mean_cycles is not None
    assert report.constant_cycles < report.mean_cycles <= report.worst_cycles


def test_a_model_without_gain_keeps_the_weight_lsb() -> None:
    @sf.neuron_model(state={"v": sf.POTENTIAL}, parameters={"threshold": sf.POTENTIAL})
    def plain(s: Any, p: Any, current: Any) -> sf.Update:
        v = sf.saturate(s.v + current, s.v.bits)
        fired = v >= p.threshold
        return sf.Update(spike=fired, v=sf.select(fired, 0, v))

    net = sf.Network()
    x = net.input("x", 1)
    p = net.population("p", 1, plain, threshold=1.0, output=True)
    net.connect(x, p, np.array([[0.5]]))
    run = sf.Emulator(sf.compile(net)[0]).run(sf.SpikeTrain.from_dense(np.ones((8, 1))))
    assert run.spikes["p"].step.tolist() == [1, 3, 5, 7]


def test_a_dead_population_is_reported() -> None:
    net = layer([[0.1]], threshold=1000.0)
    report = sf.compile(net, calibrate={"x": sf.SpikeTrain.of([0], [0])})[1]
    assert (report.populations[0].dead, report.populations[0].dead_in_float) == (1, 1)


def test_an_accumulator_that_could_overflow_is_refused_with_what_fits() -> None:
    net = layer(np.full((300, 1), 1.0), threshold=5.0)
    with pytest.raises(sf.SpikefabError, match=r"could overflow in neuron p\[0\].* 17 accumulator"):
        sf.compile(net, "up5k")


def test_a_network_too_large_for_a_chip_names_the_memory() -> None:
    with pytest.raises(sf.SpikefabError, match=r"300 neurons .*need 2 cores"):
        sf.compile(layer(np.ones((1, 300))), "up5k")


def test_a_crowded_core_is_cut() -> None:
    net = layer(np.eye(600) * 0.7)
    program, report = sf.compile(net, "mesh-64")
    assert report.cores >= 3
    assert report.memories["neurons"][0] <= 256
    assert program.cores == report.cores
