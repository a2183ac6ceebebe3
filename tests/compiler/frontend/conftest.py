"""NIR files made by hand, so that they can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

Nodes = dict[str, dict[str, Any]]


def put(group: Any, fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if isinstance(value, dict):
            put(group.create_group(key), value)
        elif isinstance(value, str):
            group.create_dataset(key, data=value, dtype=h5py.string_dtype())
        elif key == "edges":
            pairs = np.array(value, dtype=object).reshape(len(value), -1)
            group.create_dataset(key, data=pairs, dtype=h5py.string_dtype())
        else:
            group.create_dataset(key, data=value)


@pytest.fixture
def write_nir(tmp_path: Path) -> Callable[..., Path]:
    """Writes `net.nir` from nodes (dictionaries with a `type`) and edges."""

    def write(nodes: Nodes, edges: list[tuple[str, str]], **top: Any) -> Path:
        path = tmp_path / "net.nir"
        with h5py.File(path, "w") as stored:
            put(stored, {"version": "1.0.8"})
            graph = {"type": "NIRGraph", "nodes": nodes, "edges": edges, **top}
            put(stored, {"node": {k: v for k, v in graph.items() if v is not None}})
        return path

    return write


def lif(n: int, **changed: Any) -> dict[str, Any]:
    return {
        "type": "LIF",
        "tau": np.full(n, 0.01),
        "r": np.ones(n),
        "v_leak": np.zeros(n),
        "v_threshold": np.ones(n),
        "v_reset": np.zeros(n),
        **changed,
    }


def linear(outputs: int, inputs: int, **changed: Any) -> dict[str, Any]:
    weight = np.arange(outputs * inputs, dtype=np.float32).reshape(outputs, inputs) / 8
    return {"type": "Linear", "weight": weight, **changed}


@pytest.fixture
def nodes() -> Nodes:
    """input (4), fc: Linear 4 to 3, cells: LIF (3), output (3)."""
    return {
        "input": {"type": "Input", "shape": np.array([4])},
        "fc": linear(3, 4),
        "cells": lif(3),
        "output": {"type": "Output", "shape": np.array([3])},
    }


@pytest.fixture
def chain() -> list[tuple[str, str]]:
    return [("input", "fc"), ("fc", "cells"), ("cells", "output")]
