"""A folder with a small network and its program, and the command run in it."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import spikefab
from spikefab.cli.main import main

COMMAND = Path(sysconfig.get_path("scripts")) / "spikefab"
READ = {"dt": 1e-3, "profile": "nir"}
STEPS = 40


class Said(NamedTuple):
    """What a command left: exit status, stdout, stderr."""

    status: int
    out: str
    err: str


def _put(group: Any, fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if isinstance(value, dict):
            _put(group.create_group(key), value)
        elif key == "edges":
            pairs = np.array(value, dtype=object).reshape(len(value), -1)
            group.create_dataset(key, data=pairs, dtype=h5py.string_dtype())
        else:
            group.create_dataset(key, data=value)


def write_nir(path: Path, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> None:
    """A NIR file, right or wrong."""
    with h5py.File(path, "w") as stored:
        _put(stored, {"version": "1.0.8", "node": {"type": "NIRGraph", "nodes": nodes,
                                                   "edges": edges}})  # fmt: skip


def lif(n: int, **changed: Any) -> dict[str, Any]:
    values = {"tau": 0.01, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    return {"type": "LIF", **{k: np.full(n, v) for k, v in values.items()}, **changed}


def parts(inputs: int = 4, cells: int = 3) -> dict[str, dict[str, Any]]:
    """input, fc: Linear, cells: LIF, output."""
    weight = np.random.default_rng(0).uniform(-0.2, 0.6, (cells, inputs))
    return {
        "input": {"type": "Input", "shape": np.array([inputs])},
        "fc": {"type": "Linear", "weight": weight},
        "cells": lif(cells),
        "output": {"type": "Output", "shape": np.array([cells])},
    }


CHAIN = [("input", "fc"), ("fc", "cells"), ("cells", "output")]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.nir, net.spikefab, other.spikefab, in.npz, other.checkpoint."""
    folder = tmp_path_factory.mktemp("good")
    write_nir(folder / "net.nir", parts(), CHAIN)
    for name, bits in (("net", 8), ("other", 5)):
        program, _ = spikefab.compile(folder / "net.nir", weight_bits=bits, **READ)
        spikefab.save_program(program, folder / f"{name}.spikefab")
    emulator = spikefab.Emulator(program)
    emulator.run(steps=3, drain=False)
    emulator.checkpoint(folder / "other.checkpoint")
    raster = np.random.default_rng(1).random((STEPS, 4)) < 0.5
    step, index = np.nonzero(raster)
    np.savez(folder / "in.npz", step=step, index=index)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with copies of the good files."""
    for path in good.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in this process; gives `Said`."""

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # restored after

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["spikefab", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        return Said(status, *capsys.readouterr())

    return run


def real(*arguments: object) -> Said:
    """Runs the installed command, as a user does."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(name="real")
def _real() -> Any:
    return real


@pytest.fixture(name="make")
def _make() -> Any:
    """How networks are made: `parts`, `lif`, `CHAIN`, `write`."""

    class Make:
        pass

    made = Make()
    made.parts, made.lif, made.chain, made.write = parts, lif, CHAIN, write_nir  # type: ignore
    return made
