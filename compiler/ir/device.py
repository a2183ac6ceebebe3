"""What anything that runs a program offers, and how a run's input is laid out in ticks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import psutil
from numba import njit
from numpy.typing import NDArray

from .errors import SpikefabError, unknown
from .program import Program
from .spikes import Recording, SpikeTrain

MAX_RUN = 1 << 31  # samples x steps of one run
LARGEST_SEED = (1 << 31) - 1
Progress = Callable[[int, int], None]
Inputs = SpikeTrain | Mapping[str, SpikeTrain] | None
Signals = Mapping[str, Any] | None


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
        signals: Signals = None,
        samples: int | None = None,
        record: Sequence[str] = (),
        drain: bool = True,
        progress: Progress | None = None,
    ) -> Recording:
        """Run `steps` steps, or a batch of `samples`, each from a restart.

        signals: whole numbers by name, one per step: [steps] or [samples, steps]; 0 where left out.
        """

    def restart(self, weights: bool = False, seed: int | None = None) -> None:
        """Restore initial state, accumulators and pending events; weights if asked.

        seed: of what is drawn from here on, in batches too; default is the program's.
        """

    def read(self, name: str) -> NDArray[np.int32]:
        """State ``population.variable`` [size], or ``projection.variable``, between ticks."""

    def write(self, name: str, values: NDArray[np.int32]) -> None:
        """Write what `read` reads."""


@dataclass(frozen=True, eq=False)
class Deliveries:
    """Input events of a run by (sample, step): rows of sources with payloads.

    first: int64 [samples x steps + 1]; source, payload: int32 [events]; signals: int32 [samples,
    steps, signals of the program].
    """

    first: NDArray[np.int64]
    source: NDArray[np.int32]
    payload: NDArray[np.int32]
    samples: int
    steps: int
    batch: bool
    signals: NDArray[np.int32]


def deliveries(
    program: Program, spikes: Inputs, steps: int | None, samples: int | None,
    signals: Signals = None,
) -> Deliveries:  # fmt: skip
    """Lay out input spikes and signals for a program; equal events are summed.

    Raises SpikefabError for an unknown input or signal, a line, step or value out of range, or a
    sum beyond the chip's largest payload.
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
    if signals is not None and not isinstance(signals, Mapping):
        raise SpikefabError(
            f"signals of type {type(signals).__name__}", "the run", hint="give a dict by name"
        )
    told = {name: _signal(program, name, values) for name, values in (signals or {}).items()}
    batch = samples is not None or any(t.sample is not None for t in spikes.values())
    batch = batch or any(values.ndim == 2 for values in told.values())
    found = [int(t.sample.max()) + 1 for t in spikes.values() if t.sample is not None and len(t)]
    found += [len(values) for values in told.values() if values.ndim == 2]
    last = [int(t.step.max()) + 1 for t in spikes.values() if len(t)]
    last += [values.shape[-1] for values in told.values()]
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
    table = np.zeros((n_samples, n_steps, len(program.signals)), np.int32)
    for number, name in enumerate(program.signals):
        values = told.get(name, np.zeros(n_steps, np.int64))
        if values.shape[-1] != n_steps or (values.ndim == 2 and len(values) != n_samples):
            raise SpikefabError(
                f"values {list(values.shape)}", f"signal '{name}'",
                f"the run has {n_samples} x {n_steps} steps" if batch
                else f"the run has {n_steps} steps",
            )  # fmt: skip
        table[:, :, number] = values
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
            np.zeros(n_samples * n_steps + 1, np.int64), empty, empty, n_samples, n_steps, batch,
            table,
        )  # fmt: skip
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
    return Deliveries(first, sources, total.astype(np.int32), n_samples, n_steps, batch, table)


def _signal(program: Program, name: str, values: Any) -> NDArray[np.int64]:
    """The values of a signal; raises SpikefabError."""
    where = f"signal '{name}'"
    if name not in program.signals:
        known = ", ".join(f"'{n}'" for n in program.signals) or "none"
        raise SpikefabError("no such signal", where, f"the program's rules read {known}")
    given = np.asarray(values)
    if given.dtype.kind not in "iub" or given.ndim not in (1, 2):
        raise SpikefabError(
            f"values of type {given.dtype} and shape {given.shape}", where,
            hint="give whole numbers, one per step",
        )  # fmt: skip
    signal = program.signals[name]
    if given.size and (given.min() < signal.lo or given.max() > signal.hi):
        worst = int(given.min() if given.min() < signal.lo else given.max())
        raise SpikefabError(f"value {worst}", where, f"outside {signal.lo}..{signal.hi}")
    return given.astype(np.int64)


def check_seed(seed: Any, where: str) -> int:
    """The seed of random draws; raises SpikefabError for what is none."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not whole or not 0 <= seed <= LARGEST_SEED:
        raise SpikefabError(
            f"seed {seed!r}", where, hint=f"use a whole number from 0 to {LARGEST_SEED}"
        )
    return int(seed)


def no_signals(program: Program) -> NDArray[np.int32]:
    """The signals that wait for ticks to come, after a restart."""
    return np.zeros((0, len(program.signals)), np.int32)


def signal_ticks(
    program: Program, given: Deliveries, sample: int, base: int, begin: int, end: int,
    late: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:  # fmt: skip
    """Values of the signals in ticks begin .. end - 1, and those that wait for the ticks after.

    The value of a step is there in the tick in which the populations that read it take that step:
    step 0 of the run is tick `base`, and they lag by the signal's start. late: values that an
    earlier run left for the ticks from `begin` on.
    """
    last = base + (given.steps - 1) * program.period + program.last_stage
    table = np.zeros((max(last + 1, end, begin + len(late)) - begin, late.shape[1]), np.int32)
    table[: len(late)] = late
    for number, signal in enumerate(program.signals.values()):
        at = base - begin + signal.start + np.arange(given.steps) * program.period
        table[at, number] = given.signals[sample, :, number]
    return table[: end - begin], table[end - begin :]


def signal_entries(
    program: Program, carried: Iterable[str], values: Iterable[int]
) -> list[int]:
    """What a core holds of the signals of a tick, in the order of those that its chip carries: 16
    bits each, 0 of those that the program does not read. values: of the program's signals."""
    told = dict(zip(program.signals, values, strict=True))
    return [told.get(name, 0) & 0xFFFF for name in carried]


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

    Raises SpikefabError for a name that no run records.
    """
    spiking = [p.name for p in program.populations if program.models[p.model].spikes]
    return [_state_part(program, name, [*spiking, *program.state_names]) for name in names]


def state_part(program: Program, name: str) -> tuple[int, str]:
    """(population number, state variable) of a name ``population.variable``.

    Raises SpikefabError for one that no device reads.
    """
    return _state_part(program, name, program.names)


def _state_part(program: Program, name: str, known: Sequence[str]) -> tuple[int, str]:
    population, _, variable = str(name).rpartition(".")
    for number, p in enumerate(program.populations):
        if p.name == population and variable in program.models[p.model].state:
            return number, variable
    raise unknown(name, "the program", known)


def check_values(values: Any, size: int, lo: int, hi: int, name: str) -> NDArray[np.int64]:
    """The values as an array; raises SpikefabError unless they are `size` whole numbers from lo to
    hi."""
    where = f"'{name}'"
    try:
        given = np.asarray(values)
    except ValueError:
        raise SpikefabError("values of no one shape", where, f"it has {size}") from None
    if given.dtype.kind not in "biuf":
        raise SpikefabError(f"values of type {given.dtype}", where, hint="give whole numbers")
    if given.shape != (size,):
        raise SpikefabError(f"values of shape {given.shape}", where, f"it has {size}")
    outside = ~((given >= lo) & (given <= hi))
    if outside.any():
        raise SpikefabError(f"value {given[outside][0]}", where, f"outside {lo}..{hi}")
    broken = given != np.floor(given)
    if broken.any():
        raise SpikefabError(f"value {given[broken][0]}", where, hint="give whole numbers")
    return given.astype(np.int64)
