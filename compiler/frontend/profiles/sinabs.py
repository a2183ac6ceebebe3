"""Profile `sinabs`: `sinabs.nir` (3.1), whose time constants are in steps.

A neuron fires as many spikes in a step as thresholds fit into v, and v is then cut off at
min_v_mem. Neither this, nor norm_input (a gain of 1 - alpha on the input), nor tau_syn is written.
"""

from __future__ import annotations

from ..nir_graph import RESETTING, FlatGraph, Node
from .profile import Profile, not_all, other_type


def _unlike(node: Node) -> str:
    return (
        other_type(node, "sinabs", "IF", "LIF", "LI")
        or not_all(node, 1, "r")
        or not_all(node, 0, "v_leak", "v_reset")
    )


def _signs(flat: FlatGraph) -> list[str]:
    signs = []
    cells = flat.of_type(*RESETTING)
    if cells and not any("v_reset" in n.values for n in cells):
        signs.append("neurons have no v_reset, as with the nir 1.0.4 that sinabs needs")
    taus = [n.values["tau"] for n in flat.of_type("LIF", "LI")]
    if taus and min(float(v.min()) for v in taus) >= 1:
        signs.append("time constants of 1 and more count steps")
    return signs


SINABS = Profile(
    "sinabs",
    "sinabs",
    fixed={"dt": 1.0, "discretisation": "exponential", "fires": ">="},
    defaults={"reset": "subtract", "count_bits": 4},
    asked={
        "floor": "sinabs does not write min_v_mem (reading a file, it takes -threshold for IAF and "
        "none for LIF)",
        "norm_input": "sinabs does not write norm_input",
    },
    unit_gains=frozenset({"integrator"}),
    said=(
        "sinabs does not export tau_syn, spike_fn and reset_fn: no synaptic current, MultiSpike "
        "and the setting 'reset' are taken.",
        "Every potential starts at 0.",
    ),
    unlike=_unlike,
    signs=_signs,
)
