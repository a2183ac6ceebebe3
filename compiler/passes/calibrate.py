"""Calibrate: choose the weight LSB of each population by the spikes that it leads to.

A population is stepped alone, in the float reference but with its numbers rounded, on the spikes
that its sources fire in the float run. So the choice for one population does not depend on those
for others, and all of it takes no more than some float runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..float_reference import FloatRecording, respond
from ..ir.spikes import SpikeTrain
from ..network import Floats, Network, Population, Projection
from .draft import Draft, Range, Step
from .quantise import Layer, quantised

CANDIDATES = np.geomspace(2 / 3, 3 / 2, 17)  # of the step of least weight error
MOST_ERROR = 1.5  # of the least weight error: the bound for weights that the input does not use


def calibrate(
    draft: Draft,
    ranges: Mapping[str, Range],
    reference: FloatRecording,
    inputs: Mapping[str, SpikeTrain],
) -> dict[str, Step]:
    """The weight LSB of every population whose weights are not exact anyway.

    It is the one of least weight error, or a candidate whose spikes (values, where there are none)
    agree better with those of the reference, which has recorded every population.
    """
    told = told_spikes(draft.network, reference, inputs)
    steps = {}
    for p in draft.network.populations:
        first = quantised(draft, p, ranges[p.name])
        if first.scale.exact:
            continue
        best, chosen = score(p, first, draft.network, told, reference), Step(first.scale.weight_lsb)
        candidates = [float(x) for x in first.scale.weight_lsb * CANDIDATES]
        for step in (Step(x, by_neuron) for by_neuron in (False, True) for x in candidates):
            if best == 1.0:
                break
            layer = quantised(draft, p, ranges[p.name], step)
            same = step.by_neuron and not layer.scale.finer.any()
            if same or not _allowed(layer, first, draft):
                continue
            found = score(p, layer, draft.network, told, reference)
            if found > best:
                best, chosen = found, step
        steps[p.name] = chosen
    return steps


def _allowed(layer: Layer, first: Layer, draft: Draft) -> bool:
    """Whether the weight error is bounded, and the chip has room for as many parameter sets."""
    varied = [v for v in layer.parameters.values() if len(v) > 1]
    sets = len(np.unique(np.stack(varied, axis=1), axis=0)) if varied else 1
    learning = sum(p.plasticity is not None for p in draft.network.projections)
    room = (draft.chip.parameter_sets - learning) // len(draft.network.populations)
    bounded = layer.scale.error <= MOST_ERROR * first.scale.error
    return bounded and (not layer.scale.finer.any() or sets <= room)


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


def told_spikes(
    network: Network, reference: FloatRecording, inputs: Mapping[str, SpikeTrain]
) -> dict[str, NDArray[Any]]:
    """Counts [samples, steps, size] of every source in the float run."""
    sizes = {i.name: i.size for i in network.inputs}
    return reference.spikes | {
        name: train.to_dense(reference.steps, sizes[name], reference.samples)
        for name, train in inputs.items()
    }


def score(
    p: Population,
    layer: Layer,
    network: Network,
    told: Mapping[str, NDArray[Any]],
    reference: FloatRecording,
) -> float:
    """How well a rounded population does on its own; 1 is perfect."""
    sources = {q.projection.source: told[q.projection.source] for q in layer.weights}
    found = respond(network, *_rounded(p, layer), sources)
    if p.name in reference.spikes:
        return agreement(found, reference.spikes[p.name])
    return 1.0 - value_error(found, reference.values[p.name])


def _rounded(p: Population, layer: Layer) -> tuple[Population, list[Projection]]:
    """A population and the projections onto it in the network's units again, but rounded."""
    lsb, step, state_bits = layer.scale.lsb, layer.scale.weight_lsb, layer.state_bits
    parameters, initial = (
        {
            name: values.astype(np.float64) / formats[name].per_unit(lsb, state_bits)
            for name, values in whole.items()
            if formats[name].unit != "gain"
        }
        for whole, formats in (
            (layer.parameters, p.model.parameters),
            (layer.initial, p.model.state),
        )
    )
    projections = []
    for q in layer.weights:
        c = q.connections * step if isinstance(q.connections, np.ndarray) else q.connections
        projections.append(
            dataclasses.replace(
                q.projection, connections=c, gain=np.exp2(-layer.scale.finer.astype(np.float64))
            )
        )
    return dataclasses.replace(p, parameters=parameters, initial=initial), projections
