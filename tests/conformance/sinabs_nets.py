"""Networks of sinabs, exported by `sinabs.nir.to_nir`: `python sinabs_nets.py FOLDER EACH`.

Inputs are counts, as sinabs takes them, and neurons fire several times in a step. Its exporter
raises for recurrent layers: there are none.
"""

import sys
import warnings

import nir
import numpy as np
import sinabs.layers as sl
import torch
from drawing import STEPS, draw, keep, level, raster
from layers import HIDDEN, INPUTS, OUTPUTS, conv, full, linear, tensor
from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from sinabs.nir import to_nir

warnings.filterwarnings("ignore")


def lif(norm_input, **options):
    """Per-neuron decays, but with norm_input one for the layer, as inputs are scaled by it."""

    def cells(rng, *shape, low=60, high=150, **given):
        kept = keep(rng, *(() if norm_input else shape), high=2600) * np.ones(shape)
        unit = (1 - kept.flat[0]) if norm_input else 1.0
        threshold = level(rng, low, high) * unit
        return sl.LIFSqueeze(
            batch_size=1,
            tau_mem=tensor(-1 / np.log(kept)),
            spike_threshold=full(threshold, *shape),
            norm_input=norm_input,
            **{k: v(threshold) for k, v in options.items()},
            **given,
        )

    return cells


def iaf(**options):
    def cells(rng, *shape, low=60, high=150, **given):
        threshold = level(rng, low, high)
        return sl.IAFSqueeze(
            batch_size=1,
            spike_threshold=tensor(threshold),
            **{k: v(threshold) for k, v in options.items()},
            **given,
        )

    return cells


def run(net, given, settings):
    """The input, spikes of every layer of neurons, settings and how to export."""
    spikes, x = {}, tensor(given)
    with torch.no_grad():
        for n, module in enumerate(net):
            x = module(x)
            if isinstance(module, sl.StatefulLayer):
                spikes[str(n)] = x.numpy().copy()

    def export(path):
        graph = to_nir(net, tensor(given))
        graph.infer_types()
        nir.write(path, graph)

    return given, spikes, {"profile": "sinabs", **settings}, export


def dense(cells, bias=False, most=1, single=False, zero=False, **settings):
    chosen = {
        "spike_fn": SingleSpike if single else MultiSpike,
        "reset_fn": MembraneReset() if zero else MembraneSubtract(),
    }
    settings |= {"count_bits": 1} if single else {}
    settings |= {"reset": "zero"} if zero else {}

    def make(rng):
        net = torch.nn.Sequential(
            linear(rng, INPUTS, HIDDEN, bias), cells(rng, HIDDEN, **chosen),
            linear(rng, HIDDEN, OUTPUTS), cells(rng, OUTPUTS, low=150, high=300, **chosen),
        )  # fmt: skip
        return run(net, raster(rng, INPUTS, most=most), settings)

    return make


def convolution(cells, **settings):
    def make(rng):
        net = torch.nn.Sequential(
            conv(rng, 1, 2), cells(rng, 2, 4, 4), sl.SumPool2d(2), torch.nn.Flatten(),
            linear(rng, 8, 4), cells(rng, 4, low=150, high=300),
        )  # fmt: skip
        return run(net, raster(rng, 1, 6, 6, most=2), settings)

    return make


def minus(threshold):
    return -threshold


def half(threshold):
    return -0.5


scaled = {"norm_input": True}
plain = {"norm_input": False}
KINDS = {
    "LIF": dense(lif(False), most=2, floor="none", **plain),
    "LIF with norm_input": dense(lif(True), bias=True, floor="none", **scaled),
    "LIF with floor": dense(lif(False, min_v_mem=minus), floor="threshold", **plain),
    "LIF with norm_input and floor": dense(
        lif(True, min_v_mem=minus), floor="threshold", **scaled
    ),
    "LIF, one spike": dense(lif(False), single=True, floor="none", **plain),
    "LIF, reset to zero": dense(lif(False), zero=True, floor="none", **plain),
    "conv and pool": convolution(lif(False), floor="none", **plain),
    "conv and pool with floor": convolution(lif(False, min_v_mem=half), floor=-0.5, **plain),
    "IAF, ties": dense(iaf(), most=3, floor="none"),
    "IAF with floor, ties": dense(iaf(min_v_mem=minus), bias=True, floor="threshold"),
    "IAF, reset to zero, ties": dense(iaf(min_v_mem=half), zero=True, floor=-0.5),
    "conv and pool, IAF, ties": convolution(iaf(min_v_mem=minus), floor="threshold"),
}

if __name__ == "__main__":
    assert STEPS >= 40
    draw(sys.argv[1], KINDS, int(sys.argv[2]))
