"""`spikefab compile --sweep`: what each width of weights would cost, as a table and a plot."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import Report, SpikefabError
from ..compiler.ir.file import whole_file
from .console import note, progress, say, say_json, share, table


def read_widths(text: str) -> range:
    """The widths that `weight-bits=A..B` asks for; raises SpikefabError for anything else."""
    found = re.fullmatch(r"weight-bits=(\d+)\.\.(\d+)", text)
    if found is None or not 2 <= int(found[1]) <= int(found[2]) <= 16:
        raise SpikefabError(
            f"--sweep {text}", "spikefab compile", "it is weight-bits=A..B, with 2 <= A <= B <= 16",
            "use weight-bits=3..8",
        )  # fmt: skip
    return range(int(found[1]), int(found[2]) + 1)


def compare_widths(
    widths: Sequence[int], compiled: Callable[[int], Report], output: str | None, as_json: bool
) -> None:
    """Compile for each width, print how the reports compare, and draw it to `output` (.png)."""
    reports = []
    with progress("sweeping") as step:
        for n, bits in enumerate(widths):
            reports.append(compiled(bits))
            step(n + 1, len(widths))
    if output is not None:
        _picture(Path(output), widths, reports)
    if as_json:
        points = [
            {"weight_bits": bits, **r.to_json()} for bits, r in zip(widths, reports, strict=True)
        ]
        say_json({"sweep": points, "output": output})
        return
    names = [p.name for p in reports[0].populations]
    table(
        f"Spikes that agree with float, on {reports[0].samples} samples (of values, their error)",
        ["bits", *names, "same answer", "accuracy"],
        [
            [bits, *(share(p.spike_agreement) or f"error {share(p.value_error)}"
                     for p in r.populations), share(r.agreement), share(r.accuracy)]
            for bits, r in zip(widths, reports, strict=True)
        ],
    )  # fmt: skip
    table(
        "Weight error",
        ["bits", *names],
        [
            [bits, *("exact" if p.exact else share(p.weight_error) for p in r.populations)]
            for bits, r in zip(widths, reports, strict=True)
        ],
    )
    if reports[0].accuracy_in_float is not None:
        say(f"accuracy in float: {share(reports[0].accuracy_in_float)}")
    for bits, r in zip(widths, reports, strict=True):
        for warning in r.warnings:
            note(f"warning: {bits} bits: {warning}")
    if output is not None:
        say(f"wrote {output}")


def _picture(path: Path, widths: Sequence[int], reports: Sequence[Report]) -> None:
    """Draw agreement and accuracy over the width, and the weight error beside it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    told, error = figure.subplots(1, 2)
    for n, p in enumerate(reports[0].populations):
        rows = [r.populations[n] for r in reports]
        if p.spike_agreement is not None:
            told.plot(widths, [100 * (x.spike_agreement or 0) for x in rows], "o-", label=p.name)
        error.plot(widths, [100 * x.weight_error for x in rows], "o-", label=p.name)
    for name, values, float_value in (
        ("same answer", [r.agreement for r in reports], None),
        ("accuracy", [r.accuracy for r in reports], reports[0].accuracy_in_float),
    ):
        if values[0] is not None:
            told.plot(widths, [100 * (x or 0) for x in values], "s--", label=name)
        if float_value is not None:
            told.axhline(100 * float_value, color="grey", lw=1, label=f"{name} in float")
    told.set_ylabel("spikes that agree with float, answers (%)")
    error.set_ylabel("weight error (%)")
    for axes in (told, error):
        axes.set_xlabel("weight bits")
        axes.set_xticks(list(widths))
        axes.grid(alpha=0.3)
        axes.legend()
    with whole_file(path) as stream:
        figure.savefig(stream, format="png", dpi=110)
