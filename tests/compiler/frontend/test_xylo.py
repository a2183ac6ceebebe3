"""Networks of Xylo, held to its integer equations in every current, potential and spike."""

import numpy as np
import pytest
import spikefab as sf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

STEPS, TOP = 40, (1 << 15) - 1


def decay(x, dash):
    lost = x >> dash
    return np.where((x > 0) & (lost == 0), 1, lost)


def clip(x):
    return np.clip(x, -TOP - 1, TOP)


class Layer:
    """Neurons as xylosim 0.1.3 (v2) computes them, saturating one spike at a time."""

    def __init__(self, size, dash_syn, dash_mem, threshold, bias, most):
        self.dash_syn, self.dash_mem = dash_syn, dash_mem
        self.threshold, self.bias, self.most = threshold, bias, most
        self.i, self.v = np.zeros(size, np.int64), np.zeros(size, np.int64)

    def deliver(self, counts, weights, shift, order):
        for source in order(len(counts)):
            for _ in range(int(counts[source])):
                self.i = clip(self.i + (weights[source] << shift))

    def evolve(self):
        self.i = self.i - decay(self.i, self.dash_syn)
        change = clip(clip(self.i - decay(self.v, self.dash_mem)) + self.bias)
        self.v = clip(self.v + change)
        count = np.clip(self.v // self.threshold, 0, self.most)
        self.v = self.v - count * self.threshold
        return count, self.i.copy(), self.v.copy()


def simulated(spec, raster, order=range):
    """(spikes, i, v) of hidden neurons, then of outputs, after each step."""
    of = ("dash_syn", "dash_mem", "threshold", "bias")
    size, outputs = len(spec["weights_rec"]), spec["weights_out"].shape[1]
    hidden = Layer(size, **{k: spec[k] for k in of}, most=31)
    shown = Layer(outputs, **{k: spec[f"{k}_out"] for k in of}, most=1)
    before, rows = np.zeros(size, np.int64), []
    for given_now in raster:
        hidden.deliver(given_now, spec["weights_in"], spec["weight_shift_in"], order)
        hidden.deliver(before, spec["weights_rec"], spec["weight_shift_rec"], order)
        shown.deliver(before, spec["weights_out"], spec["weight_shift_out"], order)
        (before, *states), found = hidden.evolve(), shown.evolve()
        rows.append((before, *states, *found))
    return [np.array(column) for column in zip(*rows, strict=True)]


def drawn(rng, lines=6, size=5, outputs=3):
    def weights(*shape):
        top = rng.choice([6, 30, 127])
        return rng.integers(-top - (top == 127), top + 1, shape) * (rng.random(shape) < 0.7)

    spec = {"weights_in": weights(lines, size), "weights_rec": weights(size, size) // 2,
            "weights_out": weights(size, outputs)}  # fmt: skip
    for key, n in (("", size), ("_out", outputs)):
        spec[f"dash_syn{key}"] = rng.integers(0, 4, n)
        spec[f"dash_mem{key}"] = rng.integers(0, 6, n)
        spec[f"threshold{key}"] = rng.integers(1, rng.choice([20, 200, 2000]), n)
        spec[f"bias{key}"] = rng.integers(-20, 40, n) * rng.integers(0, 2)
    shifts = ("in", "rec", "out")
    return spec | {f"weight_shift_{k}": int(rng.integers(0, 3)) for k in shifts}


def compared(spec, events, raster):
    """The emulator's (spikes, i, v) of hidden neurons, then of outputs."""
    network = sf.xylo_network(**spec, events=events)
    program, report = sf.compile(network, weight_bits=16)
    assert all(p.exact for p in report.populations)
    names = [f"{p}{s}" for p in ("hidden", "output") for s in ("", ".i", ".v")]
    given_all = {"input": sf.SpikeTrain.from_dense(raster)}
    run = sf.Emulator(program).run(given_all, len(raster), record=names)
    sizes = {p.name: p.size for p in network.populations}
    return [
        run.state[n][0] if "." in n else run.spikes[n].to_dense(len(raster), sizes[n])
        for n in names
    ]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_every_current_potential_and_spike_is_xylos(seed):
    rng = np.random.default_rng(seed)
    spec, events = drawn(rng), int(rng.choice([1, 2, 15]))
    raster = rng.integers(0, events + 1, (STEPS, 6))
    raster[rng.random(STEPS) < 0.3] = 0
    raster[rng.random(STEPS) < 0.2] = events
    try:
        found = compared(spec, events, raster)
    except sf.SpikefabError as refused:
        assume("Xylo saturates" not in str(refused))  # what is refused is no matter here
        raise
    for ours, theirs in zip(found, simulated(spec, raster), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def one(weights, dash=3, shift=0, **changed):
    """A hidden neuron with an input line per weight, which never fires."""
    spec = {"weights_in": np.array(weights)[:, None], "weights_out": np.ones((1, 1), int),
            "dash_syn": dash, "dash_mem": 2, "dash_syn_out": 1, "dash_mem_out": 1,
            "threshold": TOP, "threshold_out": 5, "weight_shift_in": shift}  # fmt: skip
    return spec | changed


@given(
    st.lists(st.integers(0, 127), min_size=1, max_size=3), st.sampled_from([1, -1]),
    st.integers(0, 4), st.integers(0, 4), st.integers(1, 15),
)  # fmt: skip
@settings(deadline=None)
def test_a_network_is_refused_if_and_only_if_its_current_can_saturate(
    weights, sign, dash, shift, events
):
    spec = one([sign * w for w in weights], dash, shift)
    i, peak = np.int64(0), 0
    for _ in range(400):
        i += sum(spec["weights_in"][:, 0] << shift) * events
        peak = max(peak, i, key=abs)
        i -= decay(i, dash)
    if -TOP - 1 <= peak <= TOP:
        sf.xylo_network(**spec, events=events)
        return
    with pytest.raises(sf.SpikefabError, match=f"a synaptic current of {peak} in hidden neuron 0"):
        sf.xylo_network(**spec, events=events)


def test_a_neuron_that_cannot_fire_often_gives_little():
    spec = one([10], weights_rec=np.array([[127]]), weight_shift_rec=1)
    sf.xylo_network(**spec, events=1)
    with pytest.raises(sf.SpikefabError, match="a synaptic current of 63072 in hidden neuron 0"):
        sf.xylo_network(**spec | {"threshold": 1}, events=1)


def test_a_change_of_potential_that_could_saturate_is_refused():
    spec = one([127], dash=4, shift=4, dash_mem=0)
    sf.xylo_network(**spec, bias=-2000, events=1)
    with pytest.raises(sf.SpikefabError, match="a change of potential of 33480 in hidden neuron 0"):
        sf.xylo_network(**spec, bias=-3000, events=1)


def test_fewer_hidden_neurons_in_and_out_and_an_unused_second_synapse_are_rockpools():
    rng = np.random.default_rng(3)
    spec = drawn(rng)
    wide = {k: np.stack([spec[k], 0 * spec[k]], axis=2) for k in ("weights_in", "weights_rec")}
    wide["weights_in"], narrow = wide["weights_in"][:, :4], spec["weights_in"].copy()
    wide["weights_out"], part = spec["weights_out"][2:], spec["weights_out"].copy()
    narrow[:, 4], part[:2] = 0, 0
    full = sf.xylo_network(**spec | {"weights_in": narrow, "weights_out": part}, events=1)
    same = sf.xylo_network(**spec | wide, dash_syn_2=np.ones(5, int), aliases=[[]] * 5, events=1)
    for a, b in zip(full.projections, same.projections, strict=True):
        assert (a.source, a.target, a.delay) == (b.source, b.target, b.delay)
        for field in ("source", "target", "weight"):
            np.testing.assert_array_equal(
                getattr(a.connections, field), getattr(b.connections, field)
            )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weights_in": [[1.5]]}, "'weights_in' of type float64 in the network: Xylo takes"),
        ({"weights_in": [[128]]}, "'weights_in' = 128..128 in the network: Xylo has -128..127"),
        ({"weights_in": [1]}, "'weights_in' of shape .1,. in the network"),
        ({"weights_in": [[[1, 2]]]}, "a second synapse of a neuron is not supported"),
        ({"weights_out": [[1], [1]]}, "'weights_out' of shape .2, 1. in the network: it has 1"),
        ({"weights_rec": [[1, 1]]}, "'weights_rec' of shape .1, 2."),
        ({"dash_syn": 13}, "'dash_syn' = 13..13 in hidden neurons: Spikefab has 0..12"),
        ({"threshold": 0}, "'threshold' = 0..0 in hidden neurons: Xylo has 1..32767"),
        ({"threshold_out": [1, 2]}, "2 values of 'threshold' in output neurons: there are 1"),
        ({"weight_shift_in": 8}, "'weight_shift_in' = 8..8"),
        ({"aliases": [[0]]}, "aliases in hidden neurons: spikes copied to another neuron"),
        ({"events": 16}, "'events' = 16..16 in the input: Xylo has 1..15"),
    ],
)
def test_what_xylo_does_not_take_is_refused(changed, said):
    with pytest.raises(sf.SpikefabError, match=said):
        sf.xylo_network(**one([1]) | changed)


def test_the_limit_of_events_is_said():
    assert "at most 3 events in a step" in sf.xylo_network(**one([1]), events=3).assumptions[0]
