"""From journal to Parquet: the same rows in a file any tool reads, from every crash and every damage."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.capture.faulty import DyingDisk, PowerCut, RefusingDisk
from tests.capture.made import MIDNIGHT, NOON, SECOND, events, ids, journal, segments, stats, trades
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.journal import END_OF_STREAM, RECORD_BYTES
from wsresearch.capture.layout import Layout, Segment, Suffix
from wsresearch.capture.parquet import PIECE_ROWS, ROW_GROUP_ROWS, encode
from wsresearch.capture.seal import Recovered, SealCutShort, recover, seal
from wsresearch.capture.writer import CaptureWriter, Rotation
from wsresearch.collect.memory import ARROW_POOL
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import SCHEMAS, TRADES, TableName

SEGMENT = Segment(TableName.TRADES, 7)
DAY = date(2026, 11, 23)
BATCHES = [trades([1, 2, 3]), trades([4]), trades([5, 6])]


def tree(root: Path) -> dict[str, bytes]:
    """Every file of a directory with its content."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def path_of(layout: Layout) -> Path:
    return layout.parquet_path(SEGMENT, DAY)


# -- what a sealed file is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TableName)
def test_a_sealed_file_holds_the_rows_types_and_metadata_of_its_journal(tmp_path: Path, table: TableName) -> None:
    """Nothing is lost on the way to Parquet, and nothing is left of the journal."""
    segment = Segment(table, 3)
    rows = {TableName.TRADES: trades([1, 2, 3]), TableName.EVENTS: events([1, 2]), TableName.STATS: stats([1, 2])}[
        table
    ]
    layout = journal(tmp_path, segment, [rows, rows])
    sealed = seal(layout, segment)
    assert sealed is not None
    assert sealed.path == tmp_path / f"{table}/date=2026-11-23/{table}-000000000003.parquet"
    assert (sealed.rows, sealed.size_bytes) == (2 * rows.num_rows, sealed.path.stat().st_size)
    found = pq.ParquetFile(sealed.path, page_checksum_verification=True).read()
    assert found.schema.equals(SCHEMAS[table])
    assert found.schema.metadata[b"wsresearch.segment"] == str(segment).encode()
    assert found.schema.metadata[b"marks"] == b"{}"
    assert found.replace_schema_metadata(None).equals(pa.Table.from_batches([rows, rows]))
    assert list(layout.journal_dir.iterdir()) == []
    assert seal(layout, segment) is None


def test_a_file_is_written_as_it_was_measured_to_be_best(tmp_path: Path) -> None:
    """zstd, differences for what rises, dictionaries for what repeats, statistics and page checksums."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    seal(layout, SEGMENT)
    group = pq.ParquetFile(path_of(layout)).metadata.row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        name = column.path_in_schema
        assert column.compression == "ZSTD"
        assert column.statistics is not None
        assert column.statistics.has_min_max
        if name in {"symbol", "price", "quantity", "side"}:
            assert "RLE_DICTIONARY" in column.encodings, name
        elif name != "backfilled":
            assert "DELTA_BINARY_PACKED" in column.encodings, name


def test_no_damaged_byte_of_a_column_is_read_as_another_price(tmp_path: Path) -> None:
    """Page checksums are there: a flipped bit in the data is an error for whoever asks for the check, not a price."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    seal(layout, SEGMENT)
    content = path_of(layout).read_bytes()
    prices = pq.read_table(path_of(layout))["price"]
    column = pq.ParquetFile(path_of(layout)).metadata.row_group(0).column(2)
    errors = 0
    for place in range(column.dictionary_page_offset, column.dictionary_page_offset + column.total_compressed_size):
        harmed = bytearray(content)
        harmed[place] ^= 1
        try:
            with pq.ParquetFile(pa.BufferReader(bytes(harmed)), page_checksum_verification=True) as file:
                assert file.read()["price"].equals(prices)  # a byte of a page's header that means nothing here
        except (OSError, pa.ArrowException):
            errors += 1
    assert errors > 0.5 * column.total_compressed_size


def test_the_steps_of_a_seal_are_those_of_the_contract_in_that_order(tmp_path: Path) -> None:
    """Each step is durable before the next relies on it, so that no order of power losses loses a row."""
    steps: list[str] = []

    class Listening(RealDisk):
        def write(self, descriptor: int, content: bytes | memoryview) -> None:
            steps.append("write")
            super().write(descriptor, content)

        def fsync(self, descriptor: int) -> None:
            steps.append("fsync")

        def rename(self, source: Path, target: Path) -> None:
            steps.append(f"rename {source.name} {target.name}")
            super().rename(source, target)

        def fsync_dir(self, path: Path) -> None:
            steps.append(f"fsync {path.relative_to(tmp_path)}/")

        def unlink(self, path: Path) -> None:
            super().unlink(path)
            steps.append(f"unlink {path.name}")

    layout = journal(tmp_path, SEGMENT, BATCHES)
    kept = tree(layout.journal_dir)
    seal(layout, SEGMENT, disk=Listening())
    durable = ["fsync trades/date=2026-11-23/", "fsync trades/", "fsync ./"]
    retired = ["unlink trades-000000000007.arrows", "unlink trades-000000000007.idx", "fsync journal/"]
    named = ["rename .trades-000000000007.parquet.tmp trades-000000000007.parquet"]
    assert steps == ["write", "fsync", *named, *durable, *retired]
    # Cut off after the rename: the name must be durable before the journal goes, whoever gave it.
    steps.clear()
    for name, content in kept.items():
        (layout.journal_dir / name).write_bytes(content)
    seal(layout, SEGMENT, disk=Listening())
    assert steps == [*durable, *retired]


def test_special_floats_come_back_bit_by_bit(tmp_path: Path) -> None:
    """NaN, infinities and the two zeros are values like others: they neither change nor stop a seal."""
    lag = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, None, 5e-324]
    segment = Segment(TableName.STATS, 1)
    layout = journal(tmp_path, segment, [stats(range(7), lag=lag)])
    sealed = seal(layout, segment)
    assert sealed is not None
    assert str(pq.ParquetFile(sealed.path).read()["lag"].to_pylist()) == str(lag)


def test_sealing_twice_gives_the_same_file(tmp_path: Path) -> None:
    """The file is a function of the rows alone: not of the moment, nor of how they came in."""
    contents = set()
    for name, batches in (("a", BATCHES), ("b", [trades(range(1, 7))]), ("c", [trades([n]) for n in range(1, 7)])):
        (tmp_path / name).mkdir()
        layout = journal(tmp_path / name, SEGMENT, batches)
        seal(layout, SEGMENT)
        contents.add(path_of(layout).read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("rows", [ROW_GROUP_ROWS - 1, ROW_GROUP_ROWS, 2 * ROW_GROUP_ROWS + 1])
def test_large_segments_have_row_groups_of_one_size(tmp_path: Path, rows: int) -> None:
    """A reader that wants a minute of a busy day does not decode all of it."""
    pattern = trades(range(1000))
    batch = pa.concat_batches([pattern] * (rows // 1000 + 1)).slice(0, rows)
    layout = journal(tmp_path, SEGMENT, [batch.slice(start, 50_000) for start in range(0, rows, 50_000)])
    seal(layout, SEGMENT)
    metadata = pq.ParquetFile(path_of(layout)).metadata
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sizes == [ROW_GROUP_ROWS] * (rows // ROW_GROUP_ROWS) + (
        [rows % ROW_GROUP_ROWS] if rows % ROW_GROUP_ROWS else []
    )


SEALED_IN = """
import sys
from pathlib import Path
from wsresearch.capture.layout import Layout, Segment
from wsresearch.capture.seal import seal
from wsresearch.schema import TableName

def most():
    told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(told["VmHWM"].split()[0]) * 1024

for number in (1, 2):  # what the first seal takes for good is the library's
    before = most()
    sealed = seal(Layout(Path(sys.argv[1])), Segment(TableName(sys.argv[2]), number))
print(sealed.rows, most() - before)
"""


def _grown_by_sealing(root: Path, table: TableName) -> tuple[int, int]:
    """Seal segment 1, then segment 2; return the rows of the second and what it took beyond the first, in bytes."""
    command = [sys.executable, "-c", SEALED_IN, str(root), table]
    env = dict([ARROW_POOL]) | os.environ
    rows, grown = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()
    return int(rows), int(grown)


on_linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the most memory a process ever had is Linux's"
)


@on_linux
def test_a_long_segment_is_sealed_in_the_memory_of_a_short_one(tmp_path: Path) -> None:
    """A million trades more of random numbers, 8 MB of Parquet: they used to lie in memory as a whole, thrice."""
    chance = random.Random(3)
    batch = trades(range(4096))
    for number, count in ((1, 70), (2, 320)):
        numbers = (pa.array([chance.getrandbits(62) for _ in range(4096)]) for _ in range(count))
        at = TRADES.get_field_index("trade_id")
        journal(
            tmp_path, Segment(TableName.TRADES, number), [batch.set_column(at, TRADES.field(at), n) for n in numbers]
        )
    rows, grown = _grown_by_sealing(tmp_path, TableName.TRADES)
    assert rows == 320 * 4096
    assert grown < 6_000_000


@on_linux
def test_rows_that_came_one_by_one_are_sealed_in_little_memory(tmp_path: Path) -> None:
    """Ten thousand events, each an append of its own, as holes are in an overload: they used to take 170 MB to seal."""
    row = events([1])
    for number, count in ((1, 100), (2, 10_000)):
        journal(tmp_path, Segment(TableName.EVENTS, number), [row] * count)
    rows, grown = _grown_by_sealing(tmp_path, TableName.EVENTS)
    assert rows == 10_000
    assert grown < 60_000_000


def test_only_the_owner_can_read_what_is_sealed(tmp_path: Path) -> None:
    """Folders 0700, files 0600, quarantine included."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    layout.parquet_path(SEGMENT, DAY).parent.mkdir(parents=True, mode=0o700)
    path_of(layout).write_bytes(b"damaged")
    path_of(layout).chmod(0o600)
    before = os.umask(0o777)
    try:
        (tmp_path / "trades").chmod(0o700)
        seal(layout, SEGMENT)
    finally:
        os.umask(before)
    for path in (layout.quarantine_dir, *layout.parquets(TableName.TRADES), *layout.quarantine_dir.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def _recorded(path: Path) -> pa.RecordBatch:
    """The trades of a recording, decoded the slow and simple way."""
    rows = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            received, _, raw = line.partition(" ")
            told = json.loads(raw)["data"]
            rows.append(
                {
                    "symbol": told["s"],
                    "trade_id": told["t"],
                    "price": Decimal(told["p"]),
                    "quantity": Decimal(told["q"]),
                    "side": "sell" if told["m"] else "buy",
                    "trade_time": told["T"] * 1000,
                    "event_time": told["E"] * 1000,
                    "recv_time": int(received),
                    "connection": 1,
                    "backfilled": False,
                }
            )
    return pa.RecordBatch.from_pylist(rows, schema=TRADES)


def test_real_trades_cost_few_bytes_and_every_tool_reads_them(tmp_path: Path, shared: Path) -> None:
    """20,000 real trades, over midnight, at most 12 bytes each; DuckDB, Polars and pyarrow agree on rows and types."""
    batch = _recorded(shared / "recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz")
    layout = Layout(tmp_path)
    with CaptureWriter(tmp_path, on_finished=lambda segment: seal(layout, segment)) as writer:
        for start in range(0, batch.num_rows, 500):
            writer.append(TableName.TRADES, batch.slice(start, 500), now_ns=0)
    paths = layout.parquets(TableName.TRADES)
    assert [path.parent.name for path in paths] == ["date=2024-08-08", "date=2024-08-09"]
    assert sum(path.stat().st_size for path in paths) / batch.num_rows <= 12

    with duckdb.connect() as connection:
        source = f"'{tmp_path}/trades/**/*.parquet'"
        types = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
        totals = connection.execute(
            "SELECT count(*), min(trade_id), max(trade_id), sum(quantity), count(*) FILTER (side = 'sell') "
            f"FROM {source}"
        ).fetchone()
        value = connection.execute(f"SELECT price::DECIMAL(18, 8), quantity::DECIMAL(18, 8) FROM {source}").fetchall()
        by_date = connection.execute(f"SELECT date, count(*) FROM {source} GROUP BY date ORDER BY date").fetchall()
    assert totals == (19904, 3735683259, 3735703162, Decimal("437.91552"), 10811)
    assert sum(price * quantity for price, quantity in value) == Decimal("27006929.5910348")
    assert types["price"] == types["quantity"] == "DECIMAL(38,18)"
    assert types["trade_id"] == "BIGINT"
    assert types["symbol"] == types["side"] == "VARCHAR"
    assert types["recv_time"].startswith("TIMESTAMP")
    assert types["backfilled"] == "BOOLEAN"
    assert types["date"] == "DATE"
    assert [day for day, _ in by_date] == [date(2024, 8, 8), date(2024, 8, 9)]

    frame = pl.scan_parquet(f"{tmp_path}/trades/**/*.parquet", hive_partitioning=True).collect()
    assert frame.height == 19904
    assert frame.schema["price"] == pl.Decimal(38, 18)
    assert frame.schema["recv_time"] == pl.Datetime("ns", "UTC")
    assert frame.schema["trade_time"] == pl.Datetime("us", "UTC")
    assert frame.schema["date"] == pl.Date
    assert frame["quantity"].sum() == Decimal("437.91552")
    assert frame["recv_time"].cast(pl.Int64).to_list() == [time.value for time in batch["recv_time"]]

    table = pq.read_table(tmp_path / "trades")
    assert (
        table.select(TRADES.names)
        .sort_by("trade_id")
        .replace_schema_metadata(None)
        .equals(pa.Table.from_batches([batch]))
    )


def test_forty_years_apart_still_one_segment_each(tmp_path: Path) -> None:
    """A row lies in the folder of its UTC date, in 1969 as in 2262."""
    layout = Layout(tmp_path)
    times = [-1, 0, NOON, 2**63 - 1]
    with CaptureWriter(tmp_path, on_finished=lambda segment: seal(layout, segment)) as writer:
        for number, time in enumerate(times):
            writer.append(TableName.TRADES, trades([number], times=time), now_ns=0)
    assert [path.parent.name for path in layout.parquets(TableName.TRADES)] == [
        "date=1969-12-31",
        "date=1970-01-01",
        "date=2026-11-23",
        "date=2262-04-11",
    ]


# -- damage -------------------------------------------------------------------------------------------------------


def test_a_sealed_file_that_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    """Cut off between naming the file and removing the journal, a seal only has the journal left to remove."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    kept = tree(tmp_path)
    seal(layout, SEGMENT)
    sealed, number = tree(tmp_path), path_of(layout).stat().st_ino
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    again = seal(layout, SEGMENT)
    assert again is not None
    assert again.quarantined == ()
    assert tree(tmp_path) == sealed
    assert path_of(layout).stat().st_ino == number


def test_a_sealed_file_damaged_at_any_byte_is_made_anew_while_the_journal_is_there(tmp_path: Path) -> None:
    """Whichever byte is wrong, footer included, the damaged file is kept aside and the right one returns."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    kept = tree(layout.journal_dir)
    seal(layout, SEGMENT)
    good = path_of(layout).read_bytes()
    chance = random.Random(1)
    places = [0, len(good) - 1, *chance.sample(range(len(good)), 60)]
    harmed_files = [good[:-1], b"", good + b"\0", *(good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in places)]
    for count, harmed in enumerate(harmed_files, 1):
        path_of(layout).write_bytes(harmed)
        for name, content in kept.items():
            (layout.journal_dir / name).write_bytes(content)
        sealed = seal(layout, SEGMENT)
        assert sealed is not None
        assert path_of(layout).read_bytes() == good
        (aside,) = sealed.quarantined
        assert aside.read_bytes() == harmed
        assert len(layout.quarantined()) == count
    assert ids(layout) == [1, 2, 3, 4, 5, 6]


def test_a_sealed_file_with_the_rows_of_another_is_not_taken_for_the_same(tmp_path: Path) -> None:
    """That it opens and has as many rows is no check: values are compared."""
    layout = journal(tmp_path, SEGMENT, [trades([1, 2, 3])])
    (tmp_path / "other").mkdir()
    stranger = journal(tmp_path / "other", SEGMENT, [trades([1, 2, 4])])
    seal(stranger, SEGMENT)
    path_of(layout).parent.mkdir(parents=True)
    path_of(stranger).rename(path_of(layout))
    sealed = seal(layout, SEGMENT)
    assert sealed is not None
    assert len(sealed.quarantined) == 1
    assert ids(layout) == [1, 2, 3]


def test_a_link_in_the_place_of_a_sealed_file_is_moved_away_not_followed(tmp_path: Path) -> None:
    """Nobody can make a seal write, or believe, a file outside the capture."""
    (tmp_path / "capture").mkdir()
    layout = journal(tmp_path / "capture", SEGMENT, BATCHES)
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    path_of(layout).parent.mkdir(parents=True)
    path_of(layout).symlink_to(outside)
    seal(layout, SEGMENT)
    assert not path_of(layout).is_symlink()
    assert outside.read_bytes() == b"mine"
    assert ids(layout) == [1, 2, 3, 4, 5, 6]


def test_a_disk_that_returns_other_bytes_keeps_the_journal(tmp_path: Path) -> None:
    """If what was written reads back differently the journal stays, no damaged file gets a name, and it is said."""

    class Lying(RealDisk):
        def write(self, descriptor: int, content: bytes | memoryview) -> None:
            harmed = bytearray(content)
            harmed[len(harmed) // 2] ^= 1
            super().write(descriptor, bytes(harmed))

    layout = journal(tmp_path, SEGMENT, BATCHES)
    before = tree(tmp_path)
    with pytest.raises(CaptureDamaged, match="check the disk"):
        seal(layout, SEGMENT, disk=Lying())
    assert tree(tmp_path) == before
    found = recover(tmp_path, disk=Lying())
    assert [segment for segment, _ in found.unsealed] == [SEGMENT]
    assert tree(tmp_path) == before
    assert recover(tmp_path).rows == 6


def test_a_parquet_library_that_changes_a_value_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is the journal, not what was meant to be written: a defect in between keeps the journal."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    before = tree(tmp_path)
    wrong = [trades([1, 2, 3, 4, 5, 7]), trades([1, 2, 3, 4, 5]), trades([1, 2, 3, 4, 5, 6, 6])]
    for rows in wrong:
        blocks = [pa.Table.from_batches([rows])]
        monkeypatch.setattr(
            "wsresearch.capture.seal.encode",
            lambda name, _, metadata, blocks=blocks: encode(name, blocks, metadata),
        )
        with pytest.raises(CaptureDamaged, match="other values in row group 0"):
            seal(layout, SEGMENT)
        assert tree(tmp_path) == before
    monkeypatch.setattr("wsresearch.capture.seal.encode", lambda name, blocks, _: encode(name, blocks, {}))
    with pytest.raises(CaptureDamaged, match="other metadata"):
        seal(layout, SEGMENT)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("what", ["data", "index", "unrecorded"])
def test_the_rest_of_an_append_that_was_cut_off_is_no_damage(tmp_path: Path, what: str) -> None:
    """Kill -9 in the middle of an append leaves a clean capture: nothing in quarantine, nothing to look into."""
    layout = journal(tmp_path, SEGMENT, BATCHES, finish=False)
    index = layout.index_path(SEGMENT).read_bytes()
    message = trades([7, 8]).serialize().to_pybytes()
    tails = {
        "data": [(message[:cut], b"") for cut in range(1, len(message), 7)],
        "index": [(message, bytes([1]) * cut) for cut in range(RECORD_BYTES)],
        "unrecorded": [(message, b""), (END_OF_STREAM, b""), (END_OF_STREAM[:3], b"")],
    }[what]
    kept = tree(layout.journal_dir)
    for data_tail, index_tail in tails:
        layout.journal_path(SEGMENT).write_bytes(kept["trades-000000000007.arrows"] + data_tail)
        layout.index_path(SEGMENT).write_bytes(index + index_tail)
        sealed = seal(layout, SEGMENT)
        assert sealed is not None
        assert (sealed.rows, sealed.quarantined, sealed.problem) == (6, (), None)
        assert list(layout.journal_dir.iterdir()) == []
        assert not layout.quarantine_dir.exists()


@pytest.mark.parametrize(
    ("data_tail", "index_tail"),
    [
        (b"\0" * 64, b""),
        (b"foreign bytes", b""),
        (b"", b"\0" * RECORD_BYTES),
        (b"", b"x" * (RECORD_BYTES + 1)),
        (trades([7]).serialize().to_pybytes() * 2, b""),
    ],
)
def test_damage_behind_the_last_good_row_is_kept_for_inspection(
    tmp_path: Path, data_tail: bytes, index_tail: bytes
) -> None:
    """The verified rows are sealed, the journal with what does not belong there goes to quarantine, byte for byte."""
    layout = journal(tmp_path, SEGMENT, BATCHES, finish=False)
    for path, tail in ((layout.journal_path(SEGMENT), data_tail), (layout.index_path(SEGMENT), index_tail)):
        path.write_bytes(path.read_bytes() + tail)
    before = tree(layout.journal_dir)
    sealed = seal(layout, SEGMENT)
    assert sealed is not None
    assert sealed.rows == 6
    assert sealed.problem is not None
    assert {path.name.removesuffix(".1"): path.read_bytes() for path in sealed.quarantined} == before
    assert list(layout.journal_dir.iterdir()) == []
    assert ids(layout) == [1, 2, 3, 4, 5, 6]


def test_bytes_after_the_end_of_the_stream_are_damage(tmp_path: Path) -> None:
    """A closed journal ends where it says."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    with layout.journal_path(SEGMENT).open("ab") as file:
        file.write(trades([7]).serialize())
    sealed = seal(layout, SEGMENT)
    assert sealed is not None
    assert "after the end of the stream" in str(sealed.problem)
    assert len(sealed.quarantined) == 2


def test_a_journal_damaged_at_any_byte_gives_its_good_beginning_and_keeps_the_rest(tmp_path: Path) -> None:
    """No damage stops a recovery, and what could not be verified is still there to look at."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    kept = tree(layout.journal_dir)
    chance = random.Random(2)
    for name, content in kept.items():
        for place in chance.sample(range(len(content)), 60):
            harmed = content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]
            for other, intact in kept.items():
                (layout.journal_dir / other).write_bytes(harmed if other == name else intact)
            found = recover(tmp_path)
            assert len(found.problems) == 1
            assert found.unsealed == ()
            assert [path.read_bytes() for path in found.quarantined if name in path.name] == [harmed]
            assert ids(layout) == [1, 2, 3, 4, 5, 6][: found.rows]
            for path in layout.parquets(TableName.TRADES):
                path.unlink()


def test_rows_of_two_dates_in_one_journal_are_not_sealed(tmp_path: Path) -> None:
    """A journal that breaks a rule no writer of ours breaks is put aside whole."""
    layout = journal(tmp_path, SEGMENT, [trades([1, 2], times=[MIDNIGHT - 1, MIDNIGHT])])
    found = recover(tmp_path)
    assert "2 dates" in found.problems[0]
    assert len(found.quarantined) == 2
    assert layout.parquets(TableName.TRADES) == []


def test_a_second_date_that_comes_late_leaves_nothing_half_sealed(tmp_path: Path) -> None:
    """It is noticed when the first rows have been written already: the file gets no name, the journal is put aside."""
    rows = 3 * PIECE_ROWS
    layout = journal(tmp_path, SEGMENT, [trades(range(rows)), trades([rows], times=MIDNIGHT)])
    before = tree(layout.journal_dir)
    found = recover(tmp_path)
    assert f"{rows + 1} rows of 2 dates" in found.problems[0]
    assert {path.name.removesuffix(".1"): path.read_bytes() for path in found.quarantined} == before
    assert layout.parquets(TableName.TRADES) == []
    assert layout.temporaries(TableName.TRADES) == []


def test_a_bad_sector_keeps_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read today may be read tomorrow: nothing is sealed short and nothing moves."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    before = tree(tmp_path)
    real = os.pread

    def failing(descriptor: int, count: int, offset: int) -> bytes:
        if offset > 1000:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", failing)
    found = recover(tmp_path)
    monkeypatch.undo()
    assert found == Recovered(unsealed=((SEGMENT, "[Errno 5] Input/output error"),))
    assert tree(tmp_path) == before
    assert recover(tmp_path).rows == 6
    assert ids(layout) == [1, 2, 3, 4, 5, 6]


# -- recovery -----------------------------------------------------------------------------------------------------


def test_a_recovery_of_nothing_does_nothing(tmp_path: Path) -> None:
    """A clean capture, an empty directory and a missing one are in order."""
    assert recover(tmp_path) == Recovered()
    assert recover(tmp_path / "missing") == Recovered()
    assert list(tmp_path.iterdir()) == []


def test_what_held_no_row_is_removed_and_what_might_have_is_kept(tmp_path: Path) -> None:
    """Empty journals, lone indexes and half-written Parquet files vanish; an index that speaks of rows does not."""
    layout = journal(tmp_path, Segment(TableName.TRADES, 1), [])
    journal(tmp_path, Segment(TableName.TRADES, 2), [], finish=False)
    journal(tmp_path, Segment(TableName.TRADES, 3), BATCHES)
    layout.journal_path(Segment(TableName.TRADES, 3)).unlink()
    layout.index_path(Segment(TableName.TRADES, 4)).touch()
    layout.journal_path(Segment(TableName.TRADES, 5)).touch()
    temporary = layout.temporary_path(Segment(TableName.TRADES, 6), DAY)
    temporary.parent.mkdir(parents=True)
    temporary.write_bytes(b"PAR1")
    foreign = layout.journal_dir / "notes.txt"
    foreign.touch()
    found = recover(tmp_path)
    assert (found.temporaries_removed, found.empty_removed, found.rows) == (1, 4, 0)
    assert [path.name for path in found.quarantined] == ["trades-000000000003.idx.1"]
    assert list(layout.journal_dir.iterdir()) == [foreign]
    assert recover(tmp_path) == Recovered()


def test_one_journal_that_cannot_be_sealed_does_not_keep_the_others(tmp_path: Path) -> None:
    """On a full disk every row stays readable, and the recovery says what is still to do."""
    for number in range(1, 4):
        layout = journal(tmp_path, Segment(TableName.TRADES, number), [trades([number])])
    disk = RefusingDisk(at=5)
    found = recover(tmp_path, disk=disk)
    assert [segment.number for segment, _ in found.unsealed] == [1]
    assert "No space left" in found.unsealed[0][1]
    assert [sealed.segment.number for sealed in found.sealed] == [2, 3]
    assert ids(layout) == [1, 2, 3]
    assert recover(tmp_path).rows == 1
    assert layout.temporaries(TableName.TRADES) == []


def _story(root: Path, disk: RealDisk, told: list[int]) -> None:
    """Append, rotate by rows and midnight, seal each segment at once, and end."""
    layout = Layout(root)
    with_seal = CaptureWriter(
        root, rotation=Rotation(rows=4), on_finished=lambda segment: seal(layout, segment, disk=disk), disk=disk
    )
    plans: Sequence[tuple[Sequence[int], int]] = (([1, 2, 3], 0), ([4, 5, 6], 1), ([7, 8], MIDNIGHT - NOON), ([9], 5))
    for numbers, later in plans:
        with_seal.append(TableName.TRADES, trades(numbers, times=NOON + later), now_ns=0)
        told.extend(numbers)
    with_seal.sync()
    with_seal.close()


def _calls(root: Path) -> int:
    root.mkdir()
    disk = RefusingDisk(at=-1, times=0)
    _story(root, disk, [])
    return disk.calls


def _check_recovered(layout: Layout, at_least: set[int], at_most: set[int]) -> None:
    """Every row once, only sealed files left, and nothing more to do."""
    found = ids(layout)
    assert len(found) == len(set(found))
    assert at_least <= set(found) <= at_most
    assert not list(layout.journal_dir.iterdir()) if layout.journal_dir.exists() else True
    assert not layout.quarantine_dir.exists()
    before = tree(layout.root)
    for _ in range(2):
        assert recover(layout.root) == Recovered()
        assert tree(layout.root) == before


@pytest.mark.parametrize("half", [True, False])
def test_power_lost_at_any_step_of_append_rotate_seal_and_retire(tmp_path: Path, half: bool) -> None:
    """Dead at every possible moment: readers see every acknowledged row once before the recovery and after it."""
    every = set(range(1, 10))
    for at in range(1, _calls(tmp_path / "count") + 1):
        root = tmp_path / str(at)
        root.mkdir()
        told: list[int] = []
        with pytest.raises(PowerCut):
            _story(root, DyingDisk(at=at, half=half), told)
        layout = Layout(root)
        seen = ids(layout)
        assert set(told) <= set(seen) <= every
        recover(root)
        assert ids(layout) == seen
        _check_recovered(layout, set(seen), set(seen))


def test_power_lost_at_any_step_of_a_recovery_that_follows_a_power_loss(tmp_path: Path) -> None:
    """Dead again and again while recovering, one step further each time: the rows are the same at every moment."""
    for at in range(1, _calls(tmp_path / "count") + 1, 3):
        root = tmp_path / str(at)
        root.mkdir()
        with pytest.raises(PowerCut):
            _story(root, DyingDisk(at=at), [])
        layout = Layout(root)
        seen = ids(layout)
        for step in range(1, 100):
            try:
                recover(root, disk=DyingDisk(at=step, half=step % 2 == 0))
            except PowerCut:
                assert ids(layout) == seen
            else:
                break
        _check_recovered(layout, set(seen), set(seen))


@pytest.mark.parametrize("harm", ["parquet", "journal", "index"])
def test_power_lost_at_any_step_of_moving_damage_into_quarantine(tmp_path: Path, harm: str) -> None:
    """A crash while damage is put aside loses neither a good row nor the evidence."""
    for at in range(1, 40):
        root = tmp_path / str(at)
        root.mkdir()
        layout = journal(root, SEGMENT, BATCHES)
        if harm == "parquet":
            path_of(layout).parent.mkdir(parents=True)
            path_of(layout).write_bytes(b"damaged")
        else:
            path = layout.journal_path(SEGMENT) if harm == "journal" else layout.index_path(SEGMENT)
            content = bytearray(path.read_bytes())
            content[-40 if harm == "index" else -100] ^= 1
            path.write_bytes(bytes(content))
        harmed = {path.read_bytes() for path in root.rglob("*") if path.is_file()}
        rows = 6 if harm == "parquet" else 4
        try:
            recover(root, disk=DyingDisk(at=at))
        except PowerCut:
            recover(root)
            done = False
        else:
            done = True
        assert ids(layout) == [1, 2, 3, 4, 5, 6][:rows]
        kept = {path.read_bytes() for path in layout.quarantine_dir.iterdir()}
        assert kept == ({b"damaged"} if harm == "parquet" else harmed)
        assert recover(root) == Recovered()
        if done:
            break
    else:
        raise AssertionError("the recovery never came to its end")


def test_a_disk_that_refuses_any_step_of_a_seal_leaves_the_rows_readable(tmp_path: Path) -> None:
    """Full or failing at every possible moment: the row is in the journal or in the Parquet file, and once."""
    for at in range(1, 40):
        root = tmp_path / str(at)
        root.mkdir()
        layout = journal(root, SEGMENT, BATCHES)
        disk = RefusingDisk(at=at, error=errno.EIO)
        with suppress(OSError):
            seal(layout, SEGMENT, disk=disk)
        assert ids(layout) == [1, 2, 3, 4, 5, 6]
        recover(root)
        _check_recovered(layout, set(range(1, 7)), set(range(1, 7)))
        if disk.calls < at:
            break
    else:
        raise AssertionError("the seal never came to its end")


@pytest.mark.parametrize("rows", [6, 2 * ROW_GROUP_ROWS + 5])
def test_a_seal_can_be_left_off_before_any_step(tmp_path: Path, rows: int) -> None:
    """No row is missing or twice then, nothing is left but the journal or both files, and the next seal ends it."""
    batches = [trades(range(at, min(at + 65_536, rows))) for at in range(0, rows, 65_536)]
    folders = [tmp_path / name for name in ("whole", "c")]
    for folder in folders:
        folder.mkdir()
    whole, layout = (journal(folder, SEGMENT, batches) for folder in folders)
    seal(whole, SEGMENT)
    steps = 0
    while True:
        left = iter(range(steps))

        def on_step(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise SealCutShort

        try:
            done = seal(layout, SEGMENT, on_step=on_step)
        except SealCutShort:
            steps += 1
        else:
            break
        assert layout.journals(TableName.TRADES) == [SEGMENT]
        assert not layout.temporaries(TableName.TRADES)
        assert not layout.quarantined()
        assert ids(layout) == list(range(rows))
    groups = -(-rows // ROW_GROUP_ROWS)
    # Each row group is encoded and compared; once the file has its name, the next seal only ends what is left of it.
    assert steps >= 2 * groups + 2
    assert done is not None
    assert path_of(layout).read_bytes() == path_of(whole).read_bytes()
    assert not layout.journals(TableName.TRADES)


def test_nothing_but_the_journal_is_needed_to_seal(tmp_path: Path) -> None:
    """A capture can be sealed on another machine on another day: no clock and no state of a run takes part."""
    layout = journal(tmp_path, SEGMENT, BATCHES)
    for path in layout.journal_dir.iterdir():
        os.utime(path, (0, 0))
    sealed = seal(layout, SEGMENT)
    assert sealed is not None
    assert sealed.path.parent.name == datetime.fromtimestamp(NOON / SECOND, tz=UTC).strftime("date=%Y-%m-%d")
    assert len(segments(layout, TableName.TRADES)) == 1
    assert layout.quarantine_path(SEGMENT, Suffix.PARQUET).name.endswith(".1")
