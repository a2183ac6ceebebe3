"""Networks of Norse, exported by `to_nir`: `python norse_nets.py FOLDER EACH`.

Recurrent cells, Flatten and pools are lost by Norse's exporter, so there are none.
"""

import sys
import warnings

import nir
import norse.torch as nt
import numpy as np
import torch
from drawing import draw, keep, level, raster
from layers import HIDDEN, INPUTS, OUTPUTS, conv, full, linear, tensor
from norse.torch.functional.iaf import IAFParameters
from norse.torch.functional.lif import LIFParameters
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.functional.reset import reset_subtract, reset_value
from norse.torch.module.iaf import IAFCell
from norse.torch.utils.export_nir import to_nir

warnings.filterwarnings("ignore")
DT = 0.001  # Norse's default


def box(rng, *shape, subtract=False, leak=0.0):
    """A whole layer has one decay, as Norse scales the input by what a leak loses."""
    kept = float(keep(rng))
    return nt.LIFBoxCell(
        LIFBoxParameters(
            tau_mem_inv=full((1 - kept) / DT, *shape),
            v_leak=full(leak * (1 - kept), *shape),
            v_th=full(level(rng) * (1 - kept), *shape),
            v_reset=full(0, *shape),
            reset_method=reset_subtract if subtract else reset_value,
        )
    )


def current_based(rng, *shape):
    kept = float(keep(rng))
    return nt.LIFCell(
        LIFParameters(
            tau_mem_inv=full((1 - kept) / DT, *shape),
            tau_syn_inv=tensor((1 - keep(rng, *shape, low=800, high=2400)) / DT),
            v_leak=full(0, *shape),
            v_th=full(2 * level(rng) * (1 - kept), *shape),
            v_reset=full(0, *shape),
        )
    )


def integrator(rng, *shape):
    return IAFCell(IAFParameters(v_th=full(2 * level(rng), *shape), v_reset=full(0, *shape)))


def run(layers, given, reset="zero"):
    """The input, spikes of every layer of neurons, settings and how to export."""
    weights = (torch.nn.Linear, torch.nn.Conv2d)
    spiking = {n: [] for n, m in enumerate(layers) if not isinstance(m, weights)}
    state = dict.fromkeys(spiking)
    with torch.no_grad():
        for frame in given:
            x = tensor(frame)
            for n, module in enumerate(layers):
                if n in spiking:
                    x, state[n] = module(x, state[n])
                    spiking[n].append(x.numpy().copy())
                else:
                    x = module(x)

    def export(path):
        graph = to_nir(nt.SequentialState(*layers), tensor(given[0]))
        graph.infer_types()
        nir.write(path, graph)

    shown = {str(n): np.stack(x) for n, x in spiking.items()}
    return given, shown, {"profile": "norse", "dt": DT, "reset": reset}, export


def dense(cells, bias=False, reset="zero", **options):
    def make(rng):
        layers = [
            linear(rng, INPUTS, HIDDEN, bias), cells(rng, HIDDEN, **options),
            linear(rng, HIDDEN, OUTPUTS, bias), cells(rng, OUTPUTS, **options),
        ]  # fmt: skip
        return run(layers, raster(rng, INPUTS), reset)

    return make


def convolution(cells, stride, side, reset="zero", **options):
    def make(rng):
        layers = [
            conv(rng, 1, 2, bias=True), cells(rng, 2, 4, 4, **options),
            conv(rng, 2, 2, bias=True, stride=stride), cells(rng, 2, side, side, **options),
        ]  # fmt: skip
        return run(layers, raster(rng, 1, 6, 6), reset)

    return make


KINDS = {
    "LIFBox zero": dense(box),
    "LIFBox zero with bias": dense(box, bias=True),
    "LIFBox subtract": dense(box, reset="subtract", subtract=True),
    "LIFBox with v_leak": dense(box, leak=0.25),
    "LIF": dense(current_based),
    "conv zero": convolution(box, 1, 2),
    "conv subtract": convolution(box, 1, 2, reset="subtract", subtract=True),
    "IAF, ties": dense(integrator),
    "conv IAF, ties": convolution(integrator, 2, 1),
}

if __name__ == "__main__":
    draw(sys.argv[1], KINDS, int(sys.argv[2]))
