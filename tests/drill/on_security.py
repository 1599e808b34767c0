"""Security: secrets in an address, hostile text from the server, links in a capture; done to a background collector.

Not here: what becomes of such text in a browser (``tests/browser``), every place of a capture and every kind of thing
in it (``tests/test_security.py``, whose secrets and texts these are).
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import Any

from tests.drill.act import Act, exchange, latest, on_processes
from tests.drill.scenario import Play, Scenario, Section
from tests.test_security import CANARY, HOSTILE, content, texts_in, wrong_addresses
from wsresearch.api import Capture, make_config
from wsresearch.capture.reader import Reader
from wsresearch.cli import main
from wsresearch.collect import process
from wsresearch.errors import UsageError, WsresearchError

__all__ = ["SCENARIOS"]


def said_by(*words: str) -> tuple[int, str]:
    """Return the exit code of a command, and all it says."""
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        code = main(list(words))
    return code, told.getvalue()


# -- secrets ------------------------------------------------------------------------------------------------------


def secrets_in_addresses(act: Act) -> None:
    """Credentials and keys in an address are refused without a word of them, before and while somebody collects."""
    addresses = wrong_addresses()
    act.rng.shuffle(addresses)
    half = len(addresses) // 2
    for url in addresses[:half]:
        refused(act, url)
    act.must(not act.run.root.exists(), "a refusal made the directory")
    act.started()
    for url in addresses[half:]:
        refused(act, url)
    act.collecting()
    act.stopped()
    nowhere(act)


def refused(act: Act, url: str) -> None:
    try:
        make_config("binance:btcusdt,ethusdt", act.run.root, url=url)
    except UsageError as exc:
        act.must(CANARY not in f"{exc} {exc!r} {exc.__cause__}", f"the refusal repeats the secret: {exc}")
    else:
        act.problems.append(f"not refused: {url}")
    code, said = said_by("collect", "binance:btcusdt,ethusdt", "--out", str(act.run.root), "--url", url)
    act.must(code == 2 and CANARY not in said, f"the command ended with {code} and said: {said}")


def nowhere(act: Act) -> None:
    """Hold every file of the capture, the log included, against the secret."""
    places = [path for path, text in texts_in(act.run.root) if CANARY in text]
    act.must(not places, f"the secret stands in {places}")


# -- hostile text -------------------------------------------------------------------------------------------------


def hostile(rng: random.Random) -> str:
    """Draw a text that tries what it can to be more than text, and carries a secret."""
    some = rng.sample([text for text in HOSTILE if len(text) < 100], 2)
    return " ".join([*some, f"token={CANARY}", "<img src=x onerror=alert(1)>"])


def rude(act: Act) -> None:
    """A close with such a reason, then a refusal with such a body: whoever looks sees one line of text."""
    venue = exchange()
    act.started()
    act.collecting()
    reason = hostile(act.rng).encode()[:123].decode(errors="ignore")
    # The door first: after the close, on a busy machine, the next connection might be open already.
    body = hostile(act.rng) * 20
    venue.inject({"at": 0, "fault": "http", "status": 503, "body": body, "for": 2.5, "drop": False})
    venue.inject({"at": 0, "fault": "close", "code": 1011, "reason": reason})
    tells(act, "lost")
    tells(act, "attempt_failed")
    act.collecting()
    act.stopped()
    nowhere(act)
    shown(act)


def tells(act: Act, kind: str) -> None:
    act.until(lambda: act.status() and kind in Reader(act.run.root).events()["kind"].to_pylist(), f"the event {kind}")


def shown(act: Act) -> None:
    """Look at the capture in each way there is."""
    root, capture = act.run.root, Capture(act.run.root)
    details = [text for text in capture.events()["detail"].to_pylist() if text]
    act.must(any("…" in text for text in details), f"nothing was made safe in {details}")
    lines = {
        "an event's detail": details,
        "the status": [str(capture.status)],
        "the log": root.joinpath("collector.log").read_text().splitlines(),
        **{words: said_by(words, str(root))[1].splitlines() for words in ("status", "report", "verify")},
    }
    for what, told in lines.items():
        act.must(all(line.isprintable() for line in told), f"{what} has more than text: {told}")
    page = act.run.folder / "page.html"
    # Elsewhere, as what draws the plots keeps its fonts open.
    drawing = [sys.executable, "-m", "wsresearch", "report", str(root), "--out", str(page)]
    subprocess.run(drawing, check=True, capture_output=True)
    pages = {"status": capture.status._repr_html_(), "capture": capture._repr_html_(), "report": page.read_text()}
    for what, page in pages.items():
        act.must("<script>alert" not in page and "<img src=x" not in page, f"the page of the {what} has foreign markup")
        act.must(CANARY not in page, f"the page of the {what} has the secret")


# -- links --------------------------------------------------------------------------------------------------------


def linked(act: Act) -> None:
    """A link in the place of something in a capture: a collector that starts there does nothing outside of it."""
    probe = act.run.folder / "probe"
    other = Act(replace(act.run, folder=probe), replace(act.config, out=probe / "capture"))
    probe.mkdir()
    other.started()
    other.collecting(1)
    other.stopped()
    root = other.run.root
    name = act.rng.choice(sorted(path for path in root.rglob("*")))
    outside = act.run.folder / "outside"
    name.rename(outside)
    name.symlink_to(outside)
    before = content(outside)
    try:
        other.started()
        time.sleep(0.2)
        other.stopped()
    except WsresearchError:
        pass  # refused, and in words
    place = name.relative_to(root)
    act.must(content(outside) == before, f"{place} is a link, and what it leads to was changed")
    act.problems += [f"with a link for {place}: {problem}" for problem in other.problems]
    name.unlink()
    outside.rename(name)
    act.must(process.running(root) is None, f"with a link for {place} a collector still runs")
    act.since = latest(exchange().truth())
    act.started()
    act.collecting()
    act.stopped()


# -- the table ----------------------------------------------------------------------------------------------------


def p(name: str, injected: str, play: Play, *causes: str, **told: Any) -> Scenario:
    return Scenario(
        name=name,
        section=Section.SECURITY,
        injected=injected,
        play=play,
        causes=frozenset(causes),
        prepare=exchange,
        **told,
    )


SCENARIOS = (
    p("secrets in an address", "credentials and keys in --url, before the first start and beside a running collector",
      on_processes(secrets_in_addresses), truth="refused; the secret is in no file, log or message"),
    p("hostile text", "markup, escape sequences, turned letters and a secret in a close reason and an HTTP body",
      on_processes(rude, policy="constant(delay=1)"), "closed", "http_status",
      truth="every row sent is stored; the text is one line wherever it is shown, the secret nowhere"),
    p("a link in a capture", "something in it is moved away and a link put in its place; then a collector starts",
      on_processes(linked), truth="what the link leads to is as it was"),
)  # fmt: skip
