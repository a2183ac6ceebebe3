import itertools
import json
import re
from fractions import Fraction
from math import floor, trunc

import numpy as np
import pytest
from hypothesis import given, settings
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.interpret import Draws, draw_bits, evaluate, first_word, mix, next_word
from spikefab.compiler.ir.language import (
    MAX_DRAWS,
    absolute,
    bounds,
    decay,
    from_lists,
    lift,
    maximum,
    minimum,
    narrow,
    numbered_draws,
    random,
    saturate,
    select,
    shift,
    signed_bits,
    table,
    to_lists,
    topological,
    variable,
    wrap,
)
from strategies import OPERATORS, input_rows, random_graph, seeds

ROUNDINGS = {"floor": floor, "toward_zero": trunc, "nearest_even": round}
FORMATS = [(-7, 9), (0, 12), (-11, -3), (5, 5)]


def clipped(lo, hi):
    return lambda x: min(max(x, lo), hi)


# name: (what the language makes of a and b, what it means for Python integers)
MEANING = {
    "add": (lambda a, b: a + b, lambda x, y: x + y),
    "add_int": (lambda a, b: 3 + a, lambda x, y: 3 + x),
    "sub": (lambda a, b: a - b, lambda x, y: x - y),
    "sub_int": (lambda a, b: 3 - a, lambda x, y: 3 - x),
    "negative": (lambda a, b: -a, lambda x, y: -x),
    "mul": (lambda a, b: a * b, lambda x, y: x * y),
    "mul_int": (lambda a, b: -3 * a, lambda x, y: -3 * x),
    "shl": (lambda a, b: a << 3, lambda x, y: x * 8),
    "shl_by": (lambda a, b: a << absolute(b), lambda x, y: x * 2 ** abs(y)),
    "rshift": (lambda a, b: a >> 2, lambda x, y: floor(Fraction(x, 4))),
    "lt": (lambda a, b: a < b, lambda x, y: x < y),
    "le": (lambda a, b: a <= b, lambda x, y: x <= y),
    "gt": (lambda a, b: a > b, lambda x, y: x > y),
    "ge": (lambda a, b: a >= b, lambda x, y: x >= y),
    "eq": (lambda a, b: a == b, lambda x, y: x == y),
    "ne": (lambda a, b: a != b, lambda x, y: x != y),
    "and": (lambda a, b: (a > 0) & (b > 0), lambda x, y: x > 0 and y > 0),
    "or": (lambda a, b: (a > 0) | (b > 0), lambda x, y: x > 0 or y > 0),
    "not": (lambda a, b: ~(a > 0), lambda x, y: not x > 0),
    "select": (lambda a, b: select(a < b, a, b), lambda x, y: x if x < y else y),
    "min": (minimum, min),
    "max": (maximum, max),
    "abs": (lambda a, b: absolute(a), lambda x, y: abs(x)),
    "saturate": (lambda a, b: saturate(a, 3), lambda x, y: clipped(-4, 3)(x)),
    "unsigned": (lambda a, b: saturate(a, 3, signed=False), lambda x, y: clipped(0, 7)(x)),
    "wrap": (lambda a, b: wrap(a, 3), lambda x, y: (x + 4) % 8 - 4),
    "table": (
        lambda a, b: table(range(100, 0, -7), absolute(a)),
        lambda x, y: list(range(100, 0, -7))[abs(x)],
    ),
}
# The interval of these is the exact range of results, whatever the arguments' formats.
TIGHT = set(MEANING) - {"lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "select", "wrap",
                        "min", "max", "table"}  # fmt: skip


@pytest.mark.parametrize("name", MEANING)
@pytest.mark.parametrize("formats", list(itertools.product(FORMATS, FORMATS)))
def test_operator_means_what_python_means(name, formats):
    a, b = variable("a", *formats[0]), variable("b", *formats[1])
    made, meant = MEANING[name]
    value = made(a, b)
    results = []
    for x, y in itertools.product(range(a.lo, a.hi + 1), range(b.lo, b.hi + 1)):
        got = evaluate({"z": value}, {"a": x, "b": y})["z"]
        assert got == meant(x, y), (x, y)
        results.append(got)
    if name in TIGHT:
        assert (value.lo, value.hi) == (min(results), max(results))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_shift_rounds_as_named(rounding, k):
    a = variable("a", -37, 41)
    value = shift(a, k, rounding)
    results = [evaluate({"z": value}, {"a": x})["z"] for x in range(-37, 42)]
    assert results == [ROUNDINGS[rounding](Fraction(x, 1 << k)) for x in range(-37, 42)]
    assert (value.lo, value.hi) == (min(results), max(results))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_shift_by_a_parameter(rounding):
    value = shift(variable("a", -37, 41), variable("k", 0, 7), rounding)
    for x, k in itertools.product(range(-37, 42), range(8)):
        got = evaluate({"z": value}, {"a": x, "k": k})["z"]
        assert got == ROUNDINGS[rounding](Fraction(x, 1 << k))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_decay_keeps_a_fraction(rounding):
    value = decay(variable("a", -20, 20), variable("k", 0, 16), 4, rounding)
    assert (value.lo, value.hi) == (-20, 20)
    for x, k in itertools.product(range(-20, 21), range(17)):
        got = evaluate({"z": value}, {"a": x, "k": k})["z"]
        assert got == ROUNDINGS[rounding](Fraction(x * k, 16))


@pytest.mark.parametrize("by_parameter", [False, True])
def test_stochastic_shift_is_floor_or_one_more_with_the_right_mean(by_parameter):
    amount = variable("k", 0, 4) if by_parameter else 3
    with numbered_draws():
        value = shift(variable("a", -100, 100), amount, "stochastic")
    for x in (-27, 0, 5, 64):
        got = [
            evaluate({"z": value}, {"a": x, "k": 3}, Draws(address=n))["z"] for n in range(800)
        ]
        exact = Fraction(x, 8)
        assert set(got) <= {floor(exact), floor(exact) + 1}
        assert abs(np.mean(got) - float(exact)) < 0.07


def test_random_is_a_pure_function_of_word_core_address_and_draw():
    with numbered_draws():
        graph = {"a": random(8), "b": random(8), "c": random(32)}
    assert [v.attribute for v in graph.values()] == [(8, 0), (8, 1), (32, 2)]
    draws = Draws(word=12345, core=3, address=77)
    got = evaluate(graph, {}, draws)
    assert got == evaluate(dict(reversed(graph.items())), {}, draws)
    assert got == {"a": draw_bits(draws, 8, 0), "b": draw_bits(draws, 8, 1),
                   "c": draw_bits(draws, 32, 2)}  # fmt: skip
    others = [Draws(12346, 3, 77), Draws(12345, 4, 77), Draws(12345, 3, 78)]
    assert all(evaluate(graph, {}, other) != got for other in others)


def test_random_bits_are_even():
    ones = sum(draw_bits(Draws(first_word(1), 0, n), 1, 0) for n in range(4000))
    assert 1850 < ones < 2150


def test_random_words_never_stop_and_are_32_bits():
    word = first_word(1)
    seen = set()
    for _ in range(2000):
        seen.add(word)
        assert 0 < word < 1 << 32
        word = next_word(word)
    assert len(seen) == 2000
    assert all(first_word(seed) for seed in range(1000))
    assert 0 <= mix(0xFFFFFFFF) < 1 << 32


@settings(max_examples=500, deadline=None)
@given(seeds)
def test_intervals_are_sound(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, operations=16)
    for n, row in enumerate(input_rows(rng, graph, 12)):
        evaluate(graph, row, Draws(word=n, address=n))  # asserts every interval


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_graphs_survive_files_and_narrowing(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    stored = json.loads(json.dumps(to_lists(graph)))
    restored = from_lists(stored, "here")
    assert to_lists(restored) == stored
    rows = input_rows(rng, graph, 6)
    ranges = {k: (min(r[k] for r in rows), max(r[k] for r in rows)) for k in rows[0]}
    narrowed = narrow(graph, ranges)
    for row in rows:
        assert evaluate(graph, row) == evaluate(restored, row) == evaluate(narrowed, row)
    for name in graph:
        assert graph[name].lo <= narrowed[name].lo
        assert narrowed[name].hi <= graph[name].hi


def test_random_graphs_use_every_operator():
    found = set()
    for seed in range(150):
        for v in topological(random_graph(np.random.default_rng(seed)).values()):
            found |= {v.op, *(a for a in v.attribute if isinstance(a, str))}
    named = {"ne": "not", "stochastic": "random", "select_boolean": "select", "saturate": "clip",
             "unsigned": "clip", "decay": "toward_zero"}  # fmt: skip
    assert {named.get(op, op) for op in OPERATORS} <= found


A, FLAG, WIDE = variable("a", -8, 7), variable("a", -8, 7) > 0, variable("w", -(1 << 61), 1 << 60)
LANGUAGE = "the fixed-point language"
LIMIT = "intermediates are at most 62 bits wide; saturate or shift an argument first"
CONDITION = (
    "a symbolic value used as a Python condition in operator 'lt': a model is traced once, its "
    "values are not known then; use select(condition, a, b)"
)
REFUSED = {
    "too wide": (lambda: WIDE + WIDE, f"value of 63 bits in operator 'add': {LIMIT}"),
    "too wide product": (lambda: WIDE * 4, f"value of 64 bits in operator 'mul': {LIMIT}"),
    "empty": (lambda: variable("x", 2, 1), "empty interval [2, 1] in operator 'input'"),
    "python if": (lambda: bool(A > 0), CONDITION),
    "chained": (lambda: 0 < A < 3, CONDITION),
    "float": (lambda: A + 0.5, f"float in an expression in {LANGUAGE}: values are integers"),
    "boolean sum": (lambda: FLAG + 1, f"a boolean as a number in operator 'add' in {LANGUAGE}; use "
                    "select(condition, 1, 0)"),
    "boolean compared": (lambda: FLAG == FLAG, f"comparison 'eq' of booleans in {LANGUAGE}"),
    "number and": (lambda: FLAG & A, f"operator 'and' on a number in {LANGUAGE}"),
    "not number": (lambda: ~A, f"operator 'not' on a number in {LANGUAGE}"),
    "select number": (lambda: select(A, 1, 2), f"select on a number in {LANGUAGE}; compare it"),
    "select mixed": (lambda: select(FLAG, A, FLAG),
                     f"select between a number and a boolean in {LANGUAGE}"),
    "negative shift": (lambda: A >> A, f"shift by [-8, 7] in {LANGUAGE}: a shift lies in 0..31"),
    "long shift": (lambda: A << 32, f"shift by [32, 32] in {LANGUAGE}: a shift lies in 0..31"),
    "boolean shift": (lambda: A << FLAG, f"shift by [0, 1] in {LANGUAGE}: a shift lies in 0..31"),
    "rounding": (lambda: shift(A, 1, "up"), "unknown rounding 'up' in shift; see Rounding"),
    "growing decay": (lambda: decay(A, 17, 4), f"decay by a factor of [17, 17] / 16 in {LANGUAGE}: "
                      "the fraction kept lies in 0..1"),
    "table index": (lambda: table([1, 2], A), f"table of 2 entries indexed by [-8, 7] in "
                    f"{LANGUAGE}: an index must lie inside a table of 1 to 1024 entries"),
    "table entry": (lambda: table([1, 1 << 62], lift(0)),
                    f"value of 64 bits in operator 'const': {LIMIT}"),
    "random outside": (lambda: random(3), f"random() outside a model in {LANGUAGE}"),
    "random bits": (lambda: random(33, 0), f"random(33), draw 0 in {LANGUAGE}: 1 to 32 bits and at "
                    "most 16 draws per neuron and tick"),
    "random draws": (lambda: random(3, MAX_DRAWS), f"random(3), draw 16 in {LANGUAGE}: 1 to 32 "
                     "bits and at most 16 draws per neuron and tick"),
    "no bits": (lambda: saturate(A, 0), f"format of 0 bits in {LANGUAGE}"),
    "many bits": (lambda: wrap(A, 63), f"format of 63 bits in {LANGUAGE}"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_what_and_why(name):
    made, message = REFUSED[name]
    with pytest.raises(SpikefabError, match=f"^{re.escape(message)}$"):
        made()


def damaged(change):
    graph = {"nodes": [["input", [], ["a"], -8, 7, False], ["const", [], [3], 3, 3, False],
                       ["add", [0, 1], [], -5, 10, False]], "outputs": {"z": 2}}  # fmt: skip
    change(graph)
    return graph


def replaced(node, *place_and_value):
    *place, value = place_and_value

    def change(graph):
        target = graph["nodes"][node]
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = value

    return change


def appended(*node):
    return lambda graph: graph["nodes"].append(list(node))


DAMAGE = {
    "unknown operator": replaced(2, 0, "div"),
    "operator of another type": replaced(2, 0, ["add"]),
    "forward argument": replaced(2, 1, [0, 2]),
    "negative argument": replaced(2, 1, [0, -1]),
    "boolean argument": replaced(2, 1, [0, True]),
    "missing argument": replaced(2, 1, [0]),
    "wider interval": replaced(2, 4, 11),
    "narrower interval": replaced(2, 3, -4),
    "float interval": replaced(2, 3, -5.0),
    "boolean for number": replaced(2, 5, True),
    "giant constant": appended("const", [], [1 << 80], 1 << 80, 1 << 80, False),
    "giant input": appended("input", [], ["b"], -(1 << 80), 0, False),
    "float attribute": replaced(1, 2, [3.0]),
    "clip upside down": appended("clip", [0], [3, -4], 3, -4, False),
    "clip beyond words": appended("clip", [0], [-(1 << 99), 1 << 99], -8, 7, False),
    "clip to no format": appended("clip", [0], [-3, 5], -3, 5, False),
    "giant table entry": appended("table", [1], [0, 1, 2, 5, 1 << 70], 5, 5, False),
    "stochastic shift": appended("shr", [0, 1], ["stochastic"], -1, 0, False),
    "draw beyond the last": appended("random", [], [8, 16], 0, 255, False),
    "short node": appended("add", [0, 1]),
    "text for a node": lambda graph: graph["nodes"].append("add"),
    "too many nodes": lambda graph: graph["nodes"].extend(
        [["const", [], [3], 3, 3, False]] * 10_000
    ),
    "output outside": lambda graph: graph["outputs"].update(z=3),
    "output negative": lambda graph: graph["outputs"].update(z=-1),
    "no outputs": lambda graph: graph.pop("outputs"),
    "no nodes": lambda graph: graph.update(nodes=7),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_graphs_are_refused(name):
    with pytest.raises(SpikefabError):
        from_lists(damaged(DAMAGE[name]), "here")


@pytest.mark.parametrize("graph", [None, [], "graph", 3, {}])
def test_what_is_no_graph_is_refused(graph):
    with pytest.raises(SpikefabError, match=r"^damaged model in here: not an expression graph"):
        from_lists(graph, "here")


def test_undamaged_graph_is_accepted():
    graph = from_lists(damaged(lambda graph: None), "here")
    assert evaluate(graph, {"a": 4}) == {"z": 7}


def test_interpreter_refuses_inputs_outside_their_interval():
    with pytest.raises(ValueError, match=r"^input a = 8 outside \[-8, 7\]$"):
        evaluate({"z": A + 1}, {"a": 8})


def test_widths():
    assert [signed_bits(*r) for r in [(0, 0), (-1, 0), (0, 1), (-2, 1), (-128, 127), (0, 255)]] == [
        1, 1, 2, 2, 8, 9]  # fmt: skip
    assert bounds(8, True) == (-128, 127)
    assert bounds(8, False) == (0, 255)
    assert wrap(A, 4) is A
