"""From the core to a placed and routed part, with the tools that PyPI has; what they report.

The tools mount a private `/tmp`, so that each runs in its folder, on names relative to it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from ..compiler.ir.errors import SpikefabError
from .primitives import Target

LIMIT = 1800.0
"""Seconds after which a tool is taken for dead."""


@dataclass(frozen=True)
class Part:
    """An FPGA: what Yosys makes of a design for it, and who places that (nobody, where empty).

    cells: of the kinds that count, the primitives that are one, and how much each takes.
    utilisation: the same by nextpnr's names. available: how many the part has. memory_bits: of its
    large memories and block RAM, all together. pins: the end of the name of a file that says which
    pins are what; routed: nextpnr's option for its result, and the end of that file's name; pack:
    who makes the bitstream of it, with options; bitstream: the end of its name.
    """

    name: str
    target: Target
    synthesis: str
    place: tuple[str, ...]
    cells: dict[str, dict[str, float]]
    utilisation: dict[str, str]
    available: dict[str, int]
    memory_bits: int
    pins: str = ""
    routed: tuple[str, str] = ("", "")
    pack: tuple[str, ...] = ()
    bitstream: str = ""


def _ecp5(size: str, option: str, logic: int, memories: int, multipliers: int) -> Part:
    """An ECP5 in the package of 381 balls."""
    return Part(
        f"ecp5-{size}",
        "generic",
        "synth_ecp5",
        ("nextpnr-ecp5", option, "--package", "CABGA381"),
        {
            "logic": {"LUT4": 1.0, "CCU2C": 2.0, "TRELLIS_DPR16X4": 4.0},
            "ff": {"TRELLIS_FF": 1.0},
            "memory": {"DP16KD": 1.0},
            "dsp": {"MULT18X18D": 1.0},
        },
        {"logic": "TRELLIS_COMB", "ff": "TRELLIS_FF", "memory": "DP16KD", "dsp": "MULT18X18D"},
        {"logic": logic, "ff": logic, "memory": memories, "dsp": multipliers},
        memories * 18_432,
        "lpf",
        ("--textcfg", "config"),
        ("ecppack", "--compress"),
        "bit",
    )


_LUTS = {f"LUT{n}": 1.0 for n in range(1, 7)}
PARTS = {
    part.name: part
    for part in (
        Part(
            "up5k",
            "ice40",
            "synth_ice40 -device u",
            ("nextpnr-ice40", "--up5k", "--package", "sg48"),
            {
                "logic": {"SB_LUT4": 1.0},
                "ff": {f"SB_DFF{kind}": 1.0 for kind in ("", "E", "SR", "SS", "ESR", "ESS")},
                "memory": {"SB_RAM40_4K": 1.0},
                "large_memory": {"SB_SPRAM256KA": 1.0},
                "dsp": {"SB_MAC16": 1.0},
            },
            {
                "logic": "ICESTORM_LC",
                "memory": "ICESTORM_RAM",
                "large_memory": "ICESTORM_SPRAM",
                "dsp": "ICESTORM_DSP",
            },
            {"logic": 5280, "ff": 5280, "memory": 30, "large_memory": 4, "dsp": 8},
            30 * 4096 + 4 * 262_144,
            "pcf",
            ("--asc", "asc"),
            ("icepack",),
            "bin",
        ),
        # The 12F has all of the 25F, by another name.
        _ecp5("12f", "--12k", 24_288, 56, 28),
        _ecp5("25f", "--25k", 24_288, 56, 28),
        _ecp5("45f", "--45k", 43_848, 108, 72),
        _ecp5("85f", "--85k", 83_640, 208, 156),
        Part(
            "artix7-35t",
            "generic",
            "synth_xilinx -family xc7 -flatten",  # or its ABC ends, without a word
            (),
            {
                "logic": _LUTS
                | {"RAM32M": 4.0, "RAM64M": 4.0, "RAM32X1D": 2.0, "RAM64X1D": 2.0, "SRL16E": 1.0},
                "ff": {f"FD{kind}E": 1.0 for kind in "RSCP"},
                "memory": {"RAMB36E1": 1.0, "RAMB18E1": 0.5},
                "dsp": {"DSP48E1": 1.0},
            },
            {},
            {"logic": 20_800, "ff": 41_600, "memory": 50, "dsp": 90},
            50 * 36_864,
        ),
    )
}


@dataclass(frozen=True)
class Placed:
    """What nextpnr reports of one seed: cells used by kind, and the clock that it reaches."""

    seed: int
    used: dict[str, int]
    fmax_mhz: float


def design_rtlil(design: Elaboratable, name: str) -> str:
    """The RTLIL of a design, as `without_collisions` has it."""
    return without_collisions(rtlil.convert(design, name=name))


def without_collisions(text: str) -> str:
    """RTLIL of a design no read of which meets a write of the same word but for data that is not
    used, and so no memory of which needs to say what such a read gives."""
    return re.sub(
        r"(parameter \\COLLISION_X_MASK )(\d+)'([01]+)",
        lambda match: f"{match[1]}{match[2]}'{'1' * int(match[2])}",
        text,
    )


def synthesise(text: str, top: str, part: Part, folder: Path) -> dict[str, float]:
    """Write `TOP.json` and `TOP_netlist.v` of a design in RTLIL; returns the cells by kind.

    Raises SpikefabError where Yosys fails or warns: it is known to make a wrong netlist with
    no more than a warning.
    """
    (folder / f"{top}.il").write_text(text)
    script = [
        f"read_rtlil {top}.il",
        f"{part.synthesis} -top {top}",
        f"write_json {top}.json",
        f"write_verilog -noattr {top}_netlist.v",
    ]
    (folder / f"{top}.ys").write_text("\n".join(script) + "\n")
    output = run_tool(["yosys", "-q", f"{top}.ys"], folder)
    faults = [line for line in output.splitlines() if _suspicious(line)]
    if faults:
        raise SpikefabError(faults[0], f"synthesis of {top} for {part.name}")
    netlist = _read_json(folder / f"{top}.json", "yosys")
    found = Counter(cell["type"] for cell in netlist["modules"][top]["cells"].values())
    return {
        kind: sum(found[cell] * weight for cell, weight in cells.items())
        for kind, cells in part.cells.items()
    }


def place(top: str, part: Part, folder: Path, mhz: float, seed: int, pins: bool = False) -> Placed:
    """Place and route `TOP.json` for a clock; raises SpikefabError where it does not fit.

    pins: they are in the folder, in the part's file for them, and its bitstream can be packed;
    else ports go to any pin. `fmax_mhz` may be less than what was asked.
    """
    report = f"{top}_{seed}_report.json"
    option, end = part.routed
    placing = (
        [f"--{part.pins}", f"{top}.{part.pins}", option, f"{top}.{end}"]
        if pins
        else [f"--{part.pins}-allow-unconstrained"]
    )
    run_tool(
        [
            *part.place, *placing, "--json", f"{top}.json", "--freq", str(mhz),
            "--seed", str(seed), "--report", report, "--quiet", "--timing-allow-fail",
        ],
        folder,
    )  # fmt: skip
    found = _read_json(folder / report, part.place[0])
    clocks = found["fmax"].values()
    if slow := [clock for clock in clocks if clock["constraint"] < 0.999 * mhz]:
        raise SpikefabError(
            f"a clock of {slow[0]['constraint']:.1f} MHz", f"placement of {top}",
            f"{mhz:g} MHz was asked",
        )  # fmt: skip
    return Placed(
        seed,
        {kind: found["utilization"][name]["used"] for kind, name in part.utilisation.items()},
        min(clock["achieved"] for clock in clocks),
    )


def pack(top: str, part: Part, folder: Path) -> Path:
    """The bitstream of what was placed last."""
    bitstream = folder / f"{top}.{part.bitstream}"
    run_tool([*part.pack, f"{top}.{part.routed[1]}", bitstream.name], folder)
    return bitstream


def _suspicious(line: str) -> bool:
    return "Warning" in line


def _read_json(path: Path, tool: str) -> Any:
    """What a tool wrote; raises SpikefabError for what is not whole, as where a disk is full."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as fault:
        raise SpikefabError(
            f"{tool} left no whole {path.name}", "synthesis", str(fault), "is the disk full?"
        ) from None


def run_tool(command: Sequence[str], folder: Path) -> str:
    """Run a tool of the `fpga` extra; returns what it says, raises SpikefabError if it fails."""
    name = f"yowasp-{command[0]}"
    tool = shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)
    if tool is None:
        raise SpikefabError(f"no {name}", "synthesis", hint="pip install 'spikefab[fpga]'")
    try:
        done = subprocess.run(
            [tool, *command[1:]], cwd=folder, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SpikefabError(f"{command[0]} did not end within {LIMIT:.0f} s", "synthesis") from None
    said = done.stdout + done.stderr
    if done.returncode:
        errors = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()[-3:]
        why = " ".join(errors)[:500] or f"it ended with status {done.returncode}"
        raise SpikefabError(f"{command[0]}: {why}", "synthesis")
    return said
