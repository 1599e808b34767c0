"""Who collects into a capture: one at a time, known by name, and never a ghost."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from wsresearch.collect.lock import Held, Holder, held, holder_of
from wsresearch.errors import CaptureBusy, CaptureError

HOLD = """
import sys
from pathlib import Path
from wsresearch.collect.lock import held
with held(Path(sys.argv[1])) as ours:
    ours.note(run=7)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its stdin ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


def test_a_second_holder_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    """Refused at once, whoever asks, in one line that names the process and what to do; the note stays as it is."""
    with another_process(tmp_path) as child:
        for _ in range(2):
            with pytest.raises(CaptureBusy, match=rf"pid {child.pid} .*wsresearch stop"), held(tmp_path):
                pytest.fail("two hold it")
        holder = holder_of(tmp_path)
        assert holder is not None
        assert (holder.pid, holder.run) == (child.pid, 7)


def test_a_dead_holder_frees_the_lock(tmp_path: Path) -> None:
    """A killed collector leaves its note and no lock; its pid is nobody's."""
    with another_process(tmp_path) as child:
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.process() is not None
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert holder.process() is None
        with held(tmp_path) as ours:
            ours.note(run=8)
            now = holder_of(tmp_path)
            assert now is not None
            assert (now.pid, now.run) == (os.getpid(), 8)


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    """A killed child whose parent has not looked yet holds nothing."""
    with another_process(tmp_path) as child:
        holder = holder_of(tmp_path)
        assert holder is not None
        child.send_signal(signal.SIGKILL)
        zombie = psutil.Process(child.pid)
        while zombie.status() != psutil.STATUS_ZOMBIE:
            pass
        assert holder.process() is None


def test_a_recycled_pid_is_recognised() -> None:
    """Another process that was given the same number is not the collector, and is never signalled in its place."""
    me = Holder.me(run=1)
    assert me.process() is not None
    assert replace(me, ticks=me.ticks - 1).process() is None
    assert replace(me, ticks=0, started=me.started - 60).process() is None


def test_a_clock_that_is_set_does_not_hide_a_collector() -> None:
    """NTP, a leap second or a resumed machine move every start told in seconds since 1970; the collector lives on."""
    me = Holder.me(run=1)
    assert me.ticks > 0
    for step in (-3600.0, 1.0, 3600.0):
        assert replace(me, started=me.started + step).process() is not None


def test_a_machine_that_is_given_another_name_still_knows_its_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name from the network changes under way; which boot of which machine a pid is of does not."""
    me = Holder.me(run=1)
    monkeypatch.setattr(socket, "gethostname", lambda: "another-name")
    assert me.is_here
    assert me.process() is not None


def test_a_pid_of_another_machine_means_nothing_here() -> None:
    """A capture on a shared disk: the number of a process elsewhere is not looked up on this machine."""
    me = Holder.me(run=1)
    for other in (replace(me, system="another boot"), replace(me, system="", host="another-machine")):
        assert not other.is_here
        assert other.process() is None


def test_what_the_disk_answers_fits_the_note_in_any_language(tmp_path: Path) -> None:
    """However long and whatever its letters: the note stays readable, and nothing is left of it when it is over."""
    with held(tmp_path) as ours:
        ours.note(run=7)
        ours.trouble('\u5bb9\u91cf "\\' * 300)
        holder = holder_of(tmp_path)
        assert holder is not None
        assert holder.trouble
        ours.trouble("")
        holder = holder_of(tmp_path)
        assert holder is not None
        assert (holder.run, holder.trouble) == (7, "")


def test_a_note_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk refuses a start in one line; that it fills later neither breaks the end of a run nor its news."""

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with held(tmp_path) as ours:
        monkeypatch.setattr(os, "pwrite", full)
        ours.trouble("No space left on device")
    with pytest.raises(CaptureError, match=r"lock.*No space left on device.*make room"), held(tmp_path):
        pytest.fail("it was held")


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Mode 0600 under any umask."""
    before = os.umask(0)
    try:
        with held(tmp_path):
            assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_afterwards_nobody_holds_it(tmp_path: Path) -> None:
    """A process that has done with a capture and lives on is not taken for its collector, however it ended."""
    with held(tmp_path):
        assert holder_of(tmp_path) is not None
    assert holder_of(tmp_path) is None
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        raise ZeroDivisionError
    assert holder_of(tmp_path) is None
    with held(tmp_path):
        pass


def test_the_note_is_readable_at_any_moment(tmp_path: Path) -> None:
    """Whoever looks while it is written sees a whole note, the old or the new one, never none and never half."""
    done = threading.Event()
    with held(tmp_path) as ours:

        def write() -> None:
            for run in range(300):
                ours.note(run=10**6 if run % 2 else 1)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        seen = set()
        while not done.is_set():
            holder = holder_of(tmp_path)
            assert holder is not None
            assert holder.pid == os.getpid()
            seen.add(holder.run)
        writer.join()
    assert seen <= {0, 1, 10**6}


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[]", b'{"pid": "x"}', b"\xff\xfe", b"{" * 10_000])
def test_a_note_that_is_none(tmp_path: Path, content: bytes) -> None:
    """A lock file with anything else in it tells of nobody; it can be taken all the same."""
    (tmp_path / "lock").write_bytes(content)
    assert holder_of(tmp_path) is None
    with held(tmp_path):
        assert holder_of(tmp_path) is not None


def test_no_directory_no_holder(tmp_path: Path) -> None:
    """Asking about a directory that is not there, or is a file, is no error."""
    assert holder_of(tmp_path / "none") is None
    (tmp_path / "file").write_text("")
    assert holder_of(tmp_path / "file") is None


def test_what_the_file_system_does_not_allow_is_an_error_of_ours(tmp_path: Path) -> None:
    """A lock that cannot be taken or read is told in one line, not with a traceback."""
    (tmp_path / "lock").mkdir()
    with pytest.raises(CaptureError, match="lock"), held(tmp_path):
        pytest.fail("a folder was locked")
    with pytest.raises(CaptureError, match="lock"):
        holder_of(tmp_path)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """A link planted under the lock's name does not lead to a file of somebody else's."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    root = tmp_path / "capture"
    root.mkdir()
    (root / "lock").symlink_to(victim)
    with pytest.raises(CaptureError), held(root):
        pytest.fail("a link was followed")
    assert victim.read_text() == "mine"


def test_a_shorter_note_replaces_a_longer_one(tmp_path: Path) -> None:
    """Nothing of an earlier note is left behind a later one."""
    path = tmp_path / "lock"
    path.write_bytes(b"x" * 400)
    Held(path).note(run=1)
    assert json.loads(path.read_bytes())["run"] == 1
