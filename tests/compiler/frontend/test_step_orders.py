"""Brian2's and BindsNET's order of a step, written out here as their loops have it."""

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given
from hypothesis import strategies as st

STEPS, LINES, SIZE = 30, 4, 5
seeds = st.integers(0, 2**32 - 1)


def drawn(seed):
    """Input, weights from inputs and among neurons, and parameters that floats hold exactly."""
    rng = np.random.default_rng(seed)
    raster = (rng.random((STEPS, LINES)) < 0.4).astype(np.int32)
    w, own = (rng.integers(-40, 60, (n, SIZE)) / 4 for n in (LINES, SIZE))
    rest = float(rng.integers(-70, 5))
    above = rng.integers(1, 60, SIZE) / 4
    p = {"keep": rng.choice([0.5, 0.75], SIZE), "rest": rest, "threshold": rest + above}
    return rng, raster, w, own, p


def brian2(raster, w, own, p):
    """Thresholds are tested before the spikes of the step act, resets come after it."""
    v, free, spikes = np.full(SIZE, p["rest"]), np.zeros(SIZE), []
    for given_now in raster:
        ready = free == 0
        v = np.where(ready, p["rest"] + (v - p["rest"]) * p["keep"], v)
        fired = ready & (v > p["threshold"])
        ready &= ~fired if p["refractory"] else True
        v = v + (given_now @ w + fired @ own) * ready
        v = np.where(fired, p["v_reset"], v)
        free = np.where(fired, p["refractory"], free)
        free = np.maximum(free - 1, 0)
        spikes.append(fired)
    return np.array(spikes)


def bindsnet(raster, w, own, p):
    """What was fired in the step before acts between leak and threshold."""
    v, waits, spikes = np.full(SIZE, p["rest"]), np.zeros(SIZE), []
    arriving = np.zeros(SIZE)
    for given_now in raster:
        v = (v - p["rest"]) * p["keep"] + p["rest"] + np.where(waits > 0, 0, arriving)
        waits -= 1
        fired = v >= p["threshold"]
        waits = np.where(fired, p["refractory"], waits)
        v = np.maximum(np.where(fired, p["v_reset"], v), p["bound"])
        arriving = given_now @ w + fired @ own
        spikes.append(fired)
    return np.array(spikes)


def run(make, raster, w, own, **parameters):
    net = sf.Network()
    x, y = net.input("x", LINES), make(net, "y", SIZE, output=True, **parameters)
    net.connect(x, y, w, delay=1)
    net.connect(y, y, own, delay=1)
    return sf.FloatReference(net).run({"x": raster}).spikes["y"][0]


@given(seeds, st.booleans())
def test_spikes_are_those_of_brian2s_step(seed, resets):
    rng, raster, w, own, p = drawn(seed)
    p["refractory"] = 0 if resets else int(rng.integers(0, 4))
    p["v_reset"] = p["rest"] + (rng.integers(-20, 4) / 4 if resets else 0.0)
    found = run(sf.brian2_lif, raster, w, own, keep=p["keep"], threshold=p["threshold"],
                v_rest=p["rest"], v_reset=p["v_reset"], refractory=p["refractory"])  # fmt: skip
    np.testing.assert_array_equal(found, brian2(raster, w, own, p))


@given(seeds)
def test_spikes_are_those_of_bindsnets_step(seed):
    rng, raster, w, own, p = drawn(seed)
    p["refractory"] = int(rng.integers(0, 4))
    p["v_reset"] = p["rest"] - rng.integers(0, 20) / 4
    p["bound"] = p["rest"] - rng.integers(1, 40) / 4
    found = run(sf.bindsnet_lif, raster, w, own, decay=p["keep"], thresh=p["threshold"],
                rest=p["rest"], reset=p["v_reset"], refrac=p["refractory"],
                lbound=p["bound"])  # fmt: skip
    np.testing.assert_array_equal(found, bindsnet(raster, w, own, p))


def test_what_is_not_like_the_simulator_is_refused():
    net = sf.Network()
    with pytest.raises(sf.SpikefabError, match="'a': v leaks from v_reset in the last step only"):
        sf.brian2_lif(net, "a", 2, keep=0.5, threshold=1.0, v_reset=-1.0, refractory=2)
    for period in (0.5, -1):
        with pytest.raises(sf.SpikefabError, match=f"refractory = {period} in population 'a'"):
            sf.brian2_lif(net, "a", 2, keep=0.5, threshold=1.0, refractory=period)
    with pytest.raises(sf.SpikefabError, match="'b': it would spike while it is refractory"):
        sf.bindsnet_lif(net, "b", 2, decay=0.5, thresh=[1.0, -1.0])
