"""The post side of learning: traces of neurons, moved in Update alongside the neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.chip import learn_latencies
from ..compiler.ir.cycles import input_clocks
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.region import UNIT, Region, field_bits
from ..compiler.ir.rule import LearningPath
from .deliver import struct
from .memories import HostAccess, RegionMemory, later
from .pipeline import Pipeline, field, signed_as
from .primitives import Target


class Traces(wiring.Component):
    """What is kept of each neuron for learning, in a bank per synapse pipeline.

    Neuron n lies in bank n mod width, at n div width. Of Update: start, and `began` one clock after
    the sequencer decided on a population; `soon` is the neuron whose update is `stored`
    `memory_latency` clocks later, and whether it `spiked`. `table_data` is the population's entry,
    `memory_latency` after its address. While not `updating`, `data` is what lies at `addresses`.
    """

    def __init__(self, map: MemoryMap, target: Target = "generic") -> None:
        assert map.learn is not None
        self.map, self.learn, self.target = map, map.learn, target
        self.region = region = self.learn.regions["post"]
        self.table = self.learn.regions.get("traces")
        entries = max(2, -(-region.entries // self.learn.width))
        self.bank = Region("post", entries, region.bits, region.fields)
        members: dict[str, Any] = {
            "updating": In(1),
            "start": In(1),
            "began": In(1),
            "soon": In(map.neuron_bits),
            "stored": In(1),
            "stored_neuron": In(map.neuron_bits),
            "spiked": In(1),
            "addresses": In(data.ArrayLayout((entries - 1).bit_length(), self.learn.width)),
            "data": Out(data.ArrayLayout(region.bits, self.learn.width)),
            "host": In(HostAccess(map.neuron_bits, region.unit_bits)),
            "host_data": Out(UNIT),
        }
        if self.table:
            members |= {
                "table_address": Out(range(max(2, map.chip.populations))),
                "table_data": In(self.table.bits),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """The banks, and the pipelines of traces."""
        m = Module()
        wait, width = self.map.chip.memory_latency, self.learn.width
        low = (width - 1).bit_length()
        latency, _ = learn_latencies(self.learn.rules)
        number = later(m, self.stored_neuron, latency, "moved")
        write: Value = self.stored
        for n in range(latency):
            m.d.sync += (after := Signal(name=f"moving{n}")).eq(write)
            write = after
        layout = struct(self.region.fields)
        parts = {name: Signal(place.width, name=f"new_{name}") for name, place in layout}
        written = Cat(parts.values())
        shown, kept = [], []
        for n in range(width):
            m.submodules[f"bank{n}"] = bank = RegionMemory(self.bank, written=True, clocks=wait)
            m.d.comb += [
                bank.address.eq(Mux(self.updating, self.soon[low:], self.addresses[n])),
                self.data[n].eq(bank.data),
                bank.write.eq(write & (number[:low] == n)),
                bank.write_address.eq(number[low:]),
                bank.write_data.eq(written),
                bank.host.active.eq(self.host.active),
                bank.host.entry.eq(self.host.entry[low:]),
                bank.host.unit.eq(self.host.unit),
                bank.host.data.eq(self.host.data),
                bank.host.write.eq(self.host.write & (self.host.entry[:low] == n)),
            ]
            shown.append(bank.host_data)
            kept.append(bank.data)
        if width > 1:
            m.d.comb += self.host_data.eq(
                Array(shown)[later(m, self.host.entry[:low], wait, "host_bank")]
            )
            entry = Array(kept)[later(m, self.soon[:low], wait, "soon_bank")]
        else:
            m.d.comb += self.host_data.eq(shown[0])
            entry = kept[0]
        self._move(m, data.View(layout, Value.cast(entry)), parts, latency)
        return m

    def _move(self, m: Module, entry: Any, written: Mapping[str, Signal], latency: int) -> None:
        """The fields of a neuron's entry `latency` clocks after it was stored."""
        m.d.comb += written["spike"].eq(later(m, self.spiked, latency, "spike"))
        for name in written:
            if name.startswith("held"):
                m.d.comb += written[name].eq(later(m, entry[name], latency, name))
        for n in self.learn.before:
            m.d.comb += written[f"before{n}"].eq(later(m, entry[f"x{n}"], latency, f"before{n}"))
        if self.table is None:
            return
        table = data.View(struct(self.table.fields), self._population(m))
        rule_then = Const(0)
        if self.learn.rule_bits:
            rule_then = later(m, table.rule, latency, "rule")
        for number, rule in enumerate(self.learn.rules):
            if rule.post:
                moved = self._pipeline(m, number, rule, entry, table, latency)
                with m.If(rule_then == number):
                    m.d.comb += [written[f"x{n}"].eq(x) for n, x in enumerate(moved)]

    def _pipeline(
        self, m: Module, number: int, rule: LearningPath, entry: Any, table: Any, latency: int
    ) -> list[Value]:
        """The traces of a rule after the update, in the order of their names."""
        pipeline = Pipeline(rule.post_outputs, self.target)
        m.submodules[f"rule{number}"] = pipeline
        spare = latency - pipeline.latency
        given = {"post.event": self.spiked}
        for n, (name, interval) in enumerate(sorted(rule.post.items())):
            given[f"post.{name}"] = entry[f"x{n}"][: field_bits(*interval)]
        formats = self.learn.trace_parameters(rule)
        for n, (name, interval) in enumerate(sorted(formats.items())):
            given[f"parameter.{name}"] = table[f"p{n}"][: field_bits(*interval)]
        for name, raw in given.items():
            if field(name) in pipeline.arrivals:
                value = later(m, raw, spare + pipeline.arrivals[field(name)], f"{field(name)}_")
                m.d.comb += pipeline.inputs[field(name)].eq(signed_as(pipeline, name, value))
        moved = []
        for name in sorted(rule.post):
            output = pipeline.outputs[field(f"next.{name}")]
            left = pipeline.latency - pipeline.departures[field(f"next.{name}")]
            moved.append(later(m, Value.cast(output), left, f"next_{name}_"))
        return moved

    def _population(self, m: Module) -> Value:
        """The table's entry of the population of the neuron that is stored."""
        chip = self.map.chip
        late = input_clocks(chip) + chip.neuron_latency - chip.memory_latency - 1
        began: Value = self.began
        for n in range(late):
            m.d.sync += (after := Signal(name=f"began{n}")).eq(began)
            began = after
        at = Signal.like(self.table_address)
        with m.If(self.start):
            m.d.sync += at.eq(-1)
        with m.Elif(began):
            m.d.sync += at.eq(at + 1)
        m.d.comb += self.table_address.eq(at)
        return self.table_data
