"""The one thread that changes what is shown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from wsresearch.notebook.publisher import Publisher

PATIENCE = 20.0


class Told:
    """What a publisher did, and on which thread."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.errors: list[Exception] = []
        self.publisher = Publisher(self.tick, failed=self.errors.append, every=600, name="test")

    def tick(self) -> None:
        self.threads.append(threading.current_thread().name)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    made.publisher.start()
    assert made.publisher.wait_for(lambda: len(made.threads) == 1, PATIENCE)
    yield made
    made.publisher.close()


def test_what_is_asked_is_done_by_its_thread_and_shown_at_once(told: Told) -> None:
    """Callbacks come on any thread; whoever asks does not wait, and the next tick does not wait for its time."""
    done: list[str] = []
    asking = threading.Thread(target=lambda: told.publisher.ask(lambda: told.tick() or done.append("done")))
    asking.start()
    asking.join()
    assert told.publisher.wait_for(lambda: len(told.threads) == 3, PATIENCE)
    assert set(told.threads) == {"test"}
    assert done == ["done"]


def test_long_work_keeps_nobody_waiting(told: Told) -> None:
    """It runs on a thread of its own; what is asked meanwhile is shown, and its end is shown as well."""
    begun, may_end = threading.Event(), threading.Event()
    names: list[str] = []

    def work() -> None:
        names.append(threading.current_thread().name)
        begun.set()
        assert may_end.wait(PATIENCE)

    told.publisher.work(work)
    assert begun.wait(PATIENCE)
    told.publisher.ask(lambda: None)
    assert told.publisher.wait_for(lambda: len(told.threads) == 2, PATIENCE)
    may_end.set()
    assert told.publisher.wait_for(lambda: len(told.threads) == 3, PATIENCE)
    assert names == ["test-work"]


@pytest.mark.parametrize("how", ["ask", "work"])
def test_what_nobody_expected_is_told_and_survived(told: Told, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """A defect goes into the panel and the log, not into the void of a callback; the thread lives on."""
    caplog.set_level(logging.ERROR)
    getattr(told.publisher, how)(lambda: 1 / 0)
    assert told.publisher.wait_for(lambda: len(told.errors) == 1 and len(told.threads) == 2, PATIENCE)
    assert isinstance(told.errors[0], ZeroDivisionError)
    assert "a panel met what it did not expect" in caplog.text
    told.publisher.ask(lambda: None)
    assert told.publisher.wait_for(lambda: len(told.threads) == 3, PATIENCE)


def test_it_ends_from_without_and_from_within() -> None:
    """Closing waits for the thread, unless the thread itself closes; twice is once."""
    outside = Told()
    outside.publisher.start()
    outside.publisher.close()
    outside.publisher.close()
    assert outside.publisher.closed
    inside = Told()
    inside.publisher.ask(inside.publisher.close)
    inside.publisher.start()
    assert inside.publisher.wait_for(lambda: inside.publisher.closed, PATIENCE)
    inside.publisher.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "test"]


def test_one_that_never_began_can_be_closed() -> None:
    """Where making a panel fails half way."""
    Told().publisher.close()
