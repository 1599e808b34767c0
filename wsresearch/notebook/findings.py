"""What a report tells, gathered from the tables of a capture; how it is shown is not here."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from wsresearch.notebook.columns import nanoseconds
from wsresearch.notebook.words import counted, duration, hard_start, share
from wsresearch.schema import EventKind
from wsresearch.study.gaps import gaps as find_gaps
from wsresearch.study.holes import holes
from wsresearch.study.outages import outages
from wsresearch.study.rows import Event, plain_rows, read_events
from wsresearch.study.starts import starts

__all__ = ["Findings", "findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The tables of a report, and what is counted in them; ``began`` and ``ended`` are ns, None without events."""

    rows: list[Event]
    outages: pa.Table
    starts: pa.Table
    holes: pa.Table
    gaps: pa.Table | None
    connections: int
    began: int | None
    ended: int | None

    def events(self) -> list[Event]:
        """Return the events as they were read, so that each picture need not read them again."""
        return self.rows

    @property
    def lived(self) -> float:
        """Return the seconds that a collector ran."""
        return float(self.starts["lived"].to_numpy().sum())

    @property
    def silence(self) -> float:
        """Return the seconds without data while a collector ran: in outages, and before the first message of a run."""
        return float(self.outages["silence"].to_numpy().sum() + self.starts["silence"].to_numpy().sum())

    @property
    def received(self) -> bool:
        """Return whether any market data ever came."""
        return bool(self.starts["first_message"].null_count < len(self.starts))

    def hard_starts(self) -> list[tuple[bool, str]]:
        """Return what is to be said of runs that had trouble to begin: whether data came at last, and a sentence."""
        told = ((row["first_message"] is not None, hard_start(row)) for row in plain_rows(self.starts))
        return [(delivered, words) for delivered, words in told if words is not None]

    @property
    def missing(self) -> int:
        """Return how many trade ids are known to be missing."""
        return sum(self.holes["count"].to_pylist())

    def numbers(self) -> list[tuple[str, str]]:
        """Return the numbers that matter, each with what it counts."""
        lost = f"{self.missing:,}" if self.received or not self.rows else "unknown"
        missing = f"ids missing in {counted(len(self.holes), 'hole')}" if len(self.holes) else "ids missing"
        return [
            (f"{len(self.outages):,}", "outage" if len(self.outages) == 1 else "outages"),
            (duration(self.silence), f"without data, {share(self.silence, self.lived)} of {duration(self.lived)}"),
            (lost, missing),
            (f"{self.connections:,}", "connection" if self.connections == 1 else "connections"),
        ]


def findings(
    events: pa.Table,
    *,
    trades: pa.Table | None = None,
    gaps: pa.Table | None = None,
    stats: pa.Table | None = None,
    longer_than: float = 1.0,
) -> Findings:
    """Gather what a report tells; the parameters are those of :func:`~wsresearch.notebook.report.report_html`."""
    rows = read_events(events)
    lost = outages(rows)
    if gaps is None and trades is not None:
        gaps = find_gaps(trades, longer_than=longer_than, outages=lost)
    times = [row.time for row in rows]
    for table, column in ((trades, "recv_time"), (stats, "time")):
        if rows and table is not None and len(table):
            times.append(int(nanoseconds(table[column]).max()))
    return Findings(
        rows=rows,
        outages=lost,
        starts=starts(rows, stats=stats, until=max(times, default=None)),
        holes=holes(rows),
        gaps=gaps,
        connections=sum(row.kind == EventKind.OPENED for row in rows),
        began=min(times, default=None),
        ended=max(times, default=None),
    )
