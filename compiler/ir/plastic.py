"""Plastic projections of a program: synapses that learn, and the core rows that they take.

A source has a row of its own for each plastic projection, besides the one of its fixed synapses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chip import ChipSpec
from .language import signed_bits
from .rule import LearningPath

Integers = NDArray[np.int32]
DENSE, SPARSE = 0, 1
SYNAPSE_DRAWS = 1 << 27  # added to a synapse's address, so that it draws other numbers than neurons


@dataclass(frozen=True, eq=False)
class PlasticProjection:
    """Synapses that learn, from sources first .. first + size - 1 to neurons of one population.

    name: for `read` and `write`; target: number of the population; rule: index into the program's
    rules; delay: of every synapse, in ticks; rows: int64 [size + 1], where the synapses of a source
    begin; to: target neuron in the program, rising in a row; weight: LSB; held: values of the rule
    that the host may write, [size of the target] each; learning: whether it is on from the start;
    lsb: network units per weight LSB.
    """

    name: str
    first: int
    size: int
    target: int
    rule: int
    delay: int
    rows: NDArray[np.int64]
    to: Integers
    weight: Integers
    parameters: dict[str, int]
    held: dict[str, Integers] = field(default_factory=dict)
    learning: bool = True
    lsb: float = 0.0

    @property
    def count(self) -> int:
        """Number of synapses."""
        return len(self.to)

    @cached_property
    def source(self) -> Integers:
        """Source of each synapse, from 0 on within the projection."""
        return np.repeat(np.arange(self.size, dtype=np.int32), np.diff(self.rows))


@dataclass(frozen=True, eq=False)
class PlasticRows:
    """The core rows of plastic projections, ordered by source, core and projection.

    last: last accumulator word of a dense row; words: of weights; room: words of synapse memory in
    all, those of the synapses' own state after those of the weights; synapses: how many; of: for
    each projection, the row of each of its synapses.
    """

    source: Integers
    core: Integers
    projection: Integers
    kind: NDArray[np.int8]
    begin: Integers
    last: Integers
    words: Integers
    room: Integers
    synapses: Integers
    of: tuple[NDArray[np.int64], ...]


def plastic_rows(
    plastic: Sequence[PlasticProjection], targets: Sequence[tuple[int, int]],
    rules: Sequence[LearningPath], core_first: NDArray[np.int64], chip: ChipSpec,
) -> PlasticRows:  # fmt: skip
    """The rows of all plastic projections; targets: (first, size) of each one's population.

    A row is dense where it reaches every neuron that the population has on the core.
    """
    lanes, cores = chip.sparse_lanes, len(core_first) - 1
    tables: list[NDArray[Any]] = []
    of = []
    at = 0
    for number, (p, (first, size)) in enumerate(zip(plastic, targets, strict=True)):
        core = np.searchsorted(core_first, p.to, "right") - 1
        local = p.to - core_first[core]
        key, row = np.unique(p.source.astype(np.int64) * cores + core, return_inverse=True)
        here = (key % cores).astype(np.int64)
        count = np.bincount(row, minlength=len(key))
        lo = np.clip(first - core_first[here], 0, None)
        hi = np.minimum(first + size, core_first[here + 1]) - core_first[here] - 1
        dense = count == hi - lo + 1
        used = np.bincount(row * lanes + local % lanes, minlength=len(key) * lanes)
        sparse_words = used.reshape(len(key), lanes).max(axis=1, initial=0)
        begin, last = lo // chip.lanes, hi // chip.lanes
        words = np.where(dense, last - begin + 1, sparse_words)
        more = [state_words(rules[p.rule], chip, kind) for kind in (DENSE, SPARSE)]
        room = words * (1 + np.where(dense, *more))
        tables.append(np.stack([
            key // cores + p.first, here, np.full(len(key), number),
            np.where(dense, DENSE, SPARSE), np.where(dense, begin, 0), np.where(dense, last, 0),
            words, room, count,
        ]))  # fmt: skip
        of.append(row.astype(np.int64) + at)
        at += len(key)
    table = np.concatenate([*tables, np.zeros((9, 0), np.int64)], axis=1)
    order = np.lexsort((table[2], table[1], table[0]))
    place = np.empty(at, np.int64)
    place[order] = np.arange(at)
    source, core, projection, kinds, begin, last, words, room, synapses = table[:, order].astype(
        np.int32
    )
    return PlasticRows(
        source, core, projection, kinds.astype(np.int8), begin, last, words, room, synapses,
        tuple(place[row] for row in of),
    )  # fmt: skip


def state_words(rule: LearningPath, chip: ChipSpec, kind: int) -> int:
    """Words of synapse memory for the state of the synapses of one word of weights."""
    bits = sum(signed_bits(lo, hi) if lo < 0 else hi.bit_length() for lo, hi in rule.state.values())
    lanes = chip.lanes if kind == DENSE else chip.sparse_lanes
    return -(-lanes * bits // (chip.lanes * chip.weight_bits))
