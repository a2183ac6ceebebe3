"""Profile `spikingjelly`: `spikingjelly.activation_based.nir_exchange` (2.0).

It follows NIR's equations at the dt given to it: IF has r = 1 / dt, LIF r = 1 (decay_input) or
tau / dt, CubaLIF r = tau_mem / dt and w_in = tau_syn / dt; so most files give their dt away.
"""

from __future__ import annotations

import math

import numpy as np

from ..nir_graph import FlatGraph, Node
from .profile import ROUNDING, Profile, other_type


def _steps(node: Node) -> list[float]:
    """The dt that each gain of a node stands for."""
    v, steps = node.values, []
    if node.type == "IF":
        steps = [1 / v["r"]]
    elif node.type == "CubaLIF":
        steps = [v["tau_mem"] / v["r"], v["tau_syn"] / v.get("w_in", np.ones(1))]
    elif node.type == "LIF" and (v["r"] != 1).any():
        steps = [v["tau"] / v["r"]]
    return [float(x) for step in steps for x in (step.min(), step.max())]


def _unlike(node: Node) -> str:
    if why := other_type(node, "SpikingJelly", "IF", "LIF", "CubaLIF"):
        return why
    v = node.values
    if any(
        (v[name] <= 0).any() for name in ("r", "tau", "tau_mem", "tau_syn", "w_in") if name in v
    ):
        return "a gain or a time constant is not above 0"
    if node.type == "LIF" and "v_reset" in v and (v["v_leak"] != v["v_reset"]).any():
        return "'v_leak' is not 'v_reset'"
    if node.type == "CubaLIF" and v["v_leak"].any():
        return "'v_leak' is not 0"
    steps = _steps(node)
    if steps and not math.isclose(min(steps), max(steps), rel_tol=ROUNDING):
        return f"its gains stand for a dt of {min(steps):g} s and of {max(steps):g} s"
    return ""


def _signs(flat: FlatGraph) -> list[str]:
    signs = []
    names = {n.name for n in flat.of_type("Input")}
    if found := sorted(names & {"input_1", "x"}):
        signs.append(f"the input is named '{found[0]}'")
    cells = [n for n in flat.nodes.values() if n.is_neuron]
    wide = all(v.dtype == np.float64 and np.ptp(v) == 0 for n in cells for v in n.values.values())
    if signs and cells and wide:  # alone, it is what any script writes
        signs.append("neuron parameters are float64 and the same for a whole layer")
    return signs


def _own_dt(flat: FlatGraph) -> float | None:
    steps = [s for n in flat.of_type("IF", "LIF", "CubaLIF") for s in _steps(n)]
    if not steps or not math.isclose(min(steps), max(steps), rel_tol=ROUNDING):
        return None
    return float(f"{np.median(steps):.6g}")


SPIKINGJELLY = Profile(
    "spikingjelly",
    "SpikingJelly",
    fixed={"discretisation": "euler", "fires": ">=", "reset": "zero"},
    asked={"dt": "LIF nodes with decay_input do not give it away"},
    sees="new",
    starts_at="v_reset",
    said=("Potentials start at v_reset and currents at 0, as in SpikingJelly.",),
    unlike=_unlike,
    signs=_signs,
    own_dt=_own_dt,
)
