"""How the synapses of a projection learn, in the network's own units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ir.errors import SpikefabError
from .ir.rule import LIMITS, LearningRule
from .ir.rules import RULES

ANY_BITS = 8  # a rule's parameters are the same for all widths of weights


class Plasticity:
    """A learning rule with its parameters, for `Network.connect`.

    rule: of the library by name, or one's own; w_min, w_max: limits of the weights in the network's
    units, those of the chip's weights where left out; held: values of the rule that the host may
    write, one or one per target neuron; learning: whether it is on from the start; name: of the
    projection for `read` and `write`, by default ``source->target``. Parameters are numbers in the
    network's units. Raises SpikefabError for an unknown rule, option or parameter, and for one that
    is missing.
    """

    def __init__(
        self,
        rule: str | LearningRule,
        *,
        w_min: float | None = None,
        w_max: float | None = None,
        options: Mapping[str, str] | None = None,
        held: Mapping[str, Any] | None = None,
        learning: bool = True,
        name: str = "",
        **parameters: float,
    ) -> None:
        if isinstance(rule, str):
            if rule not in RULES:
                raise SpikefabError(
                    f"learning rule '{rule}'", "the network", hint=f"use {', '.join(RULES)}"
                )
            rule = RULES[rule]
        if not isinstance(rule, LearningRule):
            raise SpikefabError(
                f"{rule!r} as a learning rule", "the network",
                hint="give a name of the library, or a function under @learning_rule",
            )  # fmt: skip
        where = f"learning rule '{rule.name}'"
        self.rule, self.learning, self.name = rule, learning, name
        self.options = {k: str(v) for k, v in (options or {}).items()}
        path = rule.path(ANY_BITS, self.options)
        expected = set(path.parameters) - set(LIMITS)
        self.parameters = {k: _number(v, f"'{k}' of {where}") for k, v in parameters.items()}
        if unknown := sorted(set(parameters) - expected):
            raise SpikefabError(
                f"parameter '{unknown[0]}'", where,
                f"{path.identity} has {', '.join(sorted(expected)) or 'none'}",
            )  # fmt: skip
        if missing := sorted(expected - set(parameters)):
            raise SpikefabError(f"no parameter '{missing[0]}'", where, f"{path.identity} needs it")
        for name_, unit in path.units.items():
            if unit[0] == "fraction" and not 0 <= self.parameters[name_] <= 1:
                raise SpikefabError(
                    f"'{name_}' = {self.parameters[name_]:g}", where, "a fraction lies in 0..1"
                )
        self.limits = {
            limit: None if value is None else _number(value, f"'{limit}' of {where}")
            for limit, value in zip(LIMITS, (w_min, w_max), strict=True)
        }
        if path.fixed_limits and (named := [k for k, v in self.limits.items() if v is not None]):
            raise SpikefabError(
                f"'{named[0]}'", f"learning rule '{path.identity}'",
                "its weights are kept between limits of the chip",
                f"leave it out, or the option limits={self.options['limits']}",
            )  # fmt: skip
        least, most = self.limits.values()
        if least is not None and most is not None and least > most:
            raise SpikefabError(f"w_min {least:g} above w_max {most:g}", where)
        self.held: dict[str, NDArray[np.float64]] = {}
        for k, v in (held or {}).items():
            if k not in path.held:
                raise SpikefabError(
                    f"held value '{k}'", where, f"it has {', '.join(path.held) or 'none'}"
                )
            self.held[k] = np.atleast_1d(np.asarray(v, np.float64))


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SpikefabError(f"{value!r}", what, "it is a number") from None
    if not np.isfinite(number):
        raise SpikefabError(f"{number}", what, "it is finite")
    return number
