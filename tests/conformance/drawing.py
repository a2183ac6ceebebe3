"""Random networks whose weights and decays are exact in fixed point, and where they are put.

Used by the suites in their frameworks' own environments: needs NumPy only. A network is three files
in a folder: `N.nir`, `N.npz` with `input` and the spikes `of/NODE` of every layer, counts
[steps, lines], and `N.json` with its kind and what `spikefab.load` must be told. What an exporter
loses and a user puts back is in the second: `rec/NODE`, weights from a layer to itself, and
`bias/NODE`.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np

STEPS = 48
LSB = 2.0**-7  # of weights, thresholds and biases
DRAWS = 2000  # tries for a network in which every layer is alive


def whole(rng, *shape):
    """Weights over the full 8 bits: -128..127 LSB, both ends among them."""
    k = rng.integers(-128, 128, shape)
    k.flat[rng.choice(k.size, 2, replace=False)] = 127, -128
    return (k * LSB).astype(np.float32)


def keep(rng, *shape, low=1400, high=3700):
    """Decays k/4096."""
    return rng.integers(low, high, shape) / 4096


def level(rng, low=110, high=260):
    """A threshold in LSB."""
    return float(rng.integers(low, high)) * LSB


def biases(rng, size):
    return (rng.integers(-20, 40, size) * LSB).astype(np.float32)


def raster(rng, *lines, rate=0.25, most=1):
    """Input counts [STEPS, *lines]."""
    fired = rng.random((STEPS, *lines)) < rate
    return (fired * rng.integers(1, most + 1, fired.shape)).astype(np.float32)


def lively(spikes, most=15):
    """Whether every layer is alive, and none fires in nearly every step or beyond `most`."""
    return all(
        0.02 < (x > 0).mean() < 0.7 and (x > 0).any(axis=0).mean() > 0.5 and x.max() <= most
        for x in spikes.values()
    )


def draw(folder, kinds, each):
    """Write `each` lively networks of every kind.

    A kind is a function of a generator that gives the input, the spikes by node [STEPS, ...], the
    settings for `spikefab.load`, a function that exports to a path, and, if anything is to be put
    back, arrays of that.
    """
    packages = ("nir", "nirtorch", "torch", "snntorch", "norse", "spikingjelly", "sinabs",
                "rockpool")  # fmt: skip
    versions = {d.name: d.version for d in importlib.metadata.distributions() if d.name in packages}
    Path(folder, "versions.json").write_text(json.dumps(versions))
    number = 0
    for kind, make in kinds.items():
        found = 0
        for seed in range(DRAWS):
            given, spikes, settings, export, *lost = make(np.random.default_rng([number, seed]))
            if not lively(spikes):
                continue
            path = Path(folder) / f"{number:03}"
            export(path.with_suffix(".nir"))
            arrays = {f"of/{n}": x.reshape(STEPS, -1).astype(np.int32) for n, x in spikes.items()}
            flat = given.reshape(STEPS, -1).astype(np.int32)
            arrays |= {k: v for some in lost for k, v in some.items()}
            np.savez_compressed(path.with_suffix(".npz"), input=flat, **arrays)
            about = {"kind": kind, "settings": settings}
            path.with_suffix(".json").write_text(json.dumps(about))
            number, found = number + 1, found + 1
            if found == each:
                break
        else:
            raise SystemExit(f"no {each} lively networks of kind '{kind}' in {DRAWS} draws")
