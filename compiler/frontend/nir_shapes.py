"""Shapes of a flat NIR graph, worked out from its inputs and compared along every edge.

Axes of length 1 do not count: exporters differ in whether they keep the batch axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from ..ir.errors import SpikefabError
from .nir_graph import (
    CONVOLUTIONS,
    JUNCTION,
    POOLS,
    FlatGraph,
    Node,
    Shape,
    reach,
    shape_text,
)
from .windows import Window, said, window

MAX_SIZE = 1 << 25


@dataclass(frozen=True, eq=False)
class Shapes:
    """Of every node's output, by name; `windows` are those of Conv and Pool nodes."""

    given: dict[str, Shape] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


def infer_shapes(flat: FlatGraph) -> Shapes:
    """The shape of every node's output; raises SpikefabError where two do not fit."""
    result = Shapes()
    taken: dict[str, Shape] = {}
    order = reach(flat.graph, [n.name for n in flat.of_type("Input")])
    for node in map(flat.nodes.__getitem__, order):
        known = [p for p in flat.graph.predecessors(node.name) if p in result.given]
        source = result.given[known[0]] if known else ()
        if node.type in (*CONVOLUTIONS, *POOLS):
            over = window(node, source)
            result.windows[node.name] = over
            result.assumptions.extend(said(node, over))
            taken[node.name], result.given[node.name] = over.taken, over.given
        else:
            taken[node.name] = _taken(node, source)
            result.given[node.name] = _given(node, taken[node.name])
        if prod(result.given[node.name]) > MAX_SIZE:
            raise SpikefabError(
                f"shape {shape_text(result.given[node.name])}", node.where, "beyond 2^25"
            )
    for a, b in [(name, after) for name in order for after in flat.graph.successors(name)]:
        _compare(flat.nodes[a], result.given[a], flat.nodes[b], taken[b], result)
    return result


def _compare(a: Node, given: Shape, b: Node, expected: Shape, result: Shapes) -> None:
    if _squeeze(given) == _squeeze(expected):
        return
    same = prod(given) == prod(expected)
    if a.type == "Flatten" and same and len(_squeeze(expected)) < 2:
        result.assumptions.append(
            f"'{a.name}' flattens all axes, as '{b.name}' takes {shape_text(expected)}: "
            "its start_dim counts a batch axis."
        )
        return
    raise SpikefabError(
        f"shape {shape_text(given)} from '{a.name}'",
        b.where,
        f"{b.type} takes {shape_text(expected)}",
        "put a Flatten between them" if same else "",
    )


def _taken(node: Node, source: Shape) -> Shape:
    """The input shape that a node's own parameters say, else `source`."""
    if node.type in ("Input", "Output", JUNCTION):
        return _declared(node, "shape")
    if node.type == "Flatten":
        return _declared(node, "input_type") if "input_type" in node.values else source
    if node.type in ("Linear", "Affine"):
        weight = node.values["weight"]
        if weight.ndim != 2 or 0 in weight.shape:
            raise SpikefabError(
                f"weight of shape {shape_text(weight.shape)}",
                node.where,
                "it must be [outputs, inputs]",
            )
        bias = node.values.get("bias")
        if bias is not None and bias.size != 1 and _squeeze(bias.shape) != weight.shape[:1]:
            raise SpikefabError(
                f"bias of shape {shape_text(bias.shape)}",
                node.where,
                f"the weight {shape_text(weight.shape)} has {weight.shape[0]} outputs",
            )
        return (weight.shape[1],)
    shapes = {_squeeze(v.shape): v.shape for v in node.values.values() if v.size != 1}
    if len(shapes) > 1:
        listed = ", ".join(f"'{k}' {shape_text(v.shape)}" for k, v in node.values.items())
        raise SpikefabError("parameters of different shape", node.where, listed)
    if any(0 in s for s in shapes):
        raise SpikefabError("empty parameters", node.where)
    own = next(iter(shapes.values()), source)
    return source if _spreads(own, source) else own


def _spreads(own: Shape, whole: Shape) -> bool:
    """Whether parameters of shape `own`, such as [channels, 1, 1], stand for all of `whole`."""
    if len(own) != len(whole):
        return False
    return all(a in (1, b) for a, b in zip(own, whole, strict=True))


def _given(node: Node, taken: Shape) -> Shape:
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
            f"its input has the shape {shape_text(taken)}",
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
