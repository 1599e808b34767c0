"""What a client is subscribed to, and the limit on what it may say."""

from __future__ import annotations

import json

import pytest

from wsresearch.errors import UsageError
from wsresearch.lab.subscriptions import MAX_STREAMS, IncomingLimit, Subscriptions
from wsresearch.venues.binance_wire import Form, Unit


def _ask(subscriptions: Subscriptions, method: str, *streams: str) -> dict[str, object]:
    request = {"method": method, "params": list(streams), "id": 3}
    answer: dict[str, object] = json.loads(subscriptions.answer(json.dumps(request).encode()))
    return answer


def test_from_the_target() -> None:
    """Form, unit and streams stand in the target of the upgrade request."""
    found = Subscriptions.of_target("/stream?streams=btcusdt@trade/ethusdt@trade&timeUnit=MICROSECOND")
    assert (found.form, found.unit) == (Form.COMBINED, Unit.MICROSECOND)
    assert list(found.streams) == ["btcusdt@trade", "ethusdt@trade"]
    assert not Subscriptions.of_target("/ws").streams


def test_by_request() -> None:
    """SUBSCRIBE, LIST_SUBSCRIPTIONS and UNSUBSCRIBE do what they say and answer as the venue does."""
    mine = Subscriptions()
    assert _ask(mine, "SUBSCRIBE", "a@trade", "b@trade", "a@trade") == {"result": None, "id": 3}
    assert _ask(mine, "LIST_SUBSCRIPTIONS") == {"result": ["a@trade", "b@trade"], "id": 3}
    assert _ask(mine, "UNSUBSCRIBE", "a@trade", "z@trade") == {"result": None, "id": 3}
    assert list(mine.streams) == ["b@trade"]


@pytest.mark.parametrize(("said", "code"), [(b"{", 3), (b"[]", 2), (b'{"method":"BUY","id":1}', 2), (b"\xff", 3)])
def test_what_is_no_request(said: bytes, code: int) -> None:
    """Anything else is answered with an error object, and changes nothing."""
    assert json.loads(Subscriptions().answer(said))["code"] == code


def test_too_many_streams() -> None:
    """1024 streams are the limit, in the target and by request."""
    names = [f"s{n}@trade" for n in range(MAX_STREAMS + 1)]
    with pytest.raises(UsageError, match="1025 streams"):
        Subscriptions.of_target("/ws/" + "/".join(names))
    mine = Subscriptions(names[:-1])
    assert "code" in _ask(mine, "SUBSCRIBE", names[-1])
    assert len(mine.streams) == MAX_STREAMS


def test_five_messages_a_second() -> None:
    """Five at once are well, the sixth within the second is not."""
    limit = IncomingLimit()
    assert [limit.allows(0.1 * n) for n in range(6)] == [True] * 5 + [False]
    steady = IncomingLimit()
    assert all(steady.allows(0.25 * n) for n in range(50))
