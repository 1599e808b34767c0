"""Real kernels are interrupted, restarted and shut down, and the capture they began takes no notice.

``python -m tests.drill.disk.kernels`` starts a collector from a cell of a real ipykernel, then interrupts the kernel in
an endless cell a hundred times, restarts it a hundred times and shuts it down twenty times, each at a random moment.
The collector must be the same process all the while, a fresh kernel must have the capture again within
`SECONDS_ALLOWED` of asking (imports apart), and in the end every row that the exchange sent must be stored, with no
outage.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from tqdm import tqdm

from tests.drill.disk.busy import stretch
from wsresearch.api import Capture
from wsresearch.capture.verify import verify
from wsresearch.collect import process
from wsresearch.demo import against_truth
from wsresearch.lab import Begin, ExchangeProcess, Tape, start

__all__ = ["SECONDS_ALLOWED", "Outcome", "disturb_kernels"]

SECONDS_ALLOWED = 1.0
RATE = 200.0
_PATIENCE = 60.0
_IMPORTS = "import time, pyarrow\nimport wsresearch as wr\nfrom wsresearch import api, collect"
_ENDLESS = "while True:\n    time.sleep(0.01)"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was done to kernels, what attaching took in seconds and how busy it was then, and what went wrong."""

    done: dict[str, int] = field(default_factory=dict)
    attached: list[float] = field(default_factory=list)
    stretch: list[float] = field(default_factory=list)
    rows: int = 0
    wrong: list[str] = field(default_factory=list)


class Kernel:
    """A real kernel, and a client that runs cells in it."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client: BlockingKernelClient = self._connected()

    def _connected(self) -> BlockingKernelClient:
        client: Any = self.manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=_PATIENCE)
        return client  # type: ignore[no-any-return]

    def run(self, code: str) -> float:
        """Run a cell and return the seconds it took; raise what it raised."""
        began = time.monotonic()
        reply = self.client.execute_interactive(code, timeout=_PATIENCE, output_hook=lambda _: None)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"{reply['content'].get('ename')}: {reply['content'].get('evalue')}")
        return time.monotonic() - began

    def interrupted(self, after: float) -> str:
        """Begin an endless cell, interrupt it, and return the name of what it raised."""
        asked = self.client.execute(_ENDLESS)
        time.sleep(after)
        self.manager.interrupt_kernel()
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                reply = self.client.get_shell_msg(timeout=1)
            except Empty:
                self.manager.interrupt_kernel()  # the first came before the cell had begun
                continue
            if reply["parent_header"].get("msg_id") == asked:
                return str(reply["content"].get("ename"))
        return "nothing"

    def restarted(self, *, now: bool) -> None:
        """Restart it, politely or by SIGKILL."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=now)
        self.client = self._connected()

    def shut_down(self, *, now: bool) -> None:
        """End it, politely or by SIGKILL."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=now)


def disturb_kernels(
    root: Path, *, interrupts: int, restarts: int, shutdowns: int, seed: int, told: bool = False
) -> Outcome:
    """Do so much to kernels while a capture into `root` goes on, and compare it with the truth afterwards."""
    rng = random.Random(seed)
    todo = ["interrupt"] * interrupts + ["restart"] * restarts + ["shutdown"] * shutdowns
    rng.shuffle(todo)
    outcome = Outcome(done={"interrupts": interrupts, "restarts": restarts, "shutdowns": shutdowns})
    tape = Tape.generate(rate=RATE, seed=seed)
    with start(tape, waits=True, begin=Begin.WITH_FIRST_CLIENT, seed=seed) as exchange, ExitStack() as stack:
        attach = f"c = wr.collect('binance:btcusdt', {str(root)!r}, url={exchange.url!r}); assert c.status.pid"
        kernel = Kernel()
        stack.callback(lambda: kernel.shut_down(now=True))
        kernel.run(_IMPORTS)
        kernel.run(attach)
        stack.callback(lambda: process.stop(root))
        pid = _pid(root)
        for number, what in enumerate(tqdm(todo, file=sys.stderr, disable=not told)):
            if what == "interrupt":
                raised = kernel.interrupted(rng.uniform(0, 0.2))
                outcome.wrong += [f"step {number}: the cell raised {raised}"] if raised != "KeyboardInterrupt" else []
            else:
                time.sleep(rng.uniform(0, 0.2))
                now = rng.random() < 0.3
                if what == "restart":
                    kernel.restarted(now=now)
                else:
                    kernel.shut_down(now=now)
                    kernel = Kernel()
                kernel.run(_IMPORTS)
                outcome.attached.append(kernel.run(attach))
                outcome.stretch.append(stretch())
            if _pid(root) != pid:
                outcome.wrong.append(f"step {number}, {what}: the collector is pid {_pid(root)}, not {pid}")
        _compare(root, exchange, outcome)
    return outcome


def _compare(root: Path, exchange: ExchangeProcess, outcome: Outcome) -> None:
    process.stop(root)
    exchange.settled()
    capture = Capture(root)
    outcome.rows = capture.trades(columns=["trade_id"]).num_rows
    outcome.wrong += [
        f"{check.what}: {check.disk!r} on disk, {check.truth!r} sent"[:300]
        for check in against_truth(exchange.truth(), capture)
        if not check.agrees
    ]
    outcome.wrong += [f"{capture.outages().num_rows} outages"] if capture.outages().num_rows else []
    outcome.wrong += [f"verify: {problem}" for problem in verify(root).problems]


def _pid(root: Path) -> int | None:
    found = process.running(root)
    return None if found is None else found.pid


def main() -> int:
    """Do it and print what was found; exit code 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interrupts", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=100)
    parser.add_argument("--shutdowns", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wsresearch-kernels-") as name:
        outcome = disturb_kernels(
            Path(name) / "capture",
            interrupts=asked.interrupts,
            restarts=asked.restarts,
            shutdowns=asked.shutdowns,
            seed=asked.seed,
            told=True,
        )
    print(", ".join(f"{count} {what}" for what, count in outcome.done.items()) + f"; {outcome.rows:,} rows stored")
    attached = sorted(outcome.attached)
    if attached:
        late = sum(seconds > SECONDS_ALLOWED for seconds in attached)
        print(f"  attached after       median {attached[len(attached) // 2]:.2f} s, most {attached[-1]:.2f} s")
        print(f"  over {SECONDS_ALLOWED:g} s             {late} of {len(attached)}")
        if late:
            outcome.wrong.append(f"attaching took {attached[-1]:.2f} s, at most {SECONDS_ALLOWED:g} s are allowed")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"  {os.cpu_count()} processors, load average {load}")
    for what in outcome.wrong or ["no row lost, no outage, one collector all the while"]:
        print(f"  {what}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
