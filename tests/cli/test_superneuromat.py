"""A network of SuperNeuroMAT from end to end: the file is network and input."""

import json
from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "compiler/frontend/fixtures"
FIXTURE = FIXTURES / "superneuromat.json"
LEARNING = FIXTURES / "superneuromat_stdp.json"


def test_the_file_is_compiled_and_is_its_own_input(folder, command):
    assert command("compile", FIXTURE, "-o", "p.spikefab", "--calibrate", FIXTURE).status == 0
    said = command("run", "p.spikefab", "--input", FIXTURE, "--steps", "40", "-o", "out.npz")
    assert said.status == 0, said.err
    expected = json.loads(FIXTURE.read_text())["extra"]["spikes"]
    with np.load(folder / "out.npz") as out:
        assert np.stack([out["step"], out["index"]], axis=1).tolist() == expected


def test_inspection_shows_neurons_and_synapses(command):
    found = json.loads(command("inspect", FIXTURE, "--json").out)
    assert found["nodes"][0]["shape"] == [17]
    assert [c["synapses"] for c in found["connections"]] == [30, 24]


def test_settings_and_input_of_another_network_are_refused(folder, command):
    said = command("compile", FIXTURE, "-o", "p.spikefab", "--dt", "1e-3")
    assert said.status == 2
    assert "the file settles it; leave out --dt" in said.err
    assert command("compile", FIXTURE, "-o", "p.spikefab").status == 0
    other = json.loads(FIXTURE.read_text())
    other["networks"][0]["data"]["input_spikes"] = {}
    (folder / "other.json").write_text(json.dumps(other))
    said = command("run", "p.spikefab", "--input", "other.json")
    assert said.status == 2
    assert "input spikes of another network in other.json" in said.err


def test_a_network_learns_and_the_first_limit_is_told(folder, command):
    """With 12 bits no weight reaches its limit; with 8, one does."""
    expected = json.loads(LEARNING.read_text())["extra"]["spikes"]
    for bits, limit in ((12, "None"), (8, "the weight ")):
        name = f"p{bits}.spikefab"
        assert command("compile", LEARNING, "-o", name, "--weight-bits", bits).status == 0
        said = command(
            "run", name, "--input", LEARNING, "--steps", "40", "-o", "out.npz", "--limits"
        )
        assert said.status == 0, said.err
        assert f"first_limit: {limit}" in said.out
        if bits == 12:
            with np.load(folder / "out.npz") as out:
                assert np.stack([out["step"], out["index"]], axis=1).tolist() == expected
    command("run", "p12.spikefab", "--steps", "5", "--checkpoint", "c")
    said = command("run", "p12.spikefab", "--steps", "5", "--resume", "c", "--limits")
    assert said.status == 2
    assert "--limits in spikefab run: it looks at one sample, from the start" in said.err
