"""Frames are whole or not taken; whatever bytes come, both ends go on at the next frame."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import serial
import soak
import spikefab as sf
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from spikefab.boards import link as host
from spikefab.boards.device import BoardDevice
from spikefab.boards.link import Link, open_port
from spikefab.boards.open import VIRTUAL_BAUD, VIRTUAL_DIVISOR, open_board
from spikefab.boards.virtual import Faults, VirtualBoard
from spikefab.compiler.ir.errors import SpikefabError
from spikefab.compiler.ir.link import (
    MAX_WORDS,
    OVERHEAD,
    SEQUENCE,
    SLOTS,
    VERSION,
    Command,
    Frame,
    Kind,
    Status,
    decode,
    encode,
    word,
)
from spikefab.compiler.ir.memory_map import core_map
from spikefab.compiler.ir.program import Program
from spikefab.compiler.ir.region import units

SLOT_BYTES = 256
BYTE = 10 * VIRTUAL_DIVISOR  # clocks on the wire

words = st.lists(st.one_of(st.just(0), st.integers(0, 0xFFFF)), max_size=MAX_WORDS).map(
    lambda values: np.array(values, np.uint16)
)
bytes_of = st.integers(0, 255)


def random_words(rng: np.random.Generator, count: int) -> np.ndarray:
    """Words with few or many zero bytes."""
    spare = rng.random((count, 2)) < rng.choice([0.0, 0.1, 0.9, 1.0])
    return np.where(spare, 0, rng.integers(0, 256, (count, 2))).astype("u1").view("<u2")[:, 0]


# Frames.


def assert_whole(kind: int, seq: int, credit: int, body: np.ndarray) -> None:
    """A frame comes back as it was, in a slot's bytes, and just its last is zero."""
    sent = encode(kind, seq, credit, body)
    assert sent.index(0) == len(sent) - 1 == OVERHEAD + 2 * len(body) + 1 < SLOT_BYTES
    found = decode(sent[:-1])
    assert found is not None
    assert (found.kind, found.seq, found.credit) == (kind, seq % SEQUENCE, credit % SEQUENCE)
    np.testing.assert_array_equal(found.words, body)


@given(bytes_of, st.integers(0, 10_000), st.integers(0, 10_000), words)
@settings(deadline=None)
def test_a_frame_comes_back_as_it_was(
    kind: int, seq: int, credit: int, body: np.ndarray
) -> None:
    assert_whole(kind, seq, credit, body)


@pytest.mark.parametrize("length", range(MAX_WORDS + 1))
def test_bodies_of_any_length_with_zeros_anywhere(length: int) -> None:
    rng = np.random.default_rng(length)
    for _ in range(8):
        kind, seq, credit = (int(rng.choice([0, 1, 255])) for _ in range(3))
        assert_whole(kind, seq, credit, random_words(rng, length))


def test_a_frame_without_a_body_is_one_with_no_words() -> None:
    assert encode(Frame.CREDIT, 3, 4) == encode(Frame.CREDIT, 3, 4, np.zeros(0, np.uint16))


@given(st.binary(max_size=300))
@settings(max_examples=1000, deadline=None)
def test_any_bytes_are_decoded_or_not_a_frame(raw: bytes) -> None:
    assert decode(raw) is None or len(raw) > OVERHEAD


@given(bytes_of, bytes_of, bytes_of, words, st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_frame_is_not_taken(
    kind: int, seq: int, credit: int, body: np.ndarray, data: st.DataObject
) -> None:
    sent = encode(kind, seq, credit, body)[:-1]
    at = data.draw(st.integers(0, len(sent) - 1))
    damaged = data.draw(
        st.sampled_from(
            [
                sent[:at] + bytes([sent[at] ^ 1 << data.draw(st.integers(0, 7))]) + sent[at + 1 :],
                sent[:at] + sent[at + 1 :],
                sent[:at],
                sent[:at] + sent[at : at + 1] + sent[at:],
                sent[:at] + bytes([data.draw(bytes_of)]) + sent[at:],
                sent[at:] if at else b"",
            ]
        )
    )
    assert damaged == sent or decode(damaged) is None


def test_a_status_is_told_in_its_words() -> None:
    raw = bytes([7, 1, 2, 3, 4, 5, 6, 8])
    assert Status.of(np.frombuffer(raw, "<u2").tolist()) == Status(
        version=7, damaged=1, session=0x302, expected=4, nonce=5, refused=6, broken=8
    )


# Streams of words through a board.


@pytest.fixture(scope="module")
def board(first_chip: soak.Chip) -> Iterator[VirtualBoard]:
    with VirtualBoard(first_chip.executable, VIRTUAL_DIVISOR) as board:
        yield board


class Chopped(serial.Serial):
    """A port that takes and gives any number of bytes at a time."""

    def begin(self, seed: int, slow: bool = False) -> Chopped:
        self._rng, self._slow = np.random.default_rng(seed), slow
        return self

    def write(self, frame: bytes) -> int:
        at = 0
        while at < len(frame):
            at += super().write(frame[at : at + int(self._rng.integers(1, 12))]) or 0
            if self._slow and self._rng.random() < 0.1:
                time.sleep(0.002)
        return at

    def read(self, size: int = 1) -> bytes:
        return super().read(int(self._rng.integers(1, max(2, size + 1))))


class Noisy(serial.Serial):
    """A port that gives what nobody sent besides what was: junk after one byte in a hundred."""

    def begin(self, seed: int) -> Noisy:
        self._rng = np.random.default_rng(seed)
        return self

    def read(self, size: int = 1) -> bytes:
        came = super().read(size)
        quiet = 0.99 ** max(1, len(came))
        return came if self._rng.random() < quiet else came + junk(self._rng, 2, wild=False)


def opened(board: VirtualBoard, kind: type[serial.Serial]) -> Any:
    return kind(board.port, VIRTUAL_BAUD, timeout=host.READ_SECONDS, write_timeout=5.0)


@given(
    st.lists(words, min_size=1, max_size=12), st.integers(1, MAX_WORDS), strategies.seeds,
    st.booleans(),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_words_arrive_whatever_pieces_they_are_sent_in(
    board: VirtualBoard, first_chip: soak.Chip, pieces: list[np.ndarray], most: int, seed: int,
    slow: bool,
) -> None:  # fmt: skip
    """Written to a memory, put into its hash and read back."""
    sent = np.concatenate(pieces)[: first_chip.map.regions["parameter_index"].entries]
    base = first_chip.map.address("parameter_index", 0)
    place = [base & 0xFFFF, base >> 16, len(sent)]
    kept = (1 << first_chip.map.regions["parameter_index"].bits) - 1
    with opened(board, Chopped).begin(seed, slow) as port:
        link = Link(port, board.port)
        link.open()
        link._words = most
        if len(sent):
            link.send([word(Kind.COMMAND, Command.WRITE), *place])
            for piece in np.split(sent, np.cumsum([len(piece) for piece in pieces])):
                link.send(piece)
            link.send([word(Kind.COMMAND, Command.READ), *place])
            assert link.receive(len(sent)) == (sent & kept).tolist()
        link.send([word(Kind.COMMAND, Command.DIGEST)])
        if len(sent):
            link.send([word(Kind.COMMAND, Command.HASH), *place])
        link.send([word(Kind.COMMAND, Command.DIGEST)])
        *_, low, high = link.receive(4)
        assert low | high << 16 == zlib.crc32((sent & kept).astype("<u2").tobytes())
        link.flush()
        assert (link.available(), link.counters.damaged, link.counters.repeated) == (0, 0, 0)


# What the host hears.


def test_the_host_goes_on_after_noise(board: VirtualBoard, first_chip: soak.Chip) -> None:
    damaged = 0
    for seed in range(8):
        with opened(board, Noisy).begin(seed) as port:
            link = Link(port, board.port)
            link.open()
            check_run(BoardDevice(link), first_chip, seed)
            damaged += link.counters.damaged
    assert damaged


@given(strategies.seeds)
@settings(max_examples=30, deadline=None)
def test_whatever_the_host_hears_it_goes_on_or_says_what_is_wrong(seed: int) -> None:
    """Frames that are whole and mean nothing, too."""
    rng = np.random.default_rng(seed)
    with bare_port() as (near, name), open_port(name, VIRTUAL_BAUD) as port:
        link = Link(port, name)
        greeted = threading.Thread(target=answer, args=(near, link))
        greeted.start()
        link.open()
        greeted.join()
        with contextlib.suppress(SpikefabError):
            for _ in range(20):
                os.write(near, junk(rng, 10, wild=True))
                link.send(random_words(rng, 5))
                link.poll(0.001)
                while select.select([near], [], [], 0)[0]:
                    os.read(near, 4096)


def answer(near: int, link: Link) -> None:
    """Answer a hello as a board does."""
    raw, hello = b"", None
    while hello is None:
        raw += os.read(near, 1)
        hello = decode(raw[:-1].split(b"\0")[-1])
    session, nonce = int(hello.words[0]), hello.seq
    status = bytes([VERSION, 0, session & 0xFF, session >> 8, 0, nonce, 0, 0])
    os.write(near, encode(Frame.STATUS, 0, SLOTS, np.frombuffer(status, "<u2")))


# What a board hears.


def junk(rng: np.random.Generator, frames: int, wild: bool) -> bytes:
    """Random bytes and damaged frames, each with a delimiter; wild: frames that are whole, too."""
    made = []
    while len(made) < frames:
        piece = random_bytes(rng) if rng.random() < 0.4 else random_frame(rng, wild)
        if wild or all(decode(part) is None for part in piece.split(b"\0")):
            made.append(piece)  # what is damaged at its delimiter may be whole
    return b"".join(made)


def random_length(rng: np.random.Generator) -> int:
    return int(rng.integers(0, 12 if rng.random() < 0.98 else 300))


def random_bytes(rng: np.random.Generator) -> bytes:
    return rng.integers(0, 256, random_length(rng), np.uint8).tobytes() + b"\0"


def random_frame(rng: np.random.Generator, wild: bool) -> bytes:
    kind = int(rng.choice(Frame)) if rng.random() < 0.8 else int(rng.integers(256))
    seq, credit = (int(rng.integers(256 if rng.random() < 0.5 else 5)) for _ in range(2))
    body = random_words(rng, min(random_length(rng), MAX_WORDS))
    frame = bytearray(encode(kind, seq, credit, body))
    at = int(rng.integers(len(frame)))
    if not wild or rng.random() < 0.5:
        damage = int(rng.integers(4))
        if damage == 0:
            frame[at] ^= 1 << int(rng.integers(8))
        elif damage == 1:
            del frame[at]
        elif damage == 2:
            frame.insert(at, int(rng.integers(256)))
        else:
            del frame[at:]
    return bytes(frame) if frame.endswith(b"\0") else bytes(frame) + b"\0"


def pour(board: VirtualBoard, sent: bytes) -> None:
    """Give a board bytes, and let go what it says; ends when it has taken them."""
    taken = board.statistics()["from_host"] + len(sent)
    with serial.Serial(board.port, VIRTUAL_BAUD, timeout=0) as port:
        for at in range(0, len(sent), 1024):
            port.write(sent[at : at + 1024])
            port.read(65536)
        while board.statistics()["from_host"] < taken:
            port.read(65536)


def check_run(device: BoardDevice, chip: soak.Chip, seed: int) -> None:
    """A small program is loaded and runs as on the machine."""
    rng = np.random.default_rng([9, seed])
    program = chip.program(rng, 5)
    spikes = strategies.random_input(rng, program, 4)
    device.load(program)
    record = soak.everything(program)
    found = device.run(spikes, 4, record=record)
    assert not soak.difference(sf.Machine(program).run(spikes, 4, record=record), found), seed


def check_fuzz(board: VirtualBoard, chip: soak.Chip, seed: int, frames: int) -> None:
    """After junk the first hello is answered, and a run is as it should be."""
    rng = np.random.default_rng([10, seed])
    pour(board, junk(rng, frames, wild=bool(seed % 2)))
    with soak.linked(board) as (link, device):
        assert link.counters.frames_sent <= 2  # a hello and the first frame of data
        check_run(device, chip, seed)


def test_a_board_goes_on_after_noise(board: VirtualBoard, first_chip: soak.Chip) -> None:
    for seed in range(10):
        check_fuzz(board, first_chip, seed, 200)


@pytest.mark.prove
def test_a_board_goes_on_after_a_million_frames(
    board: VirtualBoard, first_chip: soak.Chip
) -> None:
    for seed in range(1000, 1500):
        check_fuzz(board, first_chip, seed, 2000)


def test_junk_that_is_not_wild_has_no_whole_frame() -> None:
    """Nor where it is cut in other places: a host must never take any of it."""
    rng = np.random.default_rng(11)
    assert not any(decode(part) for part in junk(rng, 20_000, wild=False).split(b"\0"))
    assert any(decode(part) for part in junk(rng, 100, wild=True).split(b"\0"))


def test_half_a_frame_before_does_not_cost_the_hello(board: VirtualBoard) -> None:
    for cut in (1, 5, 9):
        pour(board, encode(Frame.DATA, 0, SLOTS, np.zeros(3, np.uint16))[:cut])
        with soak.linked(board) as (link, _):
            assert link.counters.frames_sent == 2  # with one of data


def test_noise_in_the_midst_of_a_frame_costs_that_frame(board: VirtualBoard) -> None:
    whole = encode(Frame.HELLO, 9, SLOTS, np.array([77], np.uint16))
    with serial.Serial(board.port, VIRTUAL_BAUD, timeout=0) as port:
        for cut in range(len(whole)):
            port.write(whole[:cut] + b"\0" + whole)
            raw, end = b"", time.monotonic() + 10
            while session_of(raw) != 77 and time.monotonic() < end:
                raw += port.read(4096)
            assert session_of(raw) == 77, cut
            pour(board, b"\0" + encode(Frame.HELLO, 0, SLOTS, np.array([78], np.uint16)))


def session_of(raw: bytes) -> int | None:
    """The session of the last status in some bytes."""
    found = [decode(part) for part in raw.split(b"\0")]
    told = [Status.of(f.words.tolist()) for f in found if f and f.kind == Frame.STATUS]
    return told[-1].session if told else None


# What the user is told.


@contextlib.contextmanager
def bare_port() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal with nothing behind it: its near end, and the name of the far one."""
    near, far = pty.openpty()
    try:
        yield near, os.ttyname(far)
    finally:
        os.close(near)
        os.close(far)


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host gives up sooner."""
    monkeypatch.setattr(host, "LOST_SECONDS", 0.6)
    monkeypatch.setattr(host, "IDLE_SECONDS", 0.6)


@pytest.fixture
def running(first_chip: soak.Chip) -> Iterator[tuple[soak.Opened, Program]]:
    program = first_chip.program(np.random.default_rng(11), 10)
    with soak.opened(first_chip.executable, program) as opened:
        yield opened, program


def once(does: Callable[[], object], after: int = 20) -> Callable[[int, int], None]:
    """A progress callback that does something after so many ticks."""

    def progress(done: int, total: int) -> None:
        if done == after:
            does()

    return progress


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/dev/spikefab-none", "No such file or directory"),
        ("/dev/null", "it is not a serial port"),
    ],
)
def test_a_port_that_is_none_is_named(name: str, why: str) -> None:
    said = f"cannot open in port {name}: {why}; .*`spikefab boards`"
    with pytest.raises(SpikefabError, match=said):
        open_board(name)


def test_a_port_in_use_is_said_to_be(board: VirtualBoard) -> None:
    said = f"cannot open in port {board.port}: another program has it open; "
    with soak.linked(board), pytest.raises(SpikefabError, match=said):
        open_board(board.port)


def test_a_port_where_nothing_answers_is_given_up(hasty: None) -> None:
    with bare_port() as (_, name), pytest.raises(SpikefabError) as fault, bounded(2):
        open_board(name)
    assert str(fault.value) == (
        f"no Spikefab board answers in port {name}: it said nothing for 1 s; see that it is "
        "connected, has its bitstream, and that the baud rate is right"
    )


def test_an_echo_is_not_taken_for_a_board(hasty: None) -> None:
    with bare_port() as (near, name):

        def echo() -> None:
            with contextlib.suppress(OSError):
                while select.select([near], [], [], 2)[0]:
                    os.write(near, os.read(near, 4096))

        threading.Thread(target=echo, daemon=True).start()
        with pytest.raises(SpikefabError, match="no Spikefab board answers"), bounded(2):
            open_board(name)


def test_a_babbling_port_is_not_taken_for_a_board(hasty: None) -> None:
    with bare_port() as (near, name):
        stop = threading.Event()

        def babble() -> None:
            rng = np.random.default_rng(1)
            while not stop.wait(0.001):
                os.write(near, junk(rng, 2, wild=True))
                while select.select([near], [], [], 0)[0]:
                    os.read(near, 4096)

        babbling = threading.Thread(target=babble)
        babbling.start()
        with pytest.raises(SpikefabError, match=r"no Spikefab board answers|version"), bounded(2):
            open_board(name)
        stop.set()
        babbling.join()


def test_a_board_of_another_version_is_refused(
    board: VirtualBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "VERSION", VERSION + 1)
    with pytest.raises(SpikefabError) as fault, bounded(2):
        open_board(board.port)
    assert str(fault.value) == (
        f"a board that speaks version {VERSION} of the link in port {board.port}: "
        f"this program speaks {VERSION + 1}; build and flash its bitstream anew"
    )


def test_a_board_that_goes_away_in_a_run_is_missed(
    running: tuple[soak.Opened, Program]
) -> None:
    (board, link, device), _ = running
    kill = once(lambda: os.kill(board._process.pid, signal.SIGKILL))
    with pytest.raises(SpikefabError) as fault, bounded(2):
        device.run(steps=10_000, progress=kill)
    assert str(fault.value).startswith(f"the board is gone in port {link.name}: ")
    assert str(fault.value).endswith("; connect it again")


def test_a_board_that_is_silent_in_a_run_is_given_up(
    running: tuple[soak.Opened, Program], hasty: None
) -> None:
    (board, link, device), program = running
    stop = once(lambda: os.kill(board._process.pid, signal.SIGSTOP))
    with pytest.raises(SpikefabError) as fault, bounded(4):
        device.run(steps=10_000, progress=stop)
    os.kill(board._process.pid, signal.SIGCONT)
    assert str(fault.value) == (
        f"the board does not answer any more in port {link.name}: it said nothing for 1 s; see "
        "that it is connected, has its bitstream, and that the baud rate is right"
    )
    assert_goes_on(device, program)


def test_a_board_that_is_silent_for_a_while_goes_on(running: tuple[soak.Opened, Program]) -> None:
    (board, _, device), program = running

    def pause() -> None:
        os.kill(board._process.pid, signal.SIGSTOP)
        threading.Timer(0.7, os.kill, (board._process.pid, signal.SIGCONT)).start()

    found = device.run(steps=200, progress=once(pause))
    assert not soak.difference(sf.Machine(program).run(steps=200), found)


@contextlib.contextmanager
def delayed(board: VirtualBoard, seconds: float) -> Iterator[str]:
    """A port to the board whose bytes come so much later, each way."""
    stop = threading.Event()

    def relay(near: int, far: int) -> None:
        under_way: deque[tuple[float, int, bytes]] = deque()
        while not stop.is_set():
            for end in select.select([near, far], [], [], 0.005)[0]:
                due = time.monotonic() + seconds
                under_way.append((due, far if end == near else near, os.read(end, 4096)))
            while under_way and under_way[0][0] <= time.monotonic():
                _, to, data = under_way.popleft()
                os.write(to, data)

    with bare_port() as (near, name), serial.Serial(board.port) as far:
        relaying = threading.Thread(target=relay, args=(near, far.fileno()))
        relaying.start()
        try:
            yield name
        finally:
            stop.set()
            relaying.join()


def test_a_board_that_answers_later_than_it_is_greeted_again_is_waited_for(
    board: VirtualBoard
) -> None:
    with (
        delayed(board, 0.2) as name, open_port(name, VIRTUAL_BAUD) as port, bounded(5)
    ):
        link = Link(port, name)
        link.open()
        assert BoardDevice(link).who()
        assert (link.counters.damaged, link.counters.lost, link.counters.repeated) == (0, 0, 0)


def test_a_board_that_waits_for_words_for_ever_is_given_up(
    running: tuple[soak.Opened, Program], hasty: None
) -> None:
    (_, link, _), _ = running
    link.send([word(Kind.COMMAND, Command.READ)])  # and no address
    with pytest.raises(SpikefabError) as fault, bounded(4):
        link.receive(1)
    assert str(fault.value) == (
        f"the board does not go on in port {link.name}: nothing has moved for 1 s"
    )


def test_a_board_that_loses_power_in_a_run_is_noticed(first_chip: soak.Chip) -> None:
    program = first_chip.program(np.random.default_rng(11), 10)
    with soak.opened(first_chip.executable, program) as (_, link, device):
        device.run(steps=20)
        link.flush()
        bytes_sent = link.counters.bytes_sent
    faults = Faults(power_cycle=bytes_sent + 100)
    with soak.opened(first_chip.executable, program, faults) as (board, link, device):
        with pytest.raises(SpikefabError) as fault, bounded(4):
            device.run(steps=10_000)
        assert board.statistics()["power_cycles"] == 1
        assert str(fault.value) == (
            f"the board has begun anew in port {link.name}: it lost its power, or another program "
            "has opened it; load and run again"
        )
        assert_goes_on(device, program)


def test_a_run_that_is_broken_off_leaves_nothing_behind(
    running: tuple[soak.Opened, Program]
) -> None:
    (_, _, device), program = running

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.run(steps=1000, progress=once(stop, after=100))
    assert_goes_on(device, program)


def assert_goes_on(device: BoardDevice, program: Program) -> None:
    """It refuses to be used until the program is loaded again; then it runs as it should."""
    said = rf"{device.link.name}: what it did was broken off; load|broken off in port .*; load"
    for use in (device.run, device.restart, device.accumulators, device.pending, device.who):
        with pytest.raises(SpikefabError, match=said):
            use()
    device.load(program)
    assert not soak.difference(sf.Machine(program).run(steps=9), device.run(steps=9))


# How fast it is.


@dataclass(frozen=True)
class Passed:
    """What passed over the wire in one go."""

    clocks_in: int
    bytes_in: int
    clocks_out: int
    bytes_out: int


@contextlib.contextmanager
def measured(opened: soak.Opened) -> Iterator[list[Passed]]:
    """What passes over the wire within."""
    opened.link.flush()
    opened.board.reset_statistics()
    found: list[Passed] = []
    yield found
    opened.link.flush()
    s = opened.board.statistics()
    found.append(Passed(s["last_in"] - s["first_in"], s["bytes_in"],
                        s["last_out"] - s["first_out"], s["bytes_out"]))  # fmt: skip


@contextlib.contextmanager
def contents(link: Link) -> Iterator[list[int]]:
    """How many words are sent within that are contents of memories: they come as arrays."""
    send, found = link.send, [0]

    def counted(words: Sequence[int] | np.ndarray) -> None:
        found[0] += len(words) * isinstance(words, np.ndarray)
        send(words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "send", counted)
        yield found


def wide() -> Program:
    """500 lines that cause no spike; a line that makes 240 neurons spike, beside 99 more."""
    rng = np.random.default_rng(1)
    net = sf.Network()
    quiet, loud = net.input("quiet", 500), net.input("loud", 100)
    many, few = (
        net.population(name, size, "if", threshold=threshold, output=True)
        for name, size, threshold in (("many", 240, 1.0), ("few", 8, 100.0))
    )
    line = np.arange(500)
    net.connect(quiet, few, sf.Triples(line, line % 8, np.where(line % 2, 1, -1), scale=1.0))
    weights = rng.integers(-100, 100, (100, 240)).astype(float)
    weights[0] = 100.0
    net.connect(loud, many, weights)
    return sf.compile(net)[0]


@pytest.mark.prove
def test_the_wire_is_full(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 90 % of what 4 clocks per bit can carry is contents of memories, or spikes."""
    program, ticks = wide(), 200
    map = core_map(program)
    with soak.opened(soak.executable(map), counts=False) as opened:
        device, lines = opened.device, []

        def note(what: str, passed: Passed, payload: int, out: bool) -> float:
            clocks = passed.clocks_out if out else passed.clocks_in
            taken = passed.bytes_out if out else passed.bytes_in
            lines.append(f"{what}: {taken} bytes in {clocks} clocks, {taken * BYTE / clocks:.1%} "
                         f"of the line rate; payload {payload * BYTE / clocks:.1%}")  # fmt: skip
            return payload * BYTE / clocks

        with measured(opened) as load, contents(opened.link) as loaded:
            device.load(program)
        assert note("load", load[0], 2 * loaded[0], False) > 0.9
        weights = device._contents["synapses"]
        size = 2 * len(units(map.regions["synapses"], weights))
        with measured(opened) as write:
            device._write("synapses", weights)
        assert note("synapses", write[0], size, False) > 0.9
        loud, quiet = np.zeros((ticks, 100), int), np.ones((ticks, 500), int)
        loud[:, 0] = 1
        with measured(opened) as into:
            device.run({"quiet": sf.SpikeTrain.from_dense(quiet)}, ticks)
        assert note("spikes in", into[0], 2 * ticks * 501, False) > 0.9
        assert into[0].bytes_in <= 2.1 * ticks * 501
        with measured(opened) as out:
            found = device.run({"loud": sf.SpikeTrain.from_dense(loud)}, ticks)
        spikes = len(found.spikes["many"])
        assert spikes == 240 * ticks
        assert note("spikes out", out[0], 2 * (spikes + ticks), True) > 0.9
        assert out[0].bytes_out <= 2.1 * (spikes + ticks)
        trips = []
        for _ in range(50):
            time.sleep(0.01)
            opened.board.reset_statistics()
            began = time.monotonic()
            opened.link.send([word(Kind.TICK, 0)])
            opened.link.receive(1)
            took = time.monotonic() - began
            s = opened.board.statistics()
            trips.append((s["last_out"] - s["first_in"], took))
        clocks, seconds = np.median(trips, axis=0)
        lines.append(f"a tick there and back: {clocks:.0f} clocks, {1000 * seconds:.1f} ms")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
