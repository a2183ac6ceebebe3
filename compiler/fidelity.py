"""Fidelity: a program's run on a device beside the float reference's run of the same input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .float_reference import FloatRecording
from .ir.device import Device
from .ir.errors import SpikefabError
from .ir.program import Program
from .ir.readout import Recorded, answer_by_count, answer_by_membrane
from .ir.spikes import SpikeTrain
from .passes.calibrate import agreement, value_error


@dataclass(frozen=True)
class Fidelity:
    """What a run of given input showed, beside the float reference of the same network.

    populations: figures of each, by the field of `PopulationReport`; lost: bool [size], neurons
    that fire in float and never in fixed point, of populations that spike; agreement, accuracy,
    accuracy_in_float: see `Report`.
    """

    samples: int
    steps: int
    populations: dict[str, dict[str, Any]]
    lost: dict[str, NDArray[np.bool_]]
    agreement: float | None
    accuracy: float | None
    accuracy_in_float: float | None
    mean_cycles: float | None


def measure(
    program: Program,
    device: Device,
    reference: FloatRecording,
    inputs: Mapping[str, SpikeTrain],
    labels: NDArray[Any] | None = None,
) -> Fidelity:
    """Run `inputs` on a device and compare with the float reference's run of the same input.

    Spikes and values are compared for the populations that the reference has recorded; labels: the
    right answers [samples], for networks of one output. Raises SpikefabError for labels of another
    number.
    """
    record: list[str] = []
    for p in program.populations:
        model = program.models[p.model]
        record += [p.name] if model.spikes else []
        record += [f"{p.name}.{x}" for x in ("v", "i") if x in model.state]
    run = device.run(inputs, reference.steps, samples=reference.samples, record=record)
    rows: dict[str, dict[str, Any]] = {}
    lost: dict[str, NDArray[np.bool_]] = {}
    for p in program.populations:
        row: dict[str, Any] = {}
        model = program.models[p.model]
        met = np.zeros(p.size, np.bool_)
        for x in (x for x in ("v", "i") if f"{p.name}.{x}" in run.state):
            state, (low, high) = run.state[f"{p.name}.{x}"], model.state[x]
            met |= ((state >= high) | (state <= low)).any(axis=(0, 1))
            row["saturated"] = int(met.sum())
        if "v" in (seen := reference.ranges.get(p.name, {})):
            row["potential_low"] = float(seen["v"].low.min())
            row["potential_high"] = float(seen["v"].high.max())
        if p.name in run.spikes:
            train = run.spikes[p.name]
            fixed = train.to_dense(run.steps, p.size, run.samples)
            fires = fixed.max(axis=(0, 1)) > 0
            fires_in_float = reference.counts[p.name].max(axis=0) > 0
            row["dead"], row["dead_in_float"] = int((~fires).sum()), int((~fires_in_float).sum())
            lost[p.name] = fires_in_float & ~fires
            if model.largest_payload > 1:
                row["limit_reached"] = int((fixed >= model.largest_payload).sum())
            if p.name in reference.spikes:
                row["spike_agreement"] = agreement(fixed, reference.spikes[p.name])
        if p.name in run.values and p.name in reference.values:
            row["value_error"] = value_error(run.values[p.name] * p.lsb, reference.values[p.name])
        rows[p.name] = row
    mean = None
    if run.cycles is not None and run.cycles.size:
        mean = float(run.cycles.sum(axis=3).mean(axis=(0, 1)).max())
    if labels is not None and np.shape(labels) != (run.samples,):
        raise SpikefabError(
            f"labels of shape {np.shape(labels)}", "the calibration input",
            f"there are {run.samples} samples", "give one label per sample",
        )  # fmt: skip
    answers = [_answers(program, x) for x in (run, reference)]
    outputs = [p for p in program.populations if p.output]
    if labels is not None and len(outputs) == 1:
        outside = labels[(labels < 0) | (labels >= outputs[0].size)]
        if outside.size:
            raise SpikefabError(
                f"label {outside[0]}", "the calibration input",
                f"the output '{outputs[0].name}' has neurons 0..{outputs[0].size - 1}",
            )  # fmt: skip
    right, right_in_float = (
        None if labels is None or x is None else float(np.mean(x == labels)) for x in answers
    )
    same = None if answers[0] is None else float(np.mean(answers[0] == answers[1]))
    return Fidelity(run.samples, run.steps, rows, lost, same, right, right_in_float, mean)


def _answers(program: Program, run: Recorded) -> NDArray[np.int64] | None:
    """What the one output population answers, by count or by its last value; None of several."""
    outputs = [p for p in program.populations if p.output]
    if len(outputs) != 1:
        return None
    (p,) = outputs
    read = answer_by_count if program.models[p.model].spikes else answer_by_membrane
    return read(run, name=p.name)
