"""The exchange as a child process: started, steered and stopped by its parent, and never an orphan."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.lab.clients import connect, trade_ids
from wsresearch.errors import FaultPlanError, TapeError, UsageError, WsresearchError
from wsresearch.lab import Exchange, FaultPlan, Tape, start
from wsresearch.lab.child import ExchangeProcess
from wsresearch.lab.options import ExchangeOptions

ROOT = Path(__file__).resolve().parents[2]


async def _receive(url: str, count: int) -> list[int]:
    async with connect(url) as client:
        return await trade_ids(client, count)


def test_play_inject_ask_and_stop() -> None:
    """The whole life: a client is served, a fault strikes, the truth is told, and the process is gone."""
    tape = Tape.generate(("BTCUSDT",), 500, seconds=1.0, first_ids={"BTCUSDT": 7})
    with start(tape, waits=True, faults=FaultPlan.parse([{"at": 0, "fault": "skip_ids", "count": 2}])) as exchange:
        assert exchange.status().produced == 0
        ids = asyncio.run(_receive(exchange.url, 20))
        assert ids == list(range(9, 29))
        exchange.inject({"fault": "http", "status": 503, "drop": False, "for": 60})
        with pytest.raises(FaultPlanError, match="unknown"):
            exchange.inject({"fault": "nothing"})
        assert exchange.settled()
        truth = exchange.truth()
        assert truth.expected()["trade_id"].to_pylist()[:20] == ids
        assert truth.faults["fault"].to_pylist() == ["skip_ids", "http"]
        assert not exchange.played(0.05), "the tape waits for a client"
        pid = exchange.pid
        begun = time.perf_counter()
    assert time.perf_counter() - begun < 2
    assert not psutil.pid_exists(pid)
    with pytest.raises(WsresearchError, match="was stopped"):
        exchange.status()
    exchange.stop()


def test_it_listens_on_loopback_and_nowhere_else() -> None:
    """Who starts an exchange and says nothing of a host opens no port to a network."""
    with start(Tape.generate()) as exchange:
        sockets = psutil.Process(exchange.pid).net_connections(kind="inet")
        assert [(each.status, each.laddr.ip) for each in sockets] == [(psutil.CONN_LISTEN, "127.0.0.1")]


def test_faults_are_taken_as_a_plan_takes_them() -> None:
    """A list of dicts, as the README writes a plan, needs no class; what is no plan or no tape is said in words."""
    faults = [{"at": 6, "fault": "reset"}]
    with start(Tape.generate(), waits=True, faults=faults) as exchange:
        assert exchange.url
    assert Exchange(Tape.generate(), faults=faults).options.faults == FaultPlan.parse(faults)
    for wrong in (3, None, faults[0]):
        with pytest.raises(FaultPlanError, match="is no fault plan"):
            start(Tape.generate(), faults=wrong)  # type: ignore[arg-type]
    for make in (start, Exchange):
        with pytest.raises(UsageError, match="'x' is no tape"):
            make("x")  # type: ignore[arg-type]


def test_the_end_of_the_tape() -> None:
    """The parent can wait for it."""
    with start(Tape.generate(rate=1_000, count=50)) as exchange:
        assert exchange.played(10)
        assert exchange.truth().produced().num_rows == 50


def test_errors_of_the_child_are_errors_here(tmp_path: Path) -> None:
    """A recording that is gone, or a port that is taken, is the same exception as in this process."""
    path = tmp_path / "tape.txt"
    path.write_text('1 {"e":"trade","E":1,"s":"AUSDT","t":1,"p":"1","q":"1","T":1,"m":false}\n')
    tape = Tape.from_recording(path)
    path.unlink()
    with pytest.raises(TapeError, match="cannot be read"):
        start(tape)
    with start(Tape.generate()) as exchange:
        number = int(exchange.url.rsplit(":", 1)[1])
        with pytest.raises(UsageError, match=f"port {number}"):
            start(Tape.generate(), port=number)


def test_a_child_that_dies() -> None:
    """Its death is told with its exit code, not with a broken pipe."""
    with start(Tape.generate()) as exchange:
        os.kill(exchange.pid, signal.SIGKILL)
        with pytest.raises(WsresearchError, match="ended with exit code -9"):
            exchange.status()


def test_sigint_is_for_the_parent() -> None:
    """Interrupting a notebook interrupts the whole process group; the exchange of the notebook lives on."""
    with start(Tape.generate(rate=1_000)) as exchange:
        os.kill(exchange.pid, signal.SIGINT)
        assert exchange.status().connections == 0
        assert asyncio.run(_receive(exchange.url, 3))


def test_no_orphan() -> None:
    """When the parent is killed, the exchange ends too."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                """
                import time
                from wsresearch.lab import Tape, start
                exchange = start(Tape.generate())
                print(exchange.pid, flush=True)
                time.sleep(60)
                """
            ),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = psutil.Process(pid)
        parent.kill()
    child.wait(10)


def test_alone_until_sigterm() -> None:
    """Without control it runs until it is told to end, prints its url first, and exits 0."""
    code = "import sys; from wsresearch.lab.child import serve; from wsresearch.lab.options import ExchangeOptions;"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code} sys.exit(serve(ExchangeOptions()))"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert asyncio.run(_receive(url, 2))
        process.terminate()
        assert process.wait(5) == 0


def test_requests_that_are_none() -> None:
    """The line protocol refuses what it does not know and goes on."""
    with ExchangeProcess(ExchangeOptions()) as exchange:
        with pytest.raises(UsageError, match="no request"):
            exchange._ask({"do": "dance"})
        assert exchange.status().produced >= 0
