"""The Arrow schemas of a capture, declared once; no file, no venue and no rule is here.

Units are SI seconds unless a name says otherwise, wall time is UTC, and a null means "does not apply".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import pyarrow as pa

__all__ = ["EVENTS", "FORMAT_VERSION", "SCHEMAS", "STATS", "TIME_COLUMN", "TRADES", "EventKind", "TableName"]

FORMAT_VERSION: Final = 1
"""Version of the directory layout and of the schemas below; a reader refuses what is newer."""

_UTC_NS: Final = pa.timestamp("ns", tz="UTC")
_UTC_US: Final = pa.timestamp("us", tz="UTC")


class TableName(StrEnum):
    """The three tables of a capture."""

    TRADES = "trades"
    EVENTS = "events"
    STATS = "stats"


class EventKind(StrEnum):
    """What an event row tells.

    Every row that *ends a step* of an outage says in ``waited`` how long that step took on the monotonic
    clock, so that the silence of an outage is the sum of the ``waited`` of its rows:

    ================ =====================================================================
    ``run_started``  a collector took the capture over
    ``connecting``   an attempt begins; ``waited`` = since the failure before it
    ``opened``       the WebSocket is open; ``waited`` = dns + tcp + tls + upgrade
    ``attempt_failed`` it could not be opened; ``waited`` as above, later phases null
    ``first_message`` first market message of a connection; ``waited`` = since ``opened``
    ``stalled``      open, but no market data for ``idle_timeout`` (a ``lost`` row follows)
    ``lost``         a connection ended; ``waited`` = since its last market message, or since ``opened``
                     if it delivered none: the *detect* phase
    ``backoff``      a delay begins: ``drawn`` by the policy, ``delay`` decided
    ``rollover``     the venue announced the end of this connection, or we replaced it on purpose
    ``hole``         ids ``first_id..last_id`` of ``symbol`` were never received
    ``hole_filled``  ids of an earlier hole arrived after all
    ``stopped``      the run ended because we asked
    ``gave_up``      the run ended after its last permitted attempt
    ``error``        anything else worth knowing: rejected rows, a failing disk, a permanent failure
    ================ =====================================================================
    """

    RUN_STARTED = "run_started"
    CONNECTING = "connecting"
    OPENED = "opened"
    FIRST_MESSAGE = "first_message"
    STALLED = "stalled"
    LOST = "lost"
    ATTEMPT_FAILED = "attempt_failed"
    BACKOFF = "backoff"
    ROLLOVER = "rollover"
    HOLE = "hole"
    HOLE_FILLED = "hole_filled"
    STOPPED = "stopped"
    GAVE_UP = "gave_up"
    ERROR = "error"


TRADES: Final = pa.schema(
    [
        pa.field("symbol", pa.string()),
        pa.field("trade_id", pa.int64()),
        pa.field("price", pa.decimal128(38, 18)),
        pa.field("quantity", pa.decimal128(38, 18)),
        pa.field("side", pa.string()),
        pa.field("trade_time", _UTC_US),
        pa.field("event_time", _UTC_US),
        pa.field("recv_time", _UTC_NS),
        pa.field("connection", pa.int32()),
        pa.field("backfilled", pa.bool_()),
    ]
)

EVENTS: Final = pa.schema(
    [
        pa.field("seq", pa.int64()),
        pa.field("time", _UTC_NS),
        pa.field("run", pa.int32()),
        pa.field("connection", pa.int32()),
        pa.field("outage", pa.int32()),
        pa.field("attempt", pa.int32()),
        pa.field("kind", pa.string()),
        pa.field("cause", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("close_code", pa.int32()),
        pa.field("close_by", pa.string()),
        pa.field("http_status", pa.int32()),
        pa.field("delay", pa.float64()),
        pa.field("drawn", pa.float64()),
        pa.field("waited", pa.float64()),
        pa.field("dns", pa.float64()),
        pa.field("tcp", pa.float64()),
        pa.field("tls", pa.float64()),
        pa.field("upgrade", pa.float64()),
        pa.field("peer", pa.string()),
        pa.field("clock_offset", pa.float64()),
        pa.field("symbol", pa.string()),
        pa.field("first_id", pa.int64()),
        pa.field("last_id", pa.int64()),
    ]
)

STATS: Final = pa.schema(
    [
        pa.field("time", _UTC_NS),
        pa.field("run", pa.int32()),
        pa.field("connection", pa.int32()),
        pa.field("messages", pa.int64()),
        pa.field("trades", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("rejected", pa.int64()),
        pa.field("dropped", pa.int64()),
        pa.field("queue_bytes", pa.int64()),
        pa.field("ping_rtt", pa.float64()),
        pa.field("lag", pa.float64()),
    ]
)

SCHEMAS: Final = {TableName.TRADES: TRADES, TableName.EVENTS: EVENTS, TableName.STATS: STATS}

TIME_COLUMN: Final = {
    TableName.TRADES: "recv_time",
    TableName.EVENTS: "time",
    TableName.STATS: "time",
}
"""The column whose UTC date names a segment's directory."""
