"""Over a wire that damages bytes a run ends as it should, or with an error, and in time."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import soak
import spikefab as sf
import strategies
from spikefab.boards import link as host
from spikefab.boards.device import BoardDevice
from spikefab.boards.open import VIRTUAL_DIVISOR
from spikefab.boards.virtual import KINDS, Faults, VirtualBoard
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.link import FIELD_BITS, Frame, Kind, Received

SOAKED = int(os.environ.get("SPIKEFAB_SOAKED", "10"))
STEPS = 25


@pytest.mark.parametrize("seed", range(SOAKED))
def test_a_run_over_a_bad_wire_is_right_or_an_error(seed: int) -> None:
    soaked = soak.soak(seed)
    assert soaked.good, soaked
    assert soaked.verdict.endswith("equal") or soak.drawn(seed)[-1].power_cycle, soaked


@pytest.mark.prove
@pytest.mark.parametrize("first", range(10_000, 11_000, 50))
def test_a_thousand_runs_over_bad_wires_are_right_or_errors(first: int) -> None:
    runs = [soak.soak(seed, sf.Emulator) for seed in range(first, first + 50)]
    assert all(run.good for run in runs), soak.summary(runs)
    assert sum(run.verdict.endswith("equal") for run in runs) >= 45, soak.summary(runs)


def task(chip: soak.Chip) -> tuple[sf.Program, dict[str, sf.SpikeTrain], sf.Recording]:
    """A program, its input, and what should come of it."""
    rng = np.random.default_rng(12)
    program = chip.program(rng, 12)
    spikes = strategies.random_input(rng, program, STEPS)
    return program, spikes, sf.Machine(program).run(spikes, STEPS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_damage_is_repaired_and_counted(first_chip: soak.Chip, kind: str) -> None:
    program, spikes, expected = task(first_chip)
    faults = Faults(seed=3, rate=0.01, kinds=(kind,))
    with soak.opened(first_chip.executable, program, faults) as (board, link, device):
        found = device.run(spikes, STEPS)
        assert board.statistics()[kind] > 10
        counters, status = link.counters, link.ask()
    assert not soak.difference(expected, found)
    noticed = counters.damaged + counters.lost, status.damaged + status.refused + status.broken
    assert all(noticed) or kind == "stall"
    assert counters.asked


def test_a_good_wire_takes_no_repair(first_chip: soak.Chip) -> None:
    program, spikes, expected = task(first_chip)
    with soak.opened(first_chip.executable, program) as (_, link, device):
        assert not soak.difference(expected, device.run(spikes, STEPS))
        status = link.ask()
        assert (link.counters.damaged, link.counters.lost, link.counters.repeated) == (0, 0, 0)
        assert (status.damaged, status.refused, status.broken) == (0, 0, 0)


def test_frames_are_short_while_the_wire_is_bad_and_long_again_after(
    first_chip: soak.Chip,
) -> None:
    program, spikes, expected = task(first_chip)
    faults = Faults(seed=4, rate=0.01)
    with soak.opened(first_chip.executable, program, faults) as (board, link, device):
        assert not soak.difference(expected, device.run(spikes, STEPS))
        shortest = link._words
        board.set_rate(0.0)
        while link._words < host.MAX_WORDS:
            device.who()
    assert shortest < host.MAX_WORDS // 2


def test_a_wire_that_goes_dead_in_a_run_is_an_error_and_may_come_back(
    first_chip: soak.Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "LOST_SECONDS", 0.6)
    program, spikes, expected = task(first_chip)
    faults = Faults(kinds=("lose",))
    with soak.opened(first_chip.executable, program, faults) as (board, _, device):

        def cut(done: int, ticks: int) -> None:
            if done == 20:
                board.set_rate(1.0)

        began = time.monotonic()
        with pytest.raises(SpikefabError, match="the board does not answer any more in port"):
            device.run(steps=10_000, progress=cut)
        with pytest.raises(SpikefabError, match="no Spikefab board answers in port"):
            device.load(program)
        assert time.monotonic() - began < 5
        board.set_rate(0.0)
        device.load(program)
        assert not soak.difference(expected, device.run(spikes, STEPS))


# Damage that no frame's CRC sees.


def flipped(words: np.ndarray, kind: Kind) -> np.ndarray:
    """The first short word of a kind with another field; its length stays."""
    found = np.flatnonzero(words >> FIELD_BITS == kind << 1)[:1]
    changed = words.copy()
    changed[found] ^= 1
    return changed


def test_what_a_run_took_wrongly_is_an_error(
    first_chip: soak.Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, spikes, _ = task(first_chip)
    assert sum(len(train) for train in spikes.values()) > 10
    with soak.opened(first_chip.executable, program) as (_, link, device):

        def encode(kind: int, seq: int, credit: int, words: np.ndarray | None = None) -> bytes:
            if kind == Frame.DATA and words is not None:
                words = flipped(words, Kind.ENTRY)
            return whole(kind, seq, credit, words)

        link.flush()
        whole = host.encode
        monkeypatch.setattr(host, "encode", encode)
        with pytest.raises(SpikefabError, match="the run is not what was sent in the board on"):
            device.run(spikes, STEPS)


def test_what_a_run_gave_wrongly_is_an_error(
    first_chip: soak.Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, spikes, _ = task(first_chip)
    with soak.opened(first_chip.executable, program) as (_, link, device):

        def decode(raw: bytes) -> Received | None:
            frame = whole(raw)
            if frame and frame.kind == Frame.DATA:
                frame = dataclasses.replace(frame, words=flipped(frame.words, Kind.EMIT))
            return frame

        link.flush()
        whole = host.decode
        monkeypatch.setattr(host, "decode", decode)
        with pytest.raises(SpikefabError, match="the run is not what was sent in the board on"):
            device.run(spikes, STEPS)


def test_a_memory_that_was_written_wrongly_is_an_error(
    first_chip: soak.Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, spikes, expected = task(first_chip)
    with soak.opened(first_chip.executable) as (_, _, device):
        with monkeypatch.context() as patch:
            patch.setattr(BoardDevice, "_write", wrong_write)
            said = "the memories hold something else in the board on .*; load again"
            with pytest.raises(SpikefabError, match=said):
                device.load(program)
        device.load(program)
        assert not soak.difference(expected, device.run(spikes, STEPS))


def wrong_write(
    device: BoardDevice, region: str, entries: Sequence[int], first: int = 0, *,
    hashed: bool = False, write: Callable[..., None] = BoardDevice._write,
) -> None:  # fmt: skip
    """As `_write`, but for a bit of the last synapse word."""
    if region == "synapses":
        entries = [*entries[:-1], entries[-1] ^ 1]
    write(device, region, entries, first, hashed=hashed)


@pytest.mark.parametrize("after", [1, 30, 200, 400])
def test_a_board_that_loses_power_while_it_is_loaded_is_loaded_anew(
    first_chip: soak.Chip, after: int
) -> None:
    program, spikes, expected = task(first_chip)
    with VirtualBoard(first_chip.executable, VIRTUAL_DIVISOR, Faults(power_cycle=after)) as board:
        if after > 1:
            with pytest.raises(SpikefabError, match="the board has begun anew in port"):
                run_on(board, program, spikes)
        assert not soak.difference(expected, run_on(board, program, spikes))
        assert board.statistics()["power_cycles"] == 1


def run_on(
    board: VirtualBoard, program: sf.Program, spikes: dict[str, sf.SpikeTrain]
) -> sf.Recording:
    with soak.linked(board, program) as (_, device):
        return device.run(spikes, STEPS)
