"""Clock cycles of a core, phase by phase. The one place where they are written.

A tick is deliver, update, learn, emit; each phase is a constant plus a sum over what happened:

- deliver: one clock per word of the pending set, and per event the cost of its row (times its
  payload). A row costs one clock per word, and `row_gap` more unless the next row may follow at
  once: accumulators have no forwarding, so a target must not be read before its write-back.
- update: two clocks per population, one per neuron that updates, one more for each set of its
  traces but the first, and the latency of the neuron pipeline. Projections onto a population that
  learn by one rule, with the same parameters of its traces, share a set.
- learn: none on a chip without rules; else one clock per axon in use, and per row that is visited
  two for each of its words and of one word of weights more, that of its synapses' state included;
  at least as many as the row's first word takes on its way.
- emit: one clock per routing entry of each neuron that spiked, at least one per such neuron; one
  per value of an output population that does not spike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chip import ChipSpec

PHASES = ("deliver", "update", "learn", "emit")
LEARN = PHASES.index("learn")
DELIVER_CONSTANT = 2
UPDATE_CONSTANT = 2
LEARN_CONSTANT = 5
VISIT_CONSTANT = 3
EMIT_CONSTANT = 2
POPULATION_CLOCKS = 2
PENDING_WORD = 16  # axons in one word of the pending set


def phases(chip: ChipSpec) -> tuple[str, ...]:
    """The phases that a chip has."""
    return tuple(name for name in PHASES if name != "learn" or chip.rules)


def row_gap(chip: ChipSpec) -> int:
    """Clocks between a row and the next one where it may not follow at once."""
    return chip.accumulate_latency - 1


def take_clocks(chip: ChipSpec) -> int:
    """Clocks from asking for a neuron's accumulator to its sum: one more where there is a register
    between the memory and its adder."""
    return 3 if chip.accumulate_latency >= 4 else 2


def input_clocks(chip: ChipSpec) -> int:
    """Clocks from a neuron's number to the inputs of its pipeline: its sum, or its parameters,
    which stand in a memory that another one tells the place in."""
    return max(1 + take_clocks(chip), 2 * chip.memory_latency)


def deliver_constant(chip: ChipSpec, axons: int) -> int:
    """Deliver without events, for a core with `axons` axons in use."""
    latency = 2 * chip.memory_latency + chip.accumulate_latency
    return DELIVER_CONSTANT + latency + -(-axons // PENDING_WORD)


def update_constant(chip: ChipSpec, populations: int) -> int:
    """Update of a core with so many populations, none of which updates."""
    latency = input_clocks(chip) + chip.neuron_latency
    return UPDATE_CONSTANT + latency + POPULATION_CLOCKS * populations


def learn_constant(chip: ChipSpec, axons: int) -> int:
    """Learn in which no row is visited, for a core with `axons` axons in use."""
    latency = 4 * chip.memory_latency + chip.learn_latency
    return LEARN_CONSTANT + latency + axons if chip.rules else 0


def least_visit(chip: ChipSpec) -> int:
    """The fewest clocks of a visit: until its first word has gone through the pipelines."""
    return VISIT_CONSTANT + 2 * chip.memory_latency + chip.learn_latency


def visit_clocks(chip: ChipSpec, words: Any, room: Any) -> Any:
    """Clocks of a visit of a row with so many words of weights and of synapse memory in all (two
    numbers, or arrays of them): each is read and written."""
    return np.maximum(2 * room + 2 * room // words, least_visit(chip))


def emit_constant(chip: ChipSpec) -> int:
    """Emit without spikes and values."""
    return EMIT_CONSTANT + chip.memory_latency


def emit_clocks(routes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Clocks for a spike of each neuron, given how many routing entries it has."""
    return np.maximum(routes, 1)
