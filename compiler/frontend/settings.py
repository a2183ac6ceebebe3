"""What a NIR file leaves open, and who settles it: an argument, or the profile of an exporter.

A file holds no time step, no discretisation, no kind of reset, and no word on whether a potential
equal to the threshold fires. Nothing of this is guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir.errors import SpikefabError
from .nir_graph import LEAKY, RESETTING, SPIKING, FlatGraph
from .profiles import PROFILES, Profile
from .profiles.profile import likely

CHOICES = {
    "reset": ("zero", "subtract"),
    "discretisation": ("euler", "exponential"),
    "fires": (">", ">="),
}
MAX_COUNT_BITS = 8
_NAMED = {"reset": "zero|subtract", "discretisation": "euler|exponential", "dt": "SECONDS",
          "floor": "none|threshold|VALUE", "norm_input": "yes|no",
          "complete": "yes|no"}  # fmt: skip
_UNTOLD = Profile("none")


@dataclass(frozen=True)
class Settings:
    """How the file is read. `reset` and `discretisation` are None where no node needs them.

    floor: `none`, `threshold` (v never ends a step below -threshold) or the least v itself;
    norm_input: whether inputs are scaled by what a leak loses, None where it is as NIR says;
    count_bits: a neuron fires up to 2^count_bits - 1 times in a step; complete: whether neurons had
    nothing that the exporter leaves out, None where that is no question; the rest is in `profile`.
    """

    dt: float
    reset: str | None
    discretisation: str | None
    fires: str
    profile: Profile = _UNTOLD
    floor: str | float = "none"
    norm_input: bool | None = None
    count_bits: int = 1
    complete: bool | None = None
    assumptions: list[str] = field(default_factory=list, compare=False)

    @property
    def unit_gains(self) -> frozenset[str]:
        """Gains that are 1 whatever the file says (see `Profile`)."""
        return self.profile.unit_gains | ({"leaky"} if self.norm_input is False else set())

    @property
    def tau_scale(self) -> float:
        """Seconds per unit of the file's time constants."""
        return 1.0 / self.dt if self.profile.tau_over_dt else 1.0

    def as_text(self) -> dict[str, str]:
        """For reports."""
        said = {
            "profile": self.profile.name,
            "dt": repr(self.dt),
            "reset": self.reset or "not needed",
            "discretisation": self.discretisation or "not needed",
            "fires": self.fires,
        }
        if self.floor != "none" or "floor" in self.profile.asked:
            said["floor"] = str(self.floor)
        for name, answer in (("norm_input", self.norm_input), ("complete", self.complete)):
            if answer is not None:
                said[name] = "yes" if answer else "no"
        if self.count_bits > 1:
            said["count_bits"] = str(self.count_bits)
        return said


def settle(
    flat: FlatGraph,
    *,
    dt: float | None = None,
    reset: str | None = None,
    discretisation: str | None = None,
    fires: str | None = None,
    floor: str | float | None = None,
    norm_input: bool | None = None,
    count_bits: int | None = None,
    complete: bool | None = None,
    profile: str | None = None,
) -> Settings:
    """Settings from arguments and profile.

    Raises SpikefabError naming all that is missing, or what contradicts the profile or the file.
    """
    chosen: dict[str, Any] = {
        "dt": dt, "reset": reset, "discretisation": discretisation, "fires": fires,
        "floor": _floor(floor), "norm_input": norm_input, "count_bits": count_bits,
        "complete": complete,
    }  # fmt: skip
    _check_arguments(chosen, profile)
    told = PROFILES[profile] if profile is not None else _UNTOLD
    asked = dict(chosen)
    for name, value in told.fixed.items():
        _refuse_contradiction(flat, told, name, chosen[name], value)
        chosen[name] = value
    if fault := told.misfit(flat):
        raise fault
    if (own := told.own_dt(flat)) is not None:
        _refuse_contradiction(flat, told, "dt", dt, own)
        chosen["dt"] = own
    for name, value in told.defaults.items():
        chosen[name] = value if chosen[name] is None else chosen[name]
    for name, owner in (("norm_input", "sinabs"), ("complete", "rockpool")):
        if chosen[name] is not None and name not in told.asked:
            raise SpikefabError(name, flat.where, f"only the profile {owner} has it")
    needed = [*open_points(flat), *_needed_by(told, flat)]
    _refuse_missing([n for n in needed if chosen[n] is None], flat, told)
    settings = Settings(
        dt=float(chosen["dt"]),
        reset=chosen["reset"] if "reset" in needed else None,
        discretisation=chosen["discretisation"] if "discretisation" in needed else None,
        fires=chosen["fires"] or ">",
        profile=told,
        floor=chosen["floor"] if chosen["floor"] is not None else "none",
        norm_input=norm_input if "norm_input" in needed else None,
        count_bits=chosen["count_bits"] or 1,
        complete=complete if "complete" in needed else None,
    )
    settings.assumptions.extend(_assumptions(settings, flat, asked))
    return settings


def open_points(flat: FlatGraph) -> list[str]:
    """Of dt, reset and discretisation, what this network needs to know."""
    points = ["dt"]
    if flat.of_type(*RESETTING):
        points.append("reset")
    if flat.of_type(*LEAKY):
        points.append("discretisation")
    return points


def _needed_by(profile: Profile, flat: FlatGraph) -> list[str]:
    """What this network needs to know besides under a profile."""
    points = []
    if "floor" in profile.asked and flat.of_type(*RESETTING):
        points.append("floor")
    if "norm_input" in profile.asked and flat.of_type(*LEAKY):
        points.append("norm_input")
    if "complete" in profile.asked and flat.of_type(*RESETTING):
        points.append("complete")
    return points


def _floor(value: Any) -> Any:
    """`none`, `threshold`, or a number, which may be given as text."""
    if isinstance(value, str) and value not in ("none", "threshold"):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _check_arguments(chosen: dict[str, Any], profile: str | None) -> None:
    if profile is not None and profile not in PROFILES:
        raise SpikefabError(f"profile '{profile}'", "load", hint=f"use {' or '.join(PROFILES)}")
    for name, choices in CHOICES.items():
        if chosen[name] is not None and chosen[name] not in choices:
            raise SpikefabError(
                f"{name} '{chosen[name]}'", "load", hint=f"use {' or '.join(choices)}"
            )
    dt, floor, bits = (chosen[name] for name in ("dt", "floor", "count_bits"))
    if dt is not None and not (_is_number(dt) and dt > 0):
        raise SpikefabError(f"dt = {dt}", "load", "a time step is a number of seconds above 0")
    if floor not in (None, "none", "threshold") and not (_is_number(floor) and floor <= 0):
        raise SpikefabError(
            f"floor {floor}", "load", hint="use none, threshold, or the least potential, up to 0"
        )
    if bits is not None and (type(bits) is not int or not 1 <= bits <= MAX_COUNT_BITS):
        raise SpikefabError(f"count_bits = {bits}", "load", hint=f"use 1 to {MAX_COUNT_BITS}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def _refuse_contradiction(
    flat: FlatGraph, profile: Profile, name: str, value: Any, expected: Any
) -> None:
    if value is None or value == expected:
        return
    if name == "dt" and math.isclose(value, expected, rel_tol=1e-6):
        return
    raise SpikefabError(
        f"{name} {value} with profile {profile.name}",
        flat.where,
        f"the profile has {expected}",
        f"leave out --{name} or the profile",
    )


def _refuse_missing(missing: list[str], flat: FlatGraph, profile: Profile) -> None:
    if not missing:
        return
    own = [profile.asked[name] for name in missing if name in profile.asked]
    why = "a NIR file does not hold them" if len(missing) > 1 else "a NIR file does not hold it"
    flags = ", ".join(f"--{n.replace('_', '-')} {_NAMED[n]}" for n in missing)
    if profile is _UNTOLD:
        flags += f", or --profile {'|'.join(PROFILES)}"
        if found := likely(flat, PROFILES):
            flags += f" (the file reads as an export of {PROFILES[found[0]].exporter})"
    raise SpikefabError(
        f"undetermined {', '.join(missing)}", flat.where, "; ".join(own) or why, f"give {flags}"
    )


def _assumptions(settings: Settings, flat: FlatGraph, asked: dict[str, Any]) -> list[str]:
    profile = settings.profile
    said = list(profile.said)
    if profile is _UNTOLD:
        said.append("Every potential and current starts at 0: NIR has no initial values.")
        if settings.reset:
            said.append("A reset acts in the step of its spike.")
        if flat.of_type(*SPIKING) and asked["fires"] is None:
            said.append("A neuron fires when v > v_threshold, as NIR's equations say.")
    for name, default in profile.defaults.items():
        if asked[name] not in (None, default):
            said.append(
                f"{name} is {asked[name]}, as asked, where the profile {profile.name} has "
                f"{default}."
            )
    if profile.own_dt(flat) is not None:
        said.append(f"dt is {settings.dt:g} s, as the gains in the file say.")
    if settings.complete is False:
        said.append(
            "Neurons had recurrent weights or biases that the file does not hold: without them "
            "the network is another."
        )
    if settings.count_bits > 1 and flat.of_type(*RESETTING):
        said.append(
            f"A neuron fires at most {2**settings.count_bits - 1} times in a step "
            f"(count_bits {settings.count_bits}): its potential keeps what is left."
        )
    if settings.reset and profile.name in ("none", "nir") and not PROFILES["snntorch"].misfit(flat):
        said.append(
            "The file reads as an export of snnTorch, where a reset acts in the step after its "
            "spike: the profile snntorch follows that, this reading does not."
        )
    if flat.of_type("CubaLIF", "CubaLI") and profile.sees == "old":
        said.append(
            "The potential of a current-based neuron sees the current of the step before: "
            "the right-hand sides of NIR's equations are taken at the old state."
        )
    return said
