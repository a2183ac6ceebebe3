"""The fixed-point language: typed integer expressions with proven intervals.

A model is an ordinary Python function, called once with symbolic `Value`s; what it returns is the
graph that every lowering (interpreter, Numba, gateware) works from. Each value carries the interval
[lo, hi] that follows from its arguments, so no intermediate can wrap: bits are lost only by
`saturate`, `wrap`, `shift` and `select`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from .errors import SpikefabError

Rounding = Literal["floor", "toward_zero", "nearest_even", "stochastic"]
Scalar: TypeAlias = "Value | int | bool"

WIDEST = 62  # bits of the widest intermediate: lowerings compute in 64-bit words
MAX_SHIFT = 31
MAX_TABLE = 1024
MAX_DRAWS = 16

_draws: ContextVar[list[int] | None] = ContextVar("draws", default=None)


@dataclass(frozen=True, eq=False)
class Value:
    """One node of an expression graph: an operator, its arguments, and the proven interval.

    `attribute` holds what is not a value: a constant, a name, a rounding, a width, a table.
    `boolean` values have the interval [0, 1] and take `& | ~`.
    """

    op: str
    args: tuple[Value, ...]
    lo: int
    hi: int
    attribute: tuple[int | str, ...] = ()
    boolean: bool = field(default=False)

    def __post_init__(self) -> None:
        if self.lo > self.hi:
            raise SpikefabError(f"empty interval [{self.lo}, {self.hi}]", f"operator '{self.op}'")
        if signed_bits(self.lo, self.hi) > WIDEST:
            raise SpikefabError(
                f"value of {signed_bits(self.lo, self.hi)} bits",
                f"operator '{self.op}'",
                f"intermediates are at most {WIDEST} bits wide",
                "saturate or shift an argument first",
            )

    @property
    def bits(self) -> int:
        """Width in bits as a two's complement number."""
        return signed_bits(self.lo, self.hi)

    def __add__(self, other: Scalar) -> Value:
        b = lift(other)
        return _number("add", (self, b), self.lo + b.lo, self.hi + b.hi)

    def __radd__(self, other: int) -> Value:
        return lift(other) + self

    def __sub__(self, other: Scalar) -> Value:
        b = lift(other)
        return _number("sub", (self, b), self.lo - b.hi, self.hi - b.lo)

    def __rsub__(self, other: int) -> Value:
        return lift(other) - self

    def __mul__(self, other: Scalar) -> Value:
        b = lift(other)
        corners = [x * y for x in (self.lo, self.hi) for y in (b.lo, b.hi)]
        return _number("mul", (self, b), min(corners), max(corners))

    def __rmul__(self, other: int) -> Value:
        return lift(other) * self

    def __neg__(self) -> Value:
        return 0 - self

    def __lshift__(self, k: Scalar) -> Value:
        amount = _amount(k)
        corners = [x << y for x in (self.lo, self.hi) for y in (amount.lo, amount.hi)]
        return _number("shl", (self, amount), min(corners), max(corners))

    def __rshift__(self, k: Scalar) -> Value:
        return shift(self, k, "floor")

    def __lt__(self, other: Scalar) -> Value:
        return _compare("lt", self, lift(other))

    def __le__(self, other: Scalar) -> Value:
        return _compare("le", self, lift(other))

    def __gt__(self, other: Scalar) -> Value:
        return _compare("lt", lift(other), self)

    def __ge__(self, other: Scalar) -> Value:
        return _compare("le", lift(other), self)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return _compare("eq", self, lift(other))

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return ~_compare("eq", self, lift(other))

    __hash__ = object.__hash__

    def __and__(self, other: Scalar) -> Value:
        return _logic("and", self, lift(other))

    def __rand__(self, other: bool) -> Value:
        return lift(other) & self

    def __or__(self, other: Scalar) -> Value:
        return _logic("or", self, lift(other))

    def __ror__(self, other: bool) -> Value:
        return lift(other) | self

    def __invert__(self) -> Value:
        return _logic("not", self)

    def __bool__(self) -> bool:
        raise SpikefabError(
            "a symbolic value used as a Python condition",
            f"operator '{self.op}'",
            "a model is traced once, its values are not known then",
            "use select(condition, a, b)",
        )


def signed_bits(lo: int, hi: int) -> int:
    """Smallest two's complement width that holds every integer of [lo, hi]."""
    return max(hi.bit_length(), (-lo - 1).bit_length() if lo < 0 else 0) + 1


def lift(x: object) -> Value:
    """A Python int or bool as a constant; a Value as it is."""
    if isinstance(x, Value):
        return x
    if isinstance(x, bool):
        return Value("const", (), int(x), int(x), (int(x),), boolean=True)
    if isinstance(x, int):
        return Value("const", (), x, x, (x,))
    raise SpikefabError(
        f"{type(x).__name__} in an expression", "the fixed-point language", "values are integers"
    )


def variable(name: str, lo: int, hi: int) -> Value:
    """A named input of a graph, promised to lie in [lo, hi]."""
    return Value("input", (), lo, hi, (name,))


def select(condition: Value, a: Scalar, b: Scalar) -> Value:
    """`a` where `condition` holds, else `b`."""
    if not condition.boolean:
        raise SpikefabError("select on a number", "the fixed-point language", hint="compare it")
    x, y = lift(a), lift(b)
    if x.boolean != y.boolean:
        raise SpikefabError("select between a number and a boolean", "the fixed-point language")
    lo, hi = min(x.lo, y.lo), max(x.hi, y.hi)
    return Value("select", (condition, x, y), lo, hi, boolean=x.boolean)


def minimum(a: Scalar, b: Scalar) -> Value:
    """The smaller of two numbers."""
    x, y = lift(a), lift(b)
    return _number("min", (x, y), min(x.lo, y.lo), min(x.hi, y.hi))


def maximum(a: Scalar, b: Scalar) -> Value:
    """The larger of two numbers."""
    x, y = lift(a), lift(b)
    return _number("max", (x, y), max(x.lo, y.lo), max(x.hi, y.hi))


def absolute(x: Value) -> Value:
    """|x|."""
    lo = 0 if x.lo <= 0 <= x.hi else min(abs(x.lo), abs(x.hi))
    return _number("abs", (x,), lo, max(abs(x.lo), abs(x.hi)))


def saturate(x: Value, bits: int, signed: bool = True) -> Value:
    """`x` clipped to the range of a `bits` wide two's complement (or unsigned) number."""
    lo, hi = bounds(bits, signed)
    clip = (min(max(x.lo, lo), hi), max(min(x.hi, hi), lo))
    return _number("clip", (x,), *clip, attribute=(lo, hi))


def wrap(x: Value, bits: int) -> Value:
    """`x` modulo 2^bits as a two's complement number: for chips that do wrap."""
    lo, hi = bounds(bits, True)
    if lo <= x.lo and x.hi <= hi:
        return x
    return _number("wrap", (x,), lo, hi, attribute=(bits,))


def shift(x: Value, k: Scalar, rounding: Rounding = "floor") -> Value:
    """`x` / 2^k, rounded as named; k >= 0 is a constant or a bounded parameter."""
    amount = _amount(k)
    if rounding not in get_args(Rounding):
        raise SpikefabError(f"unknown rounding '{rounding}'", "shift", hint="see Rounding")
    if rounding == "stochastic":
        noise = shift(random(max(amount.hi, 1)), max(amount.hi, 1) - amount, "floor")
        return shift(x + noise, amount, "floor")
    corners = [round_shift(v, s, rounding) for v in (x.lo, x.hi) for s in (amount.lo, amount.hi)]
    return _number("shr", (x, amount), min(corners), max(corners), attribute=(rounding,))


def decay(x: Value, k: Scalar, frac: int, rounding: Rounding = "toward_zero") -> Value:
    """round(x k / 2^frac): the fraction k / 2^frac of `x` is kept, 0 <= k <= 2^frac."""
    kept = lift(k)
    if kept.lo < 0 or kept.hi > 1 << frac:
        raise SpikefabError(
            f"decay by a factor of [{kept.lo}, {kept.hi}] / {1 << frac}",
            "the fixed-point language",
            "the fraction kept lies in 0..1",
        )
    return shift(x * kept, frac, rounding)


def table(entries: Iterable[int], index: Value) -> Value:
    """The entry at `index` of a small constant table; the interval of `index` must lie inside."""
    values = tuple(lift(int(e)).lo for e in entries)
    if not 0 < len(values) <= MAX_TABLE or index.lo < 0 or index.hi >= len(values):
        raise SpikefabError(
            f"table of {len(values)} entries indexed by [{index.lo}, {index.hi}]",
            "the fixed-point language",
            f"an index must lie inside a table of 1 to {MAX_TABLE} entries",
        )
    reach = values[index.lo : index.hi + 1]
    return _number("table", (index,), min(reach), max(reach), attribute=values)


def random(bits: int, draw: int | None = None) -> Value:
    """`bits` random bits, a pure function of (seed, tick, core, address, draw index).

    Draws of one graph are numbered in the order of the calls unless `draw` is given.
    """
    counter = _draws.get()
    if draw is None:
        if counter is None:
            raise SpikefabError("random() outside a model", "the fixed-point language")
        draw = counter[0]
        counter[0] += 1
    if not 0 <= draw < MAX_DRAWS or not 1 <= bits <= 32:
        raise SpikefabError(
            f"random({bits}), draw {draw}",
            "the fixed-point language",
            f"1 to 32 bits and at most {MAX_DRAWS} draws per neuron and tick",
        )
    return _number("random", (), 0, (1 << bits) - 1, attribute=(bits, draw))


class numbered_draws:
    """Context in which `random` numbers its draws from 0."""

    def __enter__(self) -> None:
        self._token = _draws.set([0])

    def __exit__(self, *exc: object) -> None:
        _draws.reset(self._token)


def bounds(bits: int, signed: bool) -> tuple[int, int]:
    """Least and greatest number of a two's complement or unsigned format."""
    if not 1 <= bits <= WIDEST:
        raise SpikefabError(f"format of {bits} bits", "the fixed-point language")
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def round_shift(x: int, k: int, rounding: str) -> int:
    """Exact x / 2^k of Python integers for the deterministic roundings."""
    if rounding == "toward_zero":
        return x >> k if x >= 0 else -(-x >> k)
    if rounding == "nearest_even" and k > 0:
        return (x + (1 << (k - 1)) - 1 + ((x >> k) & 1)) >> k
    return x >> k


def topological(outputs: Iterable[Value]) -> list[Value]:
    """Every value the outputs depend on, arguments first, each once."""
    order: list[Value] = []
    seen: set[Value] = set()
    stack = [(v, False) for v in reversed(list(outputs))]
    while stack:
        value, expanded = stack.pop()
        if expanded:
            order.append(value)
        elif value not in seen:
            seen.add(value)
            stack.append((value, True))
            stack.extend((a, False) for a in reversed(value.args))
    return order


def _number(
    op: str, args: tuple[Value, ...], lo: int, hi: int, attribute: tuple[int | str, ...] = ()
) -> Value:
    if op not in ("random",) and any(a.boolean for a in args):
        raise SpikefabError(
            f"a boolean as a number in operator '{op}'",
            "the fixed-point language",
            hint="use select(condition, 1, 0)",
        )
    return Value(op, args, lo, hi, attribute)


def _amount(k: Scalar) -> Value:
    amount = lift(k)
    if amount.boolean or amount.lo < 0 or amount.hi > MAX_SHIFT:
        raise SpikefabError(
            f"shift by [{amount.lo}, {amount.hi}]",
            "the fixed-point language",
            f"a shift lies in 0..{MAX_SHIFT}",
        )
    return amount


def _compare(op: str, a: Value, b: Value) -> Value:
    if a.boolean or b.boolean:
        raise SpikefabError(f"comparison '{op}' of booleans", "the fixed-point language")
    return Value(op, (a, b), 0, 1, boolean=True)


def _logic(op: str, *args: Value) -> Value:
    if not all(a.boolean for a in args):
        raise SpikefabError(f"operator '{op}' on a number", "the fixed-point language")
    return Value(op, args, 0, 1, boolean=True)


# A graph as plain lists, for files: [op, argument indices, attribute, lo, hi] per node.


def to_lists(outputs: Mapping[str, Value]) -> dict[str, object]:
    """A graph as JSON-ready lists."""
    order = topological(outputs.values())
    number = {v: i for i, v in enumerate(order)}
    nodes = [
        [v.op, [number[a] for a in v.args], list(v.attribute), v.lo, v.hi, v.boolean]
        for v in order
    ]
    return {"nodes": nodes, "outputs": {name: number[v] for name, v in outputs.items()}}


def from_lists(graph: object, where: str) -> dict[str, Value]:
    """The graph that `to_lists` wrote, every interval proven anew.

    Raises SpikefabError for anything `to_lists` would not have written.
    """
    try:
        return _rebuild(graph)
    except (SpikefabError, TypeError, ValueError, LookupError, AttributeError) as fault:
        raise SpikefabError("damaged model", where, f"not an expression graph ({fault})") from None


_BINARY = {"add": Value.__add__, "sub": Value.__sub__, "mul": Value.__mul__}
_LOGIC = {"and": 2, "or": 2, "not": 1}


def _rebuild(graph: object) -> dict[str, Value]:
    if not isinstance(graph, dict):
        raise TypeError("no object")
    if len(graph["nodes"]) > 10_000:
        raise ValueError("more than 10,000 nodes")
    built: list[Value] = []
    for op, arg_numbers, attribute, lo, hi, boolean in graph["nodes"]:
        if not all(type(i) is int and 0 <= i < len(built) for i in arg_numbers):
            raise ValueError(f"arguments of '{op}'")
        if not all(type(a) in (int, str) for a in attribute) or not type(lo) is type(hi) is int:
            raise ValueError(f"attribute of '{op}'")
        value = _node(op, [built[i] for i in arg_numbers], tuple(attribute), lo, hi, boolean)
        if (value.lo, value.hi, value.boolean) != (lo, hi, boolean):
            raise ValueError(f"interval of '{op}' is [{value.lo}, {value.hi}]")
        built.append(value)
    outputs = {}
    for name, number in graph["outputs"].items():
        if type(number) is not int or not 0 <= number < len(built):
            raise ValueError(f"output '{name}'")
        outputs[str(name)] = built[number]
    return outputs


def _node(
    op: str, args: list[Value], attribute: tuple[int | str, ...], lo: int, hi: int, boolean: bool
) -> Value:
    numbers = [a for a in attribute if isinstance(a, int)]
    if op == "const":
        return lift(bool(numbers[0]) if boolean else numbers[0])
    if op == "input":
        return variable(str(attribute[0]), lo, hi)
    if op in _BINARY:
        return _BINARY[op](args[0], args[1])
    if op == "shl":
        return args[0] << args[1]
    if op == "shr":
        if attribute[0] not in ("floor", "toward_zero", "nearest_even"):
            raise ValueError("rounding of 'shr'")
        return shift(args[0], args[1], attribute[0])  # type: ignore[arg-type]
    if op in ("lt", "le", "eq"):
        return _compare(op, args[0], args[1])
    if op in _LOGIC and len(args) == _LOGIC[op]:
        return _logic(op, *args)
    if op == "select":
        return select(args[0], args[1], args[2])
    if op in ("min", "max"):
        return (minimum if op == "min" else maximum)(args[0], args[1])
    if op == "abs":
        return absolute(args[0])
    if op == "clip":
        low, high = numbers
        bits = high.bit_length() + (low < 0)
        if (low, high) != bounds(bits, low < 0):
            raise ValueError("limits of 'clip'")
        return saturate(args[0], bits, low < 0)
    if op == "wrap":
        return wrap(args[0], numbers[0])
    if op == "table":
        return table(numbers, args[0])
    if op == "random":
        return random(numbers[0], numbers[1])
    raise ValueError(f"unknown operator '{op}'")


def node(like: Value, args: list[Value]) -> Value:
    """The operator of `like` on other arguments, its interval proven anew."""
    return _node(like.op, args, like.attribute, like.lo, like.hi, like.boolean)


def substitute(
    outputs: Mapping[str, Value], replacement: Mapping[Value, Value]
) -> dict[str, Value]:
    """The same graph with other values in the places of some, every interval proven anew."""
    replaced: dict[Value, Value] = dict(replacement)
    for v in topological(outputs.values()):
        if v in replaced:
            continue
        if v.args:
            replaced[v] = node(v, [replaced[a] for a in v.args])
        else:
            replaced[v] = v
    return {name: replaced[v] for name, v in outputs.items()}


def narrow(
    outputs: Mapping[str, Value], intervals: Mapping[str, tuple[int, int]]
) -> dict[str, Value]:
    """The same graph with tighter intervals of named inputs, every other interval proven anew."""
    inputs = {v: str(v.attribute[0]) for v in topological(outputs.values()) if v.op == "input"}
    tighter = {
        v: variable(name, max(intervals[name][0], v.lo), min(intervals[name][1], v.hi))
        for v, name in inputs.items()
        if name in intervals
    }
    return substitute(outputs, tighter)


def names_read(outputs: Mapping[str, Value]) -> set[str]:
    """The names of the inputs that a graph reads."""
    return {str(v.attribute[0]) for v in topological(outputs.values()) if v.op == "input"}
