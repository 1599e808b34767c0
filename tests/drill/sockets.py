"""The stage of real sockets: a collector of this process, and a server that does the fault and is then well again.

What a fault is stands in the tables of scenarios. A script gets a :class:`Scene`, one connection of the client, and
does to it what it likes; the first `times` connections meet it, later ones meet a venue that is well.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tests.collect.rawserver import Peer, RawServer, close_frame, frame
from tests.drill.scenario import Facts, Play, Run, Venue
from wsresearch.api import make_config
from wsresearch.collect.collector import Collector
from wsresearch.collect.status import read_status

__all__ = ["FAST", "Fault", "Prelude", "Scene", "Stage", "on_sockets"]

FAST: dict[str, Any] = {
    "policy": "full-jitter(base=0.05, cap=0.1, floor=0.02)",
    "reset": "message",
    "budget": "100000/300",
    "open_timeout": 5.0,
    "ping_interval": 20.0,
    "ping_timeout": 20.0,
    "idle_timeout": 20.0,
    "flush": 0.01,
}
"""Options of a collector that recovers in a tenth of a second, and takes nothing for a fault that is only load."""

_ESTABLISHED = "01"
"""Of Linux's tcp_states.h."""
PATIENCE = 30.0
"""Seconds for what takes a fraction of one; only a run that fails needs them."""


class _Listener(socket.socket):
    """A listening socket that tells of every connection that it accepts, whatever becomes of it."""

    met: Callable[[int], None]

    def dup(self) -> _Listener:
        twin = super().dup()
        twin.met = self.met
        return twin

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        self.met(address[1])
        return connection, address


class Stage:
    """What a run is played on.

    Attributes
    ----------
    collector, venue, rng
        The client, what is traded, and where everything random is drawn from.
    port
        Of the server; its own from the beginning, listened on once :meth:`listen` was called.
    accepted, answered
        When the server accepted a connection of the client's, and when it gave an answer that sends the client away.
    """

    def __init__(self, run: Run, serve: Callable[[Scene], Awaitable[None]], *, tls: ssl.SSLContext | None) -> None:
        self.rng = run.rng
        self.venue = Venue(run.rng, ["BTCUSDT", "ETHUSDT"], clock=lambda: time.time_ns() // 10**6)
        self.collector: Collector
        self.back = asyncio.Event()
        self.began: float | None = None
        self.left: float | None = None
        self.over = self.recovered = 0.0
        self.accepted: list[float] = []
        self.answered: list[float] = []
        self.most_live = 0
        self._scenes = 0
        self._strangers: set[int] = set()
        self._serve = serve
        self._tls = tls
        self._stack = contextlib.AsyncExitStack()
        # Bound and not listening it refuses every connection, and nobody else can get the number.
        self.listener = self._stack.enter_context(_Listener())
        self.listener.met = self._accepted
        self.listener.bind(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    async def listen(self) -> None:
        """Accept connections from now on."""
        self.listener.listen(256)
        self.over = time.monotonic()
        server = RawServer(self._meet, tls=self._tls, listener=self.listener.dup())
        await self._stack.enter_async_context(server)

    async def failures(self, count: int) -> None:
        """Wait until so many attempts have failed since the run or outage began."""
        while self.collector.status.attempt <= count:  # noqa: ASYNC110 - the collector tells nobody, as a user's does
            await asyncio.sleep(0.002)

    async def close(self) -> None:
        """Close the server and whatever is connected to it."""
        await self._stack.aclose()

    @property
    def waited(self) -> list[float]:
        """Seconds from each answer that sent the client away until it was accepted again."""
        comings = [[at - answer for at in self.accepted if at > answer] for answer in self.answered]
        return [min(later) for later in comings if later]

    def _accepted(self, port: int) -> None:
        clients = _clients(self.port)
        if clients is not None and port not in clients[0]:
            self._strangers.add(port)  # somebody else's, who was looking for a port that nobody listens on
            return
        self._strangers.discard(port)
        self.accepted.append(time.monotonic())
        self.most_live = max(self.most_live, 1 if clients is None else clients[1])

    async def _meet(self, peer: Peer) -> None:
        if peer.writer.get_extra_info("peername")[1] not in self._strangers:
            self._scenes += 1
            await self._serve(Scene(self, peer, self._scenes))


class Scene:
    """One connection of the client, as a script has it in hand."""

    def __init__(self, stage: Stage, peer: Peer, number: int) -> None:
        self.stage = stage
        self.peer = peer
        self.number = number
        self.rng = stage.rng
        self.venue = stage.venue
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self._listener: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Upgrade, and from now on answer pings and a goodbye."""
        await self.peer.asked()
        self.peer.say(self.peer.answer())
        self._listener = asyncio.create_task(self._listen())

    async def tell(self, count: int | None = None) -> None:
        """Tell trades, in one write or in several, until the client has them."""
        trades = self.venue.told(count or self.rng.randrange(1, 40))
        self.venue.unsure |= {trade.row() for trade in trades}
        rest = list(trades)
        while rest:
            several = self.rng.randrange(1, len(rest) + 1)
            self.peer.say(b"".join(frame(1, trade.wire()) for trade in rest[:several]))
            del rest[:several]
        await self.settled()
        self.venue.unsure -= {trade.row() for trade in trades}

    async def send_away(self, content: bytes) -> None:
        """Answer, and note when: what the client does next depends on this."""
        self.stage.answered.append(time.monotonic())
        await self.peer.said(content)

    def miss(self) -> None:
        """Let trades happen that nobody is told of."""
        for _ in range(self.rng.randrange(4)):
            self.venue.trade()

    async def settled(self) -> None:
        """Wait until the client has read everything: its answer to a ping comes after all that was before the ping."""
        self.peer.say(frame(9, b"settled?"))
        while await self._pongs.get() != b"settled?":
            pass

    async def deaf(self) -> None:
        """Read and answer nothing any more."""
        await self.end()
        transport: Any = self.peer.writer.transport
        transport.pause_reading()

    async def mute(self) -> None:
        """Read on, but answer nothing; return when the client has left."""
        await self.end()
        await self.peer.forever()

    async def gone(self) -> None:
        """Wait until the client has left."""
        if self._listener is None:
            await self.peer.forever()
        else:
            await asyncio.wait({self._listener})

    async def _listen(self) -> None:
        reader = self.peer.reader
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(2)
                size = head[1] & 0x7F
                if size == 126:
                    size = int.from_bytes(await reader.readexactly(2))
                mask = await reader.readexactly(4)
                data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(size)))
                match head[0] & 0x0F:
                    case 8:
                        self.peer.say(close_frame(1000))
                        return
                    case 9:
                        self.peer.say(frame(10, data))
                    case 10:
                        self._pongs.put_nowait(data)

    async def end(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
            self._listener = None


Fault = Callable[[Scene], Awaitable[None]]
Prelude = Callable[[Stage], AbstractAsyncContextManager[None]]


def on_sockets(
    fault: Fault | None = None,
    *,
    delivers: bool = False,
    times: Sequence[int] = (1, 2),
    ends: int = 0,
    prelude: Prelude | None = None,
    host: str = "127.0.0.1",
    tls: Callable[[Path], ssl.SSLContext] | None = None,
    rejected: Callable[[Stage], int] | None = None,
    may_lose: int | None = 0,
    stops: Callable[[random.Random], float] | None = None,
    **options: Any,
) -> Play:
    """Return how a scenario is played on real sockets.

    Parameters
    ----------
    fault
        What the first connections meet; when it returns, the server sends FIN.
    delivers
        Whether a connection is upgraded and delivers before the fault is done to it.
    times
        How many connections meet it: drawn between these.
    ends
        Exit code; with another than 0 the run must end by itself, and every connection meets the fault.
    prelude
        Entered with the stage before anything listens; it must call :meth:`Stage.listen`. Left when the run is over.
    host, tls
        How the server is addressed, and the TLS it speaks.
    rejected
        How many messages failed the strict checks.
    may_lose
        As in the facts.
    stops
        Draws after how many seconds the run is stopped, whatever state it is in; by default when all is well again.
    **options
        Of the collector, besides :data:`FAST`.
    """

    def play(run: Run) -> Facts:
        count = run.rng.randint(*times) if ends == 0 else 1 << 30
        context = None if tls is None else tls(run.folder)
        return asyncio.run(_played(run, count, context))

    async def _played(run: Run, count: int, context: ssl.SSLContext | None) -> Facts:
        problems: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: problems.append(f"unhandled: {told}"))

        async def serve(scene: Scene) -> None:
            stage = scene.stage
            try:
                if scene.number > count:
                    await _well(scene)
                    return
                if delivers:
                    await scene.open()
                    scene.miss()
                    await scene.tell()
                stage.began = time.monotonic()
                try:
                    if fault is not None:
                        await fault(scene)
                finally:
                    stage.over = stage.left = time.monotonic()
            finally:
                await scene.end()

        stage = Stage(run, serve, tls=context)
        scheme = "ws" if context is None else "wss"
        url = f"{scheme}://{host}:{stage.port}"
        config = make_config("binance:btcusdt,ethusdt", run.root, **FAST | {"url": url, "seed": run.seed} | options)
        causes: set[str] = set()
        stop = None
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(stage.close)
            async with Collector(config) as collector:
                stage.collector = collector
                await stack.enter_async_context((prelude or _listening)(stage))
                watching = asyncio.create_task(_watch(collector, causes))
                running = asyncio.create_task(collector.run())
                if ends == 0:
                    back = asyncio.create_task(stage.back.wait())
                    limit = PATIENCE if stops is None else stops(run.rng)
                    await asyncio.wait({back, running}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                    if stops is None and not stage.back.is_set():
                        problems.append(f"all was not well again: {collector.status}")
                    back.cancel()
                    collector.stop()
                asked = time.monotonic()
                code = await asyncio.wait_for(running, PATIENCE)
                causes |= _told(collector)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            if ends == 0:
                stop = time.monotonic() - asked
            causes |= {read_status(run.root).cause or ""}
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            problems.append(f"tasks are left over: {[task.get_name() for task in left]}")
        well = ends == 0 and stage.back.is_set()
        return Facts(
            root=run.root,
            sent=stage.venue.sent,
            unsure=stage.venue.unsure,
            exit_code=code,
            causes=causes,
            most_live=stage.most_live,
            stop=stop,
            recovery=None if not well or stops is not None else max(0.0, stage.recovered - stage.over),
            noticed=None if stage.began is None or stage.left is None else stage.left - stage.began,
            rejected=0 if rejected is None else rejected(stage),
            may_lose=may_lose,
            accepted=len(stage.accepted),
            waited=stage.waited,
            problems=problems,
        )

    return play


@contextlib.asynccontextmanager
async def _listening(stage: Stage) -> AsyncIterator[None]:
    await stage.listen()
    yield


async def _well(scene: Scene) -> None:
    """Be the venue as it should be."""
    await scene.open()
    scene.miss()
    await scene.tell(1)
    scene.stage.recovered = time.monotonic()
    await scene.tell()
    scene.stage.back.set()
    await scene.gone()


async def _watch(collector: Collector, causes: set[str]) -> None:
    """Look at the status as a user does, oftener than it can change."""
    while True:
        causes |= _told(collector)
        await asyncio.sleep(0.002)


def _told(collector: Collector) -> set[str]:
    status = collector.status
    return {status.cause} if status.cause and status.in_words else set()


def _clients(port: int) -> tuple[set[int], int] | None:
    """Return the ports of this process's connections to a loopback port, and how many are open; None: not known."""
    for _ in range(3):
        with contextlib.suppress(OSError):  # when the scenario has taken every descriptor
            table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            links = {_link(path) for path in Path("/proc/self/fd").iterdir()}
            mine = [row for row in table if row[2] == f"0100007F:{port:04X}" and f"socket:[{row[9]}]" in links]
            # Sets: while other sockets come and go, the kernel may list one twice.
            opened = {row[1] for row in mine if row[3] == _ESTABLISHED}
            return {int(row[1].partition(":")[2], 16) for row in mine}, len(opened)
    return None


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # it was the descriptor of the listing itself
        return ""
