"""The emulator: runs a program on this machine, bit for bit and cycle for cycle."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ..compiler.ir.device import Deliveries, Inputs, Progress, deliveries, recorded_state
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.file import whole_file
from ..compiler.ir.interpret import first_word
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import UNREADABLE, Recording, SpikeTrain
from ..compiler.ir.synapses import pack
from ..compiler.ir.validate import check_accumulators
from . import kernel
from .layout import FLAG_PAD, Layout, Synaptic, build, variables, with_weights

CALL_SECONDS = 0.5  # a call into the kernel lasts about this long where a run is longer
FIRST_CALL = 50_000_000  # neuron updates in the first call of a run
_KEPT = ("tick", "word", "state", "accumulators", "pending")  # arrays of a checkpoint


@dataclass(eq=False)
class _Worker:
    """What one thread of a run writes."""

    control: NDArray[np.int64]
    event_payload: NDArray[np.int32]
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


@dataclass(eq=False)
class _Memory:
    """The state of one chip between ticks."""

    state: NDArray[np.int32]
    acc: NDArray[Any]
    event_source: NDArray[np.int32]
    event_payload: NDArray[np.int32]
    event_count: NDArray[np.int64]
    tick: int
    word: int


@dataclass(frozen=True, eq=False)
class _Plan:
    """One run: its input, its ticks, and what it records."""

    input: Deliveries
    first_tick: int
    base_tick: int
    last_tick: int
    counts: bool
    wanted: NDArray[np.bool_]
    record: list[tuple[int, str]]
    drain: bool

    @property
    def span(self) -> int:
        return self.last_tick - self.first_tick


class Emulator:
    """Runs programs by compiled, event-driven kernels. A `Device`.

    threads: how many threads a run may use (a batch is shared out by samples, a single run by
    neurons); counts: whether runs report clock cycles, which costs some 15 %.
    """

    def __init__(
        self, program: Program | None = None, *, threads: int = 1, counts: bool = True
    ) -> None:
        if threads < 1:
            raise SpikefabError(f"{threads} threads", "the emulator", hint="use 1 or more")
        self.threads, self.counts = threads, counts
        self._program: Program | None = None
        if program is not None:
            self.load(program)

    def load(self, program: Program) -> None:
        """Take a program and restart."""
        self._program = self._original = program
        self._layouts: dict[tuple[bool, int], Layout] = {}
        self._memory = self._fresh(self._layout(False, 1))

    @property
    def program(self) -> Program:
        """The program that is loaded, with its present weights; raises SpikefabError if none."""
        if self._program is None:
            raise SpikefabError("no program", "the emulator", hint="load one")
        return self._program

    @property
    def tick(self) -> int:
        """The present tick: how many have passed since the restart."""
        return self._memory.tick

    def restart(self, weights: bool = False) -> None:
        """Restore initial state, accumulators, pending events and seed; weights if asked."""
        if weights and self._program is not self._original:
            self.load(self._original)
        self._memory = self._fresh(self._layout(False, 1))

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
        """Run on from the present tick for `steps` steps (default: to the last input).

        Input of step 0 enters in the next tick that is a multiple of the period. With `drain`, the
        run goes on until the last stage has taken `steps` steps, and returns just those; without,
        it ends after `steps` x period ticks, so that another run may follow without a gap: spikes
        of steps before this run then have negative steps, and recorded arrays hold one row per
        update. With `samples`, or input that has a sample column, each sample runs from a restart,
        and the device is restarted after. `record` names spiking populations that are not outputs,
        or state variables as ``population.variable``. Raises SpikefabError for input that does not
        fit the program.
        """
        program = self.program
        state = [name for name in record if not _spiking(program, name)]
        plan = self._plan(deliveries(program, spikes, steps, samples), record, state, drain)
        payload = bool(len(plan.input.payload) and plan.input.payload.max() > 1)
        workers = 1 if plan.input.batch else self.threads
        layout = self._layout(payload, workers)
        if plan.input.batch:
            parts = self._batch(plan, layout, progress)
            self.restart()
        else:
            parts = self._single(plan, layout, progress)
        return self._recording(plan, layout, *parts, names=state)

    def read(self, name: str) -> NDArray[np.int32]:
        """State ``population.variable`` [size], or ``weights`` in the order of flat rows."""
        if name == "weights":
            return self.program.synapses.weight.copy()
        return self._memory.state[self._state_slice(name)].copy()

    def write(self, name: str, values: Any) -> None:
        """Write what `read` reads; raises SpikefabError for values outside their format."""
        program = self.program
        given = np.asarray(values, np.int64)
        if name == "weights":
            limit = program.chip.largest_weight
            _check_values(given, program.synapses.count, -limit - 1, limit, name)
            synapses = program.synapses
            changed = with_weights(program, pack(synapses.target, given, synapses.wide))
            check_accumulators(changed, "the weights written")
            self._program, self._layouts = changed, {}
            return
        (number, variable), *_ = recorded_state(program, [name])
        p = program.populations[number]
        lo, hi = program.models[p.model].state[variable]
        _check_values(given, p.size, lo, hi, name)
        self._memory.state[self._state_slice(name)] = given

    def accumulators(self) -> NDArray[np.int64]:
        """Sums that wait for later ticks: [ticks ahead, neurons]."""
        layout = self._layout(False, 1)
        acc = self._memory.acc.reshape(layout.slots, -1).astype(np.int64)
        return np.roll(acc, -(self._memory.tick % layout.slots), axis=0)

    def pending(self) -> dict[int, int]:
        """Events of the next tick: payload by source."""
        memory = self._memory
        parity = memory.tick & 1
        found: dict[int, int] = {}
        for w, n in enumerate(memory.event_count[parity]):
            payload = memory.event_payload[parity, w, :n]
            for k, source in enumerate(memory.event_source[parity, w, :n]):
                found[int(source)] = int(payload[k]) if len(payload) else 1
        return dict(sorted(found.items()))

    def checkpoint(self, path: str | Path) -> None:
        """Write the state of the chip to a file that `resume` reads."""
        memory = self._memory
        pending = self.pending()
        weights = {} if self._program is self._original else {"weights": self.read("weights")}
        with whole_file(path) as stream:
            np.savez_compressed(
                stream,
                allow_pickle=False,
                program=np.array(self._original.hash),
                tick=np.array(memory.tick),
                word=np.array(memory.word),
                state=memory.state,
                accumulators=self.accumulators(),
                pending=np.array(list(pending.items()), np.int64).reshape(-1, 2),
                **weights,
            )

    def resume(self, path: str | Path) -> None:
        """Go on where a checkpoint was written; raises SpikefabError for another program's."""
        where = str(path)
        try:
            with np.load(where, allow_pickle=False) as stored:
                kept = {name: stored[name] for name in stored.files}
            if str(kept["program"]) != self._original.hash:
                raise SpikefabError("checkpoint of another program", where)
            resumed = Emulator(self._original, threads=self.threads, counts=self.counts)
            if "weights" in kept:
                resumed.write("weights", kept["weights"])
            resumed._restore(kept)
        except OSError as fault:
            raise SpikefabError("cannot read", where, fault.strerror or str(fault)) from None
        except UNREADABLE as fault:
            raise SpikefabError("not a checkpoint", where, str(fault)) from None
        self.__dict__.update(resumed.__dict__)

    def _restore(self, kept: dict[str, NDArray[Any]]) -> None:
        """Take the state that `checkpoint` wrote; raises ValueError for one that cannot be."""
        layout, program = self._layout(False, 1), self.program
        if any(kept[name].dtype.kind not in "iu" for name in _KEPT):
            raise ValueError("not all of it is integers")
        memory = self._fresh(layout)
        memory.tick, memory.word = int(kept["tick"]), int(kept["word"])
        if not 0 <= memory.tick < 1 << 60 or not 0 < memory.word < 1 << 32:
            raise ValueError(f"tick {memory.tick}, random word {memory.word}")
        memory.state[:] = kept["state"]
        for p in program.populations:
            for name, (lo, hi) in program.models[p.model].state.items():
                values = memory.state[self._state_slice(f"{p.name}.{name}")]
                _check_values(values, p.size, lo, hi, f"{p.name}.{name}")
        ahead = kept["accumulators"].reshape(layout.slots, -1)
        if np.abs(ahead).max(initial=0) >= 1 << (program.chip.accumulator_bits - 1):
            raise ValueError("accumulators beyond their width")
        memory.acc[:] = np.roll(ahead, memory.tick % layout.slots, axis=0).ravel()
        source, payload = kept["pending"].T
        n, parity = len(source), memory.tick & 1
        lines, most = program.input_lines, program.chip.largest_payload
        inside = (source >= lines) & (source < lines + program.neurons)
        if not (inside & (payload > 0) & (payload <= most)).all() or (np.diff(source) <= 0).any():
            raise ValueError("pending events")
        memory.event_source[parity, 0, :n] = source
        memory.event_payload[parity, 0, :n] = payload
        memory.event_count[parity, 0] = n
        self._memory = memory

    def _layout(self, payload: bool, workers: int) -> Layout:
        program = self.program
        payload = payload or any(m.largest_payload > 1 for m in program.models)
        key = (payload, workers)
        if key not in self._layouts:
            self._layouts[key] = build(program, self.counts, payload, workers)
        return self._layouts[key]

    def _fresh(self, layout: Layout, workers: int = 1) -> _Memory:
        neurons = self.program.neurons
        most = neurons + FLAG_PAD
        return _Memory(
            layout.initial.copy(),
            np.zeros(layout.slots * neurons, layout.shape.accumulator),
            np.zeros((2, workers, most), np.int32),
            np.ones((2, workers, most), np.int32),
            np.zeros((2, workers), np.int64),
            0,
            first_word(self.program.seed),
        )

    def _state_slice(self, name: str) -> slice:
        program = self.program
        (number, variable), *_ = recorded_state(program, [name])
        p = program.populations[number]
        at = self._layout(False, 1).state_at[number]
        at += variables(program, p).index(variable) * p.size
        return slice(at, at + p.size)

    def _plan(
        self, given: Deliveries, record: Sequence[str], state: Sequence[str], drain: bool
    ) -> _Plan:
        program = self.program
        now = 0 if given.batch else self._memory.tick
        period = program.period
        base = -(-now // period) * period
        last = base + (program.ticks(given.steps) if drain else given.steps * period)
        wanted = np.array(
            [
                program.models[p.model].spikes and (p.output or p.name in record)
                for p in program.populations
            ]
        )
        columns = [
            (n, "value")
            for n, p in enumerate(program.populations)
            if not program.models[p.model].spikes and p.output
        ]
        columns += recorded_state(program, state)
        if not given.steps:
            last = base = now
        plan = _Plan(given, now, base, last, self.counts, wanted, columns, drain)
        self._check_memory(plan)
        return plan

    def _check_memory(self, plan: _Plan) -> None:
        """Raise SpikefabError where what a run records does not fit the machine's free memory."""
        ticks = plan.span * plan.input.samples
        needed = 4 * plan.input.samples * sum(
            self._rows_of(plan, n)[0] * self.program.populations[n].size for n, _ in plan.record
        )
        needed += 12 * ticks * self.program.cores if plan.counts else 0
        free = psutil.virtual_memory().available
        if needed > 0.8 * free:
            raise SpikefabError(
                f"a run of {ticks} ticks",
                "the emulator",
                f"its records take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
                "run fewer steps at a time, record less, or do not count cycles",
            )

    def _rows_of(self, plan: _Plan, population: int) -> tuple[int, int, int]:
        """(updates in the run, updates before its step 0, rows returned) of a population."""
        p = self.program.populations[population]

        def updates(tick: int) -> int:
            return max(0, -(-(tick - p.start) // p.period))

        total = updates(plan.last_tick) - updates(plan.first_tick)
        if not plan.drain:
            return total, 0, total
        before = updates(plan.base_tick + p.start) - updates(plan.first_tick)
        return total, before, plan.input.steps

    def _worker(
        self, plan: _Plan, layout: Layout, number: int, samples: int, memory: _Memory
    ) -> _Worker:
        program, neurons = self.program, self.program.neurons
        control = np.zeros(kernel.CONTROL_SIZE, np.int64)
        control[kernel.TICK], control[kernel.WORD] = plan.first_tick, memory.word
        capacity = neurons * 2 + 4096 if plan.wanted.any() else neurons
        payload = capacity if layout.shape.payload else 1
        shape = (samples * plan.span, self.program.cores, 3) if plan.counts else (1, 1, 3)
        table, at = [], 0
        lo, hi = layout.workers[number]
        for population, variable in plan.record:
            p = self.program.populations[population]
            a, b = max(lo, p.first), min(hi, p.first + p.size)
            total, _, _ = self._rows_of(plan, population)
            if a < b:
                offset = variables(self.program, p).index(variable) * p.size + a - p.first
                table.append(
                    [population, layout.state_at[population] + offset, b - a,
                     at + a - p.first, p.size, total]
                )
            at += samples * total * p.size
        return _Worker(
            control,
            memory.event_payload,
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

    def _state_buffer(self, plan: _Plan, samples: int) -> NDArray[np.int32]:
        size = sum(
            samples * self._rows_of(plan, n)[0] * self.program.populations[n].size
            for n, _ in plan.record
        )
        return np.zeros(max(1, size), np.int32)

    def _single(
        self, plan: _Plan, layout: Layout, progress: Progress | None
    ) -> tuple[list[_Worker], list[NDArray[np.int32]]]:
        """One run on from the present tick, by one thread or several that share out neurons."""
        memory, workers = self._memory, len(layout.workers)
        if layout.shape.accumulator != memory.acc.dtype.name:
            memory.acc = memory.acc.astype(layout.shape.accumulator)
        if memory.event_source.shape[1] != workers:
            memory = self._regrouped(memory, workers)
        buffer = self._state_buffer(plan, 1)
        team = [self._worker(plan, layout, w, 1, memory) for w in range(workers)]
        barrier, stop = np.zeros(1, np.int64), np.zeros(2, np.int64)
        ticks = max(16, FIRST_CALL // self.program.neurons)
        at = plan.first_tick
        began = time.monotonic()
        while at < plan.last_tick:
            stop[:] = 0
            until = min(plan.last_tick, at + ticks)
            jobs = [
                self._arguments(plan, layout, w, team[w], memory, buffer, barrier, stop, until, 1)
                for w in range(workers)
            ]
            call = time.monotonic()
            _together(kernel.compiled(layout.shape), jobs)
            spent = time.monotonic() - call
            done = int(team[0].control[kernel.TICK]) - at
            at += done
            if done:
                ticks = max(1, min(4 * ticks, int(done * CALL_SECONDS / max(spent, 1e-6))))
            for worker in team:
                _grow(worker, self.program.neurons, bool(plan.wanted.any()))
            memory.tick, memory.word = at, int(team[0].control[kernel.WORD])
            if progress and time.monotonic() - began > 1:
                progress(at - plan.first_tick, plan.span)
        self._memory = memory
        return team, [buffer]

    def _batch(
        self, plan: _Plan, layout: Layout, progress: Progress | None
    ) -> tuple[list[_Worker], list[NDArray[np.int32]]]:
        """Independent samples, shared out to threads in contiguous shares."""
        samples = plan.input.samples
        threads = min(self.threads, samples)
        cuts = [samples * n // threads for n in range(threads + 1)]
        team, buffers, memories = [], [], []
        for n in range(threads):
            share = cuts[n + 1] - cuts[n]
            memories.append(self._fresh(layout))
            team.append(self._worker(plan, layout, 0, share, memories[n]))
            buffers.append(self._state_buffer(plan, share))
        run = kernel.compiled(layout.shape)
        some = max(1, FIRST_CALL // max(1, self.program.neurons * plan.span))
        began = time.monotonic()
        at = 0
        while plan.span and any(
            w.control[kernel.SAMPLE] < cuts[n + 1] - cuts[n] for n, w in enumerate(team)
        ):
            at += some
            jobs = []
            for n, worker in enumerate(team):
                until = min(cuts[n + 1] - cuts[n], at)
                stop = np.zeros(2, np.int64)
                jobs.append(
                    self._arguments(
                        plan, layout, 0, worker, memories[n], buffers[n], np.zeros(1, np.int64),
                        stop, plan.last_tick, until, cuts[n],
                    )
                )
            call = time.monotonic()
            _together(run, jobs)
            spent = time.monotonic() - call
            for worker in team:
                _grow(worker, self.program.neurons, bool(plan.wanted.any()))
            at = min(int(w.control[kernel.SAMPLE]) for w in team)
            some = max(1, min(4 * some, int(some * CALL_SECONDS / max(spent, 1e-6))))
            if progress and time.monotonic() - began > 1:
                progress(sum(int(w.control[kernel.SAMPLE]) for w in team), samples)
        return team, buffers

    def _regrouped(self, memory: _Memory, workers: int) -> _Memory:
        """The same pending events, in room for another number of workers."""
        pending, parity = self.pending(), memory.tick & 1
        fresh = self._fresh(self._layout(False, 1), workers)
        n = len(pending)
        fresh.event_source[parity, 0, :n] = list(pending)
        fresh.event_payload[parity, 0, :n] = list(pending.values())
        fresh.event_count[parity, 0] = n
        fresh.state, fresh.acc = memory.state, memory.acc
        fresh.tick, fresh.word = memory.tick, memory.word
        return fresh

    def _arguments(
        self,
        plan: _Plan,
        layout: Layout,
        number: int,
        worker: _Worker,
        memory: _Memory,
        buffer: NDArray[np.int32],
        barrier: NDArray[np.int64],
        stop: NDArray[np.int64],
        until: int,
        samples: int,
        first_sample: int = 0,
    ) -> tuple[Any, ...]:
        """The kernel's arguments, in its order."""
        program, given = self.program, plan.input
        synaptic: Synaptic = layout.synaptic[number]
        populations = program.populations
        in_first = given.first[first_sample * given.steps :]
        return (
            worker.control, until, samples, given.batch, plan.base_tick, plan.first_tick,
            given.steps, program.period, number, len(layout.workers), barrier, stop,
            layout.updates, layout.spiking, layout.field,
            memory.state, layout.initial, layout.parameters, layout.chunks[number], worker.due,
            np.array([p.start for p in populations], np.int64),
            np.array([p.period for p in populations], np.int64),
            plan.wanted,
            memory.acc, layout.slots, program.neurons, program.input_lines, layout.delays,
            worker.offsets, layout.delay_mask, layout.word_shift,
            synaptic.words, synaptic.first, layout.lookup,
            synaptic.blocks, synaptic.matrix, worker.sums, worker.rows, layout.fan_out, layout.fan_ranges,
            layout.costs, worker.clocks,
            program.survey.routes[program.input_lines :], program.core_first, worker.cycles,
            in_first, given.source, given.payload,
            memory.event_source, worker.event_payload, memory.event_count,
            worker.flags, worker.rec_time, worker.rec_neuron, worker.rec_payload,
            buffer, worker.rec_table, worker.rec_rows,
            first_word(program.seed), len(worker.rec_time) if plan.wanted.any() else 1 << 62,
        )

    def _recording(
        self,
        plan: _Plan,
        layout: Layout,
        team: list[_Worker],
        buffers: list[NDArray[np.int32]],
        names: Sequence[str],
    ) -> Recording:
        program, given = self.program, plan.input
        offsets = [0]
        for n in range(len(team)):
            share = given.samples * (n + 1) // len(team) if given.batch else 0
            offsets.append(share)
        counters = {
            "events": sum(int(w.control[kernel.EVENTS]) for w in team),
            "synaptic_events": sum(int(w.control[kernel.SYNAPTIC]) for w in team),
            "spikes": sum(int(w.control[kernel.SPIKES]) for w in team),
        }
        state: dict[str, NDArray[np.int32]] = {}
        values: dict[str, NDArray[np.int32]] = {}
        names_of = [
            (values if v == "value" and i < len(plan.record) - len(names) else state)
            for i, (_, v) in enumerate(plan.record)
        ]
        starts = [0] * len(buffers)
        for i, (n, variable) in enumerate(plan.record):
            p = program.populations[n]
            total, before, kept = self._rows_of(plan, n)
            pieces = []
            for b, buffer in enumerate(buffers):
                share = offsets[b + 1] - offsets[b] if given.batch else 1
                size = share * total * p.size
                pieces.append(buffer[starts[b] : starts[b] + size].reshape(share, total, p.size))
                starts[b] += size
            joined = np.concatenate(pieces)[:, before : before + kept]
            key = p.name if names_of[i] is values else f"{p.name}.{variable}"
            names_of[i][key] = joined
        return Recording(
            given.steps,
            plan.span,
            given.samples,
            self._spikes(plan, team, offsets),
            values,
            state,
            self._cycles(plan, layout, team),
            counters,
        )

    def _spikes(
        self, plan: _Plan, team: list[_Worker], offsets: list[int]
    ) -> dict[str, SpikeTrain]:
        program, given = self.program, plan.input
        counts = [int(w.control[kernel.RECORDED]) for w in team]
        when = np.concatenate(
            [w.rec_time[:n] + plan.span * offsets[i]
             for i, (w, n) in enumerate(zip(team, counts, strict=True))]
        )
        neuron = np.concatenate([w.rec_neuron[:n] for w, n in zip(team, counts, strict=True)])
        payload = None
        if team[0].rec_payload.size > 1:
            payload = np.concatenate([w.rec_payload[:n] for w, n in zip(team, counts, strict=True)])
        if not given.batch and len(team) > 1:
            order = np.lexsort((neuron, when))
            when, neuron = when[order], neuron[order]
            payload = payload[order] if payload is not None else None
        spikes = {}
        for n, p in enumerate(program.populations):
            if not plan.wanted[n]:
                continue
            mine = (neuron >= p.first) & (neuron < p.first + p.size)
            tick = when[mine] % max(plan.span, 1) + plan.first_tick
            step = (tick - p.start - plan.base_tick) // p.period
            sample = (when[mine] // max(plan.span, 1)).astype(np.int32)
            index = (neuron[mine] - p.first).astype(np.int32)
            count = payload[mine] if payload is not None else None
            if plan.drain:
                inside = (step >= 0) & (step < given.steps)
                step, sample, index = step[inside], sample[inside], index[inside]
                count = count[inside] if count is not None else None
            if count is not None and (count == 1).all():
                count = None
            spikes[p.name] = SpikeTrain(step, index, count, sample if given.batch else None)
        return spikes

    def _cycles(
        self, plan: _Plan, layout: Layout, team: list[_Worker]
    ) -> NDArray[np.int32] | None:
        if not plan.counts:
            return None
        shape = (-1, plan.span, self.program.cores, 3)
        if plan.input.batch:
            counted = np.concatenate([w.cycles.reshape(shape) for w in team])
        else:
            counted = team[0].cycles.reshape((1, *shape[1:]))
            for worker in team[1:]:
                counted += worker.cycles.reshape((1, *shape[1:]))
        counted += layout.constants
        return counted


def _spiking(program: Program, name: str) -> bool:
    found = [p for p in program.populations if p.name == name]
    return bool(found) and program.models[found[0].model].spikes


def _check_values(values: NDArray[Any], size: int, lo: int, hi: int, name: str) -> None:
    if values.shape != (size,):
        raise SpikefabError(f"{values.shape} values", f"'{name}'", f"it has {size}")
    if size and (values.min() < lo or values.max() > hi):
        raise SpikefabError(
            f"value {int(values.max() if values.max() > hi else values.min())}",
            f"'{name}'",
            f"outside {lo}..{hi}",
        )


def _grow(worker: _Worker, neurons: int, wanted: bool) -> None:
    """Make room for more recorded spikes where the next tick might not find enough."""
    if not wanted or len(worker.rec_time) - worker.control[kernel.RECORDED] >= 2 * neurons:
        return
    more = len(worker.rec_time) + 2 * neurons
    for name in ("rec_time", "rec_neuron", "rec_payload"):
        old = getattr(worker, name)
        if old.size > 1:
            setattr(worker, name, np.concatenate([old, np.zeros(more, old.dtype)]))


def _together(function: Any, jobs: list[tuple[Any, ...]]) -> None:
    """Call a compiled function once per job, each job but the first in a thread of its own."""
    others = [threading.Thread(target=function, args=job) for job in jobs[1:]]
    for thread in others:
        thread.start()
    function(*jobs[0])
    for thread in others:
        thread.join()
