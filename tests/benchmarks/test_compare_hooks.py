"""The share of the hooks on docs/results.md, from the runs that measured it."""

import pytest

from benchmarks.compare_page import hooks


def run(label, share, state="done"):
    return {"base": "base", "label": label, "state": state, "step_overhead": share}


@pytest.fixture
def found():
    runs = [run("elastic", 0.02), run("elastic", 0.05), run("elastic", None), run("elastic", 0.9, "diverged")]
    runs += [run("direct", None), {"base": "base", "label": "direct", "state": "done"}]  # an older file
    methods = [
        {"base": "base", "label": label, "setting": {}, "s": {"mean": 50.0, "std": None, "n": 1}}
        for label in ("direct", "elastic")
    ]
    return {"bases": [{"base": "base"}], "runs": runs, "methods": methods}


def test_the_table(found):
    assert hooks.table(found).splitlines()[2:] == ["| `elastic` | 3.5 | 2.0–5.0 | 2 |"]


def test_the_keys(found):
    facts = hooks.facts(found, "suite")
    assert facts == {
        "suite.base.elastic.step_overhead": pytest.approx(3.5),
        "suite.base.elastic.step_overhead.high": pytest.approx(5.0),
    }


def test_without_any(found):
    assert hooks.table({**found, "runs": found["runs"][4:]}) == ""
