"""Recordings of real traffic, read whole and checked before any of it is served.

Not here: generated traffic, the pacing, the wire. A recording holds one message a line,
``<nanoseconds since 1970 when received> <raw JSON>``, plain or gzip, in the combined or the raw form; other
messages than trades may stand between.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from wsresearch.errors import TapeError
from wsresearch.lab.message import Message
from wsresearch.venues.binance_wire import stream_name

__all__ = ["Others", "Recording"]

_GZIP_MAGIC: Final = b"\x1f\x8b"
_FORMAT: Final = "each line must be `<nanoseconds> <raw JSON object>`"
_MICROSECONDS_FROM: Final = 10**14
"""Times from here on are microseconds: in milliseconds this would be the year 5138, in microseconds it is 1973."""
_INT64: Final = 2**63
_LATEST: Final = 10**17
_DECIMAL: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,18})?")
"""What fits decimal128(38, 18), the type of prices and quantities everywhere."""


class Others(StrEnum):
    """What becomes of messages that are no trades."""

    KEEP = "keep"
    SKIP = "skip"


class _Trade(msgspec.Struct, frozen=True):
    """What must be known of a recorded trade for the truth's account of it."""

    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording and how it is played.

    Attributes
    ----------
    path
        The file; named ``.gz`` when it is gzip, or told from its first bytes.
    speed
        2 plays it in half the time.
    rate
        Messages per second, evenly spaced, instead of the recorded timing; not together with `speed`.
    others
        Whether messages other than trades are kept, as they are, or skipped.

    Raises
    ------
    TapeError
        For a speed or rate that is none. The file itself is read by :meth:`messages`.
    """

    path: str
    speed: float = 1.0
    rate: float | None = None
    others: Others = Others.KEEP

    def __post_init__(self) -> None:
        if not 0 < self.speed < math.inf:
            raise TapeError(f"speed {self.speed} must be above 0; 1 is the recording's own")
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise TapeError(f"rate {self.rate} must be above 0 messages per second")
        if self.rate is not None and self.speed != 1.0:
            raise TapeError(f"speed {self.speed} and rate {self.rate} exclude each other; give one of them")

    def messages(self) -> list[Message]:
        """Read and check the whole file.

        Returns
        -------
        list of Message
            In the order of the file. A receive time that steps back is taken to be the one before it.

        Raises
        ------
        TapeError
            The file is missing, cut, not gzip although named so, not a recording, or empty; the message names the
            file, the line and what is wrong with it.
        """
        found: list[Message] = []
        first_ns = latest_ns = None
        for number, line in enumerate(_lines(Path(self.path)), start=1):
            where = f"{self.path}: line {number}"
            recv_ns, payload = _split(line, where)
            if first_ns is None or latest_ns is None:
                first_ns = latest_ns = recv_ns
            latest_ns = max(latest_ns, recv_ns)
            message = _message(payload, due_ns=round((latest_ns - first_ns) / self.speed), where=where)
            if not message.is_trade and self.others is Others.SKIP:
                continue
            if self.rate is not None:
                message = msgspec.structs.replace(message, due_ns=round(len(found) * 1e9 / self.rate))
            found.append(message)
        if not found:
            left = " of trades" if self.others is Others.SKIP else ""
            raise TapeError(f"{self.path}: empty; a recording{left} needs at least one message")
        return found


def _lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TapeError(f"{path}: cannot be read: {error.strerror}; give the path of a recording") from error
    if content.startswith(_GZIP_MAGIC):
        content = _unpack(path, content)
    elif path.suffix == ".gz":
        raise TapeError(f"{path}: not gzip although named .gz; rename it or compress it")
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return lines


def _unpack(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except EOFError:
        whole = zlib.decompressobj(wbits=31).decompress(content).count(b"\n")
        raise TapeError(f"{path}: cut after line {whole}: the gzip data ends too early; copy the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TapeError(f"{path}: damaged gzip data: {error}; copy the file again") from error


def _split(line: bytes, where: str) -> tuple[int, bytes]:
    """Return receive time and JSON of a line; the JSON is only known to begin and end like an object."""
    stamp, _, payload = line.rstrip(b"\r").partition(b" ")
    if not stamp.isdigit() or len(stamp) > 19:
        raise TapeError(f"{where} is no recorded message: it begins with {_shown(line)}; {_FORMAT}")
    return int(stamp), payload


def _message(payload: bytes, *, due_ns: int, where: str) -> Message:
    try:
        document: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TapeError(f"{where} is cut or no JSON ({error}): {_shown(payload)}; {_FORMAT}") from error
    if not isinstance(document, dict):
        raise TapeError(f"{where} is no JSON object: {_shown(payload)}; {_FORMAT}")
    stream, event, raw = "", document, payload
    if isinstance(document.get("stream"), str) and "data" in document:
        stream, event = document["stream"], document["data"]
        raw = _data_of(payload, stream)
    if not isinstance(event, dict) or event.get("e") != "trade":
        return Message(due_ns=due_ns, stream=stream, raw=raw)
    try:
        trade = msgspec.convert(event, _Trade)
    except msgspec.ValidationError as error:
        raise TapeError(f"{where} holds a trade that cannot be served: {error}") from error
    if not 0 <= trade.t < _INT64 or not 0 <= trade.T < _LATEST:
        raise TapeError(f"{where} holds a trade that cannot be served: id {trade.t} or time {trade.T} out of range")
    for number in (trade.p, trade.q):
        if not _DECIMAL.fullmatch(number):
            raise TapeError(f"{where} holds a trade that cannot be served: {number[:40]!r} is no decimal number")
    return Message(
        due_ns=due_ns,
        stream=stream or stream_name(trade.s),
        symbol=trade.s,
        trade_id=trade.t,
        price=trade.p,
        quantity=trade.q,
        buyer_is_maker=trade.m,
        trade_time_us=trade.T if trade.T >= _MICROSECONDS_FROM else trade.T * 1_000,
        raw=raw,
    )


def _data_of(payload: bytes, stream: str) -> bytes:
    """Return the bytes of ``data``: cut out where the line is written as the venue writes it, else encoded anew."""
    head = b'{"stream":"%b","data":' % stream.encode()
    if payload.startswith(head) and payload.endswith(b"}"):
        return payload[len(head) : -1]
    return msgspec.json.encode(msgspec.json.decode(payload)["data"])


def _shown(text: bytes) -> str:
    return repr(text[:60].decode(errors="replace"))
