"""Virtual boards that tests share; tests of this folder import its helpers by name."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import soak


@pytest.fixture(scope="session", params=soak.CHIPS, ids=lambda chip: f"chip{chip.seed}")
def chip(request: pytest.FixtureRequest) -> soak.Chip:
    """A random chip, each in turn."""
    assert request.param.executable.exists()
    return request.param


@pytest.fixture(scope="session")
def first_chip() -> soak.Chip:
    """One of them, where one will do."""
    assert soak.CHIPS[0].executable.exists()
    return soak.CHIPS[0]


@pytest.fixture(scope="module")
def on_chip(chip: soak.Chip) -> Iterator[soak.Opened]:
    """A device without a program, on a clean wire; what a test leaves there the next one finds."""
    with soak.opened(chip.executable) as opened:
        yield opened
