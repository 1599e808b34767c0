"""The comparison of policies as a picture: what stands where is what the table says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.colors import to_hex

from tests.notebook.picture import artist, artists, assert_plain, boxes, legend, more, points, title
from tests.study.test_policies import DOWNS
from wsresearch.errors import UsageError
from wsresearch.notebook.canvas import figure_png
from wsresearch.notebook.palette import DARK
from wsresearch.notebook.policy_comparison import policy_comparison
from wsresearch.reconnect.backoff import Constant
from wsresearch.schema import EVENTS
from wsresearch.study.policies import compare

TWO = {"five": Constant(delay=5), "ten": Constant(delay=10)}


def texts(ax: Any, gid: str) -> list[str]:
    return [text.get_text() for text in artists(ax, gid)]


def test_bars_lines_and_diamonds_are_the_table() -> None:
    """A bar from the early to the late median, a line for the interval, a diamond at 95 %, first policy on top."""
    table = compare(TWO, DOWNS, reset="message")
    ax = policy_comparison(table)
    rows = table.to_pylist()
    bars = sorted(boxes(ax, "bounds"), key=lambda box: -box[2])
    assert [box[:2] for box in bars] == [pytest.approx((row["median_early"], row["median_late"])) for row in rows]
    lines = [segment[:, 0].tolist() for segment in artist(ax, "interval").get_segments()]
    assert lines == [pytest.approx([row["median_low"], row["median_high"]]) for row in rows]
    assert points(ax, "p95").tolist() == [
        pytest.approx([row["p95_late"], y]) for row, y in zip(rows, (1, 0), strict=True)
    ]
    assert texts(ax, "policy") == ["five", "ten"]
    assert texts(ax, "cost") == ["2.0–3.0 attempts · 75–100 trades lost", "1.3–2.0 attempts · 90–130 trades lost"]


def test_it_says_what_it_shows() -> None:
    """The title is the finding; the second line and the legend tell that a bar is what the record leaves open."""
    ax = policy_comparison(compare(TWO, DOWNS, reset="message"))
    assert title(ax) == "five is back soonest, half of the outages over within 5.00 s to 15.0 s"
    assert "a bar is what nobody knows of the server" in more(ax)
    assert legend(ax)[0] == "median, from the earliest to the latest the server can have been back"


def test_a_difference_that_is_none_is_not_claimed() -> None:
    """Two policies that are the same: the picture does not call one of them better."""
    ax = policy_comparison(compare({"one": "full-jitter", "other": "full-jitter(cap=29)"}, DOWNS, repetitions=50))
    assert "not told apart from one" in more(ax) or title(ax).startswith("one is back soonest")


def test_what_never_ends_stands_at_never() -> None:
    """The seed gives up and says so, the listing is silent; both stand at the edge that is called never."""
    downs = pa.table({"began": [0.0, 1000.0], "up_late": [400.0, 1.0]})
    ax = policy_comparison(compare(["full-jitter", "seed", "seed-okhttp"], downs, repetitions=20), palette="dark")
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[-1] == "never"
    edge = ax.get_xlim()[1]
    assert points(ax, "p95")[1:, 0].tolist() == pytest.approx([edge, edge])
    assert texts(ax, "policy")[1:] == [
        "seed · 0 % recovered · gives up, and says so",
        "seed-okhttp · 0 % recovered · ends in silence",
    ]
    assert texts(ax, "cost")[1].endswith("? trades lost")
    assert to_hex(artist(ax, "bounds").get_facecolor()[0]) == DARK.causes[0]


def test_six_connections_are_told() -> None:
    """Under the listing that schedules twice every trade arrives six times: that stands beside its row."""
    downs = pa.table({"began": [0.0], "up_late": [30.0]})
    ax = policy_comparison(compare(["seed-java-websocket", "full-jitter"], downs, repetitions=20))
    assert texts(ax, "cost")[0].endswith("6 connections open at once")
    assert "connections" not in texts(ax, "cost")[1]


def test_none_one_and_many_are_pictures() -> None:
    """Without an outage it says so; one policy is a row and no wall; more than 24 are refused."""
    assert title(policy_comparison(compare(["seed"], EVENTS.empty_table()))) == "No outage"
    one = policy_comparison(compare(["full-jitter"], DOWNS, repetitions=20))
    assert title(one).startswith("full-jitter: half of the outages over within")
    assert figure_png(one.get_figure(root=True)).startswith(b"\x89PNG")
    many = {f"policy {at}": Constant(delay=1 + at) for at in range(25)}
    table = compare(many, DOWNS, repetitions=1)
    with pytest.raises(UsageError, match="there are 25 policies; 24 are the most"):
        policy_comparison(table)
    full = policy_comparison(table.slice(0, 24))
    assert len(texts(full, "policy")) == 24
    assert figure_png(full.get_figure(root=True))


def test_nothing_ends_under_any() -> None:
    """A server that was not seen to come back: the title claims no winner."""
    downs = pa.table({"began": [0.0], "up_early": [5.0], "up_late": pa.array([None], pa.float64()), "watched": [9.0]})
    ax = policy_comparison(compare(["constant"], downs))
    assert title(ax) == "Under none of these policies half of the outages end"
    assert figure_png(ax.get_figure(root=True))


def test_a_name_is_only_text() -> None:
    """What a reader calls a policy is shown letter by letter and cut to the room there is."""
    name = "_$\\frac{1}{0}$ <b>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[31m" + "x" * 300
    ax = policy_comparison(compare({name: "constant"}, DOWNS))
    figure_png(ax.get_figure(root=True))
    assert_plain(ax)


class _Capture:
    """What the picture needs of a capture."""

    def compare(self, **options: Any) -> pa.Table:
        return compare(downs=DOWNS, **options)


def test_a_capture_is_asked() -> None:
    """`plots.policy_comparison(capture, policies=…)` is one call."""
    ax = policy_comparison(_Capture(), policies=["constant"], repetitions=1)
    assert texts(ax, "policy") == ["constant"]
    assert np.isfinite(ax.get_xlim()).all()


def test_wrong_use_is_told() -> None:
    """The message says what to give instead."""
    with pytest.raises(UsageError, match=r"not Table; give capture\.compare"):
        policy_comparison(EVENTS.empty_table())
    with pytest.raises(UsageError, match="repetitions cannot be chosen any more"):
        policy_comparison(compare(["seed"], DOWNS), repetitions=3)
