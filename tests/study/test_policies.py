"""Policies side by side: the columns of the comparison, and the listings among them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.study.eventlog import days
from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Constant, FullJitter
from wsresearch.reconnect.presets import PRESETS
from wsresearch.schema import EVENTS
from wsresearch.study.listings import listing
from wsresearch.study.policies import COMPARISON, compare
from wsresearch.study.replay import replay

DOWNS = pa.table(
    {
        "began": [0.0, 1000.0, 2000.0],
        "up_early": [3.0, 0.0, 20.0],
        "up_late": [12.0, 0.0, 21.0],
        "trade_rate": [1.0, 2.0, 3.0],
    }
)


def by_policy(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["policy"]: row for row in table.to_pylist()}


def test_what_has_no_luck_can_be_counted_by_hand() -> None:
    """Over three outages 5 s are back after 5 to 15, 5 and 20 to 25 s, and 10 s after 10 to 20, 10 and 20 to 30 s."""
    rows = by_policy(compare([Constant(delay=5), Constant(delay=10)], DOWNS, reset="message"))
    five, ten = rows["constant(delay=5.0)"], rows["constant(delay=10.0)"]
    assert (five["median_early"], five["median_late"]) == (5, 15)
    assert (ten["median_early"], ten["median_late"]) == (10, 20)
    assert (five["attempts_early"], five["attempts_late"]) == pytest.approx(((1 + 1 + 4) / 3, (3 + 1 + 5) / 3))
    assert (five["trades_early"], five["trades_late"]) == (5 + 10 + 60, 15 + 10 + 75)
    assert [five[f"later_{end}"] for end in ("early", "late", "low", "high")] == [0, 0, 0, 0]
    assert (ten["later_early"], ten["later_late"]) == (5, 5)
    assert five["rules"] == "constant(delay=5.0), reset message"


def test_intervals_hold_both_bounds() -> None:
    """From the low end of the early bound to the high end of the late one; more outages make it narrower."""
    few, many = (compare(["full-jitter"], days(count, span=3600.0 * count).table()) for count in (10, 250))
    widths = []
    for table in (few, many):
        (row,) = table.to_pylist()
        for name in ("median", "attempts", "trades", "later"):
            assert row[f"{name}_low"] <= row[f"{name}_early"] <= row[f"{name}_late"] <= row[f"{name}_high"], name
        widths.append(row["attempts_high"] - row["attempts_low"] - row["attempts_late"] + row["attempts_early"])
    assert widths[1] < widths[0] / 2


def test_a_pair_shows_what_two_intervals_hide() -> None:
    """The same luck for both: that a slightly longer delay is later is certain, although the medians overlap."""
    policies = {"short": FullJitter(base=4, cap=4), "long": FullJitter(base=4.4, cap=4.4)}
    downs = pa.table({"began": [100.0 * at for at in range(40)], "up_late": [0.0] * 40})
    rows = by_policy(compare(policies, downs, reset="message"))
    assert rows["long"]["median_low"] < rows["short"]["median_high"]
    assert 0 < rows["long"]["later_low"] <= rows["long"]["later_high"] < 0.4


def test_what_never_recovers_is_not_averaged_away() -> None:
    """The seed gives up in a long outage: no total, no 95 %, and the share says why."""
    downs = pa.table(
        {"began": [0.0, 1000.0, 2000.0], "up_late": [1.0, 400.0, 1.0], "trade_rate": [1.0] * 3, "run": [1, 1, 1]}
    )
    rows = by_policy(compare(["full-jitter", "seed"], downs, repetitions=20))
    assert rows["full-jitter"]["recovered_late"] == 1
    seed = rows["seed"]
    assert seed["recovered_late"] == pytest.approx(1 / 3)
    assert seed["gave_up"] == pytest.approx(2 / 3)
    assert [seed[name] for name in ("median_late", "p95_late", "trades_late", "later_late")] == [None] * 4
    assert (seed["attempts_late"], seed["silent"]) == (pytest.approx(11 / 3), False)


def test_the_listings_stand_beside_ours() -> None:
    """30 and 60 s of outage leave six and five connections, 90 s leave none, and nothing says so."""
    for outage, live in ((30.0, 6), (60.0, 5), (90.0, 0)):
        rows = by_policy(
            compare(
                ["full-jitter", "seed-java-websocket", "seed-okhttp"], pa.table({"began": [0.0], "up_late": [outage]})
            )
        )
        java = rows["seed-java-websocket"]
        assert java["live"] == live
        assert java["silent"]
        assert java["recovered_late"] == (live > 0)
        assert (rows["seed-okhttp"]["live"], rows["full-jitter"]["live"]) == (1, 1)
        assert not rows["full-jitter"]["silent"]
    assert java["attempts_late"] == 10
    assert java["median_late"] is None


def test_a_listing_carries_its_connections_into_the_next_outage() -> None:
    """Six connections dropped at once use up the ten retries: a second outage of 61 s is the end of that run."""
    downs = pa.table({"began": [0.0, 500.0, 1000.0, 0.0], "up_late": [30.0, 61.0, 0.0, 30.0], "run": [1, 1, 1, 2]})
    (row,) = compare(["seed-java-websocket"], downs).to_pylist()
    assert row["recovered_late"] == 2 / 4
    assert row["live"] == 6
    assert row["gave_up"] == 2 / 4


def test_a_listing_without_duplicates_is_the_seed() -> None:
    """One reconnect for each failure is what the preset does: the same numbers by two roads."""
    rows = by_policy(compare(["seed", "seed-okhttp"], DOWNS))
    for name, value in rows["seed"].items():
        if name not in {"policy", "rules", "silent"}:
            assert rows["seed-okhttp"][name] == pytest.approx(value), name


def test_the_same_seed_gives_the_same_table_and_agrees_with_the_replay() -> None:
    """One replay for each policy, with the luck of its seed."""
    events = days(15, span=7200.0).table()
    one, again = (compare(["full-jitter", "decorrelated"], events, seed=3) for _ in range(2))
    assert one.equals(again)
    table = replay(events, "full-jitter", seed=3)
    late = table.filter(pa.array([server == "late" for server in table["server"].to_pylist()]))
    assert one["attempts_late"][0].as_py() == pytest.approx(sum(late["attempts"].to_pylist()) / len(late))


def test_presets_bring_their_reset_rule_and_policies_take_the_one_given() -> None:
    """`grpc` resets on open wherever it stands; a policy by its own name follows `reset`."""
    rows = by_policy(compare(["grpc", "constant", PRESETS["seed"]], DOWNS, reset="message"))
    assert rows["grpc"]["rules"].endswith("reset open")
    assert rows["constant"]["rules"].endswith("reset message")
    assert "seed" in rows
    named = compare({"mine": "full-jitter(cap=5)", "theirs": listing("seed-okhttp")}, DOWNS)
    assert named["policy"].to_pylist() == ["mine", "theirs"]


def test_progress_runs_from_nothing_to_all() -> None:
    """It rises, ends at the total, and the policies without luck count too."""
    told: list[tuple[int, int]] = []
    compare(["full-jitter", "constant", "seed-okhttp"], DOWNS, progress=lambda done, all_: told.append((done, all_)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_nothing_and_one() -> None:
    """Without an outage the rows are there and their numbers are not; one outage is an answer."""
    table = compare(["full-jitter", "seed-okhttp"], EVENTS.empty_table())
    assert table.schema.equals(COMPARISON)
    assert [(row["outages"], row["median_late"], row["live"]) for row in table.to_pylist()] == [(0, None, 0)] * 2
    (row,) = compare(["constant"], DOWNS.slice(0, 1), reset="message").to_pylist()
    assert (row["median_low"], row["median_early"], row["median_late"], row["median_high"]) == (5, 5, 15, 15)


def test_wrong_use_is_told() -> None:
    """Each message says what to give instead."""
    with pytest.raises(UsageError, match="no policy called 'jitter'"):
        compare(["jitter"], DOWNS)
    with pytest.raises(UsageError, match="two policies are called 'seed'"):
        compare(["seed", "seed"], DOWNS)
    with pytest.raises(UsageError, match="there is no policy to compare"):
        compare([], DOWNS)
    wrong: Any = [3]
    with pytest.raises(UsageError, match="'3' is no policy, preset or listing, but int"):
        compare(wrong, DOWNS)
    with pytest.raises(UsageError, match="confidence must be below 1"):
        compare(["seed"], DOWNS, confidence=1.0)
