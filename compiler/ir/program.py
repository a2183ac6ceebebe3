"""A program: a network mapped to a chip, ready to run on any device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from . import cycles
from .chip import ChipSpec
from .errors import SpikefabError
from .language import names_read
from .neuron import Datapath
from .plastic import PlasticProjection, PlasticRows, plastic_rows
from .rows import Survey, survey
from .rule import LearningPath, Quiet
from .synapses import Synapses, target_shift, weight_field

Integers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class InputPort:
    """Sources that the host drives: `size` lines, delivered in ticks 0, period, 2 period, ..."""

    name: str
    first: int
    size: int
    period: int = 1


@dataclass(frozen=True, eq=False)
class MappedPopulation:
    """Neurons first .. first + size - 1 of a program.

    model: index into the program's models; start, period: in which ticks it updates;
    output: whether its spikes or values go to the host; parameters, initial: int32 arrays of one
    value for all neurons or one each; lsb: what one LSB of the potential stands for in the
    network's units (0 if unknown).
    """

    name: str
    first: int
    size: int
    model: int
    start: int
    period: int
    output: bool
    parameters: dict[str, Integers]
    initial: dict[str, Integers]
    lsb: float = 0.0

    @property
    def neurons(self) -> slice:
        """Its neurons in program order."""
        return slice(self.first, self.first + self.size)

    def updates_in(self, tick: int) -> bool:
        """Whether its neurons update in `tick`."""
        return tick >= self.start and (tick - self.start) % self.period == 0


@dataclass(frozen=True)
class Signal:
    """A value of [lo, hi] that the host gives with each step; it is read `start` ticks later, when
    the populations that learn by it take that step."""

    start: int
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Program:
    """Flat rows by source, placement, parameters, the network's names, and the chip.

    synapses: those that stay as they are; plastic: those that learn, by `rules`. Sources are
    numbered inputs first, then neurons; core c holds the neurons core_first[c] ..
    core_first[c + 1] - 1. `notes` is what the compiler reports of the mapping.
    """

    chip: ChipSpec
    models: tuple[Datapath, ...]
    inputs: tuple[InputPort, ...]
    populations: tuple[MappedPopulation, ...]
    core_first: NDArray[np.int64]
    synapses: Synapses
    seed: int = 1
    notes: dict[str, Any] = field(default_factory=dict)
    rules: tuple[LearningPath, ...] = ()
    plastic: tuple[PlasticProjection, ...] = ()

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return sum(p.size for p in self.populations)

    @property
    def input_lines(self) -> int:
        """Number of sources that the host drives."""
        return sum(i.size for i in self.inputs)

    @property
    def cores(self) -> int:
        """Number of cores in use."""
        return len(self.core_first) - 1

    @property
    def period(self) -> int:
        """Ticks per step."""
        return max((p.period for p in self.populations), default=1)

    @property
    def last_stage(self) -> int:
        """The greatest stage of a population, in ticks."""
        return max((p.start for p in self.populations), default=0)

    def ticks(self, steps: int) -> int:
        """Ticks in which every population takes `steps` steps."""
        return (steps - 1) * self.period + 1 + self.last_stage if steps > 0 else 0

    def population(self, name: str) -> MappedPopulation:
        """The population of that name; raises SpikefabError."""
        for p in self.populations:
            if p.name == name:
                return p
        raise SpikefabError(
            f"no population '{name}'", "the program", hint=f"it has {_names(self.populations)}"
        )

    def input(self, name: str) -> InputPort:
        """The input of that name; raises SpikefabError."""
        for i in self.inputs:
            if i.name == name:
                return i
        raise SpikefabError(
            f"no input '{name}'", "the program", hint=f"it has {_names(self.inputs)}"
        )

    def projection(self, name: str) -> PlasticProjection:
        """The plastic projection of that name; raises SpikefabError."""
        for q in self.plastic:
            if q.name == name:
                return q
        raise SpikefabError(
            f"no plastic projection '{name}'", "the program", hint=f"it has {_names(self.plastic)}"
        )

    @cached_property
    def state_names(self) -> list[str]:
        """State variables of all populations, ``population.variable``."""
        return [f"{p.name}.{k}" for p in self.populations for k in self.models[p.model].state]

    @cached_property
    def names(self) -> list[str]:
        """All that a device reads and writes: ``weights`` of fixed synapses, the state of
        populations, and what plastic projections keep, ``projection.variable``."""
        learnt = [f"{q.name}.{k}" for q in self.plastic for k in self.rules[q.rule].kept]
        return ["weights", *self.state_names, *learnt]

    @cached_property
    def quiet(self) -> tuple[Quiet, ...]:
        """When the rows of each plastic projection may be skipped."""
        return tuple(self.rules[q.rule].quiet(q.parameters) for q in self.plastic)

    @cached_property
    def signals(self) -> dict[str, Signal]:
        """The signals that its rules read, by name. Where they differ, `validate` refuses."""
        found: dict[str, Signal] = {}
        for q in self.plastic:
            start = self.populations[q.target].start
            for name, (lo, hi) in self.rules[q.rule].signals.items():
                found.setdefault(name, Signal(start, lo, hi))
        return found

    def source_name(self, source: int) -> str:
        """A source by the network's own name: ``hidden[3]``."""
        for port in self.inputs:
            if source < port.first + port.size:
                return f"{port.name}[{source - port.first}]"
        return self.neuron_name(source - self.input_lines)

    def neuron_name(self, neuron: int) -> str:
        """A neuron by the network's own name: ``hidden[3]``."""
        for p in self.populations:
            if p.first <= neuron < p.first + p.size:
                return f"{p.name}[{neuron - p.first}]"
        raise IndexError(neuron)

    @cached_property
    def survey(self) -> Survey:
        """What the rows take on each core."""
        return survey(self.synapses, self.core_first, self.chip, self.plastic_rows)

    @cached_property
    def plastic_rows(self) -> PlasticRows:
        """The core rows of the plastic projections."""
        targets = [self.populations[q.target] for q in self.plastic]
        return plastic_rows(
            self.plastic, [(p.first, p.size) for p in targets], self.rules, self.core_first,
            self.chip,
        )  # fmt: skip

    @cached_property
    def trace_passes(self) -> NDArray[np.int32]:
        """Sets of traces of each population but the first: they take an Update clock per neuron."""
        sets: list[set[Any]] = [set() for _ in self.populations]
        for q in self.plastic:
            rule = self.rules[q.rule]
            read = sorted(names_read(rule.post_outputs) & {f"parameter.{k}" for k in q.parameters})
            if rule.post:
                values = tuple(q.parameters[name.removeprefix("parameter.")] for name in read)
                sets[q.target].add((rule.identity, values))
        return np.array([max(len(s) - 1, 0) for s in sets], np.int32)

    @cached_property
    def reach(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Greatest positive and negative sum that one update of each neuron can take, in LSB.

        Of plastic synapses, by the limits of their weights.
        """
        payload = np.full(self.input_lines + self.neurons, self.chip.largest_payload, np.int64)
        for p in self.populations:
            at = slice(self.input_lines + p.first, self.input_lines + p.first + p.size)
            payload[at] = self.models[p.model].largest_payload
        positive, negative = _reach(
            self.synapses.words,
            self.synapses.first,
            len(self.synapses.delays),
            target_shift(self.synapses.wide),
            weight_field(self.synapses.wide),
            payload,
            self.neurons,
        )
        for q in self.plastic:
            most = payload[q.first + q.source]
            np.add.at(positive, q.to, np.int64(max(q.parameters["w_max"], 0)) * most)
            np.add.at(negative, q.to, np.int64(max(-q.parameters["w_min"], 0)) * most)
        return positive, negative

    @cached_property
    def hash(self) -> str:
        """Hash of everything that a run depends on."""
        digest = hashlib.sha256(json.dumps(self.header(), sort_keys=True).encode())
        for name, array in sorted(self.arrays()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:32]

    def arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Every array of the program with its name in the file."""
        yield "words", self.synapses.words
        yield "first", self.synapses.first
        yield "core_first", self.core_first
        for n, q in enumerate(self.plastic):
            yield f"plastic.{n}.rows", q.rows
            yield f"plastic.{n}.to", q.to
            yield f"plastic.{n}.weight", q.weight
            for name, values in q.held.items():
                yield f"plastic.{n}.held.{name}", values
        for n, p in enumerate(self.populations):
            for name, values in p.parameters.items():
                yield f"population.{n}.parameter.{name}", values
            for name, values in p.initial.items():
                yield f"population.{n}.initial.{name}", values

    def header(self) -> dict[str, Any]:
        """Everything but the arrays, JSON-ready."""
        return {
            "chip": self.chip.to_json(),
            "models": [m.to_json() for m in self.models],
            "inputs": [
                {"name": i.name, "first": i.first, "size": i.size, "period": i.period}
                for i in self.inputs
            ],
            "populations": [
                {
                    "name": p.name,
                    "first": p.first,
                    "size": p.size,
                    "model": p.model,
                    "start": p.start,
                    "period": p.period,
                    "output": p.output,
                    "lsb": p.lsb,
                }
                for p in self.populations
            ],
            "delays": list(self.synapses.delays),
            "rules": [r.to_json() for r in self.rules],
            "plastic": [
                {
                    "name": q.name,
                    "first": q.first,
                    "size": q.size,
                    "target": q.target,
                    "rule": q.rule,
                    "delay": q.delay,
                    "parameters": q.parameters,
                    "learning": q.learning,
                    "lsb": q.lsb,
                }
                for q in self.plastic
            ],
            "seed": self.seed,
            "notes": self.notes,
        }

    def constant_cycles(self, core: int) -> tuple[int, int, int, int]:
        """Clocks of each phase of a core in a tick in which nothing happens."""
        axons = int(self.survey.axons[core])
        return (
            cycles.deliver_constant(self.chip, axons),
            cycles.update_constant(self.chip, self._populations_on(core)),
            cycles.learn_constant(self.chip, axons),
            cycles.emit_constant(self.chip),
        )

    @cached_property
    def emit_clocks(self) -> NDArray[np.int32]:
        """Clocks that a spike of each neuron takes in Emit."""
        return cycles.emit_clocks(self.survey.routes[self.input_lines :])

    def _populations_on(self, core: int) -> int:
        a, b = int(self.core_first[core]), int(self.core_first[core + 1])
        return sum(p.first < b and a < p.first + p.size for p in self.populations)

    def worst_cycles(self, core: int) -> int:
        """Clocks of a tick in which every source of a core has an event and every neuron fires."""
        a, b = int(self.core_first[core]), int(self.core_first[core + 1])
        total = sum(self.constant_cycles(core)) + int(self.survey.row_total[core])
        rows = self.plastic_rows
        here = rows.core == core
        total += int(cycles.visit_clocks(self.chip, rows.words[here], rows.room[here]).sum())
        for p, passes in zip(self.populations, self.trace_passes.tolist(), strict=True):
            lo, hi = max(a, p.first), min(b, p.first + p.size)
            total += passes * max(hi - lo, 0)
            if lo < hi and self.models[p.model].spikes:
                total += int(self.emit_clocks[lo:hi].sum())
            elif lo < hi and p.output:
                total += hi - lo
        return total + b - a


def _names(parts: tuple[Any, ...]) -> str:
    return ", ".join(f"'{p.name}'" for p in parts) or "none"


@njit(cache=True, nogil=True)
def _reach(words, first, n_delays, shift, field, payload, neurons):  # type: ignore[no-untyped-def]
    positive = np.zeros(neurons, np.int64)
    negative = np.zeros(neurons, np.int64)
    half = 1 << (field - 1)
    for source in range(len(payload)):
        for k in range(first[source * n_delays], first[(source + 1) * n_delays]):
            w = np.int64(words[k]) & (2 * half - 1)
            w = ((w ^ half) - half) * payload[source]
            if w > 0:
                positive[np.int64(words[k] >> shift)] += w
            else:
                negative[np.int64(words[k] >> shift)] -= w
    return positive, negative
