"""Partial evaluation: what is left of a graph where some of its inputs are known.

What follows from constants and intervals alone is decided; whatever is left computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from .interpret import evaluate
from .language import Value, lift, names_read, node, topological


def specialised(outputs: Mapping[str, Value], known: Mapping[str, int]) -> dict[str, Value]:
    """The graph with the inputs that `known` names as constants.

    A value that provably equals one of its arguments becomes that argument, so that an output which
    is the input `w` for all other inputs becomes that input.
    """
    done: dict[Value, Value] = {}
    for v in topological(outputs.values()):
        if v.op == "input" and str(v.attribute[0]) in known:
            done[v] = lift(known[str(v.attribute[0])])
        elif v.args:
            done[v] = _decided(v, [done[a] for a in v.args])
        else:
            done[v] = v
    return {name: done[v] for name, v in outputs.items()}


def added(v: Value, name: str) -> Value | None:
    """The c that does not read the input `name`, where `v` is that input + c; else None."""
    if v.op == "input" and v.attribute[0] == name:
        return lift(0)
    if v.op not in ("add", "sub"):
        return None
    first, last = v.args
    if v.op == "add" and name in names_read({"": last}):
        first, last = last, first
    if name in names_read({"": last}):
        return None
    before = added(first, name)
    return None if before is None else _decided(v, [before, last])


def _decided(v: Value, args: list[Value]) -> Value:
    """`v` with these arguments: a constant or one of them, where it provably is."""
    if all(a.op == "const" for a in args):
        return _constant(evaluate({"x": node(v, args)}, {})["x"], v.boolean)
    same = _argument(v, args)
    if same is not None:
        return same
    if v.op in ("and", "or"):
        decisive = int(v.op == "or")
        if any(_is(a, decisive) for a in args):
            return lift(bool(decisive))
    made = node(v, args)
    return _constant(made.lo, v.boolean) if made.lo == made.hi else made


def _constant(x: int, boolean: bool) -> Value:
    return lift(bool(x) if boolean else x)


def _argument(v: Value, args: list[Value]) -> Value | None:
    """The argument that the value equals, if that is certain."""
    op, first = v.op, args[0]
    last = args[-1]
    if op == "select":
        if first.lo == first.hi:
            return args[1] if first.lo else args[2]
        return args[1] if args[1] is args[2] else None
    if op in ("add", "or") and _is(first, 0):
        return last
    if op in ("add", "sub", "shl", "shr", "or") and _is(last, 0):
        return first
    if op in ("mul", "and") and (_is(first, 1) or _is(last, 1)):
        return last if _is(first, 1) else first
    if op in ("and", "or") and first is last:
        return first
    if op in ("min", "max"):
        below = first if first.hi <= last.lo else last if last.hi <= first.lo else None
        if below is None:
            return first if first is last else None
        return below if op == "min" else last if below is first else first
    if op == "clip":
        lo, hi = (int(a) for a in v.attribute)
        return first if lo <= first.lo and first.hi <= hi else None
    if op == "abs":
        return first if first.lo >= 0 else None
    return None


def _is(value: Value, x: int) -> bool:
    return value.lo == value.hi == x
