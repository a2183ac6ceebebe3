"""Emit: number the sources, pack every synapse into the flat rows of a program.

Works within the memory that the synapses themselves need: generated synapses are packed chunk by
chunk, and a single projection of rows that may be consumed is packed where it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..ir.program import InputPort, MappedPopulation, Program
from ..ir.synapses import Synapses, target_shift, weight_field, word_type
from ..network import Generated, Rows, Triples
from .draft import Draft, Quantised
from .learn import learn

CHUNK = 1 << 18  # synapses that are generated at a time
Piece = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any] | None]


def emit(draft: Draft, notes: dict[str, Any], seed: int = 1) -> Program:
    """The program of a draft, on one core (cut it by `partition`)."""
    timing = draft.timing
    assert timing is not None
    inputs, first = [], 0
    for part in draft.network.inputs:
        inputs.append(InputPort(part.name, first, part.size, timing.period))
        first += part.size
    models = [m for _, m in sorted({m.identity: m for m in draft.models.values()}.items())]
    numbers = {m.identity: n for n, m in enumerate(models)}
    populations, neurons = [], 0
    for p in draft.network.populations:
        populations.append(
            MappedPopulation(
                p.name,
                neurons,
                p.size,
                numbers[draft.models[p.name].identity],
                timing.start[p.name],
                timing.period,
                p.output,
                draft.parameters[p.name],
                draft.initial[p.name],
                draft.scales[p.name].lsb,
            )
        )
        neurons += p.size
    begin = {i.name: i.first for i in inputs} | {p.name: first + p.first for p in populations}
    target = {p.name: p.first for p in populations}
    wide = draft.chip.weight_bits > 8
    if neurons >= 1 << (32 - target_shift(False)) and not wide:
        raise SpikefabError(f"{neurons} neurons", "the network", "at most 4,194,303")
    fixed = [
        (q, delay)
        for q, delay in zip(draft.weights, timing.delay, strict=True)
        if q.projection.plasticity is None
    ]
    still = dataclasses.replace(
        draft, weights=tuple(q for q, _ in fixed),
        timing=dataclasses.replace(timing, delay=tuple(delay for _, delay in fixed)),
    )  # fmt: skip
    synapses = _synapses(still, begin, target, first + neurons, wide)
    rules, plastic = learn(draft, begin, target)
    program = Program(
        draft.chip,
        tuple(models),
        tuple(inputs),
        tuple(populations),
        np.array([0, neurons], np.int64),
        synapses,
        seed,
        notes,
        rules,
        plastic,
    )
    check(draft, program)
    return program


def check(draft: Draft, program: Program) -> None:
    """Raise SpikefabError unless rows are whole and ordered, and no more than the network has."""
    program.synapses.check(program.input_lines + program.neurons, program.neurons, "the program")
    if program.synapses.delays[-1] >= draft.chip.delay_slots:
        raise SpikefabError(
            f"delay of {program.synapses.delays[-1]} ticks",
            "the network",
            f"chip '{draft.chip.name}' has {draft.chip.delay_slots} delay slots",
            f"it needs {program.synapses.delays[-1] + 1}",
        )


def _synapses(
    draft: Draft, begin: dict[str, int], target: dict[str, int], sources: int, wide: bool
) -> Synapses:
    assert draft.timing is not None
    only = draft.weights[0] if len(draft.weights) == 1 else None
    if only and _may_consume(only.connections, wide):
        return _consumed(draft, only, begin, target, sources)
    counts = np.zeros(sources + 1, np.int64)
    for q in draft.weights:
        _count(q, draft.network.node(q.projection.source).size, begin[q.projection.source], counts)
    row_first = np.cumsum(counts)
    row_end = row_first[:-1].copy()
    words = np.empty(int(row_first[-1]), word_type(wide))
    mixed = len(set(draft.timing.delay)) > 1 or any(_has_delays(q) for q in draft.weights)
    late = np.empty(len(words) if mixed else 0, np.uint16)
    shift, field = target_shift(wide), weight_field(wide)
    for q, delay in zip(draft.weights, draft.timing.delay, strict=True):
        base, offset = begin[q.projection.source], target[q.projection.target]
        for source, to, weight, steps in _pieces(q, draft.network.node(q.projection.source).size):
            ticks = np.zeros(0, np.uint16)
            if mixed:
                ticks = np.full(len(to), delay, np.int64)
                if steps is not None:
                    ticks += steps.astype(np.int64) * draft.timing.period
                if len(ticks) and (ticks.min() < 0 or ticks.max() >= draft.chip.delay_slots):
                    raise SpikefabError(
                        f"delay of {ticks.max()} ticks",
                        f"projection '{q.projection.source}' to '{q.projection.target}'",
                        f"chip '{draft.chip.name}' has {draft.chip.delay_slots} delay slots",
                    )
                ticks = ticks.astype(np.uint16)
            _place(words, late, row_end, source, base, to, offset, weight, ticks, shift, field)
    return _ordered(draft, words, late, row_first, row_end, wide)


def _may_consume(connections: Any, wide: bool) -> bool:
    return (
        isinstance(connections, Rows)
        and connections.consume
        and connections.delay is None
        and not wide
        and connections.target.dtype == np.int32
        and connections.target.flags.c_contiguous
        and connections.target.flags.writeable
        and connections.weight.dtype == np.int8
    )


def _consumed(
    draft: Draft, q: Quantised, begin: dict[str, int], target: dict[str, int], sources: int
) -> Synapses:
    rows: Rows = q.connections
    assert draft.timing is not None
    words = rows.target.view(np.uint32)
    first = np.zeros(sources + 1, np.int64)
    base = begin[q.projection.source]
    size = len(rows.first) - 1
    first[base : base + size + 1] = rows.first
    first[base + size + 1 :] = rows.first[-1]
    end = np.empty(sources, np.int64)
    _pack_in_place(words, rows.weight, first, end, target[q.projection.target])
    late = np.zeros(0, np.uint16)
    return _ordered(draft, words, late, first, end, False)


def _ordered(
    draft: Draft,
    words: NDArray[Any],
    late: NDArray[np.uint16],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    wide: bool,
) -> Synapses:
    """Sort every row by delay and target, sum parallel synapses, close the gaps."""
    assert draft.timing is not None
    slots = [0] * 65_536
    if len(late):
        seen = _used_delays(late, first, end)
        delays = tuple(int(d) for d in np.flatnonzero(seen)) or (0,)
        for n, d in enumerate(delays):
            slots[d] = n
    else:
        delays = (min(draft.timing.delay, default=0),)
    out_first = np.zeros(len(end) * len(delays) + 1, np.int64)
    limit = draft.chip.largest_weight
    bad, total, weight = _sort_rows(
        words, late, first, end, np.array(slots, np.int32), len(delays), target_shift(wide),
        weight_field(wide), limit, out_first,
    )
    if bad >= 0:
        raise SpikefabError(
            f"parallel synapses add up to {weight}",
            _projection_at(draft, int(bad)),
            f"chip '{draft.chip.name}' has {draft.chip.weight_bits}-bit weights",
        )
    if total < len(words):
        words = words[:total] if total > 0.9 * len(words) else words[:total].copy()
    return Synapses(words, out_first, delays)


def _projection_at(draft: Draft, source: int) -> str:
    sizes = {i.name: i.size for i in draft.network.inputs}
    sizes |= {p.name: p.size for p in draft.network.populations}
    for name, size in sizes.items():
        if source < size:
            return f"the synapses of '{name}[{source}]'"
        source -= size
    raise IndexError(source)


def _has_delays(q: Quantised) -> bool:
    c = q.connections
    if isinstance(c, Generated):
        return c.delays
    return not isinstance(c, np.ndarray) and c.delay is not None


def _count(q: Quantised, size: int, base: int, counts: NDArray[np.int64]) -> None:
    """Add the synapses of each source to counts[base + source + 1]."""
    c = q.connections
    if isinstance(c, np.ndarray):
        counts[base + 1 : base + 1 + c.shape[0]] += np.count_nonzero(c, axis=1)
    elif isinstance(c, Generated):
        counts[base + 1 : base + 1 + size] += c.fan_out
    elif isinstance(c, Triples):
        for k in range(0, len(c.source), CHUNK):
            _count_sources(c.source[k : k + CHUNK], base + 1, counts)
    else:
        counts[base + 1 : base + len(c.first)] += np.diff(c.first)


def _pieces(q: Quantised, size: int) -> Iterator[Piece]:
    """(source, target, weight, delay) of synapses, some at a time; None for no delays."""
    c = q.connections
    if isinstance(c, np.ndarray):
        rows = max(1, CHUNK // max(1, c.shape[1]))
        for k in range(0, c.shape[0], rows):
            source, to = np.nonzero(c[k : k + rows])
            yield source + k, to, c[k : k + rows][source, to], None
    elif isinstance(c, Generated):
        count = max(1, CHUNK // max(1, c.fan_out))
        for k in range(0, size, count):
            made = c.chunk(k, min(count, size - k))
            source = np.repeat(np.arange(k, k + len(made[0])), c.fan_out)
            yield source, made[0].ravel(), made[1].ravel(), made[2].ravel() if c.delays else None
    elif isinstance(c, Triples):
        for k in range(0, len(c.source), CHUNK):
            part = slice(k, k + CHUNK)
            steps = None if c.delay is None else c.delay[part]
            yield c.source[part], c.target[part], c.weight[part], steps
    else:
        sources = len(c.first) - 1
        rows = max(1, int(CHUNK * sources / max(1, len(c.target))))
        for k in range(0, sources, rows):
            last = min(sources, k + rows)
            part = slice(int(c.first[k]), int(c.first[last]))
            source = np.repeat(np.arange(k, last), np.diff(c.first[k : last + 1]))
            steps = None if c.delay is None else c.delay[part]
            yield source, c.target[part], c.weight[part], steps


@njit(cache=True, nogil=True)
def _count_sources(source, base, counts):  # type: ignore[no-untyped-def]
    for k in range(len(source)):
        counts[base + source[k]] += 1


@njit(cache=True, nogil=True)
def _used_delays(late, first, end):  # type: ignore[no-untyped-def]
    seen = np.zeros(65_536, np.bool_)
    for row in range(len(end)):
        for k in range(first[row], end[row]):
            seen[late[k]] = True
    return seen


@njit(cache=True, nogil=True)
def _place(words, late, row_end, source, base, to, offset, weight, ticks, shift, field):  # type: ignore[no-untyped-def]
    mask = (1 << field) - 1
    for k in range(len(to)):
        if weight[k] != 0:
            row = base + source[k]
            at = row_end[row]
            words[at] = ((np.int64(to[k]) + offset) << shift) | (np.int64(weight[k]) & mask)
            if len(late):
                late[at] = ticks[k]
            row_end[row] = at + 1


@njit(cache=True, nogil=True)
def _pack_in_place(words, weight, first, end, offset):  # type: ignore[no-untyped-def]
    for row in range(len(first) - 1):
        at = first[row]
        for k in range(first[row], first[row + 1]):
            if weight[k] != 0:
                words[at] = ((np.int64(words[k]) + offset) << 10) | (np.int64(weight[k]) & 0xFF)
                at += 1
        end[row] = at


@njit(cache=True, nogil=True)
def _sort_rows(words, late, first, end, slots, n_delays, shift, field, limit, out_first):  # type: ignore[no-untyped-def]
    """Returns (source whose parallel synapses overflow or -1, synapses left, that weight)."""
    half = 1 << (field - 1)
    at = 0
    longest = 0
    for row in range(len(end)):
        longest = max(longest, end[row] - first[row])
    keys = np.empty(longest, np.uint64)
    for row in range(len(end)):
        begin, stop = first[row], end[row]
        size = stop - begin
        ordered = True
        for k in range(size):
            slot = slots[late[begin + k]] if len(late) else 0
            keys[k] = (np.uint64(slot) << np.uint64(48)) | np.uint64(words[begin + k])
            if k > 0 and keys[k] < keys[k - 1]:
                ordered = False
        if not ordered:
            keys[:size].sort()
        k = 0
        segment = 0
        while k < size:
            slot = np.int64(keys[k] >> np.uint64(48))
            while segment < slot:
                segment += 1
                out_first[row * n_delays + segment] = at
            place = keys[k] >> np.uint64(shift)
            total = 0
            while k < size and keys[k] >> np.uint64(shift) == place:
                w = np.int64(keys[k]) & (2 * half - 1)
                total += (w ^ half) - half
                k += 1
            if total > limit or total < -limit - 1:
                return row, at, total
            if total != 0:
                word = np.int64(place & np.uint64((1 << (48 - shift)) - 1)) << shift
                words[at] = word | (total & (2 * half - 1))
                at += 1
        while segment < n_delays:
            segment += 1
            out_first[row * n_delays + segment] = at
    return -1, at, 0
