"""results.json: written and read back, described by its schema, and refused where it says nothing or too much."""

import dataclasses
import json
from importlib.resources import files

import pytest

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.intervals import wilson
from llamafactory_dba.evaluation.results import Cost, Interval, Results, Run, TaskResult, read_results, write_results


SCHEMA = json.loads((files("llamafactory_dba") / "evaluation" / "schema" / "results.v1.json").read_text("utf-8"))
TASK = TaskResult("s", "t", "1", "general", "accuracy", 50.0, 4, 1, wilson(2, 4), (1, 0, 0.5, 0.5))
RESULTS = Results(
    run=Run("a [\n 1 ] b", "dba", "finance", "some/model", "ab12", 3, {"rate": 1e-5}),
    tasks=(
        dataclasses.replace(TASK, truncated=1, skipped=7, groups={"law": [100.0, 1], "art": [33.3, 3]}),
        dataclasses.replace(TASK, task="u", role="domain", interval=None, per_sample=None),
        TaskResult("s", "text", "1", "loss", "perplexity", 181.5, 3, 0, Interval(2.5, 900, "x"), (4.5, 0, 6.25)),
    ),
    base="../base",
    cost=Cost(wall_seconds=1.5, tokens=12),
    machine={"cores": 2},
    versions={"torch": "2"},
    data={"train": "ff"},
    created="2026-01-01T00:00:00+00:00",
)


def test_what_was_written_is_read(tmp_path):
    path = write_results(RESULTS, tmp_path / "run")
    assert read_results(path) == read_results(path.parent) == RESULTS
    assert [item.name for item in path.parent.iterdir()] == ["results.json"]
    assert '"per_sample": [1, 0, 0.5, 0.5]' in path.read_text("utf-8")  # not a line per sample
    assert '"law": [100.0, 1]' in path.read_text("utf-8")
    raw = json.loads(path.read_text("utf-8"))
    assert raw["cost"]["energy_joules"] is None, "not measured is null, never 0"


@pytest.mark.parametrize("part, kind", [("run", Run), ("cost", Cost)])
def test_the_schema_names_every_key(part, kind):
    assert set(SCHEMA["properties"][part]["properties"]) == {f.name for f in dataclasses.fields(kind)}


def test_the_schema_names_every_key_of_the_rest():
    assert set(SCHEMA["$defs"]["task"]["properties"]) == {f.name for f in dataclasses.fields(TaskResult)}
    interval = SCHEMA["$defs"]["task"]["properties"]["interval"]["properties"]
    assert set(interval) == {f.name for f in dataclasses.fields(Interval)}
    raw = json.loads(RESULTS.to_json())
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) == set(raw)
    for name in ("format", "format_version"):
        assert SCHEMA["properties"][name]["const"] == raw[name]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_results(RESULTS, tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_results(dataclasses.replace(RESULTS, machine={"load": float("nan")}), tmp_path)
    assert path.read_bytes() == before


def change(raw, place, value):
    *way, last = place
    for key in way:
        raw = raw[key]
    if value is None:
        del raw[last]
    else:
        raw[last] = value


@pytest.mark.parametrize(
    "place, value, words",
    [
        (("format_version",), 2, "update llamafactory-dba"),
        (("format_version",), "x", "does not know"),
        (("format",), "other", "no results file"),
        (("run", "name"), None, r"Keys are missing in run"),
        (("run",), 3, "run is missing or damaged"),
        (("tasks",), None, "tasks is missing"),
        (("tasks",), [], "no score"),
        (("tasks", 0, "n"), None, r"Keys are missing in tasks\[0\]"),
        (("tasks", 0, "n"), 0, "no samples"),
        (("tasks", 0, "value"), 101, "impossible"),
        (("tasks", 0, "value"), "50", "finite numbers"),
        (("tasks", 0, "value"), float("nan"), "finite numbers"),
        (("tasks", 0, "unparsed"), 5, "impossible"),
        (("tasks", 0, "role"), "both", "domain or general or loss"),
        (("tasks", 0, "truncated"), 5, "impossible"),
        (("tasks", 0, "skipped"), -1, "impossible"),
        (("tasks", 0, "skipped"), "1", "finite numbers"),
        (("tasks", 0, "groups"), [], "groups is missing or damaged"),
        (("tasks", 0, "groups"), {"law": 50}, "Group 'law'"),
        (("tasks", 0, "groups"), {"law": [101, 2]}, "Group 'law'"),
        (("tasks", 0, "groups"), {"law": [50, 0]}, "Group 'law'"),
        (("tasks", 0, "groups"), {"law": [50, 5]}, "n from 1 to 4"),
        (("tasks", 0, "groups"), {"law": [float("nan"), 2]}, "Group 'law'"),
        (("tasks", 2, "value"), -0.5, "impossible"),
        (("tasks", 2, "value"), float("inf"), "finite numbers"),
        (("tasks", 2, "per_sample"), [1, 2, -1], "of 0 or more"),
        (("tasks", 2, "per_sample"), [1, 2, float("nan")], "of 0 or more"),
        (("tasks", 2, "per_sample"), [1, 2, float("inf")], "of 0 or more"),
        (("tasks", 0, "per_sample"), [1, 0], "4 values"),
        (("tasks", 0, "per_sample"), [1, 0, 0, float("nan")], "from 0 to 1"),
        (("tasks", 0, "per_sample"), [1, 0, 0, 2], "4 values"),
        (("tasks", 0, "per_sample"), [1, 0, 0, "1"], "numbers"),
        (("tasks", 0, "interval"), {"low": 1}, r"tasks\[0\].interval"),
        (("tasks", 1, "task"), "t", "twice"),
        (("cost",), None, "cost is missing"),
        (("cost", "tokens"), "12", "cost is no number"),
        (("cost", "wall_seconds"), float("inf"), "cost is no number"),
        (("data",), None, "data is missing"),
    ],
)
def test_damaged_files_are_refused(tmp_path, place, value, words):
    raw = json.loads(RESULTS.to_json())
    change(raw, place, value)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(DBAError, match=words) as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(DBAError, match="cannot be read"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text("{", encoding="utf-8")
    with pytest.raises(DBAError, match="cannot be read"):
        read_results(tmp_path)


def test_files_from_before_the_additions_are_read(tmp_path):
    raw = json.loads(RESULTS.to_json())
    for task in raw["tasks"]:
        for name in ("truncated", "skipped", "groups"):
            del task[name]
    (tmp_path / "results.json").write_text(json.dumps(raw), encoding="utf-8")
    first = read_results(tmp_path).tasks[0]
    assert (first.truncated, first.skipped, first.groups) == (0, 0, None)


def test_the_schema_says_what_the_reader_does():
    jsonschema = pytest.importorskip("jsonschema", reason="the schema is checked with jsonschema")
    raw = json.loads(RESULTS.to_json())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(raw)
    for place, value in (((0, "value"), 101), ((0, "per_sample"), [1, 0, 0, 2]), ((0, "groups"), {"a": [101, 1]})):
        bad = json.loads(json.dumps(raw))
        bad["tasks"][place[0]][place[1]] = value
        assert not validator.is_valid(bad), place
        bad["tasks"][place[0]]["role"] = "loss"
        assert validator.is_valid(bad), place


def test_a_later_addition_breaks_no_reader(tmp_path):
    raw = json.loads(RESULTS.to_json())
    raw["cost"]["water_litres"] = 1
    raw["tasks"][0]["colour"] = "red"
    (tmp_path / "results.json").write_text(json.dumps(raw), encoding="utf-8")
    assert read_results(tmp_path) == RESULTS
