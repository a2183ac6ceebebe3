"""Runs inside the simulator: the wires of a board behind a pseudo-terminal, for a host process."""

from __future__ import annotations

import os
import subprocess
import sys
import tty
from pathlib import Path

import cocotb
from cocotb.triggers import FallingEdge, Timer

DIVISOR = int(os.environ.get("DIVISOR", "16"))
CLOCK = 2  # ns
BIT = DIVISOR * CLOCK


@cocotb.test()
async def serve(dut) -> None:  # type: ignore[no-untyped-def]
    """Carry bytes to and from the host until it ends."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    dut.rx.value = 1
    await Timer(2000 * CLOCK, unit="ns")
    cocotb.start_soon(_from_board(dut, master))
    with Path("host.log").open("w") as log:
        host = subprocess.Popen(
            [sys.executable, os.environ["HOST"], os.ttyname(slave), os.environ["PROGRAM"]],
            stdout=log, stderr=log,
        )  # fmt: skip
        while host.poll() is None:
            try:
                given = os.read(master, 256)
            except BlockingIOError:
                await Timer(4 * BIT, unit="ns")
                continue
            for byte in given:
                for level in [0, *(byte >> n & 1 for n in range(8)), 1]:
                    dut.rx.value = level
                    await Timer(BIT, unit="ns")
    Path("status.txt").write_text(str(host.returncode))


async def _from_board(dut, master: int) -> None:  # type: ignore[no-untyped-def]
    while True:
        await FallingEdge(dut.tx)
        await Timer(BIT + BIT // 2, unit="ns")
        byte = 0
        for n in range(8):
            byte |= int(dut.tx.value) << n
            await Timer(BIT, unit="ns")
        os.write(master, bytes([byte]))
