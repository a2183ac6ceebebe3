"""Brian2 in C++ standalone mode on workloads W3 and W4: one thread, its default float64.

Pair STDP as Brian2's documentation writes it, with event-driven traces. Each repetition runs the
binary anew, from the initial weights, and takes the CPU time of the simulation loop that Brian2
reports.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import brian2
import numpy as np
from brian2 import (
    Network,
    NeuronGroup,
    SpikeGeneratorGroup,
    SpikeMonitor,
    Synapses,
    device,
    ms,
    prefs,
    set_device,
)

from ..protocol import Prepared, Repetition, serve
from ..workloads import Plastic, find

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


class Brian2:
    """The built project of a plastic network in `folder`; each `run` starts it from step 0."""

    def __init__(self, net: Plastic, folder: Path) -> None:
        self.net = net
        self.folder = folder
        set_device("cpp_standalone", build_on_run=False)
        prefs["devices.cpp_standalone.openmp_threads"] = 0
        dt = 1 * ms
        brian2.defaultclock.dt = dt
        lif = net.lif
        neurons = NeuronGroup(
            net.neurons, "dv/dt = (v_inf - v) / tau : 1", threshold="v >= threshold",
            reset="v = 0", method="exact",
            namespace={"v_inf": lif.v_inf, "tau": lif.tau * dt, "threshold": lif.threshold},
        )  # fmt: skip
        neurons.v = net.potentials().astype(float)
        parts, sources = [neurons], neurons
        if net.inputs:
            step, line = np.nonzero(net.spikes())
            sources = SpikeGeneratorGroup(net.inputs, line, step * dt)
            parts.append(sources)
        learning = Synapses(
            sources, neurons, MODEL, on_pre=ON_PRE, on_post=ON_POST, delay=0 * ms if net.inputs
            else dt, namespace={"tau": net.trace_tau * dt},
        )  # fmt: skip
        learning.connect()
        learning.w = net.weights().ravel().astype(float)
        self.counts = SpikeMonitor(neurons, record=False)
        Network(*parts, learning, self.counts).run(net.steps * dt)
        device.build(directory=str(folder), run=False, compile=True)

    def run(self) -> Repetition:
        """Runs the binary from step 0 and reads the time that it reports."""
        device.run(str(self.folder), with_output=False)
        os.sync()
        seconds = float((self.folder / "results" / "last_run_info.txt").read_text().split()[0])
        spikes, net = int(self.counts.num_spikes), self.net
        sent = int(net.spikes().sum()) if net.inputs else spikes
        events = sent * net.neurons
        return Repetition(
            seconds, seconds, synaptic_events=events, spikes=spikes, steps=net.steps
        )


def prepare(name: str, size: str, folder: Path) -> Prepared:
    """The engine of a workload W3 or W4, its binary built in `folder`."""
    net = find(name, size)
    if not isinstance(net, Plastic):
        raise ValueError(f"{name} is not a workload of this engine")
    notes = {"brian2": brian2.__version__, "numbers": "float64", "clock": "CPU time"}
    return Prepared(Brian2(net, folder).run, notes)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        serve(lambda: prepare(sys.argv[1], sys.argv[2], Path(scratch)))
