"""Handwritten digits: a network trained in snnTorch, and the images it is tested on."""

from pathlib import Path

from .images import STEPS, encode, load_calibration_images, load_test_images

NETWORK = Path(__file__).with_name("digits.nir")
RESET = "subtract"

__all__ = ["NETWORK", "RESET", "STEPS", "encode", "load_calibration_images", "load_test_images"]
