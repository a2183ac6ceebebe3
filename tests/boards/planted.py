"""The demo's network, and a board that differs from it at will."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from spikefab import Program, SpikeTrain, compile, load
from spikefab.boards.device import BoardDevice
from spikefab.examples import digits

Plant = Callable[["Planted"], None]


@cache
def digits_program() -> Program:
    """The demo's network for the chip `auto`."""
    network = load(digits.NETWORK, profile="snntorch", reset=digits.RESET)
    seen = SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))
    return compile(network, calibrate={network.inputs[0].name: seen})[0]


@cache
def digits_spikes() -> SpikeTrain:
    """Two images."""
    return SpikeTrain.from_dense(digits.encode(digits.load_test_images()[0][:2]))


class Planted(BoardDevice):
    """A board with which something happens before a tick of each sample, or to its events."""

    when, what, events = -1, None, None
    _at = 0

    def restart(self, weights: bool = False, seed: int | None = None) -> None:
        self._at = 0
        super().restart(weights, seed)

    def _send_tick(self, events: Sequence[tuple[int, int]]) -> bytes:
        if self._at == self.when:
            if self.what:
                self.what(self)
            events = self.events(events) if self.events else events
        self._at += 1
        return super()._send_tick(events)


def low(planted: Planted) -> int:
    """The state of a hidden neuron with a very low potential."""
    names = planted.program.models[0].state
    return planted._map.state_entry(0, dict.fromkeys(names, 0) | {"v": -20000})
