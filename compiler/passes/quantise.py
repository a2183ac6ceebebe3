"""Quantise: weights, thresholds, biases and decays become integers, per target population.

All synapses into a population share one weight LSB. The potential counts finer steps, 2^gain to a
weight LSB, as many as its range leaves room for: that is what keeps decays exact enough. Where
calibration asks for it, neurons of small weights have a weight LSB that is smaller by a power of
two, and a gain that is smaller by its exponent: their potential counts the same steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.chip import ChipSpec
from ..ir.errors import SpikefabError
from ..ir.neuron import MAX_GAIN, Datapath
from ..network import Generated, Population, Projection
from .draft import Draft, Quantised, Range, Scale, Step
from .learn import rule_of

HEADROOM = 1.25  # of a potential's range over what calibration saw
GUESS = 4.0  # of a potential's range over its threshold, where nothing was seen
SAMPLE = 1 << 20  # weights looked at when a scale is chosen
EXACT = 1e-6  # LSB: closer than this to a whole number is one (float32 weights are)


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A population in integers, with the synapses onto it."""

    model: Datapath
    state_bits: int
    scale: Scale
    parameters: dict[str, NDArray[np.int32]]
    initial: dict[str, NDArray[np.int32]]
    weights: tuple[Quantised, ...]


def quantise(
    draft: Draft,
    ranges: Mapping[str, Range] | None = None,
    steps: Mapping[str, Step] | None = None,
) -> Draft:
    """Choose scales and round.

    ranges: what a float run of calibration data has seen; steps: weight LSB of those populations
    for which it is chosen already.
    """
    network = draft.network
    layers = {
        p.name: quantised(draft, p, (ranges or {}).get(p.name), (steps or {}).get(p.name))
        for p in network.populations
    }
    of = {id(q.projection): q for layer in layers.values() for q in layer.weights}
    models = {name: layer.model for name, layer in layers.items()}
    carried = _carrying(draft, models)
    result = dataclasses.replace(
        draft,
        chip=carried,
        models=models,
        scales={name: layer.scale for name, layer in layers.items()},
        parameters={name: layer.parameters for name, layer in layers.items()},
        initial={name: layer.initial for name, layer in layers.items()},
        weights=tuple(of[id(x)] for x in network.projections),
    )
    check(result)
    return result


def _carrying(draft: Draft, models: Mapping[str, Datapath]) -> ChipSpec:
    """The draft's chip with what the network uses, where it does not say what it carries."""
    chip = draft.chip
    if chip.models:
        return chip
    learning = [x.plasticity for x in draft.network.projections if x.plasticity is not None]
    return chip.carrying(models.values(), (rule_of(draft, p) for p in learning))


def quantised(
    draft: Draft, p: Population, seen: Range | None = None, step: Step | None = None
) -> Layer:
    """One population in integers; `step`: its weight LSB, by default exact or of least error."""
    chip = draft.chip
    model = p.model.datapath(chip.state_bits, chip.accumulator_bits, p.options)
    into = [x for x in draft.network.projections if x.target == p.name]
    scale = _scale(draft, p, model, into, seen, step)
    bits = draft.weight_bits[p.name]
    return Layer(
        model,
        chip.state_bits,
        scale,
        _parameters(p, model, scale, chip.state_bits),
        _initial(p, model, scale, chip.state_bits),
        tuple(Quantised(x, _rounded(x, scale, bits)) for x in into),
    )


def check(draft: Draft) -> None:
    """Raise SpikefabError unless all parameters and weights lie in their formats."""
    for p in draft.network.populations:
        for name, values in draft.parameters[p.name].items():
            lo, hi = draft.models[p.name].parameters[name]
            if values.min() < lo or values.max() > hi:
                worst = int(values.max() if values.max() > hi else values.min())
                counts = draft.models[p.name].units[name] != "potential"
                lsb = "" if counts else f" at {draft.scales[p.name].lsb:.3g} per LSB"
                raise SpikefabError(
                    f"'{name}' becomes {worst}", f"population '{p.name}'",
                    f"outside {lo}..{hi}{lsb}",
                )  # fmt: skip
    for q in draft.weights:
        c = q.connections
        if isinstance(c, Generated):
            continue
        weight = c if isinstance(c, np.ndarray) else c.weight
        bits = draft.weight_bits[q.projection.target]
        largest = (1 << (bits - 1)) - 1
        if weight.dtype.kind not in "iu" or (
            weight.size and max(int(weight.max()), -int(weight.min()) - 1) > largest
        ):
            raise SpikefabError(
                f"weights beyond {bits} bits",
                f"projection '{q.projection.source}' to '{q.projection.target}'",
                f"{int(weight.min())}..{int(weight.max())}",
            )


def _weights_of(projection: Projection) -> tuple[NDArray[Any], float | None]:
    """Weights of a projection and their scale; generated ones are not looked at."""
    c = projection.connections
    if isinstance(c, Generated):
        return np.zeros(0, np.int8), c.scale
    if isinstance(c, np.ndarray):
        return c.ravel(), None
    return c.weight, c.scale


def _scale(
    draft: Draft,
    p: Population,
    model: Datapath,
    into: Sequence[Projection],
    seen: Range | None,
    chosen: Step | None,
) -> Scale:
    limit = (1 << (draft.chip.state_bits - 1)) - 1
    finer = "gain" in model.units.values() and (model.spikes or seen is not None)
    largest = (1 << (draft.weight_bits[p.name] - 1)) - 1
    reach = _reach(p, seen)
    given = [_weights_of(x) for x in into]
    scales = {scale for _, scale in given}
    if len(scales) == 1 and None not in scales:
        step = float(next(iter(scales)) or 1.0)
        gain = _gain(p, reach / step, limit) if finer else 0
        return Scale(step, step / 2**gain, gain, True, 0.0, 0.0)
    sampled, target = _sample(into)
    if not len(sampled):
        constants = np.concatenate([*_constants(p), np.zeros(1)])
        constants = constants[constants != 0]
        if not len(constants):
            return Scale(1.0, 1.0, 0, True, 0.0, 0.0)
        top = float(np.abs(constants).max())
        step, _ = _step(constants, top, top, int(limit / GUESS))
        return Scale(step, step, 0, True, 0.0, 0.0)
    high, tops = _greatest(p, into)
    top = float(tops.max())
    step, exact = (chosen.weight_lsb, False) if chosen else _step(sampled, top, high, largest)
    weights = float(np.abs(_weight_limits(into)).max(initial=0))
    coarsest = max(_bounded_reach(p, seen) / limit, weights / largest)
    if step < coarsest:
        step, exact = coarsest, False
    gain = _gain(p, reach / step, limit) if finer else 0
    smaller = np.zeros(1, np.int32)
    factor: NDArray[np.float64] | float = 1.0
    if chosen and chosen.by_neuron:
        halvings = np.log2(top / np.where(tops > 0, tops, top))
        smaller = np.clip(np.floor(halvings), 0, gain).astype(np.int32)
        factor = 2.0 ** smaller[target]
    asked = np.rint(sampled * factor / step)
    rounded = np.clip(asked, -largest - 1, largest)
    difference = rounded * step / factor - sampled
    error = float(np.sqrt(np.mean(difference**2) / np.mean(sampled**2)))
    clipped = float(np.mean(rounded != asked))
    return Scale(step, step / 2**gain, gain, exact, error, clipped, smaller)


def _weight_limits(into: Sequence[Projection]) -> NDArray[np.float64]:
    """Limits, other than 0, that are given for plastic weights, in the network's units."""
    given = [x.plasticity.limits.values() for x in into if x.plasticity is not None]
    return np.array([limit for limits in given for limit in limits if limit], np.float64)


def _sample(into: Sequence[Projection]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Some weights that are not 0, in the network's units, and their targets."""
    limits = _weight_limits(into)
    weights, targets = [limits], [np.zeros(len(limits), np.int64)]
    for x in into:
        c, (weight, scale) = x.connections, _weights_of(x)
        chosen = np.arange(0, len(weight), max(1, len(weight) // SAMPLE))
        some = weight[chosen] * np.float64(1.0 if scale is None else scale)
        if isinstance(c, np.ndarray):
            target: NDArray[Any] = chosen % c.shape[1]
        else:
            target = np.zeros(0, np.int64) if isinstance(c, Generated) else c.target[chosen]
        weights.append(some[some != 0])
        targets.append(target[some != 0])
    return np.concatenate(weights), np.concatenate(targets)


def _greatest(p: Population, into: Sequence[Projection]) -> tuple[float, NDArray[np.float64]]:
    """The greatest of all weights, 0 if none is positive, and the greatest magnitude of those into
    each neuron, in the network's units."""
    limits = _weight_limits(into)
    high = float(limits.max(initial=0))
    tops = np.full(p.size, float(np.abs(limits).max(initial=0)))
    for x in into:
        c = x.connections
        if isinstance(c, np.ndarray):
            high = max(high, float(c.max(initial=0)))
            tops = np.maximum(tops, np.abs(c).max(axis=0, initial=0))
        elif not isinstance(c, Generated):
            weight = c.weight * np.float64(1.0 if c.scale is None else c.scale)
            high = max(high, float(weight.max(initial=0)))
            np.maximum.at(tops, c.target, np.abs(weight))
    return high, tops


def _bounded_reach(p: Population, seen: Range | None) -> float:
    """The range that a potential must have at any price: its constants, and what was seen."""
    constants = [1.1 * float(np.abs(values).max()) for values in _constants(p)]
    return max([*constants, seen.potential if seen else 0.0])


def _constants(p: Population) -> list[NDArray[np.float64]]:
    """Parameters and initial values that count as potentials."""
    potentials = [n for n, f in p.model.parameters.items() if f.unit == "potential"]
    found = [p.parameters[n] for n in potentials if n in p.parameters]
    return found + [v for n, v in p.initial.items() if p.model.state[n].unit == "potential"]


def _reach(p: Population, seen: Range | None) -> float:
    """The range that a potential should have, in network units."""
    needed = _bounded_reach(p, None)
    return max(needed, HEADROOM * seen.potential) if seen else GUESS * needed


def _gain(p: Population, steps: float, limit: int) -> int:
    """The one that the population states, else the largest gain at which a range of so many weight
    LSB stays within the potential's."""
    if "gain" in p.parameters:
        return int(p.parameters["gain"][0])
    gain = 0
    while gain < MAX_GAIN and steps * 2 ** (gain + 1) <= limit:
        gain += 1
    return gain


def _step(
    sampled: NDArray[np.float64], top: float, high: float, largest: int
) -> tuple[float, bool]:
    """The weight LSB: one that is exact if there is any, else the one of least square error.

    top, high: the greatest magnitude and the greatest weight; largest: how many LSB a weight may
    have, and one more if negative.
    """
    few = sampled[:: max(1, len(sampled) // 64)]
    for whole in range(largest + 1, 0, -1):
        step = top / whole
        if np.rint(high / step) > largest:
            continue
        if _is_whole(few / step) and _is_whole(sampled / step):
            return step, True
    finest = top / largest
    best = finest, float(np.inf)
    some = sampled[:: max(1, len(sampled) // 65_536)]
    for factor in np.linspace(1.0, 0.3, 36):
        step = finest * float(factor)
        rounded = np.clip(np.rint(some / step), -largest - 1, largest)
        error = float(np.sum((rounded * step - some) ** 2))
        if error < best[1]:
            best = step, error
    return best[0], False


def _is_whole(ratio: NDArray[np.float64]) -> bool:
    """Whether weights that are not 0 are whole numbers of LSB, none of them 0."""
    whole = np.rint(ratio)
    near = np.abs(ratio - whole) < EXACT * np.maximum(1, np.abs(ratio))
    return bool((near & (whole != 0)).all())


def _parameters(
    p: Population, model: Datapath, scale: Scale, state_bits: int
) -> dict[str, NDArray[np.int32]]:
    result = {}
    for name, unit in model.units.items():
        if unit == "gain":
            result[name] = (scale.gain - scale.finer).astype(np.int32)
            continue
        values = p.parameters[name]
        rounded = np.rint(values * p.model.parameters[name].per_unit(scale.lsb, state_bits))
        if unit in ("count", "shift") and (rounded != values).any():
            raise SpikefabError(
                f"'{name}' = {values[rounded != values][0]:g}",
                f"population '{p.name}'",
                "it counts whole steps",
            )
        result[name] = _integers(rounded, f"'{name}'", p.name)
    return result


def _initial(
    p: Population, model: Datapath, scale: Scale, state_bits: int
) -> dict[str, NDArray[np.int32]]:
    result = {}
    for name, (lo, hi) in model.state.items():
        values = p.initial.get(name, np.zeros(1))
        factor = p.model.state[name].per_unit(scale.lsb, state_bits)
        rounded = _integers(np.rint(values * factor), f"initial '{name}'", p.name)
        if rounded.min() < lo or rounded.max() > hi:
            raise SpikefabError(
                f"initial '{name}' becomes {int(rounded.min())}..{int(rounded.max())}",
                f"population '{p.name}'",
                f"outside {lo}..{hi}",
            )
        result[name] = rounded
    return result


def _integers(values: NDArray[np.float64], what: str, name: str) -> NDArray[np.int32]:
    if np.abs(values).max(initial=0) > 2**31 - 1:
        raise SpikefabError(
            f"{what} becomes {np.abs(values).max():g}", f"population '{name}'", "beyond 32 bits"
        )
    return values.astype(np.int32)


def _rounded(projection: Projection, scale: Scale, weight_bits: int) -> Any:
    """The projection's synapses with integer weights."""
    c = projection.connections
    kind = np.int8 if weight_bits <= 8 else np.int16
    low, high = -(1 << (weight_bits - 1)), (1 << (weight_bits - 1)) - 1
    more = 2.0**scale.finer
    if isinstance(c, np.ndarray):
        return np.clip(np.rint(c * more / scale.weight_lsb), low, high).astype(kind)
    if isinstance(c, Generated):
        return c
    if c.scale is not None and c.scale == scale.weight_lsb and not scale.finer.any():
        return c
    factor = (c.scale if c.scale is not None else 1.0) / scale.weight_lsb
    asked = c.weight * factor * (more[c.target] if len(more) > 1 else 1.0)
    weight = np.clip(np.rint(asked), low, high).astype(kind)
    return dataclasses.replace(c, weight=weight, scale=scale.weight_lsb)
