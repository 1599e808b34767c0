"""Another policy over the same outages: by hand where that can be done, and against a real collector."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.replay import one
from tests.study.eventlog import EventLog, days
from tests.study.playedvenue import RandomVenue, collected
from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Constant, Decorrelated, EqualJitter, Exponential, FullJitter
from wsresearch.schema import EVENTS
from wsresearch.study.outages import outages
from wsresearch.study.replay import REPLAY, replay

FIVE = Constant(delay=5)


def downs(**columns: list[Any]) -> pa.Table:
    return pa.table(columns)


def bound(table: pa.Table, server: str) -> list[dict[str, Any]]:
    return table.filter(pc.and_(pc.equal(table["server"], server), pc.equal(table["repetition"], 0))).to_pylist()


def both(table: pa.Table, column: str) -> list[list[Any]]:
    """A column's values for each outage of the first repetition, early and late."""
    return [[row[column] for row in bound(table, server)] for server in ("early", "late")]


# -- by hand ------------------------------------------------------------------------------------------------------


def test_a_server_that_is_known_exactly() -> None:
    """Down for 12 s: tries at 5, 10 and 15 s, and the bounds are one."""
    table = replay(downs(began=[0.0], up_late=[12.0]), FIVE, reset="message")
    assert both(table, "seconds") == [[15.0], [15.0]]
    assert both(table, "attempts") == [[3], [3]]
    assert table["trades_lost"].to_pylist() == [None] * len(table)


def test_a_try_at_the_moment_it_comes_back_succeeds() -> None:
    """The server admits from `up_late` on; a try a moment before is in vain."""
    assert both(replay(downs(began=[0.0], up_late=[10.0]), FIVE, reset="message"), "seconds") == [[10.0]] * 2
    assert both(replay(downs(began=[0.0], up_late=[10.001]), FIVE, reset="message"), "seconds") == [[15.0]] * 2


def test_after_a_stable_life_the_first_try_is_made_at_once() -> None:
    """The rule of the collector is the rule of the replay: 3600 s of life were stable, 30 s are not."""
    table = downs(began=[0.0], up_late=[12.0])
    assert both(replay(table, FIVE), "attempts") == [[4], [4]]  # 0, 5, 10, 15
    young = table.append_column("alive", pa.array([30.0]))
    assert both(replay(young, FIVE), "attempts") == [[3], [3]]


def test_what_is_not_known_makes_two_bounds() -> None:
    """Refused at 3 s, let in at 12 s: back at 5 s at best, at 15 s at worst."""
    table = downs(began=[0.0], up_early=[3.0], up_late=[12.0], detect=[1.0], trade_rate=[2.0])
    result = replay(table, FIVE, reset="message")
    assert both(result, "seconds") == [[6.0], [16.0]]
    assert both(result, "attempts") == [[1], [3]]
    assert both(result, "trades_lost") == [[12.0], [32.0]]


def test_attempts_take_time_and_so_does_the_first_message() -> None:
    """Each try in vain takes 2 s before the next delay begins; opening and first message come on top."""
    answer = {"at": 1.0, "took": 2.0, "lived": None, "cause": "refused", "close_code": None, "http_status": None}
    table = downs(began=[0.0], up_late=[12.0], connect=[0.5], first_message=[0.25], answers=[[answer | {"told": None}]])
    result = replay(table, FIVE, reset="message")
    # Tries at 5, 5 + 2 + 5 = 12: let in. At the early bound the server was still down when the one at 12 s began.
    assert both(result, "seconds") == [[19 + 0.75], [12 + 0.75]]


def answered(**fields: Any) -> pa.Table:
    """An outage of 100 s in which the recorded client met one answer, at 1 s."""
    answer = dict.fromkeys(["lived", "cause", "close_code", "http_status", "told"]) | {"at": 1.0, "took": 0.0} | fields
    return downs(began=[0.0], up_early=[1.0], up_late=[100.0], answers=[[answer]])


def test_wait_as_told_is_obeyed() -> None:
    """Told to stay away for 60 s, no policy is back before 60 s and its own delay, and none asks in between."""
    told = replay(answered(cause="http_status", http_status=503, told=60.0), Constant(delay=1), reset="message")
    assert both(told, "attempts")[1] == [3]  # 1, 62, 123
    assert both(told, "seconds")[1] == [123.0]
    plain = replay(answered(cause="http_status", http_status=503), Constant(delay=1), reset="message")
    assert both(plain, "attempts")[1] == [61]  # the budget: 1, 2, … 60 s, and then 301 s


def test_the_budget_holds() -> None:
    """Three attempts in 40 s: the fourth waits, whatever the policy wants."""
    table = downs(began=[0.0], up_late=[60.0])
    result = replay(table, Constant(delay=1), reset="message", budget="3/40")
    # The connection itself was opened an hour before. Tries at 1, 2, 3, then 41, 42, 43, then 81.
    assert both(result, "attempts") == [[7], [7]]
    assert both(result, "seconds") == [[81.0], [81.0]]


def test_a_permanent_failure_ends_it_under_any_policy() -> None:
    """403 is no reason to try again: it gave up, nothing came, and no number is made up."""
    result = replay(answered(cause="http_status", http_status=403), FIVE, reset="message")
    late = bound(result, "late")[0]
    assert (late["recovered"], late["gave_up"], late["seconds"], late["trades_lost"]) == (False, True, None, None)


def test_giving_up_ends_the_run_and_not_the_next_one() -> None:
    """After the last permitted attempt nothing comes of the later outages of that run either."""
    table = downs(began=[0.0, 500.0, 1000.0], up_late=[12.0, 0.0, 0.0], run=[1, 1, 2])
    result = replay(table, FIVE, reset="message", max_attempts=2)
    assert both(result, "recovered") == [[False, False, True]] * 2
    assert both(result, "gave_up") == [[True, True, False]] * 2
    assert both(result, "attempts") == [[2, 0, 1]] * 2


def test_the_seed_gives_up_after_362_s() -> None:
    """Ten tries, the last at 362 s: an outage of 400 s is the end, and the preset's reset rule is its own."""
    table = downs(began=[0.0, 1000.0], up_late=[400.0, 0.0])
    result = replay(table, "seed")
    assert both(result, "attempts") == [[10, 0]] * 2
    assert both(result, "recovered") == [[False, False]] * 2
    assert both(replay(downs(began=[0.0], up_late=[362.0]), "seed"), "seconds") == [[362.0]] * 2


def test_a_slow_policy_sleeps_through_an_outage() -> None:
    """Still waiting when the server goes down again: both outages end with one recovery, trades count once."""
    table = downs(began=[0.0, 50.0], up_late=[1.0, 20.0], trade_rate=[1.0, 10.0])
    result = replay(table, Constant(delay=60), reset="message")
    # Tries at 60 s, in the second outage (50 to 70 s), and at 120 s.
    assert both(result, "seconds") == [[120.0, 70.0]] * 2
    assert both(result, "attempts") == [[0, 2]] * 2
    assert both(result, "trades_lost") == [[50.0, 700.0]] * 2


def test_a_server_that_accepts_and_closes_is_hammered_by_a_reset_on_open() -> None:
    """Opened and lost without a message: `open` returns to the first delay each time, `message` does not."""
    flap = answered(cause="closed", close_code=1000, lived=0.0)
    policy = Exponential(base=0.5, cap=60)
    hammered = both(replay(flap, policy, reset="open", budget="1000/300"), "attempts")[1][0]
    patient = both(replay(flap, policy, reset="message", budget="1000/300"), "attempts")[1][0]
    assert (hammered, patient) == (100, 7)  # 1, 2, … 100 s; 1, 3, 7, 15, 31, 63, 123 s


def test_an_outage_whose_end_was_not_seen_stays_open() -> None:
    """Censored: it recovers at the early bound only; the late one counts the attempts that were watched."""
    table = downs(began=[0.0], up_early=[20.0], up_late=pa.array([None], pa.float64()), watched=[42.0])
    result = replay(table, FIVE, reset="message")
    assert both(result, "seconds") == [[20.0], [None]]
    assert both(result, "recovered") == [[True], [False]]
    assert both(result, "gave_up") == [[False], [False]]
    assert both(result, "attempts") == [[4], [8]]


# -- luck ---------------------------------------------------------------------------------------------------------


def test_the_same_luck_for_every_policy() -> None:
    """Paired: where full jitter draws u × b, equal jitter draws b/2 + u × b/2 of the very same u."""
    table = downs(began=[0.0, 100.0, 200.0], up_late=[0.0, 0.0, 0.0])
    full = replay(table, FullJitter(base=4, floor=0, cap=4), reset="message", seed=7)
    equal = replay(table, EqualJitter(base=4, cap=4), reset="message", seed=7)
    assert equal["seconds"].to_numpy() == pytest.approx(2 + full["seconds"].to_numpy() / 2)
    assert len(set(full["seconds"].to_pylist())) > len(table) / 3  # each repetition and outage its own


def test_the_same_seed_gives_the_same_table() -> None:
    """And another one gives another, of the same law."""
    table = days(20, span=3600.0).table()
    first, again, other = (replay(table, "full-jitter", repetitions=30, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_policy_without_luck_is_played_once_and_told_for_each() -> None:
    """The rows are there for each repetition, so that tables of two policies can be laid side by side."""
    table = days(20, span=3600.0).table()
    constant, jitter = (replay(table, policy, repetitions=5) for policy in (FIVE, "full-jitter"))
    assert len(constant) == len(jitter) == 2 * 5 * 20
    for column in ("repetition", "outage", "server"):
        assert constant[column].equals(jitter[column])
    assert len(set(constant["seconds"].to_pylist())) <= 2 * 20


policies = st.one_of(
    st.builds(Constant, delay=st.floats(0.5, 30)),
    st.builds(FullJitter, base=st.floats(0.5, 5), cap=st.floats(5, 30), floor=st.just(0.1)),
    st.builds(Decorrelated, base=st.floats(0.5, 5), cap=st.floats(5, 30)),
)
intervals = st.lists(
    st.tuples(st.floats(1, 200), st.floats(0, 60), st.floats(0, 60), st.floats(0, 5)), min_size=1, max_size=6
)


@settings(max_examples=60)
@given(intervals, policies, st.sampled_from(["open", "message", "stable:60"]))
def test_laws(rows: list[tuple[float, float, float, float]], policy: Any, reset: str) -> None:
    """No outage ends before the server was back, none without an attempt, and one alone is never later early."""
    began, made = 0.0, []
    for pause, early, more, detect in rows:
        made.append({"began": began, "detect": detect, "up_early": early, "up_late": early + more})
        began += detect + early + more + pause
    result = replay(pa.Table.from_pylist(made), policy, reset=reset, repetitions=3, budget="100000/1")
    for row, down in zip(result.to_pylist(), made * 6, strict=True):
        up = down["up_early"] if row["server"] == "early" else down["up_late"]
        assert row["recovered"]
        assert row["seconds"] >= down["detect"] + up - 1e-9
        assert not math.isnan(row["seconds"])
    assert sum(row["attempts"] for row in result.to_pylist()) >= 6
    alone = replay(pa.Table.from_pylist(made[:1]), policy, reset=reset, repetitions=3, budget="100000/1")
    early, late = (alone.filter(pc.equal(alone["server"], server))["seconds"] for server in ("early", "late"))
    assert pc.all(pc.less_equal(early, late)).as_py()


# -- against a real collector -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "reset"), [("constant(delay=5)", "open"), ("exponential", "message")])
def test_a_policy_without_jitter_replays_what_happened(tmp_path: Path, policy: str, reset: str) -> None:
    """Nothing is left to luck: at the late bound each outage is as long as it was, and takes as many attempts."""
    events, _ = collected(tmp_path / "c", RandomVenue(seed=2, span=1200), policy=policy, reset=reset)
    lost = outages(events)
    late = [row for row in replay(events, policy, reset=reset).to_pylist() if row["server"] == "late"][: len(lost)]
    assert [row["seconds"] for row in late] == pytest.approx(lost["silence"].to_pylist(), abs=1e-6)
    assert [row["attempts"] for row in late] == lost["attempts"].to_pylist()
    assert [row["trades_lost"] for row in late] == pytest.approx(lost["ids_lost"].to_pylist(), abs=1e-3)


def test_the_true_policy_brackets_what_was_observed(tmp_path: Path) -> None:
    """Of 20 seeded runs the observed median lies in the interval in 19 at least; `benchmarks.replay` does 100."""
    runs = [one(tmp_path / str(seed), seed, span=900.0) for seed in range(20)]
    assert sum(run["inside"] for run in runs) >= 19, runs
    # An interval from nought to infinity would hold everything.
    assert sorted(run["interval"] for run in runs)[10] < 5


# -- bad input ----------------------------------------------------------------------------------------------------


def test_nothing() -> None:
    """No outage: an empty table, whatever was asked."""
    assert replay(EVENTS.empty_table(), FIVE).equals(REPLAY.empty_table())
    assert replay(downs(began=pa.array([], pa.float64()), up_late=pa.array([], pa.float64())), "seed").num_rows == 0


def test_the_order_of_the_rows_means_nothing() -> None:
    """Unsorted intervals are put in order by run and time; two rows side by side are one time line."""
    table = downs(outage=[1, 2], began=[0.0, 50.0], up_late=[1.0, 20.0])
    assert replay(table.take([1, 0]), FIVE).equals(replay(table, FIVE))


def test_a_censored_last_outage_of_a_capture() -> None:
    """From events to result: the outage that our stop cut short is open at the late bound."""
    log = EventLog()
    log.connect()
    log.wait(100)
    log.lost(1.0)
    log.try_to_open(0.0)
    log.failed(0.5)
    log.back_off(10)
    log.wait(3)
    log.add("stopped", cause="stop")
    assert both(replay(log.table(), FIVE), "recovered") == [[True], [False]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"began": [0.0]}, "no column 'up_late': give an events table, or intervals"),
        ({"began": [None], "up_late": [1.0]}, "column 'began' is None in row 1"),
        ({"began": [float("nan")], "up_late": [1.0]}, "column 'began' is nan in row 1"),
        ({"began": [0.0], "up_late": [-1.0]}, "column 'up_late' is -1.0 in row 1"),
        ({"began": [0.0], "up_late": [float("inf")]}, "column 'up_late' is inf in row 1"),
        ({"began": [0.0], "up_late": [1.0], "up_early": [2.0]}, "column 'up_late' is 1.0 in row 1, before up_early"),
        ({"began": [0.0], "up_late": ["soon"]}, "column 'up_late' is string and cannot be read as double"),
        ({"began": [0.0, 9.0], "up_late": [None, 1.0]}, "column 'up_late' of outage 1 is null, but outage 2"),
        ({"began": [0.0], "up_late": [1.0], "trade_rate": [float("nan")]}, "column 'trade_rate' is nan"),
    ],
)
def test_a_wrong_column_is_named(columns: dict[str, Any], message: str) -> None:
    """A clear error, and never a NaN."""
    with pytest.raises(UsageError, match=message):
        replay(pa.table(columns), FIVE)


def test_wrong_use_is_told() -> None:
    """Each message says what to give instead."""
    table = downs(began=[0.0], up_late=[1.0])
    with pytest.raises(UsageError, match="there is no policy called 'fulljitter'; did you mean full-jitter"):
        replay(table, "fulljitter")
    wrong: Any = 3
    with pytest.raises(UsageError, match="a policy is a value such as FullJitter"):
        replay(table, wrong)
    with pytest.raises(UsageError, match="int is no table: give events, or server-down intervals"):
        replay(wrong, FIVE)
    with pytest.raises(UsageError, match="repetitions must be a whole number from 1"):
        replay(table, FIVE, repetitions=0)
    with pytest.raises(UsageError, match="max_attempts must be a whole number"):
        replay(table, FIVE, max_attempts=0)
