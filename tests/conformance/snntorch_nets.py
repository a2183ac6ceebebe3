"""Networks of snnTorch, exported by `export_to_nir`: `python snntorch_nets.py FOLDER EACH`."""

import sys
import warnings

import nir
import numpy as np
import snntorch as snn
import torch
from drawing import LSB, biases, draw, keep, level, raster, whole
from layers import HIDDEN, INPUTS, OUTPUTS, conv, full, linear, tensor
from snntorch.export_nir import export_to_nir

warnings.filterwarnings("ignore")


def cells(rng, kind, shape, reset, beta=None):
    options = {
        "beta": tensor(keep(rng, *shape) if beta is None else np.full(shape, beta)),
        "threshold": full(level(rng), *shape),
        "init_hidden": True,
        "reset_mechanism": reset,
    }
    if kind.endswith("Synaptic"):
        options["alpha"] = tensor(keep(rng, *shape, low=800, high=2400))
        options["threshold"] = full(level(rng, 130, 300), *shape)
    if kind.startswith("R"):
        options["linear_features"] = shape[0]
    made = getattr(snn, kind)(**options)
    if kind.startswith("R"):
        halves = whole(rng, shape[0], shape[0]) / 2
        made.recurrent.weight.data = tensor(np.floor(halves / LSB) * LSB)
        made.recurrent.bias.data = tensor(biases(rng, shape[0]))
    return made


def run(net, given, reset):
    """The input, spikes of every layer of neurons, settings and how to export."""
    spiking = {n: m for n, m in enumerate(net) if isinstance(m, snn.SpikingNeuron)}
    spikes = {n: [] for n in spiking}
    with torch.no_grad():
        for frame in given:
            x = tensor(frame)[None]
            for n, module in enumerate(net):
                x = module(x)
                if n in spikes:
                    spikes[n].append(x[0].numpy().copy())
    names = {n: f"{n}.lif" if hasattr(m, "recurrent") else str(n) for n, m in spiking.items()}
    shown = {names[n]: np.stack(x) for n, x in spikes.items()}

    def export(path):
        for module in spiking.values():
            module.reset_mem()
        nir.write(path, export_to_nir(net, tensor(given[:1]), ignore_dims=[0]))

    return given, shown, {"profile": "snntorch", "reset": reset}, export


def dense(kind, reset, bias=False, beta=None):
    def make(rng):
        net = torch.nn.Sequential(
            linear(rng, INPUTS, HIDDEN, bias), cells(rng, kind, (HIDDEN,), reset, beta),
            linear(rng, HIDDEN, OUTPUTS), cells(rng, kind, (OUTPUTS,), reset, beta),
        )  # fmt: skip
        return run(net, raster(rng, INPUTS), reset)

    return make


def convolution(reset):
    def make(rng):
        net = torch.nn.Sequential(
            conv(rng, 1, 2), cells(rng, "Leaky", (2, 4, 4), reset), torch.nn.AvgPool2d(2),
            torch.nn.Flatten(), linear(rng, 8, 4), cells(rng, "Leaky", (4,), reset),
        )  # fmt: skip
        net[5].threshold /= 4
        return run(net, raster(rng, 1, 6, 6), reset)

    return make


KINDS = {
    f"{kind} {reset}": dense(kind, reset, bias=kind == "Leaky")
    for kind in ("Leaky", "Synaptic", "RLeaky", "RSynaptic")
    for reset in ("zero", "subtract")
} | {
    "conv and pool zero": convolution("zero"),
    "conv and pool subtract": convolution("subtract"),
    "ties zero": dense("Leaky", "zero", beta=0.0),
    "ties subtract": dense("Leaky", "subtract", beta=0.0),
}

if __name__ == "__main__":
    draw(sys.argv[1], KINDS, int(sys.argv[2]))
