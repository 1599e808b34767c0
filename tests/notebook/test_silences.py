"""Silences sorted by what they were."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.study.eventlog import START_NS, EventLog, days, ns, trades
from wsresearch.notebook.silences import runs_of, silences_in, silences_of, silences_without_trades
from wsresearch.study import gaps, outages
from wsresearch.study.rows import read_events


def _log(count: int) -> EventLog:
    return days(count, span=600)


@given(st.integers(0, 12), st.lists(st.integers(0, 600), max_size=60), st.randoms())
def test_every_gap_is_counted_once(count: int, at: list[int], shuffle: object) -> None:
    """The lengths are those that `study.gaps` finds, and the ones in an outage are the ones that it finds."""
    log = _log(count)
    rows = read_events(log.table())
    lost = outages(rows)
    found = trades([START_NS + ns(second) for second in at])
    silent = silences_in(found, lost, runs_of(rows))
    table = gaps(found, longer_than=0, outages=lost)
    outage = np.asarray(table["outage"]) > 0
    lengths = np.rint(table["seconds"].to_numpy() * 1e9).astype(np.int64)
    np.testing.assert_array_equal(silent.ordinary[silent.ordinary > 0], np.sort(lengths[~outage]))
    np.testing.assert_array_equal(silent.outages, np.sort(lengths[outage]))
    assert len(silent) == max(0, len(at) - 1)
    again = silences_of(table, runs_of(rows))
    np.testing.assert_array_equal(again.ordinary, np.sort(lengths[~outage]))
    np.testing.assert_array_equal(again.outages, silent.outages)


def test_a_gap_between_two_runs_is_a_stop() -> None:
    """Whatever else lies in it: after an outage that was never ended nobody listened either."""
    log = EventLog()
    log.connect()
    log.wait(1)
    log.lost(1.0)
    log.add("stopped")
    log.wait(1000)
    log.connect()
    rows = read_events(log.table())
    first, second = trades([START_NS + ns(1)]), trades([log.now, log.now + ns(2)], connection=2)
    found = pa.concat_tables([second, first])
    for silent in (
        silences_in(found, outages(rows), runs_of(rows)),
        silences_of(gaps(found, longer_than=0, outages=outages(rows)), runs_of(rows)),
    ):
        assert silent.ordinary.tolist() == [ns(2)]
        assert silent.outages.tolist() == []
        assert silent.stops == 1


def test_a_connection_of_which_no_event_tells_is_no_stop() -> None:
    """Events may have been read with ``since=``; what is not known is not left out."""
    found = pa.concat_tables([trades([START_NS]), trades([START_NS + ns(3)], connection=2)])
    silent = silences_in(found, outages(EventLog().table()), {})
    assert (silent.ordinary.tolist(), silent.stops) == ([ns(3)], 0)


def test_what_came_over_rest_fills_no_silence() -> None:
    """Connection 0 is no connection."""
    found = pa.concat_tables([trades([START_NS, START_NS + ns(4)]), trades([START_NS + ns(1)], connection=0)])
    assert silences_in(found, outages(EventLog().table()), {}).ordinary.tolist() == [ns(4)]


def test_longer_than_keeps_what_is_longer() -> None:
    """As `study.gaps` does: 2 s are no gap longer than 2 s."""
    log = EventLog()
    log.connect()
    found = trades([START_NS, START_NS + ns(2), START_NS + ns(5)])
    silent = silences_in(found, outages(log.table()), {}).longer_than(ns(2))
    assert (silent.ordinary.tolist(), silent.longest) == ([ns(3)], ns(3))
    assert silent.longer_than(ns(3)).longest == 0


def test_without_trades_the_outages_that_ended_are_known() -> None:
    """The one that goes on is not."""
    log = _log(3)
    log.wait(1)
    log.delivered = True
    log.lost(1.0)
    lost = outages(log.table())
    silent = silences_without_trades(lost)
    assert len(silent.outages) == len(lost) - 1 == 3
    assert (np.diff(silent.outages) >= 0).all()
