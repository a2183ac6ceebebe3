"""The exact reference: runs core images tick by tick with the exact interpreter.

It does what the hardware does, word by word and event by event, in Python integers. It is slow; the
emulator and the gateware are held to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cycles
from .chip import ChipSpec
from .cores import CoreImage, Row, core_images, routing
from .device import (
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
from .interpret import Draws, evaluate, first_word, next_word
from .language import bounds
from .learn import Learning, plastic_part, plastic_range
from .neuron import Datapath
from .plastic import DENSE
from .program import MappedPopulation, Program
from .spikes import Recording
from .stepped import SteppedRun
from .synapses import pack
from .validate import check_accumulators


class Core:
    """One core: its image, and what it holds between ticks.

    accumulators: [slots, neurons rounded up to whole words]; pending: payload by axon;
    state: by address, then variable.
    """

    def __init__(self, image: CoreImage, chip: ChipSpec, models: Sequence[Datapath]) -> None:
        self.image, self.chip, self.models = image, chip, models
        words = -(-image.neurons // chip.lanes)
        self.accumulators = np.zeros((chip.delay_slots, words * chip.lanes), np.int64)
        self.pending: dict[int, int] = {}
        self.state: list[dict[str, int]] = [
            {name: int(values[n]) for name, values in p.initial.items()}
            for p in image.populations
            for n in range(p.size)
        ]

    def deliver(self, tick: int) -> int:
        """Walk the rows of all pending events; clocks that took."""
        clocks = cycles.deliver_constant(self.chip, len(self.image.rows))
        for axon, payload in sorted(self.pending.items()):
            row = self.image.rows[axon]
            for _ in range(payload):
                self._walk(row, tick)
                clocks += row.words + (0 if row.follows else cycles.row_gap(self.chip))
        self.pending = {}
        return clocks

    def _walk(self, row: Row, tick: int) -> None:
        memory, lanes = self.image.memory, self.chip.lanes
        for n in range(row.words):
            word = row.address + n
            if row.kind == DENSE:
                first = (row.begin + n) * lanes
                places = slice(first, first + lanes)
                self._add((tick + row.delay) % self.chip.delay_slots, places, memory.weight[word])
                continue
            for j in np.flatnonzero(memory.weight[word]):
                slot = (tick + int(memory.delay[word, j])) % self.chip.delay_slots
                self._add(slot, memory.target[word, j], memory.weight[word, j])

    def _add(self, slot: int, places: Any, weight: Any) -> None:
        self.accumulators[slot, places] += weight
        lo, hi = bounds(self.chip.accumulator_bits, True)
        sums = self.accumulators[slot, places]
        assert not ((sums < lo) | (sums > hi)).any(), "an accumulator overflows"

    def update(
        self, tick: int, word: int, passes: NDArray[np.int32]
    ) -> tuple[int, dict[int, int], dict[int, int]]:
        """(clocks, counts by address that spiked, values by address that does not spike); passes:
        sets of traces of each of the program's populations but the first."""
        clocks = cycles.update_constant(self.chip, len(self.image.populations))
        spikes: dict[int, int] = {}
        values: dict[int, int] = {}
        sums = self.accumulators[tick % self.chip.delay_slots]
        for p in self.image.populations:
            if tick < p.start or (tick - p.start) % p.period:
                continue
            model = self.models[p.model]
            clocks += p.size * int(passes[p.number])
            for address in range(p.first, p.first + p.size):
                after = self._step(model, address, int(sums[address]), word)
                sums[address] = 0
                clocks += 1
                if not model.spikes:
                    values[address] = after["value"]
                elif after["spike"]:
                    spikes[address] = after["spike"]
        return clocks, spikes, values

    def emit(self, spikes: dict[int, int], values: dict[int, int]) -> int:
        """Clocks that emitting these takes."""
        routes = np.array([len(self.image.routes[address]) for address in spikes], np.int32)
        read_out = {
            address
            for p in self.image.populations
            if p.output >= 0
            for address in range(p.first, p.first + p.size)
        }
        return int(cycles.emit_clocks(routes).sum()) + len(read_out & set(values))

    def _step(self, model: Datapath, address: int, current: int, word: int) -> dict[str, int]:
        state = self.state[address]
        inputs = {"current": current} | {f"state.{k}": v for k, v in state.items()}
        parameters = self.image.parameter_sets[int(self.image.parameter_set[address])].values
        inputs |= {f"parameter.{k}": v for k, v in parameters.items()}
        after = evaluate(model.outputs, inputs, Draws(word, self.image.core, address))
        self.state[address] = {name: after[f"next.{name}"] for name in state}
        return after


class Machine(Device):
    """Runs core images exactly. A `Device`.

    Its runs mean what every device's do. The run's step 0 is the next tick that is a multiple of
    the period; input of step s is delivered `s x period` ticks later, and a population's output of
    step s is that of its update `s x period + start` ticks later. With `drain`, a run of N steps
    ends when the last stage has taken N steps, and returns steps 0 .. N - 1. Without, it ends after
    N x period ticks and returns whatever was updated in it: spikes of steps before the run have
    negative steps, and values and state have one row per update, [samples, updates, size].
    `ticks` and `cycles` include the ticks before step 0.
    """

    def __init__(self, program: Program) -> None:
        self.load(program)

    def load(self, program: Program) -> None:
        """Take a program and restart."""
        self.program = self._original = program
        self._counters = {"events": 0, "synaptic_events": 0, "spikes": 0}
        self._images = core_images(program)
        self._learning = Learning(program)
        self.restart()

    def restart(self, weights: bool = False, seed: int | None = None) -> None:
        """Restore initial state, accumulators, pending events and traces; weights if asked.

        seed: of what is drawn from here on, in batches too; default is the program's. Whether a
        projection learns stays as it is. Raises SpikefabError for what is no seed.
        """
        self._seed = self.program.seed if seed is None else check_seed(seed, "the restart")
        if weights:
            on = self._learning.on
            self.program, self._images = self._original, core_images(self._original)
            self._learning = Learning(self.program)
            self._learning.on = on
        self._learning.restart()
        chip, models = self.program.chip, self.program.models
        self.cores = [Core(image, chip, models) for image in self._images]
        self._routes = routing(self.program)
        self._spiked: dict[int, int] = {}
        self._word = first_word(self._seed)
        self._late = no_signals(self.program)
        self.tick = 0

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
        """Run `steps` steps (default: to the last input) on from the present tick.

        With `samples`, or input that has a sample column, each sample runs from a restart, and the
        machine is restarted after. `record` names spiking populations that are not outputs, or
        state variables as ``population.variable``. Counters: `events` delivered, one per source and
        tick however many cores it reaches; `synaptic_events`, synapses walked, once for each count
        of the payload; `spikes`, updates that spiked. Raises SpikefabError for input that does not
        fit the program.
        """
        given = deliveries(self.program, spikes, steps, samples, signals)
        run = SteppedRun(self.program, given, record, 0 if given.batch else self.tick, drain)
        self._counters = {"events": 0, "synaptic_events": 0, "spikes": 0}
        weights = [w.copy() for w in self._learning.weights]
        for sample in range(given.samples):
            if given.batch:
                self._begin_anew(weights)
            run.next_sample()
            table, self._late = signal_ticks(
                self.program, given, sample, run.base, run.begin, run.end, self._late
            )
            for tick in range(run.begin, run.end):
                clocks, fired, shown = self.step_tick(
                    run.events(sample, tick), table[tick - run.begin].tolist()
                )
                run.note(tick, clocks, fired, shown, self._state)
            if progress:
                progress(sample + 1, given.samples)
        if given.batch:
            self._begin_anew(weights)
        return run.recording(self._counters)

    def _begin_anew(self, weights: Sequence[NDArray[np.int64]]) -> None:
        """Restart with these weights of the plastic projections, and the seed as it is."""
        self.restart(seed=self._seed)
        for number, values in enumerate(weights):
            self._write_plastic(number, values)

    def _write_plastic(self, number: int, values: NDArray[np.int64]) -> None:
        self._learning.write(number, "weights", "weights", values)
        self._learning.show(number, self._store)

    def _store(
        self, core: int, words: NDArray[np.int64], lanes: NDArray[np.int64],
        weights: NDArray[np.int64],
    ) -> None:  # fmt: skip
        self.cores[core].image.memory.weight[words, lanes] = weights

    def read(self, name: str) -> NDArray[np.int32]:
        """State ``population.variable`` [size]; ``weights`` of fixed synapses in the order of flat
        rows; ``projection.variable`` of a plastic projection: ``weights`` and synapses' state in
        the order of its rows, traces and held values, ``learning`` [1]."""
        if name == "weights":
            return self.program.synapses.weight.copy()
        if part := plastic_part(self.program, name):
            return self._learning.read(*part)
        number, variable = state_part(self.program, name)
        return self._state(self.program.populations[number], variable)

    def write(self, name: str, values: Any) -> None:
        """Write what `read` reads; raises SpikefabError for values outside their format."""
        program = self.program
        if name == "weights":
            limit = program.chip.largest_weight
            given = check_values(values, program.synapses.count, -limit - 1, limit, name)
            words = pack(program.synapses.target, given, program.synapses.wide)
            synapses = dataclasses.replace(program.synapses, words=words)
            changed = dataclasses.replace(program, synapses=synapses)
            check_accumulators(changed, "the weights written")
            self.program, self._images = changed, core_images(changed)
            for core, image in zip(self.cores, self._images, strict=True):
                core.image = image
            for number in range(len(changed.plastic)):
                self._learning.show(number, self._store)
            return
        if part := plastic_part(program, name):
            given = check_values(values, *plastic_range(program, *part), name)
            if part[1] == "weights":
                self._write_plastic(part[0], given)
            else:
                self._learning.write(*part, given)
            return
        number, variable = state_part(program, name)
        p = program.populations[number]
        given = check_values(values, p.size, *program.models[p.model].state[variable], name)
        for neuron, value in enumerate(given.tolist(), p.first):
            core = self._core_of(neuron)
            core.state[neuron - core.image.first][variable] = value

    def accumulators(self, ahead: int | None = None) -> NDArray[np.int64]:
        """Sums that wait for later ticks: [ticks ahead, neurons]; row 0 is for the next Update.

        ahead: how many ticks; default is as many as the chip has slots.
        """
        ring = np.concatenate([c.accumulators[:, : c.image.neurons] for c in self.cores], axis=1)
        return np.roll(ring, -(self.tick % self.program.chip.delay_slots), axis=0)[:ahead]

    def pending(self) -> dict[int, int]:
        """Events of the next tick: payload by source, whether or not it reaches a core."""
        return dict(sorted(self._spiked.items()))

    def step_tick(
        self, events: Sequence[tuple[int, int]], signals: Sequence[int] = ()
    ) -> tuple[list[list[int]], dict[int, int], dict[int, int]]:
        """One tick with input events (source, payload) and values of the program's signals.

        Returns clocks [cores, phases], counts by neuron that spiked, values by neuron.
        """
        program = self.program
        for source, payload in events:
            self._send(source, payload)
        self._count(dict(events) | self._spiked)
        for source in dict(events) | self._spiked:
            self._learning.deliver(self.tick, source)
        constant = [program.constant_cycles(core) for core in range(program.cores)]
        clocks = [
            [core.deliver(self.tick), 0, learn, emit]
            for core, (_, _, learn, emit) in zip(self.cores, constant, strict=True)
        ]
        spikes: dict[int, int] = {}
        values: dict[int, int] = {}
        for core, phases in zip(self.cores, clocks, strict=True):
            first = core.image.first
            phases[1], fired, shown = core.update(self.tick, self._word, program.trace_passes)
            spikes |= {first + address: count for address, count in fired.items()}
            values |= {first + address: value for address, value in shown.items()}
            phases[3] += core.emit(fired, shown)
        given = dict(zip(program.signals, signals, strict=False))
        visits = self._learning.step(self.tick, self._word, spikes, given, self._store)
        for phases, more in zip(clocks, visits, strict=True):
            phases[2] += more
        lines = self.program.input_lines
        self._spiked = {lines + neuron: count for neuron, count in spikes.items()}
        for source, count in self._spiked.items():
            self._send(source, count)
        self._counters["spikes"] += len(spikes)
        self._word = next_word(self._word)
        self.tick += 1
        return clocks, spikes, values

    def _send(self, source: int, payload: int) -> None:
        """Set the event pending at every routing entry of its source."""
        for core, axon in self._routes[source]:
            self.cores[core].pending[axon] = payload

    def _count(self, events: dict[int, int]) -> None:
        self._counters["events"] += len(events)
        for source, payload in events.items():
            for core, axon in self._routes[source]:
                synapses = self.cores[core].image.rows[axon].synapses
                self._counters["synaptic_events"] += synapses * payload

    def _core_of(self, neuron: int) -> Core:
        return self.cores[int(np.searchsorted(self.program.core_first, neuron, "right")) - 1]

    def _state(self, p: MappedPopulation, variable: str) -> NDArray[np.int32]:
        found = []
        for neuron in range(p.first, p.first + p.size):
            core = self._core_of(neuron)
            found.append(core.state[neuron - core.image.first][variable])
        return np.array(found, np.int32)
