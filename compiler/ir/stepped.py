"""A run that goes tick by tick: what it gives in each, and the recording of what came of it.

Shared by the devices that see every tick, the exact machine and boards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cycles import PHASES
from .device import Deliveries, recorded_state
from .program import MappedPopulation, Program
from .spikes import Recording, SpikeTrain

ReadState = Callable[[MappedPopulation, str], NDArray[np.int32]]


@dataclass(eq=False)
class _Sample:
    """What the run of one sample collects; spikes are (step, index, count) by population."""

    cycles: list[Sequence[Sequence[int]]] = field(default_factory=list)
    spikes: dict[str, list[tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    values: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    state: dict[str, list[NDArray[np.int32]]] = field(default_factory=lambda: defaultdict(list))


class SteppedRun:
    """Ticks `begin` .. `end` - 1 of each sample.

    Step 0 is the first tick from `now` on that is a multiple of the period. With `drain` the run
    goes on until the last stage has taken all steps, and keeps just those; else it ends after
    steps x period ticks, and keeps whatever was updated in it (see `Machine`). recorded: spiking
    populations that `record` names; columns: (population, variable) of the state that it names.
    Raises SpikefabError for a name that the program does not have.
    """

    def __init__(
        self, program: Program, given: Deliveries, record: Sequence[str], now: int, drain: bool
    ) -> None:
        self.program, self.given, self.drain, self.begin = program, given, drain, now
        self.recorded = [name for name in record if _spiking(program, name)]
        others = dict.fromkeys(name for name in record if name not in self.recorded)
        self.columns = recorded_state(program, list(others))
        period, steps = program.period, given.steps
        self.base = -(-now // period) * period
        span = program.ticks(steps) if drain else steps * period
        self.end = self.base + span if steps else now
        self._samples: list[_Sample] = []

    @property
    def ticks(self) -> int:
        """Ticks of each sample."""
        return self.end - self.begin

    def events(self, sample: int, tick: int) -> list[tuple[int, int]]:
        """(source, payload) of the input of a tick."""
        given = self.given
        step, rest = divmod(tick - self.base, self.program.period)
        if rest or not 0 <= step < given.steps:
            return []
        row = sample * given.steps + step
        at = slice(int(given.first[row]), int(given.first[row + 1]))
        return list(zip(given.source[at].tolist(), given.payload[at].tolist(), strict=True))

    def due(self, tick: int) -> list[tuple[int, str]]:
        """The columns that are to be read after a tick."""
        return [
            (number, variable) for number, variable in self.columns
            if self._keeps(self.program.populations[number], tick)
        ]  # fmt: skip

    def next_sample(self) -> None:
        """What is noted from now on belongs to the next sample."""
        self._samples.append(_Sample())

    def note(
        self, tick: int, clocks: Sequence[Sequence[int]], spikes: Mapping[int, int],
        values: Mapping[int, int], state: ReadState,
    ) -> None:  # fmt: skip
        """What came of a tick: clocks [cores, phases], counts by neuron that spiked, values by
        neuron that gave one, and how to read the state that `due` asks for."""
        program, part = self.program, self._samples[-1]
        part.cycles.append(clocks)
        for p in program.populations:
            if not self._keeps(p, tick):
                continue
            step = (tick - p.start - self.base) // p.period
            neurons = range(p.first, p.first + p.size)
            if program.models[p.model].spikes:
                part.spikes[p.name] += [
                    (step, k - p.first, spikes[k]) for k in neurons if k in spikes
                ]
            elif p.output:
                part.values[p.name].append([values[k] for k in neurons])
        for number, variable in self.due(tick):
            p = program.populations[number]
            part.state[f"{p.name}.{variable}"].append(state(p, variable))

    def recording(
        self, counters: dict[str, int], counted: bool = True, digests: Sequence[int] = ()
    ) -> Recording:
        """All that was noted; `counted`: with clocks; digests: of the ticks, where there are."""
        program, given, parts = self.program, self.given, self._samples
        spikes: dict[str, SpikeTrain] = {}
        values: dict[str, NDArray[np.int32]] = {}
        state: dict[str, NDArray[np.int32]] = {}
        for p in program.populations:
            if not program.models[p.model].spikes and p.output:
                values[p.name] = _table([part.values[p.name] for part in parts], p.size)
            elif p.output or p.name in self.recorded:
                spikes[p.name] = _train([part.spikes[p.name] for part in parts], given.batch)
        for number, variable in self.columns:
            p = program.populations[number]
            key = f"{p.name}.{variable}"
            state[key] = _table([part.state[key] for part in parts], p.size)
        clocks = None
        if counted:
            shape = (given.samples, self.ticks, program.cores, len(PHASES))
            clocks = np.array([part.cycles for part in parts], np.int32).reshape(shape)
        told = np.array(digests, np.uint32).reshape(given.samples, self.ticks) if digests else None
        return Recording(
            given.steps, self.ticks, given.samples, spikes, values, state, clocks, counters, told
        )

    def _keeps(self, p: MappedPopulation, tick: int) -> bool:
        """Whether what a population does in a tick is part of the recording."""
        step = (tick - p.start - self.base) // p.period
        return p.updates_in(tick) and (not self.drain or 0 <= step < self.given.steps)


def _spiking(program: Program, name: str) -> bool:
    found = [p for p in program.populations if p.name == name]
    return bool(found) and program.models[found[0].model].spikes


def _table(samples: list[list[Any]], size: int) -> NDArray[np.int32]:
    """[samples, rows, size]."""
    return np.array(samples, np.int32).reshape(len(samples), len(samples[0]), size)


def _train(samples: list[list[tuple[int, int, int]]], batch: bool) -> SpikeTrain:
    """Spikes ordered by (sample, step, index)."""
    rows = [(sample, *spike) for sample, spikes in enumerate(samples) for spike in spikes]
    sample, step, index, count = np.array(rows, np.int64).reshape(len(rows), 4).T
    return SpikeTrain(
        step,
        index.astype(np.int32),
        count.astype(np.int32) if (count != 1).any() else None,
        sample.astype(np.int32) if batch else None,
    )
