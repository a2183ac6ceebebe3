"""Whether a run is exact in that nothing reaches an end of its range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.device import Inputs, Progress, Signals, deliveries
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import SpikeTrain
from .emulator import Emulator


@dataclass(frozen=True)
class Limit:
    """A value at an end of its range: after which step; as which `name` and at which index `read`
    gives it; the value; and of whom in the network's names."""

    step: int
    name: str
    index: int
    value: int
    of: str

    def __str__(self) -> str:
        return f"{self.of} is {self.value} after step {self.step}, an end of its range"


def first_limit(
    program: Program, spikes: Inputs = None, steps: int | None = None, *,
    signals: Signals = None, progress: Progress | None = None,
) -> Limit | None:  # fmt: skip
    """The first plastic weight or signed state (a potential) that lies at an end of its range after
    a step of a run from the start; None if none does, so that none has been cut off. (Not seen is a
    potential that a spike takes from there within the step, which matters if it does so by
    subtraction.)

    It runs the program on the emulator step by step: spikes, steps and signals as `Emulator.run`
    takes them. Raises SpikefabError for a batch, or input that does not fit the program.
    """
    given = deliveries(program, spikes, steps, None, signals)
    if given.batch:
        raise SpikefabError("a batch", "first_limit", hint="give the input of one sample")
    ranges = list(_ranges(program))
    emulator = Emulator(program, counts=False)
    late = -(-max(p.start for p in program.populations) // program.period)
    for step in range(given.steps + late):
        inside = step < given.steps
        emulator.run(
            _at(program, given.source, given.payload, *given.first[step : step + 2])
            if inside else None,
            1, drain=False,
            signals={name: given.signals[0, step : step + 1, k] for k, name in
                     enumerate(program.signals)} if inside else None,
        )  # fmt: skip
        for name, lo, hi in ranges:
            values = emulator.read(name)
            at = np.flatnonzero((values <= lo) | (values >= hi))
            if at.size:
                return Limit(step, name, int(at[0]), int(values[at[0]]), _of(program, name, at[0]))
        if progress:
            progress(step + 1, given.steps + late)
    return None


def _ranges(program: Program) -> Iterator[tuple[str, int, int]]:
    """Name, least and greatest value of what may be cut off; a limit given for weights counts."""
    for q in program.plastic:
        yield f"{q.name}.weights", q.parameters["w_min"], q.parameters["w_max"]
    for p in program.populations:
        for variable, (lo, hi) in program.models[p.model].state.items():
            if lo < 0:
                yield f"{p.name}.{variable}", lo, hi


def _at(
    program: Program, source: NDArray[np.int32], payload: NDArray[np.int32], begin: int, end: int
) -> Mapping[str, SpikeTrain]:
    """Events of one step, as input of a run of a step."""
    trains = {}
    for port in program.inputs:
        mine = np.arange(begin, end)
        mine = mine[(source[mine] >= port.first) & (source[mine] < port.first + port.size)]
        trains[port.name] = SpikeTrain.of(
            np.zeros(len(mine), np.int64), source[mine] - port.first, payload[mine]
        )
    return trains


def _of(program: Program, name: str, index: int) -> str:
    for q in program.plastic:
        if name == f"{q.name}.weights":
            to = int(q.to[index]) - program.populations[q.target].first
            return f"the weight {q.source[index]} to {to} of '{q.name}'"
    population, variable = name.rsplit(".", 1)
    return f"{variable} of '{population}[{index}]'"
