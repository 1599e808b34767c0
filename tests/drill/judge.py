"""Plays a scenario and holds the result against what must be true after every fault; the faults are not here."""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from tests.drill.scenario import Facts, NotPlayed, Scenario
from wsresearch.capture.reader import Reader
from wsresearch.capture.verify import verify
from wsresearch.collect.status import Status, read_status
from wsresearch.reconnect.causes import Cause
from wsresearch.study import holes

__all__ = ["STOP", "Verdict", "drilled", "left_over"]

STOP: float = 2.0
"""Seconds from the wish to stop to everything sealed, from any state."""

_ENDINGS = ("lost", "attempt_failed", "gave_up")
_DETAILED = (*_ENDINGS, "stalled", "stopped", "error")
_MENDABLE = frozenset(Cause) - {Cause.DISK, Cause.INTERNAL}
"""What a permanent failure of comes with a hint how to mend it; of the others the detail says what failed."""


@dataclass(kw_only=True)
class Verdict:
    """What a run was worth; well if nothing is wrong.

    Attributes
    ----------
    lost, duplicated, holes_wrong, leaks
        Rows sent and not stored, rows stored twice, holes that differ, things that are still held.
    allowed
        Rows sent and not stored because of a kill or cut, or dropped and counted: within their limit, and each a hole.
    noticed, recovery, stop
        Seconds, as in the facts.
    problems
        Everything that is wrong, in words.
    not_played
        Why it could not be played on this machine; empty if it was.
    """

    lost: int = 0
    allowed: int = 0
    duplicated: int = 0
    holes_wrong: int = 0
    leaks: int = 0
    noticed: float | None = None
    recovery: float | None = None
    stop: float | None = None
    problems: list[str] = field(default_factory=list)
    not_played: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it was played and nothing is wrong."""
        return not self.problems and not self.not_played


def drilled(scenario: Scenario, seed: int) -> Verdict:
    """Play a scenario once and judge it."""
    verdict = Verdict()
    with tempfile.TemporaryDirectory(prefix="wsresearch-drill-") as name:
        try:
            scenario.prepare()
        except NotPlayed as why:
            return Verdict(not_played=str(why))
        before = _held()
        with _unhandled() as raised:
            try:
                facts = scenario.run(seed, Path(name))
            except Exception as exc:  # noqa: BLE001 - a run that cannot be played to its end is one that failed
                verdict.problems.append(f"raised: {type(exc).__name__}: {exc}")
                return verdict
        held = _held_at_last(before)
        for what, count, were in zip(("descriptors", "threads"), held, before, strict=True):
            if count > were:
                verdict.leaks += count - were
                verdict.problems.append(f"{count - were} {what} are still held")
        verdict.problems += [f"unhandled: {told}" for told in dict.fromkeys(raised)]
        verdict.problems += facts.problems
        _judge_rows(scenario, facts, verdict)
        _judge_story(scenario, facts, verdict)
        _judge_words(scenario, facts, verdict)
        _judge_attempts(scenario, facts, verdict)
        _judge_times(scenario, facts, verdict)
        _judge_files(facts, verdict)
    return verdict


def _judge_rows(scenario: Scenario, facts: Facts, verdict: Verdict) -> None:
    reader = Reader(facts.root)
    columns = ["symbol", "trade_id", "price", "quantity", "side", "trade_time"]
    table = reader.trades(columns=[*columns, "connection"]).to_pydict()
    stored = list(zip(*(table[name] for name in columns), strict=True))
    expected = [trade.row() for trade in facts.sent]
    stats = reader.stats()
    dropped = pc.sum(stats["dropped"]).as_py() or 0
    missing, extra = Counter(expected), Counter(stored)
    missing.subtract([*stored, *(facts.unsure - set(stored))])
    extra.subtract(expected)
    verdict.lost = sum(count for count in missing.values() if count > 0)
    verdict.duplicated = sum(count for count in extra.values() if count > 0)
    allowed = dropped if facts.may_lose is None else facts.may_lose
    if facts.may_lose is None and verdict.lost != dropped:
        verdict.problems.append(f"{dropped} messages are told as dropped, {verdict.lost} rows are missing")
    if verdict.lost > allowed:
        first = next(row for row, count in missing.items() if count > 0)
        verdict.problems.append(f"{verdict.lost} rows were sent and are not stored, the first: {first}")
    elif facts.may_lose != 0:
        verdict.allowed, verdict.lost = verdict.lost, 0
    if verdict.duplicated:
        first = next(row for row, count in extra.items() if count > 0)
        verdict.problems.append(f"{verdict.duplicated} rows are stored that were not sent, or twice: {first}")
    have = set(stored)
    if not verdict.duplicated and stored != [row for row in expected if row in have]:
        verdict.problems.append("rows are not stored in the order they were sent")
    bear = list(zip(table["symbol"], table["trade_id"], table["connection"], strict=True))
    if wrongly := [row for row in bear if facts.connections.get(row[:2], row[2]) != row[2]]:
        verdict.problems.append(f"{len(wrongly)} rows bear another connection than delivered them: {wrongly[0]}")
    told = {(row["symbol"], row["first_id"], row["last_id"]) for row in holes(reader.events()).to_pylist()}
    true = set(_missing(stored) if facts.holes is None else facts.holes)
    verdict.holes_wrong = len(told ^ true)
    if verdict.holes_wrong:
        verdict.problems.append(f"holes told and not there: {sorted(told - true)}; there: {sorted(true - told)}")
    rejected = pc.sum(stats["rejected"]).as_py() or 0
    if facts.rejected is not None and rejected != facts.rejected:
        verdict.problems.append(f"{rejected} messages are told as rejected, {facts.rejected} were malformed")


def _missing(stored: list[tuple[Any, ...]]) -> list[tuple[str, int, int]]:
    """Every id between two stored ones of a symbol that is not stored: the venue spends no id on nothing."""
    ids: dict[str, list[int]] = {}
    for row in stored:
        ids.setdefault(row[0], []).append(row[1])
    return [(symbol, a + 1, b - 1) for symbol, mine in ids.items() for a, b in pairwise(sorted(mine)) if b - a > 1]


def _judge_story(scenario: Scenario, facts: Facts, verdict: Verdict) -> None:
    events = Reader(facts.root).events().select(["seq", "kind", "cause", "connection"]).to_pylist()
    ended = {row["cause"] for row in events if row["kind"] in _ENDINGS}
    noted = {row["cause"] for row in events if row["kind"] == "error"}
    if scenario.ends == 3:
        ended |= {row["cause"] for row in events[-1:] if row["kind"] == "error"}
    if ended != scenario.causes and not scenario.any_cause:
        verdict.problems.append(f"events tell of {sorted(ended)}, expected {sorted(scenario.causes)}")
    surplus = set() if scenario.any_cause else noted - scenario.notes - scenario.may_note - scenario.causes
    if surplus or not scenario.notes <= noted:
        verdict.problems.append(f"error events tell of {sorted(noted)}, expected {sorted(scenario.notes)}")
    if untold := {cause for cause in scenario.causes if cause not in facts.causes}:
        verdict.problems.append(f"no status told of {sorted(untold)}, only of {sorted(facts.causes)}")
    if [row["seq"] for row in events] != list(range(1, len(events) + 1)):
        verdict.problems.append("the events are not numbered one by one")
    if facts.exit_code != scenario.ends:
        verdict.problems.append(f"exit code {facts.exit_code}, expected {scenario.ends}")
    status = read_status(facts.root)
    state = {0: "stopped", 3: "failed", 4: "gave_up"}[scenario.ends]
    if status.state != state or not status.in_words:
        verdict.problems.append(f"in the end the status says {status}, expected {state} and why")
    if facts.most_live > 1:
        verdict.problems.append(f"{facts.most_live} connections were open at one time")


def _judge_words(scenario: Scenario, facts: Facts, verdict: Verdict) -> None:
    """The cause stands in plain words in status and events: a sentence of its own, and a detail with each end."""
    status = read_status(facts.root)
    for cause in sorted(facts.causes - {""}):
        words = _words(status, cause)
        if len(words.split()) < 4 or not words.isprintable() or "_" in words:
            verdict.problems.append(f"of {cause} the status says {words!r}, which is no sentence for people")
        same = [str(other) for other in Cause if other != cause and _words(status, other) == words]
        if same:
            verdict.problems.append(f"of {cause} the status says the same as of {same}: {words!r}")
        if words not in str(replace(status, cause=cause)):
            verdict.problems.append(f"the line of the status does not tell of {cause} in words")
    if not any(scenario.says in _words(status, cause) for cause in facts.causes):
        verdict.problems.append(f"the status never says {scenario.says!r}")
    events = Reader(facts.root).events(columns=["seq", "kind", "cause", "detail"]).to_pylist()
    for row in events:
        detail = row["detail"] or ""
        if row["kind"] in _DETAILED and not (detail.strip() and detail.isprintable()):
            verdict.problems.append(f"event {row['seq']}, {row['kind']} by {row['cause']}, has the detail {detail!r}")
    if scenario.ends and events[-1]["cause"] in _MENDABLE:
        words, detail = _words(status, events[-1]["cause"]), events[-1]["detail"] or ""
        if words not in detail or len(detail) < len(words) + 10:
            verdict.problems.append(f"the run ended because {words}, and its last event says only {detail!r}")


def _words(status: Status, cause: str) -> str:
    return replace(status, cause=cause).in_words or ""


def _judge_attempts(scenario: Scenario, facts: Facts, verdict: Verdict) -> None:
    """Transient, wait as told, permanent: what the server saw of it."""
    if scenario.attempts is not None and facts.accepted != scenario.attempts:
        verdict.problems.append(f"the server accepted {facts.accepted} connections, expected {scenario.attempts}")
    if scenario.waits is None:
        return
    if not facts.waited:
        verdict.problems.append("nobody came again after an answer that sends away")
    early = [waited for waited in facts.waited if waited < scenario.waits]
    if early:
        verdict.problems.append(f"back after {min(early):.3f} s, {scenario.waits:g} s were asked for")


def _judge_times(scenario: Scenario, facts: Facts, verdict: Verdict) -> None:
    verdict.stop, verdict.recovery = facts.stop, facts.recovery
    verdict.noticed = None if scenario.within is None else facts.noticed
    limits = (("stopping", facts.stop, STOP), ("recovery", facts.recovery, scenario.recovers))
    for what, seconds, limit in (*limits, ("noticing", facts.noticed, scenario.within)):
        if seconds is not None and limit is not None and seconds > limit:
            verdict.problems.append(f"{what} took {seconds:.2f} s, at most {limit:g} s are allowed")


def _judge_files(facts: Facts, verdict: Verdict) -> None:
    report = verify(facts.root)
    verdict.problems += [f"verify: {problem}" for problem in report.problems]
    left = left_over(facts.root)
    verdict.leaks += len(left)
    if left:
        verdict.problems.append(f"files are left over: {left}")


def left_over(root: Path) -> list[str]:
    """Return the names of files that a stopped run must not leave: journals, and temporary ones of a seal."""
    kept = [path for path in root.rglob("*") if path.is_file()]
    return [path.name for path in kept if path.name.startswith(".") or path.parent.name == "journal"]


# -- what a run must not leave behind in this process -------------------------------------------------------------


def _held() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


def _held_at_last(before: tuple[int, int], *, patience: float = 2.0) -> tuple[int, int]:
    """What is held once threads that were told to end have ended."""
    deadline = time.monotonic() + patience
    while any(now > were for now, were in zip(_held(), before, strict=True)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return _held()


@contextmanager
def _unhandled() -> Iterator[list[str]]:
    """Gather what nobody caught: in threads, in destructors, and what was only logged as an error."""
    raised: list[str] = []

    class Errors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raised.append(f"{record.name}: {record.getMessage()}")

    handler = Errors(logging.ERROR)
    hooks = threading.excepthook, sys.unraisablehook
    threading.excepthook = lambda args: raised.append(f"{args.exc_type.__name__}: {args.exc_value}")
    sys.unraisablehook = lambda args: raised.append(f"{args.err_msg or ''} {args.exc_value!r}")
    logging.getLogger().addHandler(handler)
    try:
        yield raised
    finally:
        logging.getLogger().removeHandler(handler)
        threading.excepthook, sys.unraisablehook = hooks
