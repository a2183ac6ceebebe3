"""Figures of the core on FPGAs: synthesised, placed and routed with several seeds.

`python -m spikefab.bench.gateware [CASE ...]` prints a line per case, `--json` an object. What is
placed is one core whose inputs (memory port, events) come from a shift register and whose outputs
are reduced to their parity, as no small part has that many pins; that logic is in the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.chip import ChipSpec, chip
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.models import cubalif, izhikevich, lif
from ..compiler.ir.rules import stdp
from ..rtl.core import Core
from ..rtl.primitives import LINE_REGISTERS, Target
from ..rtl.synthesis import PARTS, design_rtlil, place, synthesise

SEEDS = 8
LINE_REGISTERS_OF_LEARNING = 32  # a core that learns is short of logic


class Scanned(wiring.Component):
    """A core whose inputs come from a shift register; of its outputs the parity goes out."""

    def __init__(self, map: MemoryMap, target: Target, line_registers: int) -> None:
        self.core = Core(map, target, line_registers=line_registers)
        super().__init__({"scan_in": In(1), "parity": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """The core and the register."""
        m = Module()
        m.submodules.core = core = self.core
        inputs = [
            core.memory.address, core.memory.write, core.memory.read, core.memory.write_data,
            core.events.valid, core.start, core.output.ready,
        ]  # fmt: skip
        outputs = Cat(
            core.memory.ready, core.memory.read_data, core.memory.read_valid, core.events.ready,
            core.idle, core.output.payload.as_value(), core.output.valid,
        )  # fmt: skip
        given = Signal(sum(len(port) for port in inputs), reset_less=True)
        parts = Signal(-(-len(outputs) // 4), reset_less=True)
        m.d.sync += [
            given.eq(Cat(self.scan_in, given)),
            parts.eq(Cat(outputs[4 * n : 4 * n + 4].xor() for n in range(len(parts)))),
            self.parity.eq(parts.xor()),
        ]
        m.d.comb += [Cat(*inputs).eq(given), core.events.payload.eq(core.memory.address)]
        return m


@dataclass(frozen=True)
class Case:
    """A chip that carries models and rules, on a part, for a clock; see `Core`."""

    part: str
    chip: ChipSpec
    models: tuple[Any, ...]
    mhz: float
    rules: tuple[Any, ...] = ()
    line_registers: int = LINE_REGISTERS


def cases() -> dict[str, Case]:
    """All cases by name."""
    found = {}
    for part, neurons, mhz in (
        ("up5k", 256, 48.0),
        ("ecp5-25f", 256, 100.0),
        ("ecp5-25f", 512, 100.0),
        ("artix7-35t", 256, 100.0),
    ):
        preset = chip("up5k" if part == "up5k" else "ecp5-25f")
        spec = dataclasses.replace(preset, neurons=neurons)
        options = {"reset": "subtract", "refractory": "hold"}
        models = [("LIF", lif, options), ("CubaLIF", cubalif, options)]
        if part == "up5k":
            models.append(("Izhikevich", izhikevich, {}))
        for name, model, chosen in models:
            datapath = model.datapath(spec.state_bits, spec.accumulator_bits, chosen)
            found[f"{part}-{neurons}-{name}"] = Case(
                part, spec.carrying([datapath]), (datapath,), mhz
            )
    spec = chip("up5k")
    options = {"reset": "subtract", "refractory": "hold"}
    datapath = lif.datapath(spec.state_bits, spec.accumulator_bits, options)
    for rounding, limits in (("floor", "positive"), ("floor", "given"), ("nearest_even", "given")):
        rule = stdp.path(spec.weight_bits, {"rounding": rounding, "limits": limits})
        found[f"up5k-256-LIF-stdp-{rounding}-{limits}"] = Case(
            "up5k", spec.carrying([datapath], [rule]), (datapath,), 48.0, (rule,),
            LINE_REGISTERS_OF_LEARNING,
        )  # fmt: skip
    return found


def measure(name: str, case: Case, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """The figures of a case; two seeds at a time."""
    part = PARTS[case.part]
    map = MemoryMap(case.chip, case.models, case.rules)
    design: Elaboratable = Scanned(map, part.target, case.line_registers)
    cells = synthesise(design_rtlil(design, "top"), "top", part, folder)
    if not part.place:
        return {"case": name, **cells}
    with ThreadPoolExecutor(2) as pool:
        placed = list(pool.map(lambda seed: place("top", part, folder, case.mhz, seed), seeds))
    reached = sorted(p.fmax_mhz for p in placed)
    return {
        "case": name,
        **{f"synthesised_{kind}": cells[kind] for kind in cells},
        **placed[0].used,
        "clock_mhz": case.mhz,
        "seeds": len(reached),
        "seeds_met": sum(f >= case.mhz for f in reached),
        "fmax_mhz": reached[0],
        "fmax_median_mhz": median(reached),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = cases()
    parser.add_argument("case", nargs="*", help=f"of {', '.join(known)}; all, if none is named")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--folder", type=Path, help="keep what the tools write here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in options.case or known:
        if name not in known:
            parser.error(f"no case {name!r}: there are {', '.join(known)}")
        with tempfile.TemporaryDirectory() as scratch:
            folder = (options.folder or Path(scratch)) / name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                figures = measure(name, known[name], range(1, options.seeds + 1), folder)
            except SpikefabError as fault:
                parser.exit(2, f"{name}: {fault}\n")
        words = "  ".join(f"{key} {value}" for key, value in figures.items())
        print(json.dumps(figures) if options.json else words, flush=True)


if __name__ == "__main__":
    main()
