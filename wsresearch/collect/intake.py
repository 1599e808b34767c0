"""From received messages to stored rows: decode, sort out duplicates, tell holes, count; no waiting happens here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.collect.inbox import Inbox
from wsresearch.collect.recorder import Recorder
from wsresearch.collect.sequence import Admitted, IdSet, Ledger, Restart, Span, Where
from wsresearch.reconnect.causes import Cause
from wsresearch.safetext import safe
from wsresearch.schema import EventKind
from wsresearch.venues import Decoder, NoticeKind, Vacant

__all__ = ["Heard", "Intake", "Tally"]

_SAMPLES_A_RUN = 100
# Messages of one kind that are told word for word in a second; a venue that chatters must not fill the events.
_NOTICES_A_SECOND = 5

Note = Callable[..., None]
"""``note(kind, at_ns, **columns)`` writes an event row."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a stretch of time brought, beside what the inbox counted."""

    trades: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    notices: Counter[Cause] = field(default_factory=Counter)
    newest_recv_ns: int | None = None
    newest_event_ns: int | None = None

    @property
    def untold(self) -> dict[Cause, int]:
        """How many messages about the connection were not told word for word."""
        return {cause: count - _NOTICES_A_SECOND for cause, count in self.notices.items() if count > _NOTICES_A_SECOND}

    @property
    def lag(self) -> float | None:
        """Newest receive time minus newest event time in seconds, clock skew included."""
        if self.newest_recv_ns is None or self.newest_event_ns is None:
            return None
        return (self.newest_recv_ns - self.newest_event_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the lifecycle wants to know of a block of messages.

    Attributes
    ----------
    first_ns, last_ns
        Receive times of the first and last accepted market message; None if there was none.
    news
        What the ledger found and when, in the order of the rows, to be written after the lifecycle has been told of
        the first message.
    announced
        What the venue said of the end of this connection, None if nothing.
    """

    first_ns: int | None
    last_ns: int | None
    news: list[tuple[EventKind, Span | Restart, int]]
    announced: str | None


class Intake:
    """The straight line of a trade, from the inbox to the recorder.

    Parameters
    ----------
    decoder
        The venue's.
    ledger
        Knows which ids were seen.
    inbox, recorder
        Where messages come from and rows go to.
    note
        Writes an event row.
    release
        Tells the inbox, from any thread, that so many bytes are in the journal.
    run
        Number of the run.
    """

    def __init__(
        self,
        *,
        decoder: Decoder,
        ledger: Ledger,
        inbox: Inbox,
        recorder: Recorder,
        note: Note,
        release: Callable[[int], None],
        run: int,
    ) -> None:
        self._decoder = decoder
        self._ledger = ledger
        self._inbox = inbox
        self._recorder = recorder
        self._note = note
        self._release = release
        self._run = run
        self._tally = Tally()
        self._samples_left = _SAMPLES_A_RUN
        self._ended = (0, 0)

    def digest(self, most: int, *, connection: int, outage: int) -> Heard:
        """Take up to ``most`` messages through to the recorder.

        Parameters
        ----------
        most
            Bounds the time this takes: the event loop waits for it.
        connection
            The connection that delivered them.
        outage
            The outage that is not over yet, 0 if there is none.
        """
        if outage:
            self._ended = (connection, outage)
        frames = self._inbox.take(most)
        size = frames.footprint
        decoded = self._decoder.decode(frames, connection=connection)
        self._reject(decoded.rejected, decoded.samples)
        self._note_vacant(decoded.vacant, int(frames.recv_ns[-1]) if len(frames) else 0)
        announced = self._hear(decoded.notices)
        batch = decoded.batch
        if not batch.num_rows:
            self._inbox.release(size)
            return Heard(first_ns=None, last_ns=None, news=[], announced=announced)
        received = batch.column("recv_time").view(pa.int64())
        first_ns, last_ns = received[0].as_py(), received[-1].as_py()
        admitted = self._ledger.admit(batch, connection=connection)
        self._count(batch, admitted.batch.num_rows, admitted.duplicates, last_ns)
        if admitted.batch.num_rows:
            self._recorder.trades(
                admitted.batch, now_ns=last_ns, marks=admitted.marks, size=size, written=self._release
            )
        else:
            self._inbox.release(size)
        return Heard(
            first_ns=first_ns,
            last_ns=last_ns,
            news=[(kind, what, received[what.row].as_py()) for kind, what in _in_order(admitted)],
            announced=announced,
        )

    def note_news(self, heard: Heard, *, connection: int) -> None:
        """Write what is missing, was filled or began anew."""
        for kind, what, at_ns in heard.news:
            told: dict[str, Any] = {"connection": connection, "symbol": safe(what.symbol)}
            if isinstance(what, Restart):
                detail = "the venue began to count this symbol's trades anew"
                self._note(kind, at_ns, cause=Cause.IDS_RESTARTED, detail=detail, **told)
                continue
            # A symbol may trade for the first time long after the outage ended that its hole lies across.
            across = what.where is Where.OUTAGE and self._ended[0] == connection
            ids = {"outage": self._ended[1] if across else 0, "first_id": what.first, "last_id": what.last}
            self._note(kind, at_ns, cause=what.where.value, **ids, **told)

    def _note_vacant(self, vacant: Sequence[Vacant], at_ns: int) -> None:
        """Write down ids that the venue spent without a trade: they are accounted for, and no hole."""
        for symbol in dict.fromkeys(each.symbol for each in vacant):
            ids = IdSet((each.trade_id, each.trade_id) for each in vacant if each.symbol == symbol)
            for first, last in ids:
                self._ledger.excuse(symbol, first, last)
                told = {"symbol": symbol, "first_id": first, "last_id": last}
                self._note(EventKind.HOLE_FILLED, at_ns, cause=Where.VACANT.value, **told)

    def tally(self) -> Tally:
        """Return what came since the last call."""
        tally, self._tally = self._tally, Tally()
        return tally

    def _count(self, batch: pa.RecordBatch, new: int, duplicates: int, last_ns: int) -> None:
        self._tally.trades += new
        self._tally.duplicates += duplicates
        self._tally.newest_recv_ns = last_ns
        newest = pc.max(batch.column("event_time").view(pa.int64())).as_py()
        self._tally.newest_event_ns = None if newest is None else newest * 1000

    def _reject(self, rejected: Mapping[Any, int], samples: Any) -> None:
        for kind, count in rejected.items():
            self._tally.rejected[str(kind)] += count
        for sample in samples[: self._samples_left]:
            self._samples_left -= 1
            self._recorder.sample(str(sample.kind), sample.raw, run=self._run, recv_ns=sample.recv_ns)

    def _hear(self, notices: Any) -> str | None:
        announced = None
        for notice in notices:
            if notice.kind is NoticeKind.SHUTDOWN:
                announced = safe(notice.detail) or "the venue announced the end of this connection"
            elif notice.kind in {NoticeKind.ERROR, NoticeKind.UNKNOWN}:
                cause = Cause.VENUE_ERROR if notice.kind is NoticeKind.ERROR else Cause.UNKNOWN
                self._tally.notices[cause] += 1
                if self._tally.notices[cause] <= _NOTICES_A_SECOND:
                    self._note(EventKind.ERROR, notice.recv_ns, cause=cause, detail=safe(notice.detail))
        return announced


def _in_order(admitted: Admitted) -> list[tuple[EventKind, Span | Restart]]:
    """Return what a batch brought in the order of its rows: a hole of the old count before a new one begins."""
    news: list[tuple[EventKind, Span | Restart]] = [(EventKind.ERROR, restart) for restart in admitted.restarts]
    news += [(EventKind.HOLE, span) for span in admitted.holes]
    news += [(EventKind.HOLE_FILLED, span) for span in admitted.filled]
    return sorted(news, key=lambda item: item[1].row)
