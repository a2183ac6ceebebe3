"""A host's session with a slow board: hello, load, run, read back; all equal to the emulator.

`python session_host.py PORT PROGRAM`
"""

from __future__ import annotations

import sys

import numpy as np
from spikefab import Emulator, SpikeTrain, load_program
from spikefab.boards import link
from spikefab.boards.open import open_board

STEPS = 6


def main(port: str, path: str) -> None:
    """The session; fails where anything differs."""
    link.FIRST_SECONDS, link.LEAST_SECONDS = 200.0, 200.0
    link.LOST_SECONDS, link.IDLE_SECONDS = 1500.0, 3000.0
    program = load_program(path)
    rng = np.random.default_rng(3)
    spikes = SpikeTrain.from_dense(rng.random((STEPS, program.input_lines)) < 0.5)
    emulator = Emulator(program)
    names = [f"{p.name}.v" for p in program.populations]
    with open_board(port, program) as board:
        print("loaded", board.link.counters, flush=True)
        for _ in range(2):
            got, want = board.run(spikes, STEPS, drain=False), emulator.run(
                spikes, STEPS, drain=False
            )
            assert got.cycles is not None
            assert (got.cycles == want.cycles).all()
            assert all(want.spikes[name].equals(got.spikes[name]) for name in want.spikes)
            assert sum(len(train) for train in want.spikes.values()) > 5
            print("run", board.link.counters, flush=True)
        for name in names:
            assert (board.read(name) == emulator.read(name)).all()
        assert (board.read("weights") == emulator.read("weights")).all()
        assert board.pending().keys() <= emulator.pending().keys()
        print("read", board.link.counters, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
