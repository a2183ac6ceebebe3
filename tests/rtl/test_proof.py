"""The prover itself: what it must refute, what it must prove, and what it may not miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Signal
from amaranth.hdl._ast import AnyConst, AnySeq
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from proof import Cells, Empty, NotInductive, Refuted, check, prove


class Small(wiring.Component):
    """What `build` makes of two inputs and an output."""

    def __init__(self, build: Callable[[Module, Any], None], twins: tuple[str, ...] = ()) -> None:
        self.build, self.twins = build, twins
        super().__init__({"a": In(1), "b": In(1), "rest": Out(1)})

    def elaborate(self, platform: Cells) -> Module:
        m = Module()
        self.platform = platform
        self.build(m, self)
        return m


def counter(m: Module, limit: int) -> Signal:
    """Counts to the limit and starts anew."""
    count = Signal(4, name="count")
    m.d.sync += count.eq(count + 1)
    with m.If(count == limit):
        m.d.sync += count.eq(0)
    return count


def test_the_shortest_run_to_a_false_claim_is_found() -> None:
    def build(m: Module, _: Any) -> None:
        m.d.comb += [Assert(counter(m, 9) != 3, "never 3"), Assert(1, "true")]

    check(Small(build), 3)
    with pytest.raises(Refuted, match=r"^in clock 4: never 3\n"):
        check(Small(build), 9)


def test_assumptions_hold_up_to_the_claim_and_not_beyond() -> None:
    def build(m: Module, ports: Any) -> None:
        count = counter(m, 9)
        m.d.comb += [Assume(count != 5, "a dead end"), Assert(count != 3, "never 3")]

    with pytest.raises(Refuted, match="clock 4"):
        check(Small(build), 8)


@pytest.mark.parametrize("reset_less", [False, True])
def test_what_is_not_reset_holds_anything(reset_less: bool) -> None:
    def build(m: Module, ports: Any) -> None:
        left = Signal(4, reset_less=reset_less)
        with m.If(ports.a):
            m.d.sync += left.eq(0)
        m.d.comb += Assert(left != 9, "not 9")

    if reset_less:
        with pytest.raises(Refuted, match="clock 1: not 9"):
            check(Small(build), 1)
    else:
        check(Small(build), 5)


def test_induction_passes_clocks_in_which_nothing_happens() -> None:
    """A state that is not reached, and waits for as long as it likes before it errs."""

    def build(m: Module, ports: Any) -> None:
        count, wrong = Signal(3), Signal()
        with m.If(ports.a & (count < 4)):
            m.d.sync += count.eq(count + 1)
        with m.Elif(ports.a & (count > 4)):
            m.d.sync += wrong.eq(1)
        m.d.comb += Assert(~wrong, "all is well")

    prove(Small(build), 2)


def test_a_claim_that_is_not_inductive_is_not_proven() -> None:
    def build(m: Module, ports: Any) -> None:
        m.d.comb += Assert(counter(m, 5) < 7, "small")

    with pytest.raises(NotInductive):
        prove(Small(build), 1)
    prove(Small(build), 2)


def test_a_proof_of_nothing_is_refused() -> None:
    def build(m: Module, ports: Any) -> None:
        m.d.comb += [Assume(ports.a, "a"), Cover(~ports.a, "not a")]

    with pytest.raises(Empty, match="within 3 clocks: not a"):
        check(Small(build), 3)


def test_unknowns_are_apart_and_constants_stay() -> None:
    def build(claim: Callable[..., Any]) -> Callable[[Module, Any], None]:
        def made(m: Module, _: Any) -> None:
            unknown = [AnyConst(4), AnyConst(4), AnySeq(4), AnySeq(4)]
            before = [Signal(4, name=f"before{n}") for n in range(4)]
            first = Signal(init=1)
            m.d.sync += [first.eq(0), *(b.eq(u) for b, u in zip(before, unknown, strict=True))]
            m.d.comb += Assert(claim(first, unknown, before), "claim")

        return made

    check(Small(build(lambda first, now, before: first | (now[0] == before[0]))), 4)
    for a, b in ((0, 1), (2, 3), (0, 2)):
        with pytest.raises(Refuted):
            check(Small(build(lambda _, now, before, a=a, b=b: now[a] == now[b])), 1)
    with pytest.raises(Refuted):
        check(Small(build(lambda first, now, before: first | (now[2] == before[2]))), 4)


def remembered(m: Module, ports: Any, collides: bool) -> None:
    """A memory that is written in the clock of the read, or in the one before."""
    memory = Memory(shape=4, depth=2, init=[])
    read, write = memory.read_port(), memory.write_port()
    m.submodules.memory, words = ports.platform.opened(memory)
    clock = counter(m, 15)
    m.d.comb += [
        write.addr.eq(ports.a), write.data.eq(9), write.en.eq(clock == 1), read.addr.eq(ports.b),
        Assume((ports.a == 0) & (ports.b == 0), "one word"),
        Assert((clock != 3 - collides) | (read.data == 9), "read 9"),
        Assert((clock < 2) | (words[""][0] == 9), "holds 9"),
    ]  # fmt: skip


def test_a_read_that_meets_a_write_gives_anything() -> None:
    check(Small(lambda m, ports: remembered(m, ports, collides=False)), 6)
    with pytest.raises(Refuted, match="read 9"):
        check(Small(lambda m, ports: remembered(m, ports, collides=True)), 6)


class Part(Elaboratable):
    """Sets a register that stays, if it is told so."""

    def __init__(self, stays: bool) -> None:
        self.stays, self.on, self.out = stays, Signal(), Signal()

    def elaborate(self, _: Any) -> Module:
        m = Module()
        follows, kept = Signal(), Signal()
        m.d.sync += [follows.eq(self.on), kept.eq((kept & self.stays) | self.on)]
        m.d.comb += self.out.eq(follows | kept)
        return m


@pytest.mark.parametrize("stays", [False, True])
def test_what_a_run_leaves_behind_is_found(stays: bool) -> None:
    def build(m: Module, ports: Any) -> None:
        m.submodules.part = part = Part(stays)
        clock, told = counter(m, 15), Signal()
        m.d.sync += told.eq(told | part.on)
        m.d.comb += [
            part.on.eq(ports.a & (clock < 3)),
            ports.rest.eq(clock > 4),
            Assert(~part.out | told, "only if it was told"),
        ]

    if stays:
        with pytest.raises(Refuted, match=r"differs part\.kept"):
            check(Small(build), 20, rest="rest")
        with pytest.raises(Refuted, match="clock 1: only if it was told"):
            check(Small(build), 20, rest="rest", free=r"part\.kept")
    else:
        check(Small(build), 20, rest="rest")


def test_twins_begin_alike() -> None:
    def build(m: Module, ports: Any) -> None:
        parts = []
        for name in ("one", "two"):
            part, held = Module(), Signal(4, reset_less=True, name="held")
            part.d.sync += held.eq(held + 1)
            m.submodules[name] = part
            parts.append(held)
        m.d.comb += Assert(parts[0] == parts[1], "alike")

    check(Small(build, ("one", "two")), 4)
    with pytest.raises(Refuted):
        check(Small(build), 4)
