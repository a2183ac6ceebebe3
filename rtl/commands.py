"""What a board does with the words of its host: run the core, access its memories (see `link`)."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.link import (
    FIELD_BITS,
    KIND_SHIFT,
    NAME_WORDS,
    TELL_CYCLES,
    TELL_DIGEST,
    WORD_BITS,
    Command,
    Kind,
)
from ..compiler.ir.memory_map import MemoryMap
from .crc import Crc32
from .emit import event_layout, output_layout
from .host import MemoryPort
from .states import States, one_of

# Begin with address and count.
PLACED = (Command.WRITE, Command.FILL, Command.READ, Command.HASH, Command.LOAD)


class Commands(wiring.Component):
    """Does what the words say, in order.

    chip: hash of the chip that the board is. words: what to do; reply: what comes of it; idle: it
    waits for a command; starved: it waits for words, perhaps those of one that has begun. The rest
    is the core's, from the other side, with `digest` where the chip has them; `output` must not
    change while it waits. What goes out, and whatever decides, comes from registers: the link is no
    part of the core's paths.
    """

    def __init__(self, map: MemoryMap, chip: int) -> None:
        self.map, self.chip = map, chip
        digest = {"digest": In(32)} if map.chip.digests else {}
        super().__init__(
            {
                **digest,
                "words": In(stream.Signature(WORD_BITS)),
                "reply": Out(stream.Signature(WORD_BITS)),
                "idle": Out(1),
                "starved": Out(1),
                "memory": Out(MemoryPort(map.address_bits)),
                "events": Out(stream.Signature(event_layout(map))),
                "start": Out(1),
                "core_idle": In(1),
                "output": In(stream.Signature(output_layout(map))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A state machine, a word that goes out, and a digest that takes a bit per clock."""
        m = Module()
        words, reply, memory, output = self.words, self.reply, self.memory, self.output.payload
        sums = ("SUM", "SUM_HIGH") if self.map.chip.digests else ()  # that tell a tick's digest
        at = States(
            m, "WORD", "PAYLOAD", "EVENT", "START", "TICK", "LOW", "HIGH", "TAKEN", "PLACE",
            "WRITE", "WRITING", "READ", "READING", "WAIT", "DIGEST", "DIGEST_HIGH", "NAME", "WHO",
            "TELL", *sums,
        )  # fmt: skip

        # The digest takes a word of the host's as it is used, one of the core's as it goes out.
        m.submodules.crc = crc = Crc32()
        shift, left, busy = Signal(WORD_BITS), Signal(range(WORD_BITS)), Signal()
        takes, fresh, free = Signal(), Signal(), Signal()
        m.d.comb += [crc.valid.eq(busy), crc.bit.eq(shift[0]), free.eq(~busy & ~fresh)]
        m.d.sync += left.eq(left - 1)
        with m.If(busy):
            m.d.sync += [shift.eq(shift[1:]), busy.eq(left != 0)]
        with m.Else():
            m.d.sync += [
                shift.eq(Mux(fresh, reply.payload, words.payload)), left.eq(WORD_BITS - 1),
                busy.eq(fresh | takes),
            ]  # fmt: skip

        field, kind = words.payload[:FIELD_BITS], words.payload[KIND_SHIFT:]
        axon = Signal(self.map.axon_bits, reset_less=True)
        payload = Signal(self.map.chip.payload_bits, reset_less=True)
        command = Signal(range(len(Command)), reset_less=True)
        count, none, last = Signal(WORD_BITS), Signal(), Signal()
        address = Signal(self.map.address_bits, reset_less=True)
        index = Signal(2)
        name = Signal(NAME_WORDS * WORD_BITS)
        reads, hashes, loads = Signal(), Signal(), Signal()
        by_phase, with_digest = Signal(), Signal()
        # Of an output that waits, a clock later: its word can be told.
        judged, wide, told, ends = Signal(), Signal(), Signal(), Signal()
        of_neuron = output.kind == Kind.ENTRY
        value = Signal(2 * WORD_BITS)
        shown = Signal(FIELD_BITS)
        m.d.comb += [
            value.eq(output.value),
            shown.eq(Mux(of_neuron, output.neuron, value[:FIELD_BITS])),
            self.idle.eq(at["WORD"] & ~words.valid),
            self.starved.eq(
                ~words.valid
                & Cat(at[s] for s in ("WORD", "PAYLOAD", "PLACE", "WRITE", "NAME", "TELL")).any()
            ),
            self.events.payload.axon.eq(axon),
            self.events.payload.payload.eq(payload),
            self.events.valid.eq(at["EVENT"]),
            self.start.eq(at["START"]),
            self.output.ready.eq(at["TAKEN"]),
            memory.address.eq(address),
            memory.write_data.eq(words.payload),
            memory.write.eq(at["WRITING"]),
            memory.read.eq(at["READING"]),
        ]
        m.d.sync += [
            none.eq(count == 0), last.eq(count == 1),
            reads.eq((command == Command.READ) | (command == Command.HASH)),
            hashes.eq((command == Command.HASH) | loads), loads.eq(command == Command.LOAD),
            judged.eq(self.output.valid & ~at["TAKEN"]),
            wide.eq(Mux(of_neuron, value != 1, value[FIELD_BITS:] != 0)),
            told.eq(by_phase | of_neuron | (output.kind == Kind.EMIT)),
            ends.eq(output.kind == Kind.EMIT),
        ]  # fmt: skip

        # The word that goes out.
        full, may, load = Signal(), Signal(), Signal()
        goes, read_done, moved = Signal(), Signal(), Signal()
        chip = [Const(self.chip >> WORD_BITS * n, WORD_BITS) for n in range(NAME_WORDS)]
        m.d.comb += [
            reply.valid.eq(full),
            goes.eq(at["TICK"] & judged & told & may),
            load.eq(
                goes | read_done
                | (may & Cat(
                    at[s] for s in ("LOW", "HIGH", "DIGEST", "DIGEST_HIGH", "WHO", *sums)
                ).any())
            ),
        ]  # fmt: skip
        m.d.sync += [
            may.eq(free & ~full & ~load), read_done.eq(at["WAIT"] & memory.read_valid),
        ]  # fmt: skip
        with m.If(reply.ready):
            m.d.sync += full.eq(0)
        m.d.sync += fresh.eq(
            goes | (may & Cat(at[s] for s in ("LOW", "HIGH", *sums)).any()) | (read_done & hashes)
        )
        with m.If(load):
            m.d.sync += full.eq(~(at["WAIT"] & hashes))
        with m.If(~full & ~read_done):  # what it holds until then matters to nobody
            m.d.sync += reply.payload.eq(
                one_of([
                    (at["TICK"], Cat(shown, wide, output.kind)),
                    (at["LOW"], value[:WORD_BITS]),
                    (at["HIGH"], value[WORD_BITS:]),
                    (at["WAIT"], memory.read_data),
                    (at["DIGEST"], crc.crc[:WORD_BITS]),
                    (at["DIGEST_HIGH"], crc.crc[WORD_BITS:]),
                    *((at[s], self.digest.word_select(n, WORD_BITS)) for n, s in enumerate(sums)),
                    (at["WHO"], Mux(index[1], name[:WORD_BITS], Mux(index[0], *chip[::-1]))),
                ])
            )

        # Words are taken in the clocks in which they are used.
        used, of_tick = Signal(), Signal()
        m.d.comb += [
            of_tick.eq((at["WORD"] & (kind != Kind.COMMAND)) | at["PAYLOAD"]),
            takes.eq(words.valid & of_tick & free),
            used.eq(
                (free & (at["WORD"] | at["PAYLOAD"]))
                | at["PLACE"] | at["NAME"] | at["TELL"] | moved
            ),
            words.ready.eq(used),
            moved.eq(at["WRITING"] & memory.ready & ((command != Command.FILL) | last)),
        ]  # fmt: skip

        with m.If(at["WORD"]):
            m.d.sync += [
                index.eq(0), axon.eq(field), payload.eq(1), command.eq(field), count.eq(field),
            ]  # fmt: skip
            with m.If(words.valid & free), m.Switch(kind):
                with m.Case(Kind.ENTRY):
                    with m.If(words.payload[FIELD_BITS]):
                        at.go("WORD", "PAYLOAD")
                    with m.Else():
                        at.go("WORD", "EVENT")
                with m.Case(Kind.TICK):
                    at.go("WORD", "START")
                with m.Case(Kind.COMMAND), m.Switch(field[:4]):
                    with m.Case(*PLACED):
                        at.go("WORD", "PLACE")
                    for single in (Command.DIGEST, Command.NAME, Command.WHO, Command.TELL):
                        with m.Case(single):
                            at.go("WORD", single.name)
        with m.If(at["PAYLOAD"] & words.valid & free):
            m.d.sync += payload.eq(words.payload)
            at.go("PAYLOAD", "EVENT")
        with m.If(at["EVENT"] & self.events.ready):
            at.go("EVENT", "WORD")

        with m.If(at["START"] & self.core_idle):
            at.go("START", "TICK")
        with m.If(at["TICK"] & judged):
            with m.If(~told):
                at.go("TICK", "TAKEN")
            with m.Elif(may & wide):
                at.go("TICK", "LOW")
            with m.Elif(may):
                at.go("TICK", "TAKEN")
        with m.If(at["LOW"] & may):
            at.go("LOW", "HIGH")
        with m.If(at["HIGH"] & may):
            at.go("HIGH", "TAKEN")
        def end_tick(here: str) -> None:
            with m.If(none):
                at.go(here, "WORD")
            with m.Else():
                m.d.sync += count.eq(count - 1)
                at.go(here, "START")

        with m.If(at["TAKEN"]):
            with m.If(~ends):
                at.go("TAKEN", "TICK")
            with m.Elif(with_digest):
                if sums:
                    at.go("TAKEN", "SUM")
            with m.Else():
                end_tick("TAKEN")
        if sums:
            with m.If(at["SUM"] & may):
                at.go("SUM", "SUM_HIGH")
            with m.If(at["SUM_HIGH"] & may):
                end_tick("SUM_HIGH")

        with m.If(at["PLACE"] & words.valid):
            m.d.sync += [index.eq(index + 1), count.eq(words.payload)]
            with m.If(index == 0):
                m.d.sync += address[:WORD_BITS].eq(words.payload)
            with m.If(index == 1):
                m.d.sync += address[WORD_BITS:].eq(words.payload)
            with m.If(index[1] & reads):
                at.go("PLACE", "READ")
            with m.If(index[1] & ~reads):
                at.go("PLACE", "WRITE")
        with m.If(at["WRITE"] & words.valid):
            at.go("WRITE", "WRITING")
        with m.If(at["READ"] & may):
            at.go("READ", "READING")
        with m.If(at["READING"] & memory.ready):
            at.go("READING", "WAIT")
        with m.If(at["WRITING"] & memory.ready & loads):
            at.go("WRITING", "READ")
        accessed = Signal()
        m.d.comb += accessed.eq(read_done | (at["WRITING"] & memory.ready & ~loads))
        with m.If(accessed):
            m.d.sync += [address.eq(address + 1), count.eq(count - 1)]
            for here, again, so in (
                ("WRITING", "WRITE", ~loads), ("WAIT", "WRITE", loads), ("WAIT", "READ", ~loads),
            ):  # fmt: skip
                with m.If(at[here] & so):
                    at.go(here, again)
                with m.If(at[here] & so & last):
                    m.d.sync += at[again].eq(0)
                    at.go(here, "WORD")

        with m.If(at["DIGEST"] & may):
            at.go("DIGEST", "DIGEST_HIGH")
        with m.If(at["DIGEST_HIGH"] & may):
            m.d.comb += crc.start.eq(1)
            at.go("DIGEST_HIGH", "WORD")
        with m.If(at["NAME"] & words.valid):
            m.d.sync += [index.eq(index + 1), name.eq(Cat(name[WORD_BITS:], words.payload))]
            with m.If(index == NAME_WORDS - 1):
                at.go("NAME", "WORD")
        with m.If(at["WHO"] & may):
            m.d.sync += index.eq(index + 1)
            with m.If(index[1]):
                m.d.sync += name.eq(Cat(name[WORD_BITS:], name[:WORD_BITS]))
            with m.If(index == 2 * NAME_WORDS - 1):
                at.go("WHO", "WORD")
        with m.If(at["TELL"] & words.valid):
            m.d.sync += by_phase.eq(words.payload & TELL_CYCLES)
            if sums:
                m.d.sync += with_digest.eq((words.payload & TELL_DIGEST).any())
            at.go("TELL", "WORD")
        return m
