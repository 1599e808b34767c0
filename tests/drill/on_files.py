"""What lies on the disk: a capture that is removed, of a later version, or damaged while nobody collects into it.

Each is met by a collector in a process of its own that takes market data from the local exchange. What is on disk then
is judged against the exchange's account.

Not here: a disk that is full, fails or is slow (``tests/drill/on_disk.py``); damage by the million
(``tests/drill/disk``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import psutil

from tests.drill.act import Act, exchange, latest, on_processes
from tests.drill.scenario import Play, Scenario, Section
from tests.drill.sockets import PATIENCE
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.capture.seal import recover
from wsresearch.capture.verify import verify
from wsresearch.collect import process
from wsresearch.errors import CaptureTooNew
from wsresearch.schema import FORMAT_VERSION, TableName

__all__ = ["SCENARIOS"]


def removed(act: Act) -> None:
    """The directory is removed while somebody collects in the foreground, who is told; then a capture is begun anew."""
    with command(act) as collector:
        act.until(lambda: collector.poll() is not None or act.status() is not None, "a capture")
        act.collecting(1)
        remove(act.run.root)
        said, _ = collector.communicate(timeout=PATIENCE)
    act.must("no capture any more" in said, f"it said: {said[-400:]}")
    begun_anew(act, collector.returncode)


def removed_behind(act: Act) -> None:
    """The same in the background, where the log has gone too: the exit code is all that is left."""
    collector = act.started()
    act.collecting()
    remove(act.run.root)
    begun_anew(act, collector.wait(PATIENCE))


def remove(root: Path) -> None:
    """Remove a directory in which somebody may be making files."""
    while root.exists():
        shutil.rmtree(root, ignore_errors=True)


def begun_anew(act: Act, exit_code: int | None) -> None:
    """Judge the end of a collector without a directory; then collect there again."""
    act.must(exit_code == 3, f"with its directory removed it ended with {exit_code}")
    act.must(not act.run.root.exists(), "it made the directory again")
    act.since = latest(exchange().truth())
    act.started()
    act.collecting()
    act.stopped()


def command(act: Act) -> subprocess.Popen[str]:
    """Collect in the foreground, as a user does."""
    words = ["collect", str(act.config.stream), "--out", str(act.run.root), "--url", exchange().url]
    return subprocess.Popen(
        [sys.executable, "-m", "wsresearch", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def too_new(act: Act) -> None:
    """A later version has written the capture: nothing of it is changed, however it is asked for."""
    act.started()
    act.collecting()
    act.stopped()
    path = Layout(act.run.root).identity
    mine = path.read_bytes()
    theirs = f'"format_version": {FORMAT_VERSION + act.rng.choice([1, 98])}'
    path.write_text(mine.decode().replace(f'"format_version": {FORMAT_VERSION}', theirs))
    before = as_it_is(act.run.root)
    try:
        process.start_detached(act.config)
    except CaptureTooNew as exc:
        act.must("format version" in str(exc), f"the refusal does not say why: {exc}")
    else:
        act.problems.append("a capture of a later version was not refused")
    with command(act) as refused:
        said, _ = refused.communicate(timeout=PATIENCE)
    lines = said.strip().splitlines()
    act.must(refused.returncode == 2, f"the command was refused with {refused.returncode}")
    act.must(len(lines) == 1 and "later version" in lines[0], f"the command said: {said}")
    act.must(as_it_is(act.run.root) == before, "a capture of a later version was touched")
    path.write_bytes(mine)


def as_it_is(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return content, mode and time of change of everything in a folder."""
    found = {}
    for path in (root, *sorted(root.rglob("*"))):
        told = path.lstat()
        found[str(path)] = (path.read_bytes() if path.is_file() else b"", told.st_mode, told.st_mtime_ns)
    return found


def cut_journal(act: Act) -> None:
    """Killed; then up to half of a journal is missing, and what is left of it is a prefix."""
    act.killed(after_some(act))
    layout = Layout(act.run.root)
    (segment,) = layout.journals(TableName.TRADES)
    path = layout.journal_path(segment)
    size = path.stat().st_size
    rows = Reader(act.run.root).trades(columns=["trade_id"]).num_rows
    os.truncate(path, act.rng.randrange(size // 2, size))
    left = Reader(act.run.root).trades(columns=["trade_id"]).num_rows
    act.worst += rows - left
    act.started()
    act.collecting()
    act.stopped()
    # Cut between two records nothing is damaged. What is in quarantine is a problem until somebody takes it away.
    found = verify(act.run.root).problems
    if layout.quarantine_dir.exists():
        act.must(len(found) == 1 and "quarantine" in found[0], f"verify tells of {found}")
        shutil.move(layout.quarantine_dir, act.run.folder / "looked at")


def after_some(act: Act) -> psutil.Process:
    """Start a collector and let it store something."""
    collector = act.started()
    act.collecting(act.rng.randrange(1, 1000))
    time.sleep(act.rng.uniform(0, 0.9))  # it was just flushed to the disk
    return collector


def damaged_parquet(act: Act) -> None:
    """Killed between sealing and removing the journal; then the sealed file is damaged: it is made anew."""
    act.killed(after_some(act))
    layout = Layout(act.run.root)
    with tempfile.TemporaryDirectory(dir=act.run.folder) as name:
        kept = Path(name) / "journal"
        shutil.copytree(layout.journal_dir, kept)
        recover(act.run.root)
        shutil.copytree(kept, layout.journal_dir, dirs_exist_ok=True)
    rows = Reader(act.run.root).trades(columns=["trade_id"]).num_rows
    (sealed,) = act.run.root.joinpath("trades").rglob("*.parquet")
    content = bytearray(sealed.read_bytes())
    match act.rng.choice(["flipped", "cut", "zeroed", "empty"]):
        case "flipped":
            content[act.rng.randrange(len(content))] ^= 1 << act.rng.randrange(8)
        case "cut":
            del content[act.rng.randrange(len(content)) :]
        case "zeroed":
            content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        case "empty":
            content.clear()
    sealed.write_bytes(content)
    act.started()
    act.collecting()
    act.stopped()
    found = [path for path in layout.quarantine_dir.rglob("*") if path.is_file()]
    act.must(any(path.read_bytes() == content for path in found), f"the damaged file is not in quarantine: {found}")
    act.must(Reader(act.run.root).trades(columns=["trade_id"]).num_rows > rows, "rows are missing")


# -- the table ----------------------------------------------------------------------------------------------------


def p(name: str, injected: str, play: Play, **told: Any) -> Scenario:
    return Scenario(
        name=name, section=Section.DISK, injected=injected, play=play, prepare=exchange, **{"truth": _WHOLE} | told
    )


_WHOLE: Final = "every row sent is stored"

SCENARIOS = (
    p("directory removed", "the capture is removed while somebody collects: exit code 3; then it is begun anew",
      on_processes(removed)),
    p("directory removed, in the background", "the same, and nobody is there to be told",
      on_processes(removed_behind)),
    p("a later format version", "the capture is of a later version: refused, and not a byte of it changes",
      on_processes(too_new)),
    p("cut journal", "killed, and up to half of the journal cut off; then started", on_processes(cut_journal),
      truth="a prefix of what was sent is stored, the rest of it is a hole", may_note=frozenset({"damaged"})),
    p("damaged Parquet", "killed, sealed, and the file damaged while its journal is there; then started",
      on_processes(damaged_parquet), truth="the damaged file lies in quarantine and is made anew: no row is lost by it",
      may_note=frozenset({"damaged"})),
)  # fmt: skip
