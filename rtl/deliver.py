"""Deliver: from the set of pending events to one synapse word per clock.

Tokens flow through three stages to the walker: one for each word of the pending set, one for each
event. The walker spends one clock on the former and the cost of its row on the latter, so that a
tick costs exactly the sum of both: nothing overlaps and nothing waits.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.cycles import PENDING_WORD, row_gap
from ..compiler.ir.memory_map import Fields, MemoryMap


def struct(fields: Fields) -> data.StructLayout:
    """The fields of a region as a layout; empty ones are left out."""
    return data.StructLayout({name: bits for name, bits in fields if bits})


class Deliver(wiring.Component):
    """Takes every pending event and walks its row.

    start: one clock; done: high in the last clock, `drain` clocks after the last token went. slot:
    the tick's delay slot. In each clock with `read`, the synapse memory is to read word `synapse`,
    whose lanes go to accumulator word `word` of slot `to_slot` (dense rows), or where
    its entries say, with `to_slot` being the tick's (sparse rows).
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
        if map.chip.payload_bits > 1:
            members["payload_data"] = In(map.chip.payload_bits)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """The scanner, the descriptor stage and the walker."""
        m = Module()
        advance = Signal()
        event, end, axon = self._scanner(m, advance)

        # The token whose descriptor is being read, the one whose descriptor is there, and at last
        # the end; a token of a word is none of the others.
        asked_event, asked_end, asked_axon = Signal(), Signal(), Signal.like(axon)
        there_event, there_end, ended = Signal(), Signal(), Signal()
        with m.If(advance):
            m.d.sync += [
                asked_event.eq(event),
                asked_end.eq(end),
                asked_axon.eq(axon),
                there_event.eq(asked_event),
                there_end.eq(asked_end),
                ended.eq(there_end),
            ]
        m.d.comb += [self.row_address.eq(asked_axon), self.row_enable.eq(advance)]
        self._walker(m, advance, there_event)

        # Done when the last sum is written.
        drain = Signal(self._drain)
        m.d.sync += drain.eq(Cat(ended, drain))
        m.d.comb += self.done.eq(drain[-1])
        with m.If(self.done):
            m.d.sync += [asked_end.eq(0), there_end.eq(0), ended.eq(0), drain.eq(0)]
        return m

    def _scanner(self, m: Module, advance: Signal) -> tuple[Signal, Signal, Signal]:
        """One token per clock in which the tokens advance: (event, end, axon)."""
        regions = self.map.regions
        bits = Signal(PENDING_WORD)
        here = Signal(range(max(2, regions["pending"].entries)), reset_less=True)
        next_word = Signal(range(regions["pending"].entries + 1))
        warm, running = Signal(), Signal()
        event, word_token, end = Signal(), Signal(), Signal()
        axon = Signal(self.map.axon_bits)
        lowest = Signal(range(PENDING_WORD))
        for n in reversed(range(PENDING_WORD)):
            with m.If(bits[n]):
                m.d.comb += lowest.eq(n)
        m.d.sync += warm.eq(self.start)
        m.d.comb += [
            axon.eq(Cat(lowest, here)),
            event.eq(running & (bits != 0)),
            word_token.eq(running & (bits == 0) & (next_word != self.pending_words)),
            end.eq(running & (bits == 0) & (next_word == self.pending_words)),
            self.pending_address.eq(next_word),
            self.pending_clear_address.eq(next_word),
            self.pending_clear.eq(word_token & advance),
        ]
        with m.If(warm):
            m.d.sync += running.eq(1)
        with m.If(running & advance):
            with m.If(bits != 0):
                m.d.sync += bits.eq(bits & (bits - 1))
            with m.Elif(word_token):
                m.d.sync += [bits.eq(self.pending_data), here.eq(next_word)]
                m.d.sync += next_word.eq(next_word + 1)
                m.d.comb += self.pending_address.eq(next_word + 1)
        with m.If(self.done):
            m.d.sync += [running.eq(0), next_word.eq(0)]
        return event, end, axon

    def _walker(self, m: Module, advance: Signal, load: Signal) -> None:
        """Walks rows; raises `advance` in the last clock of what it is at."""
        map = self.map
        gap = row_gap(map.chip)
        row = data.View(struct(map.regions["rows"].fields), self.row_data)
        extent = data.View(struct(map.row_extent), row.extent[: struct(map.row_extent).size])
        left = Signal(len(row.extent), reset_less=True)
        waiting = Signal(range(gap + 1))
        walking, follows = Signal(), Signal(reset_less=True)
        address = Signal.like(self.synapse, reset_less=True)
        word = Signal(map.word_bits, reset_less=True)
        sparse, to_slot = Signal(reset_less=True), Signal(map.slot_bits, reset_less=True)
        m.d.comb += [
            self.read.eq(walking),
            self.synapse.eq(address),
            self.word.eq(word),
            self.sparse.eq(sparse),
            self.to_slot.eq(to_slot),
        ]
        last, at_once, ended = Signal(), Signal(), Signal()
        m.d.comb += [
            last.eq(left == 1),
            at_once.eq(follows if gap else 1),
            ended.eq(Mux(walking, last & at_once, waiting <= 1)),
        ]
        with m.If(walking):
            m.d.sync += [
                address.eq(address + 1),
                word.eq(word + 1),
                left.eq(left - 1),
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
        with m.If(advance & load):
            m.d.sync += [
                walking.eq(1),
                address.eq(row.address),
                word.eq(extent.begin),
                left.eq(Mux(row.sparse, row.extent, extent.words)),
                sparse.eq(row.sparse),
                follows.eq(row.follows),
                to_slot.eq(Mux(row.sparse, self.slot, dense_slot)),
            ]
        if map.chip.payload_bits == 1:
            m.d.comb += advance.eq(ended)
            return
        again = Signal(map.chip.payload_bits)
        first = Signal(len(address) + len(word) + len(left), reset_less=True)
        m.d.comb += advance.eq(ended & (again == 0))
        with m.If(advance & load):
            m.d.sync += [
                again.eq(self.payload_data - 1),
                first.eq(
                    Cat(row.address, extent.begin, Mux(row.sparse, row.extent, extent.words))
                ),
            ]
        with m.Elif(ended & (again != 0)):
            m.d.sync += [
                again.eq(again - 1),
                walking.eq(1),
                Cat(address, word, left).eq(first),
            ]
