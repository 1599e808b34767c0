"""What makes a directory a capture, and that nothing else is ever taken for one or turned into one."""

from __future__ import annotations

import json
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capture.faulty import DyingDisk, PowerCut, RefusingDisk
from wsresearch.capture.identity import Identity, create_identity, open_for_collecting, read_identity, replace_config
from wsresearch.capture.layout import Layout
from wsresearch.errors import CaptureError, CaptureTooNew, NotACapture, UsageError, WsresearchError
from wsresearch.schema import FORMAT_VERSION

CREATED = datetime(2026, 11, 23, 8, 42, tzinfo=UTC)
CONFIG = {"policy": "full-jitter(base=1.0, cap=30.0, floor=0.1)", "budget": [60, 300.0], "deep": {"idle": None}}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


def made(root: Path, **changes: Any) -> Layout:
    layout = Layout(root)
    values: dict[str, Any] = {
        "venue": "binance",
        "symbols": ["btcusdt", "ethusdt"],
        "config": CONFIG,
        "created": CREATED,
    }
    create_identity(layout, **(values | changes))
    return layout


def line(error: pytest.ExceptionInfo[WsresearchError]) -> str:
    """The message, which must be one line that can be printed anywhere."""
    text = str(error.value)
    assert text.isprintable()
    return text


def test_a_capture_says_what_it_is_of(tmp_path: Path) -> None:
    """What was written down at the start is read back as it was, by us and by any JSON reader."""
    layout = made(tmp_path / "btc")
    assert read_identity(layout) == Identity(
        format_version=FORMAT_VERSION, created=CREATED, venue="binance", symbols=("btcusdt", "ethusdt"), config=CONFIG
    )
    assert json.loads(layout.identity.read_bytes()) == {
        "format_version": 1,
        "created": "2026-11-23T08:42:00+00:00",
        "venue": "binance",
        "symbols": ["btcusdt", "ethusdt"],
        "config": CONFIG,
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_any_configuration_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]
) -> None:
    """The configuration belongs to the collector: whatever JSON it is, nothing is changed in it."""
    layout = made(tmp_path_factory.mktemp("any") / "capture", config=config)
    assert read_identity(layout).config == config


def test_only_the_owner_gets_in_and_parents_are_made(tmp_path: Path) -> None:
    """Folders 0700, file 0600, whatever the umask; an empty directory that is adopted is closed too."""
    before = os.umask(0o777)
    try:
        layout = made(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(layout.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(layout.identity.stat().st_mode) == 0o600
    (tmp_path / "empty").mkdir(mode=0o755)
    assert stat.S_IMODE(made(tmp_path / "empty").root.stat().st_mode) == 0o700


def test_what_a_dead_collector_left_before_it_began_is_no_obstacle(tmp_path: Path) -> None:
    """A lock and a half-written file are ours: the directory still counts as empty, and is clean afterwards."""
    Layout(tmp_path).lock.write_bytes(b"{}")
    (tmp_path / ".capture.json.4711").write_bytes(b"{")
    made(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["capture.json", "lock"]


@pytest.mark.parametrize("name", ["notes.txt", ".ssh", "trades", "locks"])
def test_a_directory_of_other_things_is_refused_and_untouched(tmp_path: Path, name: str) -> None:
    """A mistyped path never fills somebody's folder with market data."""
    (tmp_path / name).write_bytes(b"mine")
    (tmp_path).chmod(0o755)
    with pytest.raises(NotACapture) as error:
        made(tmp_path)
    assert repr(name) in line(error)
    assert repr(str(tmp_path)) in line(error)
    assert "empty directory" in line(error)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """A path to a file is named as that, for reading and for making."""
    (tmp_path / "file").write_bytes(b"mine")
    for call in (lambda: made(tmp_path / "file"), lambda: read_identity(Layout(tmp_path / "file"))):
        with pytest.raises(NotACapture) as error:
            call()
        assert "file" in line(error)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_capture_is_not_made_twice(tmp_path: Path) -> None:
    """What a capture is of never changes under those who read it."""
    layout = made(tmp_path)
    before = layout.identity.read_bytes()
    with pytest.raises(UsageError) as error:
        made(tmp_path, venue="kraken")
    assert "already" in line(error)
    assert layout.identity.read_bytes() == before


def test_reading_where_nothing_is_says_so(tmp_path: Path) -> None:
    """A directory without capture.json, and none at all, are no captures; none is made by looking."""
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotACapture) as error:
            read_identity(Layout(root))
        assert repr(str(root)) in line(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format_version": 1}',
        b'{"format_version": "1"}',
        b'{"format_version": true}',
        b'{"format_version": 0}',
        b'{"format_version": 1.5}',
        b'{"format_version": ' + b"9" * 5000 + b"}",
        b'{"format_version": 1, "created": "yesterday", "venue": "binance", "symbols": [], "config": {}}',
        b'{"format_version": 1, "created": "2026-11-23T08:42:00", "venue": "binance", "symbols": [], "config": {}}',
        b'{"format_version": 1, "created": "2026-11-23T08:42:00Z", "venue": 7, "symbols": [], "config": {}}',
        b'{"format_version": 1, "created": "2026-11-23T08:42:00Z", "venue": "binance", "symbols": "btc", "config": {}}',
        b'{"format_version": 1, "created": "2026-11-23T08:42:00Z", "venue": "binance", "symbols": [], "config": []}',
        b'{"format_version": 1, "\x1b[31m": "<script>", "created": "\x1b[31m"}',
    ],
)
def test_garbage_is_no_capture_and_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    """A damaged capture.json is told in one printable line, and nobody writes over it."""
    layout = Layout(tmp_path)
    layout.identity.write_bytes(content)
    for call in (
        lambda: read_identity(layout),
        lambda: made(tmp_path),
        lambda: replace_config(layout, {}),
        lambda: open_for_collecting(tmp_path, identity={"venue": "binance", "symbols": []}, config={}),
    ):
        with pytest.raises(NotACapture) as error:
            call()
        assert "capture.json" in line(error)
    assert layout.identity.read_bytes() == content


@pytest.mark.parametrize("rest", [{}, {"venue": ["several"], "config": 7}])
def test_a_capture_of_a_later_version_is_refused_and_untouched(tmp_path: Path, rest: dict[str, Any]) -> None:
    """Whatever a later version means by its fields, this one does not guess and does not touch."""
    layout = Layout(tmp_path)
    content = json.dumps({"format_version": FORMAT_VERSION + 1, **rest}).encode()
    layout.identity.write_bytes(content)
    for call in (
        lambda: read_identity(layout),
        lambda: made(tmp_path),
        lambda: replace_config(layout, {}),
        lambda: open_for_collecting(tmp_path, identity={"venue": "binance", "symbols": []}, config={}),
    ):
        with pytest.raises(CaptureTooNew) as error:
            call()
        assert f"version {FORMAT_VERSION + 1}" in line(error)
    assert layout.identity.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_unknown_fields_of_this_version_are_no_obstacle(tmp_path: Path) -> None:
    """A field that another program of the same version added does not lock anybody out."""
    layout = made(tmp_path)
    layout.identity.write_text(json.dumps(json.loads(layout.identity.read_bytes()) | {"note": "mine"}))
    assert read_identity(layout).venue == "binance"


def test_a_link_or_a_pipe_is_no_capture_json(tmp_path: Path) -> None:
    """A capture is one directory: a link out of it is not followed, and a pipe holds nobody up."""
    real = made(tmp_path / "real")
    for name, make in (("link", lambda path: path.symlink_to(real.identity)), ("pipe", os.mkfifo)):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "capture.json")
        with pytest.raises(NotACapture):
            read_identity(Layout(tmp_path / name))


@pytest.mark.parametrize("config", [{"a": float("nan")}, {"a": object()}, {"a": b""}, {"a": "\ud800"}, {1: {2, 3}}])
def test_a_configuration_that_is_no_json_is_refused_before_anything_is_made(
    tmp_path: Path, config: dict[Any, Any]
) -> None:
    """What could not be read back later is not written."""
    with pytest.raises(UsageError) as error:
        made(tmp_path / "new", config=config)
    assert "JSON" in line(error)
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_can_be_replaced_and_nothing_else(tmp_path: Path) -> None:
    """The next run may collect in another way; what the capture is of stays."""
    layout = made(tmp_path)
    replaced = replace_config(layout, {"policy": "seed"})
    assert replaced == read_identity(layout)
    assert (replaced.config, replaced.created, replaced.symbols) == (
        {"policy": "seed"},
        CREATED,
        ("btcusdt", "ethusdt"),
    )
    assert stat.S_IMODE(layout.identity.stat().st_mode) == 0o600


def test_collecting_again_needs_the_same_venue_and_symbols(tmp_path: Path) -> None:
    """A second run goes on with the same capture; other instruments never mix into it."""
    identity = {"venue": "binance", "symbols": ["btcusdt"]}
    first = open_for_collecting(tmp_path / "btc", identity=identity, config={"a": 1})
    assert open_for_collecting(tmp_path / "btc", identity=identity, config={"a": 2}) == first
    for other, named in (({"venue": "kraken"}, "'kraken'"), ({"symbols": ["ethusdt"]}, "'ethusdt'")):
        with pytest.raises(UsageError) as error:
            open_for_collecting(tmp_path / "btc", identity=identity | other, config={})
        assert named in line(error)
    assert read_identity(Layout(tmp_path / "btc")) == first


def test_a_directory_that_may_not_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    """A full or forbidden disk is an error of ours, with the path and what to do."""
    for at in range(1, 30):
        disk = RefusingDisk(at=at)
        told = ""
        try:
            made(tmp_path / str(at), disk=disk)
        except CaptureError as error:
            told = str(error)
        if disk.calls < at:
            assert told == ""
            break
        assert "No space left" in told
        assert repr(str(tmp_path / str(at))) in told
        assert {path.name for path in (tmp_path / str(at)).glob("*")} <= {"capture.json"}
        open_for_collecting(
            tmp_path / str(at), identity={"venue": "binance", "symbols": ["btcusdt", "ethusdt"]}, config={}
        )
    else:
        raise AssertionError("it was never made")


@pytest.mark.parametrize("half", [True, False])
def test_power_lost_at_any_step_leaves_a_capture_or_none(tmp_path: Path, half: bool) -> None:
    """A capture.json is whole or not there, and making it again works."""
    for at in range(1, 30):
        root = tmp_path / str(at)
        try:
            made(root, disk=DyingDisk(at=at, half=half))
        except PowerCut:
            pass
        else:
            break
        identity = {"venue": "binance", "symbols": ["btcusdt", "ethusdt"]}
        assert open_for_collecting(root, identity=identity, config=CONFIG).config == CONFIG
        assert [path.name for path in root.iterdir()] == ["capture.json"]
        before = read_identity(Layout(root))
        for step in range(1, 30):
            try:
                replace_config(Layout(root), {"at": step}, disk=DyingDisk(at=step, half=half))
            except PowerCut:
                assert read_identity(Layout(root)).config in (before.config, {"at": step})
            else:
                break
    else:
        raise AssertionError("it was never made")


def test_three_that_begin_at_once_find_one_capture(tmp_path: Path) -> None:
    """Collectors started at the same moment on a new directory all find the capture that one of them made."""
    for number in range(20):
        root, barrier = tmp_path / str(number), threading.Barrier(3)
        found: list[object] = []

        def begin(root: Path = root, barrier: threading.Barrier = barrier, found: list[object] = found) -> None:
            barrier.wait()
            try:
                opened = open_for_collecting(root, identity={"venue": "v", "symbols": ["A"]}, config={})
                found.append((opened.venue, opened.symbols))
            except CaptureError as error:
                found.append(error)

        threads = [threading.Thread(target=begin) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [("v", ("A",))] * 3
