"""Program files that the tests of this folder damage."""

import itertools

import numpy as np
import pytest
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.file import load, save
from strategies import random_program


def rich_program(first_seed=0, **given):
    """The first random program with some of everything that a file can hold."""
    for seed in itertools.count(first_seed):
        program = random_program(np.random.default_rng(seed), neurons=30, cores=3, **given)
        shapes = {v.size > 1 for p in program.populations for v in p.parameters.values()}
        if (
            len(program.populations) > 2
            and program.synapses.count > 80
            and len(program.synapses.delays) > 2
            and shapes == {False, True}
            and any(np.ptp(v) for n, v in program.arrays() if ".parameter." in n)
        ):
            return program
    raise AssertionError


@pytest.fixture(scope="session")
def some_program():
    """Makes a random program with some of everything that a file can hold."""
    return rich_program


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The bytes of a program file."""
    path = tmp_path_factory.mktemp("whole") / "p.spikefab"
    save(rich_program(), path)
    return path.read_bytes()


@pytest.fixture
def refused(tmp_path):
    """Gives the one line with which a file of some content is refused."""

    def line_of(content):
        path = tmp_path / "p"
        path.write_bytes(content)
        with pytest.raises(SpikefabError) as caught:
            load(path)
        line = str(caught.value)
        assert "\n" not in line
        assert str(path) in line
        return line

    return line_of
