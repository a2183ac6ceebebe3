"""The link between a host and a board: frames, the words in them, limits. The one description.

The wire carries bytes, 8N1. A frame is `type, seq, body, credit, CRC-32`, COBS-encoded and ended by
a zero byte; the body is 16-bit words, the CRC is zlib's, and all that has several bytes begins with
the least significant.

**Frames.** Each side has a sequence of frames, numbered modulo 256, of which at most `SLOTS` are
under way; a frame's `credit` is the number up to which, exclusive, the other side may send. A board
takes a frame into a slot if it is whole and the next in sequence, else it lets it go and counts it;
what it sends it keeps until the host's credit moves on. It has no clock of its own: a host that
misses something asks (`POLL`, `RESEND`), and hears what the board has. Control frames have no place
in the host's sequence: a nonce stands there.

**Words.** The bodies of `DATA` frames are one stream of words in each direction, whatever the
frames. A board does what the words say, in order. The two highest bits of a word tell its kind, the
next one whether it is long; then follow 13 bits, its field. To the board:

- 0, an event: the field is its axon; if long, the next word is its payload, else that is 1.
- 1, a command: the field is the `Command`; more words follow.
- 3: run field + 1 ticks.

From the board, besides what commands ask for:

- 0: the field is a neuron; if long, the next two words are its spike count or value, else 1 is.
- 1, 2, 3: the clocks of Deliver, Update, Emit, the last of which ends a tick: the field, or if long
  the next two words. A core that learns sends a second 2, of Learn. Unless `TELL` asks for them, 1
  and 2 are left out. If it asks for digests, two
  words follow 3, the digest of the tick.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from cobs import cobs
from numpy.typing import NDArray

VERSION = 1
"""Of this description: host and board must have the same."""
SLOTS = 4
"""Frames that a side may have under way: so many a board keeps, of each direction."""
SEQUENCE = 256
"""Frames are numbered modulo this."""
MAX_WORDS = 122
"""Words of a body. With it a frame has at most 251 bytes, so that no COBS code is 255, and a slot
of 256 bytes holds it with its delimiter."""
OVERHEAD = 7
"""Bytes of a frame besides its body: type, seq, credit, CRC-32."""
WORD_BITS = 16
FIELD_BITS = 13
"""Bits of the field of a word."""
LONG = 1 << FIELD_BITS
LARGEST_FIELD = LONG - 1
KIND_SHIFT = FIELD_BITS + 1
TELL_CYCLES = 1
TELL_DIGEST = 2
NAME_WORDS = 2
"""Words of a hash: of the chip, of the program."""


class Frame(IntEnum):
    """Types of frames."""

    HELLO = 1
    """Host: begin anew. The body is a word that names the session. A tick that is under way is cut
    off, and the program is then unnamed."""
    DATA = 2
    """Both: words of the stream."""
    CREDIT = 3
    """Host: its credit, nothing more."""
    POLL = 4
    """Host: asks for `STATUS`. The body is a word: how many words the board's frames may have from
    now on."""
    RESEND = 5
    """Host: `POLL`, and the board sends again what the host's credit does not cover."""
    STATUS = 6
    """Board, in its sequence: the answer to `HELLO`, `POLL` and `RESEND`, and to frames that it had
    to let go. The words of `Status`."""


class Kind(IntEnum):
    """Kinds of words, see above."""

    ENTRY = 0
    COMMAND = 1
    DELIVER = 1
    UPDATE = 2
    EMIT = 3
    TICK = 3


class Command(IntEnum):
    """Commands, and the words that follow each. An address and a count are three words: the
    address in two, then the count, 1 to 65,535. Addresses are those of `MemoryMap`."""

    WRITE = 0
    """Address, count, then so many words: write them."""
    FILL = 1
    """Address, count, a word: write it everywhere there."""
    READ = 2
    """Address, count: the board sends what is there."""
    HASH = 3
    """Address, count: what is there goes into the digest."""
    DIGEST = 4
    """The board sends the digest in two words, and begins a new one. It is the CRC-32 of all words
    since: events and ticks as they came, what ticks gave out, what `HASH` and `LOAD` read."""
    NAME = 5
    """`NAME_WORDS`: the hash of the program that was loaded."""
    WHO = 6
    """The board sends the hash of its chip, then the name of its program."""
    TELL = 7
    """A word of bits, what is to be told of a tick: `TELL_CYCLES`, its clocks phase by phase;
    `TELL_DIGEST`, its digest, by a chip that has them (`digest`)."""
    LOAD = 8
    """Address, count, then so many words: write each, and put what then is read there into the
    digest."""


@dataclass(frozen=True)
class Status:
    """What a board says of itself.

    session: of the last `HELLO`, 0 since power came on; nonce: of the control frame that was last;
    expected: the number of the host's frame that would be next; damaged: frames that were not
    whole; refused: frames that were out of sequence; broken: bytes without a stop bit. Counts are
    modulo 256, since power came on. The bytes of its words are in the order of `BYTES`.
    """

    version: int
    session: int
    nonce: int
    expected: int
    damaged: int
    refused: int
    broken: int

    WORDS = 4
    BYTES = ("version", "damaged", "session", "session", "expected", "nonce", "refused", "broken")

    @classmethod
    def of(cls, words: Sequence[int]) -> Status:
        """From the body of a frame."""
        values: dict[str, int] = {}
        for n, name in reversed(list(enumerate(cls.BYTES))):
            values[name] = values.get(name, 0) << 8 | words[n // 2] >> 8 * (n % 2) & 0xFF
        return cls(**values)


def encode(kind: int, seq: int, credit: int, words: NDArray[np.uint16] | None = None) -> bytes:
    """A frame as it goes over the wire, its delimiter included."""
    body = b"" if words is None else words.astype("<u2").tobytes()
    assert len(body) <= 2 * MAX_WORDS
    frame = bytes([kind, seq % SEQUENCE]) + body + bytes([credit % SEQUENCE])
    return cobs.encode(frame + zlib.crc32(frame).to_bytes(4, "little")) + b"\0"


@dataclass(frozen=True)
class Received:
    """A frame that was whole."""

    kind: int
    seq: int
    credit: int
    words: NDArray[np.uint16]


def decode(raw: bytes) -> Received | None:
    """The frame of the bytes before a delimiter, or None if it is not whole."""
    if not OVERHEAD < len(raw) <= OVERHEAD + 2 * MAX_WORDS + 1:
        return None
    try:
        frame = cobs.decode(raw)
    except cobs.DecodeError:
        return None
    if len(frame) < OVERHEAD or len(frame) % 2 != OVERHEAD % 2:
        return None
    if zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "little"):
        return None
    return Received(frame[0], frame[1], frame[-5], np.frombuffer(frame[2:-5], "<u2"))


def word(kind: int, field: int, long: bool = False) -> int:
    """The word of a kind."""
    assert 0 <= field <= LARGEST_FIELD
    return kind << KIND_SHIFT | long << FIELD_BITS | field
