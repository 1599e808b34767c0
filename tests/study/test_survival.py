"""Survival against published worked examples, and against laws that hold for every table."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.study.eventlog import EventLog, days, ns
from wsresearch.errors import UsageError
from wsresearch.study.connections import connections
from wsresearch.study.incidence import INCIDENCE, incidence
from wsresearch.study.outages import outages
from wsresearch.study.survival import HAZARD, SURVIVAL, hazard, logrank, quantiles, survival

# E. J. Freireich et al.: The effect of 6-mercaptopurine on the duration of steroid-induced remissions in acute
# leukemia, Blood 21 (1963) 699-716. Weeks of remission; a negative number is a remission that still went on.
SIX_MP = [6, 6, 6, 7, 10, 13, 16, 22, 23, -6, -9, -10, -11, -17, -19, -20, -25, -32, -32, -34, -35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def spans(weeks: list[int]) -> pa.Table:
    return pa.table({"seconds": [float(abs(week)) for week in weeks], "observed": [week > 0 for week in weeks]})


def caused(seconds: list[float], causes: list[int]) -> pa.Table:
    """Spans whose cause is a number, 0 for censored."""
    return pa.table(
        {
            "seconds": [float(each) for each in seconds],
            "observed": [cause > 0 for cause in causes],
            "cause": [str(cause) if cause else None for cause in causes],
        }
    )


def steps(table: pa.Table) -> pa.Table:
    """The rows at which something ended."""
    return table.filter(pa.array(table["ended"].to_numpy() > 0))


def test_kaplan_meier_of_the_freireich_trial() -> None:
    """Klein and Moeschberger, Survival Analysis, 2nd ed., table 4.1: the 6-MP group, survival and standard error."""
    curve = steps(survival(spans(SIX_MP)))
    assert curve["seconds"].to_pylist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve["at_risk"].to_pylist() == [21, 17, 15, 12, 11, 7, 6]
    assert curve["ended"].to_pylist() == [3, 1, 1, 1, 1, 1, 1]
    assert curve["survival"].to_numpy() == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4)
    # The standard errors of the table give the interval: log(-log S) ± 1.96 se / (S log S).
    share = curve["survival"].to_numpy()
    errors = np.array([0.076, 0.087, 0.096, 0.107, 0.114, 0.128, 0.135])
    spread = 1.96 * errors / (share * np.log(share))
    assert curve["low"].to_numpy() == pytest.approx(share ** np.exp(-spread), abs=2e-3)
    assert curve["high"].to_numpy() == pytest.approx(share ** np.exp(spread), abs=2e-3)


def test_medians_of_the_freireich_trial() -> None:
    """Half of the placebo group relapsed by week 8, half of the 6-MP group by week 23; its upper end is beyond us."""
    both = pa.concat_tables(
        [
            spans(weeks).append_column("drug", pa.array([name] * 21))
            for name, weeks in (("6-MP", SIX_MP), ("placebo", PLACEBO))
        ]
    )
    table = quantiles(survival(both, by="drug"), [0.5]).to_pylist()
    assert [(row["group"], row["seconds"]) for row in table] == [("6-MP", 23.0), ("placebo", 8.0)]
    assert [row["high"] for row in table] == [None, 11.0]
    assert [row["low"] for row in table] == [13.0, 4.0]


def test_log_rank_of_the_freireich_trial() -> None:
    """D. G. Kleinbaum and M. Klein, Survival Analysis, 3rd ed., ch. 2: 9 seen of 19.25 expected, χ² = 16.793."""
    table = logrank(spans(SIX_MP), spans(PLACEBO), names=("6-MP", "placebo"))
    assert table["ended"].to_pylist() == [9, 21]
    assert table["expected"].to_numpy() == pytest.approx([19.25, 10.75], abs=5e-3)
    assert table["chi_square"].to_numpy() == pytest.approx([16.793, 16.793], abs=5e-4)
    assert table["p_value"][0].as_py() == pytest.approx(4.17e-5, rel=5e-3)


def test_the_rate_of_the_freireich_trial_and_its_exact_interval() -> None:
    """9 relapses in 359 weeks and 21 in 182; Garwood's interval for a count of 9 is 4.12 to 17.08."""
    (row,) = hazard(spans(SIX_MP), ages=[1000]).to_pylist()
    assert (row["exposure"], row["ended"]) == (359, 9)
    assert [row["low"] * 359, row["high"] * 359] == pytest.approx([4.12, 17.08], abs=6e-3)
    (row,) = hazard(spans(PLACEBO), ages=[1000]).to_pylist()
    assert row["rate"] == pytest.approx(21 / 182)


@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390)]
)
def test_exact_poisson_limits(count: int, low: float, high: float) -> None:
    """F. Garwood, Biometrika 28 (1936) 437-442, fiducial limits of the Poisson, 95 %."""
    table = spans([1] * count + [-(1000 - count)])
    (row,) = hazard(table, ages=[10_000]).to_pylist()
    assert row["exposure"] == 1000
    assert [1000 * row["low"], 1000 * row["high"]] == pytest.approx([low, high], abs=6e-4)


def test_aalen_johansen_against_stata() -> None:
    """Incidence as of R's cmprsk, standard errors as of Stata's stcompet; both stand in the tests of statsmodels.

    https://github.com/statsmodels/statsmodels, statsmodels/duration/tests/test_survfunc.py, test_incidence.
    """
    seconds: list[float] = [1, 1, 2, 4, 4, 4, 6, 6, 7, 8, 9, 9, 9, 1, 2, 2, 4, 4]
    table = incidence(caused(seconds, [1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    truth = {
        "1": ([0.11111111, 0.17037037, 0.17037037], [0.07407407, 0.08976251, 0.08976251]),
        "2": ([0.0, 0.0, 0.20740741], [0.0, 0.0, 0.10610391]),
        "3": ([0.0, 0.0, 0.0, 0.17777778, 0.26666667], [0.0, 0.0, 0.0, 0.11196147, 0.12787781]),
    }
    for cause, (shares, errors) in truth.items():
        rows = table.filter(pa.array([each == cause for each in table["cause"].to_pylist()]))
        assert rows["seconds"].to_pylist() == [1, 2, 4, 6, 7]
        last = 5 - len(shares)
        assert rows["incidence"].to_numpy() == pytest.approx(shares + shares[-1:] * last, abs=1e-8)
        assert rows["se"].to_numpy() == pytest.approx(errors + errors[-1:] * last, abs=1e-8)


# L. Scrucca, A. Santucci, F. Aversa: Competing risk analysis using R: an easy guide for clinicians, Bone Marrow
# Transplantation 40 (2007) 381-387: months until (1) death by the transplant or (2) relapse of 35 patients.
ALL = "13:2 1:1 72:0 7:2 8:2 9:2 5:2 1:2 22:2 0:2 0:1 35:0 4:2 14:2 26:2 3:2 12:1"
AML = "67:0 70:0 4:0 7:0 68:0 10:2 7:2 3:1 4:1 4:1 3:1 3:1 8:1 2:2 35:0 2:0 8:0 32:0"


def test_aalen_johansen_of_bone_marrow_transplants() -> None:
    """The incidences of the whole set that the tests of scikit-survival give for these data (test_nonparametric.py)."""
    pairs = [tuple(map(int, pair.split(":"))) for pair in f"{ALL} {AML}".split()]
    table = incidence(caused([float(month) for month, _ in pairs], [cause for _, cause in pairs]))
    truth = {
        "1": {0: 0.02857143, 1: 0.05714286, 3: 0.14581281, 4: 0.20492611, 8: 0.23771164, 12: 0.27283899},
        "2": {0: 0.02857143, 2: 0.08571429, 5: 0.1757917, 7: 0.23771992, 9: 0.30563279, 26: 0.48126955},
    }
    rows = {(row["cause"], row["seconds"]): row["incidence"] for row in table.to_pylist()}
    for cause, shares in truth.items():
        for month, share in shares.items():
            assert rows[cause, month] == pytest.approx(share, abs=1e-8)


def test_aalen_johansen_step_by_step() -> None:
    """J. M. Satagopan et al., Br. J. Cancer 91 (2004) 1229-1235, table 2: nine of 305 patients, in months."""
    months: list[float] = [7, 10, 14, 16, 18, 23, 24, 26, 27, *[100] * 296]
    table = incidence(caused(months, [0, 1, 0, 1, 2, 1, 0, 2, 1, *[0] * 296]))
    cancer = table.slice(0, 6)
    assert cancer["cause"].to_pylist() == ["1"] * 6
    assert cancer["at_risk"].to_pylist() == [304, 302, 301, 300, 298, 297]
    assert (100 * cancer["incidence"].to_numpy()).round(1).tolist() == [0.3, 0.7, 0.7, 1.0, 1.0, 1.3]
    # The paper rounds each step before it adds: 0.3, 0.6, 0.9, 1.2. Its survival is not cut short like that.
    curve = steps(survival(caused(months, [0, 1, 0, 1, 2, 1, 0, 2, 1, *[0] * 296])))
    assert (100 * curve["survival"].to_numpy()).round(1).tolist() == [99.7, 99.3, 99.0, 98.7, 98.3, 98.0]


tables = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=40)


@given(tables)
def test_shares_and_survival_add_up(rows: list[tuple[int, int]]) -> None:
    """At each time everything has either gone on or been ended by one of the causes."""
    table = caused([float(seconds) for seconds, _ in rows], [cause for _, cause in rows])
    curve = steps(survival(table))
    parts = incidence(table)
    for seconds, share in zip(curve["seconds"].to_pylist(), curve["survival"].to_pylist(), strict=True):
        of = [row["incidence"] for row in parts.to_pylist() if row["seconds"] == seconds]
        assert share + sum(of) == pytest.approx(1, abs=1e-12)


@given(tables)
def test_one_cause_has_the_variance_of_greenwood(rows: list[tuple[int, int]]) -> None:
    """Without a competitor, one minus the incidence is the survival, and so is its interval."""
    table = caused([float(seconds) for seconds, _ in rows], [min(cause, 1) for _, cause in rows])
    curve, parts = steps(survival(table)), incidence(table)
    assert (1 - parts["incidence"].to_numpy()).tolist() == pytest.approx(curve["survival"].to_pylist())
    for row, step in zip(parts.to_pylist(), curve.to_pylist(), strict=True):
        left = step["at_risk"] - step["ended"]
        assert (row["se"] is None) == (left == 0)
        if row["se"] is None:
            continue
        until = [each for each in curve.to_pylist() if each["seconds"] <= step["seconds"]]
        greenwood = sum(each["ended"] / each["at_risk"] / (each["at_risk"] - each["ended"]) for each in until)
        assert row["se"] == pytest.approx(step["survival"] * greenwood**0.5, abs=1e-7)


@given(tables)
def test_without_censoring_a_share_is_a_share(rows: list[tuple[int, int]]) -> None:
    """Nothing censored: the incidence is the proportion p, and its variance p(1 - p)/n."""
    table = caused([float(seconds) for seconds, _ in rows], [max(cause, 1) for _, cause in rows])
    for row in incidence(table).to_pylist():
        share = sum(s <= row["seconds"] and str(max(c, 1)) == row["cause"] for s, c in rows) / len(rows)
        assert row["incidence"] == pytest.approx(share)
        if row["se"] is not None:
            assert row["se"] ** 2 == pytest.approx(share * (1 - share) / len(rows), abs=1e-12)


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_means_nothing(rows: list[tuple[int, int]], draw: Any) -> None:
    """Unsorted input gives the same tables."""
    mixed = draw.sample(rows, len(rows))
    one, other = (caused([float(s) for s, _ in each], [c for _, c in each]) for each in (rows, mixed))
    assert survival(one).equals(survival(other))
    assert hazard(one, ages=[1, 3, 9]).equals(hazard(other, ages=[1, 3, 9]))


@given(tables)
def test_no_table_holds_a_nan(rows: list[tuple[int, int]]) -> None:
    """What the formulas have no value for is null; every interval holds its estimate."""
    table = caused([float(seconds) for seconds, _ in rows], [cause for _, cause in rows])
    for result, value in ((survival(table), "survival"), (incidence(table), "incidence"), (hazard(table), "rate")):
        for row in result.to_pylist():
            numbers = [each for each in row.values() if isinstance(each, float)]
            assert np.isfinite(numbers).all()
            if row["low"] is not None:
                assert row["low"] - 1e-12 <= row[value] <= row["high"] + 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_the_intervals_hold_what_they_promise(seed: int) -> None:
    """Truth from a known law: about 95 of 100 intervals of each kind hold it."""
    rng = np.random.default_rng(seed)
    hits = np.zeros(3)
    for _ in range(300):
        resets, closes, stops = rng.exponential([[100.0], [200.0], [150.0]], (3, 80))
        ends = np.minimum(resets, closes)
        table = pa.table(
            {
                "seconds": np.minimum(ends, stops),
                "observed": ends <= stops,
                "cause": np.where(resets < closes, "reset", "closed"),
            }
        )
        rate = 1 / 100 + 1 / 200
        truth = (np.exp(-50 * rate), 2 / 3 * (1 - np.exp(-50 * rate)), rate)
        curve = survival(table)
        reset = incidence(table)
        reset = reset.filter(pa.array([cause == "reset" for cause in reset["cause"].to_pylist()]))
        rows = [
            each.slice(np.searchsorted(each["seconds"].to_numpy(), 50, side="right") - 1, 1) for each in (curve, reset)
        ]
        for at, (row, true) in enumerate(zip((*rows, hazard(table, ages=[1e6])), truth, strict=True)):
            hits[at] += row["low"][0].as_py() <= true <= row["high"][0].as_py()
    # 300 draws of 95 %: four standard deviations below are 0.90.
    assert (hits / 300 >= 0.90).all(), hits / 300
    assert (hits / 300 < 1).all(), hits / 300


# -- connections and outages --------------------------------------------------------------------------------------


def log_of_lives(*lives: tuple[float, str]) -> EventLog:
    """A capture in which each connection lived so long and then ended by this cause; the last one was stopped."""
    log = EventLog()
    log.start()
    for life, cause in lives:
        log.try_to_open(0.0)
        log.opened(0.05)
        log.first_message(0.0)
        log.wait(life - 0.0)
        log.lost(0.0, cause=cause)
    log.try_to_open(0.0)
    log.opened(0.05)
    log.first_message(0.0)
    log.wait(500)
    log.add("stopped", cause="stop")
    return log


def test_what_we_ended_is_censored() -> None:
    """A reconnect that we asked for, a planned rollover and our stop say nothing about how long it would have lived."""
    log = log_of_lives((10, "reset"), (20, "reconnect"), (30, "rollover"), (40, "closed"))
    curve = survival(connections(log.table()))
    assert curve["seconds"].to_pylist() == [10, 20, 30, 40, 500]
    assert curve["ended"].to_pylist() == [1, 0, 0, 1, 0]
    assert curve["censored"].to_pylist() == [0, 1, 1, 0, 1]
    assert curve["survival"].to_numpy() == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4])
    assert incidence(connections(log.table()))["cause"].to_pylist() == ["closed", "closed", "reset", "reset"]


def test_the_24_h_limit_censors_and_can_be_lifted() -> None:
    """A venue ends each connection at 24 h; that is no failure unless somebody wants to count it as one."""
    table = connections(log_of_lives((86_390, "closed"), (50_000, "closed"), (90_000, "reset")).table())
    assert survival(table)["ended"].to_pylist() == [0, 1, 0, 1]
    assert survival(table, limit=None)["ended"].to_pylist() == [0, 1, 1, 1]
    assert survival(table, limit=50_030)["ended"].to_pylist() == [0, 0, 1, 1]


def test_a_censored_outage_is_not_a_quick_recovery() -> None:
    """The last outage was still open when the run stopped: nobody knows how long it would have taken."""
    log = EventLog()
    log.connect()
    for silence in (2.0, 4.0):
        log.lost(silence / 2)
        log.try_to_open(silence / 2 - 0.1)
        log.opened(0.1)
        log.first_message(0.0)
    log.lost(1.0)
    log.back_off(10)
    log.wait(2)
    log.add("stopped", cause="stop")
    curve = survival(outages(log.table()))
    assert curve["seconds"].to_pylist() == [2, 3, 4]
    assert curve["censored"].to_pylist() == [0, 1, 0]
    assert curve["survival"].to_numpy() == pytest.approx([2 / 3, 2 / 3, 0])
    assert quantiles(curve, [0.5])["seconds"].to_pylist() == [4.0]


def test_by_cause_each_group_has_its_curve() -> None:
    """`by` makes a curve for each cause, as if the others were not there."""
    table = outages(days(200, span=86_400.0).table())
    curves = survival(table, by="cause")
    assert set(curves["group"].to_pylist()) == {"reset", "closed", "stalled", "eof"}
    reset = table.filter(pa.array([cause == "reset" for cause in table["cause"].to_pylist()]))
    alone = curves.filter(pa.array([group == "reset" for group in curves["group"].to_pylist()]))
    assert alone.drop(["group"]).equals(survival(reset).drop(["group"]))


def test_a_stepped_clock_changes_no_time_to_recovery() -> None:
    """A wall clock that goes back an hour in the middle of an outage leaves its silence as it was."""
    straight, stepped = EventLog(), EventLog()
    for log, step in ((straight, 0), (stepped, ns(-3600))):
        log.connect()
        log.lost(1.0)
        log.wall_offset = step
        log.try_to_open(2.0)
        log.opened(0.1)
        log.first_message(0.1)
    assert survival(outages(stepped.table())).equals(survival(outages(straight.table())))


def test_hazard_falls_where_young_connections_break() -> None:
    """Stretches hold the ends and the time lived in them; an end at an edge belongs to the stretch before it."""
    table = hazard(spans([1, 1, 2, 10, -20]), ages=[1, 10])
    assert table["exposure"].to_pylist() == [5, 1 + 9 + 9, 10]
    assert table["ended"].to_pylist() == [2, 2, 0]
    assert table["until"].to_pylist() == [1, 10, None]
    assert table["low"].to_pylist()[2] == 0
    assert hazard(spans([1, -5]), ages=[60, 600])["since"].to_pylist() == [0]


# -- bad input ----------------------------------------------------------------------------------------------------


def test_nothing_and_one() -> None:
    """Empty tables give empty tables; one row is an answer, with no interval that would be made up."""
    empty = spans([])
    assert survival(empty).equals(SURVIVAL.empty_table())
    assert hazard(empty).equals(HAZARD.empty_table())
    assert incidence(caused([], [])).equals(INCIDENCE.empty_table())
    assert survival([], observed=[]).num_rows == 0
    (row,) = survival([5.0], observed=[True]).to_pylist()
    assert (row["survival"], row["low"], row["high"]) == (0.0, None, None)
    (row,) = survival([5.0], observed=[False]).to_pylist()
    assert (row["survival"], row["low"], row["high"]) == (1.0, None, None)
    (row,) = hazard([0.0], observed=[True]).to_pylist()
    assert (row["ended"], row["exposure"], row["rate"]) == (1, 0, None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"life": [1.0, None], "censored": [False, False]}, "column 'life' has a null"),
        ({"life": [1.0, float("nan")], "censored": [False, False]}, "column 'life' is nan in row 2"),
        ({"silence": [-1.0], "censored": [False]}, "column 'silence' is -1.0 in row 1"),
        ({"silence": [float("inf")], "censored": [False]}, "column 'silence' is inf"),
        ({"seconds": ["5"], "observed": ["yes"]}, "column 'observed' is string"),
        ({"seconds": [5.0], "observed": [None]}, "column 'observed' has a null"),
        ({"seconds": [5.0], "observed": [2]}, "column 'observed' has numbers other than 0 and 1"),
        ({"seconds": ["soon"], "observed": [True]}, "column 'seconds' is string"),
        ({"price": [5.0]}, "the columns price tell no durations: give the table of connections"),
    ],
)
def test_a_wrong_column_is_named(table: dict[str, Any], message: str) -> None:
    """A clear error that names the column, and never a NaN."""
    for function in (survival, hazard):
        with pytest.raises(UsageError, match=message):
            function(pa.table(table))


def test_wrong_use_is_told() -> None:
    """Each message says what to give instead."""
    table = spans(SIX_MP)
    with pytest.raises(UsageError, match="no column 'drug' to group by; there are seconds, observed"):
        survival(table, by="drug")
    with pytest.raises(UsageError, match="confidence must be below 1"):
        survival(table, confidence=1)
    with pytest.raises(UsageError, match=r"use survival\(outages, by='cause'\)"):
        incidence(outages(days(3, span=60.0).table()))
    with pytest.raises(UsageError, match="no column 'cause'"):
        incidence(table)
    with pytest.raises(UsageError, match="ages must rise, not 10, 5"):
        hazard(table, ages=[10, 5])
    with pytest.raises(UsageError, match="group 'other' is empty"):
        logrank(table, spans([]))
    with pytest.raises(UsageError, match="no end was seen while both 'one' and 'other' were still watched"):
        logrank(spans([-5]), spans([-6]))
    with pytest.raises(UsageError, match="2 durations, but 1 values of observed"):
        survival([1.0, 2.0], observed=[True])
    with pytest.raises(UsageError, match="int is no table"):
        survival(3)
    with pytest.raises(UsageError, match=r"takes the table that survival\(\) returned"):
        quantiles(table)


def test_importing_the_study_does_not_load_scipy() -> None:
    """Whoever only wants outages does not wait for statistics."""
    code = "import sys, wsresearch.study; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
