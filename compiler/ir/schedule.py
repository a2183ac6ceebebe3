"""Pipeline schedule of an expression graph: which clock of the pipeline computes which value.

One neuron (or synapse word) enters per clock. Operators are chained within a clock as long as their
delays add up to at most the budget. A multiplication takes clocks of its own, as the registered
multipliers of FPGAs do; so does a random number, whose hash has an addition per clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from .language import Value, topological

# Delay of an operator, in units of one carry bit, for arguments of w bits. An adder of 20 bits with
# its routing passes at about 87 MHz on an iCE40 UP5K; a budget of 48 is some 20 ns there.
CLOCK_BUDGET = 48
MULTIPLIER_CLOCKS = 2
RANDOM_CLOCKS = 3
_FREE = ("const", "not", "wrap", "mul")
_LOGIC_DELAY = 8
_MEMORY_DELAY = 8  # of an input, which comes from a block RAM


@dataclass(frozen=True)
class Schedule:
    """`clock` of each value (its result is stable at the end of that clock) and the latency.

    An input arrives in its clock. `latency` is the number of clocks from the first inputs to
    registered outputs.
    """

    clock: Mapping[Value, int]
    latency: int

    def arrivals(self) -> dict[str, int]:
        """The clock in which each input is to be there, by name."""
        return {str(v.attribute[0]): c for v, c in self.clock.items() if v.op == "input"}

    def departures(self, outputs: Mapping[str, Value]) -> dict[str, int]:
        """The clock in which each output is there, in a register."""
        return {
            name: self.latency if value.lo == value.hi else self.clock[value] + 1
            for name, value in outputs.items()
        }

    @property
    def drawn(self) -> int:
        """The clock in which what random numbers are made of is to be there."""
        draws = [c for v, c in self.clock.items() if v.op == "random"]
        return min(draws, default=RANDOM_CLOCKS) - RANDOM_CLOCKS


def own_clocks(value: Value) -> int:
    """Clocks that an operator takes by itself; 0 where it chains with others.

    A shift to the left by what is no constant is a multiplication by a power of two: the blocks
    that multiply are there, and a shifter in logic would be as large as the rest of a model.
    """
    if value.op == "mul" or (value.op == "shl" and value.args[1].lo != value.args[1].hi):
        return MULTIPLIER_CLOCKS
    return RANDOM_CLOCKS if value.op == "random" else 0


def delay(value: Value) -> int:
    """Delay of one operator within its clock (its last, if it takes several), in carry bits."""
    if value.op in _FREE:
        return 0
    if value.op == "input":
        return _MEMORY_DELAY
    width = max([value.bits] + [a.bits for a in value.args])
    if value.op in ("add", "sub", "lt", "le"):
        return _LOGIC_DELAY + width
    if value.op == "clip" and value.args[0].lo >= 0:  # bits above tell
        return 2 * _LOGIC_DELAY
    if value.op in ("min", "max", "abs", "clip"):
        return 2 * _LOGIC_DELAY + width
    if value.op == "shl":
        return 0
    if value.op == "shr":
        stages = value.args[1].hi.bit_length() if value.args[1].op != "const" else 0
        down = value.attribute[0] == "toward_zero" and value.args[0].lo >= 0
        rounds = value.attribute[0] != "floor" and not down
        return _LOGIC_DELAY * stages + (_LOGIC_DELAY + width if rounds else 0)
    if value.op == "table":
        return _LOGIC_DELAY * max(1, value.args[0].hi.bit_length() // 2)
    if value.op == "eq":  # a lookup table takes four bits
        if any(a.op == "const" and (b.lo, b.hi) == (0, 1) for a, b in permutations(value.args)):
            return 0  # of an event, which is its only bit
        return _LOGIC_DELAY * (1 + (width > 4) + (width > 16))
    return _LOGIC_DELAY


def schedule(
    outputs: Mapping[str, Value], budget: int = CLOCK_BUDGET, early: bool = False
) -> Schedule:
    """Chains within `budget` carry bits per clock, in as few clocks as possible.

    Every value is computed, and every input taken, as late as that allows: what arrives late need
    not be kept in registers until then. Equal values share a clock; so do inputs of one name, and
    all random numbers. early: values as early as can be, for inputs that are kept in registers
    anyhow until they are taken.
    """
    order = topological(outputs.values())
    same = representatives(order)
    kept = [value for value in order if same[value] is value]
    soonest = _earliest(order, budget)
    latency = max((soonest[v] for v in outputs.values()), default=0)
    if early:
        return Schedule(_taken_late(order, same, soonest), latency + 1)
    clock: dict[Value, int] = {}
    used: dict[Value, int] = {}  # what the chain from a value's start to the clock's end takes
    users: dict[Value, list[Value]] = {}
    for value in kept:
        for argument in value.args:
            users.setdefault(same[argument], []).append(value)
    wanted = {same[value] for value in outputs.values()}
    for value in reversed(kept):
        starts = [(clock[u] - own_clocks(u), used[u]) for u in users.get(value, ())]
        starts += [(latency, 0)] if value in wanted else []
        end = min(start for start, _ in starts)
        after = max(chain for start, chain in starts if start == end)
        cost = delay(value)
        if after and cost and after + cost > budget:
            end, after = end - 1, 0
        clock[value], used[value] = end, 0 if own_clocks(value) else after + cost
    assert min(clock.values(), default=0) >= 0, "as many clocks as it takes from the inputs on"
    for group in _together(kept):
        first = min(clock[value] for value in group)
        clock.update(dict.fromkeys(group, first))
    return Schedule({value: clock[same[value]] for value in order}, latency + 1)


def representatives(order: Iterable[Value]) -> dict[Value, Value]:
    """For each value, arguments before it, the first one that is equal to it."""
    first: dict[tuple[Any, ...], Value] = {}
    same: dict[Value, Value] = {}
    for value in order:
        args = tuple(same[a] for a in value.args)
        key = (value.op, args, value.attribute, value.lo, value.hi, value.boolean)
        same[value] = first.setdefault(key, value)
    return same


def _together(values: Sequence[Value]) -> list[list[Value]]:
    """Values that must share a clock: inputs of one name, and the random numbers."""
    groups: dict[str, list[Value]] = {}
    for value in values:
        if value.op in ("input", "random"):
            name = f"input {value.attribute[0]}" if value.op == "input" else "random"
            groups.setdefault(name, []).append(value)
    return list(groups.values())


def synapse_schedule(outputs: Mapping[str, Value]) -> Schedule:
    """Values as early as can be, in an even number of clocks: words of synapses are read in every
    other clock and written in the others, and what left a pipeline is to be written in the next."""
    for budget in range(CLOCK_BUDGET, CLOCK_BUDGET // 2, -1):
        plan = schedule(outputs, budget, early=True)
        if plan.latency % 2 == 0:
            return plan
    plan = schedule(outputs, early=True)
    return Schedule(plan.clock, plan.latency + 1)


def _taken_late(
    order: Sequence[Value], same: Mapping[Value, Value], clock: Mapping[Value, int]
) -> dict[Value, int]:
    """These clocks, but inputs in the first in which they are used."""
    found = {value: clock[same[value]] for value in order}
    first: dict[str, int] = {}
    for value in order:
        start = found[value] - own_clocks(value)
        for a in value.args:
            if a.op == "input":
                name = str(a.attribute[0])
                first[name] = min(first.get(name, start), start)
    for value in order:
        if value.op == "input":
            found[value] = first.get(str(value.attribute[0]), found[value])
    return found


def _earliest(order: Sequence[Value], budget: int) -> dict[Value, int]:
    """The clock of each value if everything is computed at once."""
    clock: dict[Value, int] = {}
    used: dict[Value, int] = {}
    for value in order:
        start = max((clock[a] for a in value.args), default=0)
        before = max((used[a] for a in value.args if clock[a] == start), default=0)
        cost = delay(value)
        if own := own_clocks(value):
            clock[value], used[value] = start + own, cost
            continue
        if before and before + cost > budget:
            start, before = start + 1, 0
        clock[value], used[value] = start, before + cost
    return clock
