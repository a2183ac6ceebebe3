"""Handwritten digits: networks trained in snnTorch, and the images they are tested on."""

from pathlib import Path

from .images import (
    STEPS,
    encode,
    load_calibration_images,
    load_test_images,
    load_training_images,
)

NETWORK = Path(__file__).with_name("digits.nir")
CONV_NETWORK = Path(__file__).with_name("conv.nir")
RESET = "subtract"

__all__ = [
    "CONV_NETWORK",
    "NETWORK",
    "RESET",
    "STEPS",
    "encode",
    "load_calibration_images",
    "load_test_images",
    "load_training_images",
]
