"""The spikefab command: one error is one line, and exit status 2."""

from __future__ import annotations

import os
import sys

import click

from .. import SpikefabError, __version__
from .bench import bench
from .compile import compile_command
from .demo import demo
from .inspect import inspect
from .run import run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spikefab")
def spikefab() -> None:
    """From a trained spiking network to a bit-exact fixed-point core."""


for command in (demo, inspect, compile_command, run, bench):
    spikefab.add_command(command)


def main() -> None:
    """Run the command line; never shows a traceback for what the user gave."""
    try:
        spikefab(standalone_mode=False)
    except SpikefabError as fault:
        _fail(str(fault))
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except click.UsageError as fault:
        where = f" in {fault.ctx.command_path}" if fault.ctx else ""
        text = " ".join(fault.format_message().split()).rstrip(".")
        _fail(f"{text}{where}; see {fault.ctx.command_path if fault.ctx else 'spikefab'} --help")
    except click.ClickException as fault:
        _fail(" ".join(fault.format_message().split()))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError:
        _fail("not enough memory for this network")
    except OSError as fault:
        _fail(f"{fault.strerror or fault} in {fault.filename or 'the system'}")


def _fail(text: str, status: int = 2) -> None:
    print(f"spikefab: error: {text}", file=sys.stderr)
    sys.exit(status)
