"""Names of a capture: what we write we know again, and nothing else is ever taken for ours."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.capture.layout import Layout, Segment, Suffix
from wsresearch.errors import CaptureDamaged
from wsresearch.schema import TableName

DAY = date(2026, 11, 23)
SEGMENTS = st.builds(Segment, st.sampled_from(TableName), st.integers(0, 10**12 - 1))

HOSTILE = [
    "",
    ".",
    "trades",
    "trades-12.arrows",
    "trades-0000000000012.arrows",
    "trades-000000000012",
    "trades-000000000012.arrow",
    "trades-000000000012.arrows ",
    "trades-000000000012.arrows\n",
    " trades-000000000012.arrows",
    "Trades-000000000012.arrows",
    "orders-000000000012.arrows",
    "trades-٠٠٠٠٠٠٠٠٠٠١٢.arrows",
    "trades-00000000001２.arrows",
    "trades--00000000012.arrows",
    "trades-+00000000012.arrows",
    "trades-0000_0000_012.arrows",
    "../trades-000000000012.arrows",
    ".trades-000000000012.parquet",
    "trades-000000000012.parquet.tmp",
    "trades-000000000012.arrows.idx",
]


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@given(SEGMENTS, st.sampled_from(Suffix))
def test_a_name_reads_back_as_what_it_was_made_of(segment: Segment, suffix: Suffix) -> None:
    """Whatever we write down under a name, we find again under it."""
    assert Segment.parse(segment.name(suffix)) == (segment, suffix)


@given(st.text())
def test_any_name_is_ours_exactly_or_not_at_all(name: str) -> None:
    """A file that somebody put there never passes for a segment because its name is nearly right."""
    parsed = Segment.parse(name)
    assert parsed is None or parsed[0].name(parsed[1]) == name


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_are_nearly_right_are_not_ours(name: str) -> None:
    """Other digits, other cases, signs, spaces and newlines make a stranger's file."""
    assert Segment.parse(name) is None


@given(st.lists(SEGMENTS))
def test_segments_sort_as_their_names_do(found: list[Segment]) -> None:
    """A plain listing of a folder is in the order of the rows."""
    assert [str(segment) for segment in sorted(found)] == sorted(map(str, found))


@pytest.mark.parametrize("number", [-1, 10**12])
def test_a_number_that_fits_no_name_is_refused(number: int) -> None:
    """A segment that could not be found again cannot be made."""
    with pytest.raises(ValueError, match=str(number)):
        Segment(TableName.TRADES, number)


def test_everything_lies_where_the_contract_says(tmp_path: Path) -> None:
    """Other tools may rely on the places of DESIGN §5."""
    layout, segment = Layout(tmp_path), Segment(TableName.TRADES, 12)
    assert layout.journal_path(segment) == tmp_path / "journal/trades-000000000012.arrows"
    assert layout.index_path(segment) == tmp_path / "journal/trades-000000000012.idx"
    assert layout.parquet_path(segment, DAY) == tmp_path / "trades/date=2026-11-23/trades-000000000012.parquet"
    assert layout.quarantine_dir == tmp_path / "quarantine"
    assert layout.lock == tmp_path / "lock"
    assert layout.identity == tmp_path / "capture.json"


def test_lists_are_in_order_of_the_segments_over_all_dates(tmp_path: Path) -> None:
    """Reading files in listed order gives the rows in the order received, whatever their dates."""
    layout = Layout(tmp_path)
    for number, day in ((10, 24), (9, 25), (2, 24), (11, 23)):
        _touch(layout.parquet_path(Segment(TableName.TRADES, number), date(2026, 11, day)))
        _touch(layout.journal_path(Segment(TableName.TRADES, number + 100)))
    assert [path.name for path in layout.parquets(TableName.TRADES)] == [
        f"trades-{number:012d}.parquet" for number in (2, 9, 10, 11)
    ]
    assert [segment.number for segment in layout.journals(TableName.TRADES)] == [102, 109, 110, 111]
    assert layout.journals(TableName.EVENTS) == []


def test_foreign_files_links_and_folders_are_not_listed(tmp_path: Path) -> None:
    """A stranger's file, a link out of the capture or a folder with a good name is never read as data."""
    layout, segment = Layout(tmp_path), Segment(TableName.TRADES, 5)
    outside = tmp_path / "outside"
    _touch(outside / "data")
    _touch(outside / segment.name(Suffix.PARQUET))
    layout.journal_dir.mkdir()
    layout.journal_path(segment).symlink_to(outside / "data")
    layout.index_path(segment).mkdir()
    os.mkfifo(layout.journal_path(Segment(TableName.TRADES, 6)))
    for name in HOSTILE[2:]:
        if "/" not in name:
            _touch(layout.journal_dir / name)
            _touch(layout.date_dir(TableName.TRADES, DAY) / name)
    _touch(layout.date_dir(TableName.TRADES, DAY) / Segment(TableName.EVENTS, 5).name(Suffix.PARQUET))
    for folder in ("date=2026-02-30", "date=20261123", "date=2026-11-23x", "2026-11-23"):
        _touch(layout.table_dir(TableName.TRADES) / folder / segment.name(Suffix.PARQUET))
    (layout.table_dir(TableName.TRADES) / "date=2026-11-24").symlink_to(outside)
    assert layout.journals(TableName.TRADES) == []
    assert layout.indexes(TableName.TRADES) == []
    assert layout.parquets(TableName.TRADES) == []
    assert layout.next_segment(TableName.TRADES).number == 1


def test_a_table_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """A capture is one directory; a link cannot make it read another."""
    layout = Layout(tmp_path / "here")
    _touch(Layout(tmp_path / "there").parquet_path(Segment(TableName.TRADES, 1), DAY))
    layout.root.mkdir()
    layout.table_dir(TableName.TRADES).symlink_to(tmp_path / "there/trades")
    assert layout.parquets(TableName.TRADES) == []


def test_temporaries_are_hidden_and_known_again(tmp_path: Path) -> None:
    """What a broken seal left can be swept away, and only that; no `*.parquet` of any tool matches it."""
    layout, segment = Layout(tmp_path), Segment(TableName.TRADES, 5)
    _touch(layout.temporary_path(segment, DAY))
    _touch(layout.date_dir(TableName.TRADES, DAY) / ".notes.tmp")
    assert layout.temporaries(TableName.TRADES) == [layout.temporary_path(segment, DAY)]
    assert layout.parquets(TableName.TRADES) == []
    assert list(tmp_path.glob("trades/**/*.parquet")) == []


@pytest.mark.parametrize("where", ["journal", "index", "parquet", "quarantine"])
def test_numbers_rise_above_every_trace_of_a_segment(tmp_path: Path, where: str) -> None:
    """A number is never given twice, wherever the last segment has gone."""
    layout, segment = Layout(tmp_path), Segment(TableName.TRADES, 41)
    _touch(
        {
            "journal": layout.journal_path(segment),
            "index": layout.index_path(segment),
            "parquet": layout.parquet_path(segment, DAY),
            "quarantine": layout.quarantine_path(segment, Suffix.PARQUET),
        }[where]
    )
    assert layout.next_segment(TableName.TRADES) == Segment(TableName.TRADES, 42)
    assert layout.next_segment(TableName.EVENTS) == Segment(TableName.EVENTS, 1)


def test_nothing_in_quarantine_is_ever_written_over(tmp_path: Path) -> None:
    """Each file that fails a check keeps a place of its own."""
    layout, segment = Layout(tmp_path), Segment(TableName.TRADES, 5)
    paths = []
    for _ in range(3):
        paths.append(layout.quarantine_path(segment, Suffix.PARQUET))
        _touch(paths[-1])
    _touch(layout.quarantine_dir / "rejects-run-000001.jsonl")
    assert [path.name.rpartition(".")[2] for path in paths] == ["1", "2", "3"]
    assert layout.quarantined() == [(segment, Suffix.PARQUET, path) for path in paths]


def test_a_forged_last_number_is_told_not_wrapped(tmp_path: Path) -> None:
    """A file named as the last possible segment stops the capture with a clear line instead of a crash later."""
    layout = Layout(tmp_path)
    _touch(layout.journal_path(Segment(TableName.TRADES, 10**12 - 1)))
    with pytest.raises(CaptureDamaged, match="trades-999999999999"):
        layout.next_segment(TableName.TRADES)
