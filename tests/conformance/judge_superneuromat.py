"""Whether Spikefab gives every spike of SuperNeuroMAT, and every weight after the run:
`python judge_superneuromat.py FOLDER NAME`.

All of it is whole numbers, so nothing rounds; plastic weights have 16 bits, of which none may reach
an end. Nothing is left out.
"""

import sys
from pathlib import Path

import numpy as np
import spikefab as sf

LEAST = 20


def main(folder, name):
    networks = spikes = weights = changed = wrong = 0
    for path in sorted(Path(folder).glob("*.snn")):
        stored = np.load(path.with_suffix(".npz"))
        given = {"input": sf.SpikeTrain.from_dense(stored["input"])}
        steps = len(stored["input"])
        network, _ = sf.load_superneuromat(path)
        plastic = any(x.plasticity for x in network.projections)
        program, report = sf.compile(network, weight_bits=16 if plastic else 8)
        emulator = sf.Emulator(program)
        run = emulator.run(given, steps)
        expected = stored["spikes"]
        found = run.spikes["neurons"].to_dense(*expected.shape)
        unequal = int((found != expected).sum())
        for q in program.plastic:
            left = emulator.read(f"{q.name}.weights") * q.lsb
            unequal += int((left != stored["weights"][q.source, q.to]).sum())
            weights, changed = weights + q.count, changed + int((left != q.weight * q.lsb).sum())
        limit = sf.first_limit(program, given, steps)
        exact = all(p.exact for p in report.populations) and limit is None
        networks, spikes = networks + 1, spikes + int(expected.sum())
        wrong += unequal > 0 or not exact
        print(f"{path.stem}: {expected.sum()} spikes, {unequal} differ, exact: {exact}")
    print(
        f"{name}: {networks} networks, {spikes} spikes, {weights} plastic weights of which "
        f"{changed} changed, {wrong} networks differ"
    )
    if wrong or networks < LEAST:
        raise SystemExit(f"{name}: failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
