"""From a NIR neuron node to a population: options, parameters, and the gain on its weights.

With a = dt / tau (forward Euler) or a = 1 - exp(-dt / tau) (exponential: the exact solution while
the input is constant over a step), tau dv/dt = (v_leak - v) + r I becomes

    v' = (1 - a) v + a v_leak + a r I

so the fraction kept is 1 - a, weights are multiplied by a r, and leak adds a bias of a v_leak. An
integrator without leak has v' = v + dt r I. A Threshold is a neuron that keeps nothing: v' = I.
The current of a current-based node is stored times
its gain on the potential, a_mem r, so that it adds to v as it is and its weights are multiplied by
a_syn w_in a_mem r. Where the exporter's framework has a gain of 1 whatever its file says, it is 1
(`Settings.unit_gains`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..network import Floats
from .nir_graph import RESETTING, Node, Shape, shape_text
from .settings import Settings

MODELS = {
    "IF": "if",
    "LIF": "lif",
    "CubaLIF": "cubalif",
    "Threshold": "lif",
    "LI": "li",
    "CubaLI": "cubali",
    "I": "li",
}
_ROUNDING = 1e-6  # relative; files hold float32


@dataclass(frozen=True, eq=False)
class Lowered:
    """A population to be: gain is the factor on every weight and bias that enters it, and bias_kept
    what is left of a bias that leaks in the step in which it enters."""

    model: str
    options: dict[str, str]
    parameters: dict[str, Floats]
    gain: Floats
    bias_name: str
    assumptions: list[str]
    initial: dict[str, Floats] = field(default_factory=dict)
    bias_kept: Floats = field(default_factory=lambda: np.ones(1))


def lower(node: Node, shape: Shape, settings: Settings, recurrent: bool) -> Lowered:
    """Lower one neuron node; raises SpikefabError for parameters that no neuron can have."""
    given = {k: _spread(v, shape).astype(np.float64) for k, v in node.values.items()}
    assumptions = _said(node, shape, settings)
    parameters: dict[str, Floats] = {}
    options: dict[str, str] = {}
    if node.type == "Threshold":
        options |= {"fires": settings.fires, "reset": "value", "reset_at": "now"}
        parameters |= {"keep": np.zeros(1), "threshold": given["threshold"]}
        return Lowered(MODELS[node.type], options, parameters, np.ones(1), "bias", assumptions)
    gain, one = given["r"], settings.unit_gains
    bias_name = "bias"
    if node.type in ("IF", "I"):
        gain = np.ones(1) if "integrator" in one else gain * settings.dt
        if node.type == "I":
            parameters["keep"] = np.ones(1)
    else:
        tau = "tau_mem" if "tau_mem" in given else "tau"
        keep, lost = _decay(node, tau, given[tau], settings)
        parameters["keep"] = keep
        gain = np.ones(1) if "leaky" in one else gain * lost
        if given["v_leak"].any():
            parameters["bias"] = given["v_leak"] * lost
    if "tau_syn" in given:
        parameters["keep_i"], lost = _decay(node, "tau_syn", given["tau_syn"], settings)
        if "synapse" not in one:
            gain = gain * given.get("w_in", np.ones(1)) * lost
        options["sees"] = settings.profile.sees
        bias_name = "bias_i"
    bias_kept = np.ones(1)
    if node.type in settings.profile.leaks_input:
        options["leak_at"] = "after"
        bias_kept = parameters["keep_i" if "keep_i" in parameters else "keep"]
    if settings.profile.name == "snntorch":
        parameters |= {k: v.astype(np.float32).astype(np.float64) for k, v in parameters.items()}
    if node.type in RESETTING:
        options |= _firing(node, given, settings, recurrent)
        parameters["threshold"] = given["v_threshold"]
        if settings.reset == "zero":
            parameters["v_reset"] = given.get("v_reset", np.zeros(1))
        if settings.floor != "none":
            least = -given["v_threshold"] if settings.floor == "threshold" else settings.floor
            parameters["v_floor"] = np.atleast_1d(np.asarray(least, np.float64))
        if settings.profile.name == "snntorch" and recurrent and settings.reset == "zero":
            assumptions.append(
                f"'{node.name}' is recurrent and so taken for snnTorch's "
                f"{'RLeaky' if node.type == 'LIF' else 'RSynaptic'}: the step after a spike "
                "starts from 0 and loses its input."
            )
    starts = given.get(settings.profile.starts_at, np.zeros(1))
    initial = {"v": starts} if starts.any() else {}
    return Lowered(
        MODELS[node.type], options, parameters, gain, bias_name, assumptions, initial, bias_kept
    )


def _firing(
    node: Node, given: dict[str, Floats], settings: Settings, recurrent: bool
) -> dict[str, str]:
    subtract = settings.reset == "subtract"
    if subtract and "v_reset" in given and given["v_reset"].any():
        raise SpikefabError(
            "reset by subtraction",
            node.where,
            f"its v_reset is {given['v_reset'].ravel()[given['v_reset'].argmax()]:g}, which only a "
            "reset to a value uses",
            "give --reset zero",
        )
    # snnTorch's Leaky clears v before the next decay; its other neurons after decay and input
    before = node.type == "LIF" and not recurrent and not subtract
    at = ("before" if before else "after") if settings.profile.next_step else "now"
    options = {
        "fires": settings.fires,
        "reset": "subtract" if subtract else "value",
        "reset_at": at,
    }
    if settings.count_bits > 1:
        options["count_bits"] = str(settings.count_bits)
    if settings.floor != "none":
        options["floor"] = "value"
    return options


def _decay(node: Node, name: str, tau: Floats, settings: Settings) -> tuple[Floats, Floats]:
    """What is kept of a variable in a step, and what is lost."""
    if (tau <= 0).any():
        raise SpikefabError(
            f"'{name}' = {tau[tau <= 0][0]:g}", node.where, "a time constant is above 0"
        )
    tau = tau * settings.tau_scale
    ratio = settings.dt / tau
    if settings.discretisation == "exponential":
        return np.exp(-ratio), -np.expm1(-ratio)
    if (ratio > 1 + _ROUNDING).any():
        raise SpikefabError(
            f"'{name}' = {tau.min():g} s",
            node.where,
            f"forward Euler with dt = {settings.dt:g} s would keep {1 - ratio.max():g} of it",
            f"give a dt of at most {tau.min():g}, or --discretisation exponential",
        )
    lost = np.minimum(ratio, 1.0)
    return 1.0 - lost, lost


def _spread(values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """One value for all, or one per neuron: values of [channels, 1, 1] are given to each."""
    if values.size in (1, prod(shape)):
        return values.ravel()
    return np.broadcast_to(values, shape).ravel()


def _said(node: Node, shape: Shape, settings: Settings) -> list[str]:
    said = []
    size = prod(shape)
    if node.type in RESETTING and "v_reset" not in node.values and settings.reset == "zero":
        said.append(f"'{node.name}' has no v_reset: 0 is taken.")
    sizes = {v.size: v.shape for v in node.values.values()}
    if size > 1 and set(sizes) == {1}:
        said.append(f"The parameters of '{node.name}' are single values, for all {size} neurons.")
    for own in (s for n, s in sizes.items() if n not in (1, size)):
        said.append(
            f"The parameters of '{node.name}' of shape {shape_text(own)} are spread over its "
            f"{shape_text(shape)} neurons."
        )
    return said
