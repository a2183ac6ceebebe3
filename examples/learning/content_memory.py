"""A memory after hippocampal CA3: learns patterns, recalls them from any fragment, forgets.

    .venv/bin/python examples/learning/content_memory.py --picture content_memory.png

Neurons are joined all to all by plastic synapses, and every neuron has a line of its own. A signal
says what is done with what is shown: at +1 the memory stores it, at -1 it forgets it, at 0 it
recalls: the neurons of the fragment spike, and those that spike after them complete it. A recall is
exact if all neurons of the pattern spike and no other does. Orthogonal patterns share no neuron;
overlapping ones share some with the next, and a fragment has to have more neurons than that.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import spikefab as sf
from numpy.typing import NDArray

PATTERNS, SIZE = 6, 10  # and neurons of each
REFRACTORY, SHOWINGS, REST = 6, 20, 40  # steps; in an episode; steps after it
STORE, RECALL, FORGET = 64, 0, -64  # 64 counts 1

Sets = NDArray[np.bool_]


def network(neurons: int, least: int) -> sf.Network:
    """Neurons with plastic synapses onto all others; `least` neurons of a pattern complete it."""
    made = sf.Network()
    lines = made.input("lines", neurons)
    cells = made.population(
        "cells", neurons, "lif", keep=0.6, threshold=0.98, refractory_period=REFRACTORY,
        options={"refractory": "discard"}, output=True,
    )  # fmt: skip
    made.connect(lines, cells, np.eye(neurons))
    source, target = np.nonzero(~np.eye(neurons, dtype=np.bool_))
    rule = sf.Plasticity(
        "reward_stdp", w_min=0, w_max=1 / least, keep_pre=0.9, keep_post=0.9, keep_e=0.0,
        up=0.12, down=0.0,
    )  # fmt: skip
    untaught = sf.Triples(source, target, np.zeros(len(source)))
    made.connect(cells, cells, untaught, delay=1, plasticity=rule)
    return made


def patterns(count: int, size: int, shared: int) -> Sets:
    """Patterns [count, neurons], each sharing so many neurons with the next, in a ring."""
    neurons = count * (size - shared)
    made = np.zeros((count, neurons), np.bool_)
    for n in range(count):
        made[n, (n * (size - shared) + np.arange(size)) % neurons] = True
    return made


class Memory:
    """A device with the network on it."""

    def __init__(
        self, neurons: int, least: int, device: Callable[[sf.Program], sf.Device] = sf.Emulator
    ) -> None:
        program, _ = sf.compile(network(neurons, least))
        self.neurons, self.device = neurons, device(program)

    def episode(self, shown: Sets, signal: int) -> sf.SpikeTrain:
        """Show a set of neurons, again and again unless it is a recall, and then rest."""
        times = (1 if signal == RECALL else SHOWINGS) * (REFRACTORY + 1)
        raster = np.zeros((times + REST, self.neurons), np.bool_)
        raster[: times : REFRACTORY + 1] = shown
        told = {"reward": np.full(len(raster), signal)}
        train = sf.SpikeTrain.from_dense(raster)
        return self.device.run(train, len(raster), signals=told, drain=False).spikes["cells"]

    def exact(self, pattern: Sets, known: int, tries: int, random: np.random.Generator) -> float:
        """The share of random fragments of `known` neurons that give the pattern, and only it."""
        found = []
        for _ in range(tries):
            fragment = np.zeros(self.neurons, np.bool_)
            fragment[random.choice(np.flatnonzero(pattern), known, replace=False)] = True
            spiked = self.episode(fragment, RECALL).index
            found.append(np.array_equal(np.unique(spiked), np.flatnonzero(pattern)))
        return float(np.mean(found))


def life(
    shared: int, count: int = PATTERNS, size: int = SIZE, tries: int = 20, seed: int = 0,
    device: Callable[[sf.Program], sf.Device] = sf.Emulator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Store all patterns, then forget every second: exact recalls [pattern, neurons known] after
    each of the two."""
    random = np.random.default_rng(seed)
    sets = patterns(count, size, shared)
    memory = Memory(sets.shape[1], shared + 1, device)

    def recalls() -> NDArray[np.float64]:
        known = range(1, size + 1)
        return np.array([[memory.exact(p, k, tries, random) for k in known] for p in sets])

    for pattern in sets:
        memory.episode(pattern, STORE)
    stored = recalls()
    for pattern in sets[::2]:
        memory.episode(pattern, FORGET)
    return stored, recalls()


def draw(file: Path, runs: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:
    """Picture: exact recalls by how much of a pattern is shown, for each overlap."""
    import matplotlib.pyplot as plt

    figure, row = plt.subplots(
        1, len(runs), figsize=(2.6 * len(runs), 3.2), sharey=True, layout="constrained"
    )
    for axes, (shared, (stored, after)) in zip(row, runs.items(), strict=True):
        known = np.arange(1, stored.shape[1])  # all of them are no fragment
        axes.axvspan(0.5, shared + 0.5, color="#eeeeee")
        for name, part, style in (
            ("all, stored", stored, "o-"), ("others, after that", after[1::2], "s--"),
            ("half, forgotten", after[::2], "x-"),
        ):  # fmt: skip
            axes.plot(known, 100 * part[:, :-1].mean(axis=0), style, label=name, markersize=5)
        axes.set(xlabel=f"neurons shown, of {stored.shape[1]}", xlim=(0.5, None), ylim=(-4, 104))
        axes.set_title(f"{shared} shared" if shared else "orthogonal", fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
    row[0].set_ylabel("exact recalls (%)")
    row[0].legend(frameon=False, fontsize=8, loc="center right")
    figure.savefig(file, dpi=150)


def main() -> None:
    """Store, recall, forget and recall, at several overlaps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    runs = {}
    print("exact recalls from fragments of more neurons than are shared:")
    print("shared", "stored", "forgotten", "others after that", sep="\t")
    for shared in (0, 2, 3, 4):
        stored, after = runs[shared] = life(shared)
        parts = (p[:, shared:-1].mean() for p in (stored, after[::2], after[1::2]))
        print(f"{shared}/{SIZE}", *(f"{x:.1%}" for x in parts), sep="\t", flush=True)
    if chosen.picture:
        draw(chosen.picture, runs)


if __name__ == "__main__":
    main()
