"""Input files of any kind that a run takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .. import Program, SpikefabError, load_input, load_signals
from ..compiler.frontend.nir_data import GivenInput, from_nir_data, is_hdf5, step_length
from ..compiler.frontend.superneuromat import is_json, load_superneuromat


def read_input(path: str, ports: Mapping[str, int], settings: Mapping[str, str]) -> GivenInput:
    """Spikes by input and signals from an .npz; spikes from a .csv, NIR data, or a network of
    SuperNeuroMAT, which has its own; settings: of the network or program.

    Raises SpikefabError for a file that cannot be read, or does not fit.
    """
    if is_hdf5(path):
        return from_nir_data(path, ports, step_length(settings))
    if is_json(path):
        network, train = load_superneuromat(path)
        if dict(ports) != {"input": network.inputs[0].size}:
            raise SpikefabError(
                "input spikes of another network", path,
                f"it has {network.inputs[0].size} lines of 'input'", "give the file of this one",
            )  # fmt: skip
        return GivenInput({"input": train})
    return GivenInput(load_input(path, ports), signals=load_signals(path))


def program_input(path: str | None, program: Program, steps: int | None) -> GivenInput:
    """Input for a program, none without a path; `steps`, if given, win over the file's."""
    if path is None:
        return GivenInput({}, steps)
    ports = {i.name: i.size for i in program.inputs}
    given = read_input(path, ports, program.notes.get("settings", {}))
    return given if steps is None else dataclasses.replace(given, steps=steps)
