"""Networks of SuperNeuroMAT, saved by `saveas_json`: `python superneuromat_nets.py FOLDER EACH`.

Leaks, refractory periods, reset states, delays by chains, and endless leaks; all in whole numbers,
so that every tie is met.
"""

import sys
from pathlib import Path

import numpy as np
from superneuromat import SNN

STEPS = 60


def draw(rng, path, kind):
    net = SNN()
    neurons = [
        net.create_neuron(
            threshold=float(rng.integers(20, 120)),
            leak=np.inf if kind == "endless leak" and n % 3 == 0 else float(rng.integers(0, 12)),
            reset_state=float(rng.integers(-20, 20)) if kind != "plain" else 0.0,
            refractory_period=int(rng.integers(0, 4)) if kind != "plain" else 0,
        )
        for n in range(16)
    ]
    for a in neurons:
        for b in neurons:
            if rng.random() < 0.3:
                delay = int(rng.integers(1, 4)) if kind == "delays" else 1
                net.create_synapse(a, b, weight=float(rng.integers(-128, 128)), delay=delay)
    path.write_text(net.to_json())
    given = np.zeros((STEPS, net.num_neurons), np.int32)
    given[:, :16] = (rng.random((STEPS, 16)) < 0.4) * rng.integers(1, 16, (STEPS, 16))
    given[:, :16] += (rng.random((STEPS, 16)) < 0.1) * (15 - given[:, :16])
    for step, neuron in zip(*given.nonzero(), strict=True):
        net.add_spike(int(step), int(neuron), float(given[step, neuron]))
    net.simulate(STEPS, use="cpu")
    return given, np.array(net.ispikes).astype(np.int32)


if __name__ == "__main__":
    folder, each = Path(sys.argv[1]), int(sys.argv[2])
    number = 0
    for kind in ("plain", "refractory", "endless leak", "delays"):
        found = 0
        for seed in range(400):
            path = folder / f"{number:03}.snn"
            given, spikes = draw(np.random.default_rng([number, seed]), path, kind)
            if not 0.02 < spikes.mean() < 0.7 or spikes[:, :16].any(axis=0).mean() < 0.8:
                path.unlink()
                continue
            np.savez_compressed(path.with_suffix(".npz"), input=given, spikes=spikes)
            number, found = number + 1, found + 1
            if found == each:
                break
        else:
            raise SystemExit(f"no {each} lively networks of kind '{kind}'")
