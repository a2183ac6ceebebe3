"""SuperNeuroMAT's JSON: every spike as it computes it, or a reason."""

import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from spikefab import load_superneuromat

# Of superneuromat 3.5.0: networks with delays, one of them with STDP, and under `extra` the spikes
# that it gave, and the plastic weights (from, to, weight) that it was left with.
FIXTURE = Path(__file__).parent / "fixtures/superneuromat.json"
LEARNING = Path(__file__).parent / "fixtures/superneuromat_stdp.json"


def learnt(path, weight_bits=10):
    """Spikes [steps, neurons] of the emulator, for 40 steps, and plastic weights (from, to,
    weight)."""
    network, train = load_superneuromat(path)
    program, report = sf.compile(network, weight_bits=weight_bits)
    bounds = [text for text in network.assumptions if "reaches an end of its range" in text]
    assert len(bounds) == len(program.plastic)
    assert network.assumptions == bounds
    assert report.populations[0].exact
    emulator = sf.Emulator(program)
    run = emulator.run({"input": train}, 40)
    assert sf.first_limit(program, {"input": train}, 40) is None
    weights = [
        [q.source[k], q.to[k], weight * q.lsb]
        for q in program.plastic for k, weight in enumerate(emulator.read(f"{q.name}.weights"))
    ]  # fmt: skip
    return run.spikes["neurons"].to_dense(40, network.populations[0].size), weights


def raster(path):
    """Spikes [steps, neurons] of the emulator, for 40 steps."""
    return learnt(path)[0]


def test_a_network_spikes_as_in_superneuromat():
    expected = json.loads(FIXTURE.read_text())["extra"]
    assert expected["steps"] == 40
    assert len(expected["spikes"]) > 50
    assert np.argwhere(raster(FIXTURE)).tolist() == expected["spikes"]


def test_a_network_learns_as_in_superneuromat():
    expected = json.loads(LEARNING.read_text())["extra"]
    spikes, weights = learnt(LEARNING, weight_bits=12)
    assert np.argwhere(spikes).tolist() == expected["spikes"]
    assert weights == expected["weights"]
    assert len(weights) > 20


def drawn(rng):
    """The data of a random network, as `to_json` writes them."""
    n, half = int(rng.integers(1, 12)), 1 + int(rng.integers(0, 2))

    def numbers(lo, hi, size):
        return (rng.integers(lo, hi + 1, size) / half).tolist()

    pre, post = np.nonzero(rng.random((n, n)) < 0.4)
    leaks = numbers(0, 5, n)
    return {
        "num_neurons": n, "neuron_thresholds": numbers(-2, 20, n),
        "neuron_leaks": [math.inf if rng.random() < 0.3 else leak for leak in leaks],
        "neuron_reset_states": numbers(-4, 1, n), "neuron_states": numbers(-5, 5, n),
        "neuron_refractory_periods": rng.integers(0, 4, n).tolist(),
        "neuron_refractory_periods_state": rng.integers(0, 3, n).tolist(),
        "num_synapses": len(pre), "pre_synaptic_neuron_ids": pre.tolist(),
        "post_synaptic_neuron_ids": post.tolist(), "synaptic_weights": numbers(-60, 60, len(pre)),
        "enable_stdp": [0] * len(pre), "stdp": True, "apos": [], "aneg": [],
        "stdp_positive_update": True, "stdp_negative_update": True, "spike_train": [],
        "input_spikes": {
            str(step): {"nids": [int(rng.integers(n))], "values": numbers(-10, 40, 1)}
            for step in range(25) if rng.random() < 0.7
        },
    }  # fmt: skip


def with_stdp(rng, data):
    """The same network with STDP on some synapses, by up to five lags."""
    lags = int(rng.integers(1, 6))
    onto = np.array(data["post_synaptic_neuron_ids"], int)
    odd = np.isinf(data["neuron_leaks"]) & (np.array(data["neuron_reset_states"]) != 0)
    return data | {
        "enable_stdp": ((rng.random(len(onto)) < 0.6) & ~odd[onto]).astype(int).tolist(),
        "apos": (rng.integers(0, 9, lags) / 2).tolist(),
        "aneg": (-rng.integers(0, 3, lags) / 2).tolist(),
        "stdp_positive_update": bool(rng.random() < 0.8),
        "stdp_negative_update": bool(rng.random() < 0.8),
    }


def stepped(data, steps):
    """SuperNeuroMAT's published equations, in floats: spikes, and plastic weights."""
    n = data["num_neurons"]
    array = {k: np.array(v, float) for k, v in data.items() if k.startswith("neuron_")}
    weights = np.zeros((n, n))
    ends = data["pre_synaptic_neuron_ids"], data["post_synaptic_neuron_ids"]
    weights[ends] = data["synaptic_weights"]
    plastic = np.zeros((n, n), bool)
    plastic[ends] = data["enable_stdp"]
    ups = data["apos"] if data["stdp_positive_update"] else [0.0] * len(data["aneg"])
    downs = data["aneg"] if data["stdp_negative_update"] else [0.0] * len(data["apos"])
    v, reset, leak = (array[f"neuron_{k}"] for k in ("states", "reset_states", "leaks"))
    wait, spikes, found = array["neuron_refractory_periods_state"], np.zeros(n), []
    for step in range(steps):
        above = v > reset
        v = np.where(above, np.maximum(v - leak, reset), np.minimum(v + leak, reset))
        v = v + weights.T @ spikes
        given = data["input_spikes"].get(str(step), {"nids": [], "values": []})
        np.add.at(v, given["nids"], given["values"])
        spikes = (v > array["neuron_thresholds"]) & (wait == 0)
        wait = np.where(spikes, array["neuron_refractory_periods"], np.maximum(wait - 1, 0))
        v = np.where(spikes, reset, v)
        found.append(spikes.astype(int))
        for k, (up, down) in enumerate(zip(ups, downs, strict=True), 1):
            if k <= step:
                pairs = np.outer(found[step - k], spikes)
                weights += plastic * (up * pairs + down * (1 - pairs))
    changes = any(ups) or any(downs)
    left = [[*at, weights[tuple(at)]] for at in np.argwhere(plastic & changes).tolist()]
    return np.array(found), left


def written(folder, data, kind="snm"):
    path = folder / "net.json"
    path.write_text(json.dumps({"networks": [{"meta": {"format": kind}, "data": data}]}))
    return path


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_random_networks_spike_by_its_equations(tmp_path_factory, seed):
    data = drawn(np.random.default_rng(seed))
    path = written(tmp_path_factory.mktemp("net"), data)
    np.testing.assert_array_equal(raster(path), stepped(data, 40)[0])


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_random_networks_learn_by_its_equations(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    data = with_stdp(rng, drawn(rng))
    spikes, weights = learnt(written(tmp_path_factory.mktemp("net"), data), weight_bits=12)
    expected, left = stepped(data, 40)
    np.testing.assert_array_equal(spikes, expected)
    assert weights == left


@pytest.mark.parametrize("code", ["base85", "base64"])
def test_numbers_may_be_encoded(code, tmp_path):
    data = drawn(np.random.default_rng(3))
    expected = raster(written(tmp_path, data))
    encode = {"base85": base64.b85encode, "base64": base64.b64encode}[code]
    for key, values in data.items():
        if key.startswith(("neuron_", "synaptic_", "spike_train")):
            raw = np.asarray(values, "<f8").tobytes()
            data[key] = {"dtype": "<d", code: encode(raw).decode()}
    np.testing.assert_array_equal(raster(written(tmp_path, data)), expected)


def test_a_network_without_input_spikes_has_a_line_per_neuron(tmp_path):
    data = drawn(np.random.default_rng(5)) | {"input_spikes": {}}
    network, train = load_superneuromat(written(tmp_path, data))
    assert network.inputs[0].size == data["num_neurons"]
    assert len(train) == 0


def test_odd_numbers_are_rounded_and_that_is_said(tmp_path):
    data = drawn(np.random.default_rng(6))
    data["neuron_thresholds"][0] = math.pi
    network, _ = load_superneuromat(written(tmp_path, data))
    assert "no multiples of 2^-12" in network.assumptions[0]
    sf.compile(network)


def test_decimals_are_kept_and_what_may_differ_is_said(tmp_path):
    data = drawn(np.random.default_rng(7))
    for key in ("neuron_thresholds", "neuron_reset_states", "neuron_states", "synaptic_weights"):
        data[key] = [value / 50 for value in data[key]]
    data["neuron_leaks"] = [0.35 for _ in data["neuron_leaks"]]
    network, _ = load_superneuromat(written(tmp_path, data))
    assert "are multiples of 0.01, in which SuperNeuroMAT's floats round" in network.assumptions[0]
    _, report = sf.compile(network, weight_bits=12)
    assert report.populations[0].exact


def test_load_takes_the_file_and_no_settings():
    assert sf.load(FIXTURE).populations[0].name == "neurons"
    with pytest.raises(sf.SpikefabError, match="dt with a network of SuperNeuroMAT in"):
        sf.load(FIXTURE, dt=1e-3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_neurons": 0}, r"'neuron_thresholds' of shape"),
        ({"neuron_leaks": [1.0, -1.0]}, "leak = -1 of neuron 1"),
        ({"neuron_refractory_periods": [0, 1.5]}, "period = 1.5 of neuron 1"),
        ({"neuron_refractory_periods": [0, 300]}, "period = 300 of neuron 1"),
        ({"neuron_states": [math.nan, 0]}, "v = nan of neuron 0"),
        ({"post_synaptic_neuron_ids": [2]}, "target = 2 of synapse 0"),
        ({"synaptic_weights": [math.inf]}, "weight = inf of synapse 0"),
        ({"input_spikes": {"0": {"nids": [2], "values": [1]}}}, "for neuron 2 in step 0"),
        ({"input_spikes": {"a": {"nids": [0], "values": [1]}}}, "damaged network"),
        ({"input_spikes": [1]}, "damaged network"),
        (
            {"enable_stdp": [2], "apos": [1.0], "spike_train": []},
            "plastic = 2 of synapse 0 in .*: 0 or 1",
        ),
        ({"apos": [1.0], "aneg": [-1.0, 0.0]}, "STDP with 1 lags in apos and 2 in aneg"),
        ({"apos": [1.0] * 17}, "STDP with 17 lags in .*: at most 16 are carried"),
        ({"apos": [math.inf]}, "STDP by numbers that are not finite"),
        (
            {"enable_stdp": [1], "apos": [math.pi], "spike_train": []},
            "STDP in .*: its numbers are no multiples",
        ),
        (
            {"enable_stdp": [1], "apos": [1], "spike_train": [],
             "neuron_leaks": [0, math.inf], "neuron_reset_states": [0, 2]},
            "an endless leak to the reset state 2 of neuron 1",
        ),
        ({"spike_train": [[0, 0], [1, 0]]}, "spikes of 2 steps before"),
        ({"spike_train": [[0, 0]], "enable_stdp": [1], "apos": [1]}, "spikes of 1 steps before"),
        ({"synaptic_weights": "abc"}, "damaged network"),
        ({"neuron_states": {"dtype": "<d", "base64": "!!"}}, "damaged network|of shape"),
    ],
)
def test_what_cannot_be_carried_is_refused(changed, said, tmp_path):
    data = {
        "num_neurons": 2, "neuron_thresholds": [0, 0], "neuron_leaks": [0, 0],
        "neuron_reset_states": [0, 0], "neuron_states": [0, 0], "num_synapses": 1,
        "neuron_refractory_periods": [0, 0], "neuron_refractory_periods_state": [0, 0],
        "pre_synaptic_neuron_ids": [0], "post_synaptic_neuron_ids": [1], "synaptic_weights": [1],
        "enable_stdp": [0], "stdp": True, "apos": [], "aneg": [], "input_spikes": {},
        "stdp_positive_update": True, "stdp_negative_update": True, "spike_train": [[0, 0]],
    }  # fmt: skip
    load_superneuromat(written(tmp_path, data))
    with pytest.raises(sf.SpikefabError, match=said):
        load_superneuromat(written(tmp_path, data | changed))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON in"), ("{}", "no network in"), ('{"networks": 3}', "no network in"),
        ('{"networks": []}', r"networks \[\] in"),
        ('{"networks": [{"meta": {"format": "x"}}]}', r"networks \['x'\]"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_said_to_be_none(text, said, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(sf.SpikefabError, match=said):
        sf.load(path)
