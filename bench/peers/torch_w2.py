"""Plain PyTorch on workload W2, as its user would write it: one thread, float32, no gradients.

A matrix product per layer and step over the whole batch, then the update of the layer's neurons.
Input is a dense tensor made beforehand.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from ..protocol import Clock, Prepared, Repetition, serve
from ..workloads import FeedForward, find


class Torch:
    """The network W2 with its input."""

    def __init__(self, net: FeedForward) -> None:
        self.net = net
        self.weights = [torch.from_numpy(weights).float() for weights in net.weights()]
        self.input = torch.from_numpy(net.spikes()).float().transpose(0, 1).contiguous()

    def layers(self) -> list[Tensor]:
        """Potentials [samples, neurons] of each layer at rest."""
        return [torch.zeros(self.net.samples, weights.shape[1]) for weights in self.weights]

    def step(self, spikes: Tensor, potentials: list[Tensor]) -> list[Tensor]:
        """One step of all layers; returns their spikes [samples, neurons]."""
        keep, threshold = self.net.lif.keep_fraction, self.net.lif.threshold
        fired = []
        for layer, weights in enumerate(self.weights):
            v = potentials[layer] * keep + spikes @ weights
            spikes = (v >= threshold).float()
            potentials[layer] = v * (1 - spikes)
            fired.append(spikes)
        return fired

    def present(self) -> Tensor:
        """Presents the batch once; returns spike counts [samples, outputs]."""
        potentials = self.layers()
        counts = torch.zeros_like(potentials[-1])
        for spikes in self.input:
            counts += self.step(spikes, potentials)[-1]
        return counts

    def activity(self) -> list[int]:
        """Spikes of the input and of each layer in one presentation (not timed)."""
        totals = [int(self.input.sum())] + [0] * len(self.weights)
        potentials = self.layers()
        for spikes in self.input:
            for layer, fired in enumerate(self.step(spikes, potentials)):
                totals[layer + 1] += int(fired.sum())
        return totals


def prepare(name: str, size: str) -> Prepared:
    """The engine of workload W2, warm."""
    net = find(name, size)
    if not isinstance(net, FeedForward):
        raise ValueError(f"{name} is not a workload of this engine")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    engine = Torch(net)
    activity = engine.activity()
    events = sum(n * fan_out for n, fan_out in zip(activity, net.layers[1:], strict=False))
    rates = [
        round(count / (net.samples * net.steps * neurons), 4)
        for count, neurons in zip(activity, net.layers, strict=True)
    ]

    def run() -> Repetition:
        begin = Clock()
        for _ in range(net.passes):
            engine.present()
        wall, cpu = begin.elapsed()
        return Repetition(
            wall,
            cpu,
            synaptic_events=net.passes * events,
            spikes=net.passes * sum(activity[1:]),
            steps=net.passes * net.steps,
            samples=net.passes * net.samples,
        )

    run()
    return Prepared(run, {"torch": str(torch.__version__), "firing": str(rates)})


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:3]))
