"""What the networks of the digits example lose in fixed point, against what their page says."""

from __future__ import annotations

import numpy as np
import pytest
import spikefab as sf
from spikefab.examples import digits


@pytest.fixture(scope="module")
def conv() -> tuple[sf.Network, float]:
    """The conv network, and its accuracy in float."""
    network = sf.load(digits.CONV_NETWORK, profile="snntorch", reset=digits.RESET)
    images, labels = digits.load_test_images()
    spikes = {"input": sf.SpikeTrain.from_dense(digits.encode(images))}
    run = sf.FloatReference(network).run(spikes, digits.STEPS, len(images))
    return network, float(np.mean(sf.answer_by_count(run) == labels))


@pytest.mark.parametrize("bits", [8, 4])
def test_the_conv_network_of_the_recipe_compiles_with_no_loss(
    conv: tuple[sf.Network, float], bits: int
) -> None:
    network, in_float = conv
    assert in_float >= 0.97
    images, labels = digits.load_test_images()
    spikes = {"input": sf.SpikeTrain.from_dense(digits.encode(images))}
    seen = {"input": sf.SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))}
    program, report = sf.compile(network, weight_bits=bits, calibrate=seen)
    assert all(p.exact for p in report.populations)
    assert report.warnings == ()
    run = sf.Emulator(program).run(spikes, digits.STEPS, samples=len(images))
    assert float(np.mean(sf.answer_by_count(run) == labels)) == in_float
