"""Checkpoints: the state of an emulated chip as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.ir.device import check_seed, check_values
from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.file import whole_file
from ..compiler.ir.program import Program
from ..compiler.ir.spikes import UNREADABLE
from .layout import Layout, state_slice
from .memory import Memory

_INTEGERS = ("seed", "tick", "word", "state", "accumulators", "pending")  # arrays of a checkpoint


def save(
    path: str | Path, program: Program, layout: Layout, memory: Memory,
    weights: NDArray[Any] | None,
) -> None:  # fmt: skip
    """Write a checkpoint, whole or not at all."""
    arrays = {
        "program": np.array(program.hash),
        "seed": np.array(memory.seed),
        "tick": np.array(memory.tick),
        "word": np.array(memory.word),
        "state": memory.state,
        "accumulators": ahead(layout, memory),
        "pending": np.column_stack(memory.pending()),
    }
    if weights is not None:
        arrays["weights"] = weights
    if memory.learning is not None:
        arrays["late"] = memory.late
        kept = memory.learning.kept()
        arrays |= {f"learning.{name}": values for name, values in kept.items()}
    with whole_file(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def load(path: str | Path, program: Program) -> dict[str, NDArray[Any]]:
    """The arrays of a checkpoint; raises SpikefabError for another program's or a damaged file."""
    where = str(path)
    try:
        with open(where, "rb") as stream:
            if stream.read(2) != b"PK":  # as every .npz begins
                raise ValueError("no .npz file")
        with np.load(where, allow_pickle=False) as stored:
            kept = {name: stored[name] for name in stored.files}
        if str(kept["program"]) != program.hash:
            raise SpikefabError("checkpoint of another program", where)
        if any(kept[name].dtype.kind not in "iu" for name in _INTEGERS):
            raise ValueError("not all of it is integers")
    except OSError as fault:
        raise SpikefabError("cannot read", where, fault.strerror or str(fault)) from None
    except UNREADABLE as fault:
        raise SpikefabError("not a checkpoint", where, str(fault)) from None
    return kept


def restore(kept: dict[str, NDArray[Any]], program: Program, layout: Layout) -> Memory:
    """The memory that `save` wrote; raises ValueError for one that cannot be."""
    memory = Memory.fresh(program, layout, check_seed(int(kept["seed"]), "a checkpoint"))
    memory.tick, memory.word = int(kept["tick"]), int(kept["word"])
    if not 0 <= memory.tick < 1 << 60 or not 0 < memory.word < 1 << 32:
        raise ValueError(f"tick {memory.tick}, random word {memory.word}")
    memory.state[:] = kept["state"]
    for p in program.populations:
        for name, (lo, hi) in program.models[p.model].state.items():
            values = memory.state[state_slice(program, layout, f"{p.name}.{name}")]
            check_values(values, p.size, lo, hi, f"{p.name}.{name}")
    waiting = kept["accumulators"].reshape(layout.slots, -1)
    if np.abs(waiting).max(initial=0) >= 1 << (program.chip.accumulator_bits - 1):
        raise ValueError("accumulators beyond their width")
    memory.acc[:] = np.roll(waiting, memory.tick % layout.slots, axis=0).ravel()
    source, payload = kept["pending"].T
    lines, most = program.input_lines, program.chip.largest_payload
    inside = (source >= lines) & (source < lines + program.neurons)
    if not (inside & (payload > 0) & (payload <= most)).all() or (np.diff(source) <= 0).any():
        raise ValueError("pending events")
    memory.put_pending(source, payload)
    if memory.learning is not None:
        if kept["late"].shape[1:] != memory.late.shape[1:]:
            raise ValueError("signals")
        memory.late = kept["late"].astype(np.int32)
        memory.learning.restore(
            program, {name: kept[f"learning.{name}"] for name in memory.learning.kept()}
        )
    return memory


def ahead(layout: Layout, memory: Memory) -> NDArray[np.int64]:
    """Sums that wait for later ticks: [ticks ahead, neurons]."""
    acc = memory.acc.reshape(layout.slots, -1).astype(np.int64)
    return np.roll(acc, -(memory.tick % layout.slots), axis=0)
