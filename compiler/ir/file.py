"""Program files: safetensors, with the header as JSON in its metadata. No pickle, no code."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from .chip import ChipSpec
from .errors import SpikefabError
from .neuron import Datapath
from .plastic import PlasticProjection
from .program import InputPort, MappedPopulation, Program
from .rule import LearningPath
from .synapses import Synapses
from .validate import validate

FORMAT = 2
KEY = "spikefab"
NETWORKS = (".nir", ".h5", ".hdf5", ".json")  # how files of networks are often named


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is complete; until then it has another one.

    Raises SpikefabError if it cannot be written.
    """
    path = Path(path)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            prefix=f".{path.name}.", dir=path.parent, delete=False
        ) as stream:
            temporary = stream.name
            yield stream
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = ""
    except OSError as fault:
        raise SpikefabError("cannot write", str(path), fault.strerror or str(fault)) from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def save(program: Program, path: str | Path) -> None:
    """Write a program file; nothing is left behind if that fails."""
    header = {"format": FORMAT, "hash": program.hash, **program.header()}
    arrays = {name: np.ascontiguousarray(array) for name, array in program.arrays()}
    content = safetensors.numpy.save(arrays, {KEY: json.dumps(header)})
    with whole_file(path) as stream:
        stream.write(content)


def load(path: str | Path) -> Program:
    """Read and validate a program file; raises SpikefabError for one that is not whole."""
    where = str(path)
    header, arrays = _read(where)
    if header.get("format") != FORMAT:
        raise SpikefabError(
            f"program format {header.get('format')!r}", where, f"this version reads {FORMAT}",
            "compile the network again",
        )
    try:
        program = _assemble(header, arrays, where)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as fault:
        raise SpikefabError("damaged program", where, f"{fault!r}") from None
    validate(program, where)
    try:
        whole = program.hash == header.get("hash")
    except RecursionError:
        whole = False
    if not whole:
        raise SpikefabError("damaged program", where, "its content does not match its hash")
    return program


def _read(where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        with open(where, "rb"):  # of a file that it cannot open, safe_open says that it is missing
            pass
        with safe_open(where, framework="numpy") as stored:
            metadata = stored.metadata() or {}
            if KEY not in metadata:
                raise SpikefabError("not a Spikefab program", where)
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        header = json.loads(metadata[KEY])
    except OSError as fault:
        raise SpikefabError("cannot read", where, fault.strerror or str(fault)) from None
    except (SafetensorError, ValueError, RecursionError, TypeError, AttributeError) as fault:
        hint = "if it is a network, `spikefab compile` it first" if where.endswith(NETWORKS) else ""
        raise SpikefabError("not a Spikefab program", where, str(fault), hint) from None
    if not isinstance(header, dict):
        raise SpikefabError("not a Spikefab program", where, "its header is no object")
    return header, arrays


def _take(arrays: dict[str, Any], name: str, *kinds: Any) -> Any:
    array = arrays.pop(name)
    if array.ndim != 1 or array.dtype not in [np.dtype(k) for k in kinds]:
        raise ValueError(f"array '{name}' of type {array.dtype} and shape {array.shape}")
    return array


def _natural(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"{name} = {value!r}")
    return value


def _integer(value: Any, name: str) -> int:
    if type(value) is not int or not -(1 << 31) <= value < 1 << 31:
        raise ValueError(f"{name} = {value!r}")
    return value


def _assemble(header: dict[str, Any], arrays: dict[str, Any], where: str) -> Program:
    chip = ChipSpec.from_json(header["chip"], where)
    models = tuple(Datapath.from_json(m, where) for m in header["models"])
    populations = []
    for n, p in enumerate(header["populations"]):
        model = models[_natural(p["model"], "model")]
        populations.append(
            MappedPopulation(
                name=str(p["name"]),
                output=p["output"] is True,
                parameters={
                    k: _take(arrays, f"population.{n}.parameter.{k}", np.int32)
                    for k in model.parameters
                },
                initial={
                    k: _take(arrays, f"population.{n}.initial.{k}", np.int32) for k in model.state
                },
                lsb=float(p["lsb"]),
                **{k: _natural(p[k], k) for k in ("first", "size", "model", "start", "period")},
            )
        )
    synapses = Synapses(
        _take(arrays, "words", np.uint32, np.uint64),
        _take(arrays, "first", np.int64),
        tuple(_natural(d, "delay") for d in header["delays"]),
    )
    core_first = _take(arrays, "core_first", np.int64)
    rules = tuple(LearningPath.from_json(r, where) for r in header["rules"])
    plastic = []
    for n, q in enumerate(header["plastic"]):
        rule = rules[_natural(q["rule"], "rule")]
        held = {k: _take(arrays, f"plastic.{n}.held.{k}", np.int32) for k in rule.held}
        plastic.append(
            PlasticProjection(
                name=str(q["name"]),
                parameters={str(k): _integer(v, k) for k, v in q["parameters"].items()},
                held=held,
                learning=q["learning"] is True,
                lsb=float(q["lsb"]),
                first=_natural(q["first"], "first"),
                size=_natural(q["size"], "size"),
                target=_natural(q["target"], "target"),
                rule=_natural(q["rule"], "rule"),
                delay=_natural(q["delay"], "delay"),
                rows=_take(arrays, f"plastic.{n}.rows", np.int64),
                to=_take(arrays, f"plastic.{n}.to", np.int32),
                weight=_take(arrays, f"plastic.{n}.weight", np.int32),
            )
        )
    if arrays:
        raise ValueError(f"unknown array '{sorted(arrays)[0]}'")
    inputs = tuple(
        InputPort(str(i["name"]), *(_natural(i[k], k) for k in ("first", "size", "period")))
        for i in header["inputs"]
    )
    if not isinstance(header["notes"], dict):
        raise ValueError("notes")
    seed = _natural(header["seed"], "seed")
    return Program(
        chip, models, inputs, tuple(populations), core_first, synapses, seed, header["notes"],
        rules, tuple(plastic),
    )
