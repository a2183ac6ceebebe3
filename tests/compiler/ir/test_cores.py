import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from spikefab.compiler.ir.chip import CHIPS
from spikefab.compiler.ir.cores import SynapseMemory, core_images, routing, sparse_fields, word_bits
from spikefab.compiler.ir.plastic import DENSE
from spikefab.compiler.ir.rows import core_rows
from spikefab.compiler.ir.validate import core_use
from strategies import every_synapse, programs, random_program, seeds


def synapses_of(program, images):
    """(source, delay, target, weight) of everything the images hold."""
    chip = program.chip
    for image in images:
        for source, row in zip(image.sources.tolist(), image.rows, strict=True):
            for n in range(row.words):
                word = row.address + n
                weights = image.memory.weight[word].tolist()
                if row.kind == DENSE:
                    places = [((row.begin + n) * chip.lanes + lane, row.delay)
                              for lane in range(chip.lanes)]  # fmt: skip
                else:
                    places = list(zip(image.memory.target[word].tolist(),
                                      image.memory.delay[word].tolist(), strict=True))  # fmt: skip
                    assert not any(weights[chip.sparse_lanes :])
                for lane, (target, delay) in enumerate(places):
                    if weights[lane]:
                        assert row.kind == DENSE or target % chip.sparse_lanes == lane
                        yield source, delay, image.first + target, weights[lane]


@settings(max_examples=60, deadline=None)
@given(programs)
def test_images_hold_every_synapse_once(program):
    images = core_images(program)
    assert sorted(synapses_of(program, images)) == sorted(every_synapse(program))
    held = program.synapses.count + sum(q.count for q in program.plastic)
    assert sum(row.synapses for i in images for row in i.rows) == held


@settings(max_examples=60, deadline=None)
@given(programs)
def test_packed_memory_is_the_same_memory(program):
    bits = word_bits(program.chip)
    for image in core_images(program):
        packed = image.memory.pack(program.chip)
        assert all(0 <= word < 1 << bits for word in packed)
        restored = SynapseMemory.unpack(packed, image.memory.sparse, program.chip)
        for field in dataclasses.fields(SynapseMemory):
            np.testing.assert_array_equal(
                getattr(restored, field.name), getattr(image.memory, field.name)
            )


@settings(max_examples=60, deadline=None)
@given(programs)
def test_memory_use_is_what_the_validator_counts(program):
    images = core_images(program)
    used = {
        "neurons": [i.neurons for i in images],
        "axons": [len(i.rows) for i in images],
        "synapse_words": [len(i.memory.weight) for i in images],
        "routes": [sum(map(len, i.routes)) for i in images],
        "parameter_sets": [len(i.parameter_sets) + len(i.plastic) for i in images],
        "populations": [len(i.populations) for i in images],
        "projections": [len(i.plastic) for i in images],
    }
    assert used == {name: counts.tolist() for name, counts in core_use(program).items()}


@settings(max_examples=60, deadline=None)
@given(programs)
def test_routes_lead_to_the_axons_of_their_source(program):
    images = core_images(program)
    routes = routing(program)
    found = [
        (source, core, axon) for source, entries in enumerate(routes) for core, axon in entries
    ]
    held = [(source, i.core, axon) for i in images for axon, source in enumerate(i.sources)]
    assert sorted(found) == sorted(held)
    assert all(list(entries) == sorted(entries) for entries in routes)
    for i in images:
        fixed = [s for s, row in zip(i.sources.tolist(), i.rows, strict=True) if row.plastic < 0]
        assert fixed == sorted(set(fixed))
        assert i.sources.tolist() == sorted(i.sources.tolist())
        first = program.input_lines + i.first
        assert list(i.routes) == routes[first : first + i.neurons]


@settings(max_examples=60, deadline=None)
@given(programs)
def test_rows_lie_one_after_the_other_with_the_shape_of_the_survey(program):
    rows = core_rows(
        program.synapses, program.core_first, program.chip, program.survey, program.plastic_rows
    )
    for image in core_images(program):
        here = rows.core == image.core
        end = 0
        for row in image.rows:
            assert row.address == end
            assert row.room >= row.words
            end += row.room
        assert end == len(image.memory.sparse)
        for name in ("kind", "begin", "words", "follows", "room"):
            expected = getattr(rows, name)[here].tolist()
            assert [getattr(row, name) for row in image.rows] == expected
        kinds = [
            row.kind != DENSE and n < row.words for row in image.rows for n in range(row.room)
        ]
        assert image.memory.sparse.tolist() == kinds


@settings(max_examples=60, deadline=None)
@given(programs)
def test_every_neuron_has_its_own_parameters_and_state(program):
    output = 0
    seen = []
    for image in core_images(program):
        assert image.first == program.core_first[image.core]
        address = 0
        for part in image.populations:
            p = program.populations[part.number]
            assert part.first == address
            assert (part.start, part.period, part.model) == (p.start, p.period, p.model)
            for n in range(part.size):
                chosen = image.parameter_sets[image.parameter_set[address + n]]
                index = part.index + n
                assert chosen.model == p.model
                assert chosen.values == {k: v[index % v.size] for k, v in p.parameters.items()}
                for k, v in p.initial.items():
                    assert part.initial[k][n] == v[index % v.size]
                seen.append(p.first + index)
            assert p.output == (part.output >= 0)
            if p.output:
                assert part.output == output
                output += part.size
            address += part.size
        assert address == image.neurons
    assert seen == list(range(program.neurons))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_accumulators_are_written_back_before_they_are_read_again(seed):
    """No two reads of an accumulator word of one slot lie closer than the latency, in any order."""
    rng = np.random.default_rng(seed)
    program = random_program(rng, accumulate_latency=int(rng.integers(2, 7)), cores=1, lanes=2)
    (image,) = core_images(program)
    chip = program.chip
    order = rng.integers(0, max(1, len(image.rows)), 60) if image.rows else []
    clock, last_read = 0, {}
    for axon in order:
        row = image.rows[axon]
        for n in range(row.words):
            places = []
            if row.kind == DENSE:
                places = [(row.delay, row.begin + n, lane) for lane in range(chip.lanes)]
            else:
                word = row.address + n
                places = [
                    (int(image.memory.delay[word, j]), *divmod(int(target), chip.lanes))
                    for j, target in enumerate(image.memory.target[word])
                    if image.memory.weight[word, j]
                ]
            for place in places:
                assert clock - last_read.get(place, -99) >= chip.accumulate_latency
                last_read[place] = clock
            clock += 1
        clock += 0 if row.follows else chip.accumulate_latency - 1


@pytest.mark.parametrize("name", CHIPS)
def test_named_chips_need_no_wider_word_for_sparse_rows(name):
    chip = CHIPS[name]
    assert word_bits(chip) == chip.lanes * chip.weight_bits
    target, delay = sparse_fields(chip)
    assert chip.sparse_lanes << target >= chip.neurons
    assert 1 << delay == chip.delay_slots


def test_packed_words_hold_their_fields_from_the_least_bit():
    chip = dataclasses.replace(CHIPS["up5k"], lanes=4, neurons=32, delay_slots=8)
    assert (chip.sparse_lanes, sparse_fields(chip)) == (2, (4, 3))
    memory = SynapseMemory.empty(2, chip, np.array([False, True]))
    memory.weight[0] = [1, -1, 127, -128]
    memory.weight[1, :2] = [-2, 5]
    memory.target[1] = [6, 31]
    memory.delay[1] = [7, 1]
    dense, sparse = memory.pack(chip)
    assert dense == 0x80_7F_FF_01
    assert sparse == (0xFE | 3 << 8 | 7 << 12) | (5 | 15 << 8 | 1 << 12) << 15
