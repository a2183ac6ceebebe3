"""Whether a program is one that its chip can run: every limit, every interval, every arrival."""

from __future__ import annotations

from typing import Any

import numpy as np

from .chip import learn_latencies
from .errors import SpikefabError
from .language import bounds
from .plastic import SPARSE, PlasticProjection
from .program import MappedPopulation, Program
from .schedule import schedule

MAX_CORE_WORDS = 1 << 26  # cores x words of the largest: what a survey of them may take


def validate(program: Program, where: str = "the program") -> None:
    """Raise SpikefabError at the first thing in `program` that its chip cannot run."""
    _check_layout(program, where)
    check_models(program, where)
    program.synapses.check(program.input_lines + program.neurons, program.neurons, where)
    for p in program.populations:
        _check_population(program, p, where)
    _check_weights(program, where)
    _check_arrivals(program, where)
    check_plastic(program, where)
    check_accumulators(program, where)
    check_capacity(program, where)


def _fault(where: str, what: str, why: str = "", hint: str = "") -> None:
    raise SpikefabError(what, where, why, hint)


def _check_layout(program: Program, where: str) -> None:
    parts: tuple[Any, ...] = (program.inputs, program.populations)
    names = [x.name for part in (*parts, program.plastic) for x in part]
    if len(set(names)) != len(names) or not all(names):
        _fault(where, "two parts of one name, or one without", f"{sorted(names)}")
    if not program.populations:
        _fault(where, "no population")
    for part in parts:
        expected = 0
        for x in part:
            if x.first != expected or x.size < 1:
                _fault(where, f"'{x.name}' of {x.size} at {x.first}", f"expected at {expected}")
            expected += x.size
            if not 1 <= x.period <= 1 << 20:
                _fault(where, f"period {x.period} of '{x.name}'")
            if x.period != program.period:
                _fault(where, f"period {x.period} of '{x.name}'", f"others: {program.period}")
    first = program.core_first
    if (
        first.ndim != 1
        or len(first) < 2
        or first[0] != 0
        or first[-1] != program.neurons
        or (first[1:] <= first[:-1]).any()
    ):
        _fault(where, "damaged placement", "cores do not cover the neurons in order")
    words = int(np.diff(first).max()) // program.chip.lanes + 2
    if program.cores * words > MAX_CORE_WORDS:
        _fault(where, "damaged placement", f"{program.cores} cores of up to {words} words")


def check_models(program: Program, where: str) -> None:
    """Raise SpikefabError for a model that the chip does not carry, or not as it is."""
    carried = set(program.chip.models)
    for model in program.models:
        if carried and model.identity not in carried:
            _fault(
                where,
                f"model {model.identity}",
                f"chip '{program.chip.name}' carries {', '.join(sorted(carried))}",
            )
        if model.current != bounds(program.chip.accumulator_bits, True):
            _fault(where, f"model {model.identity} for another accumulator width")
        if model.largest_payload > program.chip.largest_payload:
            _fault(
                where,
                f"model {model.identity} spikes up to {model.largest_payload} per update",
                f"chip '{program.chip.name}' carries payloads up to "
                f"{program.chip.largest_payload}",
            )
        latency = schedule(model.outputs).latency
        if latency > program.chip.neuron_latency:
            _fault(
                where,
                f"the pipeline of model {model.identity} takes {latency} clocks",
                f"chip '{program.chip.name}' has neuron_latency = {program.chip.neuron_latency}",
            )


def _check_population(program: Program, p: MappedPopulation, where: str) -> None:
    inside = f"population '{p.name}' of {where}"
    if not 0 <= p.model < len(program.models):
        _fault(inside, f"model number {p.model}", f"there are {len(program.models)}")
    if not 0 <= p.start <= 1 << 20:
        _fault(inside, f"start {p.start}")
    model = program.models[p.model]
    for kind, values, ranges in (
        ("parameter", p.parameters, model.parameters),
        ("initial state", p.initial, model.state),
    ):
        if set(values) != set(ranges):
            _fault(inside, f"{kind}s {sorted(values)}", f"its model has {sorted(ranges)}")
        for name, array in values.items():
            lo, hi = ranges[name]
            if array.dtype != np.int32 or array.shape not in ((1,), (p.size,)):
                _fault(inside, f"{kind} '{name}'", "neither one value nor one per neuron")
            if array.min() < lo or array.max() > hi:
                _fault(
                    inside,
                    f"{kind} '{name}' = {int(array.min() if array.min() < lo else array.max())}",
                    f"outside {lo}..{hi}",
                )


def _check_weights(program: Program, where: str) -> None:
    chip = program.chip
    if program.synapses.wide != (chip.weight_bits > 8):
        _fault(where, "damaged synapses", f"words do not fit {chip.weight_bits}-bit weights")
    if not program.synapses.count:
        return
    step = 1 << 20
    limit = chip.largest_weight
    for k in range(0, program.synapses.count, step):
        block = type(program.synapses)(
            program.synapses.words[k : k + step], program.synapses.first, program.synapses.delays
        ).weight
        if block.max() > limit or block.min() < -limit - 1:
            worst = int(block.max() if block.max() > limit else block.min())
            _fault(where, f"weight {worst}", f"chip '{chip.name}' has {chip.weight_bits} bits")


def _check_arrivals(program: Program, where: str) -> None:
    """Every event must land on an update of its target, or it would wait in the wrong slot."""
    delays = program.synapses.delays
    if delays[-1] >= program.chip.delay_slots:
        _fault(
            where,
            f"delay of {delays[-1]} ticks",
            f"chip '{program.chip.name}' has {program.chip.delay_slots} delay slots",
            f"it needs {delays[-1] + 1}",
        )
    ports: list[tuple[str, int, int, int, int]] = [
        (i.name, i.first, i.size, -1, i.period) for i in program.inputs
    ]
    lines = program.input_lines
    ports += [(p.name, lines + p.first, p.size, p.start, p.period) for p in program.populations]
    if program.period == 1 and not program.last_stage:
        return  # every tick is an update of every neuron
    per_delay = len(delays)
    words, first = program.synapses.words, program.synapses.first
    starts = np.array([p.first for p in program.populations])
    shift = (18 if program.synapses.wide else 10)
    for name, begin, size, emitted, period in ports:
        for d, delay in enumerate(delays):
            rows = np.arange(begin, begin + size) * per_delay + d
            reached: set[int] = set()
            for a, b in zip(first[rows], first[rows + 1], strict=True):
                if b > a:
                    found = np.searchsorted(starts, (words[a:b] >> shift).astype(np.int64), "right")
                    reached.update(int(x) for x in np.unique(found - 1))
            for n in reached:
                _check_arrival(program, where, name, emitted + 1 + delay, delay, period, n)
        for q in program.plastic:
            if q.first < begin + size and begin < q.first + q.size:
                arrival = emitted + 1 + q.delay
                _check_arrival(program, where, name, arrival, q.delay, period, q.target)


def _check_arrival(
    program: Program, where: str, source: str, arrival: int, delay: int, period: int, number: int
) -> None:
    """`arrival`: the tick in which a source's first events come to a population."""
    target = program.populations[number]
    off = (arrival - target.start) % target.period or period % target.period
    if arrival < target.start or off:
        _fault(
            where,
            f"events from '{source}' to '{target.name}' with delay {delay}",
            f"they arrive in tick {arrival}, not on an update of the target "
            f"(start {target.start}, period {target.period})",
        )


def check_plastic(program: Program, where: str) -> None:
    """Raise SpikefabError for a plastic projection that the chip cannot run as it is."""
    chip = program.chip
    carried = set(chip.rules)
    for rule in program.rules:
        if carried and rule.identity not in carried:
            _fault(
                where, f"learning rule {rule.identity}",
                f"chip '{chip.name}' carries {', '.join(sorted(carried))}",
            )  # fmt: skip
        if rule.weight != bounds(chip.weight_bits, True):
            _fault(where, f"learning rule {rule.identity} for another weight width")
    latency = sum(learn_latencies(program.rules))
    if latency > chip.learn_latency:
        _fault(
            where, f"the pipelines of its learning rules take {latency} clocks",
            f"chip '{chip.name}' has learn_latency = {chip.learn_latency}",
        )  # fmt: skip
    read: dict[str, tuple[str, Any]] = {}
    for q in program.plastic:
        inside = f"plastic projection '{q.name}' of {where}"
        _check_projection(program, q, inside)
        rule, target = program.rules[q.rule], program.populations[q.target]
        rule.check_rest(q.parameters, inside)
        for name, interval in rule.signals.items():
            this = (target.start, *interval)
            other, before = read.setdefault(name, (q.name, this))
            if this != before:
                _fault(
                    inside, f"signal '{name}' in stage {target.start}, within {interval}",
                    f"projection '{other}' reads it in stage {before[0]}, within {before[1:]}",
                    "give the two different names",
                )  # fmt: skip
    for p, passes in zip(program.populations, program.trace_passes.tolist(), strict=True):
        if passes >= chip.trace_sets:
            _fault(
                f"population '{p.name}' of {where}", f"{passes + 1} sets of traces",
                f"chip '{chip.name}' has {chip.trace_sets} per population",
                "projections share one that have the same rule and parameters of its traces",
            )  # fmt: skip
    rows = program.plastic_rows
    if chip.delay_slots == 1 and (rows.kind == SPARSE).any():
        name = program.plastic[int(rows.projection[rows.kind == SPARSE][0])].name
        _fault(
            f"plastic projection '{name}' of {where}",
            "not every source reaches every neuron", "such a row needs 2 delay slots",
        )  # fmt: skip


def _check_projection(program: Program, q: PlasticProjection, inside: str) -> None:
    chip = program.chip
    sources = program.input_lines + program.neurons
    if q.rule >= len(program.rules) or q.target >= len(program.populations):
        _fault(inside, f"rule {q.rule} onto population {q.target}")
    if q.size < 1 or q.first + q.size > sources:
        _fault(inside, f"sources {q.first} to {q.first + q.size - 1}", f"there are {sources}")
    rule, target = program.rules[q.rule], program.populations[q.target]
    if q.delay >= chip.delay_slots:
        _fault(
            inside, f"delay of {q.delay} ticks",
            f"chip '{chip.name}' has {chip.delay_slots} delay slots", f"it needs {q.delay + 1}",
        )  # fmt: skip
    whole = len(q.rows) == q.size + 1 and q.rows[0] == 0 and q.rows[-1] == len(q.to)
    if not whole or (np.diff(q.rows) < 0).any() or len(q.to) != len(q.weight) or not len(q.to):
        _fault(inside, "damaged rows", "they do not cover the synapses")
    key = q.source.astype(np.int64) * program.neurons + q.to
    outside = (q.to < target.first) | (q.to >= target.first + target.size)
    if outside.any() or (np.diff(key) <= 0).any():
        _fault(inside, "damaged rows", "targets are not in order, doubled or out of range")
    if set(q.parameters) != set(rule.parameters) or set(q.held) != set(rule.held):
        _fault(inside, f"parameters {sorted(q.parameters)}", f"it has {sorted(rule.parameters)}")
    for name, value in q.parameters.items():
        lo, hi = rule.parameters[name]
        if not lo <= value <= hi:
            _fault(inside, f"parameter '{name}' = {value}", f"outside {lo}..{hi}")
    for name, values in q.held.items():
        lo, hi = rule.held[name]
        if values.shape != (target.size,) or values.min() < lo or values.max() > hi:
            _fault(inside, f"'{name}'", f"not {target.size} values in {lo}..{hi}")
    lo, hi = q.parameters["w_min"], q.parameters["w_max"]
    if q.weight.min() < lo or q.weight.max() > hi:
        worst = int(q.weight.min() if q.weight.min() < lo else q.weight.max())
        _fault(inside, f"weight {worst}", f"outside its limits {lo}..{hi}")


def check_accumulators(program: Program, where: str) -> None:
    """Raise SpikefabError if any input could overflow an accumulator."""
    limit = (1 << (program.chip.accumulator_bits - 1)) - 1
    positive, negative = program.reach
    load = np.maximum(positive, negative)
    worst = int(load.argmax())
    if load[worst] > limit:
        _fault(
            f"neuron {program.neuron_name(worst)} of {where}",
            "an accumulator could overflow",
            f"its inputs can add up to {load[worst]}, {program.chip.accumulator_bits} bits hold "
            f"{limit}",
            f"use {int(load[worst]).bit_length() + 1} accumulator bits or fewer weight bits",
        )


def check_capacity(program: Program, where: str) -> None:
    """Raise SpikefabError where a core holds more than the chip's cores do."""
    chip = program.chip
    if program.cores > chip.cores:
        _fault(
            where,
            f"{program.cores} cores in use",
            f"chip '{chip.name}' has {chip.cores}",
            "use --chip auto or a larger chip",
        )
    for memory, used in core_use(program).items():
        limit = getattr(chip, memory)
        core = int(np.argmax(used))
        if used[core] > limit:
            a = int(program.core_first[core])
            b = int(program.core_first[core + 1])
            _fault(
                f"core {core} ({program.neuron_name(a)} to {program.neuron_name(b - 1)}) "
                f"of {where}",
                f"{int(used[core])} {memory.replace('_', ' ')}",
                f"a core of chip '{chip.name}' has {limit}",
                "use --chip auto or a larger chip",
            )


def core_use(program: Program) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Use of every memory, [cores] each, by the name of its limit in `ChipSpec`."""
    first = program.core_first
    learning = np.zeros(program.cores, np.int64)
    rows = program.plastic_rows
    pairs = np.unique(np.stack([rows.core, rows.projection]), axis=1)
    np.add.at(learning, pairs[0], 1)
    routes = np.zeros(program.neurons + 1, np.int64)
    np.cumsum(program.survey.routes[program.input_lines :], out=routes[1:])
    sets = np.zeros(program.cores, np.int64)
    populations = np.zeros(program.cores, np.int64)
    for p in program.populations:
        a = int(np.searchsorted(first, p.first, "right")) - 1
        b = int(np.searchsorted(first, p.first + p.size - 1, "right"))
        populations[a:b] += 1
        varied = [v for v in p.parameters.values() if v.size > 1]
        sets[a:b] += 1
        if varied:
            table = np.stack(varied, axis=1)
            for core in range(a, b):
                lo = max(int(first[core]), p.first) - p.first
                hi = min(int(first[core + 1]), p.first + p.size) - p.first
                sets[core] += len(np.unique(table[lo:hi], axis=0)) - 1
    return {
        "neurons": np.diff(first),
        "axons": program.survey.axons,
        "synapse_words": program.survey.synapse_words,
        "routes": np.diff(routes[first]),
        "parameter_sets": sets + learning,
        "populations": populations,
        "projections": learning,
    }
