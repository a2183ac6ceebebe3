"""A three-factor rule learns which action a cue asks for, though reward comes late.

    .venv/bin/python examples/learning/reward.py --picture reward.png

In a trial, the lines of one cue spike, and the first action neuron to spike acts; a kick to one of
them, drawn at random, explores. Some steps later all plastic synapses get the same signal: reward
if it was the action that the cue asks for, punishment if not. What each synapse remembers of its
spikes until then (its eligibility) decides which of them learn. Then each cue is shown without kick
and without learning.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import spikefab as sf
from numpy.typing import NDArray

LINES, CUE_STEPS = 4, 4  # of a cue: how many spike, in how many steps
TRIAL = 60  # steps
REWARD, PUNISHMENT = 64, -32  # 64 counts 1
PROJECTION = "cues->actions"


def network(cues: int, actions: int, memory: float = 0.95) -> sf.Network:
    """Cues onto actions that hold each other down; memory: what eligibility keeps in a step."""
    made = sf.Network()
    cue = made.input("cues", cues * LINES)
    kick = made.input("kicks", actions)
    action = made.population("actions", actions, "lif", keep=0.8, threshold=1.0, output=True)
    rule = sf.Plasticity(
        "reward_stdp", w_min=0, w_max=1, keep_pre=0.8, keep_post=0.8, keep_e=memory, up=0.04,
        down=0.01,
    )  # fmt: skip
    made.connect(cue, action, np.full((cues * LINES, actions), 0.1), plasticity=rule)
    made.connect(kick, action, np.eye(actions))
    made.connect(action, action, np.eye(actions) - 1.0, delay=1)
    return made


class Task:
    """A device with the network on it, and what each cue asks for."""

    def __init__(
        self, made: sf.Network, seed: int, device: Callable[[sf.Program], sf.Device] = sf.Emulator
    ) -> None:
        program, _ = sf.compile(made)
        self.device = device(program)
        self.random = np.random.default_rng(seed)
        self.actions = program.population("actions").size
        self.cues = program.input("cues").size // LINES
        self.asked = self.random.permutation(np.arange(self.cues) % self.actions)

    def act(self, cue: int, kick: int | None = None) -> int:
        """Show a cue: the first action neuron to spike, -1 if none or several do."""
        shown = np.zeros((CUE_STEPS, self.cues * LINES), np.int64)
        shown[:, cue * LINES : (cue + 1) * LINES] = 1
        spikes = {"cues": sf.SpikeTrain.from_dense(shown)}
        if kick is not None:
            spikes["kicks"] = sf.SpikeTrain.of([1], [kick])
        train = self.device.run(spikes, CUE_STEPS, drain=False).spikes["actions"]
        first = train.index[train.step == train.step.min(initial=TRIAL)]
        return int(first[0]) if len(first) == 1 else -1

    def trial(self, delay: int) -> bool:
        """A cue, an action, and reward `delay` steps after the cue: whether it was right."""
        cue = int(self.random.integers(self.cues))
        done = self.act(cue, int(self.random.integers(self.actions)))
        reward = np.zeros(TRIAL - CUE_STEPS, np.int64)
        reward[delay] = REWARD if done == self.asked[cue] else PUNISHMENT
        self.device.run(steps=len(reward), signals={"reward": reward}, drain=False)
        return done == self.asked[cue]

    def tested(self) -> float:
        """The share of cues answered right, without kicks and reward."""
        answers = []
        for cue in range(self.cues):
            answers.append(self.act(cue))
            self.device.run(steps=TRIAL - CUE_STEPS, drain=False)
        return float(np.mean(np.array(answers) == self.asked))


def learn(cues: int, actions: int, trials: int, delay: int, memory: float, seed: int) -> Task:
    """A task after so many trials."""
    task = Task(network(cues, actions, memory), seed)
    for _ in range(trials):
        task.trial(delay)
    return task


def curve(trials: int, delay: int, seeds: int) -> NDArray[np.float64]:
    """The share of right actions, with kicks, by trial, over several tasks."""
    found = []
    for seed in range(seeds):
        task = Task(network(6, 3), seed)
        found.append([task.trial(delay) for _ in range(trials)])
    return np.mean(found, axis=0)


def draw(file: Path, delays: list[int], rows: dict[float, list[float]], trials: int) -> None:
    """Picture: right actions by trial; right answers by delay of the reward."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    smooth = np.convolve(curve(trials, delays[1], 20), np.ones(15) / 15, "valid")
    left.plot(np.arange(len(smooth)) + 7, 100 * smooth, color="tab:blue")
    left.axhline(100 / 3, color="gray", linestyle=":", label="chance")
    left.set(xlabel="trial", ylabel="right actions while exploring (%)", ylim=(0, 104))
    left.set_title(f"Reward after {delays[1]} steps, 20 tasks", fontsize=11)
    left.legend(frameon=False)
    for memory, row in rows.items():
        name = f"keeps {memory:g} a step" if memory else "no eligibility"
        right.plot(delays, 100 * np.array(row), "o-", label=name)
    right.axhline(100 / 3, color="gray", linestyle=":")
    right.set(xlabel="steps from cue to reward", ylabel="right answers (%)", ylim=(0, 104))
    right.set_title(f"After {trials} trials, 5 tasks each", fontsize=11)
    right.legend(frameon=False, loc="center right")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Learn with several delays and memories."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    delays, rows = [0, 10, 20, 30, 40, 50], {}
    print("right answers by steps from cue to reward:", *delays, sep="\t")
    for memory in (0.95, 0.8, 0.0):
        rows[memory] = [
            float(np.mean([learn(6, 3, chosen.trials, d, memory, s).tested() for s in range(5)]))
            for d in delays
        ]
        print(f"eligibility keeps {memory:g} a step", *(f"{x:.0%}" for x in rows[memory]), sep="\t")
    if chosen.picture:
        draw(chosen.picture, delays, rows, chosen.trials)


if __name__ == "__main__":
    main()
