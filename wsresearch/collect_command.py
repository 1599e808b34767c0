"""The command ``wsresearch collect``: its options and its printing; what collects is in :mod:`wsresearch.collect`.

Apart from :mod:`wsresearch.cli` because its options alone fill a page.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from wsresearch.errors import NotACapture, UsageError
from wsresearch.progress import ProgressLine, Rate
from wsresearch.reconnect.presets import POLICIES, PRESETS

__all__ = ["collect"]


def collect(
    stream: Annotated[
        str | None, typer.Argument(help="What to collect: venue:symbol[,symbol…], such as binance:btcusdt.")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="The capture directory; made if it is not there.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Use this scheme, host and port, such as ws://127.0.0.1:9443.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help=f"Backoff policy or preset, by name: {', '.join([*POLICIES, *PRESETS])}.")
    ] = "full-jitter",
    policy_arg: Annotated[
        list[str] | None, typer.Option(help="A parameter of the policy as name=seconds; may be repeated.")
    ] = None,
    reset: Annotated[
        str | None,
        typer.Option(
            help="What returns the policy to its first delay: open, message or stable:SECONDS. "
            "[default: stable:60, or that of the preset]"
        ),
    ] = None,
    idle_timeout: Annotated[float, typer.Option(help="Seconds without market data that count as a stall.")] = 30.0,
    budget: Annotated[str, typer.Option(help="Attempts allowed in any window, as ATTEMPTS/SECONDS.")] = "60/300",
    max_attempts: Annotated[int | None, typer.Option(help="Give up after so many attempts in a row.")] = None,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    rotate_age: Annotated[float, typer.Option(help="Seal a segment after so many seconds.")] = 300.0,
    seed: Annotated[int | None, typer.Option(help="Make the jitter repeatable.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Collect in the background and return.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")
    ] = False,
) -> int:
    """Collect trades into a directory until stopped (Ctrl-C, SIGTERM, or 'wsresearch stop').

    Exit code: 0 stopped, 3 a failure that trying again cannot mend, 4 gave up after the last permitted attempt.
    """
    from wsresearch.collect.memory import ARROW_POOL

    os.environ.setdefault(*ARROW_POOL)  # before pyarrow is loaded, which the others do
    from wsresearch.api import make_config
    from wsresearch.capture.layout import Layout
    from wsresearch.collect.here import collect_here
    from wsresearch.collect.process import start_detached
    from wsresearch.schema import TableName

    if stream is None or out is None:
        raise UsageError("give a stream and a directory, such as: wsresearch collect binance:btcusdt --out data/btc")
    asked = make_config(
        stream,
        out,
        url=url,
        policy=policy,
        policy_args=dict(_pairs(policy_arg or [])),
        reset=reset,
        idle_timeout=idle_timeout,
        budget=budget,
        max_attempts=max_attempts,
        duration=duration,
        rotate_age=rotate_age,
        seed=seed,
    )
    if detach:
        started = start_detached(asked)
        if as_json:
            print(json.dumps({"pid": started.pid, "run": started.run}, indent=2))
        else:
            print(f"collecting {asked.stream} into {asked.out} as pid {started.pid}, run {started.run}")
            print(f"watch it with 'wsresearch status {asked.out}', stop it with 'wsresearch stop {asked.out}'")
        return 0
    line = ProgressLine()
    rate = Rate()

    def show(collector: Any) -> None:
        status = collector.status
        line.show(f"{rate.told(status.trades)}{status}", key=f"{status.state} {status.connection}")

    code = collect_here(asked, watch=show)
    line.close()
    from wsresearch.collect.status import read_status

    try:
        status = read_status(asked.out)
    except NotACapture:
        if not code:
            raise
        print(f"{str(asked.out)!r} is no capture any more: it was removed while it was collected", file=sys.stderr)
        return code
    if as_json:
        print(json.dumps(status.as_json(), indent=2, default=str))
    else:
        print(status)
    layout = Layout(asked.out)
    if left := [str(segment) for table in TableName for segment in layout.journals(table)]:
        # The way out takes two seconds and no more.
        print(
            f"not sealed yet, but stored: {', '.join(left)}; the next start seals them, or 'wsresearch recover "
            f"{asked.out}'",
            file=sys.stderr,
        )
    return code


def _pairs(arguments: list[str]) -> Iterator[tuple[str, str]]:
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name:
            raise UsageError(f"policy-arg {argument!r} must be name=seconds, such as cap=30")
        yield name.strip(), value.strip()
