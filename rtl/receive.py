"""The receiving end of the link on a board: bytes to frames, frames to words (see `link`)."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..compiler.ir.link import MAX_WORDS, OVERHEAD, SLOTS, WORD_BITS, Frame
from .crc import Crc32
from .states import States

SLOT_BYTES = 256
COUNT_BITS = 8  # of the counters of faults
LONGEST = OVERHEAD + 2 * MAX_WORDS  # bytes of a frame


class Receiver(wiring.Component):
    """Takes frames that are whole and in sequence, gives out the words of their bodies.

    byte, valid, blank, broken: from the UART; words: of `DATA` frames in their order; empty: no
    frame is waiting. credited: one clock, with the `credit` of a frame. hello, polled, resend: one
    clock, after which `nonce` holds what came with it, and in which `argument` does. expected:
    number of the next frame; taken: of the first whose slot is not free again; damaged, refused,
    broken_bytes: counters of faults, and `fault` for one clock with each frame that is let go.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "byte": In(8),
                "valid": In(1),
                "blank": In(1),
                "broken": In(1),
                "words": Out(stream.Signature(WORD_BITS)),
                "empty": Out(1),
                "credited": Out(1),
                "credit": Out(8),
                "hello": Out(1),
                "polled": Out(1),
                "resend": Out(1),
                "nonce": Out(8),
                "argument": Out(WORD_BITS),
                "session": Out(WORD_BITS),
                "expected": Out(8),
                "taken": Out(8),
                "fault": Out(1),
                "damaged": Out(COUNT_BITS),
                "refused": Out(COUNT_BITS),
                "broken_bytes": Out(COUNT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """COBS, CRC a bit per clock, the slots."""
        m = Module()
        m.submodules.slots = slots = Memory(shape=8, depth=SLOTS * SLOT_BYTES, init=[])
        m.submodules.crc = crc = Crc32()
        left, first, bad = Signal(8), Signal(init=1), Signal()
        emits, emitted, ends = Signal(), Signal(), Signal()
        is_code = left == 0
        m.d.comb += [
            ends.eq(self.valid & self.blank),
            emits.eq(self.valid & ~self.blank & ~(is_code & first)),
        ]
        m.d.sync += emitted.eq(emits)
        with m.If(self.valid & ~self.blank):
            m.d.sync += [left.eq(Mux(is_code, self.byte, left) - 1), first.eq(0)]

        # What was emitted goes to the CRC, to its slot and into the tail: after the last byte that
        # is the last word of the body, credit and CRC.
        count, bits, shift = Signal(range(LONGEST + 2)), Signal(range(9)), Signal(8)
        tail = Signal(WORD_BITS + 8 + 32, reset_less=True)
        kind, seq = Signal(8, reset_less=True), Signal(8, reset_less=True)
        full, filled = Signal(), Signal(range(SLOTS + 1))  # slots between expected and taken
        accepted, freed = Signal(), Signal()
        writer = slots.write_port()
        m.d.comb += [
            full.eq(filled == SLOTS),
            crc.start.eq(ends),
            crc.valid.eq(bits != 0),
            crc.bit.eq(shift[0]),
            writer.addr.eq(Cat((count - 2)[:8], self.expected[: (SLOTS - 1).bit_length()])),
            writer.data.eq(shift),
            writer.en.eq(emitted & ~full & ~bad),
        ]
        with m.If(emits):
            m.d.sync += [bits.eq(8), shift.eq(Mux(is_code, 0, self.byte))]
        with m.Elif(bits != 0):
            m.d.sync += [bits.eq(bits - 1), shift.eq(shift[1:])]
        with m.If(emitted):
            m.d.sync += [
                tail.eq(Cat(tail[8:], shift)), count.eq(count + 1),
                bad.eq(bad | (count == LONGEST)),
            ]  # fmt: skip
            with m.If(count == 0):
                m.d.sync += kind.eq(shift)
            with m.If(count == 1):
                m.d.sync += seq.eq(shift)
        with m.If(self.broken):
            m.d.sync += [bad.eq(1), self.broken_bytes.eq(self.broken_bytes + 1)]

        # A delimiter: judge the frame in the clock after it, begin another.
        long_enough, whole, good, judged = Signal(), Signal(), Signal(), Signal()
        open, next_one = Signal(), Signal()
        lengths = Array([Signal(7, name=f"length{n}") for n in range(SLOTS)])
        m.d.sync += [
            long_enough.eq((count >= OVERHEAD) & (count[0] == OVERHEAD % 2)),
            next_one.eq(open & (seq == self.expected) & ~full),
            whole.eq(ends & (left == 0) & ~bad & crc.whole & long_enough),
            judged.eq(ends & (~first | bad)),
            self.hello.eq(good & (kind == Frame.HELLO)),
        ]
        m.d.comb += [
            good.eq(judged & whole),
            self.credited.eq(good & (kind != Frame.HELLO)),
            self.argument.eq(tail[:WORD_BITS]),
            self.credit.eq(tail[WORD_BITS : WORD_BITS + 8]),
        ]
        m.d.sync += [self.polled.eq(0), self.resend.eq(0), self.fault.eq(0)]
        with m.If(ends):
            m.d.sync += [left.eq(0), first.eq(1), bad.eq(0)]
        with m.If(judged):
            m.d.sync += count.eq(0)
            with m.If(~whole):
                m.d.sync += [self.damaged.eq(self.damaged + 1), self.fault.eq(1)]
        with m.If(good), m.Switch(kind):
            with m.Case(Frame.DATA):
                with m.If(next_one):
                    m.d.comb += accepted.eq(1)
                    m.d.sync += [
                        self.expected.eq(self.expected + 1),
                        lengths[self.expected[: (SLOTS - 1).bit_length()]].eq(
                            (count - OVERHEAD)[1:8]
                        ),
                    ]
                with m.Else():
                    m.d.sync += [self.refused.eq(self.refused + 1), self.fault.eq(1)]
            with m.Case(Frame.POLL, Frame.RESEND):
                m.d.sync += [
                    self.nonce.eq(seq), self.polled.eq(1), self.resend.eq(kind == Frame.RESEND),
                ]  # fmt: skip

        # The words of the slot that is first: two bytes each, then held until they are taken.
        at = States(m, "REST", "LENGTH", "LOW", "HIGH")
        place, low, held = Signal(7), Signal(8, reset_less=True), Signal()
        length, last, waiting = Signal(7), Signal(), Signal()
        reader = slots.read_port()
        slot = self.taken[: (SLOTS - 1).bit_length()]
        m.d.comb += [
            self.empty.eq(~waiting & ~held),
            reader.addr.eq(Cat(~at["LENGTH"], place, slot)),
            self.words.valid.eq(held),
        ]
        m.d.sync += [
            waiting.eq(filled != 0),
            length.eq(lengths[slot]),
            last.eq(place + 1 == length),
        ]
        with m.If(held & self.words.ready):
            m.d.sync += held.eq(0)
        with m.If(at["REST"] & waiting):
            at.go("REST", "LENGTH")
        with m.If(at["LENGTH"]):
            with m.If(length == 0):
                m.d.comb += freed.eq(1)
                m.d.sync += [self.taken.eq(self.taken + 1), waiting.eq(0)]
                at.go("LENGTH", "REST")
            with m.Else():
                at.go("LENGTH", "LOW")
        with m.If(at["LOW"]):
            m.d.sync += low.eq(reader.data)
            at.go("LOW", "HIGH")
        with m.If(at["HIGH"] & ~held):
            m.d.sync += [self.words.payload.eq(Cat(low, reader.data)), held.eq(1)]
            with m.If(last):
                m.d.comb += freed.eq(1)
                m.d.sync += [self.taken.eq(self.taken + 1), place.eq(0), waiting.eq(0)]
                at.go("HIGH", "REST")
            with m.Else():
                m.d.sync += place.eq(place + 1)
                at.go("HIGH", "LENGTH")

        with m.If(accepted & ~freed):
            m.d.sync += filled.eq(filled + 1)
        with m.Elif(freed & ~accepted):
            m.d.sync += filled.eq(filled - 1)
        with m.If(self.hello):
            m.d.sync += filled.eq(0)
            m.d.sync += [
                open.eq(1), self.session.eq(tail[:WORD_BITS]), self.nonce.eq(seq),
                self.expected.eq(0), self.taken.eq(0), place.eq(0), held.eq(0), waiting.eq(0),
            ]  # fmt: skip
            at.begin()
        return m
