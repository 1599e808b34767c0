"""Real-browser tests run when they are asked for (``make test-browser``); else each says why it was skipped."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.browser.jupyter import CHROMIUM, Chromium, JupyterLab, Notebook
from wsresearch.collect import process
from wsresearch.lab import ExchangeProcess, Tape, start

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
OUTPUT = PROJECT / "browser-output"
PYTHONS = {"ipykernel7": Path(sys.executable), "ipykernel6": PROJECT / ".venv-ipykernel6/bin/python"}
"""The kernels that the tests run on, and whose Python each is."""

OpenNotebook = Callable[..., Notebook]
Keep = Callable[..., Path]


def why_not(config: pytest.Config) -> str:
    """Return what keeps these tests from running, empty if nothing does."""
    asked = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    if not any(path == HERE or HERE in path.parents for path in asked):
        return "real-browser tests take minutes and run on their own: make test-browser"
    for module in ("playwright", "jupyterlab", "ipykernel"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed: make test-browser, or pip install '.[dev,browser]'"
    if not CHROMIUM.exists():
        return f"no {CHROMIUM}: install Debian's package chromium, or set CHROMIUM"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reason = why_not(config)
    for item in items:
        if HERE in item.path.parents and reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session", params=list(PYTHONS))
def kernel(request: pytest.FixtureRequest) -> str:
    """The name of a kernel; the tests run once with each."""
    name: str = request.param
    python = PYTHONS[name]
    if not python.exists():
        pytest.skip(f"no {python.relative_to(PROJECT)}: make test-browser makes it")
    told = subprocess.run(
        [python, "-c", "import ipykernel; print(ipykernel.__version__)"], capture_output=True, text=True, check=True
    )
    assert f"ipykernel{told.stdout.split('.')[0]}" == name
    return name


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = Chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterLab]:
    """A server with all the kernels that there are."""
    there = {name: python for name, python in PYTHONS.items() if python.exists()}
    server = JupyterLab(tmp_path_factory.mktemp("jupyter"), there)
    yield server
    server.stop()


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Keep:
    """Keep a picture of a page or of a part of it, for a person to look at."""

    def shot(name: str, what: Any) -> Path:
        OUTPUT.mkdir(exist_ok=True)
        kernel = request.node.callspec.params.get("kernel", "") if hasattr(request.node, "callspec") else ""
        path = OUTPUT / f"{'-'.join(filter(None, [kernel, name]))}.png"
        what.screenshot(path=path)
        return path

    return shot


@pytest.fixture
def opened(
    request: pytest.FixtureRequest, chromium: Chromium, jupyter: JupyterLab, kernel: str, keep: Keep
) -> Iterator[OpenNotebook]:
    """Open notebooks; in none of their pages may anything happen that nobody asked for."""
    request.getfixturevalue("root")  # whose end is the collector's: what failed is looked at before
    said_before = jupyter.log.stat().st_size
    with contextlib.ExitStack() as stack:
        notebooks: list[Notebook] = []

        def open_notebook(cells: Sequence[str], *, theme: str = "light") -> Notebook:
            name = f"{request.node.originalname}-{kernel}-{len(notebooks)}"
            notebooks.append(stack.enter_context(jupyter.open(chromium, name, cells, kernel=kernel, theme=theme)))
            return notebooks[-1]

        yield open_notebook
        for notebook in notebooks:
            if request.node.stash.get(FAILED, False):
                keep(f"FAILED-{request.node.originalname}", notebook.page)
            assert notebook.watched.dialogs == []
            assert notebook.watched.errors == []
            assert notebook.watched.elsewhere == []
        # What a callback or a thread of a kernel raises and nobody catches ends up there.
        said = jupyter.log.read_bytes()[said_before:].decode(errors="replace")
        assert f'File "{PROJECT / "wsresearch"}/' not in said, said[-4000:]


@pytest.fixture
def exchange() -> Iterator[ExchangeProcess]:
    """A local exchange that trades two symbols for ever."""
    with start(Tape.generate(("BTCUSDT", "ETHUSDT"), rate=200, seed=7)) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A directory for a capture, whose collector does not outlive the test."""
    folder = tmp_path / "capture"
    yield folder
    process.stop(folder)
