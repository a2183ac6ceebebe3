"""The images of the digits example, and how an image becomes spikes (NumPy only)."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

STEPS = 16
WHITE = 16
TEST_IMAGES = Path(__file__).with_name("test_images.npz")
TRAINING_IMAGES = Path(__file__).with_name("training_images.npz")
CALIBRATION = 128


def load_test_images() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the 594 test images [image, pixel], pixels 0..16, and their labels [image], 0..9.

    The 64 pixels of an image are in row-major order.
    """
    with np.load(TEST_IMAGES) as archive:
        return archive["images"], archive["labels"]


def load_training_images() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the 1203 training images [image, pixel] and their labels [image]."""
    with np.load(TRAINING_IMAGES) as archive:
        return archive["images"], archive["labels"]


def load_calibration_images() -> npt.NDArray[np.uint8]:
    """Return the first 128 training images [image, pixel], on which scales are chosen."""
    return load_training_images()[0][:CALIBRATION]


def encode(images: npt.ArrayLike, steps: int = STEPS) -> npt.NDArray[np.bool_]:
    """Code each pixel as a regular spike train whose rate is its brightness.

    A pixel of brightness p (an integer, 0..16) spikes in step t if and only if
    ``(t + 1) p // 16 > t p // 16``: p times, evenly spread, in every 16 steps. The code draws no
    random numbers. ``np.nonzero`` of the result gives the events as (sample, step, index), sorted.

    Args:
        images: integer pixels [image, pixel].
        steps: time steps per image.

    Returns:
        Spikes [image, step, pixel].
    """
    elapsed = np.arange(steps + 1)[:, np.newaxis]
    emitted = elapsed * np.asarray(images, np.int64)[:, np.newaxis, :] // WHITE
    return np.diff(emitted, axis=1) > 0
