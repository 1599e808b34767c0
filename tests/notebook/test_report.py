"""A capture as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pyarrow as pa
import pytest

from tests.elements import Elements
from tests.notebook.recording import Recording
from tests.notebook.test_rate import second, stats
from tests.study.eventlog import START_NS, EventLog, days, ns, trades
from wsresearch import api
from wsresearch.errors import UsageError
from wsresearch.notebook.report import MOST_ROWS, report_html
from wsresearch.schema import EVENTS, TableName
from wsresearch.study import gaps, outages

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m$\\frac$"
SHOWN = "</td><script>alert(1)</script><img src=x onerror=alert(1)> $\\frac$"


def _log(text: str = "going away") -> EventLog:
    log = EventLog()
    log.connect()
    log.wait(9.93)
    log.lost(0.5, cause="closed", close_code=1001, close_by="peer", detail=text)
    log.try_to_open(2.0)
    log.opened(0.25)
    log.first_message(0.25)
    log.hole(1000, 1041, cause="outage", outage=1)
    log.wait(5)
    log.lost(1.0, cause="eof")
    log.add("stopped")
    return log


def test_the_page_shows_everything() -> None:
    """Pictures, outages, holes and the facts that were given."""
    found = Elements(
        report_html(
            _log().table(),
            title="binance: BTCUSDT",
            facts={"policy": "full-jitter(base=1.0, cap=30.0, floor=0.1)", "segments": 3},
            trades_count=1_234,
            trades=trades([START_NS, START_NS + ns(4)]),
            stats=stats(second(1, 12)),
            idle_timeout=30,
        )
    )
    words = " ".join(found.words)
    for text in (
        "binance: BTCUSDT",
        "closed 1001",
        "going away",
        "1000",
        "1041",
        "across outage 1",
        "1,234",
        "> 1.000",
    ):
        assert text in words
    for text in ("full-jitter(base=1.0, cap=30.0, floor=0.1)", "segments", "the connection was closed", "> 1.000"):
        assert text in words
    pictures = [attributes for tag, attributes in found.elements if tag == "img"]
    assert [picture["class"] for picture in pictures] == ["light", "dark"] * 6
    assert pictures[0]["alt"] == (
        "2 outages in 19.0 s: 4.07 s without data (21 %). longest: 3.00 s (closed); 1 whose end was not seen (hollow)"
    )
    assert "1 ordinary gap over 1 s" in str(pictures[2]["alt"])
    told = [str(picture["alt"]).split(". ")[0] for picture in pictures[4::2]]
    assert told == [
        "Backoff took 50 % of 4.00 s of silence",
        "No ordinary gap was longer than the idle timeout of 30 s",
        "2 of 2 connections were lost, half of them within 6.25 s",
        "12 trades in 1.00 s: 12/s on average, at most 12/s",
    ]


@pytest.mark.parametrize("document", [report_html(_log(HOSTILE).table()), report_html(EVENTS.empty_table())])
def test_the_page_holds_no_script_and_loads_nothing(document: str) -> None:
    """One file, for ever: no script, no handler, no address; a policy forbids both, the style is allowed by hash."""
    found = Elements(document)
    assert not {tag for tag, _ in found.elements} & {"script", "link", "iframe", "object", "a", "form", "base"}
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on") or name in {"href", "srcset", "style"}]
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    assert "http://" not in document
    assert "https://" not in document
    assert "url(" not in document
    assert "@import" not in document
    policy = next(a["content"] for _, a in found.elements if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search("<style>(.*)</style>", document, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    )


@pytest.mark.parametrize(
    ("events", "pictures"),
    [(EVENTS.empty_table(), 2), (days(0, span=60).table(), 3), (days(1, span=60).table(), 5)],
)
def test_only_what_there_is_has_a_picture(events: pa.Table, pictures: int) -> None:
    """Timeline and gaps say that nothing happened; for the others there must be something to draw."""
    found = Elements(report_html(events))
    assert sum(tag == "img" for tag, _ in found.elements) == 2 * pictures


def test_gaps_that_are_known_need_no_trades() -> None:
    """Of the ones longer than a second; the picture says so."""
    log = _log()
    found = trades([START_NS, START_NS + ns(4), START_NS + ns(4.5), START_NS + ns(6)])
    known = gaps(found, longer_than=1.0, outages=outages(log.table()))
    page = Elements(report_html(log.table(), gaps=known))
    told = [str(attributes["alt"]) for tag, attributes in page.elements if tag == "img"]
    assert any(words.startswith("Half of the ordinary gaps over 1 s last 4.00 s or longer. ") for words in told)


def test_outages_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad month has ten thousand: six pictures in two palettes take what the report has found."""
    page = report_html(_log().table())
    monkeypatch.delattr("wsresearch.notebook.canvas.outages")  # what a picture by itself finds them with
    assert report_html(_log().table()) == page


def test_hostile_text_is_shown_as_text_everywhere() -> None:
    """In each place where foreign text appears it makes no element and keeps its direction to itself."""
    plain_page = Elements(report_html(_log().table(), title="t", facts={"n": "v"}))
    log = EventLog()
    log.connect()
    log.wait(9.93)
    log.lost(0.5, cause=HOSTILE, close_code=1001, close_by=HOSTILE, detail=HOSTILE)
    log.try_to_open(2.0)
    log.opened(0.25)
    log.first_message(0.25)
    log.hole(1000, 1041, cause=HOSTILE, symbol=HOSTILE)
    document = report_html(log.table(), title=HOSTILE, facts={HOSTILE: HOSTILE})
    found = Elements(document)
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in plain_page.elements}
    assert "".join(found.words).count(SHOWN) >= 7
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in document
    assert "\x1b" not in document


def test_secrets_of_an_address_are_not_shown() -> None:
    """A fact may hold an URL with a key in it; the report is made to be passed on."""
    document = report_html(_log().table(), facts={"url": "wss://me:pw@example.org/ws?key=abc"})
    assert "wss://example.org/ws?…" in document
    assert "abc" not in "".join(Elements(document).words)


@pytest.mark.parametrize("value", ["30", "<img src=x>", None, True, [], -1, 0, 10**400, 1e300])
def test_a_configuration_from_elsewhere_may_be_anything(recording: Recording, value: object) -> None:
    """An idle timeout that is no time is not drawn; it is told as it stands, and nothing fails."""
    recording.outage()
    recording.write()
    identity = recording.layout.identity
    told = json.loads(identity.read_text(encoding="utf-8"))
    told["config"] = {"policy": [value], "reset": {"a": value}, "idle_timeout": value}
    identity.write_text(json.dumps(told), encoding="utf-8")
    capture = api.open_capture(recording.root)
    page = Elements(capture.report_html())
    assert "than the idle timeout" not in " ".join(str(each.get("alt")) for tag, each in page.elements if tag == "img")
    assert "img src=x" not in capture.report_html().replace("&lt;img src=x&gt;", "")
    assert Elements(capture._repr_html_()).elements


def test_what_is_missing_is_told_above_everything(recording: Recording) -> None:
    """A file deleted under our feet: the report is made of what there is, and says in red what is not."""
    for _ in range(3):
        recording.outage()
        recording.write()
        recording.rotate()
    capture = api.open_capture(recording.root)
    assert "is not there" not in " ".join(Elements(capture.report_html()).words)
    recording.layout.parquets(TableName.EVENTS)[1].unlink()
    page = Elements(capture.report_html())
    assert "segment 2 of events is not there: what it held, if anything, is not shown" in page.words
    assert "alert" in [each.get("role") for _, each in page.elements if each.get("class") == "wrong"]


def test_a_capture_that_never_received_anything_is_not_reported_as_flawless() -> None:
    """All of its time is without data, it is said in red why, and that nobody knows what is missing."""
    log = EventLog()
    log.start()
    for _ in range(10):
        log.try_to_open(10.0)
        log.failed(0.5, detail="nobody there")
    log.add("gave_up", cause="refused")
    page = Elements(report_html(log.table(), trades_count=0))
    words = " ".join(page.words)
    assert "1 min 45 s without data, 100 % of 1 min 45 s" in words
    assert "unknown ids missing" in words
    assert "There was none: one begins with the last message of a connection, and no message ever came." in words
    told = (
        "run 1 never connected in 1 min 45 s and gave up: 10 attempts, 10 failed, the last because the server refused"
    )
    assert told + " the connection (nobody there)" in words
    assert "alert" in [each.get("role") for _, each in page.elements if each.get("class") == "wrong"]
    alts = [str(each["alt"]) for tag, each in page.elements if tag == "img"]
    assert alts[0].startswith("Never connected: 1 min 45 s without data, 10 failed attempts. run 1 never connected")


def test_a_hard_start_counts_and_is_told() -> None:
    """Two attempts failed before the first message: their time is without data, and a sentence says so."""
    log = EventLog()
    log.start()
    for _ in range(2):
        log.try_to_open(4.0)
        log.failed(1.0)
    log.try_to_open(4.0)
    log.opened(0.5)
    log.first_message(0.5)
    log.wait(15)
    log.add("stopped", cause="stop")
    page = Elements(report_html(log.table()))
    words = " ".join(page.words)
    assert "15.0 s without data, 50 % of 30.0 s" in words
    assert "run 1 waited 15.0 s for its first message: 3 attempts, 2 failed, the last because the server" in words
    assert "wrong" not in [each.get("class") for _, each in page.elements]


def test_the_phases_of_an_outage_are_a_bar() -> None:
    """Each as wide as its share of the silence, with the numbers for whoever cannot see it."""
    found = Elements(report_html(_log().table())).elements
    bars = [attributes for tag, attributes in found if tag == "svg"]
    assert bars[0]["aria-label"] == "detect 17 %, backoff 67 %, connect 8.3 %, first message 8.3 %"
    widths = [float(str(attributes["width"])) for tag, attributes in found if tag == "rect"]
    assert widths[:4] == pytest.approx([100 / 6, 100 * 2 / 3, 25 / 3, 25 / 3], abs=0.001)


def test_a_long_table_shows_what_matters_and_says_so() -> None:
    """Of thousands of outages the longest are listed, in the order they began; nothing is left out in silence."""
    document = report_html(days(MOST_ROWS + 500, span=86_400).table())
    words = "".join(Elements(document).words)
    assert f"The {MOST_ROWS:,} longest of {MOST_ROWS + 500:,}" in words
    rows = re.findall(r'<tr><td class="n">([\d,]+)</td><td class="t">([\d :.-]+)</td>', document)
    assert len(rows) == MOST_ROWS
    assert rows == sorted(rows, key=lambda row: row[1])


def test_what_is_no_table_is_refused() -> None:
    """The message says what was expected."""
    with pytest.raises(UsageError, match=r"events must be an Arrow table, not str"):
        report_html("data/btc")
