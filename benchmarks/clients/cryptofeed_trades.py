"""cryptofeed: its Binance feed with a trades callback that appends its `Trade` objects to a list; nothing is stored.

It does: JSON, prices as `Decimal`, its own symbol names, typed objects, reconnects. It does not: check values, look
for holes, write. Its handler knows aggregated trades only: it is handed plain ones under that name.
"""

import asyncio
import json
import os
import sys
import time
from collections import defaultdict

import uvloop
from cryptofeed import FeedHandler
from cryptofeed.connection import WebsocketEndpoint
from cryptofeed.defines import TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbol, Symbols

url, symbols, count = sys.argv[1], sys.argv[2].upper().split(","), int(sys.argv[3])
kept = []
began = cpu = 0.0


async def take(trade, receipt_timestamp):
    global began, cpu
    if not kept:
        began, cpu = time.perf_counter(), time.process_time()
    kept.append(trade)
    if len(kept) == count:
        told = {"messages": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps(told), flush=True)
        os._exit(0)


class Local(Binance):
    """The exchange at another address."""

    # It refuses ws:// until the connection object has been made.
    websocket_endpoints = [WebsocketEndpoint(url.replace("ws://", "wss://"))]  # noqa: RUF012

    def connect(self):
        made = super().connect()
        for connection, *_ in made:
            connection.address = connection.address.replace("wss://", "ws://")
        return made

    async def message_handler(self, msg, conn, timestamp):
        await super().message_handler(
            msg.replace('"e":"trade"', '"e":"aggTrade"').replace('"t":', '"a":'), conn, timestamp
        )


Symbols.set(Binance.id, {Symbol(name[:-4], name[-4:]).normalized: name for name in symbols}, defaultdict(dict))
asyncio.set_event_loop(uvloop.new_event_loop())
feed = FeedHandler(config={"log": {"filename": os.devnull, "level": "ERROR"}})
feed.add_feed(Local(symbols=list(Symbols.get(Binance.id)[0]), channels=[TRADES], callbacks={TRADES: take}))
feed.run()
