"""Two hundred faults on loopback, each with its known truth, and what the collector made of them.

``python -m benchmarks.two_hundred_faults`` plays a plan drawn from a seed to a collector of its own process and holds
the ledger of outages that ``study`` reads from the capture against the one that the exchange's own account gives:
every outage found and none invented, its cause, the causes of its failed attempts, every hole, and the four phases.
The differences of the phases are printed as quantiles, beside how late a sleeping process was woken on this machine
in the same minutes: on a loaded machine that is what the largest differences are made of. Where it may, it asks the
kernel for real-time priority, so that other work on the machine shows less. The tests run it shorter.

An attempt is known to the exchange from its accept on. What the client does before (a decision, a name, a socket, a
SYN: about 2 ms) is therefore *backoff* in the one account and *connect* in the other, once for each attempt; so these
two are compared for each attempt, and their sum, the silence of the whole outage, as it is.

Not here: faults that hit the disk, the process or the clock (``tests/drill``).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from benchmarks.undisturbed import undisturbed
from wsresearch.api import Capture, make_config
from wsresearch.capture.verify import verify
from wsresearch.collect import process
from wsresearch.demo import Check, against_truth
from wsresearch.lab import Begin, FaultPlan, Tape, Truth, start

__all__ = ["COMPARED", "KINDS", "TOLERANCE", "Drill", "TrueOutage", "drawn", "play", "true_outages"]

PHASES: Final = ("detect", "backoff", "connect", "first_message")
COMPARED: Final = (*PHASES, "silence")
TOLERANCE: Final = 0.005
"""Seconds that each of these may differ from what the exchange recorded."""

_PING: Final = 0.3
_IDLE: Final = 2.0
_OPEN: Final = 0.5
"""Timeouts of the collector: everything is fast, so that five minutes hold 200 faults."""

KINDS: Final[Sequence[tuple[float, Mapping[str, Any]]]] = (
    (0.0, {"fault": "reset"}),
    (0.0, {"fault": "close", "code": 1000}),
    (0.0, {"fault": "close", "code": 1001, "reason": "going away"}),
    (0.0, {"fault": "close", "code": None}),
    (0.0, {"fault": "close", "code": 1011, "reason": "<b>oops</b>"}),
    (0.0, {"fault": "close", "code": 4321}),
    (0.0, {"fault": "close", "code": 1006}),
    (0.6, {"fault": "slow_close", "delay": 0.6, "code": 1001}),
    (0.2, {"fault": "timeout", "for": 0.2}),
    (1.6, {"fault": "timeout", "for": 4.0}),
    (1.6, {"fault": "half_open"}),
    (0.5, {"fault": "silence", "for": 0.5}),
    (2.6, {"fault": "silence", "for": 2.6}),
    (0.5, {"fault": "refuse", "for": 0.5}),
    (0.5, {"fault": "http", "status": 503, "for": 0.5}),
    (0.5, {"fault": "http", "status": 502, "body": "<html>bad gateway</html>", "for": 0.3}),
    (1.2, {"fault": "http", "status": 429, "retry_after": 1, "for": 0.3}),
    (0.8, {"fault": "stall_handshake", "for": 0.3}),
    (0.5, {"fault": "flap", "for": 0.4}),
    (0.5, {"fault": "flap", "for": 0.4, "after": 3, "how": "close", "code": 1012}),
    (0.5, {"fault": "flap", "for": 0.4, "after": 2, "how": "eof"}),
    (0.5, {"fault": "flap", "for": 0.4, "how": "accept_eof"}),
    (0.5, {"fault": "flap", "for": 0.4, "how": "accept_reset"}),
    (0.3, {"fault": "limit_data", "bytes": 5000}),
    (0.3, {"fault": "server_shutdown", "delay": 0.3}),
    (0.2, {"fault": "giant", "bytes": 2_000_000}),
    (0.2, {"fault": "skip_ids", "count": 3}),
    (0.2, {"fault": "duplicate", "count": 5}),
    (0.2, {"fault": "reorder", "count": 4}),
    (0.2, {"fault": "garble", "count": 5}),
    (0.6, {"fault": "latency", "latency": 0.05, "jitter": 0.05, "for": 0.5}),
    (0.6, {"fault": "slicer", "average_size": 40, "size_variation": 20, "for": 0.3}),
    (1.0, {"fault": "bandwidth", "rate": 40_000, "for": 0.6}),
)
"""What is played, each with how many seconds it keeps a client busy before the wait for the next attempt."""


def drawn(*, count: int, seed: int) -> FaultPlan:
    """Draw a plan: every kind as often as any other, in random order, at random moments, one after the other."""
    rng = random.Random(seed)
    order: list[tuple[float, Mapping[str, Any]]] = []
    while len(order) < count:
        order += rng.sample(KINDS, len(KINDS))
    at, entries = 1.0, []
    for seconds, fault in order[:count]:
        entries.append({**fault, "at": round(at, 6)})
        at += seconds + rng.uniform(0.8, 1.0)
    return FaultPlan.parse(entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueOutage:
    """One outage as the exchange's own account gives it; seconds."""

    connection: int
    next_connection: int
    cause: str
    close_code: int | None
    failures: tuple[str, ...]
    """Causes of the attempts that failed, those at a closed port excepted: they leave no trace at the exchange."""
    detect: float
    backoff: float
    connect: float
    first_message: float


def true_outages(truth: Truth) -> Iterator[TrueOutage]:
    """Tell the outages of a single client from the account of the exchange alone.

    An outage lies between two neighbouring connections that were sent messages. Its *detect* is from the last message
    to the first sign of the end on the wire, *connect* the time in attempts and in connections that were sent
    nothing, *first message* from the answered upgrade to the first message. *Backoff* is what remains.
    """
    rows = sorted(truth.connections.to_pylist(), key=lambda row: row["accepted_ns"])
    faults = [(row["wall_ns"], row["connection"], json.loads(row["parameters"])) for row in truth.faults.to_pylist()]
    sent = truth.sent.select(["connection", "sent_ns"])
    delivering = [row for row in rows if row["connection"] and row["first_ns"]]
    for one, other in pairwise(delivering):
        last_ns = one["last_ns"]
        for struck_ns, connection, fault in faults:
            if connection == one["connection"] and fault["fault"] == "giant":  # what follows it is not for this client
                mine = pc.equal(sent["connection"], connection)
                before = pc.and_(mine, pc.less_equal(sent["sent_ns"], struck_ns))
                last_ns = pc.max(sent["sent_ns"].filter(before)).as_py()
        between = [row for row in rows if one["accepted_ns"] < row["accepted_ns"] < other["accepted_ns"]]
        cause, code = _cause(one, faults)
        detect = one["ended_ns"] - last_ns
        connect = sum(row["ended_ns"] - row["accepted_ns"] for row in between)
        connect += other["opened_ns"] - other["accepted_ns"]
        first = other["first_ns"] - other["opened_ns"]
        yield TrueOutage(
            connection=one["connection"],
            next_connection=other["connection"],
            cause=cause,
            close_code=code,
            failures=tuple(sorted(_failure(row) for row in between if not row["connection"])),
            detect=detect / 1e9,
            backoff=(other["first_ns"] - last_ns - detect - connect - first) / 1e9,
            connect=connect / 1e9,
            first_message=first / 1e9,
        )


def _cause(row: Mapping[str, Any], faults: Sequence[tuple[int, int, dict[str, Any]]]) -> tuple[str, int | None]:
    """Return cause and close code that the end of a connection must be given, by who ended it and how."""
    struck = next((fault for _, number, fault in reversed(faults) if number == row["connection"]), {"fault": None})
    match row["ended_by"], struck["fault"]:
        case "client", "giant":
            return "too_big", 1009
        case "client", _:
            return "stalled", None
        case "half_open", _:
            return "ping_timeout", 1011
        case "timeout", _:
            return ("ping_timeout", 1011) if struck["for"] > 1.0 else ("eof", None)
        case "limit_data", _:
            return "eof", None
        case (("close" | "slow_close"), _):
            code = struck["code"]
            if code == 1006:  # may not be sent: our answer says that the protocol was broken
                return "protocol_error", 1002
            return "closed", 1005 if code is None else code
        case "server_shutdown", _:
            return "server_shutdown", struck["code"]
        case "flap", None:  # let in by the fault that was in force; the one that it found open was reset
            met = [fault for at, _, fault in faults if fault["fault"] == "flap" and at < row["opened_ns"]][-1]
            return {"close": ("closed", met["code"])}.get(met["how"], (met["how"], None))
    return "reset", None


def _failure(row: Mapping[str, Any]) -> str:
    if row["status"] is not None:
        return f"http_status {row['status']}"
    return "open_timeout" if row["ended_by"] == "stall_handshake" else "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """What a run left behind.

    Attributes
    ----------
    capture, truth
        The two accounts.
    lateness
        Seconds by which a process that slept for 5 ms was woken late, again and again during the run.
    """

    capture: Capture
    truth: Truth
    lateness: Any

    def pairs(self) -> list[tuple[TrueOutage, Mapping[str, Any]]]:
        """Each true outage with the row of the collector's ledger that tells of it."""
        mine = {row["connection"]: row for row in self._recorded()}
        return [(true, mine[true.connection]) for true in self._true() if true.connection in mine]

    def checks(self) -> list[Check]:
        """What must be equal, to the last hole."""
        true, mine = self._true(), self._recorded()
        return [
            Check(
                what="outages: lost and next connection",
                truth=tuple((one.connection, one.next_connection) for one in true),
                disk=tuple((row["connection"], row["next_connection"]) for row in mine),
            ),
            Check(
                what="causes and close codes",
                truth=tuple((one.connection, one.cause, one.close_code) for one in true),
                disk=tuple((row["connection"], row["cause"], row["close_code"]) for row in mine),
            ),
            Check(
                what="failed attempts by cause", truth=tuple(one.failures for one in true), disk=self._failures(mine)
            ),
            *against_truth(self.truth, self.capture),
        ]

    def differences(self) -> list[dict[str, Any]]:
        """Recorded minus true seconds for each outage, with what it was: see the module on what is compared."""
        found = []
        for true, row in self.pairs():
            off = {phase: row[phase] - getattr(true, phase) for phase in PHASES}
            silence = sum(off.values())
            tries = {"backoff": row["attempts"], "connect": row["attempts"]}
            found.append(
                {phase: value / tries.get(phase, 1) for phase, value in off.items()}
                | {"silence": silence, "connection": true.connection, "cause": true.cause}
            )
        return found

    def _true(self) -> list[TrueOutage]:
        return list(true_outages(self.truth))

    def _recorded(self) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = self.capture.outages().to_pylist()
        return [row for row in rows if not row["censored"]]

    def _failures(self, rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
        found: dict[int, list[str]] = {row["outage"]: [] for row in rows}
        for attempt in self.capture.attempts().to_pylist():
            if attempt["outcome"] == "failed" and attempt["outage"] in found and attempt["cause"] != "refused":
                cause = attempt["cause"]
                words = {"http_status": f"http_status {attempt['http_status']}", "eof": "ended", "reset": "ended"}
                found[attempt["outage"]].append(words.get(cause, cause))
        return tuple(tuple(sorted(found[row["outage"]])) for row in rows)


def play(plan: FaultPlan, folder: Path, *, seed: int) -> Drill:
    """Play a plan to a collector of its own process; return both accounts."""
    tape = Tape.generate(("BTCUSDT", "ETHUSDT"), rate=300.0, seed=seed)
    with start(tape, faults=plan, begin=Begin.WITH_FIRST_CLIENT, seed=seed) as exchange:
        config = make_config(
            "binance:btcusdt,ethusdt",
            folder / "capture",
            url=exchange.url,
            policy="full-jitter(base=0.1, cap=0.3, floor=0.02)",
            reset="message",
            budget="100000/300",
            idle_timeout=_IDLE,
            open_timeout=_OPEN,
            ping_interval=_PING,
            ping_timeout=_PING,
            seed=seed,
        )
        process.start_detached(config)
        try:
            lateness = _sleep_until(time.monotonic() + max(fault.at for fault in plan) + 4.5)
            exchange.settled()
        finally:
            process.stop(config.out)
        return Drill(capture=Capture(config.out), truth=exchange.truth(), lateness=lateness)


def _sleep_until(end: float) -> Any:
    """Sleep in small pieces; return by how many seconds each was too long."""
    late = []
    while (before := time.monotonic()) < end:
        time.sleep(0.005)
        late.append(time.monotonic() - before - 0.005)
    return np.array(late)


def main() -> int:
    """Play, compare, print; exit code 1 if anything differs or a phase is off by more than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    plan = drawn(count=asked.count, seed=asked.seed)
    seconds = max(fault.at for fault in plan)
    with tempfile.TemporaryDirectory(prefix="wsresearch-") as name, undisturbed() as may:
        how = "with real-time priority" if may else "without real-time priority: other work shows in the times"
        print(f"{len(plan)} faults of {len(KINDS)} kinds in {seconds:.0f} s, seed {asked.seed}, {how}", flush=True)
        drill = play(plan, Path(name), seed=asked.seed)
        well = _print(drill)
    print("\nall as it should be" if well else "\nNOT as it should be")
    return 0 if well else 1


def _print(drill: Drill) -> bool:
    checks = drill.checks()
    for check in checks:
        disk = len(check.disk) if isinstance(check.disk, tuple) else check.disk
        print(f"  {check.what:42} {disk!s:>22}  {'agrees' if check.agrees else 'DIFFERS'}")
        if not check.agrees:
            _tell(check)
    verdict = verify(drill.capture.root)
    print(f"  verify: {'all is well' if verdict.ok else verdict.problems}")
    print("\n  recorded minus true, ms      n    median     90 %    99 %   worst   over 5 ms")
    off = drill.differences()
    for phase in COMPARED:
        values = np.array([one[phase] for one in off])
        name = f"{phase}, each attempt" if phase in {"backoff", "connect"} else phase
        print(f"  {name:24} {len(values):5}  {_quantiles(values)}   {np.count_nonzero(np.abs(values) > TOLERANCE):9}")
    print(f"  {'a sleeper woken late':24} {len(drill.lateness):5}  {_quantiles(drill.lateness)}")
    ranked = sorted(((abs(one[phase]), phase, one) for one in off for phase in COMPARED), key=lambda x: -x[0])
    for worst, phase, one in ranked[:8]:
        if worst > TOLERANCE:
            print(f"    connection {one['connection']} ({one['cause']}): {phase} off by {one[phase] * 1e3:.1f} ms")
    return verdict.ok and ranked[0][0] <= TOLERANCE and all(check.agrees for check in checks)


def _quantiles(values: Any) -> str:
    found = [*np.quantile(np.abs(values), (0.5, 0.9, 0.99)), np.max(np.abs(values))]
    return " ".join(f"{value * 1e3:7.2f}" for value in found)


def _tell(check: Check) -> None:
    if not isinstance(check.truth, tuple) or not isinstance(check.disk, tuple):
        print(f"    the exchange says {check.truth}, the disk {check.disk}")
        return
    for truth, disk in zip(check.truth, check.disk, strict=False):
        if truth != disk:
            print(f"    the exchange says {truth}, the disk {disk}")
    print(f"    the exchange tells of {len(check.truth)}, the disk of {len(check.disk)}")


if __name__ == "__main__":
    sys.exit(main())
