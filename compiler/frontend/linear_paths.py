"""Chains of Linear, Affine, Scale and Flatten nodes, composed into one matrix per pair of ends.

A map is a matrix [source, target], or a vector: the diagonal of one. Paths in parallel add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..network import Floats, Rows
from .nir_file import check_room
from .nir_graph import FlatGraph, Node
from .nir_shapes import Shape

Map = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Flow:
    """A linear function of spikes: a map from each source, plus a constant."""

    maps: dict[str, Map] = field(default_factory=dict)
    bias: Floats | None = None


def flows_into_neurons(flat: FlatGraph, shapes: dict[str, Shape]) -> dict[str, Flow]:
    """What every neuron node takes, as a function of inputs and neurons.

    Raises SpikefabError if a composed weight is beyond all floats.
    """
    out = {
        n.name: Flow({n.name: np.ones(prod(shapes[n.name]))})
        for n in flat.nodes.values()
        if n.is_source
    }
    linear = flat.graph.subgraph(
        n.name for n in flat.nodes.values() if not n.is_source and n.type != "Output"
    )
    with np.errstate(over="ignore", invalid="ignore"):
        for name in nx.topological_sort(linear):
            out[name] = _through(flat.nodes[name], _sum(flat, name, out))
        flows = {n.name: _sum(flat, n.name, out) for n in flat.nodes.values() if n.is_neuron}
    for name, flow in flows.items():
        finite = flow.bias is None or np.isfinite(flow.bias).all()
        if not finite or not all(np.isfinite(m).all() for m in flow.maps.values()):
            raise SpikefabError(
                "weights that overflow",
                flat.nodes[name].where,
                "the nodes before it compose to inf",
            )
    return flows


def connections(weights: Map) -> Map | Rows:
    """Synapses of a map: a dense matrix, or rows of one synapse for a diagonal."""
    if weights.ndim == 2:
        return weights
    size = len(weights)
    return Rows(np.arange(size + 1, dtype=np.int64), np.arange(size, dtype=np.int32), weights)


def _sum(flat: FlatGraph, name: str, out: dict[str, Flow]) -> Flow:
    maps: dict[str, Map] = {}
    bias: Floats | None = None
    for before in flat.graph.predecessors(name):
        flow = out[before]
        for source, weights in flow.maps.items():
            maps[source] = _add(maps[source], weights) if source in maps else weights
        if flow.bias is not None:
            bias = flow.bias if bias is None else bias + flow.bias
    return Flow(maps, bias)


def _through(node: Node, flow: Flow) -> Flow:
    if node.type in ("Linear", "Affine"):
        weight = node.values["weight"]
        for m in flow.maps.values():
            check_room(
                8 * len(m) * len(weight), f"composed {len(m)} x {len(weight)} weights", node.where
            )
        maps = {source: _times(m, weight) for source, m in flow.maps.items()}
        bias = None if flow.bias is None else weight.astype(np.float64) @ flow.bias
        if node.type == "Affine":
            own = np.broadcast_to(node.values["bias"].ravel(), len(weight)).astype(np.float64)
            bias = own if bias is None else bias + own
        return Flow(maps, bias)
    if node.type == "Scale":
        scale = node.values["scale"].astype(np.float64).ravel()
        return Flow(
            {source: m * scale for source, m in flow.maps.items()},
            None if flow.bias is None else flow.bias * scale,
        )
    return flow


def _times(before: Map, weight: Map) -> Map:
    """`before` followed by weight [target, source]; the weight itself after an identity."""
    if before.ndim == 2:
        return before.astype(np.float64) @ weight.T.astype(np.float64)
    return weight.T if (before == 1).all() else before[:, None] * weight.T


def _add(a: Map, b: Map) -> Map:
    if a.ndim == b.ndim:
        return np.add(a, b, dtype=np.float64)
    dense, diagonal = (a, b) if a.ndim == 2 else (b, a)
    total = dense.astype(np.float64)
    total[np.diag_indices(len(diagonal))] += diagonal
    return total
