"""Random expression graphs, programs and inputs, for the tests of every lowering and device.

What is random comes from a NumPy generator, so that a seed names it; hypothesis draws the seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from spikefab.compiler.ir.chip import ChipSpec
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.language import (
    MAX_SHIFT,
    Value,
    absolute,
    decay,
    lift,
    maximum,
    minimum,
    names_read,
    numbered_draws,
    random,
    saturate,
    select,
    shift,
    signed_bits,
    table,
    topological,
    variable,
    wrap,
)
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.neuron import (
    COUNT,
    FRACTION,
    POTENTIAL,
    NeuronModel,
    Update,
    neuron_model,
)
from spikefab.compiler.ir.plastic import PlasticProjection
from spikefab.compiler.ir.program import InputPort, MappedPopulation, Program
from spikefab.compiler.ir.rule import (
    FINE_TRACE,
    LIMITED,
    LIMITS,
    SIGNAL,
    TRACE,
    Learned,
    LearningPath,
    LearningRule,
    fit,
    learning_rule,
)
from spikefab.compiler.ir.rules import CHANGE, LEVEL, RULES, trace
from spikefab.compiler.ir.spikes import SpikeTrain
from spikefab.compiler.ir.synapses import Synapses, pack
from spikefab.compiler.ir.validate import validate

Rng = np.random.Generator
seeds = st.integers(0, 2**32 - 1)

OPTIONS: dict[str, tuple[str, ...]] = {
    "leak": ("multiply", "shift", "loss", "least_loss", "linear"),
    "rounding": ("toward_zero", "floor"),
    "leak_at": ("before", "after"),
    "fires": (">", ">="),
    "reset": ("value", "subtract"),
    "reset_at": ("now", "before", "after", "old"),
    "refractory": ("none", "hold", "discard", "integrate"),
    "floor": ("none", "value"),
    "overflow": ("saturate", "wrap"),
    "count_bits": ("1", "2", "8"),
    "sees": ("new", "old"),
}
RULE_OPTIONS: dict[str, tuple[str, ...]] = {
    "rounding": ("stochastic", "nearest_even", "floor", "toward_zero"),
    "pairing": ("all", "nearest"),
    "sees": ("after", "before"),
    "sign": ("plus", "minus"),
    "steps": ("1", "3", "16"),
    "down": ("yes", "no"),
    "remembers": ("yes", "no"),
    "holds": ("no", "yes"),
}
OPERATORS = (
    "add", "sub", "mul", "shl", "floor", "toward_zero", "nearest_even", "stochastic", "lt", "le",
    "eq", "ne", "and", "or", "not", "select", "select_boolean", "min", "max", "abs", "saturate",
    "unsigned", "wrap", "decay", "table", "random", "const", "input",
)  # fmt: skip


def variants(model: NeuronModel | LearningRule, together: int = 2) -> list[dict[str, str]]:
    """Variants of a model or rule in which all choices of any two options (or three, ..) meet."""
    known = RULE_OPTIONS if isinstance(model, LearningRule) else OPTIONS
    names = [name for name in model.options if name in known]
    choices = [tuple((name, value) for value in known[name]) for name in names]
    missing = {
        frozenset(chosen) for some in itertools.combinations(choices, min(together, len(names)))
        for chosen in itertools.product(*some)
    }  # fmt: skip
    found: list[dict[str, str]] = []
    while missing:
        chosen = dict(min(missing, key=sorted))
        for options in choices:
            if options[0][0] not in chosen:
                name, value = max(
                    options, key=lambda o: sum(_meets(m, {**chosen, o[0]: o[1]}) for m in missing)
                )
                chosen[name] = value
        missing = {m for m in missing if not _meets(m, chosen)}
        found.append({name: chosen[name] for name in names})
    return found


def _meets(wanted: frozenset[tuple[str, str]], chosen: dict[str, str]) -> bool:
    """Whether nothing that is chosen speaks against it."""
    return all(chosen.get(name, value) == value for name, value in wanted)


# Expression graphs.


def integer_in(rng: Rng, lo: int, hi: int) -> int:
    """A number of [lo, hi], often an extreme one."""
    corners = [x for x in (lo, hi, lo + 1, hi - 1, 0, 1, -1) if lo <= x <= hi]
    if rng.random() < 0.4:
        return int(rng.choice(corners))
    if rng.random() < 0.3:
        return min(max(int(rng.integers(-9, 10)), lo), hi)
    return int(rng.integers(lo, hi, endpoint=True))


def random_graph(rng: Rng, operations: int = 12) -> dict[str, Value]:
    """A graph of random operators over random inputs, with one to four outputs."""
    with numbered_draws():
        numbers = [_random_input(rng, n) for n in range(int(rng.integers(1, 5)))]
        booleans = [numbers[0] >= 0]
        while operations:
            try:
                made = _operation(rng, str(rng.choice(OPERATORS)), numbers, booleans)
            except SpikefabError:  # wider than the language allows
                operations -= bool(rng.random() < 0.2)
                continue
            (booleans if made.boolean else numbers).append(made)
            operations -= 1
    picked = [numbers[-1]]
    for _ in range(int(rng.integers(0, 4))):
        picked.append(_pick(rng, booleans if rng.random() < 0.4 else numbers))
    return {f"out{n}": v for n, v in enumerate(picked)}


def _random_input(rng: Rng, number: int) -> Value:
    bits = int(rng.choice([1, 2, 4, 8, 13, 16, 24, 31, 32, 40]))
    lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if rng.random() < 0.4:
        lo, hi = sorted((integer_in(rng, lo, hi), integer_in(rng, lo, hi)))
    return variable(f"in{number}", lo, hi)


def _pick(rng: Rng, values: list[Value]) -> Value:
    """One of `values`, rather a late one."""
    return values[-1 - int(min(rng.geometric(0.25) - 1, len(values) - 1))]


def _operation(rng: Rng, op: str, numbers: list[Value], booleans: list[Value]) -> Value:
    a, b = _pick(rng, numbers), _pick(rng, numbers)
    p, q = _pick(rng, booleans), _pick(rng, booleans)
    if op in ("floor", "toward_zero", "nearest_even", "stochastic"):
        return shift(a, _shift_amount(rng, numbers), op)
    if op == "decay":
        frac = int(rng.integers(1, 15))
        kept: Value | int = integer_in(rng, 0, 1 << frac)
        if rng.random() < 0.6:
            kept = saturate(absolute(b), int(rng.integers(1, frac + 1)), signed=False)
        rounding = str(rng.choice(["floor", "toward_zero", "nearest_even", "stochastic"]))
        return decay(a, kept, frac, rounding)
    if op == "table":
        index = saturate(b, int(rng.integers(1, 5)), signed=False)
        wide = int(rng.choice([4, 16, 30, 40]))
        spare = int(rng.integers(0, 3))
        return table(rng.integers(-(1 << wide), 1 << wide, index.hi + 1 + spare).tolist(), index)
    if op == "input":
        return _random_input(rng, len([v for v in numbers if v.op == "input"]))
    bits = int(rng.integers(1, 40))
    return {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "mul": lambda: a * b,
        "shl": lambda: a << _shift_amount(rng, numbers),
        "lt": lambda: a < b,
        "le": lambda: a <= b,
        "eq": lambda: a == b,
        "ne": lambda: a != b,
        "and": lambda: p & q,
        "or": lambda: p | q,
        "not": lambda: ~p,
        "select": lambda: select(p, a, b),
        "select_boolean": lambda: select(p, q, _pick(rng, booleans)),
        "min": lambda: minimum(a, b),
        "max": lambda: maximum(a, b),
        "abs": lambda: absolute(a),
        "saturate": lambda: saturate(a, bits),
        "unsigned": lambda: saturate(a, bits, signed=False),
        "wrap": lambda: wrap(a, bits),
        "random": lambda: random(int(rng.integers(1, 33))),
        "const": lambda: lift(integer_in(rng, -(1 << bits), 1 << bits)),
    }[op]()


def _shift_amount(rng: Rng, numbers: list[Value]) -> Value | int:
    if rng.random() < 0.5:
        return integer_in(rng, 0, int(rng.choice([3, 12, MAX_SHIFT])))
    bits = int(rng.integers(1, 6))
    least = int(rng.integers(0, MAX_SHIFT - (1 << bits) + 2))
    return saturate(_pick(rng, numbers), bits, signed=False) + least


def input_rows(rng: Rng, outputs: dict[str, Value], rows: int) -> list[dict[str, int]]:
    """Random and extreme values for the inputs of a graph."""
    inputs = [v for v in topological(outputs.values()) if v.op == "input"]
    return [
        {str(v.attribute[0]): integer_in(rng, v.lo, v.hi) for v in inputs} for _ in range(rows)
    ]


graphs = seeds.map(lambda seed: random_graph(np.random.default_rng(seed)))


# Programs.


@neuron_model(
    state={"v": POTENTIAL, "left": COUNT}, parameters={"threshold": POTENTIAL, "period": COUNT}
)
def burst(s: Any, p: Any, current: Value, *, most: str = "1", noise: str = "3") -> Update:
    """Spikes a count of up to `most` per update, with `noise` random bits on its potential."""
    v = saturate(s.v + current + random(int(noise)) - random(int(noise)), s.v.bits)
    over = maximum(v - p.threshold, 0)
    count = select(s.left == 0, minimum(shift(over, 2), int(most)), 0)
    return Update(
        spike=count,
        v=saturate(select(count > 0, v - (count << 2), decay(v, 3900, 12)), s.v.bits),
        left=select(count > 0, p.period, maximum(s.left, 1) - 1),
    )


@neuron_model(state={"v": POTENTIAL}, parameters={})
def bare(s: Any, p: Any, current: Value) -> Update:
    """No parameter, and its value is not its state."""
    return Update(value=saturate(s.v - current, 32), v=saturate(current, s.v.bits))


@learning_rule(
    pre={"x": TRACE, "slow": FINE_TRACE}, post={"y": TRACE}, held={"goal": LEVEL},
    state={"e": CHANGE, "seen": COUNT},
    parameters={
        "keep_pre": FRACTION, "keep_post": FRACTION, "keep_e": FRACTION, "up": TRACE,
        "down": TRACE, "offset": CHANGE, "drift": CHANGE,
    },
    signals={"gain": SIGNAL},
)  # fmt: skip
def thorough(
    pre: Any, post: Any, s: Any, p: Any, g: Any, *, remembers: str = "yes", holds: str = "no"
) -> Learned:
    """Reads all that a rule may, and is quiet in ways that the library's are not: with `offset` it
    changes weights of rows at rest where a neuron spikes, with `drift` those of others where none
    does."""
    x = trace(pre.x, p.keep_pre, pre.event, p.up)
    slow = trace(pre.slow, p.keep_post, pre.event, 700)
    y = trace(post.y, p.keep_post, post.event, p.down)
    change = select(post.event, pre.x + p.offset, 0) - select(pre.event, y, 0)
    change -= shift(p.drift * slow, 8, "nearest_even")
    change += select(pre.event & (x > pre.x), shift(post.y * g.gain, 6), 0)
    if holds == "yes":
        change += select(pre.event, post.goal - y, 0)
    state: dict[str, Value] = {}
    if remembers == "yes":
        e = decay(s.e, p.keep_e, 12, "toward_zero") + select(post.event, shift(slow, 4), 0)
        change += s.e + select(s.seen >= 3, 5, 0)
        state = {
            "e": fit(e, s.e),
            "seen": fit(select(pre.event & post.event, s.seen + 1, s.seen), s.seen),
        }
    w = s.w + shift(change, 4, "stochastic")
    return Learned(w=w, pre={"x": x, "slow": slow}, post={"y": y}, **state)


ModelChoice = tuple[NeuronModel, dict[str, str]]


def random_core(rng: Rng) -> tuple[ChipSpec, tuple[ModelChoice, ...]]:
    """A chip of one core with small memories, and one to three models for it."""
    spec = random_chip(
        rng, cores=1, neurons=int(rng.integers(4, 70)), axons=int(rng.integers(110, 140)),
        synapse_words=8192, routes=256, parameter_sets=128, populations=6,
        accumulator_bits=int(rng.integers(10, 33)), delay_slots=1 << int(rng.integers(0, 4)),
        trace_sets=1,
    )  # fmt: skip
    pool: dict[str, ModelChoice] = {}
    for _ in range(int(rng.integers(1, 4))):
        model, options = _random_model(rng, spec, stochastic=True)
        pool[model.datapath(spec.state_bits, 32, options).identity] = (model, options)
    return spec, tuple(pool.values())


def random_chip(rng: Rng, **given: Any) -> ChipSpec:
    """A chip with random widths and lanes, roomy memories, and latencies of all kinds."""
    fields: dict[str, Any] = {
        "cores": 1000, "neurons": int(rng.integers(40, 200)), "axons": 10_000,
        "synapse_words": 1_000_000, "routes": 100_000, "parameter_sets": 100_000,
        "lanes": 1 << int(rng.integers(0, 5)),
        "weight_bits": int(rng.integers(2, 17)),
        "accumulator_bits": 32,
        "state_bits": int(rng.integers(8, 25)),
        "delay_slots": 1 << int(rng.integers(0, 5)),
        "payload_bits": int(rng.choice([1, 1, 2, 4])),
        "memory_latency": int(rng.integers(1, 3)),
        "accumulate_latency": int(rng.integers(2, 7)),
        "trace_sets": 4,
    }  # fmt: skip
    return ChipSpec("random", **(fields | given))


def random_program(
    rng: Rng,
    *,
    neurons: int = 40,
    populations: int = 4,
    cores: int | None = None,
    stochastic: bool = True,
    one_tick: bool = False,
    full: bool = False,
    plastic: int = 0,
    on: tuple[ChipSpec, tuple[ModelChoice, ...]] | None = None,
    rules: tuple[LearningPath, ...] = (),
    **chip: Any,
) -> Program:
    """A valid program of at most `neurons` neurons in at most `populations` populations.

    It has one or two inputs, random models, parameters and rows, and is cut at random into `cores`
    cores (by default up to seven). `stochastic` allows models that draw random numbers, `one_tick`
    asks for period 1, start 0 and no delays, `full` for all of the neurons; `plastic` is the most
    plastic projections, and programs that may have some rather have several populations, which
    begin soon; `on` gives the chip and the models it carries, `rules` the learning rules of a chip
    that has its own, further arguments are fields of a random chip. Neurons are active more often
    than not, but nothing guarantees it.
    """
    if on:
        spec = on[0]
    else:
        spec = random_chip(rng, **({"neurons": int(rng.integers(neurons, 5 * neurons))} | chip))
    total = neurons if full else int(rng.integers(1, neurons, endpoint=True))
    several = int(max(rng.integers(1, populations + 1, 2 if plastic else 1)))
    sizes = np.diff([0, *_cuts(rng, total, several), total])
    period = 1 if one_tick else int(rng.choice([1, 1, 2, 3]))
    begins = [0, 0, 1, 2, 3, 4, 5]
    if plastic:  # so that they soon have input
        begins = [n for n in (0, 0, 0, 1, 1, 2, 3) if n <= spec.delay_slots]
    starts = [0 if one_tick else int(rng.choice(begins)) for _ in sizes]
    inputs: list[InputPort] = []
    for n in range(int(rng.integers(1, 3))):
        first = sum(port.size for port in inputs)
        inputs.append(InputPort(f"in{n}", first, int(rng.integers(1, 20)), period))
    lines = sum(port.size for port in inputs)
    first_neuron = [int(sizes[:n].sum()) for n in range(len(sizes))]
    groups = [(port.first, port.size, -1) for port in inputs]
    groups += [
        (lines + f, int(size), start)
        for f, size, start in zip(first_neuron, sizes, starts, strict=True)
    ]
    found: dict[tuple[int, int, int], int] = {}  # weight by (source, delay, target)
    slots = 1 if one_tick else spec.delay_slots
    learnable: list[tuple[int, int, int, tuple[int, int], list[int]]] = []
    for (begin, size, emitted), n in itertools.product(groups, range(len(sizes))):
        late = [d for d in range(slots) if emitted + 1 + d >= starts[n]
                and (emitted + 1 + d - starts[n]) % period == 0]  # fmt: skip
        target = (first_neuron[n], int(sizes[n]))
        if late and rng.random() < 0.7:
            found |= _random_rows(rng, spec, begin, size, target, late)
        if late:
            learnable.append((begin, size, n, target, late))
    synapses = _synapses(found, lines + total, spec)
    if on:
        choices = [on[1][int(rng.integers(len(on[1])))] for _ in sizes]
    else:
        choices = [_random_model(rng, spec, stochastic) for _ in sizes]
    if plastic:  # mostly onto what spikes, and soon
        fires = [m.datapath(spec.state_bits, 32, options).spikes for m, options in choices]
        learnable = [
            (begin, size, n, target, late[: 1 + len(late) // 2])
            for begin, size, n, target, late in learnable if fires[n] or rng.random() < 0.1
        ]  # fmt: skip
    rules, learning = _random_plasticity(rng, spec, learnable, starts, plastic, rules)
    cuts = _cuts(rng, total, int(rng.integers(1, 8)) if cores is None else cores)
    seed = int(rng.integers(0, 2**31))

    def mapped(bits: int) -> Program:
        traced = [m.datapath(spec.state_bits, bits, options) for m, options in choices]
        carried = [m.datapath(spec.state_bits, bits, o) for m, o in on[1]] if on else traced
        unique = {m.identity: m for m in carried}
        models = tuple(unique.values())
        values = np.random.default_rng(seed)
        parts = tuple(
            MappedPopulation(
                f"p{n}", first_neuron[n], int(sizes[n]), list(unique).index(m.identity),
                starts[n], period, bool(values.random() < 0.7) or n == len(sizes) - 1,
                _values(values, m.parameters, int(sizes[n]), spec),
                _values(values, m.state, int(sizes[n]), spec),
            )
            for n, m in enumerate(traced)
        )  # fmt: skip
        placed = np.array([0, *cuts, total], np.int64)
        chip = replace(spec, accumulator_bits=bits).carrying(models, rules)
        return Program(
            chip, models, tuple(inputs), parts, placed, synapses, seed, {}, rules, learning
        )

    positive, negative = mapped(32).reach
    load = int(max(positive.max(), negative.max()))
    least = max(8, signed_bits(-load, load))
    while on and least > spec.accumulator_bits:  # smaller weights
        synapses = replace(synapses, words=pack(
            synapses.target, synapses.weight - synapses.weight // 2 - (synapses.weight > 0),
            spec.weight_bits > 8))  # fmt: skip
        learning = tuple(_smaller(q, rules[q.rule].fixed_limits) for q in learning)
        positive, negative = mapped(32).reach
        load = int(max(positive.max(), negative.max()))
        least = max(8, signed_bits(-load, load))
    bits = spec.accumulator_bits if on else min(32, least + int(rng.choice([0, 0, 1, 5])))
    program = mapped(bits)
    validate(program)
    return program


def _cuts(rng: Rng, total: int, parts: int) -> list[int]:
    """Where to cut 0 .. total into so many parts, or as many as there are."""
    cuts: list[int] = rng.choice(np.arange(1, total), min(parts, total) - 1, replace=False).tolist()
    return sorted(cuts)


def _random_rows(
    rng: Rng, chip: ChipSpec, begin: int, size: int, target: tuple[int, int], delays: list[int]
) -> dict[tuple[int, int, int], int]:
    """Synapses from `size` sources to a population: dense, sparse, in blocks, of mixed delays."""
    found: dict[tuple[int, int, int], int] = {}
    first, count = target
    fill = float(rng.choice([0.05, 0.3, 0.7, 1.0]))
    several = rng.random() < 0.3
    one = int(rng.choice(delays))
    limit = min(chip.largest_weight, int(rng.choice([3, 20, 1 << 15])))
    for source in range(begin, begin + size):
        a, b = 0, count
        if rng.random() < 0.3:
            a, b = sorted(rng.integers(0, count + 1, 2).tolist())
        for k in range(a, b):
            for delay in delays if several else [one]:
                if rng.random() < fill:
                    weight = integer_in(rng, -limit - 1, limit)
                    found[source, delay, first + k] = weight
    return found


def _random_plasticity(
    rng: Rng, chip: ChipSpec, learnable: list[tuple[int, int, int, tuple[int, int], list[int]]],
    starts: list[int], most: int, carried: tuple[LearningPath, ...],
) -> tuple[tuple[LearningPath, ...], tuple[PlasticProjection, ...]]:  # fmt: skip
    """Up to `most` plastic projections of random rules, or of those carried, with signals of one
    stage; rather many, and where the chip keeps one set of traces of a population, with that."""
    made: list[tuple[PlasticProjection, LearningPath]] = []
    stage: dict[str, int] = {}
    if not (most and learnable):
        return carried, ()
    pool = carried or random_rules(rng, chip)
    for _ in range(int(max(rng.integers(1, most, 2, endpoint=True)))):
        begin, size, population, target, late = learnable[int(rng.integers(len(learnable)))]
        path = pool[int(rng.integers(len(pool)))]
        parameters = _rule_parameters(rng, path)
        beside = [(q, other) for q, other in made if q.target == population]
        if chip.trace_sets == 1:
            if path.held and any(other.held for _, other in beside):
                continue
            for q, other in beside:
                if path.post and other.post:
                    path = other
                    read = names_read(path.post_outputs)
                    parameters = _rule_parameters(rng, path) | {
                        k: v for k, v in q.parameters.items() if f"parameter.{k}" in read
                    }
        start = starts[population]
        if any(stage.setdefault(name, start) != start for name in path.signals):
            continue
        there = np.ones((size, target[1]), np.bool_)
        if chip.delay_slots > 1:
            sparse = rng.random(size) < float(rng.choice([0.0, 0.5, 1.0]))
            there[sparse] = rng.random((sparse.sum(), target[1])) < float(rng.choice([0.2, 0.6]))
        there[int(rng.integers(size)), int(rng.integers(target[1]))] = True
        source, to = np.nonzero(there)
        lo, hi = parameters["w_min"], parameters["w_max"]
        made.append((PlasticProjection(
            f"q{len(made)}", begin, size, population, 0, int(rng.choice(late)),
            np.concatenate([[0], np.cumsum(np.bincount(source, minlength=size))]).astype(np.int64),
            (to + target[0]).astype(np.int32),
            rng.integers(lo, hi, len(to), endpoint=True).astype(np.int32), parameters,
            {
                name: rng.integers(a, b, target[1], endpoint=True).astype(np.int32)
                for name, (a, b) in path.held.items()
            },
            bool(rng.random() < 0.9),
        ), path))  # fmt: skip
    rules = list(carried or {path.identity: path for _, path in made}.values())
    identities = [rule.identity for rule in rules]
    return tuple(rules), tuple(
        replace(q, rule=identities.index(path.identity)) for q, path in made
    )


def _random_rule(rng: Rng, chip: ChipSpec) -> LearningPath:
    rule = thorough
    if rng.random() < 0.7:
        rule = list(RULES.values())[int(rng.integers(len(RULES)))]
    options = variants(rule)
    chosen = int(rng.integers(len(options)))
    many = chip.accumulator_bits > chip.weight_bits + 6  # a sum has room for many of the largest
    limits = {"limits": LIMITED[chosen % len(LIMITED) if many else 0]}
    return rule.path(chip.weight_bits, options[chosen] | limits)


def random_rules(rng: Rng, chip: ChipSpec) -> tuple[LearningPath, ...]:
    """One or two rules for a chip."""
    found = [_random_rule(rng, chip) for _ in range(int(rng.choice([1, 1, 2])))]
    return tuple({path.identity: path for path in found}.values())


def _smaller(q: PlasticProjection, fixed: bool) -> PlasticProjection:
    """The projection with half the weights, or where their limits are fixed half the synapses."""
    if fixed:
        kept = np.arange(0, q.count, 2)
        rows = np.concatenate([[0], np.cumsum(np.bincount(q.source[kept], minlength=q.size))])
        return replace(q, rows=rows.astype(np.int64), to=q.to[kept], weight=q.weight[kept])
    parameters = q.parameters | {k: int(q.parameters[k] / 2) for k in LIMITS}
    return replace(
        q, parameters=parameters,
        weight=q.weight.clip(parameters["w_min"], parameters["w_max"]),
    )  # fmt: skip


def _rule_parameters(rng: Rng, path: LearningPath) -> dict[str, int]:
    """Parameters with which traces come to rest, sometimes extreme; the room of weights is often
    such that neurons of `_values` fire, and that weights come to its ends."""
    values = {}
    for name, (lo, hi) in path.parameters.items():
        if lo == hi:
            values[name] = lo
            continue
        kind = rng.random()
        a, b = lo, hi
        if name.startswith("keep"):
            a, b = (0, 4095) if kind < 0.1 else (2000, 4090)
        elif name in ("offset", "drift") and kind < 0.4:
            a, b = 0, 0
        elif kind > 0.5:
            a, b = max(lo, -40), min(hi, 60)
        elif kind > 0.1:
            a, b = -(-lo // 8), hi // 8
        values[name] = integer_in(rng, a, b)
    lo, hi = path.parameters["w_min"]
    if path.fixed_limits:
        return values
    if rng.random() < 0.3:
        limits = [integer_in(rng, lo, hi) for _ in range(2)]
    else:
        least = min(max(int(rng.integers(-12, 8)), lo), hi - 1)
        limits = [least, min(least + int(rng.integers(1, 40)), hi)]
    return values | {"w_min": min(limits), "w_max": max(limits)}


def random_signals(rng: Rng, program: Program, steps: int, samples: int | None = None) -> Any:
    """Values of some of a program's signals."""
    shape = (steps,) if samples is None else (samples, steps)
    return {
        name: rng.integers(signal.lo, signal.hi, shape, endpoint=True)
        for name, signal in program.signals.items()
        if rng.random() < 0.9
    }


def _synapses(found: dict[tuple[int, int, int], int], sources: int, chip: ChipSpec) -> Synapses:
    delays = sorted({delay for _, delay, _ in found}) or [0]
    keys = sorted(found)
    row = np.array([s * len(delays) + delays.index(d) for s, d, _ in keys], np.int64)
    counts = np.bincount(row, minlength=sources * len(delays))
    words = pack(
        np.array([t for *_, t in keys], np.int64),
        np.array([found[key] for key in keys], np.int64),
        chip.weight_bits > 8,
    )
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Synapses(words, first, tuple(delays))


def _random_model(rng: Rng, chip: ChipSpec, stochastic: bool) -> tuple[NeuronModel, dict[str, str]]:
    kind = rng.random()
    if kind < 0.25 and stochastic:
        most = str(integer_in(rng, 1, min(chip.largest_payload, 9)))
        return burst, {"most": most, "noise": "10" if chip.state_bits > 13 else "2"}
    if kind < 0.3:
        return bare, {}
    names = ["if", "lif", "lif", "cubalif", "izhikevich", "li", "cubali"]
    model = LIBRARY[str(rng.choice(names))]
    options = [o for o in variants(model) if int(o.get("count_bits", "1")) <= chip.payload_bits]
    return model, options[int(rng.integers(len(options)))]


def _values(
    rng: Rng, ranges: dict[str, tuple[int, int]], size: int, chip: ChipSpec
) -> dict[str, Any]:
    """Parameters or state: mostly such that neurons fire now and then, sometimes extreme."""
    usual = {
        "threshold": (1, 25), "v_reset": (-20, 20), "refractory_period": (0, 4),
        "keep": (2000, 4096), "keep_i": (1000, 4096), "leak_shift": (1, 6),
        "leak_shift_i": (1, 6), "leak_step": (0, 3), "leak_step_i": (0, 2), "v_rest": (-5, 5),
        "v_floor": (-40, 2), "gain": (0, 2), "bias": (-3, 8), "bias_i": (-3, 8),
        "curvature": (0, 4000), "v_mid": (-40, 5), "rate_u": (0, 9000), "coupling": (-3000, 9000),
        "step_u": (0, 9), "u": (-2000, 2000),
        "v": (-40, 40), "i": (-10, 10), "refractory": (0, 3), "period": (0, 2), "left": (0, 2),
    }  # fmt: skip
    values = {}
    for name, (lo, hi) in ranges.items():
        a, b = usual[name]
        if rng.random() < 0.1:
            a, b = lo, hi
        kept = [integer_in(rng, max(a, lo), min(b, hi)) for _ in range(int(rng.integers(1, 4)))]
        shape = size if rng.random() < 0.5 else 1
        values[name] = rng.choice(np.array(kept, np.int32), shape).astype(np.int32)
    return values


def random_input(
    rng: Rng, program: Program, steps: int, samples: int | None = None
) -> dict[str, SpikeTrain]:
    """Input of a run of `steps` steps: silent, sparse or crowded, with payloads."""
    trains = {}
    for port in program.inputs:
        rate = float(rng.choice([0.0, 0.1, 0.4, 1.0]))
        raster = rng.random((samples or 1, steps, port.size)) < rate
        most = program.chip.largest_payload if rng.random() < 0.5 else 1
        counts = raster * rng.integers(1, most + 1, raster.shape)
        trains[port.name] = SpikeTrain.from_dense(counts if samples else counts[0])
    return trains


programs = seeds.map(lambda seed: random_program(np.random.default_rng(seed), plastic=seed % 3))


def every_synapse(program: Program) -> Iterator[tuple[int, int, int, int]]:
    """(source, delay, target, weight) of each synapse that has a weight."""
    s = program.synapses
    for source, delay, target, weight in zip(
        s.source.tolist(), s.delay.tolist(), s.target.tolist(), s.weight.tolist(), strict=True
    ):
        if weight:
            yield source, delay, target, weight
    for q in program.plastic:
        for source, target, weight in zip(
            q.source.tolist(), q.to.tolist(), q.weight.tolist(), strict=True
        ):
            if weight:
                yield q.first + source, q.delay, target, weight
