"""Files of Rockpool are read as its modules compute, and what they lost must be told."""

import nir
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spikefab.compiler.float_reference import FloatReference
from spikefab.compiler.frontend.nir_reader import describe, load
from spikefab.compiler.ir.errors import SpikefabError

STEPS, LINES, SIZE = 30, 5, 4
TOLD = {"profile": "rockpool", "complete": True}


def r(tau, dt):
    return (tau * np.exp(-dt / tau) / dt).astype(np.float32)


def cells(kind, taus, tau_syn, threshold, dt):
    tau, zero = taus.astype(np.float32), np.zeros(len(taus), np.float32)
    if kind == "LIFNeuronTorch":
        return nir.LIF(tau, r(tau, dt), zero, threshold, zero)
    if kind == "ExpSynTorch":
        return nir.LI(tau, r(tau, dt), zero)
    return nir.CubaLIF(
        tau_mem=tau, tau_syn=tau_syn.astype(np.float32), r=r(tau, dt), v_leak=zero,
        v_threshold=threshold, v_reset=zero,
    )  # fmt: skip


def graph(node, weight, bias=None, name="1_cells"):
    """As `to_nir` writes it, with its batch axes."""
    first = nir.Linear(weight) if bias is None else nir.Affine(weight, bias)
    size = len(weight)
    nodes = {
        "input": nir.Input(np.array([1, weight.shape[1]])), "0_LinearTorch": first,
        name: node, "output": nir.Output(np.array([1, 1, size])),
    }  # fmt: skip
    edges = [("input", "0_LinearTorch"), ("0_LinearTorch", name), (name, "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def lif(taus=(0.02, 0.01), dt=1e-3, tau_syn=0.005, kind="LIFTorch"):
    ones = np.ones(len(taus), np.float32)
    return cells(kind, np.array(taus), ones * tau_syn, ones, dt)


def told(node=None, name="1_LIFTorch"):
    return graph(node or lif(), np.ones((2, 3), np.float32), name=name)


def refusal(source, **settings):
    with pytest.raises(SpikefabError) as raised:
        load(source, **settings)
    return str(raised.value)


def stepped(kind, taus, tau_syn, threshold, dt, drive):
    """(spikes, v) after each step, as Rockpool's `forward` computes them."""
    alpha, beta = np.exp(-dt / taus), np.exp(-dt / tau_syn)
    v, i, rows = np.zeros(len(taus)), np.zeros(len(taus)), []
    for x in drive:
        if kind == "ExpSynTorch":
            v = (v + x) * alpha
            rows.append((np.zeros(len(taus)), v))
            continue
        i = (i + x) * beta
        v = v * alpha + (x if kind == "LIFNeuronTorch" else i)
        count = np.where(v >= threshold, np.floor(v / threshold), 0)
        assume((abs(v / threshold - np.rint(v / threshold)) > 1e-4).all() and count.max() < 32)
        v = v - count * threshold
        rows.append((count, v))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("kind", ["LIFTorch", "LIFNeuronTorch", "ExpSynTorch"])
@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_spikes_and_potentials_follow_rockpools_equations(kind, seed):
    rng = np.random.default_rng(seed)
    dt = float(rng.choice([1e-3, 1e-2, 2.5e-4]))
    taus, tau_syn = dt * rng.uniform(0.8, 30, SIZE), dt * rng.uniform(0.8, 10, SIZE)
    threshold = rng.uniform(0.5, 1.5, SIZE).astype(np.float32)
    weight = rng.uniform(-1, 1.2, (SIZE, LINES)).astype(np.float32)
    bias = rng.uniform(-0.2, 0.3, SIZE).astype(np.float32) if rng.random() < 0.5 else None
    raster = rng.integers(0, 3, (STEPS, LINES))
    drive = raster @ weight.astype(np.float64).T + (0 if bias is None else bias)
    spikes, v = stepped(kind, taus, tau_syn, threshold, dt, drive)
    network = load(graph(cells(kind, taus, tau_syn, threshold, dt), weight, bias), **TOLD)
    assert float(network.settings["dt"]) == pytest.approx(dt, rel=1e-6)
    shown = {"potentials": ["1_cells"]} | ({} if kind == "ExpSynTorch" else {"record": ["1_cells"]})
    run = FloatReference(network).run({"input": raster}, **shown)
    np.testing.assert_allclose(run.potentials["1_cells"][0], v, atol=1e-4, rtol=1e-4)
    if kind != "ExpSynTorch":
        np.testing.assert_array_equal(run.spikes["1_cells"][0], spikes)


def test_what_rockpool_loses_without_a_trace_must_be_told():
    message = refusal(told(), profile="rockpool")
    assert "undetermined complete in" in message
    assert "Rockpool leaves out w_rec and biases" in message
    assert "give --complete yes|no" in message
    network = load(told(), profile="rockpool", complete=False)
    assert any("that the file does not hold" in said for said in network.assumptions)
    assert network.settings["complete"] == "no"
    whole = load(told(), **TOLD)
    assert not any("that the file does not hold" in said for said in whole.assumptions)
    assert "only the profile rockpool has it" in refusal(told(), profile="nir", complete=True)


def test_modules_of_several_time_steps_are_refused():
    apart = cells("LIFTorch", np.array([0.02, 0.01]), np.full(2, 0.005), np.ones(2), 1e-3)
    apart.r = np.array([apart.r[0], r(np.array([0.01]), 2e-3)[0]])
    cause = "stands for a dt of 0.001 s and of 0.002 s"
    assert cause in refusal(told(apart), **TOLD)
    two = graph(lif(), np.ones((2, 3), np.float32), name="1_LIFTorch")
    two.nodes |= {"2_LinearTorch": nir.Linear(np.ones((2, 2))), "3_LIFTorch": lif(dt=2e-3)}
    two.edges.remove(("1_LIFTorch", "output"))
    two.edges += [("1_LIFTorch", "2_LinearTorch"), ("2_LinearTorch", "3_LIFTorch"),
                  ("3_LIFTorch", "output")]  # fmt: skip
    message = refusal(two, **TOLD)
    assert "several time steps" in message
    assert cause in message
    assert describe(two)["likely"]["signs"] == ["modules are named '0_LinearTorch'"]


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"w_in": np.full(2, 0.5)}, "'w_in' is not 1"),
        ({"v_leak": np.full(2, 0.5)}, "'v_leak' is not 0"),
        ({"r": np.zeros(2)}, "'r' is not above 0"),
    ],
)
def test_what_rockpool_cannot_have_written_is_refused(changed, cause):
    node = lif()
    for name, value in changed.items():
        setattr(node, name, value)
    message = refusal(told(node), **TOLD)
    assert "not a Rockpool export in node '1_LIFTorch'" in message
    assert cause in message


def test_inspect_knows_rockpool_by_its_time_step_and_names():
    found = describe(told())["likely"]
    assert found["profile"] == "rockpool"
    assert found["signs"] == [
        "every r is tau e^(-dt / tau) / dt with a dt of 0.001 s",
        "modules are named '0_LinearTorch'",
    ]


def test_a_dt_or_reset_that_contradicts_the_file_is_refused():
    assert "dt 0.01 with profile rockpool" in refusal(told(), dt=0.01, **TOLD)
    assert "reset zero with profile rockpool" in refusal(told(), reset="zero", **TOLD)
