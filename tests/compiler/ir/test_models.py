import json
import re

import numpy as np
import pytest
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.interpret import Draws, evaluate
from spikefab.compiler.ir.language import Value, lift, random, saturate, topological
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.neuron import (
    COUNT,
    FRACTION,
    POTENTIAL,
    Datapath,
    Format,
    Update,
    neuron_model,
)
from strategies import OPTIONS, burst, input_rows, variants

VARIANTS = [(name, o) for name, model in LIBRARY.items() for o in variants(model)]
HALF, ALL = 2048, 4096


def test_every_option_of_the_library_is_tried():
    assert {option for model in LIBRARY.values() for option in model.options} == set(OPTIONS)
    assert {name: len(variants(m)) for name, m in LIBRARY.items()} == {
        "if": 19, "lif": 23, "alif": 8, "izhikevich": 1, "cubalif": 26, "li": 10, "cubali": 10,
    }  # fmt: skip


@pytest.mark.parametrize("state_bits", range(8, 25))
def test_every_variant_traces(state_bits):
    for name, options in VARIANTS:
        for accumulator_bits in (8, 16, 32) if state_bits == 16 else (24,):
            model = LIBRARY[name].datapath(state_bits, accumulator_bits, options)
            assert model.state["v"] == (-(1 << (state_bits - 1)), (1 << (state_bits - 1)) - 1)
            assert model.spikes == (name not in ("li", "cubali"))
            assert ("refractory" in model.state) == (options.get("refractory", "none") != "none")
            defaults = LIBRARY[name].options
            assert dict(model.options).items() == options.items() - defaults.items()
            read = {str(v.attribute[0]) for v in topological(model.outputs.values())
                    if v.op == "input"}  # fmt: skip
            assert read == {"current", *(f"parameter.{k}" for k in model.parameters),
                            *(f"state.{k}" for k in model.state)}  # fmt: skip


@pytest.mark.parametrize("state_bits", [8, 16, 24])
def test_every_variant_stays_in_its_intervals(state_bits):
    rng = np.random.default_rng(state_bits)
    for name, options in VARIANTS:
        model = LIBRARY[name].datapath(state_bits, 24, options)
        for row in input_rows(rng, model.outputs, 8):
            after = evaluate(model.outputs, row)
            for k, (lo, hi) in model.state.items():
                assert lo <= after[f"next.{k}"] <= hi


def test_every_variant_survives_json():
    for name, options in VARIANTS:
        model = LIBRARY[name].datapath(16, 20, options)
        stored = json.loads(json.dumps(model.to_json()))
        restored = Datapath.from_json(stored, "here")
        assert restored == model
        assert restored.to_json() == stored


def test_identities_differ():
    traced = [LIBRARY[name].datapath(16, 24, options) for name, options in VARIANTS]
    assert len({model.identity for model in traced}) == len(VARIANTS)
    assert LIBRARY["li"].datapath(16, 24).identity == "li"


def steps(name, currents, *, options=None, initial=None, **parameters):
    """State variables, and spike or value, after each update; parameters are 0 unless given."""
    model = LIBRARY[name].datapath(16, 20, options)
    assert set(parameters) <= set(model.parameters)
    fixed = {f"parameter.{k}": parameters.get(k, 0) for k in model.parameters}
    state = {k: (initial or {}).get(k, 0) for k in model.state}
    rows = []
    for current in currents:
        inputs = {f"state.{k}": v for k, v in state.items()} | fixed | {"current": current}
        after = evaluate(model.outputs, inputs)
        state = {k: after[f"next.{k}"] for k in state}
        rows.append((*state.values(), after.get("spike", after.get("value"))))
    return rows


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [(4, 0), (8, 0), (1, 1), (5, 0), (9, 0), (1, 1)]),
        ({"reset": "subtract"}, [(4, 0), (8, 0), (2, 1), (6, 0), (0, 1), (4, 0)]),
        ({"fires": ">"}, [(4, 0), (8, 0), (1, 1), (5, 0), (9, 0), (1, 1)]),
        ({"fires": ">", "reset": "subtract"}, [(4, 0), (8, 0), (2, 1), (6, 0), (10, 0), (4, 1)]),
        ({"reset_at": "before"}, [(4, 0), (8, 0), (12, 1), (5, 0), (9, 0), (13, 1)]),
        ({"reset_at": "before", "reset": "subtract"},
         [(4, 0), (8, 0), (12, 1), (6, 0), (10, 1), (4, 0)]),
        ({"reset_at": "after"}, [(4, 0), (8, 0), (12, 1), (1, 0), (5, 0), (9, 0)]),
        ({"reset_at": "after", "reset": "subtract"},
         [(4, 0), (8, 0), (12, 1), (6, 0), (10, 1), (4, 0)]),
    ],
)  # fmt: skip
def test_if_integrates_fires_and_resets(options, expected):
    value = {} if options.get("reset") == "subtract" else {"v_reset": 1}
    assert steps("if", [4] * 6, options=options, threshold=10, **value) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 8; 8/2 + 8 = 12 spikes; 2/2 + 8; 9/2 + 8 = 12 spikes
        ({"reset_at": "now"}, [(8, 0), (2, 1), (9, 0), (2, 1), (9, 0)]),
        ({"reset_at": "before"}, [(8, 0), (12, 1), (9, 0), (12, 1), (9, 0)]),
        # the input of the step after a spike is lost
        ({"reset_at": "after"}, [(8, 0), (12, 1), (2, 0), (9, 0), (12, 1)]),
        # 12 - 10 = 2; 2/2 + 8
        ({"reset_at": "now", "reset": "subtract"}, [(8, 0), (2, 1), (9, 0), (2, 1), (9, 0)]),
        ({"reset_at": "before", "reset": "subtract"}, [(8, 0), (12, 1), (9, 0), (12, 1), (9, 0)]),
        # 12/2 + 8 - 10 = 4; 4/2 + 8 = 10 spikes; 10/2 + 8 - 10 = 3; 3/2 + 8 = 9
        ({"reset_at": "after", "reset": "subtract"}, [(8, 0), (12, 1), (4, 0), (10, 1), (3, 0)]),
    ],
)
def test_lif_resets_before_or_after_its_decay(options, expected):
    value = {} if options.get("reset") == "subtract" else {"v_reset": 2}
    assert steps("lif", [8] * 5, options=options, keep=HALF, threshold=10, **value) == expected


def test_refractory_hold_loses_input():
    got = steps("if", [6] * 7, options={"refractory": "hold"}, threshold=10, refractory_period=2)
    assert got == [(6, 0, 0), (0, 2, 1), (0, 1, 0), (0, 0, 0), (6, 0, 0), (0, 2, 1), (0, 1, 0)]


def test_refractory_integrate_keeps_input_but_does_not_spike():
    got = steps(
        "if", [6] * 6, options={"refractory": "integrate"}, threshold=10, refractory_period=2
    )
    assert got == [(6, 0, 0), (0, 2, 1), (6, 1, 0), (12, 0, 0), (0, 2, 1), (6, 1, 0)]


def test_refractory_period_of_zero_is_none():
    for refractory in ("hold", "integrate"):
        got = steps("if", [7] * 4, options={"refractory": refractory}, threshold=10)
        assert got == [(7, 0, 0), (0, 0, 1), (7, 0, 0), (0, 0, 1)]


@pytest.mark.parametrize("leak", [{"leak": "multiply"}, {"leak": "shift"}])
def test_leaks_round_toward_zero(leak):
    fraction = {"keep": 3 * ALL // 4} if leak["leak"] == "multiply" else {"leak_shift": 2}
    for sign in (1, -1):
        got = steps("lif", [0] * 7, options=leak, initial={"v": 10 * sign}, threshold=99,
                    **fraction)  # fmt: skip
        assert [v for v, _ in got] == [sign * v for v in (7, 5, 3, 2, 1, 0, 0)]


def test_what_comes_in_leaks_at_once_or_from_the_next_step_on():
    """Values by hand: half is left of 8, then of 4; a potential leaks by itself."""
    pulse, of = [8, 0], {"leak_at": "after"}
    assert steps("li", pulse, keep=HALF) == [(8, 8), (4, 4)]
    assert steps("li", pulse, keep=HALF, options=of) == [(4, 4), (2, 2)]
    assert steps("lif", pulse, keep=HALF, threshold=4, v_reset=1, options=of) == [(1, 1), (0, 0)]
    both = {"keep": HALF, "keep_i": HALF, "bias_i": 100, "bias": 1000}
    assert steps("cubali", pulse, **both) == [(1108, 108, 1108), (1708, 154, 1708)]
    assert steps("cubali", pulse, **both, options=of) == [(1104, 104, 1104), (1704, 152, 1704)]


def test_leak_of_nothing_and_of_all():
    start, shift = {"v": 1234}, {"leak": "shift"}
    assert steps("li", [0], initial=start, keep=ALL) == [(1234, 1234)]
    assert steps("li", [5], initial=start, keep=0) == [(5, 5)]
    assert steps("li", [5], initial=start, options=shift, leak_shift=0) == [(5, 5)]


def test_gain_and_bias():
    assert steps("lif", [3, -3], keep=HALF, gain=4, bias=-7, threshold=99) == [(41, 0), (-35, 0)]


def test_current_based_models_see_the_new_or_the_old_current():
    fixed = {"keep": ALL, "keep_i": HALF}
    new = [(8, 8, 0), (12, 4, 0), (14, 2, 0), (15, 1, 0)]
    old = [(0, 8, 0), (8, 4, 0), (12, 2, 0), (14, 1, 0)]
    pulse = [8, 0, 0, 0]
    for sees, expected in (("new", new), ("old", old)):
        assert steps("cubalif", pulse, threshold=99, options={"sees": sees}, **fixed) == expected
        shown = [(v, i, v) for v, i, _ in expected]
        assert steps("cubali", pulse, options={"sees": sees}, **fixed) == shown


def test_current_based_models_add_both_biases():
    got = steps("cubali", [1, 1], keep=ALL, keep_i=0, bias=10, bias_i=100, gain=1)
    assert got == [(112, 102, 112), (224, 102, 224)]


def test_state_saturates_on_both_sides():
    most = (1 << 19) - 1
    assert steps("li", [most, -most - 1], keep=ALL) == [(32767, 32767), (-32768, -32768)]
    assert steps("if", [most], threshold=32767, v_reset=3) == [(3, 1)]
    low = steps("lif", [0], options={"reset": "subtract"}, initial={"v": 9}, keep=ALL,
                threshold=-32768)  # fmt: skip
    assert low == [(32767, 1)]


def test_an_adaptive_threshold_rises_with_spikes_and_falls_back():
    """By hand: a is 6 after the first spike, then 3, then 1 + 6."""
    given = {"keep": ALL, "keep_a": HALF, "threshold": 10, "step_a": 6}
    found = steps("alif", [10, 10, 10, 1], **given)
    assert found == [(0, 6, 1), (10, 3, 0), (0, 7, 1), (1, 3, 0)]
    taken_off = steps("alif", [10, 10, 10, 1], options={"reset": "subtract"}, **given)
    assert taken_off == [(0, 6, 1), (10, 3, 0), (7, 7, 1), (8, 3, 0)]
    most = steps("alif", [10], initial={"a": 32767}, **given | {"keep_a": ALL, "step_a": 9})
    assert most == [(10, 32767, 0)]


def test_counts_and_random_numbers():
    model = burst.datapath(16, 16, {"most": "3", "noise": "4"})
    assert model.largest_payload == 3
    inputs = {"state.v": 0, "state.left": 0, "current": 40, "parameter.threshold": 0,
              "parameter.period": 2}  # fmt: skip
    outcomes = {tuple(evaluate(model.outputs, inputs, Draws(address=n)).values())
                for n in range(300)}  # fmt: skip
    assert {spike for *_, spike in outcomes} == {3}
    assert len(outcomes) > 15


STATE = {"v": POTENTIAL}


def model_of(function, state=STATE, parameters=None):
    return neuron_model(state=state, parameters=parameters or {}, name="mine")(function)


NEXT = "every state variable has a next value, and the model either spikes or has a value"
MOST = "state, parameters and values have at most 32"
REFUSED = {
    "state overflow": (
        lambda s, p, c: Update(spike=c > 0, v=s.v + c),
        "state 'v' of model 'mine' in WHERE: its next value spans [-8421376, 8421374], its format "
        "[-32768, 32767]; saturate it",
    ),
    "forgotten state": (
        lambda s, p, c: Update(spike=s.v > c),
        f"model 'mine' with outputs ['spike'] in WHERE: {NEXT}",
    ),
    "spike and value": (
        lambda s, p, c: Update(spike=c > 0, value=s.v, v=s.v),
        f"model 'mine' with outputs ['next.v', 'spike', 'value'] in WHERE: {NEXT}",
    ),
    "undeclared state": (
        lambda s, p, c: Update(spike=c > 0, v=s.v, u=c),
        f"model 'mine' with outputs ['next.u', 'next.v', 'spike'] in WHERE: {NEXT}",
    ),
    "negative count": (
        lambda s, p, c: Update(spike=c, v=s.v),
        "model 'mine' spikes a negative count in WHERE",
    ),
    "wide value": (
        lambda s, p, c: Update(value=c << 9, v=s.v),
        f"'value' of model 'mine' in WHERE: it spans [-4294967296, 4294966784], 33 bits; {MOST}",
    ),
    "many draws": (
        lambda s, p, c: Update(spike=c > sum((random(2) for _ in range(17)), lift(0)), v=s.v),
        "random(2), draw 16 in the fixed-point language: 1 to 32 bits and at most 16 draws per "
        "neuron and tick",
    ),
}


def refuses(message):
    return pytest.raises(SpikefabError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("name", REFUSED)
def test_bad_models_are_refused(name):
    function, message = REFUSED[name]
    with refuses(message.replace("WHERE", "neuron model 'mine'")):
        model_of(function).datapath(16, 24)


def test_state_wider_than_a_word_is_refused():
    mine = model_of(lambda s, p, c: Update(spike=c > 0, v=s.v), {"v": Format(bits=33)})
    with refuses(
        "'v' of model 'mine' in neuron model 'mine': it spans [-4294967296, 4294967295], 33 bits; "
        + MOST
    ):
        mine.datapath(16, 16)


def test_unknown_options_are_refused():
    with refuses("option 'reset' in neuron model 'li'; it has leak, rounding, leak_at"):
        LIBRARY["li"].datapath(16, 24, {"reset": "value"})
    leaks = "multiply or shift or loss or least_loss or linear"
    with refuses(f"option value 'exp' in neuron model 'lif'; {leaks}"):
        LIBRARY["lif"].datapath(16, 24, {"leak": "exp"})


def test_a_model_of_ones_own_leaves_out_what_it_does_not_use():
    def adaptive(s, p, current: Value) -> Update:
        v = saturate(s.v + current, s.v.bits)
        return Update(spike=v > p.threshold, v=v)

    model = model_of(
        adaptive,
        {"v": POTENTIAL, "w": POTENTIAL, "n": COUNT},
        {"threshold": POTENTIAL, "keep": FRACTION},
    ).datapath(12, 16)
    assert model.state == {"v": (-2048, 2047)}
    assert model.parameters == {"threshold": (-2048, 2047)}
    assert model.units == {"threshold": "potential"}
    assert model.identity == "mine"


def stored(**changes):
    return {**LIBRARY["lif"].datapath(16, 24).to_json(), **changes}


DAMAGE = {
    "graph": {"graph": None},
    "state missing": {"state": {}},
    "state of another width": {"state": {"v": [-(1 << 17), (1 << 17) - 1]}},
    "state no interval": {"state": {"v": [3]}},
    "state reversed": {"state": {"v": [32767, -32768]}},
    "state text": {"state": {"v": "ab"}},
    "state no object": {"state": [1]},
    "parameters": {"parameters": {"keep": [0, 4096]}},
    "parameter giant": {"parameters": {"keep": [0, 1 << 90]}},
    "current": {"current": [-1, 1]},
    "units missing": {"units": {}},
    "unit unknown": {"units": {**stored()["units"], "keep": "volt"}},
    "unit no text": {"units": {**stored()["units"], "keep": [1]}},
    "options": {"options": [1]},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_models_are_refused(name):
    with pytest.raises(SpikefabError):
        Datapath.from_json(stored(**DAMAGE[name]), "here")


@pytest.mark.parametrize("damage", [None, [], 3, "lif", {}])
def test_what_is_no_model_is_refused(damage):
    with pytest.raises(SpikefabError, match=r"^damaged model in here"):
        Datapath.from_json(damage, "here")


def test_a_graph_may_not_read_a_nameless_input():
    damage = stored()
    damage["graph"]["nodes"].append(["input", [], [""], 0, 1, False])
    damage["graph"]["nodes"].append(["select", [], [], 0, 1, False])
    n = len(damage["graph"]["nodes"]) - 1
    damage["graph"]["nodes"][n] = ["lt", [n - 1, n - 1], [], 0, 1, True]
    damage["graph"]["outputs"]["spike"] = n
    with pytest.raises(SpikefabError, match=r"^model 'lif' reads undeclared '' in here$"):
        Datapath.from_json(damage, "here")
