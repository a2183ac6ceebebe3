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


@pytest.mark.parametrize("chip", cosim.LIBRARY_CHIPS)
def test_every_rule_of_the_library(chip: int, tmp_path: cosim.Path) -> None:
    left = {rule.name for rule in cosim.core(chip)[2].rules}
    programs = 0
    while left or programs < 4:
        program = cosim.random_job(chip, programs, 16, 0).program
        left -= {program.rules[q.rule].name for q in program.plastic if q.learning}
        programs += 1
    cosim.check(chip, range(programs), ticks=16, folder=tmp_path)


@pytest.mark.prove
@pytest.mark.parametrize("chip", range(100, 120))
def test_many_programs_on_many_chips(chip: int, tmp_path: cosim.Path) -> None:
    cosim.check(chip, range(20), ticks=64, folder=tmp_path)


def test_a_volume_goes_on_where_it_stopped(
    tmp_path: cosim.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.jsonl"
    assert cosim.volume(results, 1, 3, 4)
    assert cosim.volume(results, 2, 3, 4)
    assert len(results.read_text().splitlines()) == 2
    printed = capsys.readouterr().out
    assert printed.count(f"chip {cosim.FIRST_CHIP}: equal") == 1
    assert "6 programs, 24 ticks," in printed


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("accumulators.py", "held + added", "held - added"),
        ("deliver.py", "left == 2", "left <= 3"),
        ("neurons.py", "phase.countdown == 0", "phase.countdown <= 1"),
        ("emit.py", "same.eq(word_there & ", "same.eq(0 & "),
        ("core.py", 'registers["slot"] + 1', 'registers["slot"] + 3'),
        ("neurons.py", "self.before =", "self.before = 1 +"),
    ],
)
def test_a_planted_error_is_found(
    file: str, right: str, wrong: str, tmp_path: cosim.Path
) -> None:
    with pytest.raises(cosim.Difference, match=r"\nreplay: python tests/rtl/cosim.py 0 0 "):
        cosim.check(0, range(5), ticks=16, folder=tmp_path, planted=(file, right, wrong))
