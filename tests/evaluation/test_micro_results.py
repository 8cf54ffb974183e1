"""What the demo leaves for `llamafactory-dba report`: the micro world's scores as results.json."""

import json
from pathlib import Path

import pytest

from llamafactory_dba.demo import RunCost, save_results
from llamafactory_dba.evaluation.micro import MicroResult, Row, score_answers
from llamafactory_dba.evaluation.results import read_results
from llamafactory_dba.evaluation.summary import summarise
from llamafactory_dba.training.record import FILE, RunRecord, Segment, total_cost, write_record


ROOT = Path(__file__).parents[2]
ROWS = [
    Row("recall", "q", "1"),
    Row("recall", "q", "2"),
    Row("finance", "q", "positive"),
    Row("finance", "q", "negative"),
]


def write_scores(path, answers):
    scores = score_answers(ROWS, answers)
    general, domains = ({name: scores[name]} for name in ("recall", "finance"))
    path.write_text(json.dumps(MicroResult("m", general, domains, 1.0).to_json()))


def test_a_demo_run_is_compared_with_its_base(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_scores(tmp_path / "base.json", ["1", "2", "none", None])
    write_scores(tmp_path / "dba.json", ["1", "3", "positive", "negative"])
    (tmp_path / "dba").mkdir()
    segment = Segment(0, 5, 2.0, 1.5, 1, tokens=120, peak_host_bytes=2 * 10**9)
    inside = total_cost((segment,), anchor_bytes_on_disk=55, anchor_bytes_in_memory=77)
    about = {"settings": {"learning_rate": 1e-5}, "data": {"micro_finance_train": "ff"}}
    write_record(RunRecord("dba", inside, segments=(segment,), **about), tmp_path / "dba")
    base = read_results(save_results(tmp_path, "base", "micro-instruct", "finance"))
    run = read_results(
        save_results(tmp_path, "dba", "micro-instruct", "finance", 42, RunCost(3.0, 10**9), data={"none": ""})
    )
    found = summarise(run, base)
    assert (found.s_d, found.s_g, found.kept, found.delta_s_d) == (100.0, 50.0, pytest.approx(50.0), 100.0)
    finance, recall = found.tasks
    assert (finance.base.unparsed, finance.score.unparsed) == (2, 0)
    assert recall.score.per_sample == (1, 0) and recall.test is not None and recall.test_is_of_value
    assert (tmp_path / "dba" / run.base / "results.json").is_file()
    assert run.run.base_fingerprint == base.run.base_fingerprint != ""
    cost = run.cost
    assert (cost.wall_seconds, cost.program_seconds, cost.peak_host_bytes) == (2.0, 3.0, 2 * 10**9)
    assert (cost.anchor_bytes_on_disk, cost.anchor_bytes_in_memory, cost.tokens) == (55, 77, 120)
    assert (run.run.settings, run.data) == (about["settings"], about["data"])
    (tmp_path / "dba" / FILE).unlink()  # a run without a record: what was seen from outside
    (tmp_path / "dba" / "dba_run.json").write_text('{"anchor_bytes_in_memory": 66}')
    run = read_results(save_results(tmp_path, "dba", "micro-instruct", "finance", 42, RunCost(3.0, 10**9)))
    assert (run.cost.wall_seconds, run.cost.program_seconds, run.cost.peak_host_bytes) == (None, 3.0, 10**9)
    assert run.cost.anchor_bytes_in_memory == 66
