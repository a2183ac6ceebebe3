"""NIR data (`nir.NIRGraphData`): spikes and values in seconds, to and from steps.

An event belongs to the step k in whose time [k dt, (k + 1) dt) it lies. A time that is k dt but for
rounding is of step k: `nir.EventData.to_time_gridded` puts some of these into step k - 1.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..ir.file import whole_file
from ..ir.program import Program
from ..ir.spikes import MAX_STEPS, Recording, SpikeTrain
from .nir_file import FAULTS, check_hdf5, check_room, reason

if TYPE_CHECKING:
    import nir

SPIKES = "spikes"  # the name of the observable that holds them
SUFFIXES = (".nir", ".h5", ".hdf5")  # of files that are written as NIR data
_ROUNDING = 1e-6  # steps
_POTENTIALS = ("v", "i")  # state of the library's models that counts LSB of the potential


@dataclass(frozen=True, eq=False)
class GivenInput:
    """Input spikes and signals by name; steps and samples are None where they alone say how
    many."""

    spikes: dict[str, SpikeTrain]
    steps: int | None = None
    samples: int | None = None
    signals: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as NIR data do; false for one that cannot be read."""
    return bool(h5py.is_hdf5(os.fspath(path)))


def step_length(settings: Mapping[str, str]) -> float | None:
    """Seconds per step of a network's or program's settings, None if built in Python."""
    return float(settings["dt"]) if "dt" in settings else None


def seconds_per_step(program: Program) -> float:
    """The dt of a program; raises SpikefabError if its network was built without one."""
    dt = step_length(program.notes.get("settings", {}))
    if dt is None:
        raise SpikefabError(
            "no dt", "the program", "NIR data are in seconds", "write an .npz, which counts steps"
        )
    return dt


def from_nir_data(
    source: str | os.PathLike[str] | nir.NIRGraphData, ports: Mapping[str, int], dt: float | None
) -> GivenInput:
    """Input spikes from NIR data, a file or in memory.

    ports: sizes of the inputs by name, all of which the data must have; other nodes are not looked
    at. dt: seconds per step, None if unknown, which only data on a grid of time can do without.
    A node's spikes are its observable `spikes`, or its only one. Raises SpikefabError.
    """
    name = "the NIR data" if hasattr(source, "nodes") else os.fspath(source)  # type: ignore[arg-type]
    data = source if hasattr(source, "nodes") else _read(str(name))
    trains, extents, samples = {}, [], {}
    for port, size in ports.items():
        where = f"node '{port}' of {name}"
        node = data.nodes.get(port)
        if not hasattr(node, "observables"):
            raise SpikefabError(
                f"no data for input '{port}'",
                str(name),
                f"it has {', '.join(data.nodes) or 'none'}",
            )
        observable = _observable(node.observables, where)
        made = _gridded if hasattr(observable, "data") else _events
        trains[port], steps, samples[port] = made(observable, size, dt, where)
        extents.append(steps)
    if len(set(samples.values())) > 1:
        listed = ", ".join(f"{n} of '{port}'" for port, n in samples.items())
        raise SpikefabError("samples that differ in number", str(name), listed)
    number = max(samples.values(), default=1)
    return GivenInput(trains, max(extents, default=0), number if number > 1 else None)


def to_nir_data(recording: Recording, program: Program) -> nir.NIRGraphData:
    """A recording as NIR data, by population.

    `spikes` are events in seconds, with values where a count is above 1; values of populations that
    do not spike (as `v`) and recorded state are on the grid of steps, potentials in the network's
    units. Clock cycles have no place in it. Raises SpikefabError without a dt.
    """
    import nir

    dt = seconds_per_step(program)
    found: dict[str, dict[str, Any]] = {}
    for name, train in recording.spikes.items():
        size = program.population(name).size
        found.setdefault(name, {})[SPIKES] = _as_events(train, size, recording, dt, name)
    for name, values in recording.values.items():
        lsb = program.population(name).lsb
        found.setdefault(name, {})["v"] = nir.TimeGriddedData(values * lsb, dt)
    for key, state in recording.state.items():
        name, _, variable = key.rpartition(".")
        lsb = program.population(name).lsb if variable in _POTENTIALS else 1.0
        found.setdefault(name, {})[variable] = nir.TimeGriddedData(state * lsb, dt)
    for name in found:
        if "/" in name or name == ".":
            raise SpikefabError(f"name '{name}'", "NIR data", "HDF5 cannot hold it as one name")
    return nir.NIRGraphData({name: nir.NIRNodeData(o) for name, o in found.items()})


def save_nir_data(path: str | Path, recording: Recording, program: Program) -> None:
    """Write a recording as a file of NIR data; raises SpikefabError."""
    import nir

    stream = io.BytesIO()
    nir.write_data(stream, to_nir_data(recording, program))  # type: ignore[arg-type]
    with whole_file(path) as out:
        out.write(stream.getvalue())


def _read(name: str) -> Any:
    import nir

    try:
        check_hdf5(name)
        with h5py.File(name, "r") as stored:
            if stored.attrs.get("__type__") != "NIRGraphData":
                raise SpikefabError(
                    "not NIR data", name, "it is not marked as NIRGraphData", "use nir.write_data"
                )
            stored.visititems(lambda key, item: _check_dataset(key, item, name))
        return nir.read_data(name)
    except RecursionError:
        raise SpikefabError("not NIR data", name, "its groups hold each other") from None
    except FAULTS as fault:
        raise SpikefabError("cannot read", name, reason(fault)) from None


def _check_dataset(key: str, item: Any, name: str) -> None:
    if isinstance(item, h5py.Dataset):
        size = (item.size or 0) * item.dtype.itemsize
        check_room(size, f"'{key}' of shape {item.shape}", name)


def _observable(observables: Mapping[str, Any], where: str) -> Any:
    if SPIKES in observables:
        return observables[SPIKES]
    if len(observables) != 1:
        listed = ", ".join(observables) or "none"
        raise SpikefabError(f"no '{SPIKES}'", where, f"its observables are {listed}")
    return next(iter(observables.values()))


def _gridded(
    given: Any, size: int, dt: float | None, where: str
) -> tuple[SpikeTrain, int, int]:
    """Spikes, steps and samples of `nir.TimeGriddedData`."""
    counts = np.asarray(given.data)
    if counts.ndim != 3 or counts.shape[2] != size:
        raise SpikefabError(
            f"data of shape {counts.shape}", where, f"it takes samples, steps and {size} lines"
        )
    if dt is not None and not np.isclose(given.dt, dt, rtol=1e-6, atol=0):
        raise SpikefabError(
            f"a grid of {given.dt:g} s", where, f"a step of the network is {dt:g} s"
        )
    counts = _counts(counts, where)
    train = SpikeTrain.from_dense(counts if len(counts) > 1 else counts[0])
    return train, counts.shape[1], counts.shape[0]


def _events(given: Any, size: int, dt: float | None, where: str) -> tuple[SpikeTrain, int, int]:
    """Spikes, steps and samples of `nir.EventData` or `nir.ValuedEventData`."""
    if dt is None:
        raise SpikefabError(
            "events in seconds",
            where,
            "the network was built in steps, of no known length",
            "give data on a grid of time",
        )
    index, time = np.asarray(given.idx), np.asarray(given.time)
    if index.ndim != 2 or index.dtype.kind not in "iu" or time.dtype.kind not in "iuf":
        raise SpikefabError(
            f"events of {index.dtype} at {time.dtype} and shape {index.shape}",
            where,
            "indices are whole numbers, [samples, events]",
        )
    if given.n_neurons != size:
        raise SpikefabError(f"data of {given.n_neurons} neurons", where, f"the input has {size}")
    real = index != -1
    sample, index, time = np.nonzero(real)[0], index[real], time[real]
    if len(index) and (index.min() < 0 or index.max() >= size):
        worst = index.max() if index.max() >= size else index.min()
        raise SpikefabError(f"index {worst}", where, f"the input has {size} lines")
    for what, times in (("t_max", np.array([float(given.t_max)])), ("an event", time)):
        odd = times[~((times >= 0) & (times < MAX_STEPS * dt))]
        if len(odd):
            raise SpikefabError(
                f"{what} at {odd[0]:g} s", where, "times run from 0 on, up to 2^40 steps"
            )
    payload = None
    if hasattr(given, "value"):
        payload = _counts(np.asarray(given.value)[real], where)
    step = _steps(time, dt)
    train = SpikeTrain.of(step, index, payload, sample if len(real) > 1 else None, where)
    ends = _steps(np.array([given.t_max]), dt)
    whole = ends + (ends * dt < given.t_max * (1 - _ROUNDING))
    return train, max(int(whole[0]), int(step.max(initial=-1)) + 1), len(real)


def _steps(time: NDArray[Any], dt: float) -> NDArray[np.int64]:
    """The step of each time: that of the grid point it is at, but for rounding, or lies after."""
    ratio = time.astype(np.float64) / dt
    nearest = np.rint(ratio)
    precision = np.finfo(time.dtype).eps if time.dtype.kind == "f" else 0.0
    at = np.abs(ratio - nearest) <= _ROUNDING + 4 * precision * nearest
    return np.where(at, nearest, np.floor(ratio)).astype(np.int64)


def _counts(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Values that count spikes, as integers or booleans."""
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise SpikefabError(f"data of type {values.dtype}", where, "spikes are whole numbers")
    if values.size and (values.min() < 0 or values.max() >= 1 << 31 or (values % 1 != 0).any()):
        odd = values[(values < 0) | (values >= 1 << 31) | (values % 1 != 0)][0]
        raise SpikefabError(
            f"a value of {odd:g}", where, "spikes are whole numbers, 0 or above",
            "encode a signal of real values as spikes",
        )  # fmt: skip
    return values if values.dtype.kind == "b" else values.astype(np.int64)


def _as_events(train: SpikeTrain, size: int, recording: Recording, dt: float, name: str) -> Any:
    """Events of a population, [samples, most of a sample]; -1 and inf where there is none."""
    import nir

    if len(train) and train.step.min() < 0:
        raise SpikefabError(
            f"spikes of step {train.step.min()}",
            f"population '{name}'",
            "NIR data begin at 0",
            "write an .npz",
        )
    sample = np.zeros(len(train), np.int64) if train.sample is None else train.sample
    number = np.bincount(sample, minlength=recording.samples)
    place = np.arange(len(train)) - np.repeat(np.cumsum(number) - number, number)
    shape = (recording.samples, int(number.max(initial=0)))
    index, time, value = np.full(shape, -1), np.full(shape, np.inf), np.zeros(shape)
    index[sample, place] = train.index
    time[sample, place] = train.step * dt
    end = recording.steps * dt
    if train.payload is None or (train.payload == 1).all():
        return nir.EventData(index, time, size, end)
    value[sample, place] = train.payload
    return nir.ValuedEventData(index, time, size, end, value)
