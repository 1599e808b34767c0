"""The house: who may import whom, how long a room's pieces may be, and that importing costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capture.recorded import Recorded

PACKAGE = Path(__file__).resolve().parents[1] / "wsresearch"

# A trade's journey, as the one table of ARCHITECTURE.md: a room and the rooms it may import.
ROOMS = {
    "reconnect": set(),
    "venues": set(),
    "capture": set(),
    "collect": {"reconnect", "venues", "capture"},
    "study": {"reconnect"},
    "lab": {"venues"},
    "notebook": {"collect", "capture", "study", "lab", "reconnect", "venues"},
}
# What every room may use: no room itself, and importing nothing of ours but each other.
COMMON = {"errors", "schema", "safetext", "markup"}
# Libraries that only one place may touch.
KEPT_IN = {
    "websockets": {"collect/transport.py", "collect/connection.py", "lab/exchange.py"},
    "ipywidgets": {"notebook/panel.py"},
    "matplotlib": "notebook/",
    "typer": {"cli.py", "collect_command.py", "storm_command.py", "exchange_command.py", "prune_command.py"},
    "filelock": {"collect/lock.py"},
    "aiohappyeyeballs": {"collect/reach.py"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def names(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            if node.module == "wsresearch":
                yield from (f"wsresearch.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_rooms_import_only_what_the_plan_allows(path: Path) -> None:
    """Rules and analysis know no socket and no file; the lab stands in for a venue and knows no collector."""
    room = path.relative_to(PACKAGE).parts[0]
    if room not in ROOMS:
        return
    used = {name.split(".")[1] for name in names(path) if name.startswith("wsresearch.")}
    assert used <= ROOMS[room] | COMMON | {room}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_libraries_stay_in_their_place(path: Path) -> None:
    """What can be replaced one day is imported at one place."""
    for name in names(path):
        place = KEPT_IN.get(name.split(".")[0])
        if isinstance(place, str):
            assert relative(path).startswith(place), name
        elif place is not None:
            assert relative(path) in place, name


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_is_one_thing(path: Path) -> None:
    """A module has a docstring, and stays short enough to be read in one go."""
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= 400


@pytest.mark.parametrize("room", ["reconnect", "venues", "study"])
def test_pure_rooms_know_no_clock_socket_file_or_global_randomness(room: str) -> None:
    """Rules, decoders and analysis give the same answer to the same question, everywhere and always."""
    impure = {"time", "socket", "asyncio", "os", "pathlib", "threading", "subprocess", "tempfile", "io", "ssl"}
    for path in (PACKAGE / room).glob("*.py"):
        assert not impure & {name.split(".")[0] for name in names(path)}, path


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import wsresearch` in a notebook is immediate: no pandas, no matplotlib, no Arrow, no socket."""
    code = (
        "import sys, wsresearch; "
        "heavy = {'pandas', 'matplotlib', 'pyarrow', 'websockets', 'ipywidgets', 'asyncio'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reading_a_capture_loads_only_what_reads(tmp_path: Path) -> None:
    """What one waits for are libraries, and they are as few as can be: no pandas, and no other room."""
    capture = Recorded(tmp_path / "btc")
    for _ in range(2):  # sealed and not
        capture.seal()
        capture.trade(60)
        capture.rotate()
    code = (
        "import sys, wsresearch; wsresearch.open_capture(sys.argv[1]).trades(last='30s', symbols='btcusdt'); "
        "rooms = ('reconnect', 'venues', 'collect', 'study', 'lab', 'notebook'); "
        "heavy = {'pandas', 'matplotlib', 'asyncio', *(f'wsresearch.{room}' for room in rooms)} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "btc")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists() -> None:
    """What `__all__` promises can be imported, whichever way round: also after the rooms were imported."""
    code = (
        "import wsresearch.collect.process, wsresearch as wr; "
        "[getattr(wr, name) for name in wr.__all__]; assert callable(wr.collect)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_prune_leaves_what_the_next_start_reads() -> None:
    """A start goes back so many segments, and no further: two rooms, one number."""
    from wsresearch.capture import prune
    from wsresearch.collect import newest

    assert prune.KEPT >= newest.FURTHEST


def test_collector_and_verify_believe_in_the_same_leaps() -> None:
    """What a collector takes for a stray id, `verify` does not call a hole: two rooms, one number."""
    from wsresearch.capture import claims, ledger
    from wsresearch.collect import sequence

    assert ledger.LEAP == sequence.LEAP
    assert claims._VACANT == sequence.Where.VACANT
