"""A block of received messages: the bytes they came in, where each begins and ends, and when each arrived.

Not here: how they were received, and what they mean. What lies between two messages (the headers of their
frames) may be anything, so that a splitter hands over a whole socket read as it came: no Python object per
message and no copy is needed to make a block, to cut one or to pass one on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["PER_MESSAGE", "Frames"]

PER_MESSAGE: Final = 24
"""Bytes that a block needs to know of a message, beside the message: where it begins and ends, and when it arrived."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Messages in the order they arrived.

    Parameters
    ----------
    payload : bytes, bytearray or memoryview
        Holds the messages, in order; whoever made it changes it no more.
    starts, ends : int64 array, shape (n,)
        Message ``i`` is ``payload[starts[i]:ends[i]]``; it begins where the one before it ends, or later.
    recv_ns : int64 array, shape (n,)
        When each arrived, nanoseconds since 1970 UTC.

    Raises
    ------
    ValueError
        When the four do not fit each other (a mistake of the caller, never of the venue).
    """

    payload: bytes | bytearray | memoryview
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    recv_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        starts, ends, times = self.starts, self.ends, self.recv_ns
        if not (starts.dtype == ends.dtype == times.dtype == np.int64):
            raise ValueError(
                f"starts, ends and recv_ns must be int64, not {starts.dtype}, {ends.dtype} and {times.dtype}"
            )
        if starts.ndim != 1 or not (starts.shape == ends.shape == times.shape):
            raise ValueError(f"starts {starts.shape}, ends {ends.shape} and recv_ns {times.shape} must have one shape")
        if not len(times):
            return
        if starts[0] < 0 or ends[-1] > len(self.payload):
            raise ValueError(f"messages {starts[0]}..{ends[-1]} leave the payload of {len(self.payload)} bytes")
        if (ends < starts).any() or (starts[1:] < ends[:-1]).any():
            raise ValueError("a message ends before it begins, or begins before the one in front of it ends")

    @classmethod
    def of(cls, messages: Sequence[bytes], recv_ns: Sequence[int] | NDArray[np.int64] | int) -> Frames:
        """Make a block of single messages; one receive time may serve all of them."""
        lengths = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
        ends = np.cumsum(lengths)
        if isinstance(recv_ns, int):
            times = np.full(len(messages), recv_ns, dtype=np.int64)
        else:
            times = np.array(recv_ns, dtype=np.int64)
        return cls(b"".join(messages), ends - lengths, ends, times)

    @classmethod
    def concat(cls, blocks: Sequence[Frames]) -> Frames:
        """Make one block of several, in the order given; copies their bytes unless there is one only."""
        if len(blocks) == 1:
            return blocks[0]
        spans = [block.span() for block in blocks]
        shifts, length = [], 0
        for block, span in zip(blocks, spans, strict=True):
            shifts.append(length - (int(block.starts[0]) if len(block) else 0))
            length += len(span)
        none = [np.empty(0, dtype=np.int64)]
        return cls(
            b"".join(spans),
            np.concatenate(none + [block.starts + shift for block, shift in zip(blocks, shifts, strict=True)]),
            np.concatenate(none + [block.ends + shift for block, shift in zip(blocks, shifts, strict=True)]),
            np.concatenate(none + [block.recv_ns for block in blocks]),
        )

    def span(self) -> memoryview:
        """Return the bytes from the first message's beginning to the last one's end, what lies between included."""
        if not len(self):
            return memoryview(b"")
        return memoryview(self.payload)[int(self.starts[0]) : int(self.ends[-1])]

    def messages(self) -> list[bytes]:
        """Return every message as its own object; costs about 0.1 µs each."""
        span = bytes(self.span())
        first = self.starts[:1]
        bounds = zip((self.starts - first).tolist(), (self.ends - first).tolist(), strict=True)
        return [span[start:end] for start, end in bounds]

    @property
    def nbytes(self) -> int:
        """Bytes of all messages together, without what lies between them."""
        return int(self.ends.sum() - self.starts.sum())

    @property
    def footprint(self) -> int:
        """Bytes of memory that the messages and what is known of them take: even empty ones take some."""
        return self.nbytes + PER_MESSAGE * len(self)

    def __len__(self) -> int:
        return len(self.recv_ns)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.messages())

    @overload
    def __getitem__(self, which: int) -> bytes: ...

    @overload
    def __getitem__(self, which: slice) -> Frames: ...

    def __getitem__(self, which: int | slice) -> bytes | Frames:
        """Return one message, or a run of neighbours as a block that shares the payload."""
        if isinstance(which, slice):
            if which.step not in {None, 1}:
                raise ValueError(f"a block is cut into neighbours only: step {which.step} is not 1")
            return Frames(self.payload, self.starts[which], self.ends[which], self.recv_ns[which])
        index = range(len(self))[which]
        return bytes(self.payload[int(self.starts[index]) : int(self.ends[index])])
