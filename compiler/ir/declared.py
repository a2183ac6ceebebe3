"""What neuron models and learning rules share: functions that are traced for a chip."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from .errors import SpikefabError
from .language import Value, numbered_draws, topological

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Declared:
    """A function and its options: keyword-only arguments, fixed when it is traced."""

    kind: ClassVar[str]

    name: str
    function: Callable[..., Any]

    @property
    def where(self) -> str:
        """How errors name it."""
        return f"{self.kind} '{self.name}'"

    @cached_property
    def options(self) -> dict[str, str]:
        """Option names with their defaults."""
        signature = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}

    def chosen(self, options: Mapping[str, str] | None) -> dict[str, str]:
        """All options with what is chosen; raises SpikefabError for one that is not there."""
        chosen = {**self.options, **{k: str(v) for k, v in (options or {}).items()}}
        if unknown := set(chosen) - set(self.options):
            raise SpikefabError(
                f"option '{sorted(unknown)[0]}'", self.where,
                hint=f"it has {', '.join(self.options) or 'none'}",
            )  # fmt: skip
        return chosen

    def varied(self, chosen: Mapping[str, str]) -> Options:
        """What is chosen and not the default."""
        return tuple(sorted((k, v) for k, v in chosen.items() if v != self.options[k]))

    def traced(self, chosen: Mapping[str, str], *arguments: Any) -> Any:
        """What the function makes of symbolic arguments; raises SpikefabError for a choice that an
        option does not have."""
        try:
            with numbered_draws():
                return self.function(*arguments, **chosen)
        except _NoChoice as fault:
            raise SpikefabError(fault.what, self.where, hint=fault.hint) from None


class _NoChoice(SpikefabError):
    """An option has no such value."""


def choice(value: str, *allowed: str) -> str:
    """`value` if it is one of `allowed`; raises SpikefabError naming them."""
    if value not in allowed:
        raise _NoChoice(f"option value '{value}'", hint=" or ".join(allowed))
    return value


def identity(name: str, options: Options) -> str:
    """Name and what options are not at their default, as chips and reports give it: ``lif``,
    ``lif(reset=subtract)``."""
    listed = ", ".join(f"{k}={v}" for k, v in options)
    return f"{name}({listed})" if listed else name


def strange_input(values: Iterable[Value], allowed: Mapping[str, tuple[int, int]]) -> str | None:
    """The first input of a graph that is not among those allowed, with their intervals."""
    for value in topological(values):
        name = str(value.attribute[0]) if value.op == "input" else None
        if name is not None and allowed.get(name) != (value.lo, value.hi):
            return name
    return None


def check_next(what: str, following: Value, interval: tuple[int, int], where: str) -> None:
    """Raise SpikefabError for a next value that may leave its format."""
    lo, hi = interval
    if following.lo < lo or following.hi > hi or following.boolean:
        raise SpikefabError(
            what, where,
            f"its next value spans [{following.lo}, {following.hi}], its format [{lo}, {hi}]",
            "saturate it",
        )  # fmt: skip
