"""Recordings: played as they are, or refused with the file, the line and what is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from wsresearch.errors import TapeError
from wsresearch.lab.message import Message, as_combined
from wsresearch.lab.recording import Others, Recording
from wsresearch.venues.binance_wire import Form, Unit

TRADE = (
    '{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":%d,"p":"61837.63","q":"0.02","T":1723161255342,"m":true,"M":true}'
)
SPOT = "recordings/binance/spot-btcusdt-trade-2024-08-08.txt.gz"
MIXED = "recordings/binance/spot-btcusdt-mixed-2024-08-08.txt.gz"


def _combined(trade_id: int, at: int) -> str:
    return f'{at} {{"stream":"btcusdt@trade","data":{TRADE % trade_id}}}'


def _write(folder: Path, *lines: str, name: str = "tape.txt") -> Path:
    path = folder / name
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def _wire(message: Message, form: Form) -> bytes:
    return message.wire(form=form, unit=Unit.MILLISECOND, now_ns=0, futures=False)


@pytest.mark.parametrize("name", ["tape.txt", "tape.txt.gz"])
def test_plain_and_gzip(tmp_path: Path, name: str) -> None:
    """Both kinds of file are read, and due times begin at 0."""
    path = _write(tmp_path, _combined(7, 1_000), _combined(8, 3_000), name=name)
    messages = Recording(path=str(path)).messages()
    assert [(m.trade_id, m.due_ns) for m in messages] == [(7, 0), (8, 2_000)]
    assert messages[0].stream == "btcusdt@trade"
    assert messages[0].trade_time_us == 1_723_161_255_342_000


def test_both_forms_from_either_form(tmp_path: Path) -> None:
    """A recording of one form is served in the other too, with every byte of the event kept."""
    raw = f"1000 {TRADE % 7}"
    from_raw, from_combined = Recording(path=str(_write(tmp_path, raw, _combined(7, 2_000)))).messages()
    for message in (from_raw, from_combined):
        assert _wire(message, Form.RAW) == (TRADE % 7).encode()
        assert _wire(message, Form.COMBINED) == as_combined((TRADE % 7).encode(), "btcusdt@trade")


def test_other_spacing_is_kept_as_an_event(tmp_path: Path) -> None:
    """A line written with spaces, by another recorder, still gives the event in both forms."""
    event = '{"e": "trade", "E": 1, "s": "A", "t": 1, "p": "1", "q": "1", "T": 1, "m": false}'
    line = f'5 {{"data": {event}, "stream": "a@trade"}}'
    (message,) = Recording(path=str(_write(tmp_path, line))).messages()
    assert json.loads(_wire(message, Form.COMBINED))["data"]["t"] == json.loads(_wire(message, Form.RAW))["t"] == 1


def test_speed_and_rate(tmp_path: Path) -> None:
    """`speed` divides the recorded times; `rate` spaces the messages evenly instead."""
    path = str(_write(tmp_path, _combined(1, 0), _combined(2, 10_000), _combined(3, 40_000)))
    assert [m.due_ns for m in Recording(path=path, speed=10).messages()] == [0, 1_000, 4_000]
    assert [m.due_ns for m in Recording(path=path, rate=1_000).messages()] == [0, 10**6, 2 * 10**6]


def test_times_that_step_back(tmp_path: Path) -> None:
    """The order of the file is kept, whatever the recorder's clock did."""
    path = str(_write(tmp_path, _combined(1, 5_000), _combined(2, 1_000), _combined(3, 6_000)))
    assert [(m.trade_id, m.due_ns) for m in Recording(path=path).messages()] == [(1, 0), (2, 0), (3, 1_000)]


def test_others_are_kept_or_skipped(tmp_path: Path) -> None:
    """Messages that are no trades are played as they are, unless they are not wanted."""
    other = '2000 {"stream":"btcusdt@bookTicker","data":{"u":1}}'
    bare = '3000 {"lastUpdateId":1}'
    path = str(_write(tmp_path, _combined(1, 1_000), other, bare))
    kept = Recording(path=path).messages()
    assert [m.stream for m in kept] == ["btcusdt@trade", "btcusdt@bookTicker", ""]
    assert _wire(kept[1], Form.COMBINED) == other.split(" ", 1)[1].encode()
    assert _wire(kept[2], Form.COMBINED) == b'{"lastUpdateId":1}'
    assert [m.trade_id for m in Recording(path=path, others=Others.SKIP).messages()] == [1]


def test_microsecond_times(tmp_path: Path) -> None:
    """A recording made with timeUnit=MICROSECOND is told by the size of its times."""
    line = f"1 {TRADE % 1}".replace("1723161255342", "1723161255342123")
    (message,) = Recording(path=str(_write(tmp_path, line))).messages()
    assert message.trade_time_us == 1_723_161_255_342_123


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "empty"),
        (["hello"], r"line 1 is no recorded message.*'hello'"),
        (["1617566591.326123: {}"], "line 1 is no recorded message"),
        ([_combined(1, 1), '2 {"stream":"btcusdt@tr'], "line 2 is cut or no JSON"),
        ([_combined(1, 1), "", _combined(2, 3)], "line 2 is no recorded message"),
        (["1 [1,2]"], "line 1 is no JSON object"),
        (["1 " + TRADE.replace('"t":%d', '"t":"7"')], "line 1 holds a trade that cannot be served.*int"),
        (["1 " + TRADE.replace("61837.63", "1e5") % 1], "'1e5' is no decimal"),
        (["1 " + TRADE % -1], "id -1"),
        (["1 " + TRADE % 2**63], "id 9223372036854775808"),
        (["1 " + "[" * 100_000], "line 1 is cut or no JSON"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, lines: list[str], says: str) -> None:
    """Every kind of damage is named with its line, before anything is served."""
    path = _write(tmp_path, *lines)
    with pytest.raises(TapeError, match=says) as caught:
        Recording(path=str(path)).messages()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_gzip_although_named_so(tmp_path: Path) -> None:
    """A plain file under the name of a gzip one is refused in words, not with a codec error."""
    path = tmp_path / "tape.txt.gz"
    path.write_text(_combined(1, 1))
    with pytest.raises(TapeError, match="not gzip although named"):
        Recording(path=str(path)).messages()


@pytest.mark.parametrize("keep", [1, 5, 20, 200, -9, -8, -1])
def test_cut_gzip(tmp_path: Path, keep: int) -> None:
    """A gzip file cut anywhere is refused."""
    whole = _write(tmp_path, *(_combined(n, n) for n in range(200)), name="whole.gz").read_bytes()
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[:keep])
    with pytest.raises(TapeError, match=r"cut|not gzip"):
        Recording(path=str(path)).messages()


def test_damaged_gzip(tmp_path: Path) -> None:
    """A flipped byte is found by gzip's own check."""
    whole = bytearray(_write(tmp_path, *(_combined(n, n) for n in range(200)), name="whole.gz").read_bytes())
    whole[len(whole) // 2] ^= 0x55
    path = tmp_path / "bad.gz"
    path.write_bytes(whole)
    with pytest.raises(TapeError, match=r"bad\.gz: (damaged|cut|line)"):
        Recording(path=str(path)).messages()


@pytest.mark.parametrize("where", ["nothing.txt", "."])
def test_no_file(tmp_path: Path, where: str) -> None:
    """A path that is no file is said to be one."""
    with pytest.raises(TapeError, match="cannot be read"):
        Recording(path=str(tmp_path / where)).messages()


@pytest.mark.parametrize("options", [{"speed": 0}, {"speed": float("inf")}, {"rate": -1}, {"rate": 5, "speed": 2}])
def test_impossible_timing(options: dict[str, float]) -> None:
    """A speed or rate that is none is refused before the file is looked at."""
    with pytest.raises(TapeError, match=r"speed|rate"):
        Recording(path="unread", **options)  # type: ignore[arg-type]


def test_the_real_recording(shared: Path) -> None:
    """19,904 real trades are read with every byte of theirs, in order, without a hole."""
    path = shared / SPOT
    messages = Recording(path=str(path), speed=10).messages()
    assert [m.trade_id for m in messages] == list(range(3735683259, 3735703162 + 1))
    assert messages[-1].due_ns == pytest.approx(65.04e9, rel=1e-3)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert all(_wire(m, Form.COMBINED) == line.split(b" ", 1)[1] for m, line in zip(messages, lines, strict=True))


def test_the_mixed_recording(shared: Path) -> None:
    """Book messages and a REST snapshot between the trades are kept, or skipped."""
    path = str(shared / MIXED)
    assert len(Recording(path=path).messages()) == 41_249
    assert len(Recording(path=path, others=Others.SKIP).messages()) == 9_757
