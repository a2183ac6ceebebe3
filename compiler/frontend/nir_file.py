"""Reading a NIR graph as it stands: from an HDF5 file or a `nir.NIRGraph`, before any check.

The file is walked here rather than by `nir.read`, which adds missing Input and Output nodes to
nested graphs, stops at types that it does not know, and does not name the node that is at fault.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import psutil
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from .hdf5_probe import harm

MAX_DEPTH = 32  # graphs within graphs
FAULTS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    MemoryError,
    AssertionError,
    IndexError,
)


@dataclass(frozen=True, eq=False)
class RawNode:
    """A node as written. `fields` holds its parameters; `nodes` and `edges` those of a graph.

    where: how errors name it, such as ``node '1.lif' of net.nir``.
    """

    name: str
    type: str
    where: str
    fields: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_graph(self) -> bool:
        """Whether it holds nodes and edges of its own."""
        return self.type == "NIRGraph"


def read_graph(source: Any) -> tuple[RawNode, str]:
    """The graph of a `.nir` file or a `nir.NIRGraph`, and its name in messages.

    Raises SpikefabError if it cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        graph = _from_file(str(name))
    elif hasattr(source, "nodes") and hasattr(source, "edges"):
        name = "the NIR graph"
        graph = _from_object(source, "", name, 0)
    else:
        raise SpikefabError(
            f"source of type {type(source).__name__}",
            "load",
            hint="give the path of a .nir file or a nir.NIRGraph",
        )
    if not graph.is_graph:
        raise SpikefabError(
            f"node type {graph.type} at the top",
            str(name),
            "it is no graph",
            "wrap it in a NIRGraph with an Input and an Output",
        )
    return graph, str(name)


def numbers(value: Any, what: str, where: str, hint: str = "") -> NDArray[Any]:
    """`value` as an array of float32 or float64; raises SpikefabError unless all are finite."""
    try:
        if hasattr(value, "detach"):  # a torch tensor
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        raise SpikefabError(what, where, "it is not an array of numbers") from None
    if array.dtype.kind not in "biuf":
        raise SpikefabError(f"{what} of type {array.dtype}", where, "it takes numbers")
    small = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    array = np.asarray(array, np.float32 if small else np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        place = np.unravel_index(int(np.argmin(finite)), array.shape)
        index = f"[{', '.join(map(str, place))}]" if place else ""
        raise SpikefabError(f"{what}{index} = {array[place]}", where, "it must be finite", hint)
    return array


def check_room(needed: int, what: str, where: str) -> None:
    """Raise SpikefabError if `needed` bytes are more than a quarter of the free memory."""
    room = psutil.virtual_memory().available
    if needed > room // 4:
        raise SpikefabError(
            what,
            where,
            f"it takes {needed / 2**30:.1f} GiB where {room / 2**30:.1f} GiB of memory are free",
        )


def check_hdf5(name: str) -> None:
    """Raise SpikefabError unless a file is HDF5 that its library survives, or OSError."""
    if not os.path.exists(name):
        raise SpikefabError("cannot read", name, "no such file")
    if os.path.isdir(name):
        raise SpikefabError("cannot read", name, "it is a directory")
    with open(name, "rb"):
        pass
    if not h5py.is_hdf5(name):
        raise SpikefabError("not a NIR file", name, "it is not HDF5, or its start is damaged")
    if why := harm(name):
        raise SpikefabError("not a NIR file", name, why)


def _from_file(name: str) -> RawNode:
    try:
        check_hdf5(name)
        with h5py.File(name, "r") as stored:
            top = stored.get("node")
            if not isinstance(top, h5py.Group):
                data = stored.attrs.get("__type__") == "NIRGraphData"
                raise SpikefabError(
                    "not a NIR file",
                    name,
                    "it holds NIR data, no graph" if data else "the HDF5 file has no group 'node'",
                    "give it to --input" if data else "",
                )
            return _from_group(top, "", name, 0)
    except RecursionError:
        raise SpikefabError("not a NIR file", name, "its groups hold each other") from None
    except FAULTS as fault:
        raise SpikefabError("cannot read", name, reason(fault)) from None


def _from_group(group: Any, name: str, file: str, depth: int) -> RawNode:
    where = _where(name, file)
    if depth > MAX_DEPTH:
        raise SpikefabError("graphs within graphs", where, f"deeper than {MAX_DEPTH}")
    fields: dict[str, Any] = {}
    children: dict[str, Any] = {}
    for key in group:
        try:
            item = group[key]
            if isinstance(item, h5py.Dataset):
                fields[key] = _dataset(item, key, where)
            elif key == "nodes" and isinstance(item, h5py.Group):
                children = {child: item[child] for child in item}
            elif key != "metadata":
                raise SpikefabError(f"group '{key}'", where, "a node holds datasets")
        except FAULTS as fault:
            raise SpikefabError(f"damaged '{key}'", where, reason(fault)) from None
    kind = fields.pop("type", None)
    if not isinstance(kind, str):
        raise SpikefabError("no node type", where, "every node has a text 'type'")
    if kind != "NIRGraph":
        if children:
            raise SpikefabError(f"nodes inside a {kind}", where)
        return RawNode(name, kind, where, fields)
    nodes: dict[str, RawNode] = {}
    for child, item in children.items():
        inner = f"{name}.{child}" if name else child
        if not isinstance(item, h5py.Group):
            raise SpikefabError("no node type", _where(inner, file), "it is no HDF5 group")
        nodes[child] = _from_group(item, inner, file, depth + 1)
    edges = _edges(fields.pop("edges", None), where)
    return RawNode(name, kind, where, fields, nodes, edges)


def _dataset(item: Any, key: str, where: str) -> Any:
    check_room((item.size or 0) * item.dtype.itemsize, f"'{key}' of shape {item.shape}", where)
    value = item[()]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _from_object(node: Any, name: str, source: str, depth: int) -> RawNode:
    where = _where(name, source)
    if depth > MAX_DEPTH:
        raise SpikefabError("graphs within graphs", where, f"deeper than {MAX_DEPTH}")
    kind = type(node).__name__
    if hasattr(node, "nodes") and hasattr(node, "edges"):
        if not isinstance(node.nodes, Mapping):
            raise SpikefabError("nodes that are no dictionary", where)
        nodes = {
            str(child): _from_object(
                item, f"{name}.{child}" if name else str(child), source, depth + 1
            )
            for child, item in node.nodes.items()
        }
        return RawNode(name, "NIRGraph", where, {}, nodes, _edges(node.edges, where))
    fields = dict(vars(node)) if hasattr(node, "__dict__") else {}
    ports = {
        "Input": ("input_type", "input", "shape"),
        "Output": ("output_type", "output", "shape"),
        "Flatten": ("input_type", "input", "input_type"),
    }
    shape = None
    if kind in ports:
        attribute, port, _ = ports[kind]
        types = fields.get(attribute)
        shape = types.get(port) if isinstance(types, Mapping) else types
    for key in ("metadata", "input_type", "output_type"):
        fields.pop(key, None)
    if shape is not None:
        fields[ports[kind][2]] = shape
    return RawNode(name, kind, where, {k: v for k, v in fields.items() if v is not None})


def _edges(stored: Any, where: str) -> list[tuple[str, str]]:
    if stored is None:
        raise SpikefabError("no edges", where, "a graph has a list of edges")
    pairs: list[tuple[str, str]] = []
    try:
        for pair in stored:
            a, b = (e.decode("utf-8") if isinstance(e, bytes) else e for e in pair)
            pairs.append((a, b))
    except (TypeError, ValueError):
        raise SpikefabError("damaged edges", where, "an edge is a pair of node names") from None
    if not all(isinstance(end, str) for pair in pairs for end in pair):
        raise SpikefabError("damaged edges", where, "an edge is a pair of node names")
    return pairs


def _where(name: str, source: str) -> str:
    return f"node '{name}' of {source}" if name else source


def reason(fault: BaseException) -> str:
    """What HDF5 says in the parentheses of its message, or the message."""
    if isinstance(fault, MemoryError):
        return "it does not fit in memory"
    if isinstance(fault, OSError) and fault.strerror and "(" not in fault.strerror:
        return fault.strerror
    text = str(fault) or type(fault).__name__
    inner = re.search(r"\((.+)\)", text, re.DOTALL)
    return inner.group(1) if inner else text
