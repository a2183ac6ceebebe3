"""The run form of a program: the arrays that a kernel reads, per worker.

Flat rows stay as the program has them; groups of sources that see most of their targets become
matrices of weights, row by row. A worker owns a range of neurons and has the synapses onto them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..compiler.ir.cycles import row_gap
from ..compiler.ir.device import state_part
from ..compiler.ir.language import Value, bounds, narrow, signed_bits, topological
from ..compiler.ir.program import MappedPopulation, Program
from ..compiler.ir.rows import cost_matrix, marked_words
from ..compiler.ir.synapses import target_shift, weight_field
from . import learning
from .kernel import PLACES, Counting, Shape, UpdateKind, update_address

DENSE_FILL = 0.3  # share of pairs that are connected above which a matrix is faster
NARROW_CURRENT = 22  # bits of an accumulated current that leave an update within 32
FLAG_PAD = 16
NEAR_BYTES = 8 << 20  # of accumulators: beyond, they are asked for ahead
MOST_RANGES = 16  # of equal sources, by which events are counted instead of one by one
MATRIX_SHARE = 0.25  # cores per synapse of a source above which marks count clocks cheaper


@dataclass(frozen=True, eq=False)
class Synaptic:
    """The synapses of one worker: rows and matrices."""

    words: NDArray[Any]
    first: NDArray[np.uint64]
    blocks: NDArray[np.int64]
    matrix: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Layout:
    """What a kernel needs to know of a program but its synapses.

    state_at: position of each population's first state variable in the state array; state order is
    population, variable, neuron; a population that does not spike has its `value` last. updates:
    the address of each population's update loop; field: bits of the weight sum in a marked
    accumulator; fan_out: see `_per_source`; fan_ranges: see `_ranges_of_equal`; costs:
    see `rows.cost_matrix`, empty for one core; plan: of plastic projections, if there are any.
    """

    shape: Shape
    updates: NDArray[np.int64]
    spiking: NDArray[np.bool_]
    field: int
    workers: tuple[tuple[int, int], ...]
    synaptic: tuple[Synaptic, ...]
    chunks: tuple[NDArray[np.int64], ...]
    initial: NDArray[np.int32]
    parameters: NDArray[np.int32]
    state_at: tuple[int, ...]
    slots: int
    delays: NDArray[np.int64]
    delay_mask: int
    word_shift: int
    lookup: NDArray[Any]
    fan_out: NDArray[np.int32]
    fan_ranges: NDArray[np.int64]
    costs: NDArray[Any]
    constants: NDArray[np.int32]
    plan: learning.Plan | None

    @property
    def has_blocks(self) -> bool:
        """Whether any synapses are laid out as matrices."""
        return any(len(s.blocks) for s in self.synaptic)


def variables(program: Program, p: MappedPopulation) -> tuple[str, ...]:
    """The arrays of a population in the state array, in order."""
    model = program.models[p.model]
    return tuple(model.state) if model.spikes else (*model.state, "value")


def state_slice(program: Program, layout: Layout, name: str) -> slice:
    """Where state ``population.variable`` stands; raises SpikefabError for an unknown name."""
    number, variable = state_part(program, name)
    p = program.populations[number]
    at = layout.state_at[number] + variables(program, p).index(variable) * p.size
    return slice(at, at + p.size)


def build(program: Program, counts: bool, payload: bool, workers: int) -> Layout:
    """Lay out a program for `workers` threads, with or without cycle counts."""
    dense = _dense_groups(program)
    delays = program.synapses.delays
    counting: Counting = "none"
    if counts:
        sources, count = program.synapses.sources, program.synapses.count
        few = bool(program.plastic) or program.cores * sources <= MATRIX_SHARE * count
        counting = "rows" if few or dense or delays != (0,) else "marks"
    gap = row_gap(program.chip)
    field, accumulator = _accumulator(program, counting, gap, bool(dense))
    target_bits = program.neurons.bit_length()
    delay_bits = (len(delays) - 1).bit_length()
    longest = max(delays[-1], *(q.delay for q in program.plastic), 0)
    delayed = longest > 0  # the accumulators are a ring, for prompt synapses too
    wide = program.synapses.wide or (delayed and target_bits + delay_bits + 8 > 32)
    slots = 1 << longest.bit_length()
    far = slots * program.neurons * np.dtype(accumulator).itemsize > NEAR_BYTES
    shape = Shape(counting, accumulator, wide, payload, delayed, far, bool(program.plastic))
    kinds = [_update_kind(program, p) for p in program.populations]
    ranges = shares(program.neurons, workers)
    initial, parameters, state_at, parameter_at = _arrays(program)
    words, costs = program.synapses.words, np.zeros((0, 1), np.uint8)
    mapped = (program.synapses, program.core_first, program.chip, program.survey)
    by_core = counts or bool(program.plastic)
    if counting == "marks":
        words = marked_words(*mapped)
    elif counting == "rows":
        costs = cost_matrix(*mapped, program.plastic_rows)
    constants = np.array(
        [program.constant_cycles(core) for core in range(program.cores)], np.int32
    )
    fan_out = _per_source(program, costs)
    return Layout(
        shape,
        np.array([update_address(kind, shape) for kind in kinds], np.int64),
        np.array([kind.spikes for kind in kinds]),
        field,
        ranges,
        tuple(
            _synaptic(program, words, dense, r, len(ranges), wide, delayed) for r in ranges
        ),
        tuple(
            _chunks(program, kinds, state_at, parameter_at, r, by_core) for r in ranges
        ),
        initial,
        parameters,
        state_at,
        slots,
        np.array(delays, np.int64),
        (1 << delay_bits) - 1,
        (16 if wide else 8) + delay_bits,
        _lookup(shape, field, gap) if counting == "marks" else np.zeros(1, np.int64),
        fan_out,
        _ranges_of_equal(fan_out),
        costs if program.cores > 1 else np.zeros((0, 1), np.uint8),
        constants,
        learning.build(program, slots),
    )


def _per_source(program: Program, costs: NDArray[Any]) -> NDArray[np.int32]:
    """[sources, 2]: synapses of each source, and clocks of its row if there is only one core."""
    result = np.zeros((program.synapses.sources, 2), np.int32)
    result[:, 0] = np.diff(program.synapses.first[:: len(program.synapses.delays)])
    for q in program.plastic:
        result[q.first : q.first + q.size, 0] += np.diff(q.rows).astype(np.int32)
    if program.cores == 1 and len(costs):
        result[:, 1] = costs[:, 0]
    return result


def _ranges_of_equal(fan_out: NDArray[np.int32]) -> NDArray[np.int64]:
    """(end, synapses, clocks) of runs of equal sources; none where they are too many to pay."""
    ends = np.append(np.flatnonzero(np.diff(fan_out, axis=0).any(axis=1)) + 1, len(fan_out))
    if len(ends) > MOST_RANGES:
        return np.zeros((0, 3), np.int64)
    return np.column_stack([ends.astype(np.int64), fan_out[ends - 1]])


def shares(neurons: int, workers: int) -> tuple[tuple[int, int], ...]:
    """The neurons of each worker: [first, end), 16 or more."""
    workers = max(1, min(workers, neurons // 16))
    cuts = [round(neurons * w / workers / 16) * 16 for w in range(workers)] + [neurons]
    return tuple(itertools.pairwise(cuts))


def _accumulator(
    program: Program, counting: Counting, gap: int, dense: bool
) -> tuple[int, Literal["int16", "int32", "uint32", "uint64"]]:
    """Bits of the weight sum in an accumulator, and the accumulator's type.

    The narrowest type is worth most where a ring of delay slots fills the cache.
    """
    positive, negative = program.reach
    low = int(max(positive.max(initial=0), negative.max(initial=0)))
    field = signed_bits(-low - 1, low)
    if counting != "marks":
        return 0, "int16" if field <= 16 and not dense else "int32"
    into = _in_degree(
        program.synapses.words, target_shift(program.synapses.wide), program.neurons
    )
    clocks = int(into.max(initial=0)) * (1 + gap) * program.chip.largest_payload
    narrow_enough = field + clocks.bit_length() <= 32 and not program.synapses.wide
    return field, "uint32" if narrow_enough else "uint64"


@njit(cache=True, nogil=True)
def _in_degree(words, shift, neurons):  # type: ignore[no-untyped-def]
    into = np.zeros(neurons, np.int64)
    for k in range(len(words)):
        into[np.int64(words[k] >> shift)] += 1
    return into


def _lookup(shape: Shape, field: int, gap: int) -> NDArray[Any]:
    """What a word adds to a marked accumulator: by weight and mark, or by mark if wide."""
    low = np.arange(4 if shape.wide else 1 << 10, dtype=np.int64)
    mark = low if shape.wide else low >> 8
    clocks = ((mark & 1) + (mark >> 1) * (1 + gap)) << field
    if shape.wide:
        return clocks
    weight = (low & 0xFF).astype(np.uint8).view(np.int8).astype(np.int64)
    return (weight + clocks).astype(np.uint32 if shape.accumulator == "uint32" else np.int64)


def _update_kind(program: Program, p: MappedPopulation) -> UpdateKind:
    """The update loop of a population, in 32 bits if its accumulated current is narrow enough."""
    positive, negative = program.reach
    model = program.models[p.model]
    low = int(max(positive[p.neurons].max(), negative[p.neurons].max()))
    outputs: Mapping[str, Value] = model.outputs
    if signed_bits(-low, low) <= NARROW_CURRENT:
        outputs = narrow(outputs, {"current": bounds(NARROW_CURRENT, True)})
    return UpdateKind(
        outputs,
        tuple(model.state),
        tuple((k, p.parameters[k].size == 1) for k in model.parameters),
        model.spikes,
        any(v.op == "random" for v in topological(outputs.values())),
    )


def _arrays(
    program: Program,
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[int, ...], list[list[int]]]:
    initial, parameters = [], []
    state_at: list[int] = []
    parameter_at: list[list[int]] = []
    states = values = 0
    for p in program.populations:
        state_at.append(states)
        for name in variables(program, p):
            start = p.initial.get(name, np.zeros(1, np.int32))
            initial.append(np.broadcast_to(start, p.size))
            states += p.size
        parameter_at.append([])
        for name in program.models[p.model].parameters:
            parameter_at[-1].append(values)
            parameters.append(p.parameters[name])
            values += p.parameters[name].size
    flat = np.concatenate([*parameters, np.zeros(1, np.int32)]).astype(np.int32)
    return np.concatenate(initial).astype(np.int32), flat, tuple(state_at), parameter_at


def _chunks(
    program: Program,
    kinds: Sequence[UpdateKind],
    state_at: Sequence[int],
    parameter_at: Sequence[Sequence[int]],
    owned: tuple[int, int],
    by_core: bool,
) -> NDArray[np.int64]:
    """The pieces of populations that one update loop runs over: cut at cores where it matters."""
    most = max((len(a) for a in parameter_at), default=0)
    table: list[list[int]] = []
    for n, p in enumerate(program.populations):
        a, b = max(owned[0], p.first), min(owned[1], p.first + p.size)
        if a >= b:
            continue
        cuts = [a, b]
        if by_core or kinds[n].random:
            inside = program.core_first[(program.core_first > a) & (program.core_first < b)]
            cuts = [a, *(int(c) for c in inside), b]
        for lo, hi in itertools.pairwise(cuts):
            core = int(np.searchsorted(program.core_first, lo, "right")) - 1
            offset = lo - p.first
            uniform = [single for _, single in kinds[n].parameters]
            at = [
                start + (0 if single else offset)
                for start, single in zip(parameter_at[n], uniform, strict=True)
            ]
            at += [0] * (most - len(at))
            emits = program.emit_clocks[lo:hi]
            each = int(emits[0]) if (emits == emits[0]).all() else -1
            if not kinds[n].spikes:
                each = int(p.output)
            table.append(
                [n, lo, hi - lo, core, state_at[n] + offset, p.size, each, *at]
            )
    return np.array(table, np.int64).reshape(len(table), PLACES + most)


@dataclass(frozen=True)
class _DenseGroup:
    """Sources begin .. end - 1 that see most of the targets they reach."""

    begin: int
    end: int
    connected: int


def _dense_groups(program: Program) -> list[_DenseGroup]:
    lines = program.input_lines
    ports = [(i.first, i.size) for i in program.inputs]
    ports += [(lines + p.first, p.size) for p in program.populations]
    smallest = min(p.size for p in program.populations)
    groups = []
    for begin, size in ports:
        per_delay = len(program.synapses.delays)
        a = int(program.synapses.first[begin * per_delay])
        b = int(program.synapses.first[(begin + size) * per_delay])
        if b - a < max(DENSE_FILL * size * smallest, 256):
            continue
        blocks = _blocks(program, program.synapses.words, begin, begin + size)
        if all(count >= DENSE_FILL * size * n for _, n, _, count in blocks):
            groups.append(_DenseGroup(begin, begin + size, b - a))
    return groups


def _blocks(
    program: Program, words: NDArray[Any], begin: int, end: int
) -> list[tuple[int, int, int, int]]:
    """(first target, targets, delay, synapses) of each population and delay a group reaches."""
    delays = program.synapses.delays
    shift = target_shift(program.synapses.wide)
    edges = np.array([p.first for p in program.populations] + [program.neurons])
    counts = np.zeros((len(edges) - 1, len(delays)), np.int64)
    for d in range(len(delays)):
        rows = np.arange(begin, end) * len(delays) + d
        for a, b in zip(
            program.synapses.first[rows], program.synapses.first[rows + 1], strict=True
        ):
            at = np.searchsorted((words[a:b] >> shift).astype(np.int64), edges)
            counts[:, d] += np.diff(at)
    return [
        (p.first, p.size, delays[d], int(counts[n, d]))
        for n, p in enumerate(program.populations)
        for d in range(len(delays))
        if counts[n, d]
    ]


def _synaptic(
    program: Program,
    words: NDArray[Any],
    dense: Sequence[_DenseGroup],
    owned: tuple[int, int],
    workers: int,
    wide: bool,
    delayed: bool,
) -> Synaptic:
    synapses = program.synapses
    shift, delays = target_shift(synapses.wide), synapses.delays
    table, matrices, at = [], [], 0
    skipped = np.zeros(synapses.sources, np.bool_)
    for group in dense:
        skipped[group.begin : group.end] = True
        for target, size, delay, _ in _blocks(program, words, group.begin, group.end):
            lo, hi = max(target, owned[0]), min(target + size, owned[1])
            if lo >= hi:
                continue
            d = delays.index(delay)
            matrix = np.zeros((group.end - group.begin, hi - lo), np.int16)
            _fill(words, synapses.first, len(delays), d, shift, weight_field(synapses.wide),
                  group.begin, lo, matrix)
            table.append([group.begin, group.end, lo, hi - lo, delay, at, 0])
            matrices.append(matrix.astype(np.int16 if wide else np.int8).ravel())
            at += matrix.size
    first = synapses.first
    if workers > 1 or dense:
        words, first = _owned_rows(words, first, len(delays), shift, owned[0], owned[1], skipped)
    if delayed:
        words = _delayed_words(words, first, len(delays), shift, weight_field(synapses.wide), wide)
    first = np.ascontiguousarray(first[:: len(delays)])
    kind = np.int16 if wide else np.int8
    blocks = np.array(table, np.int64).reshape(len(table), 7)
    blocks[:, 6] = at  # a row of zeros after all others, to fill up groups of rows
    widest = int(blocks[:, 3].max(initial=1))
    matrix_data = np.concatenate([*matrices, np.zeros(widest, kind)])
    return Synaptic(words, first.view(np.uint64), blocks, matrix_data)


@njit(cache=True, nogil=True)
def _fill(words, first, n_delays, d, shift, field, begin, target, matrix):  # type: ignore[no-untyped-def]
    half = 1 << (field - 1)
    for r in range(matrix.shape[0]):
        row = (begin + r) * n_delays + d
        for k in range(first[row], first[row + 1]):
            column = np.int64(words[k] >> shift) - target
            if 0 <= column < matrix.shape[1]:
                w = np.int64(words[k]) & (2 * half - 1)
                matrix[r, column] = (w ^ half) - half


def _delayed_words(
    words: NDArray[Any], first: NDArray[np.int64], n_delays: int, shift: int, field: int, wide: bool
) -> NDArray[Any]:
    """Words that hold, from the least bit: weight, number of the delay, target."""
    out = np.empty(len(words), np.uint64 if wide else np.uint32)
    _put_delays(words, first, n_delays, shift, field, 16 if wide else 8,
                (n_delays - 1).bit_length(), out)  # fmt: skip
    return out


@njit(cache=True, nogil=True)
def _put_delays(words, first, n_delays, shift, field, room, delay_bits, out):  # type: ignore[no-untyped-def]
    half = 1 << (field - 1)
    for row in range(len(first) - 1):
        d = row % n_delays
        for k in range(first[row], first[row + 1]):
            w = np.int64(words[k]) & (2 * half - 1)
            w = ((w ^ half) - half) & ((1 << room) - 1)
            target = np.int64(words[k] >> shift)
            out[k] = (((target << delay_bits) | d) << room) | w


@njit(cache=True, nogil=True)
def _owned_rows(words, first, n_delays, shift, lo, hi, skipped):  # type: ignore[no-untyped-def]
    kept = np.zeros_like(first)
    for row in range(len(first) - 1):
        n = 0
        if not skipped[row // n_delays]:
            for k in range(first[row], first[row + 1]):
                n += lo <= np.int64(words[k] >> shift) < hi
        kept[row + 1] = kept[row] + n
    out = np.empty(kept[-1], words.dtype)
    n = 0
    for row in range(len(first) - 1):
        if not skipped[row // n_delays]:
            for k in range(first[row], first[row + 1]):
                if lo <= np.int64(words[k] >> shift) < hi:
                    out[n] = words[k]
                    n += 1
    return out, kept


def with_weights(program: Program, words: NDArray[Any]) -> Program:
    """The program with other weights in its words."""
    return dataclasses.replace(
        program, synapses=dataclasses.replace(program.synapses, words=words)
    )
