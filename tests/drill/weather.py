"""A path with weather: each packet between exchange and collector may be lost, doubled, damaged, overtaken, held back.

The kernel's own means for that (netem) is often not there, /dev/net/tun nearly always: each end of the cable is a TUN
device, and a thread of ours carries whole IP packets, checksums and all, from one to the other. So TCP is the
kernel's own and meets what it would meet on a bad line, with its own patience.

Not here: playing and the truth of it (``tests/drill/links.py``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow.compute as pc

from tests.drill.links import DEFAULTS, QUICK, Costs, Cut, on_link, possible
from tests.drill.namespaces import Network, addressed, inside, namespaces
from tests.drill.scenario import Play, Scenario, Section
from wsresearch.capture.reader import Reader

__all__ = ["SCENARIOS", "Path", "Way", "Weather", "path", "weather"]

# Of Linux's if_tun.h. Without IFF_VNET_HDR the kernel hands out no packet whose checksum is still to be filled in.
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MOST_BYTES: Final = 65_535
_OVERTAKEN: Final = (0.002, 0.03)
"""Seconds that a packet is late which later ones overtake: those come every few milliseconds."""


# -- what may happen to a packet ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What happens to the packets of one direction.

    Attributes
    ----------
    lost, doubled, damaged, overtaken
        Shares of them: gone, coming twice, with one byte changed, coming after later ones.
    delay
        Seconds on the way: drawn between these.
    most_bytes
        Longer packets are swallowed, and nobody is told.
    rate, queue_bytes
        Bytes a second that pass, and how many wait for that; more are lost.
    """

    lost: float = 0.0
    doubled: float = 0.0
    damaged: float = 0.0
    overtaken: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)
    most_bytes: int = _MOST_BYTES
    rate: float | None = None
    queue_bytes: int = 4_000

    def kinds(self) -> set[str]:
        """What it does to packets, in the words that :class:`Way` counts by."""
        told = {name for name in ("lost", "doubled", "damaged", "overtaken") if getattr(self, name)}
        told |= {"swallowed"} if self.most_bytes < _MOST_BYTES else set()
        return told | ({"crowded out"} if self.rate is not None else set())


CLEAR: Final = Weather()


@dataclass(slots=True, kw_only=True)
class Way:
    """One direction: what is on the way, and when it is due.

    Attributes
    ----------
    source, sink
        Descriptors of the two devices.
    rng
        Draws what happens.
    weather
        As it is now.
    struck
        How often what happened.
    """

    source: int
    sink: int
    rng: random.Random
    weather: Weather = CLEAR
    struck: Counter[str] = field(default_factory=Counter)
    _under_way: list[tuple[float, int, bytes]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _free: float = 0.0

    def takes(self, packet: bytes, now: float) -> None:
        """Decide what comes of a packet."""
        weather, rng = self.weather, self.rng
        if len(packet) > weather.most_bytes:
            self.struck["swallowed"] += 1
            return
        if rng.random() < weather.lost:
            self.struck["lost"] += 1
            return
        if rng.random() < weather.damaged:
            self.struck["damaged"] += 1
            place = rng.randrange(len(packet))
            packet = packet[:place] + bytes([packet[place] ^ rng.randrange(1, 256)]) + packet[place + 1 :]
        due = now + rng.uniform(*weather.delay)
        if rng.random() < weather.overtaken:
            self.struck["overtaken"] += 1
            due += rng.uniform(*_OVERTAKEN)
        if weather.rate is not None:
            if (self._free - now) * weather.rate > weather.queue_bytes:
                self.struck["crowded out"] += 1
                return
            self._free = max(self._free, now) + len(packet) / weather.rate
            due += self._free - now
        heapq.heappush(self._under_way, (due, next(self._numbers), packet))
        if rng.random() < weather.doubled:
            self.struck["doubled"] += 1
            heapq.heappush(self._under_way, (due, next(self._numbers), packet))

    def delivers(self, now: float) -> float:
        """Deliver what is due; return in how many seconds the next is."""
        while self._under_way and self._under_way[0][0] <= now:
            _, _, packet = heapq.heappop(self._under_way)
            try:
                os.write(self.sink, packet)
            except OSError as error:
                if error.errno != errno.EINVAL:  # by its first byte, which was damaged, it is no IP packet any more
                    raise
        return self._under_way[0][0] - now if self._under_way else _MOST_WAIT


_MOST_WAIT: Final = 0.02
"""Seconds in which the carrier notices that it is not needed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path(Network):
    """Two namespaces, and the two ways between them."""

    to_client: Way
    to_server: Way

    def carries(self, over: threading.Event) -> None:
        """Carry packets until told that it is over."""
        ways = (self.to_client, self.to_server)
        poll = select.poll()
        for way in ways:
            poll.register(way.source, select.POLLIN)
        while not over.is_set():
            wait = min(way.delivers(time.monotonic()) for way in ways)
            ready = {fd for fd, _ in poll.poll(max(0.0, min(wait, _MOST_WAIT)) * 1000)}
            for way in ways:
                if way.source in ready:
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            way.takes(os.read(way.source, _MOST_BYTES), time.monotonic())


@contextlib.contextmanager
def path(rng: random.Random) -> Iterator[Path]:
    """Make two namespaces, and carry packets between them."""
    with namespaces() as net, contextlib.ExitStack() as stack:
        server, client = (stack.enter_context(_device(end)) for end in (net.server, net.client))
        addressed(net)
        made = Path(
            server=net.server,
            client=net.client,
            to_client=Way(source=server, sink=client, rng=random.Random(rng.getrandbits(64))),
            to_server=Way(source=client, sink=server, rng=random.Random(rng.getrandbits(64))),
        )
        over = threading.Event()
        carrier = threading.Thread(target=made.carries, args=(over,), name="carrier")
        carrier.start()
        try:
            yield made
        finally:
            over.set()
            carrier.join()


@contextlib.contextmanager
def _device(namespace: int) -> Iterator[int]:
    """Make a device that hands its packets to whoever reads the descriptor."""
    with inside(namespace):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"cable", _IFF_TUN | _IFF_NO_PI))
        yield device
    finally:
        os.close(device)


# -- the weather of a scenario ------------------------------------------------------------------------------------


def weather(to_client: Weather, to_server: Weather | None = None) -> Cut:
    """Return what makes it such weather on a path, both ways unless the other is given; see that it struck."""

    @contextlib.contextmanager
    def bad(net: Path, _rng: random.Random) -> Iterator[None]:
        told = [(net.to_client, to_client), (net.to_server, to_client if to_server is None else to_server)]
        for way, its in told:
            way.weather = its
        try:
            yield
        finally:
            for way, _ in told:
                way.weather = CLEAR
        kinds = set().union(*(its.kinds() for _, its in told))
        if missed := kinds.difference(*(way.struck for way, _ in told)):
            raise RuntimeError(f"it never happened that a packet was {sorted(missed)}")

    return bad


def far_away(delay: tuple[float, float]) -> Play:
    """Both ends are so many seconds apart, each packet so many drawn between two; from the first packet on."""

    @contextlib.contextmanager
    def joined(rng: random.Random) -> Iterator[Path]:
        with path(rng) as net:
            net.to_client.weather = net.to_server.weather = Weather(delay=delay)
            yield net

    def check(reader: Reader) -> list[str]:
        opened = reader.events().filter(pc.field("kind") == "opened")
        told = [opened["tcp"][0].as_py(), opened["upgrade"][0].as_py(), pc.min(reader.stats()["ping_rtt"]).as_py()]
        least, most = 2 * delay[0], 2 * delay[1] + _LATE
        return [f"there and back took {told}"] if not all(one and least <= one <= most for one in told) else []

    return on_link(
        lambda _net, _rng: contextlib.nullcontext(),
        NOTHING,
        seconds=(1.2, 1.2),
        joined=joined,
        check=check,
        **PATIENT,
    )


# -- the table ----------------------------------------------------------------------------------------------------

NOTHING: Final = Costs(lost=range(1), is_silent=False)
SOME: Final = Costs(lost=range(1, 100), failures=["open_timeout"], is_silent=False)
PATIENT: Final[dict[str, Any]] = {"ping_interval": 0.5, "ping_timeout": 10.0}
_LATE: Final = 0.5
"""Seconds that a loaded machine may be late."""


def w(name: str, injected: str, play: Play, *causes: str, **told: Any) -> Scenario:
    whole = "every row is stored, each with its values, over one connection"
    return Scenario(
        name=name,
        section=Section.OPEN,
        injected=injected,
        play=play,
        causes=frozenset(causes),
        truth="if lost, then by unanswered pings; each id is stored or in a hole" if told.keys() - {"long"} else whole,
        prepare=_POSSIBLE,
        **told,
    )


def _meets(bad: Cut, costs: Costs, *, seconds: float, **options: Any) -> Play:
    return on_link(bad, costs, seconds=(seconds, seconds + 0.3), joined=path, **options)


_POSSIBLE: Final = possible(path)
_SOON: Final[dict[str, Any]] = {"recovers": 2.5}
_LONG: Final[dict[str, Any]] = {"recovers": 35.0, "any_cause": True, "long": True}
_BAD: Final = weather(Weather(lost=0.6))
_DEAF: Final = weather(CLEAR, Weather(lost=1.0))
_NARROW: Final = weather(Weather(most_bytes=576))
_THIN: Final = weather(Weather(rate=1_000.0), CLEAR)

SCENARIOS = (
    w("20 % of packets lost", "one packet in five, either way",
      _meets(weather(Weather(lost=0.2)), NOTHING, seconds=1.0, **PATIENT)),
    w("packets doubled, damaged, out of order", "a third come twice, a third late, a tenth with a wrong byte",
      _meets(weather(Weather(doubled=0.3, overtaken=0.3, damaged=0.1)), NOTHING, seconds=1.0, **PATIENT)),
    w("200 ms of latency with jitter", "from the first packet on, so that they overtake each other too",
      far_away((0.08, 0.12))),
    w("60 % of packets lost", "for some seconds, either way",
      _meets(_BAD, SOME, seconds=1.7, **QUICK), any_cause=True, **_SOON),
    w("what the collector says vanishes", "while what the exchange says arrives",
      _meets(_DEAF, Costs(failures=["open_timeout"]), seconds=2.0, **QUICK), "ping_timeout", "open_timeout",
      within=2.0, **_SOON),
    w("a black hole for long packets", "those of more than 576 bytes vanish, and nobody is told (path MTU)",
      _meets(_NARROW, SOME, seconds=1.2, **QUICK), any_cause=True, within=2.0, **_SOON),
    w("1 KB/s", "of a feed of 145 KB/s; 4 KB wait, what is beyond is lost",
      _meets(_THIN, SOME, seconds=1.2, **QUICK), any_cause=True, within=2.0, **_SOON),
    w("stop while packets get lost", "60 % of them, while it is connected, connecting or waiting",
      _meets(_BAD, Costs(lost=range(100), failures=["open_timeout"], is_silent=False), seconds=0.3, stops=True,
             **QUICK), any_cause=True),
    w("2 % of packets lost for 15 s", "one packet in fifty, either way, with the default options",
      _meets(weather(Weather(lost=0.02)), NOTHING, seconds=15.0, **DEFAULTS), long=True),
    w("60 % of packets lost for 15 s", "the same with the default options",
      _meets(_BAD, SOME, seconds=15.0, **DEFAULTS), **_LONG),
    w("a black hole for long packets for 15 s", "the same with the default options",
      _meets(_NARROW, SOME, seconds=15.0, **DEFAULTS), within=12.0, **_LONG),
    w("1 KB/s for 15 s", "the same with the default options",
      _meets(_THIN, SOME, seconds=15.0, **DEFAULTS), within=12.0, **_LONG),
)  # fmt: skip
