"""What a network does not take is refused by name, at the line that gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import spikefab as sf

ONES = np.ones((2, 2))
REFUSED: dict[str, tuple[Callable[[sf.Network, Any, Any], object], str]] = {
    "an input as a target": (lambda net, x, y: net.connect(y, x, ONES), "the input 'x'"),
    "a name as an end": (lambda net, x, y: net.connect("x", y, ONES), "what `input` or"),
    "no connections": (lambda net, x, y: net.connect(x, y, None), "connections of type NoneType"),
    "text as weights": (lambda net, x, y: net.connect(x, y, np.array([["a"]])), "type <U1"),
    "lists as synapses": (
        lambda net, x, y: net.connect(x, y, sf.Triples([0], [1], [2], 1.0)), "NumPy arrays",
    ),
    "too many neurons": (lambda net, x, y: net.population("z", 10**12), "size 1000000000000"),
    "a parameter that other options use": (
        lambda net, x, y: net.population("z", 1, keep=0.5, threshold=1.0, refractory_period=3),
        "other options use it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_belong_is_refused(name: str) -> None:
    net = sf.Network()
    x, y = net.input("x", 2), net.population("y", 2, "if", threshold=1.0)
    make, said = REFUSED[name]
    with pytest.raises(sf.SpikefabError, match=said):
        make(net, x, y)
    assert not net.projections


def test_an_option_may_be_given_as_a_number() -> None:
    net = sf.Network()
    x = net.input("x", 1)
    y = net.population("y", 1, "if", threshold=1.0, options={"count_bits": 4}, output=True)
    net.connect(x, y, np.array([[5.0]]))
    program, _ = sf.compile(net)
    assert program.models[0].identity == "if(count_bits=4)"
