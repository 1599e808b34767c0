"""The venue's REST, as far as a backfill needs it: trades and aggregated trades by id.

Not here: sockets and headers of the connection. Answers come from what the tape has produced, also when nobody
received it; skipped ids are unknown here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wsresearch.lab.door import Answer

__all__ = ["PREFIX", "Rest"]

PREFIX: Final = "/api/v3/"
_WEIGHTS: Final = MappingProxyType({"historicalTrades": 25, "aggTrades": 4, "exchangeInfo": 20, "time": 1, "ping": 1})
"""Request weights, Binance spot documentation of 2026-07-21."""
_BAN: Final = 120
"""Seconds of the first ban (418) after 429 was not heeded; from 2 minutes to 3 days at the real venue."""
_DEFAULT_LIMIT: Final = 500
_MAX_LIMIT: Final = 1_000
_MAX_ID: Final = 2**63


class _Refused(Exception):  # noqa: N818 - an answer on its way, never seen by a caller
    def __init__(self, status: int, code: int, msg: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(msg)
        self.answer = Answer(
            status=status, body=msgspec.json.encode({"code": code, "msg": msg}), headers=dict(headers or {})
        )


class Rest:
    """Answers REST requests.

    Parameters
    ----------
    trades
        Gives the trades of a symbol that exist, by rising id, as a table.
    symbols
        The symbols there are.
    weight_limit
        Weight allowed a minute; beyond it 429 with ``Retry-After``, and 418 for whoever goes on asking. None: no limit.
    """

    def __init__(
        self, *, trades: Callable[[str], pa.Table], symbols: tuple[str, ...], weight_limit: int | None
    ) -> None:
        self._trades = trades
        self._symbols = symbols
        self._weight_limit = weight_limit
        self._minute = -1
        self._used = 0
        self._warned = False
        self._banned_until = -math.inf

    def answer(self, target: str, now: float) -> Answer:
        """Return the answer to a GET of `target`, path and query, at `now` (wall clock, seconds)."""
        parts = urlsplit(target)
        name = parts.path.removeprefix(PREFIX)
        headers: dict[str, str] = {}
        try:
            if name not in _WEIGHTS:
                raise _Refused(404, -1, f"no such path; there are {', '.join(PREFIX + n for n in _WEIGHTS)}")
            self._weigh(_WEIGHTS[name], now)
            body = self._document(name, dict(parse_qsl(parts.query)), now)
        except _Refused as refused:
            answer = refused.answer
            body, status, headers = answer.body, answer.status, dict(answer.headers)
        else:
            status = 200
        headers |= {"Content-Type": "application/json", "X-MBX-USED-WEIGHT-1M": str(self._used)}
        return Answer(status=status, body=body, headers=headers)

    def _weigh(self, weight: int, now: float) -> None:
        if now < self._banned_until:
            raise self._too_much(418, self._banned_until - now)
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._used, self._warned = minute, 0, False
        self._used += weight
        if self._weight_limit is not None and self._used > self._weight_limit:
            if self._warned:
                self._banned_until = now + _BAN
                raise self._too_much(418, _BAN)
            self._warned = True
            raise self._too_much(429, (minute + 1) * 60 - now)

    def _too_much(self, status: int, wait: float) -> _Refused:
        msg = f"Too much request weight used; current limit is {self._weight_limit} request weight per 1 MINUTE."
        return _Refused(status, -1003, msg, {"Retry-After": str(math.ceil(wait))})

    def _document(self, name: str, query: Mapping[str, str], now: float) -> bytes:
        if name == "ping":
            return b"{}"
        if name == "time":
            return msgspec.json.encode({"serverTime": int(now * 1_000)})
        if name == "exchangeInfo":
            return msgspec.json.encode(self._info(now))
        symbol = query.get("symbol", "")
        if not symbol:
            raise _Refused(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in self._symbols:
            raise _Refused(400, -1121, "Invalid symbol.")
        limit = min(_whole(query, "limit") or _DEFAULT_LIMIT, _MAX_LIMIT)
        from_id = _whole(query, "fromId")
        table = self._trades(symbol)
        bounds = _bounds(table) if name == "aggTrades" else np.arange(len(table) + 1)
        numbers = np.arange(1, len(bounds)) if name == "aggTrades" else table["trade_id"].to_numpy()
        first = max(0, len(numbers) - limit) if from_id is None else int(np.searchsorted(numbers, from_id))
        last = min(first + limit, len(numbers))
        chosen = table.slice(bounds[first], bounds[last] - bounds[first]).to_pylist()
        if name == "historicalTrades":
            return msgspec.json.encode([_trade(row) for row in chosen])
        sizes = np.diff(bounds[first : last + 1]).tolist()
        return msgspec.json.encode(list(_aggregates(chosen, sizes, first + 1)))

    def _info(self, now: float) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": int(now * 1_000),
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": self._weight_limit or 6_000,
                }
            ],
            "symbols": [{"symbol": symbol, "status": "TRADING"} for symbol in self._symbols],
        }


def _whole(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) >= _MAX_ID or (name == "limit" and int(text) == 0):
        raise _Refused(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is a whole number.")
    return int(text)


def _milliseconds(row: Mapping[str, Any]) -> int:
    return int(row["trade_time"].timestamp() * 1_000_000) // 1_000


def _trade(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["trade_id"],
        "price": f"{row['price']:.8f}",
        "qty": f"{row['quantity']:.8f}",
        "quoteQty": f"{row['price'] * row['quantity']:.8f}",
        "time": _milliseconds(row),
        "isBuyerMaker": row["side"] == "sell",
        "isBestMatch": True,
    }


def _bounds(table: pa.Table) -> NDArray[np.int64]:
    """Return where aggregated trades begin, and the end: neighbours of one moment, price and side are one."""
    if not len(table):
        return np.zeros(1, np.int64)
    price, side, time = (table[name].combine_chunks() for name in ("price", "side", "trade_time"))
    new = np.zeros(len(table) - 1, bool)
    for column in (price, side, time):
        new |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate(([0], np.flatnonzero(new) + 1, [len(table)]))


def _aggregates(rows: Sequence[Mapping[str, Any]], sizes: Sequence[int], number: int) -> Iterator[dict[str, Any]]:
    start = 0
    for place, size in enumerate(sizes):
        group = rows[start : start + size]
        start += size
        yield {
            "a": number + place,
            "p": f"{group[0]['price']:.8f}",
            "q": f"{sum((row['quantity'] for row in group), Decimal()):.8f}",
            "f": group[0]["trade_id"],
            "l": group[-1]["trade_id"],
            "T": _milliseconds(group[0]),
            "m": group[0]["side"] == "sell",
            "M": True,
        }
