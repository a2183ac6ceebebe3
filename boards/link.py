"""The host's end of the link: two streams of words over a serial port, whatever the wire does."""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import serial
from numpy.typing import NDArray

from ..compiler.ir.errors import SpikefabError
from ..compiler.ir.link import (
    MAX_WORDS,
    SEQUENCE,
    SLOTS,
    VERSION,
    Frame,
    Received,
    Status,
    decode,
    encode,
)

Words = NDArray[np.uint16]
LEAST_WORDS = 8  # of a frame, however bad the wire
GOOD_FRAMES = 64  # without a fault, after which frames may be longer again
FIRST_SECONDS = 0.15  # a board that has said nothing for so long is asked, besides time on the wire
LEAST_SECONDS = 0.02  # the same where answers have come at once
MOST_SECONDS = 0.5  # the same after several that did not: some are asked before it is given up
ROUND_TRIPS = 4  # of which so many are waited for
LOST_SECONDS = 5.0  # a board that answers nothing for so long is given up
IDLE_SECONDS = 60.0  # one that answers, but does not go on
READ_SECONDS = 0.005  # that a read waits for a byte
MOST_QUEUED = 4096  # words that wait to be sent before `send` does its part


@dataclass
class Counters:
    """What went over the wire so far, and what went wrong.

    damaged: frames of the board that were not whole; lost: times that it skipped one; asked: how
    often it was asked for its status; repeated: frames that were sent again.
    """

    frames_sent: int = 0
    frames_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    damaged: int = 0
    lost: int = 0
    asked: int = 0
    repeated: int = 0


@dataclass
class _Sent:
    """A frame that the board may not have taken yet."""

    seq: int
    words: Words
    at: float  # seconds, when


@dataclass
class Link:
    """Frames over an open port; see `compiler.ir.link`. `open` begins a session.

    Numbers of frames count on beyond 255 here. Raises SpikefabError where the port is gone, the
    board answers nothing for 5 s, speaks another version or has lost its power. cut: what was sent
    or asked for was broken off, so that words may be on their way that nobody takes; `open` it
    again.
    """

    port: serial.Serial
    name: str
    counters: Counters = field(default_factory=Counters)
    status: Status | None = None
    cut: bool = False

    def open(self) -> None:
        """Say hello, and again until the board answers."""
        self._session = secrets.randbelow(0xFFFF) + 1
        self._raw = bytearray()
        self._queue: deque[Words] = deque()
        self._queued = 0
        self._sent: deque[_Sent] = deque()
        self._next = self._allowed = self._expected = self._told = 0
        self._inbox: list[int] = []
        self._read = 0
        self._nonce = 0
        self._waiting = False  # for the status of this nonce
        self._words = MAX_WORDS
        self._good = 0
        self._heard = self._moved = time.monotonic()
        self._round_trip: float | None = None  # seconds, as sent and taken, or asked and answered
        self._silences = 0
        self._greeting = True
        try:
            self.port.reset_input_buffer()
            self.port.write(b"\0")  # ends a frame that was cut off
        except (serial.SerialException, OSError) as fault:
            raise self._gone(fault) from None
        while self._greeting:
            self._check_time("no Spikefab board answers")
            self._nonce = (self._nonce + 1) % SEQUENCE
            self._control(Frame.HELLO, self._session)
            until = time.monotonic() + self._patience
            while self._greeting and time.monotonic() < until:
                self._listen()
        self.cut = False

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """What is raised within cuts the link."""
        try:
            yield
        except BaseException:
            self.cut = True
            raise

    @property
    def _patience(self) -> float:
        """Seconds after which an answer should be there; longer while none comes."""
        seconds = FIRST_SECONDS + 2 * SLOTS * 256 * 10 / self.port.baudrate
        if self._round_trip is not None:
            seconds = min(seconds, max(LEAST_SECONDS, ROUND_TRIPS * self._round_trip))
        return max(seconds, min(MOST_SECONDS, seconds * 2 ** min(self._silences, 5)))

    def send(self, words: Sequence[int] | Words) -> None:
        """Queue words for the board; takes what it says meanwhile."""
        if self.cut:
            raise SpikefabError("the link was broken off", f"port {self.name}", hint="load again")
        given = np.asarray(words, np.uint16)
        with self.unbroken():
            self._heard = self._moved = time.monotonic()
            self._queue.append(given)
            self._queued += len(given)
            self._go_on()
            while self._queued > MOST_QUEUED:
                self._pump()

    def receive(self, count: int) -> list[int]:
        """The next words from the board."""
        if self.available() < count:
            with self.unbroken():
                self._heard = self._moved = time.monotonic()
                while self.available() < count:
                    self._pump()
        found = self._inbox[self._read : self._read + count]
        self._read += count
        if self._read > 1 << 16:
            del self._inbox[: self._read]
            self._read = 0
        return found

    def available(self) -> int:
        """How many words are there already."""
        return len(self._inbox) - self._read

    def poll(self, seconds: float) -> None:
        """Take what comes within some time, or until something has come."""
        before, until = len(self._inbox), time.monotonic() + seconds
        while len(self._inbox) == before and time.monotonic() < until:
            self._go_on()
            self._listen()

    def flush(self) -> None:
        """Wait until the board has taken all that was sent."""
        self._heard = self._moved = time.monotonic()
        while self._queued or self._sent:
            self._pump()

    def ask(self) -> Status:
        """The board's status as it is now."""
        self._ask(Frame.POLL)
        while self._waiting:
            self._pump()
        assert self.status is not None
        return self.status

    def _go_on(self) -> None:
        """Send frames as far as the board allows; none while it is asked what it has."""
        while self._queued and self._next < self._allowed and not self._waiting:
            frame = _Sent(self._next, self._take(), time.monotonic())
            self._sent.append(frame)
            self._next += 1
            self._put(encode(Frame.DATA, frame.seq, self._credit(), frame.words))
        if self._expected - self._told >= SLOTS // 2:
            self._put(encode(Frame.CREDIT, 0, self._credit()))

    def _take(self) -> Words:
        """The next words of the queue, of one frame."""
        parts, room = list[Words](), self._words
        while room and self._queue:
            part = self._queue.popleft()
            if len(part) > room:
                self._queue.appendleft(part[room:])
                part = part[:room]
            parts.append(part)
            room -= len(part)
        self._queued -= self._words - room
        return np.concatenate(parts)

    def _credit(self) -> int:
        self._told = self._expected
        return self._expected + SLOTS

    def _control(self, kind: Frame, argument: int) -> None:
        self._put(encode(kind, self._nonce, self._credit(), np.array([argument], np.uint16)))

    def _put(self, frame: bytes) -> None:
        try:
            self.port.write(frame)
        except (serial.SerialException, OSError) as fault:
            raise self._gone(fault) from None
        self.counters.frames_sent += 1
        self.counters.bytes_sent += len(frame)

    def _pump(self) -> None:
        """Send, listen, and ask the board if it has been silent for long."""
        self._go_on()
        heard, until = self._heard, time.monotonic() + self._patience
        while self._heard == heard:
            if time.monotonic() >= until:
                self._check_time("the board does not answer any more")
                self._silences += 1
                self._ask(Frame.RESEND)
                return
            self._listen()
        self._check_time("the board does not answer any more")

    def _check_time(self, what: str) -> None:
        now = time.monotonic()
        if now - self._heard > LOST_SECONDS:
            raise SpikefabError(
                what, f"port {self.name}", f"it said nothing for {LOST_SECONDS:.0f} s",
                "see that it is connected, has its bitstream, and that the baud rate is right",
            )  # fmt: skip
        if now - self._moved > IDLE_SECONDS:
            raise SpikefabError(
                "the board does not go on", f"port {self.name}",
                f"nothing has moved for {IDLE_SECONDS:.0f} s",
            )

    def _ask(self, kind: Frame) -> None:
        """Ask what the board has; frames of data wait for the answer."""
        self._nonce = (self._nonce + 1) % SEQUENCE
        self._waiting, self._asked_at = True, time.monotonic()
        self.counters.asked += 1
        self._control(kind, self._words)

    def _listen(self) -> None:
        """Take what comes; waits for it for the port's timeout at most."""
        try:
            raw = self.port.read(self.port.in_waiting or 1)
        except (serial.SerialException, OSError, TypeError) as fault:
            raise self._gone(fault) from None
        if not raw:
            return
        self.counters.bytes_received += len(raw)
        self._raw += raw
        *frames, rest = bytes(self._raw).split(b"\0")
        self._raw = bytearray(rest[-512:])
        for frame in frames:
            if not frame:
                continue
            received = decode(frame)
            if received is not None:
                self._frame(received)
            elif not self._greeting:
                self.counters.damaged += 1
                self._fault()
        self._go_on_if_open()

    def _go_on_if_open(self) -> None:
        if not self._greeting:
            self._go_on()

    def _frame(self, frame: Received) -> None:
        self.counters.frames_received += 1
        status = None
        if frame.kind == Frame.STATUS and len(frame.words) == Status.WORDS:
            status = Status.of(frame.words.tolist())
            self._check_status(status)
        if self._greeting:
            if status is None or status.session != self._session or frame.seq:
                return
            if status.nonce != self._nonce:  # it is slow, and was greeted again meanwhile
                self._silences += 1
                return
            self._greeting = False
        self._heard, self._silences = time.monotonic(), 0
        ahead = (frame.seq - self._expected) % SEQUENCE
        if ahead >= SLOTS:
            return  # it was here before
        if ahead:
            self.counters.lost += 1
            self._fault()
            return
        self._expected += 1
        self._count_good()
        more = (frame.credit - self._allowed) % SEQUENCE
        if more <= self._next + SLOTS - self._allowed:
            self._allowed += more
        if more or (status is None and len(frame.words)):
            self._moved = self._heard
        while self._sent and self._sent[0].seq < self._allowed - SLOTS:
            self._note_round_trip(self._sent.popleft().at)
        if status is not None:
            self._take_status(status)
        else:
            self._inbox += frame.words.tolist()

    def _take_status(self, status: Status) -> None:
        self.status = status
        missing = (self._next - status.expected) % SEQUENCE
        if self._waiting and status.nonce == self._nonce:
            self._waiting = False
            self._note_round_trip(self._asked_at)
            if missing:
                self._take_back(self._next - missing)
        elif missing and not self._waiting:
            self._shorten()
            self._ask(Frame.POLL)

    def _note_round_trip(self, began: float) -> None:
        took = time.monotonic() - began
        self._round_trip = (took + 3 * (self._round_trip or took)) / 4

    def _take_back(self, first: int) -> None:
        """Frames from `first` on did not arrive: their words go back into the queue."""
        while self._sent and self._sent[-1].seq >= first:
            frame = self._sent.pop()
            self._queue.appendleft(frame.words)
            self._queued += len(frame.words)
            self.counters.repeated += 1
        self._next = first

    def _fault(self) -> None:
        """Something of the board's did not arrive as it was."""
        self._shorten()
        if not self._waiting:
            self._ask(Frame.RESEND)

    def _shorten(self) -> None:
        self._words, self._good = max(LEAST_WORDS, self._words // 2), 0

    def _count_good(self) -> None:
        self._good += 1
        if self._good >= GOOD_FRAMES:
            self._good = 0
            if self._words < MAX_WORDS:
                self._words = min(MAX_WORDS, 2 * self._words)
                if not self._waiting:
                    self._ask(Frame.POLL)  # the board's frames may be as long

    def _check_status(self, status: Status) -> None:
        if status.version != VERSION:
            raise SpikefabError(
                f"a board that speaks version {status.version} of the link", f"port {self.name}",
                f"this program speaks {VERSION}", "build and flash its bitstream anew",
            )  # fmt: skip
        if not self._greeting and status.session != self._session:
            raise SpikefabError(
                "the board has begun anew", f"port {self.name}",
                "it lost its power, or another program has opened it", "load and run again",
            )

    def _gone(self, fault: Exception) -> SpikefabError:
        number = getattr(fault, "errno", None)
        why = os.strerror(number) if number else " ".join(str(fault).split())
        return SpikefabError("the board is gone", f"port {self.name}", why, "connect it again")


def open_port(name: str, baud: int) -> serial.Serial:
    """A serial port for this process alone; raises SpikefabError where there is none."""
    try:
        return serial.Serial(name, baud, exclusive=True, timeout=READ_SECONDS, write_timeout=5.0)
    except (serial.SerialException, OSError, ValueError) as fault:
        number = getattr(fault, "errno", None)
        why = os.strerror(number) if number else " ".join(str(fault).split())
        if "lock" in str(fault):
            why = "another program has it open"
        elif "configure" in str(fault):
            why = "it is not a serial port"
        raise SpikefabError(
            "cannot open", f"port {name}", why,
            "give emulator, virtual or a port: `spikefab boards` lists them",
        ) from None  # fmt: skip
