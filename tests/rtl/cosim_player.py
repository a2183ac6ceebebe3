"""Runs inside the simulator: has the testbench play the jobs of `jobs.json` one after another."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer, with_timeout

CLOCK = 10  # ns


@cocotb.test()
async def play(dut) -> None:  # type: ignore[no-untyped-def]
    """Script n becomes log n; a core that hangs leaves what it has reported."""
    dut.go.value = 0
    Clock(dut.clk, CLOCK, unit="ns").start()
    await Timer(10 * CLOCK, unit="ns")
    for n, job in enumerate(json.loads(Path("jobs.json").read_text())):
        Path(f"{n}.hex").replace("script.hex")
        dut.pressure.value = job["pressure"]
        dut.go.value = 1
        try:
            await with_timeout(RisingEdge(dut.done), CLOCK * job["clocks"], "ns")
        finally:
            Path("log.txt").replace(f"{n}.log")
        dut.go.value = 0
        await Timer(4 * CLOCK, unit="ns")
