"""The collector: drives the lifecycle with what the transport reports, and feeds the journal; rules are not here.

Every source of news (an attempt that ends, a link that is lost, messages, a request to stop) calls
``_handle`` with a signal, on the one event loop; ``run`` itself only waits for the next deadline, a stop or the
end. So there is no second place that could decide to connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from concurrent.futures import Executor
from typing import Any, Final, Self

from wsresearch.capture.disk import REAL_DISK, Disk
from wsresearch.capture.writer import Rotation
from wsresearch.collect.chronicle import Chronicle
from wsresearch.collect.clock import WAKING_UP, Anchor, is_overslept
from wsresearch.collect.config import Config
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.intake import Heard, Intake
from wsresearch.collect.leaving import Leaving
from wsresearch.collect.recorder import HELD, Recorder
from wsresearch.collect.seam import AttemptFailed, Link, Transport
from wsresearch.collect.status import Status
from wsresearch.collect.takeover import Taken, taken_over
from wsresearch.collect.tasks import Tasks, happens_before
from wsresearch.collect.transport import WebSocketTransport
from wsresearch.reconnect.actions import Action, Drop, End, Open, Record, State
from wsresearch.reconnect.budget import BudgetWindow
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.reconnect.lifecycle import TABLE, Lifecycle, Numbers, Signal
from wsresearch.safetext import safe
from wsresearch.schema import EventKind

__all__ = ["Collector"]

_log = logging.getLogger(__name__)

# Messages decoded in one go: about 10 ms of work, so that a stop or a ping is never late by more.
_AT_ONCE: Final = 4096


class Collector:
    """Keeps one connection alive and everything it says on disk.

    Usable as an async context manager: entering takes the lock and repairs what an earlier run left, leaving
    seals what it can within the two seconds of a stop; the rest is left to the next start::

        async with Collector(config) as collector:
            exit_code = await collector.run()

    Parameters
    ----------
    config
        What to collect, where, and under which rules.
    transport
        The network; the real one by default.
    executors
        Where the recorder appends and seals; threads by default.
    disk
        What changes the disk.

    Raises
    ------
    UsageError, CaptureError
        On entering, if the directory cannot be collected into; nothing has changed then.
    """

    def __init__(
        self,
        config: Config,
        *,
        transport: Transport | None = None,
        executors: tuple[Executor, Executor] | None = None,
        disk: Disk = REAL_DISK,
    ) -> None:
        self.config = config
        self._transport: Transport = transport or WebSocketTransport(
            open_timeout=config.open_timeout,
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
        )
        self._executors = executors
        self._disk = disk
        self._stack = contextlib.AsyncExitStack()
        self._tasks = Tasks(self._defect)
        self._wake = asyncio.Event()
        self._arrived = asyncio.Event()
        self._stopping: Leaving | None = None
        self._end: End | None = None
        self._link: Link | None = None
        self._opening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._anchor = Anchor(wall_ns=self._transport.wall_ns(), mono=self._transport.now())
        taking = taken_over(self.config, now_ns=self._anchor.wall_ns, disk=self._disk)
        # Repairing may take a while in which a signal must be heard: it is the sealing thread's kind of work.
        elsewhere = self._executors[1] if self._executors else None
        job = self._loop.run_in_executor(elsewhere, self._stack.enter_context, taking)
        try:
            self._prepare(await asyncio.shield(job))
        except BaseException:
            await asyncio.wait({job})  # cancelled or not: the lock is not free before the repair is done
            await self._stack.aclose()
            raise
        return self

    def _prepare(self, taken: Taken) -> None:
        config, past = self.config, taken.past
        self.run_number = taken.run
        # Not the past itself: a million rows of it would stay in memory for days.
        self._untold, self._problems, self._held = taken.untold, taken.problems, taken.held
        self._inbox = Inbox(limit=config.queue_bytes, on_arrival=self._arrived.set)
        self._recorder = Recorder(
            config.out,
            rotation=Rotation(age=config.rotate_age, rows=config.rotate_rows),
            numbers={**past.numbers, "run": self.run_number},
            marks=taken.ledger.marks,
            trouble=self,
            executors=self._executors,
            disk=self._disk,
        )
        self._chronicle = Chronicle(self._recorder, run=self.run_number, seq=past.seq)
        self._intake = Intake(
            decoder=config.stream.venue.decoder(config.stream.symbols),
            ledger=taken.ledger,
            inbox=self._inbox,
            recorder=self._recorder,
            note=self._note,
            release=lambda size: self._from_thread(self._inbox.release, size),
            run=self.run_number,
        )
        self._lifecycle = Lifecycle(
            config.rules,
            BudgetWindow(config.budget, past.attempts_by(self._anchor)),
            random.Random(config.seed),
            Numbers(connection=past.connection, outage=past.outage),
        )

    async def __aexit__(self, *_exc: object) -> None:
        try:
            await self._tasks.cancel()
            if self._link is not None:
                self._link.abort()
            self._every_second()
            now = self._transport.now()
            leaving = self._stopping or Leaving(asked=now)
            await self._recorder.close(patience=leaving.writing(now), sealing=leaving.sealing(now))
            _log.info("run %d ended %.2f s after it was to", self.run_number, self._transport.now() - leaving.asked)
        finally:
            await self._stack.aclose()

    # -- what others may ask --------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Collect until stopped, until the last permitted attempt failed, or until a failure is permanent.

        Returns
        -------
        int
            Exit code: 0 stopped, 3 permanent failure, 4 gave up.
        """
        self._note(EventKind.RUN_STARTED, self._anchor.wall_ns, detail=self.config.in_short)
        for row in self._untold:
            self._note(at_ns=self._anchor.wall_ns, **row)
        for problem in self._problems:
            self._note_error(Cause.DAMAGED, problem)
        _log.info("run %d of %s: %s", self.run_number, self.config.out, self.config.stream)
        self._tasks.spawn(self._pump(), "pump")
        self._tasks.spawn(self._tick(), "tick")
        if self.config.duration is not None:
            self._tasks.spawn(self._stop_after(self.config.duration), "duration")
        self._handle(Signal.START, self._transport.now())
        while self._end is None:
            if self._stopping is not None:
                await self._stop_now(self._stopping)
            elif not await self._woken_before(self._lifecycle.deadline):
                await self._deadline_reached()
        return self._end.exit_code

    def stop(self, detail: str = "a stop was asked for") -> None:
        """End the run: close politely, write everything, be gone within two seconds. May be called twice."""
        if self._stopping is None:
            self._stopping = Leaving(asked=self._transport.now(), detail=detail)
        self._wake.set()

    def reconnect(self) -> None:
        """Cut a backoff short, or drop the connection and open another one at once."""
        if Signal.RECONNECT in TABLE[self._lifecycle.state]:
            self._digest_all()
            self._handle(Signal.RECONNECT, self._transport.now())
            self._wake.set()

    @property
    def unwritten_rows(self) -> int:
        """Rows that were given up because the disk failed to the end; known when everything is closed."""
        return self._recorder.unwritten_rows

    @property
    def status(self) -> Status:
        """What a reader of the directory would be told, without reading it."""
        return self._chronicle.status(self._lifecycle, now=self._transport.now())

    # -- the recorder's troubles, told from its threads -----------------------------------------------------------

    def disk_fails(self, what: str) -> None:  # noqa: D102 - see `wsresearch.collect.trying.Trouble`
        self._held.trouble(what)
        self._chronicle.disk_fails = True
        self._from_thread(self._note_error, Cause.DISK, f"writing fails and is being tried again: {what}")

    def disk_works(self) -> None:  # noqa: D102
        self._held.trouble("")
        self._chronicle.disk_fails = False
        self._from_thread(self._note_error, Cause.DISK, "writing works again")

    def left_over(self, what: str) -> None:  # noqa: D102
        self._from_thread(self._note_error, Cause.DISK, what)

    def disk_is_gone(self, what: str) -> None:  # noqa: D102
        self._from_thread(self._fatal, Failure(cause=Cause.DISK, detail=f"cannot write any more: {what}"))

    # -- signals and actions --------------------------------------------------------------------------------------

    def _handle(self, signal: Signal, now: float, **details: Any) -> None:
        for action in self._lifecycle.handle(signal, now, **details):
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Record():
                self._note(action.kind, self._anchor.wall(action.at), **action.fields)
            case Open():
                self._opening = self._tasks.spawn(self._open(action.at), "open")
            case Drop():
                if self._link is not None:
                    self._link.abort()
                    self._link = None
            case End():
                self._end = action
                self._wake.set()

    async def _open(self, began: float) -> None:
        self._anchor = Anchor(wall_ns=self._transport.wall_ns(), mono=self._transport.now())
        # What the connection before dropped is no sign of life of this one, and its time is of another anchor.
        self._inbox.last_drop_ns = None
        url = self.config.target
        try:
            link = await self._transport.connect(url, began=began, anchor=self._anchor, inbox=self._inbox)
        except AttemptFailed as exc:
            self._handle(Signal.ATTEMPT_FAILED, began + exc.phases.total, failure=exc.failure, phases=exc.phases)
            self._wake.set()
            return
        self._link = link
        extra = {"peer": link.peer, "clock_offset": link.clock_offset}
        self._handle(Signal.OPENED, began + link.phases.total, phases=link.phases, fields=extra)
        self._wake.set()
        # What came with the end of the handshake waits in the inbox, which tells of an arrival only when it was empty.
        self._arrived.set()
        self._tasks.spawn(self._watch(link), "watch")
        if requests := self.config.stream.venue.subscribe(self.config.stream.symbols):
            self._tasks.spawn(self._subscribe(link, requests), "subscribe")

    async def _watch(self, link: Link) -> None:
        failure, noticed = await link.lost()
        if link is not self._link or self._stopping is not None:
            return
        self._recorder.hold()
        self._digest_all()
        self._link = None
        self._handle(Signal.LOST, noticed, failure=failure)
        self._handle_due()
        self._wake.set()
        await self._transport.sleep(HELD)
        self._recorder.let_go()

    async def _subscribe(self, link: Link, requests: tuple[str, ...]) -> None:
        for request in requests:
            if link is not self._link:
                return
            await link.send(request)
            await self._transport.sleep(self.config.stream.venue.limits.request_interval)

    async def _deadline_reached(self) -> None:
        deadline, now = self._lifecycle.deadline, self._transport.now()
        if deadline is not None and is_overslept(deadline, now) and self._lifecycle.state is State.OPEN:
            # What the socket holds must be read before judging.
            await happens_before(self._wake, self._transport.sleep(WAKING_UP))
        # What has arrived counts as market data even if nobody has looked at it yet.
        self._digest_all()
        dropped_ns, self._inbox.last_drop_ns = self._inbox.last_drop_ns, None
        if dropped_ns is not None and self._lifecycle.state is State.OPEN:
            # A full queue hides the data from the decoder, not from us: overload is no stall.
            self._handle(Signal.MARKET, self._anchor.monotonic(dropped_ns))
        self._handle_due()

    def _handle_due(self) -> None:
        deadline, now = self._lifecycle.deadline, self._transport.now()
        if deadline is not None and now >= deadline and self._stopping is None:
            self._handle(Signal.DEADLINE, now)

    async def _stop_now(self, leaving: Leaving) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._link is not None:
            await leaving.say_goodbye(self._link, self._transport.now())
            self._digest_all()
            self._link = None
        if self._end is None:  # a defect may have ended the run while the goodbye was on its way
            self._handle(Signal.STOP, self._transport.now(), failure=leaving.why)

    def _fatal(self, failure: Failure) -> None:
        if self._end is None:
            self._handle(Signal.FATAL, self._transport.now(), failure=failure)

    # -- messages -------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        now, sleep, flush = self._transport.now, self._transport.sleep, self.config.flush
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._link is None:  # the end of the handshake wakes us again, and nothing is to be waited for then
                continue
            began = now()
            while len(self._inbox) and self._link is not None:
                self._digest()
                await sleep(0)
            # What arrives from now on is to be in the journal within `flush`, even if a thread or the kernel is late by
            # a third of it: so much is left, beside the work on it and about the same again in the journal's thread.
            await sleep(max(0.4 * flush, 0.7 * flush - 2 * (now() - began)))

    def _digest_all(self) -> None:
        while len(self._inbox):
            self._digest()

    def _digest(self) -> None:
        cycle = self._lifecycle
        connection = cycle.numbers.connection
        heard = self._intake.digest(_AT_ONCE, connection=connection, outage=cycle.outage)
        if cycle.state is State.OPEN:
            self._tell(heard)
        self._intake.note_news(heard, connection=connection)

    def _tell(self, heard: Heard) -> None:
        if heard.announced is not None:
            failure = Failure(cause=Cause.SERVER_SHUTDOWN, detail=heard.announced)
            self._handle(Signal.ANNOUNCED, self._transport.now(), failure=failure)
        if heard.first_ns is not None and heard.last_ns is not None:
            self._handle(Signal.MARKET, self._anchor.monotonic(heard.first_ns))
            self._handle(Signal.MARKET, self._anchor.monotonic(heard.last_ns))

    def _note_error(self, cause: Cause, detail: str) -> None:
        self._note(EventKind.ERROR, self._now_ns(), cause=cause, detail=detail)

    def _note(self, kind: EventKind, at_ns: int, **columns: Any) -> None:
        """Write an event row; the numbers it does not give are those of the moment."""
        now = {"connection": self._lifecycle.numbers.connection, "outage": self._lifecycle.outage}
        self._chronicle.event(kind, at_ns, **now | columns)

    async def _tick(self) -> None:
        while True:
            await self._transport.sleep(1.0)
            self._every_second()

    def _every_second(self) -> None:
        rtt = None if self._link is None else self._link.ping_rtt
        self._chronicle.second(
            self._now_ns(),
            self._inbox,
            self._intake.tally(),
            note=self._note,
            connection=self._lifecycle.numbers.connection,
            ping_rtt=rtt,
        )

    def _now_ns(self) -> int:
        return self._anchor.wall(self._transport.now())

    # -- waiting --------------------------------------------------------------------------------------------------

    async def _woken_before(self, deadline: float | None) -> bool:
        """Wait for news, at most until a deadline; False if the deadline came first."""
        self._wake.clear()
        limit = None if deadline is None else self._transport.sleep(max(0.0, deadline - self._transport.now()))
        return await happens_before(self._wake, limit)

    async def _stop_after(self, seconds: float) -> None:
        await self._transport.sleep(seconds)
        self.stop(f"the duration of {seconds:g} s is over")

    def _defect(self, exc: BaseException) -> None:
        detail = safe(f"a defect of this program: {type(exc).__name__}: {exc}")
        self._fatal(Failure(cause=Cause.INTERNAL, detail=detail))

    def _from_thread(self, call: Any, *args: Any) -> None:
        self._loop.call_soon_threadsafe(call, *args)
