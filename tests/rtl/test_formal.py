"""Contracts of the gateware's blocks and of a whole small core, proven; planted errors are found.

What says `prove` holds for ever, by induction; the rest in every tick, as a tick from a reset is
held to its end, with any contents of memories and registers, and leaves what a reset leaves.
"""

from __future__ import annotations

from typing import Any

import formal_core
import pytest
from formal import (
    AccumulatorsHarness,
    DeliverHarness,
    EmitHarness,
    planted,
    small_map,
)
from formal_core import HostHarness, TickHarness
from proof import Refuted, check, prove
from spikefab.compiler.ir.language import Value, saturate, variable
from spikefab.compiler.ir.memory_map import MemoryMap
from spikefab.rtl import core as core_module
from spikefab.rtl.equivalence import disprove

CORE = formal_core.core_module


def held_for_every_tick(harness: Any) -> None:
    """Held from the reset to the rest after it; what the host loads is free at first."""
    kept = "|".join(harness.map.registers)
    check(harness, harness.clocks, rest="rest", reset=4, free=rf"(core|twin)\.({kept})")


# The pending set, and the list of spikes.


def emit_map(**fields: int) -> MemoryMap:
    """With as many neurons as a neuron's number has room to count, so that no count is hidden."""
    return small_map(**({"neurons": 3, "payload_bits": 2} | fields))


def test_the_list_and_the_pending_set_keep_all_events() -> None:
    prove(EmitHarness(emit_map()), depth=6, reach=14)


def test_they_keep_all_events_where_memories_take_two_clocks() -> None:
    check(EmitHarness(emit_map(memory_latency=2)), 16)


def test_a_longer_list_and_a_larger_pending_set_keep_all_events() -> None:
    prove(EmitHarness(emit_map(neurons=15, axons=70, payload_bits=4)), depth=8, reach=40)


@pytest.mark.parametrize(
    ("right", "wrong", "claim"),
    [
        ("same.eq(word_there & ", "same.eq(0 & ", "an axon is pending"),
        ("before.eq(self.pending_written)", "before.eq(self.pending_data)", "an axon is pending"),
        ("route_there & route.valid & (goes", "route_there & (goes", "an axon is pending"),
        ("payload.eq(Mux(active, entry.value, ", "payload.eq(Mux(active, 1, ", "a payload is"),
        ("[self.list_data, *held]", "[Mux(asked, self.list_data, entry), *held]", "an output is"),
        ("goes & last if map.learn else goes", "1", "only an output stalls"),
        ("count.eq(count + 1)", "count.eq(count + (count != 2))", "listed at the end"),
        ("tail = Signal(1 + waits)", "tail = Signal(waits)", "clocks of its formula"),
    ],
)
def test_a_fault_of_emit_is_found(right: str, wrong: str, claim: str) -> None:
    with pytest.raises(Refuted, match=claim):
        check(EmitHarness(emit_map(), planted("emit.py", right, wrong)), 12)


def deliver(longest: int, events: int, **fields: Any) -> DeliverHarness:
    block = {name: fields.pop(name) for name in ("block",) if name in fields}
    return DeliverHarness(small_map(**({"synapse_words": 128} | fields)), longest, events, **block)


@pytest.mark.parametrize(("axons", "events", "payload_bits"), [(3, 3, 1), (2, 2, 2)])
def test_pending_events_are_delivered_once(axons: int, events: int, payload_bits: int) -> None:
    held_for_every_tick(deliver(2, events, axons=axons, payload_bits=payload_bits))


@pytest.mark.prove
@pytest.mark.parametrize(
    ("axons", "longest", "events", "fields"),
    [
        (4, 3, 4, {}),
        (18, 3, 3, {}),
        (18, 2, 2, {"payload_bits": 2}),
        (3, 3, 3, {"accumulate_latency": 2}),
        (3, 3, 3, {"accumulate_latency": 5, "delay_slots": 1}),
        (3, 3, 3, {"memory_latency": 2}),
    ],
)
def test_more_events_are_delivered_once(
    axons: int, longest: int, events: int, fields: dict[str, int]
) -> None:
    held_for_every_tick(deliver(longest, events, axons=axons, **fields))


@pytest.mark.parametrize(
    ("right", "wrong", "claim"),
    [
        ("Mux(some, bits & less, ", "Mux(some, 0, ", "no event is lost"),
        ("self.pending_clear.eq(word_token & advance)", "self.pending_clear.eq(0)", "is left"),
        ("waiting.eq(gap)", "waiting.eq(gap - 1)", "may not be followed"),
        ("again.eq(self.payload_data - 1)", "again.eq(self.payload_data)", "delivered twice"),
        ("word.eq(extent.begin)", "word.eq(0)", "goes to its words"),
        ("drain.eq(Cat(ends[-1], drain))", "drain.eq(Cat(ends[-2], drain))", "formula"),
    ],
)
def test_a_fault_of_deliver_is_found(right: str, wrong: str, claim: str) -> None:
    harness = deliver(
        2, 2, axons=2, payload_bits=2, block=planted("deliver.py", right, wrong)
    )
    with pytest.raises(Refuted, match=claim):
        check(harness, harness.clocks)


# Sums.

WIDE = {"lanes": 4, "weight_bits": 6, "neurons": 8, "delay_slots": 4}


@pytest.mark.parametrize("fields", [{}, {"lanes": 1}, WIDE | {"accumulate_latency": 2}])
def test_a_sum_is_written_where_it_was_read(fields: dict[str, int]) -> None:
    harness = AccumulatorsHarness(small_map(**({"neurons": 4} | fields)))
    prove(harness, depth=9, reach=14, reset=harness.map.chip.accumulate_latency)


@pytest.mark.prove
@pytest.mark.parametrize(
    "fields",
    [
        WIDE | {"accumulator_bits": 18, "accumulate_latency": 4},
        {"lanes": 8, "weight_bits": 8, "neurons": 16, "accumulator_bits": 16},
        {"accumulate_latency": 6, "delay_slots": 1},
    ],
)
def test_a_sum_is_written_where_it_was_read_on_larger_chips(fields: dict[str, int]) -> None:
    harness = AccumulatorsHarness(small_map(**fields))
    prove(harness, depth=12, reach=18, reset=harness.map.chip.accumulate_latency)


@pytest.mark.parametrize(
    ("right", "wrong", "claim"),
    [
        ("held + added", "held - added", "the sum read and the weight"),
        ('added{lane}").as_signed()', 'added{lane}")', "the sum read and the weight"),
        ("(weight[n % groups] != 0)", "1", "written back in time"),
        ("later(m, p, 1 + steps,", "later(m, p, 2 + steps,", "written back in time"),
        ("(slot + entry.delay)", "(slot - entry.delay)", "written back in time"),
        ("Mux(clear, 0, ", "Mux(clear, 1, ", "or 0 if it was taken"),
        ('map.lane_bits], 1 + before', 'map.lane_bits], 2 + before', "a neuron gets its sum"),
    ],
)
def test_a_fault_of_the_accumulators_is_found(right: str, wrong: str, claim: str) -> None:
    block = planted("accumulators.py", right, wrong)
    with pytest.raises(Refuted, match=claim):
        check(AccumulatorsHarness(small_map(**WIDE), block), 10, reset=3)


def test_saturation_is_a_clamp_at_all_small_widths() -> None:
    """The pipelines' `_saturated`, from each width to each; tests of `equivalence` plant errors."""
    cases: dict[str, Value] = {}
    for width in range(1, 9):
        x = variable(f"x{width}", -(1 << (width - 1)), (1 << (width - 1)) - 1)
        for bits in range(1, 10):
            cases[f"s{width}_{bits}"] = saturate(x, bits)
            cases[f"u{width}_{bits}"] = saturate(x, bits, signed=False)
    assert disprove(cases) is None


# The whole core.


def core_map(**fields: int) -> MemoryMap:
    least = {
        "neurons": 2, "axons": 2, "synapse_words": 4, "delay_slots": 1, "populations": 1,
        "parameter_sets": 1,
    }  # fmt: skip
    return small_map(**(least | fields))


def test_the_host_reads_what_it_wrote_and_never_meets_an_event_or_a_tick() -> None:
    check(HostHarness(core_map(neurons=3, delay_slots=2)), 14, reset=4)


@pytest.mark.prove
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"payload_bits": 2, "accumulator_bits": 20},
        {"memory_latency": 2, "accumulate_latency": 4},
    ],
)
def test_the_host_reads_what_it_wrote_after_any_access(fields: dict[str, int]) -> None:
    harness = HostHarness(core_map(neurons=3, delay_slots=2, **fields))
    kept = "|".join(harness.map.registers)
    check(harness, 22, rest="rest", reset=4, free=rf"core\.({kept})")


@pytest.mark.parametrize(
    ("file", "right", "wrong", "claim"),
    [
        ("core.py", "& ~host.active & ~host.asked)", "& ~host.active)", "one at a time"),
        ("host.py", "port.ready.eq(core.idle & ~core.start)", "port.ready.eq(core.idle)",
         "one at a time"),
        ("core.py", "self.idle.eq(resting & ~host.busy)", "self.idle.eq(~host.busy)",
         "between ticks"),
        ("host.py", 'later(m, asked, self._map.chip.memory_latency, f"asks{n}")', "asked",
         "a read"),
    ],
)  # fmt: skip
def test_a_fault_of_the_host_port_is_found(
    file: str, right: str, wrong: str, claim: str
) -> None:
    block = planted(file, right, wrong, None if file == "core.py" else core_module)
    with pytest.raises(Refuted, match=claim):
        check(HostHarness(core_map(neurons=3, delay_slots=2), block), 12, reset=4)


def test_every_tick_ends_in_the_clocks_of_its_formulas() -> None:
    held_for_every_tick(TickHarness(core_map(), events=1))


@pytest.mark.prove
@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ({}, {"events": 1, "ticks": 2}),
        ({"neurons": 3, "populations": 2, "delay_slots": 2}, {"events": 1, "stalls": 1}),
        ({}, {"events": 2, "stalls": 3}),
    ],
)
def test_more_ticks_end_in_the_clocks_of_their_formulas(
    fields: dict[str, int], given: dict[str, int]
) -> None:
    held_for_every_tick(TickHarness(core_map(**fields), **given))


@pytest.mark.parametrize(
    ("file", "right", "wrong", "claim"),
    [
        ("neurons.py", "phase.countdown == 0", "phase.countdown <= 1", "formula"),
        ("deliver.py", "follows.eq(row.follows)", "follows.eq(0)", "formula"),
        ("emit.py", "self.done.eq(tail[-1])", "self.done.eq(0)", "a tick ends"),
    ],
)
def test_a_fault_in_a_tick_is_found(file: str, right: str, wrong: str, claim: str) -> None:
    least = core_map(neurons=1, axons=1, lanes=1)
    harness = TickHarness(least, events=0, block=planted(file, right, wrong, CORE))
    with pytest.raises(Refuted, match=claim):
        check(harness, harness.clocks, reset=4)


@pytest.mark.prove
def test_no_read_that_counts_meets_a_write() -> None:
    """Synthesis takes for granted that what such a read gives does not matter."""
    held_for_every_tick(TickHarness(core_map(), events=1, twin=True))


@pytest.mark.prove
def test_a_read_that_meets_a_write_is_found() -> None:
    block = planted("emit.py", "same.eq(word_there & ", "same.eq(0 & ", CORE)
    harness = TickHarness(core_map(), events=2, twin=True, block=block)
    with pytest.raises(Refuted, match="the same"):
        check(harness, harness.clocks, reset=4)
