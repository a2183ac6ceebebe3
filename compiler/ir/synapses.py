"""Flat synapse rows: one packed word per synapse, ordered by (source, delay, target).

Sources are numbered inputs first, then neurons. A word holds, from its least bit: the weight in
two's complement, two mark bits (zero here; a run form may use them), and the target neuron. Weights
of up to 8 bits make 4-byte words, wider ones 8-byte words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .errors import SpikefabError

MARK_BITS = 2


def weight_field(wide: bool) -> int:
    """Bits of the weight in a word."""
    return 16 if wide else 8


def target_shift(wide: bool) -> int:
    """Position of the target in a word."""
    return weight_field(wide) + MARK_BITS


def word_type(wide: bool) -> Any:
    """Numpy type of a word."""
    return np.uint64 if wide else np.uint32


@dataclass(frozen=True, eq=False)
class Synapses:
    """All synapses of a program.

    words: [synapses]; first: int64 [sources x delays + 1], where the segment of a source and a
    delay begins; delays: the delays in use, ascending, in ticks.
    """

    words: NDArray[Any]
    first: NDArray[np.int64]
    delays: tuple[int, ...]

    @property
    def wide(self) -> bool:
        """Whether words are 8 bytes."""
        return bool(self.words.dtype == np.uint64)

    @property
    def count(self) -> int:
        """Number of synapses."""
        return len(self.words)

    @property
    def sources(self) -> int:
        """Number of sources."""
        return (len(self.first) - 1) // max(1, len(self.delays))

    @cached_property
    def target(self) -> NDArray[np.int32]:
        """Target neuron of each synapse."""
        return (self.words >> target_shift(self.wide)).astype(np.int32)

    @cached_property
    def weight(self) -> NDArray[np.int32]:
        """Weight of each synapse in LSB."""
        return unpack_weights(self.words, self.wide)

    @cached_property
    def source(self) -> NDArray[np.int32]:
        """Source of each synapse."""
        per_source = np.diff(self.first[:: len(self.delays)])
        return np.repeat(np.arange(self.sources, dtype=np.int32), per_source)

    @cached_property
    def delay(self) -> NDArray[np.int32]:
        """Delay of each synapse in ticks."""
        pattern = np.tile(np.array(self.delays, np.int32), self.sources)
        return np.repeat(pattern, np.diff(self.first))

    def check(self, sources: int, targets: int, where: str) -> None:
        """Raise SpikefabError unless rows are whole, ordered, without doubles and in range."""
        first = self.first
        fault = ""
        if list(self.delays) != sorted(set(self.delays)) or not self.delays or self.delays[0] < 0:
            fault = f"delays {self.delays} are not ascending"
        elif len(first) != sources * len(self.delays) + 1:
            fault = f"{len(first)} row offsets for {sources} sources"
        elif first[0] != 0 or first[-1] != len(self.words) or (first[1:] < first[:-1]).any():
            fault = "row offsets do not cover the synapses"
        else:
            bad = _first_disorder(self.words, first, target_shift(self.wide), targets)
            if bad >= 0:
                fault = f"synapse {bad} is out of order, doubled, marked or out of range"
        if fault:
            raise SpikefabError("damaged synapses", where, fault)


def pack(
    target: NDArray[Any], weight: NDArray[Any], wide: bool
) -> NDArray[Any]:
    """Words of given targets and weights (no order, no check)."""
    kind = word_type(wide)
    low = weight.astype(np.int64).astype(np.uint64) & np.uint64((1 << weight_field(wide)) - 1)
    words: NDArray[Any] = (target.astype(kind) << kind(target_shift(wide))) | low.astype(kind)
    return words


def unpack_weights(words: NDArray[Any], wide: bool) -> NDArray[np.int32]:
    """Weights of words, in LSB."""
    return (words & word_type(wide)(0xFFFF if wide else 0xFF)).astype(
        np.int16 if wide else np.uint8
    ).view(np.int16 if wide else np.int8).astype(np.int32)


@njit(cache=True, nogil=True)
def _first_disorder(words, first, shift, targets):  # type: ignore[no-untyped-def]
    mark = 3 << (shift - 2)
    for row in range(len(first) - 1):
        before = np.int64(-1)
        for k in range(first[row], first[row + 1]):
            target = np.int64(words[k] >> shift)
            if target <= before or target >= targets or np.int64(words[k]) & mark:
                return k
            before = target
    return -1
