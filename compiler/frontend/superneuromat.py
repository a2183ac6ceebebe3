"""Networks of SuperNeuroMAT, from the JSON that its `saveas_json` writes (format 0.1).

In a step every neuron leaks linearly toward its reset state and stays there, takes the input of the
step and the weights of what spiked in the step before, and spikes above its threshold unless it is
refractory; then it is reset. That is the model `lif` with `leak=linear` and `refractory=integrate`.
Then plastic weights change, by the learning rule `lags`. A longer delay is a chain of relay
neurons, which the file has as neurons.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..ir.rules import MOST_LAGS
from ..ir.spikes import SpikeTrain
from ..network import Floats, Network, Triples
from ..plasticity import Plasticity

OPTIONS = {"leak": "linear", "fires": ">", "refractory": "integrate"}
MOST_EVENTS = 15  # of a line in a step, after which an infinite leak still reaches the reset state
FINEST = 12  # numbers that are multiples of 2^-12, or of a greater power of two, are kept exactly
DECIMALS = 6  # so are those of 1, 2 or 5 of so many decimals, in which SuperNeuroMAT itself rounds
NEAR = 1e-12  # relative: what floats lose of a decimal
_WIDEST = 1 << 15  # multiples beyond which numbers are rounded instead
_NEURON = {
    "threshold": "neuron_thresholds", "leak": "neuron_leaks", "reset": "neuron_reset_states",
    "period": "neuron_refractory_periods", "refractory": "neuron_refractory_periods_state",
    "v": "neuron_states",
}  # fmt: skip
_SYNAPSE = {
    "source": "pre_synaptic_neuron_ids", "target": "post_synaptic_neuron_ids",
    "weight": "synaptic_weights", "plastic": "enable_stdp",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds: [neurons] and [synapses] by the names above; up, down: what STDP adds at
    each lag; input: (step, neuron, value) of its input spikes, those of a neuron in a step summed.
    """

    where: str
    neurons: int
    neuron: dict[str, Floats]
    synapse: dict[str, Floats]
    up: Floats
    down: Floats
    input: tuple[NDArray[np.int64], NDArray[np.int64], Floats]

    @property
    def lines(self) -> NDArray[np.float64]:
        """(neuron, value) of each input line: one for each pair that occurs, [lines, 2]."""
        _, neuron, value = self.input
        if not len(neuron):
            return np.stack([np.arange(self.neurons), np.ones(self.neurons)], axis=1)
        return np.unique(np.stack([neuron, value], axis=1), axis=0)


def is_json(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as JSON does; false for one that cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(64).lstrip()[:1] == b"{"
    except OSError:
        return False


def load_superneuromat(path: str | os.PathLike[str]) -> tuple[Network, SpikeTrain]:
    """The network of a file, its neurons the population `neurons`, and the file's input spikes.

    The lines of the input `input` are the pairs of neuron and value of these spikes; without any,
    line n adds 1 to neuron n. Synapses with STDP are the plastic projection `neurons->neurons`;
    their weights are SuperNeuroMAT's as long as none reaches its limit (see `first_limit`). Raises
    SpikefabError for what is no such file or cannot be carried.
    """
    stored = read(path)
    n, s = stored.neuron, stored.synapse
    lines = stored.lines
    network = Network()
    network.settings["profile"] = "superneuromat"
    numbers = [*n.values(), s["weight"], lines[:, 1], stored.up, stored.down]
    scale = _scale(numbers, network, stored.where)
    plastic = s["plastic"] > 0
    if plastic.any() and scale is None:
        raise SpikefabError(
            "STDP", stored.where, "its numbers are no multiples of one step within 16 bits, and "
            "what is rounded would add up", f"use multiples of 2^-{FINEST}, or of a decimal",
        )  # fmt: skip
    if plastic.any():
        network.assumptions.append(
            "No weight of 'neurons->neurons' reaches an end of its range, as SuperNeuroMAT's has "
            "none: `spikefab run --limits`, or `first_limit`, tells."
        )
    neurons = network.population(
        "neurons", stored.neurons, "lif", options=OPTIONS, output=True,
        initial={"v": n["v"], "refractory": n["refractory"]}, threshold=n["threshold"],
        v_reset=n["reset"], v_rest=n["reset"], refractory_period=n["period"],
        leak_step=_finite(stored, lines, scale), **({} if scale is None else {"gain": 0}),
    )  # fmt: skip
    given = network.input("input", len(lines))

    def connect(
        source: Any, pre: Floats, post: Floats, weight: Floats, delay: int,
        plasticity: Plasticity | None = None,
    ) -> None:  # fmt: skip
        kept = weight if scale is None else np.rint(weight / scale).astype(np.int64)
        synapses = Triples(pre.astype(np.int64), post.astype(np.int64), kept, scale)
        network.connect(source, neurons, synapses, delay=delay, plasticity=plasticity)

    connect(given, np.arange(len(lines), dtype=float), lines[:, 0], lines[:, 1], 0)
    for chosen, rule in ((~plastic, None), (plastic, _rule(stored))):
        ends = s["source"][chosen], s["target"][chosen]
        if chosen.any() or rule is None:
            connect(neurons, *ends, s["weight"][chosen], 1, rule)
    return network, _train(stored, lines)


def _rule(stored: Stored) -> Plasticity | None:
    """How synapses learn, None where nothing changes them."""
    if not len(stored.up):
        return None
    tables = {"up": stored.up, "down": stored.down} if stored.down.any() else {"up": stored.up}
    options = {"steps": str(len(stored.up)), "down": "yes" if len(tables) > 1 else "no"}
    given: dict[str, Any] = {
        f"{kind}_{k + 1}": float(x) for kind, xs in tables.items() for k, x in enumerate(xs)
    }
    return Plasticity("lags", options=options, **given)


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file holds, as `nir_reader.describe` tells it."""
    stored = read(path)
    ranges = {
        name: {"shape": [stored.neurons], "min": float(values.min()), "max": float(values.max())}
        for name, values in stored.neuron.items()
    }
    node = {"name": "neurons", "type": "SuperNeuroMAT", "shape": [stored.neurons]}
    counts = {"input": len(stored.lines), "neurons": len(stored.synapse["weight"])}
    try:
        load_superneuromat(path)
        unsupported = []
    except SpikefabError as fault:
        unsupported = [str(fault)]
    return {
        "file": stored.where,
        "nodes": [node | {"parameters": ranges}],
        "edges": [["input", "neurons"], ["neurons", "neurons"]],
        "outputs": {"neurons": "neurons"},
        "connections": [
            {"source": name, "target": "neurons", "synapses": n} for name, n in counts.items()
        ],
        "undetermined": [],
        "profiles": {"superneuromat": ""},
        "likely": {"profile": "superneuromat", "signs": ["it is JSON of its format"]},
        "unsupported": unsupported,
    }


def _train(stored: Stored, lines: NDArray[np.float64]) -> SpikeTrain:
    step, neuron, value = stored.input
    order = {(neuron, value): line for line, (neuron, value) in enumerate(lines.tolist())}
    given = zip(neuron.tolist(), value.tolist(), strict=True)
    return SpikeTrain.of(step, np.array([order[pair] for pair in given], np.int64))


def _finite(stored: Stored, lines: NDArray[np.float64], scale: float | None) -> Floats:
    """Leaks, where they are infinite as large as what a neuron can be away from its reset state."""
    n, s = stored.neuron, stored.synapse
    most = abs(n["v"] - n["reset"])
    taken = np.zeros(stored.neurons)
    np.add.at(taken, s["target"].astype(np.int64), abs(s["weight"]))
    np.add.at(taken, lines[:, 0].astype(np.int64), MOST_EVENTS * abs(lines[:, 1]))
    endless = np.isinf(n["leak"])
    if scale is not None:
        learns = np.isin(np.arange(stored.neurons), s["target"][s["plastic"] > 0])
        if (odd := np.flatnonzero(endless & learns & (n["reset"] != 0))).size:
            raise SpikefabError(
                f"an endless leak to the reset state {n['reset'][odd[0]]:g} of neuron {odd[0]}",
                stored.where, "its weights learn, so that nothing bounds how far it has to leak",
                "use a finite leak, or the reset state 0",
            )  # fmt: skip
        taken[learns] = (_WIDEST - 1) * scale  # as far as 16 bits reach
    return np.where(endless, np.maximum(most, taken), n["leak"])


def _scale(arrays: list[Floats], network: Network, where: str) -> float | None:
    """The step of which all finite numbers are multiples within 16 bits: a power of two, at most 1,
    else 5, 2 or 1 of a decimal place, in both cases the greatest; None without. Notes what is not
    exact."""
    values = np.concatenate([a[np.isfinite(a)] for a in arrays])
    powers = [2.0**-bits for bits in range(FINEST + 1)]
    decimals = [k / 10.0**place for place in range(1, DECIMALS + 1) for k in (5, 2, 1)]
    for step in (*powers, *decimals):
        multiples = values / step
        near = 0.0 if step in powers else NEAR * abs(multiples)
        if abs(multiples).max(initial=0) >= _WIDEST:
            continue
        if (abs(multiples - np.rint(multiples)) <= near).all():
            if step not in powers:
                network.assumptions.append(
                    f"The numbers of {where} are multiples of {step:g}, in which SuperNeuroMAT's "
                    "floats round: potentials that meet their thresholds may differ."
                )
            return step
    network.assumptions.append(
        f"The numbers of {where} are no multiples of 2^-{FINEST} within 16 bits, nor of a decimal: "
        "they are rounded."
    )
    return None


def read(path: str | os.PathLike[str]) -> Stored:
    """What a file holds, checked; raises SpikefabError."""
    where = str(path)
    try:
        whole = json.loads(Path(path).read_text(encoding="utf-8"))
        networks = whole["networks"]
        kinds = [network["meta"]["format"] for network in networks]
    except OSError as fault:
        raise SpikefabError("cannot read", where, fault.strerror or str(fault)) from None
    except (ValueError, RecursionError) as fault:
        raise SpikefabError("not JSON", where, " ".join(str(fault).split())) from None
    except (TypeError, KeyError, AttributeError):
        raise SpikefabError("no network", where, "not as SuperNeuroMAT writes JSON") from None
    if kinds != ["snm"]:
        raise SpikefabError(
            f"networks {kinds}", where, "one of SuperNeuroMAT's is read", "save each to a file"
        )
    data = networks[0]["data"]
    try:
        count = int(data["num_neurons"])
        neuron = {name: _array(data, key, count, where) for name, key in _NEURON.items()}
        synapses = int(data["num_synapses"])
        synapse = {name: _array(data, key, synapses, where) for name, key in _SYNAPSE.items()}
        up, down = _tables(data, where)
        synapse["plastic"] *= len(up) > 0
        given = _input(data["input_spikes"], where)
        past = _array({"spike_train": [], **data}, "spike_train", None, where)
        if len(past) and (np.any(past[-1]) or synapse["plastic"].any()):
            raise SpikefabError(
                f"spikes of {len(past)} steps before", where, "the network goes on from them",
                "clear_spike_train() and save again",
            )  # fmt: skip
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as fault:
        raise SpikefabError("damaged network", where, f"{fault!r}") from None
    stored = Stored(where, count, neuron, synapse, up, down, given)
    _check(stored)
    return stored


def _tables(data: Any, where: str) -> tuple[Floats, Floats]:
    """What STDP adds at each lag where both neurons spike, and where not; none where it is off."""
    tables = [
        _array(data, key, None, where) if data["stdp"] and data.get(f"stdp_{sign}_update", True)
        else np.zeros(0) for key, sign in (("apos", "positive"), ("aneg", "negative"))
    ]  # fmt: skip
    if not all(np.isfinite(table).all() for table in tables):
        raise SpikefabError("STDP by numbers that are not finite", where)
    sizes = {len(table) for table in tables if len(table)}
    if len(sizes) > 1:
        up, down = map(len, tables)
        raise SpikefabError(
            f"STDP with {up} lags in apos and {down} in aneg", where, "they have as many"
        )
    both = np.zeros((2, max(sizes, default=0)))
    for row, table in zip(both, tables, strict=True):
        row[: len(table)] = table
    lags = int(np.flatnonzero(both.any(axis=0)).max(initial=-1)) + 1
    if lags > MOST_LAGS:
        raise SpikefabError(f"STDP with {lags} lags", where, f"at most {MOST_LAGS} are carried")
    return both[0, :lags], both[1, :lags]


def _array(data: Any, key: str, size: int | None, where: str) -> Floats:
    """Numbers as a list, or encoded with their type; size: how many, if that is known."""
    stored = data[key]
    if isinstance(stored, dict):
        decode = base64.b85decode if "base85" in stored else base64.b64decode
        raw = decode(stored["base85" if "base85" in stored else "base64"])
        stored = np.frombuffer(raw, np.dtype(stored["dtype"]))
    values = np.asarray(stored, np.float64)
    if size is not None and values.shape != (size,):
        raise SpikefabError(f"'{key}' of shape {values.shape}", where, f"expected ({size},)")
    return values


def _input(stored: Any, where: str) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    sums: dict[tuple[int, int], float] = {}
    for step, spikes in stored.items():
        for neuron, value in zip(spikes["nids"], spikes["values"], strict=True):
            if type(neuron) is not int:
                raise SpikefabError(f"neuron {neuron!r} of an input spike", where, "not a number")
            sums[int(step), neuron] = sums.get((int(step), neuron), 0.0) + float(value)
    rows = sorted((step, neuron, value) for (step, neuron), value in sums.items() if value)
    columns = np.array(rows, np.float64).reshape(len(rows), 3).T
    return columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2]


def _check(stored: Stored) -> None:
    where, count = stored.where, stored.neurons
    if count < 1:
        raise SpikefabError("no neurons", where)
    for name, values in (*stored.neuron.items(), *stored.synapse.items()):
        finite = ~np.isnan(values) if name == "leak" else np.isfinite(values)
        whole = values == np.rint(values)
        good = {
            "leak": finite & (values >= 0),
            "period": finite & whole & (values >= 0) & (values <= 255),
            "refractory": finite & whole & (values >= 0) & (values <= 255),
            "source": finite & whole & (values >= 0) & (values < count),
            "target": finite & whole & (values >= 0) & (values < count),
            "plastic": (values == 0) | (values == 1),
        }.get(name, finite)
        if not good.all():
            at = int(np.flatnonzero(~good)[0])
            kind = "neuron" if name in stored.neuron else "synapse"
            why = {
                "leak": "a leak is 0 or more, and goes toward the reset state",
                "period": "whole steps, 0 to 255",
                "refractory": "whole steps, 0 to 255",
                "source": f"neurons are 0 to {count - 1}",
                "target": f"neurons are 0 to {count - 1}",
                "plastic": "0 or 1",
            }.get(name, "a finite number is needed")
            raise SpikefabError(f"{name} = {values[at]:g} of {kind} {at}", where, why)
    step, neuron, value = stored.input
    odd = (neuron < 0) | (neuron >= count) | (step < 0) | ~np.isfinite(value)
    if odd.any():
        at = int(np.flatnonzero(odd)[0])
        raise SpikefabError(
            f"an input spike of {value[at]:g} for neuron {neuron[at]} in step {step[at]}", where,
            f"neurons are 0 to {count - 1}, steps 0 and more",
        )  # fmt: skip
    pairs = np.stack([stored.synapse["source"], stored.synapse["target"]])
    found, times = np.unique(pairs, axis=1, return_counts=True)
    if (times > 1).any():
        pre, post = found[:, times > 1][:, 0]
        raise SpikefabError(f"several synapses {pre:g} to {post:g}", where, "one is expected")
