"""The library's current-based LIF against the integer equations of Loihi, in all its ranges."""

from hypothesis import given
from hypothesis import strategies as st
from spikefab.compiler.ir.interpret import evaluate
from spikefab.compiler.ir.models import LIBRARY

LIMIT = 2**23 - 1  # of Loihi's potential
LOIHI = {"overflow": "wrap", "fires": ">", "floor": "value"}


def stepper(name, bits, options, **parameters):
    model = LIBRARY[name].datapath(bits, 24, options)
    assert set(parameters) == set(model.parameters)
    fixed = {f"parameter.{k}": v for k, v in parameters.items()}

    def step(state, current):
        inputs = {f"state.{k}": v for k, v in state.items()} | fixed | {"current": current}
        after = evaluate(model.outputs, inputs)
        return {k: after[f"next.{k}"] for k in state}, after["spike"]

    return step


def toward_zero(x, kept):
    return (abs(x) * kept >> 12) * (1 if x >= 0 else -1)


@given(
    st.integers(0, 4095),
    st.integers(0, 4096),
    st.integers(1, 2**17 - 1),
    st.integers(-(2**16), 2**16),
    st.lists(st.integers(-(2**18), 2**18), min_size=1, max_size=40),
)
def test_the_fixed_point_lif_of_loihi(du, dv, vth, bias, activations):
    step = stepper(
        "cubalif", 24, LOIHI, keep=4096 - dv, keep_i=4095 - du, gain=6, threshold=vth << 6,
        bias=bias, bias_i=0, v_reset=0, v_floor=-LIMIT,
    )  # fmt: skip
    state, u, v = {"v": 0, "i": 0}, 0, 0
    for activation in activations:
        u = toward_zero(u, 4096 - (du + 1)) + (activation << 6)
        u = (u + 2**23) % 2**24 - 2**23
        v = max(min(toward_zero(v, 4096 - dv) + u + bias, LIMIT), -LIMIT)
        spike = v > vth << 6
        v = 0 if spike else v
        state, fired = step(state, activation)
        assert (state["i"], state["v"], fired) == (u, v, spike)
