"""The player: who gets what, and when the tape stands still."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tests.lab.clients import MS
from wsresearch.lab.disturb import Disturber
from wsresearch.lab.faults import Reorder
from wsresearch.lab.player import Player
from wsresearch.lab.recorder import Recorder
from wsresearch.lab.tape import Tape
from wsresearch.venues.binance_wire import Form, Unit


@dataclass(slots=True, kw_only=True)
class _Ear:
    """A receiver that keeps what it is given."""

    number: int = 1
    form: Form = Form.RAW
    unit: Unit = Unit.MILLISECOND
    streams: Collection[str] = ("btcusdt@trade",)
    is_receptive: bool = True
    ration: int | None = None
    heard: list[bytes] = field(default_factory=list)

    @property
    def is_rationed(self) -> bool:
        return self.ration is not None

    def take(self, frames: Sequence[bytes]) -> int:
        taken = frames[: self.ration]
        self.heard += taken
        if self.ration is not None:
            self.ration -= len(taken)
            self.is_receptive = self.ration > 0
        return len(taken)


def _player(tape: Tape, *ears: _Ear, waits: bool, disturber: Disturber | None = None) -> tuple[Player, Recorder]:
    recorder = Recorder()
    player = Player(
        tape,
        disturber=disturber or Disturber(random.Random(1)),
        recorder=recorder,
        receivers=lambda: ears,
        frame=lambda payload: payload,
        waits=waits,
        futures=False,
    )
    return player, recorder


def test_each_hears_its_streams() -> None:
    """A receiver gets the streams it is subscribed to, in its form; the truth says which rows."""

    async def scenario() -> None:
        one, two = _Ear(), _Ear(number=2, form=Form.COMBINED, streams=("ethusdt@trade", "btcusdt@trade"))
        deaf = _Ear(number=3, is_receptive=False)
        tape = Tape.generate(("BTCUSDT", "ETHUSDT"), 50_000, count=300)
        player, recorder = _player(tape, one, two, deaf, waits=False)
        await player.run()
        truth = recorder.snapshot()
        assert len(two.heard) == 300
        assert all(b'"stream"' in message for message in two.heard)
        assert 0 < len(one.heard) < 300
        assert deaf.heard == []
        assert truth.sent["connection"].to_pylist().count(1) == len(one.heard)

    asyncio.run(scenario())


def test_a_ration_ends_between_two_messages() -> None:
    """When the last one who could hear has had its ration, a tape that waits stands still at the next message."""

    async def scenario() -> None:
        ear = _Ear(ration=7)
        player, recorder = _player(Tape.generate(rate=50_000, count=100), ear, waits=True)
        task = asyncio.create_task(player.run())
        await asyncio.sleep(50 * MS)
        assert (len(ear.heard), recorder.rows) == (7, 7)
        ear.ration, ear.is_receptive = None, True
        await task
        assert len(ear.heard) == recorder.rows == 100

    asyncio.run(scenario())


def test_held() -> None:
    """While somebody holds the tape nothing is sent, however many hold it."""

    async def scenario() -> None:
        player, recorder = _player(Tape.generate(rate=10_000, count=200), _Ear(), waits=True)
        with player.held():
            task = asyncio.create_task(player.run())
            with player.held():
                await asyncio.sleep(20 * MS)
            await asyncio.sleep(20 * MS)
            assert recorder.rows == 0
        await task
        assert recorder.rows == 200

    asyncio.run(scenario())


def test_silenced() -> None:
    """A silenced tape that runs on is sent to nobody; one that waits stands still."""

    async def scenario(*, waits: bool) -> int:
        ear = _Ear()
        player, recorder = _player(Tape.generate(rate=10_000, seconds=0.02), ear, waits=waits)
        player.silences += 1
        task = asyncio.create_task(player.run())
        await asyncio.sleep(50 * MS)
        assert ear.heard == []
        rows = recorder.rows
        task.cancel()
        return rows

    assert asyncio.run(scenario(waits=False)) > 0
    assert asyncio.run(scenario(waits=True)) == 0


def test_breaks_are_exact() -> None:
    """What is asked for at a time of the tape happens after all that is due by then, and before the rest."""

    async def scenario() -> None:
        tape = Tape.generate(rate=10_000, seconds=0.05)
        player, recorder = _player(tape, _Ear(), waits=True)
        seen: list[int] = []

        async def look() -> None:
            seen.append(recorder.rows)

        for at in (0.0, 0.01, 0.02, 0.06):
            player.at(at, look)
        await player.run()
        due = [message.due_ns for message in tape.play()]
        assert seen == [sum(d <= at * 1e9 for d in due) for at in (0.0, 0.01, 0.02, 0.06)]

    asyncio.run(scenario())


def test_the_end_of_the_tape_flushes() -> None:
    """Messages still held by a reorder are sent when the tape ends."""

    async def scenario() -> None:
        disturber = Disturber(random.Random(1))
        disturber.begin(Reorder(count=50))
        ear = _Ear()
        player, _ = _player(Tape.generate(rate=10_000, count=10), ear, waits=False, disturber=disturber)
        await player.run()
        assert len(ear.heard) == 10

    asyncio.run(scenario())
