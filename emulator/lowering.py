"""The fixed-point language as Numba source: one statement per value, in the narrowest machine type.

A value whose interval and arguments fit 32 bits is computed in int32, else in int64; or in int16
where a loop asks for it. Statements are branchless, so that a loop over neurons vectorises.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..compiler.ir.language import Value, signed_bits, topological

# Source of what lowered statements call; it stands at the head of every generated module.
PRELUDE = '''
import numpy as np
from llvmlite import ir
from numba import njit
from numba.extending import intrinsic

i8, i16, i32, i64 = np.int8, np.int16, np.int32, np.int64
u8, u16, u32, u64 = np.uint8, np.uint16, np.uint32, np.uint64


@intrinsic
def ashr(context, x, k):
    """x >> k in the type of x, which the operator would widen, and vectors with it."""

    def generate(context, builder, signature, args):
        return builder.ashr(args[0], args[1])

    return x(x, x), generate


@njit(inline="always")
def mix(key):
    key = u32(~key + (key << u32(15)))
    key = u32(key ^ (key >> u32(12)))
    key = u32(key + (key << u32(2)))
    key = u32(key ^ (key >> u32(4)))
    key = u32(key + (key << u32(3)) + (key << u32(11)))
    return u32(key ^ (key >> u32(16)))


@njit(inline="always")
def draw_bits(word, core, address, draw, bits):
    key = u32(word) ^ u32(u32(draw) << u32(28)) ^ u32(u32(core) << u32(16)) ^ u32(address)
    return i64(mix(u32(key)) >> u32(32 - bits))
'''

_INFIX = {"add": "+", "sub": "-", "mul": "*", "shl": "<<"}
_COMPARE = {"lt": "<", "le": "<=", "eq": "=="}


def lower(
    outputs: Mapping[str, Value], inputs: Mapping[str, str], prefix: str = "x", least: int = 32
) -> tuple[list[str], dict[str, str], list[str]]:
    """Statements that compute `outputs` from the expressions in `inputs`; least: bits of the
    narrowest type.

    Returns (statements, expression of each output, module-level definitions for tables). Random
    values read `word`, `core` and `address`.
    """
    statements: list[str] = []
    tables: list[str] = []
    known: dict[Value, str] = {}
    for n, value in enumerate(topological(outputs.values())):
        if value.lo == value.hi:
            number = f"{_type(_bits(value), least)}({value.lo})"
            known[value] = str(bool(value.lo)) if value.boolean else number
            continue
        args = [known[a] for a in value.args]
        if value.op == "table":
            name = f"TABLE_{prefix}{n}"
            tables.append(f"{name} = np.array({list(value.attribute)}, dtype=i64)")
            args.append(name)
        known[value] = f"{prefix}{n}"
        expression = _expression(value, args, inputs, least)
        statements.append(f"{prefix}{n} = {expression}")
    return statements, {name: known[v] for name, v in outputs.items()}, tables


def _bits(value: Value) -> int:
    """Width of the widest number that computing `value` touches."""
    extra = 1 if value.op == "shr" and value.attribute[0] == "nearest_even" else 0
    widths = [value.bits, *(a.bits + extra for a in value.args)]
    if value.op == "shr":
        widths.append(value.args[1].hi + 2)
    if value.op in ("wrap", "clip"):
        bounds = [int(a) for a in value.attribute]
        widths.append(bounds[0] if value.op == "wrap" else signed_bits(*bounds))
    return max(widths)


def _type(bits: int, least: int) -> str:
    return f"i{next(n for n in (16, 32, 64) if max(bits, least) <= n)}"


def _expression(value: Value, args: list[str], inputs: Mapping[str, str], least: int) -> str:
    op, kind = value.op, _type(_bits(value), least)
    if op == "input":
        return f"{kind}({inputs[str(value.attribute[0])]})"
    if op == "random":
        bits, draw = value.attribute
        return f"{kind}(draw_bits(word, core, address, {draw}, {bits}))"
    if op in _INFIX:
        return f"{kind}({kind}({args[0]}) {_INFIX[op]} {kind}({args[1]}))"
    if op in _COMPARE:
        wide = _type(max(a.bits for a in value.args), least)
        return f"{wide}({args[0]}) {_COMPARE[op]} {wide}({args[1]})"
    if op in ("and", "or"):
        return f"{args[0]} {'&' if op == 'and' else '|'} {args[1]}"
    if op == "not":
        return f"not {args[0]}"
    if op == "select":
        if value.boolean:
            return f"({args[1]} & {args[0]}) | ({args[2]} & (not {args[0]}))"
        return f"{kind}({args[1]}) if {args[0]} else {kind}({args[2]})"
    a = f"{kind}({args[0]})" if args else ""
    if op in ("min", "max"):
        b = f"{kind}({args[1]})"
        return f"{a} if {a} {'<' if op == 'min' else '>'} {b} else {b}"
    if op == "abs":
        return f"{kind}(-{a}) if {a} < {kind}(0) else {a}"
    if op == "clip":
        lo, hi = (f"{kind}({bound})" for bound in value.attribute)
        return f"{lo} if {a} < {lo} else ({hi} if {a} > {hi} else {a})"
    if op == "wrap":
        free = int(kind[1:]) - int(value.attribute[0])
        return f"ashr({kind}({a} << {kind}({free})), {kind}({free}))"
    if op == "table":
        return f"{kind}({args[1]}[{args[0]}])"
    if op == "shr":
        return _shift(value, kind, a, f"{kind}({args[1]})")
    raise AssertionError(op)


def _shift(value: Value, kind: str, x: str, k: str) -> str:
    rounding, (argument, amount) = value.attribute[0], value.args
    if rounding == "nearest_even" and amount.hi > 0:
        some = f"{kind}(1)" if amount.lo > 0 else f"({kind}(1) if {k} > {kind}(0) else {kind}(0))"
        half = f"ashr({kind}({kind}(1) << {k}), {kind}(1))"
        odd = f"{kind}(ashr({x}, {k}) & {some})"
        return f"ashr({kind}({x} + {kind}({half} - {kind}({some} - {odd}))), {k})"
    if rounding == "toward_zero" and argument.lo < 0:
        sign = f"ashr({x}, {kind}({int(kind[1:]) - 1}))"
        mask = f"{kind}({kind}({kind}(1) << {k}) - {kind}(1))"
        return f"ashr({kind}({x} + {kind}({sign} & {mask})), {k})"
    return f"ashr({x}, {k})"
