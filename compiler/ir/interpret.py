"""The exact interpreter of the fixed-point language: Python integers, no width, no wrap.

This is the specification. Every other lowering is held to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .language import Value, round_shift, topological

MASK32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Draws:
    """What random numbers are a function of: the tick's word, the core, the address in it."""

    word: int = 0
    core: int = 0
    address: int = 0


def first_word(seed: int) -> int:
    """The random word of tick 0, never zero (xorshift would stay there)."""
    return mix((seed ^ 0x5EED5EED) & MASK32) or 1


def next_word(word: int) -> int:
    """The random word of the next tick: xorshift32 (Marsaglia 2003, triple 13, 17, 5)."""
    word ^= (word << 13) & MASK32
    word ^= word >> 17
    return word ^ ((word << 5) & MASK32)


def mix(key: int) -> int:
    """Wang's 32-bit integer hash (2007): shifts, adds and xors only, so cheap in gateware."""
    key = (~key + (key << 15)) & MASK32
    key ^= key >> 12
    key = (key + (key << 2)) & MASK32
    key ^= key >> 4
    key = (key + (key << 3) + (key << 11)) & MASK32
    return key ^ (key >> 16)


def draw_bits(draws: Draws, bits: int, draw: int) -> int:
    """`bits` random bits: the top bits of the hash of word, core, address and draw index."""
    key = draws.word ^ ((draw << 28 | draws.core << 16) & MASK32) ^ (draws.address & MASK32)
    return mix(key) >> (32 - bits)


def wrap_to(x: int, bits: int) -> int:
    """x modulo 2^bits as a two's complement number."""
    return ((x + (1 << (bits - 1))) & ((1 << bits) - 1)) - (1 << (bits - 1))


_OPERATORS: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "shl": lambda a, k: a << k,
    "lt": lambda a, b: int(a < b),
    "le": lambda a, b: int(a <= b),
    "eq": lambda a, b: int(a == b),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "not": lambda a: 1 - a,
    "select": lambda c, a, b: a if c else b,
    "min": min,
    "max": max,
    "abs": abs,
}


def evaluate(
    outputs: Mapping[str, Value], inputs: Mapping[str, int], draws: Draws | None = None
) -> dict[str, int]:
    """The outputs of a graph for given inputs.

    Raises ValueError if an input lies outside its interval; AssertionError if an intermediate
    does, which would be a fault of the interval analysis.
    """
    draws = draws or Draws()
    known: dict[Value, int] = {}
    for value in topological(outputs.values()):
        known[value] = x = _apply(value, [known[a] for a in value.args], inputs, draws)
        assert value.lo <= x <= value.hi, f"{value.op} gives {x} outside [{value.lo}, {value.hi}]"
    return {name: known[value] for name, value in outputs.items()}


def _apply(value: Value, args: list[int], inputs: Mapping[str, int], draws: Draws) -> int:
    op, attribute = value.op, value.attribute
    if op == "input":
        x = int(inputs[str(attribute[0])])
        if not value.lo <= x <= value.hi:
            raise ValueError(f"input {attribute[0]} = {x} outside [{value.lo}, {value.hi}]")
        return x
    if op == "const":
        return int(attribute[0])
    if op == "shr":
        return round_shift(args[0], args[1], str(attribute[0]))
    if op == "clip":
        return min(max(args[0], int(attribute[0])), int(attribute[1]))
    if op == "wrap":
        return wrap_to(args[0], int(attribute[0]))
    if op == "table":
        return int(attribute[args[0]])
    if op == "random":
        return draw_bits(draws, int(attribute[0]), int(attribute[1]))
    return _OPERATORS[op](*args)


_ON_ARRAYS: dict[str, Callable[..., Any]] = {
    **_OPERATORS,
    "not": lambda a: 1 - a,
    "lt": lambda a, b: (a < b) * 1,
    "le": lambda a, b: (a <= b) * 1,
    "eq": lambda a, b: (a == b) * 1,
    "select": lambda c, a, b: np.where(c, a, b),
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
}


def evaluate_many(
    outputs: Mapping[str, Value], inputs: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.int64]]:
    """`evaluate` for arrays of inputs, all of one shape or of one value; without random values."""
    known: dict[Value, NDArray[np.int64]] = {}
    for value in topological(outputs.values()):
        args = [known[a] for a in value.args]
        op, attribute = value.op, value.attribute
        if op == "input":
            x = np.asarray(inputs[str(attribute[0])], np.int64)
        elif op == "const":
            x = np.array(int(attribute[0]), np.int64)
        elif op == "shr":
            x = _shifted(args[0], args[1], str(attribute[0]))
        elif op == "clip":
            x = np.clip(args[0], int(attribute[0]), int(attribute[1]))
        elif op == "wrap":
            half = 1 << (int(attribute[0]) - 1)
            x = ((args[0] + half) & (2 * half - 1)) - half
        elif op == "table":
            x = np.array(attribute, np.int64)[args[0]]
        elif op == "random":
            raise ValueError("random values have no arrays")
        else:
            x = np.asarray(_ON_ARRAYS[op](*args), np.int64)
        known[value] = x
    return {name: known[value] for name, value in outputs.items()}


def _shifted(
    x: NDArray[np.int64], k: NDArray[np.int64], rounding: str
) -> NDArray[np.int64]:
    if rounding == "toward_zero":
        return np.where(x >= 0, x >> k, -(-x >> k))
    if rounding == "nearest_even":
        half = np.where(k > 0, np.int64(1) << np.maximum(k - 1, 0), 1)
        return np.where(k > 0, (x + half - 1 + ((x >> k) & 1)) >> k, x)
    return x >> k
