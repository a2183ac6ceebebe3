"""STDP and homeostasis learn which patterns recur, without a teacher.

    .venv/bin/python examples/learning/nearest_pattern.py --picture nearest_pattern.png

A pattern is a set of lines that spike often while it is shown; all lines spike now and then. One
neuron alone meets one pattern among sets of lines that never come twice: it is to spike for that
pattern and for no other. Then several neurons that hold each other down meet several patterns,
which share some of their lines. A neuron stands for the pattern for which it spiked most in the
first half of the test; of the second half, the share of showings is counted in which a neuron of
the right pattern spikes most.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import spikefab as sf
from numpy.typing import NDArray

LINES, ACTIVE = 100, 20  # in all; of a pattern
SHOWN, REST = 20, 12  # steps
OFTEN, SELDOM = 0.25, 0.01  # chance of a spike in a step
PROJECTION = "lines->neurons"

Sets = NDArray[np.bool_]


def network(neurons: int, lines: int = LINES, seed: int = 0) -> sf.Network:
    """Neurons with adaptive thresholds that hold each other down."""
    made = sf.Network()
    source = made.input("lines", lines)
    target = made.population(
        "neurons", neurons, "alif", keep=0.9, threshold=3.0, v_reset=2.0, v_floor=-4.0,
        keep_a=0.9995, step_a=0.05, options={"floor": "value"}, output=True,
    )  # fmt: skip
    rule = sf.Plasticity(
        "symmetric", w_min=0, w_max=0.25, keep_pre=0.85, keep_post=0.5, up_pre=0.006,
        up_post=0.0, offset=0.5,
    )  # fmt: skip
    weights = np.random.default_rng(seed).uniform(0.05, 0.2, (lines, neurons))
    made.connect(source, target, weights, plasticity=rule)
    made.connect(target, target, np.eye(neurons) - 1.0, delay=1)
    return made


def patterns(count: int, shared: int, random: np.random.Generator) -> Sets:
    """Sets of lines [count, LINES] of which any two have at least `shared` lines in common."""
    order = random.permutation(LINES)
    made = np.zeros((count, LINES), np.bool_)
    made[:, order[:shared]] = True
    for row in made:
        row[random.choice(order[shared:], ACTIVE - shared, replace=False)] = True
    return made


def show(device: sf.Device, sets: Sets, random: np.random.Generator) -> NDArray[np.int64]:
    """Show sets of lines one after the other: spikes [set, neuron]."""
    count, span = len(sets), SHOWN + REST
    chance = np.where(sets[:, np.newaxis], OFTEN, SELDOM) * (np.arange(span) < SHOWN)[:, np.newaxis]
    raster = random.random(chance.shape) < chance
    spikes = sf.SpikeTrain.from_dense(raster.reshape(count * span, -1))
    train = device.run(spikes, count * span, drain=False).spikes["neurons"]
    size = len(device.read("neurons.v"))
    return sf.SpikeTrain.of(train.step // span, train.index).to_dense(count, size)


def one(showings: int, seed: int, device: Callable[[sf.Program], sf.Device]) -> NDArray[np.int64]:
    """Spikes of one neuron: [showing, whether it was the pattern or a set that comes once]."""
    random = np.random.default_rng(seed)
    program, _ = sf.compile(network(1, seed=seed))
    pattern, others = patterns(1, 0, random), patterns(showings, 0, random)
    sets = np.stack([np.repeat(pattern, showings, axis=0), others], axis=1)
    return show(device(program), sets.reshape(-1, LINES), random).reshape(showings, 2)


def several(count: int, shared: int, seed: int, device: Callable[[sf.Program], sf.Device]) -> float:
    """The share of showings that are answered right after learning `count` patterns."""
    random = np.random.default_rng(seed)
    program, _ = sf.compile(network(2 * count, seed=seed))
    sets = patterns(count, shared, random)
    runs_on = device(program)
    show(runs_on, sets[random.integers(0, count, 80 * count)], random)
    runs_on.write(f"{PROJECTION}.learning", np.zeros(1, np.int32))
    told = np.repeat(np.arange(count), 20)
    counts = show(runs_on, sets[told], random).reshape(count, 2, 10, -1)
    of = counts[:, 0].sum(axis=1).argmax(axis=0)  # the pattern of each neuron
    answer = np.where(counts[:, 1].any(axis=2), of[counts[:, 1].argmax(axis=2)], -1)
    return float(np.mean(answer == np.arange(count)[:, np.newaxis]))


def draw(file: Path, spikes: NDArray[np.float64], table: NDArray[np.float64], counts: list[int],
         shares: list[int]) -> None:  # fmt: skip
    """Picture: spikes of the single neuron by showing; accuracy by number and similarity."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for column, (name, color) in enumerate([("the pattern", "tab:blue"), ("others", "tab:gray")]):
        left.plot(np.arange(len(spikes)), spikes[:, column], color=color, label=name)
    left.set(xlabel="showings", ylabel="spikes per showing", ylim=(0, None))
    left.set_title("One neuron meets one pattern (mean of 10)", fontsize=11)
    left.legend(frameon=False)
    left.spines[["top", "right"]].set_visible(False)
    shown = right.imshow(100 * table, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for at, value in np.ndenumerate(table):
        color = "black" if value > 0.6 else "white"
        right.text(at[1], at[0], f"{100 * value:.0f}", ha="center", va="center", color=color)
    right.set_xticks(range(len(shares)), [f"{100 * s // ACTIVE}" for s in shares])
    right.set_yticks(range(len(counts)), [str(c) for c in counts])
    right.set(xlabel="share of its lines that all patterns have (%)", ylabel="patterns")
    right.set_title("Right answers (%), mean of 5", fontsize=11)
    figure.colorbar(shown)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Learn one pattern, then several."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--showings", type=int, default=200, help="of the single pattern")
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    spikes = np.array([one(chosen.showings, seed, sf.Emulator) for seed in range(10)])
    found, false = (spikes[:, chosen.showings // 2 :] > 0).mean(axis=(0, 1))
    print(f"one pattern: detected in {found:.2%} of its showings, {false:.2%} of all others")
    counts, shares = [2, 4, 8, 16], [0, 5, 10, 15]
    print("patterns", *(f"{s}/{ACTIVE} shared" for s in shares), sep="\t")
    table = np.zeros((len(counts), len(shares)))
    for (row, column), _ in np.ndenumerate(table):
        runs = [several(counts[row], shares[column], seed, sf.Emulator) for seed in range(5)]
        table[row, column] = np.mean(runs)
        if column == len(shares) - 1:
            print(counts[row], *(f"{x:.1%}" for x in table[row]), sep="\t", flush=True)
    if chosen.picture:
        draw(chosen.picture, spikes.mean(axis=0), table, counts, shares)


if __name__ == "__main__":
    main()
