"""The library of learning rules.

Weights count LSB. Traces that hold what they would change count sixteenths of an LSB; levels count
sixty-fourths of 1, which is what an event adds. Fractions count 1/4096; every trace moves once in a
step of its target. Options, fixed when a network is compiled:

- `rounding` of what is added to a weight: `stochastic`, `nearest_even`, `floor`, `toward_zero`.
  With the others, changes of less than half an LSB (or than a whole one) are none at all.
- `pairing`: a spike pairs with `all` before it (its trace adds up), or with the `nearest`.
- `sees`: a spike meets the other side's trace as it is `after` this step, with the other's own
  spike in it, or `before`.
"""

from __future__ import annotations

from typing import Any, cast

from .declared import choice
from .language import Rounding, Value, decay, lift, minimum, saturate, select, shift
from .neuron import COUNT, FRACTION, FRACTION_BITS, Format
from .rule import SIGNAL, TRACE, Learned, LearningRule, fit, learning_rule

LEVEL = Format(bits=8, signed=False, unit="number", fraction=6)
CHANGE = Format(bits=8, unit="weight", fraction=4)
WEIGHT = Format(bits=8, unit="weight")
ONE = 1 << LEVEL.fraction
MOST_LAGS = 16
_KEEP = {"keep_pre": FRACTION, "keep_post": FRACTION}
_PAIR = {**_KEEP, "up": TRACE, "down": TRACE}


def trace(x: Value, keep: Value, event: Value, step: Value | int, pairing: str = "all") -> Value:
    """A trace after this tick: decayed, and with an event raised by `step`, or set to it."""
    kept = decay(x, keep, FRACTION_BITS)
    if choice(pairing, "all", "nearest") == "nearest":
        return select(event, step, kept)
    return fit(kept + select(event, step, 0), x)


def _round(x: Value, bits: int, rounding: str) -> Value:
    chosen = choice(rounding, "stochastic", "nearest_even", "floor", "toward_zero")
    return shift(x, bits, cast(Rounding, chosen))


def _pair(
    pre: Any, post: Any, p: Any, pairing: str, sees: str
) -> tuple[Value, Value, Value]:
    """What pairs of spikes change, in sixteenths of an LSB, and both traces."""
    x = trace(pre.x, p.keep_pre, pre.event, p.up, pairing)
    y = trace(post.y, p.keep_post, post.event, p.down, pairing)
    before = choice(sees, "after", "before") == "before"
    up = select(post.event, pre.x if before else x, 0)
    down = select(pre.event, post.y if before else y, 0)
    return up - down, x, y


@learning_rule(pre={"x": TRACE}, post={"y": TRACE}, parameters=_PAIR)
def stdp(
    pre: Any, post: Any, s: Any, p: Any,
    *, pairing: str = "all", sees: str = "after", rounding: str = "stochastic",
) -> Learned:  # fmt: skip
    """w += x at a post spike, w -= y at a pre spike; x rises by `up`, y by `down`.

    Pair STDP, additive: Song, Miller and Abbott 2000; pairings as Morrison, Diesmann and Gerstner
    2008.
    """
    change, x, y = _pair(pre, post, p, pairing, sees)
    learnt = _round(change, TRACE.fraction, rounding)
    return Learned(w=s.w + learnt, pre={"x": x}, post={"y": y})


@learning_rule(
    pre={"x": COUNT}, post={"y": COUNT},
    parameters={"window_pre": COUNT, "window_post": COUNT, "up": WEIGHT, "down": WEIGHT},
)  # fmt: skip
def window(pre: Any, post: Any, s: Any, p: Any) -> Learned:
    """w += up where a post spike comes 1 to `window_pre` steps after a pre spike, w -= down where a
    pre spike comes 1 to `window_post` steps after a post spike.

    Rectangular-window STDP, as NeuroCoreX has it (Gautam et al. 2025), but without wrapping.
    """

    def left(x: Value, event: Value, length: Value) -> Value:
        return select(event, length, select(x > 0, x - 1, 0))

    up = select(post.event & (pre.x > 0), p.up, 0)
    down = select(pre.event & (post.y > 0), p.down, 0)
    return Learned(
        w=s.w + up - down,
        pre={"x": fit(left(pre.x, pre.event, p.window_pre), pre.x)},
        post={"y": fit(left(post.y, post.event, p.window_post), post.y)},
    )


@learning_rule(
    pre={"past": Format(bits=MOST_LAGS, signed=False, unit="number")},
    state={"age": Format(limits=(0, MOST_LAGS), unit="number")},
    parameters={
        f"{kind}_{k}": Format(bits=16, unit="weight")
        for kind in ("up", "down")
        for k in range(1, MOST_LAGS + 1)
    },
)  # fmt: skip
def lags(
    pre: Any, post: Any, s: Any, p: Any, *, steps: str = "1", down: str = "yes"
) -> Learned:
    """In every step and for each lag k of 1..`steps`: w += up_k where the post neuron spikes now
    and the pre neuron did k steps before, else w += down_k, from step k on.

    The lag tables of SuperNeuroMAT (Date et al. 2023). A spike arrives, at the synapse's delay of a
    step, at lag 1. With `down` = no, there are no down_k, and no `age`: the steps learnt so far.
    """
    most = int(choice(steps, *map(str, range(1, MOST_LAGS + 1))))
    downs = choice(down, "yes", "no") == "yes"
    recent = pre.past - (shift(pre.past, most - 1) << (most - 1))  # the last spike falls out
    now = fit((recent << 1) + select(pre.event, 1, 0), pre.past)
    change = lift(0)
    for k in range(1, most + 1):
        spiked = shift(now, k - 1) - (shift(now, k) << 1) == 1
        other = select(s.age >= k, getattr(p, f"down_{k}"), 0) if downs else 0
        change = change + select(spiked & post.event, getattr(p, f"up_{k}"), other)
    if not downs:
        return Learned(w=s.w + change, pre={"past": now})
    return Learned(w=s.w + change, pre={"past": now}, age=minimum(s.age + 1, most))


@learning_rule(
    pre={"x": LEVEL, "x_slow": LEVEL}, post={"y": LEVEL, "y_slow": LEVEL},
    parameters={
        **_KEEP, "keep_pre_slow": FRACTION, "keep_post_slow": FRACTION, "up": TRACE, "down": TRACE,
        "up_triplet": TRACE, "down_triplet": TRACE,
    },
)  # fmt: skip
def triplet(
    pre: Any, post: Any, s: Any, p: Any, *, pairing: str = "all", rounding: str = "stochastic"
) -> Learned:
    """w += x (up + up_triplet y_slow) at a post spike, w -= y (down + down_triplet x_slow) at a pre
    spike; slow traces as they are before this step.

    Triplet STDP: Pfister and Gerstner 2006, r1, r2 being x, x_slow and o1, o2 being y, y_slow.
    """
    x = trace(pre.x, p.keep_pre, pre.event, ONE, pairing)
    y = trace(post.y, p.keep_post, post.event, ONE, pairing)
    x_slow = trace(pre.x_slow, p.keep_pre_slow, pre.event, ONE, pairing)
    y_slow = trace(post.y_slow, p.keep_post_slow, post.event, ONE, pairing)
    bits = LEVEL.fraction
    up = x * (p.up + shift(p.up_triplet * post.y_slow, bits))
    down = y * (p.down + shift(p.down_triplet * pre.x_slow, bits))
    change = select(post.event, up, 0) - select(pre.event, down, 0)
    return Learned(
        w=s.w + _round(change, bits + TRACE.fraction, rounding),
        pre={"x": x, "x_slow": x_slow}, post={"y": y, "y_slow": y_slow},
    )  # fmt: skip


@learning_rule(
    pre={"x": LEVEL}, post={"y": LEVEL},
    parameters={**_KEEP, "up_pre": TRACE, "up_post": TRACE, "offset": LEVEL},
)  # fmt: skip
def symmetric(
    pre: Any, post: Any, s: Any, p: Any, *, pairing: str = "all", rounding: str = "stochastic"
) -> Learned:
    """w += up_pre (x - offset) at a post spike, w += up_post y at a pre spike: either order
    strengthens.

    Symmetric STDP (Hao, Huang, Dong and Xu 2020, who bound it by synaptic scaling); the offset
    weakens the synapses of what was silent (Diehl and Cook 2015).
    """
    x = trace(pre.x, p.keep_pre, pre.event, ONE, pairing)
    y = trace(post.y, p.keep_post, post.event, ONE, pairing)
    at_post = select(post.event, p.up_pre * (x - p.offset), 0)
    change = at_post + select(pre.event, p.up_post * y, 0)
    return Learned(
        w=s.w + _round(change, LEVEL.fraction + TRACE.fraction, rounding),
        pre={"x": x}, post={"y": y},
    )  # fmt: skip


@learning_rule(
    pre={"x": TRACE}, post={"y": TRACE}, state={"e": CHANGE},
    parameters={**_PAIR, "keep_e": FRACTION}, signals={"reward": SIGNAL},
)  # fmt: skip
def reward_stdp(
    pre: Any, post: Any, s: Any, p: Any, g: Any,
    *, pairing: str = "all", sees: str = "after", rounding: str = "stochastic",
) -> Learned:  # fmt: skip
    """e = keep_e e + what pair STDP would change; w += reward e, a reward of 64 counting 1.

    Reward-modulated STDP with an eligibility trace: Izhikevich 2007; three-factor rules: Fremaux
    and Gerstner 2016.
    """
    change, x, y = _pair(pre, post, p, pairing, sees)
    e = fit(decay(s.e, p.keep_e, FRACTION_BITS) + change, s.e)
    learnt = _round(e * g.reward, CHANGE.fraction + LEVEL.fraction, rounding)
    return Learned(w=s.w + learnt, pre={"x": x}, post={"y": y}, e=e)


@learning_rule(
    pre={"x": TRACE}, post={"y": TRACE}, parameters=_PAIR, signals={"gain": SIGNAL}
)
def gain_stdp(
    pre: Any, post: Any, s: Any, p: Any, g: Any,
    *, pairing: str = "all", sees: str = "after", rounding: str = "stochastic",
) -> Learned:  # fmt: skip
    """Pair STDP times 1 + gain / 64, the gain being a signal for all synapses.

    As an astrocyte's calcium scales the plasticity of its synapses (De Pitta, Brunel and Volterra
    2016).
    """
    change, x, y = _pair(pre, post, p, pairing, sees)
    scaled = change * (saturate(g.gain + ONE, 8, signed=False))
    learnt = _round(scaled, TRACE.fraction + LEVEL.fraction, rounding)
    return Learned(w=s.w + learnt, pre={"x": x}, post={"y": y})


@learning_rule(
    pre={"x": TRACE}, post={"y": LEVEL}, parameters={**_KEEP, "up": TRACE, "forget": FRACTION}
)
def oja(
    pre: Any, post: Any, s: Any, p: Any, *, pairing: str = "all", rounding: str = "stochastic"
) -> Learned:
    """w += x - forget y w at a post spike: the norm of a neuron's weights stays bounded.

    Oja 1982, at spikes, with traces for rates.
    """
    x = trace(pre.x, p.keep_pre, pre.event, p.up, pairing)
    y = trace(post.y, p.keep_post, post.event, ONE, pairing)
    bits = LEVEL.fraction + FRACTION_BITS
    change = (x << (bits - TRACE.fraction)) - s.w * y * p.forget
    return Learned(
        w=s.w + select(post.event, _round(change, bits, rounding), 0),
        pre={"x": x}, post={"y": y},
    )  # fmt: skip


@learning_rule(pre={"x": TRACE}, parameters={"keep_pre": FRACTION, "up": TRACE})
def hebbian(
    pre: Any, post: Any, s: Any, p: Any,
    *, sign: str = "plus", pairing: str = "all", rounding: str = "stochastic",
) -> Learned:  # fmt: skip
    """w += x at a post spike; with `sign` = minus, w -= x: anti-Hebbian.

    Hebb 1949; anti-Hebbian: Foldiak 1990.
    """
    x = trace(pre.x, p.keep_pre, pre.event, p.up, pairing)
    change = select(post.event, _round(x, TRACE.fraction, rounding), 0)
    return Learned(
        w=s.w + change if choice(sign, "plus", "minus") == "plus" else s.w - change, pre={"x": x}
    )


@learning_rule(
    post={"y": LEVEL}, held={"target": LEVEL},
    parameters={"keep_post": FRACTION, "rate": TRACE},
)  # fmt: skip
def delta(
    pre: Any, post: Any, s: Any, p: Any, *, rounding: str = "stochastic"
) -> Learned:
    """w += rate (target - y) at a pre spike: the host writes a target for each neuron's trace.

    The delta rule (Widrow and Hoff 1960), with a trace of the neuron's spikes for its output.
    """
    y = trace(post.y, p.keep_post, post.event, ONE)
    change = _round((post.target - y) * p.rate, LEVEL.fraction + TRACE.fraction, rounding)
    return Learned(w=s.w + select(pre.event, change, 0), post={"y": y})


RULES: dict[str, LearningRule] = {
    r.name: r
    for r in (
        stdp, window, lags, triplet, symmetric, reward_stdp, gain_stdp, oja, hebbian, delta,
    )
}  # fmt: skip
