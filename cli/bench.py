"""`spikefab bench`: the benchmarks, side by side with installed peers."""

from __future__ import annotations

import click

from .. import SpikefabError
from ..bench.harness import BenchError, measure
from ..bench.table import render
from .console import note, say, say_json


@click.command()
@click.argument("workloads", nargs=-1)
@click.option("--repeat", type=click.IntRange(1), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one object per figure as JSON.")
def bench(workloads: tuple[str, ...], repeat: int, as_json: bool) -> None:
    """Measure WORKLOADS (default: all), medians of interleaved repetitions."""
    try:
        outcome = measure(workloads, repeat)
    except BenchError as fault:
        raise SpikefabError(str(fault)) from None
    for line in outcome.errors:
        note(line)
    if as_json:
        say_json([result.to_dict() for result in outcome.results])
    else:
        say(render(outcome.results))
