"""Networks of SpikingJelly, exported by `export_to_nir`: `python spikingjelly_nets.py FOLDER EACH`.

Its exporter raises for a soft reset, and cannot trace recurrent containers: there are none.
"""

import sys
import warnings

import numpy as np
import torch
from drawing import draw, keep, level, raster
from layers import HIDDEN, INPUTS, OUTPUTS, conv, linear, tensor
from spikingjelly.activation_based import functional, neuron, nir_exchange

warnings.filterwarnings("ignore")


def leaky(decay_input=True, v_reset=0.0):
    """LIF; v_reset in LSB of the effective weights."""

    def cells(rng):
        kept = float(keep(rng))
        unit = (1 - kept) if decay_input else 1.0
        return neuron.LIFNode(
            tau=1 / (1 - kept),
            decay_input=decay_input,
            v_threshold=level(rng) * unit,
            v_reset=v_reset * unit,
        )

    return cells


def integrator(v_reset=0.0):
    def cells(rng):
        return neuron.IFNode(v_threshold=2 * level(rng), v_reset=v_reset)

    return cells


def current_based(rng):
    return neuron.CUBALIFNode(
        c_decay=float(keep(rng, low=800, high=2400)),
        v_decay=float(keep(rng, high=2600)),
        v_threshold=2 * level(rng),
    )


def run(net, given, dt):
    """The input, spikes of every layer of neurons, settings and how to export."""
    spikes = {n: [] for n, m in enumerate(net) if isinstance(m, neuron.BaseNode)}
    functional.reset_net(net)
    with torch.no_grad():
        for frame in given:
            x = tensor(frame)[None]
            for n, module in enumerate(net):
                x = module(x)
                if n in spikes:
                    spikes[n].append(x[0].numpy().copy())

    def export(path):
        functional.reset_net(net)
        nir_exchange.export_to_nir(net, tensor(given[:1]), save_path=path, dt=dt)

    shown = {f"_{n}": np.stack(x) for n, x in spikes.items()}
    return given, shown, {"profile": "spikingjelly", "dt": dt}, export


def dense(cells, bias=False, dt=1e-4):
    def make(rng):
        net = torch.nn.Sequential(
            linear(rng, INPUTS, HIDDEN, bias), cells(rng), linear(rng, HIDDEN, OUTPUTS), cells(rng)
        )
        return run(net, raster(rng, INPUTS), dt)

    return make


def convolution(cells, dt=1e-4):
    def make(rng):
        net = torch.nn.Sequential(
            conv(rng, 1, 2, padding=1), cells(rng), torch.nn.AvgPool2d(2), torch.nn.Flatten(),
            linear(rng, 18, 4), cells(rng),
        )  # fmt: skip
        net[5].v_threshold /= 4
        return run(net, raster(rng, 1, 6, 6), dt)

    return make


KINDS = {
    "LIF": dense(leaky()),
    "LIF with bias": dense(leaky(), bias=True, dt=1e-3),
    "LIF without decay_input": dense(leaky(decay_input=False)),
    "LIF with v_reset": dense(leaky(decay_input=False, v_reset=-0.5)),
    "LIF with decay_input and v_reset": dense(leaky(v_reset=-0.5), dt=1e-3),
    "CUBALIF": dense(current_based),
    "conv and pool": convolution(leaky()),
    "conv and pool without decay_input": convolution(leaky(decay_input=False)),
    "IF, ties": dense(integrator()),
    "IF with v_reset, ties": dense(integrator(-0.25)),
    "conv and pool, IF, ties": convolution(integrator()),
}

if __name__ == "__main__":
    draw(sys.argv[1], KINDS, int(sys.argv[2]))
