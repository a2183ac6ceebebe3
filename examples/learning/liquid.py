"""A reservoir whose recurrence an astrocyte's gain tunes, and a readout trained on chip.

    .venv/bin/python examples/learning/liquid.py --picture liquid.png

Each class is a template of spikes: in all of them every line spikes equally often, so that only the
times tell them apart; what is shown is a template with spikes moved and lost. A recurrent network
of excitatory and inhibitory neurons sees it. Its excitatory synapses first learn by STDP times a
gain that the host gives as a signal: as an astrocyte, it follows the reservoir's activity and comes
to nothing where that reaches its set point (after Ivanov and Michmizos 2021). Then a readout learns
by the delta rule, from targets that the host writes; its neuron that spikes most is the answer.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import spikefab as sf
from numpy.typing import NDArray

CLASSES, LINES, STEPS, REST = 4, 24, 40, 30
SPIKES, JITTER, LOST = 4, 1, 0.1  # of a line; steps that a spike may move; share that is lost
SET_POINT, SLOWNESS = 0.02, 0.8  # spikes per neuron and step; what the astrocyte keeps in a trial
RECURRENT, READOUT = "excitatory->excitatory", "excitatory->readout"


def network(size: int, recurrent: float, seed: int = 0) -> sf.Network:
    """`size` excitatory neurons, a quarter as many inhibitory ones, and the readout."""
    random = np.random.default_rng(seed)
    made = sf.Network()
    lines = made.input("lines", LINES)
    e = made.population(
        "excitatory", size, "lif", keep=0.85, threshold=1.0, refractory_period=2, v_floor=-1.0,
        options={"refractory": "integrate", "floor": "value"}, output=True,
    )  # fmt: skip
    i = made.population("inhibitory", size // 4, "lif", keep=0.7, threshold=1.0)
    low = {"v_floor": -1.0, "options": {"floor": "value"}}
    out = made.population("readout", CLASSES, keep=0.9, threshold=1.0, output=True, **low)

    def some(a: int, b: int, share: float, weight: float) -> sf.Triples:
        at = np.argwhere(random.random((a, b)) < share)
        return sf.Triples(at[:, 0], at[:, 1], random.uniform(0.5, 1.5, len(at)) * weight)

    kept = {"keep_pre": 0.8, "keep_post": 0.8}
    stdp = sf.Plasticity("gain_stdp", w_min=0, w_max=1, up=0.01, down=0.004, **kept)
    delta = sf.Plasticity("delta", w_min=-1, w_max=1, keep_post=0.8, rate=0.004, learning=False)
    made.connect(lines, e, some(LINES, size, 0.08, 0.7))
    made.connect(e, e, some(size, size, 0.1, recurrent), delay=1, plasticity=stdp)
    made.connect(e, i, some(size, size // 4, 0.2, 0.3), delay=1)
    made.connect(i, e, some(size // 4, size, 0.2, -0.4), delay=1)
    made.connect(e, out, np.zeros((size, CLASSES)), plasticity=delta)
    return made


class Liquid:
    """A device with the network on it, the templates, and the astrocyte."""

    def __init__(
        self, size: int, recurrent: float, seed: int, astrocyte: bool = True,
        device: Callable[[sf.Program], sf.Device] = sf.Emulator,
    ) -> None:  # fmt: skip
        self.device = device(sf.compile(network(size, recurrent, seed))[0])
        self.size, self.astrocyte, self.activity = size, astrocyte, 0.0
        self.random = np.random.default_rng(seed)
        order = self.random.random((CLASSES, LINES, STEPS)).argsort(axis=2)
        self.templates = order[:, :, :SPIKES]  # steps of spikes

    def show(self, label: int) -> int:
        """Show a template: the answer, -1 if the readout is silent."""
        step = self.templates[label] + self.random.integers(-JITTER, JITTER + 1, (LINES, SPIKES))
        line = np.repeat(np.arange(LINES), SPIKES)
        raster = np.zeros((STEPS, LINES), np.bool_)
        kept = self.random.random(line.size) >= LOST
        raster[step.ravel().clip(0, STEPS - 1)[kept], line[kept]] = True
        share = max(0, 1 - self.activity / SET_POINT) if self.astrocyte else 1
        told = {"gain": np.full(STEPS + REST, int(64 * share) - 64)}  # -64 counts 0, 0 counts 1
        train = sf.SpikeTrain.from_dense(raster)
        run = self.device.run(train, STEPS + REST, signals=told, drain=False)
        now = len(run.spikes["excitatory"]) / self.size / STEPS
        self.activity += (1 - SLOWNESS) * (now - self.activity)
        counts = np.bincount(run.spikes["readout"].index, minlength=CLASSES)
        return int(counts.argmax()) if counts.any() else -1

    def tune(self, trials: int) -> list[float]:
        """Let the recurrent synapses learn, and no more: the activity by trial."""
        seen = []
        for _ in range(trials):
            self.show(int(self.random.integers(CLASSES)))
            seen.append(self.activity)
        self.device.write(f"{RECURRENT}.learning", np.zeros(1, np.int32))
        return seen

    def teach(self, trials: int) -> None:
        """Let the readout learn."""
        self.device.write(f"{READOUT}.learning", np.ones(1, np.int32))
        for _ in range(trials):
            label = int(self.random.integers(CLASSES))
            self.device.write(f"{READOUT}.target", np.where(np.arange(CLASSES) == label, 96, 0))
            self.show(label)
        self.device.write(f"{READOUT}.learning", np.zeros(1, np.int32))

    def tested(self, trials: int) -> float:
        """The share of right answers."""
        return float(np.mean([self.show(n % CLASSES) == n % CLASSES for n in range(trials)]))


def draw(file: Path, rows: dict[str, tuple[NDArray[np.float64], list[float]]]) -> None:
    """Picture: activity while the reservoir learns; right answers of the readout after."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    left.axhline(SET_POINT, color="gray", linestyle=":", label="set point")
    for at, (name, (seen, right_answers)) in enumerate(rows.items()):
        if seen.size:
            left.plot(seen.mean(axis=0), color=f"C{at}", label=name)
        right.bar(at, 100 * np.mean(right_answers), color=f"C{at}", alpha=0.6)
        right.plot(np.full(len(right_answers), at), 100 * np.array(right_answers), "k.")
    left.set(xlabel="trials of the reservoir", ylabel="spikes per neuron and step", ylim=(0, None))
    left.set(title="Activity of the reservoir")
    left.legend(frameon=False)
    right.axhline(100 / CLASSES, color="gray", linestyle=":")
    right.set_xticks(range(len(rows)), list(rows), rotation=15)
    right.set(ylabel="right answers (%)", ylim=(0, 104), title="Readout, taught after that")
    figure.savefig(file, dpi=150)


def main() -> None:
    """Tune and teach reservoirs without STDP, with plain STDP, and with the astrocyte."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    rows = {}
    kinds = ("no STDP", 0, True), ("STDP alone", 400, False), ("astrocyte", 400, True)
    for name, trials, astrocyte in kinds:
        seen, answers = [], []
        for seed in range(3):
            liquid = Liquid(300, 0.1, seed, astrocyte)
            seen.append(liquid.tune(trials))
            liquid.teach(1500)
            answers.append(liquid.tested(200))
        rows[name] = np.array(seen), answers
        print(f"{name}: {np.mean(answers):.1%} right, activity {liquid.activity:.3f}", flush=True)
    if chosen.picture:
        draw(chosen.picture, rows)


if __name__ == "__main__":
    main()
