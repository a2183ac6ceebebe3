"""The machine on random programs: against flat rows, cut into cores, in batches and in parts."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from spikefab.compiler.ir.device import deliveries
from spikefab.compiler.ir.interpret import Draws, evaluate, first_word, next_word
from spikefab.compiler.ir.machine import Machine
from spikefab.compiler.ir.rows import core_rows
from spikefab.compiler.ir.spikes import SpikeTrain
from strategies import every_synapse, random_input, random_program, seeds


def flat_run(program, trains, steps):
    """(spikes and values by tick and neuron, state, clocks): flat rows, no core images."""
    given = deliveries(program, trains, steps, None)
    rows = core_rows(
        program.synapses, program.core_first, program.chip, program.survey, program.plastic_rows
    )
    by_source = {}
    for source, delay, target, weight in every_synapse(program):
        by_source.setdefault(source, []).append((delay, target, weight))
    model_of = {k: (program.models[p.model], p, k - p.first)
                for p in program.populations for k in range(p.first, p.first + p.size)}  # fmt: skip
    state = {k: {v: int(x[i % x.size]) for v, x in p.initial.items()}
             for k, (_, p, i) in model_of.items()}  # fmt: skip
    sums, events, word = {}, {}, first_word(program.seed)
    shown, clocks = {}, []
    for tick in range(program.ticks(steps)):
        spent = np.array([program.constant_cycles(c) for c in range(program.cores)])
        step, rest = divmod(tick, program.period)
        if not rest and step < steps:
            at = slice(given.first[step], given.first[step + 1])
            events |= zip(given.source[at].tolist(), given.payload[at].tolist(), strict=True)
        for source, payload in events.items():
            for delay, target, weight in by_source.get(source, []):
                due = (tick + delay, target)
                sums[due] = sums.get(due, 0) + weight * payload
            for r in range(rows.first[source], rows.first[source + 1]):
                spent[rows.core[r], 0] += rows.cost[r] * payload
        events = {}
        for k, (model, p, i) in model_of.items():
            if not p.updates_in(tick):
                continue
            core = int(np.searchsorted(program.core_first, k, "right")) - 1
            inputs = {"current": sums.pop((tick, k), 0)}
            inputs |= {f"state.{v}": x for v, x in state[k].items()}
            inputs |= {f"parameter.{v}": int(x[i % x.size]) for v, x in p.parameters.items()}
            draws = Draws(word, core, k - int(program.core_first[core]))
            after = evaluate(model.outputs, inputs, draws)
            state[k] = {v: after[f"next.{v}"] for v in state[k]}
            spent[core, 1] += 1 + program.trace_passes[program.populations.index(p)]
            if after.get("spike"):
                source = program.input_lines + k
                events[source] = after["spike"]
                spent[core, 3] += max(1, rows.first[source + 1] - rows.first[source])
            spent[core, 3] += p.output and not model.spikes
            if after.get("spike", 1):
                shown[tick, k] = after.get("spike", after.get("value"))
        word = next_word(word)
        clocks.append(spent)
    assert all(tick > program.ticks(steps) - 1 for tick, _ in sums)
    return shown, state, np.array(clocks)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_core_images_run_as_flat_rows_do(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng, plastic=2)
    still = tuple(dataclasses.replace(q, learning=False) for q in program.plastic)
    program = dataclasses.replace(program, plastic=still)
    steps = int(rng.integers(0, 9))
    trains = random_input(rng, program, steps)
    shown, state, clocks = flat_run(program, trains, steps)
    machine = Machine(program)
    names = [f"{p.name}.{v}" for p in program.populations for v in program.models[p.model].state]
    others = [p.name for p in program.populations
              if program.models[p.model].spikes and not p.output]  # fmt: skip
    got = machine.run(trains, steps, record=names + others)
    np.testing.assert_array_equal(got.cycles[0], clocks.reshape(got.cycles[0].shape))
    for p in program.populations:
        mine = {}
        if p.name in got.spikes:
            spikes = got.spikes[p.name]
            payload = np.ones(len(spikes)) if spikes.payload is None else spikes.payload
            assert spikes.step.tolist() == sorted(spikes.step)
            for step, index, count in zip(spikes.step, spikes.index, payload, strict=True):
                mine[step * program.period + p.start, p.first + index] = count
        elif p.output:
            for step, index in np.ndindex(steps, p.size):
                at = (step * program.period + p.start, p.first + index)
                mine[at] = got.values[p.name][0, step, index]
        else:
            continue
        last = p.start + (steps - 1) * program.period
        expected = {(t, k): x for (t, k), x in shown.items()
                    if p.first <= k < p.first + p.size and t <= last}  # fmt: skip
        assert mine == expected
        for v in program.models[p.model].state:
            now = [state[k][v] for k in range(p.first, p.first + p.size)]
            assert machine.read(f"{p.name}.{v}").tolist() == now
            assert got.state[f"{p.name}.{v}"].shape == (1, steps, p.size)


def equal_runs(a, b):
    for name, spikes in a.spikes.items():
        assert spikes.equals(b.spikes[name])
    for kind in ("values", "state"):
        for name, values in getattr(a, kind).items():
            np.testing.assert_array_equal(values, getattr(b, kind)[name])
    assert a.counters == b.counters


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_cut_into_cores_changes_nothing_but_cycles(seed):
    whole = random_program(np.random.default_rng(seed), cores=1, stochastic=False)
    trains = random_input(np.random.default_rng(seed), whole, 5)
    first = Machine(whole).run(trains, 5)
    for cores in {min(2, whole.neurons), min(7, whole.neurons), whole.neurons}:
        cuts = np.arange(cores + 1) * whole.neurons // cores
        cut = dataclasses.replace(whole, core_first=cuts)
        equal_runs(first, Machine(cut).run(trains, 5))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_samples_are_single_runs_from_a_restart(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng, neurons=12)
    trains = random_input(rng, program, 4, samples=3)
    machine = Machine(program)
    machine.run(random_input(rng, program, 3), 3)
    batch = machine.run(trains, 4, samples=3)
    assert (batch.samples, machine.tick, machine.pending()) == (3, 0, {})
    for sample in range(3):
        alone = {}
        for name, t in trains.items():
            mine = t.sample == sample
            payload = None if t.payload is None else t.payload[mine]
            alone[name] = SpikeTrain(t.step[mine], t.index[mine], payload)
        machine.restart()
        single = machine.run(alone, 4)
        np.testing.assert_array_equal(single.cycles[0], batch.cycles[sample])
        for name, spikes in single.spikes.items():
            mine = batch.spikes[name].sample == sample
            np.testing.assert_array_equal(spikes.step, batch.spikes[name].step[mine])
            np.testing.assert_array_equal(spikes.index, batch.spikes[name].index[mine])
        for name, values in single.values.items():
            np.testing.assert_array_equal(values[0], batch.values[name][sample])


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_runs_without_drain_add_up_to_one(seed):
    rng = np.random.default_rng(seed)
    program = random_program(rng, neurons=12)
    trains = random_input(rng, program, 6)
    names = [f"{p.name}.v" for p in program.populations]
    whole = Machine(program).run(trains, 6, drain=False, record=names)
    machine = Machine(program)
    parts = []
    for begin, end in ((0, 1), (1, 4), (4, 6)):
        now = {}
        for name, t in trains.items():
            mine = (t.step >= begin) & (t.step < end)
            payload = None if t.payload is None else t.payload[mine]
            now[name] = SpikeTrain(t.step[mine] - begin, t.index[mine], payload)
        parts.append((begin, machine.run(now, end - begin, drain=False, record=names)))
    for name, spikes in whole.spikes.items():
        steps = np.concatenate([part.spikes[name].step + begin for begin, part in parts])
        index = np.concatenate([part.spikes[name].index for _, part in parts])
        np.testing.assert_array_equal(spikes.step, steps)
        np.testing.assert_array_equal(spikes.index, index)
    for kind in ("values", "state"):
        for name, values in getattr(whole, kind).items():
            joined = np.concatenate([getattr(part, kind)[name] for _, part in parts], axis=1)
            np.testing.assert_array_equal(values, joined)
    joined = np.concatenate([part.cycles for _, part in parts], axis=1)
    np.testing.assert_array_equal(whole.cycles, joined)
