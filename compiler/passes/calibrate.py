"""Calibrate: choose the weight LSB of each population by the spikes that it leads to.

A population is stepped alone, in the float reference but with its numbers rounded, on the spikes
that its sources fire in the float run. So the choice for one population does not depend on those
for others, and all of it takes no more than some float runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..float_reference import FloatRecording, FloatReference
from ..ir.neuron import FRACTION_BITS
from ..ir.spikes import SpikeTrain
from ..network import Floats, Network, Population
from .draft import Draft, Range
from .quantise import Layer, quantised

CANDIDATES = np.geomspace(2 / 3, 3 / 2, 17)  # of the step of least weight error
MOST_ERROR = 1.5  # of the least weight error: the bound for weights that the input does not use


def calibrate(
    draft: Draft,
    ranges: Mapping[str, Range],
    reference: FloatRecording,
    inputs: Mapping[str, SpikeTrain],
) -> dict[str, float]:
    """The weight LSB of every population whose weights are not exact anyway.

    It is the one of least weight error, or a candidate whose spikes (values, where there are none)
    agree better with those of the reference, which has recorded every population.
    """
    told: dict[str, Any] = {**inputs, **reference.spikes}
    steps = {}
    for p in draft.network.populations:
        first = quantised(draft, p, ranges[p.name])
        if first.scale.exact:
            continue
        best, chosen = _score(p, first, draft, told, reference), first.scale.weight_lsb
        for candidate in chosen * CANDIDATES:
            if best == 1.0:
                break
            layer = quantised(draft, p, ranges[p.name], float(candidate))
            if layer.scale.error > MOST_ERROR * first.scale.error:
                continue
            score = _score(p, layer, draft, told, reference)
            if score > best:
                best, chosen = score, layer.scale.weight_lsb
        steps[p.name] = chosen
    return steps


def agreement(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Share of the spikes of either raster that are in both, 1 if neither has any."""
    a, b = one.astype(np.int64), other.astype(np.int64)
    either = int(np.maximum(a, b).sum())
    return int(np.minimum(a, b).sum()) / either if either else 1.0


def value_error(one: NDArray[Any], other: Floats) -> float:
    """Root mean square difference of `one` to `other`, relative to that of `other`."""
    size = float(np.sqrt(np.mean(np.square(other))))
    error = float(np.sqrt(np.mean(np.square(one - other))))
    return error / size if size else error


def _score(
    p: Population, layer: Layer, draft: Draft, told: Mapping[str, Any], reference: FloatRecording
) -> float:
    """How well a rounded population does on its own; 1 is perfect."""
    network = _alone(p, layer, draft.network)
    inputs = {i.name: told[i.name.removeprefix("from ")] for i in network.inputs}
    run = FloatReference(network).run(inputs, reference.steps, reference.samples)
    if p.name in run.spikes:
        return agreement(run.spikes[p.name], reference.spikes[p.name])
    return 1.0 - value_error(run.values[p.name], reference.values[p.name])


def _alone(p: Population, layer: Layer, network: Network) -> Network:
    """A network of one population in its rounded numbers, its sources being inputs."""
    alone, lsb = Network(), layer.scale.lsb
    parameters, initial = (
        {
            name: values * _worth(formats[name].unit, lsb)
            for name, values in whole.items()
            if formats[name].unit != "gain"
        }
        for whole, formats in (
            (layer.parameters, p.model.parameters),
            (layer.initial, p.model.state),
        )
    )
    target = alone.population(
        p.name, p.size, p.model,
        options=p.options, initial=initial, output=True, **parameters,
    )  # fmt: skip
    inputs = {
        name: alone.input(f"from {name}", network.node(name).size)
        for name in dict.fromkeys(q.projection.source for q in layer.weights)
    }
    for q in layer.weights:
        c = q.connections
        if isinstance(c, np.ndarray):
            c = c * layer.scale.weight_lsb
        alone.connect(inputs[q.projection.source], target, c, delay=q.projection.delay)
    return alone


def _worth(unit: str, lsb: float) -> float:
    """What a whole number of a unit stands for in the network's units."""
    return {"potential": lsb, "fraction": 2.0**-FRACTION_BITS}.get(unit, 1.0)
