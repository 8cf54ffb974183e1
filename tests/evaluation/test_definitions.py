"""Tasks and suites as YAML: what the package defines, and what a user's own file may say."""

import pytest
import yaml

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.definition_checks import SUITE_KEYS, TASK_KEYS
from llamafactory_dba.evaluation.definitions import (
    FOLDERS,
    built_in,
    known_suites,
    known_tasks,
    load_suite,
    load_task,
    read_definitions,
)


TASK = {
    "version": "1",
    "title": "Mine",
    "citation": "me",
    "language": "en",
    "output": "generate",
    "scorer": "exact",
    "metric": "exact_match",
    "dataset": "mine_test",
    "max_new_tokens": 8,
}


def write(tmp_path, content, name="own.yaml"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def refusal(tmp_path, content, load=load_task):
    with pytest.raises(DBAError) as error:
        load(write(tmp_path, content))
    return str(error.value)


def test_every_task_of_the_package_says_what_it_is():
    for name in known_tasks():
        task = load_task(name)
        assert task.name == name and task.version and task.citation and task.title
        assert (task.output == "generate") == (task.max_new_tokens > 0), name
        assert all(note.endswith(".") for note in task.notes), name


def test_every_file_opens_with_its_purpose_and_all_are_read():
    paths = [path for folder in FOLDERS for path in folder.glob("*.yaml")]
    assert len(paths) >= 9
    assert all(path.read_text(encoding="utf-8").startswith("# ") for path in paths)
    found = read_definitions(sorted(paths))
    assert found.tasks == built_in().tasks and found.suites == built_in().suites


def test_a_users_own_file(tmp_path):
    content = {
        "defaults": {key: value for key, value in TASK.items() if key != "title"},
        "tasks": {
            "mine": {"title": "Mine", "notes": ["So."]},
            "other": {"title": "Other", "dataset": "other_test", "version": "2"},
        },
        "suites": {
            "own": {"version": "1", "title": "Own", "tasks": {"domain": ["mine", "other"], "general": ["gsm8k"]}}
        },
    }
    suite = load_suite(write(tmp_path, content))
    assert suite.tasks == {"mine": "domain", "other": "domain", "gsm8k": "general"}
    assert suite.task("other").version == "2" and suite.task("mine").notes == ("So.",)
    assert suite.task("gsm8k") == load_task("gsm8k")
    assert load_task(write(tmp_path, {"tasks": {"mine": TASK}})).dataset == "mine_test"
    assert "mine" not in known_tasks() and "own" not in known_suites()


@pytest.mark.parametrize(
    "load, name, near",
    [(load_task, "mmluu", "mmlu"), (load_suite, "finanse", "finance"), (load_suite, "xyz", "micro")],
)
def test_an_unknown_name_is_met_with_the_nearest(load, name, near):
    with pytest.raises(DBAError, match=near) as error:
        load(name)
    assert name in error.value.what and "YAML" in error.value.next_step


def test_all_problems_are_reported_together(tmp_path):
    wrong = {
        **TASK,
        "version": 1,
        "scorrer": "exact",
        "scorer": "exakt",
        "output": "write",
        "select": "all",
        "notes": "one",
        "file": "x.jsonl",
    }
    suite = {"version": "1", "title": "S", "tasks": {"domein": ["mine"]}, "optional": ["gone"]}
    said = refusal(tmp_path, {"tasks": {"mine": wrong, "b d": TASK}, "suites": {"s": suite}, "task": {}})
    for part in (
        "problems in the definitions",
        'version must be a text, not 1: write it in quotes, "…"',
        "unknown key 'scorrer', perhaps scorer",
        "unknown scorer 'exakt', perhaps exact",
        "unknown output 'write'",
        "select must map",
        "notes must be a list",
        "dataset and file",
        "task b d: its name",
        "unknown role 'domein', perhaps domain",
        "optional names 'gone'",
        "unknown key 'task', perhaps tasks",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    "change, said",
    [
        ({"max_new_tokens": 0}, "max_new_tokens is needed"),
        ({"max_new_tokens": "many"}, "not 'many'"),
        ({"dataset": ""}, "one of source, dataset and file"),
        ({"split": "test"}, "split is for a source"),
        ({"dataset": "", "source": "mmlo", "split": "test"}, "no corpus 'mmlo', perhaps mmlu"),
        ({"dataset": "", "source": "mmlu"}, "mmlu has the splits"),
        ({"dataset": "", "source": "ceval", "split": "test"}, "no public answers"),
        ({"dataset": "", "source": "medmcqa", "split": "test"}, "answers are hidden"),
        ({"dataset": "", "source": 3}, "source must be the name"),
        ({"scorer": "likelihood"}, "scorer likelihood is for output likelihood"),
        ({"metric": "bleu"}, "unknown metric 'bleu'"),
        ({"options": {"lables": ["a"]}}, "unknown option 'lables', perhaps labels"),
        ({"options": {"labels": "a"}}, "option labels must be a list"),
        ({"options": ["labels"]}, "options must map"),
        ({"scorer": "lawbench", "metric": "f1"}, "option task is missing"),
        ({"ask": 1}, "ask must be a text"),
        ({"title": None}, "title must be a text"),
    ],
)
def test_one_problem_with_a_task(tmp_path, change, said):
    assert said in refusal(tmp_path, {"tasks": {"mine": {**TASK, **change}}})


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "an empty file"),
        ("- a\n- b\n", "a list"),
        ("tasks: [a]\n", "tasks is no mapping"),
        ("tasks: {a: 3}\n", "no mapping of fields"),
        ("tasks: {a: [\n", "cannot be read"),
        ({"tasks": {}}, "does not define one task"),
        ({"tasks": {"mine": TASK, "yours": TASK}}, "mine, yours"),
        ({"tasks": {"mmlu": TASK}}, "defined twice"),
    ],
)
def test_a_file_that_is_none(tmp_path, content, said):
    assert said in refusal(tmp_path, content)


@pytest.mark.parametrize(
    "tasks, said",
    [
        ({"general": ["gsm8kk"]}, "no task 'gsm8kk', perhaps gsm8k"),
        ({"general": ["gsm8k"], "domain": ["gsm8k"]}, "'gsm8k' is there twice"),
        ({"general": []}, "it has no task"),
        (["gsm8k"], "tasks must map roles"),
        ({"general": "gsm8k"}, "tasks must map roles"),
    ],
)
def test_a_suite_that_is_none(tmp_path, tasks, said):
    content = {"suites": {"own": {"version": "1", "title": "Own", "tasks": tasks}}}
    assert said in refusal(tmp_path, content, load_suite)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DBAError, match="cannot be read"):
        load_suite(str(tmp_path / "gone.yaml"))


def test_the_documented_fields_are_those_that_are_known(request):
    text = (request.config.rootpath / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for key in {*TASK_KEYS, *SUITE_KEYS}:
        assert f"`{key}`" in text, key
