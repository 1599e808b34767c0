"""Background tasks: kept, cancelled together, and a defect in one reaches somebody."""

from __future__ import annotations

import asyncio

import pytest

from tests.virtual import run_virtually
from wsresearch.collect.tasks import Tasks


def test_a_defect_is_told_and_a_cancellation_is_none() -> None:
    """A task that dies of a defect is heard of; one that is cancelled or ends is not."""
    told: list[BaseException] = []

    async def main() -> None:
        tasks = Tasks(told.append)

        async def broken() -> None:
            raise ZeroDivisionError("a bug")

        async def fine() -> None:
            return None

        tasks.spawn(broken(), "broken")
        tasks.spawn(fine(), "fine")
        tasks.spawn(asyncio.sleep(1000), "long").cancel()
        await asyncio.sleep(1)

    run_virtually(main())
    assert [type(exc) for exc in told] == [ZeroDivisionError]


def test_leaving_leaves_nothing_behind() -> None:
    """Cancelling waits until every task has tidied up, however it takes it."""
    tidied: list[str] = []

    async def main() -> int:
        tasks = Tasks(lambda exc: pytest.fail(f"{exc!r}"))

        async def tidy() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(5)
                tidied.append("tidied")

        tasks.spawn(tidy(), "tidy")
        tasks.spawn(asyncio.sleep(1000), "long")
        await asyncio.sleep(1)
        await tasks.cancel()
        await tasks.cancel()
        return len(asyncio.all_tasks())

    assert run_virtually(main()) == 1
    assert tidied == ["tidied"]
