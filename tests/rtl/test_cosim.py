"""The gateware reports what the exact machine does: values, order and clocks, in co-simulation."""

from __future__ import annotations

import os

import cosim
import pytest

CHIPS = int(os.environ.get("SPIKEFAB_CHIPS", "5"))
PROGRAMS = int(os.environ.get("SPIKEFAB_CHIP_PROGRAMS", "4"))


@pytest.mark.parametrize("chip", range(CHIPS))
def test_random_programs_on_a_random_chip(chip: int, tmp_path: cosim.Path) -> None:
    cosim.check(chip, range(PROGRAMS), ticks=16, folder=tmp_path)


@pytest.mark.prove
@pytest.mark.parametrize("chip", range(100, 120))
def test_many_programs_on_many_chips(chip: int, tmp_path: cosim.Path) -> None:
    cosim.check(chip, range(20), ticks=64, folder=tmp_path)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("accumulators.py", "bank.data.as_signed() + weight3", "bank.data.as_signed() - weight3"),
        ("deliver.py", "left == 1", "left <= 2"),
        ("neurons.py", "phase.countdown == 0", "phase.countdown <= 1"),
        ("emit.py", "same.eq(word_there & ", "same.eq(0 & "),
        ("core.py", "slot.eq(slot + 1)", "slot.eq(slot + 3)"),
        ("neurons.py", "CLOCKS = 3", "CLOCKS = 4"),
    ],
)
def test_a_planted_error_is_found(
    file: str, right: str, wrong: str, tmp_path: cosim.Path
) -> None:
    with pytest.raises(cosim.Difference):
        cosim.check(0, range(5), ticks=16, folder=tmp_path, planted=(file, right, wrong))
