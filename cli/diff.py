"""`spikefab diff`: whether two devices do the same, and where they part."""

from __future__ import annotations

import sys
from typing import Any

import click

from .. import SpikefabError, load_program, write_waveform
from ..boards.diff import Comparison
from ..boards.diff import diff as compare
from ..compiler.ir.spikes import save_input
from .console import check_output, progress, say, say_json
from .devices import build_virtual, open_device
from .inputs import program_input


@click.command()
@click.argument("program")
@click.option("--input", "input_file", help="Spikes (.npz, .csv, NIR data); default: none.")
@click.option("--steps", type=click.IntRange(1), help="Default: to the last input.")
@click.option("--devices", required=True, metavar="A,B", help="Of emulator, virtual and ports.")
@click.option("--baud", type=click.IntRange(1), help="Of the ports; default: the board's.")
@click.option("--replay", default="replay.npz", show_default=True, metavar="FILE",
              help="Where to write the input up to the first difference, if there is one.")
@click.option("--waveform", metavar="FILE",
              help="Where to write the waveform (VCD) of the gateware in the tick of the first "
              "difference, if there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def diff(
    program: str, input_file: str | None, steps: int | None, devices: str, baud: int | None,
    replay: str, waveform: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run PROGRAM on two devices and name the first difference. Exit status 1 if there is one."""
    names = devices.split(",")
    if len(names) != 2 or not all(names):
        raise SpikefabError(f"devices '{devices}'", "--devices", "two are compared", "give A,B")
    for path in (replay, waveform):
        if path is not None:
            check_output(path)
    loaded = load_program(program)
    if input_file is None and steps is None:
        raise SpikefabError("nothing to run", "spikefab diff", hint="give --input or --steps")
    given = program_input(input_file, loaded, steps)
    if waveform is not None:
        build_virtual(loaded, traced=True)
    with (
        open_device(names[0], loaded, baud=baud) as a,
        open_device(names[1], loaded, baud=baud) as b,
        progress("comparing") as report,
    ):
        found = compare(a, b, given.spikes, given.steps, progress=report)
    if found.replay is not None:
        save_input(replay, found.replay)
    if found.first is not None and waveform is not None:
        # What differs before the run acts from its first tick on.
        write_waveform(loaded, found.replay, max(0, found.first.tick), waveform)
    if as_json:
        say_json(summarise(found, names, replay, waveform))
    elif found.first is None:
        say(f"equal: {found.samples} sample(s), {found.ticks} ticks: spikes, values, states, sums, "
            "pending events, weights and clock cycles")
    else:
        first = found.first
        say(f"different: {first}")
        say(f"{names[0]}: {first.a}")
        say(f"{names[1]}: {first.b}")
        say(f"{found.ticks} tick(s) until then; wrote {replay}: "
            f"--input {replay} --steps {found.steps} runs it again")
        if waveform is not None:
            say(f"wrote {waveform}: the gateware in tick {max(0, first.tick)}")
    if not found.equal:
        sys.exit(1)


def summarise(
    found: Comparison, names: list[str], replay: str, waveform: str | None
) -> dict[str, Any]:
    """What was found, JSON-ready."""
    summary: dict[str, Any] = {
        "equal": found.equal, "devices": names, "samples": found.samples, "ticks": found.ticks,
    }  # fmt: skip
    if found.first is not None:
        summary |= {**found.first.__dict__, "replay": replay, "steps": found.steps}
        summary["waveform"] = waveform
    return summary
