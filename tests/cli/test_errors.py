"""What a stranger may get wrong: one line on stderr, exit status 2, and nothing left behind."""

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.timeout(120)

READ = ["--dt", "1e-3", "--profile", "nir"]
COMPILE = ["compile", "net.nir", "-o", "out.spikefab", *READ]
INSPECT = ["inspect", "net.nir"]
RUN = ["run", "net.spikefab", "--input", "in.npz", "-o", "out.npz"]
INSPECT_PROGRAM = ["inspect", "net.spikefab"]
CHIP = {"name": "mine", "cores": 4, "neurons": 64, "axons": 64, "synapse_words": 4096,
        "routes": 512}  # fmt: skip

# ---- how a good folder is spoilt: functions of it


def nothing(folder, make):
    pass


def content(name, what):
    def spoil(folder, make):
        path = folder / name
        path.write_bytes(what(path.read_bytes()) if callable(what) else what)

    return spoil


def cut(share):
    return lambda whole: whole[: int(len(whole) * share)]


def flip(place):
    def change(whole):
        at = place if place >= 0 else len(whole) + place
        return whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]

    return change


def gone(name):
    return lambda folder, make: (folder / name).unlink()


def labelled(labels):
    """in.npz with labels, as labelled.npz."""

    def spoil(folder, make):
        with np.load(folder / "in.npz") as arrays:
            np.savez(folder / "labelled.npz", **arrays, labels=labels)

    return spoil


def folder_at(name):
    def spoil(folder, make):
        if (folder / name).exists():
            (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def loop_at(name):
    def spoil(folder, make):
        (folder / name).unlink()
        (folder / name).symlink_to(name)

    return spoil


def pipe_at(name):
    return lambda folder, make: os.mkfifo(folder / name)


def network(change, inputs=4, cells=3):
    """Another net.nir: `change` gets nodes and edges."""

    def spoil(folder, make):
        nodes, edges = make.parts(inputs, cells), list(make.chain)
        change(make, nodes, edges)
        make.write(folder / "net.nir", nodes, edges)

    return spoil


def node(name, **fields):
    return network(lambda make, nodes, edges: nodes[name].update(fields))


def short_loop(make, nodes, edges):
    nodes["b"] = make.lif(3)
    nodes["back"] = {"type": "Linear", "weight": np.eye(3)}
    edges += [("cells", "b"), ("b", "back"), ("back", "cells")]


def loop_entered_twice(make, nodes, edges):
    nodes["b"] = make.lif(3)
    edges += [("cells", "b"), ("b", "cells"), ("fc", "b")]


def linear_loop(make, nodes, edges):
    nodes["w"] = {"type": "Linear", "weight": np.eye(3)}
    edges += [("fc", "w"), ("w", "w"), ("w", "cells")]


def equal_weights(make, nodes, edges):
    nodes["fc"]["weight"] = np.ones_like(nodes["fc"]["weight"])


def chip_file(**changed):
    def spoil(folder, make):
        (folder / "mine.json").write_text(json.dumps({**CHIP, **changed}))

    return spoil


def both(*spoils):
    def spoil(folder, make):
        for one in spoils:
            one(folder, make)

    return spoil


def columns(**arrays):
    return lambda folder, make: np.savez(folder / "in.npz", **arrays)


def a_pickle(name):
    return content(name, pickle.dumps({"weights": [1, 2, 3]}))


def single_array(_):
    stream = io.BytesIO()
    np.save(stream, np.zeros(4))
    return stream.getvalue()


def squeezed(_):
    """A compressed .npz whose compressed bytes are damaged."""
    stream = io.BytesIO()
    rng = np.random.default_rng(0)
    np.savez_compressed(stream, step=np.arange(4000), index=rng.integers(0, 4, 4000))
    whole = bytearray(stream.getvalue())
    at = zipfile.ZipFile(stream).getinfo("step.npy").header_offset
    whole[at + 60 : at + 90] = bytes([0xFF]) * 30
    return bytes(whole)


def encrypted(whole):
    """Every file of the .npz says that it needs a password."""
    changed = bytearray(whole)
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = changed.find(mark)
        while at >= 0:
            changed[at + flags] |= 1
            at = changed.find(mark, at + 1)
    return bytes(changed)


def zipped_text(folder, make):
    with zipfile.ZipFile(folder / "in.npz", "w") as made:
        made.writestr("step", "1, 2, 3")
        made.writestr("index", "0, 0, 0")


def header(**changed):
    """A program whose header says something else."""

    def change(whole):
        (size,) = struct.unpack("<Q", whole[:8])
        outer = json.loads(whole[8 : 8 + size])
        inner = json.loads(outer["__metadata__"]["spikefab"])
        outer["__metadata__"]["spikefab"] = json.dumps({**inner, **changed})
        head = json.dumps(outer).encode()
        head += b" " * (-len(head) % 8)
        return struct.pack("<Q", len(head)) + head + whole[8 + size :]

    return content("net.spikefab", change)


def claims_huge_header(whole):
    return struct.pack("<Q", 1 << 60) + whole[8:]


def empty_hdf5(folder, make):
    with h5py.File(folder / "net.nir", "w") as stored:
        stored["x"] = 1


NAN = np.array([[0, 1, 2, 3], [4, np.nan, 6, 7], [8, 9, 1, 2.0]])

# name: (what is spoilt, the command, what its line must hold)
CASES = {
    # ---- network files that cannot be read
    "network missing": (gone("net.nir"), COMPILE, "cannot read", "net.nir", "no such file"),
    "network missing, inspect": (gone("net.nir"), INSPECT, "cannot read in net.nir"),
    "network is a folder": (folder_at("net.nir"), COMPILE, "net.nir", "directory"),
    "network is a folder, inspect": (folder_at("net.nir"), INSPECT, "net.nir", "irectory"),
    "network empty": (content("net.nir", b""), COMPILE, "net.nir", "not HDF5"),
    "network empty, inspect": (content("net.nir", b""), INSPECT, "net.nir", "not HDF5"),
    "network cut": (content("net.nir", cut(0.5)), COMPILE, "net.nir"),
    "network cut, inspect": (content("net.nir", cut(0.5)), INSPECT, "net.nir"),
    "network cut short": (content("net.nir", cut(0.01)), COMPILE, "net.nir"),
    "network is text": (content("net.nir", b"nodes: 3\n" * 99), COMPILE, "net.nir", "not HDF5"),
    "network is text, inspect": (content("net.nir", b"nodes" * 99), INSPECT, "not HDF5"),
    "network is a pickle": (a_pickle("net.nir"), COMPILE, "net.nir", "not HDF5"),
    "network is a program": (
        content("net.nir", struct.pack("<Q", 2) + b"{}"), COMPILE, "net.nir", "not HDF5",
    ),
    "hdf5 without a network": (empty_hdf5, COMPILE, "net.nir", "no group 'node'"),
    # ---- networks that say what cannot be
    "weight too wide": (node("fc", weight=np.ones((3, 5))), COMPILE, "node 'fc'", "takes [5]"),
    "weight too short": (node("fc", weight=np.ones((2, 4))), COMPILE, "node 'cells'", "[2]"),
    "weight of three axes": (node("fc", weight=np.ones((3, 4, 1))), COMPILE, "node 'fc'"),
    "NaN weight": (node("fc", weight=NAN), COMPILE, "'weight'[1, 1] = nan in node 'fc'"),
    "infinite weight": (node("fc", weight=np.full((3, 4), -np.inf)), COMPILE, "inf", "'fc'"),
    "zero tau": (node("cells", tau=np.zeros(3)), COMPILE, "'tau' = 0 in node 'cells'"),
    "negative tau": (node("cells", tau=np.full(3, -1.0)), COMPILE, "'tau' = -1", "'cells'"),
    "tau below dt": (node("cells", tau=np.full(3, 1e-4)), COMPILE, "'tau' = 0.0001", "'cells'"),
    "ragged parameters": (node("cells", r=np.ones(2)), COMPILE, "node 'cells'", "'r' [2]"),
    "unknown node type": (node("cells", type="Wibble"), COMPILE, "type Wibble in node 'cells'"),
    "unknown node of an edge": (
        network(lambda make, nodes, edges: edges.append(("fc", "ghost"))),
        COMPILE, "edge 'fc' to 'ghost'", "no node 'ghost'",
    ),
    "loop within a step": (
        network(short_loop), COMPILE, "loop within a step", "'cells' -> 'b' -> 'cells'", "--dilate",
    ),
    "ambiguous loop": (network(loop_entered_twice), COMPILE, "ambiguous loop of 'b' and 'cells'"),
    "loop without neurons": (network(linear_loop), COMPILE, "loop of 'w'", "no neurons"),
    # ---- networks that do not fit
    "accumulator too narrow": (
        both(network(equal_weights), chip_file(accumulator_bits=8)), [*COMPILE, "--chip",
        "mine.json"], "accumulator could overflow", "cells", "508", "8 bits hold 127",
    ),
    "accumulator of up5k": (
        network(equal_weights, inputs=400), [*COMPILE, "--chip", "up5k"],
        "accumulator could overflow", "cells", "50800", "16 bits hold 32767",
    ),
    "too many neurons": (
        network(lambda *_: None, cells=300), [*COMPILE, "--chip", "up5k"], "cores", "'up5k' has 1",
    ),
    "too many inputs": (
        network(lambda *_: None, inputs=600), [*COMPILE, "--chip", "up5k"], "600 axons", "cells",
        "has 512",
    ),
    "more cores than neurons": (nothing, [*COMPILE, "--cores", 9], "9 cores", "3 neurons"),
    "more cores than the chip has": (
        chip_file(cores=1), [*COMPILE, "--cores", 2, "--chip", "mine.json"], "2 cores", "'mine'",
    ),
    "weight bits beyond the chip": (
        nothing, [*COMPILE, "--chip", "up5k", "--weight-bits", 12], "12 weight bits", "'up5k'",
    ),
    # ---- chips
    "unknown chip": (nothing, [*COMPILE, "--chip", "loihi"], "unknown chip 'loihi'", "--chip"),
    "chip file missing": (nothing, [*COMPILE, "--chip", "mine.json"], "mine.json", "No such file"),
    "chip file no JSON": (
        lambda folder, make: (folder / "mine.json").write_text("{cores: 4"),
        [*COMPILE, "--chip", "mine.json"], "unreadable chip in mine.json",
    ),
    "chip file a list": (
        lambda folder, make: (folder / "mine.json").write_text("[1, 2]"),
        [*COMPILE, "--chip", "mine.json"], "damaged chip in mine.json",
    ),
    "chip with an unknown field": (
        chip_file(colour="red"), [*COMPILE, "--chip", "mine.json"], "'colour'", "mine.json",
    ),
    "chip without a field": (
        lambda folder, make: (folder / "mine.json").write_text('{"name": "mine", "cores": 1}'),
        [*COMPILE, "--chip", "mine.json"], "damaged chip in mine.json", "neurons",
    ),
    "chip with a value out of range": (
        chip_file(neurons=0), [*COMPILE, "--chip", "mine.json"], "neurons = 0", "mine.json",
    ),
    "chip with text for a number": (
        chip_file(lanes="8"), [*COMPILE, "--chip", "mine.json"], "lanes = '8'", "mine.json",
    ),
    # ---- settings
    "nothing settled": (
        nothing, ["compile", "net.nir", "-o", "out.spikefab"],
        "undetermined dt, reset, discretisation in net.nir", "--dt", "--profile",
    ),
    "no dt": (
        nothing, ["compile", "net.nir", "-o", "out.spikefab", "--profile", "nir"],
        "undetermined dt in net.nir", "--dt",
    ),
    "no discretisation": (
        nothing, ["compile", "net.nir", "-o", "out", "--dt", "1e-3", "--reset", "zero"],
        "undetermined discretisation in net.nir", "--discretisation",
    ),
    "profile contradicted": (
        nothing, [*COMPILE, "--discretisation", "exponential"],
        "discretisation exponential with profile nir", "leave out --discretisation",
    ),
    "profile of another exporter": (
        nothing, ["compile", "net.nir", "-o", "o", "--profile", "snntorch", "--reset", "zero"],
        "not an snnTorch export in node 'cells'",
    ),
    "unknown profile": (
        nothing, ["compile", "net.nir", "-o", "out.spikefab", "--profile", "brian"],
        "profile 'brian'", "snntorch",
    ),
    "dt of zero": (nothing, ["compile", "net.nir", "-o", "o", "--dt", "0"], "dt = 0"),
    "dt not a number": (nothing, ["compile", "net.nir", "-o", "o", "--dt", "nan"], "dt = nan"),
    "dt not a word": (nothing, ["compile", "net.nir", "-o", "o", "--dt", "fast"], "--dt", "fast"),
    "unknown reset": (nothing, [*COMPILE, "--reset", "soft"], "--reset", "soft", "subtract"),
    "weight bits of 40": (nothing, [*COMPILE, "--weight-bits", 40], "--weight-bits", "40"),
    "no cores": (nothing, [*COMPILE, "--cores", 0], "--cores", "0"),
    "unknown option": (nothing, [*COMPILE, "--fast"], "--fast", "spikefab compile"),
    "no command": (nothing, [], "Missing command", "spikefab --help"),
    "unknown command": (nothing, ["translate", "net.nir"], "translate"),
    "no network": (nothing, ["compile", "-o", "out.spikefab"], "NET", "spikefab compile"),
    "sweep of nonsense": (
        nothing, ["compile", "net.nir", *READ, "--sweep", "weight-bits=8..3", "--calibrate",
                  "in.npz"], "--sweep weight-bits=8..3", "weight-bits=A..B", "weight-bits=3..8",
    ),
    "sweep without input": (
        nothing, ["compile", "net.nir", *READ, "--sweep", "weight-bits=3..8"], "--calibrate",
    ),
    "sweep of a width that is given": (
        nothing, ["compile", "net.nir", *READ, "--sweep", "weight-bits=3..8", "--calibrate",
                  "in.npz", "--weight-bits", 4], "leave out --weight-bits",
    ),
    "sweep into a program": (
        nothing, [*COMPILE, "--sweep", "weight-bits=3..8", "--calibrate", "in.npz"], ".png",
    ),
    "labels of another number": (
        labelled([1, 2]),
        [*COMPILE, "--calibrate", "labelled.npz"], "labels of shape (2,)", "1 samples",
    ),
    "labels that are no numbers": (
        labelled(["one"]),
        [*COMPILE, "--calibrate", "labelled.npz"], "labels of type <U3", "labelled.npz",
    ),
    "no output": (nothing, ["compile", "net.nir", *READ], "--output", "spikefab compile"),
    # ---- where output cannot go
    "output folder missing": (
        nothing, ["compile", "net.nir", "-o", "no/where/p", *READ], "no/where/p", "folder",
    ),
    "output below a file": (
        nothing, ["compile", "net.nir", "-o", "in.npz/p", *READ], "cannot write", "in.npz/p",
    ),
    "output in /proc": (
        nothing, ["compile", "net.nir", "-o", "/proc/p", *READ], "cannot write in /proc/p",
    ),
    "output is a folder": (folder_at("out.spikefab"), COMPILE, "cannot write in out.spikefab",
                           "irectory"),
    "output is a pipe": (pipe_at("out.spikefab"), COMPILE, "out.spikefab", "not a regular file"),
    "recording's folder missing": (
        nothing, ["run", "net.spikefab", "--steps", 3, "-o", "no/out.npz"], "no/out.npz", "folder",
    ),
    "recording below a file": (
        nothing, ["run", "net.spikefab", "--steps", 3, "-o", "in.npz/o"], "cannot write in in.npz/o"
    ),
    "recording in /proc": (
        nothing, ["run", "net.spikefab", "--steps", 3, "-o", "/proc/o"], "cannot write in /proc/o"
    ),
    "recording is a folder": (
        folder_at("out.npz"), RUN, "cannot write in out.npz", "irectory"
    ),
    "checkpoint's folder missing": (
        nothing, [*RUN, "--checkpoint", "no/c"], "cannot write in no/c", "folder"
    ),
    "checkpoint is a folder": (
        folder_at("c"), [*RUN, "--checkpoint", "c"], "cannot write in c", "irectory"
    ),
    "demo's folder below a file": (
        nothing, ["demo", "-o", "in.npz/demo"], "cannot write in in.npz/demo",
    ),
    "demo's folder is a file": (nothing, ["demo", "-o", "in.npz"], "cannot write in in.npz"),
    "demo's picture is a folder": (folder_at("raster.png"), ["demo", "-o", "."], "raster.png"),
    "demo's folder in /proc": (nothing, ["demo", "-o", "/proc/demo"], "cannot write in /proc/demo"),
    # ---- programs
    "program missing": (gone("net.spikefab"), RUN, "cannot read", "net.spikefab", "No such file"),
    "program is a link to itself": (loop_at("net.spikefab"), RUN, "cannot read", "Too many levels"),
    "program in a file": (nothing, ["rtl", "in.npz/p", "-o", "rtl"], "in.npz/p: Not a directory"),
    "program missing, inspect": (gone("net.spikefab"), INSPECT_PROGRAM, "net.spikefab"),
    "program is a folder": (folder_at("net.spikefab"), RUN, "cannot read", "Is a directory"),
    "program is a folder, inspect": (folder_at("net.spikefab"), INSPECT_PROGRAM, "net.spikefab"),
    "program cut": (content("net.spikefab", cut(0.7)), RUN, "net.spikefab"),
    "program cut, inspect": (content("net.spikefab", cut(0.7)), INSPECT_PROGRAM, "net.spikefab"),
    "program empty": (content("net.spikefab", b""), RUN, "net.spikefab"),
    "program with a flipped bit": (content("net.spikefab", flip(-3)), RUN, "net.spikefab"),
    "program with a flipped bit, inspect": (
        content("net.spikefab", flip(-3)), INSPECT_PROGRAM, "net.spikefab",
    ),
    "program with a flipped bit in its header": (
        content("net.spikefab", flip(300)), RUN, "net.spikefab"
    ),
    "program that claims a huge header": (
        content("net.spikefab", claims_huge_header), RUN, "net.spikefab"
    ),
    "program of another format": (header(format=99), RUN, "program format 99 in net.spikefab"),
    "program of another format, inspect": (
        header(format=99), INSPECT_PROGRAM, "program format 99 in net.spikefab",
    ),
    "program with another seed": (header(seed=7), RUN, "net.spikefab", "its hash"),
    "program without populations": (header(populations=[]), RUN, "net.spikefab"),
    "program with populations of text": (header(populations="many"), RUN, "net.spikefab"),
    "program is a pickle": (a_pickle("net.spikefab"), RUN, "not a Spikefab program"),
    "program is a pickle, inspect": (
        a_pickle("net.spikefab"), INSPECT_PROGRAM, "not a Spikefab program in net.spikefab",
    ),
    "program is a network": (
        nothing, ["run", "net.nir", "--steps", 2], "not a Spikefab program in net.nir",
        "`spikefab compile` it first",
    ),
    # ---- runs
    "checkpoint of another program": (
        nothing, [*RUN, "--resume", "other.checkpoint"],
        "checkpoint of another program in other.checkpoint",
    ),
    "checkpoint missing": (nothing, [*RUN, "--resume", "none"], "cannot read in none"),
    "checkpoint cut": (
        content("other.checkpoint", cut(0.5)), [*RUN, "--resume", "other.checkpoint"],
        "not a checkpoint in other.checkpoint",
    ),
    "checkpoint is a pickle": (
        a_pickle("other.checkpoint"), [*RUN, "--resume", "other.checkpoint"], "other.checkpoint",
    ),
    "checkpoint is one array": (
        content("other.checkpoint", single_array), [*RUN, "--resume", "other.checkpoint"],
        "not a checkpoint in other.checkpoint",
    ),
    "checkpoint damaged inside": (
        content("other.checkpoint", squeezed), [*RUN, "--resume", "other.checkpoint"],
        "not a checkpoint in other.checkpoint",
    ),
    "checkpoint encrypted": (
        content("other.checkpoint", encrypted), [*RUN, "--resume", "other.checkpoint"],
        "not a checkpoint in other.checkpoint",
    ),
    "checkpoint is an input": (nothing, [*RUN, "--resume", "in.npz"], "not a checkpoint in in.npz"),
    "nothing to run": (nothing, ["run", "net.spikefab"], "nothing to run", "--steps"),
    "fewer steps than the input": (
        nothing, [*RUN, "--steps", 3], "a run of 3 steps", "its input has 40"
    ),
    "negative steps": (nothing, [*RUN, "--steps", -1], "--steps", "-1"),
    "more steps than a run has": (nothing, [*RUN, "--steps", 10**11], "100000000000", "2^31"),
    "unknown state": (nothing, [*RUN, "--record", "cells.w"], "'cells.w'", "'cells.v'"),
    "unknown population": (nothing, [*RUN, "--record", "ghost.v"], "ghost"),
    "unknown device": (
        nothing, [*RUN, "--device", "abacus"], "cannot open in port abacus: No such file",
        "emulator, virtual or a port",
    ),
    "a device that is no port": (
        content("port", b""), [*RUN, "--device", "port"], "cannot open in port port"
    ),
    "a checkpoint of a board": (
        nothing, [*RUN, "--device", "virtual", "--checkpoint", "c"], "a checkpoint in device",
        "only the emulator",
    ),
    "one device to compare": (
        nothing, ["diff", "net.spikefab", "--steps", 3, "--devices", "emulator"],
        "devices 'emulator' in --devices", "A,B",
    ),
    "nothing to compare": (
        nothing, ["diff", "net.spikefab", "--devices", "emulator,emulator"], "nothing to run",
    ),
    "a replay that cannot be written": (
        nothing,
        ["diff", "net.spikefab", "--steps", 3, "--devices", "emulator,emulator", "--replay", "."],
        "cannot write in .", "directory",
    ),
    "a log that cannot be written": (
        nothing, ["stream", "net.spikefab", "--log", "no/log.npz"], "cannot write in no/log.npz",
    ),
    "no threads": (nothing, [*RUN, "--threads", 0], "--threads", "0"),
    # ---- inputs
    "input missing": (gone("in.npz"), RUN, "cannot read in in.npz", "No such file"),
    "input is a folder": (folder_at("in.npz"), RUN, "cannot read in in.npz", "irectory"),
    "input is text": (content("in.npz", b"1,2\n3,4\n"), RUN, "in.npz"),
    "input empty": (content("in.npz", b""), RUN, "in.npz"),
    "input cut": (content("in.npz", cut(0.6)), RUN, "in.npz"),
    "input is a pickle": (a_pickle("in.npz"), RUN, "in.npz"),
    "input is one array": (content("in.npz", single_array), RUN, "in.npz"),
    "input damaged inside": (content("in.npz", squeezed), RUN, "in.npz"),
    "input encrypted": (content("in.npz", encrypted), RUN, "in.npz"),
    "input of zipped text": (zipped_text, RUN, "in.npz"),
    "input of objects": (
        columns(step=np.array([{}, 1], object), index=np.zeros(2, int)), RUN, "in.npz", "pickle",
    ),
    "input without index": (columns(step=np.arange(3)), RUN, "'step' without 'index' in in.npz"),
    "input without step": (columns(index=np.arange(3)), RUN, "in.npz", "'step'"),
    "ragged input": (
        columns(step=np.arange(3), index=np.zeros(2, int)), RUN, "different length in in.npz",
    ),
    "index out of range": (
        columns(step=np.arange(5), index=np.arange(5)), RUN, "index 4 in in.npz", "has 4 lines",
    ),
    "negative index": (columns(step=[0, 1], index=[0, -1]), RUN, "'index' = -1..0 in in.npz"),
    "negative step": (columns(step=[-1, 2], index=[0, 1]), RUN, "'step' = -1..2 in in.npz"),
    "step beyond a run": (columns(step=[1 << 50], index=[0]), RUN, "'step'", "in.npz"),
    "float steps": (columns(step=[0.5, 1.5], index=[0, 1]), RUN, "'step' of type float64"),
    "a raster for steps": (columns(step=np.zeros((3, 2), int), index=[0]), RUN, "shape (3, 2)"),
    "text for steps": (columns(step=["a"], index=[0]), RUN, "'step' of type", "in.npz"),
    "unknown input": (
        columns(**{"retina/step": [0], "retina/index": [0]}), RUN, "'retina' in in.npz", "input",
    ),
    "payload too large": (
        columns(step=[2], index=[1], payload=[99]), RUN, "99 events", "payloads up to 15"
    ),
    "spikes that add up to too large a payload": (
        columns(step=[2] * 20, index=[1] * 20), RUN, "20 events", "payloads up to 15",
    ),
    "batch with a checkpoint": (
        columns(step=[2], index=[1], sample=[0]), [*RUN, "--checkpoint", "c"], "batch", "checkpoint"
    ),
    "calibration missing": (nothing, [*COMPILE, "--calibrate", "no.npz"], "cannot read in no.npz"),
    "calibration out of range": (
        columns(step=[0], index=[9]), [*COMPILE, "--calibrate", "in.npz"], "index 9 in in.npz",
    ),
    "calibration without spikes": (
        columns(step=np.zeros(0, int), index=np.zeros(0, int)), [*COMPILE, "--calibrate", "in.npz"],
        "no spikes",
    ),
    # ---- benchmarks
    "unknown workload": (nothing, ["bench", "W9"], "'W9'", "W1"),
    "unknown size": (nothing, ["bench", "W1:7"], "'7'", "W1"),
    "no repetitions": (nothing, ["bench", "--repeat", 0], "--repeat"),
}  # fmt: skip

BY_REAL_COMMAND = (
    "network cut",
    "NaN weight",
    "loop within a step",
    "nothing settled",
    "output in /proc",
    "program with a flipped bit",
    "input of objects",
    "unknown option",
)


def listing(folder: Path) -> dict[str, str]:
    """Every path below a folder, with the hash of what is a file."""
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else ""
        for p in folder.rglob("*")
    }


@pytest.mark.parametrize("name", CASES)
def test_one_line_exit_2_nothing_left(folder, make, command, real, name):
    spoil, arguments, *expected = CASES[name]
    spoil(folder, make)
    before = listing(folder)
    said = (real if name in BY_REAL_COMMAND else command)(*arguments)
    assert said.status == 2, said
    assert said.err.startswith("spikefab: error: ")
    assert said.err.endswith("\n")
    assert len(said.err.splitlines()) == 1, said.err
    assert "Traceback" not in said.err + said.out
    assert said.out == ""
    for part in expected:
        assert part in said.err
    assert listing(folder) == before


def test_an_existing_output_survives_a_failure(folder, make, command):
    (folder / "out.spikefab").write_bytes(b"of yesterday")
    node("fc", weight=NAN)(folder, make)
    assert command(*COMPILE).status == 2
    assert (folder / "out.spikefab").read_bytes() == b"of yesterday"


def test_inspect_shows_what_keeps_a_network_from_being_loaded(folder, make, command):
    node("fc", weight=NAN)(folder, make)
    said = command("inspect", "net.nir", "--json")
    assert said.status == 0
    assert "nan in node 'fc'" in " ".join(json.loads(said.out)["unsupported"])
