"""The words of rows that are visited: read, through the synapse pipelines, and written back.

The memory is read in every other clock and written in the others. A *group* is a word of weights
with its words of state; stages are numbered by their *lag*, the clocks since the last word of a
group was read, and are the same for all rows. What a row takes along is loaded into registers
shortly before the first of its groups comes to the stage that wants it, so that rows may follow
closely upon each other.

The synapses of a group go through the pipelines in two halves. Of a sparse word, a half has an
entry for each memory of the post side, in the lane in which a dense word has the same weight. What
else such a word holds is not written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from ..compiler.ir.chip import BYTE, learn_latencies
from ..compiler.ir.cores import entry_stride
from ..compiler.ir.language import names_read
from ..compiler.ir.memory_map import MemoryMap, sparse_entry
from ..compiler.ir.plastic import DENSE, SPARSE, SYNAPSE_DRAWS
from ..compiler.ir.region import UNIT, field_bits
from ..compiler.ir.rule import LearningPath
from .deliver import struct
from .memories import later
from .pipeline import Pipeline, field, signed_as
from .primitives import Target


class Line:
    """A value and what it was: `line[n]` is the value n clocks ago. `reset` is for strobes."""

    def __init__(self, m: Module, value: Value, name: str, *, reset: bool = False) -> None:
        self._m, self._name, self._reset = m, name, reset
        self._kept = [value]

    def __getitem__(self, clocks: int) -> Value:
        while len(self._kept) <= clocks:
            last = self._kept[-1]
            after = Signal(
                len(last), name=f"{self._name}_{len(self._kept)}", reset_less=not self._reset
            )
            self._m.d.sync += after.eq(last)
            self._kept.append(after)
        return self._kept[clocks]


@dataclass(frozen=True)
class Visited:
    """A row that is to be visited: its values stay from the clock of `begins`, `least_visit` clocks
    or more. traces: of each rule, the pre side's after this tick, some clocks later."""

    begins: Value
    axon: Value
    address: Value
    words: Value
    sparse: Value
    projection: Any
    rule: Value
    event: Value
    before: Value
    traces: Sequence[Mapping[str, Value]]


@dataclass(frozen=True)
class Walker:
    """What walks a row's words, and is told when to go on: whether it is `walking`, at which
    `address` and accumulator `word`, and whether at its `last`."""

    walking: Value
    address: Value
    word: Value
    last: Value


@dataclass(frozen=True)
class HostWords:
    """What the host writes into synapse words, in each of their units: `asked`, and a clock later
    `active`, where it is `data` that was `coming` before."""

    asked: Value
    active: Value
    asked_data: Value
    active_data: Value

    def coming(self, begin: int, end: int) -> Value:
        """Bits of a word in the clock of `asked`."""
        return Cat(self.asked_data[n % UNIT] for n in range(begin, end))

    def data(self, begin: int, end: int) -> Value:
        """Bits of a word in the clock of `active`."""
        return Cat(self.active_data[n % UNIT] for n in range(begin, end))


class SynapseWords:
    """Builds it into a module.

    address, write, written, mask: of the synapse memory, whose `word` comes `memory_latency` later;
    the host's data are `written` while it is `active`. load, step: the walker begins with the row,
    and goes on to its next word.
    post_word: of the post side's memories, which give `post`, of each lane, likewise; but where the
    row is `post_sparse`, they are read at `post_targets`.
    awake_write, awake: whether, at the end of row `awake_axon`, a synapse's state is not 0, where
    there are states.
    """

    def __init__(
        self, m: Module, map: MemoryMap, target: Target, row: Visited, walker: Walker, word: Value,
        post: Sequence[Value], signals: Mapping[str, Value], random_word: Value, host: HostWords,
    ) -> None:  # fmt: skip
        assert map.learn is not None
        self.m, self.map, self.learn, self.target, self.row = m, map, map.learn, target, row
        self.random_word, self.signals, self.post, self.host = random_word, signals, post, host
        self.walker = walker
        chip, learn = map.chip, map.learn
        self.wait = wait = chip.memory_latency
        self.width, self.halves = learn.width, chip.lanes // learn.width
        traces, self.latency = learn_latencies(learn.rules)
        self.sparse = chip.delay_slots > 1  # whether there are sparse rows
        self._lead = max(0, traces - 2 * wait)  # clocks that a row waits for its traces
        self._start = Line(m, row.begins, "visit", reset=True)
        self._loaded: dict[tuple[str, int], Signal] = {}
        # Lags of the first half: its weights are in registers; its post side is there; it is done.
        self._issue, self._enter = wait + 1, 2 * wait
        self._leave = self._enter + self.latency
        self._back = self._leave + 1  # when both halves are done, in a clock in which none is read
        assert self._back % 2
        kinds = (DENSE, SPARSE) if self.sparse else (DENSE,)
        self._planes = {
            (n, kind): learn.planes(rule, kind)
            for n, rule in enumerate(learn.rules) for kind in kinds
        }  # fmt: skip
        self._most = max(self._planes.values())
        self._state_bits = [learn.state_places(rule)[""][1] for rule in learn.rules]
        self._capacity = chip.lanes * chip.weight_bits
        self._entry = struct(sparse_entry(chip))
        # A half's sparse entries, by the pipeline that takes them: their number in the first one.
        each = chip.lanes // chip.sparse_lanes
        self._entries = {g * each: g for g in range(learn.groups)} if self.sparse else {}
        self._both = chip.sparse_lanes >= self.halves  # whether the second half has entries too

        self.write, self.written = Signal(), Signal(len(word))
        self.mask = Signal(-(-map.regions["synapses"].units * UNIT // BYTE))
        read_address = self._reader(word)
        results, states = self._pipelines()
        write_address = self._writer(results, states)
        self.address = Mux(self.write, write_address, read_address)
        if self._most:
            self._awake(states)

    def _taken(self, value: Value, lag: int, name: str) -> Value:
        """A value of the row, for its groups in the stage of this lag."""
        if (name, lag) not in self._loaded:
            kept = Signal(len(value), name=f"{name}_at{lag}", reset_less=True)
            with self.m.If(self._start[self._lead + lag]):
                self.m.d.sync += kept.eq(value)
            self._loaded[name, lag] = kept
        return self._loaded[name, lag]

    def _of_row(self, values: Mapping[tuple[int, int], int], lag: int) -> Value:
        """A number for each rule and kind, for the row in the stage of this lag."""
        sparse = self._taken(self.row.sparse, lag, "sparse")
        rule = self._taken(self.row.rule, lag, "rule")
        chosen = Signal(range(max(values.values()) + 1), name=f"chosen_at{lag}")
        for (n, kind), value in values.items():
            with self.m.If((rule == n) & (sparse == (kind == SPARSE))):
                self.m.d.comb += chosen.eq(value)
        return chosen

    def _reader(self, word: Value) -> Value:
        """Reads group by group; keeps the words of a group until the next one comes."""
        m, row, wait, walker = self.m, self.row, self.wait, self.walker
        turn, last = Signal(), Signal()
        reads = Signal()
        m.d.sync += turn.eq(~turn)
        m.d.comb += reads.eq(walker.walking & ~turn)
        self._turn = turn
        self.load, self.step = self._start[self._lead], reads & last
        at: Value = walker.address
        plane = Signal(range(self._most + 1))
        if self._most:
            behind = Signal.like(row.address, name="read_at")  # of what lies behind the weights
            at = Mux(plane == 0, walker.address, behind)
            stride = self._taken(row.words, 0, "words")
            m.d.comb += last.eq(plane == self._of_row(self._planes, 0))
            with m.If(reads):
                m.d.sync += [behind.eq(at + stride), plane.eq(Mux(last, 0, plane + 1))]
        else:
            m.d.comb += last.eq(1)
        self._group = Line(m, reads & last, "group", reset=True)
        begins = Signal(name="row_begins", reset_less=True)
        with m.If(self.load):
            m.d.sync += begins.eq(1)
        with m.Elif(reads & last):
            m.d.sync += begins.eq(0)
        self._first = Line(m, reads & last & begins, "row_first", reset=True)
        self._last = Line(m, reads & last & walker.last, "row_last", reset=True)
        # In the lag of `wait` the last word is there, after it all of them are kept.
        self._now: list[Value] = []
        self._kept: list[Value] = []
        for n in range(self._most + 1):
            kept = Signal(len(word), name=f"kept{n}", reset_less=True)
            there = Line(m, reads & (plane == n), f"read{n}", reset=True)[wait]
            with m.If(there if self._most else Const(1)):
                m.d.sync += kept.eq(word)
            self._now.append(Mux(there, word, kept) if self._most else word)
            self._kept.append(kept)
        return at

    def _half(self, now: Value, kept: Value, i: int, bits: int) -> Value:
        """The bits of pipeline i's lane in this half, of what is there now or kept."""
        second = kept[(self.width + i) * bits :][:bits]
        first = now[i * bits :][:bits]
        return Mux(self._second, second, first) if self.halves == 2 else first

    def _entry_number(self, i: int) -> Value:
        """The number of the sparse entry in its word that pipeline i takes in this half."""
        low = (self.learn.groups - 1).bit_length()
        return Cat(Const(self._entries[i], low), self._entry_half)

    def _items(self) -> tuple[list[Value], list[Value]]:
        """Of each pipeline, in the stage of `issue`: whether it has a synapse, its weight. The post
        side is asked for a clock earlier."""
        m, row, lag = self.m, self.row, self.wait
        self._second = second = self._group[lag + 1] if self.halves == 2 else Const(0)
        self._half_bit = Cat(second)[: self.halves - 1]
        self._entry_half = self._half_bit[: self._both]
        some = self._group[lag] | second
        number = self.walker.word
        for n in range(lag):
            kept = Signal(len(number), name=f"word_number{n}", reset_less=True)
            with m.If(self._group[n]):
                m.d.sync += kept.eq(number)
            number = kept
        first, last = (
            line[lag] | (line[lag + 1] if self.halves == 2 else 0)
            for line in (self._first, self._last)
        )
        ends = []
        if self.map.chip.lanes > 1:
            ends = [
                self._taken(row.projection[name], lag, name) for name in ("first_lane", "last_lane")
            ]
        sparse = self._taken(row.sparse, lag, "sparse") if self.sparse else Const(0)
        delay = self._taken(row.projection.delay, lag, "delay") if self.sparse else Const(0)
        word = Cat(self._half_bit, number)
        on, weights = [], []
        self.post_word, self.post_sparse = word, sparse
        self.post_targets: list[Value] = [Const(0)] * self.learn.groups
        self._lanes: dict[int, Value] = {}  # of sparse entries' targets, in their memories
        for i in range(self.width):
            here: Value = Const(1)
            if ends:
                before, after = (self._lanes_beyond(i, end, n) for n, end in enumerate(ends))
                here = ~(first & before) & ~(last & after)
            if i in self._entries:
                here = Mux(sparse, self._sparse_entry(i, delay), here)
            elif self.sparse:
                here &= ~sparse
            on.append(Line(m, some & here, f"on{i}")[1])
            weight = self._half(self._now[0], self._kept[0], i, self.map.chip.weight_bits)
            weights.append(Line(m, weight, f"weight{i}")[1])
        return on, weights

    def _lanes_beyond(self, i: int, end: Value, last: int) -> Value:
        """Whether pipeline i's lane in this half is before a first lane, or after a last one."""
        table = 0
        for n in range(1 << len(end) + len(self._half_bit)):
            lane, of = (n >> len(end)) * self.width + i, n & ((1 << len(end)) - 1)
            table |= (lane > of if last else lane < of) << n
        index = Cat(end, self._half_bit)
        return Const(table, 1 << len(index)).bit_select(index, 1)

    def _sparse_entry(self, i: int, delay: Value) -> Value:
        """Whether the entry that pipeline i takes is a synapse; says where its post side is."""
        group = self._entries[i]
        stride, size = entry_stride(self.map.chip), self._entry.size
        raw: Value = self._now[0][group * stride :][:size]
        there: Value = Const(1)
        if self.halves == 2 and self._both:
            place = (group + self.learn.groups) * stride
            raw = Mux(self._second, self._kept[0][place : place + size], raw)
        elif self.halves == 2:
            there = ~self._second
        entry = data.View(self._entry, raw)
        target = entry.target if "target" in self._entry.members else Const(0, 1)
        # The target's number is that times `sparse_lanes`, and the entry's.
        low = (self.width // min(self.width, self.map.chip.sparse_lanes)).bit_length() - 1
        self.post_targets[group] = target[low:]
        self._lanes[group] = Cat(self._entry_half, target[:low])
        return there & (entry.delay == delay)

    def _seen(self, i: int) -> Value:
        """What the post side gives for pipeline i, in the stage of `enter`."""
        if i not in self._entries:
            return self.post[i]
        groups, group = self.learn.groups, self._entries[i]
        places = self.post[group :: groups]
        if len(places) == 1:
            return self.post[i]
        lane = later(self.m, self._lanes[group], self.wait, f"lane{i}")
        sparse = self._taken(self.row.sparse, self._enter, "sparse")
        if i % groups != group:
            return Mux(sparse, Array(places)[lane], self.post[i])
        return Array(places)[Mux(sparse, lane, Const(i // groups, len(lane)))]

    def _pipelines(self) -> tuple[list[Value], list[list[Value]]]:
        """Weights, and of each rule states, as they leave each pipeline: 0 where no synapse is."""
        m, learn = self.m, self.learn
        on, weights = self._items()
        cells = self._addresses() if any(rule.draws for rule in learn.rules) else []
        rule_then = self._taken(self.row.rule, self._leave, "rule")
        results, states = [], [[] for _ in learn.rules]  # type: list[Value], list[list[Value]]
        for i in range(self.width):
            there = Line(m, on[i], f"issued{i}")[self._leave - self._issue]
            weight, seen = Line(m, weights[i], f"w{i}"), Line(m, self._seen(i), f"seen{i}")
            cell = Line(m, cells[i], f"cell{i}") if cells else None
            result = Signal(self.map.chip.weight_bits, name=f"learnt{i}")
            for n, bits in enumerate(self._state_bits):
                state = Line(m, self._state(i, bits), f"state{n}_{i}")
                w, after = self._pipeline(n, i, weight, state, seen, cell)
                with m.If(there & (rule_then == n)):
                    m.d.comb += result.eq(w)
                states[n].append(Mux(there & (rule_then == n), after, 0) if bits else after)
            results.append(result)
        return results, states

    def _state(self, i: int, bits: int) -> Value:
        """The state of pipeline i's synapse, in the stage of `issue`."""
        if not bits:
            return Const(0, 0)
        now, kept = (
            Cat(x[: self._capacity] for x in words[1:]) for words in (self._now, self._kept)
        )
        state = self._half(now, kept, i, bits)
        if i in self._entries:
            at = self._entries[i] * bits
            mine: Value = now[at : at + bits]
            if self.halves == 2 and self._both:
                at += self.learn.groups * bits
                mine = Mux(self._second, kept[at : at + bits], mine)
            state = Mux(self._taken(self.row.sparse, self.wait, "sparse"), mine, state)
        return Line(self.m, state, "state")[1]

    def _addresses(self) -> list[Value]:
        """What the synapse of each pipeline is numbered by, for random numbers, in the stage of
        `issue`."""
        m, row, lag = self.m, self.row, self.wait
        at = Signal.like(row.address, name="drawn_at")
        with m.If(self._group[lag + 1]):
            m.d.sync += at.eq(at + 1)
        with m.If(self._start[self._lead + lag]):
            m.d.sync += at.eq(row.address)
        cells = []
        for i in range(self.width):
            lane = Cat(Const(i, (self.width - 1).bit_length()), self._half_bit)
            if i in self._entries:
                sparse = self._taken(row.sparse, lag, "sparse")
                lane = Mux(sparse, self._entry_number(i), lane)
            number = Cat(Cat(lane, Const(0, self.map.lane_bits))[: self.map.lane_bits], at)
            cells.append(Line(m, number, "cell")[1])
        return cells

    def _pipeline(
        self, number: int, i: int, weight: Line, state: Line, seen: Line, cell: Line | None
    ) -> tuple[Value, Value]:
        """Weight and state of a synapse as a rule's pipeline gives them."""
        m, learn, row = self.m, self.learn, self.row
        rule = learn.rules[number]
        pipeline = Pipeline(rule.outputs, self.target, rule.schedule)
        m.submodules[f"rule{number}_{i}"] = pipeline
        spare = self.latency - pipeline.latency
        stood = self._enter - self._issue  # clocks from weights to the post side
        layout = struct(learn.regions["post"].fields)
        parameters = list(learn.synapse_parameters(rule))
        for name in sorted(names_read(rule.outputs)):
            clock = spare + pipeline.arrivals[field(name)]
            kind, _, variable = name.rpartition(".")
            lag = self._enter + clock
            if name == "w":
                value = weight[stood + clock]
            elif kind == "state":
                at, bits = learn.state_places(rule)[variable]
                value = state[stood + clock][at : at + bits]
            elif kind in ("post", "post.next"):
                entry = data.View(layout, seen[clock][: layout.size])
                value = Value.cast(entry[self._post_field(rule, kind, variable)])
                value = value[: self._bits_of(rule, kind, variable)]
            elif name == "pre.event":
                value = self._taken(row.event, lag, "event")
            elif kind == "pre":
                n = sorted(rule.pre).index(variable)
                before = data.View(struct(learn.regions["pre"].fields), row.before)[f"x{n}"]
                before = before[: field_bits(*rule.pre[variable])]
                value = self._taken(before, lag, f"x{number}_{n}")
            elif kind == "pre.next":
                value = self._taken(row.traces[number][variable], lag, f"{number}_next_{variable}")
            elif kind == "parameter":
                n = sorted(parameters).index(variable)
                bits = field_bits(*rule.parameters[variable])
                value = self._taken(row.projection[f"p{n}"][:bits], lag, f"p{number}_{n}")
            else:
                value = self.signals[variable][: field_bits(*rule.signals[variable])]
            m.d.comb += pipeline.inputs[field(name)].eq(signed_as(pipeline, name, value))
        if rule.draws and cell is not None:
            place = cell[stood + spare + pipeline.drawn]
            whole = place | Const(SYNAPSE_DRAWS, 28)
            m.d.comb += [
                pipeline.word.eq(self.random_word),
                pipeline.address.eq(whole[:16]),
                pipeline.core.eq(whole[16:28]),
            ]

        def output(name: str, bits: int) -> Value:
            following = Signal(bits, name=f"next_{name}")
            m.d.comb += following.eq(pipeline.outputs[field(f"next.{name}")])
            left = pipeline.latency - pipeline.departures[field(f"next.{name}")]
            return later(m, following, left, f"next_{name}")

        after = [output(name, field_bits(*x)) for name, x in sorted(rule.state.items())]
        return output("w", self.map.chip.weight_bits), Cat(after)

    def _post_field(self, rule: LearningPath, kind: str, variable: str) -> str:
        if kind == "post" and variable == "event":
            return "spike"
        if variable in rule.held:
            return f"held{sorted(rule.held).index(variable)}"
        return f"{'x' if kind == 'post.next' else 'before'}{sorted(rule.post).index(variable)}"

    def _bits_of(self, rule: LearningPath, kind: str, variable: str) -> int:
        if kind == "post" and variable == "event":
            return 1
        return field_bits(*(rule.held | rule.post)[variable])

    def _writer(self, results: Sequence[Value], states: Sequence[Sequence[Value]]) -> Value:
        """Writes each group, in the stage of `back` and every other clock from there."""
        m, row, lag = self.m, self.row, self._back
        base = Signal.like(row.address, name="write_base")
        first = self._group[lag]
        with m.If(self._start[self._lead + lag]):
            m.d.sync += base.eq(row.address)
        with m.Elif(first):
            m.d.sync += base.eq(base + 1)
        # What the host writes goes the same way.
        host, size = self.host, len(Cat(results))
        low = Signal(size, name="low", reset_less=True)
        m.d.sync += low.eq(Cat(results) | Mux(host.asked, host.coming(0, size), 0))
        weights: Value = low
        if self.halves == 2:
            high = Mux(host.active, host.data(size, 2 * size), Cat(results))
            weights = Cat(low, high)
        weights = Cat(weights, Mux(host.active, host.data(len(weights), len(self.written)), 0))
        m.d.comb += [self.write.eq(first), self.written.eq(weights), self.mask.eq(-1)]
        if self.sparse:
            with m.If(first & self._taken(row.sparse, lag, "sparse")):
                m.d.comb += self.mask.eq(self._entry_bytes())
        if not self._most:
            return base
        at, left = Signal.like(base, name="write_at"), Signal(range(self._most + 1))
        more = Signal()
        stride = self._taken(row.words, lag, "words")
        planes = self._of_row(self._planes, lag)
        m.d.comb += more.eq(self._turn & (left != 0) & ~first)
        with m.If(first):
            m.d.sync += [at.eq(base + stride), left.eq(planes)]
        with m.Elif(more):
            m.d.sync += [at.eq(at + stride), left.eq(left - 1)]
        done = planes - left
        rule = self._taken(row.rule, lag, "rule")
        sparse = self._taken(row.sparse, lag, "sparse") if self.sparse else Const(0)
        found: list[tuple[int, Value]] = []
        for n, bits in enumerate(self._state_bits):
            if not bits:
                continue
            low = self._caught(states[n], 0, f"state{n}_low")
            high = self._caught(states[n], 1, f"state{n}_high") if self.halves == 2 else low[:0]
            joined: Value = Cat(low, high)
            if self.sparse:
                mine = [half[i * bits :][:bits] for half in (low, high) for i in self._entries]
                joined = Mux(sparse, Cat(mine), joined)
            found.append((n, Cat(joined, Const(0, self._most * self._capacity))))
        with m.If(more):
            m.d.comb += self.write.eq(1)
            for n, joined in found:
                for k in range(self._most):
                    with m.If((rule == n) & (done[: len(left)] == k)):
                        m.d.comb += self.written.eq(
                            joined[k * self._capacity : (k + 1) * self._capacity]
                        )
        return Mux(first, base, at)

    def _caught(self, parts: Sequence[Value], half: int, name: str) -> Value:
        """What left the pipelines in a half of a group, until that of the next one."""
        kept = Signal(sum(len(x) for x in parts), name=name, reset_less=True)
        with self.m.If(self._group[self._leave + half]):
            self.m.d.sync += kept.eq(Cat(parts))
        return kept

    def _entry_bytes(self) -> int:
        """The mask of the bytes that have the weights of sparse entries."""
        chip, mask = self.map.chip, 0
        for j in range(chip.sparse_lanes):
            at = j * entry_stride(chip) // BYTE
            mask |= ((1 << chip.entry_weight_bits // BYTE) - 1) << at
        return mask

    def _awake(self, states: Sequence[Sequence[Value]]) -> None:
        """Whether any synapse of a row has a state that is not 0, told at its end."""
        m, row, lag = self.m, self.row, self._leave
        left, some = Signal.like(row.words, name="to_leave"), Signal(reset_less=True)
        now = Cat(Cat(parts) for parts in states).any()
        with m.If(self._group[lag]):
            m.d.sync += some.eq(some | now)
        if self.halves == 2:
            with m.If(self._group[lag + 1]):
                m.d.sync += some.eq(some | now)
        with m.If(self._group[lag + 1]):
            m.d.sync += left.eq(left - 1)
        with m.If(self._start[self._lead + lag]):
            m.d.sync += [left.eq(row.words), some.eq(0)]
        self.awake_write = Line(m, self._group[lag + 1] & (left == 1), "row_ends", reset=True)[1]
        self.awake = some
        self.awake_axon = self._taken(row.axon, lag, "axon")
