"""Damaged journals and Parquet files by the million: never a wrong row, never an exception, never a signal.

``python -m tests.drill.disk.damage --runs 1000000`` harms a journal in one of `JOURNAL_DAMAGES` ways, reads it, and
compares with what must be left: the batches before the first byte, of either file, that is not as it was written. One
in `WHOLE_EVERY` goes through readers, verify and a recovery as well. Sealed files are harmed in the same ways, once
with their journal beside them and once without. Runs are numbered; a number alone repeats its run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tests.capture.made import NOON, SECOND, events, journal, stats, trades
from tests.capture.recorded import NoSync
from tests.drill.disk.children import Tally, in_children
from wsresearch.capture.identity import create_identity
from wsresearch.capture.journal import RECORD_BYTES, Record, VerifiedPrefix, read_segment
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import Recovered, recover
from wsresearch.capture.verify import verify
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import SCHEMAS, TableName

__all__ = [
    "JOURNAL_DAMAGES",
    "PARQUET_DAMAGES",
    "Specimen",
    "damaged_journals",
    "damaged_parquets",
    "fast_folder",
    "specimens",
]

WHOLE_EVERY = 100
"""One damaged journal in so many is read, verified and recovered as part of a capture, which costs a hundred times as
much as reading it alone."""

_PAGE = 64
"""Bytes of a "page": the journals are small, so that runs are many and every byte has its turn."""


_MAKE: dict[TableName, Callable[[Sequence[int]], pa.RecordBatch]] = {
    TableName.TRADES: trades,
    TableName.EVENTS: events,
    TableName.STATS: stats,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A journal as it was written: both files, the batches, and where each message ends."""

    segment: Segment
    data: bytes
    index: bytes
    batches: tuple[pa.RecordBatch, ...]
    ends: tuple[int, ...]

    def intact(self, data: bytes, index: bytes) -> int:
        """Count the records before the first byte of either file that is not as it was written."""
        good_data, good_index = _common(self.data, data), _common(self.index, index)
        whole = good_index // RECORD_BYTES
        return min(whole, sum(end <= good_data for end in self.ends))

    def rows(self, records: int) -> list[pa.RecordBatch]:
        """Return the batches that so many records make known: record 0 is the schema, a last one ends the stream."""
        return list(self.batches[: max(0, records - 1)])


def _common(one: bytes, other: bytes) -> int:
    """Bytes before the first difference."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _specimen(segment: Segment, batches: Sequence[pa.RecordBatch], *, finish: bool) -> Specimen:
    with tempfile.TemporaryDirectory() as name:
        layout = journal(Path(name), segment, batches, finish=finish)
        data, index = layout.journal_path(segment).read_bytes(), layout.index_path(segment).read_bytes()
    records = [Record.unpack(index[at : at + RECORD_BYTES], segment) for at in range(0, len(index), RECORD_BYTES)]
    ends = tuple(record.offset + record.length for record in records if record is not None)
    return Specimen(segment=segment, data=data, index=index, batches=tuple(batches), ends=ends)


def specimens() -> tuple[Specimen, ...]:
    """Journals to be harmed: of each table, closed and not, and one whose beginning is that of another."""
    lists = {
        TableName.TRADES: [trades([1, 2, 3]), trades([4]), trades([5, 6])],
        TableName.EVENTS: [events([1]), events([2, 3], detail="reset by peer"), events([4])],
        TableName.STATS: [stats([1, 2]), stats([3]), stats([4, 5, 6])],
    }
    found = [_specimen(Segment(name, 1), batches, finish=True) for name, batches in lists.items()]
    found += [_specimen(Segment(name, 1), batches, finish=False) for name, batches in lists.items()]
    many = [trades(range(start, start + 3), times=NOON + start * SECOND) for start in range(1, 60, 3)]
    return (*found, _specimen(Segment(TableName.TRADES, 1), many, finish=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Files that a journal may be confused with."""

    foreign: Specimen
    """Another segment of the same table."""
    stale: Specimen
    """The same segment with the same first batch and another end: an old copy, a block of a file that was removed."""


def _others(of: Specimen) -> Others:
    make = _MAKE[of.segment.table]
    return Others(
        foreign=_specimen(Segment(of.segment.table, 2), [make([11, 12]), make([13])], finish=True),
        stale=_specimen(of.segment, [of.batches[0], make([21]), make([22, 23])], finish=True),
    )


_Harmed = tuple[bytes, bytes]


def _cut(content: bytes, at: int) -> bytes:
    return content[: at % (len(content) + 1)]


def _cut_data(one: Specimen, _: Others, __: random.Random, number: int) -> _Harmed:
    return _cut(one.data, number), one.index


def _cut_index(one: Specimen, _: Others, __: random.Random, number: int) -> _Harmed:
    return one.data, _cut(one.index, number)


def _cut_both(one: Specimen, _: Others, rng: random.Random, number: int) -> _Harmed:
    return _cut(one.data, number), _cut(one.index, rng.randrange(len(one.index)))


def _index_ahead(one: Specimen, _: Others, rng: random.Random, __: int) -> _Harmed:
    """Records of messages that never came: the data ends with an earlier message, or is filled up with zeros."""
    end = rng.choice((0, *one.ends[:-1]))
    zeros = bytes(len(one.data) - end) if rng.random() < 0.5 else b""
    return one.data[:end] + zeros, one.index


def _index_behind(one: Specimen, _: Others, rng: random.Random, __: int) -> _Harmed:
    records = rng.randrange(len(one.ends) + 1)
    zeros = bytes(len(one.index) - records * RECORD_BYTES) if rng.random() < 0.5 else b""
    return one.data, one.index[: records * RECORD_BYTES] + zeros


def _in_one(one: Specimen, rng: random.Random, harm: Callable[[bytearray], None]) -> _Harmed:
    data, index = bytearray(one.data), bytearray(one.index)
    harm(index if rng.random() < 0.3 else data)
    return bytes(data), bytes(index)


def _zeroed(rng: random.Random) -> Callable[[bytearray], None]:
    def harm(content: bytearray) -> None:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(0, len(content), _PAGE)
            content[at : at + _PAGE] = bytes(len(content[at : at + _PAGE]))

    return harm


def _flipped(rng: random.Random) -> Callable[[bytearray], None]:
    def harm(content: bytearray) -> None:
        for _ in range(rng.choice((1, 1, 1, 2, 8))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)

    return harm


def _zeroed_pages(one: Specimen, _: Others, rng: random.Random, __: int) -> _Harmed:
    return _in_one(one, rng, _zeroed(rng))


def _flipped_bits(one: Specimen, _: Others, rng: random.Random, __: int) -> _Harmed:
    return _in_one(one, rng, _flipped(rng))


def _overwritten(one: Specimen, others: Others, rng: random.Random, __: int) -> _Harmed:
    """A block of something else in the middle: rubbish, the journal itself from elsewhere, another journal."""

    def harm(content: bytearray) -> None:
        source = rng.choice((rng.randbytes(256), bytes(content), others.foreign.data, others.stale.index))
        start, length = rng.randrange(len(source)), rng.randint(1, 2 * _PAGE)
        block = source[start : start + length]
        at = rng.randrange(len(content))
        content[at : at + len(block)] = block

    return _in_one(one, rng, harm)


def _shifted(one: Specimen, _: Others, rng: random.Random, __: int) -> _Harmed:
    """Bytes put in or left out: everything behind stands elsewhere."""

    def harm(content: bytearray) -> None:
        at = rng.randrange(len(content))
        if rng.random() < 0.5:
            content[at:at] = rng.randbytes(rng.choice((1, 8, RECORD_BYTES)))
        else:
            del content[at : at + rng.choice((1, 8, RECORD_BYTES))]

    return _in_one(one, rng, harm)


def _repeated_tail(one: Specimen, _: Others, rng: random.Random, __: int) -> _Harmed:
    """The last messages again, or their records, or both; or any last bytes."""
    records = rng.randint(1, len(one.ends))
    begin = one.ends[-records - 1] if records < len(one.ends) else 0
    data, index = one.data[begin:], one.index[-records * RECORD_BYTES :]
    if rng.random() < 0.3:
        data, index = one.data[-rng.randint(1, len(one.data)) :], one.index[-rng.randint(1, len(one.index)) :]
    both = rng.randrange(3)
    return one.data + (data if both != 1 else b""), one.index + (index if both else b"")


def _foreign_tail(one: Specimen, others: Others, rng: random.Random, __: int) -> _Harmed:
    """What was written before goes on as another journal, or as an older copy of this one."""
    other = rng.choice((others.foreign, others.stale))
    records = rng.randint(0, len(one.ends))
    end = one.ends[records - 1] if records else 0
    start = rng.randint(0, len(other.ends) - 1)
    begin = other.ends[start - 1] if start else 0
    data = one.data[:end] + other.data[begin:]
    index = one.index[: records * RECORD_BYTES] + other.index[start * RECORD_BYTES :]
    # Two versions of one segment never exist. Grafted record for record in both files they would pass for one: a
    # record vouches for its own message only.
    which = rng.randrange(2) if other is others.stale and records == start else rng.randrange(4)
    return (one.data if which == 0 else data), (one.index if which == 1 else index)


def _swapped(one: Specimen, others: Others, rng: random.Random, __: int) -> _Harmed:
    """Messages or records in another order, or one file of this journal beside the other file of another."""
    which = rng.randrange(4)
    if which == 0:
        return one.data, rng.choice((others.foreign, others.stale)).index
    if which == 1:
        return rng.choice((others.foreign, others.stale)).data, one.index
    bounds = (0, *one.ends)
    order = list(range(len(one.ends)))
    a, b = rng.sample(order, 2)
    order[a], order[b] = order[b], order[a]
    data = b"".join(one.data[bounds[k] : bounds[k + 1]] for k in order)
    index = b"".join(one.index[k * RECORD_BYTES : (k + 1) * RECORD_BYTES] for k in order)
    return (data, one.index) if which == 2 else (data if rng.random() < 0.5 else one.data, index)


JOURNAL_DAMAGES: dict[str, Callable[[Specimen, Others, random.Random, int], _Harmed]] = {
    "data cut at a byte": _cut_data,
    "index cut at a byte": _cut_index,
    "both cut": _cut_both,
    "index ahead of data": _index_ahead,
    "index behind data": _index_behind,
    "zeroed pages": _zeroed_pages,
    "flipped bits": _flipped_bits,
    "overwritten block": _overwritten,
    "bytes put in or left out": _shifted,
    "repeated tail": _repeated_tail,
    "foreign tail": _foreign_tail,
    "swapped": _swapped,
}


_LIKE_AN_APPEND = frozenset({"index cut at a byte", "both cut", "index behind data"})
"""What looks like an append under way, of which `verify` may not say that it is none; a recovery does."""


def damaged_journals(numbers: range) -> Tally:
    """Do the runs with these numbers in this process."""
    tally = Tally()
    kinds = list(JOURNAL_DAMAGES.items())
    ones = [(one, _others(one)) for one in specimens()]
    with tempfile.TemporaryDirectory(dir=fast_folder()) as name:
        root = Path(name)
        for number in numbers:
            kind, damage = kinds[number % len(kinds)]
            one, others = ones[number // len(kinds) % len(ones)]
            data, index = damage(one, others, random.Random(number), number // len(kinds) // len(ones))
            try:
                kept = _read(root, one, data, index)
                whole = number // len(kinds) % WHOLE_EVERY == 0
                if whole:
                    named = kept < len(one.ends) and kind not in _LIKE_AN_APPEND
                    _recover(root / "capture", one, data, index, named=named)
            except Exception as error:  # noqa: BLE001 - any exception is what this looks for
                what = f"{type(error).__name__}: {error}"
                tally.wrong.append(f"journal run {number} ({kind}, {one.segment}): {what}"[:500])
                tally.add(kind, runs=1, recovered=0, whole=0, wrong=1)
                shutil.rmtree(root / "capture", ignore_errors=True)
            else:
                tally.add(kind, runs=1, recovered=int(whole), whole=int(kept == len(one.ends)), wrong=0)
    return tally


def _read(root: Path, one: Specimen, data: bytes, index: bytes) -> int:
    """Read a harmed journal and compare; return the number of records that were left."""
    layout = Layout(root)
    layout.journal_dir.mkdir(exist_ok=True)
    for path, content in ((layout.journal_path(one.segment), data), (layout.index_path(one.segment), index)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        os.close(descriptor)
    prefix = read_segment(layout, one.segment)
    _check(one, prefix, one.intact(data, index))
    return prefix.records


def _check(one: Specimen, prefix: VerifiedPrefix, records: int) -> None:
    if prefix.records != records:
        raise AssertionError(f"{prefix.records} records where {records} are as they were written")
    if prefix.batches != one.rows(records):
        raise AssertionError(f"other rows than those of the first {records} records")


def _recover(root: Path, one: Specimen, data: bytes, index: bytes, *, named: bool) -> None:
    """Read, verify and recover a capture with a harmed journal: the same rows before and after, and nothing to do."""
    layout = Layout(root)
    create_identity(layout, venue="binance", symbols=["BTCUSDT"], config={}, disk=NoSync())
    layout.journal_dir.mkdir()
    layout.journal_path(one.segment).write_bytes(data)
    layout.index_path(one.segment).write_bytes(index)
    expected = pa.Table.from_batches(one.rows(one.intact(data, index)), SCHEMAS[one.segment.table])
    table = one.segment.table
    for step in ("harmed", "recovered", "recovered twice"):
        report = verify(root)
        if step == "harmed" and named and not (report.problems or report.notes):
            raise AssertionError("verify has nothing to say of it")
        if (found := _rows(root, table)) != expected:
            raise AssertionError(f"{step}: a reader sees {found.num_rows} rows, not {expected.num_rows}, or others")
        again = recover(root, disk=NoSync())
        if step != "harmed" and again != Recovered():
            raise AssertionError(f"{step}: recovering again did {again}")
        if again.unsealed:
            raise AssertionError(f"{step}: {again.unsealed}")
    shutil.rmtree(root)


def _rows(root: Path, table: TableName) -> pa.Table:
    reader = Reader(root)
    read: dict[TableName, Callable[[], pa.Table]] = {
        TableName.TRADES: reader.trades,
        TableName.EVENTS: reader.events,
        TableName.STATS: reader.stats,
    }
    return read[table]().combine_chunks()


def _parquet_harm(rng: random.Random, content: bytes, kind: str, foreign: bytes) -> bytes:
    harmed = bytearray(content)
    match kind:
        case "cut at a byte":
            return content[: rng.randrange(len(content))]
        case "zeroed pages":
            _zeroed(rng)(harmed)
        case "flipped bits":
            _flipped(rng)(harmed)
        case "footer, guard and all":
            # Also where the mark of the guard itself is harmed and nothing vouches for the footer any more.
            for _ in range(rng.randint(2, 6)):
                harmed[-rng.randint(1, len(content) // 2)] ^= 1 << rng.randrange(8)
        case "bytes put in or left out":
            at = rng.randrange(len(content))
            harmed[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
        case "repeated or foreign tail":
            other = rng.choice((content, foreign))
            harmed += other[-rng.randint(1, len(other)) :]
        case "another file's end":
            at = rng.randrange(len(content))
            return content[:at] + foreign[min(at, len(foreign)) :]
    return bytes(harmed)


PARQUET_DAMAGES = (
    "cut at a byte",
    "zeroed pages",
    "flipped bits",
    "footer, guard and all",
    "bytes put in or left out",
    "repeated or foreign tail",
    "another file's end",
)


def damaged_parquets(numbers: range) -> Tally:
    """Do the runs with these numbers in this process: harm a sealed file, with and without its journal."""
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=fast_folder()) as name:
        good = [_sealed(Path(name) / str(place), one) for place, one in enumerate(specimens()[:3])]
        foreign = next((Path(name) / "1").rglob("*.parquet")).read_bytes()
        for number in numbers:
            kind = PARQUET_DAMAGES[number % len(PARQUET_DAMAGES)]
            one, root, path, content = good[number // len(PARQUET_DAMAGES) % len(good)]
            harmed = _parquet_harm(random.Random(number), content, kind, foreign)
            try:
                seen = _read_harmed(root, one, path, harmed)
                _rebuild(root, one, path, harmed, content)
            except Exception as error:  # noqa: BLE001 - any exception is what this looks for
                what = f"{type(error).__name__}: {error}"
                tally.wrong.append(f"parquet run {number} ({kind}, {one.segment}): {what}"[:500])
                tally.add(f"Parquet: {kind}", runs=1, recovered=0, whole=0, wrong=1)
                shutil.rmtree(root)
                _sealed(root, one)
            else:
                tally.add(f"Parquet: {kind}", runs=1, recovered=1, whole=int(not seen), wrong=0)
    return tally


def _sealed(root: Path, one: Specimen) -> tuple[Specimen, Path, Path, bytes]:
    layout = Layout(root)
    create_identity(layout, venue="binance", symbols=["BTCUSDT"], config={}, disk=NoSync())
    layout.journal_dir.mkdir()
    _put_back(layout, one)
    recover(root, disk=NoSync())
    (path,) = layout.parquets(one.segment.table)
    return one, root, path, path.read_bytes()


def _put_back(layout: Layout, one: Specimen) -> None:
    layout.journal_path(one.segment).write_bytes(one.data)
    layout.index_path(one.segment).write_bytes(one.index)


def _read_harmed(root: Path, one: Specimen, path: Path, harmed: bytes) -> bool:
    """Read a harmed file that nothing can replace: an error, or exactly its rows; return whether it was an error."""
    path.write_bytes(harmed)
    expected = pa.Table.from_batches(list(one.batches), SCHEMAS[one.segment.table])
    refused = False
    try:
        found = _rows(root, one.segment.table)
    except CaptureDamaged:
        refused = True
    else:
        if found != expected:
            raise AssertionError("a reader was given other rows")
    if verify(root).ok and refused:
        raise AssertionError("verify finds nothing wrong with a file that readers refuse")
    return refused


def _rebuild(root: Path, one: Specimen, path: Path, harmed: bytes, content: bytes) -> None:
    """With the journal there the harmed file goes into quarantine and is made anew, byte by byte."""
    layout = Layout(root)
    _put_back(layout, one)
    if _rows(root, one.segment.table) != pa.Table.from_batches(list(one.batches), SCHEMAS[one.segment.table]):
        raise AssertionError("a reader was given other rows although the journal is there")
    done = recover(root, disk=NoSync())
    if path.read_bytes() != content:
        raise AssertionError("the file was not made anew as it was")
    kept = [aside.read_bytes() for aside in done.quarantined]
    if kept != ([harmed] if harmed != content else []):
        raise AssertionError(f"quarantine got {len(kept)} files, or others than the harmed one")
    for aside in done.quarantined:
        aside.unlink()
    if recover(root, disk=NoSync()) != Recovered():
        raise AssertionError("recovering again did something")


def fast_folder() -> str | None:
    """A folder in memory where there is one: what a real disk does is not the question here."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> int:
    """Do the runs and print a table; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000, help="damaged journals (default 1,000,000)")
    parser.add_argument("--parquet-runs", type=int, default=20_000, help="damaged Parquet files (default 20,000)")
    parser.add_argument("--from", type=int, default=0, dest="begin", help="number of the first run")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    tally = Tally()
    for job, runs, chunk in ((damaged_journals, asked.runs, 10_000), (damaged_parquets, asked.parquet_runs, 1_000)):
        end = asked.begin + runs
        chunks = [range(start, min(start + chunk, end)) for start in range(asked.begin, end, chunk)]
        tally.merge(in_children(job, chunks, workers=asked.workers, told=f"jobs of {chunk:,}"))
    print(tally.table("damage"))
    for what in tally.wrong[:50]:
        print(what)
    print(f"NOT as it should be: {len(tally.wrong)} runs" if tally.wrong else "never a wrong row, exception or signal")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
