"""What a panel says in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.elements import Elements
from tests.notebook.recording import SECOND, Recording
from wsresearch.collect.status import Status
from wsresearch.notebook import board
from wsresearch.notebook.board import Level
from wsresearch.notebook.live import Live, Seen
from wsresearch.notebook.pictures import Drawn
from wsresearch.reconnect.actions import State

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m</td><script>alert(1)</script>"
SHOWN = "<img src=x onerror=alert(1)> </td><script>alert(1)</script>"


def _seen(state: State, **fields: object) -> Seen:
    told = {"state": state, "pid": 7, "run": 1, "trades": 5, "since": NOW - timedelta(seconds=60)}
    return Seen(status=Status(**{**told, **fields}), identity=None)  # type: ignore[arg-type]


def _words(html: str) -> str:
    return "".join(Elements(html).words)


def test_the_badge_counts_down() -> None:
    """State, attempt, and how long until it: in words, with a colour for those who see it."""
    waiting = Status(state=State.BACKING_OFF, attempt=3, next_delay=4.4)
    assert _words(board.badge(waiting)) == "backing off · attempt 3 in 4 s"
    assert _words(board.badge(Status(state=State.CONNECTING, attempt=3))) == "connecting · attempt 3"
    assert _words(board.badge(Status(state=State.GAVE_UP))) == "gave up"
    assert "wsr-wrong" in board.badge(Status(state=State.GAVE_UP))
    assert _words(board.badge(None)) == "not started"
    assert _words(board.badge(waiting, "stopping")) == "stopping …"


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (
            replace(_seen(State.GAVE_UP, cause="refused"), last_words="10 attempts in a row failed"),
            Level.WRONG,
            "The collector has given up: 10 attempts in a row failed",
        ),
        (
            _seen(State.FAILED, cause="certificate", pid=None),
            Level.WRONG,
            "The collector has failed: the server's certificate could not be trusted",
        ),
        (
            _seen(State.FAILED, pid=None, cause="the collector left without a last word: it was killed"),
            Level.WRONG,
            "The collector has failed: the collector left without a last word: it was killed",
        ),
        (
            _seen(State.OPEN, cause="the collector has written nothing for 9 s"),
            Level.WRONG,
            "The collector is alive but has written nothing for 9 s",
        ),
        (
            _seen(State.OPEN, trades=0),
            Level.WRONG,
            "Open for 1 min and no trade yet: does the venue know these symbols?",
        ),
        (replace(_seen(State.OPEN), last_words="2: Invalid request"), Level.ODD, "2: Invalid request"),
        (Seen(status=None, identity=None, problems=("it is gone",)), Level.WRONG, "it is gone"),
    ],
)
def test_what_must_not_be_overlooked(seen: Seen, level: Level, words: str) -> None:
    """Given up, failed, killed, quiet, without a trade, unreadable: each has its banner, in plain words."""
    (alarm,) = board.alarms(seen, now=NOW)
    assert (alarm.level, alarm.text) == (level, words)
    assert f"wsr-alarm {level}" in board.banner([alarm])


def test_a_long_message_is_told_to_its_end() -> None:
    """What to do stands last, after a path and several symbols."""
    text = f"'/{'a' * 300}/btc' is a capture of BTCUSDT, not ETHUSDT: choose another directory"
    assert _words(board.banner([board.Alarm(level=Level.WRONG, text=text)])) == text


def test_all_is_well_says_nothing() -> None:
    """No banner while it collects, backs off or was stopped on purpose."""
    for state in (State.OPEN, State.BACKING_OFF, State.CONNECTING, State.STOPPED, State.IDLE):
        assert board.alarms(_seen(state, cause=None), now=NOW) == ()
    assert board.banner(()) == ""
    assert board.alarms(None) == ()
    assert [alarm.text for alarm in board.alarms(None, error="symbols is empty")] == ["symbols is empty"]


def test_the_counters() -> None:
    """Rate and lag are told while they mean something; losses only where there are some."""
    seen = replace(_seen(State.OPEN, trades=12_345, holes=1), rate=1_234.4, lag=0.042, outages=2)
    words = _words(board.counters(seen))
    for text in ("12,345 trades", "1,234 trades/s", "42 ms lag", "2 outages", "1 hole", "run 1"):
        assert text in words
    assert "dropped" not in words
    words = _words(board.counters(replace(_seen(State.BACKING_OFF, dropped=3), rate=9.0)))
    assert "3 dropped" in words
    assert "trades/s" not in words
    assert board.counters(None) == ""
    later = _words(board.counters(replace(_seen(State.OPEN, run=2, trades=5, holes=1, dropped=3), outages=2)))
    for text in ("5 trades in run 2", "1 hole in run 2", "3 dropped in run 2", "2 outages", "connection"):
        assert text in later
    assert "outages in run" not in later


def test_the_history_is_newest_first(recording: Recording) -> None:
    """Cause and the words of the peer, attempts, backoff, silence and cost; one under way is told as such."""
    recording.outage(2.0, cause="closed", close_code=1001, close_by="peer", detail="going away")
    recording.log.hole(1, 40, cause="outage", outage=1)
    recording.log.wait(2)
    recording.log.lost(1.0, cause="eof")
    recording.log.back_off(30.0)
    recording.write()
    recording.log.wait(5)
    recording.write()
    live = Live(recording.root)
    with recording.alive():
        seen = live.look(now=datetime.fromtimestamp(recording.log.now / SECOND, UTC))
    rows = _words(board.history(seen)).split("closed 1001")
    assert "eof" in rows[0]
    assert "5.18 s so far" in rows[0]
    assert "by peer going away1" in rows[1]
    assert rows[1].endswith("2.00 s2.75 s40")
    ended = live.look()
    assert "> " in _words(board.history(ended))
    live.close()
    assert _words(board.history(_seen(State.OPEN))) == "No outage so far."


def test_more_outages_than_are_shown_are_counted(recording: Recording) -> None:
    """Nothing is left out in silence."""
    for _ in range(15):
        recording.outage()
    recording.write()
    live = Live(recording.root)
    assert "the newest 12 of 15 outages" in _words(board.history(live.look()))
    live.close()


def test_hostile_text_is_text(recording: Recording) -> None:
    """From a close reason, a cause, a peer's name, a symbol or an error it makes no element and turns nothing round."""
    recording.outage(cause=HOSTILE, close_by=HOSTILE, detail=HOSTILE)
    recording.log.add("error", cause="venue_error", detail=HOSTILE)
    recording.write()
    live = Live(recording.root)
    seen = live.look()
    live.close()
    assert seen.identity is not None
    strange = replace(seen.identity, venue=HOSTILE, symbols=(HOSTILE,), config={"policy": HOSTILE, "url": HOSTILE})
    seen = replace(seen, identity=strange, problems=(HOSTILE,))
    told = board.alarms(seen, error=HOSTILE)
    html = board.whole(seen, told=told, drawn=[(HOSTILE, Drawn(png=b"", words=HOSTILE))], note=HOSTILE)
    found = Elements(html)
    assert {tag for tag, _ in found.elements} <= {
        *("div", "span", "b", "bdi", "style", "img", "table", "thead", "tbody", "tr", "th", "td")
    }
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    assert "".join(found.words).count(SHOWN) >= 6
    visible = html.replace(HOSTILE.replace("<", "&lt;").replace(">", "&gt;"), "")  # alt text and note are our own
    assert "\x1b" not in visible
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in visible
