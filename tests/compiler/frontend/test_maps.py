"""Linear maps in their three forms, beside dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from spikefab.compiler.frontend import maps
from spikefab.compiler.ir.errors import SpikefabError

KINDS = ("dense", "sparse", "diagonal")
seeds = st.integers(0, 2**32 - 1)


def dense(a):
    return a.toarray() if sp.issparse(a) else np.diag(a) if a.ndim == 1 else a


def some(rng, kind, shape):
    if kind == "diagonal":
        return rng.integers(-2, 3, shape[0]).astype(np.float32)
    matrix = rng.integers(-2, 3, shape) * (rng.random(shape) < 0.4)
    return sp.csr_array(matrix.astype(float)) if kind == "sparse" else matrix.astype(np.float32)


@given(seeds, st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_one_map_after_another_is_their_product(seed, first, second):
    rng = np.random.default_rng(seed)
    a, b, c = rng.integers(1, 7, 3)
    b = a if first == "diagonal" else b
    before, after = some(rng, first, (a, b)), some(rng, second, (b, b if second == KINDS[2] else c))
    made = maps.times(before, after, "here")
    np.testing.assert_array_equal(dense(made), dense(before) @ dense(after))
    assert sp.issparse(made) or "dense" in (first, second) or made.ndim == 1


@given(seeds, st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_maps_add_up(seed, first, second):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    a, b = some(rng, first, (n, n)), some(rng, second, (n, n))
    np.testing.assert_array_equal(dense(maps.add(a, b)), dense(a) + dense(b))
    values = rng.integers(-3, 4, n).astype(float)
    np.testing.assert_array_equal(maps.apply(values, a), values @ dense(a))
    kind = rng.integers(0, 3, n)
    parts = maps.split(a, kind)
    for k in range(3):
        part = parts[k].toarray() if k in parts else np.zeros((n, n))
        np.testing.assert_array_equal(part, dense(a) * (kind == k))


def test_a_product_beyond_memory_is_refused():
    n = 1 << 20
    wide = sp.csr_array(([1.0] * n, (np.arange(n), np.zeros(n, int))), shape=(n, 1))
    with pytest.raises(SpikefabError, match="composed 1048576 x 1048576 weights in node 'fc'"):
        maps.times(wide, np.ones((1, n), np.float32), "node 'fc'")
