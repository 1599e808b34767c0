"""Clients that contend for one row with optimistic writes: the model in which backoff algorithms were first compared.

Not here: clients that reconnect to a server that was gone (:mod:`wsresearch.study.storm`).

Each client reads the row, then writes it, and its write succeeds only if nobody else's did since its read; if it
failed, the client backs off and begins again with the read, until it has written once. Every message takes a time of
its own through the network.

Source of the model and of the set-up it is run with: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
Blog, 2015, and aws-samples/aws-arch-backoff-simulator, ``src/backoff_simulator.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Policy
from wsresearch.reconnect.checked import checked_count, checked_number
from wsresearch.reconnect.herd import Floats, Herd

__all__ = ["CONTENTION", "contention"]

CONTENTION: Final = pa.schema(
    [
        pa.field("clients", pa.int32()),
        pa.field("run", pa.int32()),
        pa.field("calls", pa.int64()),
        pa.field("time", pa.float64()),
    ]
)

_QUANTILES: Final = 65_536

_SIGMAS: Final = 5.0
"""No quantile lies so many deviations below the mean, so no delay is negative."""

_LARGEST: Final = 100_000_000
"""Clients in all runs together that still fit into the memory of a small machine."""


@cache
def _quantiles() -> Floats:
    """Return the middles of equally likely parts of the normal distribution, with its variance."""
    from scipy.special import ndtri  # here, because every command that opens a capture imports this room

    quantiles: Floats = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    quantiles /= quantiles.std()
    return quantiles


class _Network:
    """How long messages take: normal, and so is the sum of two.

    Drawn are not normal numbers but one of 65,536 quantiles of theirs, equally likely and with the same variance: the
    two distribution functions nowhere differ by more than 2e-5, and it takes a fifth of the time.
    """

    def __init__(self, delay: float, spread: float, rng: np.random.Generator) -> None:
        self._rng = rng
        self._one: Floats = delay + spread * _quantiles()
        self._two: Floats = 2 * delay + 2**0.5 * spread * _quantiles()

    def one(self, size: int) -> Floats:
        """Return how long a message takes, for so many clients."""
        return self._one.take(self._rng.integers(_QUANTILES, size=size, dtype=np.uint16))

    def two(self, size: int) -> Floats:
        """Return how long two messages take, one after the other."""
        return self._two.take(self._rng.integers(_QUANTILES, size=size, dtype=np.uint16))


def contention(
    policy: Policy,
    *,
    clients: Sequence[int],
    runs: int = 100,
    rng: np.random.Generator,
    delay: float = 10.0,
    spread: float = 2.0,
) -> pa.Table:
    """Let clients contend until each has written once, in many runs for each of several numbers of clients.

    Parameters
    ----------
    policy
        How they back off. It has no unit here: its numbers are in the unit of ``delay``.
    clients
        The numbers of clients, each at least 1.
    runs
        Runs for each number.
    rng
        Where jitter and network delays come from.
    delay, spread
        Mean and standard deviation of the time one message takes; ``spread`` at most a fifth of ``delay``.

    Returns
    -------
    pyarrow.Table
        By ``clients`` as given, then by ``run``:

        =========== ===========================================================================
        ``clients`` how many there were
        ``run``     1, 2, …
        ``calls``   writes in all, at least one for each client
        ``time``    when the last client learned that it had succeeded
        =========== ===========================================================================

    Raises
    ------
    UsageError
        If a number is out of range, or the policy gives up after ``max_attempts``: each client has to succeed.

    Notes
    -----
    Nothing is stepped through but the successes. A write succeeds if no other has since its read, so the next to
    succeed is the first write of those whose read came after the last success. All whose read came before that write
    will fail, each exactly once, and their next read comes after it. So at any success every client left has its read
    behind the success before; all runs with equally many clients left are one rectangle of reads and writes.

    Examples
    --------
    >>> from wsresearch.reconnect import FullJitter
    >>> contention(FullJitter(base=10, cap=2000, floor=0), clients=[1], runs=1, rng=np.random.default_rng(1))["calls"]
    <pyarrow.lib.ChunkedArray object at ...>
    [[1]]
    """
    counts = [checked_count("each of clients", each, high=100_000) for each in clients]
    runs = checked_count("runs", runs, high=1_000_000)
    delay = checked_number("delay", delay, low=0.0, above_low=True)
    spread = checked_number("spread", spread, low=0.0, high=delay / _SIGMAS, high_is="a fifth of delay")
    if policy.max_attempts is not None:
        raise UsageError(f"max_attempts must be left out here, not {policy.max_attempts}: each client has to succeed")
    if (room := max(counts, default=0) * len(counts) * runs) > _LARGEST:
        raise UsageError(f"{runs:,} runs for each of clients={counts} are {room:,} places; {_LARGEST:,} are the most")
    # The largest first: the runs that still have m clients are then the first so many rows.
    sizes = np.repeat(np.sort(np.array(counts, dtype=np.int64))[::-1], runs)
    calls, time = _play(policy, sizes, _Network(delay, spread, rng), rng)
    place = np.argsort(np.argsort(-np.array(counts), kind="stable"), kind="stable")
    of = (place[:, None] * runs + np.arange(runs)).ravel()
    columns = [sizes[of], np.tile(np.arange(1, runs + 1), len(counts)), calls[of], time[of]]
    arrays = [pa.array(column).cast(field.type) for column, field in zip(columns, CONTENTION, strict=True)]
    return pa.table(arrays, schema=CONTENTION)


def _play(
    policy: Policy, sizes: np.ndarray, network: _Network, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return calls and time of each run; ``sizes`` falls, shape (runs,)."""
    runs, most = len(sizes), int(sizes[0]) if len(sizes) else 0
    herd = Herd(policy, runs * most)
    # Slot k of run r is number k * runs + r: neighbours in memory are the same slot of neighbouring runs.
    read = network.one(runs * most)
    write = read + network.two(runs * most)
    calls, time = sizes.copy(), np.zeros(runs)
    reads, writes = read.reshape(most, runs), write.reshape(most, runs)
    for left in range(most, 0, -1):
        active = int(np.searchsorted(-sizes, -left, side="right"))
        now = writes[:left, :active].min(axis=0)
        time[:active] = now
        # Whose read came before the success: the one that succeeds, and those that will fail.
        found = np.flatnonzero(reads[:left, :active] < now)
        slot = found // active
        run = found - slot * active
        slot *= runs
        slot += run
        wrote = write.take(slot)
        won = wrote == now.take(run)
        done = np.flatnonzero(won)
        winner = np.empty(active, dtype=np.int64)
        winner[run.take(done)] = slot.take(done)
        if len(done) > active:  # two wrote at the very same moment: one of them is first, and the other fails
            won = np.isin(slot, winner)
        lost = np.flatnonzero(~won)
        failed = slot.take(lost)
        again = wrote.take(lost)
        again += network.two(len(failed))
        again += herd.draw(failed, rng)
        read[failed] = again
        again += network.two(len(failed))
        write[failed] = again
        # The last client left takes the place of the one that is done.
        last = np.arange((left - 1) * runs, (left - 1) * runs + active)
        calls[:active] += herd.drawn.take(winner)
        read[winner], write[winner] = read[last], write[last]
        herd.move(last, winner)
    return calls, time + network.one(runs)
