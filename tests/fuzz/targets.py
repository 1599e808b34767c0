"""What is fuzzed: functions that take any bytes and raise only if a promise is broken; who makes the bytes is not here.

Each target has seeds, from which a fuzzer starts. Only the package and its own rows for tests are imported, so that a
fuzzer needs no other tool beside it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from tests.capture.made import journal, stats, trades
from wsresearch import cli
from wsresearch.capture.identity import read_identity
from wsresearch.capture.journal import END_OF_STREAM, Record, read_segment
from wsresearch.capture.layout import Layout, Segment
from wsresearch.errors import CaptureError, FaultPlanError, UsageError
from wsresearch.lab.plan import FaultPlan
from wsresearch.reconnect.presets import parse_policy
from wsresearch.safetext import safe
from wsresearch.schema import SCHEMAS, TRADES, TableName
from wsresearch.venues import Frames
from wsresearch.venues.binance import SPOT, USDM

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to fuzz.

    Attributes
    ----------
    run
        Takes any bytes; raises if a promise is broken.
    seeds
        Bytes that get far.
    """

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


# -- the decoder --------------------------------------------------------------------------------------------------

_TRADE = (
    b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":7,"p":"61837.63000000","q":"0.02000000",'
    b'"T":1723161255342,"m":true,"M":true}'
)
_COMBINED = b'{"stream":"btcusdt@trade","data":' + _TRADE + b"}"


def decoder(data: bytes) -> None:
    """Every message is accounted for once, rows are valid, and a block decodes as its messages do one by one."""
    messages = data.split(b"\n")
    for venue in (SPOT, USDM):
        made = venue.decoder(["btcusdt", "ethusdt"])
        whole = made.decode(Frames.of(messages, range(len(messages))), connection=3)
        whole.batch.validate(full=True)
        assert whole.batch.schema.equals(TRADES)
        parts = (*whole.rejected.values(), *whole.ignored.values(), len(whole.notices))
        assert whole.batch.num_rows + sum(parts) == len(messages)
        single = [made.decode(Frames.of([raw], [at]), connection=3) for at, raw in enumerate(messages)]
        assert pa.Table.from_batches([one.batch for one in single], TRADES).combine_chunks() == pa.Table.from_batches(
            [whole.batch], TRADES
        )


# -- the journal reader -------------------------------------------------------------------------------------------

_SEGMENT = Segment(TableName.TRADES, 7)
_BATCHES = (trades([1, 2, 3]), trades([4]))
_MESSAGES = (SCHEMAS[TableName.TRADES].serialize().to_pybytes(), *(each.serialize().to_pybytes() for each in _BATCHES))


def _in_folder(data: bytes, index: bytes, table: TableName = TableName.TRADES) -> None:
    segment = Segment(table, 7)
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name:
        layout = Layout(Path(name))
        layout.journal_dir.mkdir()
        layout.journal_path(segment).write_bytes(data)
        layout.index_path(segment).write_bytes(index)
        prefix = read_segment(layout, segment)
    assert prefix.rows == sum(batch.num_rows for batch in prefix.batches)
    for batch in prefix.batches:
        batch.validate(full=True)
        assert batch.schema.equals(SCHEMAS[table])
        batch.to_pylist()  # touches every value
    assert prefix.offset <= len(data)
    assert prefix.records * 32 <= len(index)


def journal_files(data: bytes) -> None:
    """Both files are any bytes: no exception, and no row without its record."""
    cut = int.from_bytes(data[:2], "little")
    _in_folder(data[2 : 2 + cut], data[2 + cut :])


def signed_messages(data: bytes) -> None:
    """Messages altered, cut, put in another order or made up, under records whose checksums hold: no harm.

    Each message is: a byte that chooses a good message, a count of edits, three bytes for each (place, place, value),
    and a byte for the rows that the record claims.
    """
    taken = iter(data)
    content = b""
    index = b""
    with contextlib.suppress(StopIteration):
        for seq in range(16):
            choice = next(taken)
            if choice == 0xFF:
                break
            message = bytearray((*_MESSAGES, END_OF_STREAM)[choice % (len(_MESSAGES) + 1)])
            for _ in range(next(taken) % 16):
                place = (next(taken) << 8 | next(taken)) % len(message)
                message[place] = next(taken)
            rows = next(taken)
            record = Record(
                offset=len(content), length=len(message), rows=rows, crc=zlib.crc32(bytes(message)), seq=seq
            )
            content += message
            index += record.pack(_SEGMENT)
    _in_folder(content, index)


def _journal_seeds() -> Iterator[bytes]:
    for table, batches in ((TableName.TRADES, _BATCHES), (TableName.STATS, (stats([1, 2]),))):
        with tempfile.TemporaryDirectory() as name:
            segment = Segment(table, 7)
            layout = journal(Path(name), segment, batches)
            content = layout.journal_path(segment).read_bytes()
            yield len(content).to_bytes(2, "little") + content + layout.index_path(segment).read_bytes()


# -- texts and files ----------------------------------------------------------------------------------------------


def _one_line(error: Exception) -> None:
    text = str(error)
    assert text.isprintable(), ascii(text)


def fault_plan(data: bytes) -> None:
    """A plan, which survives JSON, or an error of ours in one line."""
    text = data.decode(errors="surrogateescape")
    if not text.lstrip().startswith("["):
        return  # anything else is a path
    try:
        plan = FaultPlan.parse(text)
    except FaultPlanError as error:
        _one_line(error)
        return
    assert FaultPlan.parse(plan.to_json()) == plan


def policy(data: bytes) -> None:
    """A policy, which its own text gives again, or an error of ours; its delays are numbers of seconds."""
    try:
        found = parse_policy(data.decode(errors="surrogateescape"))
    except UsageError as error:
        _one_line(error)
        return
    assert parse_policy(str(found)) == found
    delays = found.delays(random.Random(1))
    for _, delay in zip(range(50), delays, strict=False):
        assert 0 <= delay < float("inf")


def identity(data: bytes) -> None:
    """A ``capture.json``: what it says, or an error of ours."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name:
        layout = Layout(Path(name))
        layout.identity.write_bytes(data)
        try:
            read_identity(layout)
        except CaptureError as error:
            _one_line(error)
        assert layout.identity.read_bytes() == data


def foreign_text(data: bytes) -> None:
    """One printable line of limited length, with nobody named in front of a host."""
    text = safe(data.decode(errors="replace"))
    assert text.isprintable()
    assert len(text) <= 200
    assert not re.search(r"://[^\s/'\"<>]*@", text), text


_COMMANDS = ("collect", "status", "stop", "reconnect", "report", "verify", "recover", "exchange")


def command_line(data: bytes) -> None:
    """Any arguments: an exit code and at most one line on stderr; nothing is started, and nothing is written."""
    words = data.decode(errors="replace").split("\n")
    arguments = [_COMMANDS[len(words[0]) % len(_COMMANDS)], *words[1:]]
    if any("\0" in word or Path(word).is_absolute() or ".." in word for word in arguments):
        return  # what a shell cannot pass on, and paths that lead out of the empty folder this happens in
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name, contextlib.chdir(name), contextlib.ExitStack() as stack:
        for place in ("here.collect_here", "process.start_detached"):
            stack.enter_context(mock.patch(f"wsresearch.collect.{place}", _not_started))
        stack.enter_context(mock.patch("wsresearch.lab.child.serve", _not_started))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        code = cli.main(arguments)
        assert list(Path().iterdir()) == []
    assert code in {0, 2, 3}, (arguments, code)
    assert code == 0 or len(err.getvalue().strip().splitlines()) <= 1, err.getvalue()


def _not_started(*_: object, **__: object) -> Any:
    raise UsageError("it would have been started")


# -- the frame splitter: fuzzed where it is ---------------------------------------------------------------------------


def splitter(data: bytes) -> None:
    """In whatever portions bytes arrive, the splitter finds the same messages and hands on the same rest."""
    from wsresearch.collect.frames import Splitter  # type: ignore[import-not-found,unused-ignore]

    size, stream = data[0] + 1 if data else 1, data[1:]
    assert _cut(Splitter(1 << 20), [stream]) == _cut(
        Splitter(1 << 20), [stream[at : at + size] for at in range(0, len(stream), size)]
    )


def _cut(splitter: Any, portions: Sequence[bytes]) -> list[bytes]:
    """Return whole messages, each by itself, and what was handed on between them, joined."""
    found: list[bytes] = []
    passed = b""
    for piece in [piece for portion in portions for piece in splitter.feed(portion)] + [splitter.rest()]:
        if isinstance(piece, bytes):
            passed += piece
            continue
        found += [b"passed on: " + passed] if passed else []
        passed = b""
        bounds = zip(np.asarray(piece.starts).tolist(), np.asarray(piece.ends).tolist(), strict=True)
        found += [b"message: " + bytes(piece.payload[first:last]) for first, last in bounds]
    return [*found, b"passed on: " + passed]


_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

TARGETS: dict[str, Target] = {
    "decoder": Target(
        run=decoder,
        seeds=(
            _TRADE,
            _COMBINED,
            _COMBINED + b"\n" + _TRADE.replace(b'"t":7', b'"t":8') + b'\n{"result":null,"id":1}\n{"code":2}',
            b'{"e":"serverShutdown","E":1723161255343}\n{"e":"aggTrade"}\n[1]\nnull\n""',
        ),
    ),
    "journal files": Target(run=journal_files, seeds=tuple(_journal_seeds())),
    "signed messages": Target(
        run=signed_messages,
        seeds=(bytes([0, 0, 0, 1, 0, 3, 2, 0, 1, 3, 0, 0]), bytes([0, 0, 0, 1, 2, 0, 9, 7, 1, 9, 255, 3])),
    ),
    "fault plan": Target(
        run=fault_plan,
        seeds=(
            b'[{"at": 5.0, "fault": "reset"}, {"at": 12, "fault": "silence", "for": 8}]',
            b'[{"at": 1, "fault": "close", "code": 1013, "reason": "slow"}, {"at": 2, "fault": "http", "status": 429}]',
        ),
    ),
    "policy": Target(
        run=policy, seeds=(b"full-jitter(base=1, cap=30)", b"exponential(base=1, factor=2, cap=60)", b"seed")
    ),
    "capture.json": Target(
        run=identity,
        seeds=(b'{"format_version":1,"created":"2026-11-23T12:00:00Z","venue":"binance","symbols":["X"],"config":{}}',),
    ),
    "foreign text": Target(
        run=foreign_text,
        seeds=(
            b"wss://user:pw@host/path?listenKey=abc \x1b[31mred",
            b"wss://a/x,wss://me:pw@b/\xe2\x80\xae\x00 token=1",
        ),
    ),
    "command line": Target(
        run=command_line,
        seeds=(
            b"\nbinance:btcusdt\n--out\nx\n--policy\nseed\n--reset\nopen\n--budget\n60/300",
            b".\n.\n--json",
            b".......\n--port\n0\n--symbols\nbtcusdt\n--rate\n7",
            b"\nbinance:btcusdt\n--out\nx\n--url\nws://127.0.0.1:9\n--policy-arg\ncap=30",
        ),
    ),
}
if importlib.util.find_spec("wsresearch.collect.frames") is not None:
    _text = b"\x81\x05hello" + b"\x81\x7e\x00\x80" + bytes(128)
    TARGETS["frame splitter"] = Target(
        run=splitter, seeds=(b"\x03" + _text, b"\x00" + _text + b"\x89\x00\x01\x03abc\x80\x01d" + _text)
    )
