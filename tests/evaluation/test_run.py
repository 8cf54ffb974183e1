"""`evaluate` from model folder to results.json: the base beside it, what is known of the run, what is refused."""

import json
import os
import signal
import subprocess
import sys

import pytest
import support
from evaluation.models import MICRO, MICRO_BASE, MICRO_DATA, adapter_on, copy_of, rows, suite_file, tiny

from llamafactory_dba.anchor.fingerprint import fingerprint_folder
from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation import measure as measuring
from llamafactory_dba.evaluation.measure import ModelSpec, unparsed_examples
from llamafactory_dba.evaluation.questions import Place
from llamafactory_dba.evaluation.results import read_results
from llamafactory_dba.evaluation.run import evaluate, save_answers
from llamafactory_dba.evaluation.run_results import PREVIOUS, About
from llamafactory_dba.evaluation.summary import summarise
from llamafactory_dba.training.record import RunRecord, write_record


pytest.importorskip("lm_eval", reason="lm_eval is in the extra `eval`")
HERE = Place(MICRO_DATA, None)


@pytest.fixture
def run(tmp_path):
    """A run folder: the micro model, as if trained from micro-base."""
    return copy_of(MICRO, tmp_path / "runs" / "dba")


@pytest.fixture
def mine(tmp_path):
    """A suite of two small tasks, and a tiny model."""
    return suite_file(tmp_path / "mine", first=rows(6), second=rows(6, "blue"))


def go(model, *names, place=HERE, **settings):
    spec = settings.pop("spec", {})
    return evaluate(names, ModelSpec(str(model), device="cpu", **spec), place=place, limit=8, **settings)


def record(folder, base=MICRO_BASE, **changes) -> None:
    known = {
        "method": "dba",
        "cost": {"wall_seconds": 12.5, "tokens": 1000, "step_overhead": 0.02},
        "seed": 7,
        "base_model": str(base),
        "base_fingerprint": fingerprint_folder(base).total,
        "settings": {"learning_rate": 1e-4},
        "machine": {"cores": 64},
        "versions": {"torch": "1.0"},
        "data": {"finance": "ab" * 32},
    }
    write_record(RunRecord(**{**known, **changes}), folder)


def test_results_say_what_the_runs_record_says(run):
    record(run)
    outcome = go(run, "micro_finance")
    results = read_results(run)
    assert results == outcome.results
    assert (results.run.method, results.run.seed, results.run.domain) == ("dba", 7, "finance")
    assert results.run.base_fingerprint == fingerprint_folder(MICRO_BASE).total
    assert results.run.settings["learning_rate"] == 1e-4
    assert (results.cost.wall_seconds, results.cost.tokens, results.cost.step_overhead) == (12.5, 1000, 0.02)
    assert results.cost.energy_joules is None, "not measured is not 0"
    assert results.machine["cores"] == 64 and results.machine["evaluation"]["cores"] == os.cpu_count()
    assert results.versions["torch"] == "1.0" and results.versions["lm_eval"].startswith("0.4")
    assert results.data["finance"] == "ab" * 32 and len(results.data["micro_finance (questions)"]) == 64
    how = results.run.settings["evaluation"]
    assert (how["template"], how["dtype"], how["limit"]) == ("auto", "float32", 8)


def test_the_base_model_of_the_record_is_measured_beside_it(run):
    record(run)
    outcome = go(run, "micro_finance")
    assert outcome.base_path == run.parent / "base" / "results.json"
    assert read_results(run).base == "../base"
    base = read_results(outcome.base_path)
    assert base.run.method == "base" and base.run.base_fingerprint == fingerprint_folder(MICRO_BASE).total
    summary = summarise(read_results(run), base)
    assert summary == outcome.summary
    assert summary.delta_s_g == pytest.approx(summary.s_g - sum(t.value for t in base.tasks[1:]) / 6)
    assert all(change.test is not None for change in summary.tasks)


def test_what_the_user_says_goes_before_the_record(run):
    record(run)
    about = About(name="mine", method="other", domain="law", seed=3)
    named = go(run, "micro_general", base="none", about=about).results.run
    assert (named.name, named.method, named.domain, named.seed) == ("mine", "other", "law", 3)


def test_a_model_alone_is_a_base_model(run):
    outcome = go(run, "micro_general")
    assert outcome.results.run.method == "base" and outcome.base is None
    assert outcome.results.run.base_fingerprint == fingerprint_folder(MICRO).total
    assert outcome.summary.kept is None and outcome.summary.delta_s_g is None


def test_an_unknown_base_is_missing_and_said(run):
    record(run, base_model="nobody/has-this")
    outcome = go(run, "micro_general")
    assert outcome.base is None and outcome.results.base is None
    assert any("nobody/has-this was not found from here" in note for note in outcome.notes)
    assert all(change.delta is None for change in outcome.summary.tasks)


def test_another_base_than_the_runs_is_refused(run, tmp_path):
    record(run)
    with pytest.raises(DBAError, match="another base model"):
        go(run, "micro_general", base=str(MICRO))
    elsewhere = go(copy_of(MICRO, tmp_path / "plain"), "micro_general", out=tmp_path / "out").path
    with pytest.raises(DBAError, match="another base model"):
        go(run, "micro_general", base=str(elsewhere))


def test_finished_base_results_are_enough(run, tmp_path):
    base = go(MICRO_BASE, "micro_general", out=tmp_path / "elsewhere").path
    record(run)
    outcome = go(run, "micro_general", "micro_finance", base=str(base))
    assert (run / outcome.results.base / "results.json").resolve() == base.resolve()
    assert outcome.summary.kept > 100 and outcome.summary.delta_s is None
    assert "not measured on the base model: micro_finance" in outcome.notes
    with pytest.raises(DBAError, match="different versions"):
        evaluate(["micro_general"], ModelSpec(str(run), device="cpu"), place=HERE, base=str(base))


def test_a_limit_is_a_version_of_its_own(run):
    assert {task.task_version for task in go(run, "micro_general").results.tasks} == {"1+limit 8"}
    full = evaluate(["micro_general"], ModelSpec(str(run), device="cpu"), place=HERE)
    assert {task.task_version for task in full.results.tasks} == {"1"}
    assert any(PREVIOUS in note for note in full.notes)
    assert {task.task_version for task in read_results(run / PREVIOUS).tasks} == {"1+limit 8"}


def test_a_second_suite_joins_the_first_of_the_same_model(run):
    go(run, "micro_finance", base="none")
    outcome = go(run, "micro_law", base="none")
    assert [task.task for task in outcome.results.tasks][:2] == ["micro_finance", "micro_law"]
    assert len(outcome.results.tasks) == 8, "the general tasks are there once"
    go(copy_of(MICRO_BASE, run.parent / "other"), "micro_news", out=run)
    assert len(read_results(run).tasks) == 7, "another model's scores do not mix with them"
    assert len(read_results(run / PREVIOUS).tasks) == 8
    again = go(MICRO, "micro_general", out=run)
    assert any("results.previous.2.json" in note for note in again.notes)
    assert (
        len(read_results(run / PREVIOUS).tasks) == 8 and len(read_results(run / "results.previous.2.json").tasks) == 7
    )


def test_an_adapter_is_compared_with_the_model_under_it(tmp_path, mine):
    model = tiny(tmp_path / "model")
    adapter = adapter_on(model, tmp_path / "runs" / "lora")
    outcome = go(model, str(mine), place=Place(mine.parent, None), spec={"adapter": str(adapter)})
    assert outcome.path == adapter / "results.json"
    assert outcome.base is not None and outcome.base.run.method == "base"
    assert outcome.results.run.method == "fine-tuned"
    # a fresh adapter changes nothing
    assert [task.per_sample for task in outcome.results.tasks] == [task.per_sample for task in outcome.base.tasks]


def test_answers_that_cannot_be_read_are_shown_and_saved(run, tmp_path):
    outcome = go(run, "micro_finance")
    done = outcome.measurement.done[0]
    assert done.measured[0].unparsed == 8  # this model never saw the labels
    examples = unparsed_examples(done, 3)
    assert len(examples) == 3 and examples[0][0] == done.asked.questions.questions[0].prompt
    assert unparsed_examples(outcome.measurement.done[2], 3) == [] and outcome.measurement.done[2].measured[0].n == 8
    paths = save_answers(outcome.measurement, tmp_path / "answers")
    lines = [json.loads(line) for line in paths[0].read_text(encoding="utf-8").splitlines()]
    assert len(paths) == 7 and len(lines) == 8
    assert lines[0].keys() == {"prompt", "reference", "text", "truncated", "score"} and lines[0]["score"] == 0


def test_missing_data_is_an_error_before_any_model_loads(run, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring, "_Engine", None)  # loading would fail otherwise
    with pytest.raises(DBAError, match=r"data of .* is not there"):
        go(run, "micro_finance", place=Place(tmp_path / "nothing", None))
    with pytest.raises(DBAError, match="data of tfns"):
        go(run, "tfns", place=Place(tmp_path, None))


def test_a_model_without_chat_template_is_refused_before_its_data_is_read(tmp_path):
    bare = tiny(tmp_path / "bare", chat=False)
    with pytest.raises(DBAError, match="no chat template"):
        go(bare, "tfns", place=Place(tmp_path, None))


def test_what_is_unknown_is_refused(run, tmp_path):
    with pytest.raises(DBAError, match="no suite and no task named 'micro_finanse'") as caught:
        go(run, "micro_finanse")
    assert "micro_finance" in str(caught.value.expected)
    with pytest.raises(DBAError, match="Nothing is to be measured"):
        go(run, " ")
    with pytest.raises(DBAError, match="batch size"):
        go(run, "micro", spec={"batch_size": "0"})
    with pytest.raises(DBAError, match="no such value"):
        go(run, "micro", spec={"dtype": "int3"})
    with pytest.raises(DBAError, match="vLLM is not installed"):
        go(run, "micro_general", spec={"backend": "vllm"})
    with pytest.raises(DBAError, match="device cannot be used"):
        evaluate(["micro_general"], ModelSpec(str(run), device="cuda:99"), place=HERE)


def test_a_place_that_cannot_be_written_is_refused_first(run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DBAError, match="can be written"):
        go(run, "micro_general", out=tmp_path / "file")
    with pytest.raises(DBAError, match="kept in the cache"):
        go(run, "micro_general", cache=tmp_path / "file")


def test_lm_eval_missing_names_the_extra(run, monkeypatch):
    monkeypatch.setattr(measuring, "find_spec", lambda name: None)
    with pytest.raises(DBAError, match="not installed") as caught:
        go(run, "micro_general")
    assert "llamafactory-dba[eval]" in str(caught.value)


def test_kept_answers_are_not_asked_again(run, tmp_path, monkeypatch):
    first = go(run, "micro_finance", cache=tmp_path / "cache")
    monkeypatch.setattr(measuring, "_Engine", None)
    again = go(run, "micro_finance", cache=tmp_path / "cache")
    assert again.results.tasks == first.results.tasks
    assert all(done.cached for done in again.measurement.done)


def test_changed_weights_are_asked_again(run, tmp_path):
    go(run, "micro_finance", cache=tmp_path / "cache")
    for name in ("model.safetensors", "config.json"):
        (run / name).write_bytes((MICRO_BASE / name).read_bytes())
    again = go(run, "micro_finance", cache=tmp_path / "cache")
    assert not any(done.cached for done in again.measurement.done)


CHILD = """
import sys
import time
from pathlib import Path
from llamafactory_dba.evaluation.measure import ModelSpec
from llamafactory_dba.evaluation.questions import Place
from llamafactory_dba.evaluation.run import evaluate
import llamafactory_dba.evaluation.engine as engine
original = engine.ask
def ask(model, prompting, task, questions):
    if task.name == "second":
        print("second", flush=True)
        time.sleep(600)
    return original(model, prompting, task, questions)
engine.ask = ask
model, suite, cache = sys.argv[1:]
evaluate([suite], ModelSpec(model, device="cpu"), place=Place(Path(suite).parent, None), cache=Path(cache))
"""


def test_a_killed_run_goes_on_with_the_next_task(tmp_path, mine):
    model, cache = tiny(tmp_path / "model"), tmp_path / "cache"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(model), str(mine), str(cache)],
        stdout=subprocess.PIPE,
        text=True,
        env=support.environment(HF_HUB_OFFLINE="1"),
    )
    try:
        assert child.stdout.readline() == "second\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (model / "results.json").exists()
    (kept,) = cache.glob("*/first-*.json")
    before = kept.read_bytes()
    outcome = evaluate([str(mine)], ModelSpec(str(model), device="cpu"), place=Place(mine.parent, None), cache=cache)
    assert [(done.asked.task.name, done.cached) for done in outcome.measurement.done] == [
        ("first", True),
        ("second", False),
    ]
    assert kept.read_bytes() == before
    assert not [path for path in cache.rglob(".*") if path.is_file()], "no half-written file is left"
