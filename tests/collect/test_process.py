"""The background process: real processes, real signals, real sockets; it outlives its parent and stops at once."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.capture.made import NOON, stats
from tests.collect.rawserver import free_port
from wsresearch.api import make_config
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.identity import create_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.verify import verify
from wsresearch.capture.writer import CaptureWriter
from wsresearch.collect import process
from wsresearch.collect.config import Config
from wsresearch.collect.here import collect_here
from wsresearch.collect.lock import held, holder_of
from wsresearch.collect.status import Status, read_status
from wsresearch.errors import CaptureBusy, CaptureTooNew, CollectorError, NotACapture, UsageError
from wsresearch.lab import ExchangeProcess, Tape, start
from wsresearch.reconnect.actions import State
from wsresearch.reconnect.backoff import Constant
from wsresearch.schema import TableName

PATIENCE = 20.0
"""Seconds for something that takes a fraction of one; only a test that fails needs them."""


def until(condition: Callable[[], Any], what: str) -> Any:
    """Poll until something holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    pytest.fail(f"never came about: {what}")


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeProcess]:
    with start(Tape.generate(("BTCUSDT",), rate=500.0, seed=1)) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Where a capture goes; what still collects into it at the end of the test is ended."""
    path = tmp_path / "c"
    yield path
    if (left := process.running(path)) is not None:
        left.kill()
        process._lives(left)


@pytest.fixture
def config(root: Path, exchange: ExchangeProcess) -> Callable[..., Config]:
    return lambda **options: make_config("binance:btcusdt", root, **({"url": exchange.url} | options))


def in_state(root: Path, state: State, **more: Any) -> Status:
    """Wait until the directory tells of a state; ``more`` are least values of numbers."""

    def reached() -> Status | None:
        with contextlib.suppress(NotACapture):
            status = read_status(root)
            if status.state is state and all(getattr(status, name) >= least for name, least in more.items()):
                return status
        return None

    found: Status = until(reached, f"{state} {more}")
    return found


def stopped(root: Path) -> float:
    """Stop the collector; return how many seconds that took, everything sealed."""
    began = time.monotonic()
    assert process.stop(root)
    took = time.monotonic() - began
    assert process.running(root) is None
    assert not list((root / "journal").iterdir())
    return took


def test_last_words_are_in_the_log_however_often_it_was_rotated(tmp_path: Path) -> None:
    """After weeks of log a traceback and what a crash says land in the newest file, not in one that was removed."""
    log = tmp_path / "collector.log"
    code = """
        import faulthandler, logging, resource, sys
        from pathlib import Path
        from wsresearch.collect import here

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        here._LOG_BYTES = 2000
        here._log_to(Path(sys.argv[1]))
        for day in range(100):
            logging.info("day %d of a run of weeks", day)
        print("unraisable", file=sys.stderr, flush=True)
        faulthandler._sigsegv()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(log)], check=False, timeout=PATIENCE)
    assert done.returncode == -signal.SIGSEGV
    assert "day 99" in log.read_text()
    assert "unraisable" in log.read_text()
    assert "Fatal Python error: Segmentation fault" in log.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"collector.log", "collector.log.1"}


def test_a_log_says_how_much_it_could_not_write(tmp_path: Path) -> None:
    """What a full disk did not take of the log is told once it takes any: no line is missing without a word."""
    log = tmp_path / "collector.log"
    code = """
        import logging, resource, sys
        from pathlib import Path
        from wsresearch.collect import here

        def lines(first, last):
            for number in range(first, last + 1):
                logging.info("line %d, %s", number, "of a run " * 9)

        here._log_to(Path(sys.argv[1]))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        lines(1, 3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (800, before[1]))
        lines(4, 20)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        lines(21, 22)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), log], capture_output=True, check=True)
    assert done.stderr == b""
    text = log.read_text()
    there = [int(number) for number in re.findall(r"line (\d+),", text)]
    told = re.findall(
        r"WARNING .* \(File too large\): up to (\d+) lines are missing before this one$", text, re.MULTILINE
    )
    assert there[:3] == [1, 2, 3]
    assert there[-2:] == [21, 22]
    assert len(told) == 1
    assert 22 - len(there) <= int(told[0]) <= 17
    assert "Traceback" not in text


def test_a_log_that_is_opened_again_follows_no_link(tmp_path: Path) -> None:
    """What somebody put in the place of the log while the collector runs is not written to."""
    log, elsewhere = tmp_path / "collector.log", tmp_path / "elsewhere"
    elsewhere.write_text("theirs\n")
    code = """
        import logging, os, sys
        from pathlib import Path
        from wsresearch.collect import here

        here._log_to(Path(sys.argv[1]))
        logging.info("ours")
        logging.root.handlers[0].close()
        os.remove(sys.argv[1])
        os.symlink(sys.argv[2], sys.argv[1])
        logging.info("ours again")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(log), str(elsewhere)]
    subprocess.run(command, check=True, timeout=PATIENCE, stderr=subprocess.DEVNULL)
    assert elsewhere.read_text() == "theirs\n"


# -- a life -------------------------------------------------------------------------------------------------------


def test_start_attach_stop(root: Path, config: Callable[..., Config]) -> None:
    """It runs in a session of its own as nobody's child, is found by its directory, and stops with all sealed."""
    started = process.start(config())
    found = process.running(root)
    assert found is not None
    assert (found.pid, started.run) == (started.pid, 1)
    assert os.getsid(started.pid) == started.pid
    assert os.getpid() not in [parent.pid for parent in found.parents()]
    assert found.cwd() == "/"
    assert found.environ()["ARROW_DEFAULT_MEMORY_POOL"] == "system"
    in_state(root, State.OPEN, trades=10)
    assert stopped(root) < 2
    status = read_status(root)
    assert (status.state, status.pid, status.cause, status.exit_code) == (State.STOPPED, None, "stop", 1)
    assert process.stop(root) is False
    assert verify(root).ok


def test_stop_before_start(tmp_path: Path) -> None:
    """Stopping what never ran is no error; steering it is, in one line that says what to do."""
    assert process.stop(tmp_path / "none") is False
    with pytest.raises(CollectorError, match="no collector is running"):
        process.signal_reconnect(tmp_path / "none")


def test_nothing_listens(root: Path, config: Callable[..., Config]) -> None:
    """A collector has its connection to the venue and no other socket that somebody could reach: it is no server."""
    started = process.start_detached(config())
    in_state(root, State.OPEN, trades=10)
    collector = psutil.Process(started.pid)
    (connection,) = collector.net_connections(kind="inet")
    assert (connection.type, connection.status) == (socket.SOCK_STREAM, psutil.CONN_ESTABLISHED)
    assert connection.raddr
    assert not [unix.laddr for unix in collector.net_connections(kind="unix") if unix.laddr], "a socket with a name"


def test_a_second_start_is_refused_with_the_pid(root: Path, config: Callable[..., Config]) -> None:
    """Two collectors never write into one directory: the second is told who is there, and the first goes on."""
    first = process.start_detached(config())
    with pytest.raises(CaptureBusy, match=str(first.pid)):
        process.start(config())
    in_state(root, State.OPEN, trades=10)


def test_twenty_restarts_and_kills(root: Path, config: Callable[..., Config]) -> None:
    """Stopped or killed, twenty times: each start has the next run number, no row is there twice, none is untold."""
    for number in range(1, 21):
        started = process.start_detached(config())
        assert started.run == number
        in_state(root, State.OPEN)
        if number % 2:
            stopped(root)
        else:
            child = psutil.Process(started.pid)
            child.send_signal(signal.SIGKILL)
            until(lambda child=child: not process._lives(child), "the end of a killed process")
            status = read_status(root)
            assert (status.state, status.pid, status.exit_code) == (State.FAILED, None, 3)
    process.start_detached(config())
    in_state(root, State.OPEN, trades=1)
    stopped(root)
    report = verify(root)
    assert report.ok, report.problems
    assert report.duplicates == 0
    events = Reader(root).events()
    assert events["run"].to_pylist() == sorted(events["run"].to_pylist())
    seq = events["seq"].to_pylist()
    assert seq == list(range(1, len(seq) + 1))


def test_started_from_two_threads(root: Path, exchange: ExchangeProcess) -> None:
    """Two cells, two threads, one moment: one collector, and both hold its capture."""
    from wsresearch.api import Capture, collect

    captures: list[Capture] = []
    errors: list[BaseException] = []

    def go() -> None:
        try:
            captures.append(collect("binance:btcusdt", root, url=exchange.url))
        except BaseException as exc:  # noqa: BLE001 - told below
            errors.append(exc)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(captures) == 3
    in_state(root, State.OPEN, trades=1)
    stopped(root)
    assert Reader(root).events()["run"].unique().to_pylist() == [1]


# -- what happens to whoever started it ---------------------------------------------------------------------------

PARENT = """
    import signal, sys, time
    import wsresearch as wr
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    capture = wr.collect("binance:btcusdt", sys.argv[1], url=sys.argv[2])
    print(capture.status.pid, flush=True)
    time.sleep(60)
"""


def test_the_collector_outlives_its_parent(root: Path, exchange: ExchangeProcess) -> None:
    """A kernel that is interrupted, hung up, terminated or killed with all its children: the capture goes on."""
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(root), exchange.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            os.killpg(parent.pid, number)
        for child in (*psutil.Process(parent.pid).children(recursive=True), psutil.Process(parent.pid)):
            child.kill()
        parent.wait(PATIENCE)
    before = in_state(root, State.OPEN).trades
    assert in_state(root, State.OPEN, trades=before + 1).pid == pid
    stopped(root)


def test_it_holds_nothing_of_its_parents(root: Path, exchange: ExchangeProcess) -> None:
    """A pipe or file of whoever started it is not kept open: `wsresearch collect --detach | cat` comes to its end."""
    read, write = os.pipe()
    command = [sys.executable, "-m", "wsresearch", "collect", "binance:btcusdt", "--url", exchange.url]
    command += ["--out", str(root), "--detach"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[write]) as child:
        os.close(write)
        assert child.stdout is not None
        assert b"as pid" in child.stdout.read()
        assert os.read(read, 1) == b""
        os.close(read)
        assert child.wait(PATIENCE) == 0
    found = process.running(root)
    assert found is not None
    kept = {Path(file.path) for file in found.open_files()}
    assert all(path.is_relative_to(root) for path in kept), kept


def test_everything_it_writes_is_its_owners(root: Path, config: Callable[..., Config]) -> None:
    """Directories 0700, files 0600, the log included, whatever the umask of whoever started it."""
    before = os.umask(0)
    try:
        process.start_detached(config())
    finally:
        os.umask(before)
    in_state(root, State.OPEN, trades=10)
    stopped(root)
    modes = {path.relative_to(root): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert Path("collector.log") in modes
    wrong = {
        str(path): oct(mode) for path, mode in modes.items() if mode != (0o700 if (root / path).is_dir() else 0o600)
    }
    assert not wrong
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert "opened" in (root / "collector.log").read_text()


# -- stop, from every state ---------------------------------------------------------------------------------------


@dataclass
class Scene:
    """Where a collector is sent, with what options, and how it is known that it got there."""

    url: str
    state: State
    options: dict[str, Any]
    least: dict[str, int]


@contextlib.contextmanager
def listener(*, backlog: int = 16) -> Iterator[socket.socket]:
    """A port that the kernel answers for, and nobody else."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(backlog)
        yield sock


def where(sock: socket.socket, scheme: str) -> str:
    return f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"


@contextlib.contextmanager
def scene(name: str) -> Iterator[Scene]:
    """Set the stage."""
    with contextlib.ExitStack() as stack:
        match name:
            case "an address that never answers":
                sock = stack.enter_context(listener(backlog=0))
                for _ in range(4):
                    filler = stack.enter_context(socket.socket())
                    filler.setblocking(False)
                    filler.connect_ex(sock.getsockname())
                yield Scene(where(sock, "ws"), State.CONNECTING, {}, {"attempt": 1})
            case "a stalled handshake":
                yield Scene(where(stack.enter_context(listener()), "ws"), State.CONNECTING, {}, {"attempt": 1})
            case "a stalled TLS handshake":
                yield Scene(where(stack.enter_context(listener()), "wss"), State.CONNECTING, {}, {"attempt": 1})
            case "open under load":
                server = stack.enter_context(start(Tape.generate(("BTCUSDT",), rate=10_000.0, seed=1)))
                yield Scene(server.url, State.OPEN, {}, {"trades": 2000})
            case "open and silent":
                server = stack.enter_context(start(Tape.generate(("BTCUSDT",), rate=0.001, seed=1)))
                yield Scene(server.url, State.OPEN, {}, {"connection": 1})
            case "backing off":
                options = {"policy": Constant(delay=1000.0)}
                yield Scene(f"ws://127.0.0.1:{free_port()}", State.BACKING_OFF, options, {"attempt": 2})
            case "told to stay away":
                sock = stack.enter_context(listener())

                def serve() -> None:
                    with contextlib.suppress(OSError):
                        client, _ = sock.accept()
                        with client:
                            client.recv(4096)
                            client.sendall(b"HTTP/1.1 429 No\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")

                threading.Thread(target=serve, daemon=True).start()
                yield Scene(where(sock, "ws"), State.BACKING_OFF, {}, {"attempt": 2, "next_delay": 3000})


SCENES = (
    "an address that never answers",
    "a stalled handshake",
    "a stalled TLS handshake",
    "open under load",
    "open and silent",
    "backing off",
    "told to stay away",
)


@pytest.mark.parametrize("name", SCENES)
def test_stop_answers_within_two_seconds(root: Path, name: str, record_property: Callable[..., None]) -> None:
    """From every state, on real sockets: stopped, sealed and gone in less than two seconds."""
    with scene(name) as set_up:
        process.start_detached(make_config("binance:btcusdt", root, url=set_up.url, **set_up.options))
        in_state(root, set_up.state, **set_up.least)
        took = stopped(root)
    record_property("stop_seconds", took)
    print(f"stop while {name}: {took:.2f} s")
    assert took < 2
    assert read_status(root).state is State.STOPPED
    report = verify(root)
    assert report.ok, report.problems


def test_stop_after_it_gave_up(root: Path) -> None:
    """A collector that has given up is gone already; its directory says so in red."""
    process.start_detached(make_config("binance:btcusdt", root, url=f"ws://127.0.0.1:{free_port()}", max_attempts=1,
                                       policy=Constant(delay=0.01)))  # fmt: skip
    status = in_state(root, State.GAVE_UP)
    assert (status.cause, status.exit_code) == ("refused", 3)
    until(lambda: process.running(root) is None, "its end")
    assert process.stop(root) is False


@pytest.mark.parametrize("name", ["a stalled handshake", "open and silent", "backing off", "told to stay away"])
def test_reconnect_now(root: Path, name: str) -> None:
    """SIGUSR1 cuts a backoff short and replaces a connection; while connecting it changes nothing; nothing ends."""
    with scene(name) as set_up:
        started = process.start_detached(make_config("binance:btcusdt", root, url=set_up.url, **set_up.options))
        before = in_state(root, set_up.state, **set_up.least)
        events = Reader(root).events().num_rows
        assert process.signal_reconnect(root) == started.pid
        match set_up.state:
            case State.OPEN:
                in_state(root, State.OPEN, connection=before.connection + 1)
            case State.BACKING_OFF:
                until(lambda: "connecting" in Reader(root).events()["kind"].to_pylist()[events:], "an attempt")
        assert process.running(root) is not None
        assert stopped(root) < 2


def test_a_signal_to_one_that_has_just_begun_does_no_harm(root: Path, config: Callable[..., Config]) -> None:
    """Whoever finds the pid in the lock may send SIGUSR1, however early: it is never the end of the run."""
    done = threading.Event()

    def pester() -> None:
        while not done.is_set():
            with contextlib.suppress(CollectorError):
                process.signal_reconnect(root)

    thread = threading.Thread(target=pester)
    thread.start()
    try:
        for number in range(1, 4):
            started = process.start_detached(config())
            assert started.run == number
            in_state(root, State.OPEN)
            stopped(root)
    finally:
        done.set()
        thread.join()


def test_a_stop_that_takes_too_long_is_told(root: Path, config: Callable[..., Config]) -> None:
    """A collector that cannot end is named, with what can be done; when it can, it ends as asked."""
    started = process.start_detached(config())
    os.kill(started.pid, signal.SIGSTOP)
    with pytest.raises(CollectorError, match=rf"pid {started.pid} has not ended after 0.2 s"):
        process.stop(root, timeout=0.2)
    os.kill(started.pid, signal.SIGCONT)
    assert stopped(root) < 2


@pytest.mark.parametrize("mended", [True, False])
def test_what_a_collector_had_no_time_to_seal_is_sealed_when_it_has_gone(
    root: Path, config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, *, mended: bool
) -> None:
    """Whoever waits for the end finds everything in Parquet, or is told what is in the way and what to do."""
    process.start_detached(config())
    in_state(root, State.OPEN, trades=10)
    ended, lives = [], process._lives

    def leaves_a_journal(asked: psutil.Process) -> bool:
        if (alive := lives(asked)) is False and not ended:
            ended.append(asked)
            with CaptureWriter(root) as writer:
                writer.append(TableName.STATS, stats([0, 0]), now_ns=NOON)
            if not mended:
                shutil.rmtree(root / "stats")
                (root / "stats").write_text("in the way")
        return alive

    monkeypatch.setattr(process, "_lives", leaves_a_journal)
    if mended:
        assert process.stop(root)
        assert not list((root / "journal").iterdir())
    else:
        with pytest.raises(CollectorError, match=r"has stopped, but not all .* is sealed \(.*wsresearch recover"):
            process.stop(root)
        assert list((root / "journal").iterdir())
    assert ended


def test_an_orphan_that_nobody_buries_has_ended() -> None:
    """In a container without an init a dead collector stays a zombie for ever; stopping does not wait for that."""
    code = "import subprocess, sys; dead = subprocess.Popen(['true']); print(dead.pid, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        zombie = psutil.Process(int(parent.stdout.readline()))
        until(lambda: not process._lives(zombie), "the end of a zombie")
        parent.kill()


def test_another_users_collector_is_not_ours_to_stop(
    root: Path, config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may not be signalled is told in one line, and lives on."""
    started = process.start_detached(config())

    def denied(self: psutil.Process, number: int) -> None:
        raise psutil.AccessDenied(self.pid)

    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "send_signal", denied)
        for act in (process.stop, process.signal_reconnect):
            with pytest.raises(CollectorError, match=rf"pid {started.pid} is another user's"):
                act(root)
    assert process.running(root) is not None


def test_a_collector_on_another_machine_is_stopped_there(root: Path, config: Callable[..., Config]) -> None:
    """On a shared disk the pid means nothing here: nothing is signalled, and the host is named."""
    process.start_detached(config())
    in_state(root, State.OPEN, trades=1)
    path = root / "lock"
    note = json.loads(path.read_bytes())
    path.write_text(json.dumps({**note, "host": "elsewhere", "system": "another boot"}))
    with pytest.raises(CollectorError, match="elsewhere"):
        process.stop(root)
    path.write_text(json.dumps(note))
    assert stopped(root) < 2


# -- a start that fails -------------------------------------------------------------------------------------------


def newer(root: Path) -> None:
    create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config={})
    path = Layout(root).identity
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 9'))


@pytest.mark.parametrize(
    ("prepare", "kind", "word"),
    [
        (lambda root: root.write_text("a file"), NotACapture, "is a file"),
        (lambda root: [root.mkdir(), (root / "thesis.txt").write_text("mine")], NotACapture, "thesis.txt"),
        (newer, CaptureTooNew, "format version 9"),
        (
            lambda root: create_identity(Layout(root), venue="binance", symbols=["ETHUSDT"], config={}),
            UsageError,
            "ETHUSDT",
        ),
    ],
)
def test_an_error_of_the_background_process_arrives_as_what_it_is(
    root: Path, config: Callable[..., Config], prepare: Callable[[Path], Any], kind: type[Exception], word: str
) -> None:
    """A directory that cannot be collected into: the same exception as in the foreground, one line, nothing changed."""
    prepare(root)
    before = sorted((path, path.stat().st_mtime_ns) for path in root.parent.rglob("*"))
    with pytest.raises(kind) as caught:
        process.start(config())
    assert type(caught.value) is kind
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted((path, path.stat().st_mtime_ns) for path in root.parent.rglob("*")) == before


def test_a_policy_of_ones_own_cannot_travel(root: Path, config: Callable[..., Config]) -> None:
    """A policy that only this program knows is refused before anything starts, with its name."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Mine(Constant):
        def __str__(self) -> str:
            return "mine(delay=1)"

    with pytest.raises(UsageError, match="mine"):
        process.start(config(policy=Mine(delay=1.0)))
    assert not root.exists()


def test_a_background_process_that_dies_without_a_word(
    config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit code is told, and how to see more."""
    monkeypatch.setattr(process, "_command", lambda what: [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(CollectorError, match=r"exit code 7 .* foreground"):
        process.start_detached(config())
    with pytest.raises(CollectorError, match="exit code 7"):
        process.start(config())


def test_a_background_process_that_does_not_come_up(
    config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts it waits for a while, then is told its pid and what it may be doing."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)"]
    monkeypatch.setattr(process, "_command", lambda what: command)
    with pytest.raises(CollectorError, match=r"pid (\d+) has not begun") as caught:
        process.start_detached(config(), patience=0.3)
    os.kill(int(str(caught.value).split()[1]), signal.SIGKILL)


def test_a_file_in_the_way_of_an_import_is_not_run(
    tmp_path: Path, root: Path, config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook beside somebody's own `queue.py` starts a collector, not that."""
    (tmp_path / "signal.py").write_text("raise SystemExit('ran a file of the notebook')")
    monkeypatch.chdir(tmp_path)
    process.start(config())
    assert process.running(root) is not None


# -- a disk that fails to the end ---------------------------------------------------------------------------------


def test_rows_that_could_not_be_written_are_an_exit_code_and_a_line(
    config: Callable[..., Config], root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that ends while the disk is full is no clean one: exit code 3, a line that counts, a failed status."""
    full = threading.Event()
    write = RealDisk.write

    def writing(self: RealDisk, descriptor: int, content: bytes | memoryview) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, descriptor, content)

    monkeypatch.setattr(RealDisk, "write", writing)

    def watch(collector: Any) -> None:
        if collector.status.trades:
            full.set()

    assert collect_here(config(duration=1.5), watch=watch) == 3
    assert "rows could not be written" in caplog.text
    full.clear()
    status = read_status(root)
    assert (status.state, status.exit_code) == (State.FAILED, 3)
    assert status.cause is not None
    assert "disk" in status.cause
    assert collect_here(config(duration=0.5)) == 0
    report = verify(root)
    assert report.ok, report.problems


def test_one_that_still_repairs_is_waited_for(root: Path) -> None:
    """Attaching waits until the collector has written down what it was asked to do; a dead one is not waited for."""
    create_identity(Layout(root), venue="binance", symbols=["BTCUSDT"], config={})
    assert process.settled(root) is None
    with held(root) as ours:
        began = time.monotonic()
        assert process.settled(root, patience=0.1) is not None
        assert time.monotonic() - began >= 0.1
        timer = threading.Timer(0.1, lambda: ours.note(run=1))
        timer.start()
        found = process.settled(root)
        assert found is not None
        assert found.pid == os.getpid()
        timer.join()
        holder = holder_of(root)
        assert holder is not None
        assert holder.run == 1


def test_holder_is_cleared_after_the_run(config: Callable[..., Config], root: Path) -> None:
    """A program that collected in its own process and lives on is not taken for a collector."""
    assert collect_here(config(duration=0.2)) == 0
    assert holder_of(root) is None
    assert process.running(root) is None
