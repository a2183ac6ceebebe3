"""Brian2 in C++ standalone mode on workloads W1: one thread, its default float64.

The project is generated and compiled once, with Brian2's own default flags (-O3 -march=native
-ffast-math); each repetition runs the binary anew, from the initial potentials, and takes the time
of the simulation loop that Brian2 writes to `results/last_run_info.txt`: CPU time, without reading
the network or start-up.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import brian2
import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, Synapses, device, ms, prefs, set_device

from ..protocol import Prepared, Repetition, serve
from ..workloads import RandomNet, find


class Brian2:
    """The built project of a network W1 in `folder`; each `run` starts it from step 0."""

    def __init__(self, net: RandomNet, folder: Path) -> None:
        self.net = net
        self.folder = folder
        flags = prefs["codegen.cpp.extra_compile_args_gcc"]
        if not {"-O3", "-march=native"} <= set(flags):
            raise ValueError(f"Brian2 would compile with {flags}")
        set_device("cpp_standalone", build_on_run=False)
        prefs["devices.cpp_standalone.openmp_threads"] = 0
        dt = 1 * ms
        brian2.defaultclock.dt = dt

        lif = net.lif
        neurons = NeuronGroup(
            net.neurons,
            "dv/dt = (v_inf - v) / tau : 1",
            threshold="v >= threshold",
            reset="v = 0",
            method="exact",
            namespace={"v_inf": lif.v_inf, "tau": lif.tau * dt, "threshold": lif.threshold},
        )
        neurons.v = net.initial().astype(float)
        # One delay given for all spares Brian2 an array of delays.
        one_delay = {"delay": dt} if net.max_delay == 1 else {}
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
            synapses.delay = net.delays(0, net.neurons).ravel() * dt
        self.counts = SpikeMonitor(neurons, record=False)
        Network(neurons, synapses, self.counts).run(net.steps * dt)

        device.build(directory=str(folder), run=False, compile=True)

        # Each run would write its synapses back, unchanged: gigabytes, whose way to the disk
        # would disturb the engine that is timed next.
        results = folder / "results"
        results.mkdir(exist_ok=True)
        for variable, array in device.arrays.items():
            if synapses.name in array:
                (results / device.get_array_filename(variable)).symlink_to(os.devnull)
        os.sync()

    def run(self) -> Repetition:
        """Runs the binary from step 0 and reads the time that it reports."""
        device.run(str(self.folder), with_output=False)
        seconds = float((self.folder / "results" / "last_run_info.txt").read_text().split()[0])
        spikes = int(self.counts.num_spikes)
        events = spikes * self.net.fan_out
        steps = self.net.steps
        return Repetition(seconds, seconds, synaptic_events=events, spikes=spikes, steps=steps)


def prepare(name: str, size: str, folder: Path) -> Prepared:
    """The engine of a workload W1, its binary built in `folder`."""
    net = find(name, size)
    if not isinstance(net, RandomNet):
        raise ValueError(f"{name} is not a workload of this engine")
    notes = {"brian2": brian2.__version__, "numbers": "float64", "clock": "CPU time"}
    return Prepared(Brian2(net, folder).run, notes)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        serve(lambda: prepare(sys.argv[1], sys.argv[2], Path(scratch)))
