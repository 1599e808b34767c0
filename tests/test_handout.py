"""A user's copy of the notebooks: whatever they changed stays, everything else is brought up to date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from wsresearch.capture.verify import verify
from wsresearch.cli import main
from wsresearch.errors import UsageError
from wsresearch.handout import Copies, hand_out, originals, require_lab

ROOT = Path(__file__).resolve().parents[1]
FIRST = "01_first_capture.ipynb"


def written_to(folder: Path, files: Mapping[str, str]) -> dict[str, Path]:
    """Originals with these contents."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return {name: folder / name for name in files}


def copies(**of: tuple[str, ...]) -> Copies:
    return Copies(**{name: of.get(name, ()) for name in ("written", "renewed", "removed", "kept")})


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return tmp_path / "package"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "mine"


def test_a_first_copy_is_whole_and_a_second_changes_nothing(package: Path, mine: Path) -> None:
    """Folders are made as needed; asking again is harmless."""
    files = written_to(package, {"a.ipynb": "1", "data/sample/b": "2"})
    assert hand_out(mine, files) == copies(written=("a.ipynb", "data/sample/b"))
    assert (mine / "data/sample/b").read_text() == "2"
    assert hand_out(mine, files) == copies()


def test_what_the_user_changed_is_never_overwritten(package: Path, mine: Path) -> None:
    """Not when the package stays the same, and not when it brings a newer one."""
    files = written_to(package, {"a.ipynb": "1", "b.ipynb": "1"})
    hand_out(mine, files)
    (mine / "a.ipynb").write_text("my own")
    assert hand_out(mine, files) == copies(kept=("a.ipynb",))
    written_to(package, {"a.ipynb": "2", "b.ipynb": "2"})
    assert hand_out(mine, files) == copies(kept=("a.ipynb",), renewed=("b.ipynb",))
    assert (mine / "a.ipynb").read_text() == "my own"
    assert (mine / "b.ipynb").read_text() == "2"


def test_a_file_that_was_there_before_is_the_users(package: Path, mine: Path) -> None:
    """A directory may hold notebooks of the same name that nobody handed out; also after our memory was lost."""
    mine.mkdir()
    (mine / "a.ipynb").write_text("my own")
    files = written_to(package, {"a.ipynb": "1"})
    assert hand_out(mine, files) == copies(kept=("a.ipynb",))
    (mine / ".handed-out.json").write_text("not JSON")
    assert hand_out(mine, files) == copies(kept=("a.ipynb",))
    assert (mine / "a.ipynb").read_text() == "my own"


def test_what_the_user_removed_comes_back(package: Path, mine: Path) -> None:
    """To get a fresh notebook, remove or rename the changed one."""
    files = written_to(package, {"a.ipynb": "1"})
    hand_out(mine, files)
    (mine / "a.ipynb").rename(mine / "mine.ipynb")
    assert hand_out(mine, files) == copies(written=("a.ipynb",))


def test_what_the_package_no_longer_has_goes_unless_it_was_changed(package: Path, mine: Path) -> None:
    """Segments of an old sample would be read together with those of the new one."""
    files = written_to(package, {"a": "1", "b": "1", "c": "1"})
    hand_out(mine, files)
    (mine / "b").write_text("my own")
    assert hand_out(mine, {"c": files["c"]}) == copies(removed=("a",))
    assert sorted(path.name for path in mine.iterdir()) == [".handed-out.json", "b", "c"]


def test_nothing_outside_of_the_directory_is_removed(package: Path, mine: Path) -> None:
    """The list of what was handed out is a file that anybody may have edited."""
    files = written_to(package, {"a": "1"})
    hand_out(mine, files)
    (mine.parent / "outside").write_text("1")
    told = (mine / ".handed-out.json").read_text()
    (mine / ".handed-out.json").write_text(told.replace('"a"', '"../outside"'))
    hand_out(mine, {})
    assert (mine.parent / "outside").exists()


def test_a_directory_that_cannot_be_written_is_said_in_words(package: Path, tmp_path: Path) -> None:
    """One line with the name and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be copied to .*; name another directory"):
        hand_out(tmp_path / "file", written_to(package, {"a": "1"}))


def test_a_checkout_hands_out_its_notebooks_and_the_sample(mine: Path) -> None:
    """What is copied is what is in the repository, and the sample in it is a whole capture."""
    files = originals()
    assert {name for name in files if name.endswith(".ipynb")} == {path.name for path in ROOT.glob("notebooks/*.ipynb")}
    hand_out(mine, files)
    assert verify(mine / "data/sample").ok


def test_the_wheel_carries_what_a_checkout_hands_out() -> None:
    """Each folder that is handed out is part of the wheel, where the installed package looks for it."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {"/wsresearch", "/notebooks/*.ipynb", "/data/sample"} <= set(wheel["include"])
    moved = wheel["sources"]
    for name, path in originals().items():
        inside = path.relative_to(ROOT).as_posix()
        (source,) = (source for source in moved if inside.startswith(f"{source}/"))
        assert moved[source] + inside.removeprefix(source) == f"wsresearch/_notebooks/{name}"


def test_an_installed_package_hands_out_what_it_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a checkout around it; hidden files, such as checkpoints, stay behind."""
    written_to(tmp_path / "_notebooks", {FIRST: "1", "data/sample/x": "1", ".ipynb_checkpoints/y": "1"})
    monkeypatch.setattr("wsresearch.handout._PACKAGE", tmp_path)
    assert sorted(originals()) == [FIRST, "data/sample/x"]
    (tmp_path / "_notebooks" / FIRST).unlink()
    with pytest.raises(UsageError, match="install wsresearch from its wheel"):
        originals()


def test_without_jupyterlab_one_line_says_what_to_install(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and nothing was copied yet; --only-copy works all the same."""
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    assert main(["notebook", str(mine)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "pip install 'wsresearch[notebook]'" in told.err
    assert told.err.count("\n") == 1
    assert not mine.exists()
    assert main(["notebook", str(mine), "--only-copy"]) == 0
    assert (mine / FIRST).is_file()
    assert "new" in capsys.readouterr().out


def test_jupyterlab_is_opened_on_the_first_notebook(tmp_path: Path, mine: Path) -> None:
    """With a kernel that imports this very package, and with JupyterLab's exit code."""
    fake = tmp_path / "fake/jupyterlab"
    written_to(
        fake,
        {
            "__init__.py": "",
            "__main__.py": "import os, sys; print(sys.argv[1:], os.environ['PYTHONPATH']); sys.exit(7)",
        },
    )
    done = subprocess.run(
        [sys.executable, "-m", "wsresearch", "notebook", str(mine), "--", "--no-browser"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(fake.parent), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{[str(mine / FIRST), '--no-browser']} {ROOT}")


def test_jupyterlab_is_found_where_it_is_installed() -> None:
    """In a notebook environment nothing is complained of."""
    pytest.importorskip("jupyterlab")
    require_lab()


def test_the_sample_is_small_and_tells_of_no_machine() -> None:
    """What everybody downloads holds no path, no lock and no log of the machine it was made on."""
    files = [path for path in (ROOT / "data/sample").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert not {"lock", "collector.log"} & {path.name for path in files}
    for path in files:
        assert not re.search(rb"/(?:root|tmp|work|home/\w+)/", path.read_bytes()), path
