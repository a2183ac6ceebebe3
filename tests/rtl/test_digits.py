"""The network of the demo on its gateware: spikes, potentials and clocks are the emulator's."""

from __future__ import annotations

from dataclasses import replace

import cosim
import numpy as np
import pytest
import spikefab as sf
from spikefab.compiler.ir.cycles import LEARN
from spikefab.compiler.ir.memory_map import memory_map, sized
from spikefab.compiler.ir.program import Program
from spikefab.examples import digits


def compiled() -> Program:
    """The demo's program."""
    network = sf.load(digits.NETWORK, profile="snntorch", reset=digits.RESET)
    seen = sf.SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))
    return sf.compile(network, calibrate={network.inputs[0].name: seen})[0]


def on_its_own_core(program: Program) -> Program:
    """The program on a core of just its size, with the delay slots that it needs."""
    assert program.synapses.delays == (0,)
    chip = replace(sized(program), neurons=program.neurons, delay_slots=1)
    return replace(program, chip=chip.carrying(program.models))


def show(images: int, folder: cosim.Path) -> None:
    """Run images on emulator and gateware, a restart between, and compare tick by tick."""
    demo = compiled()
    program = on_its_own_core(demo)
    raster = digits.encode(digits.load_test_images()[0][:images])
    ticks = program.ticks(digits.STEPS)
    names = [p.name for p in program.populations]
    spikes = sf.SpikeTrain.from_dense(raster)
    run = sf.Emulator(program).run(
        spikes, ticks, samples=images, drain=False,
        record=[*names, *(f"{name}.v" for name in names)],
    )  # fmt: skip
    shown = sf.Emulator(demo).run(spikes, digits.STEPS, samples=images)
    assert np.array_equal(shown.cycles, run.cycles)
    silent = [np.zeros(raster.shape[-1], bool)] * (ticks - digits.STEPS)
    samples = [
        [dict.fromkeys(np.flatnonzero(lines).tolist(), 1) for lines in [*image, *silent]]
        for image in raster
    ]
    map = memory_map(program)
    simulation = cosim.Simulation(map, folder)
    (log,) = simulation.play([cosim.Job(f"{images} images", program, samples)])
    seen = np.array(cosim.reported(log)).reshape(images, ticks)
    assert run.cycles is not None
    clocks = np.array([[tick.clocks for tick in sample] for sample in seen])
    assert not run.cycles[:, :, 0, LEARN].any()
    assert np.array_equal(clocks, np.delete(run.cycles[:, :, 0], LEARN, axis=2))
    for p in program.populations:
        fired = run.spikes[p.name].to_dense(ticks, p.size, images)
        for sample in range(images):
            for update, tick in enumerate(range(p.start, ticks, p.period)):
                there = seen[sample, tick]
                stored = [there.updates[n] for n in range(p.first, p.first + p.size)]
                v = [map.state(p.model, state)["v"] for state, _ in stored]
                assert v == run.state[f"{p.name}.v"][sample, update].tolist()
                assert [count for _, count in stored] == fired[sample, update].tolist()
                if p.output:
                    out = [there.outputs.get(n, 0) for n in range(p.first, p.first + p.size)]
                    assert out == fired[sample, update].tolist()
    print(f"{images} images: {images * ticks} ticks, {clocks.sum()} cycles equal")


def test_digits_are_recognised_as_by_the_emulator(tmp_path: cosim.Path) -> None:
    show(5, tmp_path)


@pytest.mark.prove
def test_a_hundred_digits_are_recognised_as_by_the_emulator(tmp_path: cosim.Path) -> None:
    show(100, tmp_path)
