"""Whether Spikefab gives every spike of Brian2 or BindsNET.

`python judge_step_order.py FOLDER NAME`; networks are those of `step_order_nets`; why some are
left out is said in `judge`.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import spikefab as sf
from drawing import LSB
from margin import margin

LEAST = 20
NEURONS = {"brian2": sf.brian2_lif, "bindsnet": sf.bindsnet_lif}


def built(about, lines):
    net = sf.Network()
    nodes = {"in": net.input("in", lines)}
    for name, given in about["populations"].items():
        nodes[name] = NEURONS[about["framework"]](net, name, **given, output=True)
    for source, target, weights, delay in about["projections"]:
        net.connect(nodes[source], nodes[target], np.array(weights), delay=delay + 1)
    return net


def main(folder, name):
    drawn, kept, wrong, spikes, spare = Counter(), Counter(), [], 0, np.inf
    for path in sorted(Path(folder).glob("*.json")):
        about, stored = json.loads(path.read_text()), np.load(path.with_suffix(".npz"))
        steps, lines = stored["input"].shape
        network = built(about, lines)
        given = {"in": sf.SpikeTrain.from_dense(stored["input"])}
        expected = {p.name: stored[f"of/{p.name}"] for p in network.populations}
        program, report = sf.compile(network, calibrate=given)
        drawn[about["kind"]] += 1
        found = margin(network, program, report, {"in": stored["input"], **expected})
        run = sf.Emulator(program).run(given, steps)
        unequal = sum(
            int((run.spikes[p].to_dense(steps, x.shape[1]) != x).sum()) for p, x in expected.items()
        )
        if found.strays or (found.spare > 0 and unequal):
            wrong.append(path.stem)
        if found.spare > 0 and all(p.exact for p in report.populations):
            kept[about["kind"]] += 1
            spikes += sum(int(x.sum()) for x in expected.values())
            spare = min(spare, found.spare / LSB)
        print(
            f"{path.stem} {about['kind']}: least distance {found.distance / LSB:.4f} weight LSB, "
            f"rounding reaches {found.reach / LSB:.4f}, {found.strays} stray; {unequal} differ"
            f"{'' if found.spare > 0 else ', left out: closer than rounding reaches'}"
        )
    print(
        f"{name}: {sum(kept.values())} networks of {len(kept)} kinds, {sum(drawn.values())} drawn, "
        f"{spikes} spikes, at least {spare:.4f} weight LSB spare, {len(wrong)} networks differ "
        f"{wrong or ''}"
    )
    missing = sorted(set(drawn) - set(kept))
    if wrong or missing or sum(kept.values()) < LEAST:
        raise SystemExit(f"{name}: failed; kinds without a network: {missing or 'none'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
