"""The published listings: what an outage leaves of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsresearch.errors import UsageError
from wsresearch.study.listings import LISTINGS, listing


@pytest.mark.parametrize(("outage", "live"), [(30, 6), (60, 5), (90, 0), (3600, 0)])
def test_two_reconnects_per_failure_leave_many_connections_or_none(outage: float, live: int) -> None:
    """The acceptance figures: every trade six times after 30 s, five times after 60 s, and silence after 90 s."""
    play = listing("seed-java-websocket").play(outage)
    assert play.live == live
    assert play.duplicates == max(0, live - 1)
    assert (play.gave_up_at is None) == (play.recovered_at is not None) == (live > 0)


def test_the_last_try_of_one_reconnect_per_failure_is_at_362_s() -> None:
    """2 + 4 + 8 + 16 + 32 + 5 × 60 s: an outage a moment longer ends it for ever, without a word."""
    play = listing("seed-okhttp").play(362.001)
    assert play.attempts == (2, 6, 14, 30, 62, 122, 182, 242, 302, 362)
    assert (play.live, play.failed, play.gave_up_at, play.recovered_at) == (0, 10, 362, None)
    assert listing("seed-okhttp").play(362).live == 1


def test_the_schedule_of_two_reconnects_per_failure_by_hand() -> None:
    """Lost at 0: tries at 2 and 4 s; each failure takes the next two delays of the one counter."""
    play = listing("seed-java-websocket").play(90)
    # 0 fails -> +2, +4; 2 fails -> +8, +16; 4 fails -> +32, +60; 10 fails -> +60, +60; 18 fails -> +60, +60
    assert play.attempts == (2, 4, 10, 18, 36, 64, 70, 70, 78, 78)
    assert play.gave_up_at == 78


def test_what_one_outage_left_the_next_one_drops() -> None:
    """Six connections lost at once use up all ten retries in the same moment: the next 61 s of outage end it."""
    client = listing("seed-java-websocket")
    six = client.play(30).live
    assert client.play(30, live=six).live == 6  # the delays 32, 60, 60, 60, 60, 60
    assert client.play(61, live=six).live == 0


def test_a_message_gives_the_retries_back() -> None:
    """A refused try that ends after another's first message finds the counter at zero: two more connections."""
    client = listing("seed-java-websocket")
    # Refused after 30 s: tries at 2, 4, 40, 48, 66, 94, 130, 130, 138, 138; that of 66 s fails at 96 s.
    slow = client.play(90, refused_after=30, first_message=10)  # the first message comes at 104 s
    assert slow.attempts == (2, 4, 40, 48, 66, 94, 130, 130, 138, 138)
    assert slow.live == 5
    quick = client.play(90, refused_after=30, first_message=1)  # at 95 s
    assert quick.attempts == (2, 4, 40, 48, 66, 94, 98, 100, 130, 130, 138, 138)
    assert quick.live == 7


@given(
    name=st.sampled_from(sorted(LISTINGS)),
    outage=st.floats(0, 500),
    live=st.integers(1, 6),
    refused=st.floats(0, 5),
    opens=st.floats(0, 5),
)
def test_no_connection_is_made_of_nothing(name: str, outage: float, live: int, refused: float, opens: float) -> None:
    """Every connection was an attempt made when the server was up, and either somebody recovers or it is over."""
    play = listing(name).play(outage, live=live, refused_after=refused, opens_after=opens)
    assert play.live == sum(at >= outage for at in play.attempts)
    assert play.live + play.failed == len(play.attempts)
    assert list(play.attempts) == sorted(play.attempts)
    assert (play.live == 0) == (play.recovered_at is None) == (play.gave_up_at is not None)
    if name == "seed-okhttp" and live == 1:
        assert play.live <= 1


def test_wrong_use_is_told() -> None:
    """A name that is none comes back with the choices, and a number with its range."""
    with pytest.raises(UsageError, match=r"no listing called 'seed' \(choices: seed-okhttp, seed-java-websocket\)"):
        listing("seed")
    with pytest.raises(UsageError, match="down_until must be a number at least 0"):
        listing("seed-okhttp").play(float("nan"))
    with pytest.raises(UsageError, match="live must be a whole number from 1"):
        listing("seed-okhttp").play(1.0, live=0)
