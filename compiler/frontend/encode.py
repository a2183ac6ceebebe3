"""Datasets as spikes: numbers and signals by a code, event cameras by their pixels.

Values are [lines] or [samples, lines], signals [steps, lines] or [samples, steps, lines]; with
samples, the spikes are a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..ir.spikes import SpikeTrain

Floats = NDArray[np.float64]
MICROSECONDS = 1e-6
_LONGEST = 1 << 40  # steps


def rate_code(values: Any, steps: int, *, seed: int = 1) -> SpikeTrain:
    """Each line spikes in each step with the probability that is its value, 0 to 1.

    The same seed gives the same spikes. Raises SpikefabError for values outside 0..1.
    """
    shares = _shares(values, steps, "rate_code")
    shape = (*shares.shape[:-1], steps, shares.shape[-1])
    drawn = np.random.default_rng(seed).random(shape)
    return SpikeTrain.from_dense(drawn < shares[..., None, :])


def latency_code(values: Any, steps: int) -> SpikeTrain:
    """Each line spikes once, the earlier the greater its value: 1 in the first step, those next to
    0 in the last; a line at 0 never does. Raises SpikefabError for values outside 0..1."""
    shares = _shares(values, steps, "latency_code")
    places = np.nonzero(shares)
    step = np.rint((1.0 - shares[places]) * (steps - 1)).astype(np.int64)
    return SpikeTrain.of(step, places[-1], sample=places[0] if shares.ndim == 2 else None)


def delta_code(signals: Any, threshold: float) -> SpikeTrain:
    """Lines 2 n and 2 n + 1 spike when signal n has risen or fallen by `threshold`.

    The level to which a signal is compared begins at its first value and moves by one threshold per
    spike; in a step there are as many spikes, as a count, as thresholds fit into the change. Raises
    SpikefabError for a threshold that is not above 0.
    """
    given = _floats(signals, (2, 3), "delta_code", "[samples,] steps, lines")
    if not (np.isfinite(threshold) and threshold > 0):
        raise SpikefabError(f"threshold {threshold}", "delta_code", "it is above 0")
    level = given[..., 0, :].copy()
    counts = np.zeros((*given.shape[:-1], 2 * given.shape[-1]), np.int64)
    for step in range(given.shape[-2]):
        change = np.trunc((given[..., step, :] - level) / threshold)
        level += change * threshold
        counts[..., step, 0::2] = np.maximum(change, 0)
        counts[..., step, 1::2] = np.maximum(-change, 0)
    return SpikeTrain.from_dense(counts)


def camera_events(
    x: Any, y: Any, t: Any, p: Any, shape: tuple[int, int], dt: float,
    *, unit: float = MICROSECONDS, most: int = 1,
) -> SpikeTrain:  # fmt: skip
    """Spikes of an event camera: line (polarity x height + y) x width + x, step t unit / dt.

    x, y, t, p: [events]; shape: (height, width) of the sensor; p: 0 or 1, or booleans; dt: seconds
    per step; unit: seconds that t counts, from the first step's begin; most: events of a pixel in a
    step beyond so many are dropped. Raises SpikefabError for events outside the sensor.
    """
    columns = {"x": x, "y": y, "t": t, "p": p}
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    if len({a.shape for a in arrays.values()}) > 1 or arrays["x"].ndim != 1:
        raise SpikefabError(
            "columns of different length", "camera_events",
            ", ".join(f"{name}: {a.shape}" for name, a in arrays.items()),
        )  # fmt: skip
    height, width = shape
    for name, size in (("x", width), ("y", height), ("p", 2)):
        given = arrays[name]
        if given.dtype.kind not in "biuf" or (given.dtype.kind == "f" and (given % 1 != 0).any()):
            raise SpikefabError(
                f"{name} of type {given.dtype}", "camera_events", "pixels and polarities are whole"
            )
        column = given.astype(np.int64)
        if len(column) and (column.min() < 0 or column.max() >= size):
            raise SpikefabError(
                f"{name} = {column.min()}..{column.max()}", "camera_events",
                f"outside 0..{size - 1}", "give the sensor's (height, width)",
            )  # fmt: skip
        arrays[name] = column
    _check_dt(dt, "camera_events")
    step = np.floor(arrays["t"].astype(np.float64) * (unit / dt) + 1e-9)
    if len(step) and not (step.min() >= 0 and step.max() < _LONGEST):
        raise SpikefabError(
            f"t = {arrays['t'].min()}..{arrays['t'].max()}", "camera_events",
            "before the first step, or beyond 2^40 steps", "subtract where the recording begins",
        )  # fmt: skip
    line = (arrays["p"] * height + arrays["y"]) * width + arrays["x"]
    (steps, lines), counts = np.unique(
        np.stack([step.astype(np.int64), line]), axis=1, return_counts=True
    )
    return SpikeTrain.of(steps, lines, np.minimum(counts, most) if most > 1 else None)


def load_camera(
    path: str | Path, dt: float, *, begin: float = 0.0, end: float | None = None, most: int = 1
) -> tuple[SpikeTrain, tuple[int, int]]:
    """Spikes of a recording of an event camera (AEDAT 4, ES, EVT, DAT), and its (height, width).

    begin, end: seconds after the recording's first event that are read. The rest is as in
    `camera_events`. Raises SpikefabError for what faery does not read.
    """
    where = str(path)
    try:
        import faery  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError:
        raise SpikefabError(
            "no module 'faery'", where, "it reads the files of event cameras",
            "pip install 'spikefab[events]'",
        ) from None  # fmt: skip
    _check_dt(dt, where)
    try:
        opened = faery.events_stream_from_file(path)
        width, height = opened.dimensions()
        events = np.concatenate([np.zeros(0, faery.EVENTS_DTYPE), *opened])
    except Exception as fault:  # its decoders raise whatever they meet
        raise SpikefabError(
            "not a recording of events", where, " ".join(str(fault).split())
        ) from None
    t = (events["t"] - events["t"].min(initial=np.iinfo(np.uint64).max)).astype(np.float64)
    t = t * MICROSECONDS - begin
    inside = (t >= 0) & (t < (np.inf if end is None else end - begin))
    chosen = events[inside]
    train = camera_events(
        chosen["x"], chosen["y"], t[inside], chosen["on"], (height, width), dt, unit=1.0, most=most
    )
    return train, (height, width)


def batch(trains: Sequence[SpikeTrain]) -> SpikeTrain:
    """Single runs as the samples of one batch, in their order; raises SpikefabError for a batch."""
    for n, train in enumerate(trains):
        if train.sample is not None:
            raise SpikefabError(f"spikes {n} of several samples", "batch", "each is a single run")
    counted = any(train.payload is not None for train in trains)
    none = [np.zeros(0, np.int64)]
    counts = [
        train.payload if train.payload is not None else np.ones(len(train), np.int32)
        for train in trains
    ]
    return SpikeTrain.of(
        np.concatenate([*none, *(train.step for train in trains)]),
        np.concatenate([*none, *(train.index for train in trains)]),
        np.concatenate([*none, *counts]) if counted else None,
        np.repeat(np.arange(len(trains)), [len(train) for train in trains]),
    )


def _shares(values: Any, steps: int, where: str) -> Floats:
    shares = _floats(values, (1, 2), where, "[samples,] lines")
    if shares.size and not 0 <= shares.min() <= shares.max() <= 1:
        raise SpikefabError(
            f"values {shares.min():g}..{shares.max():g}", where, "they are shares, 0 to 1",
            "scale them",
        )  # fmt: skip
    if type(steps) is not int or steps < 1:
        raise SpikefabError(f"{steps} steps", where, "it takes 1 or more")
    return shares


def _floats(values: Any, dimensions: tuple[int, ...], where: str, axes: str) -> Floats:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise SpikefabError("no numbers", where) from None
    if array.ndim not in dimensions or not array.shape[-1]:
        raise SpikefabError(f"values of shape {array.shape}", where, f"expected {axes}")
    if not np.isfinite(array).all():
        raise SpikefabError("NaN or infinite value", where)
    return array


def _check_dt(dt: float, where: str) -> None:
    if not (np.isfinite(dt) and dt > 0):
        raise SpikefabError(f"dt = {dt}", where, "a time step is a number of seconds above 0")
