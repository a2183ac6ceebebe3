"""Brian2 in C++ standalone mode: one thread, its default float64.

A project is generated and compiled once, with Brian2's own default flags (-O3 -march=native
-ffast-math); each repetition runs the binary anew, from the initial potentials and weights, and
takes the time of the simulation loop that Brian2 writes to `results/last_run_info.txt`: CPU time,
without reading the network or start-up.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2 import Network, NeuronGroup, SpikeMonitor, Synapses, device, ms, prefs, set_device
from numpy.typing import NDArray

from ..protocol import Prepared, Repetition, serve
from ..workloads import Lif, find

DT: Any = 1 * ms


class Standalone:
    """A project in `folder`; each `run` starts it from step 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        flags = prefs["codegen.cpp.extra_compile_args_gcc"]
        if not {"-O3", "-march=native"} <= set(flags):
            raise ValueError(f"Brian2 would compile with {flags}")
        set_device("cpp_standalone", build_on_run=False)
        prefs["devices.cpp_standalone.openmp_threads"] = 0
        brian2.defaultclock.dt = DT

    @staticmethod
    def neurons(lif: Lif, potentials: NDArray[np.int16]) -> NeuronGroup:
        """A neuron for each potential."""
        neurons = NeuronGroup(
            len(potentials), "dv/dt = (v_inf - v) / tau : 1", threshold="v >= threshold",
            reset="v = 0", method="exact",
            namespace={"v_inf": lif.v_inf, "tau": lif.tau * DT, "threshold": lif.threshold},
        )  # fmt: skip
        neurons.v = potentials.astype(float)
        return neurons

    def build(self, steps: int, neurons: NeuronGroup, synapses: Synapses, *others: Any) -> None:
        """Build the project of so many steps of all parts."""
        self.steps = steps
        self.counts = SpikeMonitor(neurons, record=False)
        Network(neurons, synapses, *others, self.counts).run(steps * DT)
        device.build(directory=str(self.folder), run=False, compile=True)

        # Each run would write its synapses back: up to gigabytes, whose way to the disk would
        # disturb the engine that is timed next.
        results = self.folder / "results"
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
        events = self.synaptic_events(spikes)
        return Repetition(seconds, seconds, synaptic_events=events, spikes=spikes, steps=self.steps)

    def synaptic_events(self, spikes: int) -> int:
        """How many synapses so many spikes of the neurons, and the input, go over."""
        raise NotImplementedError


def main(kind: type[Any], engine: Callable[[Any, Path], Standalone]) -> None:
    """Serve the engine of the workload that the command line names."""
    name, size = sys.argv[1:3]

    def prepare(folder: Path) -> Prepared:
        net = find(name, size)
        if not isinstance(net, kind):
            raise ValueError(f"{name} is not a workload of this engine")
        notes = {"brian2": brian2.__version__, "numbers": "float64", "clock": "CPU time"}
        return Prepared(engine(net, folder).run, notes)

    with tempfile.TemporaryDirectory() as scratch:
        serve(lambda: prepare(Path(scratch)))
