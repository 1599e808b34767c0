"""The options of an exchange: a value that travels to another process as one line."""

from __future__ import annotations

import pytest

from wsresearch.errors import UsageError
from wsresearch.lab.faults import FAULTS
from wsresearch.lab.market import Market
from wsresearch.lab.options import Begin, ExchangeOptions, FaultClock
from wsresearch.lab.plan import FaultPlan
from wsresearch.lab.recording import Others, Recording


@pytest.mark.parametrize(
    "options",
    [
        ExchangeOptions(),
        ExchangeOptions(
            source=Market(symbols=("A", "B"), rate=5, seed=2**70, seconds=3, count=9, first_ids={"A": 1}),
            faults=FaultPlan(tuple(cls(at=n) for n, cls in enumerate(FAULTS.values()))),
            port=1234,
            waits=True,
            begin=Begin.WITH_FIRST_CLIENT,
            fault_clock=FaultClock.TAPE,
            lifetime=3.5,
            enforce_limits=True,
            weight_limit=6000,
            seed=5,
            futures=True,
        ),
        ExchangeOptions(source=Recording(path="ä b.gz", rate=5, others=Others.SKIP)),
    ],
)
def test_round_trip(options: ExchangeOptions) -> None:
    """Nothing is lost on the way, and it is one line."""
    line = options.to_json()
    assert b"\n" not in line
    assert ExchangeOptions.from_json(line) == options


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"source":{"X":{}},"faults":[]}', b'{"source":1,"faults":[]}'])
def test_what_are_no_options(line: bytes) -> None:
    """Anything else is refused in words."""
    with pytest.raises(UsageError, match="no options"):
        ExchangeOptions.from_json(line)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70_000},
        {"ping_interval": 0},
        {"lifetime": -1},
        {"weight_limit": -1},
        {"begin": "later"},
        {"fault_clock": "moon"},
    ],
)
def test_out_of_range(wrong: dict[str, object]) -> None:
    """The value is named."""
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        ExchangeOptions(**wrong)  # type: ignore[arg-type]
