"""Where two devices part: the first tick, neuron or synapse, and variable that is not the same.

Both run the same program on the same input. Spikes of all populations, values, states and clock
cycles are compared in every tick: as recorded, or, where a board's chip has digests, by the digest
of each tick. Pending events, sums that wait in accumulators as far ahead as synaptic delays reach,
and what learning keeps are compared after every chunk of steps; a chunk is one step where delays
keep sums waiting and there are no digests. A chunk in which there is a difference is run again,
from the start, and compared step by step. All sums, weights, and on a board whatever else a run
leaves as it is, are compared before the first sample and after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.cycles import PHASES
from ..compiler.ir.device import Device, Inputs, Progress, Signals, deliveries
from ..compiler.ir.digest import tick_digests
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import core_map
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import Recording, SpikeTrain
from .device import BoardDevice

CHUNK = 64  # steps after which waiting sums and pending events are compared


class Inspected(Device, Protocol):
    """A device that shows all that it holds."""

    @property
    def program(self) -> Program:
        """What is loaded."""

    def accumulators(self, ahead: int | None = None) -> NDArray[np.int64]:
        """Sums that wait: [ticks ahead, neurons]; of so many ticks, or of all."""

    def pending(self) -> dict[int, int]:
        """Events of the next tick: payload by source."""


@dataclass(frozen=True)
class Difference:
    """The first difference: what each device holds, and where.

    tick: from the sample's start; -1 for what differs before the run. neuron, source: by the
    network's names, the latter of a synapse or an event; variable: a state variable, `spike`,
    `value`, `cycles of PHASE`, `weight`, `accumulator N ticks ahead`, `pending`, or what a board's
    memory holds (`row delay`, `parameters p0`, ...).
    """

    sample: int
    tick: int
    core: int
    variable: str
    a: int
    b: int
    neuron: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        places = [place for place in (self.source, self.neuron) if place]
        where = f" of {' -> '.join(places)}" if places else ""
        when = f"tick {self.tick}" if self.tick >= 0 else "before the run"
        return f"sample {self.sample}, {when}, core {self.core}: {self.variable}{where}"


@dataclass(frozen=True)
class Comparison:
    """What `diff` found: `first` is None where all that was compared is equal.

    replay: the input of the differing sample up to that tick, in steps; steps: how many it takes.
    """

    ticks: int
    samples: int
    first: Difference | None = None
    replay: dict[str, SpikeTrain] | None = None
    steps: int = 0

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return self.first is None


def diff(
    a: Inspected,
    b: Inspected,
    spikes: Inputs = None,
    steps: int | None = None,
    *,
    signals: Signals = None,
    progress: Progress | None = None,
) -> Comparison:
    """Run the program that both devices hold, and compare all that it does.

    Runs until the last stage has taken all steps, sample by sample. Raises SpikefabError where the
    devices hold different programs or the input does not fit.
    """
    program = a.program
    if program.hash != b.program.hash:
        raise SpikefabError(
            f"programs {program.hash[:8]} and {b.program.hash[:8]}", "diff",
            "the devices hold different programs", "load the same",
        )  # fmt: skip
    given = deliveries(program, spikes, steps, None, signals)
    trains = _trains(program, spikes)
    run = _Pair(program, a, b)
    chunk = 1 if run.delays and not run.digests else CHUNK
    total = -(-program.ticks(given.steps) // program.period) if given.steps else 0
    ticks = 0
    for sample in range(given.samples):
        mine = _of_sample(trains, sample)
        run.restart(given.signals[sample])
        found = (run.kept(-1) if sample == 0 else None) or run.memories(-1)
        done = 0
        while found is None and done < total:
            end = min(done + chunk, total)
            if end == done + 1:
                found = run.step(mine, done)
            elif not run.alike(mine, done, end):
                found = run.closely(mine, done, end)
            done = end
            if progress and given.samples == 1:
                progress(done, total)
        if found is None and sample == given.samples - 1:
            found = run.kept(total * program.period - 1)
        if found is not None:
            n = min(given.steps, max(1, found.tick // program.period + 1))
            replay = {name: _cut(train, n) for name, train in mine.items()}
            kept = Difference(**{**found.__dict__, "sample": sample})
            return Comparison(ticks + found.tick + 1, sample + 1, kept, replay, n)
        ticks += total * program.period
        if progress and given.samples > 1:
            progress(sample + 1, given.samples)
    return Comparison(ticks, given.samples)


class _Pair:
    """Two devices that go on in step."""

    def __init__(self, program: Program, a: Inspected, b: Inspected) -> None:
        self.program, self.devices = program, (a, b)
        self.record = [p.name for p in program.populations if program.models[p.model].spikes]
        self.record += [
            f"{p.name}.{variable}" for p in program.populations
            for variable in program.models[p.model].state
        ]  # fmt: skip
        self.digests = program.chip.digests and any(isinstance(d, BoardDevice) for d in (a, b))
        self.delays = max([program.synapses.delays[-1], *(q.delay for q in program.plastic)])
        self._signals = np.zeros((0, len(program.signals)), np.int32)
        self._weights = [
            {q.name: device.read(f"{q.name}.weights") for q in program.plastic}
            for device in self.devices
        ]

    def restart(self, signals: NDArray[np.int32] | None = None) -> None:
        """Both to the start, with the weights that they had; signals: of the sample to come,
        default is those of the last, [steps, signals]."""
        if signals is not None:
            self._signals = signals
        for device, weights in zip(self.devices, self._weights, strict=True):
            device.restart()
            for name, values in weights.items():
                device.write(f"{name}.weights", values)

    def _run(
        self, device: Inspected, spikes: Mapping[str, SpikeTrain], first: int, end: int,
        record: Sequence[str] = (),
    ) -> Recording:  # fmt: skip
        """Go on by these steps."""
        part = self._signals[first:end]
        part = np.pad(part, ((0, end - first - len(part)), (0, 0)))
        signals = {name: part[:, n] for n, name in enumerate(self.program.signals)}
        given = _between(spikes, first, end)
        return device.run(given, end - first, signals=signals, record=record, drain=False)

    def alike(self, spikes: Mapping[str, SpikeTrain], first: int, end: int) -> bool:
        """Go on by these steps; whether there is no difference in them, as far as digests tell if
        there are any, nor in memories after them."""
        if not self.digests:
            same = self._recorded(spikes, first, end) is None
        else:
            a, b = (self._told(device, spikes, first, end) for device in self.devices)
            (ra, da), (rb, db) = a, b
            same = (
                np.array_equal(da, db) and np.array_equal(_cycles(ra), _cycles(rb))
                and all(np.array_equal(ra.values[name], rb.values[name]) for name in ra.values)
                and all(
                    ra.spikes[name].equals(rb.spikes[name])
                    for name in ra.spikes.keys() & rb.spikes.keys()
                )
            )
        return same and self.memories(end * self.program.period - 1) is None

    def step(self, spikes: Mapping[str, SpikeTrain], step: int) -> Difference | None:
        """Go on by a step; the first difference in it, or in memories after it."""
        after = (step + 1) * self.program.period - 1
        return self._recorded(spikes, step, step + 1) or self.memories(after)

    def closely(self, spikes: Mapping[str, SpikeTrain], first: int, end: int) -> Difference:
        """The first difference of these steps, from a run from the start."""
        self.restart()
        if first:
            for device in self.devices:
                self._run(device, spikes, 0, first)
        for step in range(first, end):
            if (found := self.step(spikes, step)) is not None:
                return found
        raise SpikefabError(
            "a difference that comes and goes", "diff",
            f"it was there between steps {first} and {end - 1} and is not when run again",
            "see whether a device is reliable",
        )  # fmt: skip

    def _told(
        self, device: Inspected, spikes: Mapping[str, SpikeTrain], first: int, end: int
    ) -> tuple[Recording, NDArray[np.uint32]]:
        """What a device does in these steps, with the digest of each tick."""
        record = () if isinstance(device, BoardDevice) else self.record
        run = self._run(device, spikes, first, end, record)
        if run.digests is not None:
            return run, run.digests
        map, begin = core_map(self.program), first * self.program.period
        return run, tick_digests(map, self.program, run, begin)

    def _recorded(
        self, spikes: Mapping[str, SpikeTrain], first: int, end: int
    ) -> Difference | None:
        """Go on by these steps; the first difference in what is recorded."""
        a, b = (self._run(device, spikes, first, end, self.record) for device in self.devices)
        found = sorted(self._differences(a, b, first), key=lambda pair: pair[0])
        return found[0][1] if found else None

    def kept(self, tick: int) -> Difference | None:
        """The first difference in what a run leaves as it is, after a tick."""
        program = self.program
        wa, wb = (device.read("weights") for device in self.devices)
        if (at := _first(wa != wb)) is not None:
            synapses = program.synapses
            neuron = int(synapses.target[at])
            return Difference(
                0, tick, self._core(neuron), "weight", int(wa[at]), int(wb[at]),
                program.neuron_name(neuron), program.source_name(int(synapses.source[at])),
            )  # fmt: skip
        for device in self.devices:
            if isinstance(device, BoardDevice) and (fault := device.damage()) is not None:
                held = (fault.expected, fault.found)
                a, b = held if device is self.devices[1] else held[::-1]
                return Difference(0, tick, 0, fault.variable, a, b, fault.neuron, fault.source)
        return self._sums(tick, program.chip.delay_slots)

    def _sums(self, tick: int, ahead: int) -> Difference | None:
        """The first difference in sums that wait for so many ticks ahead."""
        program = self.program
        sums = [device.accumulators(ahead) for device in self.devices]
        rows = max(len(x) for x in sums)
        sa, sb = (np.pad(x, ((0, rows - len(x)), (0, 0))) for x in sums)
        if (at := _first((sa != sb).ravel())) is not None:
            ahead, neuron = divmod(at, sa.shape[1])
            return Difference(
                0, tick, self._core(neuron), f"accumulator {ahead} ticks ahead",
                int(sa[ahead, neuron]), int(sb[ahead, neuron]), program.neuron_name(neuron),
            )
        return None

    def memories(self, tick: int) -> Difference | None:
        """The first difference in sums that delays keep waiting and in pending events."""
        program = self.program
        if self.delays and (found := self._sums(tick, self.delays)) is not None:
            return found
        if (learnt := self._learnt(tick)) is not None:
            return learnt
        reaching = set(program.synapses.source.tolist())
        reaching |= {q.first + int(source) for q in program.plastic for source in q.source}
        pa, pb = (
            {s: n for s, n in device.pending().items() if s in reaching}
            for device in self.devices
        )
        for source in sorted(pa.keys() | pb.keys()):
            if pa.get(source, 0) != pb.get(source, 0):
                return Difference(
                    0, tick, 0, "pending", pa.get(source, 0), pb.get(source, 0),
                    source=program.source_name(source),
                )
        return None

    def _learnt(self, tick: int) -> Difference | None:
        """The first difference in what learning keeps."""
        program = self.program
        for q in program.plastic:
            rule, target = program.rules[q.rule], program.populations[q.target]
            first = target.first
            for variable in ("weights", *rule.state, *rule.pre, *rule.post, *rule.held):
                a, b = (device.read(f"{q.name}.{variable}") for device in self.devices)
                if (at := _first(a != b)) is None:
                    continue
                neuron = source = None
                if variable == "weights" or variable in rule.state:
                    source, neuron = q.first + int(q.source[at]), int(q.to[at])
                elif variable in rule.pre:
                    source = q.first + at
                else:
                    neuron = first + at
                return Difference(
                    0, tick, self._core(first if neuron is None else neuron),
                    "weight" if variable == "weights" else variable, int(a[at]), int(b[at]),
                    None if neuron is None else program.neuron_name(neuron),
                    None if source is None else program.source_name(source),
                )  # fmt: skip
        return None

    def _core(self, neuron: int) -> int:
        return int(np.searchsorted(self.program.core_first, neuron, "right")) - 1

    def _differences(
        self, a: Recording, b: Recording, done: int
    ) -> Iterator[tuple[tuple[int, int, int], Difference]]:
        """The first difference in each thing recorded, with (tick, order within it, neuron)."""
        program = self.program
        base = done * program.period
        ca, cb = _cycles(a), _cycles(b)
        if (at := _first((ca != cb).ravel())) is not None:
            _, tick, core, phase = np.unravel_index(at, ca.shape)
            order = (0, 2, 4, 5)[phase]
            yield (base + int(tick), order, 0), Difference(
                0, base + int(tick), int(core), f"cycles of {PHASES[phase]}",
                int(ca.flat[at]), int(cb.flat[at]),
            )
        for p in program.populations:
            updates = _updates(p.start, p.period, base)
            for variable in program.models[p.model].state:
                name = f"{p.name}.{variable}"
                yield from self._table(name, a.state[name], b.state[name], p, updates, variable)
            if p.name in a.values:
                yield from self._table(
                    p.name, a.values[p.name], b.values[p.name], p, updates, "value"
                )
            elif p.name in a.spikes:
                yield from self._spikes(a.spikes[p.name], b.spikes[p.name], p, base)

    def _table(
        self, name: str, a: NDArray[np.int32], b: NDArray[np.int32], p: Any,
        updates: Callable[[int], int], variable: str,
    ) -> Iterator[tuple[tuple[int, int, int], Difference]]:  # fmt: skip
        if (at := _first((a != b).ravel())) is not None:
            _, row, index = np.unravel_index(at, a.shape)
            neuron, tick = p.first + int(index), updates(int(row))
            yield (tick, 1, neuron), Difference(
                0, tick, self._core(neuron), variable, int(a.flat[at]), int(b.flat[at]),
                self.program.neuron_name(neuron),
            )

    def _spikes(
        self, a: SpikeTrain, b: SpikeTrain, p: Any, base: int
    ) -> Iterator[tuple[tuple[int, int, int], Difference]]:
        ka, kb = _counts(a), _counts(b)
        other = [key for key in ka.keys() | kb.keys() if ka.get(key, 0) != kb.get(key, 0)]
        if other:
            step, index = min(other)
            neuron, tick = p.first + index, base + p.start + step * p.period
            yield (tick, 3, neuron), Difference(
                0, tick, self._core(neuron), "spike", ka.get((step, index), 0),
                kb.get((step, index), 0), self.program.neuron_name(neuron),
            )


def _cycles(recording: Recording) -> NDArray[np.int32]:
    if recording.cycles is None:
        raise SpikefabError("a device that counts no cycles", "diff", hint="have it count them")
    return recording.cycles


def _counts(train: SpikeTrain) -> dict[tuple[int, int], int]:
    payload = train.payload if train.payload is not None else np.ones(len(train), np.int32)
    keys = zip(train.step.tolist(), train.index.tolist(), strict=True)
    return dict(zip(keys, payload.tolist(), strict=True))


def _updates(start: int, period: int, base: int) -> Callable[[int], int]:
    """The tick of the n-th update from tick `base` on."""
    first = start + max(0, -(-(base - start) // period)) * period
    return lambda n: first + n * period


def _first(differs: NDArray[np.bool_]) -> int | None:
    return int(differs.argmax()) if differs.size and differs.any() else None


def _trains(program: Program, spikes: Inputs) -> dict[str, SpikeTrain]:
    if spikes is None:
        return {}
    if isinstance(spikes, SpikeTrain):
        return {program.inputs[0].name: spikes}
    return dict(spikes)


def _of_sample(trains: Mapping[str, SpikeTrain], sample: int) -> dict[str, SpikeTrain]:
    return {
        name: _taken(train, train.sample == sample) if train.sample is not None else train
        for name, train in trains.items()
    }


def _between(trains: Mapping[str, SpikeTrain], first: int, end: int) -> dict[str, SpikeTrain]:
    """The input of some steps, numbered from 0."""
    found = {}
    for name, train in trains.items():
        part = _taken(train, (train.step >= first) & (train.step < end))
        found[name] = SpikeTrain(part.step - first, part.index, part.payload)
    return found


def _cut(train: SpikeTrain, steps: int) -> SpikeTrain:
    return _taken(train, train.step < steps)


def _taken(train: SpikeTrain, which: NDArray[np.bool_]) -> SpikeTrain:
    payload = train.payload[which] if train.payload is not None else None
    return SpikeTrain(train.step[which], train.index[which], payload)
