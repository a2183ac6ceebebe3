"""The sending end of the link on a board: words to frames, kept until the host has them."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..compiler.ir.link import MAX_WORDS, SLOTS, WORD_BITS, Frame, Status
from .receive import SLOT_BYTES

CRC_BYTES = 4


class Transmitter(wiring.Component):
    """Frames of the words that it is given, and of a board's status.

    words: what to send; flush: none will come soon, so that a frame may end; taken: number of the
    first frame of the host's whose slot is not free again, which makes the credit. credited,
    credit, polled, resend, limit: as `Receiver` has them; asked: one clock, the status is wanted;
    status: its words. bytes: to the UART; idle: nothing is left to do. Frames are encoded as they
    are written: a COBS code is put in its place when the zero that ends its block is there.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "words": In(stream.Signature(WORD_BITS)),
                "flush": In(1),
                "taken": In(8),
                "credited": In(1),
                "credit": In(8),
                "polled": In(1),
                "resend": In(1),
                "limit": In(WORD_BITS),
                "asked": In(1),
                "status": In(8 * len(Status.BYTES)),
                "bytes": Out(stream.Signature(8)),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A writer, a sender, and the slots between them."""
        m = Module()
        m.submodules.slots = slots = Memory(shape=8, depth=SLOTS * SLOT_BYTES, init=[])
        within = (SLOTS - 1).bit_length()
        near = SLOTS.bit_length()  # bits that tell frames apart that are there together
        written = Signal(8)  # frames closed
        sent, kept = Signal(near), Signal(near)  # frames sent, not free
        sending, rewind = Signal(), Signal()
        told = Signal(near)  # what the host knows of `taken`
        owed, limit = Signal(), Signal(7, init=MAX_WORDS)

        back, held = Signal(near), Signal(near)
        m.d.comb += [back.eq(self.credit - SLOTS), held.eq(written - kept)]
        with m.If(self.credited & ((back - kept)[:near] <= held)):
            m.d.sync += kept.eq(back)
        with m.If(self.polled & (self.limit != 0) & (self.limit <= MAX_WORDS)):
            m.d.sync += limit.eq(self.limit)

        # The writer.
        writer = slots.write_port()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=1).create()
        at, code_at = Signal(8), Signal(8)
        bits, shift = Signal(range(9)), Signal(8)
        push, byte, hashed = Signal(), Signal(8), Signal()
        count, high = Signal(7), Signal()
        line_free, may_open, behind = Signal(), Signal(), Signal(near)
        m.d.comb += [
            crc.valid.eq(bits != 0),
            crc.data.eq(shift[0]),
            line_free.eq(~sending & (sent == written[:near])),
            behind.eq(self.taken - told),
            may_open.eq(
                (held < SLOTS)
                & ~(sending & (sent[:within] == written[:within]))
            ),
            writer.addr.eq(Cat(Mux(push & (byte != 0), at, code_at), written[:within])),
            writer.data.eq(Mux(byte == 0, at - code_at, byte)),
            writer.en.eq(push),
        ]
        with m.If(push):
            m.d.sync += at.eq(at + 1)
            with m.If(byte == 0):
                m.d.sync += code_at.eq(at)
            with m.If(hashed):
                m.d.sync += [bits.eq(8), shift.eq(byte)]
        with m.If(bits != 0):
            m.d.sync += [bits.eq(bits - 1), shift.eq(shift[1:])]
        free = bits == 0
        of_status = Signal()
        status = Array([self.status[8 * n :][:8] for n in range(len(Status.BYTES))])
        with m.FSM():
            with m.State("REST"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [at.eq(1), code_at.eq(0), count.eq(0), high.eq(0), of_status.eq(owed)]
                with m.If(
                    may_open
                    & (owed | self.words.valid | ((behind != 0) & (line_free | (behind > 1))))
                ):
                    m.next = "TYPE"
            with m.State("TYPE"):
                m.d.comb += [
                    push.eq(1), hashed.eq(1),
                    byte.eq(Mux(of_status, Frame.STATUS, Frame.DATA)),
                ]  # fmt: skip
                m.next = "SEQ"
            with m.State("SEQ"):
                m.d.comb += [push.eq(free), hashed.eq(1), byte.eq(written)]
                with m.If(free):
                    m.next = "BODY"
            with m.State("BODY"):
                word = self.words.payload
                m.d.comb += [byte.eq(Mux(high, word[8:], word[:8])), hashed.eq(1)]
                with m.If(of_status):
                    m.d.comb += [
                        byte.eq(status[Cat(high, count[:2])]),
                        push.eq(free & (count != Status.WORDS)),
                    ]
                    with m.If(count == Status.WORDS):
                        m.d.sync += owed.eq(0)
                        m.next = "CREDIT"
                with m.Elif(
                    (count >= limit)
                    | (~self.words.valid & (owed | (behind > 1) | (self.flush & line_free)))
                ):
                    m.next = "CREDIT"
                with m.Else():
                    m.d.comb += [push.eq(free & self.words.valid), self.words.ready.eq(push & high)]
                with m.If(push):
                    m.d.sync += [high.eq(~high), count.eq(count + high)]
            with m.State("CREDIT"):
                m.d.comb += [push.eq(free), hashed.eq(1), byte.eq(self.taken + SLOTS)]
                with m.If(free):
                    m.d.sync += [told.eq(self.taken), count.eq(0)]
                    m.next = "CRC"
            with m.State("CRC"):
                parts = Array([crc.crc[8 * n : 8 * n + 8] for n in range(CRC_BYTES)])
                m.d.comb += [push.eq(free), byte.eq(parts[count[:2]])]
                with m.If(free):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == CRC_BYTES - 1):
                        m.next = "CODE"
            with m.State("CODE"):  # as if a zero followed: the code of the last block
                m.d.comb += push.eq(1)
                m.next = "DELIMITER"
            with m.State("DELIMITER"):
                # The zero stands where that push has put `code_at`.
                m.d.comb += [
                    writer.addr.eq(Cat(code_at, written[:within])), writer.data.eq(0),
                    writer.en.eq(1),
                ]  # fmt: skip
                m.d.sync += written.eq(written + 1)
                m.next = "REST"
        with m.If(self.asked):
            m.d.sync += owed.eq(1)

        # The sender: it begins with a delimiter, as a frame may have been cut off before.
        reader = slots.read_port()
        place, there, lead = Signal(8), Signal(), Signal(init=1)
        given = Signal()
        m.d.comb += [
            reader.addr.eq(Cat(place, sent[:within])),
            self.bytes.valid.eq(lead | there),
            self.bytes.payload.eq(Mux(lead, 0, reader.data)),
            given.eq(self.bytes.valid & self.bytes.ready),
            self.idle.eq(line_free & ~lead & ~owed & ~self.words.valid & (behind == 0)),
        ]
        with m.If(self.resend):
            m.d.sync += rewind.eq(1)
        m.d.sync += there.eq(sending & ~given)
        with m.If(lead), m.If(given):
            m.d.sync += lead.eq(0)
        with m.Elif(~sending):
            with m.If(rewind | ((sent - kept)[:near] > held)):
                m.d.sync += [sent.eq(kept), rewind.eq(0)]
            with m.Elif(sent != written[:near]):
                m.d.sync += [sending.eq(1), place.eq(0)]
        with m.Elif(given):
            m.d.sync += place.eq(place + 1)
            with m.If(reader.data == 0):
                m.d.sync += [sending.eq(0), there.eq(0), sent.eq(sent + 1)]
        return m
