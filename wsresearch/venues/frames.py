"""A block of received messages: their bytes back to back, where each begins, and when each arrived.

Not here: how they were received, and what they mean. No Python object per message is needed to make or
to pass one on, so that a splitter may hand over a whole socket read at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frames"]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Messages in the order they arrived.

    Parameters
    ----------
    payload : bytes or memoryview
        The messages back to back, nothing between them; may be longer than what `offsets` covers.
    offsets : int64 array, shape (n + 1,)
        Message ``i`` is ``payload[offsets[i]:offsets[i + 1]]``; never falling.
    recv_ns : int64 array, shape (n,)
        When each arrived, nanoseconds since 1970 UTC.

    Raises
    ------
    ValueError
        When the three do not fit each other (a mistake of the caller, never of the venue).
    """

    payload: bytes | memoryview
    offsets: NDArray[np.int64]
    recv_ns: NDArray[np.int64]

    def __post_init__(self) -> None:
        offsets, count = self.offsets, len(self.recv_ns)
        if offsets.dtype != np.int64 or self.recv_ns.dtype != np.int64:
            raise ValueError(f"offsets and recv_ns must be int64, not {offsets.dtype} and {self.recv_ns.dtype}")
        if offsets.shape != (count + 1,):
            raise ValueError(f"{count} receive times need {count + 1} offsets, not shape {offsets.shape}")
        if offsets[0] < 0 or offsets[-1] > len(self.payload):
            raise ValueError(f"offsets {offsets[0]}..{offsets[-1]} leave the payload of {len(self.payload)} bytes")

    @classmethod
    def of(cls, messages: Sequence[bytes], recv_ns: Sequence[int] | NDArray[np.int64] | int) -> Frames:
        """Make a block of single messages; one receive time may serve all of them."""
        offsets = np.zeros(len(messages) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, messages), dtype=np.int64, count=len(messages)), out=offsets[1:])
        if isinstance(recv_ns, int):
            times = np.full(len(messages), recv_ns, dtype=np.int64)
        else:
            times = np.array(recv_ns, dtype=np.int64)
        return cls(b"".join(messages), offsets, times)

    @classmethod
    def concat(cls, blocks: Sequence[Frames]) -> Frames:
        """Make one block of several, in the order given."""
        if len(blocks) == 1:
            return blocks[0]
        lengths = [np.diff(block.offsets) for block in blocks]
        offsets = np.zeros(sum(map(len, blocks)) + 1, dtype=np.int64)
        if lengths:
            np.cumsum(np.concatenate(lengths), out=offsets[1:])
        times = [block.recv_ns for block in blocks]
        return cls(
            b"".join([block.block() for block in blocks]),
            offsets,
            np.concatenate(times) if times else np.empty(0, dtype=np.int64),
        )

    def block(self) -> bytes:
        """Return the bytes that `offsets` covers, copied only where they must be."""
        start, stop = int(self.offsets[0]), int(self.offsets[-1])
        return bytes(self.payload[start:stop])

    def messages(self) -> list[bytes]:
        """Return every message as its own object; costs about 0.1 µs each."""
        block, start = self.block(), int(self.offsets[0])
        bounds = (self.offsets - start).tolist() if start else self.offsets.tolist()
        return [block[begin:end] for begin, end in pairwise(bounds)]

    @property
    def nbytes(self) -> int:
        """Bytes of all messages together."""
        return int(self.offsets[-1] - self.offsets[0])

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
            start, stop, step = which.indices(len(self))
            if step != 1:
                raise ValueError(f"a block is cut into neighbours only: step {step} is not 1")
            stop = max(start, stop)
            return Frames(self.payload, self.offsets[start : stop + 1], self.recv_ns[start:stop])
        index = range(len(self))[which]
        return bytes(self.payload[int(self.offsets[index]) : int(self.offsets[index + 1])])
