"""From a NIR graph as written to one flat, checked graph of nodes that the compiler knows.

Nested graphs are dissolved: node `lif` of graph `1` becomes `1.lif`, and the graph's own Input and
Output become junctions, which pass on what they get. Nothing is added and nothing is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from .nir_file import RawNode, numbers

FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": (("shape",), ()),
    "Linear": (("weight",), ()),
    "Affine": (("weight", "bias"), ()),
    "Scale": (("scale",), ()),
    "Flatten": ((), ("start_dim", "end_dim", "input_type")),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups"), ("bias", "input_shape")),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Delay": (("delay",), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
    "LI": (("tau", "r", "v_leak"), ()),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
}
"""Required and optional parameters of the node types that can be loaded."""
RESETTING = ("IF", "LIF", "CubaLIF")
SPIKING = (*RESETTING, "Threshold")
READOUTS = ("LI", "CubaLI", "I")
NEURONS = (*SPIKING, *READOUTS)
LEAKY = ("LIF", "CubaLIF", "LI", "CubaLI")
CONVOLUTIONS = ("Conv1d", "Conv2d")
POOLS = ("SumPool2d", "AvgPool2d")
WORDS = {"padding"}  # parameters that may be text
JUNCTION = "port of a nested graph"
RELAY_THRESHOLD = 0.5
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """A node with its parameters as finite float32 or float64 arrays, or as words."""

    name: str
    type: str
    where: str
    values: dict[str, NDArray[Any]]
    words: dict[str, str] = field(default_factory=dict)

    @property
    def is_neuron(self) -> bool:
        """Whether it has a state of its own."""
        return self.type in NEURONS

    @property
    def is_source(self) -> bool:
        """Whether spikes start here: an input or neurons."""
        return self.is_neuron or self.type == "Input"


@dataclass(frozen=True, eq=False)
class FlatGraph:
    """A graph without graphs in it; `outputs` names the neurons behind each Output."""

    where: str
    graph: nx.DiGraph[str]
    nodes: dict[str, Node]
    outputs: dict[str, str] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)

    def of_type(self, *types: str) -> list[Node]:
        """Nodes of these types, in the graph's order."""
        return [n for n in self.nodes.values() if n.type in types]


def flatten(raw: RawNode) -> FlatGraph:
    """The checked flat graph; raises SpikefabError naming the node at fault."""
    flat = FlatGraph(raw.where, nx.DiGraph(), {})
    unknown = [n for n in walk(raw) if not n.is_graph and n.type not in FIELDS]
    if unknown:
        raise SpikefabError(
            f"node type {unknown[0].type}",
            unknown[0].where,
            "not supported",
            "its exporter lost this module, as Norse's does LIFRecurrentCell, Flatten and pools"
            if unknown[0].type == "NoneType"
            else f"Spikefab loads {', '.join(FIELDS)} and nested graphs",
        )
    _dissolve(raw, flat, "")
    _check_reach(flat)
    _check_linear_loops(flat)
    for output in flat.of_type("Output"):
        flat.outputs[output.name] = _shown(flat, output)
    return flat


def walk(raw: RawNode) -> Iterable[RawNode]:
    """The nodes of a graph and of the graphs in it, in natural order of their names."""
    for key in sorted(raw.nodes, key=natural):
        yield raw.nodes[key]
        yield from walk(raw.nodes[key])


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key in which '10' comes after '9'."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)


def _dissolve(raw: RawNode, flat: FlatGraph, prefix: str) -> None:
    for key in sorted(raw.nodes, key=natural):
        child = raw.nodes[key]
        if not child.is_graph:
            name = prefix + key
            if name in flat.nodes:
                raise SpikefabError(f"name '{name}'", flat.where, "two nodes would share it")
            flat.nodes[name] = _node(child, name, inner=bool(prefix))
            flat.graph.add_node(name)
        else:
            _dissolve(child, flat, f"{prefix}{key}.")
    if not raw.nodes:
        raise SpikefabError("no nodes", raw.where, "the graph is empty")
    for a, b in raw.edges:
        edge = f"edge '{a}' to '{b}'"
        for end in (a, b):
            if end not in raw.nodes:
                raise SpikefabError(edge, raw.where, f"there is no node '{end}'")
        if raw.nodes[a].type == "Output" or raw.nodes[b].type == "Input":
            raise SpikefabError(edge, raw.where, "an Input only gives and an Output only takes")
        ends = (_port(raw, a, "Output", prefix, edge), _port(raw, b, "Input", prefix, edge))
        if flat.graph.has_edge(*ends):
            flat.assumptions.append(
                f"The edge '{ends[0]}' to '{ends[1]}' is written twice and counted once, "
                "as NIR's edges are a set."
            )
        flat.graph.add_edge(*ends)


def _port(raw: RawNode, key: str, port: str, prefix: str, edge: str) -> str:
    """Where an edge to or from node `key` ends: for a graph, at its one Input or Output."""
    node, name = raw.nodes[key], prefix + key
    while node.is_graph:
        ports = [k for k, n in node.nodes.items() if n.type == port]
        if len(ports) != 1:
            raise SpikefabError(
                edge,
                raw.where,
                f"graph '{name}' has {len(ports)} {port} nodes",
                f"a nested graph needs exactly one {port}",
            )
        node, name = node.nodes[ports[0]], f"{name}.{ports[0]}"
    return name


def _node(raw: RawNode, name: str, inner: bool) -> Node:
    required, optional = FIELDS[raw.type]
    if missing := [k for k in required if k not in raw.fields]:
        raise SpikefabError(
            f"no parameter '{missing[0]}'", raw.where, f"{raw.type} has {', '.join(required)}"
        )
    if odd := sorted(set(raw.fields) - {*required, *optional}):
        raise SpikefabError(
            f"parameter '{odd[0]}'",
            raw.where,
            f"{raw.type} has {', '.join((*required, *optional)) or 'none'}",
        )
    words = {k: v for k, v in raw.fields.items() if k in WORDS and isinstance(v, str)}
    hint = "a node without leak is an IF (snnTorch writes a beta of 1 as inf)"
    values = {
        k: numbers(v, f"parameter '{k}'", raw.where, hint if k in ("r", "tau", "tau_mem") else "")
        for k, v in raw.fields.items()
        if k not in words and not (k == "input_type" and not _is_numeric(v))
    }
    kind = JUNCTION if inner and raw.type in ("Input", "Output") else raw.type
    return Node(name, kind, raw.where, values, words)


def _is_numeric(value: Any) -> bool:
    """Whether a Flatten says its input type; files may hold an empty placeholder instead."""
    try:
        return numbers(value, "", "").size > 0
    except SpikefabError:
        return False


def _check_reach(flat: FlatGraph) -> None:
    inputs = flat.of_type("Input")
    outputs = flat.of_type("Output")
    for found, kind in ((inputs, "Input"), (outputs, "Output")):
        if not found:
            raise SpikefabError(
                f"no {kind} node",
                flat.where,
                hint=f"add a nir.{kind} with the network's {kind.lower()} shape",
            )
    for node in flat.nodes.values():
        if node.type != "Input" and not flat.graph.in_degree(node.name):
            raise SpikefabError(f"{node.type} without input", node.where, "no edge leads to it")
        if node.type != "Output" and not flat.graph.out_degree(node.name):
            raise SpikefabError(
                f"dangling {node.type}",
                node.where,
                "no edge leads on from it",
                "connect it to an Output or remove it",
            )
    reached = set(reach(flat.graph, [n.name for n in inputs]))
    useful = set(reach(flat.graph.reverse(copy=False), [n.name for n in outputs]))
    for node in flat.nodes.values():
        if node.name not in reached:
            raise SpikefabError(f"{node.type} without input", node.where, "no Input leads to it")
        if node.name not in useful:
            raise SpikefabError(
                f"dangling {node.type}",
                node.where,
                "no way leads from it to an Output",
                "connect it to an Output or remove it",
            )


def reach(graph: nx.DiGraph[str], start: list[str]) -> list[str]:
    """The nodes that can be reached from `start`, nearest first."""
    order = list(start)
    seen = set(order)
    for name in order:
        for following in graph.successors(name):
            if following not in seen:
                seen.add(following)
                order.append(following)
    return order


def _check_linear_loops(flat: FlatGraph) -> None:
    linear = flat.graph.subgraph(n.name for n in flat.nodes.values() if not n.is_source)
    if not nx.is_directed_acyclic_graph(linear):
        names = sorted({end for edge in nx.find_cycle(linear) for end in edge}, key=natural)
        raise SpikefabError(
            f"loop of {', '.join(repr(n) for n in names)}",
            flat.where,
            "it has no neurons, so nothing delays it",
        )


def _shown(flat: FlatGraph, output: Node) -> str:
    """The neurons that an Output shows: those behind it, or a relay of these behind a Delay."""
    way = _way_back(flat, output)
    neurons, delays = way[-1], [n for n in way if n.type == "Delay"]
    if not delays:
        return neurons.name
    if neurons.type not in SPIKING:
        raise SpikefabError(
            f"{neurons.type} '{neurons.name}' before the Delay",
            delays[-1].where,
            "it does not spike, and only spikes can be delayed",
            "put the Delay before it",
        )
    relay = Node(
        f"{delays[0].name}.relay",
        "Threshold",
        delays[0].where,
        {"threshold": np.array(RELAY_THRESHOLD)},
    )
    if flat.nodes.get(relay.name, relay).where != relay.where:
        raise SpikefabError(
            f"name '{relay.name}'", flat.nodes[relay.name].where, "relay neurons need it"
        )
    if relay.name not in flat.nodes:
        flat.nodes[relay.name] = relay
        flat.graph.add_edge(delays[0].name, relay.name)
        flat.assumptions.append(
            f"The spikes of '{neurons.name}' reach '{output.name}' through relay neurons "
            f"'{relay.name}', which take them after the delay."
        )
    last = way[way.index(delays[0]) - 1]
    flat.graph.remove_edge(delays[0].name, last.name)
    flat.graph.add_edge(relay.name, last.name)
    return relay.name


def _way_back(flat: FlatGraph, output: Node) -> list[Node]:
    """The nodes from an Output back to the neurons that it shows."""
    way = [output]
    while not way[-1].is_neuron:
        sources = sorted(flat.graph.predecessors(way[-1].name), key=natural)
        if len(sources) > 1:
            listed = ", ".join(repr(s) for s in sources)
            raise SpikefabError(
                f"{len(sources)} nodes ({listed}) that feed one Output",
                output.where,
                "an Output shows the spikes of one population",
                "give each its own Output, or restore the neurons that should add them up "
                "(some exporters lose these after a skip connection)",
            )
        node = flat.nodes[sources[0]]
        if not node.is_neuron and node.type not in (JUNCTION, "Flatten", "Delay"):
            raise SpikefabError(
                f"{node.type} '{node.name}' before the Output",
                output.where,
                "an Output shows neurons",
                "end the network with LI or spiking neurons (some exporters lose those after an "
                "addition)",
            )
        way.append(node)
    return way


def shape_text(shape: Shape) -> str:
    """A shape as messages give it."""
    return f"[{', '.join(map(str, shape))}]"
