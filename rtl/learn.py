"""Learn: scans the axons in use, and takes the rows that may change through the synapse pipelines.

The scan goes through four stages, the first three of them `memory_latency` clocks apart: an axon's
number; whose row it is; its trace, its events and when its projection is to be visited, which
tells whether it is; its descriptor, and the rest of its projection. There a row that is to be
visited is held, for the clocks of its visit.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..compiler.ir.chip import BYTE, learn_latencies
from ..compiler.ir.cycles import PENDING_WORD, least_visit
from ..compiler.ir.memory_map import MemoryMap
from ..compiler.ir.plastic import DENSE, SPARSE
from ..compiler.ir.region import UNIT, field_bits
from ..compiler.ir.rule import LearningPath
from .deliver import struct
from .memories import later
from .pipeline import Pipeline, field, signed_as
from .primitives import Target
from .synapse_words import HostWords, SynapseWords, Visited, Walker

SCANNED = ("rows", "pre", "history", "awake")  # memories of the scan
WRITTEN = ("pre", "history", "awake")


class Learn(wiring.Component):
    """Visits the rows that are active.

    start: one clock; done: high in the last clock; axons: in use; spiked: whether any neuron of the
    core did in this tick; due: whether each population updated, the last one first. Memories of the
    scan, the pending set, and those of parameters go on with `advance`: `index` tells whose row it
    is, `projection_data` are the units that tell whether it is visited (`deciding_units`), at
    `projection_address`, and the rest, at `visited_address`. `synapse_data` comes `memory_latency`
    after its address, and so does `post_data` of the post side's memories. For load, step and what
    is walked see `SynapseWords` and `Walker`, for asked, active and their data `HostWords`; the
    scan's addresses are then those of `asked_entry`.
    """

    def __init__(self, map: MemoryMap, target: Target = "generic") -> None:
        assert map.learn is not None
        self.map, self.learn, self.target = map, map.learn, target
        regions, learn = map.regions, map.learn
        words = range(max(2, regions["pending"].entries))
        post = max(2, -(-regions["post"].entries // learn.width))  # words
        parts = -(-regions["synapses"].units * UNIT // BYTE)
        members: dict[str, Any] = {
            "start": In(1),
            "done": Out(1),
            "axons": In(range(map.chip.axons + 1)),
            "spiked": In(1),
            "due": In(map.chip.populations),
            "random_word": In(32),
            "signals": In(data.ArrayLayout(16, max(1, len(learn.signals)))),
            "advance": Out(1),
            "index_address": Out(map.neuron_bits),
            "index_data": In(regions["parameter_index"].bits),
            "projection_address": Out(range(max(2, map.chip.parameter_sets))),
            "visited_address": Out(range(max(2, map.chip.parameter_sets))),
            "projection_data": In(learn.projection.bits),
            "pending_address": Out(words),
            "pending_data": In(PENDING_WORD),
            "pending_clear": Out(1),
            "pending_clear_address": Out(words),
            "load": Out(1),
            "step": Out(1),
            "walking": In(1),
            "walked": In(dict(regions["rows"].fields)["address"]),
            "word": In(map.word_bits),
            "last": In(1),
            "synapse_address": Out(dict(regions["rows"].fields)["address"]),
            "synapse_data": In(regions["synapses"].bits),
            "synapse_write": Out(1),
            "synapse_written": Out(regions["synapses"].bits),
            "synapse_mask": Out(parts),
            "asked": In(1),
            "asked_entry": In(map.axon_bits),
            "asked_data": In(UNIT),
            "active": In(1),
            "active_data": In(UNIT),
            "post_word": Out(range(post)),
            "post_sparse": Out(1),
            "post_targets": Out(data.ArrayLayout((post - 1).bit_length(), learn.groups)),
            "post_data": In(data.ArrayLayout(regions["post"].bits, learn.width)),
        }
        self.scanned = tuple(name for name in SCANNED if name in regions)
        for name in self.scanned:
            entries = range(max(2, regions[name].entries))
            members |= {f"{name}_address": Out(entries), f"{name}_data": In(regions[name].bits)}
            if name in WRITTEN:
                members |= {
                    f"{name}_write": Out(1), f"{name}_write_address": Out(entries),
                    f"{name}_written": Out(regions[name].bits),
                }  # fmt: skip
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """The scan, the pre side, then the words of visited rows."""
        m = Module()
        regions = self.learn.regions
        row = data.View(struct(self.map.regions["rows"].fields), self.rows_data)
        extent = struct(self.map.row_extent)
        extent_of = data.View(extent, row.extent[: extent.size])
        projection = data.View(struct(self.learn.projection.fields), self.projection_data)
        rule = projection.rule if self.learn.rule_bits else Const(0)
        most = max(1, -(-self.map.chip.neurons // self.map.chip.sparse_lanes))  # of one delay
        words = Mux(row.sparse, row.extent, extent_of.words)[: most.bit_length()]
        holding, visit, fresh = Signal(), Signal(), Signal()
        there, axon = self._scan(m)

        # Whether it is visited.
        event = self._event(m, there, projection, axon)
        later = projection.later if self.map.chip.populations > 1 else Const(0)
        moves = there & self._plastic & self.due.bit_select(later, 1)
        traces_there = self.pre_data if "pre" in regions else Const(0)
        awake = self.awake_data if "awake" in regions else Const(0)
        resting, p = traces_there == 0, projection
        quiet = (p.without_spikes & ~self.spiked) | (p.at_rest & resting)
        quiet |= p.at_rest_without_spikes & resting & ~self.spiked
        wanted = moves & p.on & (event | awake | ~quiet)
        last = Signal(name="axon_there")
        kept = {
            "event": event, "moves": moves, "wanted": wanted, "axon": axon, "before": traces_there,
        }  # fmt: skip
        now = {name: Signal(len(x), name=f"{name}_now") for name, x in kept.items()}
        with m.If(self.advance):
            m.d.sync += [last.eq(there), *(now[name].eq(x) for name, x in kept.items())]
        m.d.comb += [fresh.eq(last & ~holding), visit.eq(last & now["wanted"])]
        event = now["event"]
        self._hold(m, holding, visit, words, row.sparse, rule)
        traces = self._pre(m, fresh, now["moves"], projection, rule, event, now["before"])

        visited = Visited(
            visit & ~holding, now["axon"], row.address, words, row.sparse, projection, rule,
            event, now["before"], traces,
        )  # fmt: skip
        signals = {name: self.signals[n] for n, name in enumerate(self.learn.signals)}
        through = SynapseWords(
            m, self.map, self.target, visited,
            Walker(self.walking, self.walked, self.word, self.last), self.synapse_data,
            [self.post_data[n] for n in range(self.learn.width)], signals, self.random_word,
            HostWords(self.asked, self.active, self.asked_data, self.active_data),
        )  # fmt: skip
        m.d.comb += [
            self.load.eq(through.load),
            self.step.eq(through.step),
            self.synapse_address.eq(through.address),
            self.synapse_write.eq(through.write),
            self.synapse_written.eq(through.written),
            self.synapse_mask.eq(through.mask),
            self.post_word.eq(through.post_word),
            self.post_sparse.eq(through.post_sparse),
            *(self.post_targets[n].eq(x) for n, x in enumerate(through.post_targets)),
        ]
        if "awake" in regions:
            m.d.comb += [
                self.awake_write.eq(through.awake_write),
                self.awake_write_address.eq(through.awake_axon),
                self.awake_written.eq(through.awake),
            ]
        return m

    def _scan(self, m: Module) -> tuple[Value, Value]:
        """An axon per clock in which the stages go on: of the one in the third stage, whether there
        is one, and its number; `plastic` is whether its row is."""
        wait, regions = self.map.chip.memory_latency, self.map.regions
        running, at = Signal(), Signal.like(self.axons)
        there: list[Value] = [Signal(name=f"there{n}") for n in range(2 * wait + 1)]
        ends: list[Value] = [Signal(name=f"end{n}") for n in range(2 * wait + 2)]
        bits = len(self.pending_address) + PENDING_WORD.bit_length() - 1
        axon: list[Value] = [Cat(at, Const(0, bits))[:bits]]
        axon += [Signal(bits, name=f"axon{n}", reset_less=True) for n in range(2 * wait)]
        index = data.View(struct(regions["parameter_index"].fields), self.index_data)
        share = len(self.learn.plastic_fields)
        low, within = (share - 1).bit_length(), PENDING_WORD.bit_length() - 1
        found = Array(index[name] for name, _ in self.learn.plastic_fields)[axon[wait][:low]]
        plastic: list[Value] = [found != 0]
        plastic += [Signal(name=f"plastic{n}", reset_less=True) for n in range(wait)]
        m.d.comb += [
            there[0].eq(running & (at != self.axons)), ends[0].eq(running & (at == self.axons)),
        ]  # fmt: skip
        with m.If(self.advance):
            m.d.sync += at.eq(at + there[0])
            for chain in (there, ends, axon, plastic):
                m.d.sync += [b.eq(a) for a, b in itertools.pairwise(chain)]
        with m.If(self.asked):
            m.d.sync += [x.eq(self.asked_entry) for x in axon[1:]]
        with m.If(self.start):
            m.d.sync += running.eq(1)
        following = Signal.like(found, name="visited_projection", reset_less=True)
        ends_word = Signal(reset_less=True)  # of the pending set
        with m.If(self.advance):
            m.d.sync += [following.eq(found), ends_word.eq(axon[-2][:within].all())]
        m.d.comb += [
            self.index_address.eq(at[low:]),
            self.projection_address.eq(self._projection_at(found)),
            self.visited_address.eq(self._projection_at(following)),
            *(
                getattr(self, f"{name}_address").eq(axon[wait + (name == "rows")])
                for name in self.scanned
            ),
            self.pending_address.eq(axon[2 * wait - 1][within:]),
            # The last axon of a word of the pending set is done with it.
            self.pending_clear.eq(there[-1] & self.advance & (~there[-2] | ends_word)),
            self.pending_clear_address.eq(axon[-1][within:]),
        ]  # fmt: skip

        # Done when the last word is written.
        drain = least_visit(self.map.chip)
        draining, left = Signal(), Signal(range(drain))
        with m.If(draining):
            m.d.sync += left.eq(left - 1)
        with m.Elif(ends[-1]):
            m.d.sync += [draining.eq(1), left.eq(drain - 1)]
        m.d.comb += self.done.eq(draining & (left == 0))
        with m.If(self.done):
            m.d.sync += [draining.eq(0), running.eq(0), at.eq(0), Cat(ends[1:]).eq(0)]
        self._plastic = plastic[-1]
        return there[-1], axon[-1]

    def _projection_at(self, plastic: Value) -> Value:
        """`LearnMap.projection_at`, of one less; what varies of it is in a few bits, if it may."""
        sets = self.map.chip.parameter_sets
        low = (max(1, self.map.chip.projections) - 1).bit_length()
        if sets % (1 << low):
            return (sets - plastic)[: len(self.projection_address)]
        return Cat(~(plastic - 1)[:low], Const((sets - 1) >> low, len(self.projection_address)))

    def _event(self, m: Module, there: Value, projection: Any, axon: Value) -> Value:
        """Whether an event comes to the row's synapses in this tick; the history moves."""
        now = Signal(name="event_now")
        m.d.comb += now.eq(
            self.pending_data.bit_select(axon[: PENDING_WORD.bit_length() - 1], 1)
        )
        if "history" not in self.learn.regions:
            return now
        m.d.comb += [
            self.history_write.eq(there & self.advance),
            self.history_write_address.eq(axon),
            self.history_written.eq(Cat(now, self.history_data)),
        ]
        return Cat(now, self.history_data).bit_select(projection.late, 1)

    def _hold(
        self, m: Module, holding: Signal, visit: Signal, words: Value, sparse: Value, rule: Value
    ) -> None:
        """A row that is visited stays for its clocks (`cycles.visit_clocks`)."""
        learn, least = self.learn, least_visit(self.map.chip)
        most = max(learn.planes(r, kind) for r in learn.rules for kind in (DENSE, SPARSE))
        slots = Signal(len(words) + (most + 1).bit_length())  # of two clocks, but for one
        m.d.comb += slots.eq(words)
        for n, r in enumerate(learn.rules):
            for kind in (DENSE, SPARSE):
                planes = learn.planes(r, kind)
                if planes:
                    with m.If((rule == n) & (sparse == (kind == SPARSE))):
                        m.d.comb += slots.eq((words + 1) * (planes + 1) - 1)
        left, ended = Signal(range(max(least, 2 << len(slots)))), Signal()
        clocks = Cat(1, slots)
        m.d.comb += self.advance.eq(Mux(holding, ended, ~visit))
        with m.If(holding):
            m.d.sync += [left.eq(left - 1), ended.eq(left == 1), holding.eq(~ended)]
        with m.Elif(visit):
            m.d.sync += [
                left.eq(Mux(clocks < least - 1, least - 1, clocks)), ended.eq(0), holding.eq(1),
            ]  # fmt: skip

    def _pre(
        self, m: Module, fresh: Value, moves: Value, projection: Any, rule: Value, event: Value,
        before: Value,
    ) -> list[Mapping[str, Value]]:  # fmt: skip
        """Moves the traces of an axon, if it `moves`; those of each rule as they are then."""
        rules, regions = self.learn.rules, self.learn.regions
        if "pre" not in regions:
            return [{} for _ in rules]
        latency, _ = learn_latencies(rules)
        write: Value = fresh & moves
        for n in range(latency):
            m.d.sync += (after := Signal(name=f"moving{n}")).eq(write)
            write = after
        axon = Signal.like(self.pre_write_address, name="moved_axon")  # each in its turn
        passed: Value = fresh
        for n in range(latency):
            m.d.sync += (after := Signal(name=f"passed{n}")).eq(passed)
            passed = after
        with m.If(self.start):
            m.d.sync += axon.eq(0)
        with m.Elif(passed):
            m.d.sync += axon.eq(axon + 1)
        m.d.comb += [self.pre_write.eq(write), self.pre_write_address.eq(axon)]
        rule_then = later(m, rule, latency, "moved_rule")
        written = {
            name: Signal(place.width, name=f"new_{name}")
            for name, place in struct(regions["pre"].fields)
        }
        m.d.comb += self.pre_written.eq(Cat(written.values()))
        found: list[Mapping[str, Value]] = []
        for number, r in enumerate(rules):
            moved = self._moved(m, number, r, projection, event, before, latency) if r.pre else {}
            with m.If(rule_then == number):
                m.d.comb += [
                    written[f"x{n}"].eq(moved[name]) for n, name in enumerate(sorted(r.pre))
                ]
            found.append(moved)
        return found

    def _moved(
        self, m: Module, number: int, rule: LearningPath, projection: Any, event: Value,
        before: Value, latency: int,
    ) -> Mapping[str, Value]:  # fmt: skip
        """A rule's traces of the pre side after this tick, `latency` clocks later."""
        pipeline = Pipeline(rule.pre_outputs, self.target)
        m.submodules[f"pre{number}"] = pipeline
        spare = latency - pipeline.latency
        given = {"pre.event": event}
        traces = data.View(struct(self.learn.regions["pre"].fields), before)
        for n, (name, interval) in enumerate(sorted(rule.pre.items())):
            given[f"pre.{name}"] = traces[f"x{n}"][: field_bits(*interval)]
        formats = self.learn.synapse_parameters(rule)
        for n, (name, interval) in enumerate(sorted(formats.items())):
            given[f"parameter.{name}"] = projection[f"p{n}"][: field_bits(*interval)]
        for name, raw in given.items():
            if field(name) in pipeline.arrivals:
                value = later(m, raw, spare + pipeline.arrivals[field(name)], f"{field(name)}_")
                m.d.comb += pipeline.inputs[field(name)].eq(signed_as(pipeline, name, value))
        moved = {}
        for name, interval in rule.pre.items():
            output = Value.cast(pipeline.outputs[field(f"next.{name}")])
            left = pipeline.latency - pipeline.departures[field(f"next.{name}")]
            moved[name] = later(m, output, left, f"next_{name}_")[: field_bits(*interval)]
        return moved
