"""Integers as the registers of a chip hold them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import SpikefabError


def whole(
    name: str, values: Any, where: str, limits: tuple[int, int], owner: str
) -> NDArray[np.int64]:
    """`values` as an array; raises SpikefabError unless they are integers that `owner` has."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise SpikefabError(f"'{name}' of type {array.dtype}", where, f"{owner} takes integers")
    lo, hi = limits
    if array.size and (array.min() < lo or array.max() > hi):
        raise SpikefabError(
            f"'{name}' = {array.min()}..{array.max()}", where, f"{owner} has {lo}..{hi}"
        )
    return array.astype(np.int64)
