"""Live input, step by step, to a device, and what comes out of it.

A source gives the events of a step once no more of it will come. What is given is kept, and is the
input of a run that repeats all of it.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from ..compiler.ir.device import Device
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import SpikeTrain

Step = Counter[int]  # events by input line, all inputs numbered through
Tell = Callable[[int, str, int, int], None]  # step, population, index, spike count or value
AER = struct.Struct("<I")
ADDRESS_BITS = 24
PACKET = 1 << 16


@dataclass
class Stream:
    """A stream and its figures.

    latency: seconds from a step's being complete to its spikes being there, each step; rejected:
    lines or words that name no input line; summed: events beyond the largest payload of one step,
    which were left out; late: steps that had to begin after their time was over.
    """

    device: Device
    program: Program
    tell: Tell
    events: int = 0
    spikes: int = 0
    rejected: int = 0
    summed: int = 0
    late: int = 0
    latency: list[float] = field(default_factory=list)
    _log: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Steps so far."""
        return len(self.latency)

    def run(self, source: Iterable[Step]) -> None:
        """Give the device every step of the source, then what the last stage needs to end."""
        # What is done once, as compiling a kernel, is not to delay the first step.
        most = min(2, self.program.chip.largest_payload)
        for payload in range(1, most + 1):
            self._take(0, Step({0: payload}), 0)
        self.device.restart()
        try:
            for events in source:
                self._step(events)
        finally:
            steps = self.steps
            late = self.program.last_stage // self.program.period + 1 if steps else 0
            for n in range(late):
                self._take(steps + n, Counter(), steps)

    def input(self) -> dict[str, SpikeTrain]:
        """All that was given, by input."""
        trains = {}
        for port in self.program.inputs:
            mine = [
                (step, line - port.first, payload) for step, line, payload in self._log
                if port.first <= line < port.first + port.size
            ]  # fmt: skip
            columns = np.array(mine, np.int64).reshape(len(mine), 3).T
            trains[port.name] = SpikeTrain.of(*columns)
        return trains

    def _step(self, events: Step) -> None:
        step, most = self.steps, self.program.chip.largest_payload
        kept: Step = Counter()
        for line, count in sorted(events.items()):
            kept[line] = min(count, most)
            self.summed += count - kept[line]
            self._log.append((step, line, kept[line]))
        self.events += sum(kept.values())
        began = time.perf_counter()
        self._take(step, kept, step + 1)
        self.latency.append(time.perf_counter() - began)

    def _take(self, step: int, events: Step, end: int) -> None:
        """Run a step and tell what comes of steps before `end`."""
        spikes: dict[str, SpikeTrain] = {}
        for port in self.program.inputs:
            mine = sorted(k for k in events if port.first <= k < port.first + port.size)
            zeros = np.zeros(len(mine), np.int64)
            lines = np.array(mine, np.int64) - port.first
            spikes[port.name] = SpikeTrain.of(zeros, lines, [events[k] for k in mine])
        out = self.device.run(spikes, 1, drain=False)
        for name, train in out.spikes.items():
            counts = train.payload if train.payload is not None else np.ones(len(train), np.int32)
            for when, index, count in zip(
                train.step.tolist(), train.index.tolist(), counts.tolist(), strict=True
            ):
                if 0 <= step + when < end:
                    self.spikes += 1
                    self.tell(step + when, name, index, count)
        for name, values in out.values.items():
            lag = self.program.population(name).start // self.program.period
            for row in values[0]:
                if 0 <= step - lag < end:
                    for index, value in enumerate(row.tolist()):
                        self.tell(step - lag, name, index, value)

    def lines(self, text: IO[str]) -> Iterator[Step]:
        """Steps of lines `STEP INDEX [PAYLOAD]` or `STEP INPUT INDEX [PAYLOAD]`, in order of steps.

        `STEP` alone says that all steps before it are complete. Raises SpikefabError for a line
        that is none of these.
        """
        at, events = 0, Step()
        for number, line in enumerate(text, 1):
            parts = line.split()
            if not parts or parts[0].startswith("#"):
                continue
            step, found = self._line(parts, number)
            if step < at:
                raise SpikefabError(
                    f"step {step}", f"line {number} of the input", f"step {at} has begun"
                )
            while at < step:
                yield events
                at, events = at + 1, Step()
            events.update(found)
        if events:
            yield events

    def _line(self, parts: list[str], number: int) -> tuple[int, Step]:
        where = f"line {number} of the input"
        inputs = {port.name: port for port in self.program.inputs}
        port, numbers = None, parts[1:]
        if numbers and numbers[0] in inputs and not numbers[0].isdigit():
            port, numbers = inputs[numbers[0]], numbers[1:]
        try:
            step, values = int(parts[0]), [int(x) for x in numbers]
        except ValueError:
            raise SpikefabError(
                f"'{' '.join(parts)[:60]}'", where, "it is not STEP [INPUT] INDEX [PAYLOAD]",
                f"the inputs are {', '.join(inputs)}",
            ) from None
        if not values and port is None:
            return step, Step()
        if port is None:
            if len(inputs) != 1:
                raise SpikefabError(
                    "an unnamed line", where, f"the program has the inputs {', '.join(inputs)}"
                )
            (port,) = inputs.values()
        if not 1 <= len(values) <= 2 or step < 0 or not 0 <= values[0] < port.size:
            raise SpikefabError(
                f"'{' '.join(parts)[:60]}'", where, f"input '{port.name}' has {port.size} lines"
            )
        count = values[1] if len(values) > 1 else 1
        if count < 1:
            raise SpikefabError(f"payload {count}", where, "it is 1 or more")
        return step, Step({port.first + values[0]: count})

    def packets(self, port: socket.socket, seconds: float) -> Iterator[Step]:
        """Steps of a given length of the events that come in packets of AER words.

        A word has 32 bits, the least significant byte first: the input line in the lower 24, how
        many events in the upper 8, 0 for one.
        """
        lines = self.program.input_lines
        until = time.monotonic() + seconds
        while True:
            events = Step()
            self.late += time.monotonic() > until
            while (left := until - time.monotonic()) > 0:
                port.settimeout(left)
                try:
                    packet = port.recv(PACKET)
                except TimeoutError:
                    break
                whole = len(packet) // AER.size * AER.size
                self.rejected += whole != len(packet)
                for (word,) in AER.iter_unpack(packet[:whole]):
                    line = word & ((1 << ADDRESS_BITS) - 1)
                    if line < lines:
                        events[line] += word >> ADDRESS_BITS or 1
                    else:
                        self.rejected += 1
            until += seconds
            yield events
