"""`spikefab rtl`: what it writes where, and what it leaves alone."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import spikefab
from spikefab.cli import rtl

from .conftest import READ

pytestmark = pytest.mark.timeout(120)

EXPORT = ["rtl", "small.spikefab", "-o", "out"]
FILES = {"README.md", "core.v", "expected.txt", "script.hex", "simulate.v", "testbench.v",
         "spikefab.sha256"}  # fmt: skip


@pytest.fixture
def small(folder: Path) -> Path:
    """A folder with small.spikefab, on a chip of few neurons, which takes little time to write."""
    chip = spikefab.ChipSpec("mine", cores=2, neurons=8, axons=8, synapse_words=64, routes=8)
    program, _ = spikefab.compile("net.nir", chip, **READ)
    spikefab.save_program(program, "small.spikefab")
    cut, _ = spikefab.compile("net.nir", chip, cores=2, **READ)
    spikefab.save_program(cut, "cut.spikefab")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_it_reports_the_run_that_it_wrote(small, command):
    said = command(*EXPORT, "--input", "in.npz", "--json")
    assert (said.status, said.err) == (0, "")
    told = json.loads(said.out)
    run = json.loads(command("run", "small.spikefab", "--input", "in.npz", "--json").out)
    assert {k: told[k] for k in ("steps", "ticks", "samples", "cycles")} == {
        k: run[k] for k in ("steps", "ticks", "samples", "cycles")
    }
    assert told["outputs"] == run["output_spikes"]["cells"] > 0
    assert told["chip"]["cores"] == 1
    assert set(told["files"]) == set(contents(small / "out")) > FILES


def test_signals_of_the_input_are_given(folder, command):
    made = spikefab.Network()
    x, y = made.input("x", 2), made.population("y", 1, "if", threshold=1.0, output=True)
    made.connect(x, y, np.full((2, 1), 0.5), plasticity=spikefab.Plasticity(
        "reward_stdp", w_min=0, w_max=1, keep_pre=0.8, keep_post=0.8, keep_e=0.9, up=0.1, down=0,
    ))  # fmt: skip
    chip = spikefab.ChipSpec("mine", cores=1, neurons=2, axons=8, synapse_words=64, routes=8)
    spikefab.save_program(spikefab.compile(made, chip)[0], "learns.spikefab")
    spikes = {"step": np.arange(6), "index": np.arange(6) % 2}
    np.savez("learns.npz", signal_reward=np.full(6, -64), **spikes)
    np.savez("still.npz", **spikes)
    for name in ("learns", "still"):
        said = command("rtl", "learns.spikefab", "-o", name, "--input", f"{name}.npz")
        assert (said.status, said.err) == (0, "")
    learns, still = (contents(folder / name) for name in ("learns", "still"))
    assert learns["script.hex"] != still["script.hex"]
    assert learns["expected.txt"] != still["expected.txt"]


def test_another_export_replaces_what_the_first_wrote_and_nothing_else(small, command):
    (small / "out").mkdir()
    (small / "out" / "notes.txt").write_text("mine")
    said = command(*EXPORT, "--input", "in.npz")
    assert "wrote" in said.out
    first = contents(small / "out")
    (small / "out" / "simulated.txt").write_text("of the user")
    assert command(*EXPORT).status == 0
    second = contents(small / "out")
    assert second.pop("simulated.txt") == b"of the user"
    assert second["notes.txt"] == b"mine"
    assert set(first) == set(second)
    assert first["core.v"] == second["core.v"]
    assert first["script.hex"] != second["script.hex"]


def test_a_file_that_was_changed_is_kept(small, command):
    assert command(*EXPORT).status == 0
    with (small / "out" / "core.v").open("a") as stream:
        stream.write("// mine")
    before = contents(small / "out")
    said = command(*EXPORT, "--input", "in.npz")
    assert said.status == 2
    assert "cannot write in out/core.v" in said.err
    assert contents(small / "out") == before


def test_a_failure_leaves_the_earlier_export(small, command, monkeypatch):
    assert command(*EXPORT).status == 0
    before = contents(small / "out")
    left = 9

    def rename(old, new, rename=os.rename):
        nonlocal left
        left -= 1
        if not left:
            raise OSError(28, "No space left on device")
        rename(old, new)

    monkeypatch.setattr(rtl.os, "rename", rename)
    for output, kept in (("out", before), ("new", None)):
        left = 9
        said = command("rtl", "small.spikefab", "-o", output, "--input", "in.npz")
        assert said.status == 2
        assert f"cannot write in {output}: No space left" in said.err
        assert (contents(small / output) if kept else (small / output).exists() or None) == kept


def test_an_empty_or_missing_folder_is_filled(small, command):
    (small / "out").mkdir()
    assert command(*EXPORT).status == 0
    assert command("rtl", "small.spikefab", "-o", "new", "--target", "ice40").status == 0
    assert set(contents(small / "out")) == set(contents(small / "new")) > FILES
    assert "cells_sim.v" in (small / "new" / "README.md").read_text()


def foreign(folder):
    (folder / "out").mkdir()
    (folder / "out" / "README.md").write_text("mine")


def empty_input(folder):
    np.savez(folder / "in.npz", step=np.zeros(0, int), index=np.zeros(0, int))


@pytest.mark.parametrize(
    ("spoil", "arguments", "expected"),
    [
        (None, ["rtl", "small.spikefab"], ["--output"]),
        (None, ["rtl", "gone.spikefab", "-o", "out"], ["cannot read", "gone.spikefab"]),
        (None, ["rtl", "in.npz", "-o", "out"], ["not a Spikefab program in in.npz"]),
        (None, ["rtl", "cut.spikefab", "-o", "out"], ["2 cores", "one core as yet"]),
        (None, [*EXPORT, "--input", "gone.npz"], ["cannot read in gone.npz"]),
        (None, [*EXPORT, "--input", "in.npz", "--steps", 3], ["a run of 3 steps"]),
        (empty_input, [*EXPORT, "--input", "in.npz"], ["no steps", "--steps"]),
        (None, [*EXPORT, "--steps", 0], ["--steps", "0"]),
        (None, [*EXPORT, "--target", "gowin"], ["--target", "gowin"]),
        (None, ["rtl", "small.spikefab", "-o", "no/out"], ["cannot write in no/out", "folder"]),
        (None, ["rtl", "small.spikefab", "-o", "in.npz"], ["in.npz", "it is not a folder"]),
        (None, ["rtl", "small.spikefab", "-o", "/proc/out"], ["cannot write in /proc/out"]),
        (foreign, EXPORT, ["cannot write in out/README.md", "not as an export left it"]),
    ],
)
def test_what_is_wrong_is_told_in_a_line(small, command, spoil, arguments, expected):
    if spoil:
        spoil(small)
    before = sorted(small.rglob("*"))
    said = command(*arguments)
    assert said.status == 2
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert all(word in said.err for word in expected), said.err
    assert sorted(small.rglob("*")) == before


def test_without_amaranth_it_says_what_to_install(small, command, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("spikefab.rtl")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amaranth", None)
    monkeypatch.setitem(sys.modules, "amaranth.back", None)
    said = command(*EXPORT)
    assert said.status == 2
    assert "pip install 'spikefab[rtl]'" in said.err
    assert not (small / "out").exists()
