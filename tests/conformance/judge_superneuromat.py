"""Whether Spikefab gives every spike of SuperNeuroMAT: `python judge_superneuromat.py FOLDER NAME`.

All of it is whole numbers, so nothing rounds and nothing is left out.
"""

import sys
from pathlib import Path

import numpy as np
import spikefab as sf

LEAST = 20


def main(folder, name):
    networks = spikes = wrong = 0
    for path in sorted(Path(folder).glob("*.snn")):
        stored = np.load(path.with_suffix(".npz"))
        given = {"input": sf.SpikeTrain.from_dense(stored["input"])}
        network, _ = sf.load_superneuromat(path)
        program, report = sf.compile(network, calibrate=given)
        run = sf.Emulator(program).run(given, len(stored["input"]))
        expected = stored["spikes"]
        found = run.spikes["neurons"].to_dense(*expected.shape)
        unequal = int((found != expected).sum())
        networks, spikes, wrong = networks + 1, spikes + int(expected.sum()), wrong + (unequal > 0)
        exact = all(p.exact for p in report.populations)
        print(f"{path.stem}: {expected.sum()} spikes, {unequal} differ, exact: {exact}")
    print(f"{name}: {networks} networks, {spikes} spikes, {wrong} networks differ")
    if wrong or networks < LEAST:
        raise SystemExit(f"{name}: failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
