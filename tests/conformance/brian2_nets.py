"""Networks of Brian2, run in its own loop: `python brian2_nets.py FOLDER EACH`.

An input group drives a layer that is connected to itself, which drives another. All synapses weigh
`v_post += w`, with delays of 0 to 2 steps, excitatory and inhibitory.
"""

import sys
from pathlib import Path

import brian2 as b2
import numpy as np
from drawing import LSB
from step_order_nets import HIDDEN, OUT, decays, main, projections

b2.prefs.codegen.target = "numpy"
DT = 0.001


def step(net):
    """Spikes of each population [steps, size] in Brian2."""
    b2.start_scope()
    b2.defaultclock.dt = DT * b2.second
    step_of, line = net["input"].nonzero()
    groups = {"in": b2.SpikeGeneratorGroup(net["input"].shape[1], line, step_of * DT * b2.second)}
    monitors = {}
    for name, p in net["populations"].items():
        groups[name] = b2.NeuronGroup(
            p["size"], "dv/dt = (rest - v)/tau : 1 (unless refractory)\nrest : 1\ntau : second\n"
            "level : 1\nback : 1",
            threshold="v > level", reset="v = back", method="exact",
            refractory=p["refractory"] * DT * b2.second,
        )  # fmt: skip
        group = groups[name]
        group.rest = group.v = p["v_rest"]
        group.tau = -DT / np.log(p["keep"]) * b2.second
        group.level, group.back = p["threshold"], p["v_reset"]
        monitors[name] = b2.SpikeMonitor(group)
    synapses = []
    for source, target, weights, delay in net["projections"]:
        made = b2.Synapses(groups[source], groups[target], "w : 1", on_pre="v_post += w")
        pre, post = np.nonzero(weights)
        made.connect(i=pre, j=post)
        made.w = weights[pre, post]
        made.delay = delay * DT * b2.second
        synapses.append(made)
    steps = len(net["input"])
    b2.Network(*groups.values(), *monitors.values(), *synapses).run(steps * DT * b2.second)
    spikes = {}
    for name, m in monitors.items():
        raster = np.zeros((steps, net["populations"][name]["size"]), np.int32)
        raster[np.rint(np.asarray(m.t) / DT).astype(int), np.asarray(m.i)] = 1
        spikes[name] = raster
    return spikes


def draw(rng, kind):
    """What each network has."""
    rest = float(rng.integers(-70, 0)) if kind != "plain" else 0.0
    populations = {
        name: {
            "size": size,
            "keep": decays(rng, size),
            "threshold": rest + (rng.integers(40, 120, size) + 0.5) * LSB,
            "v_rest": rest,
            "v_reset": rest + (rng.integers(-60, 30, size) * LSB if kind == "reset" else 0),
            "refractory": int(rng.integers(1, 6)) if kind == "refractory" else 0,
        }
        for name, size in (("hidden", HIDDEN), ("out", OUT))
    }
    return {"populations": populations, "projections": projections(rng, most_delay=2)}


if __name__ == "__main__":
    kinds = ("plain", "reset", "refractory")
    main(Path(sys.argv[1]), int(sys.argv[2]), "brian2", kinds, draw, step)
