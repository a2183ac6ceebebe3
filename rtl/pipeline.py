"""The fixed-point language as an Amaranth pipeline: one item per clock, each value in its width.

Values are placed in clocks as `compiler.ir.schedule` says. A value that a later clock needs passes
through one register per clock; nothing else is stored, and nothing stalls.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.language import Value, bounds, topological
from ..compiler.ir.schedule import (
    MULTIPLIER_CLOCKS,
    Schedule,
    own_clocks,
    representatives,
    schedule,
)
from .primitives import LINE_REGISTERS, DelayLine, Multiplier, Target


def field(name: str) -> str:
    """Name of the field for an input or output of a graph: `state.v` is `state__v`."""
    return name.replace(".", "__")


def signed_as(pipeline: Pipeline, name: str, raw: Any) -> Any:
    """Stored bits as the number that the input `name` wants."""
    shape = pipeline.inputs.shape()[field(name)].shape
    return raw.as_signed() if shape.signed and len(raw) >= shape.width else raw


class Pipeline(wiring.Component):  # type: ignore[misc]
    """A graph of the fixed-point language; takes an item in every clock.

    Inputs of an item are there in the clocks of `arrivals`, its outputs in those of `departures`,
    in registers, the last `latency` clocks after clock 0. Registers are not reset: the outputs of
    the first `latency` clocks are undefined.

    Parameters
    ----------
    outputs: the graph, by output name. Equal subgraphs are built once.
    target: see `Multiplier`.
    plan: the clocks of its values; those of `schedule`, if None.
    line_registers: those that are worth a block RAM on the iCE40, none if 0.

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

    def __init__(
        self, outputs: Mapping[str, Value], target: Target = "generic",
        plan: Schedule | None = None, *, line_registers: int = LINE_REGISTERS,
    ) -> None:  # fmt: skip
        self.graph, self.target = dict(outputs), target
        self._line_registers = line_registers if target == "ice40" else 0
        self._schedule = plan or schedule(outputs)
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
        """Clocks from the first inputs of an item to its last outputs."""
        return self._schedule.latency

    @property
    def arrivals(self) -> dict[str, int]:
        """Clocks after the first inputs of an item in which each is to be there, by field."""
        return {field(name): clock for name, clock in self._schedule.arrivals().items()}

    @property
    def departures(self) -> dict[str, int]:
        """Clocks after the first inputs of an item in which each output is there, by field."""
        found = self._schedule.departures(self.graph)
        return {field(name): clock for name, clock in found.items()}

    @property
    def drawn(self) -> int:
        """The same for `word`, `core` and `address`."""
        return self._schedule.drawn

    def elaborate(self, platform: Any) -> Module:
        """Every value of the graph, arguments first."""
        m = Module()
        clock, target = self._schedule.clock, self.target
        stages: dict[Value, dict[int, Any]] = {}  # a value in its clock and in later ones
        order = topological(self.graph.values())
        same = representatives(order)  # of equal values one is built
        halves, lines = self._halves(order, same), itertools.count()

        def at(value: Value, when: int) -> Any:
            if value.lo == value.hi:
                return Const(value.lo, _shape(value))
            kept = stages[same[value]]
            last = max(c for c in kept if c <= when)
            if DelayLine.is_worth(len(kept[last]), when - last, self._line_registers):
                line = DelayLine(len(kept[last]), when - last)
                m.submodules[f"line{next(lines)}"] = line
                m.d.comb += line.given.eq(kept[last])
                kept[when] = line.taken if value.boolean else line.taken.as_signed()
            while (last := max(c for c in kept if c <= when)) < when:
                later = Signal.like(kept[last], name_suffix="_", reset_less=True)
                m.d.sync += later.eq(kept[last])
                kept[last + 1] = later
            return kept[when]

        for n, value in enumerate(order):
            if same[value] is not value or value.lo == value.hi:
                continue
            shape = _shape(value)
            if value in halves:
                shape = signed(1 + max(value.bits, value.args[0].bits - value.args[1].lo))
            result = Signal(shape, name=f"{value.op}{n}")
            stages[value] = {clock[value]: result}
            if value.op == "input":
                expression = self.inputs[field(str(value.attribute[0]))]
            elif own_clocks(value) == MULTIPLIER_CLOCKS:
                args = [at(a, clock[value] - MULTIPLIER_CLOCKS) for a in value.args]
                if value.op == "shl":
                    amount = args[1][: value.args[1].hi.bit_length()]
                    args[1] = Cat(*[amount == k for k in range(value.args[1].hi + 1)], 0)
                    args[1] = args[1].as_signed()
                multiplier = Multiplier(len(args[0]), len(args[1]), target)
                m.submodules[f"multiplier{n}"] = multiplier
                m.d.comb += [multiplier.a.eq(args[0]), multiplier.b.eq(args[1])]
                expression = multiplier.product
            elif value.op == "random":
                expression = self._random(m, value)
            elif value in halves:
                expression = _half_rounded(at(value.args[0], clock[value]), value.args[1].lo)
            elif halves & (rounded := {same[a] for a in value.args}):
                (half,) = (at(a, clock[value]) for a in value.args if same[a] in halves)
                (other,) = (at(a, clock[value]) for a in value.args if same[a] not in halves)
                assert len(rounded) == 2
                expression = (half + Cat(half[0], other).as_signed()) >> 1
            else:
                expression = _expression(value, [at(a, clock[value]) for a in value.args])
            m.d.comb += result.eq(expression)
        for name, value in self.graph.items():
            m.d.comb += self.outputs[field(name)].eq(at(value, self.departures[field(name)]))
        return m

    def _halves(self, order: list[Value], same: Mapping[Value, Value]) -> set[Value]:
        """Shifts that round toward zero and are but added to something else: what rounds them goes
        into the carry of that addition. They are kept with it as a bit below."""
        found = {
            value for value in order
            if value.op == "shr" and value.attribute[0] == "toward_zero" and same[value] is value
            and value.args[0].lo < 0 and value.args[1].lo == value.args[1].hi > 0
        } - {same[value] for value in self.graph.values()}  # fmt: skip
        for value in order:
            args = [same[a] for a in value.args]
            if value.op != "add" or len(found & set(args)) > 1 or len(set(args)) == 1:
                found -= set(args)
        return found

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
    if op == "shl":  # by a constant; others are multiplications
        return args[0].shift_left(value.args[1].lo)
    if op == "shr":
        amount = value.args[1]
        k = amount.lo if amount.lo == amount.hi else args[1][: amount.hi.bit_length()]
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


def _half_rounded(x: Any, k: int) -> Any:
    """x / 2^k rounded down, and below it whether that is one less than rounded toward zero."""
    return Cat(x[-1] & x[:k].any(), x >> k).as_signed()


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
