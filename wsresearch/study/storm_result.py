"""What a storm did: tables by second and by member, and what sums it up; how it came about is not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wsresearch.markup import Markup, element
from wsresearch.reconnect.herd import Floats, Ints
from wsresearch.study.crowd import Member

__all__ = ["MEMBERS", "SECONDS", "Counts", "Storm", "told"]

SECONDS: Final = pa.schema(
    [
        pa.field("member", pa.string()),
        pa.field("second", pa.int64()),
        pa.field("attempts", pa.int64()),
        pa.field("wasted", pa.int64()),
        pa.field("opened", pa.int64()),
        pa.field("back", pa.int64()),
        pa.field("gone", pa.int64()),
    ]
)
"""By member, then by second since the outage began, none left out: attempts that arrived, those of them in vain,
connections that opened, clients that were back with one, and clients that had no retry left."""

MEMBERS: Final = pa.schema(
    [
        pa.field("member", pa.string()),
        pa.field("clients", pa.int64()),
        pa.field("attempts", pa.int64()),
        pa.field("wasted", pa.int64()),
        pa.field("back", pa.int64()),
        pa.field("gone", pa.int64()),
        pa.field("back_50", pa.float64()),
        pa.field("back_99", pa.float64()),
        pa.field("back_100", pa.float64()),
        pa.field("live", pa.int64()),
        pa.field("most_live", pa.int32()),
        pa.field("duplicates", pa.int64()),
    ]
)
"""By member: its clients, their attempts and those in vain; clients back and clients gone without a retry left; seconds
since the outage began until half, 99 % and all of its clients were back, null where that never came; connections that
are open in the end, the most that one client has, and those beyond the first of each client, which bring every trade
once more."""

_WINDOW: Final = 0.1
_PER_SECOND: Final = 1000


class Counts:
    """Counts attempts and connections while a storm goes on."""

    def __init__(self, *, members: int) -> None:
        self._members = members
        self.milliseconds = np.zeros(_PER_SECOND, dtype=np.int64)
        """Attempts by the millisecond in which they arrived."""
        self._attempts, self._wasted, self._opened = (np.zeros(members, dtype=np.int64) for _ in range(3))

    def add(self, at: Floats, reply: Floats, *, kind: NDArray[np.int32], opened: NDArray[np.bool_]) -> None:
        """Count attempts: when they arrived, when they were answered, whose they were, and whether they opened."""
        self.milliseconds = _added(self.milliseconds, (at * _PER_SECOND).astype(np.int64))
        places = self._place(at, kind)
        self._attempts = _added(self._attempts, places)
        self._wasted = _added(self._wasted, places[~opened])
        self._opened = _added(self._opened, self._place(reply[opened], kind[opened]))

    def by_second(self, back_at: Floats, gone_at: Floats, kind: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return what :data:`SECONDS` counts, shape (5, seconds, members); a connection counts when it opens."""
        counts = [self._attempts, self._wasted, self._opened]
        for at in (back_at, gone_at):
            ever = np.isfinite(at)
            counts.append(_added(np.zeros(self._members, dtype=np.int64), self._place(at[ever], kind[ever])))
        last = max(int(np.flatnonzero(each)[-1]) // self._members if each.any() else 0 for each in counts)
        size = (last + 1) * self._members
        padded = np.array([np.pad(each[:size], (0, max(0, size - len(each)))) for each in counts])
        return padded.reshape(len(counts), last + 1, self._members)

    def _place(self, at: Floats, kind: NDArray[np.int32]) -> Ints:
        return at.astype(np.int64) * self._members + kind


def _added(counts: Ints, places: Ints) -> Ints:
    """Return counts with one more at each of the places, longer if need be."""
    if not len(places):
        return counts
    low, high = int(places.min()), int(places.max())
    if high >= len(counts):
        counts = np.concatenate((counts, np.zeros(max(high + 1 - len(counts), len(counts)), dtype=np.int64)))
    counts[low : high + 1] += np.bincount(places - low)
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What a storm did to a server and what became of the clients.

    Parameters
    ----------
    outage
        Seconds the server was gone.
    members
        One row for each member of the mix, see :data:`MEMBERS`.
    total
        The same as one row for all.
    seconds
        One row for each member and second, see :data:`SECONDS`; up to the last in which something happened.
    busiest_attempts
        Attempts in the busiest 100 ms, of all windows that begin at a millisecond.
    busiest_back
        Clients that came back in the busiest 100 ms, of all windows.
    busiest_after
        Attempts in the busiest 100 ms from the end of the outage on.
    """

    outage: float
    members: pa.Table
    total: pa.Table
    seconds: pa.Table
    busiest_attempts: int
    busiest_after: int
    busiest_back: int

    @property
    def trying(self) -> int:
        """Clients that were neither back nor gone when the simulation ended."""
        row = self.total.to_pylist()[0]
        return int(row["clients"] - row["back"] - row["gone"])

    def as_json(self) -> dict[str, Any]:
        """Return everything but the seconds as plain values; times are seconds since the outage began."""
        (whole,) = self.total.to_pylist()
        return {
            "outage": self.outage,
            **{name: value for name, value in whole.items() if name != "member"},
            "trying": self.trying,
            "busiest_attempts": self.busiest_attempts,
            "busiest_after": self.busiest_after,
            "busiest_back": self.busiest_back,
            "members": self.members.to_pylist(),
            "seconds": self.seconds.to_pydict(),
        }

    def rows(self) -> list[list[str]]:
        """Return the table that people read: a heading, a row for each member, and one for all if they are several."""
        head = ["client", "clients", "attempts", "wasted", "back", "gone", "50 % back", "99 % back", "100 % back"]
        listed = self.members.to_pylist() + (self.total.to_pylist() if len(self.members) > 1 else [])
        rows = [[*head, "live", "most", "duplicates"]]
        for row in listed:
            counts = [f"{row[name]:,}" for name in ("clients", "attempts", "wasted", "back", "gone")]
            times = ["never" if (at := row[name]) is None else f"{at:,.1f} s" for name in _TIMES]
            rows.append(
                [row["member"], *counts, *times, *(f"{row[name]:,}" for name in ("live", "most_live", "duplicates"))]
            )
        return rows

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        return "\n".join([*lines, "", *self.sentences()])

    def sentences(self) -> list[str]:
        """Return what holds for all clients together, in words."""
        (whole,) = self.total.to_pylist()
        share = whole["wasted"] / whole["attempts"] if whole["attempts"] else 0.0
        busiest = f"{self.busiest_attempts:,} attempts, {self.busiest_after:,} once the server was back"
        said = [
            f"busiest 100 ms: {busiest}; at most {self.busiest_back:,} clients came back in 100 ms",
            f"{whole['wasted']:,} of {whole['attempts']:,} attempts were in vain ({share:.1%})",
        ]
        if self.trying:
            said.append(f"{self.trying:,} clients were still trying when the simulation ended: raise patience")
        return said

    def _repr_html_(self) -> Markup:
        head, *rows = self.rows()
        return element(
            "div",
            element(
                "table",
                element("thead", element("tr", *(element("th", cell, scope="col") for cell in head))),
                element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows)),
            ),
            *(element("p", sentence) for sentence in self.sentences()),
        )


_TIMES: Final = ("back_50", "back_99", "back_100")


def told(
    members: Sequence[Member],
    counts: Counts,
    *,
    kind: NDArray[np.int32],
    live: NDArray[np.int32],
    back_at: Floats,
    gone_at: Floats,
    outage: float,
) -> Storm:
    """Sum a storm up.

    Parameters
    ----------
    members, counts
        Who was there, and what was counted.
    kind, live, back_at, gone_at
        Of each client: its member, its connections in the end, when it was back and when it had no retry left
        (infinite if never); shape (clients,).
    outage
        Seconds the server was gone.
    """
    seconds = counts.by_second(back_at, gone_at, kind)
    attempts = seconds[:2].sum(axis=1)
    rows = []
    for number, member in enumerate(members):
        of = kind == number
        rows.append(_row(member.name, attempts[:, number], live[of], back_at[of], gone_at[of]))
    total = _row("all", attempts.sum(axis=1), live, back_at, gone_at)
    names = np.repeat([member.name for member in members], seconds.shape[1])
    columns = [each.T.ravel() for each in seconds]
    return Storm(
        outage=outage,
        members=pa.Table.from_pylist(rows, schema=MEMBERS),
        total=pa.Table.from_pylist([total], schema=MEMBERS),
        seconds=pa.table([names, np.tile(np.arange(seconds.shape[1]), len(members)), *columns], schema=SECONDS),
        busiest_attempts=_busiest(counts.milliseconds),
        busiest_after=_busiest(counts.milliseconds[int(outage * _PER_SECOND) :]),
        busiest_back=_busiest_back(back_at),
    )


def _row(name: str, counted: Ints, live: NDArray[np.int32], back_at: Floats, gone_at: Floats) -> dict[str, Any]:
    clients = len(live)
    known = np.sort(back_at)
    row: dict[str, Any] = {"member": name, "clients": clients, "attempts": int(counted[0]), "wasted": int(counted[1])}
    row |= {"back": int(np.isfinite(back_at).sum()), "gone": int(np.isfinite(gone_at).sum())}
    for field, percent in zip(_TIMES, (50, 99, 100), strict=True):
        at = float(known[-(-clients * percent // 100) - 1]) if clients else np.inf
        row[field] = at if np.isfinite(at) else None
    return row | {
        "live": int(live.sum()),
        "most_live": int(live.max(initial=0)),
        "duplicates": int(np.maximum(live - 1, 0).sum()),
    }


def _busiest(counts: Ints) -> int:
    """Return the most in any window that begins at a millisecond."""
    sums = np.concatenate(([0], np.cumsum(counts)))
    width = min(int(_WINDOW * _PER_SECOND), len(counts))
    return int((sums[width:] - sums[: len(sums) - width]).max(initial=0))


def _busiest_back(back_at: Floats) -> int:
    """Return the most clients back in any half-open window of 100 ms."""
    known = np.sort(back_at[np.isfinite(back_at)])
    ends = np.searchsorted(known, known + _WINDOW, side="left")
    return int((ends - np.arange(len(known))).max(initial=0))
