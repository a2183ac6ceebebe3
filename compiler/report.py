"""The mapping report: what became of each population, what the cores hold, what a tick costs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fidelity import Fidelity
from .health import Losses, warnings
from .ir.chip import UNLIMITED
from .ir.cores import word_bits
from .ir.program import MappedPopulation, Program
from .ir.validate import core_use
from .passes.draft import Draft


@dataclass(frozen=True)
class PopulationReport:
    """One population of the mapping.

    synapses: onto it; cores: how many hold it; stage: ticks it lags its step; weight_lsb, lsb:
    network units per LSB of weights and potential; finer: neurons whose weights have an LSB smaller
    by a power of two; weight_error: root mean square, relative;
    clipped: share of weights beyond the largest; headroom_bits: accumulator bits that no input can
    reach; potential_limit: the greatest potential that fits; zeroed, beyond_reach: neurons all of
    whose weights became 0, or whose potential no input brings to the threshold.
    On the given input, None without: potential_low, potential_high: what the float run reached,
    before resets; saturated, dead: neurons whose potential or current met its limit, or that never
    fired; spike_agreement: share of the spikes of either run, fixed point or float reference, that
    are in both (1 if neither has any); value_error: of values, root mean square, relative;
    limit_reached: how many counts were the most that a spike carries.
    """

    name: str
    model: str
    neurons: int
    synapses: int
    cores: int
    stage: int
    weight_bits: int
    weight_lsb: float
    lsb: float
    finer: int
    exact: bool
    weight_error: float
    clipped: float
    headroom_bits: int
    potential_limit: float
    zeroed: int
    beyond_reach: int
    potential_low: float | None = None
    potential_high: float | None = None
    saturated: int | None = None
    dead: int | None = None
    dead_in_float: int | None = None
    spike_agreement: float | None = None
    value_error: float | None = None
    limit_reached: int | None = None


@dataclass(frozen=True)
class PlasticReport:
    """One plastic projection of the mapping.

    rows: of its synapses, over all cores; bytes_per_synapse: of the cores' synapse memory, weight
    and own state; w_min, w_max: limits of the weights, in the network's units; parameters: in the
    integers of the rule; visited: in what ticks a row is visited; sweep: whether that is all of
    them.
    """

    name: str
    rule: str
    synapses: int
    rows: int
    bytes_per_synapse: float
    w_min: float
    w_max: float
    parameters: dict[str, int]
    visited: str
    sweep: bool


@dataclass(frozen=True)
class Report:
    """The whole report. `memories`: per memory of a core the greatest use and the chip's limit.

    mean_cycles: clocks per tick of the busiest core on the given input (None without);
    worst_cycles: of the core whose worst tick is longest; agreement: share of samples in which
    fixed point and float reference give the same answer (greatest spike count, or greatest final
    value, the first where equal); accuracy, accuracy_in_float: share of samples in which the answer
    is the label (None without labels); warnings: what is wrong with neurons, why, and what would
    help.
    """

    chip: str
    program: str
    neurons: int
    synapses: int
    cores: int
    period: int
    populations: tuple[PopulationReport, ...]
    plastic: tuple[PlasticReport, ...]
    memories: dict[str, tuple[int, int | None]]
    constant_cycles: int
    worst_cycles: int
    mean_cycles: float | None
    agreement: float | None
    accuracy: float | None
    accuracy_in_float: float | None
    samples: int
    settings: dict[str, str]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dataclasses.asdict(self)


def report(
    draft: Draft, program: Program, found: dict[str, Losses], fidelity: Fidelity | None = None
) -> Report:
    """The report of a program that was compiled from `draft`; found: see `health.losses`."""
    onto = _synapses_onto(program)
    rows = tuple(
        _population(draft, program, p, int(onto[n]), found[p.name], fidelity)
        for n, p in enumerate(program.populations)
    )
    used = core_use(program)
    limits = {m: getattr(program.chip, m) for m in used}
    worst = [program.worst_cycles(core) for core in range(program.cores)]
    return Report(
        chip=program.chip.name,
        program=program.hash,
        neurons=program.neurons,
        synapses=program.synapses.count + sum(q.count for q in program.plastic),
        cores=program.cores,
        period=program.period,
        populations=rows,
        plastic=tuple(_plastic(program, n) for n in range(len(program.plastic))),
        memories={
            m: (int(u.max()), None if limits[m] == UNLIMITED else limits[m])
            for m, u in used.items()
        },
        constant_cycles=max(sum(program.constant_cycles(c)) for c in range(program.cores)),
        worst_cycles=max(worst),
        mean_cycles=fidelity.mean_cycles if fidelity else None,
        agreement=fidelity.agreement if fidelity else None,
        accuracy=fidelity.accuracy if fidelity else None,
        accuracy_in_float=fidelity.accuracy_in_float if fidelity else None,
        samples=fidelity.samples if fidelity else 0,
        settings=dict(draft.network.settings),
        assumptions=tuple(draft.network.assumptions) + _assumptions(draft, fidelity),
        warnings=warnings(draft, found, fidelity) + _learning_warnings(draft, program),
    )


def _population(
    draft: Draft,
    program: Program,
    p: MappedPopulation,
    synapses: int,
    found: Losses,
    fidelity: Fidelity | None,
) -> PopulationReport:
    scale = draft.scales[p.name]
    first = program.core_first
    cores = int(np.searchsorted(first, p.first + p.size - 1, "right")) - int(
        np.searchsorted(first, p.first, "right")
    )
    positive, negative = program.reach
    load = int(max(positive[p.neurons].max(), negative[p.neurons].max()))
    return PopulationReport(
        name=p.name,
        model=program.models[p.model].identity,
        neurons=p.size,
        synapses=synapses,
        cores=cores + 1,
        stage=p.start,
        weight_bits=draft.weight_bits[p.name],
        weight_lsb=scale.weight_lsb,
        lsb=scale.lsb,
        finer=int(np.broadcast_to(scale.finer > 0, p.size).sum()),
        exact=scale.exact,
        weight_error=scale.error,
        clipped=scale.clipped,
        headroom_bits=program.chip.accumulator_bits - 1 - load.bit_length(),
        potential_limit=scale.lsb * ((1 << (program.chip.state_bits - 1)) - 1),
        zeroed=int(found.zeroed.sum()),
        beyond_reach=int(found.beyond_reach.sum()),
        **(fidelity.populations.get(p.name, {}) if fidelity else {}),
    )


def _plastic(program: Program, number: int) -> PlasticReport:
    q = program.plastic[number]
    rule, rows, quiet = program.rules[q.rule], program.plastic_rows, program.quiet[number]
    mine = rows.projection == number
    bits = int(rows.room[mine].sum()) * word_bits(program.chip)
    when = "in every tick, whatever happens"
    if quiet.without_spikes and not rule.pre:
        when = "at an event"
    elif quiet.at_rest and quiet.without_spikes:
        when = "at an event, or a spike on its core while its traces are not at rest"
    elif quiet.at_rest:
        when = "at an event, or traces that are not at rest"
    elif quiet.without_spikes:
        when = "at an event, or a spike on its core"
    elif not quiet.never:
        when = "at an event, traces that are not at rest, or a spike on its core"
    if rule.state and not quiet.never:
        when += ", or state of a synapse that is not 0"
    return PlasticReport(
        name=q.name,
        rule=rule.identity,
        synapses=q.count,
        rows=int(mine.sum()),
        bytes_per_synapse=bits / 8 / q.count,
        w_min=q.parameters["w_min"] * q.lsb,
        w_max=q.parameters["w_max"] * q.lsb,
        parameters=dict(q.parameters),
        visited=when,
        sweep=quiet.never,
    )


def _learning_warnings(draft: Draft, program: Program) -> tuple[str, ...]:
    """What costs more than it should, and what rounding took from plastic projections."""
    said = []
    asked = {x.name: x.plasticity for x in draft.network.projections}
    for q, quiet in zip(program.plastic, program.quiet, strict=True):
        rule, plasticity = program.rules[q.rule], asked[q.name]
        if quiet.never:
            said.append(
                f"projection '{q.name}': rule {rule.identity} changes weights without activity: "
                "every tick sweeps all of its rows"
            )
        for name, value in plasticity.parameters.items() if plasticity else ():
            if value and not q.parameters[name]:
                said.append(
                    f"projection '{q.name}': {name} = {value:g} became 0, as a weight LSB is "
                    f"{q.lsb:.3g}: use larger steps, or fewer steps with a larger reach of weights"
                )
    return tuple(said)


def _synapses_onto(program: Program) -> NDArray[np.int64]:
    """Synapses onto each population."""
    edges = np.array([p.first for p in program.populations] + [program.neurons])
    shift = np.uint64(18 if program.synapses.wide else 10)
    counts = np.zeros(len(edges) - 1, np.int64)
    step = 1 << 20
    for k in range(0, program.synapses.count, step):
        target = program.synapses.words[k : k + step].astype(np.uint64) >> shift
        counts += np.histogram(target.astype(np.int64), edges)[0]
    for q in program.plastic:
        counts[q.target] += q.count
    return counts


def _assumptions(draft: Draft, fidelity: Fidelity | None) -> tuple[str, ...]:
    said = []
    if fidelity is None:
        said.append(
            "No input was given: the range of potentials is guessed from thresholds, and fidelity, "
            "dead and saturated neurons are unknown (--calibrate)."
        )
    if draft.timing is not None and draft.timing.period > 1:
        said.append(f"A step takes {draft.timing.period} ticks, so that loops fit (--dilate).")
    if draft.chip.name == "auto":
        said.append("Chip 'auto' has as many cores as the network needs; no such part exists.")
    return tuple(said)
