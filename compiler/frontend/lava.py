"""Neurons and synapses of Lava, as its fixed-point LIF computes on a CPU as on Loihi.

In a step, with decays that round toward zero (lava-nc 0.10, `lava.proc.lif`, tag `fixed_pt`):

    u = u (4095 - du) / 4096 + 64 a, which wraps at 24 bits
    v = v (4096 - dv) / 4096 + u + bias, clipped to +-(2^23 - 1)
    spike if v > 64 vth, and then v = 0

where a are weights of spikes of the step before; weights of both signs are even, as Loihi has 8
bits for them. That is the model `cubalif` with a gain of 2^6, on a chip with `state_bits` 24. One
value of u is not the same: 2^23 itself stays in Lava, here it wraps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..network import Input, Network, Population, Projection, Triples
from .integers import whole

STATE_BITS = 24
_GAIN = 6
_UNITY = 1 << 12
_RANGES = {
    "du": (0, 4095), "dv": (0, 4095), "vth": (0, 131071), "bias_mant": (-4096, 4095),
    "bias_exp": (0, 7), "weights": (-256, 255),
}  # fmt: skip


def lava_lif(
    network: Network, name: str, size: int, *, du: Any, dv: Any, vth: Any, bias_mant: Any = 0,
    bias_exp: Any = 0, output: bool = False,
) -> Population:  # fmt: skip
    """Add a Lava `LIF`; each parameter is an integer, or one per neuron, as Lava takes it.

    Potentials count weights: 1 is 64 LSB. Raises SpikefabError for values beyond Lava's registers.
    """
    given = {"du": du, "dv": dv, "vth": vth, "bias_mant": bias_mant, "bias_exp": bias_exp}
    of = {key: _whole(key, values, f"population '{name}'") for key, values in given.items()}
    lsb = 1 << _GAIN
    return network.population(
        name, size, "cubalif", options={"fires": ">", "overflow": "wrap", "floor": "value"},
        output=output, gain=_GAIN, keep=(_UNITY - of["dv"]) / _UNITY,
        keep_i=(_UNITY - 1 - of["du"]) / _UNITY, threshold=of["vth"],
        bias=(of["bias_mant"] << of["bias_exp"]) / lsb,
        v_floor=-((1 << (STATE_BITS - 1)) - 1) / lsb,
    )  # fmt: skip


def lava_dense(
    network: Network, source: Input | Population, target: Population, weights: Any
) -> Projection:
    """Add a Lava `Dense` of 8 bits: integers [target, source], that act in the step after a spike.

    Compile with `weight_bits` 9. Raises SpikefabError for weights beyond -256..255.
    """
    where = f"projection '{source.name}' to '{target.name}'"
    kept = _whole("weights", weights, where)
    if kept.shape != (target.size, source.size):
        raise SpikefabError(
            f"weights {kept.shape}", where, f"expected {(target.size, source.size)}, target first"
        )
    if kept.size and kept.min() < 0 < kept.max():
        kept &= -2
    post, pre = np.nonzero(kept)
    return network.connect(source, target, Triples(pre, post, kept[post, pre], 1.0), delay=1)


def _whole(name: str, values: Any, where: str) -> NDArray[np.int64]:
    return whole(name, values, where, _RANGES[name], "Lava")
