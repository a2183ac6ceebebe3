"""Learning in the emulator: what it keeps of plastic projections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.cores import synapse_cells
from ..compiler.ir.cycles import visit_clocks
from ..compiler.ir.device import check_values
from ..compiler.ir.learn import plastic_range
from ..compiler.ir.plastic import SYNAPSE_DRAWS, PlasticProjection
from ..compiler.ir.program import Program
from ..compiler.ir.rule import Kind, LearningPath, Quiet
from .rule_loop import ARRAYS, TYPES, Column, loop_address, weight_type


@dataclass(frozen=True, eq=False)
class Plan:
    """What does not change of a program's plastic projections.

    table: [projections, columns]; learn: address of each one's loop; passes: sets of traces of each
    population but the first; to: target among the neurons of the population; core_rows: begin, end
    (synapses), core, clocks of a visit; column_first, column: of sparse projections, the synapses
    onto each neuron.
    """

    table: NDArray[np.int64]
    learn: NDArray[np.int64]
    passes: NDArray[np.int32]
    weight: NDArray[np.int8] | NDArray[np.int16]
    held: NDArray[np.int16]
    parameters: NDArray[np.int32]
    to: NDArray[np.int32]
    first: NDArray[np.int64]
    core_rows: NDArray[np.int64]
    core_first: NDArray[np.int64]
    column_first: NDArray[np.int64]
    column: NDArray[np.int64]
    cells: NDArray[np.uint32]
    sizes: dict[str, int]

    def fresh(self) -> LearningMemory:
        """The memory of a chip that has just been started."""
        return LearningMemory(
            self, self.table[:, Column.ON].copy(), self.weight.copy(), self.held.copy(),
            **{name: np.zeros(size, TYPES[ARRAYS[name]]) for name, size in self.sizes.items()},
        )  # fmt: skip




@dataclass(eq=False)
class LearningMemory:
    """What a chip keeps of its plastic projections between ticks, and room for a tick's work."""

    plan: Plan
    on: NDArray[np.int64]
    weight: NDArray[np.int8] | NDArray[np.int16]
    held: NDArray[np.int16]
    state: NDArray[np.int16]
    pre: NDArray[np.uint16]
    pre_next: NDArray[np.uint16]
    post: NDArray[np.uint16]
    post_next: NDArray[np.uint16]
    arrived: NDArray[np.int32]
    arrivals: NDArray[np.int64]
    row_event: NDArray[np.uint8]
    neuron_event: NDArray[np.uint8]
    awake: NDArray[np.uint8]
    clocks: NDArray[np.int32]
    spiking: NDArray[np.uint8]
    active: NDArray[np.int32]
    table: NDArray[np.int64] = field(init=False)
    weight_at_start: NDArray[np.int8] | NDArray[np.int16] = field(init=False)
    addresses: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.table = self.plan.table.copy()
        self.weight_at_start = self.weight[:0]
        self.addresses = np.array(
            [(getattr(self, n) if hasattr(self, n) else getattr(self.plan, n)).ctypes.data
             for n in ARRAYS], np.int64,
        )  # fmt: skip
        self.turn()

    def turn(self) -> None:
        """See which projections learn."""
        self.table[:, Column.ON] = self.on

    def keep_start(self) -> None:
        """Have every sample of a batch begin with the present weights."""
        self.weight_at_start = self.weight.copy()

    @property
    def bytes(self) -> int:
        """Bytes of all that learning keeps in memory, the plan included."""
        arrays = {id(a): a for part in (self.plan, self) for a in vars(part).values()}
        return sum(a.nbytes for a in arrays.values() if isinstance(a, np.ndarray))

    def restart(self) -> None:
        """Traces, held values and synapses' state as at the start; weights stay."""
        self.held[:] = self.plan.held
        for name in ("state", "pre", "post", "arrivals", "awake"):
            getattr(self, name)[:] = 0

    def part(self, program: Program, number: int, kind: Kind, name: str) -> NDArray[Any]:
        """The values of a variable (see `compiler.ir.learn.plastic_part`), to read or write."""
        row = self.table[number]
        rule = program.rules[program.plastic[number].rule]
        if kind == "learning":
            return self.on[number : number + 1]
        if kind == "weights":
            at = row[Column.SYNAPSES_AT]
            return self.weight[at : at + row[Column.COUNT]]
        begin, size = {
            "pre": (Column.PRE_AT, Column.ROWS),
            "post": (Column.POST_AT, Column.SIZE),
            "held": (Column.HELD_AT, Column.SIZE),
            "state": (Column.STATE_AT, Column.COUNT),
        }[kind]  # fmt: skip
        at = row[begin] + list(getattr(rule, kind)).index(name) * row[size]
        found: NDArray[Any] = getattr(self, kind)[at : at + row[size]]
        return found

    def kept(self) -> dict[str, NDArray[Any]]:
        """The arrays that make up what is learnt, by name."""
        return {name: getattr(self, name) for name in _REMEMBERED}

    def restore(self, program: Program, kept: Mapping[str, NDArray[Any]]) -> None:
        """Take what `kept` gave; raises ValueError or SpikefabError for what cannot be."""
        for name in _REMEMBERED:
            mine, given = getattr(self, name), kept[name]
            if given.shape != mine.shape or given.dtype != mine.dtype:
                raise ValueError(f"learning: {name} of shape {given.shape}")
            mine[:] = given
        for number, q in enumerate(program.plastic):
            row, rule = self.table[number], program.rules[q.rule]
            parts: list[tuple[Kind, str]] = [("weights", "weights"), ("learning", "learning")]
            kinds: tuple[Kind, ...] = ("pre", "post", "held", "state")
            parts += [(kind, name) for kind in kinds for name in getattr(rule, kind)]
            for kind, name in parts:
                values = self.part(program, number, kind, name).astype(np.int64)
                check_values(
                    values, *plastic_range(program, number, kind, name), f"{q.name}.{name}"
                )
            slots = (self.plan.sizes["arrivals"] - 1) // len(program.plastic)
            counts = self.arrivals[row[Column.ARRIVALS_AT] : row[Column.ARRIVALS_AT] + slots]
            for slot, count in enumerate(counts.tolist()):
                at = row[Column.ARRIVED_AT] + slot * row[Column.ROWS]
                sources = self.arrived[at : at + max(count, 0)]
                fits = 0 <= count <= row[Column.ROWS] and len(np.unique(sources)) == count
                if not fits or ((sources < 0) | (sources >= row[Column.ROWS])).any():
                    raise ValueError("events that are yet to be learnt from")
        self.turn()
        self.note_awake()

    def note_awake(self) -> None:
        """See which rows hold a synapse whose state is not 0."""
        for row in self.table:
            at, count = row[Column.STATE_AT], row[Column.COUNT]
            some = np.zeros(count + 1, np.int64)
            for k in range(row[Column.STATES]):
                values = self.state[at + k * count : at + (k + 1) * count]
                some[1:] += np.cumsum(values != 0)
            rows = slice(row[Column.CORE_ROWS_AT], row[Column.CORE_ROWS_AT] + row[Column.CORE_ROWS])
            begin, end = self.plan.core_rows[rows, :2].T
            self.awake[rows] = some[end] > some[begin]


def build(program: Program, slots: int) -> Plan | None:
    """Lay out a program's plastic projections; None where there are none. slots: of the ring of
    events that are yet to be learnt from."""
    if not program.plastic:
        return None
    core, word, lane = synapse_cells(program)
    cells = core << 16 ^ (SYNAPSE_DRAWS | word * program.chip.lanes + lane)
    most = max(len(rule.signals) for rule in program.rules)
    table = np.zeros((len(program.plastic), Column.SIGNALS + most), np.int64)
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _KEPT}
    used = dict.fromkeys((*_KEPT, *_SIZED), 0)
    fixed = program.synapses.count
    for number, q in enumerate(program.plastic):
        rule = program.rules[q.rule]
        arrays = _arrays(program, number, q, rule)
        if rule.draws:
            arrays["cells"] = cells[fixed : fixed + q.count].astype(np.uint32)
        fixed += q.count
        size = program.populations[q.target].size
        dense = q.count == q.size * size
        row = table[number]
        row[Column.ROWS], row[Column.SIZE], row[Column.COUNT] = q.size, size, q.count
        row[Column.SOURCE], row[Column.DELAY], row[Column.ON] = q.first, q.delay, q.learning
        row[Column.DENSE], row[Column.POPULATION] = dense, q.target
        row[Column.TARGET] = program.populations[q.target].first
        row[Column.QUIET] = _quiet_bits(program.quiet[number])
        row[Column.STATES], row[Column.CORE_ROWS] = len(rule.state), len(arrays["core_rows"])
        cores = np.unique(arrays["core_rows"][:, 2])
        row[Column.ONLY] = cores[0] if len(cores) == 1 else -1
        row[Column.EACH] = arrays["core_rows"][0, 3]  # for dense rows, which are alike
        for column, name in _BEGINS.items():
            row[column] = used[name]
        for k, name in enumerate(rule.signals):
            row[Column.SIGNALS + k] = list(program.signals).index(name)
        for name, array in arrays.items():
            parts[name].append(array)
            used[name] += len(array)
        wanted = {
            "state": len(rule.state) * q.count, "pre": len(rule.pre) * q.size,
            "post": len(rule.post) * size, "arrived": slots * q.size, "arrivals": slots,
            "row_event": q.size, "neuron_event": size,
        }  # fmt: skip
        for name, more in wanted.items():
            used[name] += more
    joined = {
        name: np.concatenate([*arrays, np.zeros_like(arrays[0][:1])])
        for name, arrays in parts.items()
    }
    sizes = {name: used[name] + 1 for name in _SIZED if name in used}
    sizes |= {"pre_next": sizes["pre"], "post_next": sizes["post"], "awake": used["core_rows"] + 1}
    sizes |= {"clocks": program.cores, "spiking": program.cores, "active": used["row_event"] + 1}
    learn = [loop_address(program.rules[q.rule]) for q in program.plastic]
    return Plan(
        table, np.array(learn, np.int64), program.trace_passes, sizes=sizes, **joined
    )


_REMEMBERED = ("weight", "on", "state", "pre", "post", "held", "arrived", "arrivals")
_KEPT = (
    "weight", "held", "parameters", "to", "first", "core_rows", "core_first", "column_first",
    "column", "cells",
)  # fmt: skip
_SIZED = ("state", "pre", "post", "arrived", "arrivals", "row_event", "neuron_event")
_BEGINS = {
    Column.FIRST_AT: "first",
    Column.SYNAPSES_AT: "weight",
    Column.PRE_AT: "pre",
    Column.POST_AT: "post",
    Column.HELD_AT: "held",
    Column.STATE_AT: "state",
    Column.PARAMETERS_AT: "parameters",
    Column.ARRIVED_AT: "arrived",
    Column.ARRIVALS_AT: "arrivals",
    Column.ROW_AT: "row_event",
    Column.NEURON_AT: "neuron_event",
    Column.CORE_ROWS_AT: "core_rows",
    Column.CORE_FIRST_AT: "core_first",
    Column.COLUMN_FIRST_AT: "column_first",
    Column.COLUMN_AT: "column",
    Column.TO_AT: "to",
    Column.CELLS_AT: "cells",
}


def _arrays(
    program: Program, number: int, q: PlasticProjection, rule: LearningPath
) -> dict[str, NDArray[Any]]:
    """A projection's part of each array that the plan keeps."""
    target, rows = program.populations[q.target], program.plastic_rows
    to = (q.to - target.first).astype(np.int32)
    mine = rows.of[number]
    begins = np.flatnonzero(np.diff(mine, prepend=-1))
    core_row = mine[begins]
    ends = np.append(begins[1:], q.count)
    clocks = visit_clocks(program.chip, rows.words[core_row], rows.room[core_row])
    core_rows = np.stack([begins, ends, rows.core[core_row], clocks], axis=1)
    of_source = np.searchsorted(q.source[begins], np.arange(q.size + 1))
    dense = q.count == q.size * target.size
    order = np.argsort(to, kind="stable") if not dense else np.zeros(0, int)
    return {
        "weight": q.weight.astype(TYPES[weight_type(rule)]),
        "held": np.concatenate([*q.held.values(), np.zeros(0, np.int16)], dtype=np.int16),
        "parameters": np.array([q.parameters[k] for k in rule.parameters], np.int32),
        "to": to[:0] if dense else to,
        "cells": np.zeros(0, np.uint32),
        "first": q.rows,
        "core_rows": core_rows.astype(np.int64),
        "core_first": of_source.astype(np.int64),
        "column_first": np.searchsorted(to[order], np.arange(target.size + 1)).astype(np.int64),
        "column": order.astype(np.int64),
    }


def _quiet_bits(quiet: Quiet) -> int:
    return (
        quiet.without_spikes | quiet.at_rest << 1 | quiet.at_rest_without_spikes << 2
    )


