"""The overridden receive path: what must be alike is in ``test_transport``; here is what only it could break."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from tests.collect.rawserver import Peer, RawServer, close_frame, frame, upgraded
from wsresearch.collect import connection
from wsresearch.collect.clock import Anchor
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.transport import WebSocketLink, WebSocketTransport


async def dial(url: str, inbox: Inbox, **options: float) -> WebSocketLink:
    net = WebSocketTransport(**options)  # type: ignore[arg-type]
    anchor = Anchor(wall_ns=net.wall_ns(), mono=net.now())
    return await net.connect(url, began=anchor.mono, anchor=anchor, inbox=inbox)


def received(content: bytes) -> tuple[list[bytes], list[int]]:
    """Messages and receive times of a server that says this together with its answer to the upgrade."""

    async def main() -> tuple[list[bytes], list[int]]:
        async def script(peer: Peer) -> None:
            await peer.asked()
            await peer.said(peer.answer() + content)

        async with RawServer(script) as server:
            inbox = Inbox(limit=1 << 24, on_arrival=lambda: None)
            link = await dial(server.url + "/ws/x", inbox)
            await link.lost()
            taken = inbox.take(1 << 20)
            return list(taken), taken.recv_ns.tolist()

    return asyncio.run(main())


MIXED = (
    frame(1, b"one")
    + frame(1, b"t", fin=False)
    + frame(9)
    + frame(0, b"wo")
    + b"".join(frame(1, b"%d" % number) for number in range(100))
    + frame(2, b"binary")
    + frame(1, b"x" * 70_000)
    + frame(1, b"last")
    + close_frame(1000)
)
SAID = [b"one", b"two", *(b"%d" % number for number in range(100)), b"binary", b"x" * 70_000, b"last"]


def test_messages_keep_their_order_whoever_takes_them_apart() -> None:
    """Blocks, single messages, fragments and what the library delivers come out in the order they were sent."""
    messages, times = received(MIXED)
    assert messages == SAID
    assert times == sorted(times)


def test_one_socket_read_has_one_receive_time() -> None:
    """Messages that one packet brought arrived at the same moment."""
    messages, times = received(b"".join(frame(1, b"%d" % number) for number in range(50)))
    assert len(messages) == 50
    assert len(set(times)) == 1


@pytest.mark.parametrize("change", ["another version", "a changed parser"])
def test_a_library_that_is_not_as_expected_is_used_as_documented(
    change: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a version nobody tested the messages are the same, by recv(), and the log says why it is slower."""
    if change == "another version":
        monkeypatch.setattr(connection, "_TESTED", ("16.9",))
    else:
        monkeypatch.setattr(connection, "_name", lambda _generator: "run")
    with caplog.at_level(logging.WARNING, logger=connection.__name__):
        messages, _ = received(MIXED)
    assert messages == SAID
    assert [
        record.message for record in caplog.records if "recv()" in record.message and "websockets" in record.message
    ]


def test_a_full_queue_is_no_reason_to_leave_a_ping_unanswered() -> None:
    """While nothing is taken from the queue: it holds no more than its limit, drops are counted, pings get answers."""

    async def main() -> tuple[Inbox, list[float]]:
        answered: list[float] = []
        inbox = Inbox(limit=1 << 20, on_arrival=lambda: None)

        async def script(peer: Peer) -> None:
            for number in range(4):
                for _ in range(100):
                    await peer.said(frame(1, b"x" * 200) * 100)
                asked = time.monotonic()
                await peer.said(frame(9, b"%d" % number))
                assert await peer.opcode() == 10
                answered.append(time.monotonic() - asked)
            await peer.said(close_frame(1000))
            await peer.forever()

        async with RawServer(upgraded(script)) as server:
            link = await dial(server.url + "/ws/x", inbox)
            await asyncio.wait_for(link.lost(), 20)
        return inbox, answered

    inbox, answered = asyncio.run(main())
    counted = inbox.count()
    assert counted.messages == 40_000
    assert counted.messages - counted.dropped == len(inbox)
    assert inbox.held_bytes <= 1 << 20
    assert len(answered) == 4
    assert max(answered) < 2.0


def test_a_burst_is_held_back_and_nothing_is_lost() -> None:
    """Eight times what the queue holds, against a consumer that is briefly away and then keeps up: not one drop."""

    async def main() -> tuple[Inbox, int]:
        inbox = Inbox(limit=1 << 20, on_arrival=lambda: None)
        taken = 0

        async def script(peer: Peer) -> None:
            for _ in range(400):
                await peer.said(frame(1, b"x" * 200) * 100)
            await peer.said(close_frame(1000))
            await peer.forever()

        async def consume() -> None:
            nonlocal taken
            await asyncio.sleep(0.1)
            while True:
                block = inbox.take(4096)
                taken += len(block)
                inbox.release(block.footprint)
                await asyncio.sleep(0.001)

        async with RawServer(upgraded(script)) as server:
            link = await dial(server.url + "/ws/x", inbox)
            consuming = asyncio.create_task(consume())
            await asyncio.wait_for(link.lost(), 20)
            consuming.cancel()
        return inbox, taken + len(inbox)

    inbox, messages = asyncio.run(main())
    assert inbox.count().dropped == 0
    assert messages == 40_000
