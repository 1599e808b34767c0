"""The ledger of outages and attempts."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.study.eventlog import START_NS, EventLog, days, ns
from wsresearch.errors import UsageError
from wsresearch.reconnect.actions import Phases, Record, Signal, State
from wsresearch.reconnect.backoff import FullJitter
from wsresearch.reconnect.budget import Budget, BudgetWindow
from wsresearch.reconnect.causes import Cause, Failure
from wsresearch.reconnect.lifecycle import TABLE, Lifecycle, Rules
from wsresearch.reconnect.reset import Reset
from wsresearch.schema import EVENTS
from wsresearch.study import ATTEMPTS, OUTAGES, attempts, outages, report

SECONDS = st.integers(0, 400_000_000).map(lambda microseconds: microseconds / 1e6)
FOUR_SECONDS = st.tuples(SECONDS, SECONDS, SECONDS, SECONDS)
# Scripts are long: on a busy machine, drawing one is slow, and that says nothing about what is tested.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PHASES = ("detect", "backoff", "connect", "first_message")


@st.composite
def scripts(draw: st.DrawFn) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Return events of several runs, and the outages that are in them."""
    log = EventLog()
    truth = []
    for _ in range(draw(st.integers(1, 3))):
        log.connect()
        for _ in range(draw(st.integers(0, 4))):
            log.wait(draw(SECONDS))
            log.add("a_kind_of_the_future", waited=1.0)
            truth.append(an_outage(draw, log))
            if truth[-1]["censored"]:
                break
        else:
            log.wait(draw(SECONDS))
            if draw(st.booleans()):
                log.add("stopped", cause="stop")
        log.wait(draw(SECONDS))
    return log.table(), truth


def an_outage(draw: st.DrawFn, log: EventLog) -> dict[str, Any]:
    detect = draw(SECONDS)
    began = log.now
    cause = draw(st.sampled_from(["reset", "closed", "stalled"]))
    log.lost(detect, cause=cause, close_code=1001, close_by="peer", detail="away")
    want = {"outage": log.outages, "run": log.run, "cause": cause, "connection": log.connection}
    want |= {"began": began, "noticed": log.now, "attempts": 0, "delay": 0.0, "censored": False}
    spent = {"detect": detect, "backoff": 0.0, "connect": 0.0, "first_message": 0.0}
    lost_ids = 0
    while True:
        step = draw(st.sampled_from(["failed", "lost again", "opened", "opened", "stopped", "killed"]))
        delay, waited, took, life = draw(FOUR_SECONDS)
        log.back_off(delay)
        want["delay"] += delay
        if step in {"stopped", "killed"}:
            log.wait(waited)
            spent["backoff"] += waited
            log.add("stopped" if step == "stopped" else "error")
            want |= {"ended": None, "next_connection": None, "censored": True}
            break
        log.connecting(waited, delay=delay)
        want["attempts"] += 1
        spent["backoff"] += waited
        spent["connect"] += took
        if step == "failed":
            log.failed(took)
            continue
        log.opened(took)
        if step == "lost again":
            log.lost(life, cause="closed")
            spent["connect"] += life
            continue
        log.first_message(life)
        spent["first_message"] += life
        want |= {"ended": log.now, "next_connection": log.connection}
        lost_ids = draw(st.integers(0, 1000))
        if lost_ids:
            log.hole(log.now, log.now + lost_ids - 1, cause="outage", outage=log.outages)
        break
    silence = (log.now - began) / 1e9
    return want | spent | {"waited": spent["backoff"], "silence": silence, "ids_lost": lost_ids}


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    for column in ("began", "noticed", "ended"):
        at = table.schema.get_field_index(column)
        table = table.set_column(at, column, table[column].cast(pa.int64()))
    return table.to_pylist()


@patient
@given(script=scripts(), shuffle=st.randoms(use_true_random=False))
def test_every_outage_comes_back_as_it_was_written(script: tuple[pa.Table, list[Any]], shuffle: Any) -> None:
    """Whatever happened, and in whatever order the rows are read, the table tells exactly that."""
    events, truth = script
    order = list(range(len(events)))
    shuffle.shuffle(order)
    found = _plain(outages(events.take(order)))
    assert len(found) == len(truth)
    for got, want in zip(found, truth, strict=True):
        assert {key: got[key] for key in want} == pytest.approx(want, abs=1e-6)


@patient
@given(script=scripts())
def test_the_phases_add_up_to_the_silence(script: tuple[pa.Table, list[Any]]) -> None:
    """Silence = detect + backoff + connect + first message, to a microsecond, censored outages included."""
    for row in outages(script[0]).to_pylist():
        assert sum(row[phase] for phase in PHASES) == pytest.approx(row["silence"], abs=1e-6)
        assert row["waited"] == row["backoff"]


@patient
@given(script=scripts())
def test_attempts_agree_with_outages(script: tuple[pa.Table, list[Any]]) -> None:
    """Both tables count the same attempts and the same waiting; at most the last one is without outcome."""
    events, truth = script
    tried = attempts(events).to_pylist()
    for want in truth:
        mine = [row for row in tried if row["outage"] == want["outage"]]
        assert [row["attempt"] for row in mine] == list(range(1, want["attempts"] + 1))
        if not want["censored"]:
            assert sum(row["waited"] for row in mine) == pytest.approx(want["waited"], abs=1e-6)
            assert mine[-1]["outcome"] == "opened"
            assert mine[-1]["connection"] == want["next_connection"]
    assert all(row["outcome"] in {"opened", "failed"} for row in tried)


@patient
@given(script=scripts())
def test_attempts_of_an_outage_add_up(script: tuple[pa.Table, list[Any]]) -> None:
    """Each attempt has one outcome, one delay and one wait; the one that ended the outage took what it says it took."""
    events, truth = script
    tried = attempts(events).to_pylist()
    for row, want in zip(outages(events).to_pylist(), truth, strict=True):
        assert row["attempts_failed"] + row["attempts_opened"] + row["attempts_unfinished"] == want["attempts"]
        assert len(row["delays"]) == len(row["waits"]) == want["attempts"]
        mine = [each for each in tried if each["outage"] == row["outage"]]
        assert row["attempts_failed"] == sum(each["outcome"] == "failed" for each in mine)
        if want["censored"]:
            assert row["clock_step"] is None
            assert row["upgrade"] is None
            continue
        assert row["attempts_opened"] >= 1
        assert sum(row["waits"]) == pytest.approx(row["backoff"], abs=1e-6)
        assert sum(row["delays"]) == pytest.approx(row["delay"], abs=1e-6)
        assert sum(row[phase] for phase in ("dns", "tcp", "tls", "upgrade")) == pytest.approx(mine[-1]["took"])
        assert row["clock_step"] == pytest.approx(0, abs=1e-6)
        assert sum(each["count"] for each in row["holes"]) == row["ids_lost"]


@pytest.mark.parametrize("step", [3600.0, -3600.0, 0.25])
def test_a_clock_that_stepped_in_an_outage_is_told_and_changes_no_length(step: float) -> None:
    """The wall clock is set while we reconnect: the silence stays what passed, the step is a column of its own."""
    log = EventLog()
    log.connect()
    log.lost(2.0)
    log.wall_offset = ns(step)
    log.try_to_open(1.0)
    log.opened(0.5)
    log.first_message(0.5)
    (row,) = outages(log.table()).to_pylist()
    assert row["silence"] == pytest.approx(4.0, abs=1e-6)
    assert row["clock_step"] == pytest.approx(step, abs=1e-6)


@pytest.mark.parametrize(
    ("lost", "detector"),
    [
        ({"cause": "reset"}, "socket"),
        ({"cause": "eof"}, "socket"),
        ({"cause": "closed", "close_code": 1001, "close_by": "peer"}, "close_frame"),
        ({"cause": "closed", "close_by": "local"}, "ourselves"),
        ({"cause": "server_shutdown", "close_code": 1001}, "close_frame"),
        ({"cause": "server_shutdown"}, "socket"),
        ({"cause": "ping_timeout"}, "ping"),
        ({"cause": "stalled"}, "idle_timeout"),
        ({"cause": "too_big"}, "protocol"),
        ({"cause": "reconnect"}, "ourselves"),
        ({"cause": "unknown"}, None),
        ({"cause": "a_cause_of_the_future"}, None),
    ],
)
def test_what_noticed_a_loss_is_named(lost: dict[str, Any], detector: str | None) -> None:
    """The detector follows from the cause; what is not known is null."""
    log = EventLog()
    log.connect()
    log.lost(0.5, **lost)
    assert outages(log.table())["detector"].to_pylist() == [detector]


def test_without_numbers_nothing_is_said_to_be_missing() -> None:
    """A venue whose trades have no ids: what an outage cost in trades is null, not 0."""
    (row,) = outages(_one_outage().table(), numbered=False).to_pylist()
    assert (row["ids_lost"], row["holes"]) == (None, None)


def test_holes_of_an_outage_by_symbol() -> None:
    """Two symbols, one of them filled in the middle: first and last id, and the count of what is still missing."""
    log = _one_outage()
    log.hole(10, 29, symbol="ETHUSDT", cause="outage", outage=1)
    log.filled(15, 19, symbol="ETHUSDT")
    (row,) = outages(log.table()).to_pylist()
    told = [(each["symbol"], each["first_id"], each["last_id"], each["count"]) for each in row["holes"]]
    assert told == [("BTCUSDT", 501, 600, 100), ("ETHUSDT", 10, 29, 15)]
    assert row["ids_lost"] == 115


def _one_outage() -> EventLog:
    log = EventLog()
    log.connect()
    log.wait(10)
    log.lost(0.5, cause="closed", close_code=1001, close_by="peer", detail="going away")
    log.try_to_open(0.9, delay=1.0, drawn=1.0)
    log.failed(0.25, cause="refused", detail="connection refused")
    log.try_to_open(5.0, drawn=2.0, cause="retry_after")
    log.opened(0.2)
    log.first_message(0.05)
    log.hole(501, 600, cause="outage", outage=1)
    return log


def test_an_outage_in_full() -> None:
    """One outage with a failed attempt: every column as a person would work it out."""
    log = _one_outage()
    table = outages(log.table())
    assert table.schema == OUTAGES
    (row,) = _plain(table)
    began = START_NS + ns(0.07 + 10)
    # Lists are compared by themselves: approximation does not look into them.
    assert row.pop("delays") == [1.0, 5.0]
    assert row.pop("waits") == [0.9, 5.0]
    lost = {"symbol": "BTCUSDT", "first_id": 501, "last_id": 600, "count": 100, "volume": None, "volume_error": None}
    assert row.pop("holes") == [lost]
    assert row == pytest.approx(
        {
            "outage": 1,
            "run": 1,
            "cause": "closed",
            "detail": "going away",
            "close_code": 1001,
            "close_by": "peer",
            "connection": 1,
            "next_connection": 2,
            "began": began,
            "noticed": began + ns(0.5),
            "ended": began + ns(6.9),
            "attempts": 2,
            "waited": 5.9,
            "delay": 6.0,
            "silence": 6.9,
            "detect": 0.5,
            "backoff": 5.9,
            "connect": 0.45,
            "first_message": 0.05,
            "ids_lost": 100,
            "censored": False,
            "detector": "close_frame",
            "attempts_failed": 1,
            "attempts_opened": 1,
            "attempts_unfinished": 0,
            "dns": 0.0,
            "tcp": 0.05,
            "tls": 0.1,
            "upgrade": 0.05,
            "clock_step": 0.0,
        },
        abs=1e-6,
    )


def test_attempts_in_full() -> None:
    """The start's attempt is number 0's; a failed one has its cause, a told delay names who told it."""
    table = attempts(_one_outage().table())
    assert table.schema == ATTEMPTS
    start, failed, opened = table.to_pylist()
    assert (start["outage"], start["attempt"], start["outcome"], start["connection"]) == (0, 1, "opened", 1)
    want = {"outage": 1, "attempt": 1, "delay": 1.0, "drawn": 1.0, "waited": 0.9, "outcome": "failed"}
    want |= {"cause": "refused", "detail": "connection refused", "took": 0.25, "tcp": 0.25, "tls": None}
    assert {key: failed[key] for key in want} == want
    want = {"outage": 1, "attempt": 2, "delay": 5.0, "drawn": 2.0, "delay_cause": "retry_after"}
    want |= {"outcome": "opened", "cause": None, "took": 0.2, "connection": 2}
    assert {key: opened[key] for key in want} == want


def test_an_attempt_cut_by_stop_is_cancelled() -> None:
    """A stop during an attempt is no failure of the server; without an end the outcome is not known yet."""
    log = _one_outage()
    log.lost(0.1)
    log.try_to_open(1.0)
    assert attempts(log.table()).to_pylist()[-1]["outcome"] is None
    log.wait(0.75)
    log.add("stopped")
    last = attempts(log.table()).to_pylist()[-1]
    assert (last["outcome"], last["took"], last["cause"]) == ("cancelled", 0.75, None)
    log.connect()
    assert [row["outcome"] for row in attempts(log.table()).to_pylist()][-2:] == ["cancelled", "opened"]


def test_an_attempt_of_a_killed_run_is_cancelled_and_took_nobody_knows_how_long() -> None:
    """The next run's start does not count as the end of the attempt."""
    log = EventLog()
    log.start()
    log.try_to_open(0.0)
    log.wait(3600)
    log.connect()
    killed, _ = attempts(log.table()).to_pylist()
    assert (killed["outcome"], killed["took"]) == ("cancelled", None)


def test_gave_up_leaves_the_outage_censored() -> None:
    """After the last permitted attempt the outage is not over, it is only no longer watched."""
    log = _one_outage()
    log.lost(2.0, cause="eof")
    log.try_to_open(1.0)
    log.failed(0.5)
    log.wait(0.0)
    log.add("gave_up", cause="refused")
    _, last = outages(log.table()).to_pylist()
    assert (last["censored"], last["ended"], last["silence"], last["ids_lost"]) == (True, None, 3.5, 0)


def test_a_stepped_wall_clock_does_not_change_a_length() -> None:
    """An hour back in the middle of an outage: the phases stay as the monotonic clock had them."""
    log = EventLog()
    log.connect()
    log.lost(0.5)
    log.wall_offset = -ns(3600)
    log.try_to_open(1.0)
    log.opened(0.25)
    log.first_message(0.25)
    (row,) = outages(log.table()).to_pylist()
    assert [row[phase] for phase in (*PHASES, "silence")] == [0.5, 1.0, 0.25, 0.25, 2.0]


def test_a_step_without_waited_is_measured_by_the_wall() -> None:
    """A null (or NaN) ``waited`` becomes the time since the row before it, never a NaN in the result."""
    log = _one_outage()
    for row in log.rows:
        if row["kind"] in {"connecting", "opened"}:
            row["waited"] = None if row["kind"] == "opened" else float("nan")
    (row,) = outages(log.table()).to_pylist()
    assert [row[phase] for phase in PHASES] == pytest.approx([0.5, 5.9, 0.45, 0.05])
    assert attempts(log.table())["waited"].to_pylist() == [None, None, None]


def test_connections_without_messages_do_not_end_an_outage() -> None:
    """A server that accepts and closes: one outage, its lives counted as connecting."""
    log = EventLog()
    log.connect()
    log.lost(0.5)
    for _ in range(3):
        log.try_to_open(1.0)
        log.opened(0.125)
        log.lost(0.5, cause="closed")
    log.try_to_open(1.0)
    log.opened(0.125)
    log.first_message(0.25)
    (row,) = outages(log.table()).to_pylist()
    assert (row["attempts"], row["connection"], row["next_connection"]) == (4, 1, 5)
    assert [row[phase] for phase in PHASES] == [0.5, 4.0, 2.0, 0.25]


def test_losing_a_connection_before_the_first_message_of_a_run_is_no_outage() -> None:
    """The start of a run is no outage, however often it has to try."""
    log = EventLog()
    log.start()
    log.try_to_open(0.0)
    log.opened(0.1)
    log.lost(5.0)
    log.try_to_open(1.0)
    log.opened(0.1)
    log.first_message(0.1)
    assert outages(log.table()).num_rows == 0


def test_an_outage_without_its_beginning_is_left_out() -> None:
    """Events read with ``since=`` in the middle of an outage give no outage of unknown length."""
    events = _one_outage().table()
    kinds = events["kind"].to_pylist()
    assert outages(events.slice(kinds.index("lost") + 1)).num_rows == 0


def test_a_missing_end_censors_the_outage_before_the_next() -> None:
    """If rows between two outages were filtered away, the first is not stretched into the second."""
    log = _one_outage()
    log.wait(100)
    log.lost(1.0)
    rows = [row for row in log.rows if row["kind"] not in {"first_message", "hole"}]
    first, second = outages(pa.Table.from_pylist(rows, schema=EVENTS)).to_pylist()
    assert first["censored"]
    assert first["silence"] == pytest.approx(6.85)
    assert second["silence"] == 1.0


@pytest.mark.parametrize("compute", [outages, attempts])
def test_an_empty_table_gives_an_empty_table(compute: Any) -> None:
    """Nothing happened: the columns are all there, the rows are none."""
    found = compute(EVENTS.empty_table())
    assert found.num_rows == 0
    assert found.schema in {OUTAGES, ATTEMPTS}


def test_any_arrow_table_will_do() -> None:
    """Polars' strings and integer types, extra columns and another order of columns are no obstacle."""
    log = _one_outage()
    frame = pl.DataFrame(pl.from_arrow(log.table())).with_columns(date=pl.lit("2026-11-18"))
    assert outages(frame.select(sorted(frame.columns))).equals(outages(log.table()))


class _Walk:
    """Drives the real state machine on a virtual clock, keeps its rows and, apart from them, the truth."""

    def __init__(self) -> None:
        self.cycle = Lifecycle(
            Rules(policy=FullJitter(base=1, cap=30), reset=Reset.parse("stable:60"), idle_timeout=10.0),
            BudgetWindow(Budget(attempts=1000, window=300)),
            random.Random(7),
        )
        self.now = 1000.0
        self.rows: list[dict[str, Any]] = []
        self.truth: list[dict[str, Any]] = []
        self._silent_since: float | None = None
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._add("run_started", self.now, {})

    def _add(self, kind: str, at: float, fields: Mapping[str, Any]) -> None:
        row = {"seq": len(self.rows), "time": ns(at), "run": 1, "kind": kind}
        self.rows.append({name: str(value) if isinstance(value, StrEnum) else value for name, value in fields.items()})
        self.rows[-1] |= row

    def signal(self, signal: Signal, after: float, phase: str, **more: Any) -> None:
        """Let time pass, count it to a phase of the outage if there is one, and let something happen."""
        self.now += after
        if self._silent_since is not None:
            self._spent[phase] += after
        for action in self.cycle.handle(signal, self.now, **more):
            if isinstance(action, Record):
                self._add(action.kind, action.at, action.fields)

    def silent(self) -> None:
        """The last market message was now."""
        self._silent_since = self.now
        self._spent = dict.fromkeys(PHASES, 0.0)

    def heard(self, *, censored: bool = False) -> None:
        """A market message has come, or never will."""
        if self._silent_since is not None:
            silence = self.now - self._silent_since
            self.truth.append(self._spent | {"silence": silence, "censored": censored})
        self._silent_since = None


@patient
@given(data=st.data())
def test_what_the_collectors_own_machine_writes_is_understood(data: st.DataObject) -> None:
    """Any walk of the real lifecycle: stalls, failures, flapping, stop in any state; phases as a stopwatch has them."""
    walk = _Walk()
    pick = lambda *choices: data.draw(st.sampled_from(choices))  # noqa: E731
    length = lambda most: data.draw(st.integers(1, most * 1000)) / 1000  # noqa: E731
    walk.signal(Signal.START, 0.0, "backoff")
    for _ in range(data.draw(st.integers(0, 25))):
        match walk.cycle.state:
            case State.BACKING_OFF:
                if pick(True, True, True, False):
                    assert walk.cycle.deadline is not None
                    walk.signal(Signal.DEADLINE, max(0.0, walk.cycle.deadline - walk.now), "backoff")
                else:
                    walk.signal(Signal.RECONNECT, 0.001, "backoff")
            case State.CONNECTING if pick(True, False):
                took = length(3)
                phases = Phases(dns=took / 4, tcp=took * 3 / 4)
                failure = Failure(cause=Cause.REFUSED)
                walk.signal(Signal.ATTEMPT_FAILED, took, "connect", phases=phases, failure=failure)
            case State.CONNECTING:
                took = length(3)
                phases = Phases(dns=took / 4, tcp=took / 4, upgrade=took / 2)
                walk.signal(Signal.OPENED, took, "connect", phases=phases)
                if pick(True, True, False):
                    walk.signal(Signal.MARKET, length(5), "first_message")
                    walk.heard()
                else:  # opened and lost again without a word: for the data, still connecting
                    walk.signal(Signal.LOST, length(5), "connect", failure=Failure(cause=Cause.EOF))
            case State.OPEN:
                walk.signal(Signal.MARKET, length(100), "")
                walk.silent()
                how = pick(Signal.LOST, Signal.DEADLINE, Signal.RECONNECT)
                walk.signal(how, length(9), "detect", failure=Failure(cause=Cause.RESET))
    if walk.cycle.state in TABLE and Signal.STOP in TABLE[walk.cycle.state]:
        ongoing = {State.BACKING_OFF: "backoff", State.CONNECTING: "connect", State.OPEN: "first_message"}
        walk.signal(Signal.STOP, length(5), ongoing[walk.cycle.state])
    walk.heard(censored=True)
    found = outages(pa.Table.from_pylist(walk.rows, schema=EVENTS)).to_pylist()
    assert len(found) == len(walk.truth)
    for got, want in zip(found, walk.truth, strict=True):
        assert {key: got[key] for key in want} == pytest.approx(want, abs=1e-6)


def _with(column: str, values: Any) -> pa.Table:
    events = _one_outage().table()
    return events.set_column(events.schema.get_field_index(column), column, values)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (pa.table({}), "no column 'seq'"),
        (_one_outage().table().drop_columns(["waited"]), "no column 'waited'"),
        (_with("outage", pa.array(["one"] * 14)), "column 'outage' of the events table is string"),
        (_with("run", pa.nulls(14, pa.int32())), "column 'run' of the events table has a null"),
        (_with("waited", pa.array([-1.0] * 14)), "column 'waited' of event 6 is -1.0"),
        (_with("waited", pa.nulls(14, pa.float64())), "column 'waited' of event 6 is None"),
        (_with("first_id", pa.nulls(14, pa.int64())), "column 'first_id' of event 14 is null"),
        ("btc/events", "events must be an Arrow table, not str"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_the_column(events: Any, message: str) -> None:
    """One line says which column and which value; nothing is computed from half a table."""
    with pytest.raises(UsageError) as error:
        outages(events)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_report_has_the_keys_of_the_contract() -> None:
    """``wsresearch report --json`` is made of plain values only; what needs the trades is null without them."""
    events = _one_outage().table()
    told = report(events, outages=outages(events), trades=7)
    [start] = told.pop("starts")
    assert (start["delivered"], start["attempts"], start["attempts_failed"], start["ended"]) == (True, 1, 0, None)
    assert told.pop("without_data") == pytest.approx(6.9 + start["silence"])
    assert told.pop("lived") == start["lived"] > 6.9
    assert told == {
        "outages": [
            {
                "cause": "closed",
                "attempts": 2,
                "waited": 5.9,
                "silence": 6.9,
                "detect": 0.5,
                "connect": 0.45,
                "first_message": 0.05,
                "ids_lost": 100,
                "censored": False,
            }
        ],
        "connections": 2,
        "trades": 7,
        "symbols": {},
        "losses": None,
        "idle_timeout": None,
    }


def test_ten_thousand_outages_take_less_than_a_second() -> None:
    """A panel can afford to ask again and again."""
    events = days(10_000, span=86400 * 30).table()
    began = time.process_time()
    assert outages(events).num_rows == 10_000
    assert time.process_time() - began < 1.0
