"""The frame splitter: bytes of a WebSocket in, messages and bytes for the library out; no socket, clock or task.

What a venue sends is nearly always one kind of frame: text, whole, unmasked, under 64 KiB. Those are found here, a
whole socket read at a time. Every other frame, and all that follows one until its message is complete, is handed on
byte for byte to the library, which answers pings, says goodbye, puts fragments together and refuses what the
protocol forbids (RFC 6455, section 5). Nothing is judged here, so nothing can be judged differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Splitter", "Texts"]

_TEXT: Final = 0x81
"""First byte of a text frame that is a whole message, without reserved bits."""
_FIN: Final = 0x80
_LENGTH: Final = 0x7F
_OPCODE: Final = 0x0F
_CONTROL: Final = 8
"""Opcodes from here on are those of control frames, which may stand between the fragments of a message."""
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127

# Setting up a scan costs as much as walking over a few dozen frames: 40 µs against 0.5 µs each.
_SCAN_FROM: Final = 1 << 14
# Walking is as fast as scanning when the runs of plain frames are no longer than this.
_SHORT_RUN: Final = 16


Bounds: TypeAlias = NDArray[np.int64] | Sequence[int]


@dataclass(frozen=True, slots=True)
class Texts:
    """Neighbouring whole text messages.

    Attributes
    ----------
    payload
        The bytes they came in.
    starts, ends : int64 arrays or lists of int, shape (n,)
        Message ``i`` is ``payload[starts[i]:ends[i]]``.
    """

    payload: bytes
    starts: Bounds
    ends: Bounds


class Splitter:
    """Cuts the bytes that follow the opening handshake, in the order and the portions in which they arrive.

    Parameters
    ----------
    max_size
        Longest message, in bytes; a longer frame is the library's to refuse, before any of it is kept here.

    Notes
    -----
    Once the library has received a Close frame or met an error, what follows is of no concern to anybody and must
    not be fed.
    """

    def __init__(self, max_size: int) -> None:
        self._longest = min(max_size, 0xFFFF)
        self._held = b""  # the beginning of what may become a plain frame
        self._head = bytearray()  # the header, so far, of a frame that is the library's
        self._owed = 0  # bytes of that frame's payload that have yet to come
        self._inside = False  # between the fragments of a message

    def feed(self, data: bytes) -> list[Texts | bytes]:
        """Cut what has arrived.

        Returns
        -------
        list of Texts or bytes
            In the order of arrival: messages, and bytes that are the library's.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[Texts | bytes] = []
        scan: _Scan | None = None
        at, handed, size = 0, 0, len(data)
        while at < size:
            if self._owed or self._head:
                at = self._hand_on(data, at)
                continue
            if not self._inside and data[at] == _TEXT:
                if scan is None and size - at >= _SCAN_FROM:
                    scan = _Scan(data, self._longest)
                found = scan.run(at) if scan is not None and scan.pays else None
                run = found or _walk(data, at, self._longest)
                if run is not None:
                    starts, ends = run
                    if handed < at:
                        pieces.append(data[handed:at])
                    pieces.append(Texts(data, starts, ends))
                    handed = at = int(ends[-1])
                    continue
                if self._may_become_plain(data, at):
                    break
            at = self._hand_on(data, at)
        if handed < at:
            pieces.append(data[handed:at] if handed or at < size else data)
        self._held = data[at:]
        return pieces

    def rest(self) -> bytes:
        """Return what was held back, for the library, as nothing will follow."""
        held, self._held = self._held, b""
        return held

    def _may_become_plain(self, data: bytes, at: int) -> bool:
        """Whether the bytes from `at`, which begin like a plain frame, are the beginning of one."""
        there = len(data) - at
        if there < 2:
            return True
        length = data[at + 1]
        if length == _TWO_BYTES:
            return there < 4 or int.from_bytes(data[at + 2 : at + 4]) <= self._longest
        return length < _TWO_BYTES and length <= self._longest

    def _hand_on(self, data: bytes, at: int) -> int:
        """Pass over bytes of a frame that is the library's; return where they end."""
        if self._owed:
            taken = min(self._owed, len(data) - at)
            self._owed -= taken
            return at + taken
        head = self._head
        more = data[at : at + _header_size(head) - len(head)]
        head += more
        if len(head) == _header_size(head):
            if head[0] & _OPCODE < _CONTROL:
                self._inside = not head[0] & _FIN
            self._owed = _payload_size(head)
            head.clear()
        return at + len(more)


class _Scan:
    """Every place of a read that looks like a whole plain frame, found at once, and which of them follow each other.

    The first byte of a text frame is no ASCII character, so in a venue's messages nearly every place is a frame; what
    looks like one inside a message follows nothing that was found, and is never reached.

    Attributes
    ----------
    pays
        Whether the runs of plain frames are long; else walking is cheaper.
    """

    __slots__ = ("_begins", "_breaks", "_ends", "_starts", "pays")

    def __init__(self, data: bytes, longest: int) -> None:
        size = len(data)
        places = max(0, size - 3)
        begins = np.flatnonzero(np.frombuffer(data, np.uint8)[:places] == _TEXT)
        # The four bytes at every place as one number: a single look-up gets a whole header.
        headers = np.ndarray((places,), ">u4", data, strides=(1,))[begins].astype(np.int64)
        seconds = headers >> 16 & 0xFF
        two_bytes = seconds == _TWO_BYTES
        lengths = headers & 0xFFFF
        if two_bytes.all():
            starts = begins + 4
        else:
            lengths = np.where(two_bytes, lengths, seconds)
            starts = begins + 2 + 2 * two_bytes
        ends = starts + lengths
        whole = (ends <= size) & (lengths <= longest) & (seconds <= _TWO_BYTES)
        if not whole.all():
            begins, starts, ends = begins[whole], starts[whole], ends[whole]
        self._begins, self._starts, self._ends = begins, starts, ends
        self._breaks = np.concatenate([(begins[1:] != ends[:-1]).nonzero()[0], [len(begins) - 1]])
        self.pays = len(begins) >= _SHORT_RUN * len(self._breaks)

    def run(self, at: int) -> tuple[Bounds, Bounds] | None:
        """Return starts and ends of the frames that follow each other from `at`, None if there is none."""
        first = int(np.searchsorted(self._begins, at))
        if first == len(self._begins) or self._begins[first] != at:
            return None
        last = self._breaks[np.searchsorted(self._breaks, first)]
        return self._starts[first : last + 1], self._ends[first : last + 1]


def _walk(data: bytes, at: int, longest: int) -> tuple[Bounds, Bounds] | None:
    """Return starts and ends of the whole plain frames that follow each other from `at`, None if there is none."""
    starts: list[int] = []
    ends: list[int] = []
    size = len(data)
    while at + 2 <= size and data[at] == _TEXT:
        start, length = at + 2, data[at + 1]
        if length == _TWO_BYTES and at + 4 <= size:
            start, length = at + 4, data[at + 2] << 8 | data[at + 3]
        elif length >= _TWO_BYTES:
            break
        at = start + length
        if length > longest or at > size:
            break
        starts.append(start)
        ends.append(at)
    return (starts, ends) if starts else None


def _header_size(head: bytes | bytearray) -> int:
    """Return how long a header is, as far as its first bytes tell; a server that masks is cut off by the library."""
    if len(head) < 2:
        return 2
    return 2 + {_TWO_BYTES: 2, _EIGHT_BYTES: 8}.get(head[1] & _LENGTH, 0)


def _payload_size(head: bytes | bytearray) -> int:
    """Return the length that a complete header announces."""
    length = head[1] & _LENGTH
    if length < _TWO_BYTES:
        return length
    return int.from_bytes(head[2 : 4 if length == _TWO_BYTES else 10])
