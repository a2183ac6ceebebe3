"""Linear maps of spikes: a matrix [source, target], dense or sparse, or the diagonal of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..network import Floats
from .nir_file import check_room

Map = Any  # an array [source, target] or [size], or a csr_array


def times(before: Map, after: Map, where: str) -> Map:
    """`before` followed by `after`; `after` itself behind an identity, else float64.

    Raises SpikefabError naming `where` if the result does not fit in memory.
    """
    if before.ndim == 1 and (before == 1).all():
        return after
    before, after = before.astype(np.float64), after.astype(np.float64)
    if before.ndim == 1 and after.ndim == 1:
        return before * after
    if sp.issparse(after):
        if before.ndim == 2:
            _check(_products(before, after), before.shape[0], after.shape[1], where)
        return (sparse(before) if before.ndim == 1 else before) @ after
    if before.ndim == 1:
        return before[:, None] * after
    if after.ndim == 1:
        return before @ sparse(after) if sp.issparse(before) else before * after
    if not sp.issparse(before):
        _check(before.shape[0] * after.shape[1], before.shape[0], after.shape[1], where)
        return before @ after
    full = np.flatnonzero(np.diff(before.indptr))
    _check(len(full) * after.shape[1], before.shape[0], after.shape[1], where)
    product = before[full] @ after
    return product if len(full) == before.shape[0] else _rows(product, full, before.shape[0])


def add(a: Map, b: Map) -> Map:
    """The sum of two maps of one shape, in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    if a.ndim == b.ndim:
        return a + b
    return (sparse(a) if a.ndim == 1 else a) + (sparse(b) if b.ndim == 1 else b)


def apply(values: Floats, after: Map) -> Floats:
    """Values [source] through a map, [target]."""
    return values * after if after.ndim == 1 else np.asarray(values @ after.astype(np.float64))


def split(a: Map, kind: NDArray[np.int64]) -> dict[int, Any]:
    """A map cut into sparse ones, by the kind [target] of its columns; empty ones are left out."""
    whole = sparse(a).tocoo()
    entry = kind[whole.coords[1]]
    order = np.argsort(entry, kind="stable")
    kinds, first = np.unique(entry[order], return_index=True)
    parts = np.split(order, first[1:]) if len(kinds) else []
    return {
        int(k): sp.csr_array(
            (whole.data[part], (whole.coords[0][part], whole.coords[1][part])), shape=whole.shape
        )
        for k, part in zip(kinds, parts, strict=True)
    }


def sparse(a: Map) -> Any:
    """A map as a csr_array."""
    return sp.diags_array(a, format="csr") if a.ndim == 1 else sp.csr_array(a)


def is_finite(a: Map) -> bool:
    """Whether no entry is NaN or infinite."""
    return bool(np.isfinite(a.data if sp.issparse(a) else a).all())


def synapses(a: Map) -> int:
    """How many entries are not 0."""
    return int(np.count_nonzero(a.data if sp.issparse(a) else a))


def _rows(product: Floats, full: NDArray[np.int64], rows: int) -> Any:
    """A sparse matrix of so many rows that has those of `product` at `full`."""
    width = product.shape[1]
    first = np.zeros(rows + 1, np.int64)
    first[full + 1] = width
    return sp.csr_array(
        (product.ravel(), np.tile(np.arange(width), len(full)), np.cumsum(first)),
        shape=(rows, width),
    )


def _products(before: Map, after: Any) -> int:
    """How many products of two entries `before @ after` adds up, at most."""
    lengths = np.diff(after.indptr)
    if sp.issparse(before):
        return int(lengths[before.indices].sum())
    return int(before.shape[0] * lengths.sum())


def _check(entries: int, sources: int, targets: int, where: str) -> None:
    check_room(
        8 * min(2 * entries, sources * targets), f"composed {sources} x {targets} weights", where
    )
