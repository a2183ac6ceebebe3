"""Which edges of a recurrent network carry the step of delay.

Within a step, spikes travel from node to node; around a loop they cannot, so one edge of it must
carry a step. Where a loop can be entered at one node only, that is the edge back to this node.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import networkx as nx

from ..ir.errors import SpikefabError
from .nir_graph import natural


@dataclass(frozen=True, eq=False)
class Recurrence:
    """`delayed` holds the (source, target) pairs that carry one step; `assumptions` says so."""

    delayed: set[tuple[str, str]] = field(default_factory=set)
    assumptions: list[str] = field(default_factory=list)


def find_recurrence(graph: nx.DiGraph[str], where: str) -> Recurrence:
    """The back edges of a graph of inputs and neurons.

    Raises SpikefabError for a loop that is entered at several nodes: which of its edges carries
    the delay would be a guess.
    """
    result = Recurrence()
    left = nx.DiGraph(graph)
    for name in sorted(nx.nodes_with_selfloops(graph), key=natural):
        left.remove_edge(name, name)
        result.delayed.add((name, name))
        result.assumptions.append(
            f"The recurrent connection of '{name}' acts in the next step (delay 1)."
        )
    todo = [set(left)]
    while todo:
        for loop in nx.strongly_connected_components(left.subgraph(todo.pop()).copy()):
            if len(loop) == 1:
                continue
            entry = _entry(left, loop, where)
            for source in sorted(set(left.predecessors(entry)) & loop, key=natural):
                left.remove_edge(source, entry)
                result.delayed.add((source, entry))
                result.assumptions.append(
                    f"The connection '{source}' to '{entry}' acts in the next step (delay 1): the "
                    f"loop of {_names(loop)} is entered at '{entry}'."
                )
            todo.append(loop)
    return result


def _entry(graph: nx.DiGraph[str], loop: set[str], where: str) -> str:
    entries = [n for n in loop if set(graph.predecessors(n)) - loop]
    if len(entries) != 1:
        raise SpikefabError(
            f"ambiguous loop of {_names(loop)}",
            where,
            f"it is entered at {_names(set(entries)) if entries else 'none of them'}, so the file "
            "leaves open which connection carries the step of delay",
            "let one population take what comes from outside the loop",
        )
    return entries[0]


def _names(names: set[str]) -> str:
    listed = [f"'{n}'" for n in sorted(names, key=natural)]
    return " and ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))
