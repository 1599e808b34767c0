"""Tables as the study reads them."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from tests.study.eventlog import START_NS, EventLog, days
from wsresearch.errors import UsageError
from wsresearch.schema import EVENTS
from wsresearch.study.rows import checked, plain_rows, read_events


def test_events_come_in_the_order_they_were_written() -> None:
    """By run and number, whatever the order of the rows and whatever the wall clock did in between."""
    log = EventLog()
    log.connect()
    log.wall_offset = -3600 * 10**9
    log.connect()
    events = log.table()
    order = list(range(len(events)))
    random.Random(3).shuffle(order)
    assert [row.seq for row in read_events(events.take(order))] == list(range(1, len(events) + 1))


def test_numbers_may_start_again_with_each_run() -> None:
    """The run comes first, so tables of several collectors can be laid one after the other."""
    log = EventLog()
    log.connect()
    first = len(log.rows)
    log.connect()
    for row in log.rows[first:]:
        row["seq"] -= first
    assert [row.run for row in read_events(log.table())] == [1] * first + [2] * first


def test_what_was_read_is_not_read_again() -> None:
    """Several questions about one table cost one reading."""
    rows = read_events(days(3, span=60).table())
    assert read_events(rows) is rows


def test_plain_rows_keep_every_nanosecond() -> None:
    """Times are integers: a datetime would cut them to microseconds."""
    log = EventLog(now=START_NS + 1)
    log.start()
    assert plain_rows(log.table())[0]["time"] == START_NS + 1


def test_a_column_that_is_there_twice_is_an_error() -> None:
    """Two columns of a name (from a join) leave open which is meant."""
    table = pa.table([pa.array([1]), pa.array([2])], names=["seq", "seq"])
    with pytest.raises(UsageError, match="the events table has 2 columns 'seq'"):
        checked(table, EVENTS, ("seq",), name="events")
