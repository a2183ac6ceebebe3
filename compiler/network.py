"""A network as the compiler sees it: populations and projections in the network's own units.

Free of any framework. Potentials and weights are floats in the network's units, times are steps.
Build one in Python with `Network`, or let a frontend do so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from .ir.errors import SpikefabError
from .ir.models import LIBRARY
from .ir.neuron import MAX_GAIN, NeuronModel
from .plasticity import Plasticity

Floats = NDArray[np.float64]
MOST_NEURONS = 1 << 30  # of a population: more than any chip has


@dataclass(frozen=True, eq=False)
class Input:
    """Lines that the host drives."""

    name: str
    size: int


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one model.

    parameters: float64, [1] or [size] each, in the network's units: fractions in 0..1,
    potentials as the weights, counts in steps; initial: state before the first step.
    """

    name: str
    size: int
    model: NeuronModel
    options: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Floats] = field(default_factory=dict)
    initial: dict[str, Floats] = field(default_factory=dict)
    output: bool = False


@dataclass(frozen=True, eq=False)
class Rows:
    """Synapses by source: targets and weights of source s at first[s] .. first[s + 1] - 1.

    target: integers [synapses]; weight: [synapses], floats in the network's units, or integers in
    LSB of `scale` (network units per LSB); delay: steps, None for the projection's own.
    `consume` lets the compiler build its synapses in the memory of `target` (int32), which is then
    lost to the caller: the way to compile networks that fill the memory.
    """

    first: NDArray[np.int64]
    target: NDArray[Any]
    weight: NDArray[Any]
    scale: float | None = None
    delay: NDArray[Any] | None = None
    consume: bool = False


@dataclass(frozen=True, eq=False)
class Generated:
    """Synapses made on demand: `chunk(first, count)` gives those of `count` sources from `first`.

    It returns targets and weights, each [count, fan_out], integer weights in LSB of `scale`; and a
    third array of delays in steps, at least 1, where `delays` is true.
    """

    chunk: Callable[[int, int], tuple[NDArray[Any], ...]]
    fan_out: int
    scale: float
    delays: bool = False


@dataclass(frozen=True, eq=False)
class Triples:
    """Synapses in any order: source, target, weight [synapses]; integer weights in LSB of `scale`.

    delay: steps, None for the projection's own.
    """

    source: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[Any]
    scale: float | None = None
    delay: NDArray[Any] | None = None


_Part = TypeVar("_Part", Input, Population)
Connections = NDArray[Any] | Rows | Generated | Triples


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population or input to another.

    connections: a float matrix [source, target], or one of the sparse forms; delay: steps between
    the spike and its effect, 0 for the same step; gain: float64 [1] or [target size], the factor
    on every weight into a target; plasticity: how the synapses learn, of which a matrix then has
    one for every pair; name: of plastic ones, for `read` and `write`.
    """

    source: str
    target: str
    connections: Connections
    delay: int = 0
    gain: Floats = field(default_factory=lambda: np.ones(1))
    plasticity: Plasticity | None = None
    name: str = ""


class Network:
    """A graph of populations and projections (a networkx multigraph in `graph`).

    `assumptions` lists in words what the frontend took for granted; `settings` what it was told.
    """

    def __init__(self) -> None:
        self.graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        self.assumptions: list[str] = []
        self.settings: dict[str, str] = {}

    def input(self, name: str, size: int) -> Input:
        """Add `size` input lines."""
        return self._add(Input(name, _size(size, name)))

    def population(
        self,
        name: str,
        size: int,
        model: str | NeuronModel = "lif",
        *,
        options: Mapping[str, str] | None = None,
        initial: Mapping[str, Any] | None = None,
        output: bool = False,
        **parameters: Any,
    ) -> Population:
        """Add neurons of one model; parameters are numbers or one value per neuron.

        Parameters that are left out are 0, but for `keep` and `keep_i`, which have no default, and
        `gain`, which the compiler then chooses.
        Raises SpikefabError for an unknown model, parameter or option, or values that are not
        finite.
        """
        where = f"population '{name}'"
        if isinstance(model, str):
            if model not in LIBRARY:
                raise SpikefabError(f"model '{model}'", where, hint=f"use {', '.join(LIBRARY)}")
            model = LIBRARY[model]
        _size(size, name)
        options = {k: str(v) for k, v in (options or {}).items()}
        traced = model.datapath(16, 24, options)
        given = {k: _values(v, size, f"parameter '{k}' of {where}") for k, v in parameters.items()}
        start = {
            k: _values(v, size, f"initial '{k}' of {where}") for k, v in (initial or {}).items()
        }
        if unknown := set(given) - set(traced.parameters):
            name = sorted(unknown)[0]
            raise SpikefabError(
                f"parameter '{name}'",
                where,
                f"{traced.identity} has {', '.join(traced.parameters)}",
                "other options use it: see docs/models.md" if name in model.parameters else "",
            )
        if unknown := set(start) - set(traced.state):
            raise SpikefabError(
                f"state '{sorted(unknown)[0]}'", where, f"it has {', '.join(traced.state)}"
            )
        for k, unit in traced.units.items():
            if unit == "gain":
                if k in given and (len(given[k]) > 1 or given[k][0] not in range(MAX_GAIN + 1)):
                    raise SpikefabError(f"gain {given[k]}", where, f"one of 0..{MAX_GAIN}")
                continue
            needed = unit in ("fraction", "shift", "curvature") or k == "threshold"
            if k not in given and needed:
                raise SpikefabError(f"no parameter '{k}'", where, f"{traced.identity} needs it")
            array = given.setdefault(k, np.zeros(1))
            if unit == "fraction" and (array.min() < 0 or array.max() > 1):
                raise SpikefabError(
                    f"'{k}' = {array.min():g}..{array.max():g}", where, "a fraction lies in 0..1"
                )
        return self._add(
            Population(name, size, model, options, given, start, output)
        )

    def connect(
        self,
        source: Input | Population,
        target: Population,
        connections: Connections,
        *,
        delay: int = 0,
        gain: Any = 1.0,
        plasticity: Plasticity | None = None,
    ) -> Projection:
        """Add synapses; `delay` in steps, 0 for an effect within the step of the spike.

        With `plasticity` they learn; a matrix then has a synapse for every pair, of weight 0 too.
        Raises SpikefabError for wrong shapes, targets out of range, or weights that are not finite.
        """
        for part in (source, target):
            if not isinstance(part, Input | Population):
                raise SpikefabError(
                    f"{part!r} as an end of a projection", "the network",
                    hint="give what `input` or `population` returned",
                )  # fmt: skip
        where = f"projection '{source.name}' to '{target.name}'"
        if isinstance(target, Input):
            raise SpikefabError(f"the input '{target.name}' as a target", where)
        for part in (source, target):
            if self.node(part.name) is not part:
                raise SpikefabError(f"'{part.name}' of another network", where)
        if type(delay) is not int or delay < 0:
            raise SpikefabError(f"delay {delay!r}", where, "a delay is a whole number of steps")
        own = getattr(connections, "delay", None) is not None
        own = own or getattr(connections, "delays", False)
        if delay and own:
            raise SpikefabError(f"delay {delay} besides one per synapse", where)
        if isinstance(source, Population):
            spiking = source.model.datapath(16, 24, source.options).spikes
            if not spiking:
                raise SpikefabError(
                    f"'{source.name}' as a source", where,
                    f"model '{source.model.name}' never spikes",
                )
        name = ""
        if plasticity is not None and not isinstance(plasticity, Plasticity):
            raise SpikefabError(
                f"{plasticity!r} as plasticity", where, hint="give Plasticity(RULE, ...)"
            )
        if plasticity is not None:
            name = plasticity.name or f"{source.name}->{target.name}"
            if isinstance(connections, Generated) or own or np.any(np.asarray(gain) != 1):
                raise SpikefabError(
                    "plastic synapses with delays of their own, a gain, or made on demand", where,
                    hint="give a matrix, Rows or Triples, and one delay for all",
                )  # fmt: skip
            if name in self.graph or name in [x.name for x in self.projections]:
                raise SpikefabError(f"name '{name}'", where, "names are unique", "give another")
        projection = Projection(
            source.name, target.name, connections, delay, _values(gain, target.size, where),
            plasticity, name,
        )  # fmt: skip
        check_connections(projection, source.size, target.size, where)
        self.graph.add_edge(source.name, target.name, projection=projection)
        return projection

    def node(self, name: str) -> Input | Population:
        """The input or population of that name; raises SpikefabError."""
        if name not in self.graph:
            raise SpikefabError(f"no population '{name}'", "the network")
        part: Input | Population = self.graph.nodes[name]["part"]
        return part

    @property
    def inputs(self) -> list[Input]:
        """Inputs in the order they were added."""
        parts = (self.node(n) for n in self.graph)
        return [p for p in parts if isinstance(p, Input)]

    @property
    def populations(self) -> list[Population]:
        """Populations in the order they were added."""
        parts = (self.node(n) for n in self.graph)
        return [p for p in parts if isinstance(p, Population)]

    @property
    def projections(self) -> list[Projection]:
        """Projections in the order they were added, by source."""
        return [p for _, _, p in self.graph.edges(data="projection")]

    def _add(self, part: _Part) -> _Part:
        if not part.name or part.name in self.graph:
            raise SpikefabError(f"name '{part.name}'", "the network", "names are unique")
        self.graph.add_node(part.name, part=part)
        return part


def _size(size: int, name: str) -> int:
    if type(size) is not int or size < 1:
        raise SpikefabError(f"size {size!r}", f"'{name}'", "a size is a whole number above 0")
    if size > MOST_NEURONS:
        raise SpikefabError(f"size {size}", f"'{name}'", f"at most {MOST_NEURONS}")
    return size


def _values(values: Any, size: int, where: str) -> Floats:
    try:
        array = np.atleast_1d(np.asarray(values, np.float64)).ravel()
    except (TypeError, ValueError):
        raise SpikefabError("no numbers", where) from None
    if len(array) not in (1, size):
        raise SpikefabError(f"{len(array)} values", where, f"it takes 1 or {size}")
    if not np.isfinite(array).all():
        raise SpikefabError("NaN or infinite value", where)
    if len(array) > 1 and (array == array[0]).all():
        array = array[:1]
    return array


def check_connections(projection: Projection, sources: int, targets: int, where: str) -> None:
    """Raise SpikefabError unless the synapses fit their populations."""
    c = projection.connections
    if isinstance(c, Generated):
        if not (np.isfinite(c.scale) and c.scale > 0 and c.fan_out >= 0):
            raise SpikefabError(f"scale {c.scale}, fan-out {c.fan_out}", where)
        return
    if not isinstance(c, np.ndarray | Rows | Triples):
        raise SpikefabError(
            f"connections of type {type(c).__name__}", where,
            hint="give an array [source, target], Rows, Triples or Generated",
        )  # fmt: skip
    for part in () if isinstance(c, np.ndarray) else vars(c).values():
        if isinstance(part, list | tuple):
            raise SpikefabError("a list among synapses", where, hint="give NumPy arrays")
    if isinstance(c, np.ndarray):
        if c.dtype.kind not in "biuf":
            raise SpikefabError(f"weights of type {c.dtype}", where, hint="give numbers")
        if c.shape != (sources, targets):
            raise SpikefabError(f"weights {c.shape}", where, f"expected {(sources, targets)}")
        weight, ends = c, []
    else:
        weight, ends = c.weight, [("target", c.target, targets)]
        if isinstance(c, Triples):
            ends.append(("source", c.source, sources))
        elif (
            len(c.first) != sources + 1
            or c.first[0] != 0
            or c.first[-1] != len(c.target)
            or (np.diff(c.first) < 0).any()
        ):
            raise SpikefabError("row offsets", where, f"expected {sources + 1} from 0 to the count")
        if weight.dtype.kind in "iu" and not (c.scale and np.isfinite(c.scale) and c.scale > 0):
            raise SpikefabError("integer weights without a scale", where, hint="give scale=")
        if c.delay is not None:
            ends.append(("delay", c.delay, 1 << 20))
    for name, array, limit in ends:
        if len(array) != len(weight) or array.dtype.kind not in "iu":
            raise SpikefabError(f"{len(array)} {name}s of {array.dtype}", where)
        if len(array) and (int(array.min()) < 0 or int(array.max()) >= limit):
            raise SpikefabError(
                f"{name} {int(array.max() if array.max() >= limit else array.min())}",
                where,
                f"outside 0..{limit - 1}",
            )
    if weight.dtype.kind == "f" and not _finite(weight):
        raise SpikefabError("NaN or infinite weight", where)
    if weight.dtype.kind not in "fiu":
        raise SpikefabError(f"weights of {weight.dtype}", where)


def _finite(weight: NDArray[Any]) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(weight.sum()) or np.isfinite(weight).all())
