"""Networks of BindsNET: `python bindsnet_nets.py FOLDER EACH`.

An input layer drives a layer that is connected to itself, which drives another.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from bindsnet.network import Network
from bindsnet.network.monitors import Monitor
from bindsnet.network.nodes import Input, LIFNodes
from bindsnet.network.topology import Connection
from drawing import LSB
from step_order_nets import HIDDEN, LINES, OUT, decays, main, projections


def step(net):
    """Spikes of each population [steps, size] in BindsNET."""
    given = torch.from_numpy(net["input"]).byte()
    network = Network(dt=1.0, learning=False)
    layers = {"in": Input(n=LINES)}
    for name, p in net["populations"].items():
        layers[name] = LIFNodes(
            n=p["size"], rest=p["rest"], reset=p["reset"], refrac=p["refrac"], lbound=p["lbound"],
            thresh=torch.tensor(p["thresh"]), tc_decay=torch.tensor(-1 / np.log(p["decay"])),
        )  # fmt: skip
    for name, layer in layers.items():
        network.add_layer(layer, name)
    for a, b, weights, _ in net["projections"]:
        made = Connection(layers[a], layers[b], w=torch.tensor(weights, dtype=torch.float))
        network.add_connection(made, a, b)
    steps, monitors = len(given), {}
    for name in net["populations"]:
        monitors[name] = Monitor(layers[name], ["s"], time=steps)
        network.add_monitor(monitors[name], name)
    network.reset_state_variables()
    network.run({"in": given[:, None]}, time=steps)
    return {name: m.get("s")[:, 0].numpy().astype(np.int32) for name, m in monitors.items()}


def draw(rng, kind):
    """What each network has."""
    rest = float(rng.integers(-70, 0)) if kind != "plain" else 0.0
    populations = {
        name: {
            "size": size,
            "decay": decays(rng, size),
            "thresh": rest + (rng.integers(40, 120, size) + 0.5) * LSB,
            "rest": rest,
            "reset": rest + (float(rng.integers(-60, 30)) * LSB if kind == "reset" else 0.0),
            "refrac": int(rng.integers(1, 6)) if kind == "refractory" else 0,
            "lbound": rest - float(rng.integers(20, 90)) * LSB if kind == "bounded" else None,
        }
        for name, size in (("hidden", HIDDEN), ("out", OUT))
    }
    return {"populations": populations, "projections": projections(rng, most_delay=0)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    kinds = ("plain", "reset", "refractory", "bounded")
    main(Path(sys.argv[1]), int(sys.argv[2]), "bindsnet", kinds, draw, step)
