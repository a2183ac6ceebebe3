"""Rules are traced once, proven quiet where they are, and refused where they cannot be."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.interpret import Draws, evaluate, evaluate_many
from spikefab.compiler.ir.language import (
    decay,
    names_read,
    random,
    select,
    shift,
    substitute,
    topological,
    variable,
)
from spikefab.compiler.ir.neuron import FRACTION, Format
from spikefab.compiler.ir.rule import (
    LIMITED,
    LIMITS,
    TRACE,
    Learned,
    LearningPath,
    LearningRule,
    fit,
    learning_rule,
)
from spikefab.compiler.ir.rules import RULES
from spikefab.compiler.ir.specialise import specialised
from strategies import graphs, input_rows, integer_in, seeds, variants

VARIANTS = [
    pytest.param(rule, options, id=rule.path(8, options).identity)
    for rule in RULES.values()
    for options in [*variants(rule), {"limits": "chip"}, {"limits": "positive"}]
]


def simple(**changed: Any) -> LearningRule:
    """Pair STDP in ten lines, with parts of it replaced."""

    @learning_rule(
        pre={"x": TRACE}, post={"y": TRACE}, parameters={"keep": FRACTION, "step": TRACE},
        name="simple", **{k: v for k, v in changed.items() if k in ("state", "signals")},
    )  # fmt: skip
    def rule(pre: Any, post: Any, s: Any, p: Any, *g: Any) -> Learned:
        x = fit(decay(pre.x, p.keep, 12) + select(pre.event, p.step, 0), pre.x)
        y = fit(decay(post.y, p.keep, 12) + select(post.event, p.step, 0), post.y)
        up = select(post.event, x, 0) - select(pre.event, y, 0)
        made = {"w": s.w + shift(up, 4), "pre": {"x": x}, "post": {"y": y}}
        more = changed.get("make", lambda *_: {})(pre, post, s, p, *g)
        return Learned(**{**made, **more})

    return rule


@pytest.mark.parametrize(("rule", "options"), VARIANTS)
def test_a_rule_of_the_library_survives_its_file(
    rule: LearningRule, options: dict[str, str]
) -> None:
    path = rule.path(8, options)
    again = LearningPath.from_json(json.loads(json.dumps(path.to_json())), "here")
    assert again == path
    assert again.to_json() == path.to_json()


@pytest.mark.parametrize(("rule", "options"), VARIANTS)
@pytest.mark.parametrize("bits", [2, 8, 16])
def test_no_weight_leaves_its_limits(
    rule: LearningRule, options: dict[str, str], bits: int
) -> None:
    path = rule.path(bits, options)
    rng = np.random.default_rng(bits)
    for row in input_rows(rng, path.outputs, 60):
        limits = sorted(integer_in(rng, *path.parameters[name]) for name in LIMITS)
        row |= {"parameter.w_min": limits[0], "parameter.w_max": limits[1]}
        row["w"] = integer_in(rng, *limits)
        made = evaluate(path.outputs, row, Draws(int(rng.integers(1 << 32))))
        assert limits[0] <= made["next.w"] <= limits[1]
        for name, (lo, hi) in path.state.items():
            assert lo <= made[f"next.{name}"] <= hi


@pytest.mark.parametrize(("rule", "options"), VARIANTS)
def test_a_quiet_row_keeps_its_synapses(rule: LearningRule, options: dict[str, str]) -> None:
    """What is proven of the graph holds for any inputs of it."""
    path = rule.path(8, options)
    rng = np.random.default_rng(1)
    inputs = {str(v.attribute[0]): v for v in topological(path.outputs.values()) if v.op == "input"}
    for row in input_rows(rng, path.outputs, 150):
        for name in rng.permutation(list(inputs))[: len(inputs) // 2]:
            if inputs[name].lo <= 0 <= inputs[name].hi:
                row[str(name)] = 0
        row |= {name: 0 for name in inputs if name.startswith("state.")}
        least, most = path.parameters["w_min"][0], path.parameters["w_max"][1]
        row |= {"pre.event": 0, "parameter.w_min": least, "parameter.w_max": most}
        row["w"] = min(max(row["w"], least), most)
        parameters = {k: row.get(f"parameter.{k}", 0) for k in path.parameters}
        quiet = path.quiet(parameters)
        traces = [name for name in inputs if name.startswith("pre.") and name != "pre.event"]
        resting = not any(row[name] for name in traces)
        if quiet.active(False, False, resting, bool(row.get("post.event"))):
            continue
        made = evaluate(path.outputs, row, Draws(int(rng.integers(1 << 32))))
        assert made["next.w"] == row["w"]
        assert not any(made[f"next.{name}"] for name in path.state)


def test_the_pair_rule_sleeps_without_events_and_the_lag_tables_do_not() -> None:
    pair = RULES["stdp"].path(8)
    assert pair.quiet(dict.fromkeys(pair.parameters, 1)).at_rest
    assert pair.quiet(dict.fromkeys(pair.parameters, 1)).without_spikes
    lags = RULES["lags"].path(8, {"steps": "2"})
    assert lags.quiet(dict.fromkeys(lags.parameters, 0) | {"down_2": -1}).never
    ups = RULES["lags"].path(8, {"steps": "2", "down": "no"})
    assert ups.quiet(dict.fromkeys(ups.parameters, 3)).at_rest


@pytest.mark.parametrize(("rule", "options"), VARIANTS)
def test_what_a_row_adds_is_what_each_of_its_weights_gains(
    rule: LearningRule, options: dict[str, str]
) -> None:
    path = rule.path(8, options)
    known = {"pre.event": 0, "post.event": 1}
    change = path.row_change(known)
    rng = np.random.default_rng(2)
    for row in input_rows(rng, path.outputs, 50 if change is not None else 0):
        row |= known
        made = evaluate({**path.outputs, "change": change}, row, Draws(int(rng.integers(1 << 32))))
        least, most = (row.get(f"parameter.{k}", path.parameters[k][0]) for k in LIMITS)
        assert made["next.w"] == min(max(row["w"] + made["change"], least), most)


def test_only_what_is_the_same_for_all_of_a_row_is_a_change_of_the_row() -> None:
    spike = {"pre.event": 0, "post.event": 1}
    known = {
        name: RULES[rule].path(8, options).row_change(spike) is not None
        for name, rule, options in (
            ("rounded", "stdp", {"rounding": "nearest_even"}), ("drawn", "stdp", {}),
            ("of the neuron", "triplet", {"rounding": "floor"}), ("of w", "oja", {}),
            ("window", "window", {}),
        )
    }  # fmt: skip
    assert {name for name, of_row in known.items() if of_row} == {"rounded", "window"}


def test_state_that_a_variant_does_not_use_is_left_out() -> None:
    assert RULES["lags"].path(8, {"steps": "2"}).state == {"age": (0, 16)}
    assert not RULES["lags"].path(8, {"steps": "2", "down": "no"}).state


def test_the_symmetric_rule_strengthens_in_either_order_and_weakens_what_was_silent() -> None:
    path = RULES["symmetric"].path(8, {"rounding": "floor"})
    parameters = {"up_pre": 32, "up_post": 16, "offset": 16, "w_min": 0, "w_max": 127}

    def after(x: int, y: int, pre: bool, post: bool) -> int:
        given = {f"parameter.{k}": v for k, v in parameters.items()}
        given |= {"w": 50, "pre.event": pre, "post.event": post}
        return evaluate(path.outputs, given | {"pre.next.x": x, "post.next.y": y})["next.w"]

    assert after(x=80, y=64, pre=False, post=True) == 52  # 2 LSB x (80 - 16) / 64
    assert after(x=64, y=64, pre=True, post=False) == 51  # 1 LSB x 64 / 64
    assert after(x=0, y=0, pre=False, post=True) == 49  # 2 LSB x -16 / 64, rounded down
    assert after(x=80, y=64, pre=False, post=False) == 50


@settings(max_examples=60, deadline=None)
@given(graphs, seeds)
def test_what_is_left_of_a_graph_computes_the_same(graph: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for row in input_rows(rng, graph, 4):
        known = {name: x for name, x in row.items() if rng.random() < 0.5}
        draws = Draws(int(rng.integers(1 << 32)))
        assert evaluate(specialised(graph, known), row, draws) == evaluate(graph, row, draws)


@settings(max_examples=60, deadline=None)
@given(graphs, seeds)
def test_arrays_are_evaluated_as_single_numbers_are(graph: Any, seed: int) -> None:
    if any(v.op == "random" for v in topological(graph.values())):
        return
    rows = input_rows(np.random.default_rng(seed), graph, 9)
    arrays = {name: np.array([row[name] for row in rows], np.int64) for name in rows[0]}
    found = evaluate_many(graph, arrays)
    for n, row in enumerate(rows):
        expected = evaluate(graph, row)
        assert {k: int(np.broadcast_to(v, 9)[n]) for k, v in found.items()} == expected


@pytest.mark.parametrize("options", variants(RULES["stdp"]), ids=str)
def test_the_pair_rule_at_small_widths_is_lazy_as_it_is_eager(options: dict[str, str]) -> None:
    """For every state, parameter, event and draw there is at 3 bits."""
    small = Format(bits=3, signed=False, unit="weight")
    kept = dict.fromkeys(("keep_pre", "keep_post"), FRACTION)
    rule = replace(
        RULES["stdp"], pre={"x": small}, post={"y": small},
        parameters={**kept, "up": small, "down": small},
    ).path(3, options)  # fmt: skip
    (quiet,) = {rule.quiet(dict.fromkeys(rule.parameters, k)) for k in (0, 1, 7)}
    assert (quiet.without_spikes, quiet.at_rest) == (True, True)
    # Traces at rest stay there without an event, whatever the parameters.
    keep, step = np.meshgrid(np.arange(0, 4097), np.arange(8))
    for side, graph in (("pre", rule.pre_outputs), ("post", rule.post_outputs)):
        given = {f"parameter.{name}": keep for name in kept}
        given |= {"parameter.up": step, "parameter.down": step, f"{side}.event": np.array(0)}
        assert not evaluate_many(graph, {**given, f"{side}.x": 0 * keep, f"{side}.y": 0 * keep})[
            "next.x" if side == "pre" else "next.y"
        ].any()
    # A row that is not visited keeps its weights: no event, and no spike or traces at rest.
    drawn = {v: variable("drawn", v.lo, v.hi) for v in topological(rule.outputs.values())
             if v.op == "random"}  # fmt: skip
    graph = substitute(rule.outputs, drawn)
    for traces, spike in ((range(8), [0]), ([0], [0, 1])):
        names = ("w", "pre.x", "pre.next.x", "post.y", "post.next.y", "post.event",
                 "parameter.w_min", "parameter.w_max", "drawn")  # fmt: skip
        every = (range(-4, 4), traces, traces, range(8), range(8), spike, range(-4, 4),
                 range(-4, 4), range(16) if drawn else [0])  # fmt: skip
        grids = np.meshgrid(*(np.array(list(values)) for values in every), indexing="ij")
        values = dict(zip(names, (g.ravel() for g in grids), strict=True))
        valid = (values["parameter.w_min"] <= values["w"]) & (
            values["w"] <= values["parameter.w_max"]
        )
        given = {name: v[valid] for name, v in values.items()} | {"pre.event": np.array(0)}
        after = evaluate_many(graph, given)["next.w"]
        np.testing.assert_array_equal(after, given["w"])


def refusal(rule: LearningRule) -> str:
    with pytest.raises(SpikefabError) as refused:
        rule.path(8)
    return str(refused.value)


def test_a_trace_without_bound_is_refused() -> None:
    said = refusal(simple(make=lambda pre, *_: {"pre": {"x": pre.x + select(pre.event, 9, 0)}}))
    assert said == (
        "trace 'x' of the pre side without bound in learning rule 'simple': its next value spans "
        "[0, 264], its format [0, 255]; saturate it"
    )


def test_a_state_without_bound_is_refused() -> None:
    e = Format(bits=8, unit="number")
    said = refusal(simple(state={"e": e}, make=lambda _p, _q, s, p: {"e": s.e + 1}))
    assert "'e' of a synapse without bound" in said


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda pre, post, s, p: {"pre": {"x": post.y}}, "trace 'x' of the pre side reads"),
        (lambda pre, post, s, p: {"pre": {"x": fit(s.w, pre.x)}}, "reads 'w'"),
        (lambda pre, post, s, p: {"post": {"y": fit(pre.x, post.y)}}, "reads 'pre.x'"),
        (lambda pre, post, s, p: {"post": {"y": random(8)}}, "draws random numbers"),
        (lambda pre, post, s, p: {"pre": {}}, "results none"),
        (lambda pre, post, s, p: {"pre": {"x": pre.x, "z": pre.x}}, "results next.x, next.z"),
        (lambda pre, post, s, p: {"q": s.w}, "results next.q, next.w"),
    ],
)
def test_what_a_rule_may_not_do_is_refused(make: Any, what: str) -> None:
    assert what in refusal(simple(make=make))


def test_a_rule_that_returns_nothing_of_its_kind_is_refused() -> None:
    @learning_rule()
    def nothing(pre: Any, post: Any, s: Any, p: Any) -> Any:
        return s.w

    assert refusal(nothing) == (
        "Value as a result in learning rule 'nothing'; return Learned(...)"
    )


@pytest.mark.parametrize(("keep", "step"), [*itertools.product([4096, 4095, 1, 0], [1, 255])])
def test_a_trace_that_never_rests_is_refused(keep: int, step: int) -> None:
    path = simple().path(8)
    given = {"keep": keep, "step": step, "w_min": 0, "w_max": 9}
    if keep < 4096:
        path.check_rest(given, "here")
        return
    with pytest.raises(SpikefabError, match="trace 'x' of the pre side never decays to rest"):
        path.check_rest(given, "here")


def test_a_trace_that_stops_above_rest_is_refused_with_where_it_stops() -> None:
    """x -= x >> 4 stops at 15."""
    path = simple(make=lambda pre, *_: {"pre": {"x": fit(pre.x - shift(pre.x, 4), pre.x)}}).path(8)
    with pytest.raises(SpikefabError, match="without events it stays at 15"):
        path.check_rest({"keep": 0, "step": 0, "w_min": 0, "w_max": 0}, "here")


def test_a_damaged_rule_is_refused() -> None:
    stored = RULES["reward_stdp"].path(8).to_json()
    for name in stored:
        with pytest.raises(SpikefabError):
            LearningPath.from_json({k: v for k, v in stored.items() if k != name}, "here")
    for name in ("graph", "pre_graph", "post_graph"):
        other = RULES["lags"].path(8).to_json()[name]
        with pytest.raises(SpikefabError):
            LearningPath.from_json({**stored, name: other}, "here")
    for limits in LIMITED:
        unlimited = RULES["reward_stdp"].path(8, {"limits": limits})
        raw = unlimited.outputs["next.w"].args[0]
        unlimited.outputs["next.w"] = raw
        with pytest.raises(SpikefabError):
            LearningPath.from_json(unlimited.to_json(), "here")


def test_limits_of_the_chip_are_no_parameters_of_a_projection() -> None:
    for limits, ends in (("chip", (-8, 7)), ("positive", (0, 7))):
        path = RULES["stdp"].path(4, {"limits": limits})
        assert tuple(path.parameters[k] for k in LIMITS) == tuple((x, x) for x in ends)
        assert not {f"parameter.{k}" for k in LIMITS} & names_read(path.outputs)


def test_the_option_limits_is_every_rules_own() -> None:
    @learning_rule()
    def mine(pre: Any, post: Any, s: Any, p: Any, *, limits: str = "none") -> Learned:
        return Learned(w=s.w)

    assert refusal(mine) == "option 'limits' in learning rule 'mine': every rule has one; rename it"


@pytest.mark.parametrize(("options", "told"), [
    ({"limits": "none"}, "option value 'none' in {}; given or chip or positive"),
    ({"signs": "plus"}, "option 'signs' in {}; it has sign, pairing, rounding, limits"),
    ({"sign": "both"}, "option value 'both' in {}; plus or minus"),
])  # fmt: skip
def test_an_unknown_option_is_refused(options: dict[str, str], told: str) -> None:
    with pytest.raises(SpikefabError) as refused:
        RULES["hebbian"].path(8, options)
    assert str(refused.value) == told.format("learning rule 'hebbian'")
