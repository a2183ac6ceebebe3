import dataclasses
import json
import re

import pytest
import spikefab
from hypothesis import given, settings
from hypothesis import strategies as st
from spikefab.compiler.ir.chip import AUTO, CHIPS, UNLIMITED, ChipSpec, chip
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.schedule import schedule

UP5K = CHIPS["up5k"]


def test_named_chips():
    assert chip("up5k") is UP5K
    assert chip("auto") is AUTO
    assert AUTO.neurons == 1024
    assert {AUTO.cores, AUTO.axons, AUTO.synapse_words, AUTO.routes} == {UNLIMITED}
    for spec in CHIPS.values():
        assert chip(spec.name) == spec
        assert ChipSpec.from_json(json.loads(json.dumps(spec.to_json())), "here") == spec
    assert len({spec.hash for spec in CHIPS.values()}) == len(CHIPS)


def test_largest_numbers():
    spec = dataclasses.replace(UP5K, weight_bits=5, payload_bits=3)
    assert (spec.largest_weight, spec.largest_payload) == (15, 7)
    assert UP5K.largest_payload == 1


def test_hash_sees_every_field():
    for f in dataclasses.fields(ChipSpec):
        value = getattr(UP5K, f.name)
        other = {str: "other", bool: True, tuple: ("x",)}.get(type(value))
        other = other or (value // 2 if value > 4 else value * 2)
        assert dataclasses.replace(UP5K, **{f.name: other}).hash != UP5K.hash


@settings(max_examples=300)
@given(
    st.integers(0, 6), st.integers(2, 16), st.integers(0, 10), st.integers(1, 65_536)
)
def test_sparse_entries_fit_a_word(lanes, weight_bits, slots, neurons):
    spec = dataclasses.replace(UP5K, lanes=1 << lanes, weight_bits=weight_bits,
                               delay_slots=1 << slots, neurons=neurons)  # fmt: skip

    def entries_fit(count):
        targets = -(-neurons // count)
        entry = weight_bits + max(1, (targets - 1).bit_length()) + slots
        return count * entry <= spec.lanes * weight_bits

    most = [n for n in (1 << k for k in range(lanes + 1)) if entries_fit(n)]
    assert spec.sparse_lanes == max(most, default=1)


def test_carrying_takes_the_longest_pipeline():
    models = [LIBRARY[name].datapath(16, 16) for name in ("lif", "cubalif", "if")]
    spec = UP5K.carrying(models)
    assert spec.models == tuple(sorted(m.identity for m in models))
    assert spec.neuron_latency == max(schedule(m.outputs).latency for m in models)
    assert spec == UP5K.carrying(reversed(models))
    assert spec == UP5K.carrying([*models, *models])
    assert UP5K.carrying([]).neuron_latency == 1


def refuses(message):
    return pytest.raises(SpikefabError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lanes", 0, "lanes = 0 in chip 'up5k': it is a whole number in 1..64"),
        ("lanes", 128, "lanes = 128 in chip 'up5k': it is a whole number in 1..64"),
        ("lanes", True, "lanes = True in chip 'up5k': it is a whole number in 1..64"),
        ("neurons", 70_000, "neurons = 70000 in chip 'up5k': it is a whole number in 1..65536"),
        ("weight_bits", 17, "weight_bits = 17 in chip 'up5k': it is a whole number in 2..16"),
        ("weight_bits", 8.0, "weight_bits = 8.0 in chip 'up5k': it is a whole number in 2..16"),
        ("state_bits", None, "state_bits = None in chip 'up5k': it is a whole number in 8..24"),
        ("cores", -1, "cores = -1 in chip 'up5k': it is a whole number in 1..2147483647"),
        ("lanes", 12, "lanes = 12 in chip 'up5k': it is a power of two"),
        ("delay_slots", 9, "delay_slots = 9 in chip 'up5k': it is a power of two"),
    ],
)
def test_fields_out_of_range(field, value, message):
    with refuses(message):
        dataclasses.replace(UP5K, **{field: value})


@pytest.mark.parametrize("value", [None, "8", [], {}, 1e9, 1 << 70, -3, True])
@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(ChipSpec)])
def test_damaged_json(field, value):
    stored = {**UP5K.to_json(), field: value}
    accepted = (field, value) in [
            ("name", "8"), ("models", []), ("rules", []), ("digests", True)
        ]  # fmt: skip
    if accepted:
        assert getattr(ChipSpec.from_json(stored, "here"), field) in (value, ())
        return
    with pytest.raises(SpikefabError):
        ChipSpec.from_json(stored, "here")


def test_json_that_is_no_chip():
    for stored in (None, 3, "up5k", [], {}):
        with pytest.raises(SpikefabError):
            ChipSpec.from_json(stored, "here")
    with refuses("lanes = 3 in chip 'up5k' of here: it is a power of two"):
        ChipSpec.from_json({**UP5K.to_json(), "lanes": 3}, "here")
    with refuses("unknown chip field 'clock' in here"):
        ChipSpec.from_json({**UP5K.to_json(), "clock": 48}, "here")
    with pytest.raises(SpikefabError, match=r"^damaged chip in here: .*'cores'"):
        ChipSpec.from_json({k: v for k, v in UP5K.to_json().items() if k != "cores"}, "here")


def test_chip_files(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(UP5K.to_json()))
    assert chip(str(path)) == UP5K
    with refuses(
        "unknown chip 'up6k' in --chip; use auto, up5k, ecp5-25f, mesh-64 or a .json file"
    ):
        chip("up6k")
    for text in ("", "{", "[" * 100_000, "\xff\xfe", "[]", '{"name": 3}', "1" * 10_000):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(SpikefabError):
            chip(str(path))
    for missing in (tmp_path / "none.json", tmp_path / "folder.json"):
        (tmp_path / "folder.json").mkdir(exist_ok=True)
        with pytest.raises(SpikefabError, match=r"^unreadable chip in .*json: "):
            chip(str(missing))


@pytest.mark.parametrize(("models", "latency", "fault"), [
    (None, 3, "takes 8 clocks in the network: chip 'up5k' has neuron_latency = 3"),
    (("bogus",), 8, "chip 'up5k' carries bogus"),
])  # fmt: skip
def test_a_network_that_a_chip_cannot_carry_does_not_compile(models, latency, fault):
    net = spikefab.Network()
    net.population("a", 2, "lif", keep=0.5, threshold=3.0, output=True)
    carried = models or spikefab.compile(net, chip=UP5K)[0].chip.models
    spec = dataclasses.replace(UP5K, models=carried, neuron_latency=latency)
    with pytest.raises(SpikefabError, match=re.escape(fault)):
        spikefab.compile(net, chip=spec)
