"""An interrupt is one line and status 130, whenever it comes."""

from __future__ import annotations

import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

COMMAND = Path(sysconfig.get_path("scripts")) / "spikefab"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc")
@pytest.mark.parametrize("later", [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6])
def test_an_interrupt_while_the_command_is_loaded_is_one_line(folder: Path, later: float) -> None:
    command = [COMMAND, "run", "net.spikefab", "--steps", "20000000", "-o", "out.npz"]
    before = set(folder.iterdir())
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as going:
        maps = Path(f"/proc/{going.pid}/maps")
        until = time.monotonic() + 30
        while "numpy" not in maps.read_text() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(later)
        going.send_signal(signal.SIGINT)
        _, said = going.communicate(timeout=60)
    assert (going.returncode, said) == (130, "spikefab: error: interrupted\n")
    assert set(folder.iterdir()) == before
