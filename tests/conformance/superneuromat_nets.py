"""Networks of SuperNeuroMAT, saved by `saveas_json`: `python superneuromat_nets.py FOLDER EACH`.

Leaks, refractory periods, reset states, delays by chains, endless leaks, and STDP with positive,
negative and both updates; all in whole numbers, so that every tie is met.
"""

import sys
from pathlib import Path

import numpy as np
from superneuromat import SNN

STEPS = 60
LEARNING = {"STDP": (True, True), "STDP up": (True, False), "STDP down": (False, True)}


def draw(rng, path, kind):
    net = SNN()
    plastic = kind in LEARNING
    neurons = [
        net.create_neuron(
            threshold=float(rng.integers(20, 120)),
            leak=np.inf if endless(kind, n) else float(rng.integers(0, 12)),
            reset_state=float(rng.integers(-20, 20)) if resets(kind, n) else 0.0,
            refractory_period=int(rng.integers(0, 4)) if kind != "plain" else 0,
        )
        for n in range(16)
    ]
    for a in neurons:
        for b in neurons:
            if rng.random() < 0.3:
                delay = int(rng.integers(1, 4)) if kind == "delays" or plastic else 1
                learns = plastic and bool(rng.random() < 0.7)
                weight = float(rng.integers(-40 if plastic else -128, 128))
                net.create_synapse(a, b, weight=weight, delay=delay, stdp_enabled=learns)
    if plastic:
        lags, (up, down) = int(rng.integers(1, 9)), LEARNING[kind]
        net.stdp_setup(
            rng.integers(0, 12, lags).astype(float).tolist() if up else None,
            (-1.0 * (rng.random(lags) < 0.3)).tolist() if down else None, up, down,
        )  # fmt: skip
    path.write_text(net.to_json())
    given = np.zeros((STEPS, net.num_neurons), np.int32)
    given[:, :16] = (rng.random((STEPS, 16)) < 0.4) * rng.integers(1, 16, (STEPS, 16))
    given[:, :16] += (rng.random((STEPS, 16)) < 0.1) * (15 - given[:, :16])
    for step, neuron in zip(*given.nonzero(), strict=True):
        net.add_spike(int(step), int(neuron), float(given[step, neuron]))
    net.simulate(STEPS, use="cpu", sparse=plastic and bool(rng.random() < 0.5))
    return given, np.array(net.ispikes).astype(np.int32), net.weight_mat()


def resets(kind, n):
    """Whether neuron n has a reset state other than 0."""
    return kind != "plain" and not (kind in LEARNING and endless(kind, n))


def endless(kind, n):
    """Whether neuron n leaks to its reset state in a step."""
    return (kind == "endless leak" or kind in LEARNING) and n % 3 == 0


if __name__ == "__main__":
    folder, each = Path(sys.argv[1]), int(sys.argv[2])
    number = 0
    for kind in ("plain", "refractory", "endless leak", "delays", *LEARNING):
        found = 0
        for seed in range(400):
            path = folder / f"{number:03}.snn"
            given, spikes, weights = draw(np.random.default_rng([number, seed]), path, kind)
            if not 0.02 < spikes.mean() < 0.7 or spikes[:, :16].any(axis=0).mean() < 0.8:
                path.unlink()
                continue
            left = {"input": given, "spikes": spikes, "weights": weights}
            np.savez_compressed(path.with_suffix(".npz"), **left)
            number, found = number + 1, found + 1
            if found == each:
                break
        else:
            raise SystemExit(f"no {each} lively networks of kind '{kind}'")
