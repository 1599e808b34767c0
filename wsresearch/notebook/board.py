"""What a panel says in words: badge, banner, counters and history as HTML; widgets and pictures are not here.

Every text from elsewhere is escaped by its type, see :mod:`wsresearch.markup`. Colours follow the front end's theme.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from wsresearch.collect.status import Status
from wsresearch.markup import Markup, element, foreign, joined
from wsresearch.notebook.live import Seen
from wsresearch.notebook.words import cause_label, counted, duration, moment
from wsresearch.reconnect.actions import State
from wsresearch.safetext import MAX_MESSAGE

if TYPE_CHECKING:  # words appear before matplotlib is loaded
    from wsresearch.notebook.pictures import Drawn

__all__ = [
    "Alarm",
    "Level",
    "alarms",
    "badge",
    "banner",
    "counters",
    "heading",
    "history",
    "style",
    "whole",
]

_QUIET: Final = "the collector has written nothing"
_SILENT: Final = 10.0
"""Seconds after which an open connection is red if there was never a trade: a venue does not say no to a symbol that
it does not know, it stays silent."""


class Level(StrEnum):
    """How bad something is."""

    WRONG = "wrong"
    ODD = "odd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that must not be overlooked, in plain words."""

    level: Level
    text: str


_COLOURS: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.IDLE: "idle",
        State.CONNECTING: "wait",
        State.OPEN: "open",
        State.BACKING_OFF: "wait",
        State.STOPPED: "idle",
        State.GAVE_UP: "wrong",
        State.FAILED: "wrong",
    }
)

_STYLE: Final = """
.wsr{font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-ui-font-color1,inherit);
 max-width:1210px}
.wsr bdi{overflow-wrap:anywhere}
.wsr-badge{display:inline-block;padding:1px 10px;border-radius:10px;font-weight:600;color:#fff;white-space:nowrap;
 font-variant-numeric:tabular-nums}
.wsr-open{background:#1a7f37}.wsr-wait{background:#9a5b00}.wsr-idle{background:#57606a}.wsr-wrong{background:#b3261e}
.wsr-alarm{margin:4px 0;padding:6px 12px;border-radius:4px;border-left:5px solid;overflow-wrap:anywhere}
.wsr-alarm.wrong{background:#b3261e;border-color:#7d0f08;color:#fff;font-weight:600}
.wsr-alarm.odd{background:#fff3cd;border-color:#9a5b00;color:#4d2e00}
.wsr-counters{display:flex;flex-wrap:wrap;gap:4px 22px;margin:4px 0;padding:0}
.wsr-counters b{font-variant-numeric:tabular-nums}
.wsr-counters b.wsr-bad{color:var(--jp-error-color1,#b3261e)}
.wsr-quiet{color:var(--jp-ui-font-color2,#5c626c)}
.wsr-title{font-weight:600}
.wsr.wsr table{border-collapse:collapse;font-size:12px;width:100%;font-variant-numeric:tabular-nums;table-layout:auto}
.wsr.wsr th,.wsr.wsr td{padding:2px 8px;text-align:left;vertical-align:top;white-space:nowrap;
 border-bottom:1px solid var(--jp-border-color2,#d0d4da);background:none}
.wsr.wsr th{font-weight:600;color:var(--jp-ui-font-color2,#5c626c)}
.wsr.wsr td.n,.wsr.wsr th.n{text-align:right}
.wsr.wsr td.d{white-space:normal;width:45%}
.wsr img{display:block;max-width:100%;height:auto;margin:6px 0}
"""


def style() -> Markup:
    """Return the style sheet of everything here."""
    return element("style", Markup(_STYLE))


def alarms(seen: Seen | None, *, error: str = "", now: datetime | None = None) -> tuple[Alarm, ...]:
    """Return what must not be overlooked.

    Parameters
    ----------
    seen
        The capture, None if there is none yet.
    error
        What went wrong with the last thing that was asked for.
    now
        The wall clock.
    """
    found = [Alarm(level=Level.WRONG, text=error)] if error else []
    if seen is None:
        return tuple(found)
    found += [Alarm(level=Level.WRONG, text=problem) for problem in seen.problems]
    status = seen.status
    if status is not None:
        found += _of_status(status, seen.last_words, now or datetime.now(UTC))
    return tuple(found)


def _of_status(status: Status, last_words: str, now: datetime) -> Iterable[Alarm]:
    words = status.in_words or "why is not known"
    if status.state is State.GAVE_UP:
        yield Alarm(level=Level.WRONG, text=f"The collector has given up: {last_words or words}")
    elif status.state is State.FAILED:
        yield Alarm(level=Level.WRONG, text=f"The collector has failed: {last_words or words}")
    elif status.cause is not None and status.cause.startswith(_QUIET):
        yield Alarm(level=Level.WRONG, text=f"The collector is alive but {status.cause.removeprefix('the collector ')}")
    elif status.state is State.OPEN:
        if last_words:
            yield Alarm(level=Level.ODD, text=last_words)
        waited = 0.0 if status.since is None else (now - status.since).total_seconds()
        if not status.trades and waited > _SILENT:
            text = f"Open for {duration(waited)} and no trade yet: does the venue know these symbols?"
            yield Alarm(level=Level.WRONG, text=text)


def banner(told: Sequence[Alarm]) -> Markup:
    """Return the alarms, one below the other; empty if there are none."""
    return joined(
        *(
            element("div", foreign(alarm.text, limit=MAX_MESSAGE), class_=f"wsr-alarm {alarm.level}", role="alert")
            for alarm in told
        )
    )


def heading(seen: Seen | None) -> Markup:
    """Return what the capture is of and how it is collected, in one line."""
    if seen is None or seen.identity is None:
        return Markup("")
    identity, config = seen.identity, seen.identity.config
    facts = [
        f"{name} {config[key]}{unit}".strip()
        for name, key, unit in (
            ("", "policy", ""),
            ("reset", "reset", ""),
            ("idle timeout", "idle_timeout", " s"),
            ("url", "url", ""),
        )
        if config.get(key) is not None
    ]
    title = element("span", foreign(f"{identity.venue}: {', '.join(identity.symbols)}"), class_="wsr-title")
    return joined(title, "  ", element("span", foreign(" · ".join(facts), limit=MAX_MESSAGE), class_="wsr-quiet"))


def badge(status: Status | None, doing: str = "") -> Markup:
    """Return the state as a coloured badge, with the countdown to the next attempt.

    Parameters
    ----------
    status
        None where there is nothing to tell the state of.
    doing
        What has been asked for and is under way, such as ``starting``; it goes before the state.
    """
    if doing:
        return element("span", f"{doing} …", class_="wsr-badge wsr-wait")
    if status is None:
        return element("span", "not started", class_="wsr-badge wsr-idle")
    words = status.state.replace("_", " ")
    if status.state is State.BACKING_OFF and status.next_delay is not None:
        words += f" · attempt {status.attempt} in {status.next_delay:.0f} s"
    elif status.state is State.CONNECTING:
        words += f" · attempt {status.attempt}"
    return element("span", words, class_=f"wsr-badge wsr-{_COLOURS[status.state]}")


def counters(seen: Seen | None) -> Markup:
    """Return the numbers of the run and of the capture."""
    if seen is None or seen.status is None:
        return Markup("")
    status = seen.status
    # Outages are those of the capture; what else is counted here is of this run, which may not be its only one.
    of_run = f" in run {status.run}" if status.run > 1 else ""
    told = [(f"{status.trades:,}", f"trades{of_run}", "")]
    if status.state is State.OPEN:
        told += [] if seen.rate is None else [(f"{seen.rate:,.0f}", "trades/s", "")]
        told += [] if seen.lag is None else [(duration(max(0.0, seen.lag)), "lag", "")]
    told += [
        (f"{seen.outages:,}", "outage" if seen.outages == 1 else "outages", ""),
        (f"{status.holes:,}", f"hole{'' if status.holes == 1 else 's'}{of_run}", ""),
        *((f"{count:,}", f"{name}{of_run}", "wsr-bad") for name, count in _losses(status) if count),
    ]
    items = [element("span", element("b", number, class_=kind), f" {name}") for number, name, kind in told]
    if status.since is not None:
        since = f"since {status.since:%Y-%m-%d %H:%M:%S} UTC · connection {status.connection}, run {status.run}"
        items.append(element("span", since, class_="wsr-quiet"))
    return element("div", *items, class_="wsr-counters")


def _losses(status: Status) -> tuple[tuple[str, int], ...]:
    return (("rejected", status.rejected), ("dropped", status.dropped))


_HEAD: Final = (
    ("#", "n"),
    ("began (UTC)", ""),
    ("cause, and the words of the peer or the system", "d"),
    ("attempts", "n"),
    ("backoff", "n"),
    ("silence", "n"),
    ("ids lost", "n"),
)


def history(seen: Seen | None) -> Markup:
    """Return the newest outages as a table, the newest first."""
    if seen is None or seen.status is None:
        return Markup("")
    if not seen.history:
        return element("div", "No outage so far.", class_="wsr-quiet")
    under_way = seen.history[0]["censored"] and seen.status.state in {State.BACKING_OFF, State.CONNECTING, State.OPEN}
    rows = [_row(row, seen if under_way and not at else None) for at, row in enumerate(seen.history)]
    head = element("tr", *(element("th", name, scope="col", class_=kind) for name, kind in _HEAD))
    shown = ""
    if seen.outages > len(seen.history):
        shown = f"the newest {len(seen.history)} of {counted(seen.outages, 'outage')}"
    body = element("table", element("thead", head), element("tbody", *rows))
    return joined(body, element("div", shown, class_="wsr-quiet"))


def _row(row: Mapping[str, Any], under_way: Seen | None) -> Markup:
    code = "" if row["close_code"] is None else f" {row['close_code']}"
    by = "" if row["close_by"] is None else joined(" by ", foreign(row["close_by"]))
    cause = joined(element("b", foreign(cause_label(row["cause"]) + code)), by)
    if row["detail"]:
        cause = joined(cause, " ", element("span", foreign(row["detail"]), class_="wsr-quiet"))
    silence = duration(row["silence"])
    if under_way is not None and under_way.until is not None:
        silence = f"{duration(max(row['silence'], (under_way.until - row['began']) / 1e9))} so far"
    elif row["censored"]:
        silence = f"> {silence}"
    cells = (
        f"{row['outage']:,}",
        moment(row["began"])[:-2],
        cause,
        f"{row['attempts']:,}",
        duration(row["backoff"]),
        silence,
        "–" if row["censored"] else f"{row['ids_lost']:,}",
    )
    return element("tr", *(element("td", cell, class_=kind) for cell, (_, kind) in zip(cells, _HEAD, strict=True)))


def whole(
    seen: Seen | None,
    *,
    told: Sequence[Alarm] = (),
    drawn: Iterable[tuple[str, Drawn | None]] = (),
    note: str = "",
) -> Markup:
    """Return everything as one piece of HTML that needs neither a kernel nor a script.

    Parameters
    ----------
    seen
        The capture.
    told
        The alarms.
    drawn
        The pictures with their names.
    note
        A last line in small print.
    """
    images = [
        element("img", src=f"data:image/png;base64,{base64.b64encode(picture.png).decode()}", alt=picture.words)
        for _, picture in drawn
        if picture is not None
    ]
    return element(
        "div",
        style(),
        element("div", heading(seen)),
        banner(told),
        element("div", badge(None if seen is None else seen.status)),
        counters(seen),
        *images[:1],
        history(seen),
        *images[1:],
        element("div", note, class_="wsr-quiet"),
        class_="wsr",
    )
