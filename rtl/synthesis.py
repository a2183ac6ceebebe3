"""From the core to a placed and routed part, with the tools that PyPI has; what they report.

The tools mount a private `/tmp`, so that each runs in its folder, on names relative to it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    utilisation: the same by nextpnr's names.
    """

    name: str
    target: Target
    synthesis: str
    place: tuple[str, ...]
    cells: dict[str, dict[str, float]]
    utilisation: dict[str, str]


_LUTS = {f"LUT{n}": 1.0 for n in range(1, 7)}
PARTS = {
    part.name: part
    for part in (
        Part(
            "up5k",
            "ice40",
            "synth_ice40 -device u",
            ("nextpnr-ice40", "--up5k", "--package", "sg48", "--pcf-allow-unconstrained"),
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
        ),
        Part(
            "ecp5-25f",
            "generic",
            "synth_ecp5",
            ("nextpnr-ecp5", "--25k", "--package", "CABGA381", "--lpf-allow-unconstrained"),
            {
                "logic": {"LUT4": 1.0, "CCU2C": 2.0, "TRELLIS_DPR16X4": 4.0},
                "ff": {"TRELLIS_FF": 1.0},
                "memory": {"DP16KD": 1.0},
                "dsp": {"MULT18X18D": 1.0},
            },
            {
                "logic": "TRELLIS_COMB",
                "ff": "TRELLIS_FF",
                "memory": "DP16KD",
                "dsp": "MULT18X18D",
            },
        ),
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
    """The RTLIL of a design. No read of it meets a write of the same word but for data that is
    not used, and so no memory needs to say what such a read gives."""
    text: str = rtlil.convert(design, name=name)
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
    output = _run(["yosys", "-q", f"{top}.ys"], folder)
    faults = [line for line in output.splitlines() if _suspicious(line)]
    if faults:
        raise SpikefabError(faults[0], f"synthesis of {top} for {part.name}")
    netlist = json.loads((folder / f"{top}.json").read_text())
    found = Counter(cell["type"] for cell in netlist["modules"][top]["cells"].values())
    return {
        kind: sum(found[cell] * weight for cell, weight in cells.items())
        for kind, cells in part.cells.items()
    }


def place(top: str, part: Part, folder: Path, mhz: float, seed: int) -> Placed:
    """Place and route `TOP.json` for a clock; raises SpikefabError where it does not fit."""
    report = f"{top}_{seed}_report.json"
    _run(
        [
            *part.place, "--json", f"{top}.json", "--freq", str(mhz), "--seed", str(seed),
            "--report", report, "--quiet", "--timing-allow-fail",
        ],
        folder,
    )  # fmt: skip
    found = json.loads((folder / report).read_text())
    return Placed(
        seed,
        {kind: found["utilization"][name]["used"] for kind, name in part.utilisation.items()},
        min(clock["achieved"] for clock in found["fmax"].values()),
    )


def _suspicious(line: str) -> bool:
    return "Warning" in line




def _run(command: Sequence[str], folder: Path) -> str:
    """Run a tool of the `rtl` extra; returns what it says, raises SpikefabError if it fails."""
    tool = Path(sys.executable).with_name(f"yowasp-{command[0]}")
    if not tool.exists():
        raise SpikefabError(
            f"no {tool.name}", "synthesis", hint="install it with `pip install spikefab[fpga]`"
        )
    try:
        done = subprocess.run(
            [str(tool), *command[1:]], cwd=folder, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SpikefabError(f"{command[0]} did not end within {LIMIT:.0f} s", "synthesis") from None
    said = done.stdout + done.stderr
    if done.returncode:
        errors = [line for line in said.splitlines() if "ERROR" in line] or said.splitlines()[-3:]
        raise SpikefabError(f"{command[0]}: {' '.join(errors)[:500]}", "synthesis")
    return said
