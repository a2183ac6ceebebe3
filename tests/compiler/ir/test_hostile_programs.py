"""Files that are whole but say something no program may say, and files changed at random."""

import json
import struct
from unittest import mock

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.file import KEY, load, save
from spikefab.compiler.ir.machine import Machine
from spikefab.compiler.ir.program import Program
from spikefab.compiler.ir.synapses import weight_field
from strategies import integer_in, random_input, seeds

pytestmark = pytest.mark.timeout(120)


def parts_of(content):
    """(header, arrays) of a program file."""
    (size,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    return json.loads(metadata[KEY]), dict(safetensors.numpy.load(content))


def joined(header, arrays):
    return safetensors.numpy.save(arrays, {KEY: json.dumps(header)})


def first_parameter(arrays):
    """The first parameter that differs from neuron to neuron."""
    return next((n for n, v in arrays.items() if ".parameter." in n and np.ptp(v)), "")


def put(*place_and_value):
    """Set something in the header."""
    *place, value = place_and_value

    def change(header, arrays):
        for step in place[:-1]:
            header = header[step]
        header[place[-1]] = value

    return change


def array(name, change):
    """Change an array: `change` gets a copy and returns what takes its place."""

    def apply(header, arrays):
        arrays[name] = np.ascontiguousarray(change(arrays[name].copy()))

    return apply


def at(index, value):
    def change(values):
        values[index] = value
        return values

    return change


def drop(name):
    return lambda header, arrays: arrays.pop(name)


def swap(values):
    row = next(k for k in range(len(values) - 1) if values[k] != values[k + 1])
    values[row], values[row + 1] = values[row + 1], values[row]
    return values


def parameter(change):
    return lambda header, arrays: array(first_parameter(arrays), change)(header, arrays)


def node(op, change):
    """Change the first node of an operator in the graphs of the models."""

    def apply(header, arrays):
        change(next(n for m in header["models"] for n in m["graph"]["nodes"] if n[0] == op))

    return apply


def other_width(words):
    return words.astype(np.uint32 if words.dtype == np.uint64 else np.uint64)


def wrapping(header, arrays):
    """Placement whose differences are positive only because they wrap."""
    neurons = int(arrays["core_first"][-1])
    most = (1 << 63) - 1
    arrays["core_first"] = np.array([0, most, -most - 1, -1, neurons], np.int64)


def uneven(header, arrays):
    """One giant core and very many tiny ones: a survey of them would take 100 GB."""
    neurons, lines = 600_000, sum(i["size"] for i in header["inputs"])
    del header["populations"][1:]
    header["populations"][0].update(size=neurons)
    header["chip"].update(lanes=1)
    for name in [n for n in arrays if n.startswith("population.") and ".0." not in n]:
        del arrays[name]
    for name in [n for n in arrays if n.startswith("population.")]:
        arrays[name] = arrays[name][:1]
    arrays["words"] = arrays["words"][:0]
    arrays["first"] = np.zeros((lines + neurons) * len(header["delays"]) + 1, np.int64)
    arrays["core_first"] = np.array([*range(300_000), neurons], np.int64)


HOSTILE = {
    "chip missing": lambda h, a: h.pop("chip"),
    "chip field": put("chip", "turbo", 9),
    "chip lanes": put("chip", "lanes", 3),
    "chip too small": put("chip", "synapse_words", 1),
    "chip with few cores": put("chip", "cores", 1),
    "chip with other models": put("chip", "models", ["lif()"]),
    "chip with narrow accumulators": put("chip", "accumulator_bits", 8),
    "chip with other weights": put("chip", "weight_bits", 2),
    "chip without delays": put("chip", "delay_slots", 1),
    "chip with a short pipeline": put("chip", "neuron_latency", 1),
    "no models": put("models", []),
    "models no list": put("models", 3),
    "model no object": put("models", 0, "lif"),
    "unknown operator": node("add", lambda n: n.__setitem__(0, "div")),
    "changed interval": node("add", lambda n: n.__setitem__(4, n[4] + 1)),
    "changed constant": node("const", lambda n: n.__setitem__(2, [n[2][0] + 1])),
    "changed input": node("input", lambda n: n.__setitem__(2, ["current2"])),
    "cyclic graph": node("add", lambda n: n.__setitem__(1, [999_999, 999_999])),
    "changed state interval": put("models", 0, "state", "v", [-5, 5]),
    "no populations": put("populations", []),
    "population no object": put("populations", 0, []),
    "negative size": put("populations", 0, "size", -4),
    "zero size": put("populations", 0, "size", 0),
    "giant size": put("populations", 0, "size", 1 << 30),
    "giant beyond words": put("populations", 0, "size", 1 << 80),
    "size a float": put("populations", 0, "size", 2.0),
    "size a boolean": put("populations", 0, "size", True),
    "first elsewhere": put("populations", 0, "first", 1),
    "model number": put("populations", 0, "model", 99),
    "negative model number": put("populations", 0, "model", -1),
    "giant start": put("populations", 0, "start", (1 << 31) - 1),
    "start too late": put("populations", 0, "start", 1 << 19),
    "zero period": put("populations", 0, "period", 0),
    "another period": put("populations", 0, "period", 5),
    "giant period": put("inputs", 0, "period", 1 << 30),
    "lsb text": put("populations", 0, "lsb", "x"),
    "one name twice": put("populations", 0, "name", "in0"),
    "no name": put("populations", 0, "name", ""),
    "no inputs": put("inputs", []),
    "giant input": put("inputs", 0, "size", 1 << 30),
    "negative delay": put("delays", [-1]),
    "no delays": put("delays", []),
    "giant delays": put("delays", [1 << 30]),
    "negative seed": put("seed", -1),
    "notes no object": put("notes", [1]),
    "words missing": drop("words"),
    "first missing": drop("first"),
    "placement missing": drop("core_first"),
    "parameter missing": lambda h, a: a.pop(first_parameter(a)),
    "unknown array": lambda h, a: a.update(more=np.zeros(1, np.int32)),
    "words of another type": array("words", lambda w: w.astype(np.float32)),
    "words of another width": array("words", other_width),
    "words in two dimensions": array("words", lambda w: w[None]),
    "words too few": array("words", lambda w: w[:-1]),
    "words too many": array("words", lambda w: np.append(w, w[-1])),
    "unsorted synapses": array("words", swap),
    "doubled synapse": array("words", lambda w: at(1, w[0])(w)),
    "marked synapse": array("words", lambda w: w | (1 << weight_field(w.itemsize == 8))),
    "target outside": array("words", lambda w: w | (1 << 31)),
    "first of another type": array("first", lambda f: f.astype(np.int32)),
    "first descending": array("first", lambda f: at(1, f[-1] + 5)(f)),
    "first negative": array("first", lambda f: at(1, -1)(f)),
    "first not from zero": array("first", lambda f: at(0, 1)(f)),
    "first beyond": array("first", lambda f: at(-1, 1 << 60)(f)),
    "first wraps": array("first", lambda f: at(slice(1, 3), [(1 << 63) - 1, -(1 << 63)])(f)),
    "first too short": array("first", lambda f: f[:-1]),
    "first empty": array("first", lambda f: f[:0]),
    "placement descending": array("core_first", lambda c: at(1, c[2])(c)),
    "placement not to the end": array("core_first", lambda c: c[:-1]),
    "placement empty": array("core_first", lambda c: c[:0]),
    "placement wraps": wrapping,
    "placement uneven": uneven,
    "parameter outside": parameter(lambda p: at(0, (1 << 31) - 1)(p)),
    "parameter of another size": parameter(lambda p: np.zeros(1001, np.int32)),
    "parameter of another type": parameter(lambda p: p.astype(np.int64)),
    "parameter empty": parameter(lambda p: p[:0]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_refused_for_what_they_are(refused, whole, name):
    header, arrays = parts_of(whole)
    HOSTILE[name](header, arrays)
    assert "hash" not in refused(joined(header, arrays))


def test_too_large_weights(tmp_path, refused, some_program):
    for bits in (4, 12):
        save(some_program(weight_bits=bits), tmp_path / "p")
        header, arrays = parts_of((tmp_path / "p").read_bytes())
        arrays["words"][5] &= ~arrays["words"].dtype.type(0xFF if bits == 4 else 0xFFFF)
        arrays["words"][5] |= 1 << (bits - 1)
        line = refused(joined(header, arrays))
        assert line.startswith(f"weight {1 << (bits - 1)} in")


def test_a_changed_program_does_not_match_its_hash(refused, whole):
    changes = [put("seed", 5), put("notes", {"a": 1}), put("hash", None), put("hash", "0" * 32),
               put("populations", 0, "lsb", 3.5),
               parameter(lambda p: np.full_like(p, p[0]))]  # fmt: skip
    for change in changes:
        header, arrays = parts_of(whole)
        change(header, arrays)
        line = refused(joined(header, arrays))
        assert line.endswith(": its content does not match its hash")


def test_notes_nested_as_deep_as_json_reads(refused, whole):
    header, arrays = parts_of(whole)
    header["notes"] = {"x": "deep"}
    for depth in range(300, 1100, 20):
        text = json.dumps(header).replace('"deep"', "[" * depth + "]" * depth)
        refused(safetensors.numpy.save(arrays, {KEY: text}))


JUNK = [None, True, -1, 0, 1, 2, 255, 1 << 31, 1 << 63, 1 << 200, 0.5, float("nan"), "", "x",
        [], {}, [1, 2], {"a": 1}]  # fmt: skip


def leaves(tree, path=()):
    """Paths to everything in a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


def loads_and_runs_or_is_refused(path, content):
    """A file may turn out to be a program, but then it is one that runs."""
    path.write_bytes(content)
    try:
        program = load(path)
    except SpikefabError as fault:
        return str(fault)
    if program.period * 4 + program.last_stage < 100:
        Machine(program).run(random_input(np.random.default_rng(0), program, 3), 3)
    return ""


@settings(max_examples=400, deadline=None)
@given(seeds, st.sampled_from(JUNK))
def test_any_change_of_the_header_is_refused_or_runs(tmp_path_factory, whole, seed, junk):
    rng = np.random.default_rng(seed)
    header, arrays = parts_of(whole)
    for model in header["models"]:  # or nearly all changes would be to graphs
        if rng.random() < 0.8:
            model["graph"], kept = {}, model["graph"]
            paths = list(leaves(header))
            model["graph"] = kept
        else:
            paths = list(leaves(header))
    path = paths[int(rng.integers(len(paths)))]
    put(*path, junk)(header, arrays)
    header["hash"] = "any"
    with mock.patch.object(Program, "hash", "any"):
        loads_and_runs_or_is_refused(tmp_path_factory.getbasetemp() / "h", joined(header, arrays))


@settings(max_examples=300, deadline=None)
@given(seeds)
def test_any_change_of_the_arrays_is_refused_or_runs(tmp_path_factory, whole, seed):
    rng = np.random.default_rng(seed)
    header, arrays = parts_of(whole)
    for _ in range(int(rng.integers(1, 4))):
        name = str(rng.choice(sorted(arrays)))
        values = arrays[name]
        kind = np.iinfo(values.dtype)
        if rng.random() < 0.8 and values.size:
            near = int(values[int(rng.integers(values.size))]) + int(rng.integers(-2, 3))
            most = min(int(kind.max), (1 << 63) - 1)
            new = near if rng.random() < 0.6 else integer_in(rng, int(kind.min), most)
            values[int(rng.integers(values.size))] = min(max(new, kind.min), kind.max)
        elif rng.random() < 0.7:
            arrays[name] = np.resize(values, int(rng.integers(0, 2 * len(values) + 2)))
        else:
            other = str(rng.choice(sorted(arrays)))
            arrays[name], arrays[other] = arrays[other], arrays[name]
    header["hash"] = "any"
    with mock.patch.object(Program, "hash", "any"):
        loads_and_runs_or_is_refused(tmp_path_factory.getbasetemp() / "a", joined(header, arrays))


