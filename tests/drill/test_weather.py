"""What a path with weather does to packets; that TCP copes with it is the drill's to show."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from tests.drill.weather import Way, Weather

PACKETS = [bytes([number]) * 100 for number in range(200)]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Where a way ends: what is written to one comes out of the other, packet by packet."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with a, b:
        b.setblocking(False)
        yield a, b


def carried(ends: tuple[socket.socket, socket.socket], weather: Weather, *, until: float = 10.0) -> list[bytes]:
    """What comes of packets that are sent a millisecond apart, up to a time."""
    way = Way(source=-1, sink=ends[0].fileno(), rng=random.Random(1), weather=weather)
    came = []
    times = [number / 1000 for number in range(len(PACKETS))]
    for packet, now in zip(PACKETS, times, strict=True):
        way.takes(packet, now)
        if now <= until:
            way.delivers(now)
            came += _read(ends[1])
    way.delivers(until)
    return came + _read(ends[1])


def _read(end: socket.socket) -> list[bytes]:
    packets = []
    try:
        while True:
            packets.append(end.recv(1000))
    except BlockingIOError:
        return packets


def test_fair_weather(ends: tuple[socket.socket, socket.socket]) -> None:
    """Every packet comes, as it was and in order."""
    assert carried(ends, Weather()) == PACKETS


@pytest.mark.parametrize(("lost", "least", "most"), [(0.2, 140, 180), (0.6, 60, 100), (1.0, 0, 0)])
def test_lost(ends: tuple[socket.socket, socket.socket], lost: float, least: int, most: int) -> None:
    """About that share is gone; the others come in order."""
    came = carried(ends, Weather(lost=lost))
    assert least <= len(came) <= most
    assert came == sorted(came)


def test_doubled_and_overtaken(ends: tuple[socket.socket, socket.socket]) -> None:
    """Nothing is gone, some come twice, some late."""
    came = carried(ends, Weather(doubled=0.3, overtaken=0.3))
    assert set(came) == set(PACKETS)
    assert 240 <= len(came) <= 280
    assert came != sorted(came)


def test_damaged(ends: tuple[socket.socket, socket.socket]) -> None:
    """Of some packets exactly one byte is another."""
    came = carried(ends, Weather(damaged=0.2))
    wrong = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(came, PACKETS, strict=True)]
    assert set(wrong) == {0, 1}
    assert 20 <= sum(wrong) <= 60


def test_swallowed(ends: tuple[socket.socket, socket.socket]) -> None:
    """What is as long as allowed passes, what is longer does not."""
    assert carried(ends, Weather(most_bytes=100)) == PACKETS
    assert carried(ends, Weather(most_bytes=99)) == []


def test_delay(ends: tuple[socket.socket, socket.socket]) -> None:
    """Nothing comes before its time."""
    assert carried(ends, Weather(delay=(0.3, 0.4)), until=0.3) == []
    assert sorted(carried(ends, Weather(delay=(0.3, 0.4)))) == PACKETS


def test_rate(ends: tuple[socket.socket, socket.socket]) -> None:
    """At 1,000 bytes a second a second lets ten packets of 100 through; so many wait as there is room for."""
    thin = Weather(rate=1_000.0, queue_bytes=2_000)
    assert carried(ends, thin, until=1.001) == PACKETS[:10]
    assert len(carried(ends, thin)) == pytest.approx(10 * 0.2 + 20, abs=2)
