"""What waits for the disk: everything comes out once and in its order, and little memory holds it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.capture.made import MIDNIGHT, NOON, SECOND, trades
from wsresearch.collect.memory import ARROW_POOL
from wsresearch.collect.waiting import Row, Trades, Waiting
from wsresearch.schema import TableName

EVENT, STATS = TableName.EVENTS, TableName.STATS


def hand_over(waiting: Waiting, step: str, number: int, written: Any = print) -> bool:
    """Hand one thing over: a digit is a batch of so many trades, ``e`` an event, ``s`` stats, ``c`` a call."""
    if step == "e":
        return waiting.put_row(Row(EVENT, {"seq": number, "time": NOON, "cause": None}, NOON, {"cause": "é\n"}))
    if step == "s":
        return waiting.put_row(Row(STATS, {"messages": number, "time": NOON, "lag": number / 7}, NOON, None))
    if step == "c":
        return waiting.put_call(lambda: number)
    ids = ids_of(step, number)
    return waiting.put_trades(
        trades(ids), now_ns=NOON + number, marks={"BTCUSDT": ids[-1]}, size=len(ids), written=written
    )


def ids_of(step: str, number: int) -> list[int]:
    return [10 * number + each for each in range(int(step))]


def take_all(waiting: Waiting) -> list[Any]:
    """Take until there is nothing more."""
    taken = []
    while (what := waiting.take()) is not None:
        taken.append(what)
    return taken


@given(st.text("1237esc", max_size=300), st.sets(st.integers(0, 300), max_size=40))
@example("1es" * 100, set())
@example("e" * 200 + "1" * 200, {70, 71, 72})
def test_nothing_is_lost_or_doubled_and_trades_and_events_keep_their_order(steps: str, takes: set[int]) -> None:
    """Whenever somebody takes something; stats and other jobs may come late, each in its own order."""
    waiting, taken = Waiting(), []
    for number, step in enumerate(steps):
        hand_over(waiting, step, number)
        if number in takes:
            taken.append(waiting.take())
    taken += take_all(waiting)
    taken = [each for what in taken for each in (what if isinstance(what, list) else [what])]
    told: dict[str, list[Any]] = {"line": [], "s": [], "c": []}
    for what in taken:
        if isinstance(what, Row):
            assert what.columns["time"] == what.now_ns == NOON
            kind, name = ("line", "seq") if what.table is EVENT else ("s", "messages")
            told[kind].append(f"event {what.columns[name]}" if what.table is EVENT else what.columns[name])
            assert what.standing == ({"cause": "é\n"} if what.table is EVENT else None)
        elif isinstance(what, tuple):
            turn, batch = what
            ids = batch.column("trade_id").to_pylist()
            assert turn.rows == turn.size == len(ids)
            assert turn.marks == {"BTCUSDT": ids[-1]}, "the marks never speak of rows that come later"
            told["line"] += ids
        else:
            told["c"].append(what())
    line: list[Any] = []
    for number, step in enumerate(steps):
        line += ids_of(step, number) if step.isdigit() else [f"event {number}"] if step == "e" else []
    assert told["line"] == line
    assert told["s"] == [number for number, step in enumerate(steps) if step == "s"]
    assert told["c"] == [number for number, step in enumerate(steps) if step == "c"]


def test_one_comes_to_take_and_stays_until_there_is_nothing() -> None:
    """Somebody is called for the first thing and for the first after an end; else one job a batch would wait."""
    waiting = Waiting()
    assert [hand_over(waiting, step, number) for number, step in enumerate("1es1")] == [True, False, False, False]
    waiting.take()
    assert not hand_over(waiting, "1", 5)
    take_all(waiting)
    assert hand_over(waiting, "1", 6)


def test_batches_that_wait_are_written_together_and_told_of_together() -> None:
    """A second's stats between them does not part them, an event and somebody else who is told do."""
    waiting = Waiting()
    steps = "11s1s1" + "e" + "1s1"
    for number, step in enumerate(steps):
        hand_over(waiting, step, number)
    hand_over(waiting, "1", 20, written=repr)
    turns = [what[0] for what in take_all(waiting) if isinstance(what, tuple)]
    assert [turn.rows for turn in turns] == [4, 2, 1]
    assert [turn.now_ns - NOON for turn in turns] == [5, 9, 20], "segments age by the newest"


def test_rows_of_another_date_are_taken_apart() -> None:
    """What is written at once is one message of one segment, which holds one date."""
    waiting = Waiting()
    for number in range(100):
        time = MIDNIGHT + (number - 30) * SECOND
        waiting.put_row(Row(STATS, {"messages": number, "time": time}, time, None))
    taken = [[row.columns["messages"] for row in rows] for rows in take_all(waiting)]
    assert taken == [[*range(30)], [*range(30, 64)], [*range(64, 100)]]


def test_what_is_joined_has_a_bound() -> None:
    """What is written at once and let go at once stays small, however much waits."""
    waiting = Waiting()
    for number in range(300):
        waiting.put_trades(trades(range(50)), now_ns=number, marks={}, size=50, written=print)
    turns: list[Trades] = [turn for turn, _ in take_all(waiting)]
    assert sum(turn.rows for turn in turns) == 15_000
    assert all(3000 < turn.rows <= 4096 for turn in turns[:-1])


def test_a_disk_that_stays_full_takes_no_more_memory_than_the_queue_counts() -> None:
    """Six minutes of 20 batches a second, with lost connections: a few MB, and all is written afterwards."""
    name, pool = ARROW_POOL
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.full_disk", "--hours", "0.1", "--symbols", "1000", "--attempts", "1"],
        env={**os.environ, name: pool},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.search(r"counts ([\d.]+) MB, memory rose by ([\d.]+) MB; ([\d,]+) trades", done.stdout)
    assert said is not None, done.stdout
    counted, rose = float(said[1]), float(said[2])
    assert int(said[3].replace(",", "")) >= 7_200
    assert rose < counted + 16, "an Arrow batch, a future and a dict of all marks for each would be hundreds"
