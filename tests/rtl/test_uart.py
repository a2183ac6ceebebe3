"""A byte that goes out on the wire comes in, and nothing else does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.rtl.uart import BITS, UartReceiver, UartTransmitter


def run(design: Any, testbench: Any, also: Any = None) -> None:
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    if also:
        simulator.add_testbench(also, background=True)
    simulator.run()


def received(levels: list[int], divisor: int) -> tuple[list[int], int]:
    """(bytes, broken ones) that a receiver makes of a wire with these levels, one per clock."""
    receiver, found, broken = UartReceiver(divisor), list[int](), 0

    async def drive(ctx: Any) -> None:
        nonlocal broken
        for level in [*levels, *[1] * (2 * BITS * divisor)]:
            ctx.set(receiver.wire, level)
            await ctx.tick()
            if ctx.get(receiver.valid):
                found.append(ctx.get(receiver.byte))
            broken += ctx.get(receiver.broken)

    run(receiver, drive)
    return found, broken


def on_wire(given: list[int], clocks: float, pauses: list[int]) -> list[int]:
    """The levels of a wire with these bytes, at `clocks` per bit."""
    levels: list[int] = [1] * 3
    for byte, pause in zip(given, pauses, strict=True):
        start = len(levels)
        bits = [0, *(byte >> n & 1 for n in range(8)), 1]
        levels += [bits[int(k / clocks)] for k in range(int(BITS * clocks))]
        assert len(levels) - start >= int(9 * clocks)
        levels += [1] * pause
    return levels


@pytest.mark.parametrize("divisor", [4, 5, 16, 417])
def test_what_is_sent_is_received_without_a_gap(divisor: int) -> None:
    m, sent = Module(), [0, 255, 1, 128, *np.random.default_rng(1).integers(0, 256, 6).tolist()]
    m.submodules.sender = sender = UartTransmitter(divisor)
    m.submodules.receiver = receiver = UartReceiver(divisor)
    m.d.comb += receiver.wire.eq(sender.wire)
    came: list[tuple[int, int]] = []

    async def send(ctx: Any) -> None:
        for byte in sent:
            ctx.set(sender.bytes.payload, byte)
            ctx.set(sender.bytes.valid, 1)
            await ctx.tick().until(sender.bytes.ready)
        ctx.set(sender.bytes.valid, 0)

    async def take(ctx: Any) -> None:
        for clock in range((len(sent) + 1) * BITS * divisor):
            await ctx.tick()
            assert not ctx.get(receiver.broken)
            if ctx.get(receiver.valid):
                came.append((clock, ctx.get(receiver.byte)))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(take)
    simulator.run()
    assert [byte for _, byte in came] == sent
    clocks = [clock for clock, _ in came]
    assert set(np.diff(clocks)) == {BITS * divisor}


@pytest.mark.parametrize("off", [-0.03, 0.0, 0.03])
def test_a_sender_may_be_off_by_three_percent(off: float) -> None:
    rng = np.random.default_rng(2)
    given = rng.integers(0, 256, 20).tolist()
    levels = on_wire(given, 16 * (1 + off), rng.integers(0, 40, 20).tolist())
    assert received(levels, 16) == (given, 0)


def test_a_byte_without_a_stop_bit_is_broken_and_the_next_is_whole() -> None:
    levels = on_wire([0x55], 8, [0])
    levels[-8:] = [0] * 8
    found, broken = received([*levels, *[1] * 20, *on_wire([0xA7], 8, [0])], 8)
    assert (found, broken) == ([0xA7], 1)


def test_a_wire_that_stays_low_is_broken_once() -> None:
    assert received([1] * 9 + [0] * 500, 8) == ([], 1)


@pytest.mark.filterwarnings("ignore:.*created but never used")
@pytest.mark.parametrize("part", [UartReceiver, UartTransmitter])
def test_fewer_than_four_clocks_per_bit_are_refused(part: Any) -> None:
    with pytest.raises(SpikefabError, match="3 clocks per bit"):
        part(3)
