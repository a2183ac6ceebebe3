"""Convolution and pooling, beside scipy's correlation of dense arrays."""

import time
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate
from spikefab.compiler.frontend.nir_reader import describe, load
from spikefab.compiler.ir.errors import SpikefabError

STEP = {"dt": 1.0, "reset": "subtract"}
FIELDS = {
    "Conv1d": ("stride", "padding", "dilation", "groups"),
    "Conv2d": ("stride", "padding", "dilation", "groups"),
    "SumPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
}


def dense(node, x):
    """What a node makes of x [channels, ...], by the definition that PyTorch documents."""
    axes = x.ndim - 1
    stride = np.broadcast_to(node["stride"], axes)
    if "Pool" in node["type"]:
        kernel = np.broadcast_to(node["kernel_size"], axes)
        weight = np.tile(np.ones(kernel), (len(x), 1, *[1] * axes))
        weight = weight / np.prod(kernel) if node["type"] == "AvgPool2d" else weight
        groups, dilation = len(x), [1] * axes
    else:
        weight, groups = node["weight"], int(node["groups"])
        dilation = np.broadcast_to(node["dilation"], axes)
    wide = np.zeros(
        (*weight.shape[:2], *(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:],
                                                              strict=True)))
    )  # fmt: skip
    wide[(..., *(slice(None, None, d) for d in dilation))] = weight
    reach = np.array(wide.shape[2:]) - 1
    pads = {"same": [(r // 2, r - r // 2) for r in reach], "valid": [(0, 0)] * axes}
    padding = node["padding"]
    around = pads[padding] if isinstance(padding, str) else [
        (p, p) for p in np.broadcast_to(padding, axes)
    ]  # fmt: skip
    x = np.pad(x, [(0, 0), *around])
    inside, outside = weight.shape[1], len(weight) // groups
    maps = [
        correlate(x[o // outside * inside : (o // outside + 1) * inside], wide[o], "valid")[0]
        for o in range(len(weight))
    ]
    strided = np.stack(maps)[(slice(None), *(slice(None, None, s) for s in stride))]
    if "bias" in node:
        strided = strided + np.reshape(node["bias"], (-1, *[1] * axes))
    return strided


@st.composite
def windows(draw, shape):
    """A random node that fits an input of `shape`."""
    axes = len(shape) - 1
    kind = draw(st.sampled_from(["Conv1d"] if axes == 1 else ["Conv2d", "Conv2d", "SumPool2d",
                                                             "AvgPool2d"]))  # fmt: skip
    whole = lambda most, least=1: np.array(  # noqa: E731
        draw(st.lists(st.integers(least, most), min_size=axes, max_size=axes))
    )
    kernel = np.minimum(whole(3), shape[1:])
    node = {"type": kind, "stride": whole(3), "padding": whole(2, 0)}
    if "Pool" in kind:
        return node | {"kernel_size": kernel}
    widest = (np.array(shape[1:]) - 1) // np.maximum(kernel - 1, 1)
    node["dilation"] = np.where(kernel > 1, np.minimum(whole(3), widest), 1)
    groups = draw(st.sampled_from([g for g in range(1, shape[0] + 1) if shape[0] % g == 0]))
    channels = groups * draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    node["weight"] = rng.integers(-3, 4, (channels, shape[0] // groups, *kernel)).astype(float)
    node["bias"] = rng.integers(-2, 3, channels).astype(float)
    node["groups"] = groups
    word = draw(st.sampled_from(["", "valid", "same"]))
    if word:
        node["padding"] = word
    if word == "same":
        node["stride"] = 1
    if axes == 1:
        node |= {k: int(node[k][0]) for k in ("stride", "padding", "dilation")
                 if isinstance(node[k], np.ndarray)}  # fmt: skip
    return node


@st.composite
def chains(draw):
    """An input shape, nodes in a row, and the shape of the input."""
    shape = draw(st.sampled_from([(2, 9), (1, 6), (1, 4, 5), (2, 5, 7), (4, 6, 3), (3, 1, 8)]))
    nodes, now = [], shape
    for _ in range(draw(st.integers(1, 3))):
        node = draw(windows(now))
        nodes.append(node)
        now = dense(node, np.zeros(now)).shape
    return shape, nodes, now


def as_object(node):
    """A node of nir, whatever its own checks say of it."""
    kind = getattr(nir, node["type"])
    made = kind.__new__(kind)
    made.__dict__.update({k: v for k, v in node.items() if k != "type"})
    return made


def graph(shape, nodes, cells):
    made = {"input": nir.Input(np.array(shape))}
    made |= {f"n{k}": as_object(node) for k, node in enumerate(nodes)}
    made |= {"cells": cells, "output": nir.Output(np.array([1]))}
    made["output"] = nir.Output(np.array(cells.input_type["input"]))
    return nir.NIRGraph(made, list(pairwise(made)), type_check=False)


@given(chains(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_chains_equal_a_dense_correlation(chain, seed):
    shape, nodes, last = chain
    network = load(graph(shape, nodes, nir.I(np.ones(last))), **STEP)
    raster = np.random.default_rng(seed).integers(0, 3, (4, *shape))
    run = sf.FloatReference(network).run({"input": raster.reshape(4, -1)})
    expected = []
    for x in raster:
        for node in nodes:
            x = dense(node, x)
        expected.append(x.ravel())
    np.testing.assert_allclose(run.values["cells"][0], np.cumsum(expected, axis=0), atol=1e-9)


@given(chains(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_the_emulator_spikes_as_the_float_reference_where_weights_are_exact(chain, seed):
    """Weights up to 3 in magnitude make an LSB of 3, 2 or 1 / 127; 6 is a multiple of each."""
    shape, nodes, last = chain
    nodes = nodes[:1]
    if nodes[0]["type"] == "AvgPool2d":
        nodes[0] |= {"type": "SumPool2d"}
    if "bias" in nodes[0]:
        nodes[0]["bias"] = 6 * nodes[0]["bias"]
    last = dense(nodes[0], np.zeros(shape)).shape
    cells = nir.IF(np.ones(last), np.full(last, 6.0))
    network = load(graph(shape, nodes, cells), **STEP)
    raster = np.random.default_rng(seed).random((12, int(np.prod(shape)))) < 0.5
    spikes = {"input": sf.SpikeTrain.from_dense(raster)}
    program, report = sf.compile(network, calibrate=spikes)
    assert report.populations[0].exact
    run = sf.Emulator(program).run(spikes, 12)
    expected = sf.FloatReference(network).run({"input": raster})
    got = run.spikes["cells"].to_dense(12, int(np.prod(last)))
    np.testing.assert_array_equal(got, expected.spikes["cells"][0])


def test_a_conv_network_from_a_file_spikes_as_its_float_reference(tmp_path):
    """Conv, pool, grouped conv, pool, dense; shapes that nir itself gets wrong."""
    rng = np.random.default_rng(3)
    whole = lambda *shape: rng.integers(-2, 4, shape).astype(np.float32)  # noqa: E731
    parts = {
        "input": nir.Input(np.array([2, 12, 9])),
        "c1": nir.Conv2d((12, 9), whole(4, 2, 3, 2), (2, 1), (1, 0), (1, 2), 1,
                         6 * np.arange(-1.0, 3)),
        "s1": nir.IF(np.ones((4, 6, 7)), np.full((4, 6, 7), 12.0)),
        "p1": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 1])),
        "c2": nir.Conv2d(None, whole(6, 2, 2, 2), 1, "same", 1, 2, np.zeros(6)),
        "s2": nir.IF(np.ones((6, 3, 4)), np.full((6, 3, 4), 6.0)),
        "p2": nir.AvgPool2d(2, 2, 0),
        "flat": nir.Flatten({"input": np.array([6, 1, 2])}, 1),
        "fc": nir.Linear(whole(5, 12)),
        "s3": nir.IF(np.ones(5), np.full(5, 6.0)),
        "output": nir.Output(np.array([5])),
    }  # fmt: skip
    parts["c2"].input_shape = np.array([3, 4])
    edges = list(pairwise(parts))
    nir.write(tmp_path / "net.nir", nir.NIRGraph(parts, edges, type_check=False))
    with pytest.raises(ValueError, match=r"mismatch|type"):
        nir.read(tmp_path / "net.nir")
    network = load(tmp_path / "net.nir", dt=1.0, reset="zero")
    assert [p.size for p in network.populations] == [168, 72, 5]
    assert any("'flat' flattens all axes" in said for said in network.assumptions)
    raster = rng.random((3, 40, 216)) < 0.3
    spikes = {"input": sf.SpikeTrain.from_dense(raster)}
    program, report = sf.compile(network, calibrate=spikes)
    assert all(p.exact for p in report.populations)
    run = sf.Emulator(program).run(spikes, 40, record=["s1", "s2"])
    expected = sf.FloatReference(network).run({"input": raster}, record=["s1", "s2", "s3"])
    for p in network.populations:
        assert expected.counts[p.name].sum() > 100
        np.testing.assert_array_equal(
            run.spikes[p.name].to_dense(40, p.size, 3), expected.spikes[p.name]
        )


def conv(inputs=(2, 6, 6), **changed):
    weight = changed.pop("weight", np.ones((3, inputs[0], 3, 3)))
    node = {"type": "Conv2d", "weight": weight, "stride": 1, "padding": 0, "dilation": 1,
            "groups": 1, "bias": np.zeros(len(weight))}  # fmt: skip
    return node | changed


def file_with(write_nir, shape, node, cells):
    nodes = {
        "input": {"type": "Input", "shape": np.array(shape)},
        "conv": {k: v for k, v in node.items() if v is not None},
        "cells": {"type": "IF", "r": 1.0, "v_threshold": 1.0},
        "output": {"type": "Output", "shape": np.array(cells)},
    }
    return write_nir(nodes, list(pairwise(nodes)))


@pytest.mark.parametrize("shape", [(1, 2, 6, 6), (2, 6, 6)])
def test_a_batch_axis_of_the_input_does_not_count(write_nir, shape):
    network = load(file_with(write_nir, shape, conv(), (3, 4, 4)), **STEP)
    assert network.populations[0].size == 48


def test_a_missing_channel_axis_is_the_one_channel(write_nir):
    node = conv((1, 6, 6), bias=None)
    assert load(file_with(write_nir, (6, 6), node, (3, 4, 4)), **STEP).populations[0].size == 48


def test_parameters_by_channel_are_spread_over_its_neurons(write_nir):
    path = file_with(write_nir, (2, 6, 6), conv(), (3, 4, 4))
    raw = {"r": np.ones((3, 1, 1)), "v_threshold": np.arange(1.0, 4).reshape(3, 1, 1)}
    with h5py.File(path, "r+") as stored:
        for key, value in raw.items():
            del stored[f"node/nodes/cells/{key}"]
            stored[f"node/nodes/cells/{key}"] = value
    network = load(path, **STEP)
    (cells,) = network.populations
    np.testing.assert_array_equal(cells.parameters["threshold"], np.repeat([1, 2, 3], 16))
    assert any("of shape [3, 1, 1] are spread" in said for said in network.assumptions)


def test_average_pooling_with_padding_says_what_it_takes_for_granted(write_nir):
    node = {"type": "AvgPool2d", "kernel_size": 2, "stride": 2, "padding": 1}
    network = load(file_with(write_nir, (2, 6, 6), node, (2, 4, 4)), **STEP)
    assert any("'conv' counts its padding as zeros" in said for said in network.assumptions)
    assert np.unique(network.projections[0].connections.weight).tolist() == [0.25]


def test_inspection_shows_shapes_and_words(write_nir):
    told = describe(file_with(write_nir, (2, 6, 4), conv(padding="same"), (3, 6, 4)))
    assert told["unsupported"] == []
    (node,) = (n for n in told["nodes"] if n["name"] == "conv")
    assert node["shape"] == [3, 6, 4]
    assert node["parameters"]["padding"] == {"word": "same"}
    inside = (3 * 6 - 2) * (3 * 4 - 2)  # places of a 3 x 3 kernel without the padding
    assert told["connections"] == [
        {"source": "input", "target": "cells", "synapses": 3 * 2 * inside}
    ]


POOL = {"type": "SumPool2d", "kernel_size": 2, "stride": 2, "padding": 0}
REFUSED = {
    "flat kernel": (conv(weight=np.ones((3, 2, 3))), "weight of shape [3, 2, 3]", "height, width]"),
    "empty kernel": (conv(weight=np.ones((3, 2, 0, 3))), "weight of shape [3, 2, 0, 3]"),
    "wrong channels": (conv(weight=np.ones((3, 4, 3, 3))), "input of shape [2, 6, 6]",
                       "takes [4 channels, height, width]"),
    "groups and channels": (conv(weight=np.ones((4, 2, 3, 3)), groups=2),
                            "takes [4 channels, height, width]"),
    "odd groups": (conv(weight=np.ones((3, 1, 3, 3)), groups=2), "2 groups",
                   "do not divide its 3 output channels"),
    "no groups": (conv(groups=0), "'groups' = 0", "one whole number from 1 on"),
    "stride of 0": (conv(stride=0), "'stride' = 0", "from 1 on"),
    "three strides": (conv(stride=np.ones(3)), "'stride' = [1.0, 1.0, 1.0]", "1 or 2 whole"),
    "half a stride": (conv(stride=1.5), "'stride' = 1.5"),
    "negative padding": (conv(padding=-1), "'padding' = -1", "from 0 on"),
    "vast padding": (conv(padding=2**40), "'padding' = "),
    "unknown padding": (conv(padding="full"), "'padding' = 'full'", "'same', 'valid' or"),
    "same with stride": (conv(padding="same", stride=2), "'same' padding with a stride of [2, 2]",
                         "give the padding in numbers"),
    "no dilation": (conv(dilation=0), "'dilation' = 0"),
    "kernel beyond the input": (conv(dilation=3), "kernel of [3, 3]", "spans 7", "input has 6"),
    "bias of wrong length": (conv(bias=np.ones(5)), "bias of shape [5]", "3 output channels"),
    "other input shape": (conv(input_shape=np.array([5, 6])), "'input_shape' = [5, 6]",
                          "feeds it has [6, 6]"),
    "no stride": (conv(stride=None), "no parameter 'stride'"),
    "text for a stride": (conv(stride="two"), "parameter 'stride'"),
    "text for a pool's padding": (POOL | {"padding": "some"}, "'padding' = 'some'"),
    "kernel size of 0": (POOL | {"kernel_size": 0}, "'kernel_size' = 0"),
    "one axis too few": (conv(type="Conv1d", weight=np.ones((3, 2, 3))),
                         "input of shape [2, 6, 6]", "takes [2 channels, length]"),
    "NaN kernel": (conv(weight=np.full((3, 2, 3, 3), np.nan)), "'weight'[0, 0, 0, 0] = nan"),
    "vast pool": (
        {"type": "SumPool2d", "kernel_size": 2**23, "stride": 2, "padding": 2**23},
        "shape [2, ", "beyond 2^25",
    ),
    "pool beyond the input": (POOL | {"kernel_size": 7}, "kernel of [7, 7]", "input has 6"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_window_that_cannot_be_is_refused(write_nir, case):
    node, *fragments = REFUSED[case]
    with pytest.raises(SpikefabError) as refusal:
        load(file_with(write_nir, (2, 6, 6), node, (3, 4, 4)), **STEP)
    message = str(refusal.value)
    assert "\n" not in message
    for fragment in ("node 'conv' of", *fragments):
        assert fragment in message


def test_a_window_beyond_memory_is_refused(write_nir):
    node = POOL | {"kernel_size": 2**25, "stride": 2**14, "padding": 2**25}
    with pytest.raises(SpikefabError, match=r"2049 x 33554432 places in node 'conv'.*GiB"):
        load(file_with(write_nir, (2, 6, 6), node, (2, 2049, 2049)), **STEP)


def test_shapes_after_a_convolution_are_checked(write_nir):
    with pytest.raises(SpikefabError, match=r"shape \[3, 4, 4\] from 'cells' in node 'output'"):
        load(file_with(write_nir, (2, 6, 6), conv(), (3, 6, 6)), **STEP)


def test_a_million_conv_synapses_load_and_compile_in_seconds(write_nir):
    shape = (16, 22, 22)
    weight = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float32)
    path = file_with(write_nir, shape, conv(weight=weight, padding="same"), shape)
    began = time.perf_counter()
    program, _ = sf.compile(path, **STEP)
    assert time.perf_counter() - began < 10
    assert program.synapses.count > 1_000_000
