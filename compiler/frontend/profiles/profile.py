"""The record of what an exporter takes for granted, undoes and leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...ir.errors import SpikefabError
from ..nir_graph import FlatGraph, Node

ROUNDING = 1e-5  # relative; exporters compute in float32


def _anything(node: Node) -> str:
    return ""


def _nothing(flat: FlatGraph) -> list[str]:
    return []


def _no_dt(flat: FlatGraph) -> float | None:
    return None


@dataclass(frozen=True)
class Profile:
    """How the files of one exporter are read.

    exporter: its name in messages; fixed: settings that it determines, which no argument may
    contradict; defaults: settings that hold unless an argument says otherwise; asked: settings that
    its framework has but does not write, and why they must be told; sees: the current that a
    potential integrates, `new` or `old`; next_step: a reset acts in the step after the spike;
    unit_gains: gains that are 1 in the framework whatever the file says, of `leaky` and
    `integrator` (of the input on v) and `synapse` (of the input on the current); leaks_input: types
    of nodes whose input leaks with what it is added to, in the same step; tau_over_dt: time
    constants of the file are dt times those of the framework, dt in seconds; starts_at: the
    parameter of the file at which potentials start; said: what is taken for granted besides.

    unlike: why the exporter cannot have written a node, empty if it can; signs: what in a file
    speaks for the exporter; own_dt: the dt that a file gives away, None if it does not.
    """

    name: str
    exporter: str = ""
    article: str = "a"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, str] = field(default_factory=dict)
    sees: str = "old"
    next_step: bool = False
    unit_gains: frozenset[str] = frozenset()
    leaks_input: frozenset[str] = frozenset()
    tau_over_dt: bool = False
    starts_at: str = ""
    said: tuple[str, ...] = ()
    unlike: Callable[[Node], str] = _anything
    signs: Callable[[FlatGraph], list[str]] = _nothing
    own_dt: Callable[[FlatGraph], float | None] = _no_dt

    def misfit(self, flat: FlatGraph) -> SpikefabError | None:
        """The first sign that this exporter did not write the file, None if it may have."""
        for node in (n for n in flat.nodes.values() if n.is_neuron):
            if why := self.unlike(node):
                return SpikefabError(
                    f"not {self.article} {self.exporter} export",
                    node.where,
                    why,
                    "choose the profile of its exporter",
                )
        return None


def other_type(node: Node, exporter: str, *types: str) -> str:
    """Why an exporter that writes neurons of these types cannot have written `node`."""
    return "" if node.type in types else f"{exporter} writes no {node.type} nodes"


def not_all(node: Node, expected: float, *names: str) -> str:
    """Which of these parameters, where `node` has them, is not `expected` throughout."""
    for name in names:
        if name in node.values and (node.values[name] != expected).any():
            return f"'{name}' is not {expected:g}"
    return ""


def likely(flat: FlatGraph, profiles: Mapping[str, Profile]) -> tuple[str, list[str]] | None:
    """The one profile that fits and has the most signs, with these; None if there is no such."""
    told = {n: p.signs(flat) for n, p in profiles.items() if not p.misfit(flat)}
    most = max((len(signs) for signs in told.values()), default=0)
    best = [n for n, signs in told.items() if len(signs) == most]
    return (best[0], told[best[0]]) if most and len(best) == 1 else None
