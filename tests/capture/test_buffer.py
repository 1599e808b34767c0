"""The rolling buffer: what it holds is the newest part of what was added, within its bounds, and it counts the rest."""

from __future__ import annotations

import math
import threading

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsresearch.capture.buffer import BufferCounts, RollingBuffer
from wsresearch.errors import UsageError
from wsresearch.schema import STATS, TRADES

SCHEMA = pa.schema(
    [pa.field("n", pa.int64()), pa.field("recv_time", pa.timestamp("ns", tz="UTC")), pa.field("text", pa.string())]
)
SECOND = 10**9
PLENTY = 1 << 30


def rows(first: int, count: int, *, times: list[int] | None = None, text: str = "x") -> pa.RecordBatch:
    numbers = list(range(first, first + count))
    return pa.record_batch([numbers, times or [n * SECOND for n in numbers], [text] * count], schema=SCHEMA)


def held(buffer: RollingBuffer) -> list[int]:
    table = buffer.snapshot()
    return table["n"].to_pylist() if table.num_columns else []


def allocated(table: pa.Table) -> int:
    """Bytes that a table's buffers take, each once, as allocated."""
    sizes = {}
    for column in table.columns:
        for chunk in column.chunks:
            sizes |= {part.address: -(-part.size // 64) * 64 for part in chunk.buffers() if part is not None}
    return sum(sizes.values())


@given(
    sizes=st.lists(st.integers(0, 60), max_size=40),
    max_rows=st.integers(1, 200),
    max_bytes=st.integers(1, 6_000),
    max_age=st.one_of(st.none(), st.floats(0.5, 100)),
    steps=st.lists(st.integers(-3, 3), min_size=1, max_size=10),
)
@example(
    sizes=[2, 22], max_rows=22, max_bytes=1680, max_age=17.0, steps=[-2, 3, 0]
)  # a row too old behind one that is not
@settings(max_examples=80, deadline=None)
def test_a_snapshot_is_a_suffix_within_every_bound_and_counts_are_exact(
    sizes: list[int], max_rows: int, max_bytes: int, max_age: float | None, steps: list[int]
) -> None:
    """Whatever was added in whatever pieces, the buffer holds its newest rows, never too many, and adds up."""
    buffer = RollingBuffer(max_rows=max_rows, max_bytes=max_bytes, max_age=max_age)
    everything: list[int] = []
    times: list[int] = []
    taken: list[tuple[pa.Table, list[int]]] = []
    for size in sizes:
        first = len(everything)
        more = [(first + n) * SECOND + steps[n % len(steps)] * SECOND for n in range(size)]
        buffer.add(rows(first, size, times=more or None))
        everything += range(first, first + size)
        times += more
        numbers, counts = held(buffer), buffer.counts
        assert numbers == everything[len(everything) - len(numbers) :]
        assert len(buffer) == len(numbers) == counts.held <= max_rows
        assert counts.added == len(everything) == counts.held + counts.evicted
        assert counts.held_bytes <= max_bytes
        assert not numbers or allocated(buffer.snapshot()) <= counts.held_bytes
        if max_age is not None and numbers:
            assert times[numbers[0]] >= times[-1] - math.ceil(max_age * SECOND)
        taken.append((buffer.snapshot(), numbers))
    for table, numbers in taken:
        assert (table["n"].to_pylist() if table.num_columns else []) == numbers


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=30), max_rows=st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_rows_bound_evicts_no_more_than_it_must(sizes: list[int], max_rows: int) -> None:
    """With only rows bounded, the buffer is always as full as it may be."""
    buffer = RollingBuffer(max_rows=max_rows, max_bytes=PLENTY, max_age=None)
    total = 0
    for size in sizes:
        buffer.add(rows(total, size))
        total += size
        assert len(buffer) == min(total, max_rows)
        assert buffer.counts.evicted_by_rows == max(0, total - max_rows)
        assert not buffer.counts.evicted_by_age
        assert not buffer.counts.evicted_by_bytes


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=30), max_age=st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_age_is_told_from_the_newest_row_inclusive(sizes: list[int], max_age: int) -> None:
    """One row a second and an age of n seconds leave n + 1 rows: exactly those not older than n."""
    buffer = RollingBuffer(max_rows=10_000, max_bytes=PLENTY, max_age=max_age)
    total = 0
    for size in sizes:
        buffer.add(rows(total, size))
        total += size
    assert held(buffer) == list(range(max(0, total - max_age - 1), total))
    assert buffer.counts.evicted_by_age == max(0, total - max_age - 1)


def test_one_absurd_time_does_not_empty_the_buffer_for_ever() -> None:
    """A row from the far future costs what was held, but the row after it is kept as if nothing had been."""
    buffer = RollingBuffer(max_rows=100, max_bytes=PLENTY, max_age=10)
    buffer.add(rows(0, 5))
    buffer.add(rows(5, 1, times=[2**62]))
    assert held(buffer) == [5]
    buffer.add(rows(6, 3))
    assert held(buffer) == [5, 6, 7, 8]


def test_rows_without_a_time_have_no_age() -> None:
    """A null in the time column neither evicts others nor is evicted by age."""
    buffer = RollingBuffer(max_rows=100, max_bytes=PLENTY, max_age=1)
    nulls = pa.record_batch([[0, 1], [None, None], ["x", "x"]], schema=SCHEMA)
    buffer.add(nulls)
    buffer.add(rows(2, 2, times=[SECOND, 900 * SECOND]))
    assert held(buffer) == [0, 1, 2, 3]


def test_a_small_slice_does_not_keep_its_big_batch_alive() -> None:
    """Ten rows out of a million cost ten rows of memory, and the buffer says what they really cost."""
    pool = pa.default_memory_pool()
    buffer = RollingBuffer(max_rows=1_000, max_bytes=10_000, max_age=None)
    before = pool.bytes_allocated()
    big = rows(0, 300_000)
    buffer.add(big.slice(299_990))
    del big
    assert held(buffer) == list(range(299_990, 300_000))
    assert pool.bytes_allocated() - before < 10_000
    assert buffer.counts.held_bytes < 10_000


def test_a_batch_far_over_the_bounds_leaves_its_newest_rows() -> None:
    """Adding a day at once to a buffer of a thousand rows keeps the last thousand."""
    buffer = RollingBuffer(max_rows=1_000, max_bytes=PLENTY, max_age=None)
    buffer.add(rows(0, 10))
    buffer.add(rows(10, 100_000))
    assert held(buffer) == list(range(99_010, 100_010))
    assert buffer.counts == BufferCounts(
        added=100_010, held=1_000, evicted_by_rows=99_010, held_bytes=buffer.counts.held_bytes
    )


def test_bytes_bound_keeps_a_good_part_of_what_it_allows() -> None:
    """Bytes are given back in pieces of a sixteenth: after eviction the buffer is nearly full, not nearly empty."""
    buffer = RollingBuffer(max_rows=1_000_000, max_bytes=200_000, max_age=None)
    for first in range(0, 100_000, 500):
        buffer.add(rows(first, 500))
    assert 150_000 < buffer.counts.held_bytes <= 200_000
    assert buffer.counts.evicted_by_bytes > 0
    assert held(buffer)[-1] == 99_999


def test_a_row_larger_than_the_bytes_allowed_is_counted_not_kept() -> None:
    """A bound is a bound: what can never fit is dropped and shows in the counts."""
    buffer = RollingBuffer(max_rows=10, max_bytes=1_000, max_age=None)
    buffer.add(rows(0, 1, text="y" * 5_000))
    assert held(buffer) == []
    assert buffer.counts.evicted_by_bytes == 1


def test_many_tiny_batches_become_few_chunks() -> None:
    """Twenty thousand single rows come out in a handful of chunks, so a snapshot stays quick."""
    buffer = RollingBuffer(max_rows=1_000_000, max_bytes=PLENTY, max_age=None, schema=SCHEMA)
    one = rows(0, 1)
    for _ in range(20_000):
        buffer.add(one)
    assert buffer.snapshot().num_rows == 20_000
    assert buffer.snapshot()["n"].num_chunks < 32


def test_a_table_is_added_like_its_batches() -> None:
    """Tables and batches may be mixed; schema metadata does not matter."""
    buffer = RollingBuffer(max_rows=10, max_bytes=PLENTY, max_age=None)
    buffer.add(pa.Table.from_batches([rows(0, 2), rows(2, 2)]).replace_schema_metadata({"carry": "1"}))
    buffer.add(rows(4, 1))
    assert held(buffer) == [0, 1, 2, 3, 4]
    assert buffer.snapshot().schema.metadata is None


def test_an_empty_buffer_has_the_columns_it_was_told() -> None:
    """A plot that reads a column of an empty snapshot does not fail."""
    empty = RollingBuffer(max_rows=1, max_bytes=1, max_age=1.0, schema=TRADES).snapshot()
    assert empty.schema == TRADES
    assert RollingBuffer(max_rows=1, max_bytes=1, max_age=None).snapshot().num_rows == 0


@pytest.mark.parametrize(
    "wrong",
    [{"max_rows": 0}, {"max_rows": 1.5}, {"max_rows": True}, {"max_bytes": -1}, {"max_age": 0}, {"max_age": math.nan}],
)
def test_impossible_bounds_are_refused(wrong: dict[str, float]) -> None:
    """A bound that is no bound is an error that names the value."""
    given_bounds = {"max_rows": 1, "max_bytes": 1, "max_age": None} | wrong
    with pytest.raises(UsageError, match=next(iter(wrong))):
        RollingBuffer(**given_bounds)  # type: ignore[arg-type]


def test_rows_of_another_table_are_refused() -> None:
    """Mixing tables in one buffer is an error in one line, and the buffer stays as it was."""
    buffer = RollingBuffer(max_rows=10, max_bytes=PLENTY, max_age=None, schema=TRADES)
    with pytest.raises(UsageError, match="does not fit") as caught:
        buffer.add(pa.record_batch([[]] * len(STATS), schema=STATS))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="time_column"):
        RollingBuffer(max_rows=1, max_bytes=1, max_age=1.0, time_column="n").add(rows(0, 1))
    assert buffer.counts == BufferCounts()


def test_readers_see_only_whole_states_while_a_writer_adds() -> None:
    """Readers on other threads never see a gap, a repeat or a half-done eviction, and never wait for a lock."""
    buffer = RollingBuffer(max_rows=500, max_bytes=PLENTY, max_age=None, schema=SCHEMA)
    stop = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        seen = 0
        while not stop.is_set():
            numbers = held(buffer)
            if numbers and (numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[-1] < seen):
                wrong.append(f"{numbers[:3]}…{numbers[-3:]} after {seen}")
            seen = numbers[-1] if numbers else seen

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for first in range(0, 7_000, 7):
        buffer.add(rows(first, 7))
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert held(buffer) == list(range(6_500, 7_000))
