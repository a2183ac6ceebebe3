import numpy as np
import pytest
from hypothesis import given, settings
from spikefab.compiler.ir.language import (
    absolute,
    decay,
    random,
    saturate,
    select,
    shift,
    table,
    topological,
    variable,
    wrap,
)
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.schedule import (
    CLOCK_BUDGET,
    MULTIPLIER_CLOCKS,
    RANDOM_CLOCKS,
    delay,
    own_clocks,
    schedule,
)
from strategies import random_graph, seeds, variants

A, B = variable("a", -(1 << 19), (1 << 19) - 1), variable("b", -(1 << 19), (1 << 19) - 1)
K = variable("k", 0, 7)


def clock_of(value):
    return schedule({"z": value}).clock[value]


def test_inputs_need_only_their_register():
    assert schedule({"z": A}).latency == 1
    assert schedule({}).latency == 1
    assert clock_of(A) == 0


@pytest.mark.parametrize(("value", "expected"), [
    (A, 8), (wrap(A, 8), 0), (~(A < B), 0), (A << 3, 0), (A << K, 0), (A >> 3, 0),
    (A + B, 29), (A - B, 29), (A < B, 28), (saturate(A, 8), 36), (absolute(A), 37),
    (A == B, 24), (K == 3, 8), (select(A < B, A, B), 8), (A >> K, 24),
    (shift(A, 3, "toward_zero"), 28),
    (shift(A, K, "nearest_even"), 52), (random(8, 0), 8), (A * B, 0),
    (table(range(8), K), 8), (table(range(256), saturate(B, 8, signed=False)), 32),
])  # fmt: skip
def test_delays_follow_from_widths(value, expected):
    assert delay(value) == expected


def test_operators_chain_while_they_fit_a_clock():
    assert clock_of((A == B) & (A < B)) == 0
    assert clock_of(A + B) == 0
    assert clock_of(A + B + B) == 1
    assert clock_of(A + B + B + B) == 2


def test_a_smaller_budget_never_shortens_the_pipeline():
    value = saturate(decay(A, 3000, 12) + B, 16)
    latencies = [schedule({"z": value}, budget).latency for budget in (20, 30, 48, 70, 200)]
    assert latencies == sorted(latencies, reverse=True)
    assert latencies[0] > latencies[-1]


def test_multiplications_take_clocks_of_their_own():
    assert clock_of(A * 3) == MULTIPLIER_CLOCKS
    assert clock_of((A + B) * 3) == MULTIPLIER_CLOCKS
    assert clock_of(A * 3 + B) == MULTIPLIER_CLOCKS
    assert clock_of(A * 3 * 5) == 2 * MULTIPLIER_CLOCKS


def test_random_numbers_take_clocks_of_their_own():
    assert clock_of(random(8, 0)) == RANDOM_CLOCKS
    assert clock_of(random(8, 0) + A) == RANDOM_CLOCKS
    assert schedule({"z": random(8, 0)}).latency == RANDOM_CLOCKS + 1


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_arguments_come_first_and_chains_fit_the_budget(seed):
    graph = random_graph(np.random.default_rng(seed), operations=20)
    plan = schedule(graph)
    used = {}
    for v in topological(graph.values()):
        before = 0
        for a in v.args:
            assert plan.clock[a] <= plan.clock[v]
            if plan.clock[a] == plan.clock[v]:
                before = max(before, used[a])
        own = own_clocks(v)
        used[v] = delay(v) if own else before + delay(v)
        assert used[v] <= CLOCK_BUDGET or not before or not delay(v)
        if own:
            assert plan.clock[v] >= max((plan.clock[a] for a in v.args), default=0) + own
    assert plan.latency == 1 + max(plan.clock[v] for v in graph.values())


def test_library_models_have_short_pipelines():
    for name, model in LIBRARY.items():
        for options in variants(model):
            datapath = model.datapath(16, 16, options)
            most = 9 + 3 * int(options.get("count_bits", "1"))
            most += name == "izhikevich"  # two products, one after the other
            assert 2 <= schedule(datapath.outputs).latency <= most, (name, options)


def test_inputs_arrive_as_late_as_they_can():
    slow = variable("slow", 0, 7) * A  # two clocks of its own
    assert schedule({"z": slow + variable("late", 0, 7)}).arrivals() == {
        "slow": 0, "a": 0, "late": MULTIPLIER_CLOCKS,
    }  # fmt: skip


def test_inputs_of_one_name_arrive_together():
    plan = schedule({"y": A * A, "z": variable("a", A.lo, A.hi) + 1})
    assert set(plan.arrivals().values()) == {0}
