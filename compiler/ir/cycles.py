"""Clock cycles of a core, phase by phase. The one place where they are written.

A tick is deliver, update, emit; each phase is a constant plus a sum over what happened:

- deliver: one clock per word of the pending set, and per event the cost of its row (times its
  payload). A row costs one clock per word, and `row_gap` more unless the next row may follow at
  once: accumulators have no forwarding, so a target must not be read before its write-back.
- update: one clock per neuron that updates, and the latency of the neuron pipeline.
- emit: one clock per routing entry of each neuron that spiked.
"""

from __future__ import annotations

from .chip import ChipSpec

PHASES = ("deliver", "update", "emit")
DELIVER_CONSTANT = 6
UPDATE_CONSTANT = 4
EMIT_CONSTANT = 2
PENDING_WORD = 16  # axons in one word of the pending set


def row_gap(chip: ChipSpec) -> int:
    """Clocks between a row and the next one where it may not follow at once."""
    return chip.accumulate_latency - 1


def deliver_constant(axons: int) -> int:
    """Deliver without events, for a core with `axons` axons in use."""
    return DELIVER_CONSTANT + -(-axons // PENDING_WORD)


def update_constant(chip: ChipSpec) -> int:
    """Update without neurons."""
    return UPDATE_CONSTANT + chip.neuron_latency


def emit_constant() -> int:
    """Emit without spikes."""
    return EMIT_CONSTANT
