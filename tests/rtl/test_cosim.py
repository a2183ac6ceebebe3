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


prove = pytest.mark.prove


@pytest.mark.parametrize(
    ("chip", "program", "file", "right", "wrong"),
    [
        (551, 0, "learn.py", "event | awake | ~quiet", "awake | ~quiet"),
        (551, 0, "traces.py", "Cat(at, Const(words", "Cat(at ^ 1, Const(words"),
        (551, 0, "synapse_words.py", "(entry.delay == delay)", "Const(1)"),
        *(
            pytest.param(*planted, marks=prove)
            for planted in (
                (551, 0, "learn.py", "Cat(now, self.history_data))", "Cat(now, now))"),
                (551, 0, "traces.py", "at.eq(at + 1)", "at.eq(at + self.began)"),
                (553, 1, "learn.py", "self.due.bit_select(later, 1)", "self.due.any()"),
                (553, 3, "learn.py", "event | awake | ~quiet", "event | ~quiet"),
                (553, 1, "learn.py", "p.at_rest & resting)", "p.at_rest)"),
                (15, 3, "learn.py", "p.at_rest_without_spikes & resting &",
                 "p.at_rest_without_spikes &"),
                (553, 0, "learn.py", "projection.late, 1)", "0, 1)"),
                (553, 1, "learn.py", "fresh & moves", "fresh"),
                (553, 0, "learn.py", "moves & p.on &", "moves &"),
                (553, 2, "learn.py", '"moves": moves', '"moves": moves & p.on'),
                (553, 0, "learn.py", "(sets - plastic)", "(sets - (plastic ^ 1))"),
                (553, 0, "synapse_words.py", "~(first & before)", "Const(1)"),
                (553, 0, "synapse_words.py", "~(last & after)", "Const(1)"),
                (553, 1, "synapse_words.py", "mask |= ((1 <<", "mask |= ((2 <<"),
                (553, 0, "synapse_words.py", ", some.eq(0)]", "]"),
                (15, 0, "synapse_words.py", "(left == 1), \"row_ends", "(left == 2), \"row_ends"),
                (15, 3, "synapse_words.py", "m.If(self._group[n])", "m.If(self._group[n + 1])"),
                (553, 1, "synapse_words.py", "reads & last & walker.last", "reads & last"),
                (553, 0, "learn.py", "(~there[-2] | ends_word)", "ends_word"),
                (15, 0, "traces.py", 'entry[f"x{n}"], latency, f"before',
                 'entry[f"x{n}"], latency + 1, f"before'),
                (15, 1, "traces.py", "entry[name], latency, name", "entry[name], 0, name"),
            )
        ),
    ],
)  # fmt: skip
def test_a_planted_error_in_what_learns_is_found(
    chip: int, program: int, file: str, right: str, wrong: str, tmp_path: cosim.Path
) -> None:
    with pytest.raises(cosim.Difference, match=r"\nreplay: python tests/rtl/cosim.py "):
        cosim.check(chip, [program], ticks=16, folder=tmp_path, planted=(file, right, wrong))
