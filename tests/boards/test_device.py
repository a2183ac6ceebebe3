"""A board runs a program as the exact machine does, and refuses what it cannot run."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pytest
import soak
import spikefab as sf
import strategies
from spikefab.boards.device import BoardDevice
from spikefab.compiler.ir.cores import routing
from spikefab.compiler.ir.digest import tick_digests
from spikefab.compiler.ir.memory_map import core_map
from spikefab.compiler.ir.program import Program
from spikefab.examples import digits

PROGRAMS = int(os.environ.get("SPIKEFAB_BOARD_PROGRAMS", "10"))
KEPT = ("synapses", "rows", "parameters", "parameter_index", "routes", "populations")


def assert_equal(expected: sf.Recording, found: sf.Recording, where: object = "") -> None:
    assert not soak.difference(expected, found), where


def assert_alike(machine: sf.Machine, device: BoardDevice) -> None:
    """Both hold the same weights, state, sums and pending events."""
    program = machine.program
    for name in ("weights", *state_names(program)):
        np.testing.assert_array_equal(device.read(name), machine.read(name), name)
    np.testing.assert_array_equal(device.accumulators(), machine.accumulators())
    reaching = {source for source, cores in enumerate(routing(program)) if cores}
    pending = machine.pending()
    assert device.pending() == {source: pending[source] for source in pending if source in reaching}
    assert device.tick == machine.tick


def state_names(program: Program) -> list[str]:
    return [name for name in soak.everything(program) if "." in name]


def program_and_input(
    chip: soak.Chip, seed: int, steps: int, samples: int | None = None
) -> tuple[Program, dict[str, sf.SpikeTrain]]:
    """A program that spikes, and values if the chip's models give any."""
    rng = np.random.default_rng([8, seed])
    while True:
        program = chip.program(rng)
        spikes = strategies.random_input(rng, program, steps, samples)
        run = sf.Machine(program).run(spikes, steps, samples=samples)
        if run.counters["spikes"] > steps and run.counters["synaptic_events"] > 10 * steps:
            return program, spikes


def check_program(device: BoardDevice, chip: soak.Chip, seed: int) -> None:
    """A random program in one go, then on from there; each time all is recorded or just outputs."""
    rng = np.random.default_rng([7, seed])
    program = chip.program(rng)
    steps = int(rng.integers(1, 12))
    samples = None if rng.random() < 0.6 else int(rng.integers(1, 4))
    spikes = strategies.random_input(rng, program, steps, samples)
    machine = sf.Machine(program)
    device.load(program)
    for drain in (True, False, False):
        record, first = soak.everything(program) if rng.random() < 0.7 else [], machine.tick
        expected = machine.run(spikes, steps, samples=samples, record=record, drain=drain)
        found = device.run(spikes, steps, samples=samples, record=record, drain=drain)
        assert_equal(expected, found, (chip, seed, drain))
        assert (found.digests is not None) == program.chip.digests
        if program.chip.digests and record and not drain:
            told = tick_digests(chip.map, program, expected, 0 if samples else first)
            np.testing.assert_array_equal(found.digests, told)
        counted = {"events", "spikes"} | ({"synaptic_events"} if record else set())
        assert counted <= set(found.counters)
        assert_alike(machine, device)
        steps, samples = 3, None
        spikes = strategies.random_input(rng, program, steps)
    machine.restart()
    device.restart()
    assert_alike(machine, device)


def test_random_programs_run_as_on_the_machine(on_chip: soak.Opened, chip: soak.Chip) -> None:
    for seed in range(PROGRAMS):
        check_program(on_chip.device, chip, seed)


@pytest.mark.prove
def test_many_programs_run_as_on_the_machine(on_chip: soak.Opened, chip: soak.Chip) -> None:
    for seed in range(1000, 1250):
        check_program(on_chip.device, chip, seed)


def test_a_batch_is_so_many_runs_from_a_restart(on_chip: soak.Opened, chip: soak.Chip) -> None:
    device, seen = on_chip.device, []
    program, spikes = program_and_input(chip, 1, 6, samples=3)
    device.load(program)
    device.run(steps=2)
    batch = device.run(spikes, 6, samples=3, progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert device.tick == 0
    assert_equal(sf.Machine(program).run(spikes, 6, samples=3), batch)
    for sample in range(3):
        one = {
            name: sf.SpikeTrain(*(
                column[train.sample == sample] if column is not None else None
                for column in (train.step, train.index, train.payload)
            ))
            for name, train in spikes.items()
        }  # fmt: skip
        device.restart()
        single = device.run(one, 6)
        np.testing.assert_array_equal(single.cycles[0], batch.cycles[sample])


def test_steps_are_told_as_they_are_sent(on_chip: soak.Opened, first_chip: soak.Chip) -> None:
    program, spikes = program_and_input(first_chip, 2, 5)
    with soak.opened(first_chip.executable, program) as (_, _, device):
        seen: list[tuple[int, int]] = []
        ticks = device.run(spikes, 5, progress=lambda *done: seen.append(done)).ticks
        assert seen == [(n + 1, ticks) for n in range(ticks)]


@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize("steps", [None, 0])
def test_a_run_without_steps_is_empty(
    on_chip: soak.Opened, chip: soak.Chip, steps: int | None, samples: int | None
) -> None:
    program, spikes = program_and_input(chip, 3, 4)
    machine, device = sf.Machine(program), on_chip.device
    device.load(program)
    record = soak.everything(program)
    for each in (machine, device):
        each.run(spikes, 4)
    expected = machine.run(None, steps, samples=samples, record=record)
    assert_equal(expected, device.run(None, steps, samples=samples, record=record))
    assert_alike(machine, device)


def test_what_was_written_is_read_and_counts(on_chip: soak.Opened, chip: soak.Chip) -> None:
    device, rng = on_chip.device, np.random.default_rng(4)
    program, spikes = program_and_input(chip, 4, 8)
    machine = sf.Machine(program)
    device.load(program)
    before = device.run(spikes, 8)
    machine.run(spikes, 8)
    for p in program.populations:
        for variable, (lo, hi) in program.models[p.model].state.items():
            values = np.array([strategies.integer_in(rng, lo, hi) for _ in range(p.size)])
            for each in (machine, device):
                each.write(f"{p.name}.{variable}", values)
    weights = program.synapses.weight // 2
    for each in (machine, device):
        each.write("weights", weights)
    assert_alike(machine, device)
    record = soak.everything(program)
    assert_equal(machine.run(spikes, 8, record=record), device.run(spikes, 8, record=record))
    for each in (machine, device):
        each.restart()
    assert_alike(machine, device)  # with the weights that were written
    np.testing.assert_array_equal(device.read("weights"), weights)
    device.restart(weights=True)
    np.testing.assert_array_equal(device.read("weights"), program.synapses.weight)
    assert_equal(before, device.run(spikes, 8))


def test_what_does_not_fit_is_refused_and_changes_nothing(
    on_chip: soak.Opened, chip: soak.Chip
) -> None:
    device = on_chip.device
    program, spikes = program_and_input(chip, 5, 4)
    machine = sf.Machine(program)
    device.load(program)
    for each in (machine, device):
        each.run(spikes, 4, drain=False)
    p, limit = program.populations[0], program.chip.largest_weight
    name, (_, most) = next(iter(program.models[p.model].state.items()))
    sent = on_chip.link.counters.bytes_sent
    for write, said in (
        ((f"{p.name}.{name}", np.full(p.size, most + 1)), f"value {most + 1} in '{p.name}.{name}'"),
        ((f"{p.name}.{name}", np.zeros(p.size + 1)), "values of shape"),
        (("weights", np.full(program.synapses.count, limit + 1)), "in 'weights': outside"),
        (("nobody.v", np.zeros(1)), "no 'nobody.v' in the program; .*it has 'weights', "),
        ((f"{p.name}.{name}", "text"), f"values of type <U4 in '{p.name}.{name}'"),
        ((f"{p.name}.{name}", np.full(p.size, 0.5)), f"value 0.5 in '{p.name}.{name}'"),
        (("weights", [[1], [1, 2]]), "values of no one shape in 'weights'"),
    ):
        with pytest.raises(sf.SpikefabError, match=said):
            device.write(*write)
    for given, said in (
        ({"record": ["p0.nothing"]}, "no 'p0.nothing' in the program; .*it has 'p0'"),
        ({"spikes": {"nowhere": spikes["in0"]}}, "no input 'nowhere'"),
        ({"spikes": {"in0": sf.SpikeTrain.of([0], [99])}}, "index 99 in input 'in0'"),
        ({"steps": -1}, "a run of -1 steps"),
    ):
        with pytest.raises(sf.SpikefabError, match=said):
            device.run(**given)
    with pytest.raises(sf.SpikefabError, match=r"no 'nobody\.v' in the program"):
        device.read("nobody.v")
    assert on_chip.link.counters.bytes_sent == sent
    assert_alike(machine, device)
    assert_equal(machine.run(spikes, 4, drain=False), device.run(spikes, 4, drain=False))


def test_without_counts_a_run_gives_the_same_in_fewer_words(
    first_chip: soak.Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, spikes = program_and_input(first_chip, 6, 10)
    expected = sf.Machine(program).run(spikes, 10)
    taken = []
    for counts in (True, False):
        with soak.opened(first_chip.executable, program, counts=counts) as (_, link, device):
            words, receive = list[int](), link.receive
            monkeypatch.setattr(link, "receive", lambda n, w=words, r=receive: w.append(n) or r(n))
            found = device.run(spikes, 10)
            taken.append(sum(words))
            assert not soak.difference(expected, found, cycles=counts)
            assert (found.cycles is not None) == counts
            assert bool(found.counters) == counts
    assert taken[1] <= taken[0] - 2 * expected.ticks


def test_a_program_of_another_chip_is_refused_before_anything_is_written(
    on_chip: soak.Opened, chip: soak.Chip
) -> None:
    device, link = on_chip.device, on_chip.link
    program, spikes = program_and_input(chip, 7, 4)
    wider = dataclasses.replace(program.chip, axons=program.chip.axons + 1)
    other = dataclasses.replace(program, chip=wider)
    machine = sf.Machine(program)
    device.load(program)
    for each in (machine, device):
        each.run(spikes, 4, drain=False)
    sent = link.counters.bytes_sent
    mine, theirs = core_map(program).hash[:8], core_map(other).hash[:8]
    said = f"program for the core {theirs} in the board on {link.name}: it is the core {mine}; "
    with pytest.raises(sf.SpikefabError, match=said):
        device.load(other)
    assert link.counters.bytes_sent - sent < 40
    assert device.program is program
    assert_alike(machine, device)
    assert_equal(machine.run(spikes, 4), device.run(spikes, 4))


def test_a_board_without_a_program_says_so(first_chip: soak.Chip) -> None:
    with soak.opened(first_chip.executable) as (_, link, device):
        for use in (device.run, device.restart, device.accumulators, device.pending):
            with pytest.raises(sf.SpikefabError, match=f"no program in the board on {link.name}; "):
                use()
        assert device.who() == (device.who()[0], "00000000")


def test_what_is_loaded_already_is_not_written_again(first_chip: soak.Chip) -> None:
    program, spikes = program_and_input(first_chip, 8, 6)
    synapses = 2 * len(core_map(program).contents(*images(program))["synapses"])
    with soak.opened(first_chip.executable) as (board, link, device):
        took = []
        for _ in range(2):
            before = link.counters.bytes_sent
            device.load(program)
            link.flush()
            took.append(link.counters.bytes_sent - before)
        assert took[1] <= took[0] - synapses
        first = device.run(spikes, 6, record=soak.everything(program))
        assert device.who() == (core_map(program).hash[:8], program.hash[:8])
        link.port.close()
        with soak.linked(board) as (again, device):  # a host that comes later
            before = again.counters.bytes_sent
            device.load(program)
            again.flush()
            assert again.counters.bytes_sent - before <= took[1] + 20
            assert_equal(sf.Machine(program).run(spikes, 6), device.run(spikes, 6))
    assert first.counters["spikes"]


def images(program: Program) -> tuple[Any, int]:
    """What `MemoryMap.contents` takes."""
    from spikefab.compiler.ir.cores import core_images

    (image,) = core_images(program)
    return image, program.seed


def test_a_memory_that_changed_is_written_again(first_chip: soak.Chip) -> None:
    program, spikes = program_and_input(first_chip, 9, 6)
    with soak.opened(first_chip.executable, program) as (_, _, device):
        for region in KEPT:
            device._write(region, [device._read(region, 0, 1)[0] ^ 1])
            assert not device.intact()
            device.load(program)
            assert device.intact()
        assert_equal(sf.Machine(program).run(spikes, 6), device.run(spikes, 6))


def test_a_load_that_comes_out_wrong_leaves_no_program(
    first_chip: soak.Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, _ = program_and_input(first_chip, 10, 6)
    with soak.opened(first_chip.executable) as (_, link, device):
        with monkeypatch.context() as patch:
            patch.setattr(device, "_expected_hash", lambda: -1)
            said = f"the memories hold something else in the board on {link.name}: "
            with pytest.raises(sf.SpikefabError, match=said):
                device.load(program)
        with pytest.raises(sf.SpikefabError, match="no program"):
            device.run(steps=1)
        assert device.who() == (core_map(program).hash[:8], "00000000")
        device.load(program)
        assert_equal(sf.Machine(program).run(steps=6), device.run(steps=6))


# 3, 4 and 6 units of 16 bits to a synapse word.
@pytest.mark.parametrize("bits", [5, *(pytest.param(b, marks=pytest.mark.prove) for b in (8, 12))])
def test_weights_of_any_width_arrive_whole(bits: int) -> None:
    rng = np.random.default_rng(bits)
    weights = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (20, 16))
    weights[:2] = np.array([[-(1 << (bits - 1))], [(1 << (bits - 1)) - 1]])
    weights[10:, 3:] = 0  # sparse rows
    net = sf.Network()
    x = net.input("x", 20)
    y = net.population("y", 16, keep=0.875, threshold=2.0**bits, output=True)
    net.connect(x, y, weights.astype(float))
    program, report = sf.compile(net, weight_bits=bits)
    assert report.populations[0].weight_lsb == 1
    spikes = sf.SpikeTrain.from_dense(rng.random((20, 20)) < 0.3)
    with soak.opened(soak.executable(core_map(program)), program) as (_, _, device):
        assert device.intact()
        np.testing.assert_array_equal(device.read("weights"), weights[weights != 0])
        expected = sf.Machine(program).run(spikes, 20)
        assert expected.counters["spikes"] > 10
        assert_equal(expected, device.run(spikes, 20))


# The demo's network.


def show(images: int, samples: int) -> None:
    """Run some images of the test split on a virtual board of the program's own core."""
    network = sf.load(digits.NETWORK, profile="snntorch", reset=digits.RESET)
    seen = sf.SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))
    program, _ = sf.compile(network, calibrate={network.inputs[0].name: seen})
    spikes = sf.SpikeTrain.from_dense(digits.encode(digits.load_test_images()[0][:images]))
    record = [p.name for p in program.populations]
    expected = sf.Emulator(program).run(spikes, digits.STEPS, samples=samples, record=record)
    assert expected.counters["spikes"] > 100 * samples
    with soak.opened(soak.executable(core_map(program)), program) as (_, _, device):
        found = device.run(spikes, digits.STEPS, samples=samples, record=record)
    assert found.counters == expected.counters
    assert_equal(expected, found)


def test_digits_are_recognised_as_by_the_emulator() -> None:
    show(2, 2)


@pytest.mark.prove
def test_all_digits_are_recognised_as_by_the_emulator() -> None:
    images = len(digits.load_test_images()[0])
    show(images, images)
