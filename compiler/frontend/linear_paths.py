"""Chains of linear nodes (Linear, Conv, Pool, Scale, Flatten, Delay), composed into one matrix.

There is one per pair of ends and delay. Paths in parallel add up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..network import Connections, Floats, Rows, Triples
from . import maps as linear
from . import windows
from .maps import Map
from .nir_graph import CONVOLUTIONS, POOLS, FlatGraph, Node
from .nir_shapes import Shapes

MAX_DELAY = 1 << 20  # steps
_ROUNDING = 1e-6  # relative; files hold float32


@dataclass(frozen=True, eq=False)
class Flow:
    """A linear function of spikes: a map from each (source, delay in steps), plus a constant."""

    maps: dict[tuple[str, int], Map] = field(default_factory=dict)
    bias: Floats | None = None

    @property
    def sources(self) -> list[str]:
        """Where the spikes come from."""
        return sorted({source for source, _ in self.maps})

    def delays(self, source: str) -> list[int]:
        """The delays of the ways from a source."""
        return sorted(delay for name, delay in self.maps if name == source)

    def synapses(self, source: str) -> int:
        """How many weights from a source are not 0."""
        return sum(linear.synapses(m) for (name, _), m in self.maps.items() if name == source)


def flows_into_neurons(flat: FlatGraph, shapes: Shapes, dt: float | None) -> dict[str, Flow]:
    """What every neuron node takes, as a function of inputs and neurons.

    dt: seconds per step; None to look at the weights alone, with all delays 0. Raises SpikefabError
    if a composed weight is beyond all floats, or a delay is no whole number of steps.
    """
    out = {
        n.name: Flow({(n.name, 0): np.ones(prod(shapes.given[n.name]))})
        for n in flat.nodes.values()
        if n.is_source
    }
    between = flat.graph.subgraph(
        n.name for n in flat.nodes.values() if not n.is_source and n.type != "Output"
    )
    with np.errstate(over="ignore", invalid="ignore"):
        for name in nx.topological_sort(between):
            node, flow = flat.nodes[name], _sum(flat, name, out)
            if node.type == "Delay":
                out[name] = _delayed(node, flow, shapes, dt)
            else:
                out[name] = _through(node, flow, shapes)
        flows = {n.name: _sum(flat, n.name, out) for n in flat.nodes.values() if n.is_neuron}
    for name, flow in flows.items():
        finite = flow.bias is None or np.isfinite(flow.bias).all()
        if not finite or not all(map(linear.is_finite, flow.maps.values())):
            raise SpikefabError(
                "weights that overflow",
                flat.nodes[name].where,
                "the nodes before it compose to inf",
            )
    return flows


def connections(flow: Flow, source: str) -> tuple[Connections, int]:
    """Synapses of a flow from one source, and their delay in steps (0 if each has its own)."""
    delays = flow.delays(source)
    if len(delays) == 1:
        weights = flow.maps[source, delays[0]]
        if isinstance(weights, np.ndarray) and weights.ndim == 2:
            return weights, delays[0]
        rows = linear.sparse(weights)
        return Rows(rows.indptr.astype(np.int64), rows.indices, rows.data), delays[0]
    parts = [linear.sparse(flow.maps[source, delay]).tocoo() for delay in delays]
    return Triples(
        np.concatenate([p.coords[0] for p in parts]),
        np.concatenate([p.coords[1] for p in parts]),
        np.concatenate([p.data for p in parts]),
        delay=np.repeat(delays, [p.nnz for p in parts]),
    ), 0


def _sum(flat: FlatGraph, name: str, out: dict[str, Flow]) -> Flow:
    maps: dict[tuple[str, int], Map] = {}
    bias: Floats | None = None
    for before in flat.graph.predecessors(name):
        flow = out[before]
        for key, weights in flow.maps.items():
            maps[key] = linear.add(maps[key], weights) if key in maps else weights
        if flow.bias is not None:
            bias = flow.bias if bias is None else bias + flow.bias
    return Flow(maps, bias)


def _through(node: Node, flow: Flow, shapes: Shapes) -> Flow:
    """A flow behind a node that adds no delay."""
    own: Floats | None = None
    if node.type in ("Linear", "Affine"):
        weight: Map = node.values["weight"].T
        if node.type == "Affine":
            own = np.broadcast_to(node.values["bias"].ravel(), weight.shape[1])
    elif node.type in (*CONVOLUTIONS, *POOLS):
        weight = windows.synapses(node, shapes.windows[node.name])
        own = windows.bias(node, shapes.windows[node.name])
    elif node.type == "Scale":
        weight = _spread(node, "scale", shapes)
    else:
        return flow
    bias = None if flow.bias is None else linear.apply(flow.bias, weight)
    if own is not None:
        own = own.astype(np.float64)
        bias = own if bias is None else bias + own
    maps = {key: linear.times(m, weight, node.where) for key, m in flow.maps.items()}
    return Flow(maps, bias)


def _delayed(node: Node, flow: Flow, shapes: Shapes, dt: float | None) -> Flow:
    """A flow behind a Delay: every map is cut into those columns that share a delay."""
    if flow.bias is not None and flow.bias.any():
        raise SpikefabError(
            "a bias before a Delay",
            node.where,
            "a neuron's bias acts from the first step on, not after a delay",
            "put the Delay before the node with the bias",
        )
    steps = _steps(node, _spread(node, "delay", shapes), dt)
    if (steps == steps[0]).all():
        return Flow({(source, k + int(steps[0])): m for (source, k), m in flow.maps.items()})
    maps: dict[tuple[str, int], Map] = {}
    for (source, k), m in flow.maps.items():
        for own, part in linear.split(m, steps).items():
            key = (source, k + own)
            maps[key] = linear.add(maps[key], part) if key in maps else part
    return Flow(maps)


def _steps(node: Node, seconds: Floats, dt: float | None) -> NDArray[np.int64]:
    if (seconds < 0).any():
        raise SpikefabError(
            f"'delay' = {seconds.min():g}", node.where, "a spike cannot arrive before it is sent"
        )
    if dt is None:
        return np.zeros(len(seconds), np.int64)
    ratio = seconds / dt
    steps = np.rint(ratio)
    off = np.abs(ratio - steps) > _ROUNDING * np.maximum(1, steps)
    if off.any():
        raise SpikefabError(
            f"'delay' = {seconds[off][0]:g} s",
            node.where,
            f"it is {ratio[off][0]:g} steps of dt = {dt:g} s",
            "give a dt of which every delay is a multiple",
        )
    if steps.max() >= MAX_DELAY:
        raise SpikefabError(
            f"'delay' = {seconds.max():g} s",
            node.where,
            f"it needs {steps.max() + 1:.0f} delay slots at dt = {dt:g} s, beyond 2^20",
        )
    return steps.astype(np.int64)


def _spread(node: Node, name: str, shapes: Shapes) -> Floats:
    """A parameter as one float64 per element of the node."""
    shape = shapes.given[node.name]
    value = node.values[name].astype(np.float64)
    return (value if value.size == prod(shape) else np.broadcast_to(value, shape)).ravel()
