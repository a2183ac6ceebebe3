"""Brian2 on workloads W1: fixed synapses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from brian2 import Synapses

from ..workloads import RandomNet
from .brian2_standalone import DT, Standalone, main


class Brian2(Standalone):
    """The project of a random network."""

    def __init__(self, net: RandomNet, folder: Path) -> None:
        super().__init__(folder)
        self.net = net
        neurons = self.neurons(net.lif, net.initial())
        # One delay given for all spares Brian2 an array of delays.
        one_delay = {"delay": DT} if net.max_delay == 1 else {}
        synapses = Synapses(neurons, neurons, "w : 1", on_pre="v_post += w", **one_delay)
        targets = np.empty((net.neurons, net.fan_out), np.int32)
        weights = np.empty((net.neurons, net.fan_out), np.float64)
        for first, count in net.chunks():
            rows = slice(first, first + count)
            targets[rows], weights[rows] = net.connectivity(first, count)
        sources = np.repeat(np.arange(net.neurons, dtype=np.int32), net.fan_out)
        synapses.connect(i=sources, j=targets.ravel())
        synapses.w = weights.ravel()
        if net.max_delay > 1:
            synapses.delay = net.delays(0, net.neurons).ravel() * DT
        self.build(net.steps, neurons, synapses)

    def synaptic_events(self, spikes: int) -> int:
        """Each spike goes over its neuron's synapses."""
        return spikes * self.net.fan_out


if __name__ == "__main__":
    main(RandomNet, Brian2)
