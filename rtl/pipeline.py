"""The fixed-point language as an Amaranth pipeline: one item per clock, each value in its width.

Values are placed in clocks as `compiler.ir.schedule` says. A value that a later clock needs passes
through one register per clock; nothing else is stored, and nothing stalls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.language import Value, bounds, topological
from ..compiler.ir.schedule import schedule
from .primitives import Multiplier, Target


def field(name: str) -> str:
    """Name of the field for an input or output of a graph: `state.v` is `state__v`."""
    return name.replace(".", "__")


class Pipeline(wiring.Component):  # type: ignore[misc]
    """A graph of the fixed-point language; takes an item in every clock.

    The outputs of an item stand `latency` clocks after its inputs, in registers. Registers are not
    reset: the outputs of the first `latency` clocks are undefined.

    Parameters
    ----------
    outputs: the graph, by output name. Equal subgraphs are built once.
    target: see `Multiplier`.

    Members
    -------
    inputs: In(StructLayout), a field `field(NAME)` per input of the graph, signed, as wide as its
        interval needs. An input must lie in its interval.
    outputs: Out(StructLayout), a field `field(NAME)` per output: signed, as wide as its interval
        needs, or unsigned(1) for a boolean.
    word: In(32), the random word of the tick; it and the next two only if the graph is stochastic.
    core: In(12), number of the core.
    address: In(16), address of the item.
    """

    def __init__(self, outputs: Mapping[str, Value], target: Target = "generic") -> None:
        self.graph, self.target = dict(outputs), target
        self._schedule = schedule(outputs)
        order = topological(outputs.values())
        inputs: dict[str, int] = {}
        for value in order:
            if value.op == "input":
                name = field(str(value.attribute[0]))
                inputs[name] = max(inputs.get(name, 0), value.bits)
        members = {
            "inputs": In(data.StructLayout({k: signed(bits) for k, bits in inputs.items()})),
            "outputs": Out(
                data.StructLayout({field(k): _shape(v) for k, v in outputs.items()})
            ),
        }
        if any(value.op == "random" for value in order):
            members |= {"word": In(32), "core": In(12), "address": In(16)}
        super().__init__(members)

    @property
    def latency(self) -> int:
        """Clocks from the inputs of an item to its outputs."""
        return self._schedule.latency

    def elaborate(self, platform: Any) -> Module:
        """Every value of the graph, arguments first."""
        m = Module()
        clock, target = self._schedule.clock, self.target
        stages: dict[Value, list[Any]] = {}  # a value in its clock and in each later one
        built: dict[tuple[Any, ...], Value] = {}
        same: dict[Value, Value] = {}  # the value that was built for this one

        def at(value: Value, when: int) -> Any:
            if value.lo == value.hi:
                return Const(value.lo, _shape(value))
            kept = stages[same[value]]
            while len(kept) <= when - clock[value]:
                later = Signal.like(kept[-1], name_suffix="_", reset_less=True)
                m.d.sync += later.eq(kept[-1])
                kept.append(later)
            return kept[when - clock[value]]

        for n, value in enumerate(topological(self.graph.values())):
            key = (value.op, tuple(same[a] for a in value.args), value.attribute,
                   value.lo, value.hi, value.boolean)  # fmt: skip
            same[value] = built.setdefault(key, value)
            if same[value] is not value or value.lo == value.hi:
                continue
            result = Signal(_shape(value), name=f"{value.op}{n}")
            stages[value] = [result]
            start = max((clock[a] for a in value.args), default=0)
            args = [at(a, start) for a in value.args]
            if value.op == "input":
                expression = self.inputs[field(str(value.attribute[0]))]
            elif value.op == "mul":
                multiplier = Multiplier(len(args[0]), len(args[1]), target)
                m.submodules[f"multiplier{n}"] = multiplier
                m.d.comb += [multiplier.a.eq(args[0]), multiplier.b.eq(args[1])]
                expression = multiplier.product
            elif value.op == "random":
                expression = self._random(m, value)
            else:
                start = clock[value]
                expression = _expression(value, [at(a, start) for a in value.args])
            m.d.comb += result.eq(expression)
        for name, value in self.graph.items():
            m.d.comb += self.outputs[field(name)].eq(at(value, self.latency))
        return m

    def _random(self, m: Module, value: Value) -> Any:
        """Top bits of the hash `interpret.mix`, a register after each of its additions."""
        bits, draw = (int(a) for a in value.attribute)

        def registered(total: Any) -> Any:
            held = Signal(32, name="hash", reset_less=True)
            m.d.sync += held.eq(total)
            return held

        key = self.word ^ Cat(self.address, self.core, Const(draw, 4))
        key = registered(~key + (key << 15)[:32])
        key ^= key >> 12
        key = registered(key + (key << 2))
        key ^= key >> 4
        key = registered(key + (key << 3) + (key << 11))
        return (key ^ (key >> 16))[32 - bits :]


def _shape(value: Value) -> Any:
    return unsigned(1) if value.boolean else signed(value.bits)


def _expression(value: Value, args: list[Any]) -> Any:
    """The operator on signals; a result is exact, or right in the bits that `value` has."""
    op = value.op
    if op in ("shl", "shr"):
        amount = value.args[1]
        k = amount.lo if amount.lo == amount.hi else args[1][: amount.hi.bit_length()]
        if op == "shl":
            return args[0].shift_left(k) if isinstance(k, int) else args[0] << k
        return _rounded_shift(args[0], k, str(value.attribute[0]), value.args[0], amount)
    if op == "clip":
        return _saturated(args[0], int(value.attribute[0]), int(value.attribute[1]))
    if op == "wrap":
        return args[0][: int(value.attribute[0])].as_signed()
    if op == "table":
        index = value.args[0]
        reached = [int(value.attribute[max(i, index.lo)]) for i in range(index.hi + 1)]
        entries = Array(Const(entry, _shape(value)) for entry in reached)
        return entries[args[0][: max(1, index.hi.bit_length())].as_unsigned()]
    a, b = (args + args)[:2]
    return {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "lt": lambda: a < b,
        "le": lambda: a <= b,
        "eq": lambda: a == b,
        "and": lambda: a & b,
        "or": lambda: a | b,
        "not": lambda: ~a,
        "select": lambda: Mux(a, b, args[2]),
        "min": lambda: Mux(a < b, a, b),
        "max": lambda: Mux(a < b, b, a),
        "abs": lambda: Mux(a[-1], -a, a),
    }[op]()


def _rounded_shift(x: Any, k: Any, rounding: str, argument: Value, amount: Value) -> Any:
    """x / 2^k: what is added before the shift makes it round as named."""
    if rounding == "toward_zero" and argument.lo < 0 < amount.hi:
        x = x + (_ones(k, range(amount.hi)) & x[-1].replicate(amount.hi))
    elif rounding == "nearest_even" and amount.hi > 0:
        odd = _shifted(x, k)[0] & _ones(k, range(1))
        x = x + _ones(k, range(1, amount.hi)) + odd
    return _shifted(x, k)


def _shifted(x: Any, k: Any) -> Any:
    return x.shift_right(min(k, len(x) - 1)) if isinstance(k, int) else x >> k


def _ones(k: Any, bits: range) -> Any:
    """Ones up to bit k of a mask with these bits: over `range(n)` it is 2^k - 1."""
    return Cat(Const(k > i) if isinstance(k, int) else k > i for i in bits)


def _saturated(x: Any, lo: int, hi: int) -> Any:
    """Bits above the format tell whether `x` leaves it: no comparison is needed."""
    bits = hi.bit_length()
    assert (lo, hi) == bounds(bits + (lo < 0), lo < 0), "formats are powers of two"
    if len(x) <= bits + 1:
        return x if lo < 0 else Mux(x[-1], 0, x)
    low, high, negative = x[:bits], x[bits:-1], x[-1]
    over = ~negative & high.any()
    if lo == 0:
        return Mux(negative, 0, low | over.replicate(len(low)))
    under = negative & ~high.all()
    return Cat((low | over.replicate(len(low))) & ~under.replicate(len(low)), negative).as_signed()
