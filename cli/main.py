"""The spikefab command: one error is one line, and exit status 2."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import click

from .. import SpikefabError, __version__
from .bench import bench
from .boards import boards
from .build import build_command
from .compile import compile_command
from .demo import demo
from .diff import diff
from .flash import flash
from .inspect import inspect
from .rtl import rtl
from .run import run
from .stream import stream


class _Commands(click.Group):
    """A group whose interruption is one line; click would add an empty one."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _fail("interrupted", 130)


@click.group(
    cls=_Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="spikefab")
def spikefab() -> None:
    """From a trained spiking network to a bit-exact fixed-point core."""


for command in (
    demo, inspect, compile_command, run, diff, stream, rtl, build_command, flash, boards, bench,
):  # fmt: skip
    spikefab.add_command(command)


def main() -> None:
    """Run the command line; never shows a traceback for what the user gave."""
    sys.unraisablehook = _interrupt_again
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


def _interrupt_again(dropped: sys.UnraisableHookArgs) -> None:
    """Python drops an interrupt that lands in a callback of the LLVM library: it comes again."""
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        main_thread = threading.main_thread().ident
        again = threading.Timer(0.1, signal.pthread_kill, (main_thread, signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(dropped)


def _fail(text: str, status: int = 2) -> None:
    print(f"spikefab: error: {text}", file=sys.stderr)
    sys.exit(status)
