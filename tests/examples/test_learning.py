"""The learning examples on a reduced size: each reaches what its page says of it."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import spikefab as sf
from spikefab.examples import digits
from spikefab.examples.learning import (
    citation_graph,
    content_memory,
    digits_stdp,
    liquid,
    nearest_pattern,
    reward,
)


def test_three_digits_are_learnt_in_one_epoch() -> None:
    images, labels = digits.load_training_images()
    few = np.flatnonzero(labels < 3)
    learner = digits_stdp.Learner(digits_stdp.network(per_class=2, classes=3), seed=1)
    learner.learn(images[few[:150]], labels[few[:150]])
    answers = learner.answer(images[few[150:250]])
    assert float(np.mean(answers == labels[few[150:250]])) >= 0.9


def test_one_pattern_is_detected_and_nothing_else() -> None:
    spikes = nearest_pattern.one(120, 1, sf.Emulator)[60:]
    assert (spikes[:, 0] > 0).all()
    assert not spikes[:, 1].any()


def test_several_patterns_are_told_apart_and_the_same_ones_are_not() -> None:
    assert nearest_pattern.several(4, 0, 0, sf.Emulator) >= 0.95
    assert nearest_pattern.several(4, nearest_pattern.ACTIVE, 0, sf.Emulator) <= 0.5


@pytest.mark.parametrize("shared", [0, 1])
def test_patterns_are_recalled_until_they_are_forgotten(shared: int) -> None:
    stored, after = content_memory.life(shared, count=4, size=5, tries=2)
    assert (stored[:, shared:] == 1).all()
    assert (after[1::2, shared:] == 1).all()
    assert not after[::2, :-1].any()


def test_the_exact_machine_remembers_as_the_emulator_does() -> None:
    shown = np.array([True, True, False])
    recalled = []
    for device in (sf.Emulator, sf.Machine):
        memory = content_memory.Memory(3, 1, device)
        memory.episode(shown, content_memory.STORE)
        recalled.append(memory.episode(np.arange(3) == 0, content_memory.RECALL))
    assert recalled[0].equals(recalled[1])
    assert set(recalled[0].index) == {0, 1}


def test_the_karate_club_is_split_as_it_did() -> None:
    graph = nx.karate_club_graph()
    names = list(citation_graph.LEADERS)
    clubs = np.array([names.index(graph.nodes[n]["club"]) for n in graph])
    found = citation_graph.right(citation_graph.classify(graph, citation_graph.LEADERS), clubs)
    asked = [n for n in graph if n not in citation_graph.LEADERS.values()]
    assert int(found[asked].sum()) == 31


def test_late_reward_teaches_where_eligibility_lasts() -> None:
    assert reward.learn(3, 3, trials=120, delay=10, memory=0.95, seed=0).tested() == 1
    assert reward.learn(3, 3, trials=120, delay=10, memory=0.0, seed=0).tested() == 0


def test_the_astrocyte_keeps_activity_that_stdp_alone_does_not() -> None:
    kept, alone = (liquid.Liquid(300, 0.1, 0, on).tune(200)[-1] for on in (True, False))
    assert 0.5 * liquid.SET_POINT < kept < 1.2 * liquid.SET_POINT
    assert alone > 1.5 * liquid.SET_POINT


def test_the_readout_learns_templates() -> None:
    taught = liquid.Liquid(300, 0.1, 0)
    assert taught.tested(40) <= 0.3
    taught.teach(1500)
    assert taught.tested(80) >= 0.9
