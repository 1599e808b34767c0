"""The storm: exact against an event loop that handles one thing after the other, and what published numbers say."""

from __future__ import annotations

import heapq
import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.storm import child
from wsresearch.errors import UsageError
from wsresearch.reconnect import (
    AdditiveJitter,
    Budget,
    Constant,
    Decorrelated,
    EqualJitter,
    Exponential,
    FullJitter,
    Linear,
    Policy,
    Steps,
)
from wsresearch.study.admission import Admission
from wsresearch.study.crowd import Member, members_of, parse_mix, sizes_of
from wsresearch.study.listings import LISTINGS, Listing
from wsresearch.study.storm import storm
from wsresearch.study.storm_result import Storm


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


# -- one thing after the other --------------------------------------------------------------------------------------

ARRIVES, FAILED, OPENED = 0, 1, 2


@dataclass
class Known:
    """What an event loop finds out about a storm."""

    attempts: int = 0
    wasted: int = 0
    live: dict[int, int] = field(default_factory=dict)
    back_at: dict[int, float] = field(default_factory=dict)
    lost_at: dict[int, float] = field(default_factory=dict)


class Gate:
    """The rules of an admission, an attempt at a time and from their words."""

    def __init__(self, rules: Admission) -> None:
        self.rules = rules
        self.ready = -math.inf
        self.passed: dict[int, deque[float]] = {}

    def admit(self, at: float, client: int) -> tuple[float, float]:
        """Return how long until it is let in (infinite: never) and how long it is told to stay away."""
        rules = self.rules
        if rules.per_address is not None:
            window = self.passed.setdefault(client // rules.clients_per_address, deque())
            while window and window[0] <= at - rules.per_address.window:
                window.popleft()
            if len(window) >= rules.per_address.attempts:
                return math.inf, window[0] + rules.per_address.window - at if rules.retry_after else 0.0
            window.append(at)
        if rules.accept_rate is None:
            return 0.0, 0.0
        wait = self.ready - at
        if wait <= 1e-9:
            self.ready = at + 1 / rules.accept_rate
            return 0.0, 0.0
        if wait * rules.accept_rate > rules.queue + 1e-6:
            return math.inf, rules.retry_after or 0.0
        self.ready += 1 / rules.accept_rate
        return wait, 0.0


def play(
    client: Policy | Listing, links: list[float], outage: float, rules: Admission, *, timeout: float, until: float
) -> Known:
    """Play a storm of clients without jitter with a heap of events."""
    known, gate, order = Known(), Gate(rules), count()
    ahead: list[tuple[float, int, int, int, float]] = []
    policy = client.policy if isinstance(client, Listing) else client
    per_failure = client.per_failure if isinstance(client, Listing) else 1
    streaks: list[Iterator[float]] = [policy.delays(generator()) for _ in links]

    def push(at: float, what: int, who: int, told: float = 0.0) -> None:
        heapq.heappush(ahead, (at, what, next(order), who, told))

    for who, link in enumerate(links):
        push(link, FAILED, who)
    while ahead:
        at, what, _, who, told = heapq.heappop(ahead)
        if at >= until and what == ARRIVES:
            break
        link = links[who]
        if what == FAILED:
            known.lost_at[who] = at
            for _ in range(per_failure):
                delay = next(streaks[who], None)
                if delay is not None:
                    heed = 0.0 if isinstance(client, Listing) else told
                    push(at + heed + delay + link, ARRIVES, who)
        elif what == OPENED:
            streaks[who] = policy.delays(generator())
        else:
            known.attempts += 1
            wait, told = (math.inf, 0.0) if at < outage else gate.admit(at, who)
            reply, patience = at + (0.0 if math.isinf(wait) else wait) + link, at - link + timeout
            if math.isfinite(wait) and reply <= patience:
                known.live[who] = known.live.get(who, 0) + 1
                known.back_at.setdefault(who, reply)
                known.back_at[who] = min(known.back_at[who], reply)
                push(reply, OPENED, who)
                continue
            known.wasted += 1
            push(patience if not rules.refuses or reply > patience else reply, FAILED, who, told)
    return known


# No period of a rate adds up to a sum of delays and timeouts: else a client would be let in at the very moment at which
# its patience ends, and the last bit would decide, which two ways of adding up do not share.
ADMISSIONS = st.builds(
    Admission,
    accept_rate=st.none() | st.sampled_from([0.7071, 3.1416, 20.0711]),
    queue=st.sampled_from([0, 1, 5, 1000]),
    per_address=st.none() | st.builds(Budget, attempts=st.integers(1, 4), window=st.sampled_from([7.0, 60.0])),
    clients_per_address=st.sampled_from([1, 3, 100]),
    retry_after=st.none() | st.sampled_from([4.0, 33.0]),
) | st.builds(
    Admission, accept_rate=st.sampled_from([2.2361, 20.0711]), queue=st.sampled_from([0, 4]), refuses=st.just(False)
)

WITHOUT_JITTER: list[Policy | Listing] = [
    Exponential(base=0.5, cap=16),
    Exponential(max_attempts=6),
    Linear(step=0.3, cap=5),
    Constant(delay=1.3),
    Steps(steps=(0.0, 0.01, 0.05, 0.5, 3.0)),
    LISTINGS["seed-java-websocket"],
    LISTINGS["seed-okhttp"],
]


@settings(max_examples=150, deadline=None)
@given(
    client=st.sampled_from(WITHOUT_JITTER),
    clients=st.integers(1, 60),
    outage=st.sampled_from([0.0, 3.0, 29.7, 61.0, 95.0]),
    rules=ADMISSIONS,
    timeout=st.sampled_from([0.2, 1.5, 10.0]),
    seed=st.integers(0, 1000),
)
def test_blocks_decide_as_one_event_after_the_other_would(
    *, client: Policy | Listing, clients: int, outage: float, rules: Admission, timeout: float, seed: int
) -> None:
    """Attempts, those in vain, live connections and every client's time: what a heap of events gives, exactly."""
    rng = generator(seed)
    links = (0.05 * np.exp(0.5 * rng.standard_normal(clients))).tolist()
    known = play(client, links, outage, rules, timeout=timeout, until=outage + 300)
    found = storm(
        client, clients=clients, outage=outage, rng=generator(seed), admission=rules, open_timeout=timeout, patience=300
    )
    (row,) = found.total.to_pylist()
    assert (row["attempts"], row["wasted"]) == (known.attempts, known.wasted)
    assert row["live"] == sum(known.live.values())
    assert row["most_live"] == max(known.live.values(), default=0)
    assert row["duplicates"] == sum(live - 1 for live in known.live.values())
    assert row["back"] == len(known.back_at)
    back = sorted(known.back_at.values())
    if len(back) == clients:
        assert row["back_50"] == pytest.approx(back[-(-clients // 2) - 1])
        assert row["back_100"] == pytest.approx(back[-1])
    else:
        assert row["back_100"] is None


def test_all_columns_add_up() -> None:
    """What is told by second and by member is what is told of all."""
    found = storm(
        "full-jitter=0.4,seed-java-websocket=0.35,seed-okhttp=0.25",
        clients=3000,
        outage=45,
        rng=generator(),
        admission=Admission(accept_rate=200, queue=50),
    )
    (whole,) = found.total.to_pylist()
    assert found.members["clients"].to_pylist() == [1200, 1050, 750]
    for column in ("clients", "attempts", "wasted", "back", "gone", "live", "duplicates"):
        assert sum(found.members[column].to_pylist()) == whole[column]
    for column in ("attempts", "wasted", "back", "gone"):
        assert sum(found.seconds[column].to_pylist()) == whole[column]
    assert sum(found.seconds["opened"].to_pylist()) == whole["live"] == whole["attempts"] - whole["wasted"]
    assert found.seconds["second"].to_pylist() == 3 * list(range(len(found.seconds) // 3))
    by = found.seconds.group_by("member", use_threads=False).aggregate([("attempts", "sum"), ("back", "sum")])
    assert by["member"].to_pylist() == found.members["member"].to_pylist()
    for column in ("attempts", "back"):
        assert by[f"{column}_sum"].to_pylist() == found.members[column].to_pylist()
    assert whole["back"] + whole["gone"] + found.trying == 3000


# -- published ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "low", "high"),
    [
        (Exponential(base=0.5, cap=16), 10_000, 10_000),
        (FullJitter(base=1, cap=16, floor=0), 100, 180),
        (EqualJitter(base=1, cap=16), 80, 140),
        (AdditiveJitter(start=1, factor=2, cap=17, jitter=1), 450, 620),  # clamp(exp) + U(0, 1)
    ],
    ids=str,
)
def test_the_herd_of_ten_thousand(policy: Policy, low: int, high: int) -> None:
    """Clients back in the busiest 100 ms, median of five seeds: jitter is worth what was measured before."""
    busiest = [storm(policy, clients=10_000, outage=60, rng=generator(seed), link=0).busiest_back for seed in range(5)]
    assert low <= np.median(busiest) <= high


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("outage", [0.5, 5, 30, 60, 77.9, 90, 361, 362, 363])
def test_one_client_of_a_listing_is_the_listing(name: str, outage: float) -> None:
    """For one client the storm and the model of one client are the same thing."""
    known = LISTINGS[name].play(outage)
    found = storm(LISTINGS[name], clients=1, outage=outage, rng=generator(), link=0)
    (row,) = found.total.to_pylist()
    assert (row["attempts"], row["wasted"], row["live"]) == (len(known.attempts), known.failed, known.live)
    assert row["duplicates"] == known.duplicates
    assert row["back_100"] == known.recovered_at
    gone = [second for second, of in enumerate(found.seconds["gone"].to_pylist()) if of]
    assert gone == ([] if known.gave_up_at is None else [int(known.gave_up_at)])


def test_a_whole_herd_of_the_listings_beside_ours() -> None:
    """The acceptance figures, a thousand times: 6 and 5 connections each, or none and not a word; ours are back."""
    mix = "full-jitter=0.5,seed-java-websocket=0.25,seed-okhttp=0.25"
    live = {}
    for outage in (30, 60, 90, 363):
        found = storm(mix, clients=1000, outage=outage, rng=generator(), link=0)
        live[outage] = found.members["live"].to_pylist()
        assert found.members["gone"].to_pylist() == [0, 250 * (outage >= 90), 250 * (outage >= 363)]
    assert live == {30: [500, 1500, 250], 60: [500, 1250, 250], 90: [500, 0, 250], 363: [500, 0, 0]}


# -- laws -----------------------------------------------------------------------------------------------------------

BUSY = Admission(accept_rate=300, queue=100, retry_after=5, per_address=Budget(attempts=30, window=60))


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A storm can be repeated to the last bit, and another seed is another storm."""

    def bytes_of(seed: int) -> str:
        found = storm("decorrelated=0.5,nautilus=0.5", clients=2000, outage=20, rng=generator(seed), admission=BUSY)
        return json.dumps(found.as_json())

    assert bytes_of(3) == bytes_of(3)
    assert bytes_of(3) != bytes_of(4)


@pytest.mark.parametrize("rate", [50.0, 1000.0])
def test_nobody_opens_faster_than_the_server_accepts(rate: float) -> None:
    """In no second more connections than the rate, all of them are used while clients wait, and all come back."""
    found = storm(
        FullJitter(), clients=5000, outage=10, rng=generator(), admission=Admission(accept_rate=rate, queue=500), link=0
    )
    opened = np.array(found.seconds["opened"].to_pylist())
    assert opened.max() <= rate + 1
    assert opened.sum() == 5000
    (row,) = found.total.to_pylist()
    assert row["back_100"] >= 10 + 4999 / rate


def test_no_address_passes_its_limit() -> None:
    """A hundred clients behind one address get in at the pace of its budget."""
    rules = Admission(per_address=Budget(attempts=30, window=60), clients_per_address=100)
    found = storm(FullJitter(base=1, cap=5), clients=100, outage=5, rng=generator(), admission=rules, link=0)
    back = np.cumsum(found.seconds["back"].to_pylist())
    assert [int(back[at]) for at in (30, 100, 160)] == [30, 60, 90]
    assert back[-1] == 100


def test_retry_after_thins_out_the_attempts_and_keeps_a_herd_without_jitter_in_step() -> None:
    """Who obeys asks less often; but told the same number at once, all come again together, and wait longer."""

    def played(*, obeys: bool, retry_after: float | None) -> Storm:
        rules = Admission(accept_rate=100, queue=50, retry_after=retry_after)
        member = Member(client=Constant(delay=1), obeys=obeys)
        return storm([member], clients=2000, outage=1, rng=generator(), admission=rules)

    obeyed, ignored, silent = (
        played(obeys=obeys, retry_after=after) for obeys, after in ((True, 10), (False, 10), (True, None))
    )
    early = [sum(each.seconds["attempts"].to_pylist()[:20]) for each in (obeyed, ignored)]
    assert early[0] < early[1] / 3
    assert obeyed.total["back_50"][0].as_py() > 2 * ignored.total["back_50"][0].as_py()
    assert json.dumps(ignored.as_json()) == json.dumps(silent.as_json())


def test_a_server_that_does_not_answer_costs_the_patience_of_its_clients() -> None:
    """Attempts without an answer take ``open_timeout`` each, so there are fewer of them."""
    asked = {
        refuses: storm(
            Constant(delay=1), clients=50, outage=60, rng=generator(), link=0, admission=Admission(refuses=refuses)
        )
        .total["attempts"][0]
        .as_py()
        for refuses in (True, False)
    }
    assert asked == {True: 50 * 60, False: 50 * 7}  # every second; every 1 + 10 s, the last one when it is back


def test_progress_is_told() -> None:
    """Whoever waits sees clients come back, in order, up to all of them."""
    told: list[tuple[int, int, float]] = []
    rules = Admission(accept_rate=100)
    storm(
        FullJitter(),
        clients=1000,
        outage=5,
        rng=generator(),
        admission=rules,
        progress=lambda done, all_, at: told.append((done, all_, at)),
    )
    assert told == sorted(told)
    assert told[-1][:2] == (1000, 1000)


def test_a_hundred_thousand_clients_are_no_matter() -> None:
    """A tenth of a million takes a tenth of its minute and little memory; the million is in ``benchmarks.storm``."""
    took = child("accept rate and queue", 100_000, 60.0)
    assert took["cpu"] < 6
    assert took["peak"] < 1


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clients": 0}, "clients must be a whole number from 1 to 100000000, not '0'"),
        ({"clients": 2.5}, r"clients must be a whole number .*, not '2\.5'"),
        ({"outage": -1}, "outage must be a number at least 0 .*, not '-1'"),
        ({"outage": math.nan}, "outage must be .*, not 'nan'"),
        ({"outage": 1e6}, "outage must be .* at most 86400, not"),
        ({"link": math.inf}, "link must be .*, not 'inf'"),
        ({"open_timeout": 0}, "open_timeout must be a number above 0 .*, not '0'"),
        ({"patience": -3}, "patience must be"),
        ({"rng": 3}, "rng must be a numpy Generator .*, not int"),
        ({"mix": []}, r"a mix is a policy, a listing or one or more members, not '\[\]'"),
        ({"mix": "jittery"}, "there is no policy called 'jittery'.*or a listing: seed-okhttp, seed-java-websocket"),
        ({"mix": "full-jitter=0.5,constant=0.6"}, r"must sum to 1, not 0\.5 \+ 0\.6 = 1\.1"),
        ({"mix": "full-jitter=0.5,constant"}, "a mix is written name=share,name=share .*, not 'constant'"),
        ({"mix": "full-jitter=half,constant=0.5"}, "the share of full-jitter must be a decimal number .*, not 'half'"),
        ({"mix": "full-jitter=0.5,full-jitter=0.5"}, "two members of the mix are called 'full-jitter'"),
        ({"mix": "full-jitter=nan,constant=0.5"}, "share of full-jitter .* not 'nan'"),
        ({"mix": Constant(delay=0), "link": 0}, "retry again and again at second 0: give them a delay"),
    ],
)
def test_a_wrong_value_is_named(arguments: dict[str, object], message: str) -> None:
    """One line says which parameter, which value, and what would be allowed."""
    given: dict[str, object] = {"mix": "full-jitter", "clients": 10, "outage": 1, "rng": generator()} | arguments
    with pytest.raises(UsageError, match=message) as caught:
        storm(**given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accept_rate": 0}, "accept_rate must be a number above 0 .*, not '0'"),
        ({"accept_rate": -5}, "accept_rate must be .*, not '-5'"),
        ({"accept_rate": math.nan}, "accept_rate must be .*, not 'nan'"),
        ({"queue": -1}, "queue must be a whole number from 0 to 1000000000, not '-1'"),
        ({"queue": 1.5}, "queue must be"),
        ({"retry_after": 0}, "retry_after must be a number above 0"),
        ({"retry_after": 5, "refuses": False}, "retry_after is 5, but a server that does not answer cannot say so"),
        ({"clients_per_address": 0}, "clients_per_address must be a whole number from 1"),
    ],
)
def test_a_wrong_admission_is_named(arguments: dict[str, object], message: str) -> None:
    """So do the rules of the server."""
    with pytest.raises(UsageError, match=message):
        Admission(**arguments)  # type: ignore[arg-type]


def test_one_client_and_no_outage_are_a_storm_too() -> None:
    """The smallest storm: one client, one attempt, one link there and back."""
    found = storm(Constant(delay=2), clients=1, outage=0, rng=generator(), link=0.1, link_spread=0)
    (row,) = found.total.to_pylist()
    assert (row["attempts"], row["wasted"], row["back"]) == (1, 0, 1)
    assert row["back_50"] == row["back_100"] == pytest.approx(0.1 + 2 + 0.1 + 0.1)


def test_clients_that_give_up_and_clients_that_go_on() -> None:
    """Nobody comes back: those without a retry left are gone, the others are told to be still trying."""
    mix = [Member(client=Constant(delay=1, max_attempts=3), share=0.5), Member(client=Decorrelated(), share=0.5)]
    found = storm(mix, clients=10, outage=20, rng=generator(), admission=Admission(accept_rate=1e-6, queue=0))
    assert found.members["gone"].to_pylist() == [5, 0]
    assert found.total["back"].to_pylist() == [1]  # the first to come finds the server idle
    assert found.trying == 4
    assert found.total["back_50"].to_pylist() == [None]
    assert "4 clients were still trying" in str(found)


def test_a_mix_is_read_as_it_is_written() -> None:
    """One name, names with shares, policies with parameters of their own."""
    (one,) = parse_mix("full-jitter")
    assert (one.client, one.share) == (FullJitter(), 1.0)
    (spec,) = parse_mix("full-jitter(base=2, cap=60)")
    assert spec.client == FullJitter(base=2, cap=60)
    two = parse_mix("full-jitter(base=2, cap=60)=0.25, seed-okhttp=0.75")
    assert [each.share for each in two] == [0.25, 0.75]
    assert two[1].client is LISTINGS["seed-okhttp"]
    assert parse_mix("full-jitter(base=2)=1")[0].client == FullJitter(base=2)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=7), st.integers(1, 10_000))
def test_shares_become_clients_and_none_is_lost(weights: list[int], clients: int) -> None:
    """As many clients as there are, each member within one of its share."""
    members = members_of(
        [Member(client=Constant(), share=weight / sum(weights), name=str(at)) for at, weight in enumerate(weights)]
    )
    sizes = sizes_of(members, clients)
    assert sum(sizes) == clients
    assert all(abs(size - each.share * clients) < 1 for size, each in zip(sizes, members, strict=True))


def test_the_result_shows_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """As text, as JSON without a NaN, and as HTML in which a name is text."""
    member = Member(client=Constant(), name="<b>mine</b>")
    found: Storm = storm([member], clients=3, outage=2, rng=generator())
    assert "<b>mine" in str(found)
    assert "<b>mine" not in found._repr_html_()
    json.dumps(found.as_json(), allow_nan=False)
