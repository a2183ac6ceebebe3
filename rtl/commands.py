"""What a board does with the words of its host: run the core, access its memories (see `link`)."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from ..compiler.ir.link import (
    FIELD_BITS,
    KIND_SHIFT,
    NAME_WORDS,
    WORD_BITS,
    Command,
    Kind,
)
from ..compiler.ir.memory_map import MemoryMap
from .core import MemoryPort
from .emit import event_layout, output_layout

DIGEST_BITS = 32


class Commands(wiring.Component):
    """Does what the words say, in order.

    chip: hash of the chip that the board is. words: what to do; reply: what comes of it; idle: it
    waits for words. The rest is the core's, from the other side.
    """

    def __init__(self, map: MemoryMap, chip: int) -> None:
        self.map, self.chip = map, chip
        super().__init__(
            {
                "words": In(stream.Signature(WORD_BITS)),
                "reply": Out(stream.Signature(WORD_BITS)),
                "idle": Out(1),
                "memory": Out(MemoryPort(map.address_bits)),
                "events": Out(stream.Signature(event_layout(map))),
                "start": Out(1),
                "core_idle": In(1),
                "output": In(stream.Signature(output_layout(map))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A digest that takes a bit per clock, and one state machine."""
        m = Module()
        words, reply, memory, output = self.words, self.reply, self.memory, self.output.payload
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=1).create()
        shift, bits = Signal(WORD_BITS, reset_less=True), Signal(range(WORD_BITS + 1))
        digest, of_words, free = Signal(), Signal(), Signal()
        m.d.comb += [free.eq(bits == 0), crc.valid.eq(~free), crc.data.eq(shift[0])]
        with m.If(digest):
            m.d.sync += [
                shift.eq(Mux(of_words, words.payload, reply.payload)), bits.eq(WORD_BITS)
            ]  # fmt: skip
        with m.Elif(~free):
            m.d.sync += [shift.eq(shift[1:]), bits.eq(bits - 1)]

        field = words.payload[:FIELD_BITS]
        kind = words.payload[KIND_SHIFT:]
        axon = Signal(self.map.axon_bits, reset_less=True)
        payload = Signal(self.map.chip.payload_bits, reset_less=True)
        command = Signal(range(len(Command)), reset_less=True)
        count = Signal(WORD_BITS, reset_less=True)
        address = Signal(self.map.address_bits, reset_less=True)
        index = Signal(2)
        read = Signal(WORD_BITS, reset_less=True)
        name = Signal(NAME_WORDS * WORD_BITS)
        chip = Array(
            Const(self.chip >> WORD_BITS * n, WORD_BITS) for n in range(NAME_WORDS)
        )
        by_phase = Signal()
        value = Signal(2 * WORD_BITS)
        wide, told, shown = Signal(), Signal(), Signal(FIELD_BITS)
        of_neuron = output.kind == Kind.ENTRY
        m.d.comb += [
            self.events.payload.axon.eq(axon),
            self.events.payload.payload.eq(payload),
            memory.address.eq(address),
            memory.write_data.eq(words.payload),
            value.eq(output.value),
            shown.eq(Mux(of_neuron, output.neuron, value[:FIELD_BITS])),
            wide.eq(Mux(of_neuron, value != 1, value[FIELD_BITS:] != 0)),
            told.eq(by_phase | of_neuron | (output.kind == Kind.EMIT)),
        ]
        last = count == 1

        def push(word: Value, go_on: str) -> None:
            """Reply with a word and take it into the digest, then go on."""
            m.d.comb += [
                reply.valid.eq(free), reply.payload.eq(word), digest.eq(free & reply.ready),
            ]  # fmt: skip
            with m.If(free & reply.ready):
                m.next = go_on

        with m.FSM():
            with m.State("WORD"):
                m.d.comb += [self.idle.eq(~words.valid), of_words.eq(1)]
                m.d.sync += [
                    index.eq(0), axon.eq(field), payload.eq(1), command.eq(field), count.eq(field),
                ]  # fmt: skip
                with m.If(words.valid & free):
                    m.d.comb += words.ready.eq(1)
                    with m.Switch(kind):
                        with m.Case(Kind.ENTRY):
                            m.d.comb += digest.eq(1)
                            with m.If(words.payload[FIELD_BITS]):
                                m.next = "PAYLOAD"
                            with m.Else():
                                m.next = "EVENT"
                        with m.Case(Kind.TICK):
                            m.d.comb += digest.eq(1)
                            m.next = "START"
                        with m.Case(Kind.COMMAND), m.Switch(field):
                            with m.Case(
                                Command.WRITE, Command.FILL, Command.READ, Command.HASH
                            ):
                                m.next = "PLACE"
                            with m.Case(Command.DIGEST):
                                m.next = "DIGEST"
                            with m.Case(Command.NAME):
                                m.next = "NAME"
                            with m.Case(Command.WHO):
                                m.next = "WHO"
                            with m.Case(Command.CYCLES):
                                m.next = "CYCLES"

            with m.State("PAYLOAD"), m.If(words.valid & free):
                m.d.comb += [words.ready.eq(1), of_words.eq(1), digest.eq(1)]
                m.d.sync += payload.eq(words.payload)
                m.next = "EVENT"
            with m.State("EVENT"):
                m.d.comb += self.events.valid.eq(1)
                with m.If(self.events.ready):
                    m.next = "WORD"

            with m.State("START"):
                m.d.comb += self.start.eq(1)
                with m.If(self.core_idle):
                    m.next = "TICK"
            with m.State("TICK"), m.If(self.output.valid):
                with m.If(~told):
                    m.d.comb += self.output.ready.eq(1)
                with m.Elif(wide):
                    push(Cat(shown, Const(1, 1), output.kind), "LOW")
                with m.Else():
                    push(Cat(shown, Const(0, 1), output.kind), "TAKEN")
            with m.State("LOW"):
                push(value[:WORD_BITS], "HIGH")
            with m.State("HIGH"):
                push(value[WORD_BITS:], "TAKEN")
            with m.State("TAKEN"):
                m.d.comb += self.output.ready.eq(1)
                m.next = "TICK"
                with m.If(output.kind == Kind.EMIT):
                    m.d.sync += count.eq(count - 1)
                    m.next = "START"
                    with m.If(count == 0):
                        m.next = "WORD"

            with m.State("PLACE"), m.If(words.valid):
                m.d.comb += words.ready.eq(1)
                m.d.sync += [index.eq(index + 1), count.eq(words.payload)]
                with m.If(index == 0):
                    m.d.sync += address[:WORD_BITS].eq(words.payload)
                with m.If(index == 1):
                    m.d.sync += address[WORD_BITS:].eq(words.payload)
                with m.If(index == 2):
                    m.next = "READ"
                    with m.If((command == Command.WRITE) | (command == Command.FILL)):
                        m.next = "WRITE"
            with m.State("WRITE"), m.If(words.valid):
                m.d.comb += memory.write.eq(1)
                with m.If(memory.ready):
                    m.d.comb += words.ready.eq((command == Command.WRITE) | last)
                    m.d.sync += [address.eq(address + 1), count.eq(count - 1)]
                    with m.If(last):
                        m.next = "WORD"
            with m.State("READ"):
                m.d.comb += memory.read.eq(1)
                with m.If(memory.ready):
                    m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += read.eq(memory.read_data)
                with m.If(memory.read_valid):
                    m.next = "GIVE"
            with m.State("GIVE"):
                given = Signal()
                m.d.comb += reply.payload.eq(read)
                with m.If(command == Command.HASH):
                    m.d.comb += [digest.eq(free), given.eq(free)]
                with m.Else():
                    m.d.comb += [reply.valid.eq(1), given.eq(reply.ready)]
                with m.If(given):
                    m.d.sync += [address.eq(address + 1), count.eq(count - 1)]
                    m.next = "READ"
                    with m.If(last):
                        m.next = "WORD"

            with m.State("DIGEST"):
                m.d.comb += [
                    reply.payload.eq(Mux(index[0], crc.crc[WORD_BITS:], crc.crc)),
                    reply.valid.eq(free),
                ]
                with m.If(free & reply.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index[0]):
                        m.d.comb += crc.start.eq(1)
                        m.next = "WORD"
            with m.State("NAME"), m.If(words.valid):
                m.d.comb += words.ready.eq(1)
                m.d.sync += [index.eq(index + 1), name.eq(Cat(name[WORD_BITS:], words.payload))]
                with m.If(index == NAME_WORDS - 1):
                    m.next = "WORD"
            with m.State("WHO"):
                m.d.comb += [
                    reply.valid.eq(1),
                    reply.payload.eq(Mux(index[1], name[:WORD_BITS], chip[index[0]])),
                ]
                with m.If(reply.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index[1]):
                        m.d.sync += name.eq(Cat(name[WORD_BITS:], name[:WORD_BITS]))
                    with m.If(index == 2 * NAME_WORDS - 1):
                        m.next = "WORD"
            with m.State("CYCLES"), m.If(words.valid):
                m.d.comb += words.ready.eq(1)
                m.d.sync += by_phase.eq(words.payload)
                m.next = "WORD"
        return m
