"""The memories of a core as the host sees them: regions, fields of their entries, contents.

The one place where they are written. Gateware builds its memories from it, hosts write what
`contents` returns. Every region is read and written in units of 16 bits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from .chip import UNLIMITED, ChipSpec
from .cores import CoreImage, CorePopulation, sparse_fields, word_bits
from .cycles import PENDING_WORD
from .errors import SpikefabError
from .interpret import first_word
from .language import signed_bits, topological
from .learn_map import CHANGING as LEARN_CHANGING
from .learn_map import LearnMap
from .neuron import Datapath
from .plastic import SPARSE
from .program import Program
from .region import UNIT, Fields, Region, field_bits, packed_region
from .rule import LearningPath
from .schedule import schedule
from .validate import core_use

PHASE_BITS = 8  # of a population's start and period
CHANGING = ("registers", "state", "phases", "pending")  # by ticks, on every core


def _slots_of(
    formats: Iterable[Mapping[str, tuple[int, int]]], arrivals: Iterable[Mapping[str, int]],
    prefix: str,
) -> tuple[Fields, tuple[int, ...]]:  # fmt: skip
    """(fields, clock in which each unit is wanted): one field per position, as wide as the widest
    of any model and there for the first.

    Fields share a unit with what arrives next to them, as long as that takes no more units than
    fields without gaps; else they stand in the order in which they arrive.
    """
    widths: dict[int, int] = {}
    first: dict[int, int] = {}
    for intervals, clocks in zip(formats, arrivals, strict=True):
        for n, (name, interval) in enumerate(sorted(intervals.items())):
            widths[n] = max(widths.get(n, 0), field_bits(*interval))
            first[n] = min(first.get(n, clocks[name]), clocks[name])
    order = sorted(widths, key=lambda n: (first[n], n))
    units: list[list[int]] = []
    for n in order:
        room = [
            unit for unit in units
            if sum(widths[k] for k in unit) + widths[n] <= UNIT
        ]  # fmt: skip
        if room:
            room[-1].append(n)
        else:
            units.append([n])
    taken = sum(-(-sum(widths[n] for n in unit) // UNIT) for unit in units)
    if taken > -(-sum(widths.values()) // UNIT):
        units = [order]
    fields: list[tuple[str, int]] = []
    for unit in units:
        at = sum(bits for _, bits in fields)
        if at % UNIT:
            fields.append((f"gap{at}", -at % UNIT))
        fields += [(f"{prefix}{n}", widths[n]) for n in unit]
    wanted: dict[int, int] = {}
    at = 0
    for name, bits in fields:
        if name.startswith(prefix):
            clock = first[int(name.removeprefix(prefix))]
            for k in range(at // UNIT, (at + bits - 1) // UNIT + 1):
                wanted[k] = min(wanted.get(k, clock), clock)
        at += bits
    return tuple(fields), tuple(wanted[k] for k in sorted(wanted))


@dataclass(frozen=True)
class MemoryMap:
    """The regions of a core of `chip` that carries `models` and `rules`, the union pipelines' in
    order.

    A model's state variables and parameters, by name, take the fields `s0, s1, ...` and
    `p0, p1, ...`. An address is region number, entry, unit, from the most significant.
    """

    chip: ChipSpec
    models: tuple[Datapath, ...]
    rules: tuple[LearningPath, ...] = ()

    @cached_property
    def learn(self) -> LearnMap | None:
        """The regions of what learns, if anything does."""
        return LearnMap(self.chip, self.rules) if self.rules else None

    @cached_property
    def hash(self) -> str:
        """Hash of the core that this is, whatever the chip's name."""
        chip = self.chip.to_json() | {
            "models": [m.identity for m in self.models],
            "rules": [r.identity for r in self.rules],
            "name": "",
        }
        return hashlib.sha256(json.dumps(chip, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def draws(self) -> bool:
        """Whether a model or a rule draws random numbers."""
        return any(rule.draws for rule in self.rules) or any(
            v.op == "random" for m in self.models for v in topological(m.outputs.values())
        )

    @property
    def registers(self) -> dict[str, int]:
        """The registers in their order, with their bits."""
        word = {"word_low": UNIT, "word_high": UNIT} if self.draws else {}
        return {
            "slot": self.slot_bits,
            "populations": self.chip.populations.bit_length(),
            "pending_words": (-(-self.chip.axons // PENDING_WORD)).bit_length(),
            "stalls": UNIT,
            **word,
            **({"axons": self.chip.axons.bit_length()} if self.rules else {}),
        }

    @property
    def neuron_bits(self) -> int:
        """Bits of a neuron's address."""
        return max(1, (self.chip.neurons - 1).bit_length())

    @property
    def axon_bits(self) -> int:
        """Bits of an axon's number."""
        return max(1, (self.chip.axons - 1).bit_length())

    @property
    def lane_bits(self) -> int:
        """Bits of a lane's number."""
        return (self.chip.lanes - 1).bit_length()

    @property
    def word_bits(self) -> int:
        """Bits of the number of an accumulator word: neuron div lanes."""
        return max(1, self.neuron_bits - self.lane_bits)

    @property
    def slot_bits(self) -> int:
        """Bits of a delay slot's number."""
        return (self.chip.delay_slots - 1).bit_length()

    @property
    def model_bits(self) -> int:
        """Bits of the number of a model."""
        return (len(self.models) - 1).bit_length()

    @property
    def row_extent(self) -> Fields:
        """The fields of a dense row that a sparse row has not: it keeps more `words` there."""
        words = -(-self.chip.neurons // self.chip.lanes)
        return (
            ("words", words.bit_length()),
            ("begin", self.word_bits),
            ("delay", self.slot_bits),
        )

    @property
    def row_bits(self) -> int:
        """Bits of how many words a row has."""
        return max(dict(self.row_extent)["words"], self._sparse_bits)

    @property
    def _sparse_bits(self) -> int:
        chip = self.chip
        return (-(-chip.neurons // chip.sparse_lanes) * chip.delay_slots).bit_length()

    @property
    def value_bits(self) -> int:
        """Bits of what a neuron gives in an update: the count of a spike, or a value."""
        widths = [self.chip.payload_bits]
        for model in self.models:
            if not model.spikes:
                value = model.outputs["value"]
                widths.append(signed_bits(value.lo, value.hi))
        return max(widths)

    @cached_property
    def arrivals(self) -> tuple[dict[str, int], ...]:
        """Per model the clock of the union pipeline in which each input is to be there."""
        found = []
        for model in self.models:
            plan = schedule(model.outputs)
            spare = self.chip.neuron_latency - plan.latency
            unused = [f"state.{name}" for name in model.state]
            found.append(
                dict.fromkeys(unused, self.chip.neuron_latency)
                | {name: spare + clock for name, clock in plan.arrivals().items()}
            )
        return tuple(found)

    def wanted(self, region: str) -> tuple[int, ...]:
        """The clock of the union pipeline in which each unit of a neuron's `state`, or of its
        `parameters`, is to be there."""
        return (self._states if region == "state" else self._parameters)[1]

    @cached_property
    def _states(self) -> tuple[Fields, tuple[int, ...]]:
        return self._slots("state", (m.state for m in self.models))

    @cached_property
    def _parameters(self) -> tuple[Fields, tuple[int, ...]]:
        return self._slots("parameter", (m.parameters for m in self.models))

    def _slots(
        self, kind: str, formats: Iterable[Mapping[str, tuple[int, int]]]
    ) -> tuple[Fields, tuple[int, ...]]:
        inputs = [
            {name.removeprefix(f"{kind}."): clock for name, clock in arrivals.items()}
            for arrivals in self.arrivals
        ]
        return _slots_of(formats, inputs, kind[0])

    @cached_property
    def regions(self) -> dict[str, Region]:
        """All regions by name, in the order of their numbers."""
        chip = self.chip
        address = max(1, (chip.synapse_words - 1).bit_length())
        extent = max(sum(bits for _, bits in self.row_extent), self._sparse_bits)
        found = [
            Region("registers", len(self.registers), UNIT),
            Region("synapses", chip.synapse_words, word_bits(chip)),
            packed_region(
                "rows", chip.axons,
                (("address", address), ("sparse", 1), ("follows", 1), ("extent", extent)),
            ),
            Region("pending", -(-chip.axons // PENDING_WORD), PENDING_WORD),
            Region(
                "accumulators", chip.delay_slots << (self.word_bits + self.lane_bits),
                chip.accumulator_bits,
            ),
            packed_region("state", chip.neurons, self._states[0]),
            packed_region(
                "parameter_index", chip.neurons,
                (
                    ("set", max(1, (chip.parameter_sets - 1).bit_length())),
                    *(self.learn.plastic_fields if self.learn else ()),
                ),
            ),
            Region(
                "parameters", chip.parameter_sets,
                max(
                    1, sum(bits for _, bits in self._parameters[0]),
                    self.learn.projection.bits if self.learn else 0,
                ),
                self._parameters[0],
            ),
            packed_region(
                "populations", chip.populations,
                (
                    ("last", self.neuron_bits), ("single", 1), ("output", 1),
                    ("model", self.model_bits),
                ),
            ),
            packed_region(
                "phases", chip.populations, (("countdown", PHASE_BITS), ("period", PHASE_BITS))
            ),
            packed_region(
                "routes", chip.neurons,
                (
                    ("axon", self.axon_bits), ("valid", 1), ("output", 1),
                    ("more", chip.projections.bit_length() if self.rules else 0),
                ),
            ),
        ]  # fmt: skip
        if chip.payload_bits > 1:
            found.append(Region("payloads", chip.axons, chip.payload_bits))
        return {region.name: region for region in found} | (
            self.learn.regions if self.learn else {}
        )

    @property
    def changing(self) -> tuple[str, ...]:
        """The regions that a run changes, besides accumulators and what synapses learn."""
        learnt = self.learn.regions if self.learn else {}
        return (*CHANGING, *(name for name in LEARN_CHANGING if name in learnt))

    @property
    def offset_bits(self) -> int:
        """Address bits below the region number."""
        return max((r.entries - 1).bit_length() + r.unit_bits for r in self.regions.values())

    @property
    def address_bits(self) -> int:
        """Bits of an address of the memory port."""
        return self.offset_bits + (len(self.regions) - 1).bit_length()

    def address(self, region: str, entry: int, unit: int = 0) -> int:
        """Address of a unit of an entry."""
        number = list(self.regions).index(region)
        return number << self.offset_bits | entry << self.regions[region].unit_bits | unit

    def first_registers(self, image: CoreImage, seed: int) -> list[int]:
        """What the registers hold after a restart with a seed."""
        word = first_word(seed)
        registers = {
            "populations": len(image.populations),
            "pending_words": -(-len(image.rows) // PENDING_WORD),
            "word_low": word & 0xFFFF,
            "word_high": word >> UNIT,
            "axons": len(image.rows),
        }
        return [registers.get(name, 0) for name in self.registers]

    def contents(self, image: CoreImage, seed: int) -> dict[str, list[int]]:
        """What each region of a core holds after a restart, from entry 0 on; the rest is 0.

        Raises SpikefabError for what has no room: a start or period beyond 8 bits, routing
        entries to other cores.
        """
        regions, chip = self.regions, self.chip
        kept: dict[str, list[int]] = {name: [] for name in regions}
        kept["registers"] = self.first_registers(image, seed)
        kept["synapses"] = image.memory.pack(chip)
        extent = Region("rows", 0, 0, self.row_extent)
        kept["rows"] = [
            regions["rows"].pack(
                address=row.address,
                sparse=row.kind == SPARSE,
                follows=row.follows,
                extent=row.words
                if row.kind == SPARSE
                else extent.pack(words=row.words, begin=row.begin, delay=row.delay),
            )
            for row in image.rows
        ]
        kept["state"] = [
            self.state_entry(p.model, self._initial(p, n))
            for p in image.populations
            for n in range(p.size)
        ]
        kept["parameter_index"] = self._index(image)
        kept["parameters"] = [
            self._entry("parameters", "p", self.models[line.model].parameters, line.values)
            for line in image.parameter_sets
        ]
        for p in image.populations:
            if p.start >= 1 << PHASE_BITS or p.period > 1 << PHASE_BITS:
                raise SpikefabError(
                    f"a population that starts in tick {p.start} with period {p.period}",
                    f"core {image.core}",
                    f"a core counts up to {1 << PHASE_BITS}",
                )
            kept["populations"].append(
                regions["populations"].pack(
                    last=p.first + p.size - 1,
                    single=p.size == 1,
                    output=p.output >= 0,
                    model=p.model,
                )
            )
            kept["phases"].append(
                regions["phases"].pack(countdown=p.start, period=p.period - 1)
            )
        output, spiking = set[int](), set[int]()
        for p in image.populations:
            here = range(p.first, p.first + p.size)
            if p.output >= 0:
                output |= set(here)
            if self.models[p.model].spikes:
                spiking |= set(here)
        for n, entries in enumerate(image.routes):
            if any(core != image.core for core, _ in entries):
                raise SpikefabError(
                    "routing entries to other cores", f"core {image.core}",
                    "gateware has one core as yet", "compile for one core",
                )  # fmt: skip
            axon = entries[0][1] if entries else 0
            kept["routes"].append(
                regions["routes"].pack(
                    axon=axon,
                    valid=bool(entries) and n in spiking,
                    output=n in output,
                    more=max(0, len(entries) - 1) if n in spiking else 0,
                )
            )
        if not self.learn:
            return kept
        kept["parameters"] += [0] * (chip.parameter_sets - len(kept["parameters"]))
        for number, part in enumerate(image.plastic):
            entry = self.learn.projection_entry(image, part)
            kept["parameters"][self.learn.projection_at(number)] = entry
        return kept | self.learn.contents(image)

    def _index(self, image: CoreImage) -> list[int]:
        """By neuron its set of parameters, and of each of some axons whose row it has."""
        index = self.regions["parameter_index"]
        found = [{"set": int(n)} for n in image.parameter_set]
        if self.learn:
            share = len(self.learn.plastic_fields)
            found += [{}] * (-(-len(image.rows) // share) - len(found))
            for n in range(len(found)):
                here = image.rows[n * share : (n + 1) * share]
                found[n] = found[n] | {f"plastic{k}": x.plastic + 1 for k, x in enumerate(here)}
        return [index.pack(**entry) for entry in found]

    def _initial(self, p: CorePopulation, n: int) -> dict[str, int]:
        return {name: int(values[n]) for name, values in p.initial.items()}

    def _entry(
        self, region: str, prefix: str, formats: Mapping[str, tuple[int, int]],
        values: Mapping[str, int],
    ) -> int:  # fmt: skip
        packed = {
            f"{prefix}{k}": values[name] & ((1 << field_bits(*formats[name])) - 1)
            for k, name in enumerate(sorted(formats))
        }
        return self.regions[region].pack(**packed)

    def state_entry(self, model: int, values: Mapping[str, int]) -> int:
        """The entry of a neuron of `model` with these state variables."""
        return self._entry("state", "s", self.models[model].state, values)

    def state(self, model: int, entry: int) -> dict[str, int]:
        """State variables of a neuron of `model` from its entry."""
        raw = self.regions["state"].unpack(entry)
        values = {}
        for k, (name, (lo, hi)) in enumerate(sorted(self.models[model].state.items())):
            bits = field_bits(lo, hi)
            x = raw[f"s{k}"] & ((1 << bits) - 1)
            values[name] = x - (1 << bits) if lo < 0 and x >> (bits - 1) else x
        return values


def sparse_entry(chip: ChipSpec) -> Fields:
    """The fields of an entry of a sparse row (see `cores`)."""
    target, delay = sparse_fields(chip)
    unused = chip.entry_weight_bits - chip.weight_bits
    return (("weight", chip.weight_bits), ("gap", unused), ("target", target), ("delay", delay))


def memory_map(program: Program) -> MemoryMap:
    """The map of the chip of a program."""
    return MemoryMap(program.chip, program.models, program.rules)


def sized(program: Program) -> ChipSpec:
    """The chip with one core, and with just the memory that a program of one core takes where the
    chip sets no limit. What a program means and how many cycles it takes stays."""
    chip = program.chip
    sizes: dict[str, Any] = {
        memory: max(1, int(used[0]))
        for memory, used in core_use(program).items()
        if getattr(chip, memory) == UNLIMITED
    }
    if chip.rules:
        sizes["trace_sets"] = 1
    return replace(chip, cores=1, **sizes)


def core_map(program: Program) -> MemoryMap:
    """The map of the one core that carries a program: its chip as `sized`. Raises SpikefabError
    for a program of several cores."""
    if program.cores > 1:
        raise SpikefabError(
            f"{program.cores} cores", "the program", "gateware has one core as yet",
            "compile for a chip whose core holds the network",
        )  # fmt: skip
    if set(program.chip.rules) != {rule.identity for rule in program.rules}:
        raise SpikefabError(
            f"a chip with the rules {', '.join(program.chip.rules) or 'none'}", "the program",
            "it does not have the same", "compile it for a chip that carries its own",
        )  # fmt: skip
    return MemoryMap(sized(program), program.models, program.rules)
