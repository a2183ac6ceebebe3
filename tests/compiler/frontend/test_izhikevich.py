"""Izhikevich's neurons: the published equations in floats, and nearly so in fixed point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given
from hypothesis import strategies as st
from spikefab.compiler.ir.interpret import evaluate
from spikefab.compiler.ir.models import LIBRARY

KINDS = {  # a, b, c, d
    "regular spiking": (0.02, 0.2, -65, 8), "intrinsically bursting": (0.02, 0.2, -55, 4),
    "chattering": (0.02, 0.2, -50, 2), "fast spiking": (0.1, 0.2, -65, 2),
    "low-threshold spiking": (0.02, 0.25, -65, 2), "resonator": (0.1, 0.26, -65, 2),
}  # fmt: skip
STEPS = 1000


def cells(current: float, dt: float) -> tuple[sf.Network, dict[str, sf.SpikeTrain]]:
    """A neuron of each kind with a spike on each in every step, and these spikes."""
    network = sf.Network()
    a, b, c, d = np.array(list(KINDS.values())).T
    neurons = sf.izhikevich(
        network, "cells", len(KINDS), a=a, b=b, c=c, d=d, dt=dt, output=True
    )
    on = network.input("on", 1)
    network.connect(on, neurons, np.full((1, len(KINDS)), current), gain=dt)
    return network, {"on": sf.SpikeTrain.from_dense(np.ones((STEPS, 1), int))}


def published(current: float, dt: float) -> Any:
    """Spikes [steps, neurons] by the equations as they are printed."""
    a, b, c, d = np.array(list(KINDS.values())).T
    v, u, found = c.astype(float), b * c, []
    for _ in range(STEPS):
        rise = 0.04 * v**2 + 5 * v + 140 - u + current
        v, u = v + dt * rise, u + dt * a * (b * v - u)
        found.append(v >= 30)
        v, u = np.where(v >= 30, c, v), u + (v >= 30) * d
    return np.array(found)


@pytest.mark.parametrize("dt", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("current", [4.0, 10.0, 15.0])
def test_spikes_are_those_of_the_equations_or_nearly_as_many(current: float, dt: float) -> None:
    """Some kinds follow every last bit in the long run, so that two ways to compute differ."""
    network, spikes = cells(current, dt)
    expected = published(current, dt)
    exact = sf.FloatReference(network).run(spikes, STEPS).spikes["cells"][0]
    np.testing.assert_array_equal(exact[:200], expected[:200])
    assert (abs(exact.sum(axis=0) - expected.sum(axis=0)) <= 1).all()
    program, _ = sf.compile(network, calibrate=spikes)
    run = sf.Emulator(program).run(spikes, STEPS)
    counts = run.spikes["cells"].to_dense(STEPS, len(KINDS)).sum(axis=0)
    assert (abs(counts - expected.sum(axis=0)) <= 1 + expected.sum(axis=0) // 30).all()


def test_a_constant_current_is_an_input_in_every_step() -> None:
    network, spikes = cells(10.0, 0.5)
    a, b, c, d = np.array(list(KINDS.values())).T
    other = sf.Network()
    sf.izhikevich(other, "cells", len(KINDS), a=a, b=b, c=c, d=d, current=10.0, output=True)
    runs = [
        sf.FloatReference(net).run(given, STEPS).spikes["cells"]
        for net, given in ((network, spikes), (other, {}))
    ]
    np.testing.assert_array_equal(*runs)


@given(
    st.floats(0, 0.4), st.floats(-0.5, 1), st.floats(0.1, 1.0), st.integers(0, 2**32 - 1),
    st.sampled_from([14, 16, 20, 24]),
)  # fmt: skip
def test_a_step_in_fixed_point_is_off_by_little(
    a: float, b: float, dt: float, seed: int, bits: int
) -> None:
    """At 256 mV for the whole range, by some LSB; farther from the middle, by parts of the rise."""
    rng, lsb, model = np.random.default_rng(seed), 256 / 2**bits, LIBRARY["izhikevich"]
    traced = model.datapath(bits, 24)
    v, u = rng.uniform(-90, 29), rng.uniform(-20, 20) * dt
    exact = {
        "curvature": 0.04 * dt, "v_mid": -62.5, "bias": -16.25 * dt, "rate_u": a * dt,
        "coupling": b * dt, "threshold": 30.0, "v_reset": -65.0, "step_u": 8 * dt, "gain": 0,
    }  # fmt: skip
    inputs = {f"parameter.{k}": round(x * model.parameters[k].per_unit(lsb, bits))
              for k, x in exact.items()}  # fmt: skip
    inputs |= {"state.v": round(v / lsb), "state.u": round(u / lsb * 256), "current": 0}
    v, u = inputs["state.v"] * lsb, inputs["state.u"] * lsb / 256
    after = evaluate(traced.outputs, inputs)
    away = v + 62.5
    rise = 0.04 * dt * away**2
    new = v + rise - 16.25 * dt - u
    moved = u + a * dt * (b * dt * v - u)
    near = 4 * lsb + abs(away) / 4096 + rise / inputs["parameter.curvature"]
    if abs(new - 30) > near:
        assert after["spike"] == (new >= 30)
    if after["spike"]:
        new, moved = -65.0, moved + 8 * dt
    assert abs(after["next.v"] * lsb - new) <= near
    assert abs(after["next.u"] * lsb / 256 - moved) <= 2 * lsb + (abs(v) + abs(u)) * 2**-14


@pytest.mark.parametrize("dt", [0.0, -1.0, 1.5, float("nan")])
def test_a_step_that_is_too_long_is_refused(dt: float) -> None:
    with pytest.raises(sf.SpikefabError, match=r"dt .* ms in population 'x': above 0 and at most"):
        sf.izhikevich(sf.Network(), "x", 1, a=0.02, b=0.2, c=-65, d=8, dt=dt)


def test_the_curvature_has_to_be_given() -> None:
    with pytest.raises(sf.SpikefabError, match="no parameter 'curvature' in population 'x'"):
        sf.Network().population("x", 1, "izhikevich", threshold=30.0)
