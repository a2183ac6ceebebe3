"""Networks that are built in Python in both tools: their drawing, and the files for the judge."""

import json

import numpy as np
from drawing import DRAWS, keep, lively, raster, whole

LINES, HIDDEN, OUT = 12, 16, 8


def sparse(rng, sources, targets):
    """Weights over the full 8 bits [source, target], a half of them 0."""
    found = whole(rng, sources, targets)
    return np.where((abs(found) == abs(found).max()) | (rng.random(found.shape) < 0.5), found, 0)


def decays(rng, size):
    """Five decays k/4096, one for each neuron."""
    return rng.choice(keep(rng, 5), size)


def projections(rng, most_delay):
    """(source, target, weights [source, target], steps of delay)."""
    ends = [("in", "hidden", LINES, HIDDEN), ("hidden", "hidden", HIDDEN, HIDDEN),
            ("hidden", "out", HIDDEN, OUT)]  # fmt: skip
    return [
        (a, b, sparse(rng, m, n).astype(float), int(rng.integers(0, most_delay + 1)))
        for a, b, m, n in ends
    ]


def main(folder, each, framework, kinds, draw, step):
    """Draw so many lively networks of each kind.

    draw(rng, kind): parameters of `hidden` and `out`; step(net): their spikes [steps, size].
    """
    number = 0
    for kind in kinds:
        found = 0
        for seed in range(DRAWS):
            rng = np.random.default_rng([number, seed])
            net = {"framework": framework, "kind": kind, **draw(rng, kind),
                   "input": raster(rng, LINES)}  # fmt: skip
            spikes = step(net)
            if not lively(spikes):
                continue
            _save(folder / f"{number:03}", net, spikes)
            number, found = number + 1, found + 1
            if found == each:
                break
        else:
            raise SystemExit(f"no {each} lively networks of kind '{kind}'")


def _save(path, net, spikes):
    given = net.pop("input")
    path.with_suffix(".json").write_text(json.dumps(net, default=lambda x: x.tolist()))
    of = {f"of/{name}": x.astype(np.int32) for name, x in spikes.items()}
    np.savez_compressed(path.with_suffix(".npz"), input=given.astype(np.int32), **of)
