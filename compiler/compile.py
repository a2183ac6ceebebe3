"""Compile: all passes in order, from a network to a program for a chip."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from .fidelity import Fidelity, measure
from .float_reference import FloatRecording, FloatReference
from .health import losses, rounding_losses
from .ir.chip import AUTO, BOUNDS, ChipSpec, chip
from .ir.device import Device, check_seed
from .ir.errors import SpikefabError
from .ir.program import Program
from .ir.spikes import SpikeTrain
from .ir.validate import check_accumulators, check_models, check_plastic
from .network import Network
from .passes.calibrate import calibrate as choose_steps
from .passes.draft import Draft, Range
from .passes.emit import emit
from .passes.expand import expand
from .passes.partition import partition
from .passes.quantise import quantise
from .passes.retime import retime, slots
from .report import Report, report


def compile_network(
    network: Network,
    chip_name: str | ChipSpec = "auto",
    *,
    weight_bits: int | Mapping[str, int] = 8,
    dilate: bool = False,
    cores: int | None = None,
    seed: int = 1,
    calibrate: Mapping[str, SpikeTrain] | None = None,
    labels: NDArray[Any] | None = None,
    device: Callable[[Program], Device] | None = None,
) -> tuple[Program, Report]:
    """The program of a network for a chip, and the report of the mapping.

    weight_bits: 2 to 16, of all weights or by target population; dilate: allow several ticks per
    step; cores: cut into just so many; calibrate: input by name, on which scales are chosen and, if
    `device` makes one for a program, agreement with the float reference is measured; labels: the
    right answer of each of its samples, for the report's accuracy. Raises SpikefabError naming the
    population or projection, the limit, the value, and what would fit.
    """
    spec = chip(chip_name) if isinstance(chip_name, str) else chip_name
    if not network.populations:
        raise SpikefabError("no population", "the network")
    bits = _weight_bits(network, weight_bits)
    if spec.name == AUTO.name:
        most = BOUNDS["delay_slots"][1]
        spec = dataclasses.replace(spec, weight_bits=max(bits.values()), delay_slots=most)
    for name, width in bits.items():
        if width > spec.weight_bits:
            raise SpikefabError(
                f"{width} weight bits",
                f"population '{name}'",
                f"chip '{spec.name}' has {spec.weight_bits}",
            )
    if not any(p.output for p in network.populations):
        raise SpikefabError("no output", "the network", hint="mark a population as output")
    if labels is not None and calibrate is None:
        raise SpikefabError("labels", "the calibration", "they belong to its input", "give both")
    ranges, reference = _ranges(network, calibrate)
    draft = expand(Draft(network, spec, bits))
    chosen = None
    if calibrate is not None and ranges is not None and reference is not None:
        chosen = choose_steps(draft, ranges, reference, calibrate)
    draft = quantise(draft, ranges, chosen)
    draft = retime(draft, dilate)
    if spec.name == AUTO.name:
        draft = dataclasses.replace(draft, chip=_fitting(draft))
    notes = {
        "settings": network.settings,
        "assumptions": list(network.assumptions),
        "weight_bits": bits,
    }
    rounded = rounding_losses(draft)
    program = emit(draft, notes, check_seed(seed, "the compilation"))
    check_models(program, "the network")
    check_plastic(program, "the network")
    check_accumulators(program, "the network")
    program = partition(program, cores)
    fidelity: Fidelity | None = None
    if calibrate is not None and reference is not None and device is not None:
        fidelity = measure(program, device(program), reference, calibrate, labels)
    return program, report(draft, program, losses(draft, program, rounded), fidelity)


def _fitting(draft: Draft) -> ChipSpec:
    """Chip 'auto' with the delay slots and payload bits that the network needs."""
    needed = 1 << (slots(draft) - 1).bit_length()
    largest = max(m.largest_payload for m in draft.models.values())
    return dataclasses.replace(
        draft.chip,
        delay_slots=max(needed, AUTO.delay_slots),
        payload_bits=max(largest.bit_length(), AUTO.payload_bits),
    )


def _weight_bits(network: Network, asked: int | Mapping[str, int]) -> dict[str, int]:
    """Bits of the weights onto each population; 8 where a mapping does not say."""
    names = [p.name for p in network.populations]
    bits = dict.fromkeys(names, asked) if isinstance(asked, int) else {
        **dict.fromkeys(names, 8), **asked
    }  # fmt: skip
    for name, width in bits.items():
        if name not in names:
            raise SpikefabError(f"no population '{name}'", "weight_bits", hint=", ".join(names))
        if not 2 <= width <= 16:
            raise SpikefabError(f"{width} weight bits", f"population '{name}'", hint="2 to 16")
    return bits


def _ranges(
    network: Network, calibrate: Mapping[str, SpikeTrain] | None
) -> tuple[dict[str, Range] | None, FloatRecording | None]:
    """What potentials and currents reach in a float run of the calibration data."""
    if calibrate is None:
        return None, None
    steps = max((int(t.step.max()) + 1 for t in calibrate.values() if len(t)), default=0)
    if not steps:
        raise SpikefabError("no spikes", "the calibration input", hint="give input that has some")
    names = [p.name for p in network.populations]
    reference = FloatReference(network).run(calibrate, steps, record=names)
    ranges = {
        name: Range(max(r.peak for variable, r in seen.items() if variable != "current"))
        for name, seen in reference.ranges.items()
    }
    return ranges, reference
