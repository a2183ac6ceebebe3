"""Whatever words a board replies, a run ends with its recording or an error of one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

import numpy as np
import pytest
import soak
import strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spikefab import SpikefabError, SpikeTrain
from spikefab.boards.device import BoardDevice
from spikefab.compiler.ir.link import KIND_SHIFT, LONG
from spikefab.compiler.ir.program import Program

STEPS = 6
Said = list[int]


class Told(NamedTuple):
    """A device, what is run on it, and the words that came of it."""

    device: BoardDevice
    program: Program
    spikes: dict[str, SpikeTrain]
    record: Sequence[str]
    words: Said


class Replying:
    """A link on which these words come, whatever was asked."""

    name, cut = "nowhere", False

    def __init__(self, words: Said) -> None:
        self._words = words
        self._at = 0

    def send(self, words: object) -> None:
        """Nobody hears it."""

    def available(self) -> int:
        return len(self._words) - self._at

    def receive(self, count: int) -> Said:
        found = self._words[self._at : self._at + count]
        self._at += count
        if len(found) < count:
            raise SpikefabError("no more words", "the test")
        return found

    def unbroken(self) -> AbstractContextManager[None]:
        return nullcontext()


def noted(device: BoardDevice, run: Callable[[], object]) -> Said:
    """The words that the board replies to a run."""
    words: Said = []
    receive = device.link.receive

    def note(count: int) -> Said:
        found = receive(count)
        words.extend(found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device.link, "receive", note)
        run()
    return words


@pytest.fixture(scope="module", params=[True, False], ids=["counts", "no counts"])
def told(request: pytest.FixtureRequest, chip: soak.Chip) -> Told:
    rng = np.random.default_rng([9, chip.seed])
    program = chip.program(rng)
    spikes = strategies.random_input(rng, program, STEPS, None)
    record = soak.everything(program)
    with soak.opened(chip.executable, program, counts=request.param) as (_, _, device):
        words = noted(device, lambda: play(device, spikes, record))
    return Told(device, program, spikes, record, words)


def play(device: BoardDevice, spikes: dict[str, SpikeTrain], record: Sequence[str]) -> None:
    """All that asks a board and takes its replies apart."""
    device.run(spikes, STEPS, record=record, drain=False)
    device.run(spikes, STEPS)
    device.pending()
    device.accumulators()
    device.read("weights")
    device.damage()
    device.intact()
    device.who()


def replied(told: Told, words: Said) -> None:
    """What the words make of it is nothing worse than an error of one line."""
    with pytest.MonkeyPatch.context() as patch, suppress(SpikefabError):
        patch.setattr(told.device, "link", Replying(words))
        patch.setattr(told.device, "_tick", 0)
        play(told.device, told.spikes, told.record)


def test_the_words_of_a_board_are_taken(told: Told) -> None:
    device: Any = told.device
    device.link, device._tick = Replying(told.words), 0
    device._spiked = 0
    play(device, told.spikes, told.record)


WORD = st.integers(0, 0xFFFF)
LIKELY = st.builds(
    lambda kind, long, field: kind << KIND_SHIFT | long * LONG | field,
    st.integers(0, 3), st.booleans(), st.integers(0, 40),
)  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.integers(0, 3),
        st.lists(st.one_of(WORD, LIKELY), max_size=3),
    ),
    min_size=1, max_size=4,
)  # fmt: skip
MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MANY
@given(edits=EDITS)
def test_a_run_with_replies_that_were_changed_ends_in_order(
    told: Told, edits: list[tuple[float, int, Said]]
) -> None:
    words = list(told.words)
    for share, gone, new in edits:
        at = int(share * len(words))
        words[at : at + gone] = new
    replied(told, words)


@MANY
@given(words=st.lists(st.one_of(WORD, LIKELY), max_size=400))
def test_a_run_with_any_replies_ends_in_order(told: Told, words: Said) -> None:
    replied(told, words)
