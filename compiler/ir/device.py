"""What anything that runs a program offers, and how a run's input is laid out in ticks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import psutil
from numba import njit
from numpy.typing import NDArray

from .errors import SpikefabError
from .program import Program
from .spikes import Recording, SpikeTrain

MAX_RUN = 1 << 31  # samples x steps of one run
Progress = Callable[[int, int], None]
Inputs = SpikeTrain | Mapping[str, SpikeTrain] | None


class Device(Protocol):
    """Anything that runs a program: the emulator, a virtual board, a board.

    `run` goes on from the present tick; `restart` goes back to the program's initial state.
    """

    def load(self, program: Program) -> None:
        """Take a program and restart."""

    def run(
        self,
        spikes: Inputs = None,
        steps: int | None = None,
        *,
        samples: int | None = None,
        record: Sequence[str] = (),
        drain: bool = True,
        progress: Progress | None = None,
    ) -> Recording:
        """Run `steps` steps, or a batch of `samples`, each from a restart."""

    def restart(self, weights: bool = False) -> None:
        """Restore initial state, accumulators, pending events and seed; weights if asked."""

    def read(self, name: str) -> NDArray[np.int32]:
        """State ``population.variable`` [size], between ticks."""

    def write(self, name: str, values: NDArray[np.int32]) -> None:
        """Write what `read` reads."""


@dataclass(frozen=True, eq=False)
class Deliveries:
    """Input events of a run by (sample, step): rows of sources with payloads.

    first: int64 [samples x steps + 1]; source, payload: int32 [events].
    """

    first: NDArray[np.int64]
    source: NDArray[np.int32]
    payload: NDArray[np.int32]
    samples: int
    steps: int
    batch: bool


def deliveries(
    program: Program, spikes: Inputs, steps: int | None, samples: int | None
) -> Deliveries:
    """Lay out input spikes for a program; equal events are summed.

    Raises SpikefabError for an unknown input, a line or step out of range, or a sum beyond the
    chip's largest payload.
    """
    if spikes is None:
        spikes = {}
    if isinstance(spikes, SpikeTrain):
        if len(program.inputs) != 1:
            raise SpikefabError(
                "unnamed spikes",
                "the input",
                f"the program has {len(program.inputs)} inputs",
                "give a dict by input name",
            )
        spikes = {program.inputs[0].name: spikes}
    for name, train in spikes.items():
        port = program.input(name)
        if len(train) and (train.index.max() >= port.size or train.index.min() < 0):
            raise SpikefabError(
                f"index {train.index.max()}", f"input '{name}'", f"it has {port.size} lines"
            )
        if len(train) and train.step.min() < 0:
            raise SpikefabError(
                f"step {train.step.min()}", f"input '{name}'", "a run's first step is 0"
            )
    batch = samples is not None or any(t.sample is not None for t in spikes.values())
    found = [int(t.sample.max()) + 1 for t in spikes.values() if t.sample is not None and len(t)]
    last = [int(t.step.max()) + 1 for t in spikes.values() if len(t)]
    n_samples = samples if samples is not None else max(found, default=1)
    n_steps = steps if steps is not None else max(last, default=0)
    if n_samples < max(found, default=0) or n_samples < 1:
        raise SpikefabError(
            f"{n_samples} samples", "the run", f"the input has {max(found, default=0)}"
        )
    if n_steps < max(last, default=0) or n_steps < 0:
        raise SpikefabError(
            f"a run of {n_steps} steps", "the run", f"its input has {max(last, default=0)} steps"
        )
    if n_samples * n_steps > MAX_RUN:
        raise SpikefabError(
            f"{n_samples} x {n_steps} steps", "the run", "at most 2^31 in one run"
        )
    row, source, payload = [], [], []
    for name, train in spikes.items():
        sample = train.sample.astype(np.int64) if train.sample is not None else 0
        row.append(sample * n_steps + train.step)
        source.append(train.index.astype(np.int64) + program.input(name).first)
        payload.append(
            train.payload if train.payload is not None else np.ones(len(train), np.int32)
        )
    if not row:
        empty = np.zeros(0, np.int32)
        return Deliveries(
            np.zeros(n_samples * n_steps + 1, np.int64), empty, empty, n_samples, n_steps, batch
        )
    if 8 * n_samples * n_steps > psutil.virtual_memory().available // 2:
        raise SpikefabError(
            f"{n_samples} x {n_steps} steps",
            "the run",
            "laying out its input takes more than half of the free memory",
            "run fewer steps at a time",
        )
    columns = (row, source, payload)
    rows, sources, counts = (np.concatenate(c) if len(c) > 1 else c[0] for c in columns)
    if len(row) > 1:
        order = np.lexsort((sources, rows))
        rows, sources, counts = rows[order], sources[order], counts[order]
    first, sources, total = _merged(rows, sources, counts, n_samples * n_steps)
    if len(total) and total.max() > program.chip.largest_payload:
        worst = int(total.argmax())
        raise SpikefabError(
            f"{int(total[worst])} events of {program.source_name(int(sources[worst]))} in one step",
            "the input",
            f"chip '{program.chip.name}' carries payloads up to {program.chip.largest_payload}",
        )
    return Deliveries(first, sources, total.astype(np.int32), n_samples, n_steps, batch)


@njit(cache=True, nogil=True)
def _merged(row, source, count, rows):  # type: ignore[no-untyped-def]
    """Row offsets, sources and summed payloads of events in the order of row and source."""
    first = np.zeros(rows + 1, np.int64)
    sources = np.empty(len(row), np.int32)
    total = np.empty(len(row), np.int64)
    n = 0
    last_row = last_source = np.int64(-1)
    for k in range(len(row)):
        if count[k] == 0:
            continue
        if row[k] == last_row and source[k] == last_source:
            total[n - 1] += count[k]
            continue
        last_row, last_source = row[k], source[k]
        sources[n], total[n] = last_source, count[k]
        first[last_row + 1] += 1
        n += 1
    for r in range(rows):
        first[r + 1] += first[r]
    return first, sources[:n], total[:n]


def recorded_state(program: Program, names: Sequence[str]) -> list[tuple[int, str]]:
    """(population number, state variable) of each name ``population.variable``.

    Raises SpikefabError for a name that the program does not have.
    """
    found = []
    for name in names:
        population, _, variable = name.rpartition(".")
        target = program.population(population or name)
        state = program.models[target.model].state
        if variable not in state:
            raise SpikefabError(
                f"no state '{name}'", "the program", hint=f"'{target.name}' has "
                + ", ".join(f"'{target.name}.{v}'" for v in state)
            )
        found.append((program.populations.index(target), variable))
    return found


def check_values(values: NDArray[Any], size: int, lo: int, hi: int, name: str) -> None:
    """Raise SpikefabError for values that are not `size` numbers from lo to hi."""
    if values.shape != (size,):
        raise SpikefabError(f"values of shape {values.shape}", f"'{name}'", f"it has {size}")
    if size and (values.min() < lo or values.max() > hi):
        worst = int(values.max() if values.max() > hi else values.min())
        raise SpikefabError(f"value {worst}", f"'{name}'", f"outside {lo}..{hi}")
