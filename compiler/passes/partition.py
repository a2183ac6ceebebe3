"""Partition and place: cut the neurons, in the order of their populations, into cores.

Simple on purpose: consecutive neurons fill a core, and a core that holds too much of anything is
cut in two. Cores are placed in that order.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError
from ..ir.program import Program
from ..ir.validate import check_capacity, core_use


def partition(program: Program, cores: int | None = None) -> Program:
    """Cut a program, given on one core, into as many cores as its chip needs, or just `cores`.

    Raises SpikefabError where a single neuron does not fit a core, or the chip has too few.
    """
    if cores is not None:
        if not 1 <= cores <= program.neurons:
            raise SpikefabError(
                f"{cores} cores", "the mapping", f"the network has {program.neurons} neurons"
            )
        result = _cut(program, [program.neurons * c // cores for c in range(cores + 1)])
    else:
        most = program.chip.neurons
        result = _cut(program, [*range(0, program.neurons, most), program.neurons])
        while (crowded := _crowded(result)).any() and result.cores < program.chip.cores:
            first = result.core_first
            middle = [
                (int(first[c]) + int(first[c + 1])) // 2
                for c in np.flatnonzero(crowded)
                if first[c + 1] - first[c] > 1
            ]
            if not middle:
                break
            result = _cut(program, sorted({*(int(f) for f in first), *middle}))
    check(result)
    return result


def check(program: Program) -> None:
    """Raise SpikefabError unless every core holds what it must, and the chip has so many."""
    chip = program.chip
    if program.cores > chip.cores:
        raise SpikefabError(
            f"{program.neurons} neurons with {program.synapses.count} synapses",
            "the mapping",
            f"they need {program.cores} cores, chip '{chip.name}' has {chip.cores} of "
            f"{chip.neurons} neurons, {chip.axons} axons and {chip.synapse_words} synapse words",
            "use --chip auto or a larger chip",
        )
    check_capacity(program, "the mapping")


def _cut(program: Program, first: list[int]) -> Program:
    return dataclasses.replace(program, core_first=np.array(first, np.int64))


def _crowded(program: Program) -> NDArray[np.bool_]:
    """Which cores hold more of some memory than the chip's cores do."""
    result = np.zeros(program.cores, np.bool_)
    for memory, used in core_use(program).items():
        result |= used > getattr(program.chip, memory)
    return result
