"""Spikes, values and recordings as data, and their `.npz` files."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import SpikefabError
from .file import whole_file

MAX_STEPS = 1 << 40
SIGNAL = "signal_"  # begins the names of arrays of signals
# What NumPy raises for an .npz that is damaged.
UNREADABLE = (
    ValueError, TypeError, RuntimeError, LookupError, AttributeError, EOFError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SpikeTrain:
    """Spikes of one population or input, ordered by (sample, step, index).

    step: int64, time steps from the run's first; index: int32, neuron or line;
    payload: int32 counts, None where all are 1; sample: int32, None for a single run.
    """

    step: NDArray[np.int64]
    index: NDArray[np.int32]
    payload: NDArray[np.int32] | None = None
    sample: NDArray[np.int32] | None = None

    @classmethod
    def of(
        cls, step: Any, index: Any, payload: Any = None, sample: Any = None, where: str = "spikes"
    ) -> SpikeTrain:
        """Sorted spikes from any integer arrays; raises SpikefabError for ragged or odd ones."""
        columns = {"step": step, "index": index, "payload": payload, "sample": sample}
        arrays: dict[str, NDArray[np.int64]] = {}
        for name, column in columns.items():
            if column is None:
                continue
            array = np.asarray(column)
            if array.size == 0:
                array = array.astype(np.int64)
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise SpikefabError(
                    f"'{name}' of type {array.dtype} and shape {array.shape}",
                    where,
                    "a column of spikes is one row of integers",
                )
            if array.size and (array.min() < 0 or array.max() >= MAX_STEPS):
                raise SpikefabError(
                    f"'{name}' = {array.min()}..{array.max()}", where, "negative or beyond 2^40"
                )
            arrays[name] = array.astype(np.int64)
        if len({len(a) for a in arrays.values()}) > 1:
            raise SpikefabError(
                "columns of different length",
                where,
                ", ".join(f"{name}: {len(a)}" for name, a in arrays.items()),
            )
        keys = [arrays["index"], arrays["step"]]
        if "sample" in arrays:
            keys.append(arrays["sample"])
        order = np.lexsort(keys)
        for name in ("index", "payload", "sample"):
            if name in arrays and len(order) and arrays[name].max() > 2**31 - 1:
                raise SpikefabError(f"'{name}' = {arrays[name].max()}", where, "beyond 2^31")
        return cls(
            arrays["step"][order],
            arrays["index"][order].astype(np.int32),
            arrays["payload"][order].astype(np.int32) if "payload" in arrays else None,
            arrays["sample"][order].astype(np.int32) if "sample" in arrays else None,
        )

    @classmethod
    def from_dense(cls, raster: Any) -> SpikeTrain:
        """Spikes of a raster [steps, lines] or [samples, steps, lines] of counts or booleans.

        Raises SpikefabError for another shape, or numbers that are no counts.
        """
        counts = np.asarray(raster)
        if counts.ndim not in (2, 3):
            raise SpikefabError(
                f"raster of shape {counts.shape}", "spikes", "[samples,] steps, lines"
            )
        if counts.dtype.kind not in "biuf":
            raise SpikefabError(f"a raster of {counts.dtype}", "spikes", "it holds counts")
        if counts.dtype.kind in "if":
            with np.errstate(invalid="ignore"):
                odd = counts[~((counts >= 0) & (counts % 1 == 0))]
            if odd.size:
                raise SpikefabError(
                    f"{odd[0]:g} in a raster", "spikes", "counts are whole and not negative",
                    "make spikes of other numbers by rate_code, latency_code or delta_code",
                )  # fmt: skip
        places = np.nonzero(counts)
        payload = counts[places].astype(np.int32)
        return cls.of(
            places[-2],
            places[-1],
            payload if payload.size and payload.max() > 1 else None,
            places[0] if counts.ndim == 3 else None,
        )

    def to_dense(self, steps: int, size: int, samples: int | None = None) -> NDArray[np.int32]:
        """Counts [steps, size], or [samples, steps, size]; spikes outside are left out."""
        shape = (samples or 1, steps, size)
        raster = np.zeros(shape, np.int32)
        inside = (self.step >= 0) & (self.step < steps)
        sample: Any = self.sample[inside] if self.sample is not None else 0
        payload: Any = self.payload[inside] if self.payload is not None else 1
        np.add.at(raster, (sample, self.step[inside], self.index[inside]), payload)
        return raster if samples is not None else raster[0]

    def __len__(self) -> int:
        return len(self.step)

    def equals(self, other: SpikeTrain) -> bool:
        """Whether both hold the same spikes."""
        return all(
            np.array_equal(_column(self, c), _column(other, c))
            for c in ("step", "index", "payload", "sample")
        )


def _column(train: SpikeTrain, name: str) -> NDArray[Any]:
    values = getattr(train, name)
    if values is None:
        return np.full(len(train), 1 if name == "payload" else 0, np.int64)
    return np.asarray(values, np.int64)


@dataclass(frozen=True, eq=False)
class Recording:
    """What a run gives on any device. Times are steps from the run's first.

    spikes: of output populations that spike; values: of those that do not, int32
    [samples, steps, size]; state: by ``population.variable``, int32 [samples, steps, size];
    cycles: int32 [samples, ticks, cores, phases (deliver, update, emit)] or None;
    counters: totals over the run; digests: uint32 [samples, ticks] (see `digest`) from boards that
    have them, or None. A single run has one sample.
    """

    steps: int
    ticks: int
    samples: int
    spikes: dict[str, SpikeTrain] = field(default_factory=dict)
    values: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    state: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    cycles: NDArray[np.int32] | None = None
    counters: dict[str, int] = field(default_factory=dict)
    digests: NDArray[np.uint32] | None = None

    def save(self, path: str | Path) -> None:
        """Write an `.npz` that `load_input` and `numpy.load` read."""
        arrays: dict[str, Any] = {}
        single = len(self.spikes) == 1 and not self.values
        for name, train in self.spikes.items():
            prefix = "" if single else f"{name}/"
            arrays[f"{prefix}step"], arrays[f"{prefix}index"] = train.step, train.index
            if train.payload is not None:
                arrays[f"{prefix}payload"] = train.payload
            if train.sample is not None:
                arrays[f"{prefix}sample"] = train.sample
        arrays |= {f"{name}/value": v for name, v in self.values.items()}
        arrays |= {f"record/{name}": v for name, v in self.state.items()}
        if self.cycles is not None:
            arrays["cycles"] = self.cycles
        if self.digests is not None:
            arrays["digests"] = self.digests
        with whole_file(path) as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)


def load_input(path: str | Path, ports: Mapping[str, int]) -> dict[str, SpikeTrain]:
    """Input spikes by port from an `.npz` or `.csv`; `ports` gives the size of each.

    With one port, arrays may be named plainly (`step`, `index`, ...). A CSV has these names as the
    head of its columns, and may have a column `input`. Raises SpikefabError.
    """
    where = str(path)
    arrays = _read_csv(where) if where.endswith(".csv") else _read_npz(where)
    trains: dict[str, SpikeTrain] = {}
    plain = {n: a for n, a in arrays.items() if "/" not in n}
    if "step" in plain:
        if len(ports) != 1:
            raise SpikefabError(
                "unnamed spikes", where, f"the program has the inputs {', '.join(ports)}",
                "name the arrays INPUT/step and INPUT/index",
            )
        trains[next(iter(ports))] = _train(plain, where)
    for name in sorted({n.rsplit("/", 1)[0] for n in arrays if n.endswith("/step")}):
        if name not in ports:
            raise SpikefabError(
                f"spikes of '{name}'", where, f"the program has the inputs {', '.join(ports)}"
            )
        inside = {c: arrays[f"{name}/{c}"] for c in ("step", "index", "payload", "sample")
                  if f"{name}/{c}" in arrays}
        trains[name] = _train(inside, where)
    if not trains and not any(name.startswith(SIGNAL) for name in arrays):
        raise SpikefabError("no spikes", where, "there is no array 'step'")
    for name, train in trains.items():
        if len(train) and train.index.max() >= ports[name]:
            raise SpikefabError(
                f"index {train.index.max()}", where, f"input '{name}' has {ports[name]} lines"
            )
    return trains


def load_signals(path: str | Path) -> dict[str, NDArray[np.int64]]:
    """Signals by name, from the arrays `signal_NAME` of an `.npz`: [steps] or [samples, steps].

    Raises SpikefabError for one that is not of whole numbers.
    """
    where = str(path)
    found = {}
    for name, values in (_read_npz(where) if zipfile.is_zipfile(where) else {}).items():
        if not name.startswith(SIGNAL):
            continue
        if values.ndim not in (1, 2) or values.dtype.kind not in "iu":
            raise SpikefabError(
                f"'{name}' of type {values.dtype} and shape {values.shape}", where,
                "a signal is a whole number per step, [steps] or [samples, steps]",
            )  # fmt: skip
        found[name.removeprefix(SIGNAL)] = values.astype(np.int64)
    return found


def load_labels(path: str | Path) -> NDArray[np.int64] | None:
    """The right answer of each sample, from the array `labels` of an `.npz`; None if it has none.

    Raises SpikefabError for labels that are no row of integers.
    """
    where = str(path)
    labels = _read_npz(where).get("labels") if zipfile.is_zipfile(where) else None
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise SpikefabError(
            f"labels of type {labels.dtype} and shape {labels.shape}", where,
            "they are one row of integers",
        )  # fmt: skip
    return None if labels is None else labels.astype(np.int64)


def save_input(
    path: str | Path, trains: Mapping[str, SpikeTrain], signals: Mapping[str, Any] | None = None
) -> None:
    """Write spikes by port, and signals, as an `.npz` that `load_input` and `load_signals` read."""
    arrays: dict[str, Any] = {f"{SIGNAL}{name}": v for name, v in (signals or {}).items()}
    for name, train in trains.items():
        for column in ("step", "index", "payload", "sample"):
            if (values := getattr(train, column)) is not None:
                arrays[f"{name}/{column}"] = values
    with whole_file(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def _read_npz(where: str) -> dict[str, NDArray[Any]]:
    try:
        stored = np.load(where, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ValueError("it holds one array: save it by numpy.savez, under a name")
        with stored:
            return {name: stored[name] for name in stored.files}
    except OSError as fault:
        raise SpikefabError("cannot read", where, fault.strerror or str(fault)) from None
    except UNREADABLE as fault:
        text = str(fault)
        why = "it is no archive of arrays" if "file contain" in text else text
        raise SpikefabError("not an .npz of spikes", where, why) from None


def _read_csv(where: str) -> dict[str, NDArray[Any]]:
    """Columns of a CSV as the arrays of an `.npz` would be named."""
    try:
        with open(where, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, strict=True))
    except OSError as fault:
        raise SpikefabError("cannot read", where, fault.strerror or str(fault)) from None
    except (csv.Error, ValueError) as fault:
        raise SpikefabError("not a CSV of spikes", where, str(fault)) from None
    arrays: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(row.get("input") for row in rows):
        mine = [row for row in rows if row.get("input") == name]
        for column in ("step", "index", "payload", "sample"):
            if column in mine[0]:
                try:
                    values = np.array([int(str(row[column])) for row in mine], np.int64)
                except (ValueError, OverflowError) as fault:
                    raise SpikefabError(f"column '{column}'", where, str(fault)) from None
                arrays[f"{name}/{column}" if name is not None else column] = values
    return arrays


def _train(columns: Mapping[str, Any], where: str) -> SpikeTrain:
    if "index" not in columns:
        raise SpikefabError("'step' without 'index'", where)
    return SpikeTrain.of(
        columns["step"], columns["index"], columns.get("payload"), columns.get("sample"), where
    )
