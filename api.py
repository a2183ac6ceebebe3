"""What `import spikefab` gives: every name in `__all__`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .boards.device import BoardDevice
from .boards.diff import Comparison, Difference, diff
from .boards.open import open_board
from .boards.virtual import Faults
from .boards.waveform import write_waveform
from .compiler.compile import compile_network
from .compiler.float_reference import FloatReference
from .compiler.frontend.encode import (
    batch,
    camera_events,
    delta_code,
    latency_code,
    load_camera,
    rate_code,
)
from .compiler.frontend.izhikevich import izhikevich
from .compiler.frontend.lava import lava_dense, lava_lif
from .compiler.frontend.nir_data import from_nir_data, to_nir_data
from .compiler.frontend.nir_reader import load
from .compiler.frontend.step_orders import bindsnet_lif, brian2_lif
from .compiler.frontend.superneuromat import load_superneuromat
from .compiler.frontend.xylo import xylo_network
from .compiler.ir.chip import CHIPS, ChipSpec
from .compiler.ir.declared import choice
from .compiler.ir.device import Device
from .compiler.ir.errors import SpikefabError
from .compiler.ir.file import load as load_program
from .compiler.ir.file import save as save_program
from .compiler.ir.language import (
    absolute,
    decay,
    maximum,
    minimum,
    random,
    saturate,
    select,
    shift,
    table,
    wrap,
)
from .compiler.ir.machine import Machine
from .compiler.ir.neuron import (
    COUNT,
    FRACTION,
    GAIN,
    POTENTIAL,
    SHIFT,
    Format,
    Update,
    neuron_model,
)
from .compiler.ir.program import Program
from .compiler.ir.readout import (
    EarlyExit,
    answer_by_count,
    answer_by_first_spike,
    answer_by_membrane,
    answer_early,
)
from .compiler.ir.rule import FINE_TRACE, SIGNAL, TRACE, Learned, fit, learning_rule
from .compiler.ir.scaling import scale_weights
from .compiler.ir.spikes import Recording, SpikeTrain, load_input, load_signals, save_input
from .compiler.network import Generated, Network, Rows, Triples
from .compiler.plasticity import Plasticity
from .compiler.report import Report
from .emulator.emulator import Emulator
from .emulator.limits import Limit, first_limit

__all__ = [
    "CHIPS",
    "COUNT",
    "FINE_TRACE",
    "FRACTION",
    "GAIN",
    "POTENTIAL",
    "SHIFT",
    "SIGNAL",
    "TRACE",
    "BoardDevice",
    "ChipSpec",
    "Comparison",
    "Device",
    "Difference",
    "EarlyExit",
    "Emulator",
    "Faults",
    "FloatReference",
    "Format",
    "Generated",
    "Learned",
    "Limit",
    "Machine",
    "Network",
    "Plasticity",
    "Program",
    "Recording",
    "Report",
    "Rows",
    "SpikeTrain",
    "SpikefabError",
    "Triples",
    "Update",
    "absolute",
    "answer_by_count",
    "answer_by_first_spike",
    "answer_by_membrane",
    "answer_early",
    "batch",
    "bindsnet_lif",
    "brian2_lif",
    "camera_events",
    "choice",
    "compile",
    "decay",
    "delta_code",
    "diff",
    "first_limit",
    "fit",
    "from_nir_data",
    "izhikevich",
    "latency_code",
    "lava_dense",
    "lava_lif",
    "learning_rule",
    "load",
    "load_camera",
    "load_input",
    "load_program",
    "load_signals",
    "load_superneuromat",
    "maximum",
    "minimum",
    "neuron_model",
    "open_board",
    "random",
    "rate_code",
    "saturate",
    "save_input",
    "save_program",
    "scale_weights",
    "select",
    "shift",
    "table",
    "to_nir_data",
    "wrap",
    "write_waveform",
    "xylo_network",
]


def compile(
    network: Network | str | Path,
    chip: str | ChipSpec = "auto",
    *,
    weight_bits: int | Mapping[str, int] = 8,
    dilate: bool = False,
    cores: int | None = None,
    seed: int = 1,
    calibrate: Mapping[str, SpikeTrain] | None = None,
    labels: NDArray[Any] | None = None,
    **reading: Any,
) -> tuple[Program, Report]:
    """A program for a chip, and the report of the mapping.

    `network` is a `Network` or a file of one; `reading` is then what `load` takes (dt, reset,
    discretisation, fires, floor, norm_input, count_bits, complete, profile). The rest is as
    in `compile_network`. Raises SpikefabError.
    """
    if not isinstance(network, Network):
        network = load(network, **reading)
    return compile_network(
        network,
        chip,
        weight_bits=weight_bits,
        dilate=dilate,
        cores=cores,
        seed=seed,
        calibrate=calibrate,
        labels=labels,
        device=Emulator,
    )
