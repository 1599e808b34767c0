"""What recorded attempts say about the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.study.eventlog import EventLog, days, ns
from tests.study.playedvenue import RandomVenue, collected
from wsresearch.errors import UsageError
from wsresearch.schema import EVENTS
from wsresearch.study.outages import outages
from wsresearch.study.serverdown import SERVER_DOWN, server_down


def test_the_truth_lies_in_the_interval(tmp_path: Path) -> None:
    """A real collector on virtual time: the moment the venue really came back is between the two ends."""
    venue = RandomVenue(seed=3, span=1800)
    events, _ = collected(tmp_path / "c", venue, policy="full-jitter", seed=5)
    table = server_down(events).to_pylist()
    assert len(table) == len(venue.down)
    for row, down, up in zip(table, venue.down, venue.up, strict=True):
        noticed = row["began"] + row["detect"]
        zero = noticed - down  # the events count from the first row, the venue from virtual second 0
        assert abs(zero) < 1.0
        # An attempt whose handshake would end after the server's next message counts as in vain: hence the 1.2 s.
        assert row["up_early"] <= up - down + 1.2
        assert row["up_late"] >= up - down - 1e-6


def one_outage() -> EventLog:
    """Lost after 1 s, refused twice, opened and lost once without a message, then data."""
    log = EventLog()
    log.connect()
    log.wait(100)
    log.lost(1.0, cause="reset")
    log.try_to_open(2.0, delay=1.9)
    log.failed(0.5)
    log.try_to_open(4.0, drawn=0.5, cause="retry_after")
    log.failed(0.25, cause="http_status", http_status=503)
    log.try_to_open(8.0)
    log.opened(0.5)
    log.lost(3.0, cause="closed", close_code=1000)
    log.try_to_open(16.0)
    log.opened(0.125)
    log.first_message(0.375)
    log.hole(10, 75, cause="outage")
    log.hole(10, 75, outage=1, cause="outage")
    return log


def test_an_outage_step_by_step() -> None:
    """Every number follows from the rows by hand; only the steps of the monotonic clock count."""
    log = one_outage()
    (row,) = server_down(log.table()).to_pylist()
    assert row["detect"] == 1.0
    assert row["alive"] == pytest.approx(100.02)
    begun = [2.0, 6.5, 14.75]
    assert [answer["at"] for answer in row["answers"]] == begun
    assert [answer["took"] for answer in row["answers"]] == [0.5, 0.25, 0.5]
    assert [answer["lived"] for answer in row["answers"]] == [None, None, 3.0]
    assert [answer["told"] for answer in row["answers"]] == [3.5, None, None]
    assert [answer["http_status"] for answer in row["answers"]] == [None, 503, None]
    assert row["up_early"] == 14.75
    assert row["up_late"] == 14.75 + 0.5 + 3.0 + 16.0
    assert (row["connect"], row["first_message"]) == (0.125, 0.375)
    assert row["watched"] == row["up_late"] + 0.5
    assert row["slip"] == pytest.approx(0.1)


def test_trades_are_missed_at_the_rate_of_the_hole() -> None:
    """66 ids in the silence, whether they were filled later or not."""
    log = one_outage()
    log.rows = [row for row in log.rows if row["kind"] != "hole" or row["outage"] == 1]
    (row,) = server_down(log.table()).to_pylist()
    silence = outages(log.table())["silence"][0].as_py()
    assert row["trade_rate"] * silence == pytest.approx(66)
    log.filled(10, 75)
    assert server_down(log.table())["trade_rate"].to_pylist() == [row["trade_rate"]]


def test_a_venue_without_numbers_has_no_rate() -> None:
    """No id, no hole: how much was missed is not known, which is not the same as nothing."""
    assert server_down(one_outage().table(), numbered=False)["trade_rate"].to_pylist() == [None]
    log = EventLog()
    log.connect()
    log.lost(1.0)
    log.try_to_open(0.0)
    log.opened(0.1)
    log.first_message(0.1)
    assert server_down(log.table())["trade_rate"].to_pylist() == [0.0]


def test_what_was_still_going_on_has_no_upper_end() -> None:
    """A censored outage: the server was down at the last attempt, and nobody knows since when it is up."""
    log = EventLog()
    log.connect()
    log.lost(1.0)
    log.try_to_open(2.0)
    log.failed(0.5)
    log.back_off(10)
    log.wait(3)
    log.add("stopped", cause="stop")
    (row,) = server_down(log.table()).to_pylist()
    assert (row["up_early"], row["up_late"]) == (2.0, None)
    assert row["watched"] == 2.0 + 0.5 + 3.0
    assert (row["connect"], row["first_message"], row["trade_rate"]) == (None, None, None)


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_clock_that_was_set_in_an_outage_changes_nothing(step: int) -> None:
    """The wall clock goes an hour forward or back between two attempts: distances stay what they were."""
    tables = []
    for by in (0, step):
        log = EventLog()
        log.connect()
        for at in range(3):
            log.wait(100)
            log.lost(1.0)
            log.wall_offset += ns(by) if at == 1 else 0
            log.try_to_open(2.0)
            log.opened(0.1)
            log.first_message(0.1)
        tables.append(server_down(log.table()).to_pylist())
    for straight, stepped in zip(*tables, strict=True):
        for name in ("began", "alive", "detect", "up_late"):
            assert stepped[name] == pytest.approx(straight[name]), name


def test_a_clock_set_back_between_runs_puts_no_run_before_another() -> None:
    """Runs stay in their order; the distance between them is never negative."""
    log = EventLog()
    for _ in range(2):
        log.connect()
        log.wait(50)
        log.lost(1.0)
        log.try_to_open(2.0)
        log.opened(0.1)
        log.first_message(0.1)
        log.add("stopped", cause="stop")
        log.wall_offset -= ns(7200)
    one, other = server_down(log.table()).to_pylist()
    assert other["began"] >= one["began"] + one["detect"] + one["watched"]
    assert other["alive"] == pytest.approx(one["alive"])


def test_nothing_unsorted_and_wrong_input() -> None:
    """No event, no row; the order of the rows means nothing; a wrong column is named."""
    assert server_down(EVENTS.empty_table()).equals(SERVER_DOWN.empty_table())
    table = days(20, span=3600).table()
    assert server_down(table.take(list(range(len(table)))[::-1])).equals(server_down(table))
    with pytest.raises(UsageError, match="has no column 'waited'"):
        server_down(table.drop(["waited"]))
    log = one_outage()
    next(row for row in log.rows if row["kind"] == "attempt_failed")["waited"] = -1.0
    with pytest.raises(UsageError, match=r"column 'waited' of event \d+ is -1.0"):
        server_down(log.table())


def test_the_length_is_that_of_the_outages() -> None:
    """Two readers of the same rows agree: detect + watched is the silence, censored or not."""
    table = days(300, span=86_400).table()
    silence = outages(table)["silence"].to_numpy()
    down = server_down(table)
    assert down["detect"].to_numpy() + down["watched"].to_numpy() == pytest.approx(silence)
