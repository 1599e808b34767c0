"""Two network namespaces, one for the exchange and one for the collector; what joins them is not here.

A namespace has no name: it lives as long as its descriptor or a process in it, so nothing is left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["CLIENT", "NET", "SERVER", "Network", "addressed", "called", "inside", "namespaces"]

SERVER, CLIENT, NET = "10.77.0.1", "10.77.0.2", "10.77.0.0/30"
_NEW_NETWORK: Final = 0x40000000
"""CLONE_NEWNET of Linux's sched.h."""


@contextlib.contextmanager
def _away(call: str, *arguments: int) -> Iterator[None]:
    """Leave this thread's network namespace by a system call, and return to it at the end."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        called(call, *arguments)
        try:
            yield
        finally:
            called("setns", home, _NEW_NETWORK)
    finally:
        os.close(home)


@contextlib.contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Be in a namespace, with this thread and with the processes that it starts meanwhile."""
    with _away("setns", namespace, _NEW_NETWORK):
        yield


def called(name: str, *arguments: int | bytes | None) -> None:
    """Make a system call by its name in the C library; raise what it refuses with."""
    # Of the os module only from Python 3.12 on.
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def _made() -> int:
    with _away("unshare", _NEW_NETWORK):
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Two namespaces and what joins them; each end is called ``cable``.

    Attributes
    ----------
    server, client
        Descriptors of the namespaces of the exchange and of the collector.
    """

    server: int
    client: int

    def at_server(self, *words: str) -> None:
        """Run ``ip`` where the exchange is."""
        self._ip(self.server, *words)

    def at_client(self, *words: str) -> None:
        """Run ``ip`` where the collector is."""
        self._ip(self.client, *words)

    @staticmethod
    def _ip(namespace: int, *words: str) -> None:
        with inside(namespace):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def namespaces() -> Iterator[Network]:
    """Make two namespaces that nothing joins."""
    with contextlib.ExitStack() as stack:
        ends = []
        for _ in range(2):
            ends.append(_made())
            stack.callback(os.close, ends[-1])
        yield Network(server=ends[0], client=ends[1])


def addressed(net: Network) -> None:
    """Give each end of the cable its address."""
    for at, address in ((net.at_server, SERVER), (net.at_client, CLIENT)):
        at(*f"address add {address}/30 dev cable".split())
        at("link", "set", "cable", "up")
