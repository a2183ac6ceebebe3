"""A state machine with a flip-flop per state, for states that a LUT is to see at once."""

from __future__ import annotations

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Mux, Signal, Value


class States:
    """States by name, the first of which holds after a reset; just one holds at a time."""

    def __init__(self, m: Module, *names: str) -> None:
        self._m = m
        self._at = {name: Signal(name=f"at_{name}", init=not n) for n, name in enumerate(names)}

    def __getitem__(self, name: str) -> Signal:
        """Whether this one holds."""
        return self._at[name]

    def begin(self) -> None:
        """In the next clock the state is the first, whatever else was said before."""
        self._m.d.sync += [signal.eq(not n) for n, signal in enumerate(self._at.values())]

    def go(self, here: str, there: str) -> None:
        """In the next clock the state is `there`; `here` holds in this one."""
        self._m.d.sync += [self._at[here].eq(0), self._at[there].eq(1)]


def one_of(choices: Iterable[tuple[Value, Value]]) -> Value:
    """The value whose condition holds, at most one does; 0 if none."""
    chosen = [Mux(condition, value, 0) for condition, value in choices]
    width = max(len(value) for value in chosen)
    return Cat(
        Cat(value[n] for value in chosen if n < len(value)).any() for n in range(width)
    )
