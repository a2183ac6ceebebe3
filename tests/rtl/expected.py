"""What the core must report, tick by tick, from the exact machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from learnt import Learnt
from spikefab.compiler.ir import cycles
from spikefab.compiler.ir.cores import CorePopulation, Row, core_images
from spikefab.compiler.ir.learn import plastic_part
from spikefab.compiler.ir.machine import Machine
from spikefab.compiler.ir.memory_map import MemoryMap
from spikefab.compiler.ir.plastic import DENSE
from spikefab.compiler.ir.program import Program
from spikefab.compiler.ir.region import field_bits, units
from spikefab.rtl.emit import output_layout
from spikefab.rtl.testbench import (
    script_end,
    script_event,
    script_read,
    script_tick,
    script_write,
)

FIRST_SUM = 2  # clock of Deliver in which the first sum can be written, latencies apart
Ticks = Sequence[Mapping[int, int]]  # payload by source, of each tick
Signals = Sequence[Mapping[str, int]]  # values of the signals, of each tick
Writes = Mapping[int, Mapping[str, Sequence[int]]]  # what the host writes before a tick, by name
_NONE: Writes = {}


class Expectation:
    """One program on one core: the script of a run, and the log it must give.

    A run is a list of samples, each of which begins with a restart and ends with reading the states
    of all neurons; of programs that learn, what learning keeps is read after each tick, words of
    some rows in turn and of all at the end; `writes`, of weights of plastic projections and of
    whether they learn, come before ticks of every sample; restarts restore weights. Before them a
    few accumulators are written and read. The memories may
    hold what another program left.
    """

    def __init__(self, map: MemoryMap, program: Program) -> None:
        self.map, self.program, self.machine = map, program, Machine(program)
        self.image = self.machine.cores[0].image
        self.learnt = Learnt(map.learn, self.machine) if map.learn else None
        self._value_digits = _digits(output_layout(map)["value"].width)
        self._neuron_digits = _digits(map.neuron_bits)
        self._sum_digits = _digits(map.chip.accumulator_bits)
        self._state_digits = _digits(map.regions["state"].bits)
        self._update_digits = _digits(map.value_bits)
        self._rows = [self._words(row) for row in self.image.rows]
        digits = _digits(map.word_bits + map.slot_bits)
        self._places = [
            [f"{slot << map.word_bits | word:0{digits}x}" for word in range(1 << map.word_bits)]
            for slot in range(map.chip.delay_slots)
        ]
        self._fields = [self._state_fields(n) for n in range(len(map.models))]
        self._shown = {
            p.first + n for p in self.image.populations if p.output >= 0 for n in range(p.size)
        }

    def script(
        self, samples: Sequence[Ticks], signals: Signals = (), writes: Writes = _NONE
    ) -> Iterator[str]:
        """Load the program, run the samples."""
        contents = self.map.contents(self.image, self.program.seed)
        contents["pending"] = [0] * self.map.regions["pending"].entries
        sums = self._probed()
        yield from script_write(self.map, "accumulators", sums)
        yield from script_read(self.map, "accumulators", 0, len(sums))
        regions, slots = [name for name in contents if name != "accumulators"], self._slots(0)
        for sample in samples:
            for region in regions:
                yield from script_write(self.map, region, contents[region])
            for slot in slots:
                first = slot << (self.map.word_bits + self.map.lane_bits)
                sums = [0] * self.machine.cores[0].accumulators.shape[1]
                yield from script_write(self.map, "accumulators", sums, first)
            for tick, events in enumerate(sample):
                for name, values in writes.get(tick, {}).items():
                    yield from self._written(name, values)
                if tick < len(signals):
                    yield from self._signals(signals[tick])
                for source, payload in events.items():
                    for _, axon in self.machine._routes[source]:
                        yield script_event(axon, payload)
                yield script_tick()
                turn = None if tick == len(sample) - 1 else tick
                for region, first, count in self._read_back(turn):
                    yield from script_read(self.map, region, first, count)
            yield from script_read(self.map, "state", 0, self.image.neurons)
            regions, slots = list(self.map.changing), self._slots(len(sample))
            if self.learnt:
                regions.append("synapses")
        yield script_end()

    def _signals(self, values: Mapping[str, int]) -> Iterator[str]:
        if self.map.learn and self.map.learn.signals:
            given = [values.get(name, 0) & 0xFFFF for name in self.map.learn.signals]
            yield from script_write(self.map, "signals", given)

    def _written(self, name: str, values: Sequence[int]) -> Iterator[str]:
        """Weights of a plastic projection, or whether it learns (see `plastic_part`)."""
        part = plastic_part(self.program, name)
        assert part is not None
        assert self.map.learn is not None
        projection = next(q for q in self.image.plastic if q.number == part[0])
        if part[1] == "learning":
            entry = self.map.learn.projection_entry(self.image, projection, bool(values[0]))
            at = self.map.learn.projection_at(self.image.plastic.index(projection))
            yield from script_write(self.map, "parameters", [entry], at)
            return
        assert part[1] == "weights"
        plastic = [
            replace(q, weight=np.array(values, np.int32)) if n == part[0] else q
            for n, q in enumerate(self.program.plastic)
        ]
        image = core_images(replace(self.program, plastic=tuple(plastic)))[0]
        words = image.memory.pack(self.map.chip)
        for axon in projection.axons.tolist():
            row = image.rows[axon]
            given = words[row.address : row.address + row.words]
            yield from script_write(self.map, "synapses", given, row.address)

    def _read_back(self, turn: int | None) -> list[tuple[str, int, int]]:
        """(region, first entry, how many) of what learning keeps (see `Learnt.regions`)."""
        if not self.learnt:
            return []
        found = self.learnt.regions(turn)
        return [(region.name, first, len(entries)) for region, first, entries in found]

    def _probed(self) -> list[int]:
        """What is written to the first accumulators: any bits."""
        region = self.map.regions["accumulators"]
        bits = 0x9E37_79B9 * np.arange(1, 1 + min(4, region.entries), dtype=np.int64)
        return [int(x) & ((1 << region.bits) - 1) for x in bits]

    def _slots(self, ticks: int) -> list[int]:
        """Delay slots that may hold sums after so many ticks; all before a program's first."""
        chip = self.map.chip
        delays = [self.program.synapses.delays[-1], *(q.delay for q in self.program.plastic)]
        ahead = max(delays) if ticks else chip.delay_slots
        return [(ticks + n) % chip.delay_slots for n in range(ahead)]

    def log(
        self, samples: Sequence[Ticks], signals: Signals = (), writes: Writes = _NONE
    ) -> Iterator[tuple[str, str]]:
        """(where in the run, lines of the log), tick by tick, as the testbench writes them."""
        region = self.map.regions["accumulators"]
        read = [units(region, [x])[: region.units] for x in self._probed()]
        lines = [f"M {unit:04x}\n" for entry in read for unit in entry]
        yield "the accumulators read back", "".join(lines)
        for number, sample in enumerate(samples):
            where = f"sample {number}, " if len(samples) > 1 else ""
            self._restart()
            for tick, events in enumerate(sample):
                for name, values in writes.get(tick, {}).items():
                    self.machine.write(name, values)
                given = signals[tick] if tick < len(signals) else {}
                lines = self._tick(events, given, None if tick == len(sample) - 1 else tick)
                yield f"{where}tick {tick}", "".join(f"{line}\n" for line in lines)
            lines = (f"M {unit:04x}\n" for unit in self._states())
            yield f"{where}the states read back", "".join(lines)

    def _restart(self) -> None:
        self.machine.restart(weights=bool(self.learnt))
        self.image = self.machine.cores[0].image
        if self.learnt:
            self.learnt = Learnt(self.learnt.map, self.machine)

    def _tick(
        self, events: Mapping[int, int], signals: Mapping[str, int], turn: int | None
    ) -> Iterator[str]:
        for source, payload in events.items():
            self.machine._send(source, payload)
        yield from self._deliver()
        before, tick = self.learnt.before_tick() if self.learnt else {}, self.machine.tick
        given = [signals.get(name, 0) for name in self.program.signals]
        (clocks,), spikes, values = self.machine.step_tick(list(events.items()), given)
        yield self._report(1, clocks[0])
        yield from self._update(spikes, values)
        yield self._report(2, clocks[1])
        if self.learnt:
            yield self._report(2, clocks[2])
        yield from self._emit(spikes, values)
        yield self._report(3, clocks[3])
        if self.learnt:
            self.learnt.after_tick(tick, before, spikes)
            for region, _, entries in self.learnt.regions(turn):
                stored = self.map.regions[region.name]
                for unit in (u for x in entries for u in units(stored, [x])[: stored.units]):
                    yield f"M {unit:04x}"

    def _report(self, phase: int, clocks: int) -> str:
        return f"O {phase} {0:0{self._neuron_digits}x} {clocks:0{self._value_digits}x}"

    def _deliver(self) -> Iterator[str]:
        core, chip, tick = self.machine.cores[0], self.map.chip, self.machine.tick
        sums = core.accumulators.tolist()
        mask, digits = (1 << chip.accumulator_bits) - 1, self._sum_digits
        walked = FIRST_SUM + 2 * chip.memory_latency + chip.accumulate_latency
        for axon in sorted(core.pending):
            row, words = self.image.rows[axon], self._rows[axon]
            if row.plastic >= 0:
                words = self._words(row)
            cost = len(words) + (0 if row.follows else cycles.row_gap(chip))
            for _ in range(core.pending[axon]):
                clock = walked + 1 + axon // cycles.PENDING_WORD
                for word in words:
                    for lane, delay, place, target, weight in word:
                        slot = (tick + delay) % chip.delay_slots
                        sums[slot][target] = total = sums[slot][target] + weight
                        yield (f"R {clock} {lane} {self._places[slot][place]} "
                               f"{total & mask:0{digits}x}")  # fmt: skip
                    clock += 1
                walked += cost

    def _words(self, row: Row) -> list[list[tuple[int, int, int, int, int]]]:
        """(lane, delay, accumulator word, target, weight) of what each synapse word adds to."""
        memory, lanes = self.image.memory, self.map.chip.lanes
        words = []
        for n, at in enumerate(range(row.address, row.address + row.words)):
            weights = memory.weight[at].tolist()
            if row.kind == DENSE:
                word, first = row.begin + n, (row.begin + n) * lanes
                words.append([(k, row.delay, word, first + k, w) for k, w in enumerate(weights)])
                continue
            target, delay = memory.target[at].tolist(), memory.delay[at].tolist()
            added = zip(target, delay, weights, strict=False)
            words.append(sorted((t % lanes, d, t // lanes, t, w) for t, d, w in added if w))
        return words

    def _update(self, spikes: Mapping[int, int], values: Mapping[int, int]) -> Iterator[str]:
        map, tick = self.map, self.machine.tick - 1
        clock = cycles.input_clocks(map.chip) + map.chip.neuron_latency
        mask = (1 << map.value_bits) - 1
        for p in self.image.populations:
            clock += cycles.POPULATION_CLOCKS
            if tick < p.start or (tick - p.start) % p.period:
                continue
            given = spikes if map.models[p.model].spikes else values
            for address, state in enumerate(self._entries(p), p.first):
                value = given.get(self.image.first + address, 0) & mask
                yield (f"N {clock} {address:0{self._neuron_digits}x} "
                       f"{state:0{self._state_digits}x} {value:0{self._update_digits}x}")
                clock += 1

    def _emit(self, spikes: Mapping[int, int], values: Mapping[int, int]) -> Iterator[str]:
        mask = (1 << self.map.value_bits) - 1
        for neuron, value in sorted((*spikes.items(), *values.items())):
            address = neuron - self.image.first
            if address in self._shown:
                yield (f"O 0 {address:0{self._neuron_digits}x} "
                       f"{value & mask:0{self._value_digits}x}")

    def _state_fields(self, model: int) -> list[tuple[str, int, int]]:
        """(name, mask, place in the entry) of each state variable of a model."""
        fields = self.map.regions["state"].fields
        starts = itertools.accumulate((bits for _, bits in fields), initial=0)
        place = {field: at for (field, _), at in zip(fields, starts, strict=False)}
        return [
            (name, (1 << field_bits(*interval)) - 1, place[f"s{n}"])
            for n, (name, interval) in enumerate(sorted(self.map.models[model].state.items()))
        ]

    def _entries(self, p: CorePopulation) -> Iterator[int]:
        """The entries of a population's neurons in the memory of states."""
        fields = self._fields[p.model]
        for state in self.machine.cores[0].state[p.first : p.first + p.size]:
            entry = 0
            for name, mask, at in fields:
                entry |= (state[name] & mask) << at
            yield entry

    def _states(self) -> Iterator[int]:
        """What the host gets that reads the states of all neurons."""
        region = self.map.regions["state"]
        for p in self.image.populations:
            for entry in self._entries(p):
                yield from units(region, [entry])[: region.units]


def _digits(bits: int) -> int:
    return -(-bits // 4)
