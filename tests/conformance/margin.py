"""How close a network comes to firing otherwise, and how far rounding can carry its potentials.

The framework's own spikes are put into the exact equations of every population, so that what one
neuron does cannot hide what another would. Everything is in the network's units.
"""

from dataclasses import dataclass

import numpy as np
from spikefab.compiler.ir.neuron import FRACTION_BITS

FLOAT32 = 2.0**-21  # of a sum, relative: what float32 loses of it in a step, decays included
EXACT = 2e-6  # how near a decay must be to a k/4096


@dataclass
class Margin:
    """Over all neurons and steps: least distance to a threshold, the reach of rounding at its
    largest, the least by which a distance exceeds its reach where there is rounding at all, how
    often a potential met a threshold exactly, and how often the equations give another count than
    the framework, though out of reach of rounding."""

    distance: float
    reach: float
    spare: float
    ties: int
    strays: int


def margin(network, program, report, spikes):
    """The margin of a run; spikes: counts [steps, size] of every input and population."""
    parts = [_population(network, program, report, p, spikes) for p in network.populations]
    return Margin(
        min(m.distance for m in parts), max(m.reach for m in parts),
        min(m.spare for m in parts), sum(m.ties for m in parts), sum(m.strays for m in parts),
    )  # fmt: skip


def _drive(network, p, spikes):
    """Weighted input [steps, size], and the sum of its magnitudes."""
    steps = len(next(iter(spikes.values())))
    total, size = np.zeros((steps, p.size)), np.zeros((steps, p.size))
    for x in network.projections:
        if x.target != p.name:
            continue
        weights = _matrix(x.connections, network.node(x.source).size, p.size) * x.gain
        given = np.zeros((steps, len(weights)))
        given[x.delay :] = spikes[x.source][: steps - x.delay]
        total += given @ weights
        size += given @ abs(weights)
    return total, size


def _matrix(connections, sources, targets):
    if isinstance(connections, np.ndarray):
        return connections.astype(np.float64)
    matrix = np.zeros((sources, targets))
    source = np.repeat(np.arange(sources), np.diff(connections.first))
    np.add.at(matrix, (source, connections.target), connections.weight)
    return matrix


def _decay(values, size):
    """k/4096 for each neuron, what rounding loses of it in a step in LSB, 0 where it is exact."""
    k = np.rint(values * 2**FRACTION_BITS)
    if (abs(k / 2**FRACTION_BITS - values) > EXACT).any():
        raise SystemExit(f"a decay of {values} is no k/4096")
    kept = np.broadcast_to(k / 2**FRACTION_BITS, size)
    return kept, np.where((kept == 0) | (kept == 1), 0.0, 1.0)


def _population(network, program, report, p, spikes):
    mapped = next(x for x in program.populations if x.name == p.name)
    lsb = next(x.lsb for x in report.populations if x.name == p.name)
    o = {**p.model.options, **p.options}

    def exact(name):
        return np.broadcast_to(p.parameters.get(name, np.zeros(1)), p.size)

    def off(name):
        """How far the rounded parameter is from the exact one; 0 but for the last float bits."""
        error = abs(exact(name) - mapped.parameters[name] * lsb) if name in p.parameters else 0.0
        return np.where(error < 1e-6 * (abs(exact(name)) + lsb), 0.0, error)

    if p.model.name == "if":
        kept, lost = np.ones(p.size), np.zeros(p.size)
    else:
        kept, lost = _decay(p.parameters["keep"], p.size)
    current = p.model.name == "cubalif"
    if current:
        kept_i, lost_i = _decay(p.parameters["keep_i"], p.size)
    drive, size = _drive(network, p, spikes)
    v = np.zeros(p.size) + p.initial.get("v", 0.0)
    e, i, e_i, fired, waits = (np.zeros(p.size) for _ in range(5))
    period = p.parameters.get("refractory_period", 0)
    result = Margin(np.inf, 0.0, np.inf, 0, 0)
    threshold = exact("threshold")

    def reset(v, e, count):
        if o["reset"] == "subtract":
            return v - count * threshold, e + count * off("threshold")
        return np.where(count > 0, exact("v_reset"), v), np.where(count > 0, off("v_reset"), e)

    for step, count in enumerate(spikes[p.name].astype(np.float64)):
        if o["reset_at"] == "before":
            v, e = reset(v, e, fired)
        inexact = lost + (lost_i if current else 0)
        slack = FLOAT32 * (abs(v) + size[step] + abs(i) + threshold) * (inexact > 0)
        x, e_x = drive[step], slack
        if current:
            if o["leak_at"] == "after":
                i = kept_i * (i + drive[step]) + exact("bias_i")
            else:
                i = kept_i * i + drive[step] + exact("bias_i")
            e_i = kept_i * e_i + lost_i * lsb + off("bias_i") + slack
            x, e_x = i, e_i
        ready, held = waits == 0, (v, e)
        if o["refractory"] == "discard":
            x, e_x = np.where(ready, x, 0), np.where(ready, e_x, 0)
        if not current and o.get("leak_at") == "after":
            v, e, x, e_x = v + x, e + e_x, 0, 0
        v = kept * v + x + exact("bias")
        e = kept * e + lost * lsb + e_x + off("bias") + slack
        if o["refractory"] == "hold":
            v, e = np.where(ready, v, held[0]), np.where(ready, e, held[1])
        if o["reset_at"] == "after":
            v, e = reset(v, e, fired)
        waits = np.where(count > 0, period, np.maximum(waits - 1, 0))
        most = 2 ** int(o["count_bits"]) - 1
        nearest = np.clip(np.rint(v / threshold), 1, most)
        distance = abs(v - nearest * threshold)
        reach = e + nearest * off("threshold")
        result.distance = min(result.distance, float(distance.min()))
        result.reach = max(result.reach, float(reach.max()))
        spare = np.where((reach > 0) & ready, distance - reach, np.inf)
        result.spare = min(result.spare, float(spare.min()))
        above = np.greater if o["fires"] == ">" else np.greater_equal
        told = (nearest - 1 + above(v, nearest * threshold)) * ready
        result.strays += int(((spare > 0) & (told != count)).sum())
        result.ties += int((ready & (distance == 0)).sum())
        fired = count
        if o["reset_at"] == "now":
            v, e = reset(v, e, fired)
        if o["floor"] == "value":
            v, e = np.maximum(v, exact("v_floor")), np.maximum(e, off("v_floor"))
    return result
