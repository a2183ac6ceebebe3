"""A user's own rule, in a file outside the package, learns alike on emulator and virtual board."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spikefab as sf

SCRIPT = '''
import numpy as np
import spikefab as sf

@sf.learning_rule(pre={"x": sf.TRACE}, state={"e": sf.SIGNAL}, signals={"dopamine": sf.SIGNAL},
                  parameters={"keep": sf.FRACTION, "step": sf.TRACE})
def mine(pre, post, s, p, g):
    x = sf.fit(sf.decay(pre.x, p.keep, 12) + sf.select(pre.event, p.step, 0), pre.x)
    e = sf.fit(sf.decay(s.e, p.keep, 12) + sf.select(post.event, x, 0), s.e)
    return sf.Learned(w=s.w + sf.shift(e * g.dopamine, 6, "stochastic"), pre={"x": x}, e=e)

rng = np.random.default_rng(0)
net = sf.Network()
a, b = net.input("a", 6), net.population("b", 4, "lif", keep=0.8, threshold=1.0, output=True)
net.connect(a, b, rng.random((6, 4)) * 0.5,
            plasticity=sf.Plasticity(mine, w_min=0, w_max=1, keep=0.7, step=0.1))
program, _ = sf.compile(net)
sf.save_program(program, "learning.spikefab")
spikes = sf.SpikeTrain.from_dense(rng.random((60, 6)) < 0.3)
sf.save_input("input.npz", {"a": spikes}, {"dopamine": rng.integers(-90, 120, 60)})
device = sf.Emulator(program)
device.run(spikes, 60, signals=sf.load_signals("input.npz"))
print((device.read("a->b.weights") != program.plastic[0].weight).sum())
'''


def spikefab(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("spikefab")), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("own")
    (made / "script.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=made, capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) > 12
    return made


def test_a_rule_of_ones_own_is_equal_on_emulator_and_virtual_board(folder: Path) -> None:
    given = ("learning.spikefab", "--input", "input.npz", "--devices", "emulator,virtual")
    ran = spikefab(folder, "diff", *given)
    assert ran.returncode == 0, ran.stderr
    assert "equal" in ran.stdout


def test_a_program_runs_where_its_rule_is_not(folder: Path) -> None:
    ran = spikefab(folder, "run", "learning.spikefab", "--input", "input.npz", "-o", "out.npz")
    assert ran.returncode == 0, ran.stderr
    program = sf.load_program(folder / "learning.spikefab")
    signals = sf.load_signals(folder / "input.npz")
    expected = sf.Emulator(program).run(
        sf.load_input(folder / "input.npz", {"a": 6}), signals=signals
    )
    with np.load(folder / "out.npz") as found:
        np.testing.assert_array_equal(found["cycles"], expected.cycles)
    ran = spikefab(folder, "inspect", "learning.spikefab")
    assert "plastic 'a->b': 24 synapses by mine, delay 0" in ran.stdout
    assert "signals: dopamine" in ran.stdout


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        ({"reward": [1]}, "no such signal in signal 'reward': the program's rules read 'dopamine'"),
        ({"dopamine": [200]}, "value 200 in signal 'dopamine': outside -128..127"),
        ({"dopamine": [1, 2, 3]}, "a run of 2 steps in the run: its input has 3 steps"),
        ({"dopamine": [0.5, 1.0]}, "'signal_dopamine' of type float64 and shape (2,)"),
    ],
)
def test_signals_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, signals: dict[str, list[float]], said: str
) -> None:
    train = sf.SpikeTrain.of([0], [0])
    sf.save_input(tmp_path / "bad.npz", {"a": train}, {k: np.array(v) for k, v in signals.items()})
    bad = str(tmp_path / "bad.npz")
    ran = spikefab(folder, "run", "learning.spikefab", "--input", bad, "--steps", "2")
    assert ran.returncode == 2
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
