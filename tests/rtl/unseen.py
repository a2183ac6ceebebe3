"""Proof that a planted fault changes nothing that a core does: `mutation.py` asks it of survivors.

The right design and the faulty one, as Yosys writes them in SMT-LIB, step once from the same state:
one that the right design can have after `CLOCKS` clocks of any input from any state, its memories
holding anything in each. No output and no register's or memory's next content may differ; so
designs that once agree always will. Registers are taken bit by bit, less bits that nothing reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from proof import solve

CLOCKS = 16  # through Update, the longest pipeline
SCRIPT = (
    "setattr -unset init", "memory_nordff", "simplemap t:$*dff*", "opt_clean -purge", "dffunmap",
    "rename -top top",
)  # fmt: skip
_SORT = r"(Bool|\(_ BitVec \d+\)|\(Array \(_ BitVec \d+\) \(_ BitVec \d+\)\))"
_NAME = r"\|top([#_][^|]+)\|"


class Design:
    """Terms of a state, by name: `given` are inputs, bits of registers and memories, by what each
    is called; `next` what the latter two are after the clock; `outputs` names of terms."""

    def __init__(self, text: str) -> None:
        self.sorts: dict[str, str] = {}
        self.terms: dict[str, str] = {}
        self.given: dict[str, str] = {}
        self.next: dict[str, str] = {}
        self.outputs = re.findall(r"^; yosys-smt2-output (\S+)", text, re.M)
        function = rf"\(define-fun {_NAME} \(\(state \|top_s\|\)\) {_SORT} (.*)\)"
        for raw in text.splitlines():
            line, _, called = (part.strip() for part in raw.partition(" ; "))
            if match := re.fullmatch(rf"\(declare-fun {_NAME} \(\|top_s\|\) {_SORT}\)", line):
                self.sorts[match[1]] = match[2]
                self.given[called] = match[1]
            elif match := re.fullmatch(function, line):
                self.sorts[match[1]], self.terms[match[1]] = match[2], match[3]
            elif match := re.fullmatch(rf"\(= (.*) \({_NAME} next_state\)\)", line):
                self.next[match[2]] = match[1]

    def state(self, when: str, known: Mapping[str, str]) -> list[str]:
        """The terms of a state in which these are known, and others given are anything."""
        lines = []
        for name, sort in self.sorts.items():
            term = at(self.terms[name], when) if name in self.terms else known.get(name)
            if term is None:
                lines.append(f"(declare-fun |{name}@{when}| () {sort})")
            else:
                lines.append(f"(define-fun |{name}@{when}| () {sort} {term})")
        return lines

    def after(self, when: str) -> dict[str, str]:
        """What the registers are after the clock of that state."""
        return {
            name: at(term, when) for name, term in self.next.items()
            if "Array" not in self.sorts[name]
        }  # fmt: skip


def at(term: str, when: str) -> str:
    """A term of the state as one of that."""
    return re.sub(rf"\({_NAME} state\)", rf"|\1@{when}|", term)


def unseen(right: str, faulty: str) -> bool:
    """Whether it is proven that two designs do the same, each as `write_smt2` writes it."""
    a, b = Design(right), Design(faulty)
    called = [{n: (t in d.next, d.sorts[t]) for n, t in d.given.items()} for d in (a, b)]
    pairs = {a.given[n]: b.given[n] for n, kind in called[0].items() if called[1].get(n) == kind}
    alone_a = [bit for bit in a.next if bit not in pairs]
    alone_b = [bit for bit in b.next if bit not in pairs.values()]
    if len(alone_a) == len(alone_b) == 1:  # a bit whose register the fault gave another name
        pairs[alone_a[0]] = alone_b[0]
    lines = a.state("0", {})
    for n in range(CLOCKS):
        lines += a.state(str(n + 1), a.after(str(n)))
    last = str(CLOCKS)
    lines += b.state("faulty", {of_b: f"|{of_a}@{last}|" for of_a, of_b in pairs.items()})
    effects = [(f"|_n {name}@{last}|", f"|_n {name}@faulty|") for name in a.outputs]
    effects += [
        (at(a.next[of_a], last), at(b.next[of_b], "faulty"))
        for of_a, of_b in pairs.items() if of_a in a.next
    ]  # fmt: skip
    differ = " ".join(f"(distinct {x} {y})" for x, y in effects)
    return solve([*lines, f"(assert (or {differ}))"], [], "QF_ABV") is None
