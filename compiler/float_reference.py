"""Stepping a network in floats, exactly as its framework does: all layers within one step.

This is what every claim of fidelity is measured against. It shares no code with the fixed-point
models: their options (see `ir.models`) are written out here once more, in float64 and without
rounding, saturation or the power-of-two `gain`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .ir.errors import SpikefabError
from .ir.models import LIBRARY
from .ir.spikes import SpikeTrain
from .network import Floats, Generated, Network, Population, Projection, Rows, Triples

MAX_GENERATED = 10**7  # synapses of a Generated projection that are written out
_BLOCK = 1 << 22  # numbers of currents that are held at a time
_SPARSE = 0.1  # share of active sources below which only their rows are read


@dataclass(frozen=True, eq=False)
class Range:
    """The least and greatest value of a variable that each neuron has seen, float64 [size]."""

    low: Floats
    high: Floats

    @property
    def peak(self) -> float:
        """The greatest magnitude in the population."""
        return float(max(-self.low.min(), self.high.max(), 0.0))


@dataclass(frozen=True, eq=False)
class FloatRecording:
    """What a float run gives, in the network's units; arrays are [samples, steps, size].

    spikes: booleans, or counts where spikes carry them, of recorded populations that spike; values:
    of recorded ones that do not; potentials: v at the end of a step, where asked for; counts:
    spikes [samples, size] of every population that spikes; ranges: by population, of its `current`
    (weighted input of a step times gain, without bias), of `v` (before and after a reset) and,
    where it has one, of `i` or `u`.
    """

    steps: int
    samples: int
    spikes: dict[str, NDArray[Any]] = field(default_factory=dict)
    values: dict[str, Floats] = field(default_factory=dict)
    potentials: dict[str, Floats] = field(default_factory=dict)
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    ranges: dict[str, dict[str, Range]] = field(default_factory=dict)


class FloatReference:
    """A network made ready to be stepped.

    Raises SpikefabError for a model of the user's own, generated synapses beyond 10^7, or a loop
    of projections without delay.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        for p in network.populations:
            if LIBRARY.get(p.model.name) is not p.model:
                raise SpikefabError(
                    f"model '{p.model.name}'",
                    f"population '{p.name}'",
                    "there is no float reference for it",
                    f"the library has {', '.join(LIBRARY)}",
                )
        for x in network.projections:
            if x.plasticity is not None:
                raise SpikefabError(
                    f"plastic projection '{x.name}'", "the float reference", "it does not learn",
                    "compile without calibration, or without plasticity",
                )  # fmt: skip
        synapses = [s for p in network.projections for s in _synapses(network, p)]
        self._order = _step_order(network, synapses)
        self._incoming = {p.name: [s for s in synapses if s.target == p.name] for p in self._order}
        self._slots = {
            n: 1 + max((s.delay for s in synapses if s.source == n), default=0)
            for n in network.graph
        }

    def run(
        self,
        inputs: Mapping[str, NDArray[Any] | SpikeTrain],
        steps: int | None = None,
        samples: int | None = None,
        *,
        record: Collection[str] | None = None,
        potentials: Collection[str] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> FloatRecording:
        """Run independent samples, each from the initial state.

        inputs: by name, counts [samples, steps, size] (or [steps, size]) or a SpikeTrain; steps,
        samples: taken from these if left out; record: populations to record, by default the
        outputs; potentials: those whose v to record too; progress: told (steps done, steps).
        Raises SpikefabError for inputs or names that do not fit the network.
        """
        steps, samples = _extent(inputs, steps, samples)
        feeds = _feeds(self.network, inputs, steps, samples)
        recording = self._blank(steps, samples, record, potentials)
        cells = {p.name: _Cells(p, samples) for p in self._order}
        rings: dict[str, list[Floats]] = {
            name: [np.zeros((samples, 0))] * slots for name, slots in self._slots.items()
        }
        for step in range(steps):
            for name, feed in feeds.items():
                rings[name][step % self._slots[name]] = next(feed)
            for p in self._order:
                current = np.zeros((samples, p.size))
                for s in self._incoming[p.name]:
                    if step >= s.delay:
                        ring = rings[s.source]
                        current += s.weighted(ring[(step - s.delay) % len(ring)])
                out = cells[p.name].step(current)
                rings[p.name][step % self._slots[p.name]] = out.astype(np.float64)
                if p.name in recording.spikes:
                    recording.spikes[p.name][:, step] = out
                if p.name in recording.counts:
                    recording.counts[p.name] += out
                if p.name in recording.values:
                    recording.values[p.name][:, step] = out
                if p.name in recording.potentials:
                    recording.potentials[p.name][:, step] = cells[p.name].v
            if progress:
                progress(step + 1, steps)
        for name, cell in cells.items():
            recording.ranges[name] = {k: Range(*ends) for k, ends in cell.seen.items()}
        return recording

    def _blank(
        self, steps: int, samples: int, record: Collection[str] | None, potentials: Collection[str]
    ) -> FloatRecording:
        names = [p.name for p in self._order]
        chosen = [p.name for p in self._order if p.output] if record is None else record
        for name in (*chosen, *potentials):
            if name not in names:
                raise SpikefabError(
                    f"no population '{name}'", "the recording", hint=f"it has {', '.join(names)}"
                )
        recording = FloatRecording(steps, samples)
        for p in self._order:
            shape = (samples, steps, p.size)
            if _spiking(p):
                recording.counts[p.name] = np.zeros((samples, p.size), np.int64)
                if p.name in chosen:
                    counted = {**p.model.options, **p.options}.get("count_bits", "1") != "1"
                    recording.spikes[p.name] = np.zeros(shape, np.int64 if counted else np.bool_)
            elif p.name in chosen:
                recording.values[p.name] = np.zeros(shape)
            if p.name in potentials:
                recording.potentials[p.name] = np.zeros(shape)
        return recording


def respond(
    network: Network,
    p: Population,
    projections: Sequence[Projection],
    spikes: Mapping[str, NDArray[Any]],
) -> NDArray[Any]:
    """Spikes or values [samples, steps, size] of one population, on given spikes of its sources.

    p, projections: may be others than those of the network, of the same sizes; spikes: counts by
    source, [samples, steps, size]. It steps as in a run of the whole network.
    """
    synapses = [s for x in projections for s in _synapses(network, x)]
    samples, steps = next(iter(spikes.values())).shape[:2]
    cells, told = _Cells(p, samples), []
    block = max(1, _BLOCK // (samples * p.size))
    for start in range(0, steps, block):
        current = np.zeros((samples, min(block, steps - start), p.size))
        for s in synapses:
            begin = max(start - s.delay, 0)
            seen = spikes[s.source][:, begin : max(start + current.shape[1] - s.delay, 0)]
            if seen.shape[1]:
                flat = seen.reshape(-1, seen.shape[2]).astype(np.float64)
                current[:, -seen.shape[1] :] += s.weighted(flat).reshape(*seen.shape[:2], p.size)
        told += [cells.step(current[:, t]) for t in range(current.shape[1])]
    return np.stack(told, axis=1)


def _spiking(p: Population) -> bool:
    return p.model.name not in ("li", "cubali")


class _Cells:
    """The state of a population, [samples, size] each, and its update by a step."""

    def __init__(self, p: Population, samples: int) -> None:
        self.options = {**p.model.options, **p.options}
        self.parameters = p.parameters
        self.spiking = _spiking(p)
        self.bits = int(self.options.get("count_bits", "1"))
        self.has_current = p.model.name in ("cubalif", "cubali")
        self.v, self.u, self.a, self.i, self.refractory = (
            np.zeros((samples, p.size)) + p.initial.get(name, 0.0)
            for name in ("v", "u", "a", "i", "refractory")
        )
        self.seen: dict[str, tuple[Floats, Floats]] = {}

    def step(self, current: Floats) -> NDArray[Any]:
        """Spikes of one step (booleans, or counts), or values of a population without spikes."""
        o, before = self.options, self.v
        self._note("current", current)
        if "curvature" in self.parameters:
            return self._izhikevich(current)
        drive = current
        if self.has_current:
            i = self._charged(self.i, current, "_i") + self._parameter("bias_i")
            drive = i if o["sees"] == "new" else self.i
            self.i = i
            self._note("i", i)
        if not self.spiking:
            self.v = self._driven(before, drive) + self._parameter("bias")
            self._note("v", self.v)
            return self.v
        v, at = before, o.get("reset_at", "now")
        ready = (self.refractory == 0) | (o["refractory"] == "none")
        if at in ("before", "old"):
            spikes = self._spikes(before) * (ready if at == "old" else True)
            v = self._reset(before, spikes)
        taken = np.where(ready, drive, 0.0) if o["refractory"] == "discard" else drive
        v = self._driven(v, taken) + self._parameter("bias")
        if at == "after":
            v = self._reset(v, self._spikes(before))
        if at != "old":
            spikes = self._spikes(v) * ready
        if o["refractory"] == "hold":
            v = np.where(ready, v, before)
        waited = np.maximum(self.refractory - 1, 0)
        self.refractory = np.where(spikes > 0, self._parameter("refractory_period"), waited)
        self._note("v", v)
        if at == "now":
            v = self._reset(v, spikes)
        if o["floor"] == "value":
            v = np.maximum(v, self._parameter("v_floor"))
        self._note("v", v)
        self.v = v
        if "step_a" in self.parameters:
            self.a = self.a * self._parameter("keep_a") + (spikes > 0) * self._parameter("step_a")
        return spikes > 0 if self.bits == 1 else spikes

    def _izhikevich(self, drive: Floats) -> NDArray[np.bool_]:
        """Spikes of a step of `izhikevich`. How far v overshoots its threshold does not matter."""
        before, threshold = self.v, self._parameter("threshold")
        rise = self._parameter("curvature") * (before - self._parameter("v_mid")) ** 2
        v = before + rise - self.u + drive + self._parameter("bias")
        spikes = v >= threshold
        pulled = self._parameter("coupling") * before - self.u
        self.u = self.u + self._parameter("rate_u") * pulled + spikes * self._parameter("step_u")
        self.v = np.where(spikes, self._parameter("v_reset"), v)
        self._note("v", np.minimum(v, threshold))
        self._note("v", self.v)
        self._note("u", self.u)
        return np.asarray(spikes)

    def _spikes(self, v: Floats) -> NDArray[np.int64]:
        """How many thresholds fit into v, as far as a spike can count."""
        above = np.greater if self.options["fires"] == ">" else np.greater_equal
        counts = np.zeros(v.shape, np.int64)
        for bit in reversed(range(self.bits)):
            part = self._level * 2**bit
            more = above(v, part)
            counts += more * 2**bit
            v = np.where(more, v - part, v)
        return counts

    @property
    def _level(self) -> Floats:
        """The threshold with what adaptation adds to it, which is 0 in models without."""
        return self._parameter("threshold") + self.a

    def _reset(self, v: Floats, spikes: NDArray[np.int64]) -> Floats:
        """v after so many spikes."""
        if self.options["reset"] == "subtract":
            return v - spikes * self._level
        return np.where(spikes > 0, self._parameter("v_reset"), v)

    def _driven(self, v: Floats, drive: Floats) -> Floats:
        """v after its leak and what drives it: an input, or a synaptic current."""
        return self._left(v) + drive if self.has_current else self._charged(v, drive)

    def _charged(self, x: Floats, current: Floats, suffix: str = "") -> Floats:
        """x after its leak and the input of the step."""
        if self.options.get("leak_at") == "after":
            return self._left(x + current, suffix)
        return self._left(x, suffix) + current

    def _left(self, x: Floats, suffix: str = "") -> Floats:
        """What the leak of a step leaves; no leak rounds here."""
        leak = self.options.get("leak")
        if leak is None and "keep" + suffix not in self.parameters:
            return x
        if leak in (None, "multiply"):
            return x * self._parameter("keep" + suffix)
        if leak == "linear":
            rest = np.zeros(1) if suffix else self._parameter("v_rest")
            step = self._parameter("leak_step" + suffix)
            return np.where(x > rest, np.maximum(x - step, rest), np.minimum(x + step, rest))
        return np.asarray(x * (1.0 - 2.0 ** -self._parameter("leak_shift" + suffix)))

    def _parameter(self, name: str) -> Floats:
        return self.parameters.get(name, np.zeros(1))

    def _note(self, name: str, values: Floats) -> None:
        low, high = values.min(axis=0), values.max(axis=0)
        if name in self.seen:
            low = np.minimum(low, self.seen[name][0])
            high = np.maximum(high, self.seen[name][1])
        self.seen[name] = low, high


@dataclass(frozen=True, eq=False)
class _Synapses:
    """Those synapses of a projection that share a delay."""

    source: str
    target: str
    delay: int
    weights: Any  # [source, target], float64, dense or CSR
    gain: Floats

    def weighted(self, spikes: Floats) -> Floats:
        """What spike counts [samples, source] add to [samples, target]."""
        few = sp.issparse(self.weights) and np.count_nonzero(spikes) < _SPARSE * spikes.size
        sums = (sp.csr_array(spikes) @ self.weights).toarray() if few else spikes @ self.weights
        return np.asarray(sums * self.gain)


def _synapses(network: Network, projection: Projection) -> Iterator[_Synapses]:
    shape = (network.node(projection.source).size, network.node(projection.target).size)
    ends = (projection.source, projection.target)
    c = projection.connections
    if isinstance(c, np.ndarray):
        weights = np.ascontiguousarray(c, np.float64)
        yield _Synapses(*ends, projection.delay, weights, projection.gain)
        return
    if isinstance(c, Generated):
        c = _written_out(c, shape, f"projection '{ends[0]}' to '{ends[1]}'")
    scale = c.scale if c.scale is not None and c.weight.dtype.kind in "iu" else 1.0
    for delay in [projection.delay] if c.delay is None else np.unique(c.delay).tolist():
        chosen: Any = slice(None) if c.delay is None else c.delay == delay
        weights = c.weight[chosen] * np.float64(scale)
        if isinstance(c, Triples):
            matrix = sp.csr_array((weights, (c.source[chosen], c.target[chosen])), shape)
        else:
            first = c.first
            if c.delay is not None:
                first = np.concatenate([[0], np.cumsum(chosen)])[first]
            matrix = sp.csr_array((weights, c.target[chosen], first), shape)
        yield _Synapses(*ends, delay, matrix, projection.gain)


def _written_out(c: Generated, shape: tuple[int, int], where: str) -> Rows:
    sources, targets = shape
    if sources * c.fan_out > MAX_GENERATED:
        raise SpikefabError(
            f"{sources * c.fan_out} generated synapses",
            where,
            f"the float reference writes out at most {MAX_GENERATED}",
        )
    columns = [np.asarray(column).ravel() for column in c.chunk(0, sources)]
    expected = 3 if c.delays else 2
    if len(columns) != expected or any(len(x) != sources * c.fan_out for x in columns):
        raise SpikefabError("ragged generated synapses", where, f"{sources} x {c.fan_out} expected")
    if len(columns[0]) and (columns[0].min() < 0 or columns[0].max() >= targets):
        raise SpikefabError("generated targets", where, f"outside 0..{targets - 1}")
    first = np.arange(sources + 1, dtype=np.int64) * c.fan_out
    return Rows(first, columns[0], columns[1], c.scale, columns[2] if c.delays else None)


def _step_order(network: Network, synapses: list[_Synapses]) -> list[Population]:
    """Populations in the order in which they step: those that others see in a step go first."""
    within = nx.DiGraph()
    within.add_nodes_from(p.name for p in network.populations)
    within.add_edges_from(
        (s.source, s.target) for s in synapses if s.delay == 0 and s.source in within
    )
    if not nx.is_directed_acyclic_graph(within):
        loop = ", ".join(f"'{a}' to '{b}'" for a, b in nx.find_cycle(within))
        raise SpikefabError(
            f"loop within a step ({loop})",
            "the network",
            "its populations would have to step before each other",
            "give one of its projections a delay of 1 step",
        )
    parts = {p.name: p for p in network.populations}
    return [parts[name] for name in nx.topological_sort(within)]


def _extent(
    inputs: Mapping[str, NDArray[Any] | SpikeTrain], steps: int | None, samples: int | None
) -> tuple[int, int]:
    most = 1
    for name, given in inputs.items():
        if isinstance(given, SpikeTrain):
            last = given.sample.max() if given.sample is not None and len(given) else 0
            most = max(most, int(last) + 1)
            continue
        shape = np.shape(given)
        if len(shape) not in (2, 3):
            raise SpikefabError(
                f"spikes of shape {shape}", f"input '{name}'", "[samples,] steps, lines"
            )
        steps = shape[-2] if steps is None else steps
        most = max(most, shape[0] if len(shape) == 3 else 1)
    samples = most if samples is None else samples
    if steps is None:
        raise SpikefabError("unknown number of steps", "the run", hint="give steps")
    if steps < 1 or samples < 1:
        raise SpikefabError(f"{samples} samples of {steps} steps", "the run", "1 or more of each")
    return steps, samples


def _feeds(
    network: Network, inputs: Mapping[str, NDArray[Any] | SpikeTrain], steps: int, samples: int
) -> dict[str, Iterator[Floats]]:
    sizes = {i.name: i.size for i in network.inputs}
    if odd := sorted(set(inputs) ^ set(sizes)):
        what = "spikes for" if odd[0] in inputs else "no spikes for"
        raise SpikefabError(
            f"{what} '{odd[0]}'", "the inputs", hint=f"the network takes {', '.join(sizes)}"
        )
    feeds = {}
    for name, given in inputs.items():
        if isinstance(given, SpikeTrain):
            feeds[name] = _from_train(given, (samples, steps, sizes[name]), f"input '{name}'")
        else:
            feeds[name] = _from_dense(given, (samples, steps, sizes[name]), f"input '{name}'")
    return feeds


def _from_dense(given: Any, shape: tuple[int, int, int], where: str) -> Iterator[Floats]:
    counts = np.asarray(given)
    counts = counts[None] if counts.ndim == 2 else counts
    samples, steps, size = shape
    if counts.shape[0] != samples or counts.shape[1] < steps or counts.shape[2] != size:
        raise SpikefabError(f"spikes of shape {counts.shape}", where, f"expected {shape}")
    with np.errstate(invalid="ignore"):
        whole = counts.dtype.kind in "bui" or (
            counts.dtype.kind == "f" and bool((counts % 1 == 0).all())
        )
    if not whole or (counts.size and counts.min() < 0):
        raise SpikefabError("spikes that are no counts", where, "they are whole and not negative")
    return (counts[:, step].astype(np.float64) for step in range(steps))


def _from_train(given: SpikeTrain, shape: tuple[int, int, int], where: str) -> Iterator[Floats]:
    samples, steps, size = shape
    sample = np.zeros(len(given), np.int32) if given.sample is None else given.sample
    for name, column, limit in (("index", given.index, size), ("sample", sample, samples)):
        if len(column) and (column.min() < 0 or column.max() >= limit):
            raise SpikefabError(f"{name} {column.max()}", where, f"outside 0..{limit - 1}")
    payload = np.ones(len(given)) if given.payload is None else given.payload
    order = np.argsort(given.step, kind="stable")
    ends = np.searchsorted(given.step[order], np.arange(steps + 1))

    def feed() -> Iterator[Floats]:
        for step in range(steps):
            now = order[ends[step] : ends[step + 1]]
            counts = np.zeros((samples, size))
            np.add.at(counts, (sample[now], given.index[now]), payload[now])
            yield counts

    return feed()
