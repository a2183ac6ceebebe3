"""Numba lowering = interpreter, bit for bit: random graphs, and every library model and variant."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import strategies
from spikefab.compiler.ir.interpret import Draws, evaluate
from spikefab.compiler.ir.language import Value, narrow, topological
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.neuron import Datapath
from spikefab.emulator.cache import generated_module
from spikefab.emulator.lowering import PRELUDE, lower

GRAPHS = int(os.environ.get("SPIKEFAB_GRAPHS", "60"))
PER_MODULE = 30
ROWS = 40


def compiled(graphs: list[Mapping[str, Value]], optimised: bool) -> Any:
    """One module with a function `graph_N(columns, word, core, first address, out)` per graph.

    Every other one is computed in the narrowest types that there are.
    """
    text = [PRELUDE.strip("\n")]
    for n, outputs in enumerate(graphs):
        inputs = {
            str(v.attribute[0]): f"columns[k, {i}]" for i, v in enumerate(named_inputs(outputs))
        }
        statements, results, tables = lower(outputs, inputs, f"x{n}_", 16 if n % 2 else 32)
        body = ["address = base + k", *statements]
        body += [f"out[k, {i}] = i64({results[name]})" for i, name in enumerate(outputs)]
        text += [
            *tables, f"@njit(cache={optimised})", f"def graph_{n}(columns, word, core, base, out):",
            "    for k in range(len(columns)):", *(f"        {line}" for line in body), "",
        ]  # fmt: skip
    return generated_module("\n".join(text))


def named_inputs(outputs: Mapping[str, Value]) -> list[Value]:
    """Input values of a graph, each name once."""
    found = {str(v.attribute[0]): v for v in topological(outputs.values()) if v.op == "input"}
    return list(found.values())


def check(rng: strategies.Rng, graphs: list[Mapping[str, Value]], rows: int = ROWS) -> None:
    """Hold the lowering of every graph to the interpreter on random and extreme inputs."""
    module = compiled(graphs, optimised=True)
    for n, outputs in enumerate(graphs):
        given = strategies.input_rows(rng, dict(outputs), rows)
        names = [str(v.attribute[0]) for v in named_inputs(outputs)]
        columns = np.array([[row[name] for name in names] for row in given], np.int64)
        out = np.zeros((rows, len(outputs)), np.int64)
        word, core, base = int(rng.integers(0, 2**32)), int(rng.integers(0, 99)), 17
        getattr(module, f"graph_{n}")(columns.reshape(rows, len(names)), word, core, base, out)
        for k, row in enumerate(given):
            expected = evaluate(outputs, row, Draws(word, core, base + k))
            assert out[k].tolist() == list(expected.values()), (n, row)


def check_random_graphs(seeds: range) -> None:
    for first in range(seeds.start, seeds.stop, PER_MODULE):
        rng = np.random.default_rng(first)
        count = min(PER_MODULE, seeds.stop - first)
        check(rng, [strategies.random_graph(rng) for _ in range(count)])


def test_random_graphs() -> None:
    check_random_graphs(range(GRAPHS))


@pytest.mark.prove
def test_many_random_graphs() -> None:
    check_random_graphs(range(10_000, 11_500))


def variants_of(name: str, state_bits: int) -> list[Datapath]:
    model = LIBRARY[name]
    return [model.datapath(state_bits, 24, o) for o in strategies.variants(model)]


@pytest.mark.parametrize("name", LIBRARY)
def test_every_variant_of_a_model(name: str) -> None:
    rng = np.random.default_rng(5)
    graphs = [model.outputs for model in variants_of(name, 16)]
    if len(graphs) > 36:  # the rest in `make prove`
        graphs = [graphs[i] for i in sorted(rng.choice(len(graphs), 36, replace=False))]
    check(rng, graphs)


@pytest.mark.prove
@pytest.mark.parametrize(("name", "bits"), list(itertools.product(LIBRARY, (8, 16, 24))))
def test_all_variants_at_all_widths(name: str, bits: int) -> None:
    rng = np.random.default_rng(bits)
    for model in variants_of(name, bits):
        check(rng, [model.outputs, narrow(model.outputs, {"current": (-(1 << 15), 1 << 15)})], 200)
