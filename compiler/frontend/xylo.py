"""Networks of Xylo, with the integers that its simulator computes with.

In a step (xylosim 0.1.3, v2), with decay(x) = x >> dash, at least 1 in magnitude while x is not 0:

    i = i + (w << shift) for each spike, which saturates at 16 bits each time; i = i - decay(i)
    v = v - decay(v) + i + bias, which saturates at 16 bits
    spikes as often as the threshold fits into v, up to 31 times in hidden neurons, once in outputs;
    v = v - threshold for each

Input acts in its step, spikes of hidden neurons in the step after. That is the model `cubalif` with
`leak` `least_loss`, `leak_at` `after` and `count_bits` 5, but for what a saturated current is: this
depends on the order of the spikes. So it is proved that no current can saturate, from the weights
and from how often each neuron can fire at most, or the network is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..ir.neuron import FRACTION_BITS, MAX_GAIN
from ..network import Network, Population, Triples
from .integers import whole

Integers = NDArray[np.int64]
TOP = (1 << 15) - 1
MOST_EVENTS = 15
HIDDEN_BITS = 5
_MOST_SPIKES = (1 << HIDDEN_BITS) - 1
_WEIGHT = (-128, 127)
_SHIFT = (0, 7)
_DASH = (0, FRACTION_BITS)
_RANGES = {"dash_syn": _DASH, "dash_mem": _DASH, "threshold": (1, TOP), "bias": (-TOP - 1, TOP)}


def xylo_network(
    weights_in: Any, weights_out: Any, weights_rec: Any = None, *, dash_mem: Any,
    dash_mem_out: Any, dash_syn: Any, dash_syn_out: Any, threshold: Any, threshold_out: Any,
    bias: Any = 0, bias_out: Any = 0, weight_shift_in: int = 0, weight_shift_rec: int = 0,
    weight_shift_out: int = 0, dash_syn_2: Any = 0, aliases: Any = None,
    events: int = MOST_EVENTS,
) -> Network:  # fmt: skip
    """The network of a specification as Rockpool's `XyloSim.from_specification` takes it.

    weights_in: integers [inputs, hidden], weights_rec: [hidden, hidden], weights_out: [hidden,
    outputs], as in Rockpool with fewer hidden neurons (the first take input, the last give output)
    or with a last axis of 2 for a second synapse, which must be unused; other parameters: an
    integer, or one per neuron. events: the most that an input line gets in a step, up to Xylo's 15:
    it is for the caller to keep to it. Populations are `hidden` and `output`, the input is `input`.

    Raises SpikefabError for what Xylo does not take, and for a neuron whose current could saturate.
    """
    into, back, out = _matrices(weights_in, weights_rec, weights_out)
    lines, size, outputs = len(into), len(back), out.shape[1]
    if aliases is not None and any(len(a) for a in aliases):
        raise SpikefabError(
            "aliases", "hidden neurons", "spikes copied to another neuron", "use synapses instead"
        )
    whole("dash_syn_2", dash_syn_2, "hidden neurons", _DASH, "Spikefab")
    most = int(whole("events", events, "the input", (1, MOST_EVENTS), "Xylo"))
    hidden = _layer("hidden", size, dash_syn, dash_mem, threshold, bias)
    shown = _layer("output", outputs, dash_syn_out, dash_mem_out, threshold_out, bias_out)
    shifts = {"weight_shift_in": weight_shift_in, "weight_shift_rec": weight_shift_rec,
              "weight_shift_out": weight_shift_out}  # fmt: skip
    by = {k: int(whole(k, v, "the network", _SHIFT, "Xylo")) for k, v in shifts.items()}
    shift_in, shift_rec, shift_out = by.values()
    _prove(hidden, shown, into << shift_in, back << shift_rec, out << shift_out, most)

    network = Network()
    source = network.input("input", lines)
    gain = min(shift_in, shift_rec if back.any() else MAX_GAIN)
    cells = _population(network, hidden, gain, HIDDEN_BITS)
    readout = _population(network, shown, shift_out, 1)
    network.connect(source, cells, _synapses(into << (shift_in - gain)))
    if back.any():
        network.connect(cells, cells, _synapses(back << (shift_rec - gain)), delay=1)
    network.connect(cells, readout, _synapses(out), delay=1)
    network.assumptions.append(
        f"A line of the input gets at most {most} events in a step: so no synaptic current of Xylo "
        "saturates."
    )
    return network


@dataclass(frozen=True, eq=False)
class _Layer:
    """Neurons alike; each parameter is [size]."""

    name: str
    dash_syn: Integers
    dash_mem: Integers
    threshold: Integers
    bias: Integers


def _layer(name: str, size: int, *parameters: Any) -> _Layer:
    order = ("dash_syn", "dash_mem", "threshold", "bias")
    where = f"{name} neurons"
    kept = []
    for key, values in zip(order, parameters, strict=True):
        owner = "Spikefab" if _RANGES[key] == _DASH else "Xylo"
        array = whole(key, values, where, _RANGES[key], owner).ravel()
        if array.size not in (1, size):
            raise SpikefabError(f"{array.size} values of '{key}'", where, f"there are {size}")
        kept.append(np.broadcast_to(array, size))
    return _Layer(name, *kept)


def _matrices(given_in: Any, given_rec: Any, given_out: Any) -> tuple[Integers, Integers, Integers]:
    """Weights from inputs [inputs, hidden], hidden neurons [hidden, hidden] and to outputs."""
    into, out = _matrix("weights_in", given_in), _matrix("weights_out", given_out)
    size = into.shape[1]
    if given_rec is None:
        back = np.zeros((size, size), np.int64)
    else:
        back = _matrix("weights_rec", given_rec)
        size = len(back)
    for name, array, fits in (
        ("weights_in", into, into.shape[1] <= size),
        ("weights_rec", back, back.shape == (size, size)),
        ("weights_out", out, len(out) <= size),
    ):
        if not fits:
            raise SpikefabError(
                f"'{name}' of shape {array.shape}", "the network", f"it has {size} hidden neurons"
            )
    into = np.pad(into, ((0, 0), (0, size - into.shape[1])))
    return into, back, np.pad(out, ((size - len(out), 0), (0, 0)))


def _matrix(name: str, values: Any) -> Integers:
    array = whole(name, values, "the network", _WEIGHT, "Xylo")
    if array.ndim == 3 and array.shape[2] == 2 and not array[:, :, 1].any():
        array = array[:, :, 0]
    if array.ndim != 2:
        why = "a second synapse of a neuron is not supported" if array.ndim == 3 else "[from, to]"
        raise SpikefabError(f"'{name}' of shape {array.shape}", "the network", why)
    return array


def _population(network: Network, layer: _Layer, gain: int, bits: int) -> Population:
    return network.population(
        layer.name, len(layer.bias), "cubalif", output=layer.name == "output", gain=gain,
        options={"leak": "least_loss", "leak_at": "after", "fires": ">=", "reset": "subtract",
                 "count_bits": str(bits)},
        leak_shift=layer.dash_mem, leak_shift_i=layer.dash_syn,
        threshold=layer.threshold / (1 << gain), bias=layer.bias / (1 << gain),
    )  # fmt: skip


def _synapses(weights: Integers) -> Triples:
    source, target = np.nonzero(weights)
    return Triples(source, target, weights[source, target], 1.0)


def _prove(
    hidden: _Layer, shown: _Layer, into: Integers, back: Integers, out: Integers, most: int
) -> None:
    """Raise SpikefabError unless nothing that Xylo adds up in a step can saturate but v.

    Spikes of hidden neurons act a step later, so counts hold at all times that nobody can exceed in
    a step after steps in which nobody exceeded them: the least such, found from 0 upward.
    """
    lines = np.full(len(into), most)
    counts = np.zeros(len(back), np.int64)
    while True:
        current = _currents(hidden, (into, lines), (back, counts))
        rest = _left(hidden.threshold - 1, hidden.dash_mem)
        fired = (rest + current.most_left + hidden.bias) // hidden.threshold
        following = np.clip(fired, 0, _MOST_SPIKES)
        if (following == counts).all():
            break
        counts = following
    for layer, found in ((hidden, current), (shown, _currents(shown, (out, counts)))):
        _refuse("a synaptic current", layer, found.most, found.least)
        _refuse("a change of potential", layer, *_changes(layer, found))


@dataclass(frozen=True, eq=False)
class _Current:
    """The bounds of a synaptic current before its leak, and of what the leak leaves of it."""

    most: Integers
    least: Integers
    most_left: Integers
    least_left: Integers


def _currents(layer: _Layer, *sources: tuple[Integers, Integers]) -> _Current:
    """Of what `sources` give: weights [from, to] and the most spikes of each in a step."""
    up = sum(np.maximum(w, 0).T @ n for w, n in sources)
    down = sum(np.maximum(-w, 0).T @ n for w, n in sources)
    most, least = _reach(np.asarray(up), np.asarray(down), layer.dash_syn)
    return _Current(most, least, _left(most, layer.dash_syn), _left(least, layer.dash_syn))


def _reach(up: Integers, down: Integers, dash: Integers) -> tuple[Integers, Integers]:
    """The bounds of x, which leaks and then gets from -down to up: where a leak takes as much."""
    most = np.where(up > 1, up << dash, up)
    least = np.where(down > 0, ((down - 1) << dash) + 1, 0)
    return most, -least


def _left(x: Integers, dash: Integers) -> Integers:
    lost = x >> dash
    left: Integers = x - np.where((x > 0) & (lost == 0), 1, lost)
    return left


def _changes(layer: _Layer, current: _Current) -> tuple[Integers, Integers]:
    """The bounds of i + bias - decay(v), and of this without the bias."""
    more, less = np.maximum(layer.bias, 0), np.minimum(layer.bias, 0)
    up, down = current.most_left + more, less + current.least_left
    highest, lowest = _reach(np.maximum(up, 0), np.maximum(-down, 0), layer.dash_mem)
    highest, lowest = np.minimum(highest, TOP), np.maximum(lowest, -TOP - 1)
    return (
        up - (lowest - _left(lowest, layer.dash_mem)),
        down - (highest - _left(highest, layer.dash_mem)),
    )


def _refuse(what: str, layer: _Layer, most: Integers, least: Integers) -> None:
    beyond = np.maximum(most - TOP, -TOP - 1 - least)
    worst = int(beyond.argmax())
    if beyond[worst] > 0:
        value = most[worst] if most[worst] > TOP else least[worst]
        raise SpikefabError(
            f"{what} of {value}",
            f"{layer.name} neuron {worst}",
            f"the weights allow it, and beyond {-TOP - 1}..{TOP} Xylo saturates within a step",
            "use smaller weights, shifts or dashes, or say by `events` that input lines get few",
        )
