"""What others take for the same trades: each library in an environment of its own, doing what comes nearest to ours.

``python -m benchmarks.peers [--rounds 5] [--messages 1000000]``. What each does and does not do stands at the top of
its script in ``benchmarks/clients`` and is printed. Environments are made once, in ``.venv-peers``; a library that
does not install is left out, and a line says so. All get the same flood as ours, which goes all the way to sealed
Parquet; the others keep messages in memory, but for nautilus_trader, which streams them to Feather files.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import endtoend
from benchmarks.figures import Figure, median
from benchmarks.load import serving

HERE: Final = Path(__file__).resolve().parent
ENVIRONMENTS: Final = HERE.parent / ".venv-peers"
PATIENCE: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A library beside which ours is measured.

    Parameters
    ----------
    packages
        What to install; the first one is the library.
    script
        Its client.
    share
        Part of the messages it gets, so that the slow ones do not take all the time.
    target
        How many times as much CPU it ought to take at least, None where nothing was promised.
    """

    packages: tuple[str, ...]
    script: str
    share: float
    target: float | None = None


PEERS: Final = (
    Peer(packages=("cryptofeed",), script="cryptofeed_trades", share=0.1, target=12),
    Peer(packages=("unicorn-binance-websocket-api",), script="unicorn", share=0.1, target=12),
    Peer(packages=("python-binance",), script="python_binance", share=0.03, target=12),
    Peer(packages=("picows", "uvloop"), script="picows_append", share=1.0),
    Peer(packages=("nautilus_trader",), script="nautilus", share=0.01, target=100),
)


def python_of(peer: Peer) -> Path | None:
    """Return the interpreter of a peer's environment, made if need be; None, and a line, if it does not install."""
    folder = ENVIRONMENTS / peer.script
    python = folder / "bin/python"
    ready = folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.packages]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            why = (done.stderr.strip() or "no reason given").splitlines()[-1]
            print(f"{peer.packages[0]} is left out, it does not install: {why[:160]}")
            return None
        ready.touch()
    return python


def version_of(python: Path, package: str) -> str:
    """Return the version of what is installed."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def measured(python: Path, peer: Peer, count: int) -> dict[str, Any] | None:
    """Run a client; None, and a line, if it fails."""
    with serving(count=count, then="stay", wait=1.0) as load, tempfile.TemporaryDirectory() as folder:
        script = HERE / "clients" / f"{peer.script}.py"
        command = [str(python), str(script), load.url, ",".join(load.symbols).lower(), str(count), folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            print(f"{peer.packages[0]} did not receive {count:,} messages in {PATIENCE:g} s")
            return None
        if done.returncode:
            print(f"{peer.packages[0]} failed: {(done.stderr.strip() or '?').splitlines()[-1][:160]}")
            return None
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    pythons = {peer: python for peer in PEERS if (python := python_of(peer))}
    results: dict[Peer | None, list[float]] = {peer: [] for peer in (None, *pythons)}
    for _ in range(options.rounds):
        for peer, costs in results.items():
            if peer is None:
                with (
                    serving(count=options.messages, then="stay", wait=0.3) as load,
                    tempfile.TemporaryDirectory(prefix="wsresearch-") as folder,
                ):
                    told = endtoend.measured(endtoend.OURS, load, Path(folder) / "capture")
                costs.append(told["cpu"] / told["rows"] * 1e6)
            else:
                count = max(1000, int(options.messages * peer.share))
                heard = measured(pythons[peer], peer, count)
                costs.extend([heard["cpu"] / heard["messages"] * 1e6] if heard else [])
    ours = median(results.pop(None))
    print(f"CPU seconds per million messages, median of {options.rounds} alternating rounds")
    print(f"{'ours, to sealed Parquet':36} {ours:10.2f}")
    for peer, costs in results.items():
        if peer is not None and costs:
            name = f"{peer.packages[0]} {version_of(pythons[peer], peer.packages[0])}"
            print(f"{name:36} {median(costs):10.2f}   {median(costs) / ours:8.1f} × ours")
    print()
    for peer in pythons:
        text = (HERE / "clients" / f"{peer.script}.py").read_text(encoding="utf-8")
        print(textwrap.fill(" ".join((ast.get_docstring(ast.parse(text)) or "").split()), 100))
    print()
    for peer, costs in results.items():
        if peer is not None and costs and peer.target is not None:
            ratio = median(costs) / ours
            disk = "streaming to Feather" if peer.script == "nautilus" else "to a callback that appends"
            Figure(
                what=f"CPU per million messages against {peer.packages[0]}, {disk}",
                target=f"{peer.target:g} × less",
                value=f"{ratio:.0f} × less",
                reached=ratio >= peer.target,
                stopped_by="ours goes to the disk and back, theirs ends in memory",
            ).say()
    return 0


if __name__ == "__main__":
    sys.exit(main())
