"""What the benchmarks run: networks drawn from a seed, in integers, with the equal float equations.

Needs only NumPy, so that every engine, peers included, builds its network from this one source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt

BLOCK = 1024
"""Sources drawn from one random stream, so that rows do not depend on how they are chunked."""

FRAC = 12
"""Fraction bits of the leak: `keep` is in units of 1/4096."""

_TARGETS, _WEIGHTS, _DELAYS, _STATE, _INPUT = range(5)


@dataclass(frozen=True)
class Lif:
    """A leaky integrate-and-fire neuron in integers, reset to 0 in the step in which it fires.

    Each step: `v = clip16(trunc(v * keep / 4096) + input + bias)`; it fires if
    `v >= threshold`, and then `v = 0`. Potentials are in LSB of a 16-bit `v`.
    """

    threshold: int
    keep: int
    bias: int = 0

    @property
    def keep_fraction(self) -> float:
        """The share of `v` kept from step to step: `v = v * keep_fraction + input + bias`."""
        return self.keep / (1 << FRAC)

    @property
    def tau(self) -> float:
        """Time constant in steps of the equal continuous equation `dv/dt = (v_inf - v) / tau`."""
        return -1.0 / log(self.keep_fraction)

    @property
    def v_inf(self) -> float:
        """Potential in LSB that `v` would approach without a threshold."""
        return self.bias / (1.0 - self.keep_fraction)

    def orbit(self) -> npt.NDArray[np.int16]:
        """`v` after each step of one period of a neuron without input, the reset first."""
        if self.v_inf <= self.threshold + (1 << FRAC):
            raise ValueError(f"bias {self.bias} does not drive v to the threshold {self.threshold}")
        values = [0]
        while (v := (values[-1] * self.keep >> FRAC) + self.bias) < self.threshold:
            values.append(v)
        return np.array(values, np.int16)


@dataclass(frozen=True)
class RandomNet:
    """W1: neurons that their bias keeps firing, with random synapses onto one another.

    Without input a neuron reaches its threshold every 90 steps. Initial potentials lie at every
    phase of that period, so that 1.1 % of the neurons fire in each step from the first one on.
    Weights are drawn evenly from -127..127 without 0, and are small beside the threshold.
    """

    size: str
    neurons: int
    steps: int
    """Steps of one repetition."""
    fan_out: int = 100
    max_delay: int = 1
    """Delays in steps: drawn evenly from 1..max_delay for each synapse."""
    lif: Lif = Lif(threshold=20_000, keep=4064, bias=310)
    seed: int = 1

    @property
    def synapses(self) -> int:
        """Synapses in all."""
        return self.neurons * self.fan_out

    def initial(self) -> npt.NDArray[np.int16]:
        """Potentials [neurons] before the first step, in LSB."""
        orbit = self.lif.orbit()
        return orbit[self._random(_STATE, 0).integers(len(orbit), size=self.neurons)]

    def connectivity(
        self, first: int, count: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Targets and weights, each [count, fan_out], of the sources from `first` on.

        A source's targets are distinct and sorted: even draws from a range shortened by the
        fan-out, sorted, plus 0, 1, 2, ... (which costs no rejection, and makes neighbouring
        targets of one source a little rarer than in an even draw of sets).
        """
        span = self.neurons - self.fan_out + 1
        targets = np.empty((count, self.fan_out), np.int32)
        weights = np.empty((count, self.fan_out), np.int8)
        for block, inside, chunk in _blocks(first, count):
            shape = (BLOCK, self.fan_out)
            drawn = self._random(_TARGETS, block).integers(span, size=shape, dtype=np.int32)
            drawn.sort(axis=1)
            targets[chunk] = drawn[inside] + np.arange(self.fan_out, dtype=np.int32)
            weights[chunk] = _weights(self._random(_WEIGHTS, block), shape)[inside]
        return targets, weights

    def delays(self, first: int, count: int) -> npt.NDArray[np.uint8]:
        """Delays [count, fan_out] in steps of the sources from `first` on."""
        delays = np.ones((count, self.fan_out), np.uint8)
        if self.max_delay > 1:
            for block, inside, chunk in _blocks(first, count):
                shape = (BLOCK, self.fan_out)
                delays[chunk] += self._random(_DELAYS, block).integers(
                    self.max_delay, size=shape, dtype=np.uint8
                )[inside]
        return delays

    def chunks(self, count: int = 8 * BLOCK) -> Iterator[tuple[int, int]]:
        """`(first, count)` of chunks that cover all sources, a few MB of rows each."""
        for first in range(0, self.neurons, count):
            yield first, min(count, self.neurons - first)

    def _random(self, stream: int, block: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, stream, block))


def _weights(random: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.int8]:
    # A synapse of weight 0 could be left out, and the engines would differ in what they do.
    drawn = random.integers(-127, 127, size=shape, dtype=np.int8)
    return drawn + (drawn >= 0)


def _blocks(first: int, count: int) -> Iterator[tuple[int, slice, slice]]:
    """Each block that rows first..first+count touch, with its rows in it and in the chunk."""
    for block in range(first // BLOCK, -(-(first + count) // BLOCK)):
        low, high = max(first, block * BLOCK), min(first + count, (block + 1) * BLOCK)
        start = block * BLOCK
        yield block, slice(low - start, high - start), slice(low - first, high - first)


@dataclass(frozen=True)
class FeedForward:
    """W2: dense layers of LIF neurons with random weights, on a batch of samples.

    All layers advance within one step. About 9 and 10 % of the hidden neurons fire in a step.
    """

    size: str = "784-512-256-10"
    layers: tuple[int, ...] = (784, 512, 256, 10)
    lif: Lif = Lif(threshold=600, keep=3686)
    samples: int = 256
    steps: int = 25
    """Steps that each sample is presented for."""
    passes: int = 4
    """Times that one repetition runs the whole batch, each time from a fresh state."""
    input_rate: float = 0.05
    seed: int = 1

    def weights(self) -> list[npt.NDArray[np.int8]]:
        """Weights [inputs, neurons] of each layer, drawn evenly from -127..127 without 0."""
        random = np.random.default_rng((self.seed, _WEIGHTS))
        pairs = zip(self.layers, self.layers[1:], strict=False)
        return [_weights(random, pair) for pair in pairs]

    def spikes(self) -> npt.NDArray[np.bool_]:
        """Input [samples, steps, inputs]."""
        random = np.random.default_rng((self.seed, _INPUT))
        return random.random((self.samples, self.steps, self.layers[0])) < self.input_rate


@dataclass(frozen=True)
class Plastic:
    """W3 and W4: LIF neurons whose synapses all learn by pair STDP.

    W3: every line of a random input reaches every neuron. W4, without input: a bias fires the
    neurons, which all reach one another and themselves a step later. Weights are drawn evenly from
    0..`initial`, and stay within 0..127; traces decay by `keep`, and a spike raises one by 1.
    """

    size: str
    inputs: int
    neurons: int
    steps: int
    lif: Lif
    initial: int
    keep: int = 3891
    input_rate: float = 0.05
    seed: int = 1

    @property
    def sources(self) -> int:
        """What the plastic synapses come from: the lines, or the neurons where there are none."""
        return self.inputs or self.neurons

    @property
    def synapses(self) -> int:
        """Plastic synapses."""
        return self.sources * self.neurons

    @property
    def trace_tau(self) -> float:
        """Time constant of the traces in steps."""
        return -1.0 / log(self.keep / (1 << FRAC))

    def potentials(self) -> npt.NDArray[np.int16]:
        """Potentials [neurons] before the first step, in LSB: at every phase where a bias fires."""
        if not self.lif.bias:
            return np.zeros(self.neurons, np.int16)
        orbit = self.lif.orbit()
        random = np.random.default_rng((self.seed, _STATE))
        return orbit[random.integers(len(orbit), size=self.neurons)]

    def weights(self) -> npt.NDArray[np.int8]:
        """Of the plastic synapses, [sources, neurons]."""
        random = np.random.default_rng((self.seed, _WEIGHTS))
        shape = (self.sources, self.neurons)
        return random.integers(0, self.initial, shape, np.int8, endpoint=True)

    def spikes(self) -> npt.NDArray[np.bool_]:
        """Input [steps, inputs]."""
        random = np.random.default_rng((self.seed, _INPUT))
        return random.random((self.steps, self.inputs)) < self.input_rate


@dataclass(frozen=True)
class Build:
    """Building and compiling a large network, given in each of the forms that users have it in."""

    net: RandomNet

    @property
    def size(self) -> str:
        """The size of the network."""
        return self.net.size

    def csr(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Row starts [neurons + 1], and targets and weights [synapses] by source."""
        net = self.net
        starts = np.arange(net.neurons + 1, dtype=np.int64) * net.fan_out
        targets = np.empty(net.synapses, np.int32)
        weights = np.empty(net.synapses, np.int8)
        for first, count in net.chunks():
            rows = slice(first * net.fan_out, (first + count) * net.fan_out)
            chunk = net.connectivity(first, count)
            targets[rows], weights[rows] = (array.ravel() for array in chunk)
        return starts, targets, weights

    def triples(
        self,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Sources, targets and weights [synapses], in neither's order.

        Triple `column * neurons + (source * stride) mod neurons` is a source's synapse `column`:
        scattered, without the memory of a drawn permutation.
        """
        net = self.net
        shape = (net.fan_out, net.neurons)
        stride = 611_953  # a prime, so that every position is taken once
        sources, targets = np.empty(shape, np.int32), np.empty(shape, np.int32)
        weights = np.empty(shape, np.int8)
        for first, count in net.chunks():
            chunk = np.arange(first, first + count)
            place = chunk * stride % net.neurons
            sources[:, place] = chunk
            rows = net.connectivity(first, count)
            targets[:, place], weights[:, place] = (array.T for array in rows)
        return sources.ravel(), targets.ravel(), weights.ravel()


Workload = RandomNet | FeedForward | Plastic | Build


def _random_nets(max_delay: int) -> tuple[RandomNet, ...]:
    return tuple(
        RandomNet(size, neurons, steps, max_delay=max_delay)
        for size, neurons, steps in (
            ("1k", 1_000, 300_000),
            ("10k", 10_000, 30_000),
            ("100k", 100_000, 2_400),
            ("1M", 1_000_000, 40),
        )
    )


_W1 = _random_nets(max_delay=1)

WORKLOADS: dict[str, tuple[Workload, ...]] = {
    "W1": _W1,
    "W1-delays": _random_nets(max_delay=8),
    "W1-loaded": tuple(net for net in _W1 if net.size == "100k"),
    "W2": (FeedForward(),),
    "W3": (Plastic("784x400", 784, 400, 1_000, Lif(threshold=24_000, keep=3891), initial=80),),
    "W4": (
        Plastic("100", 0, 100, 10_000, Lif(threshold=20_000, keep=4064, bias=950), initial=80),
    ),
    "build": (Build(_W1[-1]),),
}
"""Every workload by its name, smallest size first. `W1-loaded` is W1 beside a busy process."""


def find(name: str, size: str) -> Workload:
    """The workload of that name and size."""
    return next(workload for workload in WORKLOADS[name] if workload.size == size)
