"""Commands on devices other than the emulator: run, diff and stream."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from spikefab import SpikeTrain, compile, load, save_program
from spikefab.examples import digits

pytestmark = pytest.mark.timeout(300)
COMMAND = Path(sys.executable).with_name("spikefab")
STEPS = str(digits.STEPS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's program, and two images as its input."""
    folder = tmp_path_factory.mktemp("digits")
    network = load(digits.NETWORK, profile="snntorch", reset=digits.RESET)
    seen = SpikeTrain.from_dense(digits.encode(digits.load_calibration_images()))
    save_program(compile(network, calibrate={network.inputs[0].name: seen})[0], folder / "p")
    raster = digits.encode(digits.load_test_images()[0][:2])
    train = SpikeTrain.from_dense(raster)
    np.savez(folder / "two.npz", step=train.step, index=train.index, sample=train.sample)
    first = SpikeTrain.from_dense(raster[0])
    pairs = zip(first.step.tolist(), first.index.tolist(), strict=True)
    (folder / "lines.txt").write_text("".join(f"{step} {index}\n" for step, index in pairs))
    return folder


@pytest.fixture(autouse=True)
def _there(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def done(*arguments: str, given: str | None = None) -> str:
    """Standard output of a command that succeeds."""
    stdin = Path(given).read_text() if given else ""
    ran = subprocess.run([COMMAND, *arguments], input=stdin, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_run_on_the_virtual_board_writes_what_the_emulator_does() -> None:
    for device in ("emulator", "virtual"):
        done("run", "p", "--input", "two.npz", "--steps", STEPS, "--record", "lif1.v",
             "--device", device, "-o", f"{device}.npz")  # fmt: skip
    with np.load("emulator.npz") as a, np.load("virtual.npz") as b:
        assert set(a.files) == set(b.files) >= {"step", "index", "cycles", "record/lif1.v"}
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def test_diff_tells_that_devices_are_equal() -> None:
    found = json.loads(done("diff", "p", "--input", "two.npz", "--steps", STEPS,
                            "--devices", "emulator,virtual", "--json"))  # fmt: skip
    assert (found["equal"], found["samples"], found["ticks"]) == (True, 2, 34)
    assert not Path("replay.npz").exists()


@pytest.mark.parametrize("device", ["emulator", "virtual"])
def test_a_stream_gives_what_its_log_gives_again(device: str) -> None:
    said = done("stream", "p", "--device", device, "--log", "log.npz", given="lines.txt")
    told = np.array([line.split() for line in said.splitlines()])
    done("run", "p", "--input", "log.npz", "--steps", STEPS, "-o", "again.npz")
    with np.load("again.npz") as again:
        order = np.lexsort((told[:, 2].astype(int), told[:, 0].astype(int)))
        assert told[order, 0].astype(int).tolist() == again["step"].tolist()
        assert told[order, 2].astype(int).tolist() == again["index"].tolist()
        assert len(again["step"]) > 10


def test_a_stream_of_udp_packets_ends_in_order_when_interrupted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    going = subprocess.Popen(
        [COMMAND, "stream", "p", "--udp", str(port), "--step-ms", "20", "--log", "udp.npz",
         "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        sent = 0
        until = time.monotonic() + 60
        while not _listens(port) and time.monotonic() < until:
            time.sleep(0.1)
        for _ in range(40):
            out.sendto(b"".join(struct.pack("<I", n) for n in range(20, 40)), ("127.0.0.1", port))
            sent += 20
            time.sleep(0.01)
        out.sendto(struct.pack("<I", 4096) + b"+", ("127.0.0.1", port))
        time.sleep(1)
    os.kill(going.pid, signal.SIGINT)
    said, _ = going.communicate(timeout=60)
    figures = json.loads(said)
    assert going.returncode == 0
    assert figures["events"] + figures["summed"] == sent
    assert figures["rejected"] == 2
    assert figures["spikes"] > 0
    assert Path("udp.npz").exists()


def _listens(port: int) -> bool:
    return f":{port:04X} " in Path("/proc/net/udp").read_text()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("0 64", "input 'input' has 64 lines"),
        ("x", "STEP [INPUT] INDEX [PAYLOAD]"),
        ("3 1\n2 1", "step 3 has begun"),
        ("0 1 0", "payload 0"),
    ],
)
def test_a_line_that_is_wrong_is_named(line: str, told: str) -> None:
    ran = subprocess.run([COMMAND, "stream", "p"], input=line, capture_output=True, text=True)
    assert ran.returncode == 2
    assert told in ran.stderr
    assert "line " in ran.stderr
    assert ran.stderr.count("\n") == 1
