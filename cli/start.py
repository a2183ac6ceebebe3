"""Where the `spikefab` command begins: an interrupt while its parts are loaded is one line too."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Load the command, then run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else interrupts are to be ignored
        signal.signal(signal.SIGINT, _leave)
    from .main import main as command

    try:
        signal.signal(signal.SIGINT, before)
        command()
    except KeyboardInterrupt:
        _leave()


def _leave(*_: object) -> None:
    """At once: nothing is begun yet, or all is undone."""
    os.write(2, b"spikefab: error: interrupted\n")
    os._exit(130)
