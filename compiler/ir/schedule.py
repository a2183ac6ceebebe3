"""Pipeline schedule of an expression graph: which clock of the pipeline computes which value.

One neuron (or synapse word) enters per clock. Operators are chained within a clock as long as their
delays add up to at most the budget. A multiplication takes clocks of its own, as the registered
multipliers of FPGAs do; so does a random number, whose hash has an addition per clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .language import Value, topological

# Delay of an operator, in units of one carry bit, for arguments of w bits. An adder of 20 bits with
# its routing passes at about 87 MHz on an iCE40 UP5K; a budget of 48 is some 20 ns there.
CLOCK_BUDGET = 48
MULTIPLIER_CLOCKS = 2
RANDOM_CLOCKS = 3
_OWN_CLOCKS = {"mul": MULTIPLIER_CLOCKS, "random": RANDOM_CLOCKS}
_FREE = ("const", "input", "not", "wrap", "mul")
_LOGIC_DELAY = 6


@dataclass(frozen=True)
class Schedule:
    """`clock` of each value (its result is stable at the end of that clock) and the latency.

    `latency` is the number of clocks from the inputs to registered outputs.
    """

    clock: Mapping[Value, int]
    latency: int


def delay(value: Value) -> int:
    """Delay of one operator within its clock (its last, if it takes several), in carry bits."""
    if value.op in _FREE:
        return 0
    width = max([value.bits] + [a.bits for a in value.args])
    if value.op in ("add", "sub", "lt", "le"):
        return _LOGIC_DELAY + width
    if value.op in ("min", "max", "abs", "clip"):
        return 2 * _LOGIC_DELAY + width
    if value.op in ("shl", "shr"):
        stages = value.args[1].hi.bit_length() if value.args[1].op != "const" else 0
        rounds = value.op == "shr" and value.attribute[0] != "floor"
        return _LOGIC_DELAY * stages + (_LOGIC_DELAY + width if rounds else 0)
    if value.op == "table":
        return _LOGIC_DELAY * max(1, value.args[0].hi.bit_length() // 2)
    return _LOGIC_DELAY + (width // 4 if value.op == "eq" else 0)


def schedule(outputs: Mapping[str, Value], budget: int = CLOCK_BUDGET) -> Schedule:
    """As soon as possible, chaining within `budget` carry bits per clock."""
    clock: dict[Value, int] = {}
    used: dict[Value, int] = {}
    for value in topological(outputs.values()):
        start = max((clock[a] for a in value.args), default=0)
        before = max((used[a] for a in value.args if clock[a] == start), default=0)
        cost = delay(value)
        if value.op in _OWN_CLOCKS:
            clock[value], used[value] = start + _OWN_CLOCKS[value.op], cost
            continue
        if before and before + cost > budget:
            start, before = start + 1, 0
        clock[value], used[value] = start, before + cost
    return Schedule(clock, max((clock[v] for v in outputs.values()), default=0) + 1)
