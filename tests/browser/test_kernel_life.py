"""What happens to a kernel does not happen to the capture: interrupts, restarts, cells that hold the GIL."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from tests.browser.conftest import Keep, OpenNotebook
from tests.browser.jupyter import Notebook, until
from tests.browser.panelview import PanelView
from tests.browser.test_panel import collect, collector_of
from wsresearch.api import Capture
from wsresearch.lab import ExchangeProcess

BUSY = 10.0
"""Seconds for which the kernel is in one call."""

MOST_ADDED = 0.1
"""Seconds that this may add to a gap."""


def added_gap(exchange: ExchangeProcess, root: Path, began: int, ended: int) -> float:
    """The seconds by which a gap between two trades, sent between two times in ns, grew on the way at most."""
    exchange.settled()
    sent = exchange.truth().expected().select(["symbol", "trade_id", "sent_ns"])
    inside = sent.filter(pc.and_(pc.greater(sent["sent_ns"], began), pc.less(sent["sent_ns"], ended)))
    stored = Capture(root).trades(columns=["symbol", "trade_id", "recv_time"])
    both = inside.join(stored, ["symbol", "trade_id"], join_type="inner").sort_by("recv_time")
    assert both.num_rows == inside.num_rows > BUSY * 50
    received, sending = (both[name].cast("int64").to_numpy() for name in ("recv_time", "sent_ns"))
    return float((np.diff(received) - np.diff(sending)).max()) / 1e9


def test_a_busy_cell_is_not_in_the_data(opened: OpenNotebook, exchange: ExchangeProcess, root: Path) -> None:
    """A call that holds the GIL for 10 s stops nothing, and adds less than 100 ms to any gap between trades."""
    # PyDLL keeps the GIL while it calls: nothing else of the kernel runs.
    call = f"ctypes.PyDLL(None).usleep({round(BUSY * 1e6)})"
    busy = f"import ctypes, json, time\nbegan = time.time_ns(); {call}; print(json.dumps([began, time.time_ns()]))"
    notebook = opened([collect(root, exchange), "capture.panel()", busy])
    panel = PanelView(notebook.output(1))
    for at in range(2):
        notebook.run(at)
    panel.becomes("open")
    pid = collector_of(root)
    added: list[float] = []
    # Other work on the machine delays messages too, now and then; the GIL would do it every time, by seconds.
    while len(added) < 3 and not any(gap < MOST_ADDED for gap in added):
        began, ended = notebook.told(2)
        assert (ended - began) / 1e9 >= BUSY
        panel.rises("trades")
        added.append(added_gap(exchange, root, began, ended))
    print("largest added gap:", *(f"{gap * 1e3:.0f} ms" for gap in added))
    assert min(added) < MOST_ADDED
    assert panel.history() == []
    assert collector_of(root) == pid


def contention() -> float:
    """How many times as long as its CPU time work takes now, because others use the machine too; at least 1."""
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.2:
        pass
    return max(1.0, (time.monotonic() - began) / 0.2)


def attaches(notebook: Notebook, panel: PanelView) -> float:
    """Run the cell with a panel in a kernel that has imported nothing yet; return the seconds until it tells a state.

    They are those of a machine that has nothing else to do: what others take away is divided out. What a kernel that
    is gone has left is taken out of the page first.
    """
    before = contention()
    panel.place.evaluate("output => { output.querySelectorAll('.wsr-badge').forEach(badge => badge.remove()); }")
    began = time.monotonic()
    notebook.start(3)
    panel.becomes("open")
    took = time.monotonic() - began
    slow = min(before, contention())
    print(f"attached after {took:.2f} s on a machine that is {slow:.1f} times as slow as it is alone")
    return took / slow


def test_interrupt_and_restart_leave_the_capture_alone(
    opened: OpenNotebook, exchange: ExchangeProcess, root: Path, keep: Keep
) -> None:
    """Interrupted and restarted, the kernel takes nothing with it; a fresh panel is attached within a second."""
    endless = "import time\nprint('in the loop', flush=True)\nwhile True:\n    time.sleep(0.1)"
    again = f"import wsresearch as wr\nwr.open_capture({str(root)!r}).panel()"
    notebook = opened([collect(root, exchange), "capture.panel()", endless, again])
    panel = PanelView(notebook.output(1))
    for at in range(2):
        notebook.run(at)
    panel.becomes("open")
    pid = collector_of(root)

    notebook.start(2)
    # The star comes from the page. An interrupt that is there before the kernel has begun the cell finds nothing to do.
    until(lambda: "in the loop" in notebook.text(2), "the kernel is in the cell")
    notebook.interrupt()
    notebook.finish(2)
    assert "KeyboardInterrupt" in notebook.text(2)
    panel.rises("trades")
    assert collector_of(root) == pid

    capture = Capture(root)
    before = capture.status.trades
    notebook.restart()
    assert collector_of(root) == pid
    until(lambda: capture.status.trades > before, "the capture goes on")
    keep("panel-of-a-kernel-that-is-gone", panel.place)
    fresh = PanelView(notebook.output(3))
    attached = [attaches(notebook, fresh)]
    while attached[-1] >= 1 and len(attached) < 3:
        notebook.restart()
        attached.append(attaches(notebook, fresh))
    assert min(attached) < 1, attached
    fresh.rises("trades")
    fresh.has_pictures()
    assert capture.outages().num_rows == 0
    assert collector_of(root) == pid
