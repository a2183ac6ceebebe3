"""Core rows: the part of a source's synapses that lies on one core, dense or sparse, and its cost.

Everything a core stores and every clock it spends in Deliver follows from the shapes given here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .chip import ChipSpec
from .cycles import row_gap
from .plastic import DENSE, SPARSE, PlasticRows
from .synapses import Synapses, target_shift


@dataclass(frozen=True, eq=False)
class Survey:
    """What the rows take, per core and per source.

    axons, synapse_words, synapses: [cores]; sparse: [cores], number of sparse rows;
    routes: [sources], cores reached; begins: [cores, words + 1], how many dense rows begin before
    a word; row_total: [cores], cost of all rows in clocks.
    """

    axons: NDArray[np.int64]
    synapse_words: NDArray[np.int64]
    synapses: NDArray[np.int64]
    sparse: NDArray[np.int64]
    routes: NDArray[np.int32]
    begins: NDArray[np.int32]
    row_total: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CoreRows:
    """All rows, by source, core, and projection. Arrays [rows] but `first`: int64 [sources + 1].

    begin: first accumulator word of a dense row; words: clocks of synapse memory; cost: clocks of
    one walk; follows: 1 where the next row may follow at once; room: words of synapse memory, which
    are more than those walked where plastic synapses have state; plastic: the plastic projection
    that a row belongs to, -1 for the fixed synapses of its source, which come first.
    """

    first: NDArray[np.int64]
    core: NDArray[np.int32]
    kind: NDArray[np.int8]
    begin: NDArray[np.int32]
    words: NDArray[np.int32]
    cost: NDArray[np.int32]
    follows: NDArray[np.int8]
    room: NDArray[np.int32]
    plastic: NDArray[np.int32]


def survey(
    synapses: Synapses, core_first: NDArray[np.int64], chip: ChipSpec, plastic: PlasticRows
) -> Survey:
    """Memory and cost of every core."""
    cores = len(core_first) - 1
    words = int(np.diff(core_first).max(initial=0)) // chip.lanes + 2
    totals = np.zeros((5, cores), np.int64)
    routes = np.zeros(synapses.sources, np.int32)
    begins = np.zeros((cores, words), np.int32)
    args = _arguments(synapses, core_first, chip)
    _survey(*args, totals, routes, begins)
    dense = plastic.kind == DENSE
    for total, each in ((0, 1), (1, plastic.room), (2, plastic.synapses), (3, ~dense)):
        np.add.at(totals[total], plastic.core, each)
    np.add.at(routes, plastic.source, 1)
    np.add.at(begins, (plastic.core[dense], plastic.begin[dense]), 1)
    begins = np.cumsum(begins, axis=1, dtype=np.int32)
    result = Survey(totals[0], totals[1], totals[2], totals[3], routes, begins, totals[4])
    _total_cost(*args, result.sparse, begins, row_gap(chip), totals[4])
    np.add.at(totals[4], plastic.core, _costs(plastic, result, row_gap(chip)))
    return result


def _costs(plastic: PlasticRows, surveyed: Survey, gap: int) -> NDArray[np.int32]:
    """Clocks of one walk of each plastic row."""
    follows = [
        _may_follow(core, kind, last, surveyed.sparse, surveyed.begins, gap)
        for core, kind, last in zip(plastic.core, plastic.kind, plastic.last, strict=True)
    ]
    return plastic.words + np.where(np.array(follows, np.bool_), 0, gap).astype(np.int32)


def core_rows(
    synapses: Synapses, core_first: NDArray[np.int64], chip: ChipSpec, surveyed: Survey,
    plastic: PlasticRows,
) -> CoreRows:  # fmt: skip
    """The rows one by one, for core images and for counting clocks per source."""
    first = np.zeros(len(surveyed.routes) + 1, np.int64)
    np.cumsum(surveyed.routes, out=first[1:])
    fixed = int(first[-1]) - len(plastic.source)
    kinds = (np.int32, np.int32, np.int8, np.int32, np.int32, np.int32, np.int8)
    found = tuple(np.zeros(fixed, kind) for kind in kinds)
    _list(
        *_arguments(synapses, core_first, chip),
        surveyed.sparse,
        surveyed.begins,
        row_gap(chip),
        found,
    )
    cost = _costs(plastic, surveyed, row_gap(chip))
    more = (
        plastic.source, plastic.core, plastic.kind, plastic.begin, plastic.words, cost,
        (cost == plastic.words).astype(np.int8) if row_gap(chip) else np.ones(len(cost), np.int8),
        plastic.room, plastic.projection,
    )  # fmt: skip
    all_fixed = (*found, found[4], np.full(fixed, -1, np.int32))
    columns = [np.concatenate([a, b]) for a, b in zip(all_fixed, more, strict=True)]
    order = np.lexsort((columns[-1], columns[1], columns[0]))
    return CoreRows(first, *(column[order] for column in columns[1:]))


def cost_matrix(
    synapses: Synapses, core_first: NDArray[np.int64], chip: ChipSpec, surveyed: Survey,
    plastic: PlasticRows,
) -> NDArray[Any]:  # fmt: skip
    """Clocks of one walk of each source's rows on each core: uint8, or uint32 if need be, [sources,
    cores]."""
    args = (*_arguments(synapses, core_first, chip), surveyed.sparse, surveyed.begins)
    shape = (synapses.sources, len(core_first) - 1)
    clocks: NDArray[Any] = np.zeros(shape, np.uint8)
    if not len(plastic.source) and _fill_costs(*args, row_gap(chip), clocks) <= 255:
        return clocks
    clocks = np.zeros(shape, np.uint32)
    _fill_costs(*args, row_gap(chip), clocks)
    cost = _costs(plastic, surveyed, row_gap(chip)).astype(np.uint32)
    np.add.at(clocks, (plastic.source, plastic.core), cost)
    return clocks


def marked_words(
    synapses: Synapses, core_first: NDArray[np.int64], chip: ChipSpec, surveyed: Survey
) -> NDArray[Any]:
    """A copy of the words whose marks add up to the cost of every core row.

    Mark 0 stands for no clock, 1 for one clock, 2 for one clock and the gap after the row.
    """
    words = synapses.words.copy()
    _mark(
        words,
        *_arguments(synapses, core_first, chip)[1:],
        surveyed.sparse,
        surveyed.begins,
        row_gap(chip),
        words.dtype.type(1 << (target_shift(synapses.wide) - 2)),
    )
    return words


def _arguments(
    synapses: Synapses, core_first: NDArray[np.int64], chip: ChipSpec
) -> tuple[Any, ...]:
    return (
        synapses.words,
        synapses.first,
        len(synapses.delays),
        target_shift(synapses.wide),
        core_first,
        chip.lanes,
        chip.sparse_lanes,
    )


@njit(cache=True, nogil=True)
def _next_row(words, cursor, ends, shift, core, core_first, lanes, sparse_lanes, residues):  # type: ignore[no-untyped-def]
    """Advance `cursor` over one core's part of a row.

    Returns (core, kind, first accumulator word, words, last accumulator word, synapses); core is
    -1 at the end.
    """
    least = np.int64(-1)
    for d in range(len(cursor)):
        if cursor[d] < ends[d]:
            target = np.int64(words[cursor[d]] >> shift)
            if least < 0 or target < least:
                least = target
    if least < 0:
        return -1, 0, 0, 0, 0, 0
    while least >= core_first[core + 1]:
        core += 1
    base, limit = core_first[core], core_first[core + 1]
    residues[:] = 0
    lo, hi, used, count = limit, np.int64(-1), 0, 0
    for d in range(len(cursor)):
        k = cursor[d]
        while k < ends[d]:
            target = np.int64(words[k] >> shift)
            if target >= limit:
                break
            target -= base
            residues[target & (sparse_lanes - 1)] += 1
            lo = min(lo, target)
            hi = max(hi, target)
            k += 1
        if k > cursor[d]:
            used += 1
            count += k - cursor[d]
            cursor[d] = k
    sparse_words = residues.max()
    dense_words = hi // lanes - lo // lanes + 1
    if used == 1 and dense_words <= sparse_words:
        return core, DENSE, lo // lanes, dense_words, hi // lanes, count
    return core, SPARSE, 0, sparse_words, 0, count


@njit(cache=True, nogil=True)
def _may_follow(core, kind, last, sparse, begins, gap):  # type: ignore[no-untyped-def]
    """Whether any row of the core may begin in the clock after this row's last word."""
    if kind != DENSE or sparse[core] > 0:
        return False
    below = max(last - gap + 1, 0)
    before = begins[core, below - 1] if below > 0 else 0
    return begins[core, last] == before


@njit(cache=True, nogil=True)
def _survey(words, first, n_delays, shift, core_first, lanes, sparse_lanes, totals, routes, begins):  # type: ignore[no-untyped-def]
    residues = np.zeros(sparse_lanes, np.int64)
    for source in range(len(routes)):
        cursor = first[source * n_delays : (source + 1) * n_delays].copy()
        ends = first[source * n_delays + 1 : (source + 1) * n_delays + 1]
        core = 0
        while True:
            core, kind, begin, size, _, count = _next_row(
                words, cursor, ends, shift, core, core_first, lanes, sparse_lanes, residues
            )
            if core < 0:
                break
            routes[source] += 1
            totals[0, core] += 1
            totals[1, core] += size
            totals[2, core] += count
            if kind == SPARSE:
                totals[3, core] += 1
            else:
                begins[core, begin] += 1


@njit(cache=True, nogil=True)
def _total_cost(  # type: ignore[no-untyped-def]
    words, first, n_delays, shift, core_first, lanes, sparse_lanes, sparse, begins, gap, total
):
    residues = np.zeros(sparse_lanes, np.int64)
    for source in range((len(first) - 1) // n_delays):
        cursor = first[source * n_delays : (source + 1) * n_delays].copy()
        ends = first[source * n_delays + 1 : (source + 1) * n_delays + 1]
        core = 0
        while True:
            core, kind, _, size, last, _ = _next_row(
                words, cursor, ends, shift, core, core_first, lanes, sparse_lanes, residues
            )
            if core < 0:
                break
            total[core] += size
            if not _may_follow(core, kind, last, sparse, begins, gap):
                total[core] += gap


@njit(cache=True, nogil=True)
def _list(  # type: ignore[no-untyped-def]
    words, first, n_delays, shift, core_first, lanes, sparse_lanes, sparse, begins, gap, out
):
    out_source, out_core, out_kind, out_begin, out_words, out_cost, out_follows = out
    residues = np.zeros(sparse_lanes, np.int64)
    n = 0
    for source in range((len(first) - 1) // n_delays):
        cursor = first[source * n_delays : (source + 1) * n_delays].copy()
        ends = first[source * n_delays + 1 : (source + 1) * n_delays + 1]
        core = 0
        while True:
            core, kind, begin, size, last, _ = _next_row(
                words, cursor, ends, shift, core, core_first, lanes, sparse_lanes, residues
            )
            if core < 0:
                break
            follows = _may_follow(core, kind, last, sparse, begins, gap)
            out_source[n], out_core[n], out_kind[n] = source, core, kind
            out_begin[n], out_words[n] = begin, size
            out_cost[n] = size if follows else size + gap
            out_follows[n] = follows
            n += 1


@njit(cache=True, nogil=True)
def _fill_costs(  # type: ignore[no-untyped-def]
    words, first, n_delays, shift, core_first, lanes, sparse_lanes, sparse, begins, gap, clocks
):
    """Fill the cost matrix, modulo its type; returns the greatest cost."""
    residues = np.zeros(sparse_lanes, np.int64)
    most = np.int64(0)
    for source in range((len(first) - 1) // n_delays):
        cursor = first[source * n_delays : (source + 1) * n_delays].copy()
        ends = first[source * n_delays + 1 : (source + 1) * n_delays + 1]
        core = 0
        while True:
            core, kind, _, size, last, _ = _next_row(
                words, cursor, ends, shift, core, core_first, lanes, sparse_lanes, residues
            )
            if core < 0:
                break
            cost = size if _may_follow(core, kind, last, sparse, begins, gap) else size + gap
            clocks[source, core] = cost
            most = max(most, cost)
    return most


@njit(cache=True, nogil=True)
def _mark(words, first, n_delays, shift, core_first, lanes, sparse_lanes, sparse, begins, gap, one):  # type: ignore[no-untyped-def]
    """Marks for rows of one delay: the first `size` synapses of a core row carry its clocks."""
    residues = np.zeros(sparse_lanes, np.int64)
    for source in range((len(first) - 1) // n_delays):
        cursor = first[source * n_delays : (source + 1) * n_delays].copy()
        ends = first[source * n_delays + 1 : (source + 1) * n_delays + 1]
        core = 0
        while True:
            begin = cursor[0]
            core, kind, _, size, last, _ = _next_row(
                words, cursor, ends, shift, core, core_first, lanes, sparse_lanes, residues
            )
            if core < 0:
                break
            for k in range(begin, begin + size):
                words[k] |= one
            if not _may_follow(core, kind, last, sparse, begins, gap):
                words[begin] += one


def segments(synapses: Synapses) -> Iterator[tuple[int, int, slice]]:
    """(source, delay, slice of synapses) of every segment that is not empty."""
    for row in range(len(synapses.first) - 1):
        a, b = int(synapses.first[row]), int(synapses.first[row + 1])
        if b > a:
            source, d = divmod(row, len(synapses.delays))
            yield source, synapses.delays[d], slice(a, b)
