"""What a mount does to those who write below it; what a collector makes of that is the drill's to show."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.drill import mounts
from tests.drill.scenario import NotPlayed


def test_a_folder_becomes_read_only_whatever_is_opened_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is opened between two steps of the mounting stays writable, and none can be made until the end."""
    try:
        mounts.possible()
    except NotPlayed as why:
        pytest.skip(str(why))
    folder = tmp_path / "capture"
    folder.mkdir()
    system_call = mounts.called
    opened = []

    def with_a_writer(name: str, *arguments: int | bytes | None) -> None:
        opened.append((folder / f"{len(opened)}").open("w"))
        system_call(name, *arguments)

    def alone() -> None:
        monkeypatch.setattr(mounts, "called", with_a_writer)
        with mounts.read_only(folder):
            monkeypatch.undo()
            for file in opened:
                file.write("still")
                file.flush()
            with pytest.raises(OSError, match=r"[Rr]ead-only") as refused:
                (folder / "new").touch()
            assert refused.value.errno == errno.EROFS
        (folder / "new").touch()

    mounts.apart(alone)
    for file in opened:
        file.close()
    assert opened
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "new": "",
        **{str(number): "still" for number in range(len(opened))},
    }
    assert list(tmp_path.iterdir()) == [folder]
