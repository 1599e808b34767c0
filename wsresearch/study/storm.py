"""The storm: one outage, many clients, and a server that can let in only so many of them at a time.

Not here: who the clients are (:mod:`~wsresearch.study.crowd`), whom the server lets in
(:mod:`~wsresearch.study.admission`), and what is told of it (:mod:`~wsresearch.study.storm_result`).

The model. At second 0 the server is gone and every connection is lost. A client notices it after the delay of its
link, waits as its policy says, and tries. An attempt takes the delay of the link to arrive; before the end of the
outage it is refused, after it the admission decides. The answer takes the delay of the link back; a client that has
waited ``open_timeout`` for it gives the attempt up, although the server may still spend a place in its queue on it.
Once let in, a client stays. While the server is gone nothing is counted against an address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import numpy as np

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Policy
from wsresearch.reconnect.checked import checked_count, checked_number
from wsresearch.reconnect.herd import Floats, Herd, Ints
from wsresearch.study.admission import Admission, Door
from wsresearch.study.crowd import ListedClients, Member, members_of, sizes_of
from wsresearch.study.listings import Listing
from wsresearch.study.storm_result import Counts, Storm, told

__all__ = ["storm"]

_DAY: Final = 86_400.0
_POOL: Final = 16_384
"""Attempts that are put in order at a time; a few blocks' worth."""
_STANDSTILL: Final = 1000
"""Rounds without progress in time after which clients are taken to retry without any delay."""

Progress = Callable[[int, int, float], None]


def storm(
    mix: str | Policy | Listing | Sequence[Member],
    *,
    clients: int,
    outage: float,
    rng: np.random.Generator,
    admission: Admission | None = None,
    link: float = 0.05,
    link_spread: float = 0.5,
    open_timeout: float = 10.0,
    patience: float = 3600.0,
    progress: Progress | None = None,
) -> Storm:
    """Let clients lose one server at the same moment and come back.

    Parameters
    ----------
    mix
        Who they are: a policy, a listing, members with shares that sum to 1, or text as :func:`parse_mix
        <wsresearch.study.crowd.parse_mix>` reads it. Who is who is shuffled.
    clients
        How many, at least 1.
    outage
        Seconds the server is gone, 0 to a day; an attempt that arrives at its last moment meets a server that is back.
    rng
        Where all chance comes from: the same generator state gives the same bytes.
    admission
        How the server lets clients in; everybody at once, if nothing is said.
    link, link_spread
        Seconds a message takes one way: each client has its own, log-normal with this median and this standard
        deviation of the logarithm. 0 and anything: no time at all.
    open_timeout
        Seconds after which a client gives up an attempt that was not answered.
    patience
        Seconds after the outage at which the simulation ends; who is not back by then is counted as still trying.
    progress
        Called now and then with the clients that are back or gone for good, all clients, and the simulated second.

    Returns
    -------
    Storm
        What it did to the server, and what became of the clients.

    Raises
    ------
    UsageError
        If a number is out of range, the mix is none, or clients retry for ever without any delay and any link.

    Notes
    -----
    Attempts are decided in the exact order of their arrival, in blocks: the next delay of a client is drawn ahead, so
    that for every attempt it is known when the one after it would arrive at the earliest, and a block ends before the
    first of those.

    Examples
    --------
    >>> from wsresearch.reconnect import Exponential
    >>> storm(Exponential(base=0.5, cap=16), clients=1000, outage=60, rng=np.random.default_rng(1), link=0).busiest_back
    1000
    """
    clients = checked_count("clients", clients, high=100_000_000)
    outage = checked_number("outage", outage, low=0.0, high=_DAY)
    link = checked_number("link", link, low=0.0, high=60.0)
    link_spread = checked_number("link_spread", link_spread, low=0.0, high=3.0)
    open_timeout = checked_number("open_timeout", open_timeout, low=0.0, high=_DAY, above_low=True)
    patience = checked_number("patience", patience, low=0.0, high=_DAY, above_low=True)
    if not isinstance(rng, np.random.Generator):
        raise UsageError(f"rng must be a numpy Generator such as numpy.random.default_rng(1), not {type(rng).__name__}")
    members = members_of(mix)
    rules = admission or Admission()
    links = link * np.exp(link_spread * rng.standard_normal(clients))
    run = _Run(members, rules, rng, links=links, outage=outage, open_timeout=open_timeout)
    run.play(outage + patience, progress)
    return told(
        members, run.counts, kind=run.kind, live=run.live, back_at=run.back_at, gone_at=run.gone(), outage=outage
    )


class _Run:
    """The state of one storm. A slot holds one attempt that is on its way; a policy's client always has its own."""

    def __init__(
        self,
        members: Sequence[Member],
        rules: Admission,
        rng: np.random.Generator,
        *,
        links: Floats,
        outage: float,
        open_timeout: float,
    ) -> None:
        clients = len(links)
        self._members, self._rules, self._rng = members, rules, rng
        self._link, self._outage, self._timeout = links, outage, open_timeout
        self.kind = np.repeat(np.arange(len(members), dtype=np.int32), sizes_of(members, clients))
        if len(members) > 1:
            rng.shuffle(self.kind)
        # What a client learns at the earliest after an attempt arrived: a refusal's way back, or its patience's end.
        self._back = np.minimum(2 * self._link, open_timeout) if rules.refuses else np.full(clients, open_timeout)
        self.counts = Counts(members=len(members))
        self.live = np.zeros(clients, dtype=np.int32)
        self.back_at = np.full(clients, inf)
        self._lost_at = np.full(clients, -inf)
        self._door = Door(rules, addresses=-(-clients // rules.clients_per_address))
        self._client: Ints = np.arange(clients)
        self._arrives = np.full(clients, inf)
        self._after = np.full(clients, inf)
        self._crowds: list[Herd | ListedClients] = []
        self._number: Ints = np.empty(clients, dtype=np.int64)
        self._of: list[Ints] = []
        for at, member in enumerate(members):
            who = np.flatnonzero(self.kind == at)
            self._of.append(who)
            self._number[who] = np.arange(len(who))
            if isinstance(member.client, Listing):
                listed = ListedClients(member.client, len(who))
                listed.await_outcome(np.arange(len(who)), self._link[who], opened=False)
                self._crowds.append(listed)
            else:
                herd = Herd(member.client, len(who))
                self._crowds.append(herd)
                self._arrives[who] = 2 * self._link[who] + herd.draw(self._number[who], rng)
                self._after[who] = herd.draw(self._number[who], rng)
        self._listed = [at for at, crowd in enumerate(self._crowds) if isinstance(crowd, ListedClients)]
        self._free: Ints = np.flatnonzero(np.isin(self.kind, self._listed))
        self._fresh: Ints = self._free[:0]

    # -- time ---------------------------------------------------------------------------------------------------

    def play(self, until: float, progress: Progress | None) -> None:
        """Let it happen, up to a second."""
        span, last, rounds = 1.0, -inf, 0
        while (now := self._hear(float(self._arrives.min()))) < until:
            # While the server is gone, or lets in everybody, it makes no difference in which order clients come.
            gone = now < self._outage
            apart = gone or self._rules.admits_all
            horizon = self._outage if gone else until if apart else now + span
            horizon = min(horizon, until)
            pool = np.flatnonzero(self._arrives < horizon)
            size = len(pool)
            while len(pool):
                self._fresh = pool[:0]
                first = self._hear(float(self._arrives[pool].min()))
                rounds, last = (rounds + 1 if first == last else 0), first
                if rounds > _STANDSTILL:
                    names = ", ".join(each.name for each in self._members)
                    raise UsageError(f"clients of {names} retry again and again at second {first:g}: give them a delay")
                pool = np.concatenate((pool, self._fresh[self._arrives[self._fresh] < horizon]))
                block, pool = self._next_block(pool, apart=apart)
                self._decide(block)
                pool = np.concatenate((pool, block[self._arrives[block] < horizon]))
            span *= 2.0 if size < _POOL else 0.5 if size > 4 * _POOL else 1.0
            if progress is not None:
                progress(int(np.isfinite(self.back_at).sum()), len(self.live), now)

    def _next_block(self, pool: Ints, *, apart: bool) -> tuple[Ints, Ints]:
        """Part the pool, in order, before the first attempt that another one of it may yet come before."""
        if apart and not self._listed:
            return pool, pool[:0]
        pool = pool[np.argsort(self._arrives[pool], kind="stable")]
        at, client = self._arrives[pool], self._client[pool]
        followed = at + self._back[client] + self._after[pool]
        if apart:
            followed[~np.isin(self.kind[client], self._listed)] = inf
        followed = np.minimum.accumulate(np.minimum(followed, self._unheard()))
        late = np.flatnonzero(at[1:] > followed[:-1])
        end = int(late[0]) + 1 if len(late) else len(pool)
        return pool[:end], pool[end:]

    def _unheard(self) -> float:
        """Return the moment before which no attempt arrives that follows from an outcome listings have not heard of."""
        crowds = (self._crowds[at] for at in self._listed)
        return min((c.earliest + c.soonest for c in crowds if isinstance(c, ListedClients)), default=inf)

    def _hear(self, now: float) -> float:
        """Let listings hear of all outcomes before the next arrival, and return when that is; it may come of them."""
        while True:
            heard = False
            for at in self._listed:
                crowd = self._crowds[at]
                assert isinstance(crowd, ListedClients)
                if crowd.earliest < now:
                    heard = True
                    # What is heard up to here cannot bring about an attempt that arrives before it.
                    until = max(crowd.earliest + crowd.soonest, float(np.nextafter(crowd.earliest, inf)))
                    who, begins = crowd.take_in(min(now, until), self._rng)
                    if len(who):
                        now = min(now, self._send(self._of[at][who], begins, crowd.soonest))
            if not heard:
                return now

    def _send(self, client: Ints, begins: Floats, soonest: float) -> float:
        """Put attempts of listings on their way, and return when the first arrives."""
        lacking = len(client) - len(self._free)
        if lacking > 0:
            more = max(lacking, len(self._arrives) // 2)
            self._free = np.append(self._free, np.arange(len(self._arrives), len(self._arrives) + more))
            self._client = np.append(self._client, np.zeros(more, dtype=np.int64))
            self._arrives = np.append(self._arrives, np.full(more, inf))
            self._after = np.append(self._after, np.full(more, inf))
        slots, self._free = self._free[: len(client)], self._free[len(client) :]
        self._client[slots] = client
        self._arrives[slots] = begins + self._link[client]
        self._after[slots] = soonest
        self._fresh = np.concatenate((self._fresh, slots))
        return float(self._arrives[slots].min())

    # -- outcomes -----------------------------------------------------------------------------------------------

    def _decide(self, slots: Ints) -> None:
        """Let a block of attempts arrive, and tell their clients."""
        at, client = self._arrives[slots], self._client[slots]
        link = self._link[client]
        if at[0] < self._outage:
            waits, stay = np.full(len(at), inf), np.zeros(len(at))
        else:
            waits, stay = self._door.admit(at, client // self._rules.clients_per_address)
        turned_away = np.isinf(waits)
        reply = at + np.where(turned_away, 0.0, waits) + link
        patience = at - link + self._timeout
        late = reply > patience
        opened = ~(turned_away | late)
        if not self._rules.refuses:
            late |= turned_away
        heard = np.where(late, patience, reply)
        kind = self.kind[client]
        self.counts.add(at, reply, kind=kind, opened=opened)
        self._arrives[slots] = inf
        np.add.at(self.live, client[opened], 1)
        np.minimum.at(self.back_at, client[opened], reply[opened])
        np.maximum.at(self._lost_at, client[~opened], heard[~opened])
        for number, crowd in enumerate(self._crowds):
            mine = kind == number
            if isinstance(crowd, ListedClients):
                for outcome in (True, False):
                    of = mine & (opened if outcome else ~opened)
                    crowd.await_outcome(self._number[client[of]], heard[of], opened=outcome)
                self._free = np.concatenate((self._free, slots[mine]))
                continue
            lost = np.flatnonzero(mine & ~opened)
            slot, who = slots[lost], client[lost]
            delay = self._after[slot]
            if self._members[number].obeys:
                delay = delay + stay[lost]  # as `reconnect.lifecycle` waits; infinite stays infinite
            self._arrives[slot] = heard[lost] + delay + link[lost]
            self._after[slot] = crowd.draw(self._number[who], self._rng)

    def gone(self) -> Floats:
        """Return when each client had neither a connection nor a retry left; infinite for those that have."""
        waits = np.zeros(len(self.live), dtype=bool)
        waits[self._client[np.isfinite(self._arrives)]] = True
        for at in self._listed:
            crowd = self._crowds[at]
            assert isinstance(crowd, ListedClients)
            waits[self._of[at][crowd.waiting]] = True
        return np.where((self.live == 0) & ~waits, self._lost_at, inf)
