"""`spikefab run`: run a program on a device."""

from __future__ import annotations

from typing import Any

import click

from .. import Program, Recording, SpikefabError, first_limit, load_program
from ..compiler.frontend.nir_data import SUFFIXES, save_nir_data, seconds_per_step
from .console import check_output, progress, say, say_json
from .devices import open_device
from .inputs import program_input


@click.command()
@click.argument("program")
@click.option("--input", "input_file", help="Spikes and signals (.npz), or spikes (.csv, .h5).")
@click.option("--steps", type=click.IntRange(0), help="Default: to the last input.")
@click.option("--device", default="emulator", show_default=True, metavar="D",
              help="emulator, virtual, or a port.")
@click.option("--baud", type=click.IntRange(1), help="Of a port; default: the board's.")
@click.option("--record", multiple=True, metavar="NAME", help="POPULATION or POPULATION.VARIABLE.")
@click.option("-o", "--output", help="Where to write spikes, values, records and cycles (.npz), or "
              "all but cycles as NIR data (.h5).")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--cycles/--no-cycles", default=True, show_default=True, help="Count clock cycles.")
@click.option("--checkpoint", help="Run without draining, then write the chip's state here.")
@click.option("--resume", help="Go on from a checkpoint.")
@click.option("--limits", is_flag=True, help="Tell which weight or potential is first at an end of "
              "its range, by a second run on the emulator.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def run(
    program: str,
    input_file: str | None,
    steps: int | None,
    device: str,
    baud: int | None,
    record: tuple[str, ...],
    output: str | None,
    threads: int,
    cycles: bool,
    checkpoint: str | None,
    resume: str | None,
    limits: bool,
    as_json: bool,
) -> None:
    """Run PROGRAM on a device and write what comes out."""
    if device != "emulator" and (checkpoint or resume):
        raise SpikefabError(
            "a checkpoint", f"device '{device}'", "only the emulator writes and reads them"
        )
    for path in (output, checkpoint):
        if path is not None:
            check_output(path)
    loaded = load_program(program)
    as_nir = output is not None and output.endswith(SUFFIXES)
    if as_nir:
        seconds_per_step(loaded)
    if input_file is None and steps is None:
        raise SpikefabError("nothing to run", "spikefab run", hint="give --input or --steps")
    given = program_input(input_file, loaded, steps)
    batch = any(t.sample is not None for t in given.spikes.values())
    batch |= any(values.ndim == 2 for values in given.signals.values())
    if (checkpoint or resume) and batch:
        raise SpikefabError("a batch with a checkpoint", "spikefab run", "samples restart the chip")
    if limits and (resume or batch):
        raise SpikefabError(
            "--limits", "spikefab run", "it looks at one sample, from the start of the program"
        )
    with open_device(
        device, loaded, threads=threads, counts=cycles, baud=baud
    ) as opened, progress("running") as report:
        if resume is not None:
            opened.resume(resume)
        recording = opened.run(
            given.spikes,
            given.steps,
            signals=given.signals,
            samples=given.samples,
            record=record,
            drain=checkpoint is None,
            progress=report,
        )
        if checkpoint is not None:
            opened.checkpoint(checkpoint)
    if output is not None and as_nir:
        save_nir_data(output, recording, loaded)
    elif output is not None:
        recording.save(output)
    summary = {"device": device, **summarise(loaded, recording)}
    if limits:
        with progress("looking for limits") as report:
            limit = first_limit(
                loaded, given.spikes, given.steps, signals=given.signals, progress=report
            )
        summary["first_limit"] = None if limit is None else str(limit)
    if as_json:
        say_json({**summary, "output": output})
        return
    for name, value in summary.items():
        say(f"{name}: {value}")
    if output is not None:
        say(f"wrote {output}")


def summarise(program: Program, recording: Recording) -> dict[str, Any]:
    """The figures of a run; cycles per tick are of one core each, no total is claimed."""
    summary: dict[str, Any] = {
        "samples": recording.samples,
        "steps": recording.steps,
        "ticks": recording.ticks,
        "cores": program.cores,
        "output_spikes": {name: len(train) for name, train in recording.spikes.items()},
        **recording.counters,
    }
    if recording.cycles is not None and recording.cycles.size:
        per_tick = recording.cycles.sum(axis=3)
        summary["cycles_per_tick"] = {
            "mean": float(per_tick.mean(axis=(0, 1)).max()),
            "largest": int(per_tick.max()),
        }
        if program.cores == 1:
            summary["cycles"] = int(per_tick.sum(dtype="int64"))
    return summary
