"""python-binance: `BinanceSocketManager.multiplex_socket`, each message a dict, appended to a list; nothing is stored.

It does: JSON to dict, an asyncio queue, reconnects. It does not: check values, type them, look for holes, write.
"""

import asyncio
import json
import os
import sys
import time

from binance import AsyncClient, BinanceSocketManager


async def main(url, symbols, count):
    manager = BinanceSocketManager(
        AsyncClient(), max_queue_size=10_000_000
    )  # by default it drops what it has no time for
    manager.STREAM_URL = url + "/"
    kept = []
    async with manager.multiplex_socket([f"{symbol}@trade" for symbol in symbols]) as stream:
        kept.append(await stream.recv())
        began, cpu = time.perf_counter(), time.process_time()
        while len(kept) < count:
            message = await stream.recv()
            if "data" not in message:
                raise SystemExit(f"no trade: {message}")
            kept.append(message)
    print(
        json.dumps({"messages": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}),
        flush=True,
    )
    os._exit(0)


asyncio.run(main(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])))
