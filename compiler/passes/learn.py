"""Learn: plastic projections in integers, with the rules of the chip they run on.

A parameter counts what its format says: weights in LSB of the target's synapses, and fractions of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..ir.neuron import FRACTION_BITS
from ..ir.plastic import PlasticProjection
from ..ir.rule import LIMITS, LearningPath
from ..network import Triples
from ..plasticity import Plasticity
from .draft import Draft, Quantised


def learn(
    draft: Draft, begin: Mapping[str, int], first: Mapping[str, int]
) -> tuple[tuple[LearningPath, ...], tuple[PlasticProjection, ...]]:
    """The rules that a draft uses and its plastic projections.

    begin: the first source of each input and population; first: the first neuron of each
    population. Raises SpikefabError for a parameter that its format does not hold.
    """
    assert draft.timing is not None
    found, paths = [], []
    for q, delay in zip(draft.weights, draft.timing.delay, strict=True):
        if q.projection.plasticity is not None:
            path = rule_of(draft, q.projection.plasticity)
            paths.append(path)
            found.append((q, path, delay))
    rules = sorted({path.identity: path for path in paths}.values(), key=lambda r: r.identity)
    numbers = {rule.identity: n for n, rule in enumerate(rules)}
    targets = [p.name for p in draft.network.populations]
    return tuple(rules), tuple(
        _projection(
            draft, q, path, numbers[path.identity], delay, begin[q.projection.source],
            targets.index(q.projection.target), first[q.projection.target],
        )
        for q, path, delay in found
    )  # fmt: skip


def rule_of(draft: Draft, plasticity: Plasticity) -> LearningPath:
    """A rule traced for the draft's chip."""
    return plasticity.rule.path(draft.chip.weight_bits, plasticity.options)


def _projection(
    draft: Draft, q: Quantised, rule: LearningPath, number: int, delay: int, begin: int,
    target: int, first: int,
) -> PlasticProjection:  # fmt: skip
    x = q.projection
    plasticity, where = x.plasticity, f"plastic projection '{x.name}'"
    assert plasticity is not None
    sources, size = draft.network.node(x.source).size, draft.network.node(x.target).size
    source, to, weight = _synapses(q.connections, sources, where)
    rows = np.zeros(sources + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=sources), out=rows[1:])
    lsb = draft.scales[x.target].weight_lsb
    bits = draft.weight_bits[x.target]
    parameters = {
        name: rounded(plasticity.parameters[name], *rule.units[name], lsb)
        for name in rule.parameters
        if name not in LIMITS
    }
    for name, chip_limit in zip(LIMITS, (-(1 << (bits - 1)), (1 << (bits - 1)) - 1), strict=True):
        given = plasticity.limits[name]
        parameters[name] = chip_limit if given is None else rounded(given, "weight", 0, lsb)
        if rule.fixed_limits:
            parameters[name], _ = rule.parameters[name]
    for name, value in parameters.items():
        lo, hi = rule.parameters[name]
        if not lo <= value <= hi:
            given = plasticity.limits[name] if name in LIMITS else plasticity.parameters[name]
            fits = (given or 0.0) * (lo if value < lo else hi) / value
            raise SpikefabError(
                f"'{name}' becomes {value}", where, f"outside {lo}..{hi}, an LSB is {lsb:.3g}",
                f"use {'up to' if value > hi else 'no less than'} {fits:.3g}",
            )  # fmt: skip
    least, most = (parameters[name] for name in LIMITS)
    outside = (weight < least) | (weight > most)
    if outside.any():
        k = int(np.flatnonzero(outside)[0])
        raise SpikefabError(
            f"weight {weight[k] * lsb:g} of '{x.source}[{source[k]}]' to '{x.target}[{to[k]}]'",
            where, f"its limits are {least * lsb:g} and {most * lsb:g}",
        )  # fmt: skip
    held = {name: _held(plasticity, name, rule, size, lsb, where) for name in rule.held}
    return PlasticProjection(
        x.name, begin, sources, target, number, delay, rows, (to + first).astype(np.int32),
        weight.astype(np.int32), parameters, held, plasticity.learning, lsb,
    )  # fmt: skip


def rounded(value: float, unit: str, fraction: int, lsb: float) -> int:
    """A parameter in the integers of its format."""
    if unit == "weight":
        return int(np.rint(value / lsb * (1 << fraction)))
    factor = FRACTION_BITS if unit == "fraction" else fraction
    return int(np.rint(value * (1 << factor)))


def _held(
    plasticity: Plasticity, name: str, rule: LearningPath, size: int, lsb: float, where: str
) -> NDArray[np.int32]:
    given = plasticity.held.get(name, np.zeros(1))
    if len(given) not in (1, size):
        raise SpikefabError(f"{len(given)} values", f"'{name}' of {where}", f"it takes 1 or {size}")
    unit, fraction = plasticity.rule.held[name].unit, plasticity.rule.held[name].fraction
    values = [rounded(float(v), unit, fraction, lsb) for v in given]
    lo, hi = rule.held[name]
    if min(values) < lo or max(values) > hi:
        worst = min(values) if min(values) < lo else max(values)
        raise SpikefabError(f"'{name}' becomes {worst}", where, f"outside {lo}..{hi}")
    return np.broadcast_to(np.array(values, np.int32), size).copy()


def _synapses(
    c: Any, sources: int, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Source, target and weight of all synapses, by source and target; of a matrix every pair is
    one."""
    if isinstance(c, np.ndarray):
        source = np.repeat(np.arange(c.shape[0]), c.shape[1])
        target = np.tile(np.arange(c.shape[1]), c.shape[0])
        weight = c.ravel()
    else:
        given = c.source if isinstance(c, Triples) else np.repeat(
            np.arange(sources), np.diff(c.first)
        )  # fmt: skip
        order = np.lexsort((c.target, given))
        source, target = (x[order].astype(np.int64) for x in (given, c.target))
        weight = c.weight[order]
    twice = (np.diff(source) == 0) & (np.diff(target) == 0)
    if twice.any():
        k = int(np.flatnonzero(twice)[0])
        raise SpikefabError(f"two synapses from {source[k]} to {target[k]}", where, "one may learn")
    return source, target, weight.astype(np.int64)
