"""What the memories of a core that learns hold, from the exact machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from spikefab.compiler.ir.cores import CoreProjection, synapse_cells
from spikefab.compiler.ir.learn_map import LearnMap, packed
from spikefab.compiler.ir.machine import Machine
from spikefab.compiler.ir.region import Region

TURNS = 8  # of the rows whose words are read after a tick, all of which takes long


class Learnt:
    """Follows a machine tick by tick: of each neuron with traces, what they were before its last
    update, and whether it spiked in it."""

    def __init__(self, map: LearnMap, machine: Machine) -> None:
        self.map, self.machine = map, machine
        self.image = machine.cores[0].image
        self.restart()

    def restart(self) -> None:
        """As after a restart."""
        self._before: dict[tuple[int, str], np.ndarray] = {}
        self._spiked: dict[int, np.ndarray] = {}
        for part in self._with_traces():
            values = self.machine._learning.post[part.number]
            self._before |= {(part.number, name): np.zeros_like(x) for name, x in values.items()}
            size = self.machine.program.populations[part.whole.target].size
            self._spiked[part.number] = np.zeros(size, np.int64)

    def _with_traces(self) -> list[CoreProjection]:
        """One projection for each population with a set of traces or held values."""
        found: dict[int, CoreProjection] = {}
        for part in self.image.plastic:
            rule = self.map.rules[part.whole.rule]
            if rule.post or rule.held:
                found.setdefault(part.population, part)
                if rule.held:
                    found[part.population] = part
        return list(found.values())

    def before_tick(self) -> dict[tuple[int, str], np.ndarray]:
        """What `after_tick` is to be given."""
        post = self.machine._learning.post
        return {key: post[key[0]][key[1]].copy() for key in self._before}

    def after_tick(
        self, tick: int, kept: Mapping[tuple[int, str], np.ndarray], spikes: Mapping[int, int]
    ) -> None:
        """Note what a tick did."""
        for part in self._with_traces():
            target = self.machine.program.populations[part.whole.target]
            if not target.updates_in(tick):
                continue
            for name in self.machine._learning.post[part.number]:
                self._before[part.number, name] = kept[part.number, name]
            fired = [target.first + n in spikes for n in range(target.size)]
            self._spiked[part.number] = np.array(fired, np.int64)

    def regions(self, turn: int | None = None) -> Iterator[tuple[Region, int, list[int]]]:
        """(region, first entry, entries) of all that learning keeps; but, in a turn, of the words
        of plastic rows those of every `TURNS`-th row."""
        learning, learn = self.machine._learning, self.map
        yield from self._synapses(turn)
        for part in self.image.plastic:
            rule = learn.rules[part.whole.rule]
            for axon, source in zip(part.axons.tolist(), part.sources.tolist(), strict=True):
                if rule.pre:
                    values = {k: int(v[source]) for k, v in learning.pre[part.number].items()}
                    region = learn.regions["pre"]
                    yield region, axon, [region.pack(**packed(values, rule.pre, "x"))]
        if "awake" in learn.regions:
            rows = self.machine.program.plastic_rows
            awake = dict(zip(
                zip(rows.source.tolist(), rows.projection.tolist(), strict=True),
                learning.awake.tolist(), strict=True,
            ))  # fmt: skip
            for part in self.image.plastic:
                for axon, source in zip(part.axons.tolist(), part.sources.tolist(), strict=True):
                    bit = awake[source + part.whole.first, part.number]
                    yield learn.regions["awake"], axon, [int(bit)]
        for part in self._with_traces():
            yield learn.regions["post"], *self._post(part)

    def _post(self, part: CoreProjection) -> tuple[int, list[int]]:
        learning, learn = self.machine._learning, self.map
        rule, region = learn.rules[part.whole.rule], learn.regions["post"]
        population = self.image.populations[part.population]
        entries = []
        for n in range(population.size):
            now = {k: int(v[n]) for k, v in learning.post[part.number].items()}
            then = {k: int(self._before[part.number, k][n]) for k in now}
            held = {k: int(v[n]) for k, v in learning.held[part.number].items()}
            before = {
                k.replace("x", "before"): v for k, v in packed(then, rule.post, "x").items()
                if int(k[1:]) in learn.before
            }  # fmt: skip
            entries.append(region.pack(
                spike=int(self._spiked[part.number][n]), **packed(now, rule.post, "x"), **before,
                **packed(held, rule.held, "held"),
            ))  # fmt: skip
        return population.first, entries

    def _synapses(self, turn: int | None) -> Iterator[tuple[Region, int, list[int]]]:
        """All words of plastic rows, or of those whose turn it is."""
        program, learn = self.machine.program, self.map
        words = self.image.memory.pack(program.chip)
        _, word, lane = synapse_cells(program)
        ends = np.cumsum([program.synapses.count, *(q.count for q in program.plastic)])
        rows = program.plastic_rows
        for number, q in enumerate(program.plastic):
            rule = learn.rules[q.rule]
            state = self.machine._learning.state[number]
            for k in range(q.count if rule.state else 0):
                at = int(ends[number]) + k
                row = rows.of[number][k]
                length, room = int(rows.words[row]), int(rows.room[row])
                places = [int(word[at]) + length * (n + 1) for n in range(room // length - 1)]
                values = {name: int(x[k]) for name, x in state.items()}
                changed = learn.with_state(
                    rule, [words[p] for p in places], int(lane[at]), values
                )
                for p, x in zip(places, changed, strict=True):
                    words[p] = x
        for axon, row in enumerate(self.image.rows):
            if row.plastic >= 0 and (turn is None or (axon - turn) % TURNS == 0):
                found = words[row.address : row.address + row.room]
                yield Region("synapses", 0, 0), row.address, found
