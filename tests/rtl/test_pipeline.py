"""Amaranth lowering = interpreter, item by item: operators, random graphs, every library model."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import strategies
from amaranth import Fragment, Module, Signal
from amaranth.sim import Simulator
from spikefab.compiler.ir.interpret import Draws, evaluate
from spikefab.compiler.ir.language import (
    Value,
    absolute,
    lift,
    maximum,
    minimum,
    narrow,
    random,
    saturate,
    select,
    shift,
    table,
    variable,
    wrap,
)
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.schedule import schedule
from spikefab.rtl.pipeline import Pipeline, field

GRAPHS = int(os.environ.get("SPIKEFAB_GRAPHS", "300"))
ITEMS = 24


def streamed(
    pipeline: Pipeline, items: list[Mapping[str, int]], draws: list[Draws]
) -> list[dict[str, int]]:
    """Outputs of items that enter one per clock, each input and output in its clock."""
    m = Module()
    m.submodules.pipeline = pipeline
    m.d.sync += Signal(name="clocked").eq(1)  # a graph of constants has no register of its own
    layout = pipeline.outputs.shape()
    seen: list[dict[str, int]] = [{} for _ in items]

    async def testbench(ctx: Any) -> None:
        for n in range(len(items) + pipeline.latency - 1):
            for name, clock in pipeline.arrivals.items():
                if 0 <= n - clock < len(items):
                    given = {field(k): v for k, v in items[n - clock].items()}
                    ctx.set(pipeline.inputs[name], given[name])
            if hasattr(pipeline, "word") and 0 <= n - pipeline.drawn < len(items):
                for name in ("word", "core", "address"):
                    ctx.set(getattr(pipeline, name), getattr(draws[n - pipeline.drawn], name))
            await ctx.tick()
            out = layout.const(None) if not layout.size else ctx.get(pipeline.outputs)
            for name in pipeline.graph:
                at = n + 1 - pipeline.departures[field(name)]
                if 0 <= at < len(items):
                    seen[at][name] = int(out[field(name)])

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen


def check(rng: strategies.Rng, outputs: Mapping[str, Value], count: int = ITEMS) -> None:
    """Hold the pipeline of a graph to the interpreter on random and extreme items."""
    items = strategies.input_rows(rng, dict(outputs), count)
    draws = [Draws(*(int(rng.integers(2**bits)) for bits in (32, 12, 16))) for _ in items]
    for n, found in enumerate(streamed(Pipeline(outputs), items, draws)):
        expected = evaluate(outputs, items[n], draws[n])
        assert found == expected, f"item {n}: {items[n]}, {draws[n]}"


A, B = variable("a", -(1 << 15), (1 << 15) - 1), variable("b", -1000, 70)
K, SIX = variable("k", 0, 7), variable("six", 2, 6)
P, Q = A >= 3, B > A
OPERATORS: dict[str, Value] = {
    "const": lift(-7), "true": lift(True), "input": A, "one value": A - A * 0 + minimum(B, -1000),
    "add": A + B, "sub": A - B, "neg": -B, "mul": A * B, "mul constant": A * 3,
    "square": A * A, "shl": A << 5, "shl by value": A << K, "shl of constant": lift(3) << K,
    "lt": A < B, "le": A <= B, "eq": A == B, "eq constant": B == 70, "ne": A != B,
    "and": P & Q, "or": P | Q, "not": ~P, "select": select(P, A, B), "select boolean":
    select(P, Q, ~Q), "min": minimum(A, B), "max": maximum(A, B), "abs": absolute(A),
    "abs of positive": absolute(K), "saturate": saturate(A, 8), "saturate by a bit":
    saturate(A, 15), "saturate to a bit": saturate(A, 1), "saturate nothing": saturate(A, 20),
    "saturate as much": saturate(A, 16), "unsigned": saturate(A, 8, signed=False),
    "unsigned as much": saturate(A, 15, signed=False), "unsigned wide":
    saturate(A, 20, signed=False), "wrap": wrap(A, 9), "wrap to a bit": wrap(A, 1),
    "table": table([5, -9, 3, 0, 1, 77, -200, 8, 4], K), "part of a table":
    table([10**9, 10**9, 3, 0, 1, 77, -2], SIX), "table of one": table([4], K * 0),
}  # fmt: skip
for rounding, (name, k) in itertools.product(
    ("floor", "toward_zero", "nearest_even"),
    {"0": 0, "1": 1, "5": 5, "20": 20, "31": 31, "value": K, "two to six": SIX}.items(),
):
    OPERATORS[f"{rounding} by {name}"] = shift(A, k, rounding)  # type: ignore[arg-type]
    OPERATORS[f"{rounding} of positive by {name}"] = shift(K, k, rounding)  # type: ignore[arg-type]
for bits, draw in itertools.product((1, 7, 32), (0, 1, 15)):
    OPERATORS[f"random {bits}, draw {draw}"] = random(bits, draw)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator(name: str) -> None:
    check(np.random.default_rng(3), {"z": OPERATORS[name]}, 60)


def test_all_operators_in_one_pipeline() -> None:
    """Of unequal depths, so every value waits in registers for the deepest."""
    check(np.random.default_rng(4), union({"z": v} for v in OPERATORS.values()), 40)


def test_random_graphs() -> None:
    for seed in range(GRAPHS):
        rng = np.random.default_rng(seed)
        check(rng, strategies.random_graph(rng))


@pytest.mark.prove
@pytest.mark.parametrize("first", range(10_000, 11_500, 100))
def test_many_random_graphs(first: int) -> None:
    for seed in range(first, first + 100):
        rng = np.random.default_rng(seed)
        check(rng, strategies.random_graph(rng), 100)


def variants(name: str, state_bits: int, accumulator_bits: int) -> list[dict[str, Value]]:
    model = LIBRARY[name]
    options = strategies.variants(model)
    return [model.datapath(state_bits, accumulator_bits, o).outputs for o in options]


def union(graphs: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    """Several graphs as one, which shares what they have in common."""
    return {f"{n}.{name}": v for n, outputs in enumerate(graphs) for name, v in outputs.items()}


@pytest.mark.parametrize("name", LIBRARY)
def test_every_variant_of_a_model(name: str) -> None:
    graphs = variants(name, 16, 16)
    for n in range(0, len(graphs), 12):
        check(np.random.default_rng(n), union(graphs[n : n + 12]), 40)


@pytest.mark.prove
@pytest.mark.parametrize(("name", "bits"), list(itertools.product(LIBRARY, (8, 16, 24))))
def test_all_variants_at_all_widths(name: str, bits: int) -> None:
    rng = np.random.default_rng(bits)
    for outputs in variants(name, bits, 24):
        for graph in (outputs, narrow(outputs, {"current": (-(1 << 15), 1 << 15)})):
            check(rng, graph, 200)


def elaborated(outputs: Mapping[str, Value]) -> tuple[Pipeline, Fragment]:
    pipeline = Pipeline(outputs)
    return pipeline, Fragment.get(pipeline, None)


def test_latency_is_that_of_the_schedule() -> None:
    graph = {"early": A, "late": saturate(A * B + random(4, 0), 16)}
    assert elaborated(graph)[0].latency == schedule(graph).latency == 5
    check(np.random.default_rng(1), graph)


def test_fields_are_as_wide_as_intervals_need() -> None:
    pipeline, _ = elaborated({"next.v": A + B, "spike": P & Q})
    assert {k: str(f.shape) for k, f in pipeline.inputs.shape()} == {
        "a": "signed(16)", "b": "signed(11)",
    }  # fmt: skip
    assert {k: str(f.shape) for k, f in pipeline.outputs.shape()} == {
        "next__v": "signed(17)", "spike": "unsigned(1)",
    }  # fmt: skip
    assert not hasattr(pipeline, "word")
    assert len(elaborated({"z": random(3, 0)})[0].word) == 32


def test_graphs_with_intervals_of_their_own_share_an_input() -> None:
    narrow_a = variable("a", -8, 7)
    pipeline = Pipeline({"wide": A + 1, "narrow": narrow_a + 1})
    items = [{"a": a} for a in range(-8, 8)]
    found = streamed(pipeline, items, [Draws()] * len(items))
    assert found == [{"wide": a + 1, "narrow": a + 1} for a in range(-8, 8)]


def test_equal_subgraphs_are_built_once() -> None:
    first, second = variable("a", -8, 7), variable("a", -8, 7)
    _, fragment = elaborated({"x": first * first + 1, "y": second * second - 1})
    assert len(fragment.subfragments) == 1
