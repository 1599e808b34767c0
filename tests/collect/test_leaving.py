"""A stop has two seconds for everything, whatever takes its time; on virtual time, with the real recorder."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collect.lockstep import Lockstep, VirtualEvent, take_time
from tests.collect.moodydisk import MoodyDisk
from tests.simnet import Opens, SimTransport, Tape
from tests.virtual import run_virtually
from wsresearch.api import make_config
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.verify import verify
from wsresearch.collect import recorder
from wsresearch.collect.collector import Collector
from wsresearch.collect.leaving import Leaving
from wsresearch.collect.status import read_status
from wsresearch.reconnect.actions import State
from wsresearch.schema import TableName
from wsresearch.study import holes

PROMISED = 2.0


class RudeTransport(SimTransport):
    """A venue that answers our Close after so many seconds."""

    def __init__(self, venue: Callable[[int, float], Any], *, answers_after: float) -> None:
        super().__init__(venue)
        self.answers_after = answers_after

    async def connect(self, url: str, **asked: Any) -> Any:
        link = await super().connect(url, **asked)
        polite = link.close

        async def close() -> None:
            await asyncio.sleep(self.answers_after)
            await polite()

        link.close = close  # type: ignore[method-assign]
        return link


class SlowDisk(MoodyDisk):
    """A disk whose flushes take virtual seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.flush = 0.0

    def _flushed(self) -> None:
        if self.flush:
            take_time(self.flush)

    def fsync(self, descriptor: int) -> None:
        self._flushed()
        super().fsync(descriptor)

    def fsync_dir(self, path: Path) -> None:
        self._flushed()


@pytest.fixture(autouse=True)
def virtual_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the recorder's threads wait by the clock of the loop."""
    monkeypatch.setattr(recorder, "threading", SimpleNamespace(Event=VirtualEvent))


def stopped(
    root: Path, *, answers_after: float, after: float = 3.0, rotate_rows: int = 1_000_000,
    before: Callable[[SlowDisk], None] = lambda _: None,
) -> tuple[float, Collector, SlowDisk]:  # fmt: skip
    """Collect two trades a second, let something happen, stop, and return how long that took."""
    disk = SlowDisk()
    net = RudeTransport(lambda number, now: Opens(script=Tape().from_(now)), answers_after=answers_after)
    config = make_config("binance:btcusdt", root, rotate_rows=rotate_rows, seed=1)
    collector = Collector(config, transport=net, executors=(Lockstep(), Lockstep()), disk=disk)

    async def main() -> float:
        async with collector:
            running = asyncio.create_task(collector.run())
            await asyncio.sleep(after)
            before(disk)
            await asyncio.sleep(0.6)
            asked = net.now()
            collector.stop()
            assert await running == 0
        return net.now() - asked

    return run_virtually(main()), collector, disk


def fails(disk: SlowDisk) -> None:
    disk.error = errno.ENOSPC


def is_slow(disk: SlowDisk) -> None:
    disk.flush = 0.4


def test_a_peer_that_ignores_our_close_and_a_disk_that_fails_cost_two_seconds_together(tmp_path: Path) -> None:
    """Both are waited for at the same time; what the disk never took is counted, and is a hole in the next run."""
    root = tmp_path / "c"
    took, collector, _ = stopped(root, answers_after=100.0, before=fails)
    assert 1.0 <= took <= PROMISED
    kept = Reader(root).trades()["trade_id"].to_pylist()
    assert kept == list(range(1, len(kept) + 1))
    assert collector.unwritten_rows > 0
    stopped(root, answers_after=0.0, after=30.0)
    missing = [(row["first_id"], row["last_id"]) for row in holes(Reader(root).events()).to_pylist()]
    stored = Reader(root).trades()["trade_id"].to_pylist()
    assert missing == [] or missing[0][0] == kept[-1] + 1
    assert len(stored) == len(set(stored))
    assert verify(root).ok, verify(root).problems


def test_a_disk_that_mends_while_a_goodbye_is_said_takes_everything(tmp_path: Path) -> None:
    """The goodbye gives the disk time: nothing is given up that it takes before the last moment."""

    def fails_for_a_while(disk: SlowDisk) -> None:
        fails(disk)
        asyncio.get_running_loop().call_later(1.5, lambda: setattr(disk, "error", None))

    took, collector, _ = stopped(tmp_path / "c", answers_after=100.0, before=fails_for_a_while)
    assert took <= PROMISED
    assert collector.unwritten_rows == 0
    assert collector._recorder.unsealed == []
    assert "stopped" in Reader(tmp_path / "c").events()["kind"].to_pylist()


@pytest.mark.parametrize("answers_after", [0.0, 0.1, 0.5, 100.0])
def test_what_cannot_be_sealed_in_time_is_left_to_the_next_start(tmp_path: Path, answers_after: float) -> None:
    """A disk too slow to seal within a stop: every row is read from its journal, told as unsealed, and sealed later."""
    root = tmp_path / "c"
    took, collector, _ = stopped(root, answers_after=answers_after, before=is_slow)
    assert took <= PROMISED
    assert collector._recorder.unsealed
    assert all(segment in Layout(root).journals(segment.table) for segment in collector._recorder.unsealed)
    assert read_status(root).state is State.STOPPED
    before = Reader(root).trades()["trade_id"].to_pylist()
    assert before == list(range(1, len(before) + 1))
    report = verify(root)
    assert report.ok, report.problems
    _, second, _ = stopped(root, answers_after=0.0, after=30.0)
    assert second._recorder.unsealed == []
    assert not any(Layout(root).journals(table) for table in TableName)
    after = Reader(root).trades()["trade_id"].to_pylist()
    assert after[: len(before)] == before
    assert len(after) == len(set(after))
    assert verify(root).ok, verify(root).problems


def test_last_rows_come_before_the_end(tmp_path: Path) -> None:
    """What the venue sends while it takes its leave is stored, and `stopped` is the last event."""
    _, collector, _ = stopped(tmp_path / "c", answers_after=0.7, after=3.0)
    ids = Reader(tmp_path / "c").trades()["trade_id"].to_pylist()
    assert ids == list(range(1, 9))  # two a second until the end of the goodbye, at second 4.3
    assert Reader(tmp_path / "c").events()["kind"].to_pylist()[-1] == "stopped"
    assert collector.unwritten_rows == 0


@given(st.floats(0, 1e9), st.floats(0, 10))
def test_the_timetable_ends_before_the_promise(asked: float, late: float) -> None:
    """However late somebody looks at it, what remains is never negative and never ends after the two seconds."""
    leaving = Leaving(asked=asked)
    now = asked + late
    writing, sealing = leaving.writing(now), leaving.sealing(now)
    assert 0 <= writing <= sealing
    assert sealing == 0 or now + sealing < asked + PROMISED
