"""What a file leaves open is told, not guessed; snnTorch's files give snnTorch's spikes."""

from pathlib import Path

import numpy as np
import pytest
from spikefab.compiler.float_reference import FloatReference
from spikefab.compiler.frontend.nir_reader import describe, load
from spikefab.compiler.ir.errors import SpikefabError

FIXTURES = Path(__file__).parent / "fixtures"
KINDS = ("leaky", "rleaky", "synaptic", "rsynaptic")


def refusal(source, **settings):
    with pytest.raises(SpikefabError) as raised:
        load(source, **settings)
    return str(raised.value)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_float_reference_gives_every_spike_of_snntorch(kind, reset):
    expected = np.load(FIXTURES / f"{kind}_{reset}.npz")
    network = load(FIXTURES / f"{kind}.nir", profile="snntorch", reset=reset)
    hidden, output = (p.name for p in network.populations)
    run = FloatReference(network).run(
        {"input": expected["input"]}, record=[hidden, output], potentials=[output]
    )
    np.testing.assert_array_equal(run.spikes[hidden], expected["hidden"])
    np.testing.assert_array_equal(run.spikes[output], expected["output"])
    np.testing.assert_allclose(run.potentials[output], expected["potential"], atol=2e-5)


@pytest.mark.parametrize(
    ("kind", "reset", "model", "value", "at"),
    [
        ("leaky", "zero", "lif", "value", "before"),
        ("leaky", "subtract", "lif", "subtract", "after"),
        ("rleaky", "zero", "lif", "value", "after"),
        ("rleaky", "subtract", "lif", "subtract", "after"),
        ("synaptic", "zero", "cubalif", "value", "after"),
        ("synaptic", "subtract", "cubalif", "subtract", "after"),
        ("rsynaptic", "zero", "cubalif", "value", "after"),
        ("rsynaptic", "subtract", "cubalif", "subtract", "after"),
    ],
)
def test_snntorch_resets_in_the_next_step(kind, reset, model, value, at):
    network = load(FIXTURES / f"{kind}.nir", profile="snntorch", reset=reset)
    for cells in network.populations:
        assert cells.model.name == model
        assert cells.options["reset"] == value
        assert cells.options["reset_at"] == at
        assert cells.options["fires"] == ">"
        assert cells.options.get("sees", "new") == "new"


def test_snntorch_decays_are_the_float32_of_the_training(tmp_path):
    network = load(FIXTURES / "rsynaptic.nir", profile="snntorch", reset="zero")
    cells = network.populations[0].parameters
    np.testing.assert_allclose(cells["keep"], np.linspace(0.7, 0.95, 8), atol=3e-8)
    np.testing.assert_allclose(cells["keep_i"], np.linspace(0.8, 0.5, 8), atol=3e-8)
    assert all(p.gain.tolist() == [1.0] for p in network.projections)
    assert [p.delay for p in network.projections if p.source == p.target] == [1, 1]


def test_settings_and_assumptions_are_kept_for_the_report():
    network = load(FIXTURES / "rleaky.nir", profile="snntorch", reset="zero")
    assert network.settings == {
        "profile": "snntorch",
        "dt": "0.0001",
        "reset": "zero",
        "discretisation": "euler",
        "fires": ">",
    }
    said = "\n".join(network.assumptions)
    assert "recurrent connection of '1.lif' acts in the next step" in said
    assert "'1.lif' is recurrent and so taken for snnTorch's RLeaky" in said
    assert "reset_delay" in said


def test_all_that_is_missing_is_named_with_its_flag():
    told = refusal(FIXTURES / "leaky.nir")
    assert "undetermined dt, reset, discretisation in" in told
    for flag in ("--dt SECONDS", "--reset zero|subtract", "--discretisation euler|exponential",
                 "--profile nir|snntorch|norse|sinabs|spikingjelly",
                 "reads as an export of snnTorch"):  # fmt: skip
        assert flag in told


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"dt": 1e-4}, "undetermined reset, discretisation in"),
        ({"dt": 1e-4, "reset": "zero"}, "undetermined discretisation in"),
        ({"reset": "zero", "discretisation": "euler"}, "undetermined dt in"),
        ({"profile": "nir"}, "undetermined dt in"),
        ({"profile": "snntorch"}, "undetermined reset in"),
    ],
)
def test_what_is_missing_is_refused(given, missing):
    assert missing in refusal(FIXTURES / "leaky.nir", **given)


def test_only_what_the_network_needs_is_asked_for(write_nir, nodes, chain):
    nodes["cells"] = {"type": "LI", "tau": 0.01, "r": 1.0, "v_leak": 0.0}
    assert "undetermined dt, discretisation in" in refusal(write_nir(nodes, chain))
    nodes["cells"] = {"type": "IF", "r": 1.0, "v_threshold": 1.0}
    assert "undetermined dt, reset in" in refusal(write_nir(nodes, chain))


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"dt": 1e-3}, "dt 0.001 with profile snntorch"),
        ({"fires": ">="}, "fires >= with profile snntorch"),
        ({"discretisation": "exponential"}, "discretisation exponential with profile snntorch"),
    ],
)
def test_what_contradicts_snntorch_is_refused(given, cause):
    told = refusal(FIXTURES / "leaky.nir", profile="snntorch", reset="zero", **given)
    assert cause in told
    assert "leaky.nir" in told


def test_snntorch_takes_its_own_dt():
    load(FIXTURES / "leaky.nir", profile="snntorch", reset="zero", dt=1e-4)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"r": np.ones(3)}, "r dt / tau is 0.01, not 1"),
        ({"v_leak": np.ones(3)}, "'v_leak' is not 0"),
        ({"type": "IF", "tau": None, "v_leak": None}, "snnTorch writes no IF nodes"),
    ],
)
def test_other_files_are_not_taken_for_snntorch(write_nir, nodes, chain, changed, cause):
    nodes["cells"] |= {"r": np.full(3, 100.0), **changed}
    nodes["cells"] = {k: v for k, v in nodes["cells"].items() if v is not None}
    told = refusal(write_nir(nodes, chain), profile="snntorch", reset="zero")
    assert "not an snnTorch export in node 'cells'" in told
    assert cause in told


def test_a_w_in_that_is_not_snntorchs_is_refused(write_nir, nodes, chain):
    nodes["cells"] = {"type": "CubaLIF", "tau_syn": 0.005, "tau_mem": 0.01, "r": 100.0,
                      "v_leak": 0.0, "v_threshold": 1.0, "w_in": 1.0}  # fmt: skip
    told = refusal(write_nir(nodes, chain), profile="snntorch", reset="zero")
    assert "w_in dt / tau_syn is 0.02, not 1" in told


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        ({"profile": "brian"}, "profile 'brian'"),
        ({"reset": "none"}, "reset 'none'"),
        ({"fires": "="}, "fires '='"),
        ({"discretisation": "rk4"}, "discretisation 'rk4'"),
        ({"dt": 0}, "dt = 0"),
        ({"dt": float("nan")}, "dt = nan"),
    ],
)
def test_unknown_arguments_are_refused(given, cause):
    assert cause in refusal(FIXTURES / "leaky.nir", **given)


def test_the_nir_profile_reads_the_equations_as_they_stand():
    network = load(FIXTURES / "synaptic.nir", profile="nir", dt=1e-4)
    for cells in network.populations:
        assert cells.options == {"sees": "old", "fires": ">", "reset": "value", "reset_at": "now"}
    assert network.settings["reset"] == "zero"
    assert any("sees the current of the step before" in said for said in network.assumptions)


def test_an_argument_wins_over_the_nir_profile_and_is_said():
    network = load(FIXTURES / "leaky.nir", profile="nir", dt=1e-4, reset="subtract", fires=">=")
    assert network.populations[0].options["reset"] == "subtract"
    assert network.populations[0].options["fires"] == ">="
    said = "\n".join(network.assumptions)
    assert "reset is subtract, as asked" in said
    assert "fires is >=, as asked" in said
    assert "exponential with profile nir" in refusal(
        FIXTURES / "leaky.nir", profile="nir", dt=1e-4, discretisation="exponential"
    )


def test_a_reset_goes_to_v_reset(write_nir, nodes, chain):
    nodes["cells"]["v_reset"] = np.array([0.0, -0.25, 0.5])
    path = write_nir(nodes, chain)
    network = load(path, profile="nir", dt=1e-3)
    assert network.populations[0].parameters["v_reset"].tolist() == [0.0, -0.25, 0.5]
    told = refusal(path, dt=1e-3, reset="subtract", discretisation="euler")
    assert "reset by subtraction in node 'cells'" in told
    assert "v_reset" in told


def test_firing_above_the_threshold_is_an_assumption_without_a_profile(write_nir, nodes, chain):
    path = write_nir(nodes, chain)
    settings = {"dt": 1e-3, "reset": "zero", "discretisation": "euler"}
    assert any("v > v_threshold" in said for said in load(path, **settings).assumptions)
    network = load(path, fires=">=", **settings)
    assert network.populations[0].options["fires"] == ">="
    assert not any("v > v_threshold" in said for said in network.assumptions)


def test_describe_recognises_snntorch():
    told = describe(FIXTURES / "rsynaptic.nir")
    fits = [name for name, why_not in told["profiles"].items() if not why_not]
    assert fits == ["nir", "snntorch", "spikingjelly"]
    assert told["likely"] == {
        "profile": "snntorch",
        "signs": ["every gain r dt / tau is 1 at its dt of 0.0001 s",
                  "recurrent weights are named '1.w_rec'"],
    }  # fmt: skip
