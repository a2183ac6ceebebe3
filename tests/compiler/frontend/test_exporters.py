"""Files of Norse, sinabs and SpikingJelly are read as these count, and known by their marks."""

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikefab.compiler.float_reference import FloatReference
from spikefab.compiler.frontend.nir_reader import describe, load
from spikefab.compiler.ir.errors import SpikefabError

DT = 1e-3
EDGES = [("input", "fc"), ("fc", "cells"), ("cells", "output")]


def graph(cells, name="input", weight=None):
    weight = np.array([[0.5, -0.25], [1.0, 2.0]], np.float32) if weight is None else weight
    nodes = {
        name: nir.Input(np.array([2])),
        "fc": nir.Linear(weight),
        "cells": cells,
        "output": nir.Output(np.array([2])),
    }
    edges = [(name if a == "input" else a, b) for a, b in EDGES]
    return nir.NIRGraph(nodes, edges, type_check=False)


def full(value, kind=np.float32):
    return np.full(2, value, kind)


def norse_cuba(keep, keep_i, v_leak=0.0):
    return nir.CubaLIF(
        tau_mem=full(DT * DT / (1 - keep)),
        tau_syn=full(DT * DT / (1 - keep_i)),
        r=full(1),
        v_leak=full(v_leak),
        v_threshold=full(1),
        v_reset=full(0),
    )


def sinabs_lif(tau=20.0):
    return nir.LIF(
        tau=full(tau), r=full(1), v_leak=full(0), v_threshold=full(1), v_reset=full(0)
    )


def jelly_lif(tau=4.0, decay_input=True, v_reset=0.0, dt=DT):
    wide = {"kind": np.float64}
    return nir.LIF(
        tau=full(tau * dt, **wide),
        r=full(1.0 if decay_input else tau, **wide),
        v_leak=full(v_reset, **wide),
        v_threshold=full(1, **wide),
        v_reset=full(v_reset, **wide),
    )


def refusal(source, **settings):
    with pytest.raises(SpikefabError) as raised:
        load(source, **settings)
    return str(raised.value)


fractions = st.integers(1, 4095).map(lambda k: k / 4096)


@given(fractions, fractions)
def test_norse_time_constants_are_dt_times_too_small(keep, keep_i):
    network = load(graph(norse_cuba(keep, keep_i)), profile="norse", dt=DT)
    (cells,) = network.populations
    np.testing.assert_allclose(cells.parameters["keep"], keep, atol=1e-6)
    np.testing.assert_allclose(cells.parameters["keep_i"], keep_i, atol=1e-6)
    np.testing.assert_allclose(network.projections[0].gain, 1 - keep, rtol=1e-6)
    assert cells.options["sees"] == "new"
    assert cells.options["fires"] == ">"


def test_norse_potentials_start_at_v_leak_and_stay_there():
    network = load(graph(norse_cuba(0.5, 0.5, v_leak=0.25)), profile="norse", dt=DT)
    (cells,) = network.populations
    run = FloatReference(network).run({"input": np.zeros((5, 2))}, potentials=["cells"])
    np.testing.assert_allclose(run.potentials["cells"], 0.25, rtol=1e-6)
    assert cells.initial["v"].tolist() == [0.25]


def test_an_integrator_of_norse_and_of_sinabs_adds_its_input_as_it_is():
    cells = nir.IF(r=full(1), v_threshold=full(1), v_reset=full(0))
    for settings in ({"profile": "norse", "dt": DT}, {"profile": "sinabs", "floor": "none"}):
        assert load(graph(cells), **settings).projections[0].gain.tolist() == [1.0]


def test_a_module_that_norse_lost_is_named():
    told = graph(norse_cuba(0.5, 0.5))
    told.nodes["fc"] = None
    message = refusal(told, profile="norse", dt=DT)
    assert "node 'fc'" in message
    assert "LIFRecurrentCell" in message


def test_sinabs_must_be_told_what_it_does_not_write():
    message = refusal(graph(sinabs_lif()), profile="sinabs")
    assert "undetermined floor, norm_input" in message
    assert "--floor none|threshold|VALUE, --norm-input yes|no" in message
    assert "undetermined floor in" in refusal(
        graph(sinabs_lif()), profile="sinabs", norm_input=True
    )


@pytest.mark.parametrize(
    ("norm_input", "gain"), [(True, 1 - np.exp(-1 / 20)), (False, 1.0)]
)
def test_sinabs_time_constants_are_in_steps(norm_input, gain):
    network = load(graph(sinabs_lif()), profile="sinabs", floor="none", norm_input=norm_input)
    (cells,) = network.populations
    assert cells.parameters["keep"].tolist() == [np.exp(-1 / 20)]
    assert network.projections[0].gain.tolist() == [pytest.approx(gain)]
    assert cells.options == {
        "fires": ">=", "reset": "subtract", "reset_at": "now", "count_bits": "4"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("floor", "least"), [("threshold", -1.0), (-0.75, -0.75), ("-0.75", -0.75)]
)
def test_a_floor_is_minus_the_threshold_or_a_potential(floor, least):
    network = load(graph(sinabs_lif()), profile="sinabs", floor=floor, norm_input=False)
    (cells,) = network.populations
    assert cells.options["floor"] == "value"
    assert cells.parameters["v_floor"].tolist() == [least]
    assert network.settings["floor"] == str(floor if floor == "threshold" else least)


def test_the_limit_of_spikes_per_step_is_said():
    settings = {"profile": "sinabs", "floor": "none", "norm_input": False}
    said = load(graph(sinabs_lif()), count_bits=3, **settings).assumptions
    assert any("at most 7 times in a step (count_bits 3)" in text for text in said)
    single = load(graph(sinabs_lif()), count_bits=1, **settings)
    assert "count_bits" not in single.populations[0].options
    assert any("count_bits is 1, as asked" in text for text in single.assumptions)


@pytest.mark.parametrize("decay_input", [True, False])
def test_spikingjelly_scales_the_input_as_its_r_says(decay_input):
    settings = {"profile": "spikingjelly", **({"dt": DT} if decay_input else {})}
    network = load(graph(jelly_lif(decay_input=decay_input, v_reset=-0.5)), **settings)
    (cells,) = network.populations
    assert network.projections[0].gain.tolist() == [pytest.approx(0.25 if decay_input else 1.0)]
    assert cells.parameters["keep"].tolist() == [pytest.approx(0.75)]
    assert cells.parameters["bias"].tolist() == [pytest.approx(-0.125)]
    assert cells.initial["v"].tolist() == [-0.5]
    assert cells.options == {"fires": ">=", "reset": "value", "reset_at": "now"}


def test_spikingjelly_files_give_their_dt_away_where_they_can():
    assert "undetermined dt" in refusal(graph(jelly_lif()), profile="spikingjelly")
    network = load(graph(jelly_lif(decay_input=False)), profile="spikingjelly")
    assert network.settings["dt"] == "0.001"
    assert any("as the gains in the file say" in said for said in network.assumptions)
    told = refusal(graph(jelly_lif(decay_input=False)), profile="spikingjelly", dt=1e-4)
    assert "dt 0.0001 with profile spikingjelly" in told


@pytest.mark.parametrize(
    ("cells", "profile", "cause"),
    [
        (jelly_lif(decay_input=False), "norse", "not a Norse export in node 'cells'"),
        (jelly_lif(v_reset=0.5), "sinabs", "'v_leak' is not 0"),
        (norse_cuba(0.5, 0.5), "sinabs", "sinabs writes no CubaLIF nodes"),
        (norse_cuba(0.5, 0.5, 0.25), "spikingjelly", "'v_leak' is not 0"),
        (nir.CubaLIF(full(2.0), full(1.0), full(1), full(0), full(1), full(0), w_in=full(1)),
         "spikingjelly", "its gains stand for a dt of 1 s and of 2 s"),
    ],
)  # fmt: skip
def test_what_an_exporter_cannot_have_written_is_refused(cells, profile, cause):
    assert cause in refusal(graph(cells), profile=profile)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"floor": 1.0}, "floor 1.0"),
        ({"floor": "low"}, "floor low"),
        ({"count_bits": 9}, "count_bits = 9"),
        ({"profile": "spikingjelly", "reset": "subtract"}, "reset subtract with profile"),
        ({"profile": "spikingjelly", "norm_input": True}, "only the profile sinabs has it"),
    ],
)
def test_arguments_that_cannot_hold_are_refused(given, cause):
    assert cause in refusal(graph(jelly_lif(decay_input=False)), **given)


def test_inspect_tells_the_likely_exporter_and_by_what():
    def likely(told):
        return describe(told)["likely"]

    assert likely(graph(norse_cuba(0.9, 0.5)))["profile"] == "norse"
    found = likely(graph(jelly_lif(), name="input_1"))
    assert found["profile"] == "spikingjelly"
    assert found["signs"][0] == "the input is named 'input_1'"
    assert likely(graph(sinabs_lif()))["signs"] == ["time constants of 1 and more count steps"]
    assert likely(graph(nir.LIF(full(0.02), full(2), full(1), full(1), full(0)))) is None
