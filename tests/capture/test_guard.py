"""The footer of a sealed file under a checksum: no flipped bit reaches Arrow, and every reader still reads the file."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wsresearch.capture.guard import GUARD_BYTES, GuardError, Tail, check_guard, checked_tail, guarded

TABLE = pa.table({"n": list(range(1000)), "text": ["x"] * 1000})


@pytest.fixture(name="path")
def guarded_file(tmp_path: Path) -> Path:
    """A Parquet file with a guard."""
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path, row_group_size=300)
    plain = path.read_bytes()
    path.write_bytes(guarded(plain))
    assert path.stat().st_size == len(plain) + GUARD_BYTES
    return path


def footer_of(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def test_other_readers_do_not_notice(path: Path) -> None:
    """Arrow, Polars and DuckDB read the same rows as ever."""
    assert check_guard(path)
    assert pq.read_table(path).equals(TABLE)
    assert pl.read_parquet(path).to_arrow().cast(TABLE.schema).equals(TABLE)
    assert duckdb.sql(f"SELECT sum(n), count(text) FROM '{path}'").fetchall() == [(499_500, 1000)]


def test_no_flipped_bit_of_the_footer_goes_unseen(path: Path) -> None:
    """Footer, length and magic number, each byte: any of them might end the process when Arrow reads it."""
    good = path.read_bytes()
    for at in range(footer_of(good), len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        path.write_bytes(bad)
        with pytest.raises(GuardError):
            check_guard(path)


@pytest.mark.parametrize("rows", [500, 1])
def test_the_tail_that_was_checked_is_all_that_arrow_needs(path: Path, rows: int) -> None:
    """Footers short and long (a thousand row groups): what is returned is the footer of that very file."""
    pq.write_table(TABLE, path, row_group_size=rows)
    plain = path.read_bytes()
    path.write_bytes(guarded(plain))
    tail = checked_tail(path)
    assert tail == Tail(content=plain[footer_of(plain) :], guarded=True, size_bytes=len(plain) + GUARD_BYTES)
    metadata = pq.read_metadata(pa.BufferReader(tail.content))
    assert (metadata.num_rows, metadata.num_row_groups) == (1000, 1000 // rows)
    bad = bytearray(path.read_bytes())
    bad[footer_of(bad) + 40] ^= 1
    path.write_bytes(bad)
    with pytest.raises(GuardError):
        checked_tail(path)


def test_a_damaged_guard_is_seen_or_gone(path: Path) -> None:
    """Damage in the guard itself is either told or leaves a file without one, whose footer is good."""
    good = path.read_bytes()
    begin = footer_of(good) - GUARD_BYTES
    for at in range(begin, begin + GUARD_BYTES):
        bad = bytearray(good)
        bad[at] ^= 1
        path.write_bytes(bad)
        if at < begin + 8:
            assert not check_guard(path)
        else:
            with pytest.raises(GuardError):
                check_guard(path)


def test_files_of_others_have_none(tmp_path: Path) -> None:
    """A plain Parquet file, rubbish and an empty file are not ours to judge here."""
    path = tmp_path / "b"
    pq.write_table(TABLE, path)
    assert not check_guard(path)
    for content in (b"", b"PAR1", b"\xff" * 100):
        path.write_bytes(content)
        assert not check_guard(path)
    with pytest.raises(FileNotFoundError):
        check_guard(tmp_path / "none")


def test_a_file_cut_short_is_seen(path: Path) -> None:
    """Whatever is missing at the end, the guard before it gives it away."""
    good = path.read_bytes()
    for end in range(footer_of(good), len(good), 7):
        path.write_bytes(good[:end])
        with pytest.raises(GuardError):
            check_guard(path)
