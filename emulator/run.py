"""One run on the emulator: what it records, its workers, its calls into the kernel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ..compiler.ir.cycles import PHASES
from ..compiler.ir.device import (
    Deliveries,
    Progress,
    no_signals,
    recorded_state,
    signal_ticks,
)
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.interpret import first_word
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import Recording, SpikeTrain
from . import kernel
from .layout import FLAG_PAD, Layout, Synaptic, variables
from .learning import LearningMemory
from .memory import Memory

CALL_SECONDS = 0.5  # a call into the kernel lasts about this long where a run is longer
FIRST_CALL = 50_000_000  # neuron updates in the first call of a batch
TRIAL = 20_000_000  # the same of a single run, and of a call that tries other threads
EXPLORE = 16  # a try of the slower number of threads takes its ticks from so many times as many
GAIN = 1.25  # how much faster the other number of threads must be for a change


@dataclass
class Pace:
    """How long a tick takes with one thread and with all: the faster is what goes on.

    Which it is depends on the size of the network, and on what else the machine has to do. The
    result of a run does not depend on it. A try lasts `TRIAL` neuron updates. A change needs a
    clear gain (`GAIN`), as the first ticks after a pause are slow in either way.
    """

    threads: int
    neurons: int
    seconds: dict[int, float] = field(default_factory=dict)
    present: int | None = None
    ticks: int = 0

    @property
    def trial(self) -> int:
        """Ticks of a try."""
        return max(16, TRIAL // self.neurons)

    def choose(self) -> tuple[int, int | None]:
        """How many threads the next call uses, and for at most how many ticks, if it is a try."""
        for threads in (self.threads, 1):
            if threads not in self.seconds:
                return threads, self.trial
        best = min(self.seconds, key=self.seconds.__getitem__)
        present = self.present or best
        self.present = best if self.seconds[best] * GAIN < self.seconds[present] else present
        if self.threads > 1 and self.ticks >= EXPLORE * self.trial:
            self.ticks = 0
            return 1 if self.present > 1 else self.threads, self.trial
        return self.present, None

    def note(self, threads: int, ticks: int, seconds: float) -> None:
        """Take account of what a call took: good news at once, a slow call by half."""
        self.ticks += ticks
        took = seconds / ticks
        self.seconds[threads] = min(took, (self.seconds.get(threads, took) + took) / 2)


@dataclass(eq=False)
class _Worker:
    """What one thread of a run writes. Columns of rec_table: population, position in the state
    array, neurons, position in the records, neurons of the population, its updates in the run."""

    control: NDArray[np.int64]
    sums: NDArray[np.int16]
    rows: NDArray[np.uint64]
    flags: NDArray[np.uint8]
    due: NDArray[np.bool_]
    cycles: NDArray[np.int32]
    clocks: NDArray[np.int32]
    offsets: NDArray[np.uint64]
    rec_time: NDArray[np.int64]
    rec_neuron: NDArray[np.int32]
    rec_payload: NDArray[np.int32]
    rec_rows: NDArray[np.int64]
    rec_table: NDArray[np.int64]


class Run:
    """Ticks first_tick .. last_tick - 1 of each sample, and what is recorded of them.

    Step 0 is tick base_tick. wanted: populations whose spikes are recorded; columns: (population,
    variable) of recorded arrays, the values of outputs first.
    """

    def __init__(
        self, program: Program, given: Deliveries, record: Sequence[str], now: int, drain: bool,
        counts: bool,
    ) -> None:  # fmt: skip
        """`record` as in `Device.run`, `now` the present tick; raises SpikefabError for a name
        that is not there, or records beyond the machine's memory."""
        self.program, self.given, self.drain, self.counts = program, given, drain, counts
        states = [name for name in record if not _spiking(program, name)]
        period = program.period
        self.first_tick = now
        self.base_tick = -(-now // period) * period if given.steps else now
        span = program.ticks(given.steps) if drain else given.steps * period
        self.last_tick = self.base_tick + (span if given.steps else 0)
        self.wanted = np.array(
            [
                program.models[p.model].spikes and (p.output or p.name in record)
                for p in program.populations
            ]
        )
        self.values = [
            (n, "value")
            for n, p in enumerate(program.populations)
            if not program.models[p.model].spikes and p.output
        ]
        self.columns = self.values + recorded_state(program, states)
        self._check_memory()

    @property
    def span(self) -> int:
        """Ticks of each sample."""
        return self.last_tick - self.first_tick

    def single(
        self, memory: Memory, layouts: Callable[[int], Layout], pace: Pace,
        progress: Progress | None,
    ) -> Recording:  # fmt: skip
        """Run on from the present tick. Threads share out neurons; `layouts` is by threads."""
        buffer = self._state_buffer(1)
        self._signals, memory.late = signal_ticks(
            self.program, self.given, 0, self.base_tick, self.first_tick, self.last_tick,
            memory.late,
        )  # fmt: skip
        teams: dict[int, list[_Worker]] = {}
        at, ticks = self.first_tick, pace.trial
        began = time.monotonic()
        while at < self.last_tick:
            threads, limit = pace.choose()
            layout = layouts(threads)
            workers = len(layout.workers)
            if threads not in teams:
                teams[threads] = [self._worker(layout, w, 1) for w in range(workers)]
            team = teams[threads]
            if layout.shape.accumulator != memory.acc.dtype.name:
                memory.acc = memory.acc.astype(layout.shape.accumulator)
            memory.regroup(workers)
            shared = np.zeros(1, np.int64), np.zeros(2, np.int64)  # barrier, stop
            until = min(self.last_tick, at + (ticks if limit is None else min(limit, ticks)))
            for worker in team:
                self._set(worker, at, memory.word)
            jobs = [
                self._arguments(layout, w, worker, memory, buffer, *shared, until, 1, 0)
                for w, worker in enumerate(team)
            ]
            run = kernel.compiled(layout.shape)
            call = time.perf_counter()
            _together(run, jobs)
            spent = time.perf_counter() - call
            done = int(team[0].control[kernel.TICK]) - at
            at += done
            if done:
                pace.note(threads, done, spent)
                ticks = max(1, min(4 * ticks, int(done * CALL_SECONDS / max(spent, 1e-6))))
            for worker in team:
                self._grow(worker)
            memory.tick, memory.word = at, int(team[0].control[kernel.WORD])
            if progress and time.monotonic() - began > 1:
                progress(at - self.first_tick, self.span)
        workers_used = [worker for team in teams.values() for worker in team]
        return self._recording(layouts(1), workers_used, [buffer], [0, 1])

    def batch(
        self, layout: Layout, threads: int, memory: Memory, progress: Progress | None
    ) -> Recording:
        """Independent samples, shared out to threads in contiguous shares; memory: of the seed and
        the weights with which each begins."""
        samples = self.given.samples
        threads = min(threads, samples)
        cuts = [samples * n // threads for n in range(threads + 1)]
        team, buffers, memories = [], [], []
        for n in range(threads):
            share = cuts[n + 1] - cuts[n]
            memories.append(Memory.fresh(self.program, layout, memory.seed, memory.learning))
            if (own := memories[-1].learning) is not None:
                own.keep_start()
            team.append(self._worker(layout, 0, share))
            self._set(team[n], self.first_tick, memories[n].word)
            buffers.append(self._state_buffer(share))
        tables = [
            signal_ticks(
                self.program, self.given, sample, self.base_tick, self.first_tick, self.last_tick,
                no_signals(self.program),
            )[0]
            for sample in range(samples if self.program.signals else 0)
        ]  # fmt: skip
        self._signals = np.concatenate([*tables, no_signals(self.program)])
        run = kernel.compiled(layout.shape)
        some = max(1, FIRST_CALL // max(1, self.program.neurons * self.span))
        began = time.monotonic()
        at = 0
        while self.span and any(
            w.control[kernel.SAMPLE] < cuts[n + 1] - cuts[n] for n, w in enumerate(team)
        ):
            at += some
            jobs = []
            for n, worker in enumerate(team):
                until = min(cuts[n + 1] - cuts[n], at)
                shared = np.zeros(1, np.int64), np.zeros(2, np.int64)  # barrier, stop
                jobs.append(
                    self._arguments(
                        layout, 0, worker, memories[n], buffers[n], *shared, self.last_tick, until,
                        cuts[n],
                    )
                )  # fmt: skip
            call = time.perf_counter()
            _together(run, jobs)
            spent = time.perf_counter() - call
            for worker in team:
                self._grow(worker)
            at = min(int(w.control[kernel.SAMPLE]) for w in team)
            some = max(1, min(4 * some, int(some * CALL_SECONDS / max(spent, 1e-6))))
            if progress and time.monotonic() - began > 1:
                progress(sum(int(w.control[kernel.SAMPLE]) for w in team), samples)
        return self._recording(layout, team, buffers, cuts)

    def _check_memory(self) -> None:
        """Raise SpikefabError where what a run records does not fit the machine's free memory."""
        ticks = self.span * self.given.samples
        needed = 4 * self.given.samples * sum(
            self._rows_of(n)[0] * self.program.populations[n].size for n, _ in self.columns
        )
        needed += 4 * len(PHASES) * ticks * self.program.cores if self.counts else 0
        free = psutil.virtual_memory().available
        if needed > 0.8 * free:
            raise SpikefabError(
                f"a run of {ticks} ticks",
                "the emulator",
                f"its records take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
                "run fewer steps at a time, record less, or do not count cycles",
            )

    def _updates(self, population: int, tick: int) -> int:
        """How often a population is updated before a tick."""
        p = self.program.populations[population]
        return max(0, -(-(tick - p.start) // p.period))

    def _rows_of(self, population: int) -> tuple[int, int, int]:
        """(updates in the run, updates before its step 0, rows returned) of a population."""
        first = self._updates(population, self.first_tick)
        total = self._updates(population, self.last_tick) - first
        if not self.drain:
            return total, 0, total
        start = self.program.populations[population].start
        return total, self._updates(population, self.base_tick + start) - first, self.given.steps

    def _state_buffer(self, samples: int) -> NDArray[np.int32]:
        size = sum(
            samples * self._rows_of(n)[0] * self.program.populations[n].size
            for n, _ in self.columns
        )
        return np.zeros(max(1, size), np.int32)

    def _worker(self, layout: Layout, number: int, samples: int) -> _Worker:
        program, neurons = self.program, self.program.neurons
        capacity = neurons * 2 + 4096 if self.wanted.any() else neurons
        payload = capacity if layout.shape.payload else 1
        rows, cores = (samples * self.span, self.program.cores) if self.counts else (1, 1)
        shape = (rows, cores, len(PHASES))
        table, at = [], 0
        lo, hi = layout.workers[number]
        for population, variable in self.columns:
            p = self.program.populations[population]
            a, b = max(lo, p.first), min(hi, p.first + p.size)
            total, _, _ = self._rows_of(population)
            if a < b:
                offset = variables(self.program, p).index(variable) * p.size + a - p.first
                table.append(
                    [population, layout.state_at[population] + offset, b - a,
                     at + a - p.first, p.size, total]
                )  # fmt: skip
            at += samples * total * p.size
        return _Worker(
            np.zeros(kernel.CONTROL_SIZE, np.int64),
            np.zeros(neurons if layout.has_blocks else 1, np.int16),
            np.zeros(program.input_lines + neurons + 8 if layout.has_blocks else 1, np.uint64),
            np.zeros(-(-(neurons + FLAG_PAD) // 8) * 8, np.uint8),
            np.zeros(len(self.program.populations), np.bool_),
            np.zeros(shape, np.int32),
            np.zeros(program.cores, np.int32),
            np.zeros(len(layout.delays), np.uint64),
            np.zeros(capacity, np.int64),
            np.zeros(capacity, np.int32),
            np.zeros(payload, np.int32),
            np.zeros(max(1, len(table)), np.int64),
            np.array(table, np.int64).reshape(len(table), 6),
        )

    def _set(self, worker: _Worker, tick: int, word: int) -> None:
        """Put a worker where the run is: others may have run the ticks before."""
        control = worker.control
        control[kernel.TICK], control[kernel.WORD], control[kernel.ROUND] = tick, word, 0
        for r, population in enumerate(worker.rec_table[:, 0]):
            done = self._updates(population, tick) - self._updates(population, self.first_tick)
            worker.rec_rows[r] = done

    def _grow(self, worker: _Worker) -> None:
        """Make room for more recorded spikes where the next tick might not find enough."""
        neurons = self.program.neurons
        left = len(worker.rec_time) - worker.control[kernel.RECORDED]
        if not self.wanted.any() or left >= 2 * neurons:
            return
        more = len(worker.rec_time) + 2 * neurons
        for name in ("rec_time", "rec_neuron", "rec_payload"):
            old = getattr(worker, name)
            if old.size > 1:
                setattr(worker, name, np.concatenate([old, np.zeros(more, old.dtype)]))

    def _arguments(
        self, layout: Layout, number: int, worker: _Worker, memory: Memory,
        buffer: NDArray[np.int32], barrier: NDArray[np.int64], stop: NDArray[np.int64],
        until: int, samples: int, first_sample: int,
    ) -> tuple[Any, ...]:  # fmt: skip
        """The kernel's arguments, in its order."""
        program, given = self.program, self.given
        synaptic: Synaptic = layout.synaptic[number]
        populations = program.populations
        in_first = given.first[first_sample * given.steps :]
        return (
            worker.control, until, samples, given.batch, self.base_tick, self.first_tick,
            given.steps, program.period, number, len(layout.workers), barrier, stop,
            layout.updates, layout.spiking, layout.field,
            memory.state, layout.initial, layout.parameters, layout.chunks[number], worker.due,
            np.array([p.start for p in populations], np.int64),
            np.array([p.period for p in populations], np.int64),
            self.wanted,
            memory.acc, layout.slots, program.neurons, program.input_lines, layout.delays,
            worker.offsets, layout.delay_mask, layout.word_shift,
            synaptic.words, synaptic.first, layout.lookup,
            synaptic.blocks, synaptic.matrix, worker.sums, worker.rows,
            layout.fan_out, layout.fan_ranges,
            layout.costs, worker.clocks,
            program.emit_clocks, program.core_first, worker.cycles,
            in_first, given.source, given.payload,
            memory.event_source, memory.event_payload, memory.event_count,
            worker.flags, worker.rec_time, worker.rec_neuron, worker.rec_payload,
            buffer, worker.rec_table, worker.rec_rows,
            first_word(memory.seed), len(worker.rec_time) if self.wanted.any() else 1 << 62,
            self._learning(memory.learning, first_sample),
        )  # fmt: skip

    def _learning(self, learning: LearningMemory | None, first_sample: int) -> tuple[Any, ...]:
        """What the kernel takes of plastic projections; signals from a sample on."""
        if learning is None:
            return ()
        plan = learning.plan
        signals = self._signals[first_sample * self.span :]
        if not signals.size:
            signals = np.zeros((1, 1), np.int32)
        return (
            learning.table, plan.learn, plan.passes, learning.addresses, learning.weight, plan.to,
            plan.first, learning.arrived, learning.arrivals, learning.spiking, learning.clocks,
            learning.state, learning.pre, learning.post, learning.awake, learning.held, plan.held,
            learning.weight_at_start, signals,
        )  # fmt: skip

    def _recording(
        self, layout: Layout, team: list[_Worker], buffers: list[NDArray[np.int32]],
        cuts: list[int],
    ) -> Recording:  # fmt: skip
        """What `team` recorded; cuts: first sample of each buffer, in a batch of each worker."""
        given = self.given

        def total(counter: int) -> int:
            return sum(int(w.control[counter]) for w in team)

        arrays = self._arrays(buffers, cuts)
        names = [self.program.populations[n].name for n, _ in self.columns]
        values = dict(zip(names, arrays[: len(self.values)], strict=False))
        state = {
            f"{names[i]}.{variable}": arrays[i]
            for i, (_, variable) in enumerate(self.columns)
            if i >= len(self.values)
        }
        return Recording(
            given.steps,
            self.span,
            given.samples,
            self._spikes(team, cuts),
            values,
            state,
            self._cycles(layout, team),
            {
                "events": total(kernel.EVENTS),
                "synaptic_events": total(kernel.SYNAPTIC),
                "spikes": total(kernel.SPIKES),
            },
        )

    def _arrays(
        self, buffers: list[NDArray[np.int32]], cuts: list[int]
    ) -> list[NDArray[np.int32]]:
        """The recorded arrays [samples, rows, neurons], in the order of `columns`."""
        starts = [0] * len(buffers)
        arrays = []
        for n, _ in self.columns:
            p = self.program.populations[n]
            total, before, kept = self._rows_of(n)
            pieces = []
            for b, buffer in enumerate(buffers):
                share = cuts[b + 1] - cuts[b]
                size = share * total * p.size
                pieces.append(buffer[starts[b] : starts[b] + size].reshape(share, total, p.size))
                starts[b] += size
            arrays.append(np.concatenate(pieces)[:, before : before + kept])
        return arrays

    def _spikes(self, team: list[_Worker], cuts: list[int]) -> dict[str, SpikeTrain]:
        program, given = self.program, self.given
        counts = [int(w.control[kernel.RECORDED]) for w in team]
        firsts = [self.span * cut for cut in cuts] if given.batch else [0] * len(team)
        empty = np.zeros(0, np.int32)

        def joined(name: str) -> NDArray[Any]:
            lists = [getattr(w, name)[:n] for w, n in zip(team, counts, strict=True)]
            return np.concatenate(lists) if lists else empty

        when = joined("rec_time") + np.repeat(firsts[: len(team)], counts).astype(np.int64)
        neuron = joined("rec_neuron")
        payload = joined("rec_payload") if team and team[0].rec_payload.size > 1 else None
        if not given.batch and len(team) > 1:
            order = np.lexsort((neuron, when))
            when, neuron = when[order], neuron[order]
            payload = payload[order] if payload is not None else None
        spikes = {}
        for n, p in enumerate(program.populations):
            if not self.wanted[n]:
                continue
            mine = (neuron >= p.first) & (neuron < p.first + p.size)
            tick = when[mine] % max(self.span, 1) + self.first_tick
            step = (tick - p.start - self.base_tick) // p.period
            sample = (when[mine] // max(self.span, 1)).astype(np.int32)
            index = (neuron[mine] - p.first).astype(np.int32)
            count = payload[mine] if payload is not None else None
            if self.drain:
                inside = (step >= 0) & (step < given.steps)
                step, sample, index = step[inside], sample[inside], index[inside]
                count = count[inside] if count is not None else None
            if count is not None and (count == 1).all():
                count = None
            spikes[p.name] = SpikeTrain(step, index, count, sample if given.batch else None)
        return spikes

    def _cycles(self, layout: Layout, team: list[_Worker]) -> NDArray[np.int32] | None:
        if not self.counts:
            return None
        shape = (self.given.samples, self.span, self.program.cores, len(PHASES))
        if self.given.batch:
            counted = np.concatenate([w.cycles.ravel() for w in team]).reshape(shape)
        else:
            counted = np.zeros((1, *shape[1:]), np.int32)
            if team:
                counted = team[0].cycles.reshape(counted.shape)
            for worker in team[1:]:
                counted += worker.cycles.reshape(counted.shape)
        counted += layout.constants
        return counted


def _spiking(program: Program, name: str) -> bool:
    found = [p for p in program.populations if p.name == name]
    return bool(found) and program.models[found[0].model].spikes


def _together(function: Any, jobs: list[tuple[Any, ...]]) -> None:
    """Call a compiled function once per job, each job but the first in a thread of its own."""
    others = [threading.Thread(target=function, args=job) for job in jobs[1:]]
    for thread in others:
        thread.start()
    function(*jobs[0])
    for thread in others:
        thread.join()
