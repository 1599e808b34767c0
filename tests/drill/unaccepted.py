"""What keeps a connection from being accepted, until it is over; what an accepted one meets is not here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock

from tests.collect.rawserver import free_port
from tests.drill.sockets import Prelude, Stage

__all__ = [
    "connect_fails",
    "dead_proxy",
    "descriptors_used_up",
    "meanwhile",
    "no_answer",
    "nobody_listens",
    "not_found",
    "resolver",
    "swallowed",
]


@contextlib.asynccontextmanager
async def nobody_listens(stage: Stage) -> AsyncIterator[None]:
    async with _later(stage):
        yield


@contextlib.asynccontextmanager
async def swallowed(stage: Stage) -> AsyncIterator[None]:
    """A full backlog swallows every SYN."""
    stage.listener.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", stage.port))

    def free() -> None:
        for filler in fillers:
            filler.close()

    async with _later(stage, free):
        yield


def connect_fails(*numbers: int) -> Prelude:
    """Every connect fails with one of these errors."""

    @contextlib.asynccontextmanager
    async def prelude(stage: Stage) -> AsyncIterator[None]:
        async def failing(*_args: Any, **_options: Any) -> Any:
            number = stage.rng.choice(numbers)
            raise OSError(number, os.strerror(number))

        patch = mock.patch("wsresearch.collect.reach.start_connection", failing)
        patch.start()
        async with _later(stage, patch.stop):
            yield

    return prelude


def resolver(answer: Callable[[], Any]) -> Prelude:
    """The name `venue.example` is asked for in vain; then it is the loopback address."""

    @contextlib.asynccontextmanager
    async def prelude(stage: Stage) -> AsyncIterator[None]:
        real, failing = socket.getaddrinfo, threading.Event()
        failing.set()

        def looked_up(host: str, *args: Any, **options: Any) -> Any:
            if host != "venue.example" or options.get("flags"):
                return real(host, *args, **options)
            while failing.is_set():
                answer()
            return real("127.0.0.1", *args, **options)

        patch = mock.patch("socket.getaddrinfo", looked_up)
        patch.start()
        try:
            async with _later(stage, failing.clear):
                yield
        finally:
            failing.clear()
            patch.stop()

    return prelude


def not_found() -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def no_answer() -> None:
    threading.Event().wait(0.01)


@contextlib.asynccontextmanager
async def descriptors_used_up(stage: Stage) -> AsyncIterator[None]:
    """From the loss of the first connection on, every descriptor of the process is taken, for a while."""
    await stage.listen()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    async def take() -> None:
        while True:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            await asyncio.sleep(0.001)  # what was just closed is taken too

    async def starve() -> None:
        while stage.left is None:  # noqa: ASYNC110 - the fault sets a time
            await asyncio.sleep(0.001)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(fd) for fd in os.listdir("/proc/self/fd")) + 2, hard))  # noqa: PTH208
        try:
            async with meanwhile(take()):
                await stage.failures(stage.rng.randint(1, 3))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
            stage.over = time.monotonic()

    async with meanwhile(starve()):
        yield


@contextlib.asynccontextmanager
async def dead_proxy(stage: Stage) -> AsyncIterator[None]:
    names = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY")
    with mock.patch.dict(os.environ, dict.fromkeys(names, f"http://127.0.0.1:{free_port()}")):
        await stage.listen()
        yield


@contextlib.asynccontextmanager
async def _later(stage: Stage, end: Callable[[], Any] = lambda: None) -> AsyncIterator[None]:
    """Let a few attempts fail, end what they fail of, and listen."""

    async def recover() -> None:
        await stage.failures(stage.rng.randint(1, 3))
        end()
        await stage.listen()

    async with meanwhile(recover()):
        yield


@contextlib.asynccontextmanager
async def meanwhile(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
