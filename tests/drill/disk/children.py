"""Jobs in child processes, so that one that ends by a signal is seen and named, and their results as one table."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from tqdm import tqdm

__all__ = ["Tally", "in_children"]

_Job = TypeVar("_Job")


@dataclass(slots=True)
class Tally:
    """What was done and what came of it, by kind: ``counts[kind][what]``; `wrong` names every failing run."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, **what: int) -> None:
        """Count something that happened in runs of a kind."""
        self.counts.setdefault(kind, Counter()).update(what)

    def merge(self, other: Tally) -> None:
        """Take in what another process counted."""
        for kind, what in other.counts.items():
            self.counts.setdefault(kind, Counter()).update(what)
        self.wrong += other.wrong

    def total(self, what: str) -> int:
        """Sum over all kinds."""
        return sum(count[what] for count in self.counts.values())

    def table(self, first: str) -> str:
        """Lines of text: kinds down, what was counted across, the sum below."""
        columns = list(dict.fromkeys(what for count in self.counts.values() for what in count))
        rows = [(kind, *(f"{count[what]:,}" for what in columns)) for kind, count in self.counts.items()]
        rows = [(first, *columns), *rows, ("together", *(f"{self.total(what):,}" for what in columns))]
        widths = [max(len(row[column]) for row in rows) for column in range(len(columns) + 1)]
        return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def _child(job: Callable[[_Job], Tally], what: _Job, answer: Connection) -> None:
    answer.send(job(what))
    answer.close()


def in_children(job: Callable[[_Job], Tally], jobs: Iterable[_Job], *, workers: int, told: str | None = None) -> Tally:
    """Do each job in a process of its own and return what they counted together.

    Parameters
    ----------
    job
        A function of a module; it should name a failing run in `Tally.wrong` rather than raise.
    jobs
        Its arguments. A child that ends by a signal or an exception is named in `Tally.wrong` with its argument.
    workers
        How many at once.
    told
        What one job is called in the progress bar; None shows none.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit the locks of Arrow's threads
    waiting = list(jobs)
    tally = Tally()
    with tqdm(total=len(waiting), unit=f" {told}", file=sys.stderr, disable=told is None) as progress:
        running: dict[Connection, tuple[multiprocessing.process.BaseProcess, _Job]] = {}
        while waiting or running:
            while waiting and len(running) < workers:
                mine, theirs = context.Pipe(duplex=False)
                what = waiting.pop(0)
                process: multiprocessing.process.BaseProcess = context.Process(target=_child, args=(job, what, theirs))
                process.start()
                theirs.close()
                running[mine] = (process, what)
            for answer in wait(list(running)):
                assert isinstance(answer, Connection)
                process, what = running.pop(answer)
                try:
                    tally.merge(answer.recv())
                except EOFError:
                    process.join()
                    code = process.exitcode or 0
                    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                    tally.wrong.append(f"{what}: the process ended by {how}")
                process.join()
                answer.close()
                progress.update()
                progress.set_postfix(wrong=len(tally.wrong))
    return tally
