"""Learning on the emulator is that of the exact machine, which visits every synapse eagerly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spikefab as sf
import strategies
from recordings import assert_equal
from spikefab.compiler.ir.program import Program
from spikefab.emulator import rule_loop

PROGRAMS = int(os.environ.get("SPIKEFAB_PROGRAMS", "40"))


def learnt(program: Program) -> list[str]:
    """Names of all that learning keeps."""
    names = []
    for q in program.plastic:
        rule = program.rules[q.rule]
        parts = ["weights", "learning", *rule.pre, *rule.post, *rule.held, *rule.state]
        names += [f"{q.name}.{part}" for part in parts]
    return names


def assert_learnt_alike(a: Any, b: Any, program: Program) -> None:
    """Weights, traces, held values and synapses' state are the same."""
    for name in learnt(program):
        np.testing.assert_array_equal(a.read(name), b.read(name), name)
        if name.endswith(".weights"):
            q = program.projection(name.removesuffix(".weights"))
            lo, hi = q.parameters["w_min"], q.parameters["w_max"]
            assert (a.read(name) >= lo).all()
            assert (a.read(name) <= hi).all()


def check_program(seed: int) -> int:
    """A random program with plastic projections, on both; returns how many weights changed."""
    rng = np.random.default_rng(seed)
    program = strategies.random_program(rng, neurons=16, plastic=3)
    machine, emulator = sf.Machine(program), sf.Emulator(program, threads=1 + seed % 2)
    changed = 0
    for steps in (int(rng.integers(1, 12)), 3, 2):
        samples = None if rng.random() < 0.8 else int(rng.integers(1, 4))
        spikes = strategies.random_input(rng, program, steps, samples)
        signals = strategies.random_signals(rng, program, steps, samples)
        drain = bool(rng.random() < 0.5)
        runs = [
            device.run(spikes, steps, samples=samples, signals=signals, drain=drain)
            for device in (machine, emulator)
        ]
        assert_equal(*runs)
        assert_learnt_alike(machine, emulator, program)
        if rng.random() < 0.3:
            whole, again = bool(rng.random() < 0.3), (None, 7)[int(rng.integers(2))]
            machine.restart(weights=whole, seed=again)
            emulator.restart(weights=whole, seed=again)
        for name in rng.permutation(learnt(program))[:1].tolist():
            values = emulator.read(name)
            lo, hi = (int(values.min()), int(values.max())) if values.size else (0, 0)
            changed_values = rng.integers(lo, hi, values.shape, endpoint=True)
            machine.write(name, changed_values)
            emulator.write(name, changed_values)
        assert_learnt_alike(machine, emulator, program)
    for q in program.plastic:
        changed += int((emulator.read(f"{q.name}.weights") != q.weight).sum())
    return changed


@pytest.mark.parametrize("few", [0, rule_loop.FEW, 1 << 20])
def test_the_emulator_learns_as_the_exact_machine(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_loop, "FEW", few)
    assert sum(check_program(seed) for seed in range(few, few + PROGRAMS // 2)) > PROGRAMS


def test_the_seed_of_a_restart_is_that_of_what_is_drawn(tmp_path: Path) -> None:
    net = sf.Network()
    source = net.input("input", 8)
    cells = net.population("cells", 4, "lif", keep=0.9, threshold=1.0, output=True)
    rule = sf.Plasticity("stdp", w_min=0, w_max=1, keep_pre=0.8, keep_post=0.8, up=0.02, down=0.01)
    rng = np.random.default_rng(1)
    net.connect(source, cells, rng.uniform(0, 1, (8, 4)), plasticity=rule)
    program, _ = sf.compile(net)
    spikes = sf.SpikeTrain.from_dense(rng.random((60, 8)) < 0.3)

    def learns(device: sf.Device, seed: int | None, once: bool = False) -> list[int]:
        device.restart(weights=True, seed=seed)
        if not once:
            device.run(spikes, 60, samples=2)  # a batch leaves the seed as it is
        device.run(spikes, 60)
        return device.read("input->cells.weights").tolist()

    emulator, machine = sf.Emulator(program), sf.Machine(program)
    found = [learns(emulator, seed) for seed in (None, 7, 8, program.seed)]
    assert found[0] == found[3]
    assert found[0] != found[1] != found[2] != found[0]
    assert learns(machine, 7, once=True) == found[1] == learns(emulator, np.int64(7), once=True)

    batches = []
    for device in (emulator, machine):
        for seed in (7, 8):
            device.restart(weights=True, seed=seed)
            batches.append(device.run(spikes, 60, samples=3, record=["cells.v"]))
    assert_equal(batches[0], batches[2])
    assert_equal(batches[1], batches[3])
    assert not np.array_equal(batches[0].state["cells.v"], batches[1].state["cells.v"])

    emulator.restart(weights=True, seed=7)
    emulator.checkpoint(tmp_path / "seeded")
    resumed = sf.Emulator(program)
    resumed.resume(tmp_path / "seeded")
    assert_equal(batches[0], resumed.run(spikes, 60, samples=3, record=["cells.v"]))


def test_what_no_device_holds_is_refused_with_what_there_is() -> None:
    net = sf.Network()
    x = net.input("x", 2)
    y = net.population("y", 1, "if", threshold=1.0, output=True)
    net.connect(x, y, np.ones((2, 1)), plasticity=sf.Plasticity("hebbian", keep_pre=0.5, up=0.1))
    program, _ = sf.compile(net)
    has = "it has 'weights', 'y.v', 'x->y.weights', 'x->y.learning', 'x->y.x'"
    for device in (sf.Emulator(program), sf.Machine(program)):
        for name, told in (
            ("x>y.weights", f"did you mean 'x->y.weights'? {has}"),
            ("x->y.weight", f"did you mean 'x->y.weights'? {has}"),
            ("nothing", has),
        ):
            for use in (device.read, lambda name, to=device.write: to(name, "text")):
                with pytest.raises(sf.SpikefabError) as refused:
                    use(name)
                assert str(refused.value) == f"no '{name}' in the program; {told}"
        with pytest.raises(sf.SpikefabError, match=r"values of type <U4 in 'x->y\.weights'; give"):
            device.write("x->y.weights", "text")


@pytest.mark.parametrize("seed", [-1, 1 << 31, 1.0, True, "7"])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    program = strategies.random_program(np.random.default_rng(5), neurons=16, plastic=1)
    for device in (sf.Emulator(program), sf.Machine(program)):
        with pytest.raises(sf.SpikefabError, match=f"^seed {seed!r} in the restart; .* 2147483647"):
            device.restart(seed=seed)
    net = sf.Network()
    net.population("cells", 1, "if", threshold=1.0, output=True)
    with pytest.raises(sf.SpikefabError, match=f"^seed {seed!r} in the compilation"):
        sf.compile(net, seed=seed)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_fixed_synapses_stay_prompt_beside_plastic_ones_with_a_delay(delay: int) -> None:
    net = sf.Network()
    source = net.input("input", 3)
    cells = net.population("cells", 5, "lif", keep=0.9, threshold=1.0, output=True)
    rng = np.random.default_rng(1)
    net.connect(source, cells, rng.uniform(-1, 1, (3, 5)))
    rule = sf.Plasticity("stdp", w_min=0, w_max=1, keep_pre=0.8, keep_post=0.8, up=0.1, down=0.1)
    net.connect(source, cells, np.full((3, 5), 0.2), delay=delay, plasticity=rule)
    program, _ = sf.compile(net)
    machine, emulator = sf.Machine(program), sf.Emulator(program)
    spikes = sf.SpikeTrain.from_dense(rng.random((12, 3)) < 0.5)
    assert_equal(*(d.run(spikes, 12, record=["cells.v"]) for d in (machine, emulator)))
    assert_learnt_alike(machine, emulator, program)


PAIR = {"keep_pre": 0.9, "keep_post": 0.9, "up": 0.05, "down": 0.03}


@pytest.mark.parametrize(
    ("rule", "parameters", "options"),
    [
        ("stdp", PAIR, {"rounding": "nearest_even"}),
        ("stdp", PAIR, {}),
        ("oja", {"keep_pre": 0.9, "keep_post": 0.9, "up": 0.05, "forget": 0.5}, {}),
    ],
)
def test_more_rows_learn_than_are_gathered_at_a_time(
    rule: str, parameters: dict[str, float], options: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rule_loop, "FEW", 1)
    rows = rule_loop.LANES + 70
    net = sf.Network()
    source = net.input("input", rows)
    cells = net.population("cells", 7, "lif", keep=0.9, threshold=60.0, output=True)
    rng = np.random.default_rng(3)
    own = sf.Plasticity(rule, w_min=-1, w_max=2, options=options, **parameters)
    net.connect(source, cells, rng.uniform(-0.5, 2, (rows, 7)), plasticity=own)
    program, _ = sf.compile(net, chip="auto")
    machine, emulator = sf.Machine(program), sf.Emulator(program)
    spikes = sf.SpikeTrain.from_dense(rng.random((8, rows)) < 0.15)
    before = emulator.read("input->cells.weights")
    assert_equal(*(device.run(spikes, 8) for device in (machine, emulator)))
    assert_learnt_alike(machine, emulator, program)
    moved = emulator.read("input->cells.weights") != before
    assert 0 < moved.mean() < 1


def test_a_checkpoint_holds_what_was_learnt(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    program = strategies.random_program(rng, neurons=16, plastic=3)
    emulator = sf.Emulator(program)
    spikes = strategies.random_input(rng, program, 6)
    signals = strategies.random_signals(rng, program, 6)
    emulator.run(spikes, 6, signals=signals, drain=False)
    emulator.checkpoint(tmp_path / "c.npz")
    resumed = sf.Emulator(program)
    resumed.resume(tmp_path / "c.npz")
    assert_learnt_alike(emulator, resumed, program)
    for device in (emulator, resumed):
        device.run(spikes, 6, signals=signals)
    assert_learnt_alike(emulator, resumed, program)
