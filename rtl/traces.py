"""The post side of learning: traces of neurons, moved in Update alongside the neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..compiler.ir.chip import learn_latencies
from ..compiler.ir.cycles import input_clocks
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.region import UNIT, field_bits
from ..compiler.ir.rule import LearningPath
from .deliver import struct
from .memories import HostAccess, later
from .pipeline import Pipeline, field, signed_as
from .primitives import Target

BETWEEN = 2  # clocks from a population's last neuron to the first of the next one, at least


class Traces(wiring.Component):
    """What is kept of each neuron for learning, in `LearnMap.groups` memories.

    Neuron n is lane n mod width of word n div width, and lane l lies in memory l mod groups. Behind
    the neurons is a word of each population. Of Update: start, and `began` one clock after the
    sequencer decided on a population; `soon` is the neuron whose update is `stored`
    `memory_latency` + `LearnMap.trace_lead` clocks later, and whether it `spiked`. While not
    `updating`, `data` is, of each lane, what lies at `word`; or, where `sparse`, which is neither
    then nor while the host reads, at its memory's of `targets`.
    """

    def __init__(self, map: MemoryMap, target: Target = "generic") -> None:
        assert map.learn is not None
        self.map, self.learn, self.target = map, map.learn, target
        self.region = region = self.learn.regions["post"]
        self.words = max(2, -(-region.entries // self.learn.width))
        address = (self.words - 1).bit_length()
        super().__init__(
            {
                "updating": In(1),
                "start": In(1),
                "began": In(1),
                "soon": In(map.neuron_bits),
                "stored": In(1),
                "stored_neuron": In(map.neuron_bits),
                "spiked": In(1),
                "word": In(address),
                "sparse": In(1),
                "targets": In(data.ArrayLayout(address, self.learn.groups)),
                "data": Out(data.ArrayLayout(region.bits, self.learn.width)),
                "host": In(HostAccess((region.entries - 1).bit_length(), region.unit_bits)),
                "host_data": Out(region.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The memories, and the pipelines of traces."""
        m = Module()
        wait, width, groups = self.map.chip.memory_latency, self.learn.width, self.learn.groups
        low = (width - 1).bit_length()
        latency, _ = learn_latencies(self.learn.rules)
        latency -= self.learn.trace_lead  # from when it is known whether a neuron spikes
        number = later(m, self.stored_neuron, latency, "moved")
        write: Value = self.stored
        for n in range(latency):
            m.d.sync += (after := Signal(name=f"moving{n}")).eq(write)
            write = after
        asked, population = self._populations(m)
        layout = struct(self.region.fields)
        parts = {name: Signal(place.width, name=f"new_{name}") for name, place in layout}
        written = Cat(parts.values())
        host, bits = self.host, self.region.bits
        entries: list[Any] = [None] * width
        read: Value = self.soon[low:]
        if self.learn.trace_fields:
            read = Mux(asked, population, read)
        # What comes from the synapses' memory comes late: it is chosen last.
        other = Mux(host.active, host.entry[low:], Mux(self.updating, read, self.word))
        for g in range(groups):
            address = Mux(self.sparse, self.targets[g], other)
            lanes = range(g, width, groups)
            pieces = [
                self._memory(
                    m, f"group{g}_{unit}", min(UNIT, bits - unit * UNIT), len(lanes),
                    address,
                    Mux(host.active, host.entry[low:], number[low:]),
                    Mux(host.active, host.data, written[unit * UNIT :]),
                    [
                        Mux(
                            host.active,
                            host.write & (host.entry[:low] == lane) & (host.unit == unit),
                            write & (number[:low] == lane),
                        )
                        for lane in lanes
                    ],
                )
                for unit in range(self.region.units)
            ]
            for n, lane in enumerate(lanes):
                entries[lane] = Cat(piece[n] for piece in pieces)
                m.d.comb += self.data[lane].eq(entries[lane])
        lane = later(m, Mux(host.active, host.entry[:low], self.soon[:low]), wait, "lane")
        chosen = Signal(bits, name="chosen")
        m.d.comb += chosen.eq(Array(entries)[lane] if width > 1 else entries[0])
        m.d.comb += self.host_data.eq(chosen)
        self._move(m, data.View(layout, chosen[: layout.size]), parts, asked, Cat(entries))
        return m

    def _memory(
        self, m: Module, name: str, bits: int, lanes: int, address: Value, write_address: Value,
        written: Value, writes: list[Value],
    ) -> list[Value]:  # fmt: skip
        """A memory of lanes that are written one by one; what it gives of each."""
        memory = Memory(shape=bits * lanes, depth=self.words, init=[])
        m.submodules[name] = memory
        read = memory.read_port()
        write = memory.write_port(granularity=bits if lanes > 1 else None)
        m.d.comb += [
            read.addr.eq(address),
            write.addr.eq(write_address),
            write.data.eq(Cat(*[Cat(written, Const(0, bits))[:bits]] * lanes)),
            write.en.eq(Cat(writes)),
        ]
        word = later(m, read.data, self.map.chip.memory_latency - 1, f"{name}_data")
        return [word[n * bits : (n + 1) * bits] for n in range(lanes)]

    def _populations(self, m: Module) -> tuple[Value, Value]:
        """Whether a population's word is to be read in this clock, the last before its first neuron
        is `soon`; its address."""
        chip = self.map.chip
        late = input_clocks(chip) + chip.neuron_latency - chip.memory_latency - 1
        asked: Value = self.began
        for n in range(late - self.learn.trace_lead):
            m.d.sync += (after := Signal(name=f"began{n}")).eq(asked)
            asked = after
        at = Signal(range(max(2, chip.populations)), name="population")
        with m.If(self.start):
            m.d.sync += at.eq(0)
        with m.Elif(asked):
            m.d.sync += at.eq(at + 1)
        words = self.learn.post_words
        if words % (1 << len(at)):
            return asked, at + words
        return asked, Cat(at, Const(words >> len(at), words.bit_length()))

    def _move(
        self, m: Module, entry: Any, written: Mapping[str, Signal], asked: Value, word: Value
    ) -> None:
        """The fields of a neuron's entry when its traces have moved."""
        latency, _ = learn_latencies(self.learn.rules)
        known = latency - self.learn.trace_lead
        m.d.comb += written["spike"].eq(later(m, self.spiked, known, "spike"))
        for name in written:
            if name.startswith("held"):
                m.d.comb += written[name].eq(later(m, entry[name], latency, name))
        for n in self.learn.before:
            m.d.comb += written[f"before{n}"].eq(later(m, entry[f"x{n}"], latency, f"before{n}"))
        if not self.learn.trace_fields:
            return
        layout = struct(self.learn.trace_fields)
        kept = Signal(layout, name="table")
        there: Value = asked
        for n in range(self.map.chip.memory_latency):
            m.d.sync += (after := Signal(name=f"asked{n}")).eq(there)
            there = after
        with m.If(there):
            m.d.sync += kept.eq(word)
        rule_then: Value = Const(0)
        if self.learn.rule_bits:
            rule_then = later(m, kept.rule, max(0, latency - BETWEEN), "rule")
        for number, rule in enumerate(self.learn.rules):
            if rule.post:
                moved = self._pipeline(m, number, rule, entry, kept, latency)
                with m.If(rule_then == number):
                    m.d.comb += [written[f"x{n}"].eq(x) for n, x in enumerate(moved)]

    def _pipeline(
        self, m: Module, number: int, rule: LearningPath, entry: Any, table: Any, latency: int
    ) -> list[Value]:
        """The traces of a rule after the update, in the order of their names."""
        pipeline = Pipeline(rule.post_outputs, self.target)
        m.submodules[f"rule{number}"] = pipeline
        spare = latency - pipeline.latency
        given = {"post.event": (self.spiked, self.learn.trace_lead)}  # and what is there so late
        for n, (name, interval) in enumerate(sorted(rule.post.items())):
            given[f"post.{name}"] = (entry[f"x{n}"][: field_bits(*interval)], 0)
        formats = self.learn.trace_parameters(rule)
        for n, (name, interval) in enumerate(sorted(formats.items())):
            given[f"parameter.{name}"] = (table[f"p{n}"][: field_bits(*interval)], BETWEEN)
        for name, (raw, late) in given.items():
            if field(name) in pipeline.arrivals:
                clocks = max(0, spare + pipeline.arrivals[field(name)] - late)
                value = later(m, raw, clocks, f"{field(name)}_")
                m.d.comb += pipeline.inputs[field(name)].eq(signed_as(pipeline, name, value))
        moved = []
        for name in sorted(rule.post):
            output = pipeline.outputs[field(f"next.{name}")]
            left = pipeline.latency - pipeline.departures[field(f"next.{name}")]
            moved.append(later(m, Value.cast(output), left, f"next_{name}_"))
        return moved
