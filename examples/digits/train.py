"""Train the digits network in snnTorch and export it to NIR, as a user of snnTorch would.

Run from the root of the repository, with a Python that has torch, snntorch, nir, nirtorch and
scikit-learn:

    .venv-peers/bin/python examples/digits/train.py

Settings are judged on a fifth of the training split (``--validate-only`` stops there). Then the
network is trained again on the whole training split and exported, and the test split is used once.
"""

import argparse
from collections import OrderedDict
from pathlib import Path

import nir
import numpy as np
import numpy.typing as npt
import snntorch as snn
import snntorch.functional
import torch
from images import TEST_IMAGES, TRAINING_IMAGES, WHITE, encode
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from snntorch import surrogate, utils
from snntorch.export_nir import export_to_nir
from torch import nn

INPUTS, HIDDEN, CLASSES = 64, 80, 10
BETA = 0.9
BATCH = 64
LEARNING_RATE = 1e-2
WEIGHT_NOISE = 0.06
WEIGHT_BITS = (8, 5, 4)
REPORT_EVERY = 20

Pixels = npt.NDArray[np.uint8]


def leaky(neurons: int) -> snn.Leaky:
    """A layer of leaky neurons: v = beta v + x - threshold (spike of the step before)."""
    return snn.Leaky(
        beta=torch.full((neurons,), BETA),
        threshold=torch.ones(neurons),
        reset_mechanism="subtract",
        spike_grad=surrogate.fast_sigmoid(slope=5),
        init_hidden=True,
    )


def build_network() -> nn.Sequential:
    """An untrained network of 90 neurons; a call of it is one time step of a batch."""
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(INPUTS, HIDDEN, bias=False),
            lif1=leaky(HIDDEN),
            fc2=nn.Linear(HIDDEN, CLASSES, bias=False),
            lif2=leaky(CLASSES),
        )
    )


def respond(network: nn.Module, images: npt.ArrayLike) -> torch.Tensor:
    """Show images [image, pixel] to the network at rest; return spikes [step, image, class]."""
    utils.reset(network)
    spikes = torch.from_numpy(encode(images).swapaxes(0, 1).astype(np.float32))
    return torch.stack([network(step) for step in spikes])


def augment(images: Pixels, generator: torch.Generator) -> Pixels:
    """Turn, scale, slant and shift each image [image, pixel] a little, at random."""
    count = len(images)
    spread = torch.tensor([0.06, 0.04, 0.06, 0.05, 0.05])
    angle, stretch, slant, across, down = (
        torch.randn(count, 5, generator=generator) * spread
    ).unbind(1)
    scale = 1 + stretch
    rows = (
        torch.stack([scale * angle.cos(), slant - angle.sin(), across], dim=1),
        torch.stack([angle.sin(), scale * angle.cos(), down], dim=1),
    )
    planes = torch.from_numpy(images).float().reshape(count, 1, 8, 8)
    grid = nn.functional.affine_grid(torch.stack(rows, dim=1), [count, 1, 8, 8], False)
    moved = nn.functional.grid_sample(planes, grid, align_corners=False)
    pixels: Pixels = moved.round().clamp(0, WHITE).reshape(count, INPUTS).numpy().astype(np.uint8)
    return pixels


def accuracy(network: nn.Module, images: Pixels, labels: Pixels) -> float:
    """Percentage of images whose class spikes most; the lowest class wins a tie."""
    with torch.no_grad():
        counts = respond(network, images).sum(0).numpy()
    return 100 * float(np.mean(counts.argmax(1) == labels))


def rounded(network: nn.Module, bits: int) -> nn.Sequential:
    """A copy with the weights of each layer rounded to multiples of max |w| / (2^(bits-1) - 1)."""
    copy = build_network()
    copy.load_state_dict(network.state_dict())
    with torch.no_grad():
        for weight in copy.parameters():
            scale = weight.abs().max() / (2 ** (bits - 1) - 1)
            weight.copy_((weight / scale).round() * scale)
    return copy


def report(network: nn.Module, images: Pixels, labels: Pixels, split: str) -> None:
    """Print the accuracy on a split, with float weights and with rounded ones."""
    print(f"{split} accuracy, {len(images)} images: {accuracy(network, images, labels):.2f} %")
    for bits in WEIGHT_BITS:
        percent = accuracy(rounded(network, bits), images, labels)
        print(f"  weights rounded to {bits} bits: {percent:.2f} %")


def train(
    images: Pixels,
    labels: Pixels,
    epochs: int,
    seed: int,
    validation: tuple[Pixels, Pixels] | None = None,
) -> nn.Sequential:
    """Train a new network on images [image, pixel] with surrogate gradients.

    The target is 12 of 16 spikes from the right class and none from the others. Every gradient is
    taken at weights disturbed by noise, so that rounding them later changes few answers.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = build_network()
    weights = list(network.parameters())
    optimizer = torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=1e-4)
    batches = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, epochs * batches, pct_start=0.2
    )
    count_loss = snntorch.functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.05)
    targets = torch.from_numpy(labels).long()
    for epoch in range(1, epochs + 1):
        varied = augment(images, generator)
        for batch in torch.split(torch.randperm(len(images)), BATCH):
            optimizer.zero_grad()
            trained = [weight.detach().clone() for weight in weights]
            with torch.no_grad():
                for weight in weights:
                    weight.add_(torch.randn_like(weight) * WEIGHT_NOISE * weight.abs().max())
            count_loss(respond(network, varied[batch.numpy()]), targets[batch]).backward()
            with torch.no_grad():
                for weight, value in zip(weights, trained, strict=True):
                    weight.copy_(value)
            optimizer.step()
            schedule.step()
        if validation and epoch % REPORT_EVERY == 0:
            print(f"epoch {epoch}: validation accuracy {accuracy(network, *validation):.2f} %")
    return network


def main() -> None:
    """Validate, train, export and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--validate-only", action="store_true", help="stop after validation")
    parser.add_argument("-o", "--output", type=Path, default=TEST_IMAGES.with_name("digits.nir"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    images, labels = (part.astype(np.uint8) for part in load_digits(return_X_y=True))
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.33, random_state=42
    )
    fit_images, held_images, fit_labels, held_labels = train_test_split(
        train_images, train_labels, test_size=0.2, random_state=42, stratify=train_labels
    )
    settings = arguments.epochs, arguments.seed
    held = held_images, held_labels
    report(train(fit_images, fit_labels, *settings, held), *held, "validation")
    if arguments.validate_only:
        return

    network = train(train_images, train_labels, *settings)
    utils.reset(network)
    graph = export_to_nir(network, torch.zeros(1, INPUTS), ignore_dims=[0])
    nir.write(arguments.output, graph)
    for file, pixels, answers in (
        (TEST_IMAGES, test_images, test_labels),
        (TRAINING_IMAGES, train_images, train_labels),
    ):
        np.savez_compressed(arguments.output.with_name(file.name), images=pixels, labels=answers)
    report(network, test_images, test_labels, "test")


if __name__ == "__main__":
    main()
