"""``python -m tests.drill``: play every fault again and again, print what came of it, and the seed of each failure.

``--only NAME --seed N --runs 1`` plays one run again, exactly as it was: everything random in it comes from the seed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from benchmarks.undisturbed import undisturbed
from tests.drill.again import played
from tests.drill.judge import Verdict
from tests.drill.scenario import Scenario, Section
from tests.drill.table import SCENARIOS

_COLUMNS = (
    f"{'runs':>6}{'lost':>6}{'allowed':>10}{'dupl.':>7}{'holes':>7}{'leaks':>7}"
    f"{'noticed':>9}{'recovery':>10}{'stop':>8}{'failed':>8}"
)
"""Sums of rows, holes that are wrong and things held; the slowest noticing, recovery and stop.

Rows that are allowed to be missing are those of kills and cuts, and those that were dropped and counted."""
_SUMS = ("lost", "allowed", "duplicated", "holes_wrong", "leaks")


def main() -> int:
    """Play what was asked for; exit code 1 if any run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="how often each is played, long ones a tenth of it (200)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run; each later one has the next (1)")
    parser.add_argument("--only", default="", metavar="NAME", help="only faults whose name contains this")
    parser.add_argument("--section", choices=[str(section) for section in Section], help="only these")
    parser.add_argument("--jobs", type=int, default=2, help="runs at one time (2)")
    parser.add_argument("--list", action="store_true", help="print what there is, and play nothing")
    asked = parser.parse_args()
    exact = [scenario for scenario in SCENARIOS if scenario.name == asked.only]
    chosen = exact or [
        scenario
        for scenario in SCENARIOS
        if asked.only.lower() in scenario.name.lower() and asked.section in {None, str(scenario.section)}
    ]
    if not chosen:
        parser.error(f"no fault is called {asked.only!r}; --list shows all")
    if asked.list:
        for scenario in chosen:
            print(f"{scenario.section}: {scenario.name}\n    {scenario.injected}\n    {scenario.truth}")
        return 0
    # As Ctrl-C does it: the runs under way end their collectors.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("broken off by SIGTERM"))
    seeds = range(asked.seed, asked.seed + asked.runs)
    began = time.monotonic()
    failed = runs = unplayed = 0
    section = None
    for scenario, verdicts in played(chosen, seeds, jobs=asked.jobs):
        if scenario.section is not section:
            section = scenario.section
            print(f"\n{section:<50}{_COLUMNS}")
        if why := next((one.not_played for one in verdicts.values() if one.not_played), ""):
            unplayed += 1
            print(f"{scenario.name:<50}NOT PLAYED: {why}", flush=True)
            continue
        bad = {seed: verdict for seed, verdict in verdicts.items() if not verdict.is_well}
        runs, failed = runs + len(verdicts), failed + len(bad)
        print(_line(scenario, list(verdicts.values()), len(bad)), flush=True)
        for seed, verdict in list(bad.items())[:5]:
            print(f'    seed {seed}: python -m tests.drill --only "{scenario.name}" --seed {seed} --runs 1')
            for problem in verdict.problems[:5]:
                print(f"        {problem[:400]}", flush=True)
    left = f" ({unplayed} not played)" if unplayed else ""
    print(f"\n{len(chosen)} faults{left}, {runs} runs, {failed} failed, {time.monotonic() - began:.0f} s")
    with undisturbed() as is_first:
        print(
            "background collectors had real-time priority: read their times as those of a machine that is theirs"
            if is_first
            else "no real-time priority was granted: times are those of a machine that has other work too"
        )
    return 1 if failed else 0


def _line(scenario: Scenario, verdicts: list[Verdict], bad: int) -> str:
    sums = [sum(getattr(one, name) for one in verdicts) for name in _SUMS]
    slowest = [
        max((value for one in verdicts if (value := getattr(one, name)) is not None), default=None)
        for name in ("noticed", "recovery", "stop")
    ]
    told = ["" if value is None else f"{value:.2f} s" for value in slowest]
    counts = f"{len(verdicts):>6}{sums[0]:>6}{sums[1]:>10,}{sums[2]:>7}{sums[3]:>7}{sums[4]:>7}"
    return f"{scenario.name:<50}{counts}{told[0]:>9}{told[1]:>10}{told[2]:>8}{bad:>8}"


if __name__ == "__main__":
    sys.exit(main())
