"""The float reference, step by step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spikefab.compiler.float_reference import FloatReference
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.interpret import evaluate
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.neuron import NeuronModel
from spikefab.compiler.ir.spikes import SpikeTrain
from spikefab.compiler.network import Generated, Network, Rows, Triples


def one_cell(model="lif", weight=1.0, options=None, initial=None, **parameters):
    network = Network()
    line = network.input("in", 1)
    cell = network.population(
        "cell", 1, model, options=options, initial=initial, output=True, **parameters
    )
    network.connect(line, cell, np.array([[weight]]))
    return network


def trace(network, spikes):
    """Potentials and spikes of a network with one cell."""
    run = FloatReference(network).run({"in": np.array(spikes)[:, None]}, potentials=["cell"])
    fired = run.spikes["cell"][0, :, 0].astype(int).tolist() if run.spikes else None
    return run.potentials["cell"][0, :, 0].tolist(), fired


def test_lif_decays_and_takes_its_input_in_the_same_step():
    v, fired = trace(one_cell(keep=0.5, threshold=10.0), [1, 0, 2, 0])
    assert v == [1.0, 0.5, 2.25, 1.125]
    assert fired == [0, 0, 0, 0]


def test_gain_bias_and_initial_value_enter():
    network = Network()
    line = network.input("in", 1)
    cell = network.population(
        "cell", 1, "lif", keep=0.5, threshold=100.0, bias=1.0, initial={"v": 8.0}, output=True
    )
    network.connect(line, cell, np.array([[2.0]]), gain=3.0)
    assert trace(network, [0, 1])[0] == [5.0, 9.5]


def test_decay_by_shift_keeps_what_the_shift_leaves():
    network = one_cell(options={"leak": "shift"}, leak_shift=2, threshold=10.0)
    assert trace(network, [4, 0])[0] == [4.0, 3.0]


@pytest.mark.parametrize(("fires", "expected"), [(">", [0, 1]), (">=", [1, 0])])
def test_a_potential_at_the_threshold(fires, expected):
    network = one_cell("if", threshold=2.0, options={"fires": fires})
    assert trace(network, [2, 1])[1] == expected


@pytest.mark.parametrize(
    ("reset", "at", "potentials", "fired"),
    [
        # keep 0.5, threshold 2, v_reset 0.5, inputs 3, 1, 1, 0
        ("value", "now", [0.5, 1.25, 1.625, 0.8125], [1, 0, 0, 0]),
        ("value", "before", [3.0, 1.25, 1.625, 0.8125], [1, 0, 0, 0]),
        ("value", "after", [3.0, 0.5, 1.25, 0.625], [1, 0, 0, 0]),
        ("subtract", "now", [1.0, 1.5, 1.75, 0.875], [1, 0, 0, 0]),
        ("subtract", "before", [3.0, 1.5, 1.75, 0.875], [1, 0, 0, 0]),
        ("subtract", "after", [3.0, 0.5, 1.25, 0.625], [1, 0, 0, 0]),
    ],
)
def test_resets(reset, at, potentials, fired):
    more = {"v_reset": 0.5} if reset == "value" else {}
    network = one_cell(keep=0.5, threshold=2.0, options={"reset": reset, "reset_at": at}, **more)
    assert trace(network, [3, 1, 1, 0]) == (potentials, fired)


@pytest.mark.parametrize(
    ("refractory", "potentials", "fired"),
    [
        ("none", [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]),
        ("hold", [0, 0, 0, 0, 0], [1, 0, 0, 1, 0]),
        ("integrate", [0, 3, 6, 0, 3], [1, 0, 0, 1, 0]),
    ],
)
def test_refractory_periods(refractory, potentials, fired):
    more = {} if refractory == "none" else {"refractory_period": 2}
    network = one_cell("if", threshold=2.0, options={"refractory": refractory}, **more)
    assert trace(network, [3, 3, 3, 3, 3]) == (potentials, fired)


OPTIONS = {
    "leak": ["multiply", "shift", "loss", "linear"],
    "rounding": ["toward_zero", "floor"],
    "leak_at": ["before", "after"],
    "count_bits": ["1", "2", "3"],
    "floor": ["none", "value"],
    "overflow": ["saturate", "wrap"],
    "sees": ["new", "old"],
    "fires": [">", ">="],
    "reset": ["value", "subtract"],
    "reset_at": ["now", "before", "after", "old"],
    "refractory": ["none", "hold", "discard", "integrate"],
}
UNIT = 1 << 14  # LSB per network unit: enough for every halving of a run to be exact


@given(st.data())
def test_every_variant_equals_its_fixed_point_model_where_nothing_is_rounded(data):
    names = sorted(set(LIBRARY) - {"izhikevich"})  # whose squares are rounded
    model = LIBRARY[data.draw(st.sampled_from(names))]
    options = {k: data.draw(st.sampled_from(OPTIONS[k]), label=k) for k in model.options}
    traced = model.datapath(32, 32, options)
    small = st.integers(-4, 4)
    choices = {
        "potential": small, "fraction": st.sampled_from([0, 0.5, 1]), "shift": st.integers(0, 1),
        "length": st.integers(0, 4), "count": st.integers(0, 3),
    }  # fmt: skip
    kinds = {k: "length" if k.startswith("leak_step") else u for k, u in traced.units.items()}
    parameters = {
        k: data.draw(choices[kind], label=k) for k, kind in kinds.items() if kind != "gain"
    }
    initial = {
        k: data.draw(st.integers(0, 2) if k == "refractory" else small, label=k)
        for k in traced.state
    }
    spikes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=7))
    weight = data.draw(small)
    network = one_cell(model.name, float(weight), options, initial, **parameters)
    run = FloatReference(network).run({"in": np.array(spikes)[:, None]})
    expected = run.values["cell"] if "cell" in run.values else run.spikes["cell"]

    scale = {"potential": UNIT, "fraction": 4096, "shift": 1, "count": 1}
    fixed = {f"parameter.{k}": int(v * scale[traced.units[k]]) for k, v in parameters.items()}
    fixed |= {f"parameter.{k}": 0 for k, unit in traced.units.items() if unit == "gain"}
    state = {k: v if k == "refractory" else v * UNIT for k, v in initial.items()}
    for step, count in enumerate(spikes):
        inputs = {"current": weight * count * UNIT, **fixed}
        out = evaluate(traced.outputs, inputs | {f"state.{k}": v for k, v in state.items()})
        state = {k: out[f"next.{k}"] for k in state}
        given_out = out["spike"] if "spike" in out else out["value"] / UNIT
        assert given_out == expected[0, step, 0]


@pytest.mark.parametrize(("sees", "expected"), [("new", [1, 1.5, 1.25]), ("old", [0, 1, 1.25])])
def test_the_potential_sees_the_new_or_the_old_current(sees, expected):
    network = one_cell("cubali", options={"sees": sees}, keep=0.75, keep_i=0.5)
    network2 = one_cell("cubalif", options={"sees": sees}, keep=0.75, keep_i=0.5, threshold=99.0)
    run = FloatReference(network).run({"in": np.array([[1], [0], [0]])})
    exact = run.values["cell"][0, :, 0]
    v, i = 0.0, 0.0
    for step, x in enumerate([1, 0, 0]):
        new = 0.5 * i + x
        v = 0.75 * v + (new if sees == "new" else i)
        i = new
        assert exact[step] == v
    assert exact[0] == expected[0]
    assert trace(network2, [1, 0, 0])[0] == exact.tolist()


def test_layers_step_within_one_step_and_delays_count_steps():
    network = Network()
    line = network.input("in", 1)
    late = network.population("late", 1, "if", threshold=1.0, output=True)
    first = network.population("first", 1, "if", threshold=1.0, output=True)
    same = network.population("same", 1, "if", threshold=1.0, output=True)
    network.connect(first, late, np.ones((1, 1)), delay=2)
    network.connect(line, first, np.ones((1, 1)))
    network.connect(first, same, np.ones((1, 1)))
    run = FloatReference(network).run({"in": np.array([[1], [0], [0], [1], [0]])})
    assert run.spikes["same"][0, :, 0].tolist() == [1, 0, 0, 1, 0]
    assert run.spikes["late"][0, :, 0].tolist() == [0, 0, 1, 0, 0]


def test_a_recurrent_spike_comes_back_after_its_delay():
    network = Network()
    line = network.input("in", 1)
    ring = network.population("ring", 2, "if", threshold=1.0, output=True)
    network.connect(line, ring, np.array([[1.0, 0.0]]))
    network.connect(ring, ring, np.array([[0.0, 1.0], [1.0, 0.0]]), delay=1)
    run = FloatReference(network).run({"in": np.array([[1], [0], [0], [0]])})
    assert run.spikes["ring"][0].astype(int).tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]


def sparse_forms():
    target = np.array([0, 2, 1, 1])
    weight = np.array([1, -2, 3, 4], np.int8)
    delay = np.array([0, 1, 0, 2])
    first = np.array([0, 2, 4])
    order = np.array([2, 0, 3, 1])
    return {
        "rows": Rows(first, target, weight, 0.5, delay),
        "triples": Triples(
            np.array([0, 0, 1, 1])[order], target[order], weight[order], 0.5, delay[order]
        ),
        "generated": Generated(
            lambda start, count: tuple(
                a.reshape(2, 2)[start : start + count] for a in (target, weight, delay)
            ),
            2, 0.5, True,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("form", ["rows", "triples", "generated"])
def test_sparse_synapses_with_their_own_delays(form):
    network = Network()
    line = network.input("in", 2)
    cells = network.population("cells", 3, "li", keep=1.0, output=True)
    network.connect(line, cells, sparse_forms()[form])
    run = FloatReference(network).run({"in": np.array([[1, 1], [0, 0], [0, 0]])})
    assert run.values["cells"][0].tolist() == [[0.5, 1.5, 0], [0.5, 1.5, -1], [0.5, 3.5, -1]]


def test_sparse_and_dense_synapses_agree_at_every_activity():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(50, 20)) * (rng.random((50, 20)) < 0.3)
    source, target = np.nonzero(weight)
    spikes = rng.random((4, 30, 50)) < np.linspace(0, 1, 30)[:, None]
    values = []
    for form in (weight, Triples(source, target, weight[source, target])):
        network = Network()
        line = network.input("in", 50)
        network.connect(line, network.population("li", 20, "li", keep=0.9, output=True), form)
        values.append(FloatReference(network).run({"in": spikes}).values["li"])
    np.testing.assert_allclose(*values, atol=1e-12)


def test_a_spike_train_equals_its_raster_and_payloads_count():
    rng = np.random.default_rng(1)
    raster = rng.integers(0, 3, (3, 8, 5))
    network = Network()
    line = network.input("in", 5)
    cells = network.population("c", 4, "lif", keep=0.9, threshold=1.0, output=True)
    network.connect(line, cells, rng.normal(size=(5, 4)))
    reference = FloatReference(network)
    train = SpikeTrain.from_dense(raster)
    dense, events = reference.run({"in": raster}), reference.run({"in": train}, steps=8)
    np.testing.assert_array_equal(dense.spikes["c"], events.spikes["c"])
    np.testing.assert_array_equal(dense.counts["c"], dense.spikes["c"].sum(1))
    for n in range(3):
        alone = reference.run({"in": raster[n]})
        np.testing.assert_array_equal(alone.spikes["c"][0], dense.spikes["c"][n])


def test_ranges_hold_what_was_seen_even_before_a_reset():
    network = one_cell("cubalif", weight=-2.0, keep=1.0, keep_i=0.5, threshold=1.0,
                       bias=2.0, bias_i=1.0, options={"sees": "new"})  # fmt: skip
    run = FloatReference(network).run({"in": np.array([[0], [1]])}, record=[])
    seen = run.ranges["cell"]
    assert run.spikes == {}
    assert (seen["current"].low[0], seen["current"].high[0]) == (-2.0, 0.0)
    assert (seen["i"].low[0], seen["i"].high[0]) == (-0.5, 1.0)
    assert (seen["v"].low[0], seen["v"].high[0]) == (0.0, 3.0)
    assert seen["v"].peak == 3.0
    assert run.counts["cell"].tolist() == [[2]]


def test_progress_is_told():
    told = []
    FloatReference(one_cell("li", keep=1.0)).run(
        {"in": np.zeros((3, 1), int)}, progress=lambda done, steps: told.append((done, steps))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_loop_within_a_step_is_refused():
    network = Network()
    a = network.population("a", 1, "if", threshold=1.0)
    b = network.population("b", 1, "if", threshold=1.0)
    network.connect(a, b, np.ones((1, 1)))
    network.connect(b, a, np.ones((1, 1)))
    with pytest.raises(SpikefabError, match=r"loop within a step \('a' to 'b', 'b' to 'a'\)"):
        FloatReference(network)


def test_a_model_of_the_users_own_is_refused():
    lif = LIBRARY["lif"]
    own = NeuronModel("lif", lif.function, lif.state, lif.parameters)
    network = Network()
    network.population("cells", 2, own, keep=0.5, threshold=1.0)
    with pytest.raises(SpikefabError, match="population 'cells': there is no float reference"):
        FloatReference(network)


def test_too_many_generated_synapses_are_refused():
    network = Network()
    line = network.input("in", 10**6)
    cells = network.population("cells", 5, "li", keep=0.5)
    network.connect(line, cells, Generated(lambda first, count: (), 100, 1.0))
    with pytest.raises(SpikefabError, match="100000000 generated synapses in projection 'in'"):
        FloatReference(network)


@pytest.mark.parametrize(
    ("inputs", "more", "cause"),
    [
        ({}, {"steps": 3}, "no spikes for 'in'"),
        ({"in": np.zeros((2, 1)), "x": np.zeros((2, 1))}, {}, "spikes for 'x'"),
        ({"in": np.zeros((2, 3))}, {}, r"spikes of shape \(1, 2, 3\) in input 'in'"),
        ({"in": np.zeros(3)}, {}, r"spikes of shape \(3,\) in input 'in'"),
        ({"in": np.full((2, 1), 0.5)}, {}, "no counts in input 'in'"),
        ({"in": np.full((2, 1), -1)}, {}, "no counts in input 'in'"),
        ({"in": np.full((2, 1), np.inf)}, {}, "no counts in input 'in'"),
        ({"in": SpikeTrain.of([0], [0])}, {}, "unknown number of steps"),
        ({"in": SpikeTrain.of([0], [7])}, {"steps": 2}, "index 7 in input 'in'"),
        ({"in": np.zeros((2, 1))}, {"record": ["out"]}, "no population 'out'"),
        ({"in": np.zeros((2, 1))}, {"steps": 0}, "1 samples of 0 steps"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, more, cause):
    with pytest.raises(SpikefabError, match=cause):
        FloatReference(one_cell("li", keep=1.0)).run(inputs, **more)
