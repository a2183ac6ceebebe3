"""A board's bitstream, with the tools that PyPI has, or the files of a project for its vendor's."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..compiler.ir.chip import ChipSpec
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.memory_map import MemoryMap, core_map
from ..compiler.ir.models import LIBRARY
from ..compiler.ir.neuron import Datapath
from ..compiler.ir.program import Program
from .spec import BoardSpec

SEEDS = 8
"""Of the placement, at most, until one meets the clock."""
COMMON = ("report.json", "chip.json", "README.md")
KINDS = {
    "logic": "logic cells",
    "ff": "registers",
    "memory": "block RAMs",
    "large_memory": "large memories",
    "dsp": "multipliers",
}


@dataclass(frozen=True)
class Built:
    """What came of a build: files by name, and what the report says."""

    files: dict[str, str | bytes]
    report: dict[str, Any]


def parse_model(text: str, chip: ChipSpec) -> Datapath:
    """A model of the library for a chip, from `NAME[:OPTION=VALUE,...]`.

    Raises SpikefabError for one that is not there, and for options that it does not have.
    """
    name, _, rest = text.partition(":")
    where = f"--model {text}"
    if name not in LIBRARY:
        raise SpikefabError(f"unknown model '{name}'", where, hint=f"use {', '.join(LIBRARY)}")
    options = {}
    for part in rest.split(",") if rest else []:
        option, equals, value = part.partition("=")
        if not equals:
            raise SpikefabError(f"'{part}'", where, "it is no OPTION=VALUE")
        if option in options:
            raise SpikefabError(f"'{option}' twice", where)
        options[option] = value
    try:
        return LIBRARY[name].datapath(chip.state_bits, chip.accumulator_bits, options)
    except SpikefabError as fault:
        raise SpikefabError(fault.what, where, fault.why, fault.hint) from None


def map_of_models(chip: ChipSpec, models: Sequence[Datapath]) -> MemoryMap:
    """The core of a chip that carries models, in the order in which the chip names them."""
    carried = sorted({m.identity: m for m in models}.values(), key=lambda m: m.identity)
    return MemoryMap(chip.carrying(carried), tuple(carried))


def map_of_program(program: Program) -> MemoryMap:
    """The core that carries a program; raises SpikefabError for one of several cores."""
    if program.cores != 1:
        raise SpikefabError(
            f"{program.cores} cores", "the program", "a board has one", "compile for one core"
        )
    return core_map(program)


def file_names(board: BoardSpec) -> list[str]:
    """Names that the files of a build may have."""
    top = _top(board)
    return [*COMMON, *(f"{top}.{end}" for end in ("bin", "bit", "tcl", "v", "xdc"))]


def _top(board: BoardSpec) -> str:
    return board.name.replace("-", "_")


def build(
    board: BoardSpec, map: MemoryMap, say: Callable[[str], None], seeds: int = SEEDS
) -> Built:
    """The bitstream of a core on a board, and what it takes; `say` hears what is being done.

    Raises SpikefabError where a tool is missing, where it does not fit the part, and where no seed
    of the placement meets the board's clock.
    """
    try:
        from ..rtl.synthesis import PARTS
        from .top import Top

        platform = board.platform()
    except ModuleNotFoundError as fault:
        if not str(fault.name).startswith("amaranth"):
            raise
        raise SpikefabError(
            f"no module '{fault.name}'", "spikefab build", hint="pip install 'spikefab[fpga]'"
        ) from None
    if board.part not in PARTS:
        raise SpikefabError(
            f"unknown part '{board.part}'", f"board '{board.name}'", hint=f"use {', '.join(PARTS)}"
        )
    part = PARTS[board.part]
    _check_memory(board, map, part.memory_bits)
    top = _top(board)
    say("elaborating")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Amaranth, if an error leaves a part unused
        plan = platform.prepare(Top(board, map, part.target), top, emit_src=False)
    planned = {
        name: text.decode() if isinstance(text, bytes) else text
        for name, text in plan.files.items()
    }
    if not part.place:
        return _project(board, map, part, top, planned, platform, say)
    return _bitstream(board, map, part, top, planned, say, seeds)


def _check_memory(board: BoardSpec, map: MemoryMap, available: int) -> None:
    needed = {name: region.entries * region.bits for name, region in map.regions.items()}
    if sum(needed.values()) > available:
        largest = max(needed, key=lambda name: needed[name])
        raise SpikefabError(
            f"{sum(needed.values())} bits of memory", f"chip '{map.chip.name}'",
            f"{board.part} has {available}, and '{largest}' takes {needed[largest]}",
            f"compile with --chip {board.chip.name}",
        )  # fmt: skip


def _synthesised(
    board: BoardSpec, map: MemoryMap, part: Any, top: str, text: str, folder: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """The report, as far as synthesis knows; raises SpikefabError for what does not fit."""
    from ..rtl.synthesis import synthesise, without_collisions

    say("synthesising (the first run of Yosys takes minutes more)")
    cells = synthesise(without_collisions(text), top, part, folder)
    for kind, used in cells.items():
        if used > part.available[kind]:
            raise SpikefabError(
                f"{used:g} {KINDS[kind]}", f"chip '{map.chip.name}' on board '{board.name}'",
                f"{part.name} has {part.available[kind]}", f"compile with --chip {board.chip.name}",
            )  # fmt: skip
    return {
        "board": board.name,
        "part": part.name,
        "chip": map.chip.name,
        "chip_hash": map.hash,
        "models": list(map.chip.models) or [model.identity for model in map.models],
        "rules": [rule.identity for rule in map.rules],
        "neurons": map.chip.neurons,
        "axons": map.chip.axons,
        "synapses": map.chip.synapse_words * map.chip.lanes,
        **{
            name: value
            for kind, used in cells.items()
            for name, value in (
                (kind, used if used % 1 else int(used)), (f"{kind}_available", part.available[kind])
            )
        },
        "clock_mhz": board.clock_mhz,
        "fmax_mhz": None,
        "seed": None,
        "baud": board.baud,
        "bitstream": None,
        "why": None,
    }  # fmt: skip


def _bitstream(
    board: BoardSpec, map: MemoryMap, part: Any, top: str, planned: dict[str, str],
    say: Callable[[str], None], seeds: int,
) -> Built:  # fmt: skip
    from ..rtl.synthesis import pack, place

    with _scratch() as folder:
        report = _synthesised(board, map, part, top, planned[f"{top}.il"], folder, say)
        (folder / f"{top}.{part.pins}").write_text(planned[f"{top}.{part.pins}"])
        best = 0.0
        for seed in range(1, seeds + 1):
            say(f"placing and routing for {board.clock_mhz:g} MHz, seed {seed}")
            placed = place(top, part, folder, board.clock_mhz, seed, pins=True)
            say(f"seed {seed} reaches {placed.fmax_mhz:.1f} MHz")
            best = max(best, placed.fmax_mhz)
            if placed.fmax_mhz >= board.clock_mhz:
                break
        else:
            raise SpikefabError(
                f"at most {best:.1f} MHz", f"chip '{map.chip.name}' on board '{board.name}'",
                f"its clock is {board.clock_mhz:g} MHz, and {seeds} placements did not meet it",
                f"build for chip {board.chip.name}, or fewer models",
            )  # fmt: skip
        report |= placed.used | {"fmax_mhz": round(placed.fmax_mhz, 2), "seed": seed}
        name = f"{top}.{part.bitstream}"
        report["bitstream"] = name
        say("packing")
        return _built(board, map, report, {name: pack(top, part, folder).read_bytes()})


def _project(
    board: BoardSpec, map: MemoryMap, part: Any, top: str, planned: dict[str, str], platform: Any,
    say: Callable[[str], None],
) -> Built:  # fmt: skip
    from amaranth.back import rtlil

    # The plan has Verilog only, in which reads of memories are more than they need to be.
    text, _ = rtlil.convert_fragment(
        platform._design, name=top, emit_src=False, propagate_domains=False
    )
    with _scratch() as folder:
        report = _synthesised(board, map, part, top, text, folder, say)
    report["why"] = (
        f"only its vendor's tool places {part.name}: vivado -mode batch -source {top}.tcl"
    )
    # Memories begin with zeros anyhow, and there are thousands of lines of them.
    zeros = r"^ *\S+ ?\[\d+\] = \d+'[hd]0+;\n"
    verilog = re.sub(zeros, "", planned[f"{top}.v"], flags=re.M)
    files = {name: planned[name] for name in (f"{top}.tcl", f"{top}.xdc")}
    return _built(board, map, report, {f"{top}.v": verilog, **files})


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for the tools; raises SpikefabError where there is no room for what they write."""
    try:
        with tempfile.TemporaryDirectory(prefix="spikefab-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as fault:
        raise SpikefabError(
            "cannot work", tempfile.gettempdir(), fault.strerror or str(fault),
            "TMPDIR names another folder",
        ) from None  # fmt: skip


def _built(
    board: BoardSpec, map: MemoryMap, report: dict[str, Any], made: dict[str, str | bytes]
) -> Built:
    chip = dict(map.chip.to_json(), models=report["models"])
    files: dict[str, str | bytes] = {
        **made,
        "report.json": json.dumps(report, indent=2) + "\n",
        "chip.json": json.dumps(chip, indent=2) + "\n",
        "README.md": _readme(board, report),
    }
    return Built(files, report)


def _readme(board: BoardSpec, report: dict[str, Any]) -> str:
    """How the folder is used."""
    name = report["bitstream"]
    top = _top(board)
    if name is None:
        name = f"{top}.bit"
        making = f"""Vivado makes the bitstream, `{name}`:

    vivado -mode batch -source {top}.tcl
"""
    else:
        making = (
            f"`{name}` is the bitstream. By static timing it runs at {report['fmax_mhz']} MHz; the "
            f"board's clock is {report['clock_mhz']:g} MHz.\n"
        )
    models = "".join(f"- {model}\n" for model in (*report["models"], *report["rules"]))
    return f"""# Spikefab on {board.title}

{making}
Either of these writes it to the board; the first calls the second ({board.install}).

    spikefab flash --board {board.name} {name}
    {" ".join(board.programmer)} {name}

The board is then a core of {report["neurons"]} neurons and {report["synapses"]} synapses. It has no
program until the host loads one. It runs what is compiled for `chip.json`,

    spikefab compile NET --chip chip.json -o PROGRAM

which carries these models and learning rules:

{models}
The wire is {board.baud} baud, 8N1. `report.json` says what the core takes of the {report["part"]}.
"""
