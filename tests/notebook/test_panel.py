"""The panel and its widgets, without a front end: what pressing does, what is shown, and what is left behind."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ipywidgets import HTML, Button, Image, Text, Widget
from ipywidgets.widgets.widget import _instances

from tests.elements import Elements
from tests.notebook.recording import Recording
from tests.notebook.test_board import HOSTILE, SHOWN
from wsresearch import api
from wsresearch.errors import CollectorError, UsageError
from wsresearch.markup import Markup
from wsresearch.notebook import desk, front
from wsresearch.notebook.desk import Panel
from wsresearch.notebook.form import Form
from wsresearch.notebook.panel import PanelFace
from wsresearch.reconnect.actions import State
from wsresearch.schema import TableName

PATIENCE = 30.0
NO_LIMIT = 600.0
"""Seconds between looks in tests that look by themselves, with `refresh`."""


class Collector:
    """A capture whose collector does what the test says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.done: list[str] = []
        self.error: Exception | None = None
        self.may_end = threading.Event()
        self.may_end.set()

    def _do(self, what: str) -> None:
        self.done.append(what)
        assert self.may_end.wait(PATIENCE)
        if self.error is not None:
            raise self.error

    def start(self) -> None:
        self._do("start")

    def stop(self) -> None:
        self._do("stop")

    def reconnect(self) -> None:
        self._do("reconnect")


def widgets(panel: Panel, kind: type[Widget]) -> list[Any]:
    """Every widget of a kind in a panel, in order."""

    def tree(widget: Any) -> Iterator[Any]:
        yield widget
        for child in getattr(widget, "children", ()):
            yield from tree(child)

    return [widget for widget in tree(panel._box) if isinstance(widget, kind)]


def button(panel: Panel, name: str) -> Any:
    return next(each for each in widgets(panel, Button) if each.description == name)


def words(panel: Panel) -> str:
    """Everything that the panel says."""
    return "\n".join("".join(Elements(each.value).words) for each in widgets(panel, HTML))


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def opened(capture: Any = None, **options: Any) -> Panel:
    return Panel(PanelFace(Form() if capture is None else None), capture=capture, **{"every": NO_LIMIT, **options})


@pytest.fixture
def close() -> Iterator[Callable[[Panel], Panel]]:
    """Closes at the end what it is given."""
    made: list[Panel] = []

    def keep(panel: Panel) -> Panel:
        made.append(panel)
        return panel

    yield keep
    for panel in made:
        panel.close()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A front end that shows things: under ``shown`` what it shows now, a widget or HTML."""
    screen: dict[str, Any] = {}

    def show(thing: Any, **_: Any) -> str:
        screen["shown"] = thing
        return "display"

    monkeypatch.setattr(front, "has_kernel", lambda: True)
    monkeypatch.setattr(front, "prepare", lambda: None)
    monkeypatch.setattr(front, "show_live", show)
    monkeypatch.setattr(front, "show", show)
    monkeypatch.setattr(front, "replace", lambda _display, html, **_: show(html))
    return screen


def test_it_shows_a_capture(recording: Recording, close: Callable[[Panel], Panel]) -> None:
    """Badge, counters, history and three pictures; what can be pressed fits the state."""
    recording.outage(detail="connection reset by peer")
    recording.write()
    with recording.alive():
        panel = close(opened(Collector(recording.root))).refresh()
    said = words(panel)
    assert "binance: BTCUSDT" in said
    assert "\nopen" in said
    assert "1 outage" in said
    assert "reset" in said
    assert "connection reset by peer" in said
    assert [image.value[:4] for image in widgets(panel, Image)] == [b"\x89PNG"] * 3
    assert [image.layout.display for image in widgets(panel, Image)] == [""] * 3
    assert [button(panel, name).disabled for name in ("Start", "Stop", "Reconnect now")] == [True, False, False]
    assert not widgets(panel, Text)


def test_only_the_publisher_changes_widgets(recording: Recording, close: Callable[[Panel], Panel]) -> None:
    """Widgets belong to one thread, whoever presses, so that no two changes meet."""
    panel = close(opened(Collector(recording.root), every=0.02))
    assert panel.wait_for(lambda panel: panel.seen is not None, PATIENCE)
    threads = set()
    for widget in (*widgets(panel, HTML), *widgets(panel, Image), *widgets(panel, Button)):
        widget.observe(lambda _change: threads.add(threading.current_thread().name))
    recording.outage()
    recording.write()
    button(panel, "Start").click()
    assert panel.wait_for(lambda panel: panel.seen is not None and panel.seen.outages == 1, PATIENCE)
    assert threads == {"wsresearch-panel"}


def test_pressing_start_keeps_nobody_waiting(tmp_path: Path, close: Callable[[Panel], Panel]) -> None:
    """Starting takes a second: the callback returns at once, the badge says so, a second press does nothing."""
    recording = Recording(tmp_path / "capture")
    asked: list[Any] = []
    may_end = threading.Event()

    def collect(stream: str, out: str, **options: Any) -> Collector:
        asked.append((stream, out, options))
        assert may_end.wait(PATIENCE)
        recording.log.connect()
        recording.write()
        return Collector(recording.root)

    face = PanelFace(Form.filled(symbols="btcusdt, ethusdt", directory="data/x", policy="constant"))
    panel = close(Panel(face, collect=collect, every=0.05))
    button(panel, "Start").click()
    button(panel, "Start").click()
    assert panel.wait_for(lambda panel: "starting …" in words(panel), PATIENCE)
    assert button(panel, "Start").disabled
    with recording.alive():
        may_end.set()
        assert panel.wait_for(lambda panel: "\nopen" in words(panel), PATIENCE)
    assert len(asked) == 1
    assert asked[0][:2] == ("binance:btcusdt,ethusdt", "data/x")
    assert str(asked[0][2]["policy"]) == "constant(delay=5.0)"
    assert panel.root == recording.root


@pytest.mark.parametrize(
    ("filled", "said"),
    [
        ({"symbols": "btc/usdt"}, "'btc/usdt'"),
        ({"symbols": ""}, "symbols is empty"),
        ({"policy": "full-jitter", "parameters": {"cap": "0.5"}}, "cap must be a number at least 1 (base)"),
        ({"idle_timeout": "0"}, "idle-timeout is 0.0, but must be a finite number of seconds, 0.1 to 86400"),
        ({"url": "http://nowhere"}, "http://nowhere"),
        ({"directory": "{busy}", "idle_timeout": "7"}, "a collector already runs on"),
        ({"directory": "{file}"}, "is a file"),
    ],
)
def test_what_cannot_be_started_is_said_in_the_panel(
    filled: dict[str, Any], said: str, recording: Recording, tmp_path: Path, close: Callable[[Panel], Panel]
) -> None:
    """Red, in words, and the form stays: nothing is raised into a callback that nobody hears."""
    (tmp_path / "file").write_text("mine")
    places = {"busy": str(recording.root), "file": str(tmp_path / "file")}
    form = {"directory": str(tmp_path / "new"), **filled}
    form["directory"] = form["directory"].format(**places)
    panel = close(Panel(PanelFace(Form.filled(**form)), collect=api.collect, every=NO_LIMIT))
    with recording.alive():
        button(panel, "Start").click()
        assert panel.wait_for(lambda panel: panel.error != "" and said in words(panel), PATIENCE), words(panel)
    banner = next(each.value for each in widgets(panel, HTML) if 'class="wsr-alarm wrong"' in each.value)
    assert said in "".join(Elements(banner).words)
    assert panel._face._form.box.layout.display == ""  # type: ignore[attr-defined]
    assert panel.wait_for(lambda panel: not button(panel, "Start").disabled, PATIENCE)


def test_an_error_goes_with_the_next_success(recording: Recording, close: Callable[[Panel], Panel]) -> None:
    """What went wrong is told until something else is asked for."""
    collector = Collector(recording.root)
    collector.error = CollectorError("pid 7 has not ended after 60 s")
    panel = close(opened(collector))
    panel.reconnect()
    assert panel.wait_for(lambda panel: "pid 7 has not ended after 60 s" in words(panel), PATIENCE)
    collector.error = None
    panel.reconnect()
    assert panel.wait_for(lambda panel: "pid 7" not in words(panel), PATIENCE)
    assert collector.done == ["reconnect", "reconnect"]


def test_a_defect_is_shown(recording: Recording, close: Callable[[Panel], Panel]) -> None:
    """What nobody expected is not swallowed by a thread either."""
    collector = Collector(recording.root)
    collector.error = ZeroDivisionError("division by zero")
    panel = close(opened(collector))
    panel.reconnect()
    said = "a defect of this panel: ZeroDivisionError: division by zero"
    assert panel.wait_for(lambda panel: said in words(panel), PATIENCE)


def test_another_policy_has_other_parameters(close: Callable[[Panel], Panel]) -> None:
    """Its fields, their values and the reset rule of its original; what it has not is hidden."""
    panel = close(opened())
    face: Any = panel._face
    form = face._form
    form._fields["policy"].value = "partysocket"
    assert panel.wait_for(lambda _panel: form._named[0] == "low", PATIENCE)
    shown = [field for field in form._parameters if field.layout.display != "none"]
    assert [(field.description, field.value) for field in shown][:2] == [("low", "1"), ("high", "5")]
    assert face.form().reset == "stable:5"
    assert str(face.form().arguments()[2]["policy"]) == "drawn-start(low=1.0, high=5.0, factor=1.3, cap=10.0)"


def test_another_stretch_is_drawn_at_once(recording: Recording, close: Callable[[Panel], Panel]) -> None:
    """Nobody waits a second, or for the share of the time that drawing may take."""
    panel = close(opened(Collector(recording.root)))
    assert panel.wait_for(lambda panel: widgets(panel, Image)[0].value != b"", PATIENCE)
    before = [image.value for image in widgets(panel, Image)]
    panel._face._palette.value = "dark"  # type: ignore[attr-defined]
    assert panel.wait_for(
        lambda panel: all(a != b.value for a, b in zip(before, widgets(panel, Image), strict=True)), PATIENCE
    )


def test_stopping_leaves_a_page(recording: Recording, kernel: dict[str, Any]) -> None:
    """Pictures and history as plain HTML in the place of the widgets, and nothing else: no thread, model or file."""
    recording.outage(cause="closed", close_code=1001, close_by="peer", detail="going away")
    recording.write()
    before = (set(_instances), threading.active_count(), _descriptors())
    panel = opened(Collector(recording.root))
    panel._ipython_display_()
    assert kernel["shown"] is panel._box
    with recording.alive():
        panel.stop()
        assert panel.wait_for(lambda panel: panel.is_static, PATIENCE)
    page = Elements(kernel["shown"])
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 3
    assert all(str(picture["src"]).startswith("data:image/png;base64,iVBOR") for picture in pictures)
    assert "1 outage in" in str(pictures[0]["alt"])
    assert "going away" in "".join(page.words)
    assert "run its cell again" in "".join(page.words)
    gc.collect()
    assert (set(_instances), threading.active_count()) == before[:2]
    assert _descriptors() == before[2]
    kernel.clear()
    panel._ipython_display_()
    assert isinstance(kernel["shown"], Markup)
    panel.start()
    panel.close()
    assert repr(panel).endswith("(static)>")


def test_a_stop_from_anywhere_leaves_a_page(recording: Recording, kernel: dict[str, Any]) -> None:
    """``capture.stop()`` in any cell ends the panels of the capture, before it returns."""
    panel = api.open_capture(recording.root).panel()
    panel._ipython_display_()
    api.Capture(recording.root).stop()
    assert panel.is_static
    assert isinstance(kernel["shown"], Markup)


def test_an_end_by_itself_leaves_a_page(
    recording: Recording, kernel: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector that gave up: after a moment in which it could be started again, a page with a red banner."""
    monkeypatch.setattr(desk, "_GRACE", 0.2)
    panel = opened(Collector(recording.root), every=0.02)
    panel._ipython_display_()
    with recording.alive():
        assert panel.wait_for(lambda panel: panel._ran, PATIENCE)
        recording.log.lost(0.5, cause="refused")
        recording.log.add("gave_up", cause="refused", detail="10 attempts in a row failed, the last was refused")
        recording.write()
        assert panel.wait_for(lambda panel: panel.is_static, PATIENCE)
    said = "".join(Elements(kernel["shown"]).words)
    assert "The collector has given up: 10 attempts in a row failed, the last was refused" in said


def test_one_that_does_not_run_can_be_started(recording: Recording, close: Callable[[Panel], Panel]) -> None:
    """A panel of a stopped capture stays alive: it did not end before anybody's eyes."""
    recording.log.add("stopped", cause="stop")
    recording.write()
    collector = Collector(recording.root)
    panel = close(opened(collector, every=0.02))
    assert panel.wait_for(lambda panel: "stopped" in words(panel), PATIENCE)
    assert [button(panel, name).disabled for name in ("Start", "Stop", "Reconnect now")] == [False, True, True]
    button(panel, "Start").click()
    assert panel.wait_for(lambda _panel: collector.done == ["start"], PATIENCE)
    recording.log.wait(1)
    recording.log.connect()
    with recording.alive():
        recording.write()
        assert panel.wait_for(lambda panel: "\nopen" in words(panel), PATIENCE)
    assert not panel.is_static


def test_twenty_times_is_once(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell run again and again: as many threads, widget models and open files as after the first time."""
    runs = iter(range(100))
    monkeypatch.setattr("wsresearch.notebook.registry._running_cell", lambda: ("cell", next(runs)))
    recording.outage()
    recording.write()
    capture = api.open_capture(recording.root)

    def counted() -> tuple[int, int, int]:
        gc.collect()
        return threading.active_count(), len(_instances), _descriptors()

    def shown() -> Panel:
        panel = capture.panel()
        # Not by `refresh`: the publisher's thread opens files of its own, for fonts among others.
        assert panel.wait_for(lambda panel: all(image.value for image in widgets(panel, Image)), PATIENCE)
        return panel

    before = counted()
    panel = shown()
    with panel._looking:  # a look under way has files open for a moment
        first = counted()
    assert first[1] > before[1]
    for _ in range(20):
        panel = shown()
    with panel._looking:
        assert counted() == first
    panel.close()
    assert counted() == before


def test_a_capture_that_goes_away_is_missed(recording: Recording, close: Callable[[Panel], Panel]) -> None:
    """The banner says so, the pictures stay, and the panel goes on looking."""
    recording.outage()
    recording.write()
    panel = close(opened(Collector(recording.root))).refresh()
    drawn = [image.value for image in widgets(panel, Image)]
    recording.writer.close()
    shutil.rmtree(recording.root)
    panel.refresh()
    assert "was it moved or removed?" in words(panel)
    assert [image.value for image in widgets(panel, Image)] == drawn
    assert not panel.is_static


def alarms(panel: Panel) -> list[str]:
    """What is red."""
    banner = panel._face._banner.value  # type: ignore[attr-defined]
    assert banner.count("wsr-alarm") == banner.count('"wsr-alarm wrong"')
    return Elements(banner).words


@pytest.mark.parametrize("spoilt", ["deleted", "damaged", "torn", "nothing"])
def test_what_is_missing_is_red_and_the_rest_is_drawn(
    spoilt: str, recording: Recording, close: Callable[[Panel], Panel]
) -> None:
    """A file deleted under our feet, a damaged one, a journal that is being written: three pictures all the same."""
    for _ in range(3):
        recording.outage()
        recording.write()
        recording.rotate()
    recording.outage()
    recording.log.add("stopped", cause="stop")
    recording.write()
    second = recording.layout.parquets(TableName.EVENTS)[1]
    (journal,) = recording.root.glob("journal/events-*.arrows")
    if spoilt == "deleted":
        second.unlink()
    elif spoilt == "damaged":
        second.write_bytes(b"PAR1" * 100)
    elif spoilt == "torn":
        with journal.open("ab") as file:
            file.write(b"half of a batch")
    panel = close(opened(Collector(recording.root))).refresh()
    told = alarms(panel)
    if spoilt == "deleted":
        assert told == ["segment 2 of events is not there: what it held, if anything, is not shown"]
    elif spoilt == "damaged":
        assert len(told) == 1
        assert "events-000000000002.parquet" in told[0]
    else:
        assert told == []
    assert "4 outages" in words(panel)
    assert [image.value[:4] for image in widgets(panel, Image)] == [b"\x89PNG"] * 3


@pytest.mark.parametrize("events", [False, True])
def test_without_data_it_says_so(tmp_path: Path, close: Callable[[Panel], Panel], *, events: bool) -> None:
    """A capture just made, and one with events only: state and pictures, which say that there is nothing to see."""
    recording = Recording(tmp_path / "bare")
    if events:
        recording.log.connect()
        recording.log.wait(20)
        recording.log.add("error", cause="unknown", detail="an event of a kind that is not known")
        recording.write(stats=False)
    with recording.alive():
        panel = close(opened(Collector(recording.root))).refresh()
    assert ("\nopen" if events else "\nidle") in words(panel)
    assert "No outage so far." in words(panel)
    shown = [picture.drawn.words for picture in panel._pictures or () if picture.drawn is not None]
    assert len(shown) == 3
    assert shown[2] == "No second has been counted yet"
    if events:
        assert [told[:47] for told in alarms(panel)] == ["The collector is alive but has written nothing "]
    recording.writer.close()


def test_hostile_text_is_text(recording: Recording, kernel: dict[str, Any]) -> None:
    """In the widgets, whose HTML the browser takes as it is, and in the page that is left."""
    recording.outage(cause=HOSTILE, close_by="peer", detail=HOSTILE)
    recording.write()
    panel = opened(Collector(recording.root))
    panel.error = HOSTILE
    panel._ipython_display_()
    panel.refresh()
    harmless = {"div", "span", "b", "bdi", "style", "img", "table", "thead", "tbody", "tr", "th", "td"}
    live = "".join(each.value for each in widgets(panel, HTML))
    panel.freeze()
    for html, images in ((live, 0), (kernel["shown"], 3)):
        found = Elements(html)
        assert {tag for tag, _ in found.elements} <= harmless
        assert sum(tag == "img" for tag, _ in found.elements) == images
        assert SHOWN in "".join(found.words)
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in html
        assert "\x1b" not in html


def test_without_a_kernel_it_is_a_line(recording: Recording, capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal there is nothing to show a widget with."""
    panel = opened(Collector(recording.root)).refresh()
    panel._ipython_display_()
    panel.close()
    assert capsys.readouterr().out.startswith(f"<Panel of {str(recording.root)!r}: ")


def test_what_cannot_be_chosen_is_refused(recording: Recording) -> None:
    """A stretch or a palette that there is not; nothing is left of the panel that was not made."""
    before = set(_instances)
    with pytest.raises(UsageError, match="stretch is '2 h'"):
        api.open_capture(recording.root).panel(stretch="2 h")
    with pytest.raises(UsageError, match="there is no palette 'blue'"):
        api.panel(palette="blue")
    assert set(_instances) == before


def test_states_that_end_are_the_lifecycle_s() -> None:
    """A panel ends with every state from which nothing follows."""
    from wsresearch.reconnect.lifecycle import TABLE

    assert {state for state, signals in TABLE.items() if not signals} == desk._ENDED
    assert State.OPEN not in desk._ENDED
