"""picows with uvloop: a listener that appends each message's bytes to a list; nothing is read or stored.

It does: WebSocket frames in compiled code, one callback a message. It does not: JSON, reconnects, anything behind that.
"""

import asyncio
import json
import os
import sys
import time

import picows
import uvloop

url, count = sys.argv[1], int(sys.argv[3])
kept = []
began = cpu = 0.0


class Listener(picows.WSListener):
    def on_ws_frame(self, transport, frame):
        global began, cpu
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        if not kept:
            began, cpu = time.perf_counter(), time.process_time()
        kept.append(frame.get_payload_as_bytes())
        if len(kept) == count:
            told = {"messages": count, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
            print(json.dumps(told), flush=True)
            os._exit(0)


async def main():
    transport, _ = await picows.ws_connect(Listener, url)
    await transport.wait_disconnected()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
