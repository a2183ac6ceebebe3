"""Learning rules: what declares one, and the graphs that tracing it for a chip gives.

A rule is a function `(pre, post, s, p[, g]) -> Learned` under `@learning_rule`: of the two sides of
a synapse (`event`, and the traces before this tick), of the synapse itself (`w` and its own state),
of parameters, and of the signals of the tick. What it returns for a trace is the trace after this
tick; where the rule reads that value again, the synapse sees the trace after this tick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np

from .declared import Declared, Options, check_next, identity, strange_input
from .errors import SpikefabError
from .interpret import evaluate_many
from .language import (
    Value,
    bounds,
    from_lists,
    lift,
    maximum,
    minimum,
    names_read,
    saturate,
    signed_bits,
    substitute,
    to_lists,
    topological,
    variable,
)
from .neuron import Format, Unit, pair
from .schedule import Schedule, synapse_schedule
from .specialise import added, specialised

Side = Literal["pre", "post"]
Kind = Literal["weights", "learning", "pre", "post", "held", "state"]  # of what is kept
Interval = tuple[int, int]
LIMITS = ("w_min", "w_max")  # parameters of every rule: the weight is kept between them
LIMITED = ("given", "chip", "positive")
"""Values of the option `limits` that every rule has: the limits are those of the projection, all
weights that the chip has, or those of them that are not negative."""
WIDEST_TRACE = 16  # bits of a trace, a held value or a synapse's state

TRACE = Format(bits=8, signed=False, unit="weight", fraction=4)
FINE_TRACE = Format(bits=16, signed=False, unit="weight", fraction=8)
SIGNAL = Format(bits=8, unit="number")


class Learned:
    """What a rule returns: the weight, the traces of either side, the synapse's own state.

    The weight may lie anywhere: it is kept between its limits (see `LIMITED`).
    """

    def __init__(
        self, *, w: Value, pre: Mapping[str, Value] | None = None,
        post: Mapping[str, Value] | None = None, **state: Value | int,
    ) -> None:  # fmt: skip
        self.w, self.pre, self.post = lift(w), dict(pre or {}), dict(post or {})
        self.state = {name: lift(v) for name, v in state.items()}


@dataclass(frozen=True)
class Quiet:
    """In what ticks a row without an event provably changes nothing, its synapses' state being 0.

    without_spikes: if no neuron of the core spikes; at_rest: if the row's traces are 0;
    at_rest_without_spikes: if both.
    """

    without_spikes: bool
    at_rest: bool
    at_rest_without_spikes: bool

    @property
    def never(self) -> bool:
        """Whether every row is to be visited in every tick."""
        return not self.at_rest_without_spikes

    def active(self, event: bool, awake: bool, resting: bool, spikes: bool) -> bool:
        """Whether a row is visited: its event, whether a synapse's state is not 0, whether its
        traces are 0, and whether any neuron of its core spikes."""
        quiet = (self.without_spikes and not spikes) or (self.at_rest and resting)
        quiet |= self.at_rest_without_spikes and resting and not spikes
        return event or awake or not quiet


@dataclass(frozen=True)
class LearningPath:
    """A rule traced for a chip.

    Traces, held values, state, parameters and signals come with their intervals. `pre_outputs` and
    `post_outputs` hold `next.NAME` of each trace, from `pre.event`, `pre.NAME` and parameters;
    `outputs` holds `next.w` and `next.NAME` of the synapse's state, from both sides' events and
    traces (`pre.NAME` before, `pre.next.NAME` after this tick), `post.NAME` of held values, `w`,
    `state.NAME`, `parameter.NAME` and `signal.NAME`.
    """

    name: str
    options: Options
    pre: dict[str, Interval]
    post: dict[str, Interval]
    held: dict[str, Interval]
    state: dict[str, Interval]
    parameters: dict[str, Interval]
    units: dict[str, tuple[Unit, int]]
    signals: dict[str, Interval]
    weight: Interval
    pre_outputs: dict[str, Value] = field(compare=False)
    post_outputs: dict[str, Value] = field(compare=False)
    outputs: dict[str, Value] = field(compare=False)

    @cached_property
    def identity(self) -> str:
        """Name and what options are not at their default (see `declared.identity`)."""
        return identity(self.name, self.options)

    @cached_property
    def kept(self) -> dict[str, Kind]:
        """What a projection keeps, by name: its weights, whether it learns, the rule's own."""
        found: dict[str, Kind] = {"weights": "weights", "learning": "learning"}
        for kind in ("pre", "post", "held", "state"):
            for name in getattr(self, kind):
                found.setdefault(name, kind)
        return found

    @cached_property
    def schedule(self) -> Schedule:
        """The clocks of the synapse's graph."""
        return synapse_schedule(self.outputs)

    @cached_property
    def draws(self) -> bool:
        """Whether it draws random numbers."""
        return any(v.op == "random" for v in topological(self.outputs.values()))

    def quiet(self, parameters: Mapping[str, int]) -> Quiet:
        """When rows may be skipped with these parameters, as the graph itself proves."""
        still = {"pre.event": 0} | {f"state.{name}": 0 for name in self.state}
        still |= {f"parameter.{name}": value for name, value in parameters.items()}
        rest = {f"pre.{name}": 0 for name in self.pre}
        rest |= {f"pre.next.{name}": 0 for name in self.pre}
        silent = {"post.event": 0}
        return Quiet(
            self._holds(still | silent), self._holds(still | rest),
            self._holds(still | rest | silent),
        )  # fmt: skip

    def _holds(self, known: Mapping[str, int]) -> bool:
        """Whether weight and state provably stay as they are where these inputs have these values.

        That the weight lies between its limits is part of a valid program.
        """
        graph = {name: v for name, v in self.outputs.items() if name != "next.w"}
        left = specialised({**graph, "w": self._unlimited}, known)
        return all(
            (v.op == "input" and v.attribute[0] == "w") if name == "w" else v.lo == v.hi == 0
            for name, v in left.items()
        )

    def row_change(self, known: Mapping[str, int]) -> Value | None:
        """What all synapses of a row add to their weights alike where these inputs are known.

        None where that depends on more than the row's traces, parameters and signals. Where it is
        0, no weight of the row changes.
        """
        change = added(specialised({"w": self._unlimited}, known)["w"], "w")
        if change is None or any(v.op == "random" for v in topological([change])):
            return None
        read = names_read({"change": change})
        of_row = all(name.startswith(("pre.", "parameter.", "signal.")) for name in read)
        return change if of_row else None

    @property
    def _unlimited(self) -> Value:
        """The weight before it is kept between its limits."""
        (inner, *_) = self.outputs["next.w"].args
        return inner if self.fixed_limits else inner.args[0]

    @property
    def fixed_limits(self) -> bool:
        """Whether the limits of the weight are the same in every projection."""
        return all(lo == hi for lo, hi in map(self.parameters.__getitem__, LIMITS))

    def check_rest(self, parameters: Mapping[str, int], where: str) -> None:
        """Raise SpikefabError for a trace that does not decay to 0 with these parameters."""
        given = {f"parameter.{k}": np.array(v, np.int64) for k, v in parameters.items()}
        for side, traces, graph in (
            ("pre", self.pre, self.pre_outputs), ("post", self.post, self.post_outputs),
        ):  # fmt: skip
            for name, (_, hi) in traces.items():
                outputs = {"next": graph[f"next.{name}"]}
                inputs = {f"{side}.event": np.array(0), f"{side}.{name}": np.arange(hi + 1)}
                after = np.broadcast_to(
                    evaluate_many(outputs, {**given, **inputs})["next"], hi + 1
                )
                for _ in range(hi.bit_length() + 1):  # as many ticks twice, four times, ...
                    after = after[after]
                if after.any():
                    stays = int(after.max())
                    raise SpikefabError(
                        f"trace '{name}' of the {side} side never decays to rest", where,
                        f"without events it stays at {stays}",
                        "round its decay toward_zero, and keep less than all of it",
                    )  # fmt: skip

    def to_json(self) -> dict[str, object]:
        """JSON-ready form, for program files."""
        kept = {
            kind: {k: list(v) for k, v in getattr(self, kind).items()} for kind in _INTERVALS
        }
        return {
            "name": self.name,
            "options": [list(o) for o in self.options],
            **kept,
            "units": {k: list(v) for k, v in self.units.items()},
            "weight": list(self.weight),
            **{f"{side}_graph": to_lists(getattr(self, f"{side}_outputs"))
               for side in ("pre", "post")},
            "graph": to_lists(self.outputs),
        }  # fmt: skip

    @classmethod
    def from_json(cls, stored: Any, where: str) -> LearningPath:
        """The path that `to_json` wrote; raises SpikefabError for anything else."""
        try:
            rule = cls(
                name=str(stored["name"]),
                options=tuple((str(k), str(v)) for k, v in stored["options"]),
                units={str(k): (u, int(n)) for k, (u, n) in stored["units"].items()},
                weight=pair(stored["weight"]),
                pre_outputs=from_lists(stored["pre_graph"], where),
                post_outputs=from_lists(stored["post_graph"], where),
                outputs=from_lists(stored["graph"], where),
                **{
                    kind: {str(k): pair(v) for k, v in stored[kind].items()}
                    for kind in _INTERVALS
                },
            )
        except (TypeError, ValueError, KeyError, AttributeError) as fault:
            raise SpikefabError("damaged learning rule", where, f"{fault!r}") from None
        rule.check(where)
        return rule

    def check(self, where: str) -> None:
        """Raise SpikefabError unless graphs and declared intervals fit each other."""
        place = f"learning rule '{self.name}'" + (f" of {where}" if where else "")
        if set(self.units) != set(self.parameters) or not set(LIMITS) <= set(self.parameters):
            raise SpikefabError("units and parameters differ", place)
        for kind in ("pre", "post", "held", "state"):
            for name, (lo, hi) in getattr(self, kind).items():
                trace = kind in ("pre", "post")
                wide = signed_bits(lo, hi) > WIDEST_TRACE + trace
                if not lo <= 0 <= hi or (trace and lo) or wide:
                    raise SpikefabError(
                        f"'{name}' in [{lo}, {hi}]", place,
                        f"it has {WIDEST_TRACE} bits or fewer, rests at 0, and a trace is unsigned",
                    )  # fmt: skip
        parameters = {f"parameter.{k}": v for k, v in self.parameters.items()}
        event = {"event": (0, 1)}
        for side, traces, graph in (
            ("pre", self.pre, self.pre_outputs), ("post", self.post, self.post_outputs),
        ):  # fmt: skip
            self._check_outputs(graph, traces, place, f"trace '%s' of the {side} side")
            for name in traces:
                own = {f"{side}.{k}": v for k, v in (event | {name: traces[name]}).items()}
                self._check_inputs(
                    {"next": graph[f"next.{name}"]}, own | parameters, place,
                    f"trace '{name}' of the {side} side",
                    "it may read itself, the event of its side, and parameters",
                )  # fmt: skip
        both = {"pre.event": (0, 1), "post.event": (0, 1), "w": self.weight}
        for side, traces in (("pre", self.pre), ("post", self.post)):
            for name, interval in traces.items():
                both[f"{side}.{name}"] = both[f"{side}.next.{name}"] = interval
        both |= {f"post.{k}": v for k, v in self.held.items()}
        both |= {f"state.{k}": v for k, v in self.state.items()}
        both |= {f"signal.{k}": v for k, v in self.signals.items()}
        self._check_outputs(
            self.outputs, {"w": self.weight, **self.state}, place, "'%s' of a synapse"
        )
        self._check_inputs(self.outputs, both | parameters, place, "a synapse", "", random=True)
        limited, kept = self.outputs["next.w"], True
        if self.fixed_limits:
            ends = tuple(self.parameters[name][0] for name in LIMITS)
            kept = limited.op == "clip" and limited.attribute == ends
        else:
            for op, name in (("min", "w_max"), ("max", "w_min")):
                kept = kept and limited.op == op
                kept = kept and limited.args[1].attribute == (f"parameter.{name}",)
                limited = limited.args[0] if kept else limited
        if not kept:
            raise SpikefabError("a weight that is not kept between its limits", place)

    def _check_outputs(
        self, graph: Mapping[str, Value], formats: Mapping[str, Interval], place: str, what: str
    ) -> None:
        if set(graph) != {f"next.{k}" for k in formats}:
            raise SpikefabError(
                f"results {', '.join(sorted(graph)) or 'none'}", place,
                f"it declares {', '.join(sorted(formats)) or 'none'}",
            )  # fmt: skip
        for name, interval in formats.items():
            check_next((what % name) + " without bound", graph[f"next.{name}"], interval, place)

    def _check_inputs(
        self, graph: Mapping[str, Value], allowed: Mapping[str, Interval], place: str, what: str,
        why: str, random: bool = False,
    ) -> None:  # fmt: skip
        if not random and any(v.op == "random" for v in topological(graph.values())):
            raise SpikefabError(f"{what} draws random numbers", place, "only synapses may")
        if (name := strange_input(graph.values(), allowed)) is not None:
            raise SpikefabError(f"{what} reads '{name}'", place, why)


_INTERVALS = ("pre", "post", "held", "state", "parameters", "signals")


@dataclass(frozen=True)
class LearningRule(Declared):
    """A learning rule before its options are chosen. Fields as `learning_rule` takes them."""

    kind: ClassVar[str] = "learning rule"

    pre: Mapping[str, Format]
    post: Mapping[str, Format]
    held: Mapping[str, Format]
    state: Mapping[str, Format]
    parameters: Mapping[str, Format]
    signals: Mapping[str, Format]

    @cached_property
    def options(self) -> dict[str, str]:
        """Option names with their defaults: the function's, and `limits`."""
        own = super().options
        if "limits" in own:
            raise SpikefabError("option 'limits'", self.where, "every rule has one", "rename it")
        return {**own, "limits": LIMITED[0]}

    def path(self, weight_bits: int, options: Mapping[str, str] | None = None) -> LearningPath:
        """Trace the rule for a chip's weights; parameters and synapses' state that a variant does
        not use are left out.

        Raises SpikefabError for an unknown option, or anything that `LearningPath.check` refuses.
        """
        chosen = self.chosen(options)
        varied = self.varied(chosen)
        weight = bounds(weight_bits, True)
        limited = chosen.pop("limits")
        if limited not in LIMITED:
            raise SpikefabError(
                f"option value '{limited}'", self.where, hint=" or ".join(LIMITED)
            )
        between = bounds(weight_bits - 1, False) if limited == "positive" else weight
        ends = [weight, weight] if limited == "given" else [(end, end) for end in between]
        limits = {
            name: Format(limits=end, unit="weight") for name, end in zip(LIMITS, ends, strict=True)
        }
        formats = {**self.parameters, **limits}
        intervals = {
            kind: {k: f.interval(WIDEST_TRACE) for k, f in getattr(self, kind).items()}
            for kind in ("pre", "post", "held", "state", "signals")
        }
        parameters = {k: f.interval(WIDEST_TRACE) for k, f in formats.items()}
        p = _namespace("parameter.", parameters)
        pre = _namespace("pre.", intervals["pre"], event=variable("pre.event", 0, 1) == 1)
        post = _namespace(
            "post.", {**intervals["post"], **intervals["held"]},
            event=variable("post.event", 0, 1) == 1,
        )  # fmt: skip
        w = variable("w", *weight)
        s = _namespace("state.", intervals["state"], w=w)
        signals = [_namespace("signal.", intervals["signals"])] if self.signals else []
        learned = self.traced(chosen, pre, post, s, p, *signals)
        if not isinstance(learned, Learned):
            raise SpikefabError(
                f"{type(learned).__name__} as a result", self.where, hint="return Learned(...)"
            )
        after = {
            made: variable(f"{side}.next.{name}", *intervals[side][name])
            for side, traces in (("pre", learned.pre), ("post", learned.post))
            for name, made in traces.items()
            if made.args and name in intervals[side]
        }
        changed = {f"next.{k}": v for k, v in learned.state.items()}
        if limited == "given":
            changed |= {"next.w": minimum(maximum(learned.w, p.w_min), p.w_max)}
        else:
            width = weight_bits - (limited == "positive")
            changed |= {"next.w": saturate(learned.w, width, limited == "chip")}
        fits = all(
            intervals[side][name][0] <= v.lo and v.hi <= intervals[side][name][1]
            for side, traces in (("pre", learned.pre), ("post", learned.post))
            for name, v in traces.items()
            if name in intervals[side]
        )
        outputs = substitute(changed, after) if fits else changed  # what does not fit is refused
        pre_outputs = {f"next.{k}": v for k, v in learned.pre.items()}
        post_outputs = {f"next.{k}": v for k, v in learned.post.items()}
        read = set().union(*(names_read(g) for g in (outputs, pre_outputs, post_outputs)))
        used = {k: r for k, r in parameters.items() if f"parameter.{k}" in read or k in LIMITS}
        rule = LearningPath(
            name=self.name,
            options=varied,
            pre=intervals["pre"],
            post=intervals["post"],
            held={k: r for k, r in intervals["held"].items() if f"post.{k}" in read},
            state={
                k: r for k, r in intervals["state"].items()
                if k in learned.state or f"state.{k}" in read
            },
            parameters=used,
            units={k: (formats[k].unit, formats[k].fraction) for k in used},
            signals={k: r for k, r in intervals["signals"].items() if f"signal.{k}" in read},
            weight=weight,
            pre_outputs=pre_outputs,
            post_outputs=post_outputs,
            outputs=outputs,
        )
        rule.check("")
        return rule


def learning_rule(
    *,
    pre: Mapping[str, Format] | None = None,
    post: Mapping[str, Format] | None = None,
    held: Mapping[str, Format] | None = None,
    state: Mapping[str, Format] | None = None,
    parameters: Mapping[str, Format] | None = None,
    signals: Mapping[str, Format] | None = None,
    name: str = "",
) -> Callable[[Callable[..., Learned]], LearningRule]:
    """Declare a learning rule by what it keeps.

    pre, post: traces of the two sides; held: values of the post side that the host writes (a
    target); state: of each synapse, besides its weight; signals: values that the host gives with
    each tick.
    """

    def declare(function: Callable[..., Learned]) -> LearningRule:
        return LearningRule(
            name or function.__name__.strip("_"), function, pre or {}, post or {}, held or {},
            state or {}, parameters or {}, signals or {},
        )  # fmt: skip

    return declare


def _namespace(prefix: str, intervals: Mapping[str, Interval], **more: Value) -> SimpleNamespace:
    made = {k: variable(f"{prefix}{k}", *interval) for k, interval in intervals.items()}
    return SimpleNamespace(**made, **more)


def fit(x: Value, like: Value) -> Value:
    """`x` saturated to the range of `like`, a trace or a synapse's state."""
    signed = like.lo < 0
    bits = like.hi.bit_length() + signed
    if (like.lo, like.hi) == bounds(bits, signed):
        return saturate(x, bits, signed)
    return minimum(maximum(x, like.lo), like.hi)
