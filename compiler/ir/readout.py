"""Readouts: the answer of each sample of a run, a number of a neuron.

They take a `Recording` of any device, or that of the float reference. Where several neurons are
equal, the first is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import SpikefabError
from .spikes import SpikeTrain

Answers = NDArray[np.int64]


class Recorded(Protocol):
    """What is read: spikes as trains or rasters, values [samples, steps, size]."""

    @property
    def steps(self) -> int:
        """Steps of each sample."""

    @property
    def samples(self) -> int:
        """Samples."""

    @property
    def spikes(self) -> Mapping[str, Any]:
        """Spikes by population."""

    @property
    def values(self) -> Mapping[str, NDArray[Any]]:
        """Values by population that does not spike."""


@dataclass(frozen=True, eq=False)
class EarlyExit:
    """Answers [samples] that were given before the end, and after how many steps [samples].

    mean_saved: the mean number of ticks that a sample need not have run.
    """

    answers: Answers
    steps: NDArray[np.int64]
    mean_saved: float


def answer_by_count(run: Recorded, name: str | None = None) -> Answers:
    """The neuron that spikes most, [samples]; -1 for a sample without a spike.

    name: the population, if there are several that spike. Raises SpikefabError for a wrong one.
    """
    counts = _raster(run, name).sum(axis=1, dtype=np.int64)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def answer_by_first_spike(run: Recorded, name: str | None = None) -> Answers:
    """The neuron that spikes first, [samples]; -1 for a sample without a spike.

    name: the population, if there are several that spike. Raises SpikefabError for a wrong one.
    """
    fired = _raster(run, name) > 0
    first = np.where(fired.any(axis=1), fired.argmax(axis=1), run.steps)
    return np.where(fired.any(axis=(1, 2)), first.argmin(axis=1), -1)


def answer_by_membrane(
    run: Recorded, over: Literal["last", "max", "mean"] = "last", name: str | None = None
) -> Answers:
    """The neuron with the greatest value, [samples].

    over: what of the steps counts, the last, the greatest or their mean; name: the population, if
    there are several that do not spike. Raises SpikefabError for a wrong one, or a run of no step.
    """
    values = run.values[_named(run.values, name, "have values")]
    if not run.steps:
        raise SpikefabError("no step", "the recording", hint="run at least one")
    if over == "last":
        told = values[:, -1]
    elif over in ("max", "mean"):
        told = values.max(axis=1) if over == "max" else values.mean(axis=1)
    else:
        raise SpikefabError(f"over = {over!r}", "the readout", hint="last, max or mean")
    return told.argmax(axis=1).astype(np.int64)


def answer_early(
    run: Recorded, lead: float, name: str | None = None, *, period: int = 1
) -> EarlyExit:
    """Answers given as soon as the best neuron leads the second by `lead`, or else at the end.

    lead: in spikes so far, or, for a population that does not spike, in LSB of its value; period:
    the program's ticks per step, which says what a step saves. A sample without a spike has the
    answer -1. Raises SpikefabError for a wrong name, or a lead that is not above 0.
    """
    if not lead > 0:
        raise SpikefabError(f"lead = {lead}", "the readout", "it is above 0")
    name = _named({**run.spikes, **run.values}, name, "are recorded")
    if name in run.values:
        evidence = run.values[name]
    else:
        evidence = np.cumsum(_raster(run, name), axis=1, dtype=np.int64)
    if evidence.shape[1] < 1 or evidence.shape[2] < 2:
        raise SpikefabError(
            f"{evidence.shape[2]} neurons and {evidence.shape[1]} steps", f"'{name}'",
            "a lead needs two neurons and a step",
        )  # fmt: skip
    second, best = np.moveaxis(np.partition(evidence, -2, axis=2)[..., -2:], 2, 0)
    sure = best - second >= lead
    last = np.where(sure.any(axis=1), sure.argmax(axis=1), evidence.shape[1] - 1)
    told = np.take_along_axis(evidence, last[:, None, None], axis=1)[:, 0]
    answers = told.argmax(axis=1).astype(np.int64)
    if name in run.spikes:
        answers = np.where(told.any(axis=1), answers, -1)
    saved = float((evidence.shape[1] - 1 - last).mean()) * period
    return EarlyExit(answers, last + 1, saved)


def _named(parts: Mapping[str, Any], name: str | None, which: str) -> str:
    """The name, or that of the only part there is."""
    if name is None and len(parts) == 1:
        return next(iter(parts))
    if name is None or name not in parts:
        raise SpikefabError(
            "no population is named" if name is None else f"no population '{name}'",
            "the recording",
            f"those that {which}: {', '.join(parts) or 'none'}",
            "give name=" if name is None and parts else "",
        )
    return name


def _raster(run: Recorded, name: str | None) -> NDArray[Any]:
    """Counts [samples, steps, neurons]; neurons behind the last that spikes may be missing."""
    spikes = run.spikes[_named(run.spikes, name, "spike")]
    if isinstance(spikes, SpikeTrain):
        size = max(2, int(spikes.index.max(initial=0)) + 1)
        return spikes.to_dense(run.steps, size, run.samples)
    return np.asarray(spikes)
