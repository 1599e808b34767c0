"""Content: what a venue may say, right and wrong, on a connection that is well; on virtual time."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.drill.scenario import Facts, Run, Scenario, Section, Trade, Venue
from tests.drill.virtually import EPOCH_MS, Opens, on_virtual_time
from wsresearch.venues.binance_wire import error_object, subscribe_ack

__all__ = ["SCENARIOS"]

Message = tuple[bytes, bool]
"""What is said, and whether it must be counted as rejected."""

Say = Callable[[random.Random, Venue], list[Message]]

_DAY_MS = 86_400_000


def _pause(rng: random.Random) -> float:
    """Some messages come together, some alone."""
    return rng.choice([0.0, 0.0, 0.001, 0.02])


def right(*trades: Trade) -> list[Message]:
    return [(trade.wire(), False) for trade in trades]


def wrong(*contents: bytes) -> list[Message]:
    return [(content, True) for content in contents]


def in_place_of(change: Callable[[random.Random, bytes], bytes]) -> Say:
    """A trade that exists is told in a form that cannot be taken: rejected, and a hole if others follow."""

    def say(rng: random.Random, venue: Venue) -> list[Message]:
        return wrong(change(rng, venue.trade().wire()))

    return say


def one_of(*contents: bytes) -> Say:
    """Something that stands for no trade."""

    def say(rng: random.Random, _venue: Venue) -> list[Message]:
        return wrong(rng.choice(contents))

    return say


def set_to(key: str, *values: bytes) -> Say:
    """A trade with another value at a key."""
    pattern = re.compile(rb'("%s":)("[^"]*"|[^,}]*)' % key.encode())

    def change(rng: random.Random, wire: bytes) -> bytes:
        value = rng.choice(values)
        return pattern.sub(lambda found: found[1] + value, wire, count=1)

    return in_place_of(change)


def any_of(*says: Say) -> Say:
    def say(rng: random.Random, venue: Venue) -> list[Message]:
        return rng.choice(says)(rng, venue)

    return say


def harmless(*contents: bytes) -> Say:
    """Messages that are no trades and no mistakes: nothing is counted, nothing is lost."""

    def say(rng: random.Random, _venue: Venue) -> list[Message]:
        return [(rng.choice(contents), False)]

    return say


def cut_short(rng: random.Random, wire: bytes) -> bytes:
    return wire[: rng.randrange(1, len(wire))]


def without_a_key(rng: random.Random, wire: bytes) -> bytes:
    key = rng.choice([b"t", b"p", b"q", b"T", b"E", b"m", b"s"])
    return re.sub(rb'"%s":("[^"]*"|[^,}]*),?' % key, b"", wire, count=1)


def extra_and_double_keys(rng: random.Random, venue: Venue) -> list[Message]:
    """Unknown keys are passed over, and of a key that comes twice the last value counts: a trade all the same."""
    (trade,) = venue.told()
    wire = trade.wire()
    extra = rng.choice(
        [b'"b":88,"a":{"x":[1,2,{}]},', b'"M":null,"\xc3\xa9":"\xf0\x9f\x98\x80",', b'"t":1,', b'"p":"7",']
    )
    return [(wire.replace(b'"e":"trade",', b'"e":"trade",' + extra, 1), False)]


def twice(rng: random.Random, venue: Venue) -> list[Message]:
    trades = venue.told(rng.randrange(1, 4))
    again = rng.sample(trades, rng.randrange(1, len(trades) + 1)) + rng.sample(venue.sent, min(3, len(venue.sent)))
    return right(*trades, *again)


def late(rng: random.Random, venue: Venue) -> list[Message]:
    """Trades out of order: stored as they come, and no hole stays behind."""
    trades = [venue.trade("BTCUSDT") for _ in range(rng.randrange(2, 8))]
    rng.shuffle(trades)
    venue.sent += trades
    return right(*trades)


# -- ids that do not simply rise ----------------------------------------------------------------------------------


def plain(rng: random.Random, number: int, at_ms: int, symbol: str = "BTCUSDT") -> Trade:
    price = f"{rng.uniform(1, 99_999):.8f}"
    return Trade(symbol=symbol, trade_id=number, price=price, quantity="1.5", maker=False, at_ms=at_ms)


def story(tell: Callable[[random.Random], tuple[Sequence[Trade], Sequence[tuple[str, int, int]]]]) -> Any:
    """A play that says given trades one after the other and knows the holes that must be told."""

    def play(run: Run) -> Facts:
        holes: list[tuple[str, int, int]] = []

        def make(rng: random.Random, venue: Venue) -> Callable[[int, float], Opens]:
            trades, missing = tell(rng)
            venue.sent += trades
            holes.extend(missing)
            return lambda _number, _now: Opens(script=[(_pause(rng), trade.wire()) for trade in trades])

        return on_virtual_time(make, seconds=10, holes=lambda: holes)(run)

    return play


def begins_anew(rng: random.Random) -> tuple[list[Trade], list[tuple[str, int, int]]]:
    """The venue counts from 1 again: other trades under known ids, each later than any before."""
    first = rng.randrange(1, 50)
    before = [plain(rng, first + n, EPOCH_MS + n) for n in range(rng.randrange(60, 120))]
    after = [plain(rng, 1 + n, EPOCH_MS + 1000 + n) for n in range(rng.randrange(3, 40))]
    return [*before, *after], []


def leaps(rng: random.Random) -> tuple[list[Trade], list[tuple[str, int, int]]]:
    """One absurd but valid id between ordinary ones: stored, and neither a new end nor a hole of 2^62 trades."""
    ids = list(range(10, 10 + rng.randrange(10, 40)))
    where = rng.randrange(3, len(ids))
    ids.insert(where, rng.choice([2**62, 2**63 - 1, 10**15]))
    return [plain(rng, number, EPOCH_MS + n) for n, number in enumerate(ids)], []


def from_zero(rng: random.Random) -> tuple[list[Trade], list[tuple[str, int, int]]]:
    """Id 0 is an id."""
    skip = rng.randrange(1, 5)
    ids = [0, 1, 2, *range(3 + skip, 12 + skip)]
    return [plain(rng, number, EPOCH_MS + n) for n, number in enumerate(ids)], [("BTCUSDT", 3, 2 + skip)]


def times_go_back(rng: random.Random) -> tuple[list[Trade], list[tuple[str, int, int]]]:
    """Times that step back by up to a day, or stand decades ahead: order is told by ids."""
    steps = [rng.randrange(-_DAY_MS, 1000) for _ in range(rng.randrange(10, 40))]
    if rng.random() < 0.5:
        steps[rng.randrange(len(steps))] = 40 * 365 * _DAY_MS
    return [plain(rng, 7 + n, EPOCH_MS + step) for n, step in enumerate(steps)], []


# -- the table ----------------------------------------------------------------------------------------------------


def between_trades(say: Say) -> Any:
    """A play that says it between trades, in one connection, and knows how much of it must be rejected."""

    def play(run: Run) -> Facts:
        count = 0

        def make(rng: random.Random, venue: Venue) -> Callable[[int, float], Opens]:
            nonlocal count
            messages = right(*venue.told(2))
            for _ in range(rng.randrange(3, 15)):
                messages += say(rng, venue) + right(*venue.told(rng.randrange(1, 4)))
            # The last of each symbol, so that whatever is missing lies between two rows.
            ends = [venue.trade(symbol) for symbol in venue.symbols]
            venue.sent += ends
            messages += right(*ends)
            count = sum(bad for _, bad in messages)
            return lambda _number, _now: Opens(script=[(_pause(rng), text) for text, _ in messages])

        facts = on_virtual_time(make, seconds=5)(run)
        facts.rejected = count
        return facts

    return play


def c(name: str, injected: str, play: Any, *, notes: Sequence[str] = (), truth: str | None = None) -> Scenario:
    told: dict[str, Any] = {} if truth is None else {"truth": truth}
    return Scenario(name=name, section=Section.CONTENT, injected=injected, play=play, notes=frozenset(notes), **told)


def bad(name: str, injected: str, *says: Say) -> Scenario:
    return c(
        name,
        injected,
        between_trades(any_of(*says)),
        notes=["rejected"],
        truth="each bad message is counted and costs nothing else; ids it stood for are holes",
    )


_LONG = b"1" * 5000
_NOT_A_NUMBER = (b'"7"', b"true", b"null", b"NaN", b"1.5", b"1e3", b'" 1 "', b'"1_000"', b"[7]", b"{}", b'""')
_NO_DECIMAL = (
    *(
        b'" 1 "',
        b'"1_000"',
        b'"1e400"',
        b'"NaN"',
        b'"Infinity"',
        b'"-1"',
        b'"+1"',
        b'"0"',
        b'"0.0"',
        b'""',
        b'"1."',
        b'".5"',
    ),
    *(b"1.5", b"true", b"null", b'"\xd9\xa1\xd9\xa2"', b'"1,5"', b'"0x10"', b'"' + b"9" * 30 + b'"', b"1e400", b"NaN"),
)
_SYMBOLS = (
    *(b'"../x"', b'"/etc"', b'"."', b'".."', b'""', b'"BTC\\u0000USDT"', b'"' + b"A" * 300 + b'"', b'"BTC USDT"', b"7"),
    *('"БТЦ"'.encode(), '"BTCUSDT\u202e"'.encode(), b'"btcusdt"', b'"<b>"', b'"XRPUSDT"', b'"ETHUSDT\\n"', b"null"),
)

SCENARIOS = (
    bad("malformed JSON", "trades cut short, web pages, noise", in_place_of(cut_short),
        one_of(b"{", b"<html>502 Bad Gateway</html>", b"trade", b'{"a":1}}', b"{'e':'trade'}", b"\x00\x01\x02")),
    bad("an empty message", "nothing at all, or blanks", one_of(b"", b" ", b"\n\n")),
    bad("binary", "random bytes", lambda rng, _venue: wrong(b"\x80" + rng.randbytes(rng.randrange(1, 300)))),
    bad("an array, null, a number, a text", "JSON that is no object",
        one_of(b"[]", b"[1,2]", b"null", b"7", b'"x"', b"true"), in_place_of(lambda _rng, wire: b"[" + wire + b"]")),
    bad("deep nesting", "thousands of brackets", one_of(b"[" * 1000 + b"]" * 1000, b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000)),
    bad("integers of 5,000 digits", "an id or a time without end", set_to("t", _LONG), set_to("T", _LONG),
        set_to("E", _LONG)),
    bad("a missing key", "a trade without id, price, quantity, time, side or symbol", in_place_of(without_a_key)),
    bad("wrong types of an id", 'ids that are "7", true, NaN, 1.5, 1e3, …', set_to("t", *_NOT_A_NUMBER)),
    bad("wrong types of a time", 'times that are "7", true, NaN, 1.5, …', set_to("T", *_NOT_A_NUMBER),
        set_to("E", *_NOT_A_NUMBER)),
    bad("wrong types of a side", "sides that are no booleans", set_to("m", b"1", b"0", b'"true"', b"null", b"[]")),
    bad("prices and quantities that are none", '" 1 ", "1_000", 1e400, NaN, -1, 0, other digits, …',
        set_to("p", *_NO_DECIMAL), set_to("q", *_NO_DECIMAL)),
    bad("integers over 2^63", "ids and times that no 64 bits hold", set_to("t", b"9223372036854775808", b"1" * 30),
        set_to("T", b"9223372036854775808", b"18446744073709551616")),
    bad("negative ids", "ids below 0", set_to("t", b"-1", b"-9223372036854775808", b"-0.5")),
    bad("symbols that are none of ours", "../x, /etc, ., NUL, 300 letters, other alphabets, …", set_to("s", *_SYMBOLS)),
    bad("times of 0 and of the far future", "times before 2000 and from 2100 on",
        set_to("T", b"0", b"1", b"4102444800000", b"9223372036854775807"), set_to("E", b"0", b"99999999999999")),
    bad("everything at once", "all that is malformed, mixed", in_place_of(cut_short), in_place_of(without_a_key),
        set_to("t", *_NOT_A_NUMBER), set_to("p", *_NO_DECIMAL), set_to("s", *_SYMBOLS),
        one_of(b"", b"null", b"[]", b"\xff")),
    c("extra and double keys", "keys that nobody knows, keys that come twice", between_trades(extra_and_double_keys)),
    c("events of other kinds", "book tickers, klines, unheard-of events", between_trades(harmless(
        b'{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT"}}', b'{"e":"kline","E":1,"s":"BTCUSDT","k":{}}',
        b'{"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":1}}', b'{"e":"\\u0000weird"}'))),
    c("acks", "answers to requests", between_trades(harmless(subscribe_ack(1), subscribe_ack(None),
        b'{"result":["btcusdt@trade"],"id":3}'))),
    c("error objects", "the venue tells of errors", between_trades(harmless(error_object(2, "Invalid request <b>"),
        b'{"error":{"code":2,"msg":"nope"},"id":1}')), notes=["venue_error"]),
    c("unheard-of answers", "objects that nobody knows", between_trades(harmless(b"{}", b'{"hello":"world"}',
        b'{"x":[[[[]]]]}')), notes=["unknown"]),
    c("duplicates", "trades that come twice, at once or later", between_trades(twice),
      truth="each trade is stored once"),
    c("late rows", "trades out of order", between_trades(late), truth="stored as they came; no hole stays behind"),
    c("ids that start again at 1", "the venue counts anew", story(begins_anew), notes=["ids_restarted"],
      truth="both counts are stored; no hole between them"),
    c("one absurd id", "2^62 between ordinary ids", story(leaps), truth="stored, and no hole of 2^62 trades"),
    c("ids from 0", "the first trade of a symbol has the id 0", story(from_zero)),
    c("times that go backwards", "trade times step back a day, or stand decades ahead", story(times_go_back)),
)  # fmt: skip
