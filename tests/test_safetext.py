"""Foreign text: one harmless line of bounded length, without secrets, whatever was in it."""

from __future__ import annotations

import json
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.safetext import MAX_CHARACTERS, redact, safe


@given(st.text(), st.integers(1, 300))
def test_any_text_becomes_one_harmless_line(text: str, limit: int) -> None:
    """No control, bidi, zero-width, surrogate or line-breaking character survives; the length is bounded."""
    shown = safe(text, limit=limit)
    assert len(shown) <= limit
    assert not [c for c in shown if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"}]
    assert shown == shown.strip()
    assert len(shown.splitlines()) <= 1
    json.dumps(shown).encode()


@given(st.text())
def test_what_is_safe_stays_as_it_is(text: str) -> None:
    """Text passes through several places that make it safe; the second changes nothing."""
    once = safe(text)
    assert safe(once) == once


@pytest.mark.parametrize(
    "text", ["going away", "Zu viele Anfragen", "維持管理", 'price: 5 < 6 & "7"', "100 %", "a.b-c_d"]
)
def test_plain_words_are_left_alone(text: str) -> None:
    """Text that harms nobody is shown as the venue wrote it; escaping is the business of whoever displays it."""
    assert safe(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07click\x1b]8;;\x07", "click"),
        ("\x1b]0;title", ""),
        ("a\x1b7b", "ab"),
        ("one\r\ntwo\ttabs\u2028three", "one two tabs three"),
        ("evil\u202egnp.exe", "evil gnp.exe"),
        ("zero\u200bwidth\ufeff", "zero width"),
        ("\ud800lone", "lone"),
        ("\x00\x07\x08", ""),
    ],
)
def test_escape_sequences_and_tricks(text: str, shown: str) -> None:
    """Terminal sequences go as a whole; what reorders or hides characters becomes a blank."""
    assert safe(text) == shown


def test_what_is_cut_says_so() -> None:
    """A long text ends with an ellipsis at its limit."""
    assert safe("x" * 1000) == "x" * (MAX_CHARACTERS - 1) + "…"
    assert safe("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS


SECRETS = [
    "wss://user:s3cret@host/ws",
    "wss://s3cret@host/ws",
    "https://host/p?apiKey=s3cret&x=1#f",
    "wss://a/x,wss://user:s3cret@b/y",
    "wss://proxy/wss://user:s3cret@host/y",
    "see wss://h/p?listenKey=s3cret, then go on",
    "apiKey=s3cret",
    "api_key: s3cret",
    "X-MBX-APIKEY: s3cret",
    "access_token=s3cret&x=2",
    "Authorization: Bearer s3cret",
    "authorization: basic s3cret",
    "Cookie: s3cret; path=/",
    '{"apiKey":"s3cret","x":1}',
    "{'secret': 's3cret'}",
    '"password" : "s3cret"',
    "passwd=s3cret",
    "signature=s3cret",
    "client-secret=s3cret",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secrets_go(text: str) -> None:
    """Passwords, keys and tokens never reach an event, a log or a screen, however they are written."""
    for made in (redact(text), safe(text), safe(f"HTTP 401 {text}"), safe("x" * 150 + " " + text)):
        assert "s3cret" not in made
        assert "s3cre" not in made


def test_what_is_no_secret_stays() -> None:
    """Host and path of a URL, and words that only look alike, stay readable."""
    assert (
        redact("wss://stream.example:9443/ws/btcusdt@trade?timeUnit=x")
        == "wss://stream.example:9443/ws/btcusdt@trade?…"
    )
    assert safe("Unexpected token in JSON at position 5") == "Unexpected token in JSON at position 5"
    assert safe("the signature is missing") == "the signature is missing"


@pytest.mark.parametrize(
    "text", ["x" * 10_000_000, "\x1b[" * 1_000_000, "a://" * 100_000, "token=" * 100_000, "\u202e" * 10**6]
)
def test_a_huge_text_costs_little(text: str) -> None:
    """A peer cannot make us work: ten megabytes of reason cost milliseconds."""
    began = time.process_time()
    safe(text)
    assert time.process_time() - began < 0.2
