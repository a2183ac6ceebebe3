"""Random source networks, and an exact integer reference that steps them as a framework would.

The reference knows nothing of ticks, cores or rows. It shares no code with the compiler or the
emulator but the interpreter of the fixed-point language: within one step, populations act one after
another along the projections without delay; a projection of k steps brings the spikes of k steps
before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from spikefab import Network, Rows, SpikeTrain
from spikefab.compiler.ir.interpret import evaluate
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.neuron import Datapath

Rng = np.random.Generator
FRACTIONS = (0, 1, 1024, 2048, 3000, 3686, 4000, 4095, 4096)


@dataclass
class Source:
    """A random network, as the product sees it and as plain integers for the reference."""

    network: Network
    sizes: dict[str, int]
    inputs: tuple[str, ...]
    order: tuple[str, ...]  # populations, in the order in which they act within a step
    synapses: list[tuple[str, int, str, int, int, int]]  # source, line, target, neuron, w, delay
    parameters: dict[str, dict[str, Any]]  # weight LSB, fractions in 1/4096, counts
    initial: dict[str, dict[str, Any]]


def random_source(rng: Rng, rich: bool) -> Source:
    """Up to six populations with skips, recurrence, biases, initial values and delays.

    `rich` draws from every model and option; else all populations share one.
    """
    network = Network()
    inputs = [network.input(f"in{n}", int(rng.integers(1, 4))) for n in range(rng.integers(1, 3))]
    count = int(rng.integers(1, 7))
    names = [f"p{n}" for n in range(count)]
    sizes = {i.name: i.size for i in inputs} | {n: int(rng.integers(1, 5)) for n in names}
    parameters: dict[str, dict[str, Any]] = {}
    initial: dict[str, dict[str, Any]] = {}
    parts: dict[str, Any] = {i.name: i for i in inputs}
    for n, name in enumerate(names):
        model, options = _model(rng, rich, last=n == count - 1)
        traced = LIBRARY[model].datapath(16, 24, options)
        parameters[name] = {
            k: _parameter(rng, k, unit, sizes[name]) for k, unit in traced.units.items()
            if unit != "gain"
        }
        initial[name] = {
            k: rng.integers(0, 3 if k == "refractory" else 40, sizes[name]) for k in traced.state
        } if rng.random() < 0.5 else {}
        parts[name] = network.population(
            name, sizes[name], model, options=options, initial=initial[name],
            output=n == count - 1 or bool(rng.random() < 0.4),
            **{k: v / 4096 if traced.units[k] == "fraction" else v
               for k, v in parameters[name].items()},
        )  # fmt: skip
    synapses: list[tuple[str, int, str, int, int, int]] = []
    spiking = [n for n in names if parameters[n].get("threshold") is not None]
    for target_number, target in enumerate(names):
        for source in [i.name for i in inputs] + spiking:
            forward = source not in names or names.index(source) < target_number
            chance = 0.75 if source in names and names.index(source) == target_number - 1 else 0.3
            if rng.random() > chance:
                continue
            least = 0 if forward else 1
            if rng.random() < 0.3:
                synapses += _connect_rows(rng, network, parts, sizes, source, target, least)
            else:
                delay = least + int(rng.choice([0, 0, 0, 1, 2]))
                synapses += _connect_matrix(rng, network, parts, sizes, source, target, delay)
    return Source(
        network, sizes, tuple(i.name for i in inputs), tuple(names), synapses, parameters, initial
    )


def _model(rng: Rng, rich: bool, last: bool) -> tuple[str, dict[str, str]]:
    if not rich:
        return "lif", {"refractory": "integrate"}
    model = str(rng.choice(["if", "lif", "cubalif", "li", "cubali"] if last else
                           ["if", "lif", "cubalif"]))  # fmt: skip
    choices = {
        "leak": ["multiply", "shift"],
        "fires": [">", ">="],
        "reset": ["value", "subtract"],
        "reset_at": ["now", "before", "after"],
        "refractory": ["none", "hold", "integrate"],
        "sees": ["new", "old"],
    }
    return model, {
        k: str(rng.choice(v)) for k, v in choices.items() if k in LIBRARY[model].options
    }


def _parameter(rng: Rng, name: str, unit: str, size: int) -> Any:
    if unit == "fraction":
        return rng.choice(FRACTIONS, size).astype(float)
    if unit == "shift":
        return rng.integers(0, 13, size).astype(float)
    if unit == "count":
        return rng.integers(0, 4, size).astype(float)
    low, high = {"threshold": (10, 60), "v_reset": (-5, 6)}.get(name, (-6, 12))
    return rng.integers(low, high, size).astype(float)


def _connect_matrix(
    rng: Rng, network: Network, parts: Any, sizes: Any, source: str, target: str, delay: int
) -> list[tuple[str, int, str, int, int, int]]:
    shape = (sizes[source], sizes[target])
    weight = rng.integers(-20, 50, shape) * (rng.random(shape) < 0.8)
    first = np.arange(0, weight.size + 1, shape[1])
    rows = Rows(first, np.tile(np.arange(shape[1]), shape[0]), weight.ravel(), scale=1.0)
    network.connect(parts[source], parts[target], rows, delay=delay)
    return [
        (source, int(i), target, int(j), int(weight[i, j]), delay)
        for i, j in zip(*np.nonzero(weight), strict=True)
    ]


def _connect_rows(
    rng: Rng, network: Network, parts: Any, sizes: Any, source: str, target: str, least: int
) -> list[tuple[str, int, str, int, int, int]]:
    """A delay of its own for every synapse."""
    mask = rng.random((sizes[source], sizes[target])) < 0.6
    i, j = np.nonzero(mask)
    weight = rng.integers(-20, 50, len(i))
    delay = least + rng.integers(0, 3, len(i))
    first = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    network.connect(
        parts[source], parts[target], Rows(first, j, weight, scale=1.0, delay=delay)
    )
    return [
        (source, int(a), target, int(b), int(w), int(d))
        for a, b, w, d in zip(i, j, weight, delay, strict=True)
        if w
    ]


def random_input_steps(rng: Rng, source: Source, steps: int) -> dict[str, Any]:
    """Spikes of every input as booleans [steps, lines]."""
    rate = float(rng.choice([0.1, 0.4, 0.9]))
    return {name: rng.random((steps, source.sizes[name])) < rate for name in source.inputs}


def as_trains(raster: dict[str, Any]) -> dict[str, SpikeTrain]:
    """The same spikes as a device takes them."""
    return {name: SpikeTrain.from_dense(spikes) for name, spikes in raster.items()}


def step_network(
    source: Source, raster: dict[str, Any], steps: int, models: dict[str, Datapath],
    gain: dict[str, int], unit_lsb: dict[str, float],
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Spikes (or values) and potentials [steps, size] of every population.

    gain: how many potential LSB, as a power of two, a weight LSB is worth in each population;
    unit_lsb: how many potential LSB its network's unit is worth.
    """
    spikes = {n: np.zeros((steps, source.sizes[n]), int) for n in source.order} | {
        name: raster[name].astype(int) for name in source.inputs
    }
    potential = {n: np.zeros((steps, source.sizes[n]), int) for n in source.order}
    state = {
        n: [
            {
                k: round(
                    float(source.initial[n].get(k, np.zeros(99))[i])
                    * (1 if k == "refractory" else unit_lsb[n])
                )
                for k in models[n].state
            }
            for i in range(source.sizes[n])
        ]
        for n in source.order
    }
    into: dict[str, list[tuple[str, int, int, int, int]]] = {n: [] for n in source.order}
    for a, i, b, j, w, d in source.synapses:
        into[b].append((a, i, j, w, d))
    for step in range(steps):
        for name in source.order:
            current = [0] * source.sizes[name]
            for a, i, j, w, d in into[name]:
                if step >= d:
                    current[j] += w * int(spikes[a][step - d, i])
            for j in range(source.sizes[name]):
                inputs = {f"state.{k}": v for k, v in state[name][j].items()}
                inputs["current"] = current[j]
                for k, unit in models[name].units.items():
                    inputs[f"parameter.{k}"] = (
                        gain[name] if unit == "gain"
                        else round(
                            float(source.parameters[name][k][j])
                            * (unit_lsb[name] if unit == "potential" else 1)
                        )
                    )  # fmt: skip
                out = evaluate(models[name].outputs, inputs)
                state[name][j] = {k: out[f"next.{k}"] for k in models[name].state}
                spikes[name][step, j] = out["spike"] if "spike" in out else out["value"]
                potential[name][step, j] = out["next.v"]
    return spikes, potential
