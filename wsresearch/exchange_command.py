"""The command ``wsresearch exchange``: its options; what it runs is in :mod:`wsresearch.lab`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["exchange"]


def exchange(
    *,
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1; 0 picks a free one.")] = 0,
    replay: Annotated[
        Path | None, typer.Option(help="A recording of '<recv_ns> <raw json>' lines, .gz or not.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Trades per second in all. [default: 100, or the recording's own]")
    ] = None,
    speed: Annotated[float, typer.Option(help="Play a recording so many times as fast as it was.")] = 1.0,
    symbols: Annotated[str, typer.Option(help="Symbols of the generated tape.")] = "btcusdt,ethusdt",
    faults: Annotated[Path | None, typer.Option(help="A fault plan, JSON.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generated tape and of random faults.")] = 0,
    waits: Annotated[bool, typer.Option("--waits", help="The tape stands still while nobody is connected.")] = False,
) -> int:
    """Run the local exchange until Ctrl-C; prints one JSON line {"url": …} when it is ready."""
    from wsresearch.lab import ExchangeOptions, FaultPlan, Tape
    from wsresearch.lab.child import serve

    names = tuple(name.strip() for name in symbols.split(","))
    if replay is not None:
        tape = Tape.from_recording(replay, speed=speed, rate=rate)
    else:
        tape = Tape.generate(names, rate=100.0 if rate is None else rate, seed=seed)
    plan = FaultPlan() if faults is None else FaultPlan.parse(faults)
    return serve(ExchangeOptions(source=tape.source, faults=plan, port=port, waits=waits, seed=seed), control=False)
