"""Health: which neurons lose their spikes on the way to integers, and why, as warnings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fidelity import Fidelity
from .ir.models import LIBRARY
from .ir.neuron import FRACTION_BITS
from .ir.program import Program
from .network import Floats, Generated, Population
from .passes.draft import Draft, Quantised, Scale

CHUNK = 1 << 20  # synapses looked at at a time
LEAK_OFF = 0.25  # relative: a leak that is further from what was asked is warned of
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Losses:
    """What became of a population's neurons, bool [size] each.

    zeroed: had weights, all of which became 0; clipped: has a weight beyond the largest;
    beyond_reach: no input of any kind brings its potential to the threshold.
    """

    zeroed: Mask
    clipped: Mask
    beyond_reach: Mask


def rounding_losses(draft: Draft) -> dict[str, tuple[Mask, Mask]]:
    """Neurons (zeroed, clipped) by population; before `emit`, which may consume the synapses."""
    result = {}
    for p in draft.network.populations:
        had, kept, clipped = (np.zeros(p.size, np.bool_) for _ in range(3))
        scale = draft.scales[p.name]
        for q in draft.weights:
            if q.projection.target != p.name or scale.exact:
                continue
            for target, asked, whole in _pieces(q, scale):
                had[target[asked != 0]] = True
                kept[target[whole != 0]] = True
                clipped[target[np.abs(asked - whole) > 0.51]] = True
        result[p.name] = had & ~kept, clipped
    return result


def _pieces(q: Quantised, scale: Scale) -> Iterator[tuple[NDArray[Any], Floats, NDArray[Any]]]:
    """Target, weight in LSB before rounding, and after, of all synapses, some at a time."""
    c, whole = q.projection.connections, q.connections
    if isinstance(c, Generated):
        return
    if isinstance(c, np.ndarray):
        rows = max(1, CHUNK // max(1, c.shape[1]))
        for k in range(0, c.shape[0], rows):
            block = c[k : k + rows]
            targets = np.broadcast_to(np.arange(c.shape[1]), block.shape)
            yield targets, block * 2.0**scale.finer / scale.weight_lsb, whole[k : k + rows]
        return
    factor = (c.scale if c.scale is not None else 1.0) / scale.weight_lsb
    for k in range(0, len(c.weight), CHUNK):
        part = slice(k, k + CHUNK)
        own = 2.0 ** (scale.finer[c.target[part]] if len(scale.finer) > 1 else scale.finer)
        yield c.target[part], c.weight[part] * factor * own, whole.weight[part]


def losses(
    draft: Draft, program: Program, rounded: dict[str, tuple[Mask, Mask]]
) -> dict[str, Losses]:
    """What became of the neurons of each population; `rounded` is from `rounding_losses`."""
    return {
        p.name: Losses(*rounded[p.name], _beyond_reach(draft, program, p))
        for p in draft.network.populations
    }


def _beyond_reach(draft: Draft, program: Program, p: Population) -> Mask:
    """Neurons whose potential stays below the threshold if every positive input came always."""
    none = np.zeros(p.size, np.bool_)
    model, mapped = draft.models[p.name], program.population(p.name)
    o = {**p.model.options, **p.options}
    multiplies = o.get("leak", "multiply") in ("multiply", "shift")
    if LIBRARY.get(p.model.name) is not p.model or not model.spikes or not multiplies:
        return none
    if "curvature" in model.parameters:  # it grows without bound
        return none
    if "a" in model.state and (mapped.parameters["step_a"] < 0).any():
        return none

    def lasting(drive: NDArray[Any], suffix: str = "") -> NDArray[Any]:
        """What a drive in every step adds up to."""
        left: NDArray[Any] = np.ones(1)
        if f"keep{suffix}" in model.parameters:
            left = mapped.parameters[f"keep{suffix}"] / (1 << FRACTION_BITS)
        elif f"leak_shift{suffix}" in model.parameters:
            left = 1 - 2.0 ** -mapped.parameters[f"leak_shift{suffix}"]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(drive > 0, drive / (1 - left), 0.0)

    positive, _ = program.reach
    drive: NDArray[Any] = positive[mapped.neurons] * 2.0 ** mapped.parameters["gain"]
    if "i" in model.state:
        top = float(model.state["i"][1])
        current = lasting(drive + mapped.parameters["bias_i"], "_i")
        drive = np.minimum(np.maximum(current, mapped.initial["i"]), top)
    highest: NDArray[Any] = np.maximum(
        lasting(drive + mapped.parameters["bias"]), mapped.initial["v"]
    )
    if "v_floor" in model.parameters:
        highest = np.maximum(highest, mapped.parameters["v_floor"])
    highest = np.minimum(highest, float(model.state["v"][1]))
    threshold = mapped.parameters["threshold"]
    if "a" in model.state:  # it rises, or falls back to 0
        threshold = threshold + np.minimum(mapped.initial["a"], 0)
    return none | ((highest <= threshold) if o["fires"] == ">" else (highest < threshold))


def warnings(
    draft: Draft, found: dict[str, Losses], fidelity: Fidelity | None = None
) -> tuple[str, ...]:
    """One line for each population and trouble, with its cause and what would help."""
    said: list[str] = []
    for p in draft.network.populations:
        lost = fidelity.lost.get(p.name) if fidelity else None
        row = fidelity.populations[p.name] if fidelity else {}
        said += (f"population '{p.name}': {text}" for text in _troubles(p, found[p.name], lost))
        if row.get("dead") == p.size and row["dead_in_float"] == p.size:
            said.append(
                f"population '{p.name}': silent on the given input, in float too: its input is too "
                "weak for its threshold, or the network was read with a wrong dt, gain or reset"
            )
        said += (f"population '{p.name}': {text}" for text in _leaks(p, draft))
        if row.get("saturated"):
            said.append(
                f"population '{p.name}': {_of(row['saturated'], p)} met the limit of state, "
                f"{_limit(draft, p):.4g}: use a chip with more state bits, or fewer weight bits"
            )
        if row.get("limit_reached"):
            most = draft.models[p.name].largest_payload
            said.append(
                f"population '{p.name}': {row['limit_reached']} counts are {most}, the most that a "
                "spike carries here: spikes may be missing; use more count_bits"
            )
    return tuple(said)


def _troubles(p: Population, found: Losses, lost: Mask | None) -> list[str]:
    said = []
    silenced = lost if lost is not None else np.zeros(p.size, np.bool_)
    causes = (
        ("all weights rounded to 0", found.zeroed),
        ("threshold beyond the reach of all input", found.beyond_reach),
        ("weights clipped", found.clipped),
        ("rounding", np.ones(p.size, np.bool_)),
    )
    if silenced.any():
        rest, counted = silenced, []
        for cause, mask in causes:
            if (rest & mask).any():
                counted.append(f"{cause}: {int((rest & mask).sum())}")
                rest = rest & ~mask
        said.append(
            f"{_of(int(silenced.sum()), p)} never fire though they do in float "
            f"({', '.join(counted)}): use more weight bits"
        )
    if (mask := found.zeroed & ~silenced).any():
        said.append(f"all weights of {_of(int(mask.sum()), p)} rounded to 0: use more weight bits")
    if (mask := found.beyond_reach & ~found.zeroed & ~silenced).any():
        said.append(
            f"{_of(int(mask.sum()), p)} can never fire: their threshold is beyond the reach of all "
            "their inputs"
        )
    return said


def _leaks(p: Population, draft: Draft) -> list[str]:
    """What became of leaks that are too slow for the chip's fractions."""
    said = []
    for name, unit in draft.models[p.name].units.items():
        if unit != "fraction":
            continue
        lost = 1.0 - p.parameters[name]
        kept = 1.0 - draft.parameters[p.name][name] / (1 << FRACTION_BITS)
        off = abs(kept - lost) > LEAK_OFF * lost
        if off.any():
            n = int(np.argmax(off))
            first = (x if len(x) == 1 else x[n : n + 1] for x in (lost, kept))
            was, now = (float(x[0]) for x in first)
            said.append(
                f"{name} loses {now:.3g} of its value in a step where {was:.3g} was asked: what is "
                f"lost is a multiple of 1/{1 << FRACTION_BITS}; use a longer time step"
            )
    return said


def _of(count: int, p: Population) -> str:
    return f"{count} of {p.size} neurons"


def _limit(draft: Draft, p: Population) -> float:
    """The greatest potential that fits, in the network's units."""
    return draft.scales[p.name].lsb * ((1 << (draft.chip.state_bits - 1)) - 1)
