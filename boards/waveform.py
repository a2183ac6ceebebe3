"""The waveform of one tick of a run: the gateware that carries the program, played up to there."""

from __future__ import annotations

from pathlib import Path

from ..compiler.ir.device import Inputs
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.file import whole_file
from ..compiler.ir.memory_map import core_map
from ..compiler.ir.program import Program
from .device import BoardDevice
from .link import Link, open_port
from .open import VIRTUAL_BAUD, VIRTUAL_DIVISOR, virtual_executable
from .virtual import VirtualBoard


def write_waveform(program: Program, spikes: Inputs, tick: int, path: str | Path) -> int:
    """Write the waveform (VCD) of a tick of a run from the start; returns its clocks.

    spikes: input of one sample, as `Device.run` takes it, its steps before the tick's end. The run
    is that of a virtual board of its own, so that the file shows what the gateware does with this
    program, whatever another device did. In it a clock takes 10 ns; it begins with the clock in
    which the core is started and ends with the one in which it rests again. Raises SpikefabError
    for a tick before the start, where the virtual board cannot be built, as for a program of
    several cores, and where the file cannot be written.
    """
    if tick < 0:
        raise SpikefabError(f"tick {tick}", "write_waveform", hint="give 0 or more")
    executable = virtual_executable(core_map(program), traced=True)
    with (
        VirtualBoard(executable, VIRTUAL_DIVISOR) as board,
        open_port(board.port, VIRTUAL_BAUD) as port,
        whole_file(path) as stream,
    ):
        link = Link(port, board.port)
        link.open()
        device = BoardDevice(link, program)
        board.trace(tick, stream.name)
        device.run(spikes, tick // program.period + 1, drain=False)
        return board.traced()
