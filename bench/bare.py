"""The bare engine: the plain loop that an expert would write with Numba, for workloads W1.

One 4-byte word per synapse in one array, source-major; its weight is added to an int32 accumulator
of its target; there is no prefetch, no counting and no thread. The update of all neurons is one
branchless loop that LLVM turns into vector instructions; what fired is read off a byte per neuron,
eight at a time. A repetition is one call into compiled code.
"""

from __future__ import annotations

import sys

import numba
import numpy as np
import numpy.typing as npt
from numba import njit

from .protocol import Clock, Prepared, Repetition, serve
from .workloads import FRAC, Lif, RandomNet, find

# A word holds, from the lowest bit: weight + 128 (8 bits), delay - 1 (3 bits), target (21 bits).
_DELAY_SHIFT = 8
_TARGET_SHIFT = 11
SLOTS = 8
_MASK = np.int32((1 << FRAC) - 1)


@njit
def update(v, accumulator, fired, keep, bias, threshold):  # type: ignore[no-untyped-def]
    """One step of all neurons; clears the accumulator and sets a byte for each that fires."""
    for i in range(v.size):
        # Numba widens every int32 result to int64; narrowed again, 16 neurons fit in a vector.
        product = np.int32(np.int32(v[i]) * keep)
        kept = np.int32(np.int32(product + np.int32(np.int32(product >> 31) & _MASK)) >> FRAC)
        total = np.int32(np.int32(kept + accumulator[i]) + bias)
        total = min(max(total, np.int32(-32768)), np.int32(32767))
        fires = total >= threshold
        v[i] = np.int16(np.int32(0) if fires else total)
        fired[i] = np.uint8(fires)
        accumulator[i] = 0


@njit
def collect(fired, fired_by_eight, spikes):  # type: ignore[no-untyped-def]
    """Writes the indices of set bytes to `spikes` in order and returns their number."""
    count = 0
    for k in range(fired_by_eight.size):
        if fired_by_eight[k] != 0:
            for i in range(8 * k, 8 * k + 8):
                if fired[i] != 0:
                    spikes[count] = i
                    count += 1
    return count


@njit
def advance(  # type: ignore[no-untyped-def]
    steps, pending, v, accumulator, fired, fired_by_eight, spikes, starts, words,
    keep, bias, threshold,
):  # fmt: skip
    """Runs steps of a network whose delays are all one step; all of `accumulator` is one slot.

    Returns the pending spikes of the last step, all spikes, and all synaptic events.
    """
    total = 0
    events = np.uint64(0)
    for _ in range(steps):
        for k in range(pending):
            source = spikes[k]
            first, end = starts[source], starts[source + 1]
            events += end - first
            for j in range(first, end):  # unsigned: Numba then tests no index for being negative
                word = words[j]
                weight = np.int32(word & np.uint32(255)) - np.int32(128)
                accumulator[word >> np.uint32(_TARGET_SHIFT)] += weight
        update(v, accumulator, fired, keep, bias, threshold)
        pending = collect(fired, fired_by_eight, spikes)
        total += pending
    return pending, total, events


@njit
def advance_delayed(  # type: ignore[no-untyped-def]
    start, steps, pending, v, accumulator, fired, fired_by_eight, spikes, starts, words,
    keep, bias, threshold,
):  # fmt: skip
    """As `advance`, from step `start`, with a ring of slots: `accumulator` [SLOTS, neurons]."""
    total = 0
    events = np.uint64(0)
    for step in range(start, start + steps):
        for k in range(pending):
            source = spikes[k]
            first, end = starts[source], starts[source + 1]
            events += end - first
            for j in range(first, end):
                word = words[j]
                weight = np.int32(word & np.uint32(255)) - np.int32(128)
                slot = (np.uint32(step) + (word >> np.uint32(_DELAY_SHIFT))) & np.uint32(SLOTS - 1)
                accumulator[slot, word >> np.uint32(_TARGET_SHIFT)] += weight
        slot = step & (SLOTS - 1)
        update(v, accumulator[slot], fired, keep, bias, threshold)
        pending = collect(fired, fired_by_eight, spikes)
        total += pending
    return pending, total, events


def pack(net: RandomNet) -> npt.NDArray[np.uint32]:
    """The network's synapses as words, by source and then target."""
    words = np.empty(net.synapses, np.uint32)
    for first, count in net.chunks():
        targets, weights = net.connectivity(first, count)
        chunk = targets.view(np.uint32) << np.uint32(_TARGET_SHIFT)
        chunk |= (net.delays(first, count).astype(np.uint32) - 1) << np.uint32(_DELAY_SHIFT)
        chunk |= (weights.view(np.uint8) ^ np.uint8(128)).astype(np.uint32)
        words[first * net.fan_out : (first + count) * net.fan_out] = chunk.ravel()
    return words


class Bare:
    """A network W1 with its state; `run` goes on from where the last run ended."""

    def __init__(self, net: RandomNet) -> None:
        if net.neurons > 1 << (32 - _TARGET_SHIFT) or net.max_delay > SLOTS:
            raise ValueError(f"{net.neurons} neurons, delays to {net.max_delay}: beyond the word")
        self.net = net
        self.words = pack(net)
        self.starts = np.arange(net.neurons + 1, dtype=np.uint64) * np.uint64(net.fan_out)
        self.v = net.initial()
        slots = SLOTS if net.max_delay > 1 else 1
        self.accumulator = np.zeros((slots, net.neurons), np.int32)
        self.fired = np.zeros(-(-net.neurons // 8) * 8, np.uint8)
        self.spikes = np.empty(net.neurons, np.int32)
        self.pending = 0
        self.step = 0

    def run(self, steps: int) -> Repetition:
        """Runs steps in one call into compiled code."""
        state = (self.fired, self.fired.view(np.uint64), self.spikes, self.starts, self.words)
        parameters = _parameters(self.net.lif)
        begin = Clock()
        if self.net.max_delay == 1:
            self.pending, spikes, events = advance(
                steps, self.pending, self.v, self.accumulator[0], *state, *parameters
            )
        else:
            self.pending, spikes, events = advance_delayed(
                self.step, steps, self.pending, self.v, self.accumulator, *state, *parameters
            )
        wall, cpu = begin.elapsed()
        self.step += steps
        return Repetition(wall, cpu, synaptic_events=events, spikes=spikes, steps=steps)


def _parameters(lif: Lif) -> tuple[np.int32, np.int32, np.int32]:
    return np.int32(lif.keep), np.int32(lif.bias), np.int32(lif.threshold)


def prepare(name: str, size: str) -> Prepared:
    """The engine of a workload W1, compiled and warm."""
    net = find(name, size)
    if not isinstance(net, RandomNet):
        raise ValueError(f"{name} is not a workload of the bare engine")
    engine = Bare(net)
    engine.run(net.steps)
    return Prepared(lambda: engine.run(net.steps), {"numba": numba.__version__})


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:3]))
