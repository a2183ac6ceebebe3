"""What a board has learned: weights, traces, held values and synapses' state in its memories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.cores import CoreImage, CoreProjection, SynapseMemory, synapse_cells
from ..compiler.ir.device import signal_entries
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.learn_map import packed, unpacked
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.program import Program
from ..compiler.ir.rule import Interval, Kind

Read = Callable[[str, int, int], list[int]]  # entries of a region: name, first, how many
Write = Callable[[str, Sequence[int], int], None]  # likewise: name, entries, first
Integers = NDArray[np.int64]


class Learned:
    """Reads and writes what `compiler.ir.learn.plastic_part` names, in the memories of a board.

    A source without a synapse has no trace: it reads as 0.
    """

    def __init__(
        self, program: Program, map: MemoryMap, image: CoreImage, read: Read, write: Write
    ) -> None:
        assert map.learn is not None
        self.program, self.map, self.learn, self.image = program, map, map.learn, image
        self._read, self._write = read, write
        self._parts = {part.number: part for part in image.plastic}
        _, word, lane = synapse_cells(program)
        ends = np.cumsum([program.synapses.count, *(q.count for q in program.plastic)])[:-1]
        self._word, self._lane = (np.split(x, ends)[1:] for x in (word, lane))
        self._told = [0] * len(map.learn.signals)

    def restart(self) -> None:
        """The state of synapses as at the start, what `MemoryMap.changing` names being so."""
        self._told = [0] * len(self._told)
        for row in self.image.rows:
            if row.room > row.words:
                self._write("synapses", [0] * (row.room - row.words), row.address + row.words)

    def signals(self, values: Iterable[int]) -> None:
        """Give the signals of the next tick, in the order of the program's."""
        entries = signal_entries(self.program, self.learn.signals, values)
        if entries != self._told:
            self._write("signals", entries, 0)
        self._told = entries

    def words(self) -> list[int]:
        """All words of the synapse memory that a program's rows take."""
        return self._read("synapses", 0, len(self.image.memory.weight))

    def restore(self, words: Sequence[int]) -> None:
        """Write the weights of plastic rows, as `words` gave them."""
        for row in self.image.rows:
            if row.plastic >= 0:
                end = row.address + row.words
                self._write("synapses", words[row.address : end], row.address)

    def read(self, number: int, kind: Kind, name: str) -> NDArray[np.int32]:
        """The values of a variable (see `plastic_part`)."""
        part, rule = self._parts[number], self.learn.rules[self.program.plastic[number].rule]
        if kind == "weights":
            memory = self._unpacked(self.words())
            return memory.weight[self._word[number], self._lane[number]]
        if kind == "learning":
            (entry,) = self._read("parameters", self._entry_of(part), 1)
            return np.array([self.learn.projection.unpack(entry)["on"]], np.int32)
        if kind == "state":
            words, places = self.words(), self._state_words(number)
            found = [
                self.learn.state(rule, [words[p] for p in at], lane)[name]
                for at, lane in zip(places, self._lane[number].tolist(), strict=True)
            ]
            return np.array(found, np.int32)
        if kind == "pre":
            values = np.zeros(part.whole.size, np.int32)
            entries = self._read("pre", 0, len(self.image.rows))
            for axon, source in zip(part.axons.tolist(), part.sources.tolist(), strict=True):
                values[source] = self._value("pre", entries[axon], rule.pre, "x", name)
            return values
        formats, prefix = (rule.post, "x") if kind == "post" else (rule.held, "held")
        entries = self._of_population(part)
        return np.array(
            [self._value("post", entry, formats, prefix, name) for entry in entries], np.int32
        )

    def write(self, number: int, kind: Kind, name: str, values: Integers) -> None:
        """Write what `read` reads. Raises SpikefabError for traces that projections share, and for
        one of a source that has none."""
        part, rule = self._parts[number], self.learn.rules[self.program.plastic[number].rule]
        given = values.tolist()
        if kind == "weights":
            words = self.words()
            memory = self._unpacked(words)
            memory.weight[self._word[number], self._lane[number]] = values
            self.restore(memory.pack(self.map.chip))
        elif kind == "learning":
            entry = self.learn.projection_entry(self.image, part, bool(given[0]))
            self._write("parameters", [entry], self._entry_of(part))
        elif kind == "state":
            self._write_state(number, name, given)
        elif kind == "pre":
            has = set(part.sources.tolist())
            for source, value in enumerate(given):
                if value and source not in has:
                    raise SpikefabError(
                        f"a trace of {self.program.source_name(part.whole.first + source)}",
                        f"'{part.whole.name}'", "it has no synapse there, and gateware no trace",
                    )  # fmt: skip
            entries = self._read("pre", 0, len(self.image.rows))
            for axon, source in zip(part.axons.tolist(), part.sources.tolist(), strict=True):
                changed = self._changed("pre", entries[axon], rule.pre, "x", name, given[source])
                self._write("pre", [changed], axon)
        else:
            if kind == "post":
                self._refuse_shared(part)
            formats, prefix = (rule.post, "x") if kind == "post" else (rule.held, "held")
            entries = [
                self._changed("post", entry, formats, prefix, name, value)
                for entry, value in zip(self._of_population(part), given, strict=True)
            ]
            self._write("post", entries, self.image.populations[part.population].first)

    def _entry_of(self, part: CoreProjection) -> int:
        return self.learn.projection_at(self.image.plastic.index(part))

    def _refuse_shared(self, part: CoreProjection) -> None:
        for other in self.image.plastic:
            same = other.population == part.population and other is not part
            if same and self.learn.rules[other.whole.rule].post:
                raise SpikefabError(
                    f"traces of '{part.whole.name}'", "a board",
                    f"'{other.whole.name}' shares them", "write them on the emulator",
                )  # fmt: skip

    def _write_state(self, number: int, name: str, given: Sequence[int]) -> None:
        rule = self.learn.rules[self.program.plastic[number].rule]
        words = self.words()
        rows = self.program.plastic_rows.of[number]
        awake: dict[int, bool] = {}
        cells = zip(self._state_words(number), self._lane[number].tolist(), strict=True)
        for k, (places, lane) in enumerate(cells):
            changed = self.learn.with_state(
                rule, [words[p] for p in places], lane, {name: given[k]}
            )
            for p, x in zip(places, changed, strict=True):
                words[p] = x
            state = self.learn.state(rule, changed, lane)
            awake[int(rows[k])] = awake.get(int(rows[k]), False) or any(state.values())
        for row in self.image.rows:
            if row.plastic >= 0 and self.image.plastic[row.plastic].number == number:
                first, end = row.address + row.words, row.address + row.room
                self._write("synapses", words[first:end], first)
        part = self._parts[number]
        for axon, bit in zip(part.axons.tolist(), (awake[r] for r in sorted(awake)), strict=True):
            self._write("awake", [int(bit)], axon)

    def _state_words(self, number: int) -> Iterator[list[int]]:
        """Of each synapse, the words of state behind its word of weights."""
        rows = self.program.plastic_rows
        for word, row in zip(self._word[number].tolist(), rows.of[number].tolist(), strict=True):
            length, room = int(rows.words[row]), int(rows.room[row])
            yield [word + n * length for n in range(1, room // length)]

    def _unpacked(self, words: Sequence[int]) -> SynapseMemory:
        return SynapseMemory.unpack(words, self.image.memory.sparse, self.map.chip)

    def _of_population(self, part: CoreProjection) -> list[int]:
        population = self.image.populations[part.population]
        return self._read("post", population.first, population.size)

    def _value(
        self, region: str, entry: int, formats: dict[str, Interval], prefix: str, name: str
    ) -> int:
        fields = self.learn.regions[region].unpack(entry)
        return unpacked(fields[f"{prefix}{sorted(formats).index(name)}"], formats[name])

    def _changed(
        self, region: str, entry: int, formats: dict[str, Interval], prefix: str, name: str,
        value: int,
    ) -> int:  # fmt: skip
        fields = self.learn.regions[region].unpack(entry)
        return self.learn.regions[region].pack(**(fields | packed({name: value}, formats, prefix)))
