"""Shapes of a flat NIR graph, worked out from its inputs and compared along every edge.

Axes of length 1 do not count: exporters differ in whether they keep the batch axis.
"""

from __future__ import annotations

from collections import deque
from math import prod

import numpy as np

from ..ir.errors import SpikefabError
from .nir_graph import JUNCTION, FlatGraph, Node, reach

Shape = tuple[int, ...]
MAX_SIZE = 1 << 25


def infer_shapes(flat: FlatGraph) -> dict[str, Shape]:
    """The shape of every node's output; raises SpikefabError where two do not fit."""
    taken = {n.name: _own_input(n) for n in flat.nodes.values()}
    given: dict[str, Shape] = {}
    todo = deque(flat.nodes)
    while todo:
        name = todo.popleft()
        if name in given:
            continue
        node = flat.nodes[name]
        if taken[name] is None:
            known = [given[p] for p in flat.graph.predecessors(name) if p in given]
            taken[name] = known[0] if known else None
        source = taken[name]
        if source is not None or node.type in ("Linear", "Affine"):
            given[name] = _output(node, source or ())
            todo.extend(flat.graph.successors(name))
    order = reach(flat.graph, [n.name for n in flat.of_type("Input")])
    for node in map(flat.nodes.__getitem__, order):
        if node.name not in given:
            raise SpikefabError("unknown shape", node.where, "nothing that feeds it has a shape")
        if prod(given[node.name]) > MAX_SIZE:
            raise SpikefabError(f"shape {_text(given[node.name])}", node.where, "beyond 2^25")
    for a, b in [(name, after) for name in order for after in flat.graph.successors(name)]:
        expected = taken[b]
        if expected is not None and _squeeze(given[a]) != _squeeze(expected):
            node = flat.nodes[b]
            flattened = prod(given[a]) == prod(expected)
            raise SpikefabError(
                f"shape {_text(given[a])} from '{a}'",
                node.where,
                f"{node.type} takes {_text(expected)}",
                "put a Flatten between them" if flattened else "",
            )
    return given


def _own_input(node: Node) -> Shape | None:
    """The input shape that a node's own parameters say, None if they leave it open."""
    if node.type in ("Input", "Output", JUNCTION):
        return _declared(node, "shape")
    if node.type == "Flatten":
        return _declared(node, "input_type") if "input_type" in node.values else None
    if node.type in ("Linear", "Affine"):
        weight = node.values["weight"]
        if weight.ndim != 2 or 0 in weight.shape:
            raise SpikefabError(
                f"weight of shape {_text(weight.shape)}", node.where, "it must be [outputs, inputs]"
            )
        bias = node.values.get("bias")
        if bias is not None and bias.size != 1 and _squeeze(bias.shape) != weight.shape[:1]:
            raise SpikefabError(
                f"bias of shape {_text(bias.shape)}",
                node.where,
                f"the weight {_text(weight.shape)} has {weight.shape[0]} outputs",
            )
        return (weight.shape[1],)
    shapes = {_squeeze(v.shape): v.shape for v in node.values.values() if v.size != 1}
    if len(shapes) > 1:
        listed = ", ".join(f"'{k}' {_text(v.shape)}" for k, v in node.values.items())
        raise SpikefabError("parameters of different shape", node.where, listed)
    if any(0 in s for s in shapes):
        raise SpikefabError("empty parameters", node.where)
    return next(iter(shapes.values()), None)


def _output(node: Node, taken: Shape) -> Shape:
    if node.type in ("Linear", "Affine"):
        return (node.values["weight"].shape[0],)
    if node.type != "Flatten":
        return taken
    ends = []
    for name, default in (("start_dim", 1), ("end_dim", -1)):
        value = node.values.get(name, np.asarray(default))
        if value.size != 1 or value.item() != int(value.item()):
            raise SpikefabError(f"'{name}' = {value}", node.where, "it is one whole number")
        ends.append(int(value.item()))
    first, last = (e + len(taken) if e < 0 else e for e in ends)
    if len(taken) < 2 or (first == last + 1 and first == len(taken)):
        return taken
    if not 0 <= first <= last < len(taken):
        raise SpikefabError(
            f"Flatten of axes {ends[0]} to {ends[1]}",
            node.where,
            f"its input has the shape {_text(taken)}",
        )
    return (*taken[:first], prod(taken[first : last + 1]), *taken[last + 1 :])


def _declared(node: Node, name: str) -> Shape:
    value = node.values[name].ravel()
    if not len(value) or (value < 1).any() or (value != np.floor(value)).any():
        raise SpikefabError(
            f"'{name}' = {value.tolist()}", node.where, "a shape is of whole numbers above 0"
        )
    return tuple(int(v) for v in value)


def _squeeze(shape: Shape) -> Shape:
    return tuple(d for d in shape if d != 1)


def _text(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"
