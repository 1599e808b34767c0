"""The TCP port of the exchange: one number for its whole life, listened on or refusing.

Not here: what is said on its connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from wsresearch.errors import UsageError

__all__ = ["Port"]

_BACKLOG: Final = 1_024
"""Herds of clients arrive at once; the kernel caps it at its own limit."""


class Port:
    """Listens on one port, and can stop and begin again without losing it.

    While nobody listens, the port stays bound: a connect is refused, and the kernel can hand the number neither to
    another process nor to a client as *its* port, which on loopback would make the client connect to itself.

    Parameters
    ----------
    host, port
        0 for any free port.
    factory
        Makes the protocol of each accepted connection.
    """

    def __init__(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        self._host = host
        self._factory = factory
        self._bound: socket.socket | None = self._bind(port)
        self._server: asyncio.Server | None = None
        self.number: int = self._bound.getsockname()[1]

    async def listen(self) -> None:
        """Accept connections, if not already so."""
        if self._bound is not None:
            bound, self._bound = self._bound, None
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._factory, sock=bound, backlog=_BACKLOG)

    def refuse(self) -> None:
        """Refuse connections; those accepted live on."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._bound = self._bind(self.number)

    def close(self) -> None:
        """Give the port back."""
        if self._server is not None:
            self._server.close()
        if self._bound is not None:
            self._bound.close()
        self._server = self._bound = None

    def _bind(self, port: int) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        except OSError as error:
            raise UsageError(f"host {self._host!r} is no address to listen on: {error}") from error
        # With the protocol named, asyncio sets TCP_NODELAY on what is accepted. Without, a message can wait up to 40 ms
        # for the client's delayed ACK of the one before, and every lag measured here would tell of that.
        bound = socket.socket(found[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            # Its own earlier connections in TIME_WAIT would keep the port from being bound again.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(found[4])
        except (OSError, OverflowError) as error:
            bound.close()
            raise UsageError(f"port {port} of {self._host} cannot be used: {error}; choose another, or 0") from error
        return bound
