"""NIR files to networks (`load`), and what a file holds and leaves open (`describe`)."""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from ..ir.errors import SpikefabError
from ..network import Input, Network, Population
from .linear_paths import Flow, connections, flows_into_neurons
from .lowering import Lowered, lower
from .nir_file import RawNode, numbers, read_graph
from .nir_graph import (
    FIELDS,
    LEAKY,
    READOUTS,
    RESETTING,
    SPIKING,
    WORDS,
    FlatGraph,
    flatten,
    natural,
    walk,
)
from .nir_shapes import infer_shapes
from .profiles import PROFILES
from .profiles.profile import likely
from .recurrence import Recurrence, find_recurrence
from .settings import settle
from .superneuromat import describe as describe_superneuromat
from .superneuromat import is_json, load_superneuromat

if TYPE_CHECKING:
    import nir


def load(
    source: str | os.PathLike[str] | nir.NIRGraph,
    *,
    dt: float | None = None,
    reset: str | None = None,
    discretisation: str | None = None,
    fires: str | None = None,
    floor: str | float | None = None,
    norm_input: bool | None = None,
    count_bits: int | None = None,
    complete: bool | None = None,
    profile: str | None = None,
) -> Network:
    """The network of a `.nir` file, of a `nir.NIRGraph` in memory, or of SuperNeuroMAT's JSON.

    dt: seconds per step; reset: to `zero` (the file's v_reset) or `subtract` the threshold;
    discretisation: `euler` or `exponential` decay; fires: `>` (NIR's equations) or `>=` the
    threshold; floor: the least potential, `threshold` for minus the threshold, or `none`;
    norm_input: whether inputs are scaled by what a leak loses (sinabs); count_bits: a neuron fires
    up to 2^count_bits - 1 times in a step; complete: whether neurons had neither recurrent weights
    nor biases, which Rockpool leaves out; profile: `nir`, `snntorch`, `norse`, `sinabs`,
    `spikingjelly` or `rockpool`, the conventions of what wrote the file. What neither arguments nor
    profile determine is refused, not guessed. `network.settings` and `network.assumptions` say how
    the file was read.

    Raises SpikefabError for a file that cannot be read, or a network that cannot be represented.
    """
    if isinstance(source, str | os.PathLike) and is_json(source):
        asked = {
            "dt": dt, "reset": reset, "discretisation": discretisation, "fires": fires,
            "floor": floor, "norm-input": norm_input, "count-bits": count_bits,
            "complete": complete, "profile": profile,
        }  # fmt: skip
        for name, value in asked.items():
            if value is not None:
                raise SpikefabError(
                    f"{name} with a network of SuperNeuroMAT", str(source),
                    "the file settles it", f"leave out --{name}",
                )  # fmt: skip
        return load_superneuromat(source)[0]
    raw, where = read_graph(source)
    flat = flatten(raw)
    shapes = infer_shapes(flat)
    settings = settle(
        flat,
        dt=dt,
        reset=reset,
        discretisation=discretisation,
        fires=fires,
        floor=floor,
        norm_input=norm_input,
        count_bits=count_bits,
        complete=complete,
        profile=profile,
    )
    flows = flows_into_neurons(flat, shapes, settings.dt)
    _check_sources(flat, flows)
    ends = nx.DiGraph()
    ends.add_nodes_from(n.name for n in flat.nodes.values() if n.is_source)
    ends.add_edges_from(
        (source, name) for name, f in flows.items() for source in f.sources if 0 in f.delays(source)
    )
    recurrence = find_recurrence(ends, where)
    _check_delays(flat, flows, recurrence)
    lowered = {
        n.name: lower(n, shapes.given[n.name], settings, recurrent=n.name in flows[n.name].sources)
        for n in flat.nodes.values()
        if n.is_neuron
    }
    network = Network()
    network.settings.update(settings.as_text())
    for said in (
        settings.assumptions,
        flat.assumptions,
        shapes.assumptions,
        *(low.assumptions for low in lowered.values()),
        recurrence.assumptions,
    ):
        network.assumptions.extend(said)
    sizes = {n: prod(s) for n, s in shapes.given.items()}
    _build(network, flat, sizes, flows, lowered, recurrence, ends)
    return network


def _check_sources(flat: FlatGraph, flows: dict[str, Flow]) -> None:
    for name, flow in flows.items():
        for source in flow.sources:
            if flat.nodes[source].type in READOUTS:
                raise SpikefabError(
                    f"{flat.nodes[source].type} '{source}' that feeds neurons",
                    flat.nodes[name].where,
                    "it does not spike, and only spikes travel between neurons",
                    "use it as a readout before an Output",
                )


def _check_delays(flat: FlatGraph, flows: dict[str, Flow], recurrence: Recurrence) -> None:
    """A Delay of a step or more closes a loop by itself; beside one of 0 steps it is unclear."""
    for source, target in sorted(recurrence.delayed):
        delays = flows[target].delays(source)
        if len(delays) > 1:
            raise SpikefabError(
                f"delays of {', '.join(map(str, delays))} steps from '{source}' in a loop",
                flat.nodes[target].where,
                "that of 0 steps takes the step of delay that a loop needs, and the file leaves "
                "open whether the others take it too",
                "give each a Delay of 1 step or more",
            )


def _build(
    network: Network,
    flat: FlatGraph,
    sizes: dict[str, int],
    flows: dict[str, Flow],
    lowered: dict[str, Lowered],
    recurrence: Recurrence,
    ends: nx.DiGraph[str],
) -> None:
    parts: dict[str, Input | Population] = {
        n.name: network.input(n.name, sizes[n.name]) for n in flat.of_type("Input")
    }
    shown = set(flat.outputs.values())
    forward = nx.DiGraph(ends)
    forward.remove_edges_from(recurrence.delayed)
    for name in nx.lexicographical_topological_sort(forward, key=natural):
        if name not in lowered:
            continue
        low = lowered[name]
        parameters: dict[str, Any] = dict(low.parameters)
        bias = flows[name].bias
        if bias is not None and bias.any():
            parameters[low.bias_name] = parameters.get(low.bias_name, 0.0) + (
                bias * low.gain * low.bias_kept
            )
        parts[name] = network.population(
            name,
            sizes[name],
            low.model,
            options=low.options,
            initial=low.initial,
            output=name in shown,
            **parameters,
        )
    for name in lowered:
        target = parts[name]
        assert isinstance(target, Population)
        for source in flows[name].sources:
            synapses, delay = connections(flows[name], source)
            network.connect(
                parts[source],
                target,
                synapses,
                delay=delay + ((source, name) in recurrence.delayed),
                gain=lowered[name].gain,
            )


def describe(source: str | os.PathLike[str] | nir.NIRGraph) -> dict[str, Any]:
    """What a network file holds, as plain JSON-ready values.

    `nodes`: name, type, shape of the output (None if unknown), range of each parameter; `edges`;
    `outputs`: the neurons that each Output shows; `connections`: between inputs and neurons, with
    the number of synapses; `undetermined`: what `load` must be told, with its flag; `profiles`: for
    each, why it does not fit (empty if it does); `likely`: the profile of its exporter and the
    signs by which it is known, or None; `unsupported`: what keeps the file from being loaded.
    Raises SpikefabError only for a file that cannot be read.
    """
    if isinstance(source, str | os.PathLike) and is_json(source):
        return describe_superneuromat(source)
    raw, where = read_graph(source)
    unsupported = [
        str(SpikefabError(f"node type {n.type}", n.where, "not supported"))
        for n in walk(raw)
        if not n.is_graph and n.type not in FIELDS
    ]
    shapes: dict[str, tuple[int, ...]] = {}
    fits: dict[str, str] = {}
    found: tuple[str, list[str]] | None = None
    outputs: dict[str, str] = {}
    connected: list[dict[str, Any]] = []
    if not unsupported:
        try:
            flat = flatten(raw)
            inferred = infer_shapes(flat)
            shapes, outputs = inferred.given, flat.outputs
            flows = flows_into_neurons(flat, inferred, None)
            _check_sources(flat, flows)
            connected = [
                {"source": source, "target": name, "synapses": flow.synapses(source)}
                for name, flow in flows.items()
                for source in flow.sources
            ]
            fits = {name: str(p.misfit(flat) or "") for name, p in PROFILES.items()}
            found = likely(flat, PROFILES)
        except SpikefabError as fault:
            unsupported.append(str(fault))
    types = {n.type for n in walk(raw)}
    undetermined = [{"name": "dt", "flag": "--dt SECONDS", "why": "NIR holds no time step"}]
    if types & set(RESETTING):
        undetermined.append(
            {
                "name": "reset",
                "flag": "--reset zero|subtract",
                "why": "NIR holds a v_reset but no word on subtraction",
            }
        )
    if types & set(SPIKING):
        undetermined.append(
            {
                "name": "fires",
                "flag": "--fires '>'|'>='",
                "why": "NIR's equations say v > v_threshold, which is taken if nothing is said",
            }
        )
    if types & set(LEAKY):
        undetermined.append(
            {
                "name": "discretisation",
                "flag": "--discretisation euler|exponential",
                "why": "NIR's equations are in continuous time",
            }
        )
    return {
        "file": where,
        "nodes": [_node(n, shapes) for n in walk(raw)],
        "edges": _edges(raw, ""),
        "outputs": outputs,
        "connections": connected,
        "undetermined": undetermined,
        "profiles": fits,
        "likely": {"profile": found[0], "signs": found[1]} if found else None,
        "unsupported": unsupported,
    }


def _node(raw: RawNode, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for key, value in raw.fields.items():
        if key in WORDS and isinstance(value, str):
            parameters[key] = {"word": value}
            continue
        try:
            array = numbers(value, f"parameter '{key}'", raw.where)
        except SpikefabError as fault:
            parameters[key] = {"problem": str(fault)}
            continue
        parameters[key] = {"shape": list(array.shape)}
        if array.size:
            parameters[key] |= {"min": float(np.min(array)), "max": float(np.max(array))}
    shape = shapes.get(raw.name)
    return {
        "name": raw.name,
        "type": raw.type,
        "shape": None if shape is None else list(shape),
        "parameters": parameters,
    }


def _edges(raw: RawNode, prefix: str) -> list[list[str]]:
    edges = [[prefix + a, prefix + b] for a, b in raw.edges]
    for key, child in raw.nodes.items():
        if child.is_graph:
            edges += _edges(child, f"{prefix}{key}.")
    return edges
