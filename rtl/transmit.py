"""The sending end of the link on a board: words to frames, kept until the host has them."""

from __future__ import annotations

from amaranth.hdl import C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..compiler.ir.link import MAX_WORDS, SLOTS, WORD_BITS, Frame, Status
from .crc import Crc32
from .receive import SLOT_BYTES
from .states import States, one_of

CRC_BYTES = 4


class Transmitter(wiring.Component):
    """Frames of the words that it is given, and of a board's status.

    words: what to send; flush: none will come soon, so that a frame may end; taken: number of the
    first frame of the host's whose slot is not free again, which makes the credit. credited,
    credit, polled, resend, limit: as `Receiver` has them; asked: one clock, the status is wanted;
    status: its words. bytes: to the UART; idle: nothing is left to do. slot_bytes: the room of each
    of its slots, a power of two; its frames have at most as many words as go in there. Frames are
    encoded as they are written: a COBS code is put in its place when the zero that ends its block
    is there.
    """

    def __init__(self, slot_bytes: int = SLOT_BYTES) -> None:
        self.slot_bytes = slot_bytes
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
        m.submodules.slots = slots = Memory(shape=8, depth=SLOTS * self.slot_bytes, init=[])
        room = self.slot_bytes.bit_length() - 1
        most = MAX_WORDS - (SLOT_BYTES - self.slot_bytes) // 2
        within, near = (SLOTS - 1).bit_length(), SLOTS.bit_length()
        written = Signal(8)  # frames closed
        sent, kept = Signal(near), Signal(near)  # frames sent, not free: as many bits as it takes
        sending = Signal()
        told = Signal(near)  # what the host knows of `taken`
        owed, limit = Signal(), Signal(7, init=most)

        # The host's credit, a step per clock; what it asks to be sent again is found after that.
        back, gap, held = Signal(near), Signal(near), Signal(near)
        credited = [self.credited, *(Signal(name=f"credited{n}") for n in range(2))]
        asked = [self.resend, *(Signal(name=f"asked{n}") for n in range(3))]
        m.d.sync += [
            Cat(credited[1:]).eq(Cat(credited)), Cat(asked[1:]).eq(Cat(asked)),
            back.eq(self.credit - SLOTS), gap.eq(back - kept), held.eq(written - kept),
        ]  # fmt: skip
        with m.If(credited[-1] & (gap <= held)):
            m.d.sync += kept.eq(kept + gap)
        with m.If(self.polled & (self.limit != 0) & (self.limit <= MAX_WORDS)):
            m.d.sync += limit.eq(self.limit)
            if most < MAX_WORDS:
                with m.If(self.limit > most):
                    m.d.sync += limit.eq(most)

        # A byte is chosen, then looked at, then written; no other meanwhile, nor while it goes
        # into the CRC.
        writer = slots.write_port()
        m.submodules.crc = crc = Crc32()
        push, chosen, looked, busy, free = Signal(), Signal(), Signal(), Signal(), Signal()
        byte, shift, left = Signal(8), Signal(8), Signal(3)
        hashed, ends = Signal(), Signal()
        zero, distance = Signal(), Signal(8)
        place, code = Signal(8), Signal(8)  # of the next byte, and of the code of its block
        m.d.comb += [
            free.eq(~(chosen | looked | busy)),
            crc.valid.eq(busy),
            crc.bit.eq(shift[0]),
            writer.addr.eq(Cat(Mux(zero, code, place)[:room], written[:within])),
            writer.data.eq(Mux(zero, Mux(ends, 0, distance), byte)),
            writer.en.eq(looked),
        ]
        m.d.sync += [
            chosen.eq(push), looked.eq(chosen), zero.eq(byte == 0), distance.eq(place - code),
            left.eq(left - 1),
        ]  # fmt: skip
        with m.If(busy):
            m.d.sync += [shift.eq(shift[1:]), busy.eq(left != 0)]
        with m.Else():
            m.d.sync += [shift.eq(byte), left.eq(7), busy.eq(chosen & hashed)]
        with m.If(looked):
            m.d.sync += place.eq(place + 1)
            with m.If(zero):
                m.d.sync += code.eq(place)

        # The writer.
        at = States(
            m, "REST", "TYPE", "SEQ", "WORD", "LOW", "HIGH", "CREDIT", "CRC", "CODE", "DELIMITER",
            "CLOSE", "SETTLE",
        )  # fmt: skip
        of_status, enough, all_told = Signal(), Signal(), Signal()
        count = Signal(7)
        line_free, may_open, behind, far_behind = Signal(), Signal(), Signal(), Signal()
        word, difference = self.words.payload, Signal(near)
        status = [self.status[16 * n :][:16] for n in range(Status.WORDS)]
        told_word = Mux(count[1], Mux(count[0], *status[3:1:-1]), Mux(count[0], *status[1::-1]))
        m.d.comb += difference.eq(self.taken - told)
        m.d.sync += [
            line_free.eq(~sending & (sent == written[:near])),
            behind.eq(difference != 0),
            far_behind.eq(difference > 1),
            may_open.eq(
                ((written - kept)[:near] != SLOTS)
                & ~(sending & (sent[:within] == written[:within]))
            ),
            enough.eq(count >= limit),
            all_told.eq(count == Status.WORDS),
        ]
        said = Mux(of_status, told_word, word)
        with m.If(push):
            m.d.sync += [
                byte.eq(
                    one_of([
                        (at["TYPE"], Mux(of_status, C(Frame.STATUS, 8), C(Frame.DATA, 8))),
                        (at["SEQ"], written),
                        (at["LOW"], said[:8]),
                        (at["HIGH"], said[8:]),
                        (at["CREDIT"], (self.taken + SLOTS)[:8]),
                        (at["CRC"], Mux(
                            count[1],
                            Mux(count[0], crc.crc[24:], crc.crc[16:24]),
                            Mux(count[0], crc.crc[8:16], crc.crc[:8]),
                        )),
                    ])
                ),
                hashed.eq(~(at["CRC"] | at["CODE"] | at["DELIMITER"])),
                ends.eq(at["DELIMITER"]),
            ]  # fmt: skip
        pushes = ("TYPE", "SEQ", "LOW", "HIGH", "CREDIT", "CRC", "CODE", "DELIMITER")
        m.d.comb += [
            push.eq(free & Cat(at[name] for name in pushes).any()),
            self.words.ready.eq(at["HIGH"] & free & ~of_status),
        ]
        with m.If(at["REST"]):
            m.d.comb += crc.start.eq(1)
            m.d.sync += [place.eq(1), code.eq(0), count.eq(0), of_status.eq(owed)]
            with m.If(
                may_open & (owed | self.words.valid | far_behind | (behind & line_free))
            ):
                at.go("REST", "TYPE")
        with m.If(push):
            for here, there in (("TYPE", "SEQ"), ("SEQ", "WORD"), ("LOW", "HIGH"),
                                ("HIGH", "WORD"), ("CREDIT", "CRC"), ("CODE", "DELIMITER"),
                                ("DELIMITER", "CLOSE")):  # fmt: skip
                with m.If(at[here]):
                    at.go(here, there)
            with m.If(at["HIGH"] | at["CRC"]):
                m.d.sync += count.eq(count + 1)
            with m.If(at["CREDIT"]):
                m.d.sync += [told.eq(self.taken), count.eq(0)]
            with m.If(at["CRC"] & (count[:2] == CRC_BYTES - 1)):
                at.go("CRC", "CODE")
        with m.If(at["WORD"] & free):  # by then it is known whether there were enough
            with m.If(of_status & all_told):
                m.d.sync += owed.eq(0)
                at.go("WORD", "CREDIT")
            with m.Elif(of_status | (self.words.valid & ~enough)):
                at.go("WORD", "LOW")
            with m.Elif(enough | owed | far_behind | (self.flush & line_free)):
                at.go("WORD", "CREDIT")
        with m.If(at["CLOSE"] & free):
            m.d.sync += written.eq(written + 1)
            at.go("CLOSE", "SETTLE")
        with m.If(at["SETTLE"]):  # and whether another may follow
            at.go("SETTLE", "REST")
        with m.If(self.asked):
            m.d.sync += owed.eq(1)

        # The sender: it begins with a delimiter, as a frame may have been cut off before.
        reader = slots.read_port()
        sender = States(m, "LEAD", "BETWEEN", "COMPARE", "LOOK", "FETCH", "KEEP", "GIVE")
        spot, rewind, before, more = Signal(8), Signal(), Signal(), Signal()
        ahead, given = Signal(near), Signal(8)
        m.d.comb += [
            reader.addr.eq(Cat(spot[:room], sent[:within])),
            sending.eq(sender["FETCH"] | sender["KEEP"] | sender["GIVE"]),
            self.bytes.valid.eq(sender["LEAD"] | sender["GIVE"]),
            self.bytes.payload.eq(given),
        ]
        m.d.sync += [
            ahead.eq(sent - kept),
            before.eq(ahead > held),
            more.eq(sent != written[:near]),
            self.idle.eq(
                line_free & sender["LOOK"] & at["REST"] & ~owed & ~self.words.valid & ~behind
            ),
        ]
        with m.If(sender["LEAD"] & self.bytes.ready):
            sender.go("LEAD", "BETWEEN")
        with m.If(sender["BETWEEN"]):
            m.d.sync += spot.eq(0)
            sender.go("BETWEEN", "COMPARE")
        with m.If(sender["COMPARE"]):  # by the next clock it is known what is next
            sender.go("COMPARE", "LOOK")
        with m.If(sender["LOOK"]):
            with m.If(rewind | before):
                m.d.sync += [sent.eq(kept), rewind.eq(0)]
                sender.go("LOOK", "BETWEEN")
            with m.Elif(more):
                sender.go("LOOK", "FETCH")
        with m.If(sender["FETCH"]):
            sender.go("FETCH", "KEEP")
        with m.If(sender["KEEP"]):
            m.d.sync += given.eq(reader.data)
            sender.go("KEEP", "GIVE")
        with m.If(sender["GIVE"] & self.bytes.ready):
            m.d.sync += spot.eq(spot + 1)
            with m.If(given == 0):
                m.d.sync += sent.eq(sent + 1)
                sender.go("GIVE", "BETWEEN")
            with m.Else():
                sender.go("GIVE", "FETCH")
        with m.If(asked[-1]):
            m.d.sync += rewind.eq(1)
        return m
