"""Train a small convolutional network for few-bit weights in snnTorch, and export it to NIR.

Run from the root of the repository, with a Python that has torch, snntorch, nir, nirtorch and
scikit-learn:

    .venv-peers/bin/python examples/digits/train_conv.py

The recipe is `Rounded`: the network computes with rounded weights from the first step of training
on, gradients pass the rounding as if it were not there, and what is exported are the rounded
weights. ``--bits 0`` trains the same network without it.
"""

import argparse
import math
from collections import OrderedDict
from pathlib import Path

import nir
import numpy as np
import numpy.typing as npt
import snntorch as snn
import snntorch.functional
import torch
from images import TEST_IMAGES, encode
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from snntorch import surrogate, utils
from snntorch.export_nir import export_to_nir
from torch import nn
from torch.nn.utils import parametrize
from train import BATCH, Pixels, augment

CLASSES = 10
BETA = 0.875  # 3584 / 4096: a decay that fixed point has exactly
LEARNING_RATE = 5e-3


class Rounded(nn.Module):
    """Weights as whole multiples of a step, the greatest of them 2^(bits - 1) - 1 steps."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.largest = 2 ** (bits - 1) - 1

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The rounded weights; their gradient is that of the weights."""
        step = weight.detach().abs().max() / self.largest
        return weight + ((weight / step).round() * step - weight).detach()


def leaky(*shape: int) -> snn.Leaky:
    """A layer of leaky neurons: v = beta v + x - threshold (spike of the step before)."""
    return snn.Leaky(
        beta=torch.full(shape, BETA),
        threshold=torch.ones(shape),
        reset_mechanism="subtract",
        spike_grad=surrogate.fast_sigmoid(slope=5),
        init_hidden=True,
    )


def build_network(bits: int) -> nn.Sequential:
    """An untrained network of 554 neurons, with rounded weights unless bits is 0."""
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 8, 3, bias=False),
            lif1=leaky(8, 6, 6),
            conv2=nn.Conv2d(8, 16, 3, bias=False),
            lif2=leaky(16, 4, 4),
            flat=nn.Flatten(),
            fc=nn.Linear(256, CLASSES, bias=False),
            lif3=leaky(CLASSES),
        )
    )
    for layer in (network.conv1, network.conv2, network.fc):
        with torch.no_grad():
            layer.weight.mul_(2)  # so that spikes reach the last layer
        if bits:
            parametrize.register_parametrization(layer, "weight", Rounded(bits))
    return network


def respond(network: nn.Module, images: npt.ArrayLike) -> torch.Tensor:
    """Show images [image, pixel] to the network at rest; return spikes [step, image, class]."""
    utils.reset(network)
    spikes = torch.from_numpy(encode(images).swapaxes(0, 1).astype(np.float32))
    return torch.stack([network(step.reshape(-1, 1, 8, 8)) for step in spikes])


def accuracy(network: nn.Module, images: Pixels, labels: Pixels) -> float:
    """Percentage of images whose class spikes most; the lowest class wins a tie."""
    with torch.no_grad():
        counts = respond(network, images).sum(0).numpy()
    return 100 * float(np.mean(counts.argmax(1) == labels))


def train(images: Pixels, labels: Pixels, bits: int, epochs: int, seed: int) -> nn.Sequential:
    """Train a new network on images [image, pixel] with surrogate gradients."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = build_network(bits)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, epochs * math.ceil(len(images) / BATCH), pct_start=0.2
    )
    count_loss = snntorch.functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.05)
    targets = torch.from_numpy(labels).long()
    for epoch in range(1, epochs + 1):
        varied = augment(images, generator)
        for batch in torch.split(torch.randperm(len(images)), BATCH):
            optimizer.zero_grad()
            loss = count_loss(respond(network, varied[batch.numpy()]), targets[batch])
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % 10 == 0:
            print(f"epoch {epoch}: loss of the last batch {loss.item():.3f}", flush=True)
    return network


def main() -> None:
    """Train, export and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, default=4, help="of the weights; 0: no rounding")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("-o", "--output", type=Path, default=TEST_IMAGES.with_name("conv.nir"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    images, labels = (part.astype(np.uint8) for part in load_digits(return_X_y=True))
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.33, random_state=42
    )
    network = train(train_images, train_labels, arguments.bits, arguments.epochs, arguments.seed)
    if arguments.bits:
        for layer in (network.conv1, network.conv2, network.fc):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    print(f"training accuracy: {accuracy(network, train_images, train_labels):.2f} %")
    print(f"test accuracy: {accuracy(network, test_images, test_labels):.2f} %")
    utils.reset(network)
    nir.write(arguments.output, export_to_nir(network, torch.zeros(1, 1, 8, 8), ignore_dims=[0]))


if __name__ == "__main__":
    main()
