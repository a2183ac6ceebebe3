"""Core images: what the memories of each core hold for a program.

The one place where they are derived, for gateware, boards and the exact reference (`machine`). The
emulator runs the flat rows instead and is tested against this form.

A word of the synapse memory belongs to a dense row and holds `lanes` weights, lane l for target
`lanes x accumulator word + l`; or to a sparse row and holds `chip.sparse_lanes` entries of weight,
target and delay, entry j for targets of residue j. A weight of 0 disables a lane or an entry. In an
entry the weight lies lowest, then target div sparse_lanes, then the delay (`entry_stride`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chip import ChipSpec
from .interpret import wrap_to
from .plastic import DENSE, SPARSE, PlasticProjection
from .program import MappedPopulation, Program
from .rows import CoreRows, core_rows

Integers = NDArray[np.int32]
Routes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Row:
    """Descriptor of one axon's row.

    kind: DENSE or SPARSE; address: its first word in the synapse memory; begin: first accumulator
    word of a dense row; delay: of a dense or plastic row, in ticks; follows: whether the next row
    may follow at once; synapses: how many it holds (for counters, not part of the hardware's
    descriptor); room: its words in all, those of plastic synapses' own state after those of their
    weights; plastic: its entry in the core's plastic projections, or -1.
    """

    kind: int
    address: int
    words: int
    begin: int
    delay: int
    follows: bool
    synapses: int
    room: int
    plastic: int = -1


@dataclass(frozen=True)
class ParameterSet:
    """One line of a core's parameter table: the values of a model's parameters."""

    model: int
    values: dict[str, int]


@dataclass(frozen=True, eq=False)
class CorePopulation:
    """The part of a population that lies on a core: addresses first .. first + size - 1.

    number: the population in the program; index: its neuron at address `first`; output: output
    index of that neuron, the program's output neurons being numbered in program order, or -1;
    start, period: ticks in which it updates; initial: state by variable, [size].
    """

    number: int
    index: int
    first: int
    size: int
    start: int
    period: int
    model: int
    output: int
    initial: dict[str, Integers]


@dataclass(frozen=True, eq=False)
class CoreProjection:
    """The part of a plastic projection that lies on a core.

    number: the projection in the program, and `whole` itself; population: its target among the
    core's populations; axons: of its rows, rising; sources: of those axons, within the projection.
    """

    number: int
    whole: PlasticProjection
    population: int
    axons: Integers
    sources: Integers


@dataclass(frozen=True, eq=False)
class SynapseMemory:
    """The synapse memory of a core, decoded.

    weight: [words, lanes], of which words of sparse rows use the first `sparse_lanes`;
    target, delay: [words, sparse_lanes], target in core and delay of sparse entries, else 0;
    sparse: [words], whether a word belongs to a sparse row. Of a sparse row of plastic synapses, an
    entry without a synapse has another delay than the row.
    """

    weight: Integers
    target: Integers
    delay: Integers
    sparse: NDArray[np.bool_]

    def pack(self, chip: ChipSpec) -> list[int]:
        """The words as the memory holds them, integers of `word_bits(chip)` bits."""
        target_bits, _ = sparse_fields(chip)
        entry = entry_stride(chip)
        mask = (1 << chip.weight_bits) - 1
        lanes = chip.sparse_lanes
        packed = []
        for n, sparse in enumerate(self.sparse.tolist()):
            word = 0
            weights = self.weight[n].tolist()
            if not sparse:
                for lane, w in enumerate(weights):
                    word |= (w & mask) << (lane * chip.weight_bits)
            else:
                places = zip(weights, self.target[n].tolist(), self.delay[n].tolist(), strict=False)
                for j, (w, target, delay) in enumerate(places):
                    place = target // lanes | delay << target_bits
                    word |= ((w & mask) | place << chip.entry_weight_bits) << (j * entry)
            packed.append(word)
        return packed

    @classmethod
    def unpack(
        cls, packed: Sequence[int], sparse: NDArray[np.bool_], chip: ChipSpec
    ) -> SynapseMemory:
        """The memory that `pack` wrote, given which of its words belong to sparse rows."""
        memory = cls.empty(len(packed), chip, np.asarray(sparse, np.bool_))
        target_bits, delay_bits = sparse_fields(chip)
        lanes, bits = chip.sparse_lanes, chip.weight_bits
        for n, word in enumerate(packed):
            if not sparse[n]:
                for lane in range(chip.lanes):
                    memory.weight[n, lane] = wrap_to(word >> (lane * bits), bits)
                continue
            for j in range(lanes):
                entry = word >> (j * entry_stride(chip))
                memory.weight[n, j] = wrap_to(entry, bits)
                place = entry >> chip.entry_weight_bits
                memory.target[n, j] = (place & ((1 << target_bits) - 1)) * lanes + j
                memory.delay[n, j] = place >> target_bits & ((1 << delay_bits) - 1)
        return memory

    @classmethod
    def empty(cls, words: int, chip: ChipSpec, sparse: NDArray[np.bool_]) -> SynapseMemory:
        """A memory with every lane and entry disabled."""
        entry = np.arange(chip.sparse_lanes, dtype=np.int32)
        return cls(
            np.zeros((words, chip.lanes), np.int32),
            np.where(sparse[:, None], entry, 0).astype(np.int32),
            np.zeros((words, chip.sparse_lanes), np.int32),
            sparse,
        )


@dataclass(frozen=True, eq=False)
class CoreImage:
    """All that one core holds.

    first: program number of the neuron at address 0; parameter_set: [neurons], line of
    `parameter_sets` by address; sources: [axons], source of each axon, ascending; rows: [axons];
    routes: [neurons], (core, axon) of each routing entry by address.
    """

    core: int
    first: int
    neurons: int
    parameter_set: Integers
    parameter_sets: tuple[ParameterSet, ...]
    populations: tuple[CorePopulation, ...]
    sources: Integers
    rows: tuple[Row, ...]
    memory: SynapseMemory
    routes: tuple[Routes, ...]
    plastic: tuple[CoreProjection, ...] = ()


def sparse_fields(chip: ChipSpec) -> tuple[int, int]:
    """Bits of target and delay in a sparse entry."""
    target = max(1, -(-chip.neurons // chip.sparse_lanes) - 1).bit_length()
    return target, (chip.delay_slots - 1).bit_length()


def entry_bits(chip: ChipSpec) -> int:
    """Bits of a sparse entry."""
    return chip.entry_weight_bits + sum(sparse_fields(chip))


def entry_stride(chip: ChipSpec) -> int:
    """Bits from a sparse entry of a word to the next: they lie side by side or, on a chip that
    learns, each in its part of the word, so that its weight is that of a lane."""
    return word_bits(chip) // chip.sparse_lanes if chip.rules else entry_bits(chip)


def word_bits(chip: ChipSpec) -> int:
    """Width of the synapse memory: `lanes` weights, or one sparse entry where that is wider."""
    return max(chip.lanes * chip.weight_bits, chip.sparse_lanes * entry_bits(chip))


def routing(program: Program) -> list[Routes]:
    """(core, axon) of each routing entry of every source, inputs first, cores ascending."""
    return _routing(_rows(program))


def core_images(program: Program) -> list[CoreImage]:
    """The memories of every core that a validated program uses."""
    rows = _rows(program)
    routes = _routing(rows)
    synapses, plastic = program.synapses, program.plastic
    row, synapse_core, local = _places(program, rows)
    weight = np.concatenate([synapses.weight, *(q.weight for q in plastic)])
    late = [np.full(q.count, q.delay, np.int32) for q in plastic]
    delay = np.concatenate([synapses.delay, *late])
    source = np.repeat(np.arange(len(routes)), np.diff(rows.first)).astype(np.int32)
    images = []
    by_core = _split(rows.core, program.cores)
    for core, mine in enumerate(_split(synapse_core, program.cores)):
        here = by_core[core]
        first, end = int(program.core_first[core]), int(program.core_first[core + 1])
        learning = _plastic(program, rows, here, source, first, end)
        entries = {q.number: n for n, q in enumerate(learning)}
        descriptors, memory = _memory(
            program,
            rows,
            here,
            np.searchsorted(here, row[mine]),
            local[mine],
            weight[mine],
            delay[mine],
            entries,
        )
        index, sets = _parameter_sets(program, first, end)
        lines = program.input_lines
        images.append(
            CoreImage(
                core,
                first,
                end - first,
                index,
                sets,
                _populations(program, first, end),
                source[here],
                descriptors,
                memory,
                tuple(routes[lines + first : lines + end]),
                learning,
            )
        )
    return images


def _rows(program: Program) -> CoreRows:
    return core_rows(
        program.synapses, program.core_first, program.chip, program.survey, program.plastic_rows
    )


def _rank(group: NDArray[Any]) -> NDArray[np.int64]:
    """For each entry, how many earlier ones are of the same group."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return rank


def _split(core: NDArray[Any], cores: int) -> list[NDArray[np.int64]]:
    """The entries of each core, in order."""
    order = np.argsort(core, kind="stable")
    return np.split(order, np.searchsorted(core[order], np.arange(1, cores)))


def _routing(rows: CoreRows) -> list[Routes]:
    entries = list(zip(rows.core.tolist(), _rank(rows.core).tolist(), strict=True))
    return [tuple(entries[a:b]) for a, b in pairwise(rows.first.tolist())]


def _places(program: Program, rows: CoreRows) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Row, core and target in core of each synapse, those of plastic projections last."""
    target = program.synapses.target.astype(np.int64)
    core = np.searchsorted(program.core_first, target, "right") - 1
    source = np.repeat(np.arange(len(rows.first) - 1), np.diff(rows.first))
    row = np.searchsorted(
        source * program.cores + rows.core,
        program.synapses.source.astype(np.int64) * program.cores + core,
    )
    plastic = np.flatnonzero(rows.plastic >= 0)
    row = np.concatenate([row, *(plastic[of] for of in program.plastic_rows.of)])
    target = np.concatenate([target, *(q.to for q in program.plastic)])
    core = rows.core[row].astype(np.int64)
    return row, core, target - program.core_first[core]


def _plastic(
    program: Program, rows: CoreRows, here: NDArray[np.int64], source: Integers, first: int,
    end: int,
) -> tuple[CoreProjection, ...]:  # fmt: skip
    """The plastic projections onto neurons first .. end - 1, given the rows `here`."""
    populations = [n for n, *_ in _parts(program, first, end)]
    found = []
    for number, q in enumerate(program.plastic):
        axons = np.flatnonzero(rows.plastic[here] == number).astype(np.int32)
        if len(axons):
            sources = source[here[axons]] - q.first
            population = populations.index(q.target)
            found.append(CoreProjection(number, q, population, axons, sources))
    return tuple(found)


def _memory(
    program: Program,
    rows: CoreRows,
    here: NDArray[np.int64],
    row: NDArray[np.int64],
    target: NDArray[np.int64],
    weight: Integers,
    delay: Integers,
    entries: Mapping[int, int],
) -> tuple[tuple[Row, ...], SynapseMemory]:
    """Descriptors and synapse memory of a core with the rows `here`, given its synapses; entries:
    of plastic projections among the core's, by number."""
    chip = program.chip
    kind, words, begin = rows.kind[here], rows.words[here], rows.begin[here]
    room, plastic = rows.room[here], rows.plastic[here]
    address = np.cumsum(room) - room
    offset = np.arange(int(room.sum())) - np.repeat(address, room)
    sparse = np.repeat(kind == SPARSE, room) & (offset < np.repeat(words, room))
    memory = SynapseMemory.empty(len(sparse), chip, sparse)
    word, lane = _cells(chip, rows, here, row, target)
    memory.weight[word, lane] = weight
    dense = kind[row] == DENSE
    row_delay = np.zeros(len(here), np.int32)
    row_delay[row[dense]] = delay[dense]
    learns = plastic >= 0
    late = np.array([q.delay for q in program.plastic] + [0], np.int32)
    row_delay[learns] = late[plastic[learns]]
    entries_of = sparse & np.repeat(learns, room)  # those without a synapse stay as this is
    memory.delay[entries_of] = np.repeat(row_delay ^ 1, room)[entries_of][:, None]
    used = ~dense & ((weight != 0) | learns[row])
    memory.target[word[used], lane[used]] = target[used]
    memory.delay[word[used], lane[used]] = delay[used]
    entry = [entries.get(q, -1) for q in plastic.tolist()]
    columns = (kind, address, words, begin, row_delay, rows.follows[here] != 0)
    count = np.bincount(row, minlength=len(here))
    return tuple(
        Row(*line)
        for line in zip(
            *(c.tolist() for c in columns), count.tolist(), room.tolist(), entry, strict=True
        )
    ), memory


def _cells(
    chip: ChipSpec,
    rows: CoreRows,
    here: NDArray[np.int64],
    row: NDArray[np.int64],
    target: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Word of the synapse memory, and lane or entry in it, of each synapse of a core."""
    room, begin = rows.room[here].astype(np.int64), rows.begin[here].astype(np.int64)
    address = np.cumsum(room) - room
    dense = rows.kind[here][row] == DENSE
    word, lane = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64)
    r, t = row[dense], target[dense]
    word[dense], lane[dense] = address[r] + t // chip.lanes - begin[r], t % chip.lanes
    r, entry = row[~dense], target[~dense] % chip.sparse_lanes
    word[~dense] = address[r] + _rank(r * chip.sparse_lanes + entry)
    lane[~dense] = entry
    return word, lane


def synapse_cells(
    program: Program,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Core, word of its synapse memory, and lane or entry, of each synapse: the fixed ones in the
    order of flat rows, then those of each plastic projection."""
    rows = _rows(program)
    row, core, target = _places(program, rows)
    word, lane = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64)
    by_core = _split(rows.core, program.cores)
    for here, mine in zip(by_core, _split(core, program.cores), strict=True):
        at = np.searchsorted(here, row[mine])
        word[mine], lane[mine] = _cells(program.chip, rows, here, at, target[mine])
    return core, word, lane


def weights_of(program: Program, memory: SynapseMemory) -> Integers:
    """The weights that the memory of a program's one core holds, in the order of
    `synapse_cells`."""
    _, word, lane = synapse_cells(program)
    return memory.weight[word, lane]


def _parts(program: Program, first: int, end: int) -> list[tuple[int, MappedPopulation, int, int]]:
    """(number, population, a, b): its neurons a .. b - 1 are among first .. end - 1."""
    return [
        (n, p, max(first, p.first) - p.first, min(end, p.first + p.size) - p.first)
        for n, p in enumerate(program.populations)
        if p.first < end and first < p.first + p.size
    ]


def _populations(program: Program, first: int, end: int) -> tuple[CorePopulation, ...]:
    shown = [p.size if p.output else 0 for p in program.populations]
    return tuple(
        CorePopulation(
            n,
            a,
            p.first + a - first,
            b - a,
            p.start,
            p.period,
            p.model,
            sum(shown[:n]) + a if p.output else -1,
            {name: np.broadcast_to(v, p.size)[a:b] for name, v in p.initial.items()},
        )
        for n, p, a, b in _parts(program, first, end)
    )


def _parameter_sets(
    program: Program, first: int, end: int
) -> tuple[Integers, tuple[ParameterSet, ...]]:
    """Set of each neuron and the table: per population, its distinct sets in ascending order."""
    index = np.zeros(end - first, np.int32)
    table: list[ParameterSet] = []
    for _, p, a, b in _parts(program, first, end):
        names = sorted(p.parameters)
        columns = [np.broadcast_to(p.parameters[name], p.size)[a:b] for name in names]
        lines = np.stack([*columns, np.zeros(b - a, np.int32)], axis=1)
        distinct, inverse = np.unique(lines, axis=0, return_inverse=True)
        at = p.first - first
        index[at + a : at + b] = len(table) + inverse.reshape(-1)
        table += [
            ParameterSet(p.model, dict(zip(names, line, strict=False)))
            for line in distinct.tolist()
        ]
    return index, tuple(table)
