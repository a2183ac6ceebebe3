"""The library of neuron models.

Potentials and currents count LSB of the population; fractions count 1/4096; every update is one
step of the network. Options, fixed when a network is compiled:

- `leak`: what is left of v: `multiply` (v keep / 4096); `shift` (v - v / 2^leak_shift, the result
  rounded); `loss` (what is lost, v / 2^leak_shift, is rounded down); `least_loss` (the same, but at
  least 1 in magnitude while v is not 0); `linear` (v goes by `leak_step` toward `v_rest`, and stays
  there). A synaptic current goes toward 0.
- `rounding` of what is left, of `multiply` and `shift`: `toward_zero` or `floor`.
- `leak_at`: what the input goes into (v, or a synaptic current) leaks `before` it is added, or
  `after`, and the input with it.
- `fires`: `>` or `>=` the threshold.
- `count_bits`: a spike carries a count of so many bits: how many thresholds fit into v, as far as
  that can count. With `1`, one.
- `reset`: to `value` (v_reset), or `subtract` the threshold, as often as the neuron fires.
- `reset_at`: `now`, in the step of the spike; `before`, in the next step before its decay;
  `after`, in the next step after decay and input, so a reset to a value loses that input; `old`:
  the potential of the step before fires and is reset, then follow decay and input.
- `refractory`: `none`; `hold`, v holds and input is lost; `discard`, v decays and input is lost;
  `integrate`, v goes on; in all of them, spikes are suppressed.
- `floor`: `none`, or `value`: v never ends a step below `v_floor`.
- `sees` (current-based models): v integrates the `new` current of this step, or the `old` one.
- `overflow` of a synaptic current: `saturate`, or `wrap`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from .declared import choice
from .language import (
    Rounding,
    Value,
    decay,
    lift,
    maximum,
    minimum,
    saturate,
    select,
    shift,
    wrap,
)
from .neuron import (
    COUNT,
    CURVATURE,
    CURVATURE_BITS,
    FRACTION,
    FRACTION_BITS,
    GAIN,
    LENGTH,
    POTENTIAL,
    SHIFT,
    Format,
    NeuronModel,
    Update,
    neuron_model,
)

_FIRING = {
    "threshold": POTENTIAL, "v_reset": POTENTIAL, "v_floor": POTENTIAL, "refractory_period": COUNT,
}  # fmt: skip
_INPUT = {"gain": GAIN, "bias": POTENTIAL}
_LEAK = {"keep": FRACTION, "leak_shift": SHIFT, "leak_step": LENGTH, "v_rest": POTENTIAL}
_SYNAPSE = {
    "keep_i": FRACTION, "leak_shift_i": SHIFT, "leak_step_i": LENGTH, "bias_i": POTENTIAL,
}  # fmt: skip
_RECOVERY = Format(fraction=8)
_RATE = Format(bits=15, signed=False, unit="number", fraction=16)
_COUPLING = Format(bits=16, unit="number", fraction=14)
_LEAKS = ("multiply", "shift", "loss", "least_loss", "linear")


def leaked(x: Value, p: Any, o: dict[str, str], suffix: str = "") -> Value:
    """What is left of `x` after one step of leak; suffix: of the parameters that tell how much."""

    def parameter(name: str) -> Value:
        return cast(Value, getattr(p, name + suffix))

    leak = choice(o["leak"], *_LEAKS)
    rounding = cast(Rounding, choice(o["rounding"], "toward_zero", "floor"))
    if leak == "multiply":
        return decay(x, parameter("keep"), FRACTION_BITS, rounding)
    if leak == "shift":
        k = parameter("leak_shift")
        return shift((x << k) - x, k, rounding)
    if leak == "linear":
        step, rest = parameter("leak_step"), 0 if suffix else p.v_rest
        return select(x > rest, maximum(x - step, rest), minimum(x + step, rest))
    lost = shift(x, parameter("leak_shift"), "floor")
    if leak == "least_loss":  # below 0 it is at least 1 anyway
        lost = select(x > 0, maximum(lost, 1), lost)
    return x - lost


def charged(x: Value, drive: Value, p: Any, o: dict[str, str], suffix: str = "") -> Value:
    """`x` after leak and input."""
    if choice(o["leak_at"], "before", "after") == "after":
        return leaked(x + drive, p, o, suffix)
    return leaked(x, p, o, suffix) + drive


def fire(
    s: Any, p: Any, step: Callable[[Value, Value], Value], drive: Value, o: dict[str, str],
    level: Value | None = None, **state: Value,
) -> Update:  # fmt: skip
    """Threshold, reset and refractory period around v = step(v, drive) + bias.

    level: what v has to reach and what `subtract` takes off, the threshold if left out.
    """
    threshold = p.threshold if level is None else level
    subtract = choice(o["reset"], "value", "subtract") == "subtract"
    at = choice(o["reset_at"], "now", "before", "after", "old")
    refractory = choice(o["refractory"], "none", "hold", "discard", "integrate")
    choice(o["fires"], ">", ">=")
    bits = int(choice(o["count_bits"], *map(str, range(1, 9))))

    def above(v: Value, level: Value) -> Value:
        return v > level if o["fires"] == ">" else v >= level

    def fired(v: Value) -> tuple[Value, Value]:
        """(whether it spikes or how often, thresholds that go), by restoring division."""
        if bits == 1:
            return above(v, threshold), threshold
        count, rest = lift(0), v
        for bit in reversed(range(bits)):
            more = above(rest, threshold << bit)
            count += select(more, 1 << bit, 0)
            rest = select(more, rest - (threshold << bit), rest)
        return count, v - rest

    def some(count: Value) -> Value:
        return count if count.boolean else count > 0

    def reset(v: Value, count: Value, spent: Value) -> Value:
        return select(some(count), v - spent if subtract else p.v_reset, v)

    ready = s.refractory == 0 if refractory != "none" else None

    def allowed(count: Value) -> Value:
        if ready is None:
            return count
        return ready & count if count.boolean else select(ready, count, 0)

    v = s.v
    if at in ("before", "old"):
        spikes, spent = fired(s.v)
        spikes = allowed(spikes) if at == "old" else spikes
        v = saturate(reset(s.v, spikes, spent), s.v.bits)
    taken = select(ready, drive, 0) if ready is not None and refractory == "discard" else drive
    v = step(v, taken) + p.bias
    if at == "after":
        v = reset(v, *fired(s.v))
    v = saturate(v, s.v.bits)
    if at != "old":
        spikes, spent = fired(v)
        spikes = allowed(spikes)
    if ready is not None:
        v = select(ready, v, s.v) if refractory == "hold" else v
        waited = maximum(s.refractory, 1) - 1
        state["refractory"] = select(some(spikes), p.refractory_period, waited)
    if at == "now":
        v = saturate(reset(v, spikes, spent), s.v.bits)
    if choice(o["floor"], "none", "value") == "value":
        v = maximum(v, p.v_floor)
    return Update(spike=spikes, v=v, **state)


@neuron_model(
    name="if",
    state={"v": POTENTIAL, "refractory": COUNT},
    parameters={**_INPUT, **_FIRING},
)
def integrate_and_fire(
    s: Any,
    p: Any,
    current: Value,
    *,
    fires: str = ">=",
    count_bits: str = "1",
    reset: str = "value",
    reset_at: str = "now",
    refractory: str = "none",
    floor: str = "none",
) -> Update:
    """v += current."""
    o = _chosen(locals())
    return fire(s, p, lambda v, drive: v + drive, current << p.gain, o)


@neuron_model(
    state={"v": POTENTIAL, "refractory": COUNT}, parameters={**_INPUT, **_LEAK, **_FIRING}
)
def lif(
    s: Any,
    p: Any,
    current: Value,
    *,
    leak: str = "multiply",
    rounding: str = "toward_zero",
    leak_at: str = "before",
    fires: str = ">=",
    count_bits: str = "1",
    reset: str = "value",
    reset_at: str = "now",
    refractory: str = "none",
    floor: str = "none",
) -> Update:
    """v = keep v + current + bias."""
    o = _chosen(locals())
    return fire(s, p, lambda v, drive: charged(v, drive, p, o), current << p.gain, o)


@neuron_model(
    state={"v": POTENTIAL, "a": POTENTIAL, "refractory": COUNT},
    parameters={
        **_INPUT, "keep": FRACTION, **_FIRING, "keep_a": FRACTION, "step_a": POTENTIAL,
    },
)  # fmt: skip
def alif(
    s: Any,
    p: Any,
    current: Value,
    *,
    fires: str = ">=",
    reset: str = "value",
    refractory: str = "none",
    floor: str = "none",
) -> Update:
    """v = keep v + current + bias; the threshold is `threshold` + a, a = keep_a a + step_a spike.

    With `subtract`, that threshold is taken off. Bellec et al. 2018 (LSNN); with `value`, the
    homeostasis of Diehl and Cook 2015.
    """
    fixed = {"leak": "multiply", "rounding": "toward_zero", "leak_at": "before"}
    o = {**_chosen(locals()), **fixed, "count_bits": "1", "reset_at": "now"}
    made = fire(
        s, p, lambda v, drive: charged(v, drive, p, o), current << p.gain, o, p.threshold + s.a
    )
    risen = select(cast(Value, made.spike), p.step_a, 0)
    made.state["a"] = saturate(decay(s.a, p.keep_a, FRACTION_BITS) + risen, s.a.bits)
    return made


@neuron_model(
    state={"v": POTENTIAL, "u": _RECOVERY},
    parameters={
        **_INPUT, "threshold": POTENTIAL, "v_reset": POTENTIAL, "curvature": CURVATURE,
        "v_mid": POTENTIAL, "rate_u": _RATE, "coupling": _COUPLING, "step_u": POTENTIAL,
    },
)  # fmt: skip
def izhikevich(s: Any, p: Any, current: Value) -> Update:
    """v = v + curvature (v - v_mid)^2 - u + current + bias; u = u + rate_u (coupling v - u), both
    by the values before; at the threshold v = v_reset, u = u + step_u.

    Izhikevich 2003 by Euler's method, u being a step's share of the paper's.
    """
    bits, fine, number = s.v.bits, s.u.bits - s.v.bits, 12
    away = saturate(s.v - p.v_mid, bits)
    slope = saturate(shift(away * p.curvature, bits + CURVATURE_BITS - number), 16)
    u = shift(s.u, fine)
    v = s.v + shift(slope * away, number) + (current << p.gain) + p.bias - u
    v = saturate(v, bits)
    spikes = v >= p.threshold
    pulled = saturate(shift(s.v * p.coupling, _COUPLING.fraction) - u, bits)
    moved = s.u + shift(pulled * p.rate_u, _RATE.fraction - fine)
    return Update(
        spike=spikes, v=select(spikes, p.v_reset, v),
        u=saturate(moved + select(spikes, p.step_u << fine, 0), s.u.bits),
    )  # fmt: skip


def synaptic_current(s: Any, p: Any, current: Value, o: dict[str, str]) -> Value:
    """i = keep_i i + current + bias_i."""
    i = charged(s.i, current << p.gain, p, o, "_i") + p.bias_i
    if choice(o["overflow"], "saturate", "wrap") == "wrap":
        return wrap(i, s.i.bits)
    return saturate(i, s.i.bits)


@neuron_model(
    state={"v": POTENTIAL, "i": POTENTIAL, "refractory": COUNT},
    parameters={**_INPUT, **_LEAK, **_SYNAPSE, **_FIRING},
)
def cubalif(
    s: Any,
    p: Any,
    current: Value,
    *,
    leak: str = "multiply",
    rounding: str = "toward_zero",
    leak_at: str = "before",
    sees: str = "new",
    overflow: str = "saturate",
    fires: str = ">=",
    count_bits: str = "1",
    reset: str = "value",
    reset_at: str = "now",
    refractory: str = "none",
    floor: str = "none",
) -> Update:
    """i = keep_i i + current + bias_i; v = keep v + i + bias."""
    o = _chosen(locals())
    i = synaptic_current(s, p, current, o)
    drive = i if choice(sees, "new", "old") == "new" else s.i
    return fire(s, p, lambda v, drive: leaked(v, p, o) + drive, drive, o, i=i)


@neuron_model(state={"v": POTENTIAL}, parameters={**_INPUT, **_LEAK})
def li(
    s: Any,
    p: Any,
    current: Value,
    *,
    leak: str = "multiply",
    rounding: str = "toward_zero",
    leak_at: str = "before",
) -> Update:
    """v = keep v + current + bias, read out."""
    v = charged(s.v, current << p.gain, p, _chosen(locals())) + p.bias
    v = saturate(v, s.v.bits)
    return Update(value=v, v=v)


@neuron_model(
    state={"v": POTENTIAL, "i": POTENTIAL}, parameters={**_INPUT, **_LEAK, **_SYNAPSE}
)
def cubali(
    s: Any,
    p: Any,
    current: Value,
    *,
    leak: str = "multiply",
    rounding: str = "toward_zero",
    leak_at: str = "before",
    sees: str = "new",
    overflow: str = "saturate",
) -> Update:
    """i = keep_i i + current + bias_i; v = keep v + i + bias, read out."""
    o = _chosen(locals())
    i = synaptic_current(s, p, current, o)
    drive = i if choice(sees, "new", "old") == "new" else s.i
    v = saturate(leaked(s.v, p, o) + drive + p.bias, s.v.bits)
    return Update(value=v, v=v, i=i)


def _chosen(given: dict[str, Any]) -> dict[str, str]:
    """The options among a model's arguments."""
    return {name: value for name, value in given.items() if isinstance(value, str)}


LIBRARY: dict[str, NeuronModel] = {
    m.name: m for m in (integrate_and_fire, lif, alif, izhikevich, cubalif, li, cubali)
}
