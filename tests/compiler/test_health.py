"""Neurons that quantisation silences are counted, with the cause, and none is said to be that can
fire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st


def layer(weights: Any, model: str = "lif", **given: Any) -> sf.Network:
    """Input `x` to the output `p`."""
    weights = np.asarray(weights, float)
    net = sf.Network()
    p = net.population("p", weights.shape[1], model, output=True, **given)
    net.connect(net.input("x", weights.shape[0]), p, weights)
    return net


def always(size: int, steps: int = 30) -> dict[str, sf.SpikeTrain]:
    return {"x": sf.SpikeTrain.from_dense(np.ones((steps, size)))}


def test_neurons_whose_weights_round_to_0_are_named_as_the_cause() -> None:
    net = layer([[1.0, 0.0003, 0.0, 0.7]], keep=0.999, threshold=0.008)
    silent = sf.compile(net, weight_bits=4)[1]
    assert silent.populations[0].zeroed == 1
    assert silent.warnings[0].startswith(
        "population 'p': all weights of 1 of 4 neurons rounded to 0"
    )
    told = sf.compile(net, weight_bits=4, calibrate=always(1))[1]
    assert told.populations[0].dead == 2
    assert told.populations[0].dead_in_float == 1
    assert told.warnings[0] == (
        "population 'p': 1 of 4 neurons never fire though they do in float (all weights rounded to "
        "0: 1): use more weight bits"
    )


def test_a_healthy_network_gets_no_warning() -> None:
    report = sf.compile(layer([[0.5, 0.25]], keep=0.9, threshold=1.0), calibrate=always(1))[1]
    assert report.warnings == ()


def test_a_threshold_beyond_the_reach_of_all_input_is_told() -> None:
    net = layer([[0.6, 0.01]], keep=0.5, threshold=1.0)
    report = sf.compile(net)[1]
    assert report.populations[0].beyond_reach == 1
    assert "1 of 2 neurons can never fire: their threshold is beyond" in report.warnings[0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    model=st.sampled_from(["if", "lif", "cubalif"]),
    fires=st.sampled_from([">", ">="]),
)
def test_no_neuron_that_can_fire_is_said_to_be_beyond_reach(
    seed: int, model: str, fires: str
) -> None:
    rng = np.random.default_rng(seed)
    given: dict[str, Any] = {"bias": rng.normal(0, 0.05, 8)}
    if model != "if":
        given["keep"] = rng.choice([0.0, 0.5, 0.9], 8)
    if model == "cubalif":
        given |= {"keep_i": rng.choice([0.0, 0.5], 8), "bias_i": rng.normal(0, 0.05, 8)}
    net = layer(
        np.abs(rng.normal(0, 0.1, (2, 8))) * rng.integers(0, 2, 8), model,
        threshold=rng.uniform(0.1, 12, 8),
        initial={"v": rng.uniform(-1, 1, 8)}, options={"fires": fires}, **given,
    )  # fmt: skip
    program, report = sf.compile(net)
    strongest = sf.SpikeTrain.from_dense(np.full((400, 2), program.chip.largest_payload))
    fired = np.unique(sf.Emulator(program).run(strongest).spikes["p"].index)
    # These weights are positive, so the strongest input is the one that could do it.
    assert len(fired) <= 8 - report.populations[0].beyond_reach
    if model == "lif":
        assert report.populations[0].beyond_reach >= 8 - len(fired) - 2  # and few are missed


def test_a_population_that_is_silent_in_float_too_is_told() -> None:
    report = sf.compile(layer([[0.1]], keep=0.9, threshold=1.5), calibrate=always(1, 5))[1]
    assert report.warnings == (
        "population 'p': silent on the given input, in float too: its input is too weak for its "
        "threshold, or the network was read with a wrong dt, gain or reset",
    )


def test_potentials_that_meet_their_limit_are_told_with_what_the_float_run_reached() -> None:
    net = sf.Network()
    p = net.population("p", 1, "li", keep=1.0, output=True)
    one = np.array([0, 1]), np.array([0]), np.array([100], np.int8), 1.0
    net.connect(net.input("x", 1), p, sf.Rows(*one))
    report = sf.compile(net, calibrate=always(1, 400))[1]
    (row,) = report.populations
    assert (row.potential_low, row.potential_high) == (100.0, 40_000.0)
    assert row.potential_limit == 32_767.0
    assert row.saturated == 1
    assert row.value_error == pytest.approx(0.1, abs=0.1)
    assert "1 of 1 neurons met the limit of state, 3.277e+04" in report.warnings[0]


@pytest.mark.parametrize("bits", [2, 8])
def test_chip_auto_carries_the_counts_of_its_models_and_their_limit_is_told(bits: int) -> None:
    net = sf.Network()
    options = {"count_bits": str(bits), "reset": "subtract"}
    p = net.population("p", 2, "if", threshold=0.25, options=options)
    q = net.population("q", 2, "if", threshold=1.0, output=True)
    net.connect(net.input("x", 1), p, np.array([[1.25, 0.25]]))
    net.connect(p, q, np.eye(2))
    program, report = sf.compile(net, calibrate=always(1, 10))
    assert program.chip.payload_bits == max(4, bits)
    assert [row.spike_agreement for row in report.populations] == [1.0, 1.0]
    assert report.populations[0].limit_reached == (10 if bits == 2 else 0)
    limits = [w for w in report.warnings if "10 counts are 3, the most" in w]
    assert len(limits) == (bits == 2)


def small(weights: Any, **parameters: Any) -> sf.Network:
    net = sf.Network()
    x = net.input("x", len(weights))
    y = net.population("y", len(weights[0]), "lif", threshold=1.0, output=True, **parameters)
    net.connect(x, y, np.array(weights))
    return net


def test_a_leak_that_is_lost_is_warned_of() -> None:
    warned = sf.compile(small([[1.0, 1.0]], keep=[0.5, 1 - 1e-6]))[1].warnings
    assert len(warned) == 1
    assert "keep loses 0 of its value in a step where 1e-06 was asked" in warned[0]
    for keep in (0.0, 0.5, 1.0, 1 - 3 / 4096):
        assert sf.compile(small([[1.0]], keep=keep))[1].warnings == ()


def test_weights_that_became_0_are_not_exact() -> None:
    _, report = sf.compile(small([[1e7, 1.0], [1.0, 2.0]], keep=0.5))
    assert not report.populations[0].exact
    assert "all weights of 1 of 2 neurons rounded to 0" in report.warnings[0]


def test_a_label_that_names_no_neuron_is_refused() -> None:
    net, given = small([[1.0, 1.0]], keep=0.5), sf.SpikeTrain.from_dense(np.ones((1, 3, 1), int))
    for label in (2, -1):
        with pytest.raises(sf.SpikefabError, match=f"label {label} .*'y' has neurons 0..1"):
            sf.compile(net, calibrate={"x": given}, labels=np.array([label]))
