"""Brian2 on workloads W3 and W4: pair STDP as its documentation writes it, traces event-driven."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from brian2 import SpikeGeneratorGroup, Synapses, ms

from ..workloads import Plastic
from .brian2_standalone import DT, Standalone, main

MODEL = """
w : 1
dx/dt = -x / tau : 1 (event-driven)
dy/dt = -y / tau : 1 (event-driven)
"""
ON_PRE = """
v_post += w
x += 1
w = clip(w - y, 0, 127)
"""
ON_POST = """
y += 1
w = clip(w + x, 0, 127)
"""


class Brian2(Standalone):
    """The project of a plastic network."""

    def __init__(self, net: Plastic, folder: Path) -> None:
        super().__init__(folder)
        self.net = net
        neurons = self.neurons(net.lif, net.potentials())
        inputs = []
        if net.inputs:
            step, line = np.nonzero(net.spikes())
            inputs.append(SpikeGeneratorGroup(net.inputs, line, step * DT))
        learning = Synapses(
            *(inputs or [neurons]), neurons, MODEL, on_pre=ON_PRE, on_post=ON_POST,
            delay=0 * ms if net.inputs else DT, namespace={"tau": net.trace_tau * DT},
        )  # fmt: skip
        learning.connect()
        learning.w = net.weights().ravel().astype(float)
        self.build(net.steps, neurons, learning, *inputs)

    def synaptic_events(self, spikes: int) -> int:
        """Each spike of a source goes over its synapses onto all neurons."""
        sent = int(self.net.spikes().sum()) if self.net.inputs else spikes
        return sent * self.net.neurons


if __name__ == "__main__":
    main(Plastic, Brian2)
