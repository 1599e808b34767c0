"""The command ``wsresearch storm``: its options, its progress and its printing; the simulation is in `study.storm`.

Apart from :mod:`wsresearch.cli` because its options alone fill a page.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from wsresearch.errors import UsageError
from wsresearch.outfile import check_out, write_out
from wsresearch.reconnect.presets import POLICIES, PRESETS

__all__ = ["storm"]

_LISTINGS = ("seed-okhttp", "seed-java-websocket")
"""Named here for the help text, which must not wait for numpy; a test holds it to what there is."""


def storm(
    *,
    clients: Annotated[int, typer.Option(help="How many lose the server at the same moment.")] = 10_000,
    outage: Annotated[float, typer.Option(help="Seconds the server is gone.")] = 60.0,
    policy: Annotated[
        str | None,
        typer.Option(
            help=f"Policy, preset or listing of all clients: {', '.join([*POLICIES, *PRESETS, *_LISTINGS])}. "
            "[default: full-jitter]"
        ),
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="Several, with shares that sum to 1: full-jitter=0.7,seed-okhttp=0.3.")
    ] = None,
    accept_rate: Annotated[str, typer.Option(help="Connections the server opens in a second, or 'all'.")] = "1000",
    queue: Annotated[int, typer.Option(help="Attempts that may wait their turn; who finds it full must go.")] = 1000,
    refuse: Annotated[
        bool, typer.Option("--refuse/--no-answer", help="Whether who must go is told so, or hears nothing.")
    ] = True,
    retry_after: Annotated[
        float | None, typer.Option(help="Seconds a refusal tells clients to stay away. [default: it says nothing]")
    ] = None,
    obey: Annotated[bool, typer.Option("--obey/--ignore", help="Whether clients obey a Retry-After.")] = True,
    per_address: Annotated[
        str | None, typer.Option(help="Attempts an address may make, such as 300/300 seconds. [default: no limit]")
    ] = None,
    clients_per_address: Annotated[int, typer.Option(help="Clients that share an address.")] = 1,
    link: Annotated[float, typer.Option(help="Seconds a message takes one way, as a median over clients.")] = 0.05,
    open_timeout: Annotated[float, typer.Option(help="Seconds after which a client gives an attempt up.")] = 10.0,
    patience: Annotated[float, typer.Option(help="Seconds after the outage at which the simulation ends.")] = 3600.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same storm, byte for byte.", min=0)] = 1,
    out: Annotated[Path | None, typer.Option(help="Write a picture here, as PNG.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")
    ] = False,
) -> int:
    """Simulate many clients that lose one server and come back: what it is asked, and when they are back."""
    import numpy as np

    from wsresearch.reconnect import Budget
    from wsresearch.reconnect.checked import parse_number
    from wsresearch.study import Admission
    from wsresearch.study import storm as play
    from wsresearch.study.crowd import parse_mix

    if policy is not None and mix is not None:
        raise UsageError(f"give --policy or --mix, not both: {policy!r} and {mix!r}")
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out writes a PNG picture; give a path that ends with .png, not {str(out)!r}")
    check_out(out)
    try:
        limit = None if per_address is None else Budget.parse(per_address)
    except UsageError as exc:
        raise UsageError(f"--per-address: {exc}") from None
    rules = Admission(
        accept_rate=None if accept_rate == "all" else parse_number("accept-rate, unless it is 'all',", accept_rate),
        queue=queue,
        refuses=refuse,
        retry_after=retry_after,
        per_address=limit,
        clients_per_address=clients_per_address,
    )
    members = [replace(member, obeys=obey) for member in parse_mix(mix or policy or "full-jitter")]
    with _bar(clients) as show:
        found = play(
            members,
            clients=clients,
            outage=outage,
            rng=np.random.default_rng(seed),
            admission=rules,
            link=link,
            open_timeout=open_timeout,
            patience=patience,
            progress=show,
        )
    if as_json:
        print(json.dumps({"seed": seed, **found.as_json()}, indent=2, allow_nan=False))
    else:
        print(f"{clients:,} clients lose a server that is gone for {outage:g} s; times count from the loss\n\n{found}")
    if out is not None:
        from wsresearch.notebook import plots

        write_out(out, plots.figure_png(plots.storm(found).get_figure(root=True)))
    return 0


@contextlib.contextmanager
def _bar(clients: int) -> Iterator[Callable[[int, int, float], None]]:
    """Show a bar of the clients that are back on stderr if it takes longer than a second; few lines in a log."""
    from tqdm import tqdm

    pause = 0.1 if sys.stderr.isatty() else 10.0
    with tqdm(total=max(clients, 0), unit="back", unit_scale=True, delay=1.0, leave=False, mininterval=pause) as bar:

        def show(back: int, _all: int, second: float) -> None:
            bar.set_postfix_str(f"simulated second {second:,.0f}", refresh=False)
            bar.update(back - bar.n)

        yield show
