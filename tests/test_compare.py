"""Another policy over a capture's outages, from Python and from the command line, on the capture of `data/sample`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import wsresearch as wr
from wsresearch.cli import main
from wsresearch.study import COMPARISON, REPLAY, SURVIVAL, compare
from wsresearch.textreport import comparison_table

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"


@pytest.fixture(scope="module")
def capture() -> wr.Capture:
    return wr.open_capture(SAMPLE)


def test_a_capture_tells_how_long_things_last(capture: wr.Capture) -> None:
    """Connections by default, outages if asked; what else is given goes to the study."""
    lives, recoveries = capture.survival(), capture.survival("outages", by="cause")
    assert lives.schema.equals(SURVIVAL)
    assert lives["at_risk"][0].as_py() == 17
    assert "reset" in recoveries["group"].to_pylist()
    with pytest.raises(wr.UsageError, match="survival is of connections or of outages, not of 'trades'"):
        capture.survival("trades")


def test_a_capture_replays_a_policy(capture: wr.Capture) -> None:
    """One call: the table of the study, over this capture's outages."""
    table = capture.replay("constant(delay=2)", repetitions=1)
    assert table.schema.equals(REPLAY)
    assert len(table) == 2 * len(capture.outages())


def test_the_policy_of_the_capture_comes_first_and_brackets_what_was_observed(capture: wr.Capture) -> None:
    """`as recorded` is the configured policy with its reset rule and budget; the others share the latter two."""
    table = capture.compare(["constant", "grpc"], repetitions=50)
    assert table.schema.equals(COMPARISON)
    assert table["policy"].to_pylist() == ["as recorded", "constant", "grpc"]
    own = table.to_pylist()[0]
    assert own["rules"] == "full-jitter(base=0.5, cap=8.0, floor=0.1), reset stable:8"
    assert own["median_low"] <= np.median(capture.outages()["silence"].to_numpy()) <= own["median_high"]
    assert [rules.rsplit(" ", 1)[1] for rules in table["rules"].to_pylist()] == ["stable:8", "stable:8", "open"]


def test_the_command_line_compares(capsys: pytest.CaptureFixture[str]) -> None:
    """`report --compare` adds a table below the outages; a comma within parentheses belongs to a policy."""
    policies = "constant(delay=2, max_attempts=5), seed-java-websocket"
    assert main(["report", str(SAMPLE), "--compare", policies]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    head = next(at for at, line in enumerate(lines) if "outages replayed" in line)
    assert lines[head].startswith("10 outages replayed")
    assert [line.split("  ")[0] for line in lines[head + 2 :]] == [
        "as recorded",
        "constant(delay=2, max_attempts=5)",
        "seed-java-websocket",
    ]
    assert "replayed" in err


def test_the_command_line_compares_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One document, with the comparison beside what stands there without it; no NaN, which is no JSON."""
    assert main(["report", str(SAMPLE), "--compare", "seed-okhttp", "--json"]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert set(document) == {*wr.open_capture(SAMPLE).report(), "comparison"}
    assert [row["policy"] for row in document["comparison"]] == ["as recorded", "seed-okhttp"]
    assert set(document["comparison"][0]) == set(COMPARISON.names)


def test_a_policy_that_is_none_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong use: exit code 2, and the nearest name."""
    assert main(["report", str(SAMPLE), "--compare", "seed,ful-jitter"]) == 2
    err = capsys.readouterr().err
    assert "did you mean full-jitter" in err
    assert len(err.strip().splitlines()) == 1


def test_the_table_says_what_has_no_number() -> None:
    """What never ends is called never, what is not known is a question mark, and who says nothing ends silently."""
    downs = pa.table({"began": [0.0], "up_late": [400.0]})
    told = comparison_table(compare(["full-jitter", "seed", "seed-okhttp"], downs, repetitions=20)).splitlines()
    assert told[1].split()[:2] == ["policy", "recovered"]
    jitter, seed, okhttp = told[2:]
    assert "never" not in jitter
    assert "?" in jitter  # no rate was given
    assert seed.endswith("gave up")
    assert okhttp.endswith("silently")
    assert "never" in seed
    assert comparison_table(compare(["seed"], downs.slice(0, 0))) == "no outages to replay"
