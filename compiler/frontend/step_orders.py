"""Neurons for networks that were stepped in the order of Brian2 or of BindsNET.

Both have spikes act a step later than layers of a framework do: connect with `delay=1`, inputs too.
Potentials are told relative to the resting one, so that no bias has to be rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.errors import SpikefabError
from ..network import Floats, Network, Population


def brian2_lif(
    network: Network, name: str, size: int, *, keep: Any, threshold: Any, v_rest: Any = 0.0,
    v_reset: Any = 0.0, refractory: int = 0, initial: Any | None = None, output: bool = False,
) -> Population:  # fmt: skip
    """Add `NeuronGroup(size, "dv/dt = (v_rest - v)/tau : 1 (unless refractory)",
    threshold="v > threshold", reset="v = v_reset")`, with synapses `on_pre="v_post += w"`.

    Brian2 steps the state (the default method here is `exact`: keep = exp(-dt/tau)), tests the
    threshold, adds what spikes of this step weigh, and resets, which wipes that for a neuron that
    has just spiked (Stimberg et al. 2019; `magic_network.schedule`). So an input is there before
    the leak of the step after it, and `connect` takes the delay of a Brian2 synapse plus 1.

    Parameters in the network's units, one value or one per neuron; refractory: steps, 0 for none;
    initial: of v, v_rest if left out. v is told as v - v_rest. Raises SpikefabError where both a
    refractory period beyond a step and a v_reset that is not v_rest are asked for, or that period
    is no whole number.
    """
    if not isinstance(refractory, int | np.integer) or refractory < 0:
        raise SpikefabError(
            f"refractory = {refractory!r}", f"population '{name}'", "it is a whole number of steps"
        )
    rest = _floats(v_rest)
    reset, kept = _floats(v_reset) - rest, _floats(keep)
    options = {"leak_at": "after", "fires": ">"}
    if reset.any():
        if refractory > 1:
            raise SpikefabError(
                f"a refractory period of {refractory} steps and another v_reset than v_rest",
                f"population '{name}'", "v leaks from v_reset in the last step only",
                "reset to v_rest, or leave out the refractory period",
            )  # fmt: skip
        more = {"v_reset": reset * kept}  # it leaks before it is tested
        options["reset_at"] = "after"
    else:
        more = {"refractory_period": np.array(max(refractory, 1))}
        options["refractory"] = "hold"
    return network.population(
        name, size, "lif", options=options, output=output, keep=kept,
        threshold=_floats(threshold) - rest, initial={"v": _first(initial, rest)}, **more,
    )  # fmt: skip


def bindsnet_lif(
    network: Network, name: str, size: int, *, decay: Any, thresh: Any, rest: Any = 0.0,
    reset: Any = 0.0, refrac: int = 0, lbound: Any | None = None, initial: Any | None = None,
    output: bool = False,
) -> Population:  # fmt: skip
    """Add a BindsNET `LIFNodes`, whose decay = exp(-dt/tc_decay).

    It leaks toward rest, takes what spikes of the step before weigh unless it is refractory, tests
    v >= thresh, resets, and is kept at lbound or above (bindsnet 0.3, `network/nodes.py`). Connect
    with `delay=1`; a network that is run with `one_step=True` has no delay from a layer to one that
    was added after it.

    Parameters in the network's units, one value or one per neuron; refrac: steps in which it takes
    no input after a spike; initial: of v, rest if left out. v is told as v - rest. Raises
    SpikefabError for a neuron that would spike without input, which BindsNET lets it in its
    refractory period too.
    """
    resting = _floats(rest)
    above, back = _floats(thresh) - resting, _floats(reset) - resting
    if (above <= np.maximum(back, 0)).any():
        raise SpikefabError(
            "a threshold that is not above rest and reset", f"population '{name}'",
            "it would spike while it is refractory",
        )  # fmt: skip
    options, more = {"refractory": "discard"}, dict[str, Floats]()
    if lbound is not None:
        options["floor"], more["v_floor"] = "value", _floats(lbound) - resting
    return network.population(
        name, size, "lif", options=options, output=output, keep=_floats(decay), threshold=above,
        v_reset=back, refractory_period=refrac, initial={"v": _first(initial, resting)}, **more,
    )  # fmt: skip


def _floats(values: Any) -> Floats:
    return np.asarray(values, np.float64)


def _first(initial: Any | None, rest: Floats) -> Floats:
    return np.zeros(1) if initial is None else _floats(initial) - rest
