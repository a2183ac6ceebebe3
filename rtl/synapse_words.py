"""The words of rows that are visited: read, through the synapse pipelines, and written back.

The memory is read in every other clock and written in the others. A *group* is a word of weights
with its words of state; stages are numbered by their *lag*, the clocks since the last word of a
group was read, and are the same for all rows. What a row takes along is loaded into registers
shortly before the first of its groups comes to the stage that wants it, so that rows may follow
closely upon each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from ..compiler.ir.chip import learn_latencies
from ..compiler.ir.language import names_read
from ..compiler.ir.memory_map import MemoryMap, sparse_entry
from ..compiler.ir.plastic import DENSE, SPARSE, SYNAPSE_DRAWS
from ..compiler.ir.region import field_bits
from ..compiler.ir.rule import LearningPath
from .deliver import struct
from .memories import later
from .pipeline import MEMORY_DELAY, Pipeline, field, signed_as
from .primitives import DelayLine, Target


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
    begin: Value
    sparse: Value
    projection: Any
    rule: Value
    event: Value
    before: Value
    traces: Sequence[Mapping[str, Value]]


class SynapseWords:
    """Builds it into a module.

    address, write, written: of the synapse memory, whose `word` comes `memory_latency` later;
    post_addresses, post: of the post side's banks, likewise. awake_write, awake: whether, at the
    end of row `awake_axon`, a synapse's state is not 0, where there are states.
    """

    def __init__(
        self, m: Module, map: MemoryMap, target: Target, row: Visited, word: Value,
        post: Sequence[Value], signals: Mapping[str, Value], random_word: Value,
    ) -> None:  # fmt: skip
        assert map.learn is not None
        self.m, self.map, self.learn, self.target, self.row = m, map, map.learn, target, row
        self.random_word, self.signals, self.post = random_word, signals, post
        chip, learn = map.chip, map.learn
        self.wait = wait = chip.memory_latency
        self.width, self.halves = learn.width, chip.lanes // learn.width
        traces, self.latency = learn_latencies(learn.rules)
        self.sparse = chip.delay_slots > 1  # whether there are sparse rows
        self._lead = max(0, traces - 2 * wait - 1)  # clocks that a row waits for its traces
        self._start = Line(m, row.begins, "visit", reset=True)
        self._loaded: dict[tuple[str, int], Signal] = {}
        self._issue, self._enter = wait + 1, 2 * wait + 1  # lags: word and post side are there
        self._leave = self._enter + self.latency
        self._back = self._leave + 1 + self._leave % 2  # odd: in a clock in which none is read
        kinds = (DENSE, SPARSE) if self.sparse else (DENSE,)
        self._planes = {
            (n, kind): learn.planes(rule, kind)
            for n, rule in enumerate(learn.rules) for kind in kinds
        }  # fmt: skip
        self._most = max(self._planes.values())
        self._state_bits = [learn.state_places(rule)[""][1] for rule in learn.rules]
        self._capacity = chip.lanes * chip.weight_bits

        self.write, self.written = Signal(), Signal(len(word))
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
        m, row, wait = self.m, self.row, self.wait
        at, left = Signal.like(row.address, name="read_at"), Signal.like(row.words, name="to_read")
        walking, turn, last = Signal(), Signal(), Signal()
        reads = Signal()
        m.d.sync += turn.eq(~turn)
        m.d.comb += reads.eq(walking & ~turn)
        self._turn = turn
        with m.If(self._start[self._lead]):
            m.d.sync += [at.eq(row.address), left.eq(row.words), walking.eq(1)]
        with m.If(reads & last):
            m.d.sync += [at.eq(at + 1), left.eq(left - 1), walking.eq(left != 1)]
        plane = Signal(range(self._most + 1))
        if self._most:
            base = Signal.like(at, name="read_base")
            stride = self._taken(row.words, 0, "words")
            m.d.comb += last.eq(plane == self._of_row(self._planes, 0))
            with m.If(self._start[self._lead]):
                m.d.sync += [base.eq(row.address), plane.eq(0)]
            with m.If(reads & last):
                m.d.sync += [base.eq(base + 1), at.eq(base + 1), plane.eq(0)]
            with m.Elif(reads):
                m.d.sync += [at.eq(at + stride), plane.eq(plane + 1)]
        else:
            m.d.comb += last.eq(1)
        self._group = Line(m, reads & last, "group", reset=True)
        self._held = []
        for n in range(self._most + 1):
            held = Signal(len(word), name=f"held{n}", reset_less=True)
            with m.If(Line(m, reads & (plane == n), f"read{n}", reset=True)[wait]):
                m.d.sync += held.eq(word)
            self._held.append(held)
        return at

    def _items(self) -> tuple[list[Value], list[Value], Value, list[Any]]:
        """Of each pipeline, in the stage of `issue`: whether it has a synapse, its weight; besides,
        which half of the word this is, and the entries of a sparse word."""
        m, row, chip, lag = self.m, self.row, self.map.chip, self._issue
        half = self._group[lag + 1] if self.halves == 2 else Const(0)
        some = self._group[lag] | half
        number = Signal.like(row.begin, name="word_number")
        left, first = Signal.like(row.words, name="to_issue"), Signal(reset_less=True)
        with m.If(self._group[lag + 1]):
            m.d.sync += [number.eq(number + 1), left.eq(left - 1), first.eq(0)]
        with m.If(self._start[self._lead + lag]):
            m.d.sync += [number.eq(row.begin), left.eq(row.words), first.eq(1)]
        ends = []
        if chip.lanes > 1:
            ends = [
                self._taken(row.projection[name], lag, name) for name in ("first_lane", "last_lane")
            ]
        entry = struct(sparse_entry(chip))
        entries = [
            data.View(entry, self._held[0][j * entry.size : (j + 1) * entry.size])
            for j in range(min(chip.sparse_lanes, self.width) if self.sparse else 0)
        ]
        sparse = self._taken(row.sparse, lag, "sparse") if self.sparse else Const(0)
        delay = self._taken(row.projection.delay, lag, "delay") if self.sparse else Const(0)
        ratio = (self.width // max(1, len(entries))).bit_length() - 1
        on, weights, self.post_addresses = [], [], []
        for i in range(self.width):
            lane = Cat(Const(i, (self.width - 1).bit_length()), Cat(half)[: self.halves - 1])
            inside = Const(1)
            if ends:
                inside = ~(first & (lane < ends[0])) & ~((left == 1) & (lane > ends[1]))
            dense = self._half(half, self._held[0], i, chip.weight_bits)
            place = Cat(Cat(half)[: self.halves - 1], number)
            here: Value = some & inside
            if entries:
                mine = entries[i % len(entries)]
                target = mine.target if "target" in entry.members else Const(0, 1)
                match = (target[:ratio] == i // len(entries)) & (mine.delay == delay)
                here = Mux(sparse, self._group[lag] & match, here)
                place = Mux(sparse, target[ratio:], place)
                dense = Mux(sparse, mine.weight, dense)
            on.append(here)
            weights.append(dense)
            self.post_addresses.append(place)
        self._half_now, self._sparse_now = half, sparse
        return on, weights, half, entries

    def _half(self, half: Value, joined: Value, i: int, bits: int) -> Value:
        """The bits of pipeline i's lane in this half of a word."""
        parts = [joined[(h * self.width + i) * bits :][:bits] for h in range(self.halves)]
        return Mux(half, parts[1], parts[0]) if self.halves == 2 else parts[0]

    def _pipelines(self) -> tuple[list[Value], list[list[Value]]]:
        """Weights, and of each rule states, as they leave each pipeline: 0 where no synapse is."""
        m, learn, lag = self.m, self.learn, self._issue
        on, weights, half, entries = self._items()
        self._entries = entries
        cells = self._addresses(half) if any(rule.draws for rule in learn.rules) else []
        rule_then = self._taken(self.row.rule, self._leave, "rule")
        results, states = [], [[] for _ in learn.rules]  # type: list[Value], list[list[Value]]
        joined = Cat(self._held[1:][n][: self._capacity] for n in range(self._most))
        for i in range(self.width):
            there = Line(m, on[i], f"on{i}")[self._leave - lag]
            weight, seen = Line(m, weights[i], f"w{i}"), Line(m, self.post[i], f"seen{i}")
            cell = Line(m, cells[i], f"cell{i}") if cells else None
            result = Signal(self.map.chip.weight_bits, name=f"learnt{i}")
            for n, bits in enumerate(self._state_bits):
                state = self._half(half, joined, i, bits) if bits else Const(0, 0)
                if bits and entries:
                    j = i % len(entries)
                    state = Mux(self._sparse_now, joined[j * bits : (j + 1) * bits], state)
                w, after = self._pipeline(n, i, weight, Line(m, state, f"state{i}"), seen, cell)
                with m.If(there & (rule_then == n)):
                    m.d.comb += result.eq(w)
                states[n].append(Mux(there & (rule_then == n), after, 0) if bits else after)
            results.append(result)
        return results, states

    def _addresses(self, half: Value) -> list[Value]:
        """What the synapse of each pipeline is numbered by, for random numbers."""
        m, row, lag = self.m, self.row, self._issue
        at = Signal.like(row.address, name="drawn_at")
        with m.If(self._group[lag + 1]):
            m.d.sync += at.eq(at + 1)
        with m.If(self._start[self._lead + lag]):
            m.d.sync += at.eq(row.address)
        lanes = []
        for i in range(self.width):
            lane = Cat(Const(i, (self.width - 1).bit_length()), Cat(half)[: self.halves - 1])
            if self._entries:
                lane = Mux(self._sparse_now, Const(i % len(self._entries), len(lane)), lane)
            lanes.append(Cat(lane[: self.map.lane_bits], at))
        return lanes

    def _pipeline(
        self, number: int, i: int, weight: Line, state: Line, seen: Line, cell: Line | None
    ) -> tuple[Value, Value]:
        """Weight and state of a synapse as a rule's pipeline gives them."""
        m, learn, row = self.m, self.learn, self.row
        rule = learn.rules[number]
        pipeline = Pipeline(rule.outputs, self.target)
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
                value = data.View(layout, seen[clock])[self._post_field(rule, kind, variable)]
                value = Value.cast(value)[: self._bits_of(rule, kind, variable)]
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
        now, waits = Line(m, Cat(results), "learnt"), self._back - self._leave
        low = self._caught(results, 0, "low") if self.halves == 2 else now[waits]
        weights: Value = Cat(low, now[waits - 1]) if self.halves == 2 else low
        if self._entries:
            weights = Mux(self._taken(row.sparse, lag, "sparse"), self._entry_words(low), weights)
        m.d.comb += [self.write.eq(first), self.written.eq(weights)]
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
        sparse = self._taken(row.sparse, lag, "sparse") if self._entries else Const(0)
        with m.If(~first):
            m.d.comb += self.write.eq(more)
            for n, bits in enumerate(self._state_bits):
                if not bits:
                    continue
                low = self._caught(states[n], 0, f"state{n}_low")
                high = self._caught(states[n], 1, f"state{n}_high") if self.halves == 2 else low[:0]
                joined = Cat(low, high)
                if self._entries:
                    joined = Mux(sparse, self._entry_states(low, bits), joined)
                joined = Cat(joined, Const(0, self._most * self._capacity))
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

    def _merged(self, low: Value, bits: int) -> list[Value]:
        """Of each entry, what the pipeline gave that had it."""
        entries = len(self._entries)
        merged = []
        for j in range(entries):
            mine: Value = Const(0, bits)
            for i in range(j, self.width, entries):
                mine |= low[i * bits : (i + 1) * bits]
            merged.append(mine)
        return merged

    def _entry_words(self, low: Value) -> Value:
        """A word of a sparse row: weights anew, places as they were."""
        entry = struct(sparse_entry(self.map.chip))
        bits = self.map.chip.weight_bits
        places = Cat(view.as_value()[bits:] for view in self._entries)
        places = self._delayed(places, self._back - self._issue)
        size = entry.size - bits
        return Cat(
            Cat(w, places[j * size : (j + 1) * size])
            for j, w in enumerate(self._merged(low, bits))
        )

    def _entry_states(self, low: Value, bits: int) -> Value:
        return Cat(self._merged(low, bits))

    def _delayed(self, value: Value, clocks: int) -> Value:
        if self.target == "ice40" and clocks >= 3 and clocks * len(value) >= MEMORY_DELAY:
            self.m.submodules.places = line = DelayLine(len(value), clocks)
            self.m.d.comb += line.given.eq(value)
            return line.taken
        return Line(self.m, value, "places")[clocks]

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
