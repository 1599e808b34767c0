"""Documents that cannot drift: what README and ARCHITECTURE name exists, and what exists is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

import wsresearch
from wsresearch.api import Capture
from wsresearch.cli import app
from wsresearch.reconnect.presets import POLICIES, PRESETS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
COMMANDS = {
    command.name or (command.callback.__name__ if command.callback else "") for command in app.registered_commands
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_two_commands_are_make_targets() -> None:
    """A stranger who types the first two commands of the README gets somewhere."""
    commands = [line for block in blocks("") for line in block.splitlines() if line.startswith("make ")]
    assert commands[:2] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in commands:
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


def test_every_command_and_option_shown_exists() -> None:
    """Each `wsresearch …` line of the README can be typed as it stands."""
    shown = re.findall(r"^wsresearch (\S+)(.*)$", "\n".join(blocks("")), re.MULTILINE)
    assert {name for name, _ in shown} <= COMMANDS
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, rest in shown:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest.split("#")[0])) <= known, name


@pytest.mark.parametrize("block", blocks("python"))
def test_python_examples_use_what_there_is(block: str) -> None:
    """Names and methods in the README's Python exist."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = {"wr": wsresearch, "capture": Capture}.get(node.value.id)
            assert owner is None or hasattr(owner, node.attr), f"{node.value.id}.{node.attr}"


def test_every_policy_and_preset_is_named() -> None:
    """The tables of the README list what `--policy` takes."""
    for name in [*POLICIES, *PRESETS]:
        public = {"full-jitter", "equal-jitter", "decorrelated", "exponential", "linear", "constant"}
        if name in public or name in PRESETS:
            assert name in README, name


def test_every_file_named_in_the_architecture_exists() -> None:
    """The map of the code shows the code."""
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", ARCHITECTURE):
        assert (ROOT / path).exists() or (ROOT / "wsresearch" / path).exists(), path


def test_the_project_speaks_of_itself_only() -> None:
    """No path of a machine and no address of a package registry in what is shipped."""
    tracked = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt"), *(ROOT / "wsresearch").rglob("*.py")]
    for path in tracked:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(?:root|home/\w+|work)/|pypi\.org|pythonhosted", text), path
