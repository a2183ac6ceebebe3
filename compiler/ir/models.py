"""The library of neuron models.

Potentials and currents count LSB of the population; fractions count 1/4096; every update is one
step of the network. Options, fixed when a network is compiled:

- `leak`: `multiply` (v keep / 4096), `shift` (v - v / 2^leak_shift); both round toward zero.
- `fires`: `>` or `>=` the threshold.
- `reset`: to `value` (v_reset), or `subtract` the threshold.
- `reset_at`: `now`, in the step of the spike; `before`, in the next step before its decay;
  `after`, in the next step after decay and input, so a reset to a value loses that input.
- `refractory`: `none`; `hold`, v holds and input is lost; `integrate`, v goes on, spikes do not.
- `sees` (current-based models): v integrates the `new` current of this step, or the `old` one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .language import Value, decay, maximum, saturate, select, shift
from .neuron import (
    COUNT,
    FRACTION,
    FRACTION_BITS,
    GAIN,
    POTENTIAL,
    SHIFT,
    NeuronModel,
    Update,
    choice,
    neuron_model,
)

_FIRING = {"threshold": POTENTIAL, "v_reset": POTENTIAL, "refractory_period": COUNT}
_MEMBRANE = {"keep": FRACTION, "leak_shift": SHIFT, "gain": GAIN, "bias": POTENTIAL}
_SYNAPSE = {"keep_i": FRACTION, "leak_shift_i": SHIFT, "bias_i": POTENTIAL}


def leaked(x: Value, keep: Value, leak_shift: Value, leak: str) -> Value:
    """What is left of `x` after one step of exponential decay."""
    if choice(leak, "multiply", "shift") == "multiply":
        return decay(x, keep, FRACTION_BITS)
    return shift((x << leak_shift) - x, leak_shift, "toward_zero")


def fire(
    s: Any, p: Any, integrate: Callable[[Value], Value], o: dict[str, str], **state: Value
) -> Update:
    """Threshold, reset and refractory period around `integrate`, the new potential from the old."""
    subtract = choice(o["reset"], "value", "subtract") == "subtract"
    choice(o["reset_at"], "now", "before", "after")
    choice(o["fires"], ">", ">=")

    def above(v: Value) -> Value:
        return v > p.threshold if o["fires"] == ">" else v >= p.threshold

    def reset(v: Value) -> Value:
        return v - p.threshold if subtract else p.v_reset

    v = s.v
    if o["reset_at"] == "before":
        v = saturate(select(above(s.v), reset(v), v), s.v.bits)
    v = integrate(v)
    if o["reset_at"] == "after":
        v = select(above(s.v), reset(v), v)
    v = saturate(v, s.v.bits)
    fired = above(v)
    if choice(o["refractory"], "none", "hold", "integrate") != "none":
        ready = s.refractory == 0
        fired = ready & fired
        v = select(ready, v, s.v) if o["refractory"] == "hold" else v
        state["refractory"] = select(
            fired, p.refractory_period, maximum(s.refractory, 1) - 1
        )
    if o["reset_at"] == "now":
        v = saturate(select(fired, reset(v), v), s.v.bits)
    return Update(spike=fired, v=v, **state)


@neuron_model(
    name="if", state={"v": POTENTIAL, "refractory": COUNT}, parameters={**_MEMBRANE, **_FIRING}
)
def integrate_and_fire(
    s: Any,
    p: Any,
    current: Value,
    *,
    fires: str = ">=",
    reset: str = "value",
    reset_at: str = "now",
    refractory: str = "none",
) -> Update:
    """v += current."""
    o = {"fires": fires, "reset": reset, "reset_at": reset_at, "refractory": refractory}
    return fire(s, p, lambda v: v + (current << p.gain) + p.bias, o)


@neuron_model(state={"v": POTENTIAL, "refractory": COUNT}, parameters={**_MEMBRANE, **_FIRING})
def lif(
    s: Any,
    p: Any,
    current: Value,
    *,
    leak: str = "multiply",
    fires: str = ">=",
    reset: str = "value",
    reset_at: str = "now",
    refractory: str = "none",
) -> Update:
    """v = keep v + current + bias."""
    o = {"fires": fires, "reset": reset, "reset_at": reset_at, "refractory": refractory}

    def integrate(v: Value) -> Value:
        return leaked(v, p.keep, p.leak_shift, leak) + (current << p.gain) + p.bias

    return fire(s, p, integrate, o)


def synaptic_current(s: Any, p: Any, current: Value, leak: str) -> Value:
    """i = keep_i i + current + bias_i."""
    i = leaked(s.i, p.keep_i, p.leak_shift_i, leak) + (current << p.gain) + p.bias_i
    return saturate(i, s.i.bits)


@neuron_model(
    state={"v": POTENTIAL, "i": POTENTIAL, "refractory": COUNT},
    parameters={**_MEMBRANE, **_SYNAPSE, **_FIRING},
)
def cubalif(
    s: Any,
    p: Any,
    current: Value,
    *,
    leak: str = "multiply",
    sees: str = "new",
    fires: str = ">=",
    reset: str = "value",
    reset_at: str = "now",
    refractory: str = "none",
) -> Update:
    """i = keep_i i + current + bias_i; v = keep v + i + bias."""
    o = {"fires": fires, "reset": reset, "reset_at": reset_at, "refractory": refractory}
    i = synaptic_current(s, p, current, leak)
    drive = i if choice(sees, "new", "old") == "new" else s.i

    def integrate(v: Value) -> Value:
        return leaked(v, p.keep, p.leak_shift, leak) + drive + p.bias

    return fire(s, p, integrate, o, i=i)


@neuron_model(state={"v": POTENTIAL}, parameters=_MEMBRANE)
def li(s: Any, p: Any, current: Value, *, leak: str = "multiply") -> Update:
    """v = keep v + current + bias, read out."""
    v = leaked(s.v, p.keep, p.leak_shift, leak) + (current << p.gain) + p.bias
    v = saturate(v, s.v.bits)
    return Update(value=v, v=v)


@neuron_model(state={"v": POTENTIAL, "i": POTENTIAL}, parameters={**_MEMBRANE, **_SYNAPSE})
def cubali(
    s: Any, p: Any, current: Value, *, leak: str = "multiply", sees: str = "new"
) -> Update:
    """i = keep_i i + current + bias_i; v = keep v + i + bias, read out."""
    i = synaptic_current(s, p, current, leak)
    drive = i if choice(sees, "new", "old") == "new" else s.i
    v = saturate(leaked(s.v, p.keep, p.leak_shift, leak) + drive + p.bias, s.v.bits)
    return Update(value=v, v=v, i=i)


LIBRARY: dict[str, NeuronModel] = {
    m.name: m for m in (integrate_and_fire, lif, cubalif, li, cubali)
}
