"""Recordings that are to be the same."""

from __future__ import annotations

import numpy as np
import spikefab as sf


def assert_equal(a: sf.Recording, b: sf.Recording, cycles: bool = True) -> None:
    """Both recordings hold the same spikes, values, state, cycles and counters."""
    assert (a.steps, a.ticks, a.samples) == (b.steps, b.ticks, b.samples)
    assert set(a.spikes) == set(b.spikes)
    for name, train in a.spikes.items():
        assert train.equals(b.spikes[name]), name
    for mine, other in ((a.values, b.values), (a.state, b.state)):
        assert set(mine) == set(other)
        for name, values in mine.items():
            np.testing.assert_array_equal(values, other[name], name)
    for counter in ("events", "synaptic_events", "spikes"):
        assert a.counters[counter] == b.counters[counter], counter
    if cycles:
        np.testing.assert_array_equal(a.cycles, b.cycles)
