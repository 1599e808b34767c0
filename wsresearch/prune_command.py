"""The command ``wsresearch prune``: its options and its printing; what goes is decided in `capture.prune`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsresearch.errors import UsageError
from wsresearch.progress import ProgressLine
from wsresearch.safetext import safe

if TYPE_CHECKING:
    from wsresearch.capture.prune import Pruning

__all__ = ["prune"]


def prune(
    directory: Annotated[Path, typer.Argument(help="The capture directory.", show_default=False)],
    *,
    keep: Annotated[
        str | None, typer.Option(help="How much stays, such as 7d or 12h, counted back from the newest row.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(help="Or the moment (UTC) from which on all stays, such as 2026-11-20T12:00Z.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, nothing is changed.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")
    ] = False,
) -> int:
    """Give disk space back: remove the oldest sealed trades, and write down which; a collector may be running.

    Events and stats stay, and 'verify' goes on to prove what is missing. Without --yes it only tells what would go.

    Exit code: 0 done or told, 1 if files are still being read by somebody and must be removed by the next prune.
    """
    from wsresearch.capture.prune import prune as remove
    from wsresearch.capture.window import instant

    if (keep is None) == (before is None):
        both = f"not both: {keep!r} and {before!r}" if keep is not None else "nothing goes unless you say what stays"
        raise UsageError(f"give --keep (such as --keep 7d) or --before (such as --before 2026-11-20); {both}")
    if before is not None:
        instant(before, "--before", back="--keep 7d")
    line = ProgressLine()
    try:
        told = remove(
            directory,
            keep=keep,
            before=before,
            yes=yes,
            progress=lambda text: line.show(text, key=text.split()[0]),
        )
    finally:
        line.close()
    if as_json:
        print(json.dumps(told.as_json(), indent=2))
    else:
        option = f"--keep {keep}" if before is None else f"--before {before!r}"
        _print(told, f"wsresearch prune {os.fspath(directory)} {option} --yes")
    return 0 if told.held is None else 1


def _print(told: Pruning, command: str) -> None:
    went = "removed" if told.done else "would remove"
    until = (
        "no row is there to count from"
        if told.before is None
        else f"received before {told.before:%Y-%m-%d %H:%M:%S} UTC"
    )
    print(f"{went} {told.rows:,} trades of {told.segments:,} segments ({told.size_bytes:,} bytes), {until}")
    if told.first and told.last:
        print(f"  from {told.first:%Y-%m-%d %H:%M:%S} to {told.last:%Y-%m-%d %H:%M:%S} UTC")
    for symbol, known in told.symbols.items():
        ids = "" if known.ends is None else f" ({known.ends[0]} to {known.ends[1]})"
        print(f"  {safe(symbol)}: {known.rows:,} rows{ids}")
    if told.leftovers:
        print(f"  note: {told.leftovers} files that an earlier prune did not come to remove go as well")
    if told.stopped:
        print(f"  note: no more goes: {told.stopped}")
    for problem in told.problems:
        print(f"  problem: {safe(problem, limit=400)}")
    if not told.done:
        if told.segments or told.leftovers:
            print(f"nothing was changed; to do it: {command}")
        return
    print(f"{told.freed_bytes:,} bytes freed in {told.removed:,} files")
    if told.held is not None:
        print(
            f"somebody still reads {told.held.name}: it and what is newer is written down as removed, nothing of ours "
            "reads it any more, and the next prune removes it"
        )
