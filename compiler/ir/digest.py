"""The digest of a tick: what chips with `digests` compute of all that a tick updates.

It is the CRC-32 (zlib's) of the neurons that are updated, in their order. Of each come the units of
16 bits of its state's entry (`MemoryMap.state_entry`), as it is after, then a unit with its spike
count, 0 for a model without spikes; of each unit the least significant byte is first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .memory_map import MemoryMap
from .program import MappedPopulation, Program
from .region import UNIT, field_bits
from .spikes import Recording


def digest_bits(map: MemoryMap) -> int:
    """Bits that a neuron has in a digest."""
    return (map.regions["state"].units + 1) * UNIT


def tick_digests(
    map: MemoryMap, program: Program, recording: Recording, first: int
) -> NDArray[np.uint32]:
    """The digests that a recording's ticks must have: [samples, ticks].

    The recording is of a run without `drain` that began in tick `first`, and holds all states and
    the spikes of all populations.
    """
    tables = [_words(map, program, p, recording, first) for p in program.populations]
    rows = [0] * len(tables)
    digests = np.zeros((recording.samples, recording.ticks), np.uint32)
    for tick in range(recording.ticks):
        for number, p in enumerate(program.populations):
            if p.updates_in(first + tick):
                for sample in range(recording.samples):
                    words = tables[number][sample, rows[number]]
                    digests[sample, tick] = zlib.crc32(words, int(digests[sample, tick]))
                rows[number] += 1
    return digests


def _words(
    map: MemoryMap, program: Program, p: MappedPopulation, recording: Recording, first: int
) -> NDArray[np.uint16]:
    """What a population's updates put in: [samples, updates, neurons, units]."""
    model = program.models[p.model]
    names, units = sorted(model.state), map.regions["state"].units
    shape = recording.state[f"{p.name}.{names[0]}"].shape
    words = np.zeros((*shape, units + 1), np.uint16)
    for name, (unit, offset) in zip(names, _places(map), strict=False):
        bits = field_bits(*model.state[name])
        values = recording.state[f"{p.name}.{name}"].astype(np.int64) & ((1 << bits) - 1)
        values <<= offset
        for n in range(unit, units):
            words[..., n] |= (values & 0xFFFF).astype(np.uint16)
            values >>= UNIT
    if model.spikes:
        train = recording.spikes[p.name]
        counts = train.payload if train.payload is not None else 1
        sample = train.sample if train.sample is not None else 0
        # A train counts steps of the run, a table the updates in it.
        updates = max(0, -(-(first - p.start) // p.period))
        row = train.step - (updates * p.period - first) // p.period
        words[sample, row, train.index, -1] = counts
    return words


def _places(map: MemoryMap) -> Iterator[tuple[int, int]]:
    """(unit, bit in it) of each state variable's field, in the order of their numbers."""
    at, places = 0, {}
    for name, bits in map.regions["state"].fields:
        places[name] = divmod(at, UNIT)
        at += bits
    for n in range(sum(name.startswith("s") for name in places)):
        yield places[f"s{n}"]
