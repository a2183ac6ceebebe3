"""The first value at an end of its range is found, in the step in which it gets there."""

from __future__ import annotations

import numpy as np
import pytest
import spikefab as sf

ALWAYS = {"threshold": 1, "bias": 5}


def growing(start: int, **limits: float) -> sf.Program:
    """A neuron that always spikes, and one onto which its weight grows by 1 in every step."""
    net = sf.Network()
    given = net.input("in", 1)
    a = net.population("a", 1, "if", **ALWAYS)
    b = net.population("b", 1, "if", output=True, **ALWAYS)
    net.connect(given, a, np.ones((1, 1)))
    rule = sf.Plasticity("lags", options={"down": "no"}, up_1=1.0, name="grows", **limits)
    net.connect(a, b, sf.Triples(*np.array([[0], [0], [start]]), 1.0), delay=1, plasticity=rule)
    return sf.compile(net)[0]


@pytest.mark.parametrize(("start", "limits", "steps"), [
    (100, {}, 27), (0, {"w_max": 9}, 9), (126, {}, 1), (127, {}, 0), (-128, {}, 0),
])  # fmt: skip
def test_the_step_in_which_a_weight_reaches_its_limit(
    start: int, limits: dict[str, float], steps: int
) -> None:
    program = growing(start, **limits)
    assert steps == 0 or sf.first_limit(program, steps=steps) is None
    found = sf.first_limit(program, steps=steps + 20)
    assert found is not None
    assert (found.step, found.name, found.index) == (steps, "grows.weights", 0)
    emulator = sf.Emulator(program)
    emulator.run(steps=steps + 1, drain=False)
    assert emulator.read("grows.weights").tolist() == [found.value]
    assert str(found) == (
        f"the weight 0 to 0 of 'grows' is {found.value} after step {steps}, an end of its range"
    )


def filling(delay: int = 0) -> sf.Program:
    """Lines that each add 100 to a potential, or take 100 off, by a neuron between."""
    net = sf.Network()
    given = net.input("in", 2)
    a = net.population("a", 2, "if", threshold=1)
    b = net.population("b", 2, "li", keep=1.0, output=True)
    net.connect(given, a, np.eye(2))
    net.connect(a, b, sf.Triples(*np.array([[0, 1], [0, 1], [100, -100]]), 1.0), delay=delay)
    return sf.compile(net)[0]


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("line", [0, 1])
def test_the_step_in_which_a_potential_does_and_whose_it_is(delay: int, line: int) -> None:
    program = filling(delay)
    spikes = sf.SpikeTrain.of(np.arange(400), np.full(400, line))
    found = sf.first_limit(program, spikes)
    assert found is not None
    assert found.of == f"v of 'b[{line}]'"
    seen = sf.Emulator(program).run(spikes, record=["b.v"]).state["b.v"][0, :, line]
    least = int(np.flatnonzero((seen == 32767) | (seen == -32768))[0])
    assert found.step == least + program.populations[1].start
    assert sf.first_limit(program, spikes, 400) == found
    fewer = sf.SpikeTrain.of(np.arange(least - delay), np.full(least - delay, line))
    assert sf.first_limit(program, fewer, 400) is None


def test_a_batch_is_refused() -> None:
    spikes = sf.SpikeTrain.of([0], [0], sample=[0])
    with pytest.raises(sf.SpikefabError, match="a batch in first_limit"):
        sf.first_limit(filling(), spikes)
