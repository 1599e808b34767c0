"""From a URL to a connected socket: what is an address, and how the time is divided."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import time

import pytest

from wsresearch.collect.reach import BadUrl, Place, Resolver, Stopwatch, peer_name, place_of, reach


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("ws://127.0.0.1:9443/ws/x", Place(host="127.0.0.1", port=9443, secure=False)),
        ("ws://host/", Place(host="host", port=80, secure=False)),
        ("wss://host", Place(host="host", port=443, secure=True)),
        ("wss://[::1]:8443/stream?streams=a", Place(host="::1", port=8443, secure=True)),
        ("WSS://Host:1", Place(host="host", port=1, secure=True)),
    ],
)
def test_the_place_of_a_url(url: str, place: Place) -> None:
    """Scheme, host and port, with the port that the scheme means."""
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url", ["", "host:80", "http://h", "ws://", "ws://h:x", "ws://h:99999", "ws://[::1", "wss:///p"]
)
def test_what_is_no_url(url: str) -> None:
    """Anything a WebSocket cannot be opened to is refused before a socket is made."""
    with pytest.raises(BadUrl):
        place_of(url)


def test_laps_tile_the_time() -> None:
    """Phases add up to the whole, and what was under way at the end gets the rest."""
    began = time.monotonic()
    watch = Stopwatch(began, secure=True)
    assert watch.running == "dns"
    watch.lap("dns")
    watch.lap("tcp")
    assert watch.running == "tls"
    watch.lap_rest()
    phases = watch.phases()
    assert phases.upgrade is None
    assert phases.total == pytest.approx(watch.last - began, abs=1e-9)


def test_a_second_round_adds_to_the_phases_of_the_first() -> None:
    """After a redirect the attempt goes through its phases again: nothing of its time is lost."""
    began = time.monotonic()
    watch = Stopwatch(began, secure=False)
    for _ in range(2):
        for phase in ("dns", "tcp", "upgrade"):
            watch.lap(phase)
            time.sleep(0.001)
    assert watch.phases().total == pytest.approx(watch.last - began, abs=1e-9)
    assert watch.running == "dns"


def test_several_addresses_are_tried_and_one_is_enough() -> None:
    """A name with an address that refuses and one that answers leads to the one that answers."""

    async def main() -> tuple[str, str]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]

            class Two(Resolver):
                async def addresses(self, host: str, port: int) -> list[tuple[object, ...]]:
                    return [
                        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                        for address in ("127.0.0.2", "127.0.0.1")
                    ]

            watch = Stopwatch(time.monotonic(), secure=False)
            sock = await reach(Place(host="two.example", port=port, secure=False), watch, Two())
            with sock:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                return peer_name(sock), f"127.0.0.1:{port}"

    found, expected = asyncio.run(main())
    assert found == expected


def test_the_name_of_a_peer() -> None:
    """An IPv6 address is written so that its port can be told from it."""
    with socket.socket(socket.AF_INET6) as listener, socket.socket(socket.AF_INET6) as client:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        listener.listen()
        client.connect(listener.getsockname())
        assert peer_name(client) == f"[::1]:{listener.getsockname()[1]}"


def test_a_peer_that_has_reset_already_has_no_name() -> None:
    """Accepted and reset before we look: that is a reset by the peer, and no fault of the network."""
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        ready = select.poll()
        ready.register(client, select.POLLHUP)
        assert ready.poll(5000)
        with pytest.raises(ConnectionResetError):
            peer_name(client)
