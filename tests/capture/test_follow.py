"""Following a table: each row once from the start on, across rotations, seals, crashes and a busy reader."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from tests.capture.made import MIDNIGHT, SECOND
from tests.capture.recorded import Recorded
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.scan import Place
from wsresearch.capture.seal import recover
from wsresearch.errors import CaptureDamaged, UsageError
from wsresearch.schema import STATS, TRADES, TableName


def ids(table: pa.Table) -> list[int]:
    return table["trade_id"].to_pylist()


def test_it_begins_with_what_comes_from_now_on(tmp_path: Path) -> None:
    """Without a backfill the rows that are there already stay where they are."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(3)
    follow = Reader(capture.root).follow()
    assert follow.poll() == 0
    assert follow.snapshot().schema == TRADES
    capture.trade(2)
    assert follow.poll() == 2
    assert follow.poll() == 0
    assert ids(follow.snapshot()) == [4, 5]
    assert len(follow) == follow.counts.added == 2


def test_a_backfill_begins_with_the_last_rows(tmp_path: Path) -> None:
    """The rows of the last so much time come first, sealed ones and live ones, then what follows."""
    capture = Recorded(tmp_path / "btc", rows=4)
    capture.trade(4)
    capture.trade(4)
    capture.seal()
    capture.trade(2)
    follow = Reader(capture.root).follow(backfill="5s")
    assert ids(follow.snapshot()) == [5, 6, 7, 8, 9, 10]
    capture.trade(2)
    follow.poll()
    assert ids(follow.snapshot()) == [5, 6, 7, 8, 9, 10, 11, 12]


def test_segments_that_came_and_went_between_two_polls(tmp_path: Path) -> None:
    """A reader busy for an hour finds everything: the end of the segment it knew, and all that followed, sealed."""
    capture = Recorded(tmp_path / "btc", rows=5)
    capture.trade(2)
    follow = Reader(capture.root).follow()
    for _ in range(8):
        capture.trade(3)
    capture.stop()
    assert not capture.layout.journals(TableName.TRADES)
    assert follow.poll() == 24
    assert ids(follow.snapshot()) == list(range(3, 27))
    capture.restart()
    capture.trade(1)
    capture.stop()
    assert follow.poll() == 1
    assert follow.poll() == 0


def test_a_capture_that_begins_later(tmp_path: Path) -> None:
    """A follower may be there before the first row, and crosses midnight."""
    capture = Recorded(tmp_path / "btc")
    follow = Reader(capture.root).follow(max_age=3600)
    assert follow.poll() == 0
    capture.now = MIDNIGHT - 2 * SECOND
    capture.trade(4)
    capture.seal()
    assert follow.poll() == 4
    assert ids(follow.snapshot()) == capture.ids


def test_a_collector_that_is_killed_and_started_again(tmp_path: Path) -> None:
    """SIGKILL leaves a journal without its end; its recovery and the next run bring every row once."""
    capture = Recorded(tmp_path / "btc")
    follow = Reader(capture.root).follow()
    capture.trade(3)
    follow.poll()
    capture.trade(2)
    capture.kill()
    recover(capture.root, disk=capture.disk)
    capture.restart()
    capture.trade(2)
    follow.poll()
    assert ids(follow.snapshot()) == capture.ids
    capture.trade(1)
    capture.kill()
    assert follow.poll() == 1
    recover(capture.root, disk=capture.disk)
    assert follow.poll() == 0
    assert ids(follow.snapshot()) == capture.ids


def test_a_journal_that_is_never_sealed_hides_nothing_for_long(tmp_path: Path) -> None:
    """Where a seal fails and later segments come and go unseen, a look now and then finds them."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(2)
    follow = Reader(capture.root).follow()
    capture.trade(1)
    capture.kill()
    capture.restart()
    capture.trade(3)
    capture.stop()
    assert [segment.number for segment in capture.layout.journals(TableName.TRADES)] == [1]
    for _ in range(65):
        follow.poll()
    assert ids(follow.snapshot()) == [3, 4, 5, 6]


def test_a_journal_that_is_never_sealed_hides_nothing_once_another_is_begun(tmp_path: Path) -> None:
    """The numbers of the journals show that one in the middle came and went."""
    capture = Recorded(tmp_path / "btc", rows=2)
    capture.trade(1)
    follow = Reader(capture.root).follow(backfill="1d")
    capture.kill()
    capture.restart()
    capture.trade(2)
    capture.trade(1)
    capture.seal()
    assert [segment.number for segment in capture.layout.journals(TableName.TRADES)] == [1, 3]
    follow.poll()
    assert ids(follow.snapshot()) == capture.ids


def test_what_a_journal_kept_back_is_taken_from_the_parquet_file(tmp_path: Path) -> None:
    """A journal that could not be read while it was there is made up for at the very row where it stopped."""
    capture = Recorded(tmp_path / "btc")
    follow = Reader(capture.root).follow()
    capture.trade(3)
    follow.poll()
    capture.trade(4)
    for opened in follow._open.values():
        opened.follower.poll = lambda **_: []  # type: ignore[method-assign]
    capture.stop()
    assert follow.poll() == 4
    assert ids(follow.snapshot()) == capture.ids


def test_a_damaged_parquet_file_is_told_until_it_is_mended(tmp_path: Path) -> None:
    """A poll that cannot go on raises, the next one tries again, and nothing is skipped or repeated."""
    capture = Recorded(tmp_path / "btc", rows=3)
    follow = Reader(capture.root).follow()
    for _ in range(3):
        capture.trade(3)
    capture.stop()
    path = capture.layout.parquets(TableName.TRADES)[1]
    good = path.read_bytes()
    path.write_bytes(good[:50])
    for _ in range(2):
        with pytest.raises(CaptureDamaged, match=path.name):
            follow.poll()
    assert ids(follow.snapshot()) == [1, 2, 3]
    path.write_bytes(good)
    assert follow.poll() == 6
    assert ids(follow.snapshot()) == capture.ids


def test_the_usual_poll_does_not_look_through_the_parquet_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one segment grows, a poll lists the journals and no more: a capture of a year is as quick as a new one."""
    capture = Recorded(tmp_path / "btc")
    capture.trade(1)
    follow = Reader(capture.root).follow()
    listed: list[str] = []
    monkeypatch.setattr(Layout, "parquets", lambda _, table: listed.append(table) or [])
    for _ in range(100):
        capture.trade(1)
        follow.poll()
    assert listed == []
    assert len(follow) == 100


def test_only_what_a_backfill_can_need_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of a follower costs the segments of its backfill."""
    from wsresearch.capture import follow as module

    capture = Recorded(tmp_path / "btc", rows=10)
    for _ in range(10):
        capture.trade(10)
    capture.stop()
    read: list[int] = []
    real = module.segment_rows

    def noted(layout: Layout, place: Place) -> pa.Table:
        read.append(place.segment.number)
        return real(layout, place)

    monkeypatch.setattr(module, "segment_rows", noted)
    assert ids(Reader(capture.root).follow(backfill=12).snapshot()) == list(range(88, 101))
    assert read == [9, 10]


def test_bounds_are_those_of_the_buffer(tmp_path: Path) -> None:
    """Rows, bytes and age as asked; what was evicted is counted."""
    capture = Recorded(tmp_path / "btc")
    reader = Reader(capture.root)
    by_rows, by_age = reader.follow(max_rows=5), reader.follow(max_age=2)
    capture.trade(20)
    assert by_rows.poll() == by_age.poll() == 20
    assert ids(by_rows.snapshot()) == [16, 17, 18, 19, 20]
    assert ids(by_age.snapshot()) == [18, 19, 20]
    assert by_rows.counts.evicted_by_rows == 15
    with pytest.raises(UsageError, match="max_rows"):
        reader.follow(max_rows=0)
    with pytest.raises(UsageError, match="backfill"):
        reader.follow(backfill="a while")


def test_other_tables_can_be_followed(tmp_path: Path) -> None:
    """Events and stats as well as trades, by name."""
    capture = Recorded(tmp_path / "btc")
    reader = Reader(capture.root)
    follow = reader.follow(table=TableName.STATS, max_age=60)
    capture.second(trades=5)
    capture.event("opened")
    assert follow.poll() == 1
    assert follow.snapshot().schema == STATS
    assert reader.follow(table="events", backfill="1h").snapshot()["kind"].to_pylist() == ["opened"]  # type: ignore[arg-type]


def test_closing_keeps_the_snapshot_and_no_file(tmp_path: Path) -> None:
    """After the end of its ``with`` block a follower holds no file open and says so if it is polled."""
    capture = Recorded(tmp_path / "btc")
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with Reader(capture.root).follow() as follow:
        capture.trade(2)
        follow.poll()
        capture.kill()
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files + 2
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    assert ids(follow.snapshot()) == [1, 2]
    assert "2 rows" in repr(follow)
    with pytest.raises(UsageError, match="closed"):
        follow.poll()


def test_a_finished_segment_is_let_go(tmp_path: Path) -> None:
    """A reader that looks for days holds the files of one segment open, not of all that were."""
    capture = Recorded(tmp_path / "btc", rows=2)
    follow = Reader(capture.root).follow()
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        capture.trade(2)
        follow.poll()
        capture.seal()
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_files + 4


def test_two_threads_that_poll_share_the_rows(tmp_path: Path) -> None:
    """A timer and a button may both poll: no row is taken twice."""
    capture = Recorded(tmp_path / "btc", rows=50)
    follow = Reader(capture.root).follow()
    stop = threading.Event()
    counted = [0, 0]

    def poll(number: int) -> None:
        while not stop.is_set():
            counted[number] += follow.poll()

    threads = [threading.Thread(target=poll, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        capture.trade(7)
    stop.set()
    for thread in threads:
        thread.join()
    assert sum(counted) + follow.poll() == 420
    assert ids(follow.snapshot()) == capture.ids
