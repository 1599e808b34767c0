"""The panel in a real JupyterLab: steering a capture, running its cell again, and what is left when it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.browser.conftest import Keep, OpenNotebook
from tests.browser.jupyter import Chromium, until
from tests.browser.panelview import PanelView
from wsresearch.collect import process
from wsresearch.lab import ExchangeProcess
from wsresearch.notebook.palette import DARK, LIGHT

IMPORT = "import wsresearch as wr"
RESET = {"fault": "reset_peer"}


def collect(root: Path, exchange: ExchangeProcess, policy: str = "wr.FullJitter(base=0.2, cap=1)") -> str:
    """A cell that collects, with delays that a test can wait for."""
    return (
        "import wsresearch as wr\n"
        f"capture = wr.collect('binance:btcusdt,ethusdt', {str(root)!r}, url={exchange.url!r},\n"
        f"    policy={policy}, reset='message')"
    )


def collector_of(root: Path) -> int:
    """The process that collects."""
    running = process.running(root)
    assert running is not None
    return running.pid


def test_a_capture_from_start_to_stop(opened: OpenNotebook, exchange: ExchangeProcess, root: Path, keep: Keep) -> None:
    """Fill in, Start, watch, a reset in the history and on the picture, Reconnect now, Stop: nothing runs any more."""
    notebook = opened([f"{IMPORT}\nwr.panel()"])
    notebook.run(0)
    panel = PanelView(notebook.output(0))
    panel.appears()
    keep("panel-empty-light", panel.place)
    panel.fill(symbols="btcusdt, ethusdt", directory=str(root), url=exchange.url, base="0.2", cap="1", reset="message")
    panel.press("Start")
    panel.becomes("open")
    panel.rises("trades")
    panel.has_pictures()
    assert LIGHT.causes[0] not in panel.colours()
    pid = collector_of(root)

    exchange.inject(RESET)
    panel.tells_of("reset")
    panel.shows_colour(LIGHT.causes[0])
    panel.becomes("open")
    panel.rises("trades")
    keep("panel-light", panel.place)

    panel.press("Reconnect now")
    panel.tells_of("reconnect")
    panel.becomes("open")
    panel.press("dark")
    notebook.theme("dark")
    panel.is_drawn_on(DARK.background)
    panel.shows_colour(DARK.causes[0])
    keep("panel-dark", panel.place)

    panel.press("Stop")
    until(lambda: process.running(root) is None, f"the collector {pid} is gone")
    panel.becomes("stopped")
    panel.is_static()
    assert panel.button("Stop").count() == 0
    panel.tells_of("reset")
    panel.has_pictures()
    keep("panel-stopped-dark", panel.place)


def test_reload_and_a_second_notebook_show_the_same(
    opened: OpenNotebook, exchange: ExchangeProcess, root: Path
) -> None:
    """The page loaded again shows the panel alive; another notebook attaches to the same collector."""
    cells = [collect(root, exchange), "capture.panel()"]
    notebook = opened(cells)
    for at in range(2):
        notebook.run(at)
    panel = PanelView(notebook.output(1))
    panel.becomes("open")
    pid = collector_of(root)

    notebook.reload()
    panel.becomes("open")
    panel.rises("trades")
    panel.has_pictures()
    other = opened(cells)
    for at in range(2):
        other.run(at)
    second = PanelView(other.output(1))
    second.becomes("open")
    exchange.inject(RESET)
    for view in (panel, second):
        view.tells_of("reset")
    assert collector_of(root) == pid
    second.press("Stop")
    panel.becomes("stopped")


COUNTS = """
import collections, gc, json, os, re, threading
import ipywidgets
gc.collect()

def name(fd):
    try:
        return re.sub(r'[0-9]+', 'N', os.readlink(f'/proc/self/fd/{fd}'))
    except FileNotFoundError:
        return ''  # that of the listing itself

# Not counted: what ZeroMQ frees when it likes, IPython's history, and fonts, of which matplotlib keeps 64 at most open,
# each once for every thread that has drawn with it.
others = re.compile('eventfd|history.sqlite|profile_default|[.]ttf$|^$')
with panel._looking:  # a look under way has files open for a moment
    print(json.dumps({
        'threads': sorted(thread.name.rstrip('-0123456789') for thread in threading.enumerate()),
        'widgets': len(ipywidgets.widgets.widget._instances),
        'comms': len(get_ipython().kernel.comm_manager.comms),
        'files': collections.Counter(file for fd in os.listdir('/proc/self/fd') if not others.search(file := name(fd))),
    }))
"""


def test_running_the_cell_again_leaks_nothing(opened: OpenNotebook, exchange: ExchangeProcess, root: Path) -> None:
    """After 20 runs of a panel's cell there are as many threads, widget models and open files as after two."""
    notebook = opened([collect(root, exchange), "panel = capture.panel()\npanel", COUNTS])
    panel = PanelView(notebook.output(1))
    notebook.run(0)
    for _ in range(2):
        notebook.run(1)
        panel.becomes("open")
    panel.has_pictures()
    before = notebook.told(2)
    for _ in range(20):
        notebook.run(1)
    panel.becomes("open")
    panel.has_pictures()
    assert panel.place.locator(".wsr-badge").count() == 1
    assert notebook.told(2) == before


def test_a_stopped_panel_is_there_without_a_kernel(
    opened: OpenNotebook, exchange: ExchangeProcess, root: Path, chromium: Chromium, keep: Keep
) -> None:
    """A saved notebook shows pictures and history to whoever gets only the file."""
    notebook = opened([collect(root, exchange), "capture.panel()", "capture.stop();"])
    panel = PanelView(notebook.output(1))
    for at in range(2):
        notebook.run(at)
    panel.becomes("open")
    exchange.inject(RESET)
    panel.tells_of("reset")
    panel.becomes("open")
    notebook.run(2)
    panel.becomes("stopped")
    notebook.save()

    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level", "ERROR", str(notebook.path)]
    subprocess.run(command, check=True)
    for theme in ("light", "dark"):
        with chromium.page(theme=theme) as watched:
            watched.page.goto(notebook.path.with_suffix(".html").as_uri())
            saved = PanelView(watched.page.locator("body"))
            saved.becomes("stopped")
            saved.tells_of("reset")
            saved.has_pictures()
            saved.shows_colour(LIGHT.causes[0])
            assert "model" not in saved.place.inner_text().lower()
            assert watched.page.locator("script[type*=widget]").count() == 0
            keep(f"saved-{theme}", watched.page.locator("main"))
            assert watched.dialogs == []


def test_what_is_wrong_is_told_in_the_panel(
    opened: OpenNotebook, exchange: ExchangeProcess, root: Path, keep: Keep
) -> None:
    """An unknown symbol, a policy out of range, a busy directory: red, in words, and the panel can be used on."""
    notebook = opened([collect(root, exchange), "wr.panel()"])
    for at in range(2):
        notebook.run(at)
    panel = PanelView(notebook.output(1))
    panel.appears()
    good = {"symbols": "btcusdt", "directory": str(root.with_name("other")), "url": exchange.url, "base": "1"}
    for wrong, words in (
        ({"symbols": "btc/usdt"}, "cannot be a symbol"),
        ({"symbols": "<img/src=x/onerror=alert(1)>"}, "<img/src=x/onerror=alert(1)>"),
        ({"base": "-1"}, "base"),
        ({"url": "http://127.0.0.1"}, "url"),
        ({"directory": str(root)}, "choose another directory"),
    ):
        panel.fill(**good | wrong)
        panel.press("Start")
        panel.says(words)
        panel.becomes("not started")
    keep("panel-wrong-light", panel.place)
    panel.press("dark")
    notebook.theme("dark")
    keep("panel-wrong-dark", panel.place)
    # A venue does not say no to a symbol that it does not know: it stays silent.
    panel.fill(**good | {"symbols": "nosuchusdt"})
    panel.press("Start")
    panel.becomes("open")
    panel.says("no trade yet: does the venue know these symbols?")
    keep("panel-unknown-symbol-dark", panel.place)
    panel.press("Stop")
    panel.becomes("stopped")
    assert not notebook.complaints(1)


def test_a_collector_that_gave_up_is_a_red_banner(
    opened: OpenNotebook, exchange: ExchangeProcess, root: Path, keep: Keep
) -> None:
    """It never goes quiet: the last permitted attempt is followed by words nobody overlooks."""
    cell = collect(root, exchange).replace(
        "policy=wr.FullJitter(base=0.2, cap=1)", "policy=wr.Constant(delay=0.1, max_attempts=2)"
    )
    notebook = opened([cell, "capture.panel()"])
    for at in range(2):
        notebook.run(at)
    panel = PanelView(notebook.output(1))
    panel.becomes("open")
    exchange.inject({"fault": "refuse", "for": 60})
    panel.becomes("gave up")
    panel.says("given up")
    panel.shows_colour(LIGHT.causes[0])
    keep("panel-gave-up-light", panel.place)
    red = panel.place.get_by_role("alert").first.evaluate("alert => getComputedStyle(alert).backgroundColor")
    assert json.loads(red.replace("rgb(", "[").replace(")", "]"))[0] > 150
    until(lambda: process.running(root) is None, "the collector is gone")


def test_the_labs_buttons_disturb_a_capture(opened: OpenNotebook, root: Path, keep: Keep) -> None:
    """Everything from the notebook: an exchange of one's own, a button for a fault, the outage in the panel."""
    lab = "lab = wr.lab.start(wr.lab.Tape.generate(rate=100))"
    start = f"capture = wr.collect('binance:btcusdt', {str(root)!r}, url=lab.url, policy=wr.Constant(delay=0.2))"
    notebook = opened([f"{IMPORT}\n{lab}\n{start}", "wr.lab_panel(lab)", "capture.panel()", "lab.stop()"])
    for at in range(3):
        notebook.run(at)
    buttons, panel = PanelView(notebook.output(1)), PanelView(notebook.output(2))
    panel.becomes("open")
    for button, cause in (("reset", "reset"), ("serverShutdown", "server shutdown")):
        buttons.press(button)
        panel.tells_of(cause)
        panel.becomes("open")
    keep("lab-light", buttons.place)
    notebook.run(3)
    buttons.place.get_by_text("was stopped").wait_for()
    panel.becomes("backing off|connecting")
