"""How the harness talks to an engine: JSON lines on standard input and output of its process.

An engine prepares, prints `{"ready": {...}}`, and for each line `run` does one repetition and
prints it as a `Repetition`. It ends when its input does. Needs only the standard library.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter, process_time


@dataclass(frozen=True)
class Repetition:
    """What one repetition did and how long it took."""

    seconds: float
    """By the wall clock."""
    cpu_seconds: float
    """CPU time of the whole process."""
    synaptic_events: int = 0
    spikes: int = 0
    steps: int = 0
    samples: int = 0
    peak_bytes: int = 0
    """Growth of the process's resident memory at its peak (only where a workload asks)."""


class Clock:
    """A stopwatch, started when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = perf_counter(), process_time()

    def elapsed(self) -> tuple[float, float]:
        """Seconds since by the wall clock, and of this process's CPU time."""
        return perf_counter() - self._wall, process_time() - self._cpu


@dataclass(frozen=True)
class Prepared:
    """An engine that holds its network."""

    run: Callable[[], Repetition]
    notes: dict[str, str | int | float]
    """What a reader of the figures should know: versions, types, rates."""


def serve(prepare: Callable[[], Prepared]) -> None:
    """Speaks for an engine until the harness closes its input.

    Whatever the engine's libraries print goes to standard error, so that it cannot be taken for
    an answer.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(content: object) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    prepared = prepare()
    answer({"ready": prepared.notes})
    for line in sys.stdin:
        if line.strip() == "run":
            answer(asdict(prepared.run()))
