"""The benchmark's runs as results.json: the same S as its own summary, and nothing made up."""

import json

import pytest

from benchmarks.real_small.paths import RESULTS
from benchmarks.real_small.to_results import convert
from llamafactory_dba.evaluation.results import read_results
from llamafactory_dba.evaluation.summary import summarise
from llamafactory_dba.reporting.page.collect import collect


FILES = sorted(RESULTS.glob("real_small*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_report_shows_what_the_benchmark_says(file, tmp_path):
    result = json.loads(file.read_text("utf-8"))
    written = convert(result, tmp_path)
    assert len(written) == len(result["runs"]) + 1
    (group,) = collect([tmp_path]).groups
    found = {series.entries[0].results.run.method: series for series in group.series}
    assert found.keys() == result["summary"].keys()
    for method, expected in result["summary"].items():
        for ours, theirs in (("s_d", "S_D"), ("s_g", "S_G"), ("s", "S"), ("kept", "kept")):
            number = found[method].number(ours)
            assert (number.mean, number.n) == (pytest.approx(expected[theirs]["mean"]), expected[theirs]["n"])
            assert number.std == pytest.approx(expected[theirs]["std"])


def test_what_was_not_kept_is_missing(tmp_path):
    convert(json.loads(FILES[0].read_text("utf-8")), tmp_path)
    run, base = read_results(tmp_path / "dba_seed0"), read_results(tmp_path / "base")
    changes = summarise(run, base).tasks
    assert all(change.test is None and change.delta is not None for change in changes)
    assert {task.metric for task in run.tasks if task.role == "loss"} == {
        "answer_loss_nats",
        "text_loss_nats_per_token",
    }
    assert all(task.interval is not None for task in run.tasks if task.role != "loss")
    assert run.cost.tokens is None and base.cost.program_seconds is None
