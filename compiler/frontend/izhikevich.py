"""Izhikevich's neurons by their four published parameters.

    v' = 0.04 v^2 + 5 v + 140 - u + I,  u' = a (b v - u);  at 30 mV v = c, u = u + d

(Izhikevich 2003), in mV and ms, by Euler's method: both by the values at the begin of a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.errors import SpikefabError
from ..network import Network, Population

SQUARE, MIDDLE, LOWEST = 0.04, -62.5, -16.25  # 0.04 v^2 + 5 v + 140 = 0.04 (v + 62.5)^2 - 16.25
PEAK = 30.0
LONGEST = 1.0  # ms


def izhikevich(
    network: Network, name: str, size: int, *, a: Any, b: Any, c: Any, d: Any, dt: float = 0.5,
    current: Any = 0.0, output: bool = False,
) -> Population:  # fmt: skip
    """Add neurons of the model `izhikevich` that take a step of `dt` ms.

    a, b, c, d, current (a constant I): numbers, or one per neuron. v begins at c, u at b c. Connect
    with `gain=dt` for synapses whose weight is an I that lasts a step. The state u of the model is
    dt times u. Raises SpikefabError for a dt outside 0..1 ms, or numbers that are not finite.
    """
    if not 0 < dt <= LONGEST:
        raise SpikefabError(
            f"dt {dt:g} ms", f"population '{name}'", f"above 0 and at most {LONGEST:g}"
        )
    a, b, c, d, current = (np.asarray(x, np.float64) for x in (a, b, c, d, current))
    return network.population(
        name, size, "izhikevich", output=output, initial={"v": c, "u": dt * b * c},
        threshold=PEAK, v_reset=c, curvature=SQUARE * dt, v_mid=MIDDLE,
        bias=dt * (LOWEST + current), rate_u=dt * a, coupling=dt * b, step_u=dt * d,
    )  # fmt: skip
