"""Profile `norse`: `norse.torch.utils.export_nir` (1.1).

It writes tau = dt / tau_mem_inv, dt times the time constant, with the dt given to `to_nir`. An
IAFCell adds its input to v as it is, and the input of a LIFCell jumps onto the current before v
sees it, though the file says r = 1 and w_in = 1.
"""

from __future__ import annotations

from ..nir_graph import FlatGraph, Node
from .profile import Profile, not_all, other_type

SHORT = 1e-4  # seconds; no time constant of a simulation in ms is shorter


def _unlike(node: Node) -> str:
    return (
        other_type(node, "Norse", "IF", "LIF", "CubaLIF", "LI")
        or not_all(node, 1, "r", "w_in")
        or not_all(node, 0, "v_reset")
    )


def _signs(flat: FlatGraph) -> list[str]:
    taus = [v for n in flat.nodes.values() for k, v in n.values.items() if k.startswith("tau")]
    if taus and max(float(v.max()) for v in taus) < SHORT:
        least = min(float(v.min()) for v in taus)
        return [f"r is 1 and time constants are as short as {least:.3g} s, dt times too small"]
    return []


NORSE = Profile(
    "norse",
    "Norse",
    fixed={"discretisation": "euler", "fires": ">"},
    defaults={"reset": "zero"},
    asked={"dt": "Norse's time constants are dt times too small, and its default is 0.001"},
    sees="new",
    unit_gains=frozenset({"integrator", "synapse"}),
    tau_over_dt=True,
    starts_at="v_leak",
    said=(
        "Norse does not export v_reset and reset_method: 0 and the setting 'reset' are taken.",
        "The cells and `to_nir` had the same dt; potentials start at v_leak, as in Norse.",
    ),
    unlike=_unlike,
    signs=_signs,
)
