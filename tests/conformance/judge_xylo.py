"""Whether Spikefab gives every spike, current and potential of xylosim: `python judge_xylo.py
FOLDER NAME`.

All of it is whole numbers, so nothing rounds. Networks whose currents could saturate are refused;
they are counted and left out.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import spikefab as sf

LEAST = 20


def main(folder, name):
    drawn, kept, wrong = Counter(), Counter(), []
    spikes = several = 0
    for path in sorted(Path(folder).glob("*.npz")):
        about, stored = json.loads(path.with_suffix(".json").read_text()), dict(np.load(path))
        drawn[about["kind"]] += 1
        raster = stored.pop("input")
        expected = {k.removeprefix("of/"): stored.pop(k) for k in list(stored) if "of/" in k}
        try:
            network = sf.xylo_network(**stored, events=about["events"])
        except sf.SpikefabError as refused:
            print(f"{path.stem} {about['kind']}: left out: {refused}")
            continue
        kept[about["kind"]] += 1
        program, report = sf.compile(network, weight_bits=12)
        given = {"input": sf.SpikeTrain.from_dense(raster)}
        run = sf.Emulator(program).run(given, len(raster), record=list(expected))
        unequal = {
            k: int(((run.state[k][0] if "." in k else run.spikes[k].to_dense(*x.shape)) != x).sum())
            for k, x in expected.items()
        }
        fired = sum(int(expected[k].sum()) for k in ("hidden", "output"))
        spikes, several = spikes + fired, several + int((expected["hidden"] > 1).sum())
        if any(unequal.values()) or not all(p.exact for p in report.populations):
            wrong.append(path.stem)
        print(f"{path.stem} {about['kind']}: {fired} spikes, {sum(unequal.values())} values differ")
    print(
        f"{name}: {sum(kept.values())} networks of {len(kept)} kinds, {sum(drawn.values())} drawn, "
        f"{spikes} spikes, {several} times several in a step, {len(wrong)} networks differ "
        f"{wrong or ''}"
    )
    missing = sorted(set(drawn) - set(kept))
    if wrong or missing or sum(kept.values()) < LEAST:
        raise SystemExit(f"{name}: failed; kinds without a network: {missing or 'none'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
