import dataclasses
import re

import numpy as np
import pytest
from spikefab.compiler.ir import cycles
from spikefab.compiler.ir.chip import CHIPS
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.machine import Machine
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.program import InputPort, MappedPopulation, Program
from spikefab.compiler.ir.spikes import SpikeTrain
from spikefab.compiler.ir.synapses import Synapses, pack
from spikefab.compiler.ir.validate import validate

CHIP = dataclasses.replace(
    CHIPS["up5k"], lanes=2, payload_bits=2, delay_slots=8, accumulate_latency=4, cores=9
)


def program_of(parts, synapses, *, lines=1, period=1, cores=(), chip=CHIP, **fields):
    """A program of parts (name, size, model, start, output, fixed) and synapses
    (source, delay, target, weight); parameters are 0 unless fixed."""
    traced = [LIBRARY[model].datapath(16, 16, options) for _, _, (model, options), *_ in parts]
    models = tuple({m.identity: m for m in traced}.values())
    populations, first = [], 0
    for (name, size, _, start, output, fixed), model in zip(parts, traced, strict=True):
        number = [m.identity for m in models].index(model.identity)

        def filled(ranges, prefix, fixed=fixed):
            return {k: np.array([fixed.get(prefix + k, 0)], np.int32) for k in ranges}

        populations.append(MappedPopulation(
            name, first, size, number, start, period, output,
            filled(model.parameters, ""), filled(model.state, "initial_")))  # fmt: skip
        first += size
    keys = sorted(synapses)
    delays = sorted({d for _, d, _, _ in keys}) or [0]
    rows = [s * len(delays) + delays.index(d) for s, d, _, _ in keys]
    counts = np.bincount(np.array(rows, np.int64), minlength=(lines + first) * len(delays))
    words = pack(np.array([t for *_, t, _ in keys], np.int64),
                 np.array([w for *_, w in keys], np.int64), False)  # fmt: skip
    packed = Synapses(words, np.concatenate([[0], np.cumsum(counts)]), tuple(delays))
    program = Program(
        chip.carrying(models), models, (InputPort("in", 0, lines, period),), tuple(populations),
        np.array([0, *cores, first], np.int64), packed, **fields)  # fmt: skip
    validate(program)
    return program


def refuses(message):
    return pytest.raises(SpikefabError, match=f"^{re.escape(message)}$")


LI = ("li", {})
RELAY = ("if", {})  # with threshold 1, it spikes in the tick in which an event arrives
SUM = {"keep": 4096}


def train(*spikes):
    columns = np.array(spikes, np.int64).reshape(-1, 3).T
    return SpikeTrain.of(columns[0], columns[1], columns[2])


@pytest.mark.parametrize("delay", range(8))
def test_an_event_is_consumed_delay_ticks_after_its_delivery(delay):
    program = program_of([("o", 1, LI, 0, True, {})], [(0, delay, 0, 7)])
    got = Machine(program).run(train((1, 0, 1)), 12)
    assert got.values["o"][0, :, 0].tolist() == [7 if t == 1 + delay else 0 for t in range(12)]
    assert (got.steps, got.ticks, got.samples) == (12, 12, 1)


def test_payload_counts_and_several_delays_of_one_axon():
    program = program_of([("o", 2, LI, 0, True, SUM)], [(0, 1, 0, 7), (0, 3, 0, -5), (0, 2, 1, 1)])
    got = Machine(program).run(train((0, 0, 3), (2, 0, 1)), 7)
    assert got.values["o"][0, :, 0].tolist() == [0, 21, 21, 13, 13, 8, 8]
    assert got.values["o"][0, :, 1].tolist() == [0, 0, 3, 3, 4, 4, 4]
    assert got.counters == {"events": 2, "synaptic_events": 12, "spikes": 0}


def chain(**more):
    """in -> a -> b -> o, a hop per tick; o sums what b sends and what comes straight from in."""
    relay = {"threshold": 1}
    return program_of(
        [("a", 1, RELAY, 0, True, relay), ("b", 1, RELAY, 1, True, relay),
         ("o", 1, LI, 2, True, SUM)],
        [(0, 0, 0, 1), (1, 0, 1, 1), (2, 0, 2, 10), (0, 2, 2, 1)], **more)  # fmt: skip


def test_a_spike_is_delivered_in_the_next_tick_and_stages_are_taken_off():
    got = Machine(chain()).run(train((0, 0, 1), (3, 0, 1)), 5)
    assert got.ticks == 7
    assert got.spikes["a"].step.tolist() == got.spikes["b"].step.tolist() == [0, 3]
    assert got.spikes["a"].payload is None
    assert got.spikes["a"].sample is None
    assert got.values["o"][0, :, 0].tolist() == [11, 11, 11, 22, 22]
    assert got.cycles.shape == (1, 7, 1, 4)
    assert got.counters["spikes"] == 4


def test_a_run_without_drain_leaves_the_rest_to_the_next():
    machine = Machine(chain())
    one = machine.run(train((0, 0, 1), (3, 0, 1)), 4, drain=False, record=["b.v"])
    assert one.ticks == machine.tick == 4
    assert one.spikes["a"].step.tolist() == [0, 3]
    assert one.spikes["b"].step.tolist() == [0]
    assert one.values["o"].tolist() == [[[11], [11]]]
    assert one.state["b.v"].shape == (1, 3, 1)
    assert machine.pending() == {1: 1}
    ahead = np.zeros((8, 3), np.int64)
    ahead[1, 2] = 1
    np.testing.assert_array_equal(machine.accumulators(), ahead)
    two = machine.run(None, 3, drain=False)
    assert two.spikes["b"].step.tolist() == [-1]
    assert two.values["o"].tolist() == [[[11], [22], [22]]]


def test_a_drained_run_returns_its_own_steps_only():
    machine = Machine(chain())
    machine.run(train((0, 0, 1), (3, 0, 1)), 4, drain=False)
    got = machine.run(train((1, 0, 1)), 2)
    assert got.ticks == 4
    assert got.spikes["b"].step.tolist() == [1]
    assert got.values["o"].tolist() == [[[22], [33]]]


def test_a_run_of_no_steps_does_nothing():
    machine = Machine(chain())
    got = machine.run(None, 0)
    assert (got.ticks, machine.tick, got.values["o"].shape) == (0, 0, (1, 0, 1))
    assert got.cycles.shape == (1, 0, 1, 4)


def test_neurons_hold_before_their_start_and_between_their_periods():
    program = program_of(
        [("o", 1, LI, 4, True, {"keep": 2048, "initial_v": 64, "bias": 0})],
        [(0, 4, 0, 100)], period=3)  # fmt: skip
    machine = Machine(program)
    got = machine.run(train((1, 0, 1)), 3, record=["o.v"])
    assert got.ticks == program.ticks(3) == 11
    assert got.values["o"][0, :, 0].tolist() == [32, 116, 58]
    np.testing.assert_array_equal(got.state["o.v"], got.values["o"])
    updates = got.cycles[0, :, 0, 1] - cycles.update_constant(program.chip, 1)
    assert updates.tolist() == [0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    # Step 0 of the next run is tick 12, after one idle tick; 10 is the last update before it.
    got = machine.run(train((0, 0, 1)), 1)
    assert got.ticks == 1 + 5
    assert got.values["o"][0, :, 0].tolist() == [(58 // 2) // 2 + 100]


def test_events_that_miss_the_updates_of_their_target_are_refused():
    part = ("o", 1, LI, 3, True, {})
    for delay, period in ((0, 1), (4, 2)):
        with refuses(
            f"events from 'in' to 'o' with delay {delay} in the program: they arrive in tick "
            f"{delay}, not on an update of the target (start 3, period {period})"
        ):
            program_of([part], [(0, delay, 0, 1)], period=period)


def test_clocks_of_every_phase():
    # Row of line 0: dense, words 0..1, ends where the other begins: no gap is saved. Row of line 1:
    # dense, words 1..2. Row of neuron 0: two delays, so sparse; one entry per word.
    parts = [("a", 6, RELAY, 0, True, {"threshold": 1})]
    program = program_of(
        parts, [(0, 0, t, 1) for t in range(4)] + [(1, 0, t, 1) for t in range(2, 6)]
        + [(2, 0, 5, 0), (2, 1, 5, 0)], lines=2)  # fmt: skip
    gap = cycles.row_gap(program.chip)
    assert gap == 3
    deliver = cycles.deliver_constant(program.chip, 3)
    update = cycles.update_constant(program.chip, 1) + 6
    idle = cycles.emit_constant(program.chip)
    got = Machine(program).run(train((0, 0, 1), (2, 0, 2), (2, 1, 1)), 5)
    assert got.cycles[0, :, 0].tolist() == [
        [deliver + 2 + gap, update, 0, idle + 4],  # neuron 0 has one routing entry, three have none
        [deliver + 2 + gap, update, 0, idle],
        [deliver + 2 * (2 + gap) + 2 + gap, update, 0, idle + 6],
        [deliver + 2 + gap, update, 0, idle],
        [deliver, update, 0, idle],
    ]


def test_dense_rows_that_cannot_meet_follow_at_once():
    # Both rows have eight words from word 0 on: the next begins where its last word is far ahead.
    parts = [("a", 16, LI, 0, True, {})]
    both = [(line, 0, t, 1) for line in (0, 1) for t in range(16)]
    program = program_of(parts, both, lines=2)
    got = Machine(program).run(train((0, 0, 3), (0, 1, 1)), 1)
    assert got.cycles[0, 0, 0, 0] == cycles.deliver_constant(program.chip, 2) + 4 * 8
    assert (got.values["a"] == 4).all()


def test_events_walk_rows_on_several_cores():
    program = program_of(
        [("a", 2, RELAY, 0, True, {"threshold": 1}), ("o", 4, LI, 1, True, {})],
        [(0, 0, 0, 1)] + [(1, 0, t, t) for t in range(2, 6)], cores=(2, 4))  # fmt: skip
    got = Machine(program).run(train((0, 0, 1)), 1)
    assert got.values["o"].tolist() == [[[2, 3, 4, 5]]]
    assert got.cycles.shape == (1, 2, 3, 4)
    idle = cycles.emit_constant(program.chip)
    assert got.cycles[0, 0, :, 3].tolist() == [idle + 2, idle, idle]
    assert got.cycles[0, 1, :, 3].tolist() == [idle, idle + 2, idle + 2]  # their values
    assert got.counters == {"events": 2, "synaptic_events": 5, "spikes": 1}
    deliver = cycles.deliver_constant(program.chip, 1)
    assert got.cycles[0, 1, 1:, 0].tolist() == [deliver + 1 + 3] * 2


def test_state_and_weights_are_read_and_written_between_ticks():
    machine = Machine(chain(cores=(1, 2)))
    machine.write("o.v", [500])
    machine.write("weights", [2, 1, 3, -4])
    assert machine.read("weights").tolist() == [2, 1, 3, -4]
    got = machine.run(train((0, 0, 1)), 2)
    assert got.values["o"].tolist() == [[[500 + 1 - 4], [497]]]
    machine.restart()
    assert machine.read("o.v").tolist() == [0]
    assert machine.read("weights").tolist() == [2, 1, 3, -4]
    machine.restart(weights=True)
    assert machine.read("weights").tolist() == [1, 1, 1, 10]


def test_what_cannot_be_written_or_read_is_refused():
    machine = Machine(chain())
    with refuses("value 40000 in 'o.v': outside -32768..32767"):
        machine.write("o.v", [40_000])
    with refuses("values of shape (2,) in 'o.v': it has 1"):
        machine.write("o.v", [1, 2])
    with refuses("value -129 in 'weights': outside -128..127"):
        machine.write("weights", [-129, 0, 0, 0])
    with refuses("values of type <U4 in 'o.v'; give whole numbers"):
        machine.write("o.v", "text")
    with refuses("value 0.5 in 'o.v'; give whole numbers"):
        machine.write("o.v", [0.5])
    with refuses("value nan in 'o.v': outside -32768..32767"):
        machine.write("o.v", [np.nan])
    with refuses(
        "no 'o.u' in the program; did you mean 'o.v'? it has 'weights', 'a.v', 'b.v', 'o.v'"
    ):
        machine.read("o.u")
    with refuses("no 'xx' in the program; it has 'a', 'b', 'a.v', 'b.v', 'o.v'"):
        machine.run(None, 1, record=["xx"])


def test_input_that_does_not_fit_is_refused():
    machine = Machine(chain())
    with refuses("index 1 in input 'in': it has 1 lines"):
        machine.run(train((0, 1, 1)))
    with refuses("no input 'x' in the program; it has 'in'"):
        machine.run({"x": train((0, 0, 1))})
    with refuses(
        "4 events of in[0] in one step in the input: chip 'up5k' carries payloads up to 3"
    ):
        machine.run(train((0, 0, 2), (0, 0, 2)))
    with refuses("a run of 2 steps in the run: its input has 4 steps"):
        machine.run(train((3, 0, 1)), 2)
    with refuses("a run of -1 steps in the run: its input has 0 steps"):
        machine.run(None, -1)
    with refuses("0 samples in the run: the input has 0"):
        machine.run(None, 1, samples=0)
    early = SpikeTrain(np.array([-1]), np.array([0], np.int32))
    with refuses("step -1 in input 'in': a run's first step is 0"):
        machine.run(early, 1)


def test_equal_events_are_summed():
    program = program_of([("o", 1, LI, 0, True, {})], [(0, 0, 0, 5)])
    got = Machine(program).run(train((0, 0, 1), (0, 0, 2)), 1)
    assert got.values["o"].tolist() == [[[15]]]


def test_progress_is_told():
    told = []
    Machine(chain()).run(None, 2, samples=3, progress=lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3)]
