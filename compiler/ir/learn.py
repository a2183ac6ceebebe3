"""What learning keeps between ticks, and one tick of it, eagerly: the exact meaning.

Every synapse of every plastic projection is taken through the interpreter in every tick in which
its target population updates, whether or not a device would visit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cycles
from .cores import synapse_cells
from .interpret import Draws, evaluate
from .plastic import SYNAPSE_DRAWS, PlasticProjection
from .program import Program
from .rule import Kind

Integers = NDArray[np.int64]
Stored = Callable[[int, Integers, Integers, Integers], None]  # core, words, lanes, weights


def plastic_part(program: Program, name: str) -> tuple[int, Kind, str] | None:
    """(plastic projection, what, its variable) of a name ``projection.variable``; None where it
    is none.

    Variables are ``weights`` and ``learning`` (1 where it is on), and what the rule names.
    """
    projection, _, variable = str(name).rpartition(".")
    for number, q in enumerate(program.plastic):
        kept = program.rules[q.rule].kept
        if q.name == projection and variable in kept:
            return number, kept[variable], variable
    return None


def plastic_range(program: Program, number: int, kind: Kind, name: str) -> tuple[int, int, int]:
    """(how many, least, greatest) of the values of a variable."""
    q = program.plastic[number]
    rule = program.rules[q.rule]
    if kind == "weights":
        return q.count, q.parameters["w_min"], q.parameters["w_max"]
    if kind == "learning":
        return 1, 0, 1
    sizes = {"pre": q.size, "state": q.count}
    lo, hi = getattr(rule, kind)[name]
    return sizes.get(kind, program.populations[q.target].size), lo, hi


class Learning:
    """Traces, held values, synapses' state and weights of a program's plastic projections.

    Arrays by projection: `pre` by source, `post` and `held` by neuron of the target, `state` and
    `weights` by synapse; `on`: whether it learns; `awake`: of each core row, whether a synapse's
    state is not 0. A source without a synapse has no trace: it stays 0.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.weights = [q.weight.astype(np.int64) for q in program.plastic]
        self.on = [q.learning for q in program.plastic]
        core, word, lane = synapse_cells(program)
        ends = np.cumsum([program.synapses.count, *(q.count for q in program.plastic)])
        cells = [np.split(x, ends[:-1])[1:] for x in (core, word, lane)]
        self._cells = list(zip(*cells, strict=True))
        self.restart()

    def restart(self) -> None:
        """Traces, held values and the state of synapses as at the start; weights stay."""
        program = self.program
        rules = [program.rules[q.rule] for q in program.plastic]
        sizes = [program.populations[q.target].size for q in program.plastic]

        def zeros(names: Iterable[str], size: int) -> dict[str, Integers]:
            return {name: np.zeros(size, np.int64) for name in names}

        self.pre = [zeros(r.pre, q.size) for r, q in zip(rules, program.plastic, strict=True)]
        self.post = [zeros(r.post, n) for r, n in zip(rules, sizes, strict=True)]
        self.held = [
            {name: values.astype(np.int64) for name, values in q.held.items()}
            for q in program.plastic
        ]
        self.state = [zeros(r.state, q.count) for r, q in zip(rules, program.plastic, strict=True)]
        self.awake = np.zeros(len(program.plastic_rows.source), np.bool_)
        self._arriving: list[set[tuple[int, int]]] = [
            set() for _ in range(program.chip.delay_slots)
        ]

    def deliver(self, tick: int, source: int) -> None:
        """An event of a source is delivered: note in which tick it is learnt from."""
        for number, q in enumerate(self.program.plastic):
            if q.first <= source < q.first + q.size:
                slot = (tick + q.delay) % len(self._arriving)
                self._arriving[slot].add((number, source - q.first))

    def step(
        self, tick: int, word: int, spikes: Mapping[int, int], signals: Mapping[str, int],
        changed: Stored,
    ) -> list[int]:  # fmt: skip
        """Learn of a tick, after Update: clocks of each core's visits.

        spikes: neurons that spiked; changed: takes the weights after.
        """
        program, rows = self.program, self.program.plastic_rows
        arrived = self._arriving[tick % len(self._arriving)]
        clocks = [0] * program.cores
        core_of = np.searchsorted(program.core_first, list(spikes), "right") - 1
        spiking = set(core_of.tolist())
        for number, q in enumerate(program.plastic):
            target = program.populations[q.target]
            if not target.updates_in(tick):
                continue
            events = {source for n, source in arrived if n == number}
            row = rows.of[number]
            after = self._traces(number, q, events, spikes, target.first, target.size)
            if self.on[number]:
                visited = self._visits(number, events, spiking, set(row.tolist()))
                self._synapses(number, q, row, visited, events, spikes, after, word, signals)
                for r in visited:
                    clocks[rows.core[r]] += int(
                        cycles.visit_clocks(program.chip, rows.words[r], rows.room[r])
                    )
                self.show(number, changed)
            self.pre[number], self.post[number] = after
        arrived.clear()
        return clocks

    def show(self, number: int, stored: Stored) -> None:
        """Hand out the weights of a projection, as the memories of the cores hold them."""
        core, words, lanes = self._cells[number]
        for c in np.unique(core).tolist():
            at = core == c
            stored(c, words[at], lanes[at], self.weights[number][at])

    def _traces(
        self, number: int, q: PlasticProjection, events: set[int], spikes: Mapping[int, int],
        first: int, size: int,
    ) -> tuple[dict[str, Integers], dict[str, Integers]]:  # fmt: skip
        """The traces of both sides after this tick."""
        rule = self.program.rules[q.rule]
        given = {f"parameter.{k}": v for k, v in q.parameters.items()}

        def moved(side: str, traces: dict[str, Integers], happened: list[int]) -> Any:
            graph = rule.pre_outputs if side == "pre" else rule.post_outputs
            after = {name: values.copy() for name, values in traces.items()}
            for n, event in enumerate(happened):
                now = {f"{side}.{name}": int(values[n]) for name, values in traces.items()}
                made = evaluate(graph, {**given, **now, f"{side}.event": event})
                for name in traces:
                    after[name][n] = made[f"next.{name}"]
            return after

        has_row = np.diff(q.rows) > 0
        pre = [int(n in events and has_row[n]) for n in range(q.size)]
        post = [int(first + n in spikes) for n in range(size)]
        return moved("pre", self.pre[number], pre), moved("post", self.post[number], post)

    def _visits(
        self, number: int, events: set[int], spiking: set[int], mine: set[int]
    ) -> list[int]:
        """The core rows that a device visits."""
        program, rows = self.program, self.program.plastic_rows
        q = program.plastic[number]
        quiet = program.quiet[number]
        visited = []
        for r in sorted(mine):
            source = int(rows.source[r]) - q.first
            resting = not any(values[source] for values in self.pre[number].values())
            spikes = int(rows.core[r]) in spiking
            if quiet.active(source in events, bool(self.awake[r]), resting, spikes):
                visited.append(r)
        return visited

    def _synapses(
        self, number: int, q: PlasticProjection, row: Integers, visited: list[int],
        events: set[int], spikes: Mapping[int, int],
        after: tuple[dict[str, Integers], dict[str, Integers]], word: int,
        signals: Mapping[str, int],
    ) -> None:  # fmt: skip
        """Every synapse; those of rows that no device visits have to stay as they are."""
        program = self.program
        rule, lanes = program.rules[q.rule], program.chip.lanes
        first = program.populations[q.target].first
        core, words, lane = self._cells[number]
        shared = {f"parameter.{k}": v for k, v in q.parameters.items()}
        shared |= {f"signal.{k}": signals.get(k, 0) for k in rule.signals}
        weights = self.weights[number]
        for k in range(q.count):
            i, j = int(q.source[k]), int(q.to[k]) - first
            given = {**shared, "w": int(weights[k])}
            given |= {"pre.event": int(i in events), "post.event": int(first + j in spikes)}
            for side, n, now, then in (
                ("pre", i, self.pre[number], after[0]), ("post", j, self.post[number], after[1]),
            ):  # fmt: skip
                given |= {f"{side}.{name}": int(values[n]) for name, values in now.items()}
                given |= {f"{side}.next.{name}": int(values[n]) for name, values in then.items()}
            given |= {f"post.{name}": int(values[j]) for name, values in self.held[number].items()}
            given |= {
                f"state.{name}": int(values[k]) for name, values in self.state[number].items()
            }
            address = SYNAPSE_DRAWS | int(words[k]) * lanes + int(lane[k])
            made = evaluate(rule.outputs, given, Draws(word, int(core[k]), address))
            if row[k] not in visited:
                same = made["next.w"] == weights[k]
                same &= all(made[f"next.{n}"] == v[k] for n, v in self.state[number].items())
                assert same, f"synapse {k} of '{q.name}' changes in a row that is not visited"
            weights[k] = made["next.w"]
            for name, values in self.state[number].items():
                values[k] = made[f"next.{name}"]
        self.note_awake(number)

    def note_awake(self, number: int) -> None:
        """Which rows hold a synapse whose state is not 0."""
        row = self.program.plastic_rows.of[number]
        self.awake[row] = False
        for values in self.state[number].values():
            self.awake[row[values != 0]] = True

    def read(self, number: int, kind: Kind, name: str) -> NDArray[np.int32]:
        """The values of a variable (see `plastic_part`)."""
        if kind == "learning":
            return np.array([self.on[number]], np.int32)
        found = self.weights[number] if kind == "weights" else getattr(self, kind)[number][name]
        return np.asarray(found).astype(np.int32)

    def write(self, number: int, kind: Kind, name: str, values: Integers) -> None:
        """Write what `read` reads."""
        if kind == "learning":
            self.on[number] = bool(values[0])
        elif kind == "weights":
            self.weights[number][:] = values
        else:
            getattr(self, kind)[number][name][:] = values
            if kind == "state":
                self.note_awake(number)
