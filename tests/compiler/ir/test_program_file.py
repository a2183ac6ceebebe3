import errno
import json
import os
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.file import KEY, load, save, whole_file
from spikefab.compiler.ir.machine import Machine
from strategies import programs, random_input

pytestmark = pytest.mark.timeout(120)


@settings(max_examples=30, deadline=None)
@given(programs)
def test_a_program_survives_its_file(tmp_path_factory, program):
    path = tmp_path_factory.mktemp("p") / "p.spikefab"
    save(program, path)
    restored = load(str(path))
    assert restored.hash == program.hash
    assert restored.chip == program.chip
    assert restored.models == program.models
    assert restored.header() == program.header()
    for (name, a), (other, b) in zip(program.arrays(), restored.arrays(), strict=True):
        assert (name, a.dtype) == (other, b.dtype)
        np.testing.assert_array_equal(a, b)
    trains = random_input(np.random.default_rng(1), program, 3)
    one, two = Machine(program).run(trains, 3), Machine(restored).run(trains, 3)
    np.testing.assert_array_equal(one.cycles, two.cycles)
    assert one.counters == two.counters
    assert os.listdir(path.parent) == ["p.spikefab"]


def test_equal_programs_have_equal_files(tmp_path, some_program, whole):
    save(some_program(), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == whole
    assert some_program().hash != some_program(1000).hash


def test_truncated_files(refused, whole):
    for size in [*range(0, len(whole), 61), *range(16), len(whole) - 1]:
        refused(whole[:size])


def test_longer_files(refused, whole):
    refused(whole + b"\0")
    refused(whole + whole)


def test_bit_flips(refused, whole):
    rng = np.random.default_rng(0)
    places = rng.choice(len(whole), 800, replace=False)
    for place in [*range(8), *places.tolist()]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        refused(bytes(damaged))


def tensor(kind, shape, size):
    """A safetensors file of one raw array, with the metadata of a program."""
    words = {"dtype": kind, "shape": shape, "data_offsets": [0, size]}
    text = json.dumps({"__metadata__": {KEY: "{}"}, "words": words})
    return struct.pack("<Q", len(text)) + text.encode() + b"\0" * size


FOREIGN = {
    "empty": b"",
    "text": b"not a program at all, but quite long",
    "pickle": pickle.dumps({"words": [1, 2, 3]}),
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "giant header": struct.pack("<Q", 1 << 62) + b"{}",
    "header beyond the limit": struct.pack("<Q", 100_000_001) + b"{" * 1000,
    "json that is no object": struct.pack("<Q", 2) + b"[]",
    "deep json": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "no metadata": safetensors.numpy.save({"words": np.zeros(3, np.uint32)}),
    "other metadata": safetensors.numpy.save({"words": np.zeros(3, np.uint32)}, {"a": "b"}),
    "header no json": safetensors.numpy.save({"w": np.zeros(3)}, {KEY: "{"}),
    "header a list": safetensors.numpy.save({"w": np.zeros(3)}, {KEY: "[]"}),
    "header nested": safetensors.numpy.save({"w": np.zeros(3)}, {KEY: "[" * 10_000}),
    "header empty": safetensors.numpy.save({"w": np.zeros(3)}, {KEY: "{}"}),
    "another format": safetensors.numpy.save({"w": np.zeros(3)}, {KEY: '{"format": 999}'}),
    "format of another type": safetensors.numpy.save({"w": np.zeros(3)}, {KEY: '{"format": [1]}'}),
    "bfloat16": tensor("BF16", [4], 8),
    "eight-bit float": tensor("F8_E4M3", [8], 8),
    "unknown type": tensor("I128", [1], 16),
    "shape that lies": tensor("U32", [1 << 40], 8),
    "shape that overflows": tensor("U32", [1 << 40, 1 << 40, 0], 0),
    "negative shape": tensor("U32", [-2], 8),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_are_no_programs(refused, name):
    refused(FOREIGN[name])


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SpikefabError, match=r"^cannot read in .*none"):
        load(tmp_path / "none")
    with pytest.raises(SpikefabError):
        load(tmp_path)


def test_nothing_is_left_behind_when_writing_fails(tmp_path, some_program, monkeypatch):
    program = some_program()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "p", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(SpikefabError, match=r"^cannot write in "):
            save(program, path)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SpikefabError, match=r"^cannot write in .*: No space left on device$"):
        save(program, tmp_path / "p")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "p"
    path.write_bytes(b"old")

    def write_and_interrupt():
        with whole_file(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["p"]
