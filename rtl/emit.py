"""Emit: the listed spikes and values of a tick go to the host and to the pending set."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.cycles import PENDING_WORD
from ..compiler.ir.memory_map import MemoryMap
from .deliver import struct

CLOCK_BITS = 24  # of a phase's clocks, as the host gets them
ENTRY = 0  # kind of an output that is a neuron's; the others are phases, see `core`


def output_layout(map: MemoryMap) -> data.StructLayout:
    """What the host gets: of a neuron its spike count or value, of a phase its clocks."""
    return data.StructLayout(
        {"kind": 2, "neuron": map.neuron_bits, "value": max(CLOCK_BITS, map.value_bits)}
    )


def event_layout(map: MemoryMap) -> data.StructLayout:
    """What the host gives: an event for an axon."""
    return data.StructLayout({"axon": map.axon_bits, "payload": map.chip.payload_bits})


def phase_bits(map: MemoryMap) -> int:
    """Bits of the number of a phase (see `core`)."""
    return 3 if map.learn else 2


class Emit(wiring.Component):
    """One clock per entry of the list; waits where the host does not take its output.

    start: one clock; done: high in the last clock; stalled: in this clock it waits. Between ticks
    it sets the events that the host gives, one per clock. The pending set is read and written one
    clock apart; the word just written is kept for the case that the next one is the same.
    """

    def __init__(self, map: MemoryMap) -> None:
        self.map = map
        regions = map.regions
        words = range(max(2, regions["pending"].entries))
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "stalled": Out(1),
                "push": In(1),
                "pushed": In(list_layout(map)),
                "list_address": Out(map.neuron_bits),
                "list_write": Out(1),
                "list_write_address": Out(map.neuron_bits),
                "list_data": In(list_layout(map)),
                "advance": Out(1),
                "route_address": Out(map.neuron_bits),
                "route_data": In(regions["routes"].bits),
                "pending_address": Out(words),
                "pending_data": In(PENDING_WORD),
                "pending_write": Out(1),
                "pending_write_address": Out(words),
                "pending_written": Out(PENDING_WORD),
                "payload_write": Out(1),
                "payload_address": Out(map.axon_bits),
                "payload": Out(map.chip.payload_bits),
                "event": In(stream.Signature(event_layout(map))),
                "output": Out(stream.Signature(output_layout(map))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The list's counters and three stages: entry, route, pending word."""
        m = Module()
        map = self.map
        advance = self.advance
        count, at = Signal(range(map.chip.neurons + 1)), Signal(range(map.chip.neurons + 1))
        active = Signal()
        m.d.comb += [
            self.list_write.eq(self.push),
            self.list_write_address.eq(count),
            self.list_address.eq(at),
        ]
        with m.If(self.push):
            m.d.sync += count.eq(count + 1)
        with m.If(self.start):
            m.d.sync += active.eq(1)

        waits = map.chip.memory_latency  # for the route of an entry
        there = [Signal(name=f"entry_there{n}") for n in range(1 + waits)]
        word_there, asked = Signal(), Signal()
        route_there = there[-1]
        route = data.View(struct(map.regions["routes"].fields), self.route_data)
        held = [
            Signal(list_layout(map), name=f"entry{n}", reset_less=True) for n in range(waits)
        ]
        entry = held[-1]
        m.d.comb += [
            asked.eq(active & (at != count)),
            self.route_address.eq(self.list_data.neuron),
        ]
        with m.If(advance):
            m.d.sync += [
                at.eq(at + asked),
                Cat(there).eq(Cat(asked, there)),
                *(x.eq(before) for x, before in zip(held, [self.list_data, *held], strict=False)),
            ]
        shown, target, last = route_there & route.output, route.axon, Const(1)
        goes = ~(shown & ~self.output.ready)
        if map.learn:  # a source's rows stand next to each other
            step, further, following = Signal.like(route.more), Signal(), Signal.like(route.axon)
            shown &= ~further
            goes = ~(shown & ~self.output.ready)
            last = ~route_there | (step == route.more)
            target = Mux(further, following, route.axon)
            with m.If(goes):
                m.d.sync += [
                    step.eq(Mux(last, 0, step + 1)), further.eq(~last), following.eq(target + 1),
                ]  # fmt: skip
        m.d.comb += [
            advance.eq(goes & last if map.learn else goes),
            self.stalled.eq(~goes if map.learn else ~advance),
            self.output.valid.eq(shown),
            self.output.payload.kind.eq(ENTRY),
            self.output.payload.neuron.eq(entry.neuron),
            self.output.payload.value.eq(entry.value),
        ]

        # Set the bit of an axon: the host's or a route's.
        axon, payload = Signal(map.axon_bits), Signal(map.chip.payload_bits)
        setting = Signal()
        m.d.comb += [
            self.event.ready.eq(~active),
            axon.eq(Mux(active, target, self.event.payload.axon)),
            payload.eq(Mux(active, entry.value, self.event.payload.payload)),
            setting.eq(
                Mux(active, route_there & route.valid & (goes if map.learn else advance),
                    self.event.valid)
            ),
        ]
        word = Signal(range(max(2, map.regions["pending"].entries)), reset_less=True)
        bit = Signal(range(PENDING_WORD), reset_less=True)
        same, before = Signal(), Signal(PENDING_WORD, reset_less=True)
        chosen = Signal(PENDING_WORD)
        m.d.comb += [
            self.pending_address.eq(axon[PENDING_WORD.bit_length() - 1 :]),
            self.payload_write.eq(setting),
            self.payload_address.eq(axon),
            self.payload.eq(payload),
            chosen.eq(Mux(same, before, self.pending_data)),
            self.pending_written.eq(
                chosen | Cat(bit == n for n in range(PENDING_WORD))
            ),
            self.pending_write.eq(word_there),
            self.pending_write_address.eq(word),
        ]
        m.d.sync += [
            word_there.eq(setting),
            word.eq(self.pending_address),
            bit.eq(axon[: PENDING_WORD.bit_length() - 1]),
            same.eq(word_there & (word == self.pending_address)),
            before.eq(self.pending_written),
        ]
        # When the last entry has gone through.
        tail = Signal(1 + waits)
        m.d.comb += self.done.eq(tail[-1])  # nothing is left that could wait
        with m.If(self.done):
            m.d.sync += [active.eq(0), at.eq(0), count.eq(0), tail.eq(0)]
        with m.Elif(advance):
            m.d.sync += tail.eq(Cat(active & (at == count), tail))
        return m


def list_layout(map: MemoryMap) -> data.StructLayout:
    """An entry of the list of a tick's spikes and values."""
    return data.StructLayout({"neuron": map.neuron_bits, "value": map.value_bits})
