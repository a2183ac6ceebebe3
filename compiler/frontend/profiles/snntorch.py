"""Profile `snntorch`: `snntorch.export_nir` (1.0).

It writes tau = dt / (1 - beta), r = tau / dt and w_in = tau_syn / dt with a dt that is hard-coded,
so that spikes enter potential and current with a gain of exactly 1 at this dt.
"""

from __future__ import annotations

import numpy as np

from ..nir_graph import FlatGraph, Node
from .profile import ROUNDING, Profile, not_all, other_type

DT = 1e-4


def _unlike(node: Node) -> str:
    if why := other_type(node, "snnTorch", "LIF", "CubaLIF") or not_all(
        node, 0, "v_leak", "v_reset"
    ):
        return why
    v = node.values
    gains = {"r dt / tau": (v["r"], v["tau" if node.type == "LIF" else "tau_mem"])}
    if node.type == "CubaLIF":
        gains["w_in dt / tau_syn"] = (v.get("w_in", np.ones(1)), v["tau_syn"])
    for name, (factor, tau) in gains.items():
        if (tau <= 0).any():
            return f"a time constant is {tau.min():g}"
        gain = factor.astype(np.float64) * DT / tau
        if (abs(gain - 1) > ROUNDING).any():
            worst = gain.ravel()[abs(gain - 1).argmax()]
            return f"{name} is {worst:g}, not 1, at snnTorch's dt of {DT:g} s"
    return ""


def _signs(flat: FlatGraph) -> list[str]:
    signs = []
    if any(n.is_neuron for n in flat.nodes.values()):
        signs.append(f"every gain r dt / tau is 1 at its dt of {DT:g} s")
    if loops := [n for n in flat.nodes if n.endswith(".w_rec")]:
        signs.append(f"recurrent weights are named '{loops[0]}'")
    return signs


SNNTORCH = Profile(
    "snntorch",
    "snnTorch",
    "an",
    fixed={"dt": DT, "discretisation": "euler", "fires": ">"},
    asked={"reset": "snnTorch writes the same file for zero and subtract"},
    sees="new",
    next_step=True,
    unit_gains=frozenset({"leaky", "synapse"}),
    said=(
        "snnTorch does not export initial states, reset_delay, graded_spikes_factor, "
        "inhibition and state_quant: its defaults are taken.",
    ),
    unlike=_unlike,
    signs=_signs,
)
