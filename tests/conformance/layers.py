"""The torch layers between neurons, with weights that are exact in fixed point."""

import numpy as np
import torch
from drawing import biases, whole

INPUTS, HIDDEN, OUTPUTS = 14, 14, 6


def tensor(x):
    return torch.tensor(np.asarray(x, np.float32))


def full(value, *shape):
    return torch.full(shape, float(value))


def linear(rng, inputs, outputs, bias=False):
    layer = torch.nn.Linear(inputs, outputs, bias=bias)
    layer.weight.data = tensor(whole(rng, outputs, inputs))
    if bias:
        layer.bias.data = tensor(biases(rng, outputs))
    return layer


def conv(rng, channels, outputs, bias=False, **options):
    layer = torch.nn.Conv2d(channels, outputs, 3, bias=bias, **options)
    layer.weight.data = tensor(whole(rng, *layer.weight.shape))
    if bias:
        layer.bias.data = tensor(biases(rng, outputs))
    return layer
