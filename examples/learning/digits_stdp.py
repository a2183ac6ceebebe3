"""Handwritten digits, learnt on chip: supervised symmetric STDP, 8-bit weights.

    .venv/bin/python examples/learning/digits_stdp.py --picture digits_stdp.png

Each pixel has a line for its brightness and one for its darkness. Every class has some neurons with
adaptive thresholds; whoever spikes holds down all others, and while learning, teacher lines hold
down the neurons of wrong classes. After each image the host scales the weights of every neuron to
the same sum. The answer is the class whose neurons spike most. `--validate` learns from four fifths
of the training images and answers the rest, which is how the settings were chosen; the test images
are answered once, without it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import spikefab as sf
from numpy.typing import NDArray
from spikefab.examples import digits
from spikefab.examples.digits.images import WHITE

STEPS, PERIOD = 384, 32  # of an image; between the spikes of a white pixel
TOTAL, THRESHOLD, TEACHERS = 16.0, 24.0, 4
PROJECTION = "pixels->neurons"

Images = NDArray[np.uint8]


def network(per_class: int, classes: int = 10, pixels: int = 64, seed: int = 0) -> sf.Network:
    """`per_class` neurons for each class, with random weights onto them."""
    size, lines = classes * per_class, 2 * pixels
    made = sf.Network()
    source = made.input("pixels", lines)
    teacher = made.input("teacher", classes * TEACHERS)
    neurons = made.population(
        "neurons", size, "alif", keep=1.0, threshold=THRESHOLD, v_reset=THRESHOLD - 1,
        v_floor=-THRESHOLD, keep_a=0.9998, step_a=0.4, options={"floor": "value"}, output=True,
    )  # fmt: skip
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, (lines, size))
    weights *= TOTAL * lines / 128 / weights.sum(axis=0)
    rule = sf.Plasticity(
        "symmetric", w_min=0, w_max=1, keep_pre=0.97, keep_post=0.5, up_pre=0.0005,
        up_post=0.0003, offset=0.4,
    )  # fmt: skip
    made.connect(source, neurons, weights, plasticity=rule)
    taught = np.repeat(np.arange(classes), TEACHERS)[:, np.newaxis]
    made.connect(teacher, neurons, -1.0 * (taught != np.repeat(np.arange(classes), per_class)))
    made.connect(neurons, neurons, np.eye(size) - 1.0, delay=1)
    return made


class Learner:
    """A device with the network on it; images are shown one after the other."""

    def __init__(
        self, made: sf.Network, seed: int, device: Callable[[sf.Program], sf.Device] = sf.Emulator
    ) -> None:
        self.program, _ = sf.compile(made)
        self.device = device(self.program)
        self.random = np.random.default_rng(seed)
        self.classes = self.program.input("teacher").size // TEACHERS
        self.per_class = self.program.populations[0].size // self.classes

    def show(self, image: Images, label: int | None = None) -> NDArray[np.int64]:
        """Show an image, with teacher if it has a label: spikes of each neuron."""
        for name in ("neurons.v", f"{PROJECTION}.x", f"{PROJECTION}.y"):
            self.device.write(name, np.zeros_like(self.device.read(name)))
        rates = np.concatenate([image, WHITE - image]).astype(np.int64)
        phase = self.random.integers(0, WHITE * PERIOD, len(rates))
        emitted = (np.arange(STEPS + 1)[:, np.newaxis] * rates + phase) // (WHITE * PERIOD)
        spikes = {"pixels": sf.SpikeTrain.from_dense(np.diff(emitted, axis=0))}
        if label is not None:
            taught = np.repeat(np.arange(self.classes) == label, TEACHERS)
            spikes["teacher"] = sf.SpikeTrain.from_dense(np.tile(taught, (STEPS, 1)))
        run = self.device.run(spikes, STEPS, drain=False)
        return np.bincount(run.spikes["neurons"].index, minlength=self.classes * self.per_class)

    def learn(self, images: Images, labels: Images) -> None:
        """Learn from each image once, in random order."""
        for n in self.random.permutation(len(images)):
            self.show(images[n], labels[n])
            total = TOTAL * images.shape[1] / 64
            sf.scale_weights(self.device, self.program, PROJECTION, total, self.random)

    def answer(self, images: Images) -> NDArray[np.int64]:
        """The class of each image, with learning off and thresholds at rest."""
        self.device.write(f"{PROJECTION}.learning", np.zeros(1, np.int32))
        adapted = self.device.read("neurons.a")
        counts = []
        for image in images:
            self.device.write("neurons.a", np.zeros_like(adapted))
            counts.append(self.show(image).reshape(self.classes, self.per_class).sum(axis=1))
        self.device.write("neurons.a", adapted)
        self.device.write(f"{PROJECTION}.learning", np.ones(1, np.int32))
        return np.argmax(counts, axis=1)


def draw(learner: Learner, file: Path, accuracy: float) -> None:
    """Picture of the weights from bright and from dark pixels, a row for each class."""
    import matplotlib.pyplot as plt

    weights = learner.device.read(f"{PROJECTION}.weights").astype(float)
    bright, dark = weights.reshape(2, 8, 8, learner.classes, learner.per_class)
    field = (bright - dark).transpose(2, 0, 3, 1)
    field = np.pad(field, ((0, 0), (0, 1), (0, 0), (0, 1)), constant_values=np.nan)
    figure, axes = plt.subplots(figsize=(5.6, 6.6), layout="constrained")
    most = float(np.nanmax(np.abs(field)))
    field = field.reshape(9 * learner.classes, -1)
    shown = axes.imshow(field, cmap="RdBu_r", vmin=-most, vmax=most)
    axes.set_yticks(np.arange(learner.classes) * 9 + 3.5, [str(c) for c in range(learner.classes)])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel=f"the {learner.per_class} neurons of each digit")
    axes.set_title(f"Weights learnt on chip; {accuracy:.1%} of the test images right", fontsize=11)
    figure.colorbar(shown, shrink=0.6, label="weight: bright pixel - dark pixel (LSB)")
    figure.savefig(file, dpi=150)


def main() -> None:
    """Learn and answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-class", type=int, default=8, help="neurons of each class")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--validate", action="store_true", help="without the test images")
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    images, labels = digits.load_training_images()
    held, answers = digits.load_test_images()
    if chosen.validate:
        order = np.random.default_rng(chosen.seed).permutation(len(images))
        held, answers = images[order[:241]], labels[order[:241]]
        images, labels = images[order[241:]], labels[order[241:]]
    learner = Learner(network(chosen.per_class, seed=chosen.seed), chosen.seed)
    for _ in range(chosen.epochs):
        learner.learn(images, labels)
    accuracy = float(np.mean(learner.answer(held) == answers))
    kind = "validation" if chosen.validate else "test"
    print(f"{accuracy:.2%} of {len(held)} {kind} images right")
    if chosen.picture:
        draw(learner, chosen.picture, accuracy)


if __name__ == "__main__":
    main()
