"""nautilus_trader: its WebSocket client, its Binance trade message, and its `StreamingFeatherWriter` for each tick.

It does: typed messages, `TradeTick` objects, Feather files, flushed once a second. It does not: look for holes or
duplicates, checksums, sealing. Its message bus and cache, which lie between these in a live node, are left out.
"""

import asyncio
import json
import os
import sys
import time
import traceback
from pathlib import Path

import msgspec
from nautilus_trader.adapters.binance.spot.schemas.market import BinanceSpotTradeMsg
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import LiveClock
from nautilus_trader.core.nautilus_pyo3 import WebSocketClient, WebSocketConfig
from nautilus_trader.model.data import TradeTick
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.persistence.writer import StreamingFeatherWriter
from nautilus_trader.test_kit.providers import TestInstrumentProvider

url, symbols, count, folder = sys.argv[1], sys.argv[2].upper().split(","), int(sys.argv[3]), sys.argv[4]


async def main():
    decoder = msgspec.json.Decoder(BinanceSpotTradeMsg)
    cache = Cache()
    pair = CurrencyPair.to_dict(TestInstrumentProvider.btcusdt_binance())
    for symbol in symbols:
        cache.add_instrument(CurrencyPair.from_dict(pair | {"id": f"{symbol}.BINANCE", "raw_symbol": symbol}))
    writer = StreamingFeatherWriter(folder, cache, LiveClock(), flush_interval_ms=1000, include_types=[TradeTick])
    ids = {symbol: InstrumentId.from_str(f"{symbol}.BINANCE") for symbol in symbols}
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    seen = 0
    began = cpu = 0.0

    def take(raw):
        nonlocal seen, began, cpu
        message = decoder.decode(raw)
        if not seen:
            began, cpu = time.perf_counter(), time.process_time()
        seen += 1
        writer.write(message.data.parse_to_trade_tick(ids[message.data.s], time.time_ns()))
        if seen == count:
            writer.close()
            stored = sum(path.stat().st_size for path in Path(folder).rglob("trade_tick/**/*.feather"))
            if stored < 50 * count:
                raise SystemExit(f"only {stored} bytes of {count} trades were stored")
            loop.call_soon_threadsafe(done.set)

    def take_or_fail(raw):
        try:
            take(raw)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()  # whoever calls us would go on as if nothing had happened
            os._exit(1)

    config = WebSocketConfig(
        f"{url}/stream?streams={'/'.join(s.lower() + '@trade' for s in symbols)}", take_or_fail, []
    )
    client = await WebSocketClient.connect(config)
    await done.wait()
    told = {"messages": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    print(json.dumps(told), flush=True)
    del client
    os._exit(0)


asyncio.run(main())
