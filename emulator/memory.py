"""The state of one emulated chip between ticks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.device import no_signals
from ..compiler.ir.interpret import first_word
from ..compiler.ir.program import Program
from .layout import FLAG_PAD, Layout
from .learning import LearningMemory


@dataclass(eq=False)
class Memory:
    """State, accumulators and pending events.

    state: see `layout.Layout`; acc: [slots x neurons]; events: [tick & 1, worker, events], lists
    of sources in rising order, each worker's beyond those of the worker before; word: the random
    word of the tick; learning: of plastic projections, if there are any; late: signals that wait
    for ticks to come (see `device.signal_ticks`); seed: what it was started with.
    """

    state: NDArray[np.int32]
    acc: NDArray[Any]
    event_source: NDArray[np.int32]
    event_payload: NDArray[np.int32]
    event_count: NDArray[np.int64]
    tick: int
    word: int
    learning: LearningMemory | None
    late: NDArray[np.int32]
    seed: int

    @classmethod
    def fresh(
        cls, program: Program, layout: Layout, seed: int, before: LearningMemory | None = None
    ) -> Memory:
        """The memory of a chip that has just been started; before: what it had learnt."""
        workers = 1
        learning = None if layout.plan is None else layout.plan.fresh()
        if learning is not None and before is not None:
            learning.weight[:], learning.on[:] = before.weight, before.on
            learning.turn()
        most = program.neurons + FLAG_PAD
        return cls(
            layout.initial.copy(),
            np.zeros(layout.slots * program.neurons, layout.shape.accumulator),
            np.zeros((2, workers, most), np.int32),
            np.ones((2, workers, most), np.int32),
            np.zeros((2, workers), np.int64),
            0,
            first_word(seed),
            learning,
            no_signals(program),
            seed,
        )

    def pending(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Sources and payloads of the events of the next tick, sources rising."""
        now = self.tick & 1
        counts = self.event_count[now]
        return (
            np.concatenate([list_[:n] for list_, n in zip(self.event_source[now], counts,
                                                          strict=True)]),
            np.concatenate([list_[:n] for list_, n in zip(self.event_payload[now], counts,
                                                          strict=True)]),
        )  # fmt: skip

    def regroup(self, workers: int) -> None:
        """Keep the pending events, with room for another number of workers."""
        if self.event_source.shape[1] == workers:
            return
        source, payload = self.pending()
        most = self.event_source.shape[2]
        self.event_source = np.zeros((2, workers, most), np.int32)
        self.event_payload = np.ones((2, workers, most), np.int32)
        self.event_count = np.zeros((2, workers), np.int64)
        self.put_pending(source, payload)

    def put_pending(self, source: NDArray[Any], payload: NDArray[Any]) -> None:
        """Make these the events of the next tick."""
        now = self.tick & 1
        self.event_source[now, 0, : len(source)] = source
        self.event_payload[now, 0, : len(source)] = payload
        self.event_count[now] = 0
        self.event_count[now, 0] = len(source)
