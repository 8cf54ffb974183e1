"""The suites: what the paper measures, and the micro world, whose tasks are those of evaluation/micro.py."""

import importlib.util
import json
import tomllib
from pathlib import Path

import pytest

from llamafactory_dba.data.catalogue import catalogue
from llamafactory_dba.data.converters.lawbench import TASKS
from llamafactory_dba.data.micro.domains import DOMAINS
from llamafactory_dba.data.micro.skills import SKILLS
from llamafactory_dba.evaluation.definitions import FOLDERS, known_suites, known_tasks, load_suite, load_task
from llamafactory_dba.evaluation.metrics.lawbench import score_lawbench
from llamafactory_dba.evaluation.micro import LABELS, MAX_NEW_TOKENS


ROOT = Path(__file__).parents[2]


def test_suites_of_the_paper():
    general = load_suite("general")
    assert list(general.tasks) == ["mmlu", "mmlu_pro", "cmmlu", "gsm8k", "math", "m3exam"]
    assert set(general.tasks.values()) == {"general"} and general.optional == ("m3exam",)
    finance = load_suite("finance")
    assert list(finance.tasks) == ["fpb", "fiqa", "tfns", "nwgi"]
    assert {finance.task(name).metric for name in finance.tasks} == {"weighted_f1"}
    law = load_suite("law")
    assert [law.task(name).options["task"] for name in law.tasks] == list(TASKS)
    for name in ("finance", "medicine", "law", "news"):
        assert set(load_suite(name).tasks.values()) == {"domain"}


def test_every_task_is_in_a_suite_but_one_for_trying_out():
    used = {task for name in known_suites() for task in load_suite(name).tasks}
    assert set(known_tasks()) - used == {"micro_text"}


def test_a_task_of_lawbench_is_one_file_and_one_metric():
    """Names of metrics are those of the scorer, in letters that a file name may have."""
    for name in load_suite("law").tasks:
        task = load_task(name)
        place = str(task.options["task"])
        assert (task.file, task.select) == (f"{place}.json", {"task": place}), name
        answer = {
            "1-2": "正确答案：A。",
            "2-2": "争议焦点类别：违约。",
            "2-8": "[正确答案]A<eoa>",
            "3-6": "正确答案:A。",
        }
        rows = [{"question": "甲乙", "answer": answer.get(place, "侵权" if place == "2-4" else "刑期:3个月")}]
        metric = score_lawbench(place, rows, ["A"], segment="characters").metric
        assert metric.removesuffix(" (characters)").lower().replace("-", "_").replace(" ", "_") == task.metric, name


def test_micro_tasks_are_those_of_the_light_evaluator():
    suite = load_suite("micro")
    assert list(suite.tasks) == [f"micro_{name}" for name in (*DOMAINS, *SKILLS)]
    for name in (*SKILLS, *DOMAINS):
        task = suite.task(f"micro_{name}")
        assert suite.tasks[task.name] == ("domain" if name in DOMAINS else "general")
        assert task.max_new_tokens == MAX_NEW_TOKENS and task.scorer == "exact" and not task.ask
        assert tuple(task.options.get("labels", ())) == LABELS.get(name, ())
        assert task.dataset == f"micro_{name if name in DOMAINS else 'general'}_test" and task.select == {
            "skill": name
        }
    for domain in DOMAINS:
        one = load_suite(f"micro_{domain}").tasks
        assert one == {f"micro_{domain}": "domain", **{f"micro_{skill}": "general" for skill in SKILLS}}
    entries = json.loads((ROOT / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    assert {suite.task(name).dataset for name in suite.tasks} <= entries.keys()


def test_the_wheel_has_the_definitions():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package = ROOT / "src" / "llamafactory_dba"
    packed = {path for pattern in settings["package-data"]["llamafactory_dba"] for path in package.glob(pattern)}
    files = {path for folder in FOLDERS for path in folder.glob("*.yaml")}
    assert files and files <= packed


def test_the_documented_tables_are_those_of_the_files():
    path = ROOT / "scripts" / "update_evaluation.py"
    spec = importlib.util.spec_from_file_location("update_evaluation", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert script.document(text) == text, "run `python scripts/update_evaluation.py`"


@pytest.mark.parametrize("name", known_tasks())
def test_a_corpus_is_cited_and_asked_in_its_language(name):
    task = load_task(name)
    for each in task.source:
        source = catalogue()[each]
        assert not source.citation or task.citation == source.citation or "arXiv" in task.citation
        assert set(source.language.split(",")) <= set(task.language.split(","))
        assert source.test_only or task.split != "train" or task.output == "perplexity"
