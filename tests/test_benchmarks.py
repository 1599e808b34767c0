"""How results are put together; the measurements themselves are not tested here."""

from __future__ import annotations

from benchmarks.__main__ import document, replaced
from benchmarks.figures import Figure

SLOW = Figure(what="speed", target="2 ×", value="1 ×", reached=False, stopped_by="the disk")
SIZE = Figure(what="size", target="12", value="10", reached=True)
SECTIONS = [
    f"## {name}\n\n`python -m benchmarks.{name}`\n\n```text\n{name} as it was\n```\n" for name in ("rates", "load")
]


def test_what_is_measured_again_takes_the_place_of_what_stood_there() -> None:
    """Its row and its section are replaced, with a word on when; the others stay, and a new figure is added."""
    text = document([SLOW, SIZE], SECTIONS, short=False)
    fast = Figure(what="speed", target="2 ×", value="3 ×", reached=True)
    more = Figure(what="memory", target="1 GB", value="2 GB", reached=False, stopped_by="the queue")
    found = replaced(text, [fast, more], [SECTIONS[0].replace("as it was", "as it is")])
    assert "| speed | 2 × | 3 × | yes |" in found
    assert "the disk" not in found
    assert "| size | 12 | 10 | yes |\n| memory | 1 GB | 2 GB | **no**: the queue |\n" in found
    assert "rates as it is" in found
    assert "rates as it was" not in found
    assert "load as it was" in found
    assert found.count("Measured again on ") == 1
    assert found.count("\n## ") == 2


def test_replacing_by_the_same_changes_nothing_but_the_date() -> None:
    """Doing it twice leaves what doing it once does."""
    text = document([SLOW, SIZE], SECTIONS, short=False)
    once = replaced(text, [SLOW], SECTIONS[:1])
    assert replaced(once, [SLOW], SECTIONS[:1]) == once
    assert once.replace(once[once.index("Measured again") : once.index("`python -m benchmarks.rates`")], "") == text
