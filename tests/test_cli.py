"""The command line: exit codes, one clear line for wrong use, and JSON that programs can rely on."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from tests.capture.made import NOON, events, trades
from tests.capture.recorded import Recorded
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.writer import CaptureWriter
from wsresearch.cli import main
from wsresearch.lab import ExchangeProcess, Tape, start
from wsresearch.reconnect.presets import POLICIES, PRESETS
from wsresearch.schema import EVENTS, TRADES, TableName
from wsresearch.study import LISTINGS

STATUS_KEYS = {
    *("state", "pid", "run", "connection", "attempt", "next_delay", "messages", "trades", "bytes", "rejected"),
    *("dropped", "holes", "since", "cause"),
}
VERIFY_KEYS = {"ok", "rows", "segments", "duplicates", "symbols", "holes", "problems", "pruned"}
OUTAGE_KEYS = {
    *("cause", "attempts", "waited", "silence", "detect", "connect", "first_message", "ids_lost", "censored"),
}
COLLECT = ["collect", "binance:btcusdt", "--out", "x"]


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeProcess]:
    with start(Tape.generate(("BTCUSDT",), rate=200.0, seed=1)) as running:
        yield running


@pytest.fixture(scope="module")
def capture(exchange: ExchangeProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small capture that was collected and stopped."""
    root = tmp_path_factory.mktemp("cli") / "capture"
    assert main(["collect", "binance:btcusdt", "--out", str(root), "--url", exchange.url, "--duration", "1.5"]) == 0
    return root


def tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["collect", "kraken:btc", "--out", "x"], ["'kraken'", "binance"]),
        (["collect", "binance:../x", "--out", "x"], ["'../x'", "btcusdt"]),
        (["collect", "btcusdt", "--out", "x"], ["'btcusdt'", "binance:btcusdt"]),
        ([*COLLECT, "--policy", "jittery"], ["'jittery'", "full-jitter"]),
        ([*COLLECT, "--policy-arg", "cap=-3"], ["cap", "-3"]),
        ([*COLLECT, "--policy-arg", "cap"], ["'cap'", "name=seconds"]),
        ([*COLLECT, "--policy-arg", "speed=3"], ["speed"]),
        ([*COLLECT, "--idle-timeout", "0"], ["idle-timeout", "0.1"]),
        ([*COLLECT, "--idle-timeout", "soon"], ["idle-timeout", "soon"]),
        ([*COLLECT, "--budget", "5"], ["budget", "60/300"]),
        ([*COLLECT, "--reset", "never"], ["'never'", "stable:60"]),
        ([*COLLECT, "--max-attempts", "0"], ["max-attempts", "0"]),
        ([*COLLECT, "--duration", "-1"], ["duration", "-1"]),
        ([*COLLECT, "--policy-arg", "base=40"], ["cap", "'30.0'", "not given", "full-jitter(base=1.0, cap=30.0"]),
        ([*COLLECT, "--duration", "inf"], ["duration", "finite number of seconds"]),
        ([*COLLECT, "--url", "http://h"], ["http://h", "scheme", "ws://"]),
        (["collect", "binance:btcusdt", "d1"], ["d1", "--out d1"]),
        (["prune", "x", "--before", "yesterday"], ["--before", "'yesterday'", "--keep 7d"]),
        (["storm", "--out", "nothere/a.png"], ["'nothere/a.png'", "no folder 'nothere'"]),
        (["report", "x", "--out", "nothere/a.html"], ["'nothere/a.html'", "no folder 'nothere'"]),
        (["report", "x", "--out", "."], ["'.'", "is a folder"]),
        ([*COLLECT, "--url", "ws://user:pass@h"], ["ws://"]),
        (["collect", "--out", "x"], ["wsresearch collect binance:btcusdt"]),
        (["collect", "binance:btcusdt"], ["directory"]),
        (["status", "nothere"], ["'nothere'"]),
        (["verify", "."], ["capture.json"]),
        (["stop", "."], ["capture.json"]),
        (["reconnect", "."], ["capture.json"]),
        (["report", "."], ["capture.json"]),
        (["recover", "."], ["capture.json"]),
        (["exchange", "--replay", "nothere.gz"], ["nothere.gz"]),
        (["exchange", "--rate", "-4"], ["rate", "-4"]),
        (["exchange", "--faults", "nothere.json"], ["nothere.json"]),
        (["storm", "--clients", "0"], ["clients", "'0'"]),
        (["storm", "--outage", "nan"], ["outage", "'nan'"]),
        (["storm", "--accept-rate", "-3"], ["accept_rate", "'-3.0'"]),
        (["storm", "--accept-rate", "fast"], ["'all'", "'fast'"]),
        (["storm", "--policy", "jittery"], ["'jittery'", "full-jitter", "seed-okhttp"]),
        (["storm", "--policy", "seed", "--mix", "seed=1"], ["--policy", "--mix"]),
        (["storm", "--mix", "full-jitter=0.5,seed=0.4"], ["0.5 + 0.4 = 0.9"]),
        (["storm", "--per-address", "5"], ["--per-address", "60/300", "'5'"]),
        (["storm", "--queue", "few"], ["--queue", "few"]),
        (["storm", "--retry-after", "0"], ["retry_after", "'0.0'"]),
        (["storm", "--retry-after", "9", "--no-answer"], ["retry_after", "9"]),
        (["storm", "--out", "storm.jpg"], [".png", "'storm.jpg'"]),
        (["storm", "--seed", "-1"], ["--seed", "-1"]),
        (["frobnicate"], ["frobnicate"]),
        (["status", "--frob", "."], ["--frob"]),
    ],
)
def test_wrong_use_is_one_line_and_changes_nothing(
    arguments: list[str],
    says: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, one line on stderr that names the value and what to do, no traceback, an untouched disk."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    for text in says:
        assert text in err
    assert tree(tmp_path) == []


@pytest.mark.parametrize("damage", ["cut", "not gzip", "no recording", "empty"])
def test_a_bad_recording_is_named(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording that is cut or none at all is refused before anything is served, with file and reason."""
    path = tmp_path / "tape.txt.gz"
    line = b'1723161254087896568 {"stream":"btcusdt@trade","data":{"e":"trade"}}\n'
    whole = gzip.compress(b"".join(line.replace(b"68 ", b"%02d " % (n % 100)) for n in range(500)))
    content = {
        "cut": whole[:-20],
        "not gzip": line,
        "no recording": gzip.compress(b"hello\n"),
        "empty": gzip.compress(b""),
    }
    path.write_bytes(content[damage])
    assert main(["exchange", "--replay", str(path)]) == 2
    err = capsys.readouterr().err
    assert "tape.txt.gz" in err
    assert len(err.strip().splitlines()) == 1


def test_a_capture_of_a_newer_format_is_refused_untouched(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An old program does not guess at a new format, and leaves every byte as it is."""
    newer = tmp_path / "newer"
    shutil.copytree(capture, newer)
    document = json.loads((newer / "capture.json").read_text())
    (newer / "capture.json").write_text(json.dumps({**document, "format_version": 99}))
    before = tree(newer)
    for arguments in (["status"], ["verify"], ["report"], ["recover"], ["stop"]):
        assert main([*arguments, str(newer)]) == 2
    assert main(["collect", "binance:btcusdt", "--out", str(newer), "--duration", "1"]) == 2
    err = capsys.readouterr().err
    assert err.count("99") == 6
    assert tree(newer) == before


def test_json_is_one_document_with_the_promised_keys(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What other programs read: exactly the documented keys, and nothing else on stdout."""
    assert main(["status", str(capture), "--json"]) == 1
    status = json.loads(capsys.readouterr().out)
    assert set(status) == STATUS_KEYS
    assert (status["state"], status["pid"]) == ("stopped", None)
    assert status["trades"] > 100
    assert main(["verify", str(capture), "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)
    assert set(verified) == VERIFY_KEYS
    assert verified["ok"] is True
    assert verified["rows"] == status["trades"]
    assert set(verified["symbols"]["BTCUSDT"]) == {"first_id", "last_id", "rows", "missing"}
    assert main(["report", str(capture), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {
        *("outages", "connections", "trades", "losses", "idle_timeout", "pruned"),
        *("starts", "symbols", "without_data", "lived"),
    }
    assert report["trades"] == status["trades"]


def test_json_is_ascii_whatever_a_peer_called_its_symbols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text of others steers no terminal and turns no line around, and programs read it as it was."""
    hostile = "\u202eTC\x1b[31m\x9b\u2066µ\U0001f4a3"
    root = tmp_path / "c"
    create_identity(Layout(root), venue="binance", symbols=[hostile], config={})
    rows = trades([1, 2, 9])
    named = rows.set_column(0, TRADES.field("symbol"), pa.array([hostile] * 3))
    told = events([1]).set_column(EVENTS.get_field_index("cause"), EVENTS.field("cause"), pa.array([hostile]))
    with CaptureWriter(root) as writer:
        writer.append(TableName.TRADES, named, now_ns=NOON)
        writer.append(TableName.EVENTS, told, now_ns=NOON)
    said = {}
    for command in ("status", "verify", "report"):
        main([command, str(root), "--json"])
        out = capsys.readouterr().out
        assert out.isascii()
        assert out.replace("\n", "").isprintable()
        said[command] = json.loads(out)
    assert list(said["verify"]["symbols"]) == [hostile]
    assert said["status"]["cause"] == hostile
    assert main(["storm", "--clients", "10", "--outage", "1", "--json"]) == 0
    assert capsys.readouterr().out.isascii()


def test_a_capture_that_never_connected_is_not_flawless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused three times, given up: report and verify say that and how long nothing came, not 'missing ids: 0'."""
    root = str(tmp_path / "c")
    policy = ["--policy", "constant", "--policy-arg", "delay=0.05", "--max-attempts", "2"]
    assert main(["collect", "binance:btcusdt", "--out", root, "--url", "ws://127.0.0.1:1", *policy]) == 4
    capsys.readouterr()
    assert main(["report", root]) == 0
    text = capsys.readouterr().out
    assert text.startswith("no outages: one begins with the last message of a connection, and no message ever came\n")
    assert re.search(
        r"^run 1 never connected in .* and gave up: 3 attempts, 3 failed, the last because the server refused .*$",
        text,
        re.MULTILINE,
    )
    assert re.search(r"^without data: (\d.*) of \1 \(100 %\)$", text, re.MULTILINE)
    for line in ("trades: 0 (BTCUSDT 0)", "BTCUSDT: no trade, ever", "missing ids: unknown, for no trade ever came"):
        assert line in text.splitlines()
    assert main(["report", root, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    [start_of_it] = told["starts"]
    assert (start_of_it["delivered"], start_of_it["ended"], start_of_it["cause"]) == (False, "gave_up", "refused")
    assert (start_of_it["attempts"], start_of_it["attempts_failed"]) == (3, 3)
    assert told["without_data"] == told["lived"] == start_of_it["silence"] > 0.1
    assert told["symbols"] == {"BTCUSDT": {"trades": 0, "removed": 0}}
    assert main(["verify", root]) == 0
    assert "note: BTCUSDT: no trade, ever, for no connection was ever opened" in capsys.readouterr().out


def test_a_symbol_that_the_venue_never_delivers_is_told(
    exchange: ExchangeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The venue says nothing of a name that it does not know: report, page and verify do."""
    root, page = str(tmp_path / "c"), tmp_path / "report.html"
    arguments = ["--out", root, "--url", exchange.url, "--duration", "1"]
    assert main(["collect", "binance:btcusdt,dogeusdt", *arguments]) == 0
    assert capsys.readouterr().out.endswith(" · the duration of 1 s is over\n")
    assert main(["report", root, "--out", str(page)]) == 0
    assert main(["report", root]) == 0
    words = "DOGEUSDT: no trade, ever: is the symbol right?"
    text = capsys.readouterr().out
    assert words in text.splitlines()
    assert re.search(r"^trades: ([\d,]+) \(BTCUSDT \1, DOGEUSDT 0\)$", text, re.MULTILINE)
    assert words in page.read_text(encoding="utf-8")
    assert main(["verify", root]) == 0
    verified = capsys.readouterr().out
    assert f"  note: {words}\n" in verified
    assert verified.endswith("all is well\n")


def test_the_report_is_one_file_without_script(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`report --out` writes a document that needs nothing from elsewhere."""
    page = tmp_path / "report.html"
    assert main(["report", str(capture), "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert 'src="http' not in text
    assert "data:image/png" in text
    assert "report.html" in capsys.readouterr().err


def test_background_life_by_commands_alone(
    exchange: ExchangeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Collect --detach, status 0, a second collector refused with the pid, reconnect, stop, status 1, stop again."""
    root = str(tmp_path / "c")
    arguments = ["collect", "binance:btcusdt", "--out", root, "--url", exchange.url]
    assert main([*arguments, "--detach", "--json"]) == 0
    started = json.loads(capsys.readouterr().out)
    assert set(started) == {"pid", "run"}
    try:
        assert main(["status", root]) == 0
        assert main([*arguments, "--duration", "1"]) == 2
        assert str(started["pid"]) in capsys.readouterr().err
        assert main(["recover", root]) == 2

        def reaches(name: str, least: int) -> None:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                capsys.readouterr()
                main(["status", root, "--json"])
                if json.loads(capsys.readouterr().out)[name] >= least:
                    return
                time.sleep(0.05)
            pytest.fail(f"no {least} {name}")

        reaches("trades", 1)
        assert main(["reconnect", root]) == 0
        reaches("connection", 2)
    finally:
        assert main(["stop", root]) == 0
    assert main(["status", root]) == 1
    assert main(["stop", root]) == 0
    assert "no collector was running" in capsys.readouterr().out
    assert main(["reconnect", root]) == 2
    assert main(["verify", root]) == 0
    assert main(["report", root]) == 0
    assert "reconnect" in capsys.readouterr().out


def test_a_killed_collector_is_failed_and_recover_mends_it(
    exchange: ExchangeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After kill -9 the status says so with exit code 3, and `recover` seals what was left."""
    root = tmp_path / "c"
    arguments = ["collect", "binance:btcusdt", "--out", str(root), "--url", exchange.url, "--detach", "--json"]
    assert main(arguments) == 0
    pid = json.loads(capsys.readouterr().out)["pid"]
    deadline = time.monotonic() + 20
    while not any((root / "journal").glob("trades-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(pid, 9)
    while main(["status", str(root), "--json"]) == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    capsys.readouterr()
    assert main(["status", str(root), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "failed"
    assert "killed" in told["cause"]
    assert main(["recover", str(root)]) == 0
    assert not list((root / "journal").iterdir())
    assert main(["verify", str(root)]) == 0


def test_a_prune_tells_what_would_go_and_does_it_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing goes without --yes; what goes is told by symbol; `verify` and the report go on to tell what went."""
    capture = Recorded(tmp_path / "c", rows=10)
    capture.event("run_started")
    capture.trade(200)
    capture.stop()
    root = str(capture.root)
    before = tree(capture.root)
    assert main(["prune", root, "--keep", "170s"]) == 0
    size = sum(path.stat().st_size for path in capture.layout.parquets(TableName.TRADES)[:2])
    assert capsys.readouterr().out.splitlines() == [
        f"would remove 20 trades of 2 segments ({size:,} bytes), received before 2026-11-23 12:00:29 UTC",
        "  from 2026-11-23 12:00:00 to 2026-11-23 12:00:19 UTC",
        "  BTCUSDT: 20 rows (1 to 20)",
        f"nothing was changed; to do it: wsresearch prune {root} --keep 170s --yes",
    ]
    assert tree(capture.root) == before
    stream = Reader(capture.root).batches()
    assert main(["prune", root, "--before", "2026-11-23T12:00:29Z", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["segments"], told["rows"], told["removed"]) == (False, 2, 20, 0)
    del stream
    assert main(["prune", root, "--keep", "1s", "--yes"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("removed 40 trades of 4 segments")
    assert "the newest 16 sealed segments stay" in out
    assert "bytes freed in 4 files" in out
    assert main(["verify", root]) == 0
    assert "40 trades of 4 segments, received until" in capsys.readouterr().out
    assert main(["verify", root, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pruned"]["rows"] == 40
    assert main(["report", root]) == 0
    assert "were removed by `prune`" in capsys.readouterr().out
    for wrong in ([], ["--keep", "7d", "--before", "2026-11-20"], ["--keep", "soon"], ["--before", "soon"]):
        assert main(["prune", root, *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_a_recovery_met_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage is named, and a journal that could not be sealed is an exit code: done is only what is done."""
    capture = Recorded(tmp_path / "c")
    capture.trade(3)
    capture.kill()
    (segment,) = capture.layout.journals(TableName.TRADES)
    with capture.layout.journal_path(segment).open("ab") as file:
        file.write(b"foreign bytes")
    in_the_way = capture.root / "trades"
    in_the_way.write_text("mine")
    assert main(["recover", str(capture.root)]) == 1
    out, _ = capsys.readouterr()
    assert f"could not be sealed yet: {segment}" in out
    assert "in the way of a folder" in out
    in_the_way.unlink()
    assert main(["recover", str(capture.root)]) == 0
    out, _ = capsys.readouterr()
    assert "sealed 1 segments" in out
    assert f"problem: {segment}: 13 bytes after record" in out


def test_giving_up_is_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against a port where nobody listens: the permitted attempts, then a loud end that status repeats as 3."""
    root = str(tmp_path / "c")
    arguments = ["collect", "binance:btcusdt", "--out", root, "--url", "ws://127.0.0.1:9", "--policy", "constant"]
    assert main([*arguments, "--policy-arg", "delay=0.05", "--max-attempts", "3", "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["cause"]) == ("gave_up", "refused")
    assert main(["status", root]) == 3


def test_progress_is_plain_lines_without_a_terminal_and_one_line_in_one(
    exchange: ExchangeProcess, tmp_path: Path
) -> None:
    """Logs stay readable in files, and a terminal shows one living line with rate and state."""
    command = [sys.executable, "-m", "wsresearch", "collect", "binance:btcusdt", "--url", exchange.url]
    plain = subprocess.run(
        [*command, "--out", str(tmp_path / "a"), "--duration", "1"], capture_output=True, text=True, check=True
    )
    assert "\r" not in plain.stderr
    assert "open" in plain.stderr
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "b"), "--duration", "1"], stdout=subprocess.PIPE, stderr=slave
    ) as child:
        os.close(slave)
        shown = b""
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:  # the terminal's other end is closed: Linux says EIO
                break
            if not chunk:
                break
            shown += chunk
        assert child.wait(20) == 0
    os.close(master)
    assert shown.count(b"\r\x1b[K") >= 3
    assert b"/s" in shown


@pytest.mark.parametrize("command", ["collect", "storm"])
def test_the_help_names_what_can_be_chosen(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to guess the name of a policy, and no name is told that there is not."""
    assert main([command, "--help"]) == 0
    text = "".join(capsys.readouterr().out.split())
    names = [*POLICIES, *PRESETS, *(LISTINGS if command == "storm" else ())]
    assert f":{','.join(names)}." in text


@pytest.mark.parametrize(
    "command", ["demo", "collect", "status", "stop", "reconnect", "report", "verify", "recover", "prune", "exchange"]
)
def test_every_command_has_a_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` says what a command does and what each option means."""
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) >= 5
    assert f"wsresearch {command}" in text


def test_no_command_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """`wsresearch` alone lists the commands, and its exit code says that nothing was done."""
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert "collect" in out
    assert len(out.splitlines()) > 10
    assert err == ""


def test_what_there_was_no_time_to_seal_is_told_and_is_there(
    exchange: ExchangeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C gives the prompt back in two seconds; what is still a journal then is named, read and sealed by hand."""
    monkeypatch.setattr("wsresearch.collect.leaving._SEALED", 0.0)
    root = tmp_path / "c"
    assert main(["collect", "binance:btcusdt", "--out", str(root), "--url", exchange.url, "--duration", "1"]) == 0
    told = capsys.readouterr().err
    assert "not sealed yet, but stored: trades-000000000001, events-000000000001, stats-000000000001" in told
    assert f"wsresearch recover {root}" in told
    rows = Reader(root).trades().num_rows
    assert rows > 10
    assert main(["verify", str(root)]) == 0
    assert main(["recover", str(root)]) == 0
    assert "sealed 3 segments" in capsys.readouterr().out
    assert Reader(root).trades().num_rows == rows
    assert not list((root / "journal").iterdir())


def test_collect_json_is_one_document(
    exchange: ExchangeProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run in the foreground ends with its status as JSON, and nothing else on stdout."""
    arguments = ["collect", "binance:btcusdt", "--out", str(tmp_path / "c"), "--url", exchange.url]
    assert main([*arguments, "--duration", "0.5", "--json"]) == 0
    out, err = capsys.readouterr()
    assert set(json.loads(out)) == STATUS_KEYS
    assert "open" in err


def test_ctrl_c_ends_a_run_cleanly(exchange: ExchangeProcess, tmp_path: Path) -> None:
    """SIGINT in a terminal is a stop like any other: sealed, exit code 0, no traceback."""
    command = [sys.executable, "-m", "wsresearch", "collect", "binance:btcusdt", "--url", exchange.url]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "c")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        assert any("open" in line for line in iter(child.stderr.readline, ""))
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert child.returncode == 0
    assert out.startswith("stopped")
    assert "Traceback" not in err
    assert not list((tmp_path / "c" / "journal").iterdir())


def test_a_permanent_failure_is_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that says 404 is not asked for ever: exit code 3, and status repeats it with the cause."""
    root = str(tmp_path / "c")
    with start(Tape.generate(("BTCUSDT",), rate=10.0, seed=1)) as gone:
        gone.inject({"fault": "http", "status": 404, "for": 60})
        assert main(["collect", "binance:btcusdt", "--out", root, "--url", gone.url, "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["cause"]) == ("failed", "http_status")
    assert main(["status", root]) == 3
    assert "HTTP status" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["/nonexistent/report.html", "."])
def test_a_report_that_cannot_be_written(where: str, capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there, or a name that is a folder: one line, no traceback."""
    assert main(["report", str(capture), "--out", where]) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert "cannot be written" in err


@pytest.mark.parametrize("content", ["{", "[{}]", '[{"at": 1, "fault": "nap"}]', '[{"at": -1, "fault": "reset"}]', "5"])
def test_a_bad_fault_plan_is_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan that cannot be played is refused with the entry and what is wrong with it."""
    path = tmp_path / "plan.json"
    path.write_text(content)
    assert main(["exchange", "--faults", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "fault plan" in err
    assert len(err.strip().splitlines()) == 1


def test_a_full_terminal_or_a_reader_that_left_is_no_traceback(capture: Path) -> None:
    """`… > /dev/full` is one line and an exit code; `… | head` is silent."""
    command = [sys.executable, "-m", "wsresearch", "status", str(capture)]
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "wsresearch: the operating system refused: No space left on device"
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""


def test_an_older_encoding_gets_escapes(capture: Path) -> None:
    """A terminal that knows only ASCII shows an escape where it has no character."""
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "wsresearch", "status", str(capture)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 1
    assert done.stdout.startswith("stopped \\xb7 ")


def test_the_exchange_says_when_it_is_ready_and_stops_when_asked(tmp_path: Path) -> None:
    """One JSON line with the url; Ctrl-C ends it without a traceback."""
    command = [sys.executable, "-m", "wsresearch", "exchange", "--rate", "10", "--symbols", "btcusdt"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = json.loads(child.stdout.readline())["url"]
        root = str(tmp_path / "c")
        assert main(["collect", "binance:btcusdt", "--out", root, "--url", url, "--duration", "0.5"]) == 0
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert "Traceback" not in err
    assert main(["verify", root]) == 0


def test_a_server_that_speaks_to_terminals_is_not_obeyed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, markup and secrets in what a server says never reach the screen as such."""
    root = str(tmp_path / "c")
    body = "\x1b[2J<script>alert(1)</script>\u202e token=s3cret"
    with start(Tape.generate(("BTCUSDT",), rate=10.0, seed=1)) as rude:
        rude.inject({"fault": "http", "status": 403, "body": body, "for": 60})
        assert main(["collect", "binance:btcusdt", "--out", root, "--url", rude.url]) == 3
    for command in (["status", root], ["status", root, "--json"], ["report", root], ["report", root, "--json"]):
        main(command)
    out, err = capsys.readouterr()
    assert not {"\x1b", "\u202e"} & set(out + err)
    assert "s3cret" not in out + err
    details = [text for text in Reader(root).events()["detail"].to_pylist() if text and "403" in text]
    assert details
    assert not [text for text in details if "s3cret" in text or "\x1b" in text]


def test_a_storm_is_told_as_text_as_json_and_as_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table on stdout; with --json one document, the same bytes for the same seed; with --out a PNG beside it."""
    arguments = ["storm", "--clients", "500", "--outage", "5", "--mix", "full-jitter=0.6,seed-java-websocket=0.4"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert ("seed-java-websocket" in out, err) == (True, "")
    documents = []
    for _ in range(2):
        assert main([*arguments, "--json", "--out", str(tmp_path / "storm.png")]) == 0
        out, err = capsys.readouterr()
        documents.append(out)
        assert "storm.png" in err
    assert documents[0] == documents[1]
    told = json.loads(documents[0])
    assert (told["clients"], [each["clients"] for each in told["members"]]) == (500, [300, 200])
    assert told["attempts"] == sum(told["seconds"]["attempts"])
    assert (tmp_path / "storm.png").read_bytes().startswith(b"\x89PNG")


def _on_a_terminal(*arguments: str) -> str:
    """Run a command whose stderr is a terminal; return what is seen there."""
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-m", "wsresearch", *arguments], stdout=slave, stderr=slave) as child:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's other end is closed: Linux says EIO
            while chunk := os.read(master, 4096):
                shown += chunk
        child.wait(20)
    os.close(master)
    return shown.decode()


@pytest.mark.parametrize("more", [(), ("--watch",)])
def test_a_stopped_capture_has_no_rate(capture: Path, more: tuple[str, ...]) -> None:
    """Nothing comes, so nothing is said to come, however much has come before."""
    told = _on_a_terminal("status", str(capture), *more)
    assert "stopped" in told
    assert "/s" not in told


def test_progress_comes_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a log nothing reads as if the rest had been passed over."""
    sample = str(Path(__file__).parents[1] / "data" / "sample")
    assert main(["verify", sample]) == 0
    assert capsys.readouterr().err.splitlines() == ["verified 1 of 12 segments", "verified 12 of 12 segments"]
    assert main(["report", sample, "--compare", "seed", "--out", str(tmp_path / "r.html")]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-2:] == ["replayed 100 % of the outages under all policies", f"wrote {tmp_path / 'r.html'}"]
    assert "outages replayed" in out
