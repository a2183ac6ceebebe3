"""Deliver: from the set of pending events to one synapse word per clock.

Tokens flow through three stages to the walker: one for each word of the pending set, one for each
event. The walker spends one clock on the former and the cost of its row on the latter, so that a
tick costs exactly the sum of both: nothing overlaps and nothing waits.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.cycles import PENDING_WORD, row_gap
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.region import Fields


def struct(fields: Fields) -> data.StructLayout:
    """The fields of a region as a layout; empty ones are left out."""
    return data.StructLayout({name: bits for name, bits in fields if bits})


class Deliver(wiring.Component):
    """Takes every pending event and walks its row.

    start: one clock; done: high in the last clock, `drain` clocks after the last token went. slot:
    the tick's delay slot. In each clock with `read`, the synapse memory is to read word `synapse`,
    whose lanes go to accumulator word `word` of slot `to_slot` (dense rows), or where its entries
    say, with `to_slot` being the tick's (sparse rows). `row_address` is 0 after the last event.

    On a core that learns, Learn has rows walked between ticks' events: `load` is for the row that
    is there, `hold` makes the walker wait; `walking` is whether it is at a word, `last` at the
    last.
    """

    def __init__(self, map: MemoryMap, drain: int) -> None:
        self.map, self._drain = map, drain
        regions = map.regions
        members = {
            "start": In(1),
            "done": Out(1),
            "slot": In(map.slot_bits),
            "pending_words": In(range(regions["pending"].entries + 1)),
            "pending_address": Out(range(max(2, regions["pending"].entries))),
            "pending_enable": Out(1),
            "pending_data": In(PENDING_WORD),
            "pending_clear": Out(1),
            "pending_clear_address": Out(range(max(2, regions["pending"].entries))),
            "row_address": Out(map.axon_bits),
            "row_enable": Out(1),
            "row_data": In(regions["rows"].bits),
            "read": Out(1),
            "synapse": Out(dict(regions["rows"].fields)["address"]),
            "sparse": Out(1),
            "word": Out(map.word_bits),
            "to_slot": Out(map.slot_bits),
        }
        if map.learn:
            members |= {"load": In(1), "hold": In(1), "walking": Out(1), "last": Out(1)}
        if map.chip.payload_bits > 1:
            members["payload_data"] = In(map.chip.payload_bits)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """The scanner, the descriptor stage and the walker."""
        m = Module()
        advance = Signal()
        event, end, lowest, word = self._scanner(m, advance)

        # Tokens whose descriptor is being read, the one whose descriptor is there, and at last the
        # end; a token of a word is neither an event nor the end.
        stages = 1 + self.map.chip.memory_latency
        events = [Signal(name=f"event{n}") for n in range(stages)]
        ends = [Signal(name=f"end{n}") for n in range(stages + 1)]
        asked_lowest, asked_word = Signal.like(lowest), Signal.like(word)
        with m.If(advance):
            m.d.sync += [
                Cat(events).eq(Cat(event, events)),
                Cat(ends).eq(Cat(end, ends)),
                asked_lowest.eq(lowest),
                asked_word.eq(word),
            ]
        within = Cat(
            Cat(asked_lowest[n] for n in range(PENDING_WORD) if n >> bit & 1).any()
            for bit in range(PENDING_WORD.bit_length() - 1)
        )
        m.d.comb += [self.row_address.eq(Cat(within, asked_word)), self.row_enable.eq(advance)]
        self._walker(m, advance, events[-1])

        # Done when the last sum is written.
        drain = Signal(self._drain)
        m.d.sync += drain.eq(Cat(ends[-1], drain))
        m.d.comb += self.done.eq(drain[-1])
        with m.If(self.done):
            m.d.sync += [Cat(ends).eq(0), drain.eq(0)]
        return m

    def _scanner(self, m: Module, advance: Signal) -> tuple[Signal, Signal, Signal, Signal]:
        """One token per clock in which the tokens advance: whether it is an event, or the end, and
        of an event the bit in its word, and the word."""
        regions = self.map.regions
        bits, some = Signal(PENDING_WORD, reset_less=True), Signal()  # some: bits are not all 0
        here = Signal(range(max(2, regions["pending"].entries)), reset_less=True)
        following = Signal.like(here, reset_less=False)
        fetched = Signal(range(regions["pending"].entries + 2))  # words read, `here` is before
        warm, running, more = Signal(), Signal(), Signal()
        event, word_token, end = Signal(), Signal(), Signal()
        lowest, less, left = Signal(PENDING_WORD), Signal(PENDING_WORD), Signal(PENDING_WORD)
        m.d.comb += [less.eq(bits - 1), lowest.eq(bits & ~less)]
        m.d.sync += warm.eq(self.start)
        m.d.comb += [
            event.eq(running & some),
            word_token.eq(running & ~some & more),
            end.eq(running & ~some & ~more),
            left.eq(Mux(some, bits & less, self.pending_data)),
            self.pending_address.eq(fetched),
            self.pending_enable.eq(warm | (word_token & advance)),
            self.pending_clear_address.eq(following),
            self.pending_clear.eq(word_token & advance),
        ]
        with m.If(self.pending_enable):
            m.d.sync += fetched.eq(fetched + 1)
        with m.If(warm):
            m.d.sync += [running.eq(1), more.eq(self.pending_words != 0)]
        with m.If(running & advance):
            with m.If(some | more):
                m.d.sync += [bits.eq(left), some.eq(left != 0)]
            with m.If(word_token):
                m.d.sync += here.eq(following)
                m.d.sync += [following.eq(fetched), more.eq(fetched != self.pending_words)]
        with m.If(self.done):
            m.d.sync += [running.eq(0), fetched.eq(0), following.eq(0), here.eq(0)]
        return event, end, lowest, here

    def _walker(self, m: Module, advance: Signal, load: Signal) -> None:
        """Walks rows; raises `advance` in the last clock of what it is at."""
        map = self.map
        gap = row_gap(map.chip)
        row = data.View(struct(map.regions["rows"].fields), self.row_data)
        extent = data.View(struct(map.row_extent), row.extent[: struct(map.row_extent).size])
        left = Signal(map.row_bits, reset_less=True)
        waiting = Signal(range(gap + 1))
        walking, follows = Signal(), Signal(reset_less=True)
        address = Signal.like(self.synapse, reset_less=True)
        word = Signal(map.word_bits, reset_less=True)
        sparse, to_slot = Signal(reset_less=True), Signal(map.slot_bits, reset_less=True)
        m.d.comb += [
            self.synapse.eq(address),
            self.word.eq(word),
            self.sparse.eq(sparse),
            self.to_slot.eq(to_slot),
        ]
        last, at_once, ended = Signal(reset_less=True), Signal(), Signal()
        words = Mux(row.sparse, row.extent, extent.words)
        m.d.comb += [
            at_once.eq(follows if gap else 1),
            ended.eq(Mux(walking, last & at_once, waiting <= 1)),
        ]
        moves: Value = walking
        if map.learn:
            m.d.comb += [self.walking.eq(walking), self.last.eq(last)]
            moves = walking & ~self.hold
        m.d.comb += self.read.eq(moves)
        with m.If(moves):
            m.d.sync += [
                address.eq(address + 1),
                word.eq(word + 1),
                left.eq(left - 1),
                last.eq(left == 2),
                walking.eq(~last),
            ]
            if gap:
                with m.If(last & ~at_once):
                    m.d.sync += waiting.eq(gap)
        with m.Elif(waiting != 0):
            m.d.sync += waiting.eq(waiting - 1)

        dense_slot = self.slot
        if map.slot_bits:
            dense_slot = (self.slot + extent.delay)[: map.slot_bits]
        loads = advance & load
        if map.learn:
            loads |= self.load
        with m.If(loads):
            m.d.sync += [
                walking.eq(1),
                address.eq(row.address),
                word.eq(extent.begin),
                left.eq(words),
                last.eq(words == 1),
                sparse.eq(row.sparse),
                follows.eq(row.follows),
                to_slot.eq(Mux(row.sparse, self.slot, dense_slot)),
            ]
        if map.chip.payload_bits == 1:
            m.d.comb += advance.eq(ended)
            return
        again = Signal(map.chip.payload_bits)
        first = Signal(len(address) + len(word) + len(left) + 1, reset_less=True)
        m.d.comb += advance.eq(ended & (again == 0))
        with m.If(advance & load):
            m.d.sync += [
                again.eq(self.payload_data - 1),
                first.eq(Cat(row.address, extent.begin, words[: len(left)], words == 1)),
            ]
        with m.Elif(ended & (again != 0)):
            m.d.sync += [
                again.eq(again - 1),
                walking.eq(1),
                Cat(address, word, left, last).eq(first),
            ]
