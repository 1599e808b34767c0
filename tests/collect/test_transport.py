"""The real network: every way in which a server can misbehave gets its right name, on loopback sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.collect.certificates import Certificates
from tests.collect.rawserver import Peer, RawServer, Script, close_frame, frame, free_port, http, upgraded
from wsresearch.collect import connection
from wsresearch.collect.clock import Anchor
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.seam import AttemptFailed
from wsresearch.collect.transport import WebSocketLink, WebSocketTransport
from wsresearch.reconnect.causes import LONGEST_RETRY_AFTER, Cause, Failure, Severity, classify

T = TypeVar("T")

MS = 0.001
"""Unit of every timeout here; make it larger on a slow machine."""

OPEN_TIMEOUT = 400 * MS
PING = 150 * MS
PING_FRAME = 9


DEFAULTS: dict[str, Any] = {"open_timeout": 5.0, "ping_interval": 20.0, "ping_timeout": 20.0}


@pytest.fixture(params=["direct", "direct on uvloop", "recv"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of receiving, and the loop of the collector's process: no server may notice a difference."""

    def on_uvloop(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)

    monkeypatch.setitem(DEFAULTS, "direct", request.param != "recv")
    if "uvloop" in request.param:
        monkeypatch.setattr(asyncio, "run", on_uvloop)
    return str(request.param)


def transport(**options: Any) -> WebSocketTransport:
    return WebSocketTransport(**(DEFAULTS | options))


async def dial(url: str, *, net: WebSocketTransport | None = None, inbox: Inbox | None = None) -> WebSocketLink:
    net = net or transport()
    if inbox is None:
        inbox = Inbox(limit=1 << 24, on_arrival=lambda: None)
    anchor = Anchor(wall_ns=net.wall_ns(), mono=net.now())
    return await net.connect(url, began=anchor.mono, anchor=anchor, inbox=inbox)


async def refusal(url: str, **options: Any) -> AttemptFailed:
    """How an attempt failed."""
    with pytest.raises(AttemptFailed) as caught:
        await dial(url, net=transport(**options))
    return caught.value


def attempt(script: Script, *, path: str = "/ws/x", **options: Any) -> AttemptFailed:
    """How an attempt failed with a server that plays this script."""

    async def main() -> AttemptFailed:
        async with RawServer(script) as server:
            return await refusal(server.url + path, **options)

    return asyncio.run(main())


def ending(script: Script, **options: Any) -> tuple[Failure, list[bytes], float]:
    """How a connection ended, what it delivered, and how many seconds after opening the end was noticed."""

    async def main() -> tuple[Failure, list[bytes], float]:
        async with RawServer(upgraded(script)) as server:
            inbox = Inbox(limit=1 << 24, on_arrival=lambda: None)
            link = await dial(server.url + "/ws/x", net=transport(**options), inbox=inbox)
            opened = time.monotonic()
            failure, noticed = await asyncio.wait_for(link.lost(), 10)
            return failure, list(inbox.take(1 << 20)), noticed - opened

    return asyncio.run(main())


def saying(content: bytes) -> Script:
    """Say this and leave with FIN."""

    async def script(peer: Peer) -> None:
        await peer.said(content)

    return script


def saying_and_staying(content: bytes) -> Script:
    """Say this and keep TCP open, whatever the client does."""

    async def script(peer: Peer) -> None:
        await peer.said(content)
        await asyncio.sleep(3600)

    return script


def answering(content: bytes) -> Script:
    """Read the request and answer it with this."""

    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.said(content)

    return script


# -- reaching the server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_refused(host: str) -> None:
    """Nobody listens: refused, by the peer, after DNS and TCP; several addresses of a name are one failure."""
    failed = asyncio.run(refusal(f"ws://{host}:{free_port()}/ws/x"))
    assert failed.failure.cause is Cause.REFUSED
    assert failed.failure.close_by == "peer"
    assert failed.phases.dns is not None
    assert failed.phases.tcp is not None
    assert failed.phases.upgrade is None


def test_an_address_that_never_answers() -> None:
    """A full backlog swallows the SYN: the attempt ends at the open timeout, and says that TCP was under way."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        failed = asyncio.run(refusal(f"ws://127.0.0.1:{address[1]}/ws/x", open_timeout=OPEN_TIMEOUT))
        for filler in fillers:
            filler.close()
    assert failed.failure.cause is Cause.OPEN_TIMEOUT
    assert "tcp" in failed.failure.detail
    assert failed.phases.total == pytest.approx(OPEN_TIMEOUT, abs=1.0)


async def silent(peer: Peer) -> None:
    await asyncio.sleep(3600)


async def drop_by_drop(peer: Peer) -> None:
    await peer.asked()
    for byte in peer.answer():
        await peer.said(bytes([byte]))
        await asyncio.sleep(OPEN_TIMEOUT / 20)


@pytest.mark.parametrize("script", [silent, drop_by_drop], ids=["says nothing", "one byte at a time"])
def test_the_open_timeout_is_a_total(script: Script) -> None:
    """A server that accepts and dawdles costs the open timeout, not one per byte."""
    failed = attempt(script, open_timeout=OPEN_TIMEOUT)
    assert failed.failure.cause is Cause.OPEN_TIMEOUT
    assert "upgrade" in failed.failure.detail
    assert failed.phases.total == pytest.approx(OPEN_TIMEOUT, abs=1.0)


def test_accept_then_fin() -> None:
    """TCP is accepted and closed before any answer: the end of the stream, not a broken protocol."""
    failed = attempt(answering(b""))
    assert failed.failure.cause is Cause.EOF
    assert failed.failure.close_by == "peer"


def test_accept_then_reset() -> None:
    """TCP is accepted and reset: a reset."""

    async def script(peer: Peer) -> None:
        await peer.asked()
        peer.reset()

    assert attempt(script).failure.cause is Cause.RESET


@pytest.mark.parametrize(
    "banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b"220 mail ESMTP\r\n", b"\x00\x01\x02\x03\n" * 10, b"x" * 100_000]
)
def test_a_banner_of_another_protocol(banner: bytes) -> None:
    """Whatever listens there is no WebSocket server, and the text says so instead of blaming the network."""
    failed = attempt(saying_and_staying(banner))
    assert failed.failure.cause is Cause.NOT_WEBSOCKET
    assert failed.failure.detail


def test_name_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows is told as such, whatever number the resolver gives it."""
    real = socket.getaddrinfo

    def unknown(host: str, *args: Any, **options: Any) -> Any:
        if host == "nowhere.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    failed = asyncio.run(refusal("ws://nowhere.example:1/ws/x"))
    assert failed.failure.cause is Cause.NAME_NOT_FOUND
    assert failed.phases.tcp is None


@pytest.mark.parametrize(
    "number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.EINVAL, errno.EADDRNOTAVAIL]
)
def test_any_other_error_of_connect_is_about_reaching_the_host(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No route, a firewall, a wrong interface: the network could not reach it, and trying again makes sense."""

    async def failing(*_args: Any, **_options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("wsresearch.collect.reach.start_connection", failing)
    failed = asyncio.run(refusal("ws://127.0.0.1:1/ws/x"))
    assert failed.failure.cause is Cause.UNREACHABLE
    assert classify(failed.failure).severity is Severity.TRANSIENT


@pytest.fixture
def stuck_resolver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A resolver that never answers for one name, until the test is over."""
    released = threading.Event()
    real = socket.getaddrinfo

    def stuck(host: str, *args: Any, **options: Any) -> Any:
        if host != "stuck.example" or options.get("flags"):
            return real(host, *args, **options)
        released.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    yield released
    released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("resolve "):
            thread.join(5)


@pytest.mark.usefixtures("stuck_resolver")
def test_a_resolver_that_never_answers_costs_the_open_timeout() -> None:
    """DNS that hangs is an open timeout, told as such."""
    failed = asyncio.run(refusal("ws://stuck.example:1/ws/x", open_timeout=OPEN_TIMEOUT))
    assert failed.failure.cause is Cause.OPEN_TIMEOUT
    assert "dns" in failed.failure.detail


@pytest.mark.usefixtures("stuck_resolver")
def test_a_stop_does_not_wait_for_the_resolver() -> None:
    """Cancelling an attempt returns at once, and the loop can end, although a thread still waits for an answer."""

    async def main() -> float:
        task = asyncio.create_task(dial("ws://stuck.example:1/ws/x"))
        await asyncio.sleep(20 * MS)
        asked = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return asked

    asked = asyncio.run(main())
    assert time.monotonic() - asked < 2.0


@pytest.mark.usefixtures("stuck_resolver")
def test_tries_against_a_stuck_resolver_share_one_thread() -> None:
    """An outage of the resolver does not fill the process with threads, one for each attempt."""

    async def main() -> int:
        net = transport(open_timeout=20 * MS)
        for _ in range(5):
            with pytest.raises(AttemptFailed):
                await dial("ws://stuck.example:1/ws/x", net=net)
        return sum(thread.name.startswith("resolve ") for thread in threading.enumerate())

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("lack", [RuntimeError("can't start new thread"), MemoryError()], ids=["thread", "memory"])
def test_a_name_that_once_could_not_be_looked_up_for_want_of_means(
    monkeypatch: pytest.MonkeyPatch, lack: Exception
) -> None:
    """A process that is out of threads or memory tells that at once, as what passes; the next attempt asks anew."""
    begin, ask = threading.Thread.start, socket.getaddrinfo
    asked: list[str] = []

    def means() -> None:
        asked.append("lookup")
        if len(asked) == 1:
            raise lack

    def start_thread(thread: threading.Thread) -> None:
        if thread.name.startswith("resolve ") and isinstance(lack, RuntimeError):
            means()
        begin(thread)

    def getaddrinfo(*args: Any, **options: Any) -> Any:
        if not options.get("flags") and isinstance(lack, MemoryError):
            means()
        return ask(*args, **options)

    monkeypatch.setattr(threading.Thread, "start", start_thread)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def main() -> tuple[AttemptFailed, Failure]:
        async with RawServer(upgraded(saying(close_frame(1000)))) as server:
            net, url = transport(), server.url.replace("127.0.0.1", "localhost")
            with pytest.raises(AttemptFailed) as caught:
                await dial(url, net=net)
            link = await dial(url, net=net)
            return caught.value, (await link.lost())[0]

    failed, end = asyncio.run(main())
    assert failed.failure.cause is Cause.NAME_NOT_FOUND
    assert (str(lack) or "MemoryError") in failed.failure.detail
    assert classify(failed.failure, strikes=1000).severity is Severity.TRANSIENT
    assert end.cause is Cause.CLOSED
    assert len(asked) == 2


PROLOGUE = """
    import asyncio, errno, os, resource, socket, ssl, sys, threading, time
    from wsresearch.collect.clock import Anchor
    from wsresearch.collect.inbox import Inbox
    from wsresearch.collect.seam import AttemptFailed
    from wsresearch.collect.transport import WebSocketTransport

    async def cause(net, url):
        try:
            await net.connect(url, began=net.now(), anchor=Anchor(wall_ns=net.wall_ns(), mono=net.now()),
                              inbox=Inbox(limit=1 << 20, on_arrival=lambda: None))
        except AttemptFailed as exc:
            return exc.failure.cause
        return "opened"
"""


def python(code: str, *, timeout: float = 30, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROLOGUE) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **env},
    )


def test_a_stuck_resolver_does_not_delay_the_exit_of_the_process() -> None:
    """The process is gone at once, although the resolver's thread never came back."""
    done = python("""
        real = socket.getaddrinfo
        def stuck(host, *args, flags=0, **options):
            if flags:
                return real(host, *args, flags=flags, **options)
            time.sleep(3600)
        socket.getaddrinfo = stuck
        print(asyncio.run(cause(WebSocketTransport(open_timeout=0.1), "ws://stuck.example:1/ws/x")))
    """)
    assert done.stdout.strip() == "open_timeout", done.stderr
    assert done.stderr == ""


def test_no_free_descriptors(certificates: Certificates) -> None:
    """A process without free descriptors says so, recovers when there are some, and has not forgotten its CAs."""
    code = """
        net = WebSocketTransport(open_timeout=5)

        async def main():
            low = max(int(name) for name in os.listdir("/proc/self/fd")) + 2
            resource.setrlimit(resource.RLIMIT_NOFILE, (low, 4096))
            taken = []
            try:
                while True:
                    taken.append(os.dup(0))
            except OSError:
                pass
            print(await cause(net, "ws://127.0.0.1:1/ws/x"))
            print(await cause(net, "ws://localhost:1/ws/x"))
            try:
                net._trust()
            except OSError as exc:
                print(errno.errorcode[exc.errno])
            for descriptor in taken:
                os.close(descriptor)
            print(await cause(net, "ws://127.0.0.1:1/ws/x"), net._trust().cert_store_stats()["x509_ca"])

        asyncio.run(main())
    """
    done = python(code, SSL_CERT_FILE=str(certificates.authority), SSL_CERT_DIR="/nonexistent")
    lines = done.stdout.split()
    assert lines == ["no_descriptors", "no_descriptors", "EMFILE", "refused", "1"], done.stdout + done.stderr


@pytest.mark.parametrize(
    "url", ["ws://a..b:80/ws", "ws://" + "x" * 70 + ".example/ws", "http://127.0.0.1/ws", "ws://", "ws://h:notaport/"]
)
def test_an_address_that_is_none(url: str) -> None:
    """What cannot be a WebSocket's address is told as such and not tried again, whichever layer would notice it."""
    failed = asyncio.run(refusal(url, open_timeout=1.0))
    assert failed.failure.cause is Cause.BAD_URL
    assert classify(failed.failure).severity is Severity.PERMANENT


def test_a_dead_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy settings do not concern market data: a dead one in the environment changes nothing."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    failure, messages, _ = ending(saying(frame(1, b"{}") + close_frame(1000)))
    assert failure.cause is Cause.CLOSED
    assert messages == [b"{}"]


# -- the upgrade --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 426])
def test_a_status_that_trying_again_cannot_mend(status: int) -> None:
    """The server understood and says no: permanent, with the status and the server's own words."""
    failed = attempt(answering(http(status, b'{"msg":"no such stream"}')))
    assert failed.failure.cause is Cause.HTTP_STATUS
    assert failed.failure.http_status == status
    assert "no such stream" in failed.failure.detail
    assert classify(failed.failure).severity is Severity.PERMANENT


@pytest.mark.parametrize("status", [429, 418, 503, 403])
def test_retry_after_in_seconds_and_as_a_date(status: int) -> None:
    """A server that says when to come back is obeyed, whichever way it writes the time."""
    seconds = attempt(answering(http(status, Retry_After="17")))
    assert seconds.failure.retry_after == 17
    assert classify(seconds.failure).severity is Severity.WAIT
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    told = attempt(answering(http(status, Retry_After=date))).failure.retry_after
    assert told == pytest.approx(100, abs=3)
    assert attempt(answering(http(status, Retry_After="soon"))).failure.retry_after is None


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["17", "17"], 17),
        (["5", "120"], 120),
        (["120", "5"], 120),
        (["soon", "9", "-3", "Thu, 26 Nov 99999999999 05:00:00 GMT"], 9),
        (["soon", ""], None),
        (["9" * 5000, "1"], LONGEST_RETRY_AFTER),
    ],
)
def test_of_several_times_to_come_back_the_latest_counts(values: list[str], seconds: float | None) -> None:
    """A server and a proxy before it may each say when: waiting for the longest obeys both; no text is a defect."""
    lines = b"".join(b"Retry-After: %s\r\n" % value.encode() for value in values)
    failed = attempt(answering(b"HTTP/1.1 503 Busy\r\n" + lines + b"Content-Length: 0\r\n\r\n"))
    assert (failed.failure.http_status, failed.failure.retry_after) == (503, seconds)


def test_an_answer_in_chunks_and_one_that_ends_with_the_connection() -> None:
    """However the server delimits the body of its refusal, the status is what counts."""
    chunked = b"HTTP/1.1 429 Slow\r\nTransfer-Encoding: chunked\r\nRetry-After: 9\r\n\r\n4\r\nwait\r\n0\r\n\r\n"
    failed = attempt(answering(chunked))
    assert (failed.failure.http_status, failed.failure.retry_after) == (429, 9)
    to_eof = attempt(answering(b"HTTP/1.1 403 No\r\n\r\nforbidden"))
    assert (to_eof.failure.http_status, "forbidden" in to_eof.failure.detail) == (403, True)


def test_200_instead_of_101() -> None:
    """A web page is no WebSocket: permanent when it comes three times in a row."""
    failed = attempt(answering(http(200, b"<html>welcome</html>")))
    assert failed.failure.http_status == 200
    assert classify(failed.failure, strikes=1).severity is Severity.TRANSIENT
    assert classify(failed.failure, strikes=3).severity is Severity.PERMANENT


def test_a_wrong_accept_key() -> None:
    """A proxy that replays an old answer is noticed: a bad upgrade, permanent when it comes three times."""

    async def script(peer: Peer) -> None:
        await peer.asked()
        peer.say(peer.answer().replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"))

    failed = attempt(script)
    assert failed.failure.cause is Cause.BAD_UPGRADE
    assert classify(failed.failure, strikes=3).severity is Severity.PERMANENT


async def redirecting(peer: Peer) -> None:
    """/a leads to /b leads to /open; /loop leads to itself; the others to other servers."""
    await peer.asked()
    host = f"127.0.0.1:{peer.writer.get_extra_info('sockname')[1]}"
    targets = {
        "/a": "/b",
        "/b": f"ws://{host}/c",
        "/c": f"http://{host}/open",  # how a web framework writes the same address
        "/loop": "/loop",
        "/away": "wss://evil.example/ws?token=s3cret",
        "/web": "https://www.example/maintenance",
        "/neighbour": "ws://127.0.0.2/open",
        "/port": "ws://127.0.0.1:9/open",
        "/no-port": "ws://127.0.0.1:99999/open",
        "/no-url": "ws://[::1/open",
        "/section": "/open#section",
    }
    if peer.path == "/twice":
        peer.say(b"HTTP/1.1 302 Found\r\nLocation: /open\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n")
    elif peer.path in targets:
        peer.say(http(302, Location=targets[peer.path]))
    elif peer.path == "/nowhere":
        peer.say(http(302))
    else:
        await peer.said(peer.answer() + close_frame(1000))
        await peer.forever()


@pytest.mark.parametrize(("path", "tries"), [("/a", 4), ("/twice", 2), ("/section", 2)])
def test_a_redirect_on_the_same_server_is_followed(path: str, tries: int) -> None:
    """Three redirects that stay on the server lead to an open connection; of two addresses the first one counts."""

    async def main() -> tuple[Failure, int]:
        async with RawServer(redirecting) as server:
            link = await dial(server.url + path)
            failure, _ = await link.lost()
            return failure, server.accepted

    failure, accepted = asyncio.run(main())
    assert failure.cause is Cause.CLOSED
    assert accepted == tries


@pytest.mark.parametrize("path", ["/loop", "/away", "/web", "/neighbour", "/port", "/no-port", "/no-url"])
def test_a_redirect_elsewhere_is_not_followed(path: str) -> None:
    """A loop, or another server, ends it for good and names the place, without what may be secret in the address."""
    failed = attempt(redirecting, path=path)
    assert failed.failure.cause is Cause.REDIRECTED
    assert "s3cret" not in failed.failure.detail
    assert classify(failed.failure).severity is Severity.PERMANENT
    if path == "/away":
        assert "evil.example" in failed.failure.detail


def test_a_redirect_that_says_not_where() -> None:
    """A redirect without an address is permanent too."""
    failed = attempt(redirecting, path="/nowhere")
    assert failed.failure.http_status == 302
    assert classify(failed.failure).severity is Severity.PERMANENT


HOSTILE = "</script><img src=x onerror=alert(1)>\u202egnp.exe\x1b[31mred\x07\x00 https://u:pw@h/p?key=abc \u2066\ufeff"


def test_hostile_text_in_an_answer_is_made_safe() -> None:
    """What a server writes into its refusal reaches the events as one harmless line of bounded length."""
    failed = attempt(answering(http(403, (HOSTILE + "x" * 5000).encode())))
    assert_harmless(failed.failure.detail)


def assert_harmless(text: str) -> None:
    assert len(text) <= 200
    assert not [c for c in text if ord(c) < 32 or c in "\u202e\u2066\ufeff"]
    assert "pw@" not in text
    assert "abc" not in text


# -- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


def secure_attempt(certificates: Certificates, name: str, host: str = "127.0.0.1") -> AttemptFailed | WebSocketLink:
    """Dial a TLS server with one of the certificates; return the failure, or the link as it was."""

    async def main() -> AttemptFailed | WebSocketLink:
        async with RawServer(upgraded(silent), tls=certificates.server(name)) as server:
            try:
                link = await dial(f"wss://{host}:{server.port}/ws/x")
            except AttemptFailed as exc:
                return exc
            await link.close()
            return link

    return asyncio.run(main())


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> Certificates:
    """A machine that trusts our authority, as its owner would set it up."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    return certificates


def test_phases_tile_an_attempt_over_tls(trusting: Certificates) -> None:
    """DNS, TCP, TLS and upgrade are measured apart, and together they are the whole attempt."""

    async def main() -> tuple[WebSocketLink, float]:
        async def slow(peer: Peer) -> None:
            await peer.asked()
            await asyncio.sleep(100 * MS)
            peer.say(peer.answer())
            await peer.forever()

        async with RawServer(slow, tls=trusting.server("good")) as server:
            net = transport()
            net._trust()  # reading the machine's CAs belongs to no attempt
            began = net.now()
            link = await dial(f"wss://localhost:{server.port}/ws/x", net=net)
            took = net.now() - began
            link.abort()
            return link, took

    link, took = asyncio.run(main())
    phases = link.phases
    assert None not in {phases.dns, phases.tcp, phases.tls, phases.upgrade}
    assert phases.total == pytest.approx(took, abs=50 * MS)
    assert phases.upgrade is not None
    assert 100 * MS <= phases.upgrade < 1.0
    assert phases.tls is not None
    assert 0 < phases.tls < 1.0


def test_without_tls_there_is_no_tls_phase() -> None:
    """A plain connection has the three phases it has."""

    async def main() -> WebSocketLink:
        async with RawServer(upgraded(silent)) as server:
            link = await dial(server.url + "/ws/x")
            link.abort()
            return link

    link = asyncio.run(main())
    assert link.phases.tls is None
    assert None not in {link.phases.dns, link.phases.tcp, link.phases.upgrade}
    assert link.peer.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("name", "host", "word"),
    [
        ("expired", "127.0.0.1", "expired"),
        ("wrong_host", "127.0.0.1", "IP address mismatch"),
        ("wrong_host", "localhost", "Hostname mismatch"),
        ("unknown_authority", "127.0.0.1", "issuer"),
    ],
)
def test_certificates_that_do_not_hold(trusting: Certificates, name: str, host: str, word: str) -> None:
    """Expired, for another host, from an unknown authority: permanent, never ignored, and the text says which."""
    failed = secure_attempt(trusting, name, host)
    assert isinstance(failed, AttemptFailed)
    assert failed.failure.cause is Cause.CERTIFICATE
    assert word in failed.failure.detail
    assert failed.phases.tls is not None
    assert failed.phases.upgrade is None
    assert classify(failed.failure).severity is Severity.PERMANENT


def test_tls_to_a_plain_port() -> None:
    """TLS spoken to a server that speaks none: transient, and named as TLS, not as the network."""

    async def script(peer: Peer) -> None:
        await peer.reader.read(10)
        await peer.said(http(400, b"plain HTTP here"))

    async def main() -> AttemptFailed:
        async with RawServer(script) as server:
            return await refusal(f"wss://127.0.0.1:{server.port}/ws/x")

    failed = asyncio.run(main())
    assert failed.failure.cause is Cause.TLS
    assert failed.phases.tls is not None


@pytest.mark.parametrize("how", ["stalls", "ends", "resets"])
def test_tls_that_does_not_come_about(how: str) -> None:
    """A TLS handshake that stalls ends at the open timeout; one that is cut off counts as a reset."""

    async def script(peer: Peer) -> None:
        await peer.reader.read(10)
        if how == "stalls":
            await peer.forever()
        elif how == "resets":
            peer.reset()

    async def main() -> AttemptFailed:
        async with RawServer(script) as server:
            return await refusal(f"wss://127.0.0.1:{server.port}/ws/x", open_timeout=OPEN_TIMEOUT)

    failed = asyncio.run(main())
    expected = {"stalls": Cause.OPEN_TIMEOUT, "ends": Cause.RESET, "resets": Cause.RESET}
    assert failed.failure.cause is expected[how]
    if how == "stalls":
        assert "tls" in failed.failure.detail


# -- while open ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 4000, 4999])
def test_a_close_frame_tells_code_and_reason(code: int) -> None:
    """The server's code and words are what is recorded, whatever the code means."""
    failure, _, _ = ending(saying(close_frame(code, b"because")))
    assert failure == Failure(cause=Cause.CLOSED, detail="because", close_code=code, close_by="peer")


def test_a_close_frame_without_a_code() -> None:
    """An empty Close frame is 1005, as the standard calls it."""
    failure, _, _ = ending(saying(close_frame()))
    assert (failure.cause, failure.close_code, failure.close_by) == (Cause.CLOSED, 1005, "peer")
    assert classify(failure).severity is Severity.TRANSIENT


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535])
def test_a_code_that_may_not_be_sent(code: int) -> None:
    """A server that sends a forbidden code breaks the protocol, and the connection ends at once."""
    failure, _, noticed = ending(saying_and_staying(close_frame(code)))
    assert failure.cause is Cause.PROTOCOL_ERROR
    assert failure.close_by == "local"
    assert noticed < 1.5


def test_hostile_text_in_a_close_reason_is_made_safe() -> None:
    """HTML, bidi marks and escape sequences in a reason arrive as one harmless line."""
    failure, _, _ = ending(saying(close_frame(1008, HOSTILE.encode()[:123].decode("utf-8", "ignore").encode())))
    assert_harmless(failure.detail)
    assert "gnp.exe" in failure.detail


def test_end_of_stream_inside_a_frame() -> None:
    """FIN in the middle of a message: the message does not exist, what came before it does."""
    failure, messages, _ = ending(saying(frame(1, b"whole") + frame(1, b"half", length=100)))
    assert failure.cause is Cause.EOF
    assert failure.close_by == "peer"
    assert messages == [b"whole"]


def test_reset() -> None:
    """RST is a reset, by the peer."""

    async def script(peer: Peer) -> None:
        await peer.said(frame(1, b"whole"))
        await asyncio.sleep(30 * MS)
        peer.reset()

    failure, messages, _ = ending(script)
    assert (failure.cause, failure.close_by) == (Cause.RESET, "peer")
    assert messages == [b"whole"]


def test_a_frame_that_is_announced_and_never_finished() -> None:
    """Half a frame and silence: the unanswered ping finds it."""
    failure, _, noticed = ending(
        saying_and_staying(frame(1, b"half", length=100)), ping_interval=PING, ping_timeout=PING
    )
    assert failure.cause is Cause.PING_TIMEOUT
    assert noticed < 2 * PING + 2.0


def test_a_half_open_connection() -> None:
    """A peer that is gone without a word is noticed after ping interval plus ping timeout, without a goodbye."""
    failure, _, noticed = ending(silent, ping_interval=PING, ping_timeout=PING)
    assert (failure.cause, failure.close_by) == (Cause.PING_TIMEOUT, "local")
    assert 2 * PING - 20 * MS < noticed < 2 * PING + 0.9


def test_a_half_open_connection_of_a_library_that_nobody_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another version the library judges by itself, and says goodbye for a second; the cause is the same."""
    monkeypatch.setattr(connection, "_TESTED", ("16.9",))
    failure, _, noticed = ending(silent, ping_interval=PING, ping_timeout=PING)
    assert (failure.cause, failure.close_by) == (Cause.PING_TIMEOUT, "local")
    assert 2 * PING - 20 * MS < noticed < 2 * PING + 2.0


@pytest.mark.parametrize("before", [0, 1000])
@pytest.mark.parametrize("is_answered", [True, False])
def test_a_ping_whose_answer_came_while_this_process_slept(*, is_answered: bool, before: int) -> None:
    """Who wakes up reads the socket first, be it a megabyte: a peer that answered is not taken for dead."""
    meanwhile, afterwards = b"m" * 1000, b"afterwards"

    async def script(peer: Peer) -> None:
        pong = frame(10, await peer.pinged())
        peer.say(frame(1, meanwhile) * before + pong * is_answered)
        time.sleep(4 * PING)  # noqa: ASYNC251 - both ends share this process, and it sleeps
        if await peer.opcode() == PING_FRAME:
            await peer.said(frame(1, afterwards) + close_frame(1000))
        await peer.forever()

    failure, messages, _ = ending(script, ping_interval=PING, ping_timeout=PING)
    assert failure.cause is (Cause.CLOSED if is_answered else Cause.PING_TIMEOUT)
    assert messages == [meanwhile] * before + [afterwards] * is_answered


def test_a_close_frame_while_tcp_stays_open() -> None:
    """A peer that says goodbye and keeps TCP open is not waited for: noticed at once, with its words."""
    failure, messages, noticed = ending(saying_and_staying(frame(1, b"last") + close_frame(1001, b"going away")))
    assert (failure.cause, failure.close_code, failure.detail) == (Cause.CLOSED, 1001, "going away")
    assert messages == [b"last"]
    assert noticed < 1.0


@pytest.mark.parametrize("tcp", [saying, saying_and_staying])
def test_messages_before_a_close_are_not_lost(tcp: Callable[[bytes], Script]) -> None:
    """Thousands of messages right before a Close frame are all delivered, whether or not TCP ends there too."""
    sent = [b"%d" % number for number in range(20_000)]
    failure, messages, _ = ending(tcp(b"".join(frame(1, m) for m in sent) + close_frame(1000)))
    assert failure.cause is Cause.CLOSED
    assert messages == sent


@pytest.mark.parametrize("length", [(1 << 20) + 1, 1 << 40], ids=["a byte too many", "2^40 declared"])
def test_a_message_that_is_too_big(length: int) -> None:
    """Refused by its header, before a byte of it takes up memory."""
    failure, messages, noticed = ending(saying_and_staying(frame(1, b"x", length=length)))
    assert (failure.cause, failure.close_code, failure.close_by) == (Cause.TOO_BIG, 1009, "local")
    assert messages == []
    assert noticed < 1.5


def test_a_message_of_a_million_bytes_is_none_too_big() -> None:
    """The limit is where it says it is."""
    failure, messages, _ = ending(saying(frame(1, b"x" * (1 << 20)) + close_frame(1000)))
    assert failure.cause is Cause.CLOSED
    assert len(messages[0]) == 1 << 20


def test_a_message_in_pieces() -> None:
    """Fragments with pings between them, one byte at a time, are one message."""
    pieces = [frame(1, b"{", fin=False), frame(9, b"!"), frame(0, b'"a":1', fin=False), frame(9), frame(0, b"}")]

    async def script(peer: Peer) -> None:
        for byte in b"".join(pieces):
            await peer.said(bytes([byte]))
        await peer.said(close_frame(1000))

    _, messages, _ = ending(script)
    assert messages == [b'{"a":1}']


def test_thousands_of_fragments() -> None:
    """A message in ever more pieces is refused at some point, not collected for ever."""

    async def script(peer: Peer) -> None:
        peer.say(frame(1, b"x", fin=False))
        for _ in range(300):
            await peer.said(frame(0, b"x", fin=False) * 1000)
        await peer.forever()

    failure, _, _ = ending(script)
    assert failure.cause is Cause.TOO_BIG
    assert failure.close_by == "local"


BROKEN = {
    "reserved bits": frame(1, b"x", reserved=4),
    "a reserved opcode": frame(3, b"x"),
    "a masked frame": frame(1, b"x", masked=True),
    "a continuation of nothing": frame(0, b"x"),
    "a new message inside one": frame(1, b"x", fin=False) + frame(1, b"y"),
    "a fragmented ping": frame(9, b"x", fin=False),
    "a ping of 126 bytes": frame(9, b"x" * 126),
    "a Close frame of one byte": frame(8, b"x"),
    "a close reason that is no UTF-8": close_frame(1000, b"\xff\xfe"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
def test_broken_frames(content: bytes) -> None:
    """What the protocol forbids ends the connection, by us, at once; what came before it is delivered."""
    failure, messages, noticed = ending(saying_and_staying(frame(1, b"good") + content))
    assert failure.cause is Cause.PROTOCOL_ERROR
    assert failure.close_by == "local"
    assert messages == [b"good"]
    assert noticed < 1.5
    assert classify(failure, strikes=3).severity is Severity.PERMANENT


def test_text_that_is_no_text_is_delivered() -> None:
    """Invalid UTF-8 in a message is the decoder's to count as a bad row: it does not cost the connection."""
    failure, messages, _ = ending(saying(frame(1, b"\xff\xfe") + frame(1, b"good") + close_frame(1000)))
    assert failure.cause is Cause.CLOSED
    assert messages == [b"\xff\xfe", b"good"]


def test_a_ping_flood_is_answered() -> None:
    """Thousands of pings between messages cost nothing but their answers."""

    async def script(peer: Peer) -> None:
        reading = asyncio.create_task(peer.forever())
        for number in range(100):
            await peer.said(frame(9, b"x" * 125) * 100 + frame(1, b"%d" % number))
        await peer.said(close_frame(1000))
        await reading

    failure, messages, _ = ending(script)
    assert failure.cause is Cause.CLOSED
    assert len(messages) == 100


def test_a_ping_flood_whose_answers_nobody_reads() -> None:
    """A peer that pings without end and reads nothing is cut off before its pongs fill the memory."""

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()
        flood = frame(9, b"x" * 125) * 1000
        for _ in range(1000):
            await peer.said(flood)

    failure, _, _ = ending(script, ping_interval=60, ping_timeout=60)
    assert failure.cause is Cause.PROTOCOL_ERROR
    assert failure.close_by == "local"
    assert "read" in failure.detail


def test_receive_times_are_those_of_the_arrival() -> None:
    """A message carries the wall time at which it arrived, never stepping back within a connection."""

    async def main() -> tuple[list[int], int, int]:
        async def script(peer: Peer) -> None:
            for _ in range(5):
                await peer.said(frame(1, b"x"))
                await asyncio.sleep(20 * MS)
            await peer.said(close_frame(1000))

        async with RawServer(upgraded(script)) as server:
            inbox = Inbox(limit=1 << 20, on_arrival=lambda: None)
            before = time.time_ns()
            link = await dial(server.url + "/ws/x", inbox=inbox)
            await link.lost()
            return inbox.take(10).recv_ns.tolist(), before, time.time_ns()

    times, before, after = asyncio.run(main())
    assert before < times[0]
    assert times[-1] < after + 10**6
    assert all(b - a > 10 * 10**6 for a, b in pairwise(times))


def test_the_round_trip_of_a_ping_and_the_offset_of_the_clock() -> None:
    """What is known of the distance to the server: the newest ping's round trip, and its clock against ours."""

    async def main() -> tuple[float | None, float | None, float | None]:
        async def script(peer: Peer) -> None:
            await peer.asked()
            date = format_datetime(datetime.now(UTC) - timedelta(seconds=100), usegmt=True)
            peer.say(peer.answer().replace(b"\r\n", b"\r\nDate: " + date.encode() + b"\r\n", 1))
            peer.say(frame(10, await peer.pinged()))
            await peer.forever()

        async with RawServer(script) as server:
            link = await dial(server.url + "/ws/x", net=transport(ping_interval=50 * MS, ping_timeout=5.0))
            before = link.ping_rtt
            while link.ping_rtt is None:  # noqa: ASYNC110 - nobody tells of a pong
                await asyncio.sleep(10 * MS)
            offset, rtt = link.clock_offset, link.ping_rtt
            link.abort()
            return before, rtt, offset

    before, rtt, offset = asyncio.run(main())
    assert before is None
    assert rtt is not None
    assert 0 < rtt < 1
    assert offset == pytest.approx(100, abs=3)


@pytest.mark.parametrize(
    ("dates", "offset"),
    [
        ([100, 50], 100),
        ([None, 50], 50),
        (["Thu, 26 Nov 99999999999 05:00:00 GMT"], None),
        (["Thu, 26 Nov 2026 05:00:00 +99999999999999999999"], None),
        (["now"], None),
    ],
)
def test_a_clock_that_is_told_twice_or_absurdly(dates: list[int | str | None], offset: float | None) -> None:
    """The first date that is one says how far the clocks are apart; whatever else a server says of it, we are open."""

    def told(ago: int | str | None) -> bytes:
        if isinstance(ago, int):
            return format_datetime(datetime.now(UTC) - timedelta(seconds=ago), usegmt=True).encode()
        return (ago or "").encode()

    async def main() -> float | None:
        async def script(peer: Peer) -> None:
            await peer.asked()
            lines = b"".join(b"\r\nDate: " + told(date) for date in dates)
            peer.say(peer.answer().replace(b"\r\n", lines + b"\r\n", 1))
            await peer.forever()

        async with RawServer(script) as server:
            link = await dial(server.url + "/ws/x")
            link.abort()
            return link.clock_offset

    found = asyncio.run(main())
    assert found == (None if offset is None else pytest.approx(offset, abs=3))


NAMES = ["Date", "Retry-After", "Location", "Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"]
NAMES += [
    "Date",
    "Retry-After",
    "Location",
    "Sec-WebSocket-Extensions",
    "Content-Length",
    "Transfer-Encoding",
    "Content-Encoding",
    "Set-Cookie",
    "X-Odd",
]
NUMBERS = st.one_of(st.integers(-3, 200), st.sampled_from([10**11, 10**25, int("9" * 4000)])).map(str)
DATES = st.builds(
    "Thu, {} {} {} {}:{}:{} {}".format,
    NUMBERS,
    st.sampled_from(["Nov", "Foo", "11"]),
    *[NUMBERS] * 4,
    st.sampled_from(["GMT", "-0000", "+9999", "+" + "9" * 30, ""]),
)
WHERE = st.sampled_from(
    ["", "/", "/open", "//", "//[::1", "http://", "ws://h:99999/", "ws://[x]/", "/é#ü", "/\t", "?#"]
)
VALUES = st.one_of(
    NUMBERS, DATES, WHERE, st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)
)


@given(
    headers=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6),
    status=st.sampled_from([101, 200, 302, 307, 403, 418, 429, 503]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_is_a_defect_of_ours(headers: list[tuple[str, str]], status: int) -> None:
    """Whatever a server writes into the head of its answer, repeated or absurd: we are open, or an attempt failed."""

    async def main() -> WebSocketLink | AttemptFailed:
        async def script(peer: Peer) -> None:
            await peer.asked()
            begin, rest = peer.answer().split(b"\r\n", 1)
            if status != 101:
                begin, rest = b"HTTP/1.1 %d Because" % status, b"\r\n"
            lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
            peer.say(begin + b"\r\n" + b"".join(lines) + rest)

        async with RawServer(script) as server:
            try:
                link = await dial(server.url + "/ws/x", net=transport(open_timeout=OPEN_TIMEOUT))
            except AttemptFailed as exc:
                return exc
            link.abort()
            return link

    found = asyncio.run(main())
    if isinstance(found, AttemptFailed):
        assert found.failure.cause not in {Cause.INTERNAL, Cause.UNKNOWN}, found.failure


# -- leaving ------------------------------------------------------------------------------------------------------


def test_closing_says_goodbye_with_1000() -> None:
    """A stop is polite: code 1000, and TCP is gone afterwards, without waiting for a peer that does not hang up."""

    async def main() -> list[int]:
        heard: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

        async def script(peer: Peer) -> None:
            opcode = await peer.opcode()
            await peer.said(close_frame(1000))
            heard.set_result([opcode, len(await peer.reader.read())])

        async with RawServer(upgraded(script)) as server:
            link = await dial(server.url + "/ws/x")
            asked = time.monotonic()
            await link.close()
            return [*await asyncio.wait_for(heard, 5), int(time.monotonic() - asked > 0.9)]

    assert asyncio.run(main()) == [8, 0, 0]


def test_a_goodbye_under_load_is_heard_out() -> None:
    """While data still pours in, the closing handshake comes to its end: the server sees 1000 and FIN, not a reset."""

    async def main() -> tuple[list[str], int]:
        ended: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        sent = 0

        async def script(peer: Peer) -> None:
            nonlocal sent
            heard = asyncio.create_task(peer.opcode())
            while not heard.done():
                await peer.said(frame(1, b"x" * 200) * 50)
                sent += 50
                await asyncio.sleep(0)
            try:
                await peer.said(close_frame(1000))
                rest = await peer.reader.read()
            except ConnectionError as exc:
                ended.set_result([str(heard.result()), type(exc).__name__])
            else:
                ended.set_result([str(heard.result()), f"{len(rest)} bytes, then FIN"])

        async with RawServer(upgraded(script)) as server:
            inbox = Inbox(limit=1 << 30, on_arrival=lambda: None)
            link = await dial(server.url + "/ws/x", inbox=inbox)
            watching = asyncio.create_task(link.lost())
            await asyncio.sleep(50 * MS)
            await link.close()
            await watching
            return await asyncio.wait_for(ended, 5), sent - len(inbox)

    ended, missing = asyncio.run(main())
    assert ended == ["8", "0 bytes, then FIN"]
    assert missing == 0, "what was sent before the server said goodbye was received"


@pytest.mark.parametrize("busy", [False, True], ids=["silent", "flooding"])
def test_closing_a_peer_that_does_not_answer_takes_a_second(*, busy: bool) -> None:
    """A peer that ignores the goodbye, silently or under full load, does not hold up a stop."""

    async def main() -> float:
        async def script(peer: Peer) -> None:
            while busy:
                await peer.said(frame(1, b"x" * 200) * 100)
            await peer.forever()

        async with RawServer(upgraded(script)) as server:
            link = await dial(server.url + "/ws/x")
            await asyncio.sleep(50 * MS)
            asked = time.monotonic()
            await link.close()
            return time.monotonic() - asked

    assert asyncio.run(main()) < 1.9


def test_sending_on_a_lost_connection_raises_nothing() -> None:
    """That a link died is told in one place; a request sent into it is just not heard."""

    async def main() -> Failure:
        async with RawServer(upgraded(saying(close_frame(1001)))) as server:
            link = await dial(server.url + "/ws/x")
            failure, _ = await link.lost()
            await link.send("hello")
            return failure

    assert asyncio.run(main()).close_code == 1001


def test_nothing_leaks() -> None:
    """After 200 failed attempts of every kind and 50 connections there are as many descriptors, tasks and threads."""

    async def rude(peer: Peer) -> None:
        await peer.asked()
        match peer.path:
            case "/open":
                peer.say(peer.answer() + frame(1, b"x"))
                await peer.opcode()
                peer.say(close_frame(1000))
            case "/reset":
                peer.reset()
            case "/banner":
                await peer.said(b"SSH-2.0\r\n")
            case "/status":
                await peer.said(http(503))
            case "/stall":
                await peer.forever()
            case "/key":
                await peer.said(peer.answer().replace(b"Accept: ", b"Accept: x"))

    async def main() -> None:
        refused = f"ws://127.0.0.1:{free_port()}"
        async with RawServer(rude) as server:
            urls = [server.url + path for path in ("/eof", "/reset", "/banner", "/status", "/stall", "/key")]
            urls += [refused, "ws://localhost" + refused[len("ws://127.0.0.1") :], "ws://a..b"]
            urls += [server.url.replace("ws:", "wss:") + "/x"]

            async def one(url: str) -> None:
                net = transport(open_timeout=50 * MS if "stall" in url or "wss" in url else 5.0)
                await refusal_of(url, net)

            async def open_and_leave(how: int) -> None:
                link = await dial(server.url + "/open")
                if how % 2:
                    await link.close()
                link.abort()
                await link.lost()

            async def cancelled() -> None:
                task = asyncio.create_task(dial(server.url + "/stall"))
                await asyncio.sleep(5 * MS)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            for url in urls:  # what is made once, is made
                await one(url)
            await asyncio.sleep(50 * MS)  # and what was closed, is gone
            before = held_now()
            for _ in range(20):
                await asyncio.gather(*(one(url) for url in urls))
            for number in range(50):
                await open_and_leave(number)
                await cancelled()
            async with asyncio.timeout(5):
                while (after := held_now()) != before:  # noqa: ASYNC110 - nor of a closed descriptor
                    await asyncio.sleep(10 * MS)
            assert after == before

    async def refusal_of(url: str, net: WebSocketTransport) -> None:
        with pytest.raises(AttemptFailed):
            await dial(url, net=net)

    asyncio.run(main())


def held_now() -> tuple[int, int, int]:
    """Descriptors, tasks and threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks()), threading.active_count()
