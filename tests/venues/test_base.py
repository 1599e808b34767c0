"""What every venue promises: addresses made and refused."""

from __future__ import annotations

import pytest

from wsresearch.errors import UsageError
from wsresearch.venues import Stream, venue_named

BINANCE = venue_named("binance")


@pytest.mark.parametrize(
    ("base", "start"),
    [
        ("ws://127.0.0.1:9443", "ws://127.0.0.1:9443/stream?"),
        ("ws://127.0.0.1:9443/", "ws://127.0.0.1:9443/stream?"),
        ("wss://localhost", "wss://localhost/stream?"),
        ("ws://[::1]:80", "ws://[::1]:80/stream?"),
        (None, "wss://stream.binance.com:9443/stream?"),
    ],
)
def test_a_base_replaces_scheme_host_and_port_only(base: str | None, start: str) -> None:
    """``--url`` leads the very same request to another server."""
    assert BINANCE.url(["btcusdt"], base) == start + "streams=btcusdt@trade"


@pytest.mark.parametrize(
    "base",
    [
        "", "127.0.0.1:9443", "http://127.0.0.1", "ws://", "ws://:80", "ws://h:0", "ws://h:99999", "ws://h:x",
        "ws://h/stream", "ws://h?x=1", "ws://h#x", "ws://user:secret@h", "ws://h\n", "ws://h h", "ws://[::1",
        "ws://hé",
    ],
)  # fmt: skip
def test_a_base_that_is_more_or_less_is_refused(base: str) -> None:
    """One line says what a base must be; a password in it is not repeated."""
    with pytest.raises(UsageError) as caught:
        BINANCE.url(["btcusdt"], base)
    assert "ws://127.0.0.1:9443" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stream_is_checked_when_it_is_made() -> None:
    """No stream exists whose symbols the venue could not have."""
    stream = Stream.of(BINANCE, ["ethusdt", "BTCUSDT"])
    assert stream.symbols == ("ETHUSDT", "BTCUSDT")
    assert str(stream) == "binance:ethusdt,btcusdt"
    with pytest.raises(UsageError):
        Stream.of(BINANCE, ["../x"])
