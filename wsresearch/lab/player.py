"""Plays the tape: what is due goes through the content faults to the truth's account and to every receiver.

Not here: sockets, the timeline of faults, and who the receivers are.

Tape time runs with real time. With `waits` it stands still whenever nobody can take market data: nobody is connected,
everybody is silenced or muted or half open, or a receiver has fallen far behind. It also stands still while somebody
*holds* the tape, which is how a fault strikes between two messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Final, Protocol

from wsresearch.lab.disturb import Disturber, Item, Kind, garbled
from wsresearch.lab.message import Message
from wsresearch.lab.recorder import Recorder
from wsresearch.lab.tape import Tape
from wsresearch.venues.binance_wire import Form, Unit

__all__ = ["Player", "Receiver"]

_TICK: Final = 0.005
"""Seconds between two looks at what is due: bursts of 100 messages at 20,000/s, while a look costs 10 µs."""
_BATCH: Final = 1_024
_TURN: Final = 0.05
"""Longest time in one go when more is due than this machine can send; the tape then falls behind."""
_NAP: Final = 0.05
"""Longest sleep when nothing is due soon, so that a change of the receivers is noticed."""


class Receiver(Protocol):
    """Whoever takes messages."""

    @property
    def number(self) -> int:
        """Its connection."""

    @property
    def form(self) -> Form:
        """How its messages are wrapped."""

    @property
    def unit(self) -> Unit:
        """The unit of its times."""

    @property
    def streams(self) -> Collection[str]:
        """What it is subscribed to."""

    @property
    def is_receptive(self) -> bool:
        """Whether it can take market data now."""

    @property
    def is_rationed(self) -> bool:
        """Whether it may take only so much and must be asked again after each message."""

    def take(self, frames: Sequence[bytes]) -> int:
        """Send `frames`, one message each; return how many of them, from the first, were sent."""


class Player:
    """Plays one tape once.

    Parameters
    ----------
    tape, disturber, recorder
        What is played, what faults make of it, and where it is accounted for.
    receivers
        Gives the receivers there are now.
    frame
        Makes a WebSocket frame of a message; each frame is made once for all receivers of one form.
    waits
        Whether tape time stands still while nobody can take market data.
    futures
        Whether generated trades have the shape of the futures family.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        disturber: Disturber,
        recorder: Recorder,
        receivers: Callable[[], Collection[Receiver]],
        frame: Callable[[bytes], bytes],
        waits: bool,
        futures: bool,
    ) -> None:
        self._messages = tape.play()
        self._next: Message | None = next(self._messages, None)
        self._disturber = disturber
        self._recorder = recorder
        self._receivers = receivers
        self._frame = frame
        self._waits = waits
        self._futures = futures
        self._elapsed_ns = 0
        self._looked_ns = 0
        self._holds = 0
        self.silences = 0
        """How many faults want that nobody is sent market data."""
        self._breaks: deque[tuple[int, Callable[[], Awaitable[object]]]] = deque()
        self._wake = asyncio.Event()
        self.finished = asyncio.Event()
        """Set when the tape has ended."""

    def at(self, seconds: float, act: Callable[[], Awaitable[object]]) -> None:
        """Call `act` when the tape reaches `seconds`, between two messages; in rising order of `seconds`."""
        self._breaks.append((round(seconds * 1e9), act))

    def wake(self) -> None:
        """Look again: a receiver has come, or can take market data again."""
        self._wake.set()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the tape still."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self.wake()

    async def run(self) -> None:
        """Play until the tape and everything asked for with `at` is over, or the task is cancelled."""
        self._looked_ns = time.monotonic_ns()
        while not self.finished.is_set() or self._breaks:
            if not self._can_play():
                await self._stand_still()
                continue
            now_ns = time.monotonic_ns()
            self._elapsed_ns += now_ns - self._looked_ns
            self._looked_ns = now_ns
            if self._breaks and self._breaks[0][0] <= self._elapsed_ns:
                await self._play_to_break()
            else:
                self._play_until(self._elapsed_ns)
                await asyncio.sleep(self._until_due())

    def _can_play(self) -> bool:
        return not self._holds and (not self._waits or bool(self._receptive()))

    def _receptive(self) -> list[Receiver]:
        return [] if self.silences else [r for r in self._receivers() if r.is_receptive]

    async def _stand_still(self) -> None:
        if self._receivers():
            await asyncio.sleep(_TICK)
        else:
            self._wake.clear()
            await self._wake.wait()
        self._looked_ns = time.monotonic_ns()

    async def _play_to_break(self) -> None:
        at_ns, act = self._breaks[0]
        if not self._play_until(at_ns):
            await asyncio.sleep(0)
            return
        self._breaks.popleft()
        if self._waits:
            self._elapsed_ns = at_ns
        await act()
        if self._waits:
            self._looked_ns = time.monotonic_ns()

    def _until_due(self) -> float:
        due = [self._next.due_ns] if self._next is not None else []
        due += [self._breaks[0][0]] if self._breaks else []
        ahead = (min(due) - self._elapsed_ns) / 1e9 if due else _NAP
        return min(max(ahead, _TICK), _NAP)

    def _play_until(self, until_ns: int) -> bool:
        """Send all that is due by `until_ns`.

        Returns
        -------
        bool
            False when it stopped before: as nobody can take more of a tape that waits, or to let others have a turn.
        """
        turn_ends = time.monotonic() + _TURN
        while self._next is not None and self._next.due_ns <= until_ns:
            if time.monotonic() > turn_ends:
                return False
            receptive = self._receptive()
            if self._waits and not receptive:
                self._elapsed_ns = min(self._elapsed_ns, self._next.due_ns)
                return False
            # Whoever may take only so much is asked again after each message, or the rest would go to nobody.
            most = 1 if self._waits and any(r.is_rationed for r in receptive) else _BATCH
            self._send(self._disturber.passed(self._due(until_ns, most)))
        if self._next is None and not self.finished.is_set():
            self._send(self._disturber.flush())
            self.finished.set()
        return True

    def _due(self, until_ns: int, most: int) -> list[Message]:
        due: list[Message] = []
        while self._next is not None and self._next.due_ns <= until_ns and len(due) < most:
            due.append(self._next)
            self._next = next(self._messages, None)
        return due

    def _send(self, items: Sequence[Item]) -> None:
        if not items:
            return
        now_ns = time.time_ns()
        first = self._recorder.produced(items, now_ns)
        frames: dict[tuple[Form, Unit], list[bytes]] = {}
        for receiver in self._receptive():
            key = (receiver.form, receiver.unit)
            if key not in frames:
                frames[key] = [self._framed(item, *key, now_ns) for item in items]
            streams = receiver.streams
            rows: list[int] = []
            chosen: list[bytes] = []
            for row, (item, frame) in enumerate(zip(items, frames[key], strict=True), start=first):
                stream = item.message.stream
                if frame and (stream in streams or not stream):
                    rows.append(row)
                    chosen.append(frame)
            if chosen:
                self._recorder.delivered(receiver.number, rows[: receiver.take(chosen)])

    def _framed(self, item: Item, form: Form, unit: Unit, now_ns: int) -> bytes:
        """Return the frame of `item`; empty for what is not sent at all."""
        if item.kind is Kind.SKIPPED:
            return b""
        wire = item.message.wire(form=form, unit=unit, now_ns=now_ns, futures=self._futures)
        return self._frame(wire if item.garbage is None else garbled(wire, item.garbage))
