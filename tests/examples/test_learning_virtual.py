"""The learning examples, small, on the virtual board: what they learn is what the emulator does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import networkx as nx
import numpy as np
import pytest
import spikefab as sf
from spikefab.examples.learning import (
    citation_graph,
    content_memory,
    digits_stdp,
    liquid,
    nearest_pattern,
    reward,
)

Make = Callable[[sf.Program], sf.Device]
Learnt = list[Any]


def digits_in_small(make: Make) -> Learnt:
    learner = digits_stdp.Learner(digits_stdp.network(2, classes=2, pixels=4), 1, make)
    images = np.array([[16, 0, 3, 9], [1, 16, 12, 0]], np.uint8)
    learner.learn(images, np.array([0, 1], np.uint8))
    return [learner.answer(images), learner.device.read(f"{digits_stdp.PROJECTION}.weights")]


def patterns_in_small(make: Make) -> Learnt:
    program, _ = sf.compile(nearest_pattern.network(2, lines=12))
    device = make(program)
    sets = np.arange(12) % 3 == np.arange(3)[:, np.newaxis]
    counts = nearest_pattern.show(device, sets, np.random.default_rng(1))
    return [counts, device.read(f"{nearest_pattern.PROJECTION}.weights")]


def memory_in_small(make: Make) -> Learnt:
    memory = content_memory.Memory(3, 1, make)
    memory.episode(np.array([True, True, False]), content_memory.STORE)
    recalled = memory.episode(np.array([True, False, False]), content_memory.RECALL)
    return [recalled.step, recalled.index, memory.device.read("cells->cells.weights")]


def graph_in_small(make: Make) -> Learnt:
    return [citation_graph.classify(nx.path_graph(4), {"first": 0, "last": 3}, make)]


def reward_in_small(make: Make) -> Learnt:
    task = reward.Task(reward.network(2, 2), 1, make)
    right = [task.trial(10) for _ in range(4)]
    return [right, task.device.read(f"{reward.PROJECTION}.weights")]


def liquid_in_small(make: Make) -> Learnt:
    reservoir = liquid.Liquid(20, 0.1, 0, device=make)
    activity = reservoir.tune(3)
    reservoir.teach(4)
    weights = [reservoir.device.read(f"{p}.weights") for p in (liquid.RECURRENT, liquid.READOUT)]
    return [activity, [reservoir.show(label) for label in range(4)], *weights]


@pytest.fixture
def virtual() -> Iterator[Make]:
    """Opens virtual boards, and closes them after the test."""
    with ExitStack() as opened:
        yield lambda program: opened.enter_context(sf.open_board("virtual", program))


@pytest.mark.prove
@pytest.mark.parametrize("run", [
    digits_in_small, patterns_in_small, memory_in_small, graph_in_small, reward_in_small,
    liquid_in_small,
])  # fmt: skip
def test_the_virtual_board_learns_as_the_emulator_does(
    run: Callable[[Make], Learnt], virtual: Make
) -> None:
    for on_emulator, on_board in zip(run(sf.Emulator), run(virtual), strict=True):
        np.testing.assert_array_equal(on_emulator, on_board)
