"""Expand: every projection becomes synapses in a plain form, with target gains folded in."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..ir.errors import SpikefabError
from ..network import Generated, Network, Projection, Rows, Triples
from .draft import Draft


def expand(draft: Draft) -> Draft:
    """Fold the gain of each projection into its weights."""
    network = draft.network
    folded = Network()
    folded.assumptions, folded.settings = network.assumptions, network.settings
    folded.graph.add_nodes_from(network.graph.nodes(data=True))
    for projection in network.projections:
        folded.graph.add_edge(
            projection.source, projection.target, projection=_folded(projection)
        )
    result = dataclasses.replace(draft, network=folded)
    check(result)
    return result


def _folded(projection: Projection) -> Projection:
    gain = projection.gain
    if (gain == 1).all():
        return projection
    c = projection.connections
    if isinstance(c, np.ndarray):
        plain: np.ndarray | Rows | Generated | Triples = c * gain
    elif isinstance(c, Generated):
        if len(gain) > 1 or gain[0] <= 0:
            raise SpikefabError(
                "a gain per neuron on generated synapses",
                f"projection '{projection.source}' to '{projection.target}'",
                hint="put it into the weights",
            )
        plain = dataclasses.replace(c, scale=c.scale * float(gain[0]))
    elif c.scale is not None and len(gain) == 1 and gain[0] > 0:
        plain = dataclasses.replace(c, scale=c.scale * float(gain[0]))
    else:
        factor = gain[c.target] if len(gain) > 1 else gain[0]
        weight = c.weight * (c.scale if c.scale is not None else 1.0) * factor
        plain = dataclasses.replace(c, weight=weight, scale=None)
    return dataclasses.replace(projection, connections=plain, gain=np.ones(1))


def check(draft: Draft) -> None:
    """Raise SpikefabError unless every gain is 1 and every weight is finite."""
    for projection in draft.network.projections:
        c = projection.connections
        weight = c if isinstance(c, np.ndarray) else getattr(c, "weight", np.zeros(0))
        if (projection.gain != 1).any() or not np.isfinite(weight).all():
            raise SpikefabError(
                "weights are not finite with their gain",
                f"projection '{projection.source}' to '{projection.target}'",
            )
