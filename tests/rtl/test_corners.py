"""Corners of the core, in co-simulation: each a small program made by hand, and its clocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cosim
import numpy as np
import pytest
import strategies
from spikefab.compiler.ir.chip import ChipSpec, chip
from spikefab.compiler.ir.cores import Row, core_images
from spikefab.compiler.ir.memory_map import MemoryMap
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.neuron import Datapath
from spikefab.compiler.ir.program import InputPort, MappedPopulation, Program
from spikefab.compiler.ir.validate import validate

Weights = dict[tuple[int, int, int], int]  # by source, delay and target
USUAL = {"keep": 4096, "keep_i": 4096, "threshold": 1, "gain": 0}
MODELS = {**LIBRARY, "burst": strategies.burst}


@dataclass
class Part:
    """A population to be: parameters and state have one value for all neurons, 0 if not given."""

    size: int
    model: str = "if"
    start: int = 0
    period: int = 1
    output: bool = True
    parameters: dict[str, int] = field(default_factory=dict)
    initial: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """A chip that carries models by their names, in a simulator."""

    simulation: cosim.Simulation
    spec: ChipSpec
    models: dict[str, Datapath]

    @classmethod
    def of(cls, spec: ChipSpec, folder: cosim.Path, **options: dict[str, str]) -> Bench:
        """A chip with the models that are named, with their options."""
        models = {
            name: MODELS[name].datapath(spec.state_bits, spec.accumulator_bits, given)
            for name, given in options.items()
        }
        spec = spec.carrying(models.values())
        map = MemoryMap(spec, tuple(models.values()))
        return cls(cosim.Simulation(map, folder), spec, models)

    def program(self, lines: int, parts: list[Part], weights: Weights) -> Program:
        """A program of one input and these populations."""
        first = np.cumsum([0, *(part.size for part in parts)]).tolist()
        populations = tuple(
            MappedPopulation(
                f"p{n}", first[n], part.size, list(self.models).index(part.model), part.start,
                part.period, part.output, self._values(part, "parameters", USUAL | part.parameters),
                self._values(part, "state", part.initial),
            )
            for n, part in enumerate(parts)
        )  # fmt: skip
        port = InputPort("in", 0, lines, parts[0].period)
        synapses = strategies._synapses(weights, lines + first[-1], self.spec)
        made = Program(
            self.spec, tuple(self.models.values()), (port,), populations,
            np.array([0, first[-1]]), synapses,
        )  # fmt: skip
        validate(made)
        return made

    def _values(self, part: Part, kind: str, given: Mapping[str, int]) -> dict[str, Any]:
        return {
            name: np.array([given.get(name, 0)], np.int32)
            for name in getattr(self.models[part.model], kind)
        }

    def run(
        self, program: Program, ticks: list[dict[int, int]], pressure: int = 0
    ) -> list[cosim.Tick]:
        """What the core reports, after it was found to be what the machine expects."""
        job = cosim.Job("the program", program, [ticks], pressure, "this test")
        return cosim.reported(self.simulation.play([job])[0])


def all_to_all(sources: range, targets: range, weight: int, delay: int = 0) -> Weights:
    return {(s, delay, t): weight for s in sources for t in targets}


def events(*sources: int) -> dict[int, int]:
    return dict.fromkeys(sources, 1)


def constants(program: Program, updating: int) -> list[int]:
    """Clocks by phase of a tick without events and spikes, in which so many neurons update."""
    deliver, update, learn, emit = program.constant_cycles(0)
    assert not learn
    return [deliver, update + updating, emit]


SMALL = ChipSpec(
    "small", cores=1, neurons=21, axons=37, synapse_words=512, routes=64, lanes=4, weight_bits=8,
    accumulator_bits=10, state_bits=10, delay_slots=8, parameter_sets=8, populations=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.of(SMALL, tmp_path_factory.mktemp("small"), **{"if": {}, "li": {}})


def test_a_tick_without_events_takes_the_constants(small: Bench) -> None:
    never = {"threshold": 511}
    weights = all_to_all(range(16), range(21), 1)
    for program in (
        small.program(16, [Part(21, parameters=never)], weights),
        small.program(1, [Part(3, parameters=never), Part(2, parameters=never)], {}),
    ):
        for tick in small.run(program, [{}] * 4):
            assert tick.clocks == constants(program, program.neurons)
            assert not tick.outputs


@pytest.mark.parametrize("pressure", [0, 1])
def test_all_neurons_fire_whether_or_not_the_host_is_slow(small: Bench, pressure: int) -> None:
    program = small.program(
        1, [Part(20, parameters={"threshold": -9}), Part(1, "li", parameters={"bias": 3})],
        all_to_all(range(1), range(21), 1),
    )  # fmt: skip
    for tick in small.run(program, [{}] * 4, pressure):
        deliver, update, emit = constants(program, 21)
        assert tick.clocks == [deliver, update, emit + 21]
        assert len(tick.outputs) == 21


def test_every_axon_is_pending(small: Bench) -> None:
    weights = all_to_all(range(37), range(21), 1)
    program = small.program(16, [Part(21, parameters={"threshold": -512})], weights)
    assert program.survey.axons[0] == SMALL.axons
    first, *ticks = small.run(program, [events(*range(16))] * 4)
    assert sum(first.clocks) < program.worst_cycles(0)
    for tick in ticks:
        assert sum(tick.clocks) == program.worst_cycles(0)


def test_states_saturate_at_both_ends(small: Bench) -> None:
    program = small.program(
        4, [Part(2, "li"), Part(1, parameters={"threshold": 511, "v_reset": -512})],
        all_to_all(range(2), range(3), 127) | all_to_all(range(2, 4), range(3), -128),
    )  # fmt: skip
    up, down = [events(0, 1)] * 4, [events(2, 3)] * 6
    seen = small.run(program, up + down + up + up)
    v = [tick.outputs[0] for tick in seen]
    assert v[:5] == [254, 508, 511, 511, 255]
    assert v[7] == v[9] == 2**10 - 512
    assert v[-1] == 511
    assert [n for n, tick in enumerate(seen) if 2 in tick.outputs] == [2, 14]


def test_accumulators_reach_both_ends(small: Bench) -> None:
    weights = [127] * 4 + [3] + [-128] * 3 + [-127]
    program = small.program(
        9, [Part(1, "li", parameters={"keep": 0})], {(k, 0, 0): w for k, w in enumerate(weights)}
    )
    positive, negative = events(*range(5)), events(*range(5, 9))
    seen = small.run(program, [positive, negative, positive | negative, positive, {}])
    assert [tick.outputs[0] for tick in seen] == [511, 2**10 - 511, 0, 511, 0]


def test_the_longest_delay(small: Bench) -> None:
    weights = {(0, 7, 0): 5, (1, 0, 0): 1, (1, 7, 0): 9, (1, 7, 1): 2}
    program = small.program(2, [Part(2, "li", parameters={"keep": 0})], weights)
    ticks = [events(0), {}, {}, events(0, 1)] + [{}] * 20
    seen = small.run(program, ticks)
    arrived = {n: tick.outputs for n, tick in enumerate(seen) if any(tick.outputs.values())}
    assert arrived == {3: {0: 1, 1: 0}, 7: {0: 5, 1: 0}, 10: {0: 14, 1: 2}}


def test_the_largest_start_and_period(small: Bench) -> None:
    fires = {"threshold": 0}
    parts = [Part(3, parameters=fires), Part(2, start=255, parameters=fires)]
    parts = [replace(part, period=256) for part in parts]
    weights = all_to_all(range(1), range(3), 1) | all_to_all(range(4, 6), range(3), 2)
    program = small.program(1, parts, weights)
    ticks = [events(0) if n % 256 == 0 else {} for n in range(515)]
    seen = small.run(program, ticks)
    fired = {n: set(tick.outputs) for n, tick in enumerate(seen) if tick.outputs}
    assert fired == {0: {0, 1, 2}, 255: {3, 4}, 256: {0, 1, 2}, 511: {3, 4}, 512: {0, 1, 2}}
    assert seen[1].clocks == constants(program, 0)


def test_a_program_finds_nothing_of_the_one_before(small: Bench) -> None:
    delays = range(SMALL.delay_slots)
    weights = {(s, d, t): 1 + d + t for s in range(2) for d in delays for t in range(21)}
    leaves = small.program(2, [Part(21, "li")], weights)
    finds = small.program(2, [Part(21, "li")], {})
    jobs = [
        cosim.Job("what leaves sums", leaves, [[events(0, 1)] * 3] * 2),
        cosim.Job("what finds none", finds, [[{}] * 9] * 2),
    ]
    small.simulation.play([*jobs, *jobs])


def test_payloads_repeat_rows_where_accumulators_are_slow(tmp_path: cosim.Path) -> None:
    slow = {"accumulate_latency": 16}
    spec = replace(SMALL, payload_bits=8, accumulator_bits=20, state_bits=18, **slow)
    bench = Bench.of(spec, tmp_path, burst={"most": "255", "noise": "1"})
    weights = all_to_all(range(2), range(4), 127) | all_to_all(range(2, 6), range(4, 9), -1)
    program = bench.program(2, [Part(9, "burst", parameters={"threshold": -9999})], weights)
    ticks = [{0: 255}, {}, {0: 1, 1: 255}, {1: 254}, {}]
    seen = bench.run(program, ticks)
    (cost,) = {row.words + 15 for row in rows_of(program)[:2]}
    deliver = program.constant_cycles(0)[0]
    assert seen[0].clocks[0] == deliver + 255 * cost
    assert seen[0].outputs[0] == 255
    assert seen[2].clocks[0] > deliver + 256 * cost


def test_populations_of_all_models_side_by_side(tmp_path: cosim.Path) -> None:
    roomy = {"parameter_sets": 16, "populations": 16}
    spec = replace(SMALL, accumulator_bits=16, state_bits=12, **roomy)
    bench = Bench.of(
        spec, tmp_path, burst={}, lif={"leak": "shift", "reset_at": "before"}, cubali={},
        cubalif={"refractory": "integrate", "sees": "old"}, li={}, **{"if": {"reset": "subtract"}},
    )  # fmt: skip
    order = np.random.default_rng(1).permutation([*bench.models] * 2)
    sizes = [1, 2, 1, 3, 1, 1, 2, 1, 3, 1, 2, 1]
    usual = {"keep": 3900, "keep_i": 3000, "leak_shift": 3, "threshold": 30, "bias": 2, "period": 1}
    parts = [Part(n, str(name), parameters=usual) for n, name in zip(sizes, order, strict=True)]
    weights = {(s, 0, t): 9 * s - t + 20 for s in range(4) for t in range(sum(sizes))}
    ticks = [events(*np.flatnonzero(n * 11 >> np.arange(4) & 1)) for n in range(12)]
    seen = bench.run(bench.program(4, parts, weights), ticks)
    assert len(set().union(*(tick.outputs for tick in seen))) == sum(sizes)


def rows_of(program: Program) -> tuple[Row, ...]:
    return core_images(program)[0].rows


def test_one_neuron_on_one_lane(tmp_path: cosim.Path) -> None:
    spec = ChipSpec(
        "least", cores=1, neurons=1, axons=2, synapse_words=2, routes=1, lanes=1, weight_bits=2,
        accumulator_bits=8, state_bits=8, delay_slots=1, parameter_sets=1, populations=1,
        accumulate_latency=2,
    )  # fmt: skip
    bench = Bench.of(spec, tmp_path, **{"if": {}})
    parts = [Part(1, parameters={"threshold": 2})]
    program = bench.program(1, parts, {(0, 0, 0): 1, (1, 0, 0): -1})
    seen = bench.run(program, [events(0)] * 12)
    assert [n for n, tick in enumerate(seen) if tick.outputs] == [1, 4, 7, 10]
    alone = bench.program(1, parts, {})
    assert not any(tick.outputs for tick in bench.run(alone, [events(0)] * 3))


def test_a_wide_core(tmp_path: cosim.Path) -> None:
    spec = ChipSpec(
        "wide", cores=1, neurons=34, axons=48, synapse_words=160, routes=80, lanes=32,
        weight_bits=16, accumulator_bits=32, state_bits=24, delay_slots=4, payload_bits=2,
        parameter_sets=2, populations=2,
    )  # fmt: skip
    bench = Bench.of(spec, tmp_path, **{"if": {}})
    weights = all_to_all(range(9), range(34), 32767, 3) | {(42, 0, 33): -32768}
    parts = [Part(34, parameters={"threshold": 9 * 3 * 32767})]
    program = bench.program(9, parts, weights)
    seen = bench.run(program, [dict.fromkeys(range(9), 3), events(*range(9)), {}, {}, {}, {}])
    assert [n for n, tick in enumerate(seen) if tick.outputs] == [3]
    assert len(seen[3].outputs) == 34


def test_the_up5k_core_filled(tmp_path: cosim.Path) -> None:
    spec = chip("up5k")
    options = {"refractory": "hold", "reset": "subtract"}
    bench = Bench.of(spec, tmp_path, lif=options, cubalif=options)
    rng = np.random.default_rng(5)
    drawn = rng.integers(-63, 64, (512, 256))
    drawn[256:] //= 2
    weights = {(s, 0, t): int(drawn[s, t]) for s in range(512) for t in range(256)}
    firing = {"threshold": 400, "keep": 3600, "keep_i": 2000, "refractory_period": 2}
    waiting = {"refractory": 5}  # until the rows have been measured
    parts = [Part(128, model, parameters=firing, initial=waiting) for model in bench.models]
    program = bench.program(256, parts, weights)
    assert program.survey.synapse_words[0] == spec.synapse_words
    assert program.survey.axons[0] == spec.axons
    assert all(row.follows for row in rows_of(program))
    rows = [0, 1, 10, 64, 256]
    ticks = [events(*range(e)) for e in rows]
    ticks += [events(*np.flatnonzero(rng.random(256) < rate)) for rate in rng.random(59) * 0.2]
    seen = bench.run(program, ticks)
    assert len(seen) == 64
    constant = sum(constants(program, 256))
    for e, tick in zip(rows, seen, strict=False):
        assert sum(tick.clocks) == constant + 32 * e <= 330 + 32 * e
    fired = [len(tick.outputs) for tick in seen]
    assert max(fired) > 20


def test_a_small_network_takes_few_cycles(tmp_path: cosim.Path) -> None:
    spec = replace(SMALL, neurons=90, axons=64, synapse_words=768, lanes=8, accumulator_bits=16)
    bench = Bench.of(spec, tmp_path, lif={})
    program = bench.program(
        64, [Part(90, "lif", parameters={"threshold": 5})], all_to_all(range(64), range(90), 1)
    )
    ten, all_lines = bench.run(program, [events(*range(10)), events(*range(64))])
    assert len(ten.outputs) == len(all_lines.outputs) == 90
    assert sum(ten.clocks) < 500
    assert sum(all_lines.clocks) < 1200
