"""What a NIR file leaves open, and who settles it: an argument, or the profile of an exporter.

A file holds no time step, no discretisation, no kind of reset, and no word on whether a potential
equal to the threshold fires. Nothing of this is guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..ir.errors import SpikefabError
from .nir_graph import LEAKY, RESETTING, SPIKING, FlatGraph, Node

PROFILES = ("nir", "snntorch")
CHOICES = {
    "reset": ("zero", "subtract"),
    "discretisation": ("euler", "exponential"),
    "fires": (">", ">="),
}
SNNTORCH_DT = 1e-4  # hard-coded in snntorch.export_nir (1.0)
_ROUNDING = 1e-5  # relative; the exporter computes in float32
_FLAGS = {
    "dt": "--dt SECONDS",
    "reset": "--reset zero|subtract",
    "discretisation": "--discretisation euler|exponential",
}


@dataclass(frozen=True)
class Settings:
    """How the file is read. `reset` and `discretisation` are None where no node needs them.

    sees: whether the potential of a current-based node sees the `new` or the `old` current;
    next_step: whether a reset acts in the step after the spike.
    """

    dt: float
    reset: str | None
    discretisation: str | None
    fires: str
    profile: str | None = None
    sees: str = "old"
    next_step: bool = False
    assumptions: list[str] = field(default_factory=list, compare=False)

    def as_text(self) -> dict[str, str]:
        """For reports."""
        return {
            "profile": self.profile or "none",
            "dt": repr(self.dt),
            "reset": self.reset or "not needed",
            "discretisation": self.discretisation or "not needed",
            "fires": self.fires,
        }


def settle(
    flat: FlatGraph,
    *,
    dt: float | None,
    reset: str | None,
    discretisation: str | None,
    fires: str | None,
    profile: str | None,
) -> Settings:
    """Settings from arguments and profile.

    Raises SpikefabError naming all that is missing, or what contradicts the profile or the file.
    """
    _check_arguments(dt, profile, reset=reset, discretisation=discretisation, fires=fires)
    asked = {"reset": reset, "fires": fires}
    if profile is not None:
        _contradiction(flat, profile, "discretisation", discretisation, "euler")
        discretisation = "euler"
    if profile == "snntorch":
        _contradiction(flat, profile, "fires", fires, ">")
        if dt is not None and not math.isclose(dt, SNNTORCH_DT, rel_tol=1e-6):
            _contradiction(flat, profile, "dt", repr(dt), repr(SNNTORCH_DT))
        if fault := not_snntorch(flat):
            raise fault
        dt = SNNTORCH_DT
    elif profile == "nir":
        reset = reset or "zero"
    needed = open_points(flat)
    chosen = {"dt": dt, "reset": reset, "discretisation": discretisation}
    _refuse_missing([n for n in needed if chosen[n] is None], flat, profile)
    assert dt is not None
    settings = Settings(
        dt=float(dt),
        reset=reset if "reset" in needed else None,
        discretisation=discretisation if "discretisation" in needed else None,
        fires=fires or ">",
        profile=profile,
        sees="new" if profile == "snntorch" else "old",
        next_step=profile == "snntorch",
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


def not_snntorch(flat: FlatGraph) -> SpikefabError | None:
    """The first sign that snnTorch did not export this file, None if it may have.

    snnTorch writes tau = dt / (1 - beta), r = tau / dt and w_in = tau_syn / dt, so that spikes
    enter potential and current with a gain of exactly 1 at its dt.
    """
    for node in (n for n in flat.nodes.values() if n.is_neuron):
        if why := _unlike_snntorch(node):
            return SpikefabError(
                "not an snnTorch export", node.where, why, "choose the profile of its exporter"
            )
    return None


def _unlike_snntorch(node: Node) -> str:
    if node.type not in ("LIF", "CubaLIF"):
        return f"snnTorch writes no {node.type} nodes"
    v = node.values
    for name in ("v_leak", "v_reset"):
        if name in v and v[name].any():
            return f"'{name}' is not 0"
    gains = {"r dt / tau": (v["r"], v["tau" if node.type == "LIF" else "tau_mem"])}
    if node.type == "CubaLIF":
        gains["w_in dt / tau_syn"] = (v.get("w_in", np.ones(1)), v["tau_syn"])
    for name, (factor, tau) in gains.items():
        if (tau <= 0).any():
            return f"a time constant is {tau.min():g}"
        gain = factor.astype(np.float64) * SNNTORCH_DT / tau
        if (abs(gain - 1) > _ROUNDING).any():
            worst = gain.ravel()[abs(gain - 1).argmax()]
            return f"{name} is {worst:g}, not 1, at snnTorch's dt of {SNNTORCH_DT:g} s"
    return ""


def _check_arguments(dt: float | None, profile: str | None, **chosen: str | None) -> None:
    if profile is not None and profile not in PROFILES:
        raise SpikefabError(f"profile '{profile}'", "load", hint=f"use {' or '.join(PROFILES)}")
    for name, value in chosen.items():
        if value is not None and value not in CHOICES[name]:
            raise SpikefabError(
                f"{name} '{value}'", "load", hint=f"use {' or '.join(CHOICES[name])}"
            )
    if dt is not None and not (
        isinstance(dt, int | float | np.number) and math.isfinite(dt) and dt > 0
    ):
        raise SpikefabError(f"dt = {dt}", "load", "a time step is a number of seconds above 0")


def _contradiction(
    flat: FlatGraph, profile: str, name: str, value: str | None, expected: str
) -> None:
    if value is not None and value != expected:
        raise SpikefabError(
            f"{name} {value} with profile {profile}",
            flat.where,
            f"the profile has {expected}",
            f"leave out --{name} or the profile",
        )


def _refuse_missing(missing: list[str], flat: FlatGraph, profile: str | None) -> None:
    if not missing:
        return
    why = "a NIR file does not hold them" if len(missing) > 1 else "a NIR file does not hold it"
    if profile == "snntorch":
        why = "snnTorch writes the same file for zero and subtract"
    flags = ", ".join(_FLAGS[name] for name in missing)
    if profile is None:
        flags += f", or --profile {'|'.join(PROFILES)}"
        if not not_snntorch(flat):
            flags += " (the file reads as an export of snnTorch)"
    raise SpikefabError(f"undetermined {', '.join(missing)}", flat.where, why, f"give {flags}")


def _assumptions(settings: Settings, flat: FlatGraph, asked: dict[str, str | None]) -> list[str]:
    if settings.profile == "snntorch":
        return [
            "snnTorch does not export initial states, reset_delay, graded_spikes_factor, "
            "inhibition and state_quant: its defaults are taken."
        ]
    said = ["Every potential and current starts at 0: NIR has no initial values."]
    if settings.reset and settings.profile is None:
        said.append("A reset acts in the step of its spike.")
    if flat.of_type(*SPIKING) and settings.profile is None and asked["fires"] is None:
        said.append("A neuron fires when v > v_threshold, as NIR's equations say.")
    if settings.profile == "nir":
        for name, default in (("reset", "zero"), ("fires", ">")):
            if asked[name] not in (None, default):
                said.append(
                    f"{name} is {asked[name]}, as asked, where the profile nir has {default}."
                )
    if settings.reset and not not_snntorch(flat):
        said.append(
            "The file reads as an export of snnTorch, where a reset acts in the step after its "
            "spike: the profile snntorch follows that, this reading does not."
        )
    if flat.of_type("CubaLIF", "CubaLI"):
        said.append(
            "The potential of a current-based neuron sees the current of the step before: "
            "the right-hand sides of NIR's equations are taken at the old state."
        )
    return said
