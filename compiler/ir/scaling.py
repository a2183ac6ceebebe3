"""Synaptic scaling: what the host does between ticks to keep the sum of a neuron's weights."""

from __future__ import annotations

import numpy as np

from .device import Device
from .errors import SpikefabError
from .program import Program


def scale_weights(
    device: Device, program: Program, projection: str, total: float, generator: np.random.Generator
) -> None:
    """Scale the weights into each neuron of a plastic projection to the sum `total`.

    total: in the network's units, above 0. Scaled weights become whole LSB, up or down at random
    such that their expectation is the scaled weight and their sum is `total` within one LSB. What
    is beyond the projection's `w_max` is cut, and neurons whose weights are all 0 stay as they are.
    Raises SpikefabError for an unknown projection, or one that allows negative weights.
    """
    q = program.projection(projection)
    where = f"scaling of '{projection}'"
    if q.parameters["w_min"] < 0:
        raise SpikefabError("weights that may be negative", where, hint="connect with w_min=0")
    if not (np.isfinite(total) and total > 0):
        raise SpikefabError(f"total {total}", where, "it is a sum of weights above 0")
    to = q.to - program.populations[q.target].first
    order = np.lexsort((q.source, to))
    target = to[order]
    weight = device.read(f"{projection}.weights")[order].astype(np.float64)
    sums = np.bincount(target, weight)
    scaled = weight * (total / q.lsb / np.maximum(sums, 1))[target]
    scaled[sums[target] == 0] = 0
    begin = np.searchsorted(target, target)  # of the neuron's weights in this order
    until = np.cumsum(scaled)
    before = until - scaled
    start = before[begin] - generator.random(len(sums))[target]
    rounded = np.floor(until - start) - np.floor(before - start)
    least, most = q.parameters["w_min"], q.parameters["w_max"]
    after = np.empty(q.count, np.int32)
    after[order] = np.clip(rounded, least, most)
    device.write(f"{projection}.weights", after)
