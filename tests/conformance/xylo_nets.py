"""Networks of Xylo, run by xylosim: `python xylo_nets.py FOLDER EACH`.

All is in whole numbers, so that every tie is met. A network is one `.npz`: the specification,
`input`, and what xylosim gives of hidden neurons and outputs: spikes, currents, potentials.
"""

import json
import sys
from math import isqrt
from pathlib import Path

import numpy as np
from xylosim.v2 import XyloLayer, XyloSynapse

STEPS = 60
LINES, HIDDEN, OUTPUTS = 10, 24, 6


def drawn(rng, dash=(1, 5), shifts=(0, 1), most=1, top=127, recurrent=False, bias=False):
    """The specification of a network, as `XyloSim.from_specification` takes it."""

    def weights(*shape):
        drawn = rng.integers(-top - 1, top + 1, shape) * (rng.random(shape) < 0.6)
        return np.where(rng.random(shape) < 0.2, np.minimum(abs(drawn), top), drawn)

    spec = {"weights_in": weights(LINES, HIDDEN), "weights_out": weights(HIDDEN, OUTPUTS)}
    spec["weights_rec"] = weights(HIDDEN, HIDDEN) // 8 * recurrent
    shift = {k: int(rng.integers(*shifts)) for k in ("in", "rec", "out")}
    spec |= {f"weight_shift_{k}": v for k, v in shift.items()}
    layers = (("", HIDDEN, isqrt(most) << shift["in"]), ("_out", OUTPUTS, 1 << shift["out"]))
    for key, size, unit in layers:
        spec[f"dash_syn{key}"] = rng.integers(*dash, size)
        spec[f"dash_mem{key}"] = rng.integers(*dash, size)
        spec[f"threshold{key}"] = rng.integers(top, 5 * top, size) * unit
        spec[f"bias{key}"] = rng.integers(-top // 4, top // 2, size) * bias
    return spec


def run(spec, raster):
    """Spikes, currents and potentials of hidden neurons and outputs [STEPS, size]."""

    def listed(weights):
        return [
            [XyloSynapse(int(post), 0, int(row[post])) for post in np.flatnonzero(row)]
            for row in weights
        ]

    def plain(values):
        return [int(x) for x in values]

    # the layer points into these and does not keep them alive
    into, back, out = (listed(spec[f"weights_{k}"]) for k in ("in", "rec", "out"))
    layer = XyloLayer(
        synapses_in=into, synapses_rec=back, synapses_out=out,
        aliases=[[] for _ in range(HIDDEN)],
        threshold=plain(spec["threshold"]), threshold_out=plain(spec["threshold_out"]),
        has_bias=bool(spec["bias"].any() or spec["bias_out"].any()),
        bias=plain(spec["bias"]), bias_out=plain(spec["bias_out"]),
        weight_shift_inp=spec["weight_shift_in"], weight_shift_rec=spec["weight_shift_rec"],
        weight_shift_out=spec["weight_shift_out"],
        dash_mem=plain(spec["dash_mem"]), dash_mem_out=plain(spec["dash_mem_out"]),
        dash_syns=[[d, 0] for d in plain(spec["dash_syn"])],
        dash_syns_out=[[d] for d in plain(spec["dash_syn_out"])], name="net",
    )  # fmt: skip
    shown = np.array(layer.evolve(raster.tolist()))
    return {
        "of/hidden": np.array(layer.rec_recurrent_spikes), "of/output": shown,
        "of/hidden.i": np.array(layer.rec_i_syn).T, "of/output.i": np.array(layer.rec_i_syn_out).T,
        "of/hidden.v": np.array(layer.rec_v_mem).T, "of/output.v": np.array(layer.rec_v_mem_out).T,
    }  # fmt: skip


KINDS = {
    "feed-forward": {"dash": (1, 4)},
    "several events": {"most": 4, "dash": (1, 4), "top": 60},
    "fifteen events": {"most": 15, "dash": (1, 3), "top": 40},
    "bias": {"bias": True, "dash": (1, 4)},
    "recurrent": {"recurrent": True, "dash": (1, 3), "top": 60},
    "recurrent, bias, shifts": {"recurrent": True, "bias": True, "dash": (1, 3), "shifts": (0, 3),
                                "top": 20},
}

if __name__ == "__main__":
    folder, each = Path(sys.argv[1]), int(sys.argv[2])
    number = 0
    for kind, options in KINDS.items():
        found = 0
        for seed in range(2000):
            rng = np.random.default_rng([number, seed])
            spec, most = drawn(rng, **options), options.get("most", 1)
            raster = rng.integers(1, most + 1, (STEPS, LINES)) * (rng.random((STEPS, LINES)) < 0.4)
            result = run(spec, raster)
            if not all(
                0.02 < (x > 0).mean() < 0.7 and (x > 0).any(axis=0).mean() > 0.5
                for x in (result["of/hidden"], result["of/output"])
            ):
                continue
            path = folder / f"{number:03}"
            np.savez_compressed(path.with_suffix(".npz"), input=raster, **spec, **result)
            path.with_suffix(".json").write_text(json.dumps({"kind": kind, "events": most}))
            number, found = number + 1, found + 1
            if found == each:
                break
        else:
            raise SystemExit(f"no {each} lively networks of kind '{kind}'")
