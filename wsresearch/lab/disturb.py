"""What content faults make of the messages of a tape: skipped, doubled, turned round, garbled.

Not here: when the faults happen, the wire, and the account of the truth. Nothing here knows a clock.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from wsresearch.lab.faults import Duplicate, Garble, Reorder, SkipIds
from wsresearch.lab.message import Message
from wsresearch.lab.parameters import Garbage

__all__ = ["ContentFault", "Disturber", "Item", "Kind", "garbled"]

ContentFault = SkipIds | Duplicate | Reorder | Garble
"""The faults that change what is sent, and not how."""

_F = TypeVar("_F", SkipIds, Duplicate, Reorder, Garble)


class Kind(StrEnum):
    """What became of a message on its way out."""

    SENT = "sent"
    """A trade, well-formed, for the first time."""
    DUPLICATE = "duplicate"
    """A trade that was just sent, once more."""
    GARBLED = "garbled"
    """A trade in whose place garbage was sent."""
    SKIPPED = "skipped"
    """A trade whose id the venue jumped over: it never existed for anybody."""
    GARBAGE = "garbage"
    """A malformed or unknown message that stands for no trade."""
    OTHER = "other"
    """A recorded message that is no trade."""


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message of the tape with what became of it.

    Attributes
    ----------
    message
        Of garbage: the message it was made from.
    garbage
        What the bytes are made into; None when they are sent as they should be.
    reordered
        Whether it is sent out of its order.
    """

    message: Message
    kind: Kind = Kind.SENT
    garbage: Garbage | None = None
    reordered: bool = False


class Disturber:
    """Applies the content faults that are due to the messages that pass.

    Parameters
    ----------
    rng
        Chooses what garbage looks like where the plan does not say.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._due: list[tuple[ContentFault, int]] = []
        self._held: list[Item] = []

    def begin(self, fault: ContentFault) -> None:
        """Let `fault` act on the next messages; faults of one kind act one after another."""
        self._due.append((fault, fault.count))

    @property
    def is_idle(self) -> bool:
        """Whether messages pass untouched."""
        return not self._due and not self._held

    def passed(self, messages: Iterable[Message]) -> list[Item]:
        """Return what goes out for `messages`, in this order."""
        if self.is_idle:
            return [Item(message=m, kind=Kind.SENT if m.is_trade else Kind.OTHER) for m in messages]
        return [item for message in messages for item in self._one(message)]

    def flush(self) -> list[Item]:
        """Return what is still held because a `reorder` waits for more; called when the tape ends."""
        held, self._held = self._held, []
        return held[::-1]

    def _one(self, message: Message) -> list[Item]:
        if not message.is_trade:
            return [Item(message=message, kind=Kind.OTHER)]
        if self._take(SkipIds, message):
            return [Item(message=message, kind=Kind.SKIPPED)]
        items: list[Item] = []
        itself = Item(message=message)
        if found := self._take(Garble, message):
            garble, _ = found
            garbage = garble.garbage or self._rng.choice(list(Garbage))
            if garble.replace:
                itself = Item(message=message, kind=Kind.GARBLED, garbage=garbage)
            else:
                items.append(Item(message=message, kind=Kind.GARBAGE, garbage=garbage))
        if reorder := self._take(Reorder, message):
            self._held.append(msgspec.structs.replace(itself, reordered=True))
            return items if reorder[1] else items + self.flush()
        items.append(itself)
        if itself.kind is Kind.SENT and self._take(Duplicate, message):
            items.append(Item(message=message, kind=Kind.DUPLICATE))
        return items

    def _take(self, kind: type[_F], message: Message) -> tuple[_F, int] | None:
        """Use up one of the first due fault of `kind` about this symbol; return it and what is left of it."""
        for place, (fault, left) in enumerate(self._due):
            if isinstance(fault, kind) and fault.symbol in (None, message.symbol):
                if left > 1:
                    self._due[place] = (fault, left - 1)
                else:
                    del self._due[place]
                return fault, left - 1
        return None


_ID: Final = re.compile(rb'"t":(\d+)')
_PRICE: Final = re.compile(rb'"p":"([^"]*)"')
_HUGE: Final = 2**63


def garbled(wire: bytes, garbage: Garbage) -> bytes:
    """Return what is sent when the message `wire` becomes `garbage`; never a valid trade."""
    match garbage:
        case Garbage.TRUNCATED:
            return wire[: len(wire) * 2 // 3]
        case Garbage.NOT_JSON:
            return b"<html><body>502 Bad Gateway</body></html>"
        case Garbage.EMPTY:
            return b""
        case Garbage.ARRAY:
            return b"[" + wire + b"]"
        case Garbage.NULL:
            return b"null"
        case Garbage.STRING_ID:
            return _ID.sub(rb'"t":"\1"', wire)
        case Garbage.HUGE_ID:
            return _ID.sub(b'"t":%d' % _HUGE, wire)
        case Garbage.NO_PRICE:
            return _PRICE.sub(b'"x":0', wire)
        case Garbage.BAD_PRICE:
            return _PRICE.sub(b'"p":"NaN"', wire)
        case Garbage.DEEP:
            return b"[" * 1_000 + b"]" * 1_000
