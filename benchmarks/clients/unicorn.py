"""unicorn-binance-websocket-api: a stream with `process_stream_data`, each message a dict, appended to a list.

It does: JSON to dict, statistics, reconnects, a thread of its own. It does not: check values, type them, look for
holes, write.
"""

import json
import os
import sys
import time

from unicorn_binance_websocket_api import BinanceWebSocketApiManager

url, symbols, count = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
kept = []
began = cpu = 0.0


def take(message):
    global began, cpu
    if "data" not in message:
        return  # the answer to its subscription
    if not kept:
        began, cpu = time.perf_counter(), time.process_time()
    kept.append(message)
    if len(kept) == count:
        told = {"messages": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps(told), flush=True)
        os._exit(0)


manager = BinanceWebSocketApiManager(
    exchange="binance.com",
    websocket_base_uri=url + "/",
    output_default="dict",
    warn_on_update=False,
    disable_colorama=True,
)
manager.create_stream(["trade"], symbols, process_stream_data=take)
time.sleep(900)
