"""What the commands do when all is well, and when they are interrupted."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import spikefab

from .conftest import COMMAND, READ, STEPS

pytestmark = pytest.mark.timeout(300)

COMPILE = ["compile", "net.nir", "--dt", "1e-3", "--profile", "nir"]


@pytest.fixture
def asked(folder, command):
    """Runs a command with --json and gives what it printed."""

    def run(*arguments):
        said = command(*arguments, "--json")
        assert (said.status, said.err) == (0, "")
        return json.loads(said.out)

    return run


@pytest.fixture
def done(folder, command):
    """Runs a command and gives its stdout."""

    def run(*arguments):
        said = command(*arguments)
        assert (said.status, said.err) == (0, "")
        return said.out

    return run


def same_arrays(one, two, but=()):
    with np.load(one) as a, np.load(two) as b:
        assert sorted(set(a.files) - set(but)) == sorted(set(b.files) - set(but))
        for name in set(a.files) - set(but):
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# ---- inspect


def test_inspect_a_network(asked, done):
    found = asked("inspect", "net.nir")
    assert found["file"] == "net.nir"
    assert {n["name"]: (n["type"], n["shape"]) for n in found["nodes"]} == {
        "input": ("Input", [4]),
        "fc": ("Linear", [3]),
        "cells": ("LIF", [3]),
        "output": ("Output", [3]),
    }
    assert ["fc", "cells"] in found["edges"]
    assert [gap["name"] for gap in found["undetermined"]] == [
        "dt", "reset", "fires", "discretisation"
    ]  # fmt: skip
    assert found["unsupported"] == []
    text = done("inspect", "net.nir")
    assert all(word in text for word in ("cells", "LIF", "tau 0.01..0.01", "--dt"))


def test_inspect_a_program(asked, done):
    found = asked("inspect", "net.spikefab")
    program = spikefab.load_program("net.spikefab")
    assert found["hash"] == program.hash
    assert found["synapses"] == program.synapses.count == 12
    assert found["inputs"] == [{"name": "input", "size": 4}]
    assert [p["name"] for p in found["populations"]] == ["cells"]
    assert found["cores"][0]["neurons"] == 3
    text = done("inspect", "net.spikefab")
    assert all(word in text for word in (program.hash, "'cells'", "12 synapses", "assumed:"))


# ---- compile


def test_compile_writes_the_program_that_python_makes(asked, folder):
    report = asked(*COMPILE, "-o", "made.spikefab")
    made = spikefab.load_program("made.spikefab")
    assert (folder / "made.spikefab").read_bytes() == (folder / "net.spikefab").read_bytes()
    assert report["output"] == "made.spikefab"
    assert report["program"] == made.hash
    assert (report["neurons"], report["synapses"], report["cores"]) == (3, 12, 1)
    assert set(report) >= {
        "chip", "period", "populations", "memories", "constant_cycles", "worst_cycles",
        "mean_cycles", "agreement", "samples", "settings", "assumptions", "warnings",
    }  # fmt: skip
    assert set(report["populations"][0]) >= {
        "name", "model", "neurons", "synapses", "cores", "stage", "weight_bits", "weight_lsb",
        "lsb", "exact", "weight_error", "clipped", "headroom_bits", "saturated", "dead",
    }  # fmt: skip
    assert report["settings"]["dt"] == "0.001"
    assert report["agreement"] is None


def test_compile_measures_on_given_input(asked):
    report = asked(*COMPILE, "-o", "made.spikefab", "--calibrate", "in.npz", "--cores", 3)
    assert report["cores"] == 3
    assert report["samples"] == 1
    assert 0 <= report["agreement"] <= 1
    assert report["mean_cycles"] <= report["worst_cycles"]
    (cells,) = report["populations"]
    assert cells["dead"] is not None
    assert cells["spike_agreement"] > 0.8


def test_compile_for_people(done):
    text = done(*COMPILE, "-o", "made.spikefab", "--calibrate", "in.npz")
    for word in ("3 neurons, 12 synapses", "Populations", "Fullest core", "clock cycles per tick",
                 "float reference", "assumed:", "wrote made.spikefab"):  # fmt: skip
        assert word in text


def test_compile_tells_the_accuracy_where_the_input_has_labels(folder, asked, done):
    program = spikefab.load_program("net.spikefab")
    given = spikefab.load_input("in.npz", {"input": 4})
    answer = spikefab.answer_by_count(spikefab.Emulator(program).run(given))
    for labels, accuracy in ((answer, 1.0), (answer + 1, 0.0)):
        np.savez("labelled.npz", **np.load("in.npz"), labels=labels)
        report = asked(*COMPILE, "-o", "made.spikefab", "--calibrate", "labelled.npz")
        assert report["accuracy"] == accuracy
        assert report["agreement"] == 1.0
        assert report["accuracy_in_float"] == accuracy
    assert "accuracy: 0.0 %, in float 0.0 %" in done(
        *COMPILE, "-o", "made.spikefab", "--calibrate", "labelled.npz"
    )


def test_a_sweep_compares_the_reports_of_each_width(folder, asked, command):
    sweep = [*COMPILE, "--calibrate", "in.npz", "--sweep", "weight-bits=3..5"]
    found = asked(*sweep, "-o", "sweep.png")
    assert [point["weight_bits"] for point in found["sweep"]] == [3, 4, 5]
    assert found["output"] == "sweep.png"
    assert (folder / "sweep.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    alone = asked(*COMPILE, "--calibrate", "in.npz", "-o", "made.spikefab", "--weight-bits", 4)
    assert {**found["sweep"][1], "output": "made.spikefab"} == {**alone, "weight_bits": 4}
    errors = [point["populations"][0]["weight_error"] for point in found["sweep"]]
    assert errors == sorted(errors, reverse=True)
    before = sorted(folder.iterdir())
    said = command(*sweep)
    assert said.status == 0
    for word in ("bits", "cells", "same answer", "Weight error"):
        assert word in said.out
    assert sorted(folder.iterdir()) == before


# ---- run


@pytest.mark.parametrize("threads", [1, 2])
def test_run_writes_what_python_returns(asked, threads):
    summary = asked("run", "net.spikefab", "--input", "in.npz", "-o", "out.npz", "--record",
                    "cells.v", "--threads", threads)  # fmt: skip
    program = spikefab.load_program("net.spikefab")
    given = spikefab.load_input("in.npz", {"input": 4})
    there = spikefab.Emulator(program).run(given, record=["cells.v"])
    there.save("python.npz")
    same_arrays("out.npz", "python.npz")
    with np.load("out.npz") as out:
        assert len(out["step"]) == len(there.spikes["cells"]) > 0
        assert out["record/cells.v"].shape == (1, STEPS, 3)
    assert summary["steps"] == STEPS
    assert summary["output"] == "out.npz"
    assert summary["output_spikes"] == {"cells": len(there.spikes["cells"])}
    assert summary["spikes"] == there.counters["spikes"]
    assert summary["cycles"] == there.cycles.sum()


def test_run_takes_a_batch(asked):
    given = spikefab.load_input("in.npz", {"input": 4})["input"]
    both = [np.tile(a, 2) for a in (given.step, given.index)]
    np.savez("batch.npz", step=both[0], index=both[1], sample=np.repeat([0, 1], len(given)))
    summary = asked("run", "net.spikefab", "--input", "batch.npz", "-o", "out.npz")
    assert summary["samples"] == 2
    with np.load("out.npz") as out:
        half = len(out["step"]) // 2
        np.testing.assert_array_equal(out["step"][:half], out["step"][half:])
        assert set(out["sample"]) == {0, 1}


def test_run_without_input_or_cycles(asked, done, folder):
    summary = asked("run", "net.spikefab", "--steps", 5, "--no-cycles")
    assert summary["steps"] == 5
    assert "cycles" not in summary
    text = done("run", "net.spikefab", "--steps", 5, "-o", "out.npz")
    assert "steps: 5" in text
    assert "wrote out.npz" in text


def test_resumed_runs_equal_an_unbroken_one(asked):
    given = spikefab.load_input("in.npz", {"input": 4})["input"]
    cut = 17
    for name, inside, shift in (("a", given.step < cut, 0), ("b", given.step >= cut, cut)):
        np.savez(f"{name}.npz", step=given.step[inside] - shift, index=given.index[inside])
    more = ["--record", "cells.v"]
    asked("run", "net.spikefab", "--input", "in.npz", "--steps", STEPS, *more, "-o", "whole.npz",
          "--checkpoint", "whole.c")  # fmt: skip
    asked("run", "net.spikefab", "--input", "a.npz", "--steps", cut, *more, "-o", "one.npz",
          "--checkpoint", "cut.c")  # fmt: skip
    asked("run", "net.spikefab", "--input", "b.npz", "--steps", STEPS - cut, *more, "-o", "two.npz",
          "--resume", "cut.c", "--checkpoint", "end.c")  # fmt: skip
    with np.load("whole.npz") as whole, np.load("one.npz") as one, np.load("two.npz") as two:
        steps = np.concatenate([one["step"], two["step"] + cut])
        np.testing.assert_array_equal(steps, whole["step"])
        assert len(steps)
        for name, axis in (("index", 0), ("record/cells.v", 1), ("cycles", 1)):
            joined = np.concatenate([one[name], two[name]], axis=axis)
            np.testing.assert_array_equal(joined, whole[name])
    same_arrays("whole.c", "end.c")


# ---- demo


def test_demo_meets_its_figures(command, folder):
    said = command("demo", "-o", "pictures", "--json")
    assert said.status == 0
    assert said.err in ("", "building the virtual board, once for this core\n")
    figures = json.loads(said.out)
    assert set(figures) >= {
        "accuracy", "accuracy_float", "agreement", "test_images", "steps", "cycles_per_inference",
        "seconds",
    }  # fmt: skip
    assert figures["accuracy"] >= 0.975
    assert figures["accuracy"] >= figures["accuracy_float"] - 0.005
    assert figures["agreement"] >= 0.99
    assert figures["test_images"] == 594
    assert figures["steps"] <= 32
    assert figures["cycles_per_inference"] > 0
    assert 0 < figures["seconds"] < 60
    board = figures["virtual_board"]
    assert (board["equal"], board["ticks"]) == (True, 170)
    assert abs(board["cycles"] / 10 - figures["cycles_per_inference"]) < 1000
    assert Path(figures["picture"]) == Path("pictures/raster.png")
    assert (folder / "pictures/raster.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [p.name for p in (folder / "pictures").iterdir()] == ["raster.png"]


# ---- the rest


def test_help_and_version(done):
    assert "compile" in done("--help")
    assert spikefab.__version__ in done("--version")
    for name in ("demo", "inspect", "compile", "run", "diff", "stream", "bench"):
        assert "--json" in done(name, "--help")


def interrupted(*arguments, after):
    """Sends SIGINT to the command after some seconds; gives its stderr and how long it took."""
    going = subprocess.Popen(
        [COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        time.sleep(after)
        assert going.poll() is None
        going.send_signal(signal.SIGINT)
        began = time.monotonic()
        said = going.communicate(timeout=60)
    finally:
        going.kill()
        going.wait()
    assert going.returncode == 130
    assert said[0] == ""
    return said[1], time.monotonic() - began


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupted_run_ends_soon_and_leaves_nothing(folder, command, threads):
    arguments = ["run", "net.spikefab", "--threads", threads, "--no-cycles", "-o", "out.npz"]
    assert command(*arguments, "--steps", 10).status == 0  # kernels are compiled and cached
    (folder / "out.npz").unlink()
    before = sorted(folder.iterdir())
    line, seconds = interrupted(*arguments, "--steps", 2_000_000_000, after=4)
    assert line == "spikefab: error: interrupted\n"
    assert seconds < 10
    assert sorted(folder.iterdir()) == before


def test_an_interrupt_that_python_drops_comes_again():
    """As when it lands in a callback of the LLVM library."""
    program = """
import ctypes, os, signal, sys, time
import click
from spikefab.cli import main as cli

@click.command("wait")
def wait():
    def land(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return 0
    ctypes.CFUNCTYPE(ctypes.c_int)(land)()
    time.sleep(30)

cli.spikefab.add_command(wait)
sys.argv = ["spikefab", "wait"]
cli.main()
"""
    began = time.monotonic()
    python = COMMAND.with_name("python")
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "spikefab: error: interrupted\n")
    assert time.monotonic() - began < 20


def test_python_reads_what_the_command_writes(folder, done):
    done(*COMPILE, "-o", "made.spikefab")
    program, _ = spikefab.compile(folder / "net.nir", **READ)
    assert spikefab.load_program("made.spikefab").hash == program.hash
