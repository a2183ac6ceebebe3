"""Co-simulation of random programs on random chips: the gateware's log against the machine's.

`python tests/rtl/cosim.py CHIP FIRST COUNT TICKS` replays programs on one chip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import spikefab

# The simulator's Python gets this path as well.
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import strategies
from cocotb_tools.runner import get_runner
from spikefab.compiler.ir.chip import ChipSpec
from spikefab.compiler.ir.memory_map import MemoryMap
from spikefab.compiler.ir.program import Program
from spikefab.rtl.testbench import testbench_verilog
from spikefab.rtl.verilog import core_verilog

SIMULATOR = os.environ.get("SPIKEFAB_SIMULATOR", "icarus")


class Difference(AssertionError):
    """The gateware's log parts from the expected one."""


def core(seed: int) -> tuple[ChipSpec, tuple[strategies.ModelChoice, ...], MemoryMap]:
    """The chip with that number, the models it carries, and its memory map."""
    rng = np.random.default_rng([1, seed])
    spec, pool = strategies.random_core(rng)
    models = tuple(m.datapath(spec.state_bits, spec.accumulator_bits, o) for m, o in pool)
    return spec, pool, MemoryMap(spec.carrying(models), models)


def program(chip: int, seed: int) -> Program:
    """A random program for a chip."""
    rng = np.random.default_rng([2, chip, seed])
    spec, pool, map = core(chip)
    neurons = int(rng.integers(1, map.chip.neurons + 1))
    return strategies.random_program(
        rng, neurons=max(1, neurons), cores=1, on=(spec, pool), populations=4
    )


def events(chip: int, seed: int, program: Program, ticks: int) -> list[dict[int, int]]:
    """Payloads by source for each tick: silent, sparse or crowded; input comes with the period."""
    rng = np.random.default_rng([3, chip, seed])
    most = program.chip.largest_payload if rng.random() < 0.5 else 1
    rates = rng.choice([0.0, 0.1, 0.4, 1.0], ticks)
    return [
        {
            source: int(rng.integers(1, most + 1))
            for source in range(program.input_lines)
            if tick % program.period == 0 and rng.random() < rate
        }
        for tick, rate in enumerate(rates)
    ]


def pressure(chip: int, seed: int) -> int:
    """In how many of 16 clocks the host takes an output; 0 stands for all."""
    return int(np.random.default_rng([4, chip, seed]).choice([0, 0, 8, 1]))


def planted_verilog(chip: int, file: str, right: str, wrong: str, folder: Path) -> str:
    """The Verilog of a chip after an error was planted in a file of the gateware."""
    package = Path(spikefab.__file__).parent
    copied = folder / "spikefab"
    for part in ("compiler", "emulator", "rtl"):
        shutil.copytree(package / part, copied / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(package / "__init__.py", copied)
    text = (copied / "rtl" / file).read_text()
    assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times in {file}"
    (copied / "rtl" / file).write_text(text.replace(right, wrong))
    script = f"import cosim; print(cosim.core_verilog(cosim.core({chip})[2]))"
    paths = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, check=True,
        capture_output=True, text=True, cwd=folder,
    ).stdout  # fmt: skip


def check(
    chip: int, seeds: Sequence[int], ticks: int, folder: Path,
    planted: tuple[str, str, str] | None = None,
) -> None:  # fmt: skip
    """Run programs on one chip; raises Difference with the first line that differs.

    planted: a file of the gateware, some of its text, and the error to put in its place.
    """
    _, _, map = core(chip)
    verilog = planted_verilog(chip, *planted, folder) if planted else core_verilog(map)
    sources = {"core.v": verilog, "testbench.v": testbench_verilog(map)}
    for name, text in sources.items():
        (folder / name).write_text(text)
    (folder / "jobs.json").write_text(
        json.dumps({"chip": chip, "seeds": list(seeds), "ticks": ticks})
    )
    runner = get_runner(SIMULATOR)
    runner.build(
        sources=[folder / name for name in sources], hdl_toplevel="testbench",
        build_dir=folder / "build", always=True, log_file=folder / "build.log",
    )  # fmt: skip
    with suppress(SystemExit):  # of a failed test: what failed is in the files
        runner.test(
            hdl_toplevel="testbench", test_module="cosim_player", build_dir=folder / "build",
            test_dir=folder, log_file=folder / "run.log",
        )  # fmt: skip
    failed = folder / "difference.txt"
    if failed.exists():
        raise Difference(failed.read_text())
    done = json.loads((folder / "done.json").read_text()) if (folder / "done.json").exists() else []
    assert done == list(seeds), f"ran {done}: {(folder / 'run.log').read_text()[-2000:]}"


def difference(chip: int, seed: int, ticks: int, expected: Iterator[str], log: Path) -> str:
    """What to print of the first line that differs; empty where none does."""
    tick = 0
    last = []
    with log.open() as lines:
        for number, want in enumerate(expected):
            got = lines.readline().rstrip("\n")
            if got != want:
                return (
                    f"chip {chip}, program {seed}, tick {tick}, line {number}: the core reports "
                    f"{got!r}, the machine {want!r}; before: {last[-6:]}\n"
                    f"replay: python tests/rtl/cosim.py {chip} {seed} 1 {ticks}"
                )
            last.append(want)
            tick += want.startswith("O 3")
        if rest := lines.readline():
            return f"chip {chip}, program {seed}: the core reports {rest!r} after the end"
    return ""


if __name__ == "__main__":
    number, first, count, length = (int(a) for a in sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        check(number, range(first, first + count), length, Path(scratch))
    print(f"chip {number}: {count} programs x {length} ticks equal")
