"""Eight readers in processes of their own while an hour is recorded, rotated, sealed, pruned and recovered in a hurry.

``python -m tests.drill.disk.readers`` records an hour of trades in `--seconds`: a segment ends every few virtual
seconds and is sealed in a thread, and now and then the writer is killed in mid-air, the capture recovered and recorded
on. A ninth process prunes all that is older than some minutes, again and again. Meanwhile every reader reads as fast as
it can and checks each answer: ids follow each other, from 1 or from the first that a prune left, as it stood at some
moment while it read, to at least the last one that had been acknowledged when it asked; values are those that were
written; what is there and what was removed add up. None may be torn, missing or twice, and no reader may die.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.sharedctypes import Synchronized, SynchronizedArray
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tests.capture.recorded import trade_rows
from tests.drill.disk.children import Tally, in_children
from wsresearch.capture.follow import Follow
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.prune import prune
from wsresearch.capture.pruned import read_pruned
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover, seal
from wsresearch.capture.verify import verify
from wsresearch.capture.writer import CaptureWriter, Rotation
from wsresearch.schema import TableName

__all__ = ["read_while_recording"]

START = 1_795_435_200 * 10**9
"""Noon of 2026-11-23, ns since 1970 UTC."""
_BATCHES_A_SECOND = 10
_ROWS = 5
_SECONDS_A_KILL = 60
_SEGMENT = 20
"""Virtual seconds that a segment lasts."""
_KEEP = 420
"""Virtual seconds that a prune keeps: some more than the segments that stay in any case."""
_MOST_PRUNES = 10_000
_STEP = 10**9 // _BATCHES_A_SECOND // _ROWS

_FAILED = -1

Number: TypeAlias = "Synchronized[int]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one process does.

    Attributes
    ----------
    role
        ``write``, ``prune``, or one of `READERS`.
    root, seed
        The capture, and where randomness comes from.
    minutes, seconds
        Minutes to record, and seconds to do it in.
    acknowledged
        The highest id that has been recorded.
    last
        The highest id of all, once it is known; 0 before, `_FAILED` if there will be none.
    prunes
        How many prunes are done.
    borders
        The highest id that was removed after so many prunes.
    """

    role: str
    root: Path
    seed: int
    minutes: float
    seconds: float
    acknowledged: Number
    last: Number
    prunes: Number
    borders: SynchronizedArray[int]

    def __str__(self) -> str:
        return f"{self.role} of seed {self.seed}"


def _write(part: Part) -> Tally:
    rng = random.Random(part.seed)
    layout = Layout(part.root)
    total = int(part.minutes * 60 * _BATCHES_A_SECOND)
    begun = time.monotonic()
    seals: list[Future[object]] = []
    tally = Tally()
    with ThreadPoolExecutor(1) as sealing:

        def finished(segment: Segment) -> None:
            if rng.random() < 0.9:  # some are left for the next recovery, as after a full disk
                seals.append(sealing.submit(seal, layout, segment))

        writer = CaptureWriter(part.root, rotation=Rotation(age=_SEGMENT), on_finished=finished)
        number = 0
        for batch in range(total):
            now = START + batch * _ROWS * _STEP
            ids = range(number + 1, number + _ROWS + 1)
            writer.append(TableName.TRADES, trade_rows(ids, start=now, step=_STEP), now_ns=now)
            number += _ROWS
            part.acknowledged.value = number
            if rng.random() < 1 / (_SECONDS_A_KILL * _BATCHES_A_SECOND):
                sealing.submit(lambda: None).result()
                for opened in writer._open.values():  # SIGKILL: nothing is finished, files stay as they are
                    opened.writer._close()
                recover(part.root)
                writer = CaptureWriter(part.root, rotation=Rotation(age=_SEGMENT), on_finished=finished)
                tally.add("write", kills=1)
            ahead = batch / total * part.seconds - (time.monotonic() - begun)
            if ahead > 0:
                time.sleep(ahead)
        writer.close()
    for done in seals:
        done.result()
    recover(part.root)
    part.last.value = number
    tally.add("write", reads=0, rows=number, segments=len(layout.parquets(TableName.TRADES)), wrong=0)
    return tally


def _prune(part: Part) -> Tally:
    """Prune again and again; a file that is read just then goes the next time."""
    tally = Tally()
    removed = 0
    while not part.last.value and part.prunes.value < _MOST_PRUNES:
        done = prune(part.root, keep=f"{_KEEP}s", yes=True, patience=5.0)
        removed += done.rows
        record = read_pruned(Layout(part.root))
        assert removed == (0 if record is None else record.rows), f"{removed} rows went, and the record is {record}"
        part.borders[part.prunes.value + 1] = removed
        part.prunes.value += 1
        tally.add("prune", reads=1, rows=done.rows, segments=done.removed, held=int(done.held is not None), wrong=0)
        time.sleep(0.1)
    return tally


@dataclass(slots=True, kw_only=True)
class _Asked:
    """What a reader knew when it asked: the highest id acknowledged and, at the end, of all; the prunes done."""

    part: Part
    known: int
    last: int
    prunes: int

    def borders(self) -> set[int]:
        """Return the highest ids that may have been removed from an answer that is there by now."""
        record = read_pruned(Layout(self.part.root))  # first: a prune that is not done when those done are counted
        return {*self.part.borders[self.prunes : self.part.prunes.value + 1], 0 if record is None else record.rows}

    def before(self, first: int) -> int:
        """Return the highest id that had been removed from an answer that begins with `first`."""
        possible = self.borders()
        assert first - 1 in possible, f"begins with {first} where prunes left what follows {sorted(possible)}"
        return first - 1


def _whole(reader: Reader, asked: _Asked) -> int:
    """All rows, with all values."""
    return _consecutive(reader.trades().combine_chunks(), asked)


def _streamed(reader: Reader, asked: _Asked) -> int:
    """All rows, piece by piece."""
    return _consecutive(reader.batches().read_all().combine_chunks(), asked)


def _consecutive(rows: pa.Table, asked: _Asked) -> int:
    if not rows.num_rows:
        assert not asked.known, f"no row where {asked.known} had been acknowledged"
        return 0
    border = asked.before(rows["trade_id"][0].as_py())
    _check(rows, border + 1)
    last = border + int(rows.num_rows)
    assert last >= asked.known, f"ends at {last} where {asked.known} had been acknowledged"
    return last


def _ids(reader: Reader, asked: _Asked) -> int:
    """All ids."""
    ids = reader.trades(columns=["trade_id"])["trade_id"].to_numpy()
    if not len(ids):
        assert not asked.known, f"no row where {asked.known} had been acknowledged"
        return 0
    border = asked.before(int(ids[0]))
    assert ids[-1] >= asked.known, f"ends at {ids[-1]} where {asked.known} had been acknowledged"
    assert np.array_equal(ids, np.arange(border + 1, border + len(ids) + 1)), "ids do not follow each other"
    return int(ids[-1])


def _window(reader: Reader, asked: _Asked) -> int:
    """The last half minute: no hole in it, and it reaches to the end."""
    rows = reader.trades(last="30s").combine_chunks()
    if not rows.num_rows:
        assert not asked.known
        return 0
    _check(rows, rows["trade_id"][0].as_py())
    last: int = rows["trade_id"][-1].as_py()
    assert last >= asked.known, f"ends at {last} where {asked.known} had been acknowledged"
    assert rows.num_rows >= min(last, 30 * _BATCHES_A_SECOND * _ROWS), f"only {rows.num_rows} rows up to {last}"
    return last


def _totals(reader: Reader, asked: _Asked) -> int:
    """How many rows footers and indexes tell of; at the end, together with what was removed, all."""
    count = reader.totals().trades
    all_of = sorted(count + removed for removed in asked.borders())
    assert all_of[-1] >= asked.known, f"{count} rows, {all_of} with those removed, where {asked.known} are acknowledged"
    if asked.last in all_of:
        return asked.last
    return all_of[0] if len(all_of) == 1 else asked.known


def _verify(reader: Reader, asked: _Asked) -> int:
    """What verify says."""
    report = verify(reader.root)
    assert report.ok, report.problems[0]
    removed = asked.before(1 if report.pruned is None else report.pruned.rows + 1)
    assert report.rows + removed >= asked.known, f"{report.rows} + {removed} where {asked.known} were acknowledged"
    told = report.symbols.get("BTCUSDT")
    assert told is None or not told.rows or (told.first_id, told.missing) == (1, 0), f"coverage is {told}"
    return report.rows + removed


def _check(rows: pa.Table, first: int) -> None:
    count = int(rows.num_rows)
    ids = rows["trade_id"].to_numpy()
    assert np.array_equal(ids, np.arange(first, first + count)), "ids do not follow each other"
    expected = START + (ids - 1) * _STEP
    assert np.array_equal(rows["recv_time"].cast(pa.int64()).to_numpy(), expected), "times are not those written"
    for name, value in (("symbol", "BTCUSDT"), ("price", Decimal(1)), ("quantity", Decimal(2)), ("side", "buy")):
        kind = pa.string() if name == "symbol" else rows.schema.field(name).type
        right = pc.equal(rows[name].cast(kind), pa.scalar(value, kind))
        assert pc.all(right, min_count=0).as_py(), f"a {name} is not the one written"


class _Follow:
    """A rolling buffer that keeps up: each row once."""

    def __init__(self) -> None:
        self._follow: Follow | None = None
        self._before: int | None = None

    def __call__(self, reader: Reader, asked: _Asked) -> int:
        if self._follow is None:
            self._follow = reader.follow(backfill="1h", max_rows=10_000)
        follow = self._follow
        follow.poll()
        rows = follow.snapshot()
        if not rows.num_rows:
            assert not asked.known
            return 0
        first = rows["trade_id"][0].as_py()
        _check(rows.combine_chunks(), first)
        last: int = rows["trade_id"][-1].as_py()
        counts = follow.counts
        assert last >= asked.known, f"ends at {last} where {asked.known} had been acknowledged"
        if self._before is None:
            self._before = asked.before(first - counts.evicted)
        assert counts.added + self._before == last, f"{counts.added} rows were added up to id {last}"
        return last


READERS: dict[str, Callable[[], Callable[[Reader, _Asked], int]]] = {
    "read all values": lambda: _whole,
    "read all ids": lambda: _ids,
    "read piece by piece": lambda: _streamed,
    "read the last 30 s": lambda: _window,
    "follow": _Follow,
    "follow too": _Follow,
    "totals": lambda: _totals,
    "verify": lambda: _verify,
}


def _play(part: Part) -> Tally:
    if part.role == "write":
        try:
            return _write(part)
        finally:
            part.last.value = part.last.value or _FAILED  # else the readers would wait for ever
    if part.role == "prune":
        return _prune(part)
    tally = Tally()
    step = READERS[part.role]()
    reader = Reader(part.root)
    before = 0
    while True:
        last = part.last.value  # asked first: if it is known, what is read now must be all
        if last == _FAILED:
            return tally
        asked = _Asked(part=part, known=max(before, part.acknowledged.value), last=last, prunes=part.prunes.value)
        try:
            seen = step(reader, asked)
            assert not last or seen == last, f"{seen} at the end, where {last} were recorded"
        except Exception as error:  # noqa: BLE001 - any exception is what this looks for
            tally.wrong.append(f"{part}: {type(error).__name__}: {error}"[:500])
            tally.add(part.role, reads=1, rows=0, wrong=1)
            return tally
        tally.add(part.role, reads=1, rows=seen - before, wrong=0)
        before = seen
        if last:
            return tally


def read_while_recording(root: Path, *, minutes: float, seconds: float, seed: int, told: str | None = None) -> Tally:
    """Record so many minutes in so many seconds with all readers at work, and count what they did.

    Parameters
    ----------
    root
        A new directory.
    minutes, seconds
        How much is recorded, and how long that takes at least.
    seed
        Of the moments at which the writer is killed.
    told
        What one process is called in the progress bar; None shows none.
    """
    create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config={})
    context = multiprocessing.get_context("spawn")
    acknowledged, last, prunes = (context.Value("q", 0) for _ in range(3))
    borders = context.Array("q", _MOST_PRUNES + 1)
    parts = [
        Part(
            role=role,
            root=root,
            seed=seed,
            minutes=minutes,
            seconds=seconds,
            acknowledged=acknowledged,
            last=last,
            prunes=prunes,
            borders=borders,
        )
        for role in (*READERS, "write", "prune")
    ]
    return in_children(_play, parts, workers=len(parts), told=told)


def main() -> int:
    """Do it and print a table; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes recorded (default 60)")
    parser.add_argument("--seconds", type=float, default=240.0, help="seconds that takes at least (default 240)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wsresearch-readers-") as name:
        tally = read_while_recording(
            Path(name) / "capture", minutes=asked.minutes, seconds=asked.seconds, seed=asked.seed, told="processes"
        )
    print(tally.table("process"))
    for what in tally.wrong:
        print(what)
    print("NOT as it should be" if tally.wrong else "none torn, missing or twice; no reader died")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
