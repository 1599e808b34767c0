"""How the two seconds of a stop are shared out; what is done in them is not here.

The peer's answer to our goodbye and a disk that fails are waited for at the same time. What must be done at the end of
all (the last rows and the `stopped` event written, the journals closed) takes milliseconds. Sealing alone can take
long, and the next start can do it as well: until then the journals are the truth, and readers read them.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from wsresearch.collect.seam import Link
from wsresearch.reconnect.causes import Cause, Failure

__all__ = ["Leaving"]

# Seconds after a stop was asked for. Twice the longest round trip on this planet for an answer to our goodbye.
_ANSWERED: Final = 0.75
# A disk that failed while the goodbye was said gets two tries more.
_WRITTEN: Final = 1.25
# Half a second is left for what cannot be left off: a row group, a flush of the disk, the interpreter's own end.
_SEALED: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """The timetable of a run's end.

    Parameters
    ----------
    asked
        When it was to end, in monotonic seconds.
    detail
        Why, in words.
    """

    asked: float
    detail: str = ""

    @property
    def why(self) -> Failure:
        """The cause, as the lifecycle takes it."""
        return Failure(cause=Cause.STOP, detail=self.detail)

    async def say_goodbye(self, link: Link, now: float) -> None:
        """Close a connection politely; be gone when the peer has answered, or when its time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.asked + _ANSWERED - now):
                await link.close()
        link.abort()

    def writing(self, now: float) -> float:
        """Return for how many seconds a disk that fails is tried again."""
        return max(0.0, self.asked + _WRITTEN - now)

    def sealing(self, now: float) -> float:
        """Return for how many seconds segments are sealed."""
        return max(0.0, self.asked + _SEALED - now)
