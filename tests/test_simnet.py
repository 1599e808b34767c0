"""The simulated network of the collector's tests."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from tests.simnet import Opens, SimTransport
from tests.virtual import run_virtually
from wsresearch.collect.clock import Anchor
from wsresearch.collect.inbox import Inbox


def test_a_link_that_outlives_its_end_goes_on_although_nobody_has_it() -> None:
    """A dropped link's task waits until the loop ends; collected before, it would be told as an unhandled error."""
    told: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        net = SimTransport(lambda number, now: Opens(outlives=True))
        inbox = Inbox(limit=1 << 16, on_arrival=lambda: None)
        link = await net.connect("", began=net.now(), anchor=Anchor(wall_ns=net.wall_ns(), mono=net.now()), inbox=inbox)
        await asyncio.sleep(1)
        link.abort()
        del link
        gc.collect()

    run_virtually(main())
    assert told == []
