"""A sample of the crash points in which the kernel fails the call: ``python -m tests.drill.disk.straced --runs 60``.

`crash` lets a layer of ours fail. Here ``strace -e inject`` (Debian's package strace) makes system calls of a real
process fail with EIO, or kills it at them, so that nothing between Python and the kernel is taken on trust. Where
strace is missing or may not trace, this says so and fails nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tests.drill.disk.children import Tally
from tests.drill.disk.crash import EVERY, Left, Live, ids_of, new_capture, settle
from wsresearch.capture.disk import RealDisk
from wsresearch.capture.seal import recover

__all__ = ["Call", "NotTraced", "calls_of", "injected"]

_CALLS = ("openat", "write", "fsync", "fdatasync", "rename", "unlink", "mkdir", "close", "fchmod")
_LINE = re.compile(r"^(?P<name>[a-z]+)\((?P<arguments>.*)")
STORIES = ("live", "recovery")


class NotTraced(Exception):  # noqa: N818 - reads as what it says
    """There is no strace here, or it may not trace."""


@dataclass(frozen=True, slots=True)
class Call:
    """The `place`-th call of a name in a process that tells a story, from 1."""

    name: str
    place: int


def _story(story: str, root: Path) -> None:
    """Be the process that is traced."""
    disk = RealDisk()
    if story == "live":
        live = Live()
        # On disk before the next call is made; not in the capture, so that it is none of the calls looked at.
        live.told = Told(root.with_name("told"))
        live.tell(root, disk)
    else:
        with suppress(OSError):
            recover(root, disk=disk)


class Told(list[int]):
    """A list that writes down what is added to it, at once."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def __iadd__(self, more: Sequence[int]) -> Told:  # type: ignore[override,misc]
        self.extend(more)
        with self._path.open("a") as file:
            file.write("".join(f"{number}\n" for number in more))
        return self


def _trace(story: str, parent: Path, *options: str) -> tuple[Path, str]:
    """Tell a story on a new capture under strace; return the capture and what was traced."""
    root = new_capture(parent)
    (parent / "told").write_text("")
    if story == "recovery":
        Left.make(root)
    log = parent / "trace"
    done = subprocess.run(
        [
            *("strace", "-qq", "-y", "-o", str(log), "-e", f"trace={','.join(_CALLS)}", *options),
            *(sys.executable, "-B", "-m", "tests.drill.disk.straced", "--story", story, str(root)),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"},
    )
    if "Traceback" in done.stderr:
        raise AssertionError(done.stderr.strip().splitlines()[-1])
    if done.stderr.startswith("strace:"):
        raise NotTraced(done.stderr.strip().splitlines()[-1])
    return root, log.read_text()


def calls_of(story: str) -> list[Call]:
    """Return every call of a story that changes something in the capture.

    Raises
    ------
    NotTraced
        If strace is not installed or may not trace here.
    """
    if shutil.which("strace") is None:
        raise NotTraced("strace is not installed; on Debian: apt-get install strace")
    with tempfile.TemporaryDirectory(prefix="wsresearch-strace-") as name:
        root, log = _trace(story, Path(name))
        counted: Counter[str] = Counter()
        found = []
        for line in log.splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            counted[match["name"]] += 1
            reads = match["name"] == "openat" and "O_CREAT" not in line
            if str(root) in match["arguments"] and not reads:
                found.append(Call(match["name"], counted[match["name"]]))
    if not found:
        raise NotTraced("strace showed no call")
    return found


def injected(story: str, call: Call, *, kill: bool) -> None:
    """Tell a story while one call fails with EIO or is the process's last, and check what is left."""
    how = "signal=KILL" if kill else "error=EIO"
    with tempfile.TemporaryDirectory(prefix="wsresearch-strace-") as name:
        root, log = _trace(story, Path(name), "-e", f"inject={call.name}:{how}:when={call.place}")
        assert ("killed by SIGKILL" if kill else "(INJECTED)") in log, "nothing was injected"
        told = [int(line) for line in (root.parent / "told").read_text().split()]
        seen = ids_of(root)
        if story == "live":
            assert set(told) <= set(seen), f"acknowledged {told}, a reader sees {seen}"
            assert seen == (EVERY[: len(seen)] if kill else EVERY), seen
        else:
            assert seen == list(Left.ids), seen
        settle(root, seen)


def main() -> int:
    """Sample the calls of both stories and print a table; exit code 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="calls looked at (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--story", nargs=2, metavar=("STORY", "DIR"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.story is not None:
        _story(asked.story[0], Path(asked.story[1]))
        return 0
    try:
        points = [(story, call, kill) for story in STORIES for call in calls_of(story) for kill in (False, True)]
    except NotTraced as why:
        print(f"injected system calls NOT RUN: {why}")
        return 0
    tally = Tally()
    chosen = random.Random(asked.seed).sample(points, min(asked.runs, len(points)))
    for story, call, kill in tqdm(chosen, unit=" calls", file=sys.stderr):
        kind = f"{call.name} {'kills' if kill else 'fails'} ({story})"
        try:
            injected(story, call, kill=kill)
        except AssertionError as error:
            tally.wrong.append(f"{story}, {call}, {'kill' if kill else 'EIO'}: {error}")
        tally.add(kind, points=1)
    print(tally.table(f"system call, of {len(points)} points"))
    for what in tally.wrong:
        print(what)
    print("NOT as it should be" if tally.wrong else "no row wrong, missing or twice; three recoveries are one")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
