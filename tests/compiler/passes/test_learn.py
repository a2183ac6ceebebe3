"""Plastic projections in integers: what is asked, what is refused, and learning in steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from spikefab.compiler.ir.interpret import evaluate
from spikefab.compiler.ir.program import Program
from strategies import seeds

PAIR = {"keep_pre": 0.9, "keep_post": 0.8, "up": 0.04, "down": 0.025}
Rasters = dict[str, Any]


def one(weights: Any = None, **more: Any) -> sf.Network:
    """Two lines onto three neurons, by pair STDP."""
    net = sf.Network()
    x = net.input("x", 2)
    y = net.population("y", 3, "lif", keep=0.5, threshold=1.0, output=True)
    weights = np.full((2, 3), 0.5) if weights is None else weights
    net.connect(x, y, weights, plasticity=sf.Plasticity("stdp", **{
        "w_min": 0.0, "w_max": 1.0, **PAIR, **more,
    }))  # fmt: skip
    return net


def test_a_matrix_has_a_synapse_for_every_pair() -> None:
    program, report = sf.compile(one(np.array([[0, 0.5, 1], [1, 0, 0]])))
    (q,) = program.plastic
    assert (q.name, q.count, q.weight.tolist()) == ("x->y", 6, [0, 63, 126, 126, 0, 0])
    assert (q.parameters["w_min"], q.parameters["w_max"]) == (0, 126)
    assert q.parameters["up"] == round(0.04 * 126 * 16)
    assert q.parameters["keep_pre"] == round(0.9 * 4096)
    assert report.synapses == 6
    assert report.plastic[0].bytes_per_synapse == pytest.approx(2 * 8 / 6)
    assert not report.plastic[0].sweep


def test_a_step_that_becomes_nothing_is_told() -> None:
    _, report = sf.compile(one(up=0.0001))
    assert any("up = 0.0001 became 0" in said for said in report.warnings)


def test_a_rule_that_is_never_quiet_is_told() -> None:
    net = one()
    lags = sf.Plasticity("lags", up_1=0.1, down_1=-0.1, name="lags")
    net.connect(net.node("x"), net.node("y"), np.zeros((2, 3)), plasticity=lags)  # type: ignore[arg-type]
    _, report = sf.compile(net)
    assert [q.sweep for q in report.plastic] == [False, True]
    assert any("every tick sweeps all of its rows" in said for said in report.warnings)


def test_parameters_that_do_not_fit_are_refused_with_the_lsb() -> None:
    with pytest.raises(sf.SpikefabError) as refused:
        sf.compile(one(up=0.4))
    assert str(refused.value) == (
        "'up' becomes 806 in plastic projection 'x->y': outside 0..255, an LSB is 0.00794; "
        "use up to 0.127"
    )


def refusal(**more: Any) -> str:
    with pytest.raises(sf.SpikefabError) as refused:
        sf.compile(one(**more))
    return str(refused.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"w_max": 0.4}, "weight 0.5 of 'x[0]' to 'y[0]' in plastic projection 'x->y'"),
        ({"w_min": 2.0}, "w_min 2 above w_max 1 in learning rule 'stdp'"),
        ({"keep_pre": 1.5}, "'keep_pre' = 1.5 in learning rule 'stdp': a fraction lies in 0..1"),
        ({"keep_pre": 1.0}, "trace 'x' of the pre side never decays"),
        ({"rate": 1}, "parameter 'rate' in learning rule 'stdp'"),
        ({"up": float("nan")}, "nan in 'up' of learning rule 'stdp'"),
        ({"up": "much"}, "'much' in 'up' of learning rule 'stdp': it is a number"),
        ({"held": {"z": 1}}, "held value 'z' in learning rule 'stdp'"),
        ({"options": {"pairing": "some"}}, "option value 'some'"),
        ({"options": {"limits": "chip"}}, "'w_min' in learning rule 'stdp(limits=chip)': its"),
    ],
)
def test_what_cannot_learn_is_refused(more: dict[str, Any], said: str) -> None:
    assert refusal(**more).startswith(said)


def test_an_unknown_rule_and_a_missing_parameter_are_refused() -> None:
    with pytest.raises(sf.SpikefabError, match="learning rule 'spdt' in the network; use stdp, "):
        sf.Plasticity("spdt")
    with pytest.raises(sf.SpikefabError, match="no parameter 'down' in learning rule 'stdp'"):
        sf.Plasticity("stdp", keep_pre=0.5, keep_post=0.5, up=0.1)


def test_what_is_no_rule_no_plasticity_and_no_signal_is_refused() -> None:
    with pytest.raises(sf.SpikefabError, match="as a learning rule in the network; give a name"):
        sf.Plasticity(max)  # type: ignore[arg-type]
    net = sf.Network()
    ends = net.input("x", 1), net.population("y", 1, "lif", keep=0.5, threshold=1.0)
    with pytest.raises(sf.SpikefabError, match="'stdp' as plasticity in projection 'x' to 'y'"):
        net.connect(*ends, np.ones((1, 1)), plasticity="stdp")  # type: ignore[arg-type]
    program, _ = sf.compile(one())
    with pytest.raises(sf.SpikefabError, match="signals of type list in the run; give a dict"):
        sf.Emulator(program).run(None, 3, signals=[1, 2, 3])  # type: ignore[arg-type]


def test_synapses_with_delays_of_their_own_or_twice_do_not_learn() -> None:
    pair = np.array([0, 0]), np.array([1, 1]), np.array([0.5, 0.5])
    with pytest.raises(sf.SpikefabError, match="two synapses from 0 to 1 in plastic projection"):
        sf.compile(one(sf.Triples(*pair)))
    with pytest.raises(sf.SpikefabError, match="plastic synapses with delays of their own"):
        one(sf.Triples(*pair, delay=np.array([1, 2])))


def test_two_sets_of_traces_are_refused_where_the_chip_has_one() -> None:
    net = one()
    other = sf.Plasticity("stdp", w_min=0, w_max=1, name="other", **{**PAIR, "keep_post": 0.1})
    net.connect(net.node("x"), net.node("y"), np.full((2, 3), 0.5), plasticity=other)  # type: ignore[arg-type]
    sf.compile(net)
    with pytest.raises(sf.SpikefabError, match="2 sets of traces in population 'y'"):
        sf.compile(net, "up5k")


# The meaning in steps: all of a network's populations act within a step, and so does learning.


def in_steps(
    program: Program, net: sf.Network, given: Rasters, signals: Rasters, steps: int
) -> Any:
    """Weights of every plastic projection after so many steps of the network.

    An event takes the weights of the tick in which it is delivered, `delay` ticks before it acts.
    """
    order = [p.name for p in net.populations]
    mapped = {p.name: p for p in program.populations}
    state = {
        p.name: [
            {v: int(np.broadcast_to(x, p.size)[n]) for v, x in p.initial.items()}
            for n in range(p.size)
        ]
        for p in program.populations
    }
    fired = {name: np.zeros((steps, p.size), int) for name, p in mapped.items()} | given
    weights = {q.name: q.weight.copy() for q in program.plastic}
    past = {q.name: [q.weight] for q in program.plastic}  # after so many steps
    rules = {q.name: program.rules[q.rule] for q in program.plastic}
    traces: dict[str, Any] = {
        q.name: (
            [dict.fromkeys(rules[q.name].pre, 0) for _ in range(q.size)],
            [dict.fromkeys(rules[q.name].post, 0) for _ in range(mapped[order[q.target]].size)],
            [dict.fromkeys(rules[q.name].state, 0) for _ in range(q.count)],
        )
        for q in program.plastic
    }
    links = {x.name: x for x in net.projections}
    for step in range(steps):
        for name in order:
            p = mapped[name]
            model = program.models[p.model]
            current = np.zeros(p.size, int)
            for q in program.plastic:
                x = links[q.name]
                if x.target == name and step >= x.delay:
                    events = fired[x.source][step - x.delay]
                    taken = past[q.name][max(0, step + 1 - -(-(q.delay + 1) // p.period))]
                    np.add.at(current, q.to - p.first, taken * events[q.source])
            for n in range(p.size):
                inputs = {"current": int(current[n])}
                inputs |= {f"state.{k}": v for k, v in state[name][n].items()}
                inputs |= {
                    f"parameter.{k}": int(np.broadcast_to(v, p.size)[n])
                    for k, v in p.parameters.items()
                }
                after = evaluate(model.outputs, inputs)
                state[name][n] = {k: after[f"next.{k}"] for k in state[name][n]}
                fired[name][step, n] = after["spike"]
        for q in program.plastic:
            x, rule = links[q.name], rules[q.name]
            before = fired[x.source][step - x.delay] if step >= x.delay else np.zeros(q.size, int)
            post = fired[x.target][step]
            parameters = {f"parameter.{k}": v for k, v in q.parameters.items()}
            parameters |= {f"signal.{k}": int(signals[k][step]) for k in rule.signals}
            pre_now, post_now, own = traces[q.name]
            has_row = np.diff(q.rows) > 0
            moved = [
                [
                    evaluate(graph, {**parameters, f"{side}.event": int(event)}
                             | {f"{side}.{k}": v for k, v in now.items()})
                    for now, event in zip(values, events, strict=True)
                ]
                for side, graph, values, events in (
                    ("pre", rule.pre_outputs, pre_now, before * has_row),
                    ("post", rule.post_outputs, post_now, post),
                )
            ]  # fmt: skip
            for k in range(q.count):
                i, j = int(q.source[k]), int(q.to[k]) - mapped[x.target].first
                inputs = parameters | {"w": int(weights[q.name][k])}
                inputs |= {"pre.event": int(before[i]), "post.event": int(post[j])}
                for side, n, now, then in (
                    ("pre", i, pre_now, moved[0]), ("post", j, post_now, moved[1]),
                ):  # fmt: skip
                    inputs |= {f"{side}.{name}": v for name, v in now[n].items()}
                    inputs |= {f"{side}.{name}": v for name, v in then[n].items()}
                inputs |= {f"state.{name}": v for name, v in own[k].items()}
                made = evaluate(rule.outputs, inputs)
                weights[q.name][k] = made["next.w"]
                own[k] = {name: made[f"next.{name}"] for name in own[k]}
            past[q.name].append(weights[q.name].copy())
            for now, then in ((pre_now, moved[0]), (post_now, moved[1])):
                for values, made in zip(now, then, strict=True):
                    values.update({name: made[f"next.{name}"] for name in values})
    return weights


def layered(rng: np.random.Generator) -> sf.Network:
    """Layers that all learn, across layers and back, with delays."""
    net = sf.Network()
    parts: list[Any] = [net.input("x", 4)]
    for n in range(int(rng.integers(1, 4))):
        parts.append(net.population(
            f"p{n}", int(rng.integers(1, 4)), "lif", keep=0.7, threshold=float(rng.integers(3, 30)),
            output=True,
        ))  # fmt: skip
    small = {"keep_pre": 0.8, "keep_post": 0.7, "up": 3.0, "down": 2.0}
    rewarded = False
    for a in range(len(parts)):
        for b in range(1, len(parts)):
            if b != a + 1 and rng.random() < 0.5:
                continue
            delay = int(rng.integers(0, 3)) if b > a else int(rng.integers(1, 4))
            rule, more = "stdp", dict(small)
            if not rewarded and rng.random() < 0.3:
                rule, rewarded = "reward_stdp", True
                more["keep_e"] = 0.9
            sees = str(rng.choice(["after", "before"]))
            plasticity = sf.Plasticity(
                rule, w_min=-20, w_max=60, name=f"{a}{b}",
                options={"rounding": "nearest_even", "sees": sees}, **more,
            )  # fmt: skip
            weights = rng.integers(0, 20, (parts[a].size, parts[b].size)).astype(float)
            net.connect(parts[a], parts[b], weights, delay=delay, plasticity=plasticity)
    return net


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_learning_in_ticks_is_learning_in_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = layered(rng)
    program, _ = sf.compile(net, dilate=True, weight_bits=7)
    steps = int(rng.integers(1, 25))
    raster = (rng.random((steps, 4)) < 0.5).astype(int)
    signals = {name: rng.integers(-100, 100, steps) for name in program.signals}
    expected = in_steps(program, net, {"x": raster}, signals, steps)
    emulator = sf.Emulator(program)
    for part in np.split(np.arange(steps), [steps // 2]):  # in two runs, without a gap
        emulator.run(
            sf.SpikeTrain.from_dense(raster[part]), len(part), drain=False,
            signals={name: values[part] for name, values in signals.items()},
        )  # fmt: skip
    # A population of a later stage takes the last of the steps in the ticks after.
    for more in range(program.last_stage // program.period + 1):
        for q in program.plastic:
            if program.populations[q.target].start // program.period == more:
                now = emulator.read(f"{q.name}.weights")
                np.testing.assert_array_equal(now, expected.pop(q.name), q.name)
        emulator.run(None, 1, drain=False)
    assert not expected
