"""Text from elsewhere is text wherever it is shown: no element, no script, no turned letters, no colours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wsresearch as wr
from tests.browser.conftest import Keep, OpenNotebook
from tests.browser.jupyter import Chromium, Notebook, Watched, until
from tests.browser.panelview import PanelView
from tests.browser.test_panel import collect
from wsresearch.lab import ExchangeProcess

if TYPE_CHECKING:
    from playwright.sync_api import Locator

# What is shown does not depend on the kernel.
pytestmark = pytest.mark.parametrize("kernel", ["ipykernel7"], indirect=True)

MARKUP = "<img src=x onerror=alert(1)>"
HOSTILE = f"{MARKUP}\u202egnp.exe\u2066\u200b\x1b[31mred\x1b[0m\x07</td></table><b>"
"""What a server, a file or a directory's name may be: markup, letters that run backwards, a terminal's colours."""

PLOTS = ("timeline", "gaps_vs_backoff", "recovery_phases", "gap_distribution", "lifetimes", "rate")

SHOWN = (
    "capture",
    "print(repr(capture), capture.status, capture.report_text(), sep='\\n')",
    "capture.status",
    "capture.watch(0.1)",
    f"for name in {PLOTS}:\n    display(getattr(wr.plots, name)(capture).figure)",
    "from pathlib import Path\nPath('report.html').write_text(capture.report_html(), encoding='utf-8');",
)
"""Cells, each of which shows a capture another way; the last one writes the report beside the notebook."""

TABLES = ("capture.outages()", "capture.events()", "wr.to_pandas(capture.outages())", "wr.to_pandas(capture.events())")
"""Cells that show tables as pyarrow and pandas do."""


def is_only_text(watched: Watched, places: Sequence[Locator]) -> None:
    """Nothing became an element or ran; where it stands it stands as it is, and turns no letters around it."""
    assert watched.page.locator("img[src='x'], [onerror]").count() == 0
    assert watched.dialogs == []
    for place in places:
        text = place.inner_text()
        assert MARKUP in text
        assert not {"\u202e", "\u2066", "\u200b", "\x1b", "\x07"} & set(text)


def saved_and_reported(notebook: Notebook, chromium: Chromium, keep: Keep, name: str) -> None:
    """The notebook as HTML, and the report: files that are opened without a kernel."""
    notebook.save()
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level", "ERROR", str(notebook.path)]
    subprocess.run(command, check=True)
    report = notebook.path.with_name("report.html")
    for theme in ("light", "dark"):
        with chromium.page(theme=theme, height=900) as watched:
            watched.page.goto(notebook.path.with_suffix(".html").as_uri())
            is_only_text(watched, [watched.page.locator(".wsr").first])
            watched.page.goto(report.as_uri())
            is_only_text(watched, [watched.page.locator("body")])
            assert watched.page.locator("img:visible").count() >= 2
            keep(f"{name}-report-{theme}", watched.page.locator("html"))


def forge(root: Path) -> None:
    """Put hostile text wherever a capture from elsewhere may hold text."""
    for path in [*root.glob("events/*/*.parquet"), *root.glob("trades/*/*.parquet")]:
        table = pq.ParquetFile(path).read()
        for name in ("symbol", "detail", "peer", "close_by", "cause"):
            if name in table.column_names:
                at = table.column_names.index(name)
                texts = [None if value is None else HOSTILE for value in table[name].to_pylist()]
                table = table.set_column(at, table.schema.field(name), pa.array(texts, pa.string()))
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), HOSTILE: HOSTILE})
        pq.write_table(table, path)
        path.with_name(f"{MARKUP}\u202egnp.parquet").write_text(HOSTILE)
    (root / "journal" / f"{MARKUP}.arrows").write_text(HOSTILE)
    identity = root / "capture.json"
    told = json.loads(identity.read_text(encoding="utf-8"))
    told["symbols"] = [HOSTILE]
    told["config"] |= {"policy": HOSTILE, "reset": HOSTILE, "url": HOSTILE, "idle_timeout": HOSTILE}
    identity.write_text(json.dumps(told), encoding="utf-8")


def test_a_servers_words_are_text_everywhere(
    opened: OpenNotebook, exchange: ExchangeProcess, root: Path, chromium: Chromium, keep: Keep
) -> None:
    """A close reason and an HTTP answer: in the panel, tables, reprs, plots, the saved notebook and the report."""
    notebook = opened([collect(root, exchange), "capture.panel()", *SHOWN, *TABLES, "capture.stop();"])
    cells = len(SHOWN) + len(TABLES) + 3
    panel = PanelView(notebook.output(1))
    for at in range(2):
        notebook.run(at)
    panel.becomes("open")
    exchange.inject({"fault": "close", "code": 4000, "reason": HOSTILE})
    panel.tells_of("4000")
    panel.becomes("open")
    exchange.inject({"fault": "http", "status": 503, "retry_after": MARKUP, "body": f"<p>{HOSTILE}", "for": 0.5})
    panel.tells_of("reset")
    panel.becomes("open")
    keep("hostile-server-light", panel.place)
    for at in range(2, cells):
        notebook.run(at)
    panel.becomes("stopped")
    tables = [notebook.output(at) for at in range(cells - 3, cells - 1)]
    is_only_text(notebook.watched, [panel.place, notebook.output(2), notebook.output(5), *tables])
    saved_and_reported(notebook, chromium, keep, "hostile-server")


def test_a_capture_from_elsewhere_is_text_everywhere(
    opened: OpenNotebook, exchange: ExchangeProcess, root: Path, chromium: Chromium, keep: Keep
) -> None:
    """Symbols, causes, configuration and the directory's own name may be anything in a capture that others made."""
    collected = wr.collect("binance:btcusdt", root, url=exchange.url, policy="constant(delay=0.1)", reset="message")
    until(lambda: collected.status.trades > 50, "trades")
    exchange.inject({"fault": "close", "code": 4000, "reason": HOSTILE})
    until(lambda: collected.outages().num_rows and collected.status.connection == 2, "an outage")
    collected.stop()
    forge(root)
    named = root.rename(root.with_name(f"{MARKUP}\u202egnp"))

    opening = f"import wsresearch as wr\ncapture = wr.open_capture({str(named)!r})"
    notebook = opened([opening, "capture.panel()", *SHOWN, *TABLES])
    panel = PanelView(notebook.output(1))
    for at in range(2 + len(SHOWN) + len(TABLES)):
        notebook.run(at)
    panel.becomes("stopped")
    panel.has_pictures()
    keep("hostile-capture-light", panel.place)
    is_only_text(notebook.watched, [panel.place, *(notebook.output(at) for at in (2, 3, 5))])
    panel.press("Start")
    panel.says(MARKUP)
    is_only_text(notebook.watched, [panel.place])
    saved_and_reported(notebook, chromium, keep, "hostile-capture")
