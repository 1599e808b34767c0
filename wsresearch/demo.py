"""``wsresearch demo``: the whole thing offline in half a minute, and the exchange's truth against what is on disk."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from wsresearch.api import Capture, collect
from wsresearch.lab import Begin, ExchangeProcess, FaultPlan, Tape, Truth, start
from wsresearch.progress import ProgressLine, Rate
from wsresearch.reconnect.backoff import FullJitter
from wsresearch.reconnect.reset import Reset

__all__ = ["Check", "against_truth", "run"]

_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
_RATE: Final = 2000.0
_PLANNED: Final = 30.0
# At seconds of a 30 s demo; each kind of end that a capture of real days meets.
_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"at": 3.0, "fault": "reset_peer"},
    {"at": 6.0, "fault": "close", "code": 1001, "reason": "going away"},
    {"at": 9.0, "fault": "refuse", "for": 3.0},
    {"at": 14.5, "fault": "silence", "for": 2.5},
    {"at": 19.5, "fault": "server_shutdown", "delay": 1.0},
    {"at": 23.0, "fault": "garble", "count": 5},
    {"at": 24.0, "fault": "skip_ids", "count": 7, "symbol": "BTCUSDT"},
    {"at": 25.0, "fault": "duplicate", "count": 5},
    {"at": 26.0, "fault": "reorder", "count": 4, "symbol": "ETHUSDT"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One figure, as the exchange knows it and as it is on disk."""

    what: str
    truth: object
    disk: object

    @property
    def agrees(self) -> bool:
        """Whether the two are the same."""
        return self.truth == self.disk


def run(*, seconds: float, out: Path) -> int:
    """Run the demo.

    Parameters
    ----------
    seconds
        Length of the tape; the fault plan is stretched to it.
    out
        A folder for the capture and the picture is made in here.

    Returns
    -------
    int
        0 if disk and truth agree in every figure, else 1.
    """
    folder = out / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    stretch = seconds / _PLANNED
    plan = FaultPlan.parse([_stretched(fault, stretch) for fault in _FAULTS])
    tape = Tape.generate(_SYMBOLS, rate=_RATE, seed=7, seconds=seconds)
    names = ", ".join(_SYMBOLS)
    print(f"a local exchange plays {_RATE:,.0f} trades/s of {names} for {seconds:g} s, with {len(plan)} faults:")
    print("  " + ", ".join(f"{fault.kind} at {fault.at:.3g} s" for fault in plan))
    with start(tape, faults=plan, begin=Begin.WITH_FIRST_CLIENT, seed=7) as exchange:
        capture = collect(
            f"binance:{','.join(_SYMBOLS).lower()}",
            folder / "capture",
            url=exchange.url,
            policy=FullJitter(base=0.2 * stretch, cap=stretch, floor=0.1 * stretch),
            reset=Reset(seconds=2.0 * stretch),
            idle_timeout=1.5 * stretch,
            seed=7,
        )
        try:
            _watch(capture, exchange)
        finally:
            capture.stop()
        truth = exchange.truth()
    print()
    print(capture.report_text())
    print()
    checks = list(against_truth(truth, capture))
    _print_checks(checks)
    picture = folder / "demo.png"
    from wsresearch.notebook.plots import overview_png

    picture.write_bytes(overview_png(capture))
    print()
    print(f"picture:  {picture}")
    print(f"Parquet:  {folder / 'capture'}/trades/**/*.parquet")
    print(f"report:   wsresearch report {folder / 'capture'} --out {folder / 'report.html'}")
    return 0 if all(check.agrees for check in checks) else 1


def _stretched(fault: dict[str, Any], stretch: float) -> dict[str, Any]:
    """Return a fault with all its times stretched, so that a short demo has the same story."""
    return {name: value * stretch if name in {"at", "for", "delay"} else value for name, value in fault.items()}


def against_truth(truth: Truth, capture: Capture) -> Iterator[Check]:
    """Compare what the exchange produced with what a capture stored and said of it.

    Trades from before the first stored one of a symbol or after the last cannot be known to a client and are
    left out; everything between must be stored exactly once with its exact values, or lie in a recorded hole.
    """
    stored = capture.trades()
    produced = _between(truth.produced(), stored)
    holes = capture.holes()
    yield Check(what="trades stored twice", truth=0, disk=stored.num_rows - _distinct(stored))
    there = _with_values(produced, stored)
    yield Check(what="trades stored, each with the venue's values", truth=there.num_rows, disk=stored.num_rows)
    yield Check(what="sum of quantities", truth=_sum(there["quantity"]), disk=_sum(stored["quantity"]))
    yield Check(what="sum of price × quantity", truth=_turnover(there), disk=_turnover(stored))
    yield Check(
        what="sells",
        truth=pc.sum(pc.equal(there["side"], "sell")).as_py(),
        disk=pc.sum(pc.equal(stored["side"], "sell")).as_py(),
    )
    expected = truth.holes(stored)
    yield Check(what="holes, each with first and last id", truth=_intervals(expected), disk=_intervals(holes))
    missing = pc.sum(holes["count"]).as_py() or 0
    skipped = pc.sum(pc.equal(truth.sent["kind"], "skipped")).as_py() or 0
    yield Check(what="trades stored + ids in holes", truth=produced.num_rows + skipped, disk=stored.num_rows + missing)
    garbage = truth.sent.filter(pc.is_valid(truth.sent["garbage"]))
    sent = pc.sum(pc.greater(garbage["connection"], 0)).as_py() or 0
    yield Check(what="malformed messages", truth=sent, disk=pc.sum(capture.stats()["rejected"]).as_py())


def _watch(capture: Capture, exchange: ExchangeProcess) -> None:
    """Show progress until the tape is over and everything sent has been read."""
    line, rate, began = ProgressLine(every=2.0), Rate(), time.monotonic()
    rate.told(0)
    while not exchange.status().has_played:
        time.sleep(0.5)
        now = capture.status
        told = f"{time.monotonic() - began:5.1f} s  {rate.told(now.trades)}{now}"
        line.show(told, key=f"{now.state} {now.connection}")
    exchange.settled()
    line.close()


def _print_checks(checks: list[Check]) -> None:
    print(f"{'truth of the exchange against the disk':44}  {'exchange':>24}  {'disk':>24}")
    for check in checks:
        told = [_short(check.truth), _short(check.disk)]
        print(f"{check.what:44}  {told[0]:>24}  {told[1]:>24}  {'agrees' if check.agrees else 'DIFFERS'}")
        if not check.agrees:
            print(f"the exchange says {check.truth!r}\nthe disk says    {check.disk!r}", file=sys.stderr)


def _short(value: object) -> str:
    return (
        f"{len(value)}"
        if isinstance(value, tuple)
        else f"{value:,}"
        if isinstance(value, int | Decimal)
        else str(value)
    )


def _between(produced: pa.Table, stored: pa.Table) -> pa.Table:
    """Keep what the venue produced between the first and the last stored id of each symbol."""
    ends = stored.group_by("symbol").aggregate([("trade_id", "min"), ("trade_id", "max")])
    joined = produced.join(ends, "symbol", join_type="inner")
    inside = pc.and_(
        pc.greater_equal(joined["trade_id"], joined["trade_id_min"]),
        pc.less_equal(joined["trade_id"], joined["trade_id_max"]),
    )
    return joined.filter(inside)


def _with_values(produced: pa.Table, stored: pa.Table) -> pa.Table:
    """Return the produced trades that are stored with the very same values."""
    columns = ["symbol", "trade_id", "price", "quantity", "side", "trade_time"]
    return produced.select(columns).join(stored.select(columns), columns, join_type="left semi")


def _distinct(stored: pa.Table) -> int:
    return int(stored.group_by(["symbol", "trade_id"]).aggregate([]).num_rows)


def _sum(column: pa.ChunkedArray) -> Decimal:
    return sum(column.to_pylist(), Decimal(0)).normalize()


def _turnover(table: pa.Table) -> Decimal:
    pairs = zip(table["price"].to_pylist(), table["quantity"].to_pylist(), strict=True)
    return sum((price * quantity for price, quantity in pairs), Decimal(0)).normalize()


def _intervals(holes: pa.Table) -> tuple[tuple[str, int, int], ...]:
    columns = (holes[name].to_pylist() for name in ("symbol", "first_id", "last_id"))
    return tuple(sorted(zip(*columns, strict=True)))
