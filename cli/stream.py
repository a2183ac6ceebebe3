"""`spikefab stream`: live spikes to a device, and back."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from .. import SpikefabError, load_program
from ..boards.stream import Step, Stream
from ..compiler.ir.spikes import save_input
from .console import check_output, note, say_json
from .devices import open_device

SHOW_SECONDS = 1.0


@click.command()
@click.argument("program")
@click.option("--device", default="emulator", show_default=True, metavar="D",
              help="emulator, virtual, or a port.")
@click.option("--baud", type=click.IntRange(1), help="Of a port; default: the board's.")
@click.option("--udp", type=click.IntRange(1, 65535), metavar="PORT",
              help="Take AER words from this UDP port of this machine, not lines from stdin.")
@click.option("--step-ms", type=click.FloatRange(0, min_open=True), default=10.0,
              show_default=True, help="Length of a step of --udp, in ms.")
@click.option("--steps", type=click.IntRange(1), help="End after so many.")
@click.option("--log", metavar="FILE", help="Keep the input; `run --input FILE` repeats it.")
@click.option("--json", "as_json", is_flag=True,
              help="Print the figures as JSON, and the spikes on stderr.")
def stream(
    program: str, device: str, baud: int | None, udp: int | None, step_ms: float,
    steps: int | None, log: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Give PROGRAM live spikes and print what comes out, until the input ends or Ctrl-C.

    Lines of stdin are `STEP [INPUT] INDEX [PAYLOAD]`, in order; `STEP` alone completes those before
    it. UDP packets hold 32-bit little-endian words: input line in the lower 24 bits, number of
    events in the upper 8 (0 is one). Printed are lines `STEP POPULATION INDEX COUNT`.
    """
    if log is not None:
        check_output(log)
    loaded = load_program(program)
    out = sys.stderr if as_json else sys.stdout

    def tell(step: int, population: str, index: int, count: int) -> None:
        print(step, population, index, count, file=out, flush=True)

    with open_device(device, loaded, baud=baud, counts=False) as opened:
        made = Stream(opened, loaded, tell)
        with _port(udp) as port:
            source = made.lines(sys.stdin) if port is None else made.packets(port, step_ms / 1e3)
            began = time.monotonic()
            made.run(_shown(_until_interrupted(itertools.islice(source, steps)), made))
            seconds = time.monotonic() - began
    if log is not None:
        save_input(log, made.input())
    figures = {"device": device, **summarise(made, seconds), "log": log}
    if as_json:
        say_json(figures)
    else:
        note(", ".join(f"{name} {value}" for name, value in figures.items() if value is not None))
    if log is not None and not as_json:
        note(f"wrote {log}; --input {log} --steps {made.steps} runs it again")


@contextlib.contextmanager
def _port(number: int | None) -> Iterator[socket.socket | None]:
    if number is None:
        yield None
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port:
        try:
            port.bind(("127.0.0.1", number))
        except OSError as fault:
            raise SpikefabError(
                f"UDP port {number}", "--udp", fault.strerror or str(fault), "use another"
            ) from None
        yield port


def _until_interrupted(source: Iterator[Step]) -> Iterator[Step]:
    """The steps until Ctrl-C, which does not break into what the device does meanwhile."""
    waiting = asked = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        if waiting:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        while not asked:
            waiting = True
            step = next(source, None)
            waiting = False
            if step is None:
                return
            yield step
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGINT, before)


def _shown(source: Iterator[Step], made: Stream) -> Iterator[Step]:
    """The steps, and on a terminal once a second how it goes."""
    shown = time.monotonic()
    for step in source:
        yield step
        if sys.stderr.isatty() and time.monotonic() - shown > SHOW_SECONDS:
            last = made.latency[-1000:]
            note(f"step {made.steps}: {made.events} events in, {made.spikes} spikes out, "
                 f"{1e3 * statistics.median(last):.2f} ms per step")
            shown = time.monotonic()


def summarise(made: Stream, seconds: float) -> dict[str, Any]:
    """The figures of a stream, JSON-ready; latencies in ms."""
    figures: dict[str, Any] = {
        "steps": made.steps, "events": made.events, "spikes": made.spikes,
        "rejected": made.rejected, "summed": made.summed, "late": made.late,
        "events_per_second": round(made.events / seconds, 1) if seconds else 0.0,
    }  # fmt: skip
    if made.latency:
        figures |= {
            "latency_ms_median": round(1e3 * statistics.median(made.latency), 3),
            "latency_ms_largest": round(1e3 * max(made.latency), 3),
        }
    return figures
