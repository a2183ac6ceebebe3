"""Whether Spikefab gives every spike of a framework: `python judge.py FOLDER NAME`.

FOLDER holds networks as `drawing` writes them. Each is compiled as its user would, and run on the
emulator. Networks in which a potential comes closer to its threshold than rounding could carry it
are counted and left out, once all spikes out of this reach are seen to follow from the equations as
read; so are those whose potentials need a coarser LSB in 16 bits of state than the weights have.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import spikefab as sf
from margin import margin

LEAST = 20  # networks that must be left


def judge(path):
    """One network: its kind, margin (None if its weights are not exact), weight LSB, the spikes of
    the framework, and at how many places ours differ."""
    about = json.loads(path.with_suffix(".json").read_text())
    stored = np.load(path.with_suffix(".npz"))
    network = sf.load(path, **about["settings"])
    (name,) = (i.name for i in network.inputs)
    given = {name: sf.SpikeTrain.from_dense(stored["input"])}
    expected = {k.removeprefix("of/"): stored[k] for k in stored.files if k.startswith("of/")}
    if sorted(expected) != sorted(p.name for p in network.populations):
        raise SystemExit(f"{path}: layers {sorted(expected)} became other populations")
    for p in network.populations:
        if f"rec/{p.name}" in stored:
            network.connect(p, p, stored[f"rec/{p.name}"], delay=1)
        if f"bias/{p.name}" in stored:
            p.parameters["bias"] = stored[f"bias/{p.name}"]
    program, report = sf.compile(network, calibrate=given)
    if not all(p.exact for p in report.populations):
        return about["kind"], None, 0, 0, 0
    found = margin(network, program, report, {name: stored["input"], **expected})
    steps = len(stored["input"])
    run = sf.Emulator(program).run(given, steps, record=list(expected))
    unequal = sum(
        int((run.spikes[p].to_dense(steps, x.shape[1]) != x).sum()) for p, x in expected.items()
    )
    unit = min(p.weight_lsb for p in report.populations)
    return about["kind"], found, unit, sum(int(x.sum()) for x in expected.values()), unequal


def main(folder, name):
    drawn, kept, wrong = Counter(), Counter(), []
    spikes, ties, spare = 0, 0, np.inf
    for path in sorted(Path(folder).glob("*.nir")):
        kind, found, unit, fired, unequal = judge(path)
        drawn[kind] += 1
        if found is None:
            print(f"{path.stem} {kind}: left out: its potentials reach too far")
            continue
        verdict = "left out: closer than rounding reaches"
        if found.strays:
            print(f"{path.stem}: {found.strays} spikes do not follow from the equations as read")
            wrong.append(path.name)
        if found.spare > 0:
            kept[kind] += 1
            spikes, ties = spikes + fired, ties + found.ties
            spare = min(spare, found.spare / unit)
            verdict = f"{unequal} of {fired} spikes differ" if unequal else f"{fired} spikes equal"
            if unequal:
                wrong.append(path.name)
        print(
            f"{path.stem} {kind}: least distance {found.distance / unit:.4f} weight LSB, rounding "
            f"reaches {found.reach / unit:.4f}, spare {found.spare / unit:.4f}; {verdict}"
        )
    versions = json.loads(Path(folder, "versions.json").read_text())
    print(f"{name}, of", ", ".join(f"{k} {v}" for k, v in sorted(versions.items())))
    print(
        f"{name}: {sum(kept.values())} networks of {len(kept)} kinds, {sum(drawn.values())} drawn, "
        f"{spikes} spikes, {ties} exact ties, at least {spare:.4f} weight LSB spare, {len(wrong)} "
        f"networks differ {wrong or ''}"
    )
    missing = sorted(set(drawn) - set(kept))
    if wrong or missing or sum(kept.values()) < LEAST:
        raise SystemExit(f"{name}: failed; kinds without a network: {missing or 'none'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
