"""Tapes: ordered sources of messages that the local exchange plays.

Not here: the clock they are played by, and the wire.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from wsresearch.errors import UsageError
from wsresearch.lab.market import Market
from wsresearch.lab.message import Message
from wsresearch.lab.recording import Others, Recording

__all__ = ["Tape", "source_of"]


class Tape:
    """An ordered source of messages, each with the time at which it is due.

    Made by :meth:`from_recording`, :meth:`generate`, or :meth:`of` from the value that describes it. A tape may be
    played any number of times; each :meth:`play` begins at the beginning.

    Attributes
    ----------
    source
        The frozen value that describes this tape completely (a recording by its path).
    symbols
        What is traded on it, upper case.
    """

    __slots__ = ("_recorded", "source", "symbols")

    def __init__(self, source: Recording | Market) -> None:
        self.source = source
        self._recorded = source.messages() if isinstance(source, Recording) else None
        self.symbols: tuple[str, ...] = (
            source.symbols
            if isinstance(source, Market)
            else tuple(dict.fromkeys(m.symbol for m in self._recorded or () if m.symbol is not None))
        )

    @classmethod
    def of(cls, source: Recording | Market) -> Self:
        """Return the tape that `source` describes."""
        return cls(source)

    @classmethod
    def from_recording(
        cls,
        path: str | os.PathLike[str],
        *,
        speed: float = 1.0,
        rate: float | None = None,
        others: Others = Others.KEEP,
    ) -> Self:
        """Return a recording as a tape; the file is read and checked here, whole.

        Parameters
        ----------
        path
            Lines of ``<recv_ns> <raw JSON>``, plain or gzip; combined or raw form.
        speed, rate, others
            As in :class:`~wsresearch.lab.recording.Recording`.

        Raises
        ------
        TapeError
            Naming the file, the line and what is wrong with it.
        """
        return cls(Recording(path=os.fspath(path), speed=speed, rate=rate, others=Others(others)))

    @classmethod
    def generate(
        cls,
        symbols: Sequence[str] = ("BTCUSDT",),
        rate: float = 100.0,
        seed: int = 0,
        *,
        seconds: float | None = None,
        count: int | None = None,
        first_ids: Mapping[str, int] | None = None,
    ) -> Self:
        """Return a generated tape; endless unless `seconds` or `count` is given.

        Parameters
        ----------
        symbols, rate, seed, seconds, count, first_ids
            As in :class:`~wsresearch.lab.market.Market`.

        Raises
        ------
        TapeError
            For a value that is no market.
        """
        return cls(
            Market(
                symbols=tuple(symbols),
                rate=rate,
                seed=seed,
                seconds=seconds,
                count=count,
                first_ids=dict(first_ids or {}),
            )
        )

    def play(self) -> Iterator[Message]:
        """Yield the messages in order, from the beginning."""
        if isinstance(self.source, Market):
            return self.source.trades()
        return iter(self._recorded or ())

    def __repr__(self) -> str:
        return f"Tape.of({self.source!r})"


def source_of(tape: object) -> Market | Recording:
    """Return what a tape is made of; raise UsageError if it is no tape."""
    if not isinstance(tape, Tape):
        raise UsageError(f"{str(tape)[:80]!r} is no tape: give Tape.generate(…), or Tape.from_recording(its path)")
    return tape.source
