"""What the events of a capture say is missing, held against the trade ids that are there; no file is here."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.capture.coverage import Ids
from wsresearch.capture.ledger import LEAP, SETTLE_NS
from wsresearch.schema import EventKind

if TYPE_CHECKING:
    from wsresearch.capture.check import Findings
    from wsresearch.capture.ledger import Era, IdLedger, SymbolIds

__all__ = ["Claims", "SymbolCoverage", "judge"]

_IDS_RESTARTED: Final = "ids_restarted"
"""The cause of the ``error`` event that says: the venue began to count this symbol's trades anew."""

_VACANT: Final = "vacant"
"""The cause of the ``hole_filled`` event that says: the venue spent these ids without a trade."""

_COLUMNS: Final = ["time", "kind", "cause", "symbol", "first_id", "last_id"]

_NAMED: Final = 5
"""Intervals named one by one before the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolCoverage:
    """Which ids of a symbol are there.

    Attributes
    ----------
    first_id, last_id
        Lowest and highest id; None if its rows have none.
    rows
        Rows of the symbol.
    missing
        Ids between the two that are not there.
    """

    first_id: int | None
    last_id: int | None
    rows: int
    missing: int


@dataclass(frozen=True, slots=True)
class _Claim:
    kind: str
    cause: str | None
    first: int
    last: int
    time: int


class Claims:
    """What the events of a capture say of its ids and its runs.

    Attributes
    ----------
    ended
        Runs that ended in order, not by a kill or a power cut.
    opened
        Whether a connection was ever opened.
    """

    def __init__(self) -> None:
        self.opened = False
        self.ended: set[int] = set()
        self._by_era: dict[str, list[list[_Claim]]] = defaultdict(lambda: [[]])

    def add(self, events: pa.Table) -> None:
        """Take in events in their order; other kinds are passed over."""
        ends = pa.array([EventKind.STOPPED, EventKind.GAVE_UP], pa.string())
        self.ended.update(events.filter(pc.is_in(events["kind"], value_set=ends))["run"].to_pylist())
        self.opened = self.opened or bool(pc.any(pc.equal(events["kind"], EventKind.OPENED)).as_py())
        kinds = pa.array([EventKind.HOLE, EventKind.HOLE_FILLED, EventKind.ERROR], pa.string())
        about = events.filter(pc.is_in(events["kind"], value_set=kinds)).select(_COLUMNS)
        # Times as numbers: a Python datetime has no nanoseconds.
        times = about["time"].cast(pa.int64())
        for row in about.set_column(_COLUMNS.index("time"), "time", times).to_pylist():
            if row["symbol"] is None:
                continue
            eras = self._by_era[row["symbol"]]
            if row["kind"] == EventKind.ERROR:
                if row["cause"] == _IDS_RESTARTED:
                    eras.append([])
            elif row["first_id"] is not None and row["last_id"] is not None:
                eras[-1].append(_Claim(row["kind"], row["cause"], row["first_id"], row["last_id"], row["time"]))

    def eras(self, symbol: str) -> int:
        """Return how often the ids of a symbol were begun, 1 if it was never said that they were begun anew."""
        return len(self._by_era[symbol])

    def missing(self, symbol: str, era: int) -> Ids:
        """Return the ids that were told missing and not told to have come after all."""
        holes, filled = (
            Ids.spanning((claim.first, claim.last) for claim in self._by_era[symbol][era] if claim.kind == kind)
            for kind in (EventKind.HOLE, EventKind.HOLE_FILLED)
        )
        return holes - filled

    def vacant(self, symbol: str, era: int) -> Ids:
        """Return the ids that were told to stand for no trade: nothing is missing there."""
        claims = self._by_era[symbol][era]
        return Ids.spanning((claim.first, claim.last) for claim in claims if claim.cause == _VACANT)

    def told_since(self, symbol: str, era: int, time: int) -> Ids:
        """Return the ids that any event after `time` (ns since 1970 UTC) is about."""
        claims = self._by_era[symbol][era]
        return Ids.spanning((claim.first, claim.last) for claim in claims if claim.time > time)


def judge(
    ledger: IdLedger, claims: Claims, findings: Findings, *, settled: bool
) -> tuple[dict[str, SymbolCoverage], list[tuple[str, int, int]], int]:
    """Compare what is there with what was told.

    Parameters
    ----------
    ledger, claims
        The ids and the events of the whole capture.
    findings
        Where to say what does not agree.
    settled
        Whether nothing can be under way: no journal was there.

    Returns
    -------
    symbols, holes, duplicates
        Coverage by symbol; missing intervals ``(symbol, first, last)``; rows whose id was there before.
    """
    symbols = {}
    holes: list[tuple[str, int, int]] = []
    duplicates = 0
    for symbol, known in sorted(ledger.symbols.items()):
        ends: list[int] = []
        missing = 0
        for number, (stored, repeated) in enumerate(_eras(known, claims.eras(symbol))):
            told = claims.missing(symbol, number)
            ids = _without_strays(symbol, stored, told, findings)
            gaps = ids.gaps() - claims.vacant(symbol, number)
            young, late = Ids.spanning([]), Ids.spanning([])
            if not settled and ledger.newest is not None:
                young = ledger.recent(symbol)
                late = claims.told_since(symbol, number, ledger.newest - SETTLE_NS)
            untold = Ids.spanning((a, b) for a, b in gaps - told - late if b + 1 not in young and a - 1 not in young)
            _say(findings, symbol, untold, "are missing and no event says so")
            _say(findings, symbol, (told & ids) - late - young, "are there although an event says they are missing")
            if repeated:
                findings.problems.append(f"{symbol!r}: {repeated} rows have an id that was there before")
            ends += [int(ids.firsts[0]), int(ids.lasts[-1])] if len(ids) else []
            holes += [(symbol, first, last) for first, last in gaps]
            missing += gaps.count
            duplicates += repeated
        symbols[symbol] = SymbolCoverage(
            first_id=min(ends, default=None), last_id=max(ends, default=None), rows=known.rows, missing=missing
        )
    return symbols, holes, duplicates


def _eras(known: SymbolIds, told: int) -> list[tuple[Ids, int]]:
    """Return ids and repeated rows of each era that an event tells of; any other belongs to the one before it."""
    grouped: list[list[Era]] = []
    for era in known.eras:
        if len(grouped) < told:
            grouped.append([era])
        else:
            grouped[-1].append(era)
    found = []
    for eras in grouped:
        ids = Ids.union(era.builder.ids() for era in eras)
        found.append((ids, sum(era.builder.rows for era in eras) - ids.count))
    return found


def _without_strays(symbol: str, ids: Ids, told: Ids, findings: Findings) -> Ids:
    """Leave out lone ids far above all others: a collector stores them and believes in no hole up to there."""
    end = len(ids)
    while end > 1:
        first, before = int(ids.firsts[end - 1]), int(ids.lasts[end - 2])
        leap = Ids.spanning([(before + 1, first - 1)])
        if first != int(ids.lasts[end - 1]) or leap.count <= LEAP or len(leap & told):
            break
        findings.notes.append(f"{symbol!r}: id {first} stands alone, far above all others; it is left out of the count")
        end -= 1
    return Ids(ids.firsts[:end], ids.lasts[:end])


def _say(findings: Findings, symbol: str, ids: Ids, what: str) -> None:
    intervals = list(ids)
    findings.problems.extend(f"{symbol!r}: ids {first} to {last} {what}" for first, last in intervals[:_NAMED])
    if intervals[_NAMED:]:
        count = Ids.spanning(intervals[_NAMED:]).count
        findings.problems.append(f"{symbol!r}: {count} more ids in {len(intervals) - _NAMED} intervals {what}")
