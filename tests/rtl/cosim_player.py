"""Runs inside the simulator: plays the jobs of `jobs.json` one after another."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
import cosim
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, SimTimeoutError, Timer, with_timeout
from expected import Expectation

LONGEST = 5_000  # clocks of the longest tick, or of loading a program


@cocotb.test()
async def play(dut) -> None:  # type: ignore[no-untyped-def]
    """Each program: write its script, let the testbench play it, compare the log."""
    jobs = json.loads(Path("jobs.json").read_text())
    chip, ticks = jobs["chip"], jobs["ticks"]
    _, _, map = cosim.core(chip)
    dut.go.value = 0
    Clock(dut.clk, 10, unit="ns").start()
    await Timer(100, unit="ns")
    done = []
    for seed in jobs["seeds"]:
        program = cosim.program(chip, seed)
        events = cosim.events(chip, seed, program, ticks)
        expected = Expectation(map, program)
        Path("script.hex").write_text("\n".join(expected.script(events, dirty=True)) + "\n")
        dut.pressure.value = cosim.pressure(chip, seed)
        dut.go.value = 1
        try:
            await with_timeout(RisingEdge(dut.done), 20 * LONGEST * (ticks + 1), "ns")
        except SimTimeoutError:
            found = f"chip {chip}, program {seed}: the core hangs in phase {dut.phase.value}, "
            found += f"operation {dut.op.value}"
            Path("difference.txt").write_text(found)
            raise
        dut.go.value = 0
        await Timer(40, unit="ns")
        found = cosim.difference(chip, seed, ticks, expected.log(events), Path("log.txt"))
        if found:
            Path("difference.txt").write_text(found)
            raise AssertionError(found)
        done.append(seed)
        Path("done.json").write_text(json.dumps(done))
