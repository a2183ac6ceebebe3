"""Bytes go through the virtual board as through a wire, and are damaged as asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import serial
import soak
from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from spikefab.boards import open as opening
from spikefab.boards import virtual
from spikefab.boards.virtual import Faults, VirtualBoard, build
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.rtl.uart import UartReceiver, UartTransmitter

pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")

DIVISOR = 4
LATE = 300_000
LARGE = 1 << 17
ALL = bytes(range(256))


class Echo(wiring.Component):
    """Gives each byte back at once."""

    def __init__(self) -> None:
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(DIVISOR)
        m.submodules.transmitter = transmitter = UartTransmitter(DIVISOR)
        m.d.comb += [
            receiver.wire.eq(self.rx),
            self.tx.eq(transmitter.wire),
            transmitter.bytes.payload.eq(receiver.byte),
            transmitter.bytes.valid.eq(receiver.valid),
        ]
        return m


class Counter(wiring.Component):
    """Answers each byte LATE clocks after it with 7, 8, 9, ...

    The number of bytes before is the last word of a memory, and another memory begins with the 7.
    """

    def __init__(self) -> None:
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(DIVISOR)
        m.submodules.transmitter = transmitter = UartTransmitter(DIVISOR)
        m.submodules.counts = counts = memory.Memory(shape=8, depth=LARGE, init=[])
        m.submodules.sevens = sevens = memory.Memory(shape=8, depth=2, init=[0, 7])
        count, counted, seven = counts.read_port(), counts.write_port(), sevens.read_port()
        left = Signal(range(LATE + 1))
        m.d.comb += [
            receiver.wire.eq(self.rx),
            self.tx.eq(transmitter.wire),
            count.addr.eq(LARGE - 1),
            counted.addr.eq(LARGE - 1),
            seven.addr.eq(1),
            transmitter.bytes.payload.eq(count.data + seven.data),
            transmitter.bytes.valid.eq(left == 1),
            counted.data.eq(count.data + 1),
            counted.en.eq(left == 1),
            self.busy.eq(left != 0),
        ]
        with m.If(receiver.valid):
            m.d.sync += left.eq(LATE)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return m


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKEFAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def echo(cache: None) -> Path:
    return build(Echo(), "echo", DIVISOR)


@pytest.fixture(scope="module")
def counter(cache: None) -> Path:
    return build(Counter(), "counter", DIVISOR)


def opened(board: VirtualBoard) -> serial.Serial:
    return serial.Serial(board.port, baudrate=3_000_000, timeout=0)


def through(board: VirtualBoard, port: serial.Serial, sent: bytes) -> bytes:
    """What comes back for some bytes, until the board's clock stops."""
    before, clocks, came = board.statistics(), -1, bytearray()
    writer = threading.Thread(target=port.write, args=(sent,))
    writer.start()
    while True:
        came += port.read(65536)
        now = board.statistics()
        rests = now["clocks"] == clocks and now["from_host"] - before["from_host"] == len(sent)
        if rests and now["to_host"] - before["to_host"] == len(came):
            writer.join()
            return bytes(came)
        clocks = now["clocks"]
        time.sleep(0.001)


def once_through(executable: Path, sent: bytes, faults: Faults) -> tuple[bytes, dict[str, int]]:
    with VirtualBoard(executable, DIVISOR, faults) as board, opened(board) as port:
        return through(board, port, sent), board.statistics()


def soon(holds: Callable[[], bool]) -> bool:
    """Whether something holds within ten seconds."""
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# The wire.


def test_every_byte_comes_back_in_order(echo: Path) -> None:
    came, counts = once_through(echo, ALL, Faults())
    assert came == ALL
    assert [counts[name] for name in ("from_host", "bytes_in", "bytes_out", "to_host")] == [256] * 4
    assert not any(counts[name] for name in ("broken", "power_cycles", *virtual.KINDS))


def test_bytes_that_wait_go_without_a_gap(echo: Path) -> None:
    sent = ALL * 80
    with VirtualBoard(echo, DIVISOR) as board, opened(board) as port:
        for _ in range(20):  # for a machine that lets the writer wait
            board.reset_statistics()
            assert through(board, port, sent) == sent
            counts = board.statistics()
            assert counts["bytes_in"] == counts["bytes_out"] == len(sent)
            clocks = max(counts[f"last_{way}"] - counts[f"first_{way}"] for way in ("in", "out"))
            assert clocks >= 40 * len(sent)
            if clocks <= 41 * len(sent):
                return
    pytest.fail(f"{clocks / len(sent)} clocks per byte")


def test_a_host_that_does_not_read_loses_nothing(echo: Path) -> None:
    sent = ALL * 400
    with VirtualBoard(echo, DIVISOR) as board, opened(board) as port:
        writer = threading.Thread(target=port.write, args=(sent,))
        writer.start()
        clocks = [-1, 0]
        while clocks[-1] != clocks[-2] or not clocks[-1]:
            time.sleep(0.05)
            clocks.append(board.statistics()["clocks"])
        assert board.statistics()["bytes_in"] < len(sent)
        came = bytearray()
        assert soon(lambda: came.extend(port.read(65536)) or len(came) == len(sent))
        assert came == sent
        writer.join()


def test_the_port_can_be_closed_and_opened_again(echo: Path) -> None:
    with VirtualBoard(echo, DIVISOR) as board:
        for _ in range(3):
            with opened(board) as port:
                assert through(board, port, ALL) == ALL


def test_an_idle_board_sleeps_and_its_clock_stops(echo: Path) -> None:
    with VirtualBoard(echo, DIVISOR) as board:
        with opened(board) as port:
            through(board, port, ALL)
        process, clocks = psutil.Process(board._process.pid), board.statistics()["clocks"]
        used = sum(process.cpu_times()[:2])
        time.sleep(0.5)
        assert sum(process.cpu_times()[:2]) - used < 0.1
        assert board.statistics()["clocks"] == clocks


def test_a_busy_design_goes_on_without_bytes(counter: Path) -> None:
    with VirtualBoard(counter, DIVISOR) as board, opened(board) as port:
        assert [through(board, port, b"?") for _ in range(3)] == [b"\7", b"\x08", b"\x09"]
        assert board.statistics()["clocks"] > 3 * LATE


def test_statistics_begin_anew(echo: Path) -> None:
    with VirtualBoard(echo, DIVISOR) as board, opened(board) as port:
        through(board, port, ALL)
        board.reset_statistics()
        assert not any(board.statistics().values())
        through(board, port, b"again")
        counts = board.statistics()
    assert counts["bytes_in"] == counts["bytes_out"] == 5
    assert 0 <= counts["first_in"] < counts["first_out"] < counts["last_in"] < counts["last_out"]


# Damage.


def test_a_seed_damages_the_same_bytes_each_time(echo: Path) -> None:
    sent = ALL * 8
    first, again, other = (once_through(echo, sent, Faults(seed, 0.05)) for seed in (1, 1, 2))
    assert first[0] == again[0] != other[0]
    damaged = [first[1][kind] for kind in virtual.KINDS]
    assert damaged == [again[1][kind] for kind in virtual.KINDS]
    assert all(damaged[:4])
    assert damaged[4] == 0
    assert 100 < sum(damaged) < 300  # 5 % of both directions' 2048


def test_flipped_bytes_differ_in_a_bit(echo: Path) -> None:
    came, counts = once_through(echo, ALL, Faults(1, 1.0, ("flip",)))
    assert counts["flip"] == 512
    flips = [(a ^ b).bit_count() for a, b in zip(came, ALL, strict=True)]
    assert set(flips) == {0, 2}  # one on each way, maybe the same


def test_lost_bytes_do_not_come(echo: Path) -> None:
    came, counts = once_through(echo, ALL, Faults(1, 1.0, ("lose",)))
    assert came == b""
    assert (counts["lose"], counts["from_host"], counts["bytes_in"]) == (256, 256, 0)


def test_repeated_bytes_come_twice(echo: Path) -> None:
    came, counts = once_through(echo, ALL, Faults(1, 1.0, ("repeat",)))
    assert came == bytes(byte for byte in ALL for _ in range(4))
    assert counts["repeat"] == 256 + 512


def test_inserted_bytes_come_before(echo: Path) -> None:
    came, counts = once_through(echo, ALL, Faults(1, 1.0, ("insert",)))
    assert came[3::4] == ALL
    assert len(came) == 4 * 256
    assert len(set(came[0::4])) > 100
    assert counts["insert"] == 256 + 512


def test_stalled_bytes_come_late_and_whole(echo: Path) -> None:
    came, counts = once_through(echo, ALL, Faults(1, 1.0, ("stall",)))
    assert came == ALL
    assert counts["stall"] == 512
    assert counts["last_in"] - counts["first_in"] > 10_000


def test_damage_can_begin_and_end(echo: Path) -> None:
    with VirtualBoard(echo, DIVISOR, Faults(kinds=("lose",))) as board, opened(board) as port:
        assert through(board, port, ALL) == ALL
        board.set_rate(1.0)
        assert through(board, port, ALL) == b""
        board.set_rate(0.0)
        assert through(board, port, ALL) == ALL


def test_a_board_that_loses_power_begins_anew(counter: Path) -> None:
    faults = Faults(power_cycle=3)
    with VirtualBoard(counter, DIVISOR, faults) as board, opened(board) as port:
        came = [through(board, port, b"?") for _ in range(5)]
        assert board.statistics()["power_cycles"] == 1
    assert came == [b"\7", b"\x08", b"", b"\7", b"\x08"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate": 1.5}, "rate 1.5 in Faults; use 0 to 1"),
        ({"kinds": ("flip", "burn")}, "kind 'burn' in Faults; use flip, lose, repeat, insert, st"),
        ({"power_cycle": 0}, "power_cycle 0 in Faults; use 1 or more, or None"),
        ({"seed": -1}, "seed -1 in Faults; use 0 to 2"),
    ],
)
def test_faults_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(SpikefabError, match=said):
        Faults(**wrong)


# The process.


def test_a_closed_board_leaves_no_process(echo: Path) -> None:
    board = VirtualBoard(echo, DIVISOR)
    pid = board._process.pid
    assert not ended(pid)
    board.close()
    board.close()
    assert ended(pid)
    with pytest.raises(SpikefabError, match="the virtual board is closed"):
        board.statistics()


def test_a_board_dies_with_its_host(echo: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from spikefab.boards.virtual import *\n"
        f"board = VirtualBoard(Path(sys.argv[1]), {DIVISOR})\n"
        "print(board._process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(echo)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        pid = int(host.stdout.readline())
        assert not ended(pid)
        host.kill()
    assert soon(lambda: ended(pid))


def test_a_board_that_was_killed_says_so(echo: Path) -> None:
    with VirtualBoard(echo, DIVISOR) as board:
        os.kill(board._process.pid, signal.SIGKILL)
        with pytest.raises(SpikefabError, match=r"the virtual board has ended in .*echo"):
            board.statistics()


def test_a_program_that_does_not_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpikefabError, match=r"does not start in .*none: No such file"):
        VirtualBoard(tmp_path / "none", DIVISOR)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no terminal >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(SpikefabError, match=r"has ended in .*broken: no terminal"):
        VirtualBoard(broken, DIVISOR)


def test_another_divisor_is_refused(echo: Path) -> None:
    with pytest.raises(SpikefabError, match=r"5 clocks per bit in .*echo.*: it has 4"):
        VirtualBoard(echo, 5)


# Building.


def test_a_design_is_built_once(echo: Path) -> None:
    made = echo.stat().st_mtime_ns
    assert build(Echo(), "echo", DIVISOR) == echo
    assert echo.stat().st_mtime_ns == made
    assert not list(echo.parent.glob("building_*"))


def test_without_a_compiler_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpikefabError, match=r"no C\+\+ compiler in .*apt install g\+\+"):
        build(Echo(), "echo", DIVISOR)
    monkeypatch.setenv("CXX", "no-such-compiler -O1")
    with pytest.raises(SpikefabError, match="CXX is 'no-such-compiler', which is not there"):
        build(Echo(), "echo", DIVISOR)


def test_without_amaranth_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    design = Echo()
    monkeypatch.setitem(sys.modules, "amaranth.back", None)
    with pytest.raises(SpikefabError, match=r"no module.*pip install 'spikefab\[rtl\]'"):
        build(design, "echo", DIVISOR)


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\nwhile [ "$1" != -o ]; do shift; done\n'
        'echo half > "$2"; echo "in a file" >&2; echo "a.cpp:1: error: no" >&2; exit 1\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("SPIKEFAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SpikefabError, match=r"failed in design 'echo': a.cpp:1: error: no"):
        build(Echo(), "echo", DIVISOR)
    assert not list((tmp_path / "cache" / "kernels").iterdir())


def test_a_build_that_is_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(command: list[str], name: str) -> None:
        Path(command[-1]).write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(virtual, "_compile", interrupted)
    monkeypatch.setenv("SPIKEFAB_CACHE", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        build(Echo(), "echo", DIVISOR)
    assert not list((tmp_path / "kernels").iterdir())


def test_a_design_without_the_wires_is_refused() -> None:
    with pytest.raises(SpikefabError, match="no input 'rx' of one bit in design 'uart'"):
        build(UartTransmitter(DIVISOR), "uart", DIVISOR)


def test_what_is_built_from_sources_that_changed_is_not_kept_as_theirs(
    first_chip: soak.Chip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    executable = tmp_path / "built"
    executable.touch()

    def build(*arguments: object) -> Path:
        built.append("board")
        return executable

    monkeypatch.setenv("SPIKEFAB_CACHE", str(tmp_path))
    monkeypatch.setattr(opening, "build", build)
    monkeypatch.setattr("spikefab.rtl.board.Board", lambda *arguments: None)
    source = tmp_path / "source.py"
    source.write_text("")
    monkeypatch.setattr(opening, "_sources", lambda: [source])
    for changed, builds in ((opening.BEGAN + 1, 2), (opening.BEGAN - 1, 1)):
        os.utime(source, (changed, changed))
        for _ in range(2):
            assert opening.virtual_executable(first_chip.map) == executable
        assert len(built) == builds
        built.clear()
