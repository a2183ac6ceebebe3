"""What a chip is: one frozen record, and the chips known by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SpikefabError
from .neuron import Datapath
from .rule import LearningPath
from .schedule import schedule

UNLIMITED = 2**31 - 1
BYTE = 8


@dataclass(frozen=True)
class ChipSpec:
    """A mesh of identical cores. Sizes are per core unless said; latencies are in clocks.

    synapse_words: words of the synapse memory, each `lanes` weights wide and read in one clock.
    models, rules: identities of the neuron models and learning rules it carries; empty stands for
        whatever a program uses.
    parameter_sets: of neurons, and each plastic projection takes one.
    projections: plastic projections onto a core; 0 for a chip that cannot learn.
    trace_sets: sets of traces per population.
    memory_latency: clocks from reading synapses, rows, routes, state or parameters to their use; 2
        is for memories that answer late in a clock.
    accumulate_latency: clocks from reading an accumulator to its write-back being readable.
    neuron_latency: of the union pipeline of its models.
    learn_latency: of those of its rules, of traces and of synapses, together.
    """

    name: str
    cores: int
    neurons: int
    axons: int
    synapse_words: int
    routes: int
    lanes: int = 8
    weight_bits: int = 8
    accumulator_bits: int = 24
    state_bits: int = 16
    delay_slots: int = 8
    payload_bits: int = 1
    parameter_sets: int = 256
    populations: int = 16
    models: tuple[str, ...] = ()
    digests: bool = False
    memory_latency: int = 1
    accumulate_latency: int = 3
    neuron_latency: int = 8
    rules: tuple[str, ...] = ()
    projections: int = 4
    trace_sets: int = 1
    learn_latency: int = 1

    def __post_init__(self) -> None:
        for name, (lo, hi) in BOUNDS.items():
            value = getattr(self, name)
            if type(value) is not int or not lo <= value <= hi:
                raise SpikefabError(
                    f"{name} = {value!r}", f"chip '{self.name}'",
                    f"it is a whole number in {lo}..{hi}",
                )
        for name in ("lanes", "delay_slots"):
            if (value := getattr(self, name)) & (value - 1):
                raise SpikefabError(
                    f"{name} = {value}", f"chip '{self.name}'", "it is a power of two"
                )

    @property
    def largest_payload(self) -> int:
        """The greatest count an event carries."""
        return (1 << self.payload_bits) - 1

    @property
    def largest_weight(self) -> int:
        """Weights span [-largest_weight - 1, largest_weight]."""
        return (1 << (self.weight_bits - 1)) - 1

    @property
    def sparse_lanes(self) -> int:
        """Synapses per clock of a sparse row: as many (target, weight, delay) as fit one word.

        On a chip that learns, each has its part of the word, which begins with a byte.
        """
        word = self.lanes * self.weight_bits
        for lanes in (2**k for k in range(self.lanes.bit_length() - 1, 0, -1)):
            target = max(1, -(-self.neurons // lanes) - 1).bit_length()
            entry = self.entry_weight_bits + target + (self.delay_slots - 1).bit_length()
            if lanes * entry <= word and not (self.rules and word // lanes % BYTE):
                return lanes
        return 1

    @property
    def entry_weight_bits(self) -> int:
        """Bits of the weight of a sparse entry; whole bytes, which can be written by themselves,
        on a chip that learns."""
        return -(-self.weight_bits // BYTE) * BYTE if self.rules else self.weight_bits

    def carrying(
        self, models: Iterable[Datapath], rules: Iterable[LearningPath] = ()
    ) -> ChipSpec:
        """This chip with the union pipelines of `models` and `rules`: their identities and
        latencies."""
        used = sorted({m.identity: m for m in models}.values(), key=lambda m: m.identity)
        learnt = sorted({r.identity: r for r in rules}.values(), key=lambda r: r.identity)
        return dataclasses.replace(
            self,
            models=tuple(m.identity for m in used),
            neuron_latency=max((schedule(m.outputs).latency for m in used), default=1),
            rules=tuple(r.identity for r in learnt),
            learn_latency=max(1, sum(learn_latencies(learnt))),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {**dataclasses.asdict(self), "models": list(self.models), "rules": list(self.rules)}

    @classmethod
    def from_json(cls, stored: Any, where: str) -> ChipSpec:
        """The chip that `to_json` wrote; raises SpikefabError for anything else."""
        names = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(stored, dict) or not set(stored) <= names:
            unknown = sorted(set(stored) - names) if isinstance(stored, dict) else []
            raise SpikefabError(
                f"unknown chip field {unknown[0]!r}" if unknown else "damaged chip", where
            )
        if not isinstance(stored.get("name"), str):
            raise SpikefabError("chip without a name", where)
        names_of = {kind: stored.get(kind, ()) for kind in ("models", "rules")}
        for kind, listed in names_of.items():
            if not isinstance(listed, list | tuple) or not all(isinstance(x, str) for x in listed):
                raise SpikefabError(f"{kind} is no list of names", where)
        if type(stored.get("digests", False)) is not bool:
            raise SpikefabError("digests is not true or false", where)
        try:
            return cls(**{**stored, **{kind: tuple(listed) for kind, listed in names_of.items()}})
        except TypeError as fault:
            raise SpikefabError("damaged chip", where, str(fault)) from None
        except SpikefabError as fault:
            place = f"{fault.where} of {where}"
            raise SpikefabError(fault.what, place, fault.why, fault.hint) from None

    @property
    def hash(self) -> str:
        """Hash of the description, as devices report it."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def learn_latencies(rules: Iterable[LearningPath]) -> tuple[int, int]:
    """Clocks of the union pipelines of traces, and of synapses."""
    traces, synapses = [0], [0]
    for rule in rules:
        traces += [schedule(g).latency for g in (rule.pre_outputs, rule.post_outputs) if g]
        synapses.append(rule.schedule.latency)
    return max(traces), max(synapses)


BOUNDS = {
    "cores": (1, UNLIMITED),
    "neurons": (1, 65_536),
    "axons": (1, UNLIMITED),
    "synapse_words": (1, UNLIMITED),
    "routes": (1, UNLIMITED),
    "lanes": (1, 64),
    "weight_bits": (2, 16),
    "accumulator_bits": (8, 32),
    "state_bits": (8, 24),
    "delay_slots": (1, 1024),
    "payload_bits": (1, 8),
    "parameter_sets": (1, UNLIMITED),
    "populations": (1, UNLIMITED),
    "memory_latency": (1, 2),
    "accumulate_latency": (2, 16),
    "neuron_latency": (1, 256),
    "projections": (0, UNLIMITED),
    "trace_sets": (0, UNLIMITED),
    "learn_latency": (1, 256),
}

AUTO = ChipSpec(
    "auto",
    cores=UNLIMITED,
    neurons=1024,
    axons=UNLIMITED,
    synapse_words=UNLIMITED,
    routes=UNLIMITED,
    parameter_sets=UNLIMITED,
    populations=UNLIMITED,
    projections=UNLIMITED,
    trace_sets=UNLIMITED,
    accumulator_bits=32,
    payload_bits=4,
    delay_slots=64,
)

# Sizes of the cores that fit these parts, from prototypes that were placed and routed.
CHIPS: dict[str, ChipSpec] = {
    chip.name: chip
    for chip in (
        AUTO,
        ChipSpec(
            "up5k",
            cores=1,
            neurons=256,
            axons=512,
            synapse_words=16_384,
            routes=512,
            accumulator_bits=16,
            delay_slots=8,
        ),
        ChipSpec(
            "ecp5-25f",
            cores=1,
            neurons=512,
            axons=1024,
            synapse_words=8_192,
            routes=1024,
            accumulator_bits=20,
            delay_slots=8,
            memory_latency=2,
            accumulate_latency=4,
        ),
        ChipSpec(
            "mesh-64",
            cores=64,
            neurons=256,
            axons=1024,
            synapse_words=16_384,
            routes=4096,
            accumulator_bits=20,
            delay_slots=16,
        ),
    )
}


def chip(name: str) -> ChipSpec:
    """A chip by name, or from a JSON file of ChipSpec fields.

    Raises SpikefabError where there is neither.
    """
    if name in CHIPS:
        return CHIPS[name]
    if not name.endswith(".json"):
        raise SpikefabError(
            f"unknown chip '{name}'", "--chip", hint=f"use {', '.join(CHIPS)} or a .json file"
        )
    try:
        stored = json.loads(Path(name).read_text())
    except (OSError, ValueError, RecursionError) as fault:
        raise SpikefabError("unreadable chip", name, str(fault)) from None
    return ChipSpec.from_json(stored, name)
