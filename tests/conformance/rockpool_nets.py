"""Networks of Rockpool, exported by `to_nir`: `python rockpool_nets.py FOLDER EACH`.

Its exporter leaves out recurrent weights and biases of neurons; here they are put back, as a user
would. Neurons fire several times in a step.
"""

import sys
import warnings

import nir
import numpy as np
import torch
from drawing import LSB, biases, draw, keep, level, raster, whole
from layers import INPUTS, full, tensor
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules import LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import to_nir

warnings.filterwarnings("ignore")
DT = 1e-3
HIDDEN, OUTPUTS = 8, 4


def linear(rng, inputs, outputs, bias):
    weight = tensor(whole(rng, inputs, outputs))
    given = {"bias": tensor(biases(rng, outputs))} if bias else {}
    return LinearTorch((inputs, outputs), weight=weight, has_bias=bias, **given)


def full_lif(leaks, recurrent=False, bias=False, dt=DT):
    """LIFTorch, with time constants, decays or bit shifts as its parameters."""

    def cells(rng, size, low):
        given = {"dt": dt, "threshold": full(level(rng, low, low + 120), size)}
        if leaks == "bitshifts":
            dashes = {"dash_mem": (1, 3, size), "dash_syn": (1, 2, (size, 1))}
            given |= {k: tensor(rng.integers(*v)) for k, v in dashes.items()}
        else:
            mem, syn = keep(rng, size, high=2600), keep(rng, size, 1, low=800, high=2000)
            given |= (
                {"alpha": tensor(mem), "beta": tensor(syn)}
                if leaks == "decays"
                else {"tau_mem": tensor(-dt / np.log(mem)), "tau_syn": tensor(-dt / np.log(syn))}
            )
        if recurrent:
            halves = np.floor(whole(rng, size, size) / 2 / LSB) * LSB
            given |= {"has_rec": True, "w_rec": tensor(halves)}
        if bias:
            given |= {"bias": tensor(biases(rng, size))}
        return LIFTorch(size, leak_mode=leaks, **given)

    return cells


def bare_lif(rng, size, low):
    """LIFNeuronTorch, which has no synaptic current."""
    tau = tensor(-DT / np.log(keep(rng, size)))
    return LIFNeuronTorch(size, tau_mem=tau, threshold=full(level(rng, low, low + 150), size))


def dense(cells, low=(60, 60), bias=False, most=1, rate=0.35):
    def make(rng):
        layers = [
            linear(rng, INPUTS, HIDDEN, bias), cells(rng, HIDDEN, low[0]),
            linear(rng, HIDDEN, OUTPUTS, bias), cells(rng, OUTPUTS, low[1]),
        ]  # fmt: skip
        return run(Sequential(*layers), raster(rng, INPUTS, rate=rate, most=most))

    return make


def run(net, given):
    """The input, spikes of every layer of neurons, settings, how to export, and what that loses."""
    with torch.no_grad():
        _, _, record = net(tensor(given)[None], record=True)
    cells = {n: m for n, m in net.modules().items() if hasattr(m, "threshold")}
    spikes = {n: record[n]["spikes"][0].numpy().copy() for n in cells}
    lost = {}
    for name, module in cells.items():
        if getattr(module, "_has_rec", False):
            lost[f"rec/{name}"] = module.w_rec.detach().numpy().astype(np.float64)
        if module.bias.any():
            lost[f"bias/{name}"] = module.bias.detach().numpy().astype(np.float64)

    def export(path):
        nir.write(path, to_nir(net))

    return given, spikes, {"profile": "rockpool", "complete": not lost}, export, lost


KINDS = {
    "LIF by time constants": dense(full_lif("taus")),
    "LIF by decays, several inputs": dense(full_lif("decays", dt=1e-2), most=3),
    "LIF by bit shifts": dense(full_lif("bitshifts")),
    "LIF after layers with bias": dense(full_lif("decays"), bias=True),
    "LIF with bias put back": dense(full_lif("decays", bias=True)),
    "LIF with w_rec put back": dense(full_lif("decays", recurrent=True)),
    "LIFNeuron": dense(bare_lif, low=(90, 110)),
    "LIFNeuron after layers with bias": dense(bare_lif, low=(90, 110), bias=True),
}

if __name__ == "__main__":
    draw(sys.argv[1], KINDS, int(sys.argv[2]))
