"""Who the clients of a storm are: what they do when an attempt has failed, policies and published listings alike.

Not here: the server (:mod:`wsresearch.study.admission`) and the order of events (:mod:`wsresearch.study.storm`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import fsum, inf, isclose
from typing import Final

import numpy as np

from wsresearch.errors import UsageError
from wsresearch.reconnect.backoff import Policy
from wsresearch.reconnect.checked import checked_number, parse_number
from wsresearch.reconnect.herd import Floats, Herd, Ints
from wsresearch.reconnect.presets import parse_policy
from wsresearch.study.listings import LISTINGS, Listing

__all__ = ["ListedClients", "Member", "members_of", "parse_mix", "sizes_of"]

_COMMA: Final = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Clients of a storm that are alike.

    Parameters
    ----------
    client
        How they reconnect: a policy, or a published listing.
    share
        Their share of all clients, above 0 and at most 1.
    obeys
        Whether they stay away as long as a Retry-After tells them, and then for their own delay; a listing never does.
    name
        What they are called in tables and pictures; by default the text of the policy, or the listing's name.
    """

    client: Policy | Listing
    share: float = 1.0
    obeys: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.client, Policy | Listing):
            raise UsageError(f"client must be a policy or a listing, not {str(self.client)[:40]!r}")
        object.__setattr__(self, "share", checked_number("share", self.share, low=0.0, high=1.0, above_low=True))
        if not self.name:
            name = self.client.name if isinstance(self.client, Listing) else str(self.client)
            object.__setattr__(self, "name", name)


def members_of(mix: str | Policy | Listing | Sequence[Member]) -> tuple[Member, ...]:
    """Return the members of a mix, however it was given.

    Raises
    ------
    UsageError
        If there is none, two have one name, or the shares do not sum to 1.
    """
    if isinstance(mix, str):
        return parse_mix(mix)
    members = (Member(client=mix),) if isinstance(mix, Policy | Listing) else tuple(mix)
    if not members or not all(isinstance(each, Member) for each in members):
        raise UsageError(f"a mix is a policy, a listing or one or more members, not {str(mix)[:40]!r}")
    names = [each.name for each in members]
    if len(set(names)) < len(names):
        raise UsageError(f"two members of the mix are called {max(names, key=names.count)!r}: give one of them a name=")
    total = fsum(each.share for each in members)
    if not isclose(total, 1.0, abs_tol=1e-9):
        told = " + ".join(f"{each.share:g}" for each in members)
        raise UsageError(f"the shares of a mix must sum to 1, not {told} = {total:g}")
    return members


def parse_mix(text: str) -> tuple[Member, ...]:
    """Read ``full-jitter=0.7,seed-okhttp=0.3``, or one name alone; policies may have parameters in parentheses.

    Raises
    ------
    UsageError
        For an unknown name, a share that is none, and shares that do not sum to 1.
    """
    parts = [part.strip() for part in _COMMA.split(text)]
    members = []
    for part in parts:
        spec, share = part, 1.0
        if len(parts) > 1 or re.search(r"=[^()]*$", part):
            spec, equals, number = part.rpartition("=")
            if not equals or ")" in number:
                raise UsageError(f"a mix is written name=share,name=share with shares that sum to 1, not {part[:60]!r}")
            share = parse_number(f"the share of {spec.strip()[:40]}", number.strip())
        members.append(Member(client=_client(spec.strip()), share=share, name=spec.strip()))
    return members_of(members)


def _client(spec: str) -> Policy | Listing:
    if spec in LISTINGS:
        return LISTINGS[spec]
    try:
        return parse_policy(spec)
    except UsageError as error:
        raise UsageError(f"{error}; or a listing: {', '.join(LISTINGS)}") from None


def sizes_of(members: Sequence[Member], clients: int) -> list[int]:
    """Return how many clients each member has: its share, with what is left over going to the largest remainders."""
    exact = [each.share * clients for each in members]
    sizes = [int(each) for each in exact]
    by_remainder = sorted(range(len(members)), key=lambda at: sizes[at] - exact[at])
    for at in by_remainder[: clients - sum(sizes)]:
        sizes[at] += 1
    return sizes


class ListedClients:
    """The counters of many clients of one listing, and the outcomes that have not yet reached them.

    Parameters
    ----------
    listing
        What all of them run.
    size
        How many there are, numbered from 0.

    Notes
    -----
    A client may have several attempts on their way, and its one counter depends on the order of their outcomes, so
    those are kept until it is certain that no earlier one will come. At the same moment failures come before messages,
    as in :meth:`Listing.play <wsresearch.study.listings.Listing.play>`.
    """

    def __init__(self, listing: Listing, size: int) -> None:
        self.listing = listing
        self._herd = Herd(listing.policy, size)
        self.soonest = min(rung.low for rung in islice(listing.policy.ladder(), listing.policy.max_attempts))
        """Seconds after an outcome before which no attempt begins that follows from it."""
        self._who: Ints = np.empty(0, dtype=np.int64)
        self._when: Floats = np.empty(0)
        self._opened = np.empty(0, dtype=bool)

    @property
    def earliest(self) -> float:
        """When the first outcome that was not yet taken in happens; infinite if there is none."""
        return float(self._when.min()) if len(self._when) else inf

    @property
    def waiting(self) -> Ints:
        """Clients with an outcome that they have not heard of."""
        return self._who

    def await_outcome(self, who: Ints, when: Floats, *, opened: bool) -> None:
        """Note what will happen to clients, and when."""
        self._who = np.concatenate((self._who, who))
        self._when = np.concatenate((self._when, when))
        self._opened = np.concatenate((self._opened, np.full(len(who), opened)))

    def take_in(self, until: float, rng: np.random.Generator) -> tuple[Ints, Floats]:
        """Let everything happen that happens before a moment; return who begins an attempt because of it, and when."""
        due = np.flatnonzero(self._when < until)
        order = due[np.lexsort((self._opened[due], self._when[due], self._who[due]))]
        who, when, opened = self._who[order], self._when[order], self._opened[order]
        keep = self._when >= until
        self._who, self._when, self._opened = self._who[keep], self._when[keep], self._opened[keep]
        first = np.flatnonzero(np.diff(who, prepend=-1))
        turn = np.arange(len(who)) - np.repeat(first, np.diff(first, append=len(who)))
        begun_by: list[Ints] = [who[:0]]
        begun_at: list[Floats] = [when[:0]]
        # One outcome of each client at a time, in their order; few have more than one.
        for each in range(int(turn.max(initial=-1)) + 1):
            now = turn == each
            self._herd.reset(who[now & opened])
            client, at = who[now & ~opened], when[now & ~opened]
            for _ in range(self.listing.per_failure):
                delay = self._herd.draw(client, rng)
                left = np.isfinite(delay)
                begun_by.append(client[left])
                begun_at.append(at[left] + delay[left])
        return np.concatenate(begun_by), np.concatenate(begun_at)
