"""`spikefab build`: a board's bitstream."""

from __future__ import annotations

from pathlib import Path

import click

from .. import SpikefabError, load_program
from ..boards.build import (
    SEEDS,
    build,
    file_names,
    map_of_models,
    map_of_program,
    parse_model,
)
from ..boards.catalogue import find_board
from .console import note, say, say_json
from .rtl import check_folder, write_folder

DEFAULT = "lif"


@click.command("build")
@click.argument("program", required=False)
@click.option(
    "--board", "name", required=True, metavar="NAME|FILE.py",
    help="See `spikefab boards`; or a file of your own that has a BOARD.",
)  # fmt: skip
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write.")
@click.option(
    "--model", "models", multiple=True, metavar="NAME[:OPTION=VALUE,...]",
    help="A neuron model that the board is to carry, without a program; again for more. "
    f"Default: {DEFAULT}.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(1), default=SEEDS, show_default=True,
    help="Placements to try, until one meets the board's clock.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def build_command(
    program: str | None, name: str, output: str, models: tuple[str, ...], seeds: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Build a board's bitstream, for the core that carries PROGRAM or for some models.

    The bitstream has no program inside, as large memories come up undefined: the host loads one
    over the wire, and any other that is compiled for the chip.json that is written beside it.
    """
    board = find_board(name)
    if not output:
        raise SpikefabError("no folder", "-o", hint="name the folder to write, '.' for this one")
    if program is not None and models:
        raise SpikefabError(
            "--model beside a program", "spikefab build", "a program brings its models",
            "leave one out",
        )  # fmt: skip
    folder = Path(output)
    check_folder(folder, file_names(board))
    if program is not None:
        map = map_of_program(load_program(program))
    else:
        chosen = models or (DEFAULT,)
        map = map_of_models(board.chip, [parse_model(text, board.chip) for text in chosen])
    built = build(board, map, note, seeds)
    write_folder(folder, built.files)
    report = built.report
    if as_json:
        made = report["bitstream"]
        say_json({
            **report,
            "bitstream": None if made is None else str(folder / made),
            "files": sorted(built.files),
            "output": output,
        })  # fmt: skip
        return
    say(f"{board.title}: {report['neurons']} neurons, {report['synapses']} synapses, "
        f"{', '.join((*report['models'], *report['rules']))}")  # fmt: skip
    for kind in ("logic", "ff", "memory", "large_memory", "dsp"):
        if kind in report:
            say(f"{kind}: {report[kind]} of {report[f'{kind}_available']}")
    if report["bitstream"] is None:
        say(f"no bitstream: {report['why']}")
    else:
        say(f"{report['fmax_mhz']} MHz by static timing, {report['clock_mhz']:g} MHz needed")
    say(f"wrote {len(built.files) + 1} files to {output}; README.md there says how to go on")
