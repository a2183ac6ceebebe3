"""Profile `rockpool`: `rockpool.nn.modules.torch.nir` (3.1).

It writes r = tau e^(-dt / tau) / dt, which gives dt away, and a synaptic current and the potential
of an ExpSynTorch leak with the input of their step, whatever r and w_in say. The recurrent weights
and biases of its neurons are left out without a trace, as are noise and the limit of spikes.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from ...ir.errors import SpikefabError
from ..nir_graph import LEAKY, FlatGraph, Node
from .profile import ROUNDING, Profile, not_all, other_type

_MODULE = re.compile(r"\d+_\w+Torch")


def _steps(node: Node) -> NDArray[np.float64]:
    """The dt that each r of a node stands for: u e^u = 1 / r with u = dt / tau."""
    tau = node.values["tau_mem" if "tau_mem" in node.values else "tau"].astype(np.float64)
    u: NDArray[np.float64] = lambertw(1 / node.values["r"].astype(np.float64)).real
    return (tau * u).ravel()


def _apart(steps: NDArray[np.float64]) -> str:
    least, most = float(steps.min()), float(steps.max())
    if most > least * (1 + ROUNDING):
        return f"r = tau e^(-dt / tau) / dt stands for a dt of {least:g} s and of {most:g} s"
    return ""


def _unlike(node: Node) -> str:
    if why := (
        other_type(node, "Rockpool", "LIF", "CubaLIF", "LI")
        or not_all(node, 1, "w_in")
        or not_all(node, 0, "v_leak", "v_reset")
    ):
        return why
    for name in ("tau", "tau_mem", "tau_syn", "r"):
        if name in node.values and (node.values[name] <= 0).any():
            return f"'{name}' is not above 0"
    return _apart(_steps(node))


def _all_steps(flat: FlatGraph) -> NDArray[np.float64]:
    return np.concatenate([_steps(n) for n in flat.of_type(*LEAKY)] or [np.zeros(0)])


def _own_dt(flat: FlatGraph) -> float | None:
    steps = _all_steps(flat)
    if not steps.size:
        return None
    if why := _apart(steps):
        raise SpikefabError(
            "several time steps", flat.where, why, "export modules that have the same dt"
        )
    return float(f"{np.median(steps):.6g}")


def _signs(flat: FlatGraph) -> list[str]:
    signs = []
    steps = _all_steps(flat)
    if steps.size and not _apart(steps):
        dt = float(f"{np.median(steps):.2g}")
        if (abs(steps / dt - 1) < ROUNDING).all():
            signs.append(f"every r is tau e^(-dt / tau) / dt with a dt of {dt:g} s")
    if named := [n for n in flat.nodes if _MODULE.fullmatch(n)]:
        signs.append(f"modules are named '{named[0]}'")
    return signs


ROCKPOOL = Profile(
    "rockpool",
    "Rockpool",
    fixed={"discretisation": "exponential", "fires": ">=", "reset": "subtract"},
    defaults={"count_bits": 5},
    asked={
        "complete": "Rockpool leaves out w_rec and biases of its neurons without a trace (yes: "
        "they had none; no: they are put back in Python)",
    },
    sees="new",
    unit_gains=frozenset({"leaky", "synapse"}),
    leaks_input=frozenset({"CubaLIF", "LI"}),
    said=(
        "Rockpool does not export noise_std, max_spikes_per_dt and spike_generation_fn: no noise "
        "and StepPWL are taken.",
        "Every potential and current starts at 0.",
    ),
    unlike=_unlike,
    signs=_signs,
    own_dt=_own_dt,
)
