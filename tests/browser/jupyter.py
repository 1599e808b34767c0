"""A real JupyterLab and a real Chromium, used as a person uses them; what is tested with them is not here.

Everything is on loopback: the server has a token and opens no browser, and the browser resolves no other name.
What is waited for is a condition in the page, with a deadline; nothing sleeps and hopes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:  # where there is no playwright the tests are skipped, and must have been found for that
    from playwright.sync_api import Browser, Dialog, Locator, Page, Playwright, Request

__all__ = ["CHROMIUM", "PATIENCE", "Chromium", "JupyterLab", "Notebook", "Watched", "until"]

CHROMIUM: Final = Path(os.environ.get("CHROMIUM") or "/usr/bin/chromium")
"""Debian's, unless the environment names another."""

PATIENCE: Final = 30.0
"""Seconds until a condition that ought to come is given up: a loaded machine is slow, a broken panel never ready."""

_FLAGS: Final = (
    "--no-sandbox",  # Chromium has none for root, and CI is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_THEMES: Final = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
_SETTINGS: Final = {
    # Every cell stays in the document, seen or not, so that what is read does not depend on scrolling.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "docmanager-extension/plugin": {"autosave": False},
}
_PROMPT: Final = "(cell.querySelector('.jp-InputPrompt')?.textContent.trim() ?? '')"
_T = TypeVar("_T")


def until(ask: Callable[[], _T], what: str, *, timeout: float = PATIENCE) -> _T:
    """Return the first true answer: for a condition outside the page, such as a process or a file."""
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)
    return answer


# -- the browser ------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A page, and what happened in it that nobody asked for."""

    page: Page
    dialogs: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _dialog(self, dialog: Dialog) -> None:
        # JupyterLab's own "unsaved changes" is a beforeunload dialog; every other one is somebody's script.
        if dialog.type != "beforeunload":
            self.dialogs.append(f"{dialog.type}: {dialog.message}")
        dialog.accept()

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob", "file", "about"} and parts.hostname != "127.0.0.1":
            self.elsewhere.append(request.url)


class Chromium:
    """One Chromium; every page has a profile of its own.

    Parameters
    ----------
    playwright
        Its driver, which gives the browser a new and empty user-data directory.
    """

    def __init__(self, playwright: Playwright) -> None:
        self._browser: Browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(_FLAGS))

    @contextlib.contextmanager
    def page(self, *, theme: str = "light", width: int = 1280, height: int = 1500) -> Iterator[Watched]:
        """Give a page of a browser that has never been anywhere."""
        scheme = "dark" if theme == "dark" else "light"
        with self._browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}, device_scale_factor=1
        ) as context:
            context.set_default_timeout(PATIENCE * 1000)
            yield Watched(context.new_page())

    def close(self) -> None:
        self._browser.close()


# -- the server -------------------------------------------------------------------------------------------------------


class JupyterLab:
    """A JupyterLab server on loopback, with settings, kernels and state of its own.

    Parameters
    ----------
    folder
        Where it may write; the notebooks are in its `notebooks`.
    kernels
        Name of a kernel and the Python that it runs.
    """

    def __init__(self, folder: Path, kernels: Mapping[str, Path]) -> None:
        self.notebooks = folder / "notebooks"
        self.notebooks.mkdir(parents=True)
        self._token = secrets.token_hex(16)
        self._runtime = folder / "runtime"
        for name, python in kernels.items():
            spec = folder / "data/kernels" / name
            spec.mkdir(parents=True)
            command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            text = json.dumps({"argv": command, "display_name": name, "language": "python"})
            (spec / "kernel.json").write_text(text, encoding="utf-8")
        for name, settings in _SETTINGS.items():
            path = folder / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings), encoding="utf-8")
        self.log = folder / "server.log"
        self._log = self.log.open("wb")
        homes = {
            "JUPYTER_TOKEN": self._token,
            "JUPYTER_RUNTIME_DIR": self._runtime,
            "JUPYTER_CONFIG_DIR": folder / "config",
            "JUPYTER_DATA_DIR": folder / "data",
            "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
            "IPYTHONDIR": folder / "ipython",
        }
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={self.notebooks}"),
                *("--ServerApp.terminals_enabled=False", "--LabApp.extension_manager=readonly"),
                *("--LabApp.expose_app_in_browser=True", "--LabApp.news_url="),
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            cwd=folder,
            env={**os.environ, **{name: str(value) for name, value in homes.items()}},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        try:
            self.url = until(self._announced, f"the server listens; see {self._log.name}")
        except BaseException:
            self.stop()
            raise

    def write(self, name: str, cells: Sequence[str], *, kernel: str) -> Path:
        """Write a notebook of code cells."""
        empty = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
        document = {
            "cells": [{**empty, "id": f"cell-{at}", "source": source} for at, source in enumerate(cells)],
            "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = self.notebooks / f"{name}.ipynb"
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    @contextlib.contextmanager
    def open(
        self, browser: Chromium, name: str, cells: Sequence[str], *, kernel: str, theme: str = "light"
    ) -> Iterator[Notebook]:
        """Open a new notebook in a new page, with a kernel that is ready; both are gone afterwards."""
        path = self.write(name, cells, kernel=kernel)
        try:
            with browser.page(theme=theme) as watched:
                watched.page.goto(f"{self.url}lab/tree/{path.name}?reset&token={self._token}")
                notebook = Notebook(watched, path)
                notebook.ready()
                notebook.theme(theme)
                yield notebook
        finally:
            self._end_kernel(path.name)

    def kernel_pids(self) -> set[int]:
        """Return the processes that the server has for kernels."""
        import psutil

        return {child.pid for child in psutil.Process(self.pid).children()}

    def stop(self) -> None:
        """End the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _announced(self) -> str:
        assert self._process.poll() is None, f"JupyterLab ended with exit code {self._process.returncode}"
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            told = json.loads((self._runtime / f"jpserver-{self._process.pid}.json").read_text(encoding="utf-8"))
            return f"http://127.0.0.1:{told['port']}{told['base_url']}" if told["port"] else ""
        return ""

    def _ask(self, path: str, *, method: str = "GET") -> Any:
        head = {"Authorization": f"token {self._token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=head)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or b"null")

    def _end_kernel(self, name: str) -> None:
        for session in self._ask("api/sessions"):
            if session["path"] == name:
                self._ask(f"api/sessions/{session['id']}", method="DELETE")


# -- a notebook in the page -------------------------------------------------------------------------------------------


class Notebook:
    """A notebook that is open in a page, with its cells counted from 0."""

    def __init__(self, watched: Watched, path: Path) -> None:
        self.watched = watched
        self.page = watched.page
        self.path = path

    def ready(self) -> None:
        """Wait until the notebook is shown and its kernel is idle."""
        self.page.wait_for_function("() => window.jupyterapp")
        self.page.evaluate("() => window.jupyterapp.restored.then(() => null)")
        self.page.locator(".jp-NotebookPanel .jp-Notebook .jp-Cell").first.wait_for()
        self._panel("panel => Promise.all([panel.context.ready, panel.sessionContext.ready]).then(() => null)")
        self._idle()

    def theme(self, theme: str) -> None:
        """Change the colours of the whole page."""
        self._command("apputils:change-theme", theme=_THEMES[theme])
        self.page.wait_for_function("dark => document.body.dataset.jpThemeLight === String(!dark)", arg=theme == "dark")
        # The curtain that JupyterLab draws meanwhile lifts slowly, and would be over a picture of the page.
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def cell(self, at: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(at)

    def output(self, at: int) -> Locator:
        return self.cell(at).locator(".jp-Cell-outputWrapper")

    def text(self, at: int) -> str:
        """Return what stands in a cell's outputs."""
        return self.output(at).inner_text()

    def complaints(self, at: int) -> str:
        """Return the exception of a cell, and what it wrote to stderr."""
        shown = self.output(at).locator('[data-mime-type="application/vnd.jupyter.stderr"]')
        return "\n".join(shown.all_inner_texts())

    def told(self, at: int) -> Any:
        """Run a cell that prints one JSON document, and return that."""
        self.run(at)
        text = until(lambda: self.text(at).strip(), f"what cell {at} printed is shown")
        try:
            return json.loads(text.splitlines()[-1])
        except json.JSONDecodeError:
            raise AssertionError(f"cell {at} printed no JSON: {text}") from None

    def start(self, at: int) -> None:
        """Press Ctrl+Enter in a cell, and see that the kernel was asked."""
        cell = self.cell(at)
        cell.scroll_into_view_if_needed()
        # The number that comes may be the one that stood there, and a quick cell shows no star: begin with neither.
        self._panel("(panel, at) => { panel.content.widgets[at].model.sharedModel.execution_count = null; }", at)
        self._when(at, f"cell => {_PROMPT} === '[ ]:'")
        from playwright.sync_api import TimeoutError as NotYet

        editor = cell.locator(".cm-content").first
        deadline = time.monotonic() + PATIENCE
        while True:
            editor.click()
            editor.press("Control+Enter")
            # A page that is still busy with its own layout moves the focus, and the keys are lost: press again, as
            # one does. The star is set by the keys themselves, so a cell that was asked is not asked twice.
            with contextlib.suppress(NotYet):
                return self._when(at, f"cell => {_PROMPT} !== '[ ]:'", timeout=2.0)
            assert time.monotonic() < deadline, f"cell {at} does not run"

    def finish(self, at: int, *, timeout: float = PATIENCE) -> None:
        """Wait until a cell that was started has run."""
        self._when(at, f"cell => /\\d/.test({_PROMPT})", timeout=timeout)

    def run(self, at: int, *, timeout: float = PATIENCE) -> None:
        """Run a cell; an exception or a warning in it is one here."""
        self.start(at)
        self.finish(at, timeout=timeout)
        complaints = self.complaints(at)
        assert not complaints, complaints

    def interrupt(self) -> None:
        """Press the square in the toolbar."""
        self._press('[data-command="notebook:interrupt-kernel"], [data-jp-item-name="interrupt"] jp-button')

    def restart(self) -> None:
        """Press the arrow in the toolbar and confirm."""
        # The kernel that goes is idle too, so first it must be seen to go.
        self._panel(
            """panel => {
                const changed = panel.sessionContext.statusChanged;
                window.restarting = new Promise(resolve => changed.connect(function see(_context, status) {
                    if (status !== 'restarting') return;
                    changed.disconnect(see);
                    resolve(null);
                }));
                return null;
            }"""
        )
        self._press('[data-command="notebook:restart-kernel"], [data-jp-item-name="restart"] jp-button')
        self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        self.page.evaluate("() => window.restarting")
        self._idle()

    def save(self) -> None:
        """Save, and wait until the file is written."""
        before = self.path.stat().st_mtime_ns
        self._command("docmanager:save")
        until(lambda: self.path.stat().st_mtime_ns != before, "the notebook is saved")

    def reload(self) -> None:
        """Save and load the page again; the kernel stays."""
        self.save()
        self.page.reload()
        self.ready()

    def _press(self, selector: str) -> None:
        self.page.locator(".jp-NotebookPanel-toolbar").locator(selector).first.click()

    def _idle(self) -> None:
        self._panel(
            """async (panel, patience) => {
                const deadline = Date.now() + patience;
                while (panel.sessionContext.session?.kernel?.status !== 'idle') {
                    if (Date.now() > deadline) throw Error('the kernel does not become idle');
                    await new Promise(resume => setTimeout(resume, 20));
                }
            }""",
            PATIENCE * 1000,
        )

    def _command(self, name: str, **arguments: str) -> None:
        self.page.evaluate("([name, given]) => window.jupyterapp.commands.execute(name, given)", [name, arguments])

    def _panel(self, code: str, given: object = None) -> Any:
        """Evaluate a JavaScript function of JupyterLab's notebook panel; for what a person knows by looking."""
        return self.page.evaluate(
            f"given => ({code})([...window.jupyterapp.shell.widgets('main')].find(w => w.sessionContext), given)", given
        )

    def _when(self, at: int, condition: str, *, timeout: float = PATIENCE) -> None:
        cell = self.cell(at).element_handle()
        self.page.wait_for_function(condition, arg=cell, timeout=timeout * 1000)
