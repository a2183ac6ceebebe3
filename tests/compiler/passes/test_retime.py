"""Retiming is a theorem: the program gives the source network's spikes, values and potentials."""

from __future__ import annotations

import os

import networks
import numpy as np
import pytest
import spikefab as sf
from hypothesis import given, settings
from hypothesis import strategies as st

SHARE = int(os.environ.get("SPIKEFAB_RETIME_GRAPHS", "2000"))
seeds = st.integers(0, 2**32 - 1)


def check_equal(seed: int, rich: bool, device: type) -> None:
    """Compile a random network, run it, and compare with the reference in every step."""
    rng = np.random.default_rng(seed)
    source = networks.random_source(rng, rich)
    steps = int(rng.integers(1, 13))
    raster = networks.random_input_steps(rng, source, steps)
    program, report = sf.compile(
        source.network, dilate=True, cores=int(rng.integers(1, sum(source.sizes[n] for n in
        source.order) + 1)),
    )  # fmt: skip
    models = {p.name: program.models[p.model] for p in program.populations}
    gain = {p.name: int(p.parameters["gain"][0]) if "gain" in p.parameters else 0
            for p in program.populations}  # fmt: skip
    unit_lsb = {p.name: 1 / p.lsb for p in report.populations}
    spikes, potential = networks.step_network(source, raster, steps, models, gain, unit_lsb)
    record = [f"{name}.v" for name in source.order]
    run = device(program).run(networks.as_trains(raster), steps, record=record)
    assert run.ticks == (steps - 1) * report.period + 1 + max(p.stage for p in report.populations)
    for p in program.populations:
        np.testing.assert_array_equal(run.state[f"{p.name}.v"][0], potential[p.name])
        if p.output and models[p.name].spikes:
            got = run.spikes[p.name].to_dense(steps, p.size)
            np.testing.assert_array_equal(got, spikes[p.name])
            assert len(run.spikes[p.name]) == spikes[p.name].sum()
        elif p.output:
            np.testing.assert_array_equal(run.values[p.name][0], spikes[p.name])


@settings(max_examples=SHARE // 4, deadline=None)
@given(seeds)
def test_every_model_on_the_exact_machine(seed: int) -> None:
    check_equal(seed, rich=True, device=sf.Machine)


@settings(max_examples=SHARE, deadline=None)
@given(seeds)
def test_one_model_on_the_emulator(seed: int) -> None:
    check_equal(seed, rich=False, device=sf.Emulator)


@pytest.mark.prove
def test_thousands_of_graphs() -> None:
    """2,000 graphs of one model on the emulator, 1,000 of every model on the exact machine."""
    for seed in range(2000):
        check_equal(seed, rich=False, device=sf.Emulator)
    for seed in range(1000):
        check_equal(seed, rich=True, device=sf.Machine)


def two_populations(delay: int) -> sf.Network:
    """a and b see each other; a acts first within a step."""
    net = sf.Network()
    x = net.input("x", 1)
    a = net.population("a", 1, "if", threshold=1.0)
    b = net.population("b", 1, "if", threshold=1.0, output=True)
    net.connect(x, a, np.ones((1, 1)))
    net.connect(a, b, np.ones((1, 1)))
    net.connect(b, a, -np.ones((1, 1)), delay=delay)
    return net


def test_a_short_loop_is_refused_by_name() -> None:
    with pytest.raises(sf.SpikefabError, match=r"loop within a step .*'a' -> 'b'.*--dilate"):
        sf.compile(two_populations(1))


def test_a_short_loop_runs_dilated() -> None:
    program, report = sf.compile(two_populations(1), dilate=True)
    assert report.period == 2
    assert program.ticks(10) == 9 * 2 + 1 + 1


def test_a_loop_with_enough_delay_is_not_dilated() -> None:
    assert sf.compile(two_populations(2), dilate=True)[1].period == 1


def test_a_loop_without_delay_is_refused_even_dilated() -> None:
    with pytest.raises(sf.SpikefabError, match="loop without delay"):
        sf.compile(two_populations(0), dilate=True)


def test_a_delay_beyond_the_chip_names_the_slots_it_needs() -> None:
    net = sf.Network()
    x = net.input("x", 1)
    a = net.population("a", 1, "if", threshold=1.0, output=True)
    net.connect(x, a, np.ones((1, 1)), delay=9)
    with pytest.raises(sf.SpikefabError, match=r"'x' to 'a'.* 8 delay slots; it needs 10"):
        sf.compile(net, "up5k")
