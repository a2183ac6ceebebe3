"""Runs over a wire that damages bytes: each ends as the emulator's does, or with an error.

`python tests/boards/soak.py FIRST COUNT` prints a line per seed, and what came of all. A seed names
a random program of at most 4 kB for one of the chips, random input, and how the wire is damaged.
"""

from __future__ import annotations

import fcntl
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import strategies
from spikefab import Emulator, Machine
from spikefab.boards.device import BoardDevice
from spikefab.boards.link import Link, open_port
from spikefab.boards.open import VIRTUAL_BAUD, VIRTUAL_DIVISOR, virtual_executable
from spikefab.boards.virtual import KINDS, Faults, VirtualBoard
from spikefab.compiler.ir.cores import core_images
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.memory_map import MemoryMap, core_map
from spikefab.compiler.ir.program import Program
from spikefab.compiler.ir.spikes import Recording, SpikeTrain
from spikefab.emulator.cache import cache_folder

LARGEST = 4096  # bytes of a soaked program's memories
LONGEST = 120.0  # seconds that a run may take
WORST = 0.01  # share of bytes that are damaged


@dataclass(frozen=True)
class Chip:
    """A random chip: what `strategies.random_core` draws for a seed, perhaps with digests."""

    seed: int
    digests: bool = False

    @cached_property
    def _drawn(self) -> tuple[strategies.ChipSpec, tuple[strategies.ModelChoice, ...]]:
        spec, pool = strategies.random_core(np.random.default_rng([1, self.seed]))
        return replace(spec, digests=self.digests), pool

    def program(self, rng: np.random.Generator, neurons: int | None = None) -> Program:
        """A random program for it, of at most so many neurons."""
        spec, pool = self._drawn
        while True:
            with suppress(SpikefabError):  # too much for the chip's memories: draw another
                return strategies.random_program(
                    rng, neurons=min(neurons or spec.neurons, spec.neurons), cores=1,
                    on=(spec, pool),
                )  # fmt: skip

    @cached_property
    def map(self) -> MemoryMap:
        """Its memories."""
        spec, pool = self._drawn
        models = tuple(m.datapath(spec.state_bits, spec.accumulator_bits, o) for m, o in pool)
        return MemoryMap(spec.carrying(models), models)

    @cached_property
    def executable(self) -> Path:
        """Its virtual board."""
        return executable(self.map)


# Payloads, values of 32 bits, random draws, three models, digests; and four lanes without payloads.
CHIPS = (Chip(25, digests=True), Chip(16))


def executable(map: MemoryMap) -> Path:
    """A core's virtual board; one process builds it, others wait."""
    with (cache_folder() / f"building_{map.hash}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return virtual_executable(map)


class Opened(NamedTuple):
    """A virtual board and a device on it."""

    board: VirtualBoard
    link: Link
    device: BoardDevice


@contextmanager
def opened(
    executable: Path, program: Program | None = None, faults: Faults | None = None,
    *, counts: bool = True,
) -> Iterator[Opened]:  # fmt: skip
    """A virtual board with its link open, and the program loaded if one is given."""
    with (
        VirtualBoard(executable, VIRTUAL_DIVISOR, faults) as board,
        linked(board, program, counts=counts) as (link, device),
    ):
        yield Opened(board, link, device)


@contextmanager
def linked(
    board: VirtualBoard, program: Program | None = None, *, counts: bool = True
) -> Iterator[tuple[Link, BoardDevice]]:
    """A link to a board that runs, and a device on it."""
    with open_port(board.port, VIRTUAL_BAUD) as port:
        link = Link(port, board.port)
        link.open()
        yield link, BoardDevice(link, program, counts=counts)


def everything(program: Program) -> list[str]:
    """All that a run can record besides outputs: hidden populations and state variables."""
    models = program.models
    hidden = [p.name for p in program.populations if models[p.model].spikes]
    return hidden + [f"{p.name}.{v}" for p in program.populations for v in models[p.model].state]


def difference(expected: Recording, found: Recording, cycles: bool = True) -> str:
    """What of a board's recording is not as expected; empty if all of it is."""
    for name in ("steps", "ticks", "samples"):
        if getattr(expected, name) != getattr(found, name):
            return name
    for name in ("spikes", "values", "state"):
        if set(getattr(expected, name)) != set(getattr(found, name)):
            return f"names of {name}"
    for name, train in expected.spikes.items():
        if not train.equals(found.spikes[name]):
            return f"spikes of {name}"
    for mine, other in ((expected.values, found.values), (expected.state, found.state)):
        for name, values in mine.items():
            if not np.array_equal(values, other[name]):
                return name
    if cycles and not np.array_equal(expected.cycles, found.cycles):
        return "cycles"
    for name, count in found.counters.items():
        if expected.counters[name] != count:
            return f"counter {name}"
    return ""


@dataclass(frozen=True)
class Soaked:
    """What came of a run: `verdict` is `equal`, `wrong: ...`, or an error's first words and what
    came of a second attempt."""

    seed: int
    verdict: str
    seconds: float
    damaged: int

    @property
    def good(self) -> bool:
        """Whether it was never silently wrong, and ended in time."""
        return "wrong" not in self.verdict and self.seconds < LONGEST


def size(program: Program) -> int:
    """Bytes of the memories that a program fills."""
    map = core_map(program)
    (image,) = core_images(program)
    contents = map.contents(image, program.seed)
    units = sum(len(entries) << map.regions[name].unit_bits for name, entries in contents.items())
    return 2 * (units + map.chip.delay_slots * image.neurons)


def drawn(seed: int) -> tuple[Chip, Program, dict[str, SpikeTrain], int, int | None, Faults]:
    """Chip, program, input, steps, samples and faults of a seed."""
    rng = np.random.default_rng([5, seed])
    chip = CHIPS[int(rng.integers(len(CHIPS)))]
    program = chip.program(rng)
    while size(program) > LARGEST:
        program = chip.program(rng)
    steps = int(rng.integers(1, 25))
    samples = int(rng.integers(1, 5)) if rng.random() < 0.5 else None
    spikes = strategies.random_input(rng, program, steps, samples)
    kinds = tuple(kind for kind in KINDS if rng.random() < 0.5) or KINDS
    power = int(rng.integers(1, 2 * LARGEST)) if rng.random() < 0.1 else None
    faults = Faults(seed, WORST * float(rng.random()), kinds, power)
    return chip, program, spikes, steps, samples, faults


def soak(seed: int, reference: type[Machine] | type[Emulator] = Machine) -> Soaked:
    """Load and run on a wire that is as bad as the seed says; once more after an error."""
    chip, program, spikes, steps, samples, faults = drawn(seed)
    expected = reference(program).run(spikes, steps, samples=samples)
    verdicts: list[str] = []
    with VirtualBoard(chip.executable, VIRTUAL_DIVISOR, faults) as board:
        began = time.monotonic()
        while len(verdicts) < 2 and "equal" not in verdicts:
            try:
                with linked(board, program) as (_, device):
                    found = device.run(spikes, steps, samples=samples)
                differs = difference(expected, found)
                verdicts.append(f"wrong: {differs}" if differs else "equal")
            except SpikefabError as fault:
                verdicts.append(fault.what)
        statistics = board.statistics()
    damaged = sum(statistics[kind] for kind in KINDS)
    return Soaked(seed, ", then ".join(verdicts), time.monotonic() - began, damaged)


def main(first: int, count: int) -> bool:
    """Soak seeds; whether all were good."""
    runs: list[Soaked] = []
    print(*(chip.executable.name for chip in CHIPS))
    for seed in range(first, first + count):
        runs.append(soak(seed, Emulator))
        print(f"{seed}: {runs[-1].verdict}; {runs[-1].damaged} bytes damaged, "
              f"{runs[-1].seconds:.1f} s", flush=True)  # fmt: skip
    print(summary(runs))
    return all(run.good for run in runs)


def summary(runs: Sequence[Soaked]) -> str:
    """How many runs ended how, and the slowest."""
    ends = ", ".join(f"{n} {how}" for how, n in Counter(run.verdict for run in runs).most_common())
    slowest = max(runs, key=lambda run: run.seconds)
    return f"{len(runs)} runs: {ends}; the slowest {slowest.seconds:.1f} s (seed {slowest.seed})"


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
