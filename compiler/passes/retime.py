"""Retime: from steps, in which all layers act at once, to ticks, in which a spike takes one hop.

A population of stage s takes its step n in tick s + n x period. A spike of a population emitted in
tick t is delivered in t + 1, an input stamped t in t; so with a projection of k steps of delay

    start(target) + period x k - start(source) - 1 = delay >= 0,

an input counting as a source of start -1. These are difference constraints: the least starts are
longest paths, and a loop of h hops and k steps in all needs period x k >= h.
"""

from __future__ import annotations

import dataclasses

import networkx as nx
import numpy as np

from ..ir.errors import SpikefabError
from ..network import Generated, Input, Network, Projection
from .draft import Draft, Timing

INPUT_START = -1


def retime(draft: Draft, dilate: bool = False) -> Draft:
    """Give every population its start and every projection its delay in ticks.

    Raises SpikefabError for a loop with more hops than steps of delay, unless `dilate` allows a
    period above 1; and for a loop without any delay.
    """
    network = draft.network
    hops = [
        (x, _least_delay(x), isinstance(network.node(x.source), Input))
        for x in network.projections
        if not _is_empty(x)
    ]
    _refuse_instant_loops(network, hops)
    period = 1
    while (start := _starts(network, hops, period)) is None:
        if not dilate:
            _refuse_short_loop(hops)
        period += 1
    emitted = start | {i.name: INPUT_START for i in network.inputs}
    delays = tuple(
        0 if _is_empty(x) else start[x.target] + period * x.delay - emitted[x.source] - 1
        for x in network.projections
    )
    result = dataclasses.replace(draft, timing=Timing(period, start, delays))
    check(result)
    return result


def slots(draft: Draft) -> int:
    """How many delay slots the longest delay of a timed draft needs."""
    assert draft.timing is not None
    timing = draft.timing
    return 1 + max(
        (
            delay + timing.period * (_most_delay(x) - x.delay)
            for x, delay in zip(draft.network.projections, timing.delay, strict=True)
            if not _is_empty(x)
        ),
        default=0,
    )


def check(draft: Draft) -> None:
    """Raise SpikefabError unless every synapse lands on the step it should, and fits the chip."""
    timing, network = draft.timing, draft.network
    assert timing is not None
    for x, delay in zip(network.projections, timing.delay, strict=True):
        if _is_empty(x):
            continue
        source = network.node(x.source)
        emitted = INPUT_START if isinstance(source, Input) else timing.start[x.source]
        lands = emitted + 1 + delay - timing.start[x.target]
        where = f"projection '{x.source}' to '{x.target}'"
        if lands != timing.period * x.delay:
            raise SpikefabError(f"it lands {lands} ticks late", where)
        least = delay + timing.period * (_least_delay(x) - x.delay)
        most = delay + timing.period * (_most_delay(x) - x.delay)
        if least < 0:
            raise SpikefabError(f"delay of {least} ticks", where)
        if most >= draft.chip.delay_slots:
            raise SpikefabError(
                f"delay of {most} ticks",
                where,
                f"chip '{draft.chip.name}' has {draft.chip.delay_slots} delay slots",
                f"it needs {most + 1}",
            )


def _is_empty(projection: Projection) -> bool:
    c = projection.connections
    return not isinstance(c, np.ndarray | Generated) and not len(c.target)


def _own_delays(projection: Projection) -> tuple[int, int] | None:
    c = projection.connections
    if isinstance(c, np.ndarray):
        return None
    if isinstance(c, Generated):
        return (1, 1) if c.delays else None
    if c.delay is None:
        return None
    return int(c.delay.min()), int(c.delay.max())


def _least_delay(projection: Projection) -> int:
    own = _own_delays(projection)
    return projection.delay + own[0] if own else projection.delay


def _most_delay(projection: Projection) -> int:
    own = _own_delays(projection)
    return projection.delay + own[1] if own else projection.delay


def _starts(
    network: Network, hops: list[tuple[Projection, int, bool]], period: int
) -> dict[str, int] | None:
    """Least starts by longest paths (Bellman-Ford); None where a loop is too short."""
    start = {p.name: 0 for p in network.populations}
    for _ in range(len(start) + 1):
        moved = False
        for x, k, is_input in hops:
            before = INPUT_START if is_input else start[x.source]
            least = before + 1 - period * k
            if least > start[x.target]:
                start[x.target], moved = least, True
        if not moved:
            return start
    return None


def _refuse_instant_loops(network: Network, hops: list[tuple[Projection, int, bool]]) -> None:
    instant: nx.DiGraph[str] = nx.DiGraph()
    instant.add_edges_from((x.source, x.target) for x, k, is_input in hops if k == 0)
    loop = _loop(instant)
    if loop:
        raise SpikefabError(
            "a loop without delay",
            f"populations {_path(loop)}",
            "each would need the other's spikes of the same step",
            "give one of its projections a delay of a step",
        )


def _loop(graph: nx.DiGraph[str]) -> list[str]:
    try:
        return [str(edge[0]) for edge in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        return []


def _path(loop: list[str]) -> str:
    return " -> ".join(f"'{name}'" for name in [*loop, loop[0]])


def _refuse_short_loop(hops: list[tuple[Projection, int, bool]]) -> None:
    """Name a loop with more hops than steps of delay."""
    weighted: nx.DiGraph[str] = nx.DiGraph()
    for x, k, is_input in hops:
        if not is_input:
            known = weighted.get_edge_data(x.source, x.target, {"weight": k - 1})["weight"]
            weighted.add_edge(x.source, x.target, weight=min(known, k - 1))
    for name in weighted:
        try:
            loop = nx.find_negative_cycle(weighted, name)[:-1]
        except nx.NetworkXError:
            continue
        steps = sum(
            weighted[a][b]["weight"] + 1 for a, b in zip(loop, loop[1:] + loop[:1], strict=True)
        )
        raise SpikefabError(
            "a loop within a step",
            f"populations {_path(loop)}",
            f"its {len(loop)} hops take {len(loop)} ticks, its delays give {steps}",
            "allow several ticks per step with --dilate",
        )
    raise AssertionError("no short loop found")
