"""Convolution and pooling nodes: the geometry of their windows, and their synapses.

A window slides over the spatial axes of [channels, length] or [channels, height, width]. Its
synapses are made by array operations over (place in the output, place in the kernel).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from .nir_file import check_room
from .nir_graph import CONVOLUTIONS, POOLS, Node, Shape, shape_text

Places = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
_LONGEST = 1 << 25  # of a stride, a padding, a dilation or a kernel


@dataclass(frozen=True)
class Window:
    """Where a node's kernel goes, one entry per spatial axis; before, after: the padding."""

    taken: Shape  # channels, then the spatial axes
    channels: int  # of the output
    groups: int
    kernel: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    after: Shape

    @property
    def given(self) -> Shape:
        """The output's shape: channels, then the spatial axes."""
        axes = zip(
            self.taken[1:], self.before, self.after, self.kernel, self.stride, self.dilation,
            strict=True,
        )  # fmt: skip
        return (
            self.channels,
            *((size + a + b - d * (k - 1) - 1) // s + 1 for size, a, b, k, s, d in axes),
        )


def window(node: Node, source: Shape) -> Window:
    """The window of a Conv or Pool node over an input of shape `source`.

    Raises SpikefabError for parameters that fit neither each other nor the input.
    """
    axes = 1 if node.type == "Conv1d" else 2
    stride = _numbers(node, "stride", axes, least=1)
    if node.type in CONVOLUTIONS:
        channels, inputs, *kernel = _kernel_shape(node, axes)
        groups = _numbers(node, "groups", 1, least=1)[0]
        if channels % groups:
            raise SpikefabError(
                f"{groups} groups",
                node.where,
                f"they do not divide its {channels} output channels",
            )
        taken = _input(node, source, inputs * groups, axes)
        dilation = _numbers(node, "dilation", axes, least=1)
    else:
        taken = _input(node, source, None, axes)
        kernel = list(_numbers(node, "kernel_size", axes, least=1))
        channels = groups = taken[0]
        dilation = (1,) * axes
    reach = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    before, after = _padding(node, axes, stride, reach)
    for size, a, b, r in zip(taken[1:], before, after, reach, strict=True):
        if size + a + b < r + 1:
            raise SpikefabError(
                f"kernel of {shape_text(tuple(kernel))}",
                node.where,
                f"it spans {r + 1} where its padded input has {size + a + b}",
                "give a larger input or more padding",
            )
    return Window(taken, channels, groups, tuple(kernel), stride, dilation, before, after)


def synapses(node: Node, over: Window) -> sp.csr_array:
    """The node as a sparse matrix [source, target]; both in the order of their flattened shapes.

    Raises SpikefabError if it does not fit in memory.
    """
    axes = [_axis(node, over, axis) for axis in range(len(over.kernel))]
    per_group = over.taken[0] // over.groups
    count = over.channels * per_group * prod(len(to) for _, to, _ in axes)
    check_room(32 * count, f"{count} synapses", node.where)
    source, target, place = _places(over, axes)
    channel = np.arange(over.channels)
    inputs = channel // (over.channels // over.groups) * per_group
    inputs = inputs[:, None, None] + np.arange(per_group)[:, None]
    shape = (over.channels, per_group, len(source))
    rows = inputs * prod(over.taken[1:]) + source
    columns = channel[:, None, None] * prod(over.given[1:]) + target
    if node.type in POOLS:
        share = 1 / prod(over.kernel) if node.type == "AvgPool2d" else 1.0
        weights = np.full(count, share)
    else:
        weight = node.values["weight"]
        weights = weight.reshape(*weight.shape[:2], -1)[:, :, place].ravel()
    return sp.csr_array(
        (weights, (rows.ravel(), np.broadcast_to(columns, shape).ravel())),
        shape=(prod(over.taken), prod(over.given)),
    )


def bias(node: Node, over: Window) -> NDArray[np.float64] | None:
    """The bias of every output of the node, by channel; None if it has none."""
    if "bias" not in node.values:
        return None
    given = node.values["bias"].astype(np.float64).ravel()
    return np.repeat(np.broadcast_to(given, over.channels), prod(over.given[1:]))


def said(node: Node, over: Window) -> list[str]:
    """What is taken for granted of a window, in words."""
    found = []
    if node.type == "AvgPool2d" and any(over.before):
        found.append(f"'{node.name}' counts its padding as zeros, as PyTorch does if not told.")
    if over.before != over.after:
        found.append(f"The 'same' padding of '{node.name}' is one more at the end, as in PyTorch.")
    return found


def _axis(node: Node, over: Window, axis: int) -> Places:
    """(place in the input, in the output, in the kernel) along an axis, without the padding."""
    size, out, kernel = over.taken[1 + axis], over.given[1 + axis], over.kernel[axis]
    check_room(64 * out * kernel, f"{out} x {kernel} places", node.where)
    to, at = np.divmod(np.arange(out * kernel), kernel)
    come = to * over.stride[axis] + at * over.dilation[axis] - over.before[axis]
    inside = (come >= 0) & (come < size)
    return come[inside], to[inside], at[inside]


def _places(over: Window, axes: list[Places]) -> Places:
    """(place in a channel of the input, of the output, in the kernel) of all axes together."""
    source = target = place = np.zeros(1, np.int64)
    for axis, (come, to, at) in enumerate(axes):
        source = (source[:, None] * over.taken[1 + axis] + come).ravel()
        target = (target[:, None] * over.given[1 + axis] + to).ravel()
        place = (place[:, None] * over.kernel[axis] + at).ravel()
    return source, target, place


def _kernel_shape(node: Node, axes: int) -> Shape:
    shape = node.values["weight"].shape
    if len(shape) != 2 + axes or 0 in shape:
        expected = ", ".join(("outputs", "inputs", "height", "width")[: 2 + axes])
        expected = expected.replace("height", "length") if axes == 1 else expected
        raise SpikefabError(
            f"weight of shape {shape_text(shape)}", node.where, f"{node.type} takes [{expected}]"
        )
    bias = node.values.get("bias")
    if bias is not None and bias.size not in (1, shape[0]):
        raise SpikefabError(
            f"bias of shape {shape_text(bias.shape)}",
            node.where,
            f"the weight {shape_text(shape)} has {shape[0]} output channels",
        )
    return shape


def _input(node: Node, source: Shape, channels: int | None, axes: int) -> Shape:
    """`source` as channels and spatial axes: without a batch axis, with a channel axis."""
    taken = source
    if len(taken) == axes + 2 and taken[0] == 1:
        taken = taken[1:]
    if len(taken) == axes and channels in (1, None):
        taken = (1, *taken)
    if len(taken) != axes + 1 or channels not in (taken[0], None):
        own = "" if channels is None else f"{channels} "
        raise SpikefabError(
            f"input of shape {shape_text(source)}",
            node.where,
            f"{node.type} takes [{own}channels, {'height, width' if axes == 2 else 'length'}]",
            "give the Input, or the neurons before it, that shape",
        )
    if "input_shape" in node.values:
        declared = _numbers(node, "input_shape", axes, least=1)
        if declared != taken[1:]:
            raise SpikefabError(
                f"'input_shape' = {shape_text(declared)}",
                node.where,
                f"what feeds it has {shape_text(taken[1:])}",
                "leave it out, or correct the shapes before it",
            )
    return taken


def _padding(node: Node, axes: int, stride: Shape, reach: Shape) -> tuple[Shape, Shape]:
    word = node.words.get("padding")
    if word is None:
        both = _numbers(node, "padding", axes, least=0)
        return both, both
    if word == "valid":
        return (0,) * axes, (0,) * axes
    if word != "same":
        raise SpikefabError(
            f"'padding' = '{word}'", node.where, "it is 'same', 'valid' or whole numbers"
        )
    if any(s != 1 for s in stride):
        raise SpikefabError(
            f"'same' padding with a stride of {shape_text(stride)}",
            node.where,
            "frameworks differ in what it means",
            "give the padding in numbers",
        )
    return tuple(r // 2 for r in reach), tuple(r - r // 2 for r in reach)


def _numbers(node: Node, name: str, axes: int, least: int) -> Shape:
    """One whole number per axis; a single one stands for all."""
    if name not in node.values:
        raise SpikefabError(f"'{name}' = '{node.words.get(name, '')}'", node.where, "give numbers")
    value = node.values[name].ravel()
    whole = len(value) in (1, axes) and (value == np.floor(value)).all()
    if not whole or value.min() < least or value.max() > _LONGEST:
        many = "one whole number" if axes == 1 else f"1 or {axes} whole numbers"
        raise SpikefabError(
            f"'{name}' = {value.tolist() if len(value) != 1 else f'{value[0]:g}'}",
            node.where,
            f"it takes {many} from {least} on",
        )
    return tuple(int(v) for v in np.broadcast_to(value, axes))
