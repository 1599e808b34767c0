"""A disk that stays full for a night: does memory stay within the queue's bound, and is everything written afterwards?

``python -m benchmarks.full_disk [--hours 12] [--symbols 1 1000] [--attempts 0 1]``. Twenty trades a second, each a
batch of its own, go through decoder, ledger and recorder as fast as they can; each second has its stats row, its sync,
and an event row for what the full queue dropped. With ``--attempts`` so many connections a second are lost and made
again, five event rows each. Then there is room, and what is read from the capture must be what was handed over. Each
case is a process of its own; the target is the queue and 32 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow.compute as pc

from benchmarks.figures import Figure
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.writer import Rotation
from wsresearch.collect.chronicle import Chronicle
from wsresearch.collect.inbox import Inbox
from wsresearch.collect.intake import Intake
from wsresearch.collect.memory import ARROW_POOL, give_back, keep_freed_memory
from wsresearch.collect.recorder import Recorder
from wsresearch.collect.sequence import Ledger
from wsresearch.schema import EventKind
from wsresearch.venues import parse_stream

QUEUE: Final = 64 << 20
SLACK: Final = 32_000_000
A_SECOND: Final = 20
BEGAN_MS: Final = 1_800_000_000_000
_STEPS: Final = (EventKind.LOST, EventKind.BACKOFF, EventKind.CONNECTING, EventKind.OPENED, EventKind.FIRST_MESSAGE)


class _Disk(RealDisk):
    """A disk with no room while it is full."""

    __slots__ = ("full",)

    def __init__(self) -> None:
        self.full = False

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(descriptor, content)


class _Nobody:
    """Hears the recorder's troubles."""

    def disk_fails(self, what: str) -> None:
        pass

    def disk_works(self) -> None:
        pass

    def disk_is_gone(self, what: str) -> None:
        raise AssertionError(what)


@dataclass(slots=True, kw_only=True)
class _Told:
    """What was handed over."""

    trades: int = 0
    events: int = 0
    dropped: int = 0


class _Night:
    """The line from the inbox to the disk, without a network."""

    def __init__(self, root: Path, symbols: int) -> None:
        self.names = [f"sym{number}usdt" for number in range(symbols)]
        stream = parse_stream("binance:" + ",".join(self.names))
        self.disk, self.told = _Disk(), _Told()
        create_identity(Layout(root), venue="binance", symbols=[name.upper() for name in self.names], config={})
        numbers = {"run": 1, "connection": 0, "outage": 0, "seq": 0}
        self.recorder = Recorder(
            root, rotation=Rotation(), numbers=numbers, marks={}, trouble=_Nobody(), disk=self.disk
        )
        self.inbox = Inbox(limit=QUEUE, on_arrival=lambda: None)
        self.chronicle = Chronicle(self.recorder, run=1, seq=0)
        self.intake = Intake(
            decoder=stream.venue.decoder(stream.symbols),
            ledger=Ledger({name.upper(): 1000 for name in self.names}),
            inbox=self.inbox,
            recorder=self.recorder,
            note=self.note,
            release=self.inbox.release,
            run=1,
        )
        self._ids = dict.fromkeys(self.names, 1000)
        self._next = 0

    def note(self, kind: EventKind, at_ns: int, **columns: Any) -> None:
        self.told.events += 1
        self.chronicle.event(kind, at_ns, **{"connection": 1, "outage": 0} | columns)

    def second(self, number: int, *, attempts: int) -> None:
        """One second of a run."""
        now_ms = BEGAN_MS + 1000 * number
        for _ in range(attempts):
            for step in _STEPS:
                detail = "the peer closed the connection without a word" if step is EventKind.LOST else None
                self.note(step, now_ms * 10**6, outage=number, attempt=1, waited=0.1 + number / 7, detail=detail)
        for _ in range(A_SECOND):
            name = self.names[self._next % len(self.names)]
            self._next += 1
            known = len(self.inbox)
            self.inbox.put(_trade(name, self._ids[name] + 1, now_ms), now_ms * 10**6)
            if len(self.inbox) > known:  # what is dropped is offered again, so that no hole is told of
                self._ids[name] += 1
                self.told.trades += 1
                self.intake.digest(4096, connection=1, outage=0)
            else:
                self.told.dropped += 1
        self.chronicle.second(
            now_ms * 10**6, self.inbox, self.intake.tally(), note=self.note, connection=1, ping_rtt=None
        )

    def wrong(self, root: Path) -> list[str]:
        """Say what is not stored as it was handed over."""
        reader = Reader(root)
        ids, events, stats = reader.trades(columns=["trade_id"]), reader.events(columns=["seq"]), reader.stats()
        held = {
            "bytes still counted": (self.inbox.held_bytes, 0),
            "rows given up": (self.recorder.unwritten_rows, 0),
            "trades stored": (ids.num_rows, self.told.trades),
            "events stored": (events["seq"].to_pylist() == list(range(1, self.told.events + 1)), True),
            "trades in stats": (pc.sum(stats["trades"]).as_py(), self.told.trades),
            "drops in stats": (pc.sum(stats["dropped"]).as_py(), self.told.dropped),
        }
        return [f"{what}: {found} instead of {right}" for what, (found, right) in held.items() if found != right]


def _trade(name: str, number: int, now_ms: int) -> bytes:
    text = (
        f'{{"stream":"{name}@trade","data":{{"e":"trade","E":{now_ms},"s":"{name.upper()}","t":{number},"p":"1.00",'
        f'"q":"2.00","T":{now_ms},"m":true,"M":true}}}}'
    )
    return text.encode()


def _memory() -> int:
    give_back()
    return psutil.Process().memory_info().rss


def night(seconds: int, *, symbols: int, attempts: int) -> tuple[int, list[str], str]:
    """Let a disk be full for so long; return the bytes of memory it took, what went wrong, and a line that says all."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "c"
        of = _Night(root, symbols)
        for number in range(5):
            of.second(number, attempts=attempts)
        of.recorder._append_in.submit(lambda: None).result()  # so that memory is compared like with like
        before, of.disk.full = _memory(), True
        for number in range(5, 5 + seconds):
            of.second(number, attempts=attempts)
        taken, held = _memory() - before, of.inbox.held_bytes
        of.disk.full, began = False, time.monotonic()
        asyncio.run(of.recorder.close(patience=600, sealing=600))
        took, wrong, told = time.monotonic() - began, of.wrong(root), of.told
    line = (
        f"{seconds / 3600:.2f} h, {symbols} symbols, {attempts} attempts a second: the queue counts {held / 1e6:.1f} "
        f"MB, memory rose by {taken / 1e6:.1f} MB; {told.trades:,} trades, {told.events:,} events and {told.dropped:,} "
        f"drops, written and sealed in {took:.1f} s; {'; '.join(wrong) or 'all as handed over'}"
    )
    return taken, wrong, line


def main(arguments: list[str] | None = None) -> int:
    """Run it, each case in a process of its own; exit code 1 if memory was not bounded or something is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_disk", description=__doc__)
    parser.add_argument("--hours", type=float, default=12.0, help="how long the disk is full (default: %(default)s)")
    parser.add_argument("--symbols", type=int, nargs="+", default=[1, 1000], help="streams (default: 1 1000)")
    parser.add_argument("--attempts", type=int, nargs="+", default=[0, 1], help="reconnects a second (default: 0 1)")
    chosen = parser.parse_args(arguments)
    cases = [(symbols, attempts) for symbols in chosen.symbols for attempts in chosen.attempts]
    if len(cases) > 1:
        ended = 0
        for symbols, attempts in cases:
            case = ["--hours", str(chosen.hours), "--symbols", str(symbols), "--attempts", str(attempts)]
            command = [sys.executable, "-m", "benchmarks.full_disk", *case]
            name, pool = ARROW_POOL
            ended |= subprocess.run(command, env={**os.environ, name: pool}, check=False).returncode
        return ended
    [(symbols, attempts)] = cases
    taken, wrong, line = night(round(chosen.hours * 3600), symbols=symbols, attempts=attempts)
    print(line, flush=True)
    Figure(
        what=f"memory of a full disk, {symbols} symbols, {attempts} attempts a second",
        target=f"{(QUEUE + SLACK) / 1e6:.0f} MB",
        value=f"{taken / 1e6:.0f} MB",
        reached=taken <= QUEUE + SLACK and not wrong,
        stopped_by="; ".join(wrong),
    ).say()
    return int(taken > QUEUE + SLACK or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
