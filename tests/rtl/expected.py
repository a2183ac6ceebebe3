"""What the core must report, tick by tick, from the exact machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from spikefab.compiler.ir import cycles
from spikefab.compiler.ir.cores import Row
from spikefab.compiler.ir.machine import Machine
from spikefab.compiler.ir.memory_map import MemoryMap, units
from spikefab.compiler.ir.program import Program
from spikefab.compiler.ir.rows import DENSE
from spikefab.rtl.emit import output_layout
from spikefab.rtl.testbench import script_event, script_read, script_tick, script_write

FIRST_SUM = 5  # clock of Deliver in which the first sum can be written, accumulate_latency apart
FIRST_STORE = 3  # the same of Update and a stored neuron, the pipeline's latency apart


class Expectation:
    """One program on one core: the script of a run, and the log it must give."""

    def __init__(self, map: MemoryMap, program: Program) -> None:
        self.map, self.program, self.machine = map, program, Machine(program)
        (self.core,) = self.machine.cores
        self.width = output_layout(map)["value"].width

    def script(self, events: list[dict[int, int]], dirty: bool) -> Iterator[str]:
        """Load the program and run a tick per dict of payloads by source.

        dirty: the memories may hold what another program left.
        """
        image = self.core.image
        contents = self.map.contents(image, self.program.seed)
        places = self.map.chip.delay_slots << (self.map.word_bits + self.map.lane_bits)
        if dirty:
            contents["accumulators"] = [0] * places
            contents["pending"] = [0] * self.map.regions["pending"].entries
        for region, entries in contents.items():
            yield from script_write(self.map, region, entries)
        for tick in events:
            for source, payload in tick.items():
                for _, axon in self.machine._routes[source]:
                    yield script_event(axon, payload)
            yield script_tick()
        yield from script_read(self.map, "state", 0, image.neurons)
        yield "0" * 16

    def log(self, events: list[dict[int, int]]) -> Iterator[str]:
        """The lines of the log, in the order that the testbench writes them."""
        for tick in events:
            for source, payload in tick.items():
                self.machine._send(source, payload)
            yield from self._deliver()
            (clocks,), spikes, values = self.machine.step_tick([])
            yield self._report(1, clocks[0])
            yield from self._update(spikes, values)
            yield self._report(2, clocks[1])
            yield from self._emit(spikes, values)
            yield self._report(3, clocks[2])
        for entry in self._states():  # as the host reads them back
            real = units(self.map.regions["state"], [entry])[: self.map.regions["state"].units]
            yield from (f"M {unit:04x}" for unit in real)

    def _states(self) -> Iterator[int]:
        """The entry of each neuron in the memory of states."""
        for p in self.core.image.populations:
            model = self.map.models[p.model]
            for address in range(p.first, p.first + p.size):
                yield self.map._entry("state", "s", model.state, self.core.state[address])

    def _report(self, phase: int, clocks: int) -> str:
        return f"O {phase} {self._hex(0, self.map.neuron_bits)} {self._hex(clocks, self.width)}"

    def _hex(self, value: int, bits: int) -> str:
        return f"{value & ((1 << bits) - 1):0{-(-bits // 4)}x}"

    def _deliver(self) -> Iterator[str]:
        core, chip = self.core, self.map.chip
        clock = FIRST_SUM + chip.accumulate_latency
        sums = core.accumulators.copy()
        for axon, row in enumerate(core.image.rows):
            clock += axon % cycles.PENDING_WORD == 0
            for _ in range(core.pending.get(axon, 0)):
                for n in range(row.words):
                    for lane, slot, word, total in self._word(row, n, sums):
                        place = self._hex(slot << self.map.word_bits | word,
                                          self.map.word_bits + self.map.slot_bits)
                        total_text = self._hex(total, chip.accumulator_bits)
                        yield f"R {clock + n} {lane} {place} {total_text}"
                clock += row.words + (0 if row.follows else cycles.row_gap(chip))

    def _word(
        self, row: Row, n: int, sums: np.ndarray
    ) -> list[tuple[int, int, int, int]]:
        """(lane, slot, word, sum) of each lane that a synapse word touches, lanes rising."""
        memory, chip = self.core.image.memory, self.map.chip
        lanes, slots = chip.lanes, chip.delay_slots
        at, tick = row.address + n, self.machine.tick
        places = []
        if row.kind == DENSE:
            slot = (tick + row.delay) % slots
            places = [(slot, (row.begin + n) * lanes + k, memory.weight[at, k])
                      for k in range(lanes)]
        else:
            places = [((tick + int(memory.delay[at, j])) % slots, int(memory.target[at, j]),
                       memory.weight[at, j]) for j in np.flatnonzero(memory.weight[at])]
        found = []
        for slot, target, weight in places:
            sums[slot, target] += weight
            found.append((target % lanes, slot, target // lanes, int(sums[slot, target])))
        return sorted(found)

    def _update(self, spikes: Mapping[int, int], values: Mapping[int, int]) -> Iterator[str]:
        map, core, tick = self.map, self.core, self.machine.tick - 1
        clock = FIRST_STORE + map.chip.neuron_latency
        for p in core.image.populations:
            clock += cycles.POPULATION_CLOCKS
            if tick < p.start or (tick - p.start) % p.period:
                continue
            model = map.models[p.model]
            for address in range(p.first, p.first + p.size):
                neuron = core.image.first + address
                value = spikes.get(neuron, 0) if model.spikes else values[neuron]
                state = map._entry("state", "s", model.state, core.state[address])
                yield (f"N {clock} {self._hex(address, map.neuron_bits)} "
                       f"{self._hex(state, map.regions['state'].bits)} "
                       f"{self._hex(value, map.value_bits)}")
                clock += 1

    def _emit(self, spikes: Mapping[int, int], values: Mapping[int, int]) -> Iterator[str]:
        map, first = self.map, self.core.image.first
        shown = {
            first + p.first + n for p in self.core.image.populations if p.output >= 0
            for n in range(p.size)
        }
        for neuron, value in sorted((dict(spikes) | dict(values)).items()):
            if neuron in shown:
                raw = self._hex(self._as_bits(value), self.width)
                yield f"O 0 {self._hex(neuron - first, map.neuron_bits)} {raw}"

    def _as_bits(self, value: int) -> int:
        return value & ((1 << self.map.value_bits) - 1)
