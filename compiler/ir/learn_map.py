"""The memories of a core that learns, besides those of every core: regions, fields, contents.

Entries by axon: `pre`, its traces; `history`, whether it had an event one tick ago, two, and so on;
`awake`, whether a synapse of its row has a state that is not 0. `post`, by neuron: its traces after
its last update and, as far as synapses read them, before; whether it spiked; held values; behind
them, by population, the parameters of its traces (`trace_fields`), in as many entries as there are
synapse pipelines. `signals` holds the values of the tick to come. What a plastic projection has
lies in the table of parameters, from its last entry down. Which of them an axon's row belongs to
stands in the region `parameter_index`, beside the sets of neurons (`plastic_fields`).

Variables of a rule take the fields `x0, x1, ...` of their kind in the order of their names, rules
sharing them. The state of the synapses of one word of weights lies, lane by lane, in as many words
as `plastic.state_words` says, the n-th of which is as far behind as n times the row's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .chip import ChipSpec, learn_latencies
from .cores import CoreImage, CoreProjection
from .cycles import input_clocks
from .errors import SpikefabError
from .language import names_read
from .plastic import state_words
from .region import UNIT, Fields, Region, field_bits, packed_region
from .rule import Interval, LearningPath
from .schedule import schedule

CHANGING = ("pre", "history", "awake", "post", "signals")  # by ticks, or before them
FLAGS = ("without_spikes", "at_rest", "at_rest_without_spikes", "on")
Formats = Mapping[str, Interval]


def union_fields(formats: Iterable[Formats], prefix: str) -> Fields:
    """One field per position in the order of names, as wide as the widest of any rule."""
    widths: dict[int, int] = {}
    for intervals in formats:
        for n, (_, interval) in enumerate(sorted(intervals.items())):
            widths[n] = max(widths.get(n, 0), field_bits(*interval))
    return tuple((f"{prefix}{n}", bits) for n, bits in sorted(widths.items()))


def packed(values: Mapping[str, int], formats: Formats, prefix: str) -> dict[str, int]:
    """Fields of an entry that hold these values."""
    return {
        f"{prefix}{n}": values[name] & ((1 << field_bits(*interval)) - 1)
        for n, (name, interval) in enumerate(sorted(formats.items()))
        if name in values
    }


def unpacked(raw: int, interval: Interval) -> int:
    """The value that bits hold."""
    bits = field_bits(*interval)
    x = raw & ((1 << bits) - 1)
    return x - (1 << bits) if interval[0] < 0 and x >> (bits - 1) else x


@dataclass(frozen=True)
class LearnMap:
    """The regions of a core of `chip` that carries `rules`, the union pipeline's in order."""

    chip: ChipSpec
    rules: tuple[LearningPath, ...]

    @property
    def width(self) -> int:
        """Synapse pipelines: they take a word of weights in two clocks."""
        return max(1, self.chip.lanes // 2)

    @cached_property
    def groups(self) -> int:
        """Memories of the post side: each has every so manieth neuron, and gives those of a clock's
        pipelines, or of one of the sparse entries of a clock."""
        halves = self.chip.lanes // self.width
        return max(1, self.chip.sparse_lanes // halves) if self.chip.delay_slots > 1 else 1

    @property
    def post_words(self) -> int:
        """Entries of the post side's memories that have neurons, `width` in all of them."""
        return -(-self.chip.neurons // self.width)

    @cached_property
    def trace_lead(self) -> int:
        """Clocks by which a neuron's traces set out before it is known whether it spikes."""
        chip = self.chip
        latency, _ = learn_latencies(self.rules)
        leads = []
        for rule in self.rules:
            plan = schedule(rule.post_outputs)
            arrival = plan.arrivals().get("post.event", plan.latency)
            leads.append(latency - plan.latency + arrival)
        room = input_clocks(chip) + chip.neuron_latency - chip.memory_latency - 1
        return max(0, min([*leads, room]))

    @cached_property
    def rule_bits(self) -> int:
        """Bits of the number of a rule."""
        return (len(self.rules) - 1).bit_length()

    @cached_property
    def signals(self) -> dict[str, Interval]:
        """The signals that a rule reads, in the order of their entries."""
        found: dict[str, Interval] = {}
        for rule in self.rules:
            for name, (lo, hi) in rule.signals.items():
                a, b = found.get(name, (lo, hi))
                found[name] = (min(a, lo), max(b, hi))
        return dict(sorted(found.items()))

    def synapse_parameters(self, rule: LearningPath) -> Formats:
        """Those that a synapse or a trace of its pre side reads."""
        read = names_read(rule.outputs) | names_read(rule.pre_outputs)
        return {k: v for k, v in rule.parameters.items() if f"parameter.{k}" in read}

    def trace_parameters(self, rule: LearningPath) -> Formats:
        """Those that a trace of the post side reads."""
        read = names_read(rule.post_outputs)
        return {k: v for k, v in rule.parameters.items() if f"parameter.{k}" in read}

    @cached_property
    def before(self) -> tuple[int, ...]:
        """The positions of post traces of which synapses read what they were before the tick."""
        return tuple(sorted({
            n for rule in self.rules for n, name in enumerate(sorted(rule.post))
            if f"post.{name}" in names_read(rule.outputs)
        }))  # fmt: skip

    def planes(self, rule: LearningPath, kind: int) -> int:
        """Words of state per word of weights."""
        return state_words(rule, self.chip, kind)

    def state_places(self, rule: LearningPath) -> dict[str, tuple[int, int]]:
        """(first bit, bits) of each variable of a synapse's state, and of all under ''."""
        places, at = {}, 0
        for name, interval in sorted(rule.state.items()):
            bits = field_bits(*interval)
            places[name] = (at, bits)
            at += bits
        return places | {"": (0, at)}

    @cached_property
    def regions(self) -> dict[str, Region]:
        """Its regions by name; those that its rules do not need are left out."""
        chip, rules = self.chip, self.rules
        pre = union_fields((r.pre for r in rules), "x")
        post = union_fields((r.post for r in rules), "x")
        widths = dict(post)
        fields = (
            ("spike", 1), *post, *((f"before{n}", widths[f"x{n}"]) for n in self.before),
            *union_fields((r.held for r in rules), "held"),
        )  # fmt: skip
        parameters = sum(bits for _, bits in self.trace_fields)
        neurons, populations = self.post_words * self.width, chip.populations * self.width
        found = [
            Region(
                "post", neurons + (populations if parameters else 0),
                max(sum(bits for _, bits in fields), -(-parameters // self.width)), fields,
            ),
        ]
        if pre:
            found.append(packed_region("pre", chip.axons, pre))
        if chip.delay_slots > 1:
            found.append(Region("history", chip.axons, chip.delay_slots - 1))
        if any(r.state for r in rules):
            found.append(Region("awake", chip.axons, 1))
        if self.signals:
            found.append(Region("signals", len(self.signals), 16))
        return {region.name: region for region in found}

    @cached_property
    def plastic_fields(self) -> Fields:
        """For each of the axons that share an entry with a neuron: 0, or one more than the number
        of the core's plastic projection whose row it is."""
        share = 1 << (-(-self.chip.axons // self.chip.neurons) - 1).bit_length()
        bits = max(1, self.chip.projections).bit_length()
        return tuple((f"plastic{n}", bits) for n in range(share))

    @cached_property
    def trace_fields(self) -> Fields:
        """What is kept of a population for its traces; nothing, if no rule has any."""
        if not any(r.post for r in self.rules):
            return ()
        parameters = union_fields((self.trace_parameters(r) for r in self.rules), "p")
        return (("rule", self.rule_bits), *parameters)

    @cached_property
    def projection(self) -> Region:
        """What an entry of the table of parameters holds of a plastic projection: first what tells
        whether a row is visited, then, from another unit on, what its visit takes."""
        chip = self.chip
        lanes, population = (chip.lanes - 1).bit_length(), (chip.populations - 1).bit_length()
        delay = (chip.delay_slots - 1).bit_length()
        decides = (("later", population), ("late", delay), *((flag, 1) for flag in FLAGS))
        at = sum(bits for _, bits in decides)
        return packed_region(
            "parameters", chip.parameter_sets,
            (
                *decides, (f"gap{at}", -at % UNIT), ("first_lane", lanes), ("last_lane", lanes),
                ("rule", self.rule_bits), ("delay", delay),
                *union_fields((self.synapse_parameters(r) for r in self.rules), "p"),
            ),
        )  # fmt: skip

    @property
    def deciding_units(self) -> int:
        """Units of it that tell whether a row is visited."""
        at = [name for name, _ in self.projection.fields].index("first_lane")
        return sum(bits for _, bits in self.projection.fields[:at]) // UNIT

    def projection_at(self, number: int) -> int:
        """The entry of a core's plastic projection in the table of parameters."""
        return self.chip.parameter_sets - 1 - number

    def contents(self, image: CoreImage) -> dict[str, list[int]]:
        """What each region holds after a restart, from entry 0 on; the rest is 0.

        Raises SpikefabError for projections that want more than one set of traces or held values
        of a population.
        """
        axons = len(image.rows)
        axon_entries = ("pre", "history", "awake")
        kept: dict[str, list[int]] = {
            name: [0] * axons for name in axon_entries if name in self.regions
        }
        post = self.regions["post"]
        kept["post"] = [post.pack(**held) for held in self._held(image)]
        if self.trace_fields:
            kept["post"] += [0] * (self.post_words * self.width - len(kept["post"]))
            for entry in self._traces(image):
                kept["post"] += [
                    entry >> n * post.bits & ((1 << post.bits) - 1) for n in range(self.width)
                ]
        if self.signals:
            kept["signals"] = [0] * len(self.signals)
        return kept

    def projection_entry(
        self, image: CoreImage, part: CoreProjection, on: bool | None = None
    ) -> int:
        """The entry of a plastic projection; `on` is whether it learns, else as it begins.

        later: how many populations of the core come after its target; late: its delay.
        """
        q, rule = part.whole, self.rules[part.whole.rule]
        population, lanes = image.populations[part.population], self.chip.lanes
        quiet = rule.quiet(q.parameters)
        return self.projection.pack(
            first_lane=population.first % lanes,
            last_lane=(population.first + population.size - 1) % lanes,
            later=len(image.populations) - 1 - part.population,
            rule=q.rule,
            delay=q.delay,
            late=q.delay,
            without_spikes=quiet.without_spikes,
            at_rest=quiet.at_rest,
            at_rest_without_spikes=quiet.at_rest_without_spikes,
            on=q.learning if on is None else on,
            **packed(q.parameters, self.synapse_parameters(rule), "p"),
        )

    def _traces(self, image: CoreImage) -> list[int]:
        entries: list[int | None] = [None] * len(image.populations)
        for part in image.plastic:
            rule = self.rules[part.whole.rule]
            if not rule.post:
                continue
            entry = Region("traces", 0, 0, self.trace_fields).pack(
                rule=part.whole.rule,
                **packed(part.whole.parameters, self.trace_parameters(rule), "p"),
            )
            if entries[part.population] not in (None, entry):
                raise SpikefabError(
                    f"two sets of traces onto the population of '{part.whole.name}'",
                    f"core {image.core}", "gateware keeps one per population",
                    "use one rule with the same parameters of its traces",
                )  # fmt: skip
            entries[part.population] = entry
        return [entry or 0 for entry in entries]

    def _held(self, image: CoreImage) -> list[dict[str, int]]:
        """The fields of held values of each neuron."""
        found: list[dict[str, int]] = [{} for _ in range(image.neurons)]
        for part in image.plastic:
            rule, population = self.rules[part.whole.rule], image.populations[part.population]
            for n in range(population.size if rule.held else 0):
                mine = found[population.first + n]
                if mine:
                    raise SpikefabError(
                        f"two projections that hold values onto that of '{part.whole.name}'",
                        f"core {image.core}", "gateware keeps one set per population",
                    )  # fmt: skip
                values = {k: int(v[population.index + n]) for k, v in part.whole.held.items()}
                mine |= packed(values, rule.held, "held")
        return found

    def state(self, rule: LearningPath, words: Sequence[int], lane: int) -> dict[str, int]:
        """The state of a lane's (or an entry's) synapse from the words of state behind its word
        of weights."""
        raw = self._joined(words)
        places = self.state_places(rule)
        raw >>= lane * places[""][1]
        return {name: unpacked(raw >> places[name][0], rule.state[name]) for name in rule.state}

    def with_state(
        self, rule: LearningPath, words: Sequence[int], lane: int, values: Mapping[str, int]
    ) -> list[int]:
        """These words with other values in a lane's (or an entry's) state."""
        raw, places = self._joined(words), self.state_places(rule)
        for name, value in values.items():
            at, bits = places[name]
            at += lane * places[""][1]
            mask = (1 << bits) - 1
            raw = raw & ~(mask << at) | (value & mask) << at
        capacity = self.chip.lanes * self.chip.weight_bits
        return [raw >> n * capacity & ((1 << capacity) - 1) for n in range(len(words))]

    def _joined(self, words: Sequence[int]) -> int:
        capacity = self.chip.lanes * self.chip.weight_bits
        return sum((word & ((1 << capacity) - 1)) << n * capacity for n, word in enumerate(words))
