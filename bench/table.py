"""Results of the benchmarks as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .harness import Result

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))

Match = Callable[[Result, Result], bool]


def _peer(name: str) -> Match:
    def match(row: Result, other: Result) -> bool:
        return (other.engine, other.workload) == (name, row.workload) and row.engine != name

    return match


def _one_thread(row: Result, other: Result) -> bool:
    same = (row.engine, row.workload) == (other.engine, other.workload)
    return same and row.threads > other.threads == 1


def _without_delays(row: Result, other: Result) -> bool:
    same = (row.engine, row.threads) == (other.engine, other.threads)
    return same and (row.workload, other.workload) == ("W1-delays", "W1")


_COMPARISONS: dict[str, Match] = {
    "x brian2": _peer("brian2"),
    "x torch": _peer("torch"),
    "x bare": _peer("bare"),
    "x 1 thread": _one_thread,
    "x no delays": _without_delays,
}


def ratio(row: Result, results: Sequence[Result], match: Match) -> float | None:
    """How many times less time per step `row` takes than the result of its size that matches.

    By the clock of both, or the wall clock where they differ.
    """
    for other in results:
        if row.size == other.size and match(row, other):
            if row.clock == other.clock:
                mine, others = row.step_seconds, other.step_seconds
            else:
                mine, others = row.step_wall_seconds, other.step_wall_seconds
            return others / mine if mine and others else None
    return None


def render(results: Sequence[Result]) -> str:
    """Aligned columns; those that no row fills are left out. The ratios compare time per step."""
    heads = ["workload", "size", "engine", "threads", "value", "unit", "time/step", "firing"]
    table = [heads + list(_COMPARISONS)]
    for row in results:
        ratios = (ratio(row, results, match) for match in _COMPARISONS.values())
        table.append(
            [
                row.workload,
                row.size,
                row.engine,
                str(row.threads),
                f"{row.value:,.0f}" if row.value >= 1000 else f"{row.value:.2f}",
                row.unit,
                "" if row.step_seconds is None else _seconds(row.step_seconds),
                "" if row.firing is None else f"{row.firing:.2%}",
                *("" if value is None else f"{value:.2f}" for value in ratios),
            ]
        )
    columns = [column for column in zip(*table, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    text = {"workload", "size", "engine", "unit"}
    lines = []
    for cells in zip(*columns, strict=True):
        padded = (
            cell.ljust(width) if column[0] in text else cell.rjust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _seconds(value: float) -> str:
    scale, unit = next((pair for pair in _SCALES if value >= pair[0]), _SCALES[-1])
    return f"{value / scale:.3g} {unit}"
