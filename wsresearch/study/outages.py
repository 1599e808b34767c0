"""What the events tell about each outage and each attempt; no plot, no file and no statistics.

The seconds in these tables are sums of ``waited``, which the collector took from its monotonic clock, so a
wall clock that stepped during an outage does not change its length. Only where a row has no ``waited``, and
for what was still going on when a run ended, the difference of two ``time`` values is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isnan
from typing import Any, Final

import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.reconnect.causes import Cause
from wsresearch.schema import EventKind
from wsresearch.study.attempts import ATTEMPTS, ENDS_RUN, attempt_rows, step
from wsresearch.study.holes import holes_in
from wsresearch.study.rows import Event, as_table, int64, read_events, seconds_between
from wsresearch.study.volume import lost_volumes

__all__ = ["OUTAGES", "Detector", "outages"]

_TIME: Final = pa.timestamp("ns", tz="UTC")

_LOST_IDS: Final = pa.struct(
    [
        pa.field("symbol", pa.string()),
        pa.field("first_id", pa.int64()),
        pa.field("last_id", pa.int64()),
        pa.field("count", pa.int64()),
        pa.field("volume", pa.float64()),
        pa.field("volume_error", pa.float64()),
    ]
)

OUTAGES: Final = pa.schema(
    [
        pa.field("outage", pa.int32()),
        pa.field("run", pa.int32()),
        pa.field("cause", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("close_code", pa.int32()),
        pa.field("close_by", pa.string()),
        pa.field("connection", pa.int32()),
        pa.field("next_connection", pa.int32()),
        pa.field("began", _TIME),
        pa.field("noticed", _TIME),
        pa.field("ended", _TIME),
        pa.field("attempts", pa.int32()),
        pa.field("waited", pa.float64()),
        pa.field("delay", pa.float64()),
        pa.field("silence", pa.float64()),
        pa.field("detect", pa.float64()),
        pa.field("backoff", pa.float64()),
        pa.field("connect", pa.float64()),
        pa.field("first_message", pa.float64()),
        pa.field("ids_lost", pa.int64()),
        pa.field("censored", pa.bool_()),
        pa.field("detector", pa.string()),
        pa.field("delays", pa.list_(pa.float64())),
        pa.field("waits", pa.list_(pa.float64())),
        pa.field("attempts_failed", pa.int32()),
        pa.field("attempts_opened", pa.int32()),
        pa.field("attempts_unfinished", pa.int32()),
        pa.field("dns", pa.float64()),
        pa.field("tcp", pa.float64()),
        pa.field("tls", pa.float64()),
        pa.field("upgrade", pa.float64()),
        pa.field("clock_step", pa.float64()),
        pa.field("holes", pa.list_(_LOST_IDS)),
    ]
)


class Detector(StrEnum):
    """What took a connection for lost: the peer's Close frame, the socket, or something of ours that looks.

    How late it was is ``detect``, counted from the last market message: when a connection really broke, nobody knows,
    so that is the most it can have been.
    """

    CLOSE_FRAME = "close_frame"
    SOCKET = "socket"
    PING = "ping"
    IDLE_TIMEOUT = "idle_timeout"
    PROTOCOL = "protocol"
    OURSELVES = "ourselves"


_DETECTORS: Final[Mapping[str | None, Detector]] = {
    Cause.CLOSED: Detector.CLOSE_FRAME,
    Cause.EOF: Detector.SOCKET,
    Cause.RESET: Detector.SOCKET,
    Cause.UNREACHABLE: Detector.SOCKET,
    Cause.PING_TIMEOUT: Detector.PING,
    Cause.STALLED: Detector.IDLE_TIMEOUT,
    Cause.PROTOCOL_ERROR: Detector.PROTOCOL,
    Cause.TOO_BIG: Detector.PROTOCOL,
    Cause.RECONNECT: Detector.OURSELVES,
    Cause.ROLLOVER: Detector.OURSELVES,
}


def _detector(lost: Event) -> Detector | None:
    """Return what noticed a loss; None where its cause does not say."""
    if lost.cause == Cause.SERVER_SHUTDOWN:  # announced by a message, but noticed when it came true
        return Detector.SOCKET if lost.close_code is None else Detector.CLOSE_FRAME
    if lost.cause == Cause.CLOSED and lost.close_by == "local":
        return Detector.OURSELVES
    return _DETECTORS.get(lost.cause)


# Which phase a step belongs to, and which phase begins when it ends. A connection that opened and was lost
# again without a market message was, for the data, one more way of not being connected: that is *connect*.
_STEPS: Final[Mapping[str, tuple[str, str]]] = {
    EventKind.CONNECTING: ("backoff", "connect"),
    EventKind.ATTEMPT_FAILED: ("connect", "backoff"),
    EventKind.OPENED: ("connect", "first_message"),
    EventKind.LOST: ("connect", "backoff"),
    EventKind.FIRST_MESSAGE: ("first_message", ""),
}


_WAYS: Final = ("backoff", "connect", "first_message")


@dataclass(slots=True)
class _Outage:
    """An outage while its rows are being read."""

    lost: Event
    detect: float
    mark: int
    """Time of the last row that ended a step, in ns."""
    phase: str = "backoff"
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_WAYS, 0.0))
    attempts: int = 0
    delay: float = 0.0
    decided: float = 0.0
    """The delay of the attempt to come: a second decision about the same attempt replaces the first."""

    @classmethod
    def opened_by(cls, row: Event) -> _Outage:
        if row.waited is None or isnan(row.waited) or row.waited < 0:
            raise UsageError(
                f"column 'waited' of event {row.seq} is {row.waited}; a 'lost' event that begins an outage "
                "must say how long ago the last market message was"
            )
        return cls(lost=row, detect=row.waited, mark=row.time)

    def take(self, row: Event) -> None:
        """Read a row of this outage."""
        if row.kind == EventKind.BACKOFF:
            self.decided = row.delay or 0.0
            return
        if row.kind == EventKind.CONNECTING:
            self.attempts += 1
            self.delay += row.delay if row.delay is not None else self.decided
            self.decided = 0.0
        of, then = _STEPS[row.kind]
        self.spent[of] += step(row, self.mark)
        self.mark, self.phase = row.time, then

    def values(self, ended: Event | None, until: int) -> tuple[Any, ...]:
        """Return the row of :data:`OUTAGES`; without an end, all that was going on until ``until`` counts."""
        spent = dict(self.spent)
        if ended is None:
            spent[self.phase] += seconds_between(self.mark, until)
        lost = self.lost
        return (
            lost.outage,
            lost.run,
            lost.cause,
            lost.detail,
            lost.close_code,
            lost.close_by,
            lost.connection,
            None if ended is None else ended.connection,
            lost.time - round(self.detect * 1e9),
            lost.time,
            None if ended is None else ended.time,
            self.attempts,
            spent["backoff"],
            self.delay + self.decided,
            self.detect + spent["backoff"] + spent["connect"] + spent["first_message"],
            self.detect,
            spent["backoff"],
            spent["connect"],
            spent["first_message"],
            0,
            ended is None,
            _detector(lost),
        )


def _outage_rows(rows: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    current: _Outage | None = None
    run = None
    until = 0
    for row in rows:
        if current is not None and row.run != run:
            yield current.values(None, until)
            current = None
        run, until = row.run, row.time
        new = current is None or row.outage != current.lost.outage
        if row.kind == EventKind.LOST and row.outage and new:
            if current is not None:  # the rows between the two are not in the table
                yield current.values(None, current.mark)
            current = _Outage.opened_by(row)
        elif current is None:
            continue
        elif row.kind in ENDS_RUN:
            yield current.values(None, until)
            current = None
        elif row.outage == current.lost.outage and (row.kind in _STEPS or row.kind == EventKind.BACKOFF):
            current.take(row)
            if row.kind == EventKind.FIRST_MESSAGE:
                yield current.values(row, until)
                current = None
    if current is not None:
        yield current.values(None, until)


_TRIED: Final = tuple(ATTEMPTS.names.index(name) for name in ("outage", "delay", "waited", "outcome", "connection"))
_PHASES: Final = ATTEMPTS.names.index("dns")


def _tried(rows: list[Event]) -> Mapping[int, list[tuple[Any, ...]]]:
    """Return the attempts of each outage, rows of :data:`~wsresearch.study.attempts.ATTEMPTS`."""
    found = defaultdict(list)
    for values in attempt_rows(rows):
        found[values[_TRIED[0]]].append(values)
    return found


def _of_attempts(tried: list[tuple[Any, ...]], next_connection: int | None) -> tuple[Any, ...]:
    """Return delays, waits, how many attempts had which outcome, and the phases of the one that ended the outage."""
    _, delay, waited, outcome, connection = _TRIED
    outcomes = [row[outcome] for row in tried]
    failed, opened = outcomes.count("failed"), outcomes.count("opened")
    phases: tuple[Any, ...] = (None,) * 4
    for row in tried:
        if next_connection is not None and row[connection] == next_connection:
            phases = row[_PHASES : _PHASES + 4]
    waits, delays = ([row[at] for row in tried] for at in (waited, delay))
    return (delays, waits, failed, opened, len(tried) - failed - opened, *phases)


def _missing(rows: list[Event], trades: Any | None) -> Mapping[int, list[dict[str, Any]]]:
    """Return what is missing of each outage, one dict of :data:`_LOST_IDS` a symbol."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for row, first, last in holes_in(rows):
        if row.outage and row.symbol is not None:
            ids = {"symbol": row.symbol, "first_id": first, "last_id": last, "count": 0}
            known = found.setdefault((row.outage, row.symbol), ids)
            known["first_id"], known["last_id"] = min(known["first_id"], first), max(known["last_id"], last)
            known["count"] = int64(known["count"] + last - first + 1)
    if trades is not None:
        for known, told in zip(found.values(), lost_volumes(list(found.values()), trades), strict=True):
            known["volume"], known["volume_error"] = told
    missing = defaultdict(list)
    for (outage, _), known in sorted(found.items()):
        missing[outage].append(known)
    return missing


def outages(events: Any, *, trades: Any | None = None, numbered: bool = True) -> pa.Table:
    """Return one row for each outage: from a connection's last message to the first market message after it.

    Parameters
    ----------
    events
        The events table of a capture, in any order. Outage numbers are unique within a capture. An outage
        whose opening ``lost`` event is not in the table (because it was read with ``since=``) is left out,
        for nobody can say when it began.
    trades
        The trades table, or a ``pyarrow.RecordBatchReader`` of it, with ``symbol``, ``trade_id`` and ``quantity``:
        from them the volume of what is missing is estimated, see :func:`wsresearch.study.volume.lost_volumes`.
    numbered
        Whether the venue numbers its trades. Without numbers nothing is known to be missing: ``ids_lost`` and
        ``holes`` are null then, not 0.

    Returns
    -------
    pyarrow.Table
        In the order they began; times in UTC, durations in seconds:

        =================== ==============================================================================
        ``outage``          its number, as in the events and holes
        ``run``             the run it happened in
        ``cause``           why the connection was lost
        ``detail``          the same in the words of the peer or the system, made safe
        ``close_code``      WebSocket close code, null if there was none
        ``close_by``        ``peer`` or ``local``
        ``connection``      the connection that was lost
        ``next_connection`` the connection whose first message ended it; null if censored
        ``began``           when the last market message had arrived
        ``noticed``         when the collector took the connection for lost
        ``ended``           when the first market message arrived; null if censored
        ``attempts``        tries to open that were begun
        ``waited``          real waiting before them; the same number as ``backoff``
        ``delay``           the decided waiting, to compare with ``waited``
        ``silence``         how long no market data came; a lower bound if censored
        ``detect``          until the loss was noticed
        ``backoff``         waiting before attempts
        ``connect``         in attempts, failed ones included, and in connections that opened and were lost
                            again before they had delivered a market message
        ``first_message``   between the opening of the last connection and its first market message
        ``ids_lost``        trade ids missing across it and not filled since; of a censored one that is not
                            known before the next run's first message, and such a hole carries no outage
        ``censored``        not over when its run stopped, gave up, failed or was killed, or the table ended
        ``detector``        what noticed it, a :class:`Detector`; ``detect`` later than the last market message
        ``delays``          the decided delay before each attempt
        ``waits``           what really passed before each attempt
        ``attempts_failed``, ``attempts_opened``, ``attempts_unfinished``  how the attempts ended: in a failure, in
                            a connection, or not before the run or the table did; together ``attempts``
        ``dns``, ``tcp``, ``tls``, ``upgrade``  phases of the attempt whose connection ended it; null if censored
        ``clock_step``      by how much the wall clock ran ahead of the monotonic clock from the beginning of the
                            lost connection to the end of the outage; null if censored
        ``holes``           for each symbol with ids missing across it: ``symbol``, ``first_id``, ``last_id``,
                            ``count`` (less than the two say where some have been filled), ``volume`` and
                            ``volume_error``, estimated, in units of the symbol's quantity, null without
                            ``trades``; null if censored
        =================== ==============================================================================

    Raises
    ------
    UsageError
        If a column is missing or of another type, or a duration is negative; the message names the column.

    Notes
    -----
    ``silence = detect + backoff + connect + first_message`` to a microsecond, censored or not. A censored
    outage counts until the last event of its run.
    """
    rows = read_events(events)
    ledger = list(_outage_rows(rows))
    tried, missing = _tried(rows), _missing(rows, trades)
    at = {name: OUTAGES.get_field_index(name) for name in ("next_connection", "began", "ended", "silence", "ids_lost")}
    found = []
    for values in ledger:
        told = list(values)
        ended, holes = values[at["ended"]], missing[values[0]]
        told[at["ids_lost"]] = int64(sum(each["count"] for each in holes)) if numbered else None
        passed = None if ended is None else (ended - values[at["began"]]) / 1e9 - values[at["silence"]]
        of_attempts = _of_attempts(tried[values[0]], values[at["next_connection"]])
        found.append((*told, *of_attempts, passed, holes if numbered and ended is not None else None))
    return as_table(found, OUTAGES)
