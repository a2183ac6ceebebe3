"""A board as a device: the program in its memories, runs as words over its link."""

from __future__ import annotations

import dataclasses
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir import cycles
from ..compiler.ir.cores import SynapseMemory, core_images, weights_of
from ..compiler.ir.device import (
    Device,
    Inputs,
    Progress,
    Signals,
    check_seed,
    check_values,
    deliveries,
    no_signals,
    signal_ticks,
    state_part,
)
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.learn import plastic_part, plastic_range
from ..compiler.ir.link import (
    KIND_SHIFT,
    LONG,
    NAME_WORDS,
    TELL_CYCLES,
    TELL_DIGEST,
    WORD_BITS,
    Command,
    Kind,
    word,
)
from ..compiler.ir.memory_map import MemoryMap, core_map
from ..compiler.ir.program import MappedPopulation, Program
from ..compiler.ir.region import units
from ..compiler.ir.spikes import Recording
from ..compiler.ir.stepped import SteppedRun
from ..compiler.ir.synapses import pack
from ..compiler.ir.validate import check_accumulators
from .damage import Damage, damage_of
from .learned import Learned
from .link import Link
from .replies import Replies

LEARNT = ("synapses", "parameters")  # what learning changes, and whether it is on
LARGEST_COUNT = 0xFFFF  # of one command
PIECE = 512  # words that are loaded before a slot of sums is cleared
LEAST_FILL = 8  # words alike that are worth a command of their own
HEX = NAME_WORDS * WORD_BITS // 4  # digits of a hash, as far as the link tells it


class BoardDevice(Device):
    """A board that answers on a link that is open. A `Device`; a context manager that closes it.

    counts: whether runs report clock cycles, which takes two more words per tick.
    """

    def __init__(self, link: Link, program: Program | None = None, *, counts: bool = True) -> None:
        self.link, self.counts = link, counts
        self.closing = ExitStack()  # what ends with it
        self._program: Program | None = None
        self._tell_counts()
        if program is not None:
            self.load(program)

    def __enter__(self) -> BoardDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Let go of the port."""
        self.closing.close()

    @property
    def program(self) -> Program:
        """The program that is loaded, with its present weights; raises SpikefabError if none."""
        if self._program is None or self.link.cut:
            why = "what it did was broken off" if self.link.cut else ""
            raise SpikefabError("no program", f"the board on {self.link.name}", why, "load one")
        return self._program

    @property
    def tick(self) -> int:
        """The present tick: how many have passed since the restart."""
        return self._tick

    def who(self) -> tuple[str, str]:
        """(hash of the core that the board is, name of the program that it holds)."""
        self.link.send([word(Kind.COMMAND, Command.WHO)])
        said = self.link.receive(2 * NAME_WORDS)
        return _hex(said[:NAME_WORDS]), _hex(said[NAME_WORDS:])

    def load(self, program: Program) -> None:
        """Take a program and restart; what is there already stays.

        Raises SpikefabError for a program of another chip, before anything is written, and where
        the board's memories then hold something else.
        """
        map = core_map(program)
        if self.link.cut:
            self.link.open()
            self._tell_counts()
        chip, name = self.who()
        if chip != map.hash[:HEX]:
            raise SpikefabError(
                f"a program for the core {map.hash[:HEX]}", f"the board on {self.link.name}",
                f"it is the core {chip}",
                "build the board for this program, or compile for its chip",
            )  # fmt: skip
        self._original, self._seed = program, program.seed
        self._place(program, map)
        self._told_routes = self._contents["routes"]
        self._write("routes", self._told_routes)
        expected = self._expected_hash()
        slots = range(map.chip.delay_slots)
        uncleared = iter(slots)
        if name != program.hash[:HEX] or self._hash() != expected:
            self.link.send([word(Kind.COMMAND, Command.NAME), *[0] * NAME_WORDS])
            self.link.send([word(Kind.COMMAND, Command.DIGEST)])
            pieces = []
            for region, entries in self._hashed():
                size = PIECE >> map.regions[region].unit_bits
                pieces += [(region, n, entries[n : n + size]) for n in range(0, len(entries), size)]
            for region, first, entries in pieces:
                self._write(region, entries, first, hashed=True)
                for slot in islice(uncleared, -(-len(slots) // len(pieces))):
                    self._clear(slot)  # while the wire brings more
            if self._digest() != expected:
                self._program = None
                raise SpikefabError(
                    "the memories hold something else", f"the board on {self.link.name}",
                    "their hash after the load is not that of the program", "load again",
                )  # fmt: skip
            self.link.send([word(Kind.COMMAND, Command.NAME), *_words(program.hash[:HEX])])
        self._restore(uncleared)

    def _tell_counts(self) -> None:
        told = TELL_CYCLES * self.counts | TELL_DIGEST  # which a chip without digests ignores
        self.link.send([word(Kind.COMMAND, Command.TELL), told])

    def _place(self, program: Program, map: MemoryMap) -> None:
        """Derive what the memories hold for a program."""
        self._program, self._map = program, map
        (self._image,) = core_images(program)
        self._contents = map.contents(self._image, self._seed)
        self._contents["pending"] = [0] * map.regions["pending"].entries
        self._axons = defaultdict[int, list[int]](list)  # of each source that reaches something
        for axon, source in enumerate(self._image.sources.tolist()):
            self._axons[source].append(axon)
        self._learned = None
        if map.learn:
            self._learned = Learned(program, map, self._image, self._read, self._write)
        self._spiking = [
            program.models[p.model].spikes for p in program.populations for _ in range(p.size)
        ]

    def restart(self, weights: bool = False, seed: int | None = None) -> None:
        """Restore initial state, accumulators, pending events and traces; weights if asked.

        seed: of what is drawn from here on, in batches too; default is the program's. Whether a
        projection learns stays as it is. Raises SpikefabError for what is no seed.
        """
        self._seed = self.program.seed if seed is None else check_seed(seed, "the restart")
        changed = self.program is not self._original
        if weights and (self._learned or changed):
            self._place(self._original, self._map)
            self._write("synapses", self._contents["synapses"])
        self._contents["registers"] = self._map.first_registers(self._image, self._seed)
        # Sums wait no longer than the longest delay: an update takes those of its tick.
        self._restore(range(self._tick, self._tick + self._longest_delay + 1))

    @property
    def _longest_delay(self) -> int:
        return max([self.program.synapses.delays[-1], *(q.delay for q in self.program.plastic)])

    def _restore(self, ticks: Iterable[int]) -> None:
        """What a run changes, as the program has it; sums may wait for these ticks."""
        for region in self._map.changing:
            self._write(region, self._contents[region])
        if self._learned:
            self._learned.restart()
        self._late = no_signals(self.program)
        for slot in sorted({tick % self._map.chip.delay_slots for tick in ticks}):
            self._clear(slot)
        self._tick = 0
        self._spiked: int | None = 0  # in the tick before, if that is known

    def _clear(self, slot: int) -> None:
        """The sums of a slot."""
        self._write("accumulators", [0] * self._image.neurons, self._first_sum(slot))

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
        """As every device's `run`. Counters are derived from the clocks that the board tells;
        `synaptic_events` is there if the spikes of all populations are recorded."""
        program = self.program
        given = deliveries(program, spikes, steps, samples, signals)
        run = SteppedRun(program, given, record, 0 if given.batch else self._tick, drain)
        self._output_spikes(run.recorded)
        replies = Replies(self, run)
        learned = self._learned
        with self.link.unbroken():
            weights = learned.words() if learned and given.batch else []
            replies.begin()
            for sample in range(given.samples):
                if given.batch:
                    self._begin_anew(weights)
                told, self._late = signal_ticks(
                    program, given, sample, run.base, run.begin, run.end, self._late
                )
                for tick in range(run.begin, run.end):
                    if learned:
                        learned.signals(told[tick - run.begin].tolist())
                    events = run.events(sample, tick)
                    replies.expect(sample, tick, events, self._send_tick(events))
                    for number, _ in run.due(tick):
                        p = program.populations[number]
                        self._ask("state", p.first, p.size)
                    replies.take()
                    if progress and not given.batch:
                        progress(tick + 1 - run.begin, run.ticks)
                self._tick = run.end
                if progress and given.batch:
                    progress(sample + 1, given.samples)
            replies.finish()
        if given.batch:
            self._begin_anew(weights)
        return run.recording(replies.counters, self.counts, replies.digests)

    def _begin_anew(self, weights: Sequence[int]) -> None:
        """Restart with these words of plastic weights, and the seed as it is."""
        self.restart(seed=self._seed)
        if self._learned:
            self._learned.restore(weights)

    def _send_tick(self, events: Sequence[tuple[int, int]]) -> bytes:
        """Send a tick with its events; returns what of it goes into the digest."""
        words = []
        for source, payload in events:
            for axon in self._axons.get(source, ()):
                words += [axon] if payload == 1 else [LONG | axon, payload]
        words.append(Kind.TICK << KIND_SHIFT)
        given = np.array(words, np.uint16)
        self.link.send(given)
        return given.astype("<u2").tobytes()

    def read(self, name: str) -> NDArray[np.int32]:
        """State ``population.variable`` [size], ``weights`` of fixed synapses in the order of flat
        rows, or ``projection.variable`` of a plastic projection (see `Machine.read`)."""
        if name == "weights":
            return self._weights()
        if self._learned and (part := plastic_part(self.program, name)):
            return self._learned.read(*part)
        number, variable = state_part(self.program, name)
        p = self.program.populations[number]
        return self._variable(self._read("state", p.first, p.size), p, variable)

    def write(self, name: str, values: Any) -> None:
        """Write what `read` reads; raises SpikefabError for values outside their format."""
        program = self.program
        if name == "weights":
            limit = program.chip.largest_weight
            given = check_values(values, program.synapses.count, -limit - 1, limit, name)
            synapses = program.synapses
            packed = pack(synapses.target, given, synapses.wide)
            changed = dataclasses.replace(
                program, synapses=dataclasses.replace(synapses, words=packed)
            )
            check_accumulators(changed, "the weights written")
            self._place(changed, self._map)
            words = self._contents["synapses"]
            for row in self._image.rows:
                if row.plastic < 0:
                    end = row.address + row.words
                    self._write("synapses", words[row.address : end], row.address)
            return
        if self._learned and (part := plastic_part(program, name)):
            given = check_values(values, *plastic_range(program, *part), name)
            self._learned.write(*part, given)
            return
        number, variable = state_part(program, name)
        p = program.populations[number]
        given = check_values(values, p.size, *program.models[p.model].state[variable], name)
        entries = []
        for entry, value in zip(self._read("state", p.first, p.size), given.tolist(), strict=True):
            state = self._map.state(p.model, entry) | {variable: value}
            entries.append(self._map.state_entry(p.model, state))
        self._write("state", entries, p.first)

    def accumulators(self, ahead: int | None = None) -> NDArray[np.int64]:
        """Sums that wait for later ticks: [ticks ahead, neurons]; row 0 is for the next Update.

        ahead: how many ticks; default is as many as the chip has slots.
        """
        neurons = self.program.neurons
        slots, bits = self._map.chip.delay_slots, self._map.chip.accumulator_bits
        ticks = range(self._tick, self._tick + min(slots, slots if ahead is None else ahead))
        for tick in ticks:
            self._ask("accumulators", self._first_sum(tick % slots), neurons)
        sums = [self._answer("accumulators", neurons) for _ in ticks]
        found = np.array(sums, np.int64).reshape(len(ticks), neurons)
        found[found >= 1 << (bits - 1)] -= 1 << bits
        return found

    def pending(self) -> dict[int, int]:
        """Events of the next tick: payload by source, of those that reach something."""
        chip = self.program.chip
        count = len(self._image.sources)
        words = self._read("pending", 0, -(-count // cycles.PENDING_WORD))
        axons = [
            cycles.PENDING_WORD * n + k for n, bits in enumerate(words)
            for k in range(cycles.PENDING_WORD) if bits >> k & 1
        ]  # fmt: skip
        if axons and axons[-1] >= count:
            raise SpikefabError(
                "a reply that cannot be", f"the board on {self.link.name}",
                f"a pending event of axon {axons[-1]} of {count}", "load and run again",
            )  # fmt: skip
        payloads = dict.fromkeys(axons, 1)
        if chip.payload_bits > 1 and axons:
            kept = self._read("payloads", 0, axons[-1] + 1)
            payloads = {axon: kept[axon] for axon in axons}
        sources = self._image.sources.tolist()
        return {sources[axon]: payload for axon, payload in payloads.items()}

    def _output_spikes(self, names: Sequence[str]) -> None:
        """Have the spikes of these populations told, besides those of outputs."""
        routes = self._map.regions["routes"]
        wanted = list(self._contents["routes"])
        for name in names:
            p = self.program.population(name)
            for n in range(p.first, p.first + p.size):
                wanted[n] = routes.pack(**(routes.unpack(wanted[n]) | {"output": 1}))
        if wanted != self._told_routes:
            self._write("routes", wanted)
        self._told_routes = wanted

    def intact(self) -> bool:
        """Whether the memories hold what a run leaves as it is, by their hash."""
        return self._hash(stays=True) == self._expected_hash(stays=True)

    def damage(self) -> Damage | None:
        """The first thing in these memories that is not as the program has it."""
        for region, entries in self._hashed(stays=True):
            stored = self._map.regions[region]
            found = self._read(region, 0, len(entries))
            for n, (wanted, there) in enumerate(zip(entries, found, strict=True)):
                if wanted != there:
                    return damage_of(self.program, self._map, self._image, stored, n, wanted, there)
        return None

    # Memories.

    def _first_sum(self, slot: int) -> int:
        return slot << (self._map.word_bits + self._map.lane_bits)

    def _write(
        self, region: str, entries: Sequence[int], first: int = 0, *, hashed: bool = False
    ) -> None:
        """Write entries of a region; words alike in one command. hashed: they are read back, for
        the digest."""
        flat = np.array(units(self._map.regions[region], entries), np.uint16)
        base = self._map.address(region, first)
        if not len(flat):
            return
        ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, len(flat))
        parts: list[tuple[int, int, bool]] = []  # begin, end, whether alike
        at = 0
        for end in ends:
            alike = end - at >= LEAST_FILL
            if parts and not alike and not parts[-1][2]:
                parts[-1] = (parts[-1][0], int(end), False)
            else:
                parts.append((at, int(end), alike))
            at = int(end)
        for begin, end, alike in parts:
            for a in range(begin, end, LARGEST_COUNT):
                b = min(end, a + LARGEST_COUNT)
                place = base + a, b - a
                if alike:
                    self.link.send([*_access(Command.FILL, *place), int(flat[a])])
                    if hashed:
                        self.link.send(_access(Command.HASH, *place))
                else:
                    self.link.send(_access(Command.LOAD if hashed else Command.WRITE, *place))
                    self.link.send(flat[a:b])

    def _ask(self, region: str, first: int, count: int, command: Command = Command.READ) -> None:
        """Have entries of a region read; all units of each."""
        base = self._map.address(region, first)
        left = count << self._map.regions[region].unit_bits
        while left:
            some = min(left, LARGEST_COUNT)
            self.link.send(_access(command, base, some))
            base, left = base + some, left - some

    def _answer(self, region: str, count: int) -> list[int]:
        """The entries that were asked for."""
        stored = self._map.regions[region]
        step = 1 << stored.unit_bits
        words = self.link.receive(count * step)
        found = []
        for n in range(0, len(words), step):
            parts = words[n : n + stored.units]
            found.append(sum(part << WORD_BITS * k for k, part in enumerate(parts)))
        return found

    def _read(self, region: str, first: int, count: int) -> list[int]:
        self._ask(region, first, count)
        return self._answer(region, count)

    def _hash(self, stays: bool = False) -> int:
        """CRC-32 of what the board's memories hold where a program stands."""
        self.link.send([word(Kind.COMMAND, Command.DIGEST)])
        for region, entries in self._hashed(stays):
            self._ask(region, 0, len(entries), Command.HASH)
        return self._digest()

    def _digest(self) -> int:
        """The digest, from the last time that a new one was begun."""
        self.link.send([word(Kind.COMMAND, Command.DIGEST)])
        *_, low, high = self.link.receive(4)
        return low | high << WORD_BITS

    def _hashed(self, stays: bool = False) -> Iterator[tuple[str, list[int]]]:
        """What a load writes and a restart does not; stays: and neither runs nor hosts change."""
        left = {*self._map.changing, *(LEARNT if stays and self._learned else ())}
        for region, entries in (self._contents | {"routes": self._told_routes}).items():
            if region not in left and entries:
                yield region, entries

    def _expected_hash(self, stays: bool = False) -> int:
        crc = 0
        for region, entries in self._hashed(stays):
            stored = self._map.regions[region]
            crc = zlib.crc32(np.array(units(stored, entries), "<u2").tobytes(), crc)
        return crc

    def _variable(
        self, entries: Sequence[int], p: MappedPopulation, variable: str
    ) -> NDArray[np.int32]:
        return np.array([self._map.state(p.model, e)[variable] for e in entries], np.int32)

    def _weights(self) -> NDArray[np.int32]:
        words = self._read("synapses", 0, len(self._contents["synapses"]))
        sparse = self._image.memory.sparse
        found = weights_of(self.program, SynapseMemory.unpack(words, sparse, self._map.chip))
        return found[: self.program.synapses.count]


def _access(command: Command, address: int, count: int) -> list[int]:
    low, high = address & 0xFFFF, address >> WORD_BITS
    return [word(Kind.COMMAND, command), low, high, count]


def _words(name: str) -> list[int]:
    """A hash in hex as words."""
    number = int(name, 16)
    return [number >> WORD_BITS * n & 0xFFFF for n in range(NAME_WORDS)]


def _hex(words: Sequence[int]) -> str:
    return f"{sum(w << WORD_BITS * n for n, w in enumerate(words)):0{HEX}x}"
