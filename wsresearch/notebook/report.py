"""A capture as one HTML file that needs nothing else; what it tells is gathered in `findings`, no file is written.

The document holds no script, loads nothing and forbids itself both. It follows the reader's light or dark setting
and prints in light.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
from matplotlib.axes import Axes

from wsresearch.markup import Markup, element, foreign, joined
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.findings import Findings, findings
from wsresearch.notebook.palette import DARK, LIGHT, PHASES, Palette
from wsresearch.notebook.plots import gap_distribution, gaps_vs_backoff, lifetimes, rate, recovery_phases, timeline
from wsresearch.notebook.words import cause_label, counted, moment, share
from wsresearch.reconnect.causes import Cause, in_words
from wsresearch.safetext import MAX_MESSAGE, safe
from wsresearch.study.rows import plain_rows

__all__ = ["MOST_ROWS", "report_html"]

MOST_ROWS: Final = 1_000
"""Of a longer table the rows that matter most are shown, and a sentence says how many are not."""

_STARTS: Final = 10
"""Runs that began with trouble, or never began, which get a sentence each."""


def _colours(palette: Palette) -> str:
    named = {
        "paper": palette.background,
        "ink": palette.ink,
        "muted": palette.muted,
        "faint": palette.faint,
        **palette.phases,
    }
    return "".join(f"--{name}:{colour};" for name, colour in named.items())


_STYLE: Final = (
    f":root{{color-scheme:light dark;{_colours(LIGHT)}}}"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_colours(DARK)}}}}}"
    """
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.5rem 4rem;max-width:75rem;background:var(--paper);color:var(--ink);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","DejaVu Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.8rem 0 .6rem}
p{margin:.4rem 0;max-width:46rem}
.wrong{max-width:none;margin:.8rem 0;padding:.5rem 1rem;border-radius:4px;background:#b3261e;color:#fff;font-weight:600;
 overflow-wrap:anywhere}
.quiet,caption,figcaption,th,dt,footer{color:var(--muted)}
.numbers{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;margin:1.6rem 0 1rem;padding:0;list-style:none}
.numbers b{display:block;font-size:1.5rem;line-height:1.2;font-variant-numeric:tabular-nums}
figure{margin:1.2rem 0}
img{display:block;max-width:100%;height:auto}
img.dark{display:none}
@media screen and (prefers-color-scheme:dark){img.light{display:none}img.dark{display:block}}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .55rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--faint)}
th{font-weight:600;vertical-align:bottom;border-bottom-color:var(--muted)}
.n{text-align:right}td.n,td.t{white-space:nowrap}td.d{min-width:12rem}td b{font-weight:600}
td bdi{overflow-wrap:anywhere}
svg{display:block;width:6.5rem;height:.8rem;margin-top:.3rem}
.detect{fill:var(--detect);color:var(--detect)}.backoff{fill:var(--backoff);color:var(--backoff)}
.connect{fill:var(--connect);color:var(--connect)}.first_message{fill:var(--first_message);color:var(--first_message)}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.25rem 1.5rem;margin:.6rem 0}
dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--faint);font-size:.85rem}
@media print{body{padding:0;max-width:none;font-size:10pt}.wide{overflow:visible}
 h2,figure,tr{break-inside:avoid}h2{break-after:avoid}table{font-size:7.5pt}th,td{padding:.15rem .3rem}
 thead{display:table-header-group}td.d{min-width:0}}
"""
)

_POLICY: Final = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


def _picture(draw: Callable[..., Axes]) -> Markup:
    """Return a picture in both palettes; the finding that is its title is also its text alternative."""
    images = []
    for palette in (LIGHT, DARK):
        ax = draw(palette=palette)
        more = [text.get_text() for text in ax.texts if text.get_gid() == "more"]
        words = ". ".join([ax.get_title(loc="left"), *more])
        png = base64.b64encode(figure_png(ax.get_figure(root=True))).decode()
        images.append(element("img", src=f"data:image/png;base64,{png}", alt=words, class_=palette.name))
    # Not <picture>: a browser that has chosen the dark source does not choose again for the printer.
    return element("figure", *images)


def _pictures(
    told: Findings,
    *,
    trades: pa.Table | None,
    stats: pa.Table | None,
    longer_than: float,
    idle_timeout: float | None,
) -> list[Markup]:
    """Return all pictures for which there is something to draw; of an empty capture the first two say so."""
    gaps, shared = told.gaps, {"gaps": told.gaps, "longer_than": longer_than}
    # All trades tell more of the gaps than those that are longer than a second.
    lengths = {"trades": trades} if trades is not None else shared if gaps is not None else {}
    drawn: list[tuple[bool, Callable[..., Axes], Mapping[str, Any]]] = [
        (True, timeline, {"trades": trades, "stats": stats}),
        (True, gaps_vs_backoff, shared),
        (len(told.outages) > 0, recovery_phases, {}),
        (bool(lengths) or len(told.outages) > 0, gap_distribution, {**lengths, "idle_timeout": idle_timeout}),
        (told.connections > 0, lifetimes, {"stats": stats}),
        (stats is not None and len(stats) > 0, rate, {"stats": stats}),
    ]
    return [_picture(partial(plot, told, **style)) for wanted, plot, style in drawn if wanted]


def _table(head: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]]) -> Markup:
    """Return a table; the head gives each column's name and class."""
    names = element("tr", *(element("th", name, scope="col", class_=kind) for name, kind in head))
    body = [
        element("tr", *(element("td", cell, class_=kind) for cell, (_, kind) in zip(row, head, strict=True)))
        for row in rows
    ]
    return element("div", element("table", element("thead", names), element("tbody", *body)), class_="wide")


def _bar(row: Mapping[str, Any]) -> Markup:
    """Return an outage's phases as a bar, each as wide as its share of the silence."""
    whole = row["silence"]
    if whole <= 0:
        return Markup("")
    left, parts, words = 0.0, [], []
    for phase in PHASES:
        width = 100 * row[phase] / whole
        parts.append(element("rect", x=f"{left:.3f}", y="0", width=f"{width:.3f}", height="10", class_=phase))
        words.append(f"{phase.replace('_', ' ')} {share(row[phase], whole)}")
        left += width
    label = ", ".join(words)
    inside = joined(element("title", label), *parts)
    return element("svg", inside, viewBox="0 0 100 10", preserveAspectRatio="none", role="img", aria_label=label)


_OUTAGE_HEAD: Final = (
    ("#", "n"),
    ("began (UTC)", "t"),
    ("cause, and the words of the peer or the system", "d"),
    ("attempts", "n"),
    ("detect (s)", "n"),
    ("backoff (s)", "n"),
    ("connect (s)", "n"),
    ("first message (s)", "n"),
    ("silence (s)", "n"),
    ("its phases", "t"),
    ("ids lost", "n"),
)


def _outage_cells(row: Mapping[str, Any]) -> Sequence[str]:
    code = "" if row["close_code"] is None else f" {row['close_code']}"
    by = "" if row["close_by"] is None else joined(" by ", foreign(row["close_by"]))
    cause = joined(element("b", cause_label(row["cause"]) + code), by)
    if row["detail"]:
        cause = joined(cause, element("div", foreign(row["detail"]), class_="quiet"))
    return (
        f"{row['outage']:,}",
        moment(row["began"]),
        cause,
        f"{row['attempts']:,}",
        *(f"{row[phase]:,.3f}" for phase in PHASES),
        f"{'> ' if row['censored'] else ''}{row['silence']:,.3f}",
        _bar(row),
        f"{row['ids_lost']:,}",
    )


def _meaning(causes: Iterable[str | None]) -> Markup:
    """Return what each cause means, in plain words."""
    known = {str(cause): cause for cause in Cause}
    seen = sorted({cause for cause in causes if cause in known})
    return element(
        "dl", *(joined(element("dt", cause_label(cause)), element("dd", in_words(known[cause]))) for cause in seen)
    )


def _outage_section(told: Findings) -> Markup:
    lost = told.outages
    # What came to nothing is told in red, above.
    begun = [words for delivered, words in told.hard_starts() if delivered]
    shown_of = joined(*(element("p", foreign(words, limit=MAX_MESSAGE)) for words in begun[-_STARTS:]))
    if len(begun) > _STARTS:
        shown_of = joined(shown_of, element("p", f"The last {_STARTS} of {len(begun):,} runs that began with trouble."))
    if not len(lost):
        none = "There was none."
        if told.rows and not told.received:
            none = "There was none: one begins with the last message of a connection, and no message ever came."
        return joined(element("h2", "Outages"), element("p", none), shown_of)
    rows = plain_rows(lost)
    shown = rows
    left_out = Markup("")
    if len(rows) > MOST_ROWS:
        longest = sorted(rows, key=lambda row: row["silence"], reverse=True)[:MOST_ROWS]
        shown = sorted(longest, key=lambda row: (row["began"], row["outage"]))
        left_out = element("p", f"The {MOST_ROWS:,} longest of {len(rows):,}; none left out was longer.")
    keys = [joined(element("span", "■", class_=phase), f" {phase.replace('_', ' ')}  ") for phase in PHASES]
    censored = sum(row["censored"] for row in rows)
    after = [element("p", joined("Phases: ", *keys), class_="quiet")]
    if censored:
        note = f"> marks {counted(censored, 'outage')} whose end was not seen: the silence was at least that long."
        after.append(element("p", note, class_="quiet"))
    cells = map(_outage_cells, shown)
    meaning = _meaning(row["cause"] for row in rows)
    return joined(element("h2", "Outages"), left_out, _table(_OUTAGE_HEAD, cells), *after, meaning, shown_of)


_HOLE_HEAD: Final = (
    ("symbol", "t"),
    ("first id", "n"),
    ("last id", "n"),
    ("ids", "n"),
    ("noticed (UTC)", "t"),
    ("where", "t"),
    ("connection", "n"),
)

_WHERE: Final = MappingProxyType({"connection": "inside a connection", "stop": "across a stop of ours"})


def _hole_cells(row: Mapping[str, Any]) -> Sequence[str]:
    where = f"across outage {row['outage']:,}" if row["outage"] else _WHERE.get(row["where"], row["where"] or "–")
    return (
        foreign(row["symbol"]),
        str(row["first_id"]),
        str(row["last_id"]),
        f"{row['count']:,}",
        moment(row["time"]),
        foreign(where),
        "–" if row["connection"] is None else f"{row['connection']:,}",
    )


def _hole_section(missing: pa.Table, *, received: bool) -> Markup:
    title = element("h2", "Holes")
    if not len(missing):
        none = (
            "No trade id is known to be missing." if received else "Which ids are missing nobody knows: none ever came."
        )
        return joined(title, element("p", none))
    rows = plain_rows(missing)
    words = f"{counted(sum(row['count'] for row in rows), 'trade id')} missing in {counted(len(rows), 'hole')}."
    shown = rows
    if len(rows) > MOST_ROWS:
        largest = sorted(range(len(rows)), key=lambda at: -rows[at]["count"])[:MOST_ROWS]
        shown = [rows[at] for at in sorted(largest)]
        words += f" The {MOST_ROWS:,} largest are shown."
    return joined(title, element("p", words), _table(_HOLE_HEAD, map(_hole_cells, shown)))


_WORDS: Final = (
    "An outage lasts from the last market message of one connection to the first of the next. Its phases: detect "
    "(until the loss was noticed), backoff (waiting before attempts), connect (in attempts, and in connections that "
    "delivered nothing), first message (from the opening on). They add up to the silence. A hole is an interval of "
    "trade ids that never arrived. Without data is the silence of the outages, and what passed in each run before its "
    "first message."
)


def report_html(
    events: pa.Table,
    *,
    title: str = "Capture report",
    facts: Mapping[str, object] = MappingProxyType({}),
    trades_count: int | None = None,
    trades: pa.Table | None = None,
    gaps: pa.Table | None = None,
    stats: pa.Table | None = None,
    longer_than: float = 1.0,
    idle_timeout: float | None = None,
    missing: Sequence[str] = (),
) -> str:
    """Return the report of a capture as one HTML document, without script, with everything it shows inside.

    Parameters
    ----------
    events
        The events table of the capture.
    title
        Heading.
    facts
        What else is known of the capture (venue, policy, directory, …), shown in this order.
    trades_count
        How many trades the capture holds, if that is to be told.
    trades, gaps
        The trades, to find ordinary gaps in, or the table of :func:`wsresearch.study.gaps.gaps` with ``outages``.
    stats
        The stats table; tells how long the last run lived, and how many trades came in every second.
    longer_than
        Seconds; shorter ordinary gaps are not drawn. ``gaps`` must have been made with it.
    idle_timeout
        Seconds; drawn among the gaps.
    missing
        What could not be taken into account, in words; told in red above everything else.

    Returns
    -------
    str
        Every text from elsewhere in it is escaped. Of more than :data:`MOST_ROWS` outages or holes the largest are
        listed, and the document says so.

    Raises
    ------
    UsageError
        If a column is missing or of another type.
    """
    told = findings(events, trades=trades, gaps=gaps, stats=stats, longer_than=longer_than)

    pictures = _pictures(told, trades=trades, stats=stats, longer_than=longer_than, idle_timeout=idle_timeout)
    when = f"{moment(told.began)} to {moment(told.ended)} UTC" if told.began is not None else "no events yet"
    numbers = told.numbers()
    if trades_count is not None:
        numbers.append((f"{trades_count:,}", "trade" if trades_count == 1 else "trades"))
    listed = [joined(element("dt", foreign(name)), element("dd", foreign(fact))) for name, fact in facts.items()]
    never = [words for delivered, words in told.hard_starts() if not delivered]
    hidden = [f"{counted(len(never) - _STARTS, 'earlier run')} never received anything either"] * (len(never) > _STARTS)
    body = element(
        "body",
        element("header", element("h1", foreign(title)), element("p", when, class_="quiet")),
        *(
            element("p", foreign(words, limit=MAX_MESSAGE), class_="wrong", role="alert")
            for words in (*hidden, *never[-_STARTS:], *missing)
        ),
        element("ul", *(element("li", element("b", number), words) for number, words in numbers), class_="numbers"),
        element(
            "main",
            *pictures,
            _outage_section(told),
            _hole_section(told.holes, received=told.received or not told.rows),
        ),
        *((element("h2", "Capture"), element("dl", *listed)) if listed else ()),
        element("footer", element("p", _WORDS)),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", safe(title)),
        element("style", Markup(_STYLE)),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"
