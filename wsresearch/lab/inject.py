"""Does faults: which part of the exchange each one touches, on whom, and for how long.

Not here: what the parts do (line, door, conditions, disturber, player), and when a fault is due.

How a fault that ends connections loses nothing when the tape waits: the tape is held, every connection is sent a
WebSocket ping, and the fault strikes when the pongs have come (or after `PATIENCE` seconds, which the truth then
tells). A client reads its connection in order, so its pong says that everything before the ping has left the kernels
of both sides and is in the hands of its WebSocket library. A reset destroys what our side has not sent yet, and on
some systems what the client's kernel holds unread; by then there is neither. An empty send queue would not say that
much: it only means that the client's kernel has the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from wsresearch.lab import faults
from wsresearch.lab.conditions import Conditions, PathFault
from wsresearch.lab.disturb import ContentFault, Disturber
from wsresearch.lab.door import Door
from wsresearch.lab.faults import DoorFault, Fault
from wsresearch.lab.parameters import HttpTarget
from wsresearch.lab.player import Player
from wsresearch.lab.recorder import FaultRecord, Recorder

__all__ = ["PATIENCE", "Injector", "Stage", "Victim"]

PATIENCE: Final = 5.0
"""Seconds a client has to confirm what it was sent, before a fault strikes all the same."""


class Victim(Protocol):
    """A connection, as far as faults are concerned with it."""

    @property
    def number(self) -> int:
        """Its number in the truth."""

    async def confirm(self, patience: float) -> bool:
        """Return whether the client confirmed within `patience` seconds that it has read everything."""

    def ended_by(self, cause: str) -> None:
        """Note what ends the connection."""

    def reset(self) -> None:
        """RST."""

    def finish(self) -> None:
        """FIN."""

    def close(self, code: int | None, reason: str = "", *, fin_delay: float = 0.0) -> None:
        """Close frame, and FIN `fin_delay` seconds after its answer."""

    def half_open(self, seconds: float | None) -> None:
        """Never read or write again; RST after `seconds`."""

    def time_out(self, seconds: float) -> None:
        """Let no byte through, and FIN after `seconds`."""

    def ration(self, size_bytes: int) -> None:
        """FIN after so many bytes."""

    def announce_shutdown(self) -> None:
        """Send the venue's announcement of its end."""

    def send_giant(self, size_bytes: int) -> None:
        """Send one message of so many bytes."""


class Stage(Protocol):
    """The exchange, as far as faults are concerned with it."""

    @property
    def waits(self) -> bool:
        """Whether nothing may be lost because of a fault."""

    def victims(self) -> Sequence[Victim]:
        """Return the open WebSocket connections."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it is done or the exchange stops."""

    def stop_listening(self) -> None:
        """Refuse TCP connections from now on."""

    async def listen(self) -> None:
        """Accept TCP connections again."""


class Injector:
    """Does faults to one exchange.

    Parameters
    ----------
    stage, player, disturber, conditions, door, recorder
        The parts of the exchange.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        player: Player,
        disturber: Disturber,
        conditions: Conditions,
        door: Door,
        recorder: Recorder,
    ) -> None:
        self._stage = stage
        self._player = player
        self._disturber = disturber
        self._conditions = conditions
        self._door = door
        self._recorder = recorder
        self._refusals = 0

    async def inject(self, fault: Fault) -> None:
        """Begin `fault` now. What it does for a while ends by itself."""
        match fault:
            case faults.ResetPeer():
                await self.strike(fault, lambda link: link.reset())
            case faults.Close(code=code, reason=reason):
                await self.strike(fault, lambda link: link.close(code, reason))
            case faults.SlowClose(code=code, reason=reason, delay=delay):
                await self.strike(fault, lambda link: link.close(code, reason, fin_delay=delay))
            case faults.Timeout(seconds=seconds):
                await self.strike(fault, lambda link: link.time_out(seconds))
            case faults.HalfOpen(seconds=duration):
                await self.strike(fault, lambda link: link.half_open(duration))
            case faults.LimitData(size_bytes=size):
                self._note(fault, self._stage.victims())
                for link in self._stage.victims():
                    link.ration(size)
            case faults.Silence():
                self._note(fault, self._stage.victims())
                self._player.silences += 1
                self._for(fault.seconds, self._end_silence)
            case faults.Latency() | faults.Bandwidth() | faults.Slicer():
                self._begin_path(fault)
            case faults.SkipIds() | faults.Duplicate() | faults.Reorder() | faults.Garble():
                self._begin_content(fault)
            case faults.Giant(size_bytes=size):
                await self._giant(fault, size)
            case faults.ServerShutdown():
                await self._shutdown(fault)
            case DoorFault():
                await self._shut_door(fault)
            case _:
                raise AssertionError(f"no way to do {fault!r}")

    async def strike(self, fault: Fault, act: Callable[[Victim], object]) -> None:
        """Do `act`, which ends a connection, to every open one; see the module on what is lost."""
        links = self._stage.victims()
        with self._still():
            confirmed = await self.confirmed(links)
            self._note(fault, links, confirmed)
            for link in links:
                link.ended_by(fault.kind)
                act(link)

    async def confirmed(self, links: Sequence[Victim]) -> list[bool | None]:
        """Return for each link whether its client has everything; None where nobody asked, as the tape runs on."""
        if not self._stage.waits:
            return [None] * len(links)
        return list(await asyncio.gather(*(link.confirm(PATIENCE) for link in links)))

    def _still(self) -> contextlib.AbstractContextManager[None]:
        return self._player.held() if self._stage.waits else contextlib.nullcontext()

    async def _giant(self, fault: faults.Giant, size: int) -> None:
        links = self._stage.victims()
        with self._still():
            confirmed = await self.confirmed(links)
            self._note(fault, links, confirmed)
            for link in links:
                link.send_giant(size)
            await self.confirmed(links)  # a client that refuses it closes, and must not have been sent more by then

    async def _shutdown(self, fault: faults.ServerShutdown) -> None:
        links = self._stage.victims()
        self._note(fault, links)
        for link in links:
            link.announce_shutdown()

        async def close() -> None:
            with self._still():
                await self.confirmed(links)
                for link in links:
                    link.ended_by(fault.kind)
                    link.close(fault.code)

        self._for(fault.delay, close)

    async def _shut_door(self, fault: DoorFault) -> None:
        if isinstance(fault, faults.Refuse):
            self._refusals += 1
            self._stage.stop_listening()
            self._for(fault.seconds, self._end_refusal)
        else:
            self._door.begin(fault)
            self._for(fault.seconds, lambda: self._end_door(fault))
        about_rest = isinstance(fault, faults.Http) and fault.on is HttpTarget.REST
        if fault.drop and not about_rest:
            await self.strike(fault, lambda link: link.reset())
        else:
            self._note(fault, ())

    def _begin_path(self, fault: PathFault) -> None:
        self._note(fault, self._stage.victims())
        self._conditions.begin(fault)
        self._for(fault.seconds, lambda: self._end_path(fault))

    def _begin_content(self, fault: ContentFault) -> None:
        self._note(fault, self._stage.victims())
        self._disturber.begin(fault)

    async def _end_silence(self) -> None:
        self._player.silences -= 1
        self._player.wake()

    async def _end_refusal(self) -> None:
        self._refusals -= 1
        if not self._refusals:
            await self._stage.listen()

    async def _end_door(self, fault: DoorFault) -> None:
        self._door.end(fault)

    async def _end_path(self, fault: PathFault) -> None:
        self._conditions.end(fault)

    def _for(self, seconds: float | None, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Call `end` after `seconds`; never, when None."""
        if seconds is None:
            return

        async def wait(delay: float) -> None:
            await asyncio.sleep(delay)
            await end()

        self._stage.spawn(wait(seconds))

    def _note(self, fault: Fault, links: Sequence[Victim], confirmed: Sequence[bool | None] = ()) -> None:
        numbers = [link.number for link in links] or [0]
        sure = list(confirmed) or [None] * len(numbers)
        for number, one in zip(numbers, sure, strict=True):
            self._recorder.injected(
                FaultRecord(
                    at=fault.at,
                    fault=fault.kind,
                    parameters=json.dumps(fault.to_json()),
                    wall_ns=time.time_ns(),
                    mono_ns=time.monotonic_ns(),
                    connection=number,
                    confirmed=one,
                )
            )
