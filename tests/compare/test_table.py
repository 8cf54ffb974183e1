"""compare.json against sums by hand: two domains, two seeds, one run that diverged, one that is missing."""

import math
import re
from statistics import fmean, stdev

import pytest

from llamafactory_dba.compare.output import summarise, table
from llamafactory_dba.compare.plan import make_plan
from llamafactory_dba.compare.state import DIVERGED, DONE, Status
from llamafactory_dba.compare.suite import parse_suite
from tests.compare.worlds import smoke


# method, domain, seed -> (S_D, S_G)
SCORES = {
    ("direct", "finance", 1): (90.0, 40.0),
    ("direct", "finance", 2): (94.0, 44.0),
    ("direct", "law", 1): (70.0, 50.0),
    ("direct", "law", 2): (74.0, 46.0),
    ("dba", "finance", 1): (80.0, 60.0),
    ("dba", "finance", 2): (84.0, 64.0),
    ("dba", "law", 1): (60.0, 66.0),
}
HALFWAY = {1: (50.0, 80.0), 2: (60.0, 70.0)}  # of the points between base and direct, both domains
BASE = (10.0, 95.0)


def harmonic(pair: tuple[float, float]) -> float:
    return 2 * pair[0] * pair[1] / (pair[0] + pair[1])


def scores(pair: tuple[float, float]) -> dict:
    tasks = {"recall": {"role": "general", "value": pair[1]}, "finance": {"role": "domain", "value": pair[0]}}
    return {"s_d": pair[0], "s_g": pair[1], "s": harmonic(pair), "tasks": tasks}


@pytest.fixture(scope="module")
def found():
    raw = smoke()
    raw["domains"]["law"] = {"dataset": "micro_law_train", "evaluate": ["micro_law"]}
    raw["methods"]["wise"] = {"of": "direct", "frontier": [0.5]}
    plan = make_plan(parse_suite(raw))
    statuses = {base.folder: Status(base.hash, DONE, scores=scores(BASE)) for base in plan.bases}
    for run in plan.runs:
        key = (run.method, run.domain, run.seed)
        if run.of:
            points = ({"alpha": 0.5, "results": "r", **scores(HALFWAY[run.seed])},)
            statuses[run.folder] = Status(run.hash, DONE, points=points)
        elif key in SCORES:
            statuses[run.folder] = Status(run.hash, DONE, 10.0 * run.seed, scores=scores(SCORES[key]))
        elif key == ("dba", "law", 2):
            statuses[run.folder] = Status(run.hash, DIVERGED, 5.0, "grad_norm is nan")
    return summarise(plan, statuses, [])


def of(entries: list[dict], **where) -> dict:
    (entry,) = [entry for entry in entries if all(entry[key] == value for key, value in where.items())]
    return entry


def test_cells_are_means_over_seeds(found):
    cell = of(found["cells"], domain="finance", label="direct")
    values = [harmonic((90, 40)), harmonic((94, 44))]
    # float64 sums of two numbers: one rounding
    assert cell["s"]["mean"] == pytest.approx(fmean(values), rel=1e-15)
    assert cell["s"]["std"] == pytest.approx(stdev(values), rel=1e-14)
    assert (cell["s_d"]["mean"], cell["s_d"]["n"], cell["n"], cell["diverged"]) == (92.0, 2, 2, 0)
    lost = of(found["cells"], domain="law", label="dba")
    assert (lost["n"], lost["diverged"], lost["missing"]) == (1, 1, 0)
    assert lost["s_d"] == {"mean": 60.0, "std": None, "n": 1}


def test_a_method_is_averaged_over_domains_seed_by_seed(found):
    direct = of(found["methods"], label="direct")
    by_seed = [(90 + 70) / 2, (94 + 74) / 2]
    assert direct["s_d"] == {"mean": fmean(by_seed), "std": pytest.approx(stdev(by_seed)), "n": 2}
    s = [
        (harmonic(SCORES["direct", "finance", seed]) + harmonic(SCORES["direct", "law", seed])) / 2 for seed in (1, 2)
    ]
    assert direct["s"]["mean"] == pytest.approx(fmean(s), rel=1e-15)
    assert direct["seconds"]["mean"] == 15.0
    assert direct["step_overhead"] is None
    assert direct["general"] == {"recall": 45.0}
    dba = of(found["methods"], label="dba")
    # seed 2 lacks a domain: a mean over the other alone would be of something else
    assert (dba["s_d"]["n"], dba["n"], dba["diverged"], dba["missing"]) == (1, 3, 1, 0)
    assert dba["s_d"]["mean"] == 70.0


def test_differences_are_over_the_pairs_that_both_have(found):
    entry = of(found["differences"], label="dba", base="micro-instruct")
    keys = [("finance", 1), ("finance", 2), ("law", 1)]
    deltas = [harmonic(SCORES["dba", *key]) - harmonic(SCORES["direct", *key]) for key in keys]
    assert entry["mean"] == pytest.approx(fmean(deltas), rel=1e-12)
    assert (entry["n"], entry["lost"], entry["reference"]) == (3, 1, "direct")
    assert entry["low"] < entry["mean"] < entry["high"]
    # the bootstrap's error is √((n - 1)/n)·std/√n; 10,000 draws know it to 0.7 %, four times that
    assert entry["se"] == pytest.approx(math.sqrt(2 / 3) * stdev(deltas) / math.sqrt(3), rel=0.028)


def test_forgetting_at_equal_domain_score(found):
    """DBA against the line from the base (10, 95) over the point halfway to direct fine-tuning."""
    entry = of(found["matched"], curve="direct (wise)", label="dba")
    # finance 1: between (50, 80) and (90, 40) at 80: 50. finance 2: between (60, 70) and (94, 44) at 84.
    # law 1: between (50, 80) and (70, 50) at 60: 65.
    line = 70 + (84 - 60) / (94 - 60) * (44 - 70)
    deltas = [60 - 50, 64 - line, 66 - 65]
    assert entry["mean"] == pytest.approx(fmean(deltas), rel=1e-12)
    assert (entry["n"], entry["without"], entry["above"]) == (3, 0, 0)
    assert not [e for e in found["matched"] if e["label"] == "direct"], "no method against its own curve"


def test_the_table_says_all_of_it(found):
    text = table(found)
    assert "| base model | 10.00 | 95.00 |" in text
    assert "| dba | 70.00 | 63.00 |" in text
    assert "(1 diverged)" in text
    assert "| micro-instruct | direct (wise) | dba |" in text
    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_along_the_steps_of_runs_that_the_gauge_watched():
    """Both in the gauge's own units: direct passes 60 % halfway between its steps 10 and 20, with 70 % kept."""
    plan = make_plan(parse_suite(smoke(seeds=[1])))
    statuses = {base.folder: Status(base.hash, DONE, scores=scores(BASE)) for base in plan.bases}
    gauges = {
        "direct": [[0, 0.0, 90.0], [10, 40.0, 80.0], [20, 80.0, 60.0]],
        "dba": [[0, 0.0, 90.0], [20, 60.0, 75.0]],
    }
    for run in plan.runs:
        found = {**scores((99.0, 10.0)), "gauge": gauges[run.method]}
        statuses[run.folder] = Status(run.hash, DONE, scores=found)
    matched = summarise(plan, statuses, [])["matched"]
    entry = of(matched, curve="direct (steps, gauge)", label="dba")
    assert (entry["mean"], entry["n"]) == (pytest.approx(75 - 70), 1)
    other = of(matched, curve="dba (steps, gauge)", label="direct")
    assert (other["mean"], other["without"], other["above"]) == (None, 1, 1)  # direct learned more than dba ever has
    assert "no overlap" in other["why"][0]


def test_what_was_not_measured_is_no_number(found):
    wise = of(found["methods"], label="wise [alpha=0.5]")
    assert wise["seconds"] is None and wise["s_d"]["mean"] == 55.0
