"""What a board tells of a run's ticks, as a run that is noted tick by tick."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir import cycles
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.interpret import wrap_to
from ..compiler.ir.link import KIND_SHIFT, LARGEST_FIELD, LONG, WORD_BITS, Command, Kind, word
from ..compiler.ir.program import MappedPopulation
from ..compiler.ir.stepped import SteppedRun

if TYPE_CHECKING:
    from .device import BoardDevice

# Learn's clocks come as Update's, after those.
_KINDS = {
    "deliver": Kind.DELIVER, "update": Kind.UPDATE, "learn": Kind.UPDATE, "emit": Kind.EMIT,
}  # fmt: skip
MOST_CLOCKS = (1 << 31) - 1  # of a phase
MOST_WAITING = 4096  # words of a run's replies that wait to be taken apart


class Replies:
    """What comes back of a run's ticks, in their order.

    counters: totals, derived from the clocks that a tick takes: Emit takes one for each spike. The
    synapses that were walked are known if the spikes of all populations come out; on a core that
    learns all totals are, as a spike takes a clock for each row of its neuron.
    """

    def __init__(self, device: BoardDevice, run: SteppedRun) -> None:
        self.device, self.run, self.program = device, run, device.program
        self.counters: dict[str, int] = {}
        self.digests: list[int] = []  # tick by tick, if the chip has them
        self._expected: deque[_Asked] = deque()
        self._sample = -1
        self._crc = 0
        self._bits = device._map.value_bits
        self._emit = cycles.emit_constant(self.program.chip)
        self._before = 2  # words of the digest of what was before
        self._spiked = device._spiked  # in the tick before, which are events of this one
        self._pending: dict[int, int] = {}
        told = all(
            p.output or p.name in run.recorded
            for p in self.program.populations if self.program.models[p.model].spikes
        )  # fmt: skip
        self._unknown = bool(self.program.plastic) and not told  # how many spikes there are
        if device.counts and not self._unknown and self._spiked is not None:
            self.counters = {"events": 0, "spikes": 0}
            if told:
                self.counters = {"events": 0, "synaptic_events": 0, "spikes": 0}
                self._pending = device.pending() if run.begin else {}

    def begin(self) -> None:
        """Have the board begin a digest."""
        self.device.link.send([word(Kind.COMMAND, Command.DIGEST)])

    def expect(
        self, sample: int, tick: int, events: Sequence[tuple[int, int]], given: bytes
    ) -> None:
        """A tick of a sample was sent, with these events, as these bytes."""
        self._expected.append(_Asked(sample, tick, events, given))

    def take(self) -> None:
        """Take ticks until few words wait."""
        while self._expected and self.device.link.available() > MOST_WAITING:
            self._next()

    def finish(self) -> None:
        """Take all; raises SpikefabError if the board saw or said something else."""
        link = self.device.link
        link.send([word(Kind.COMMAND, Command.DIGEST)])
        while self._expected:
            self._next()
        for _ in range(self._sample + 1, self.run.given.samples):
            self.run.next_sample()  # without ticks
        self.device._spiked = None if self._unknown else self._spiked
        *_, low, high = link.receive(self._before + 2)
        if low | high << WORD_BITS != self._crc:
            raise SpikefabError(
                "the run is not what was sent", f"the board on {link.name}",
                "its digest of events and spikes is another one", "run again",
            )  # fmt: skip

    def _impossible(self, what: str) -> SpikefabError:
        where = f"the board on {self.device.link.name}"
        return SpikefabError("a reply that cannot be", where, what, "load and run again")

    def _next(self) -> None:
        self.device.link.receive(self._before)
        self._before = 0
        asked = self._expected.popleft()
        device, program = self.device, self.program
        if asked.sample != self._sample:
            self._sample = asked.sample
            self.run.next_sample()
            if asked.tick == 0:
                self._spiked, self._pending = 0, {}
        clocks, spikes, values = self._tick(asked)
        spiked = len(spikes)
        if not program.plastic:
            spiked = clocks[-1] - self._emit - len(values)
        self._count(dict(asked.events), spikes, spiked)
        read = {
            (number, variable): device._answer("state", program.populations[number].size)
            for number, variable in self.run.due(asked.tick)
        }

        def state(p: MappedPopulation, variable: str) -> NDArray[np.int32]:
            return device._variable(read[program.populations.index(p), variable], p, variable)

        self.run.note(asked.tick, [clocks], spikes, values, state)

    def _tick(self, asked: _Asked) -> tuple[list[int], dict[int, int], dict[int, int]]:
        """The words of a tick: clocks by phase, spike counts and values by neuron."""
        device, program = self.device, self.program
        clocks = dict.fromkeys(cycles.PHASES, 0)
        spikes: dict[int, int] = {}
        values: dict[int, int] = {}
        seen: list[int] = []
        reported = cycles.phases(program.chip)
        left = list(reported if device.counts else reported[-1:])
        kind, last = 0, -1
        while kind != Kind.EMIT:
            (first,) = device.link.receive(1)
            seen.append(first)
            kind, field = first >> KIND_SHIFT, first & LARGEST_FIELD
            value = field if kind != Kind.ENTRY else 1
            if first & LONG:
                low, high = device.link.receive(2)
                seen += [low, high]
                value = low | high << WORD_BITS
            if kind not in ((_KINDS[left[0]],) if len(left) > 1 else (Kind.ENTRY, Kind.EMIT)):
                raise self._impossible(f"a word of kind {kind}, out of order")
            if kind != Kind.ENTRY:
                if value > MOST_CLOCKS:
                    raise self._impossible(f"{value} clocks of a phase")
                clocks[left.pop(0)] = value
                continue
            if not last < field < len(device._spiking):
                raise self._impossible(f"neuron {field}, out of order")
            last = field
            if not device._spiking[field]:
                values[field] = wrap_to(value, self._bits)
            elif 1 <= value <= program.chip.largest_payload:
                spikes[field] = value
            else:
                raise self._impossible(f"{value} spikes of neuron {field} in a tick")
        if program.chip.digests:
            low, high = device.link.receive(2)
            seen += [low, high]
            self.digests.append(low | high << WORD_BITS)
        for p in program.populations:
            gives = p.output and not program.models[p.model].spikes and p.updates_in(asked.tick)
            if gives and not values.keys() >= set(range(p.first, p.first + p.size)):
                raise self._impossible(f"not all values of '{p.name}'")
        self._crc = zlib.crc32(np.array(seen, "<u2").tobytes(), zlib.crc32(asked.given, self._crc))
        return list(clocks.values()), spikes, values

    def _count(self, events: dict[int, int], spikes: dict[int, int], spiked: int) -> None:
        if not self.counters or self._spiked is None:
            return
        device = self.device
        self.counters["events"] += len(events) + self._spiked
        self.counters["spikes"] += spiked
        self._spiked = spiked
        if "synaptic_events" in self.counters:
            for source, payload in (events | self._pending).items():
                for axon in device._axons.get(source, ()):
                    row = device._image.rows[axon]
                    self.counters["synaptic_events"] += row.synapses * payload
            lines = self.program.input_lines
            self._pending = {lines + neuron: count for neuron, count in spikes.items()}


@dataclass(frozen=True)
class _Asked:
    """A tick that was sent: its input, and the bytes of it that go into the digest."""

    sample: int
    tick: int
    events: Sequence[tuple[int, int]]
    given: bytes
