"""The emulator: runs a program on this machine, bit for bit and cycle for cycle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.device import (
    Inputs,
    Progress,
    Signals,
    check_seed,
    check_values,
    deliveries,
    state_part,
)
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.learn import plastic_part, plastic_range
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import UNREADABLE, Recording
from ..compiler.ir.synapses import pack
from ..compiler.ir.validate import check_accumulators
from . import checkpoint
from .layout import Layout, build, shares, state_slice, with_weights
from .memory import Memory
from .run import Pace, Run


class Emulator:
    """Runs programs by compiled, event-driven kernels. A `Device`.

    threads: how many threads a run may use (a batch is shared out by samples, a single run by
    neurons, where that turns out to be faster); counts: whether runs report clock cycles, which
    costs some 15 %.
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
        self._lay_out()
        self._memory = Memory.fresh(program, self._layout(), program.seed)

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

    def restart(self, weights: bool = False, seed: int | None = None) -> None:
        """Restore initial state, accumulators, pending events and traces; weights if asked.

        seed: of what is drawn from here on, in batches too; default is the program's. Whether a
        projection learns stays as it is. Raises SpikefabError for what is no seed.
        """
        seed = self.program.seed if seed is None else check_seed(seed, "the restart")
        before = self._memory.learning
        if weights and self._program is not self._original:
            self.load(self._original)
        self._memory = Memory.fresh(self.program, self._layout(), seed, before)
        if weights and before is not None and self._memory.learning is not None:
            self._memory.learning.weight[:] = self._memory.learning.plan.weight
            self._memory.learning.turn()

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
        given = deliveries(program, spikes, steps, samples, signals)
        payload = bool(len(given.payload) and given.payload.max() > 1)
        now = 0 if given.batch else self._memory.tick
        run = Run(program, given, record, now, drain, self.counts)
        if given.batch:
            recording = run.batch(self._layout(payload), self.threads, self._memory, progress)
            self.restart(seed=self._memory.seed)
            return recording

        def layouts(threads: int) -> Layout:
            return self._layout(payload, threads)

        return run.single(self._memory, layouts, self._pace, progress)

    def read(self, name: str) -> NDArray[np.int32]:
        """State ``population.variable`` [size]; ``weights`` of fixed synapses in the order of flat
        rows; ``projection.variable`` of a plastic projection: ``weights`` and synapses' state in
        the order of its rows, traces and held values, ``learning`` [1]."""
        if name == "weights":
            return self.program.synapses.weight.copy()
        if (part := plastic_part(self.program, name)) and self._memory.learning is not None:
            return self._memory.learning.part(self.program, *part).astype(np.int32)
        return self._memory.state[state_slice(self.program, self._layout(), name)].copy()

    def write(self, name: str, values: Any) -> None:
        """Write what `read` reads; raises SpikefabError for values outside their format."""
        program = self.program
        if name == "weights":
            limit = program.chip.largest_weight
            given = check_values(values, program.synapses.count, -limit - 1, limit, name)
            synapses = program.synapses
            changed = with_weights(program, pack(synapses.target, given, synapses.wide))
            check_accumulators(changed, "the weights written")
            self._program = changed
            self._lay_out()
            return
        if (part := plastic_part(program, name)) and self._memory.learning is not None:
            given = check_values(values, *plastic_range(program, *part), name)
            self._memory.learning.part(program, *part)[:] = given
            self._memory.learning.turn()
            self._memory.learning.note_awake()
            return
        number, variable = state_part(program, name)
        p = program.populations[number]
        lo, hi = program.models[p.model].state[variable]
        given = check_values(values, p.size, lo, hi, name)
        self._memory.state[state_slice(program, self._layout(), name)] = given

    @property
    def learning_bytes(self) -> int:
        """Bytes of memory that learning takes: weights, traces, and what tells where they are."""
        learning = self._memory.learning
        return 0 if learning is None else learning.bytes

    def accumulators(self, ahead: int | None = None) -> NDArray[np.int64]:
        """Sums that wait for later ticks: [ticks ahead, neurons], as far as delays reach.

        ahead: of how many ticks at most.
        """
        return checkpoint.ahead(self._layout(), self._memory)[:ahead]

    def pending(self) -> dict[int, int]:
        """Events of the next tick: payload by source."""
        source, payload = self._memory.pending()
        return dict(zip(source.tolist(), payload.tolist(), strict=True))

    def checkpoint(self, path: str | Path) -> None:
        """Write the state of the chip to a file that `resume` reads."""
        weights = None if self._program is self._original else self.read("weights")
        checkpoint.save(path, self._original, self._layout(), self._memory, weights)

    def resume(self, path: str | Path) -> None:
        """Go on where a checkpoint was written; raises SpikefabError for another program's."""
        kept = checkpoint.load(path, self._original)
        resumed = Emulator(self._original, threads=self.threads, counts=self.counts)
        try:
            if "weights" in kept:
                resumed.write("weights", kept["weights"])
            resumed._memory = checkpoint.restore(kept, resumed.program, resumed._layout())
        except UNREADABLE as fault:
            raise SpikefabError("not a checkpoint", str(path), str(fault)) from None
        self.__dict__.update(resumed.__dict__)

    def _lay_out(self) -> None:
        self._layouts: dict[tuple[bool, int], Layout] = {}
        neurons = self.program.neurons
        threads = 1 if self.program.plastic else self.threads  # learning is one thread's work
        self._pace = Pace(len(shares(neurons, threads)), neurons)

    def _layout(self, payload: bool = False, threads: int = 1) -> Layout:
        program = self.program
        payload = payload or any(m.largest_payload > 1 for m in program.models)
        key = (payload, threads)
        if key not in self._layouts:
            self._layouts[key] = build(program, self.counts, payload, threads)
        return self._layouts[key]
