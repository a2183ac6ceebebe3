"""What passes hand on: the network, and what has been decided of its mapping so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ir.chip import ChipSpec
from ..ir.neuron import Datapath
from ..network import Network, Population, Projection


@dataclass(frozen=True)
class Scale:
    """How a population's numbers became integers.

    weight_lsb, lsb: network units per LSB of its weights and of its potential; gain: a weight LSB
    is 2^gain potential LSB; finer: [1] or [size], weights into a neuron have an LSB 2^finer times
    smaller, and a gain that is smaller by it; exact: whether every weight is a whole number of LSB;
    error: root mean square of the weight error relative to that of the weights;
    clipped: share of weights beyond the largest.
    """

    weight_lsb: float
    lsb: float
    gain: int
    exact: bool
    error: float
    clipped: float
    finer: NDArray[np.int32] = field(default_factory=lambda: np.zeros(1, np.int32))


class Step(NamedTuple):
    """A weight LSB to take, and whether neurons of small weights take a finer one."""

    weight_lsb: float
    by_neuron: bool = False


@dataclass(frozen=True)
class Range:
    """The greatest magnitude of potentials and currents seen in a float run, in network units."""

    potential: float


@dataclass(frozen=True, eq=False)
class Quantised:
    """Integer weights of one projection: a matrix, or its sparse form with integers."""

    projection: Projection
    connections: Any


@dataclass(frozen=True)
class Timing:
    """Ticks of a network: `period` per step, `start` of each population, delay per projection.

    delay: by position in the network's projections, ticks of a synapse of no step delay of its own;
    a synapse with a step delay of its own adds period x that delay.
    """

    period: int
    start: dict[str, int]
    delay: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Draft:
    """A network on its way to a program. Each pass fills in its part and leaves the rest."""

    network: Network
    chip: ChipSpec
    weight_bits: dict[str, int]
    models: dict[str, Datapath] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    parameters: dict[str, dict[str, NDArray[np.int32]]] = field(default_factory=dict)
    initial: dict[str, dict[str, NDArray[np.int32]]] = field(default_factory=dict)
    weights: tuple[Quantised, ...] = ()
    timing: Timing | None = None

    def population(self, name: str) -> Population:
        """A population by name."""
        part = self.network.node(name)
        assert isinstance(part, Population)
        return part
