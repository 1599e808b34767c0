"""While open: everything that can happen to an open WebSocket."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.collect.rawserver import close_frame, frame
from tests.collect.test_transport import BROKEN
from tests.drill.at_length import both_deliver, flapping, try_again_later, within_budget
from tests.drill.scenario import Play, Scenario, Section
from tests.drill.sockets import Fault, Scene, on_sockets
from tests.drill.virtually import on_virtual_time
from wsresearch.venues.binance_wire import shutdown_message

__all__ = ["SCENARIOS"]

PING, PONG, IDLE = 0.3, 0.4, 0.5
QUICK: dict[str, Any] = {"ping_interval": PING, "ping_timeout": PONG}
HALF_OPEN = PING + PONG + 1.0
"""Promised to be noticed within the ping's interval and timeout and a second: 11 s with the defaults."""
_ESTABLISHED = 1
"""Of Linux's tcp_states.h."""
HAUNTS = 0.5
"""Seconds for which a replaced connection delivers beside the new one."""
LATE = 1.0
"""Seconds that a loaded machine may be late with what it does at a deadline."""


# -- ways to end --------------------------------------------------------------------------------------------------


def closes(*codes: int | None, stays: bool = False) -> Fault:
    """Close with one of these codes; with `stays` TCP is kept open, whatever the client does."""

    async def fault(scene: Scene) -> None:
        code = scene.rng.choice(codes)
        reason = scene.rng.choice([b"", b"because", "</script><b>\u202e\x1b[31m".encode()]) if code is not None else b""
        await scene.peer.said(close_frame(code, reason))
        if stays:
            await scene.gone()
            await scene.peer.forever()
        elif scene.rng.random() < 0.5:
            await scene.gone()

    return fault


def at_once(fault: Fault) -> Fault:
    """Upgrade and do it before a word is said."""

    async def opened(scene: Scene) -> None:
        await scene.open()
        await fault(scene)

    return opened


async def fin(scene: Scene) -> None:
    scene.peer.writer.close()


async def rst(scene: Scene) -> None:
    scene.peer.reset()


def inside_a_frame(end: Fault | None) -> Fault:
    """Say the first bytes of a frame, and end, or never go on."""

    async def fault(scene: Scene) -> None:
        whole = frame(1, scene.venue.trade().wire())
        await scene.peer.said(whole[: scene.rng.randrange(1, len(whole))])
        await asyncio.sleep(scene.rng.uniform(0, 0.03))
        if end is None:
            await scene.mute()
        else:
            await end(scene)

    return fault


async def half_open(scene: Scene) -> None:
    """Neither read nor write any more; the kernel goes on to acknowledge."""
    await scene.deaf()
    await _left(scene)


async def _left(scene: Scene) -> None:
    """Wait for the client's FIN or RST without reading what it says."""
    sock = scene.peer.writer.get_extra_info("socket")
    while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED:  # noqa: ASYNC110 - nor told
        await asyncio.sleep(0.002)


async def silent(scene: Scene) -> None:
    """Answer pings, send nothing."""
    await scene.gone()


def says_only(*frames: bytes) -> Fault:
    """Answer pings, and send these now and then; no market data."""

    async def fault(scene: Scene) -> None:
        telling = asyncio.create_task(_repeat(scene, frames))
        await scene.gone()
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

    return fault


async def _repeat(scene: Scene, frames: Sequence[bytes]) -> None:
    while True:
        scene.peer.say(scene.rng.choice(frames))
        await asyncio.sleep(scene.rng.uniform(0.02, 0.1))


async def pings_unanswered(scene: Scene) -> None:
    """Read everything, answer nothing."""
    await scene.mute()


async def ping_flood(scene: Scene) -> None:
    """Thousands of pings between trades."""
    for _ in range(scene.rng.randint(3, 8)):
        await scene.peer.said(frame(9, b"x" * scene.rng.randrange(126)) * scene.rng.randrange(200, 1000))
        await scene.tell()
    await _part(scene)


async def deaf_ping_flood(scene: Scene) -> None:
    """Pings without end, and their answers are not read."""
    await scene.deaf()
    flood = frame(9, b"x" * 125) * 1000
    for _ in range(2000):
        await scene.peer.said(flood)


async def _part(scene: Scene) -> None:
    """End politely: what the client should make of it is another scenario."""
    await scene.peer.said(close_frame(1001, b"part"))
    await scene.gone()


# -- what is said wrongly -----------------------------------------------------------------------------------------


def says(*contents: bytes) -> Fault:
    """Say one of these and keep TCP open until the client leaves."""

    async def fault(scene: Scene) -> None:
        await scene.peer.said(scene.rng.choice(contents))
        await scene.gone()
        await scene.peer.forever()

    return fault


async def fragments_without_end(scene: Scene) -> None:
    scene.peer.say(frame(1, b"{", fin=False))
    for _ in range(300):
        await scene.peer.said(frame(0, b"x", fin=False) * 1000)
    await scene.gone()


def then_parts(act: Callable[[Scene], Awaitable[None]]) -> Fault:
    """Do what costs no connection, go on with trades, and part."""

    async def fault(scene: Scene) -> None:
        await act(scene)
        await scene.tell()
        await _part(scene)

    return fault


async def in_slices(scene: Scene) -> None:
    """Trades in fragments, with pings between them, in slices of a few bytes."""
    content = b""
    for trade in scene.venue.told(scene.rng.randrange(1, 6)):
        wire = trade.wire()
        cuts = sorted(scene.rng.sample(range(1, len(wire)), scene.rng.randrange(1, 5)))
        pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
        for number, piece in enumerate(pieces):
            content += frame(0 if number else 1, piece, fin=piece is pieces[-1])
            content += frame(9, b"!") * scene.rng.randrange(2) + frame(10) * scene.rng.randrange(2)
    size = scene.rng.choice([1, 1, 2, 7])
    for start in range(0, len(content), size):
        await scene.peer.said(content[start : start + size])
        if scene.rng.random() < 0.05:
            await asyncio.sleep(0)
    await scene.settled()


async def slow_path(scene: Scene) -> None:
    """Latency, jitter and a few kilobytes a second."""
    content = b"".join(frame(1, trade.wire()) for trade in scene.venue.told(scene.rng.randrange(5, 12)))
    while content:
        size = scene.rng.randrange(1, 200)
        await scene.peer.said(content[:size])
        content = content[size:]
        await asyncio.sleep(scene.rng.uniform(0, 0.03))
    await scene.settled()


NO_UTF8 = [b"\xff\xfe", b'{"stream":"\xc3\x28"}', b"\xed\xa0\x80", b"{}\x80"]


def no_text(count: list[int]) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        for _ in range(scene.rng.randrange(1, 5)):
            await scene.peer.said(frame(scene.rng.choice([1, 2]), scene.rng.choice(NO_UTF8)))
            count[0] += 1
            await scene.tell(2)

    return act


def with_count(make: Callable[[list[int]], Fault], **options: Any) -> Play:
    """A play whose script counts what must be rejected."""

    def play(run: Any) -> Any:
        count = [0]
        return on_sockets(make(count), rejected=lambda _: count[0], **options)(run)

    return play


async def flood(scene: Scene) -> None:
    """Far more at once than the queue holds, again and again."""
    for _ in range(3):
        trades = scene.venue.told(4000)
        await scene.peer.said(b"".join(frame(1, trade.wire()) for trade in trades))
    await scene.settled()
    await asyncio.sleep(0.2)
    await _part(scene)


def shutdown(*, announced: bool) -> Fault:
    """The venue's end after 24 hours, announced or not; data goes on to come until the close."""

    async def fault(scene: Scene) -> None:
        if announced:
            await scene.peer.said(frame(1, shutdown_message(1_800_000_000_000, combined=True)))
            await scene.tell()
        await scene.peer.said(close_frame(1001, b"24h"))
        await scene.gone()

    return fault


async def outlived(scene: Scene) -> None:
    """Be silent until the client has another connection, then deliver on the old one for as long as TCP lets us."""
    if scene.number == 1:
        while len(scene.stage.accepted) < 2:  # noqa: ASYNC110 - told to nobody
            await asyncio.sleep(0.002)
        until = time.monotonic() + HAUNTS
        while time.monotonic() < until and not scene.peer.writer.transport.is_closing():
            scene.peer.say(frame(1, scene.venue.trade().wire()))
            await asyncio.sleep(0.01)
        return
    for _ in range(10):
        await scene.tell()
        await asyncio.sleep(HAUNTS / 10)
    await _part(scene)


# -- the table ----------------------------------------------------------------------------------------------------


def o(name: str, injected: str, play: Fault | Play, *causes: str, **told: Any) -> Scenario:
    kept = ("truth", "notes", "may_note", "within", "recovers", "ends", "attempts", "waits")
    keep = {key: told.pop(key) for key in kept if key in told}
    if "ends" in keep:
        told["ends"] = keep["ends"]
    if "notes" in keep:
        keep["notes"] = frozenset(keep["notes"])
    ready = told.pop("ready", False)
    return Scenario(
        name=name,
        section=Section.OPEN,
        injected=injected,
        play=play if ready else on_sockets(play, **{"delivers": True} | told),  # type: ignore[arg-type]
        causes=frozenset(causes),
        **keep,
    )


_THRICE: dict[str, Any] = {
    "ends": 3,
    "attempts": 3,
    "delivers": False,
    "truth": "after three in a row the run ends by itself and says how to mend it",
}
FORBIDDEN = (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)
COMPRESSED = frame(1, b"\xaa\x56\x4a\x2c\x4a\xcd\x2d\x4a\x02\x00", reserved=4)


SCENARIOS = (
    *(o(f"close {'without a code' if code is None else code}",
        "a Close frame, and TCP is closed before or after its answer", closes(code), "closed")
      for code in (1000, 1001, None, 1011, 1012)),
    o("close while TCP stays open", "a Close frame, and the server never hangs up", closes(1000, 1001, stays=True),
      "closed", within=1.0),
    o("close 1013", "try again later, once or twice",
      on_virtual_time(try_again_later, seconds=60), "closed", ready=True, waits=5.0,
      truth="every row stored; at least 5 s until the next attempt"),
    *(o(f"close {code}", "a Close frame that blames us, once or twice, after data",
        closes(code), "closed") for code in (1002, 1003, 1007, 1008, 1009, 1010)),
    o("close 4xxx", "a code of the venue's own, once or twice, after data", closes(4000, 4001, 4321, 4999), "closed"),
    *(o(f"close {code}, thrice", "the same Close frame right after each upgrade", at_once(closes(code)), "closed",
        **_THRICE) for code in (1002, 1003, 1007, 1008, 1009, 1010, 4001)),
    o("a close code that may not be sent", "codes 0, 999, 1005, 1006, 1015, 2999, 5000, …",
      closes(*FORBIDDEN, stays=True), "protocol_error", within=1.5),
    o("FIN without a Close frame", "the stream ends between two frames", fin, "eof"),
    o("RST", "the connection is reset between two frames", rst, "reset"),
    o("FIN inside a frame", "the stream ends in the middle of a message", inside_a_frame(fin), "eof"),
    o("RST inside a frame", "the connection is reset in the middle of a message", inside_a_frame(rst), "reset"),
    o("a frame that is announced and never finished", "half a message, and nothing more", inside_a_frame(None),
      "ping_timeout", within=HALF_OPEN + LATE, times=(1, 1), **QUICK),
    o("half open", "the server neither reads nor writes any more", half_open, "ping_timeout",
      within=HALF_OPEN + LATE, times=(1, 1), **QUICK),
    o("pings unanswered", "the server reads and answers nothing", pings_unanswered, "ping_timeout",
      within=HALF_OPEN + LATE, times=(1, 1), **QUICK),
    o("open but silent", "pings are answered, no data comes", silent, "stalled", within=IDLE + LATE, idle_timeout=IDLE),
    o("only pongs", "unasked pongs, no data", says_only(frame(10), frame(10, b"x")), "stalled", within=IDLE + LATE,
      idle_timeout=IDLE),
    o("only pings", "pings from the server, no data", says_only(frame(9), frame(9, b"x" * 125)), "stalled",
      within=IDLE + LATE, idle_timeout=IDLE),
    o("only acks and heartbeats", "messages that are no market data",
      says_only(frame(1, b'{"result":null,"id":1}'), frame(1, b'{"stream":"x@bookTicker","data":{"u":1}}')), "stalled",
      within=IDLE + LATE, idle_timeout=IDLE),
    o("a ping flood", "thousands of pings between trades", ping_flood, "closed"),
    o("a ping flood whose answers are not read", "pings without end from a server that does not read", deaf_ping_flood,
      "protocol_error", times=(1, 1)),
    o("an oversized message", "a message of one byte more than is taken",
      says(frame(1, b"x", length=(1 << 20) + 1)), "too_big", within=1.5),
    o("2^40 bytes declared", "a frame header that declares a terabyte", says(frame(1, b"x", length=1 << 40)), "too_big",
      within=1.5),
    o("thousands of fragments", "a message in ever more pieces", fragments_without_end, "too_big", times=(1, 1)),
    *(o(name, "a frame that the protocol forbids", says(content), "protocol_error", within=1.5)
      for name, content in BROKEN.items()),
    o("compression that was not agreed on", "a frame marked as compressed, a bomb perhaps", says(COMPRESSED),
      "protocol_error", within=1.5),
    o("broken frames, thrice", "a forbidden frame right after each upgrade", at_once(says(*BROKEN.values())),
      "protocol_error", **_THRICE),
    o("text that is no UTF-8", "invalid UTF-8 between trades",
      with_count(lambda n: then_parts(no_text(n)), delivers=True), "closed",
      ready=True, notes=["rejected"], truth="every row stored, each bad message counted, no connection lost"),
    o("fragments, pings and one-byte slices", "trades in pieces, pings between them, a few bytes at a time",
      then_parts(in_slices), "closed"),
    o("latency, jitter and little bandwidth", "trades in slices, with pauses", then_parts(slow_path), "closed"),
    o("a flood beyond the queue", "12,000 trades at once into a queue of 64 KiB", flood, "closed", times=(1, 1),
      queue_bytes=1 << 16, may_lose=None, notes=["overflow"],
      truth="stored + told as dropped = sent, each drop in a hole"),
    o("flapping, at once", "the connection is closed right after the upgrade", at_once(closes(1000, 1001, None)),
      "closed", delivers=False, times=(2, 5)),
    o("flapping, after one message", "the connection is closed after a few messages", closes(1000, 1001, None),
      "closed", times=(2, 5)),
    o("flapping for minutes", "closed at once or after one message, again and again",
      on_virtual_time(flapping, seconds=360, check=within_budget, reset="stable:60", budget="20/100",
                      policy="constant(delay=0.1)"), "closed", ready=True,
      truth="every row stored; never more attempts in any stretch of time than the budget allows"),
    o("the 24 h cut", "close 1001 without a word before", shutdown(announced=False), "closed"),
    o("serverShutdown", "the venue announces the end, delivers on, and closes", shutdown(announced=True),
      "server_shutdown"),
    o("an old connection that still delivers", "silent until it is replaced, then it delivers beside the new one",
      outlived, "stalled", "closed", times=(2, 2), idle_timeout=IDLE,
      truth="nothing of the replaced connection is stored: it is a hole"),
    o("an old connection that delivers the same, late", "what the new one brings comes again on the replaced one",
      both_deliver, "stalled", ready=True,
      truth="every row stored once, as the new connection's"),
)  # fmt: skip
