"""NIR from end to end: a conv network, delays, and NIR data in and out."""

import json
from itertools import pairwise

import nir
import numpy as np
import pytest

DT = 1e-3
CHAIN = ["input", "conv", "delay", "cells", "output"]
COMPILE = ["compile", "net.nir", "-o", "conv.spikefab", "--dt", "1e-3", "--reset", "zero"]


def parts():
    conv = {"weight": np.ones((2, 1, 3, 3)), "stride": 1, "padding": "same", "dilation": 1,
            "groups": 1, "bias": np.zeros(2)}  # fmt: skip
    return {
        "input": {"type": "Input", "shape": np.array([1, 4, 6])},
        "conv": {"type": "Conv2d", **conv},
        "delay": {"type": "Delay", "delay": np.repeat([0.0, 2 * DT], 24).reshape(2, 4, 6)},
        "cells": {"type": "IF", "r": 1 / DT, "v_threshold": 1.5},
        "output": {"type": "Output", "shape": np.array([2, 4, 6])},
    }


@pytest.fixture
def conv(folder, make):
    """net.nir is a conv network, data.h5 its input, 2 samples of 20 steps."""

    def write(**changed):
        nodes = parts()
        for name, fields in changed.items():
            nodes[name].update(fields)
        make.write(folder / "net.nir", nodes, list(pairwise(CHAIN)))

    write()
    raster = np.random.default_rng(0).random((2, 20, 24)) < 0.1
    raster[:, 15:] = False
    events = nir.TimeGriddedData(raster, DT).to_event(200)
    data = nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": events})})
    nir.write_data(folder / "data.h5", data)
    return write


def test_a_conv_network_runs_on_nir_data_and_gives_nir_data(conv, folder, command):
    said = command(*COMPILE, "--calibrate", "data.h5", "--json")
    assert said.status == 0, said.err
    report = json.loads(said.out)
    assert (report["neurons"], report["agreement"]) == (48, 1.0)
    run = command("run", "conv.spikefab", "--input", "data.h5", "-o", "out.h5", "--json")
    assert run.status == 0, run.err
    assert (json.loads(run.out)["samples"], json.loads(run.out)["steps"]) == (2, 20)
    told = nir.read_data(folder / "out.h5").nodes["cells"].observables["spikes"]
    raster = told.to_time_gridded(DT).data if told.shape[1] else np.zeros((2, 20, 48))
    assert raster.shape == (2, 20, 48)
    assert raster[:, :, :24].any()
    assert not raster[:, :2, 24:].any()
    assert command(
        "diff", "conv.spikefab", "--input", "data.h5", "--devices", "emulator,emulator"
    ).status == 0  # fmt: skip


def test_inspection_shows_the_padding_of_a_convolution(conv, command):
    said = command("inspect", "net.nir")
    assert said.status == 0
    assert "padding same" in " ".join(said.out.split())
    assert "connection 'input' to 'cells': 320 synapses" in said.out
    assert "not supported" not in said.out


NETWORKS = {
    "conv channels": ({"conv": {"weight": np.ones((2, 3, 3, 3))}}, "node 'conv'", "3 channels"),
    "conv groups": ({"conv": {"groups": 5}}, "5 groups in node 'conv'", "2 output channels"),
    "conv padding": ({"conv": {"padding": "full"}}, "'padding' = 'full' in node 'conv'", "'same'"),
    "conv stride": ({"conv": {"stride": 2}}, "'same' padding with a stride", "in numbers"),
    "conv dilation": ({"conv": {"padding": 0, "dilation": 2}}, "kernel of [3, 3]", "'conv'"),
    "delay between steps": ({"delay": {"delay": 0.0015}}, "1.5 steps of dt", "'delay'", "a dt of"),
    "delay after a bias": ({"conv": {"bias": np.ones(2)}}, "a bias before a Delay", "put the"),
    "delay beyond a chip": ({"delay": {"delay": 2.0}}, "1024 delay slots; it needs 2001"),
    "shape": ({"output": {"shape": np.array([2, 4, 5])}}, "[2, 4, 6] from 'cells'", "'output'"),
    "two axes of three": ({"cells": {"r": np.ones((4, 6))}}, "'delay' in node 'cells'", "[4, 6]"),
}
DATA = {
    "no such node": ({"x": {"spikes": nir.TimeGriddedData(np.ones((1, 2, 24), bool), DT)}},
                     "no data for input 'input' in data.h5"),
    "other size": ({"input": {"spikes": nir.TimeGriddedData(np.ones((1, 2, 23), bool), DT)}},
                   "shape (1, 2, 23) in node 'input' of data.h5"),
    "other dt": ({"input": {"spikes": nir.TimeGriddedData(np.ones((1, 2, 24), bool), 1.0)}},
                 "a grid of 1 s in node 'input' of data.h5"),
}  # fmt: skip


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_that_cannot_be_is_refused_in_one_line(conv, command, case):
    changed, *expected = NETWORKS[case]
    conv(**changed)
    said = command(*COMPILE)
    assert (said.status, said.out, len(said.err.splitlines())) == (2, "", 1), said
    for part in expected:
        assert part in said.err


@pytest.mark.parametrize("case", DATA)
def test_data_that_do_not_fit_are_refused_in_one_line(conv, folder, command, case):
    nodes, expected = DATA[case]
    assert command(*COMPILE).status == 0
    made = nir.NIRGraphData({k: nir.NIRNodeData(v) for k, v in nodes.items()})
    nir.write_data(folder / "data.h5", made)
    said = command("run", "conv.spikefab", "--input", "data.h5", "-o", "out.h5")
    assert (said.status, said.out, len(said.err.splitlines())) == (2, "", 1), said
    assert expected in said.err
    assert not (folder / "out.h5").exists()


def test_a_network_is_no_input(conv, command):
    assert command(*COMPILE).status == 0
    said = command("run", "conv.spikefab", "--input", "net.nir", "-o", "out.h5")
    assert said.status == 2
    assert "not NIR data in net.nir" in said.err


def test_data_are_no_network(conv, command):
    said = command("compile", "data.h5", "-o", "out.spikefab", "--dt", "1e-3")
    assert said.status == 2
    assert "it holds NIR data, no graph; give it to --input" in said.err
