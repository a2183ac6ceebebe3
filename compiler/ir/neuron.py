"""Neuron models: what declares one, and the datapath that tracing it for a chip gives.

A model is a function `(state, parameters, current) -> Update` under `@neuron_model`. Keyword-only
arguments are options, fixed when the model is traced: each choice of options is a variant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, get_args

from .declared import Declared, Options, check_next, identity, strange_input
from .errors import SpikefabError
from .language import (
    Value,
    bounds,
    from_lists,
    lift,
    names_read,
    signed_bits,
    to_lists,
    variable,
)

Unit = Literal[
    "potential", "fraction", "count", "gain", "shift", "weight", "number", "curvature"
]  # fmt: skip
FRACTION_BITS = 12  # a fraction k stands for k / 2^12, so 1.0 is 4096
CURVATURE_BITS = 10  # a curvature k stands for k / 2^10 over the whole range of a potential
MAX_GAIN = 7  # a current enters the potential times 2^gain, gain in 0..MAX_GAIN


@dataclass(frozen=True)
class Format:
    """The range of a state variable or parameter, and what it counts.

    `bits` None stands for the chip's state width, less the sign's bit if it is unsigned. Units:
    `potential` counts LSB of the population's potential, `fraction` 1/4096, `count` updates, `gain`
    and `shift` powers of two, `weight` LSB of a projection's weights, `number` is as it is given;
    `curvature`, what a potential changes by the square of a potential, 1/1024 of what it would be
    per range of a potential. `fraction` bits of a `potential`, `weight` or `number` lie below that.
    """

    bits: int | None = None
    signed: bool = True
    limits: tuple[int, int] | None = None
    unit: Unit = "potential"
    fraction: int = 0

    def interval(self, state_bits: int) -> tuple[int, int]:
        """Least and greatest value on a chip with `state_bits` wide state."""
        bits = self.bits or state_bits + self.fraction - (not self.signed)
        return self.limits or bounds(bits, self.signed)

    def per_unit(self, lsb: float, state_bits: int) -> float:
        """Integers per unit of the network, on a chip with `state_bits`; lsb: of the potential."""
        return {
            "potential": 2.0**self.fraction / lsb,
            "fraction": 2.0**FRACTION_BITS,
            "number": 2.0**self.fraction,
            "curvature": lsb * 2.0 ** (state_bits + CURVATURE_BITS),
        }.get(self.unit, 1.0)


POTENTIAL = Format()
LENGTH = Format(signed=False)
FRACTION = Format(limits=(0, 1 << FRACTION_BITS), unit="fraction")
COUNT = Format(bits=8, signed=False, unit="count")
GAIN = Format(limits=(0, MAX_GAIN), unit="gain")
SHIFT = Format(limits=(0, FRACTION_BITS), unit="shift")
CURVATURE = Format(bits=15, signed=False, unit="curvature")


class Update:
    """What a model returns: `spike` (a boolean or a count), `value` (read out), next state."""

    def __init__(
        self, *, spike: Value | None = None, value: Value | None = None, **state: Value | int
    ) -> None:
        self.spike, self.value = spike, value
        self.state = {name: lift(v) for name, v in state.items()}


@dataclass(frozen=True)
class Datapath:
    """A model traced for a chip: one graph from (state, parameters, current) to the update.

    `outputs` holds `next.NAME` per state variable and `spike` or `value`; inputs are named
    `state.NAME`, `parameter.NAME` and `current`. Intervals are those of the named inputs.
    """

    name: str
    options: Options
    state: dict[str, tuple[int, int]]
    parameters: dict[str, tuple[int, int]]
    units: dict[str, Unit]
    current: tuple[int, int]
    outputs: dict[str, Value] = field(compare=False)

    @property
    def spikes(self) -> bool:
        """Whether the model spikes; one that does not is read out by value."""
        return "spike" in self.outputs

    @property
    def largest_payload(self) -> int:
        """The greatest count one spike can carry (0 for a model that does not spike)."""
        return self.outputs["spike"].hi if self.spikes else 0

    @cached_property
    def identity(self) -> str:
        """Name and what options are not at their default (see `declared.identity`)."""
        return identity(self.name, self.options)

    def to_json(self) -> dict[str, object]:
        """JSON-ready form, for program files."""
        return {
            "name": self.name,
            "options": [list(o) for o in self.options],
            "state": {k: list(v) for k, v in self.state.items()},
            "parameters": {k: list(v) for k, v in self.parameters.items()},
            "units": self.units,
            "current": list(self.current),
            "graph": to_lists(self.outputs),
        }

    @classmethod
    def from_json(cls, stored: Any, where: str) -> Datapath:
        """The datapath that `to_json` wrote; raises SpikefabError for anything else."""
        try:
            outputs = from_lists(stored["graph"], where)
            model = cls(
                str(stored["name"]),
                tuple((str(k), str(v)) for k, v in stored["options"]),
                {str(k): pair(v) for k, v in stored["state"].items()},
                {str(k): pair(v) for k, v in stored["parameters"].items()},
                {str(k): v for k, v in stored["units"].items()},
                pair(stored["current"]),
                outputs,
            )
        except (TypeError, ValueError, KeyError, AttributeError) as fault:
            raise SpikefabError("damaged model", where, f"{fault!r}") from None
        model.check(where)
        return model

    def check(self, where: str) -> None:
        """Raise SpikefabError unless graph and declared intervals fit each other."""
        expected = {"current": self.current}
        expected |= {f"state.{k}": v for k, v in self.state.items()}
        expected |= {f"parameter.{k}": v for k, v in self.parameters.items()}
        names = {f"next.{k}" for k in self.state}
        kind = set(self.outputs) - names
        if not names <= set(self.outputs) or kind not in ({"spike"}, {"value"}):
            raise SpikefabError(
                f"model '{self.name}' with outputs {sorted(self.outputs)}",
                where,
                "every state variable has a next value, and the model either spikes or has a value",
            )
        if set(self.units) != set(self.parameters):
            raise SpikefabError(f"model '{self.name}': units and parameters differ", where)
        if unknown := [u for u in self.units.values() if u not in get_args(Unit)]:
            raise SpikefabError(f"unit {unknown[0]!r} of model '{self.name}'", where)
        stored = [*self.state.items(), *self.parameters.items()]
        stored += [(k, (v.lo, v.hi)) for k, v in self.outputs.items() if k == "value"]
        for name, (lo, hi) in stored:
            if signed_bits(lo, hi) > 32:
                raise SpikefabError(
                    f"'{name}' of model '{self.name}'",
                    where,
                    f"it spans [{lo}, {hi}], {signed_bits(lo, hi)} bits",
                    "state, parameters and values have at most 32",
                )
        if (strange := strange_input(self.outputs.values(), expected)) is not None:
            raise SpikefabError(f"model '{self.name}' reads undeclared '{strange}'", where)
        for name, interval in self.state.items():
            what = f"state '{name}' of model '{self.name}'"
            check_next(what, self.outputs[f"next.{name}"], interval, where)
        if self.spikes and self.outputs["spike"].lo < 0:
            raise SpikefabError(f"model '{self.name}' spikes a negative count", where)


def pair(stored: Any) -> tuple[int, int]:
    """An interval as files hold it; raises ValueError or TypeError for anything else."""
    lo, hi = stored
    if type(lo) is not int or type(hi) is not int or not -(1 << 62) < lo <= hi < 1 << 62:
        raise ValueError(f"interval {stored!r}")
    return lo, hi


@dataclass(frozen=True)
class NeuronModel(Declared):
    """A neuron model before its options are chosen."""

    kind: ClassVar[str] = "neuron model"

    state: Mapping[str, Format]
    parameters: Mapping[str, Format]

    def datapath(
        self, state_bits: int, accumulator_bits: int, options: Mapping[str, str] | None = None
    ) -> Datapath:
        """Trace the model for a chip's widths; what a variant does not use is left out.

        Raises SpikefabError for an unknown option or a state that may leave its format.
        """
        chosen = self.chosen(options)
        state = {k: f.interval(state_bits) for k, f in self.state.items()}
        parameters = {k: f.interval(state_bits) for k, f in self.parameters.items()}
        current = variable("current", *bounds(accumulator_bits, True))
        update = self.traced(
            chosen,
            SimpleNamespace(**{k: variable(f"state.{k}", *r) for k, r in state.items()}),
            SimpleNamespace(**{k: variable(f"parameter.{k}", *r) for k, r in parameters.items()}),
            current,
        )
        outputs = {f"next.{k}": v for k, v in update.state.items()}
        if update.spike is not None:
            outputs["spike"] = update.spike
        if update.value is not None:
            outputs["value"] = update.value
        read = names_read(outputs)
        used = {k for k in parameters if f"parameter.{k}" in read}
        model = Datapath(
            self.name,
            self.varied(chosen),
            {k: r for k, r in state.items() if k in update.state or f"state.{k}" in read},
            {k: r for k, r in parameters.items() if k in used},
            {k: f.unit for k, f in self.parameters.items() if k in used},
            (current.lo, current.hi),
            outputs,
        )
        model.check(self.where)
        return model


def neuron_model(
    *, state: Mapping[str, Format], parameters: Mapping[str, Format], name: str = ""
) -> Callable[[Callable[..., Update]], NeuronModel]:
    """Declare a neuron model by its state variables and parameters."""

    def declare(function: Callable[..., Update]) -> NeuronModel:
        return NeuronModel(name or function.__name__.strip("_"), function, state, parameters)

    return declare
