"""The splitter against the library's own parser: same messages, same order, same errors, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.protocol import OPEN, Protocol, Side

from tests.collect.rawserver import close_frame, frame
from wsresearch.collect import frames
from wsresearch.collect.frames import Splitter, Texts

MAX_SIZE = 300
"""Small, so that frames around the limit are cheap; above 255, so that a length takes its two bytes."""


class Ear:
    """What a client makes of the bytes it is given: the library's protocol, behind a splitter or alone."""

    def __init__(self, *, split: bool, max_size: int = MAX_SIZE) -> None:
        self.protocol = Protocol(Side.CLIENT, state=OPEN, max_size=max_size)
        self.splitter = Splitter(max_size) if split else None
        self.heard: list[Any] = []
        self.answers: list[int] = []
        self.library_bytes = 0
        self._message: list[bytes] = []

    def feed(self, data: bytes) -> None:
        if self.splitter is None or self.over:
            self._library(data)
            return
        for piece in self.splitter.feed(data):
            if isinstance(piece, Texts):
                bounds = zip(piece.starts, piece.ends, strict=True)
                self.heard += [("message", bytes(piece.payload[start:end])) for start, end in bounds]
            else:
                self._library(piece)
                if self.over:
                    return

    def end(self) -> None:
        if self.splitter is not None and not self.over and (rest := self.splitter.rest()):
            self._library(rest)
        self.protocol.receive_eof()

    @property
    def over(self) -> bool:
        return self.protocol.parser.__name__ == "discard"

    @property
    def told(self) -> tuple[Any, ...]:
        """Everything that could be told apart from outside."""
        protocol = self.protocol
        error = protocol.parser_exc
        ended = (type(error), str(error), protocol.close_rcvd, protocol.close_sent, protocol.state)
        return self.heard, self.answers, ended

    def _library(self, data: bytes) -> None:
        self.library_bytes += len(data)
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode >= 8:
                self.heard.append((event.opcode, bytes(event.data)))
                continue
            self._message.append(bytes(event.data))
            if event.fin:
                self.heard.append(("message", b"".join(self._message)))
                self._message.clear()
        # What goes out is masked at random; that and how much is compared, which answers is known from the events.
        self.answers += map(len, self.protocol.data_to_send())


payloads = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"", b"\x81", b"\x81\x02ab", b"\x81\x7e\x00\x01x" * 3, "币USDT".encode(), b"x" * 125, b"x" * 126]),
    st.integers(MAX_SIZE - 2, MAX_SIZE).map(lambda size: b"y" * size),
)
plain = st.builds(frame, st.just(1), payloads)
pieces_of_a_message = st.builds(
    lambda first, pieces, pings: (
        frame(first, pieces[0], fin=len(pieces) == 1)
        + b"".join(
            frame(9, ping) + frame(0, piece, fin=number == len(pieces) - 1)
            for number, (piece, ping) in enumerate(zip(pieces[1:], pings, strict=False), 1)
        )
    ),
    st.sampled_from([1, 2]),
    st.lists(st.binary(max_size=10), min_size=1, max_size=4),
    st.lists(st.binary(max_size=5), min_size=4, max_size=4),
)
good = st.one_of(
    plain,
    plain,
    plain,
    st.builds(frame, st.just(2), payloads),
    st.builds(frame, st.sampled_from([9, 10]), st.binary(max_size=125)),
    pieces_of_a_message,
)
bad = st.one_of(
    st.builds(close_frame, st.sampled_from([1000, 1001, 4000, 999, 1005]), st.binary(max_size=8)),
    st.just(close_frame()),
    st.builds(frame, st.sampled_from([1, 2, 9]), payloads, reserved=st.integers(1, 7)),
    st.builds(frame, st.sampled_from([1, 2, 8, 9]), st.binary(max_size=20), masked=st.just(True)),
    st.builds(frame, st.integers(0, 15), payloads, fin=st.booleans()),
    st.builds(frame, st.sampled_from([1, 2, 0]), st.just(b"z"), length=st.sampled_from([301, 1 << 16, 1 << 40])),
    st.builds(frame, st.just(1), st.just(b"cut short"), length=st.integers(10, 300)),
    st.binary(max_size=30),
)
streams = st.builds(
    lambda before, ill, after: b"".join([*before, ill, *after]),
    st.lists(good, max_size=12),
    st.one_of(st.just(b""), bad),
    st.lists(good, max_size=4),
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(bounds)]


def compare(portions: list[bytes], *, max_size: int = MAX_SIZE) -> tuple[Ear, Ear]:
    """Feed both, and demand after each portion and after the end that both have heard the same."""
    ours, library = Ear(split=True, max_size=max_size), Ear(split=False, max_size=max_size)
    for portion in portions:
        ours.feed(portion)
        library.feed(portion)
        assert ours.told == library.told
    ours.end()
    library.end()
    assert ours.told == library.told
    return ours, library


@pytest.fixture(params=["walking", "scanning"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small reads are walked over and large ones scanned; here all are treated in one way."""
    monkeypatch.setattr(frames, "_SCAN_FROM", 1 << 60 if request.param == "walking" else 0)
    monkeypatch.setattr(frames, "_SHORT_RUN", 0)


@pytest.mark.usefixtures("way")
def test_whatever_comes_the_library_would_have_heard_the_same() -> None:
    """Any mixture of right and wrong frames, cut anywhere: after each portion the same messages and errors."""

    @settings(max_examples=300, deadline=None)
    @given(streams, st.lists(st.integers(0, 1 << 16), max_size=12))
    @example(frame(1, b"a") + b"\x81", [])
    @example(frame(1, b"a") + frame(1), [])
    @example(b"\x81\xfe", [])
    @example(frame(1, b"\x81\x05ab", fin=False) + frame(1, b"no"), [3])
    def same(stream: bytes, places: list[int]) -> None:
        compare(cut(stream, places))

    same()


SAMPLE = (
    frame(1, b"one")
    + frame(1)
    + frame(9, b"\x81\x01p")
    + frame(1, b"y" * MAX_SIZE)
    + frame(2, b"binary")
    + frame(1, b"a", fin=False)
    + frame(9, b"between")
    + frame(0, b"\x81\x00", fin=False)
    + frame(10)
    + frame(0, b"c")
    + frame(1, "币USDT".encode())
)
ENDINGS = {
    "a close": close_frame(1001, b"bye") + frame(1, b"nobody hears this"),
    "reserved bits": frame(1, b"x", reserved=4) + frame(1, b"nor this"),
    "a masked frame": frame(1, b"x", masked=True) + frame(1, b"nor this"),
    "too big": frame(1, b"z" * (MAX_SIZE + 1)) + frame(1, b"nor this"),
    "2^40 announced": frame(1, b"z", length=1 << 40) + frame(1, b"nor this"),
    "a message inside one": frame(1, b"x", fin=False) + frame(1, b"y") + frame(1, b"nor this"),
    "nothing": b"",
    "half a frame": frame(1, b"half", length=100),
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=list(ENDINGS))
def test_exact_for_every_split(ending: bytes) -> None:
    """Cut in two at every byte, and into single bytes."""
    stream = SAMPLE + ending
    for place in range(len(stream) + 1):
        ours, _ = compare([stream[:place], stream[place:]])
        assert len([what for what, _ in ours.heard if what == "message"]) == 6
    compare([stream[at : at + 1] for at in range(len(stream))])


def test_large_reads_of_real_shape() -> None:
    """Reads of 256 KiB with a ping here and there: the same messages, and only what is no plain text costs more."""
    trades = [
        frame(1, b'{"stream":"btcusdt@trade","data":{"t":%d}}' % number + b" " * (number % 150))
        for number in range(20_000)
    ]
    for place in range(0, 20_000, 3000):
        trades[place] += frame(9, b"p")
    stream = b"".join(trades)
    ours, _ = compare([stream[at : at + (1 << 18)] for at in range(0, len(stream), 1 << 18)], max_size=1 << 20)
    assert len([what for what, _ in ours.heard if what == "message"]) == 20_000
    assert ours.library_bytes == 7 * 3


def test_a_long_message_passes_by_and_is_not_kept() -> None:
    """Frames of more than 64 KiB go to the library as they come: nothing of them is held back here."""
    splitter = Splitter(1 << 20)
    stream = frame(1, b"x" * (1 << 20))
    for at in range(0, len(stream), 1000):
        portion = stream[at : at + 1000]
        assert splitter.feed(portion) == [portion]
    assert splitter.rest() == b""


def test_no_more_than_the_limit_is_kept() -> None:
    """Never more is held back than one message of the greatest length; a longer one is refused by its header."""
    splitter = Splitter(MAX_SIZE)
    whole = frame(1, b"x" * MAX_SIZE)
    assert splitter.feed(whole[:-1]) == []
    assert len(splitter.rest()) == len(whole) - 1
    announced = frame(1, b"x", length=MAX_SIZE + 1)
    assert splitter.feed(announced[:3]) == []
    assert b"".join(piece for piece in splitter.feed(announced[3:]) if isinstance(piece, bytes)) == announced
    assert splitter.rest() == b""
