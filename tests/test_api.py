"""What users hold: start, attach, read and stop from Python, in a script, a thread or a running event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pydoc
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import wsresearch as wr
from tests.elements import Elements
from wsresearch import study
from wsresearch.api import make_config
from wsresearch.collect import process
from wsresearch.collect.here import collect_here
from wsresearch.errors import CaptureBusy, CaptureTooNew, CollectorError, NotACapture, UsageError, WsresearchError
from wsresearch.lab import ExchangeProcess, Tape, start
from wsresearch.reconnect.backoff import FullJitter
from wsresearch.reconnect.presets import PRESETS
from wsresearch.venues import venue_named

STREAM = "binance:btcusdt"


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeProcess]:
    # So many that some are lost in the few milliseconds a reconnect takes.
    with start(Tape.generate(("BTCUSDT",), rate=3000.0, seed=1)) as running:
        yield running


@pytest.fixture(scope="module")
def capture(exchange: ExchangeProcess, tmp_path_factory: pytest.TempPathFactory) -> wr.Capture:
    """A capture that was collected for a moment, with one outage, and stopped."""
    root = tmp_path_factory.mktemp("api") / "c"
    config = make_config(STREAM, root, url=exchange.url, duration=60, policy="constant", policy_args={"delay": "0.1"})
    enough: list[int] = []

    def watch(collector: wr.Collector) -> None:
        status = collector.status
        if status.connection == 1 and status.trades:
            collector.reconnect()
        elif status.connection == 2:
            # However slow the machine: as many trades as a second brings, on the connection after the outage.
            if not enough:
                enough.append(status.trades + 3000)
            if status.trades >= enough[0]:
                collector.stop()

    assert collect_here(config, watch=watch) == 0
    return wr.open_capture(root)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "c"
    yield path
    process.stop(path)


def wait_for_trades(capture: wr.Capture) -> None:
    deadline = time.monotonic() + 20
    while not capture.trades(columns=["trade_id"]).num_rows:
        assert time.monotonic() < deadline, capture.status
        time.sleep(0.02)


# -- starting and steering ----------------------------------------------------------------------------------------


def test_collect_attaches_with_the_same_arguments_and_names_what_differs(root: Path, exchange: ExchangeProcess) -> None:
    """A cell that is run again attaches; one with other arguments is told which, and the collector goes on."""
    first = wr.collect(STREAM, root, url=exchange.url, policy=wr.FullJitter(base=1, cap=20))
    pid = first.status.pid
    again = wr.collect(STREAM, os.fspath(root), url=exchange.url, policy="full-jitter", policy_args={"cap": "20"})
    assert again.status.pid == pid
    wait_for_trades(again)
    with pytest.raises(UsageError) as caught:
        wr.collect(STREAM, root, url=exchange.url, policy=wr.FullJitter(base=1, cap=30), idle_timeout=5)
    with pytest.raises(UsageError, match=r"duration 60 \(running: None\)"):
        wr.collect(STREAM, root, url=exchange.url, policy=wr.FullJitter(base=1, cap=20), duration=60)
    text = str(caught.value)
    for part in ("policy", "cap=30", "cap=20", "idle-timeout 5", "stop it first"):
        assert part in text
    with pytest.raises(UsageError, match="ethusdt"):
        wr.collect("binance:ethusdt", root, url=exchange.url)
    assert first.status.pid == pid
    assert first.stop() is first
    assert first.status.state == "stopped"
    assert first.stop() is first
    restarted = first.start()
    assert restarted.status.run == 2
    assert first.start() is first
    assert first.identity.config["policy"] == "full-jitter(base=1.0, cap=20.0, floor=0.1)"


def test_start_uses_what_was_asked_last(root: Path, exchange: ExchangeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that was opened before the arguments changed starts the collector with the ones in force."""
    assert collect_here(make_config(STREAM, root, url=exchange.url, duration=0.1, idle_timeout=10)) == 0
    old = wr.open_capture(root)
    assert collect_here(make_config(STREAM, root, url=exchange.url, duration=0.1, idle_timeout=7)) == 0
    asked: list[wr.Config] = []
    monkeypatch.setattr(process, "start", asked.append)
    old.start()
    assert [config.idle_timeout for config in asked] == [7]


def test_it_works_in_a_running_event_loop(root: Path, exchange: ExchangeProcess) -> None:
    """A notebook's cell runs inside a loop: nothing needs a loop of its own, nothing patches it."""

    async def cell() -> str:
        capture = wr.collect(STREAM, root, url=exchange.url)
        state = capture.status.state
        capture.reconnect()
        capture.stop()
        return state

    assert asyncio.run(cell()) in {"idle", "backing_off", "connecting", "open"}


def test_embedded_in_a_program_of_ones_own(root: Path, exchange: ExchangeProcess) -> None:
    """The same collector as an async context manager, in the caller's loop; leaving seals everything."""

    async def main() -> int:
        async with wr.Collector(make_config(STREAM, root, url=exchange.url, duration=0.5)) as collector:
            return await collector.run()

    assert asyncio.run(main()) == 0
    assert wr.open_capture(root).trades().num_rows > 10
    assert not list((root / "journal").iterdir())


def test_leaving_early_leaves_nothing_behind(root: Path, exchange: ExchangeProcess) -> None:
    """A program that cancels a collector, at whatever moment, keeps no lock, no socket, and no journal unsealed."""

    async def main(after: float) -> None:
        async def collect() -> None:
            async with wr.Collector(make_config(STREAM, root, url=exchange.url)) as collector:
                await collector.run()

        task = asyncio.create_task(collect())
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for after in (0.0, 0.002, 0.02, 0.3):
        asyncio.run(main(after))
        assert process.running(root) is None
    with pytest.raises(NotACapture if not (root / "capture.json").exists() else CollectorError):
        wr.open_capture(root).reconnect()
    assert collect_here(make_config(STREAM, root, url=exchange.url, duration=0.3)) == 0


@pytest.mark.parametrize("first", ["wsresearch.collect.process", "wsresearch"])
def test_the_function_and_the_folder_of_the_same_name(first: str) -> None:
    """Whatever is imported first, `wr.collect(...)` is the function and `wsresearch.collect.…` the modules."""
    code = (
        f"import {first}; import wsresearch as wr; import wsresearch.collect.process; "
        "from wsresearch.collect.config import Config; "
        "assert callable(wr.collect) and wsresearch.collect.process.start;\n"
        "try: wr.collect('nowhere:x', 'c')\n"
        "except wr.UsageError: print('told')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "told\n", done.stderr


# -- what can be wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("kraken:btcusd", "c"), {}, "kraken"),
        (("binance:../x", "c"), {}, "../x"),
        (("binance:", "c"), {}, "binance"),
        ((STREAM, "c"), {"policy": "hope"}, "hope"),
        ((STREAM, "c"), {"policy": "full-jitter", "policy_args": {"cap": "-1"}}, "cap"),
        ((STREAM, "c"), {"policy": FullJitter(base=1, cap=2), "policy_args": {"cap": "3"}}, "policy-args"),
        ((STREAM, "c"), {"reset": "never"}, "never"),
        ((STREAM, "c"), {"budget": "many"}, "many"),
        ((STREAM, "c"), {"budget": 5}, "budget"),
        ((STREAM, "c"), {"idle_timeout": "30"}, "idle-timeout"),
        ((STREAM, "c"), {"idle_timeout": "30s"}, "a finite number of seconds"),
        ((STREAM, "c"), {"duration": "10min"}, "a finite number of seconds"),
        ((STREAM, "c"), {"duration": True}, "duration is True"),
        ((STREAM, "c"), {"colour": "red"}, "no option called 'colour'"),
        ((STREAM, "c"), {"polcy": "seed"}, "did you mean policy?"),
        ((STREAM, "c"), {"policy_args": 3}, "policy-args must be a dict"),
        ((STREAM, "c"), {"policy_args": {"base": 40}}, "cap=30.0"),
        ((STREAM, "c"), {"url": "http://h"}, "has the scheme 'http', but must have ws or wss"),
        (([STREAM], "c"), {}, "must be one text"),
        ((STREAM, None), {}, "the directory is None"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_happens(
    arguments: tuple[Any, Any],
    options: dict[str, Any],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line that names the value; it is a ValueError too, and nothing is on disk."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        wr.collect(*arguments, **options)
    assert isinstance(caught.value, ValueError)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_help_lists_every_option() -> None:
    """`help(wr.collect)` is the place that tells what can be given, and says something of each."""
    text = pydoc.plain(pydoc.render_doc(wr.collect))
    for field in dataclasses.fields(wr.Config):
        assert re.search(rf"^ *([\w, ]*, )?{field.name}(, [\w, ]*)?$", text, re.MULTILINE), field.name
    assert "policy_args" in text


def test_what_is_no_path_and_no_policy() -> None:
    """Mistakes of everyday Python are told in a line that names the value and what to give."""
    with pytest.raises(UsageError, match="the directory is None, but must be a path"):
        wr.open_capture(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"policy must be text such as 'full-jitter.*not 'None'"):
        wr.parse_policy(None)  # type: ignore[arg-type]


def test_policy_arguments_alone_are_for_the_default_policy() -> None:
    """`policy_args` without a policy change the default one, and are not passed over in silence."""
    assert make_config(STREAM, "c", policy_args={"cap": "7"}).policy == FullJitter(base=1.0, cap=7.0)
    assert make_config(STREAM, "c").policy == FullJitter(base=1.0, cap=30.0)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_brings_its_reset_rule(name: str) -> None:
    """A preset behaves as its original did, reset rule included, unless another one is given."""
    assert make_config(STREAM, "c", policy=name).reset == PRESETS[name].reset
    assert str(make_config(STREAM, "c", policy=name, reset="stable:7").reset) == "stable:7"


def test_opening_what_is_no_capture(tmp_path: Path, capture: wr.Capture) -> None:
    """A directory that is none, or is of a later version, is refused with an error of ours."""
    with pytest.raises(NotACapture):
        wr.open_capture(tmp_path)
    shutil.copytree(capture.root, tmp_path / "newer")
    path = tmp_path / "newer" / "capture.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CaptureTooNew):
        wr.open_capture(tmp_path / "newer")
    for error in (NotACapture, CaptureTooNew, CaptureBusy, CollectorError, UsageError):
        assert issubclass(error, WsresearchError)


def test_a_capture_that_was_removed_can_still_be_looked_at(capture: wr.Capture, tmp_path: Path) -> None:
    """An object whose directory has gone says so when it is shown; asking it for data raises an error of ours."""
    shutil.copytree(capture.root, tmp_path / "copy")
    opened = wr.open_capture(tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")
    assert "no capture" in repr(opened)
    with pytest.raises(NotACapture):
        opened.trades()


def test_a_configuration_edited_by_hand_is_told(capture: wr.Capture, tmp_path: Path) -> None:
    """Starting from a capture.json that somebody spoilt is an error of ours, not a traceback from within."""
    shutil.copytree(capture.root, tmp_path / "copy")
    path = tmp_path / "copy" / "capture.json"
    path.write_text(path.read_text().replace('"stream":', '"steam":'))
    with pytest.raises(UsageError, match="steam"):
        wr.open_capture(tmp_path / "copy").start()


# -- tables -------------------------------------------------------------------------------------------------------


def test_every_table_speaks_arrow(capture: wr.Capture) -> None:
    """Each table is a pyarrow.Table and answers the Arrow C stream interface, so any library reads it directly."""
    tables = {
        "trades": capture.trades(),
        "events": capture.events(),
        "stats": capture.stats(),
        "attempts": capture.attempts(),
        "outages": capture.outages(),
        "holes": capture.holes(),
        "gaps": capture.gaps(longer_than=0.0),
    }
    for name, table in tables.items():
        assert isinstance(table, pa.Table), name
        assert hasattr(table, "__arrow_c_stream__"), name
        assert pl.DataFrame(table).height == table.num_rows, name
    assert tables["trades"].num_rows > 100
    assert tables["outages"].num_rows == 1
    assert tables["outages"]["cause"].to_pylist() == ["reconnect"]
    assert tables["attempts"].num_rows == 2


def test_pandas_gets_floats_or_exact_decimals(capture: wr.Capture) -> None:
    """Fast by default, exact on request; times are times with their zone, and nothing else changes."""
    trades = capture.trades(columns=["symbol", "trade_id", "price", "quantity", "recv_time"])
    fast = wr.to_pandas(trades)
    exact = wr.to_pandas(trades, exact=True)
    assert fast["price"].dtype == "float64"
    assert isinstance(exact["price"].iloc[0], Decimal)
    assert fast["price"].tolist() == pytest.approx([float(price) for price in exact["price"]], rel=1e-15)
    assert exact["price"].tolist() == trades["price"].to_pylist()
    assert isinstance(fast["recv_time"].dtype, pd.DatetimeTZDtype)
    assert list(fast.columns) == trades.column_names


def test_the_report_has_the_promised_keys(capture: wr.Capture) -> None:
    """What `wsresearch report --json` prints is what Python gets."""
    document = capture.report()
    assert set(document) == {
        *("outages", "connections", "trades", "losses", "idle_timeout", "pruned"),
        *("starts", "symbols", "without_data", "lived"),
    }
    assert document["trades"] == capture.trades().num_rows
    [outage] = document["outages"]
    assert set(outage) == {
        *("cause", "attempts", "waited", "silence", "detect", "connect", "first_message", "ids_lost", "censored"),
    }
    assert document["losses"] == study.balance(capture.losses(), capture.stats())
    assert document["losses"]["missing"] == sum(capture.holes()["count"].to_pylist())
    assert document["idle_timeout"]["recommended"] == capture.staleness().idle_timeout
    assert len(document["idle_timeout"]["candidates"]) == len(study.TIMEOUTS)
    text = capture.report_text()
    assert "reconnect" in text
    assert f"missing ids: {document['losses']['missing']:,}" in text
    assert "idle timeout: " in text
    words = " ".join(Elements(capture.report_html()).words)
    assert text.splitlines()[-1] in words
    assert text.splitlines()[-2].removeprefix("missing ids: ") in words


def test_one_pass_agrees_with_the_events(capture: wr.Capture) -> None:
    """Gaps are those of `gaps`, and the ids that the rows lack are those that the events tell of."""
    swept = capture.sweep(longer_than=0)
    assert swept.gaps.equals(capture.gaps(longer_than=0))
    assert swept.gaps["outage"].to_pylist().count(1) == 1
    intervals = ["symbol", "first_id", "last_id", "count"]
    assert sorted(swept.missing.to_pylist(), key=str) == sorted(capture.holes().select(intervals).to_pylist(), key=str)
    assert sum(swept.symbols["rows"].to_pylist()) == capture.totals().trades
    assert capture.gaps(per_symbol=True, longer_than=0.05)["symbol"].null_count == 0


def test_the_ledger_estimates_the_volume_lost(capture: wr.Capture) -> None:
    """On request each hole of an outage has a volume with an error, by symbol; otherwise it is null."""
    [told] = capture.outages(volume=True).to_pylist()
    [plain] = capture.outages().to_pylist()
    assert [hole["count"] for hole in told["holes"]] == [hole["count"] for hole in plain["holes"]]
    assert all(hole["volume"] > 0 and hole["volume_error"] > 0 for hole in told["holes"])
    assert all(hole["volume"] is None for hole in plain["holes"])


def test_without_numbers_holes_are_not_defined(capture: wr.Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that does not number its trades: an error that says so, or null; never 0."""
    unnumbered = dataclasses.replace(venue_named("binance"), has_sequence=False)
    monkeypatch.setattr("wsresearch.venues.venue_named", lambda name: unnumbered)
    for ask in (capture.holes, capture.losses):
        with pytest.raises(UsageError, match=r"not defined for binance: .*'trade_id'"):
            ask()
    assert capture.outages()["ids_lost"].null_count == 1
    assert capture.report()["losses"] is None
    text = capture.report_text()
    assert "unknown" in text
    assert "missing ids: not defined" in text


def test_an_object_says_what_it_is(capture: wr.Capture) -> None:
    """A capture shown in a cell tells where it lies and what it is doing."""
    assert "stopped" in repr(capture)
    assert str(capture.root) in repr(capture)


def test_what_pandas_is_given(capture: wr.Capture) -> None:
    """A result with one table in it is that table; of several one must be named; all else is no table."""
    stale = capture.staleness([10, "30s"])
    assert wr.to_pandas(stale)["idle_timeout"].tolist() == [10.0, 30.0]
    assert len(wr.to_pandas(capture.batches())) == capture.totals().trades
    with pytest.raises(UsageError, match=r"a Sweep holds several tables: .*\.gaps, \.missing, \.symbols"):
        wr.to_pandas(capture.sweep())
    with pytest.raises(UsageError, match="is no table"):
        wr.to_pandas(3)


def test_lengths_of_time_are_taken_as_text_too(capture: wr.Capture) -> None:
    """`gaps("50ms")` is what `last="50ms"` would lead one to write; what is no length of time is refused."""
    assert capture.gaps("50ms").equals(capture.gaps(0.05))
    assert capture.sweep(timedelta(milliseconds=50)).gaps.equals(capture.gaps(0.05))
    for wrong in (None, True, "soon", [1]):
        with pytest.raises(UsageError, match="longer_than"):
            capture.gaps(wrong)  # type: ignore[arg-type]
    for several in (30, "30s", [None], [True]):
        with pytest.raises(UsageError, match="timeouts"):
            capture.staleness(several)  # type: ignore[arg-type]
