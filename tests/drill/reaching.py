"""Reaching the server: everything that can keep an attempt from becoming an open WebSocket."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

from tests.collect.certificates import Certificates
from tests.collect.rawserver import Peer, RawServer, Script, http
from tests.drill.scenario import Scenario, Section
from tests.drill.sockets import Fault, Prelude, Scene, Stage, on_sockets
from tests.drill.unaccepted import (
    connect_fails,
    dead_proxy,
    descriptors_used_up,
    meanwhile,
    no_answer,
    nobody_listens,
    not_found,
    resolver,
    swallowed,
)

__all__ = ["SCENARIOS"]

OPEN_TIMEOUT = 0.5
PERMANENT = "what was stored before stays; the run ends by itself with exit code 3 and says how to mend it"


# -- what an accepted connection meets ----------------------------------------------------------------------------


async def silence(scene: Scene) -> None:
    await scene.peer.forever()


async def drop_by_drop(scene: Scene) -> None:
    await scene.peer.asked()
    for byte in scene.peer.answer():
        await scene.peer.said(bytes([byte]))
        await asyncio.sleep(OPEN_TIMEOUT / 20)


async def fin(scene: Scene) -> None:
    if scene.rng.random() < 0.5:
        await scene.peer.asked()
    scene.peer.writer.write_eof()
    await scene.peer.forever()  # closing it while the request lies there unread would send RST


async def rst(scene: Scene) -> None:
    if scene.rng.random() < 0.5:
        await scene.peer.asked()
    scene.peer.reset()


async def banner(scene: Scene) -> None:
    banners = [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"220 mail ESMTP\r\n",
        b"\0\1\2\3\n" * 10,
        b"x" * 100_000,
        b"HTTP/0.9 huh\r\n",
    ]
    await scene.send_away(scene.rng.choice(banners))
    await scene.peer.forever()


def answers(*statuses: int, **headers: str) -> Fault:
    """Answer the request with one of these, and a body nobody should trust."""

    async def fault(scene: Scene) -> None:
        await scene.peer.asked()
        told = {name: value() if callable(value) else value for name, value in headers.items()}
        body = b'{"code":-1,"msg":"<script>alert(1)</script>\x1b[31m"}' * scene.rng.randint(0, 30)
        await scene.send_away(http(scene.rng.choice(statuses), body, **told))

    return fault


async def wrong_key(scene: Scene) -> None:
    await scene.peer.asked()
    await scene.peer.said(scene.peer.answer().replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"))
    await scene.peer.forever()


async def unasked_compression(scene: Scene) -> None:
    """The answer announces compression, which nobody asked for: a bomb would come next."""
    await scene.peer.asked()
    extension = b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    await scene.peer.said(scene.peer.answer().replace(b"\r\n\r\n", extension))
    await scene.peer.forever()


def redirects(where: str) -> Fault:
    async def fault(scene: Scene) -> None:
        await scene.peer.asked()
        await scene.peer.said(http(scene.rng.choice([301, 302, 307, 308]), Location=where))

    return fault


async def redirect_here(scene: Scene) -> None:
    """Up to three times to another path of the same server."""
    await scene.peer.asked()
    port = scene.stage.port
    path = f"/elsewhere-{scene.number}?streams=btcusdt@trade/ethusdt@trade"
    await scene.peer.said(http(302, Location=scene.rng.choice(["", f"ws://127.0.0.1:{port}"]) + path))


def in_an_hour_ago() -> str:
    return format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)


def in_two_seconds() -> str:
    """A date between one second and two from now: it knows no fractions."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


# -- TLS ----------------------------------------------------------------------------------------------------------


@cache
def certificates() -> Certificates:
    """An authority and what it has signed, made once for a process."""
    folder = Path(mkdtemp(prefix="wsresearch-drill-ca-"))
    atexit.register(shutil.rmtree, folder)
    return Certificates.make(folder)


def speaks(name: str) -> Callable[[Path], ssl.SSLContext]:
    return lambda _folder: certificates().server(name)


@contextlib.contextmanager
def trusted() -> Iterator[None]:
    with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(certificates().authority)}):
        yield


@contextlib.asynccontextmanager
async def trusting(stage: Stage) -> AsyncIterator[None]:
    """A machine that trusts the authority, as its owner would set it up."""
    with trusted():
        await stage.listen()
        yield


def no_tls(script: Script) -> Prelude:
    """On the port a server plays this script to the client's hello; then one that speaks TLS comes in its place."""

    @contextlib.asynccontextmanager
    async def prelude(stage: Stage) -> AsyncIterator[None]:
        stage.listener.listen(256)
        plain = RawServer(script, listener=stage.listener.dup())

        async def replace() -> None:
            async with plain:
                await stage.failures(stage.rng.randint(1, 2))
            await stage.listen()

        with trusted():
            async with meanwhile(replace()):
                yield

    return prelude


async def takes_the_hello(peer: Peer) -> None:
    await peer.forever()


async def answers_in_plain(peer: Peer) -> None:
    await peer.reader.read(10)
    await peer.said(http(400, b"plain HTTP here"))


async def cuts_the_hello(peer: Peer) -> None:
    await peer.reader.read(10)
    peer.reset()


async def cut(scene: Scene) -> None:
    journal = scene.stage.collector.config.out / "journal"
    while not list(journal.glob("trades-*.arrows")):  # noqa: ASYNC110 - it needs its files before they cannot be had
        await asyncio.sleep(0.005)
    scene.peer.reset()


def a(name: str, injected: str, fault: Fault | None, *causes: str, recovers: float = 2.0, **options: Any) -> Scenario:
    ends = options.get("ends", 0)
    may_note = options.pop("may_note", ())
    told: dict[str, Any] = {"truth": PERMANENT} if ends else {}
    told |= {key: options.pop(key) for key in ("truth", "attempts", "waits", "says") if key in options}
    play = on_sockets(fault, **options)
    return Scenario(
        name=name,
        section=Section.REACHING,
        injected=injected,
        play=play,
        causes=frozenset(causes),
        may_note=frozenset(may_note),
        ends=ends,
        recovers=recovers,
        **told,
    )


_SLOW: dict[str, Any] = {"open_timeout": OPEN_TIMEOUT}
_PERMANENT: dict[str, Any] = {"ends": 3, "attempts": 1}
_THRICE: dict[str, Any] = {"ends": 3, "attempts": 3}
REDIRECTS = 3
"""That are followed on one server, each on a connection of its own."""
BANNERS = 8

SCENARIOS = (
    a("refused", "nobody listens on the port", None, "refused", times=(0, 0), prelude=nobody_listens),
    a("an address that never answers", "a full backlog swallows every SYN", None, "open_timeout",
      times=(0, 0), prelude=swallowed, **_SLOW),
    a("no route, a firewall, a bad address", "connect fails with ENETUNREACH, EHOSTUNREACH, EPERM, EINVAL, …", None,
      "unreachable", times=(0, 0),
      prelude=connect_fails(errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.EINVAL, errno.EADDRNOTAVAIL,
                            errno.ENETDOWN, errno.EACCES, errno.ENOBUFS)),
    a("name not found", "the resolver knows no such name, then it does", None, "name_not_found",
      times=(0, 0), host="venue.example", prelude=resolver(not_found)),
    a("a resolver that never answers", "the resolver hangs, then it answers", None, "open_timeout",
      times=(0, 0), host="venue.example", prelude=resolver(no_answer), **_SLOW),
    a("stop while the resolver hangs", "a stop is asked for while the resolver hangs", None,
      times=(0, 0), host="venue.example", prelude=resolver(no_answer), stops=lambda rng: rng.uniform(0.05, 0.3)),
    a("accepts and says nothing", "TCP is accepted, and that is all", silence, "open_timeout", **_SLOW),
    a("a handshake one byte at a time", "the answer comes so slowly that it is not whole in time", drop_by_drop,
      "open_timeout", **_SLOW),
    a("accept, then FIN", "TCP is accepted and closed, before or after the request", fin, "eof"),
    a("accept, then RST", "TCP is accepted and reset, before or after the request", rst, "reset"),
    a("a banner of another protocol", "SSH, SMTP or noise answers", banner, "not_websocket",
      says="not a WebSocket server"),
    a("a banner of another protocol, again and again", "SSH, SMTP or noise answers, far oftener than thrice", banner,
      "not_websocket", times=(BANNERS, BANNERS), attempts=BANNERS + 1, waits=0.05, says="not a WebSocket server",
      policy="exponential(base=0.05, cap=0.2)",
      truth="it is tried again as the policy says and never given up; every row sent then is stored"),
    a("TLS that stalls", "the server takes the hello and says nothing", None, "open_timeout", times=(0, 0),
      host="localhost", tls=speaks("good"), prelude=no_tls(takes_the_hello), **_SLOW),
    a("TLS to a plain port", "the server answers the hello with HTTP", None, "tls", times=(0, 0),
      host="localhost", tls=speaks("good"), prelude=no_tls(answers_in_plain)),
    a("TLS that is cut off", "the server takes the hello and resets", None, "reset", times=(0, 0),
      host="localhost", tls=speaks("good"), prelude=no_tls(cuts_the_hello)),
    a("TLS with a certificate that holds", "a server certificate of an authority that is trusted", None,
      times=(0, 0), host="localhost", tls=speaks("good"), prelude=trusting),
    a("an expired certificate", "the server's certificate has expired", silence, "certificate",
      tls=speaks("expired"), prelude=trusting, **_PERMANENT),
    a("a certificate for another host", "the server's certificate names another host", silence, "certificate",
      tls=speaks("wrong_host"), prelude=trusting, **_PERMANENT),
    a("a certificate of an unknown authority", "nobody here knows who signed it", silence, "certificate",
      tls=speaks("unknown_authority"), prelude=trusting, **_PERMANENT),
    a("no free descriptors", "the process may open no descriptor more, then it may again",
      cut, "reset", "no_descriptors", delivers=True, times=(1, 1), may_note=["disk"],
      prelude=descriptors_used_up),
    a("HTTP 429, 418 or 503, Retry-After in seconds", "the server asks us to stay away for a second",
      answers(429, 418, 503, Retry_After="1"), "http_status", times=(1, 1), attempts=2, waits=1.0, recovers=3.5),
    a("HTTP 429, 418 or 503, Retry-After as a date", "the server names the second from which on we may come",
      answers(429, 418, 503, Retry_After=in_two_seconds), "http_status", times=(1, 1),  # type: ignore[arg-type]
      attempts=2, waits=1.0, recovers=4.5),
    a("HTTP 429, 418 or 503, Retry-After in the past", "the server names a time that is over",
      answers(429, 418, 503, Retry_After=in_an_hour_ago), "http_status"),  # type: ignore[arg-type]
    a("HTTP 5xx", "the server is ill", answers(500, 502, 504, 520), "http_status"),
    a("HTTP 400, 401, 403, 404 or 426", "the server understood and says no", answers(400, 401, 403, 404, 426),
      "http_status", **_PERMANENT),
    a("HTTP 200 instead of 101", "a web page, once or twice", answers(200), "http_status"),
    a("HTTP 200 instead of 101, thrice", "a web page, again and again", answers(200), "http_status", **_THRICE),
    a("a wrong Sec-WebSocket-Accept", "an answer to another request, once or twice", wrong_key, "bad_upgrade"),
    a("a wrong Sec-WebSocket-Accept, thrice", "an answer to another request, again and again", wrong_key,
      "bad_upgrade", **_THRICE),
    a("compression that nobody asked for", "the answer turns permessage-deflate on", unasked_compression,
      "not_websocket"),
    a("a redirect on the same server", "up to three redirects to other paths of it", redirect_here, times=(1, 3)),
    a("a redirect loop", "every path redirects to itself", redirects("/loop"), "redirected",
      **_PERMANENT | {"attempts": 1 + REDIRECTS}),
    a("a redirect to another server", "the answer leads to another host", redirects("wss://evil.example/ws?token=s3cret"),
      "redirected", **_PERMANENT),
    a("a dead proxy in the environment", "every proxy variable names a port nobody listens on", None,
      times=(0, 0), prelude=dead_proxy),
)  # fmt: skip
