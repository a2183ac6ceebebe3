"""The engines of Spikefab itself: the emulator on W1 to W4, and building a large network.

`--threads` and `--no-counts` choose the emulator's threads and drop its exact cycle counts (all but
`build`), `--form rows|csr|coo` what a network is built from (build).
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import spikefab as sf

from .protocol import Clock, Prepared, Repetition, serve
from .workloads import FRAC, Build, FeedForward, Lif, Plastic, RandomNet, find


def compile_random(source: RandomNet, synapses: sf.Rows | sf.Generated | sf.Triples) -> sf.Program:
    """A workload W1 built from `synapses` and compiled.

    A network must have an output. That is a neuron which nothing drives, so that no spikes are
    recorded, as the peers record none.
    """
    net = sf.Network()
    initial = {"v": source.initial()}
    neurons = net.population("e", source.neurons, initial=initial, **parameters(source.lif))
    net.population("silent", 1, output=True, keep=0.0, threshold=1)
    net.connect(neurons, neurons, synapses, delay=1 if source.max_delay == 1 else 0)
    program, _ = sf.compile(net, chip="auto")
    return program


def parameters(lif: Lif) -> dict[str, float]:
    """A workload's neuron in the terms of `Network.population`; one unit is one LSB."""
    return {"keep": lif.keep_fraction, "bias": lif.bias, "threshold": lif.threshold}


def generated(source: RandomNet) -> sf.Generated:
    """The synapses of a workload W1, made in chunks while they are compiled."""

    def chunk(first: int, count: int) -> tuple[npt.NDArray[Any], ...]:
        rows = source.connectivity(first, count)
        return rows if source.max_delay == 1 else (*rows, source.delays(first, count))

    return sf.Generated(chunk, source.fan_out, scale=1.0, delays=source.max_delay > 1)


def random_net(source: RandomNet, threads: int, counts: bool) -> Callable[[], Repetition]:
    """W1: each repetition goes on from where the last ended."""
    program = compile_random(source, generated(source))
    emulator = sf.Emulator(program, threads=threads, counts=counts)
    return repeating(
        lambda: emulator.run(None, steps=source.steps, drain=False), steps=source.steps
    )


def feed_forward(source: FeedForward, threads: int, counts: bool) -> Callable[[], Repetition]:
    """W2: each repetition presents the batch `passes` times, each sample from a restart."""
    net = sf.Network()
    layer: Any = net.input("input", source.layers[0])
    weights = source.weights()
    for k, matrix in enumerate(weights):
        size, output = matrix.shape[1], k == len(weights) - 1
        after = net.population(f"layer{k + 1}", size, output=output, **parameters(source.lif))
        net.connect(layer, after, matrix.astype(np.float32))
        layer = after
    program, _ = sf.compile(net, chip="auto")
    emulator = sf.Emulator(program, threads=threads, counts=counts)
    batch = sf.SpikeTrain.from_dense(source.spikes())
    return repeating(
        lambda: emulator.run(batch, steps=source.steps),
        steps=source.steps,
        samples=source.samples,
        passes=source.passes,
    )


def plastic(source: Plastic, threads: int, counts: bool) -> Prepared:
    """W3 and W4: each repetition begins with the weights of the start."""
    net = sf.Network()
    lines = net.input("input", source.inputs) if source.inputs else None
    initial = {"v": source.potentials()}
    neurons = net.population(
        "e", source.neurons, output=True, initial=initial, **parameters(source.lif)
    )
    keep = source.keep / (1 << FRAC)
    learning = sf.Plasticity(
        "stdp", w_min=0, w_max=127, options={"rounding": "nearest_even"}, up=1, down=1,
        keep_pre=keep, keep_post=keep,
    )  # fmt: skip
    rows = every_pair(source.weights())
    net.connect(lines or neurons, neurons, rows, delay=0 if lines else 1, plasticity=learning)
    program, _ = sf.compile(net, chip="auto")
    emulator = sf.Emulator(program, threads=threads, counts=counts)
    given = sf.SpikeTrain.from_dense(source.spikes()) if lines else None

    def present() -> sf.Recording:
        emulator.restart(weights=True)
        return emulator.run(given, source.steps)

    run = repeating(present, steps=source.steps)
    return Prepared(run, {
        "spikefab": sf.__version__,
        "bytes per plastic synapse": round(emulator.learning_bytes / source.synapses, 2),
    })  # fmt: skip


def every_pair(weights: npt.NDArray[np.int8]) -> sf.Rows:
    """A synapse for every pair, of weights in LSB."""
    sources, targets = weights.shape
    first = np.arange(sources + 1, dtype=np.int64) * targets
    target = np.tile(np.arange(targets, dtype=np.int32), sources)
    return sf.Rows(first, target, weights.ravel(), scale=1.0)


def repeating(
    present: Callable[[], sf.Recording], steps: int, samples: int = 0, passes: int = 1
) -> Callable[[], Repetition]:
    """Repetitions of `passes` runs each, the first of them done."""

    def run() -> Repetition:
        begin = Clock()
        counters = [present().counters for _ in range(passes)]
        wall, cpu = begin.elapsed()
        return Repetition(
            wall,
            cpu,
            synaptic_events=sum(counter["synaptic_events"] for counter in counters),
            spikes=sum(counter["spikes"] for counter in counters),
            steps=passes * steps,
            samples=passes * samples,
        )

    run()
    return run


def build(source: Build, form: str) -> Callable[[], Repetition]:
    """Seconds of building and compiling, and the growth of the process at its peak.

    The caller's own arrays are part of that growth, but not of the seconds; generating rows is
    part of the seconds. What is compiled once per process is, before a repetition.
    """

    def synapses(target: Build) -> sf.Rows | sf.Generated | sf.Triples:
        if form == "rows":
            return generated(target.net)
        if form == "csr":
            return sf.Rows(*target.csr(), scale=1.0, consume=True)
        return sf.Triples(*target.triples(), scale=1.0)

    def run(target: Build = source) -> Repetition:
        gc.collect()
        before = _reset_peak()
        given = [synapses(target)]
        begin = Clock()
        compile_random(target.net, given.pop())  # no reference stays here, so that it can be freed
        wall, cpu = begin.elapsed()
        return Repetition(wall, cpu, peak_bytes=_memory("VmHWM") - before)

    run(replace(source, net=replace(source.net, neurons=2000)))
    return run


def _memory(field: str) -> int:
    """A figure of this process's memory in bytes, as Linux keeps it: `VmRSS` now, `VmHWM` peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def _reset_peak() -> int:
    """Starts `VmHWM` anew from the present memory and returns that, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def prepare(argv: list[str] | None = None) -> Prepared:
    """The engine that the command line names, warm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-counts", dest="counts", action="store_false")
    parser.add_argument("--form", choices=["rows", "csr", "coo"], default="rows")
    options = parser.parse_args(argv)
    workload = find(options.workload, options.size)
    if isinstance(workload, Plastic):
        return plastic(workload, options.threads, options.counts)
    if isinstance(workload, RandomNet):
        run = random_net(workload, options.threads, options.counts)
    elif isinstance(workload, FeedForward):
        run = feed_forward(workload, options.threads, options.counts)
    else:
        run = build(workload, options.form)
    return Prepared(run, {"spikefab": sf.__version__})


if __name__ == "__main__":
    serve(prepare)
