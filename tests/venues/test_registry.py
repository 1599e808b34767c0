"""Venues by name, streams by text."""

from __future__ import annotations

import pytest

from wsresearch.errors import UsageError
from wsresearch.venues import VENUES, Venue, parse_stream, venue_named


@pytest.mark.parametrize("name", ["binance", "binance-usdm"])
def test_a_venue_is_found_by_the_name_it_bears(name: str) -> None:
    """The name in the table of venues and the venue's own agree."""
    assert venue_named(name).name == name
    assert isinstance(venue_named(name), Venue)


def test_the_table_of_venues_cannot_be_changed() -> None:
    """Nothing that runs in the process can swap a venue."""
    with pytest.raises(TypeError):
        VENUES["binance"] = venue_named("binance-usdm")  # type: ignore[index]


@pytest.mark.parametrize("text", ["binance:btcusdt", "binance-usdm:btcusdt,ethusdt", "binance:币安人生usdt"])
def test_a_stream_reads_back(text: str) -> None:
    """A stream is its text, so it may stand in a file or on a command line."""
    assert str(parse_stream(text)) == text
    assert parse_stream(str(parse_stream(text))) == parse_stream(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kraken:btcusdt", "'kraken'.*binance, binance-usdm"),
        ("btcusdt", "venue:symbol"),
        ("", "venue:symbol"),
        ("binance:", "no symbol"),
        ("binance:btcusdt,", "''"),
        ("binance:btcusdt,,ethusdt", "''"),
        ("binance: btcusdt", "' btcusdt'"),
        ("binance:btcusdt,BTCUSDT", "'BTCUSDT' is given twice"),
        ("BINANCE:btcusdt", "'BINANCE'"),
    ],
)
def test_a_wrong_stream_is_refused_in_one_line(text: str, says: str) -> None:
    """The line names the wrong value and shows what would be right."""
    with pytest.raises(UsageError, match=says) as caught:
        parse_stream(text)
    assert "\n" not in str(caught.value)
