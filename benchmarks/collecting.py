"""A collector in a process of its own on a load: what the latency, overload and TLS measurements have in common.

Not a measurement itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.load import Load
from wsresearch.capture.seal import recover
from wsresearch.collect.memory import ARROW_POOL

__all__ = ["Collecting"]

CODE = """
import json, resource, sys
from pathlib import Path
from benchmarks.figures import peak_bytes
from wsresearch.api import make_config
from wsresearch.collect.here import collect_here

settings = json.loads(sys.argv[1])
config = make_config(settings.pop("stream"), Path(settings.pop("out")), **settings)
code = collect_here(config, ready=lambda collector: print("ready", flush=True))
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"code": code, "cpu": used.ru_utime + used.ru_stime, "peak_kib": peak_bytes() // 1024}))
"""


class Collecting:
    """A running collector; leaving stops it and learns what it used."""

    def __init__(self, load: Load, out: Path, **settings: Any) -> None:
        stream = "binance:" + ",".join(load.symbols).lower()
        told = {"stream": stream, "out": str(out), "url": load.url, **settings}
        env = dict([ARROW_POOL]) | os.environ | ({"SSL_CERT_FILE": str(load.authority)} if load.authority else {})
        self.out = out
        self.used: dict[str, Any] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, json.dumps(told)], stdout=subprocess.PIPE, text=True, env=env
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def __enter__(self) -> Collecting:
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as told:
            self.process.terminate()
            self.used = json.loads(told.readline())
        self.process.wait()
        recover(self.out)  # what it had no time to seal on its way out, as `wsresearch stop` does
