"""Losses on docs/results.md, against sums by hand; files of before losses had names of their own."""

import pytest

from benchmarks.compare_page import losses
from llamafactory_dba.compare.measure import scores_of
from llamafactory_dba.evaluation.results import Results, Run, TaskResult


def task(role, value, metric="accuracy"):
    return {"role": role, "value": value, "metric": metric}


def loss(value, metric="answer_loss_nats"):
    return task("loss", value, metric)


BASE = {
    "tweets": task("domain", 5.0),
    "topics": task("general", 80.0),
    "tweets (loss)": loss(9.0),
    "topics (loss)": loss(1.0),
    "trivia (loss)": loss(3.0),
    "novels (loss)": loss(4.0, "text_loss_nats_per_token"),
}


def run(label, seed, domain, topics, trivia, novels, mark=" (loss)", state="done"):
    values = {"tweets": domain, "topics": topics, "trivia": trivia, "novels": novels}
    tasks = {f"{name}{mark}": {"role": "loss", "value": value} for name, value in values.items()}
    tasks |= {"topics": {"role": "general", "value": 70.0}} if mark else {}
    return {"base": "base", "label": label, "seed": seed, "state": state, "tasks": tasks if state == "done" else {}}


@pytest.fixture
def found():
    runs = [
        run("direct", 0, 1.0, 2.0, 4.0, 5.0),
        run("direct", 1, 2.0, 3.0, 5.0, 5.5, mark=""),  # an older file: the loss took the name
        run("direct", 2, 0, 0, 0, 0, state="diverged"),
        run("elastic_kronecker", 0, 1.5, 1.0, 3.2, 4.0),
    ]
    score = {"mean": 50.0, "std": None, "n": 1}
    methods = [
        {"base": "base", "label": label, "method": label, "setting": {}, "s": {**score, "mean": 50.0 - place}}
        for place, label in enumerate(("elastic_kronecker", "direct"))
    ]
    return {"bases": [{"base": "base", "domain": "x", "tasks": BASE}], "runs": runs, "methods": methods}


def test_the_table_has_means_over_models(found):
    assert losses.table(found).splitlines() == [
        "| method | domain answers | general answers | plain text | models |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| base model | 9.000 | 2.000 | 4.000 |  |",
        "| **`elastic_kronecker`** | 1.500 | 2.100 | 4.000 | 1 |",
        "| `direct` | 1.500 ± 0.707 | 3.500 ± 0.707 | 5.250 ± 0.354 | 2 |",
    ]


def test_the_keys(found):
    facts = losses.facts(found, "suite")
    assert facts["suite.base.base.loss_general"] == 2.0
    assert facts["suite.base.direct.loss_general"].mean == 3.5
    assert facts["suite.base.elastic_kronecker.loss_text"].error is None


def test_a_suite_without_losses_has_no_table(found):
    bare = {name: each for name, each in BASE.items() if each["role"] != "loss"}
    runs = [{**each, "tasks": {}} for each in found["runs"]]
    assert losses.table({**found, "bases": [{"base": "base", "domain": "x", "tasks": bare}], "runs": runs}) == ""


def test_a_score_and_a_loss_of_one_task_are_both_kept():
    """They had one name: the loss replaced the score, and no table by skill could be made."""
    tasks = (
        TaskResult("s", "tweets", "1", "domain", "accuracy", 50.0, 10),
        TaskResult("s", "topics", "1", "general", "accuracy", 80.0, 10),
        TaskResult("s", "topics", "1", "loss", "answer_loss_nats", 0.25, 10),
    )
    kept = scores_of(Results(Run("name", "direct", "x", "base"), tasks))["tasks"]
    assert {name: each["value"] for name, each in kept.items()} == {
        "tweets": 50.0,
        "topics": 80.0,
        "topics (loss)": 0.25,
    }
