"""What SECURITY.md promises, where no other test is nearer to it: secrets, foreign text, links and pipes, the code."""

from __future__ import annotations

import ast
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.capture.recorded import Recorded, trade_rows
from wsresearch.api import Capture, make_config
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover
from wsresearch.capture.verify import verify
from wsresearch.cli import main
from wsresearch.collect.status import read_status
from wsresearch.errors import CaptureError, UsageError, WsresearchError
from wsresearch.lab import Tape, start
from wsresearch.schema import TableName

PACKAGE = Path(__file__).resolve().parents[1] / "wsresearch"
CANARY = "s3cretcanary"


# -- the code -----------------------------------------------------------------------------------------------------


def _trees() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield str(path.relative_to(PACKAGE)), node


def test_nothing_that_is_read_can_become_code() -> None:
    """No pickle or anything like it is imported, nothing is evaluated, no array is loaded with objects in it."""
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}
    for path, node in _trees():
        if isinstance(node, ast.Import):
            assert not modules & {alias.name.partition(".")[0] for alias in node.names}, path
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in modules, path
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            assert not (isinstance(node.func, ast.Name) and called in {"eval", "exec", "compile"}), path
            assert called not in {"read_pickle", "to_pickle", "deserialize_pandas"}, path
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            assert "allow_pickle" not in given, path
            shell = given.get("shell")
            assert shell is None or (isinstance(shell, ast.Constant) and shell.value is False), path


def test_no_line_turns_the_verification_of_certificates_off() -> None:
    """There is no switch that could be left on by mistake; `tests/collect/test_transport.py` shows that it works."""
    words = {"CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context", "PROTOCOL_TLS", "set_ciphers"}
    settings = {"verify_mode", "check_hostname", "verify"}
    for path, node in _trees():
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        assert name not in words, path
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assert not settings & {target.attr for target in targets if isinstance(target, ast.Attribute)}, path
        if isinstance(node, ast.Call):
            assert not settings & {keyword.arg for keyword in node.keywords}, path


# -- secrets ------------------------------------------------------------------------------------------------------


def texts_in(root: Path) -> Iterator[tuple[str, str]]:
    """Every file of a capture as text: tables as their values and metadata, all else as it is."""
    for path in sorted(root.rglob("*")):
        if path.suffix == ".parquet":
            yield str(path), str(pq.read_table(path).to_pydict())
            yield str(path), str(pq.read_schema(path).metadata)
        elif path.is_file():
            yield str(path), path.read_bytes().decode(errors="replace")


def wrong_addresses() -> list[str]:
    """Addresses that carry the canary, each in another place."""
    return [
        f"ws://me:{CANARY}@127.0.0.1:9",
        f"ws://me:{CANARY}/x@127.0.0.1:9",
        f"ws:me:{CANARY}@127.0.0.1",
        f"me:{CANARY}@127.0.0.1",
        f"ws://127.0.0.1:9/?apiKey={CANARY}",
        f"ws://127.0.0.1:9/#token={CANARY}",
        f"wss://127.0.0.1:port?token={CANARY}",
        f"http://me:{CANARY}@127.0.0.1",
    ]


def test_a_secret_in_an_address_is_refused_and_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Credentials and keys have no place in --url; the error that says so does not print them."""
    caplog.set_level(logging.DEBUG)
    for url in wrong_addresses():
        with pytest.raises(UsageError) as caught:
            make_config("binance:btcusdt", tmp_path / "c", url=url)
        assert CANARY not in f"{caught.value} {caught.value!r}"
        assert caught.value.__cause__ is None or CANARY not in str(caught.value.__cause__)
    url = f"ws://me:{CANARY}@127.0.0.1:9"
    assert main(["collect", "binance:btcusdt", "--out", str(tmp_path / "c"), "--url", url]) == 2
    out, err = capsys.readouterr()
    assert CANARY not in out + err + caplog.text
    assert list(tmp_path.iterdir()) == []


def _said(root: Path) -> list[str]:
    try:
        return [text for text in Reader(root).events()["detail"].to_pylist() if text]
    except CaptureError:
        return []


def test_secrets_in_what_a_server_says_are_nowhere_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Close reasons and HTTP bodies that carry them: no file of the capture, log, screen, repr or page has them."""
    root = tmp_path / "c"
    first = {"fault": "close", "code": 1011, "reason": f"first, see wss://me:{CANARY}@h/x?token={CANARY}"}
    second = {"fault": "close", "code": 1008, "reason": f"second X-MBX-APIKEY: {CANARY}"}
    third = {"fault": "http", "status": 503, "body": f'third {{"apiKey":"{CANARY}"}} token={CANARY}', "for": 60}
    with start(Tape.generate(("BTCUSDT",), rate=200.0, seed=1)) as rude:
        command = [sys.executable, "-m", "wsresearch", "collect", "binance:btcusdt", "--out", str(root)]
        options = ["--url", rude.url, "--policy", "constant", "--policy-arg", "delay=0.05", "--reset", "open"]
        with subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as collector:

            def comes(what: Callable[[], bool]) -> None:
                while not what():
                    assert collector.poll() is None, "the collector ended by itself"
                    time.sleep(0.02)

            try:
                for word, faults in (("first", [first]), ("second", [second]), ("third", [third, {"fault": "reset"}])):
                    comes(lambda: rude.status().connections > 0)
                    for fault in faults:
                        rude.inject({"at": 0, **fault})
                    comes(lambda word=word: any(word in text for text in _said(root)))  # type: ignore[misc]
            finally:
                collector.send_signal(signal.SIGINT)
            screen, _ = collector.communicate()
    said = " ".join(_said(root))
    assert all(word in said for word in ("first", "second", "third", "…")), said
    page = tmp_path / "page.html"
    for arguments in (["status"], ["status", "--json"], ["report"], ["report", "--json"], ["verify"], ["recover"]):
        main([arguments[0], str(root), *arguments[1:]])
    main(["report", str(root), "--out", str(page)])
    out, err = capsys.readouterr()
    capture = Capture(root)
    shown = [screen, out, err, repr(capture), capture._repr_html_(), repr(capture.status), page.read_text()]
    assert not [text[:200] for text in shown if CANARY in text]
    assert not [path for path, text in texts_in(root) if CANARY in text]


# -- foreign text ---------------------------------------------------------------------------------------------------

HOSTILE = [
    "../x",
    "/etc/passwd",
    ".",
    "A\0B",
    "X" * 300,
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egpj.exe",
    "<script>alert(1)</script>",
    "币安人生USDT",
    "A\nB\rC",
    "%s%n{0}",
]


def test_hostile_symbols_and_texts_do_no_harm_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names like paths, markup and escape sequences are stored as they are and shown as text, in every command."""
    capture = Recorded(tmp_path / "c")
    capture.event("run_started")
    for number, text in enumerate(HOSTILE):
        capture.append(TableName.TRADES, trade_rows([1, 5], symbol=text, start=capture.now + number * 2 * 10**9))
        capture.event("hole", symbol=text, first_id=2, last_id=4, detail=text, cause=text, connection=1)
        capture.event(
            "lost", cause=text, detail=text, connection=1, outage=number + 1, close_by=text, peer=text, waited=1.0
        )
        main(["status", str(capture.root)])
    capture.event("stopped")
    capture.stop()
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())
    assert Reader(capture.root).trades(columns=["symbol"])["symbol"].to_pylist()[::2] == HOSTILE
    page = tmp_path / "page.html"
    for arguments in (
        ["status"],
        ["status", "--json"],
        ["report"],
        ["report", "--json"],
        ["verify"],
        ["verify", "--json"],
    ):
        main([arguments[0], str(capture.root), *arguments[1:]])
        out, err = capsys.readouterr()
        if arguments[1:]:
            assert json.loads(out)
        else:
            assert all(line.isprintable() for line in (out + err).splitlines()), arguments
    assert main(["report", str(capture.root), "--out", str(page)]) == 0
    assert "<script>alert" not in page.read_text()
    assert "<script>alert" not in Capture(capture.root)._repr_html_()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "page.html"]


NOTES = [
    b"<script>alert(1)</script>\x1b[31m",
    b"\xff",
    b"[1]",
    b"null",
    b'{"run": "1"}',
    b'{"run": 1, "cause": 5}',
    b'{"run": 1, "entered": 5}',
    b'{"run": 1, "entered": {"time": "<b>", "kind": "opened"}}',
    b'{"run": 1, "entered": {"time": 1, "kind": "<b>"}}',
]


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("table", list(TableName))
def test_hostile_notes_in_parquet_are_told_and_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: TableName, note: bytes
) -> None:
    """Metadata may say anything: one printable line for who asks, no traceback, and rows are read all the same."""
    capture = Recorded(tmp_path / "c")
    capture.event("run_started")
    capture.trade(5)
    capture.second(trades=5)
    capture.event("stopped")
    capture.stop()
    for path in (capture.root / table).glob("*/*.parquet"):
        rows = pq.ParquetFile(path).read()
        told = dict.fromkeys((b"wsresearch.marks", b"wsresearch.numbers", b"wsresearch.totals"), note)
        pq.write_table(rows.replace_schema_metadata({**(rows.schema.metadata or {}), **told, note: note}), path)
    assert Reader(capture.root).trades().num_rows == 5
    for command in (["status"], ["report"], ["verify"], ["status", "--json"]):
        main([command[0], str(capture.root), *command[1:]])
        out, err = capsys.readouterr()
        assert all(line.isprintable() for line in (out + err).splitlines()), command
        assert "Traceback" not in err
    with suppress(CaptureError):
        make_config("binance:btcusdt", capture.root)
        read_status(capture.root)


# -- links and pipes ------------------------------------------------------------------------------------------------


def _a_capture(root: Path) -> Recorded:
    """One with journals, indexes, sealed files, quarantine and a lock."""
    capture = Recorded(root)
    capture.event("run_started")
    capture.trade(5)
    capture.rotate()
    capture.seal()
    capture.trade(5)
    capture.second(trades=10)
    capture.kill()
    (root / "lock").write_text("{}")
    (root / "quarantine").mkdir()
    return capture


def _everything(root: Path) -> list[str]:
    """Do everything there is to do with a capture; return what was said, errors of ours included."""
    said = []
    for use in (
        lambda: Reader(root).trades().to_pylist(),
        lambda: Reader(root).events().to_pylist(),
        lambda: Reader(root).totals(),
        lambda: Reader(root).follow(backfill="1h").poll(),
        lambda: Capture(root).status,
        lambda: verify(root),
        lambda: main(["recover", str(root)]),
        lambda: Reader(root).trades().to_pylist(),
        lambda: Reader(root).totals(),
        lambda: verify(root),
    ):
        try:
            said.append(repr(use()))
        except (WsresearchError, OSError) as error:
            said.append(str(error))
    return said


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_nothing_but_files_and_folders_of_ours_is_opened(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the place of any file or folder of a capture: a link is not followed, a pipe waited for, a folder read."""
    probe = _a_capture(tmp_path / "probe")
    names = sorted(str(path.relative_to(probe.root)) for path in probe.root.rglob("*"))
    assert len(names) > 12
    for number, name in enumerate(names):
        root = _a_capture(tmp_path / str(number)).root
        outside = tmp_path / f"outside-{number}"
        path = root / name
        is_folder = path.is_dir()
        path.rename(outside)
        before = content(outside)
        match what:
            case "link":
                path.symlink_to(outside)
            case "dangling link":
                path.symlink_to(tmp_path / f"nowhere-{number}")
            case "pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
        said = _everything(root)
        assert content(outside) == before, f"{name}: something outside of the capture was changed"
        assert not (tmp_path / f"nowhere-{number}").exists(), f"{name}: something was made outside of the capture"
        rows = said[0].count("'trade_id'")
        assert rows <= 10
        if name.endswith((".parquet", ".arrows", ".idx")) and "trades" in name:
            assert rows == 5, f"{name}: {rows} rows were read"
        if what == "folder" and is_folder:
            assert not [text for text in said if "Error" in text]
    capsys.readouterr()


def content(path: Path) -> object:
    """Every file in a folder with its bytes, or those of one file."""
    if path.is_dir():
        return {str(found.relative_to(path)): content(found) for found in sorted(path.rglob("*")) if found.is_file()}
    return path.read_bytes()


# -- a capture that contradicts itself --------------------------------------------------------------------------------


def test_a_journal_without_its_index_is_counted_as_it_is_read(tmp_path: Path) -> None:
    """None of its rows can be told from rubbish: totals, status and tables say so alike, and raise nothing."""
    capture = Recorded(tmp_path / "c")
    capture.trade(5)
    capture.kill()
    (segment,) = capture.layout.journals(TableName.TRADES)
    capture.layout.index_path(segment).unlink()
    reader = Reader(capture.root)
    assert reader.trades().num_rows == 0
    assert reader.totals().trades == 0
    assert [known.rows for known in reader.segments(TableName.TRADES)] == [0]
    assert reader.trades(last="1min").num_rows == 0
    assert recover(capture.root).quarantined
    with suppress(CaptureError):
        verify(capture.root)
    assert Layout(capture.root).journals(TableName.TRADES) == []
