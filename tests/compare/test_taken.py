"""Results of another machine: `compare --take`, with a worker that trains nothing."""

import json
import shutil

import pytest

from llamafactory_dba.compare.run import compare
from llamafactory_dba.compare.state import FILE
from llamafactory_dba.errors import DBAError
from tests.compare.worlds import fake_worker, smoke, write


@pytest.fixture
def start(tmp_path):
    """Runs a suite and returns its outcome and what was said."""

    def call(raw, name="out", **options):
        said = []
        worker = fake_worker(tmp_path)
        outcome = compare(write(raw, tmp_path), tmp_path / name, say=said.append, worker=worker, **options)
        return outcome, said

    return call


def suite():
    raw = smoke()
    raw["methods"]["wise"] = {"of": "direct", "frontier": [0.25, 0.5]}
    return raw


def trained(folder):
    return sorted(folder.glob("runs/**/trained.txt"))


def rows(folder):
    return json.loads((folder / "compare.json").read_text(encoding="utf-8"))["runs"]


SCORES = ("s_d", "s_g", "s", "state", "seconds", "steps", "tasks")


def test_runs_of_another_folder_are_not_made_again(start, tmp_path):
    start(suite(), "first")
    outcome, said = start(suite(), "second", take=[tmp_path / "first" / "compare.json"])
    assert outcome.missing == 0 and not outcome.failures
    assert not trained(tmp_path / "second") and trained(tmp_path / "first")
    first, second = rows(tmp_path / "first"), rows(tmp_path / "second")
    assert [[row[key] for key in SCORES] for row in first] == [[row[key] for key in SCORES] for row in second]
    assert any(row["alpha"] is not None for row in second), "points between weights are taken over, too"
    assert all("compare.json of 20" in row["taken"] and not row["results"] for row in second)
    assert any(line.startswith("taken from") for line in said)
    assert "Note: no run was made here, so there is no report page" in said
    named = said[-1].partition("; ")[2].split(", ")  # the last line names what was written, and nothing else
    assert named and all((tmp_path / "second" / name).is_file() for name in named)


def test_what_the_file_lacks_is_made_here(start, tmp_path):
    start(suite(), "first", only=["direct"])
    there = len(trained(tmp_path / "first"))
    start(suite(), "all")
    start(suite(), "second", take=[tmp_path / "first" / "compare.json"])
    assert 0 < len(trained(tmp_path / "second")) == len(trained(tmp_path / "all")) - there


def test_another_setting_is_another_run(start, tmp_path):
    start(suite(), "first")
    changed = suite()
    changed["common"] = {**changed["common"], "warmup_steps": 3}
    with pytest.raises(DBAError, match="has no run of this suite"):
        start(changed, "second", take=[tmp_path / "first" / "compare.json"])
    assert not trained(tmp_path / "second")


def test_a_dry_run_counts_what_would_be_taken_and_writes_nothing(start, tmp_path):
    start(suite(), "first")
    outcome, said = start(suite(), "second", take=[tmp_path / "first" / "compare.json"], dry_run=True)
    assert outcome.missing == 0 and any("to do: 0 trainings" in line for line in said)
    assert not (tmp_path / "second").exists()


def test_what_is_done_here_stays(start, tmp_path):
    start(suite(), "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    before = {path: path.read_bytes() for path in (tmp_path / "second").glob(f"runs/**/{FILE}")}
    start(suite(), "second", take=[tmp_path / "first" / "compare.json"])
    assert before == {path: path.read_bytes() for path in before}


def test_where_it_was_measured_first_is_kept(start, tmp_path):
    start(suite(), "first")
    start(suite(), "second", take=[tmp_path / "first" / "compare.json"])
    start(suite(), "third", take=[tmp_path / "second" / "compare.json"])
    assert [row["taken"] for row in rows(tmp_path / "second")] == [row["taken"] for row in rows(tmp_path / "third")]


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "compare.json"), ("[]", "version 1"), ('{"format": "other"}', "version 1"), (None, "compare.json")],
)
def test_files_that_are_no_comparison(start, tmp_path, text, words):
    file = tmp_path / "other.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(DBAError, match=words):
        start(suite(), take=[file])


def test_a_comparison_without_hashes_says_so(start, tmp_path):
    start(suite(), "first")
    path = tmp_path / "first" / "compare.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for row in content["runs"]:
        del row["hash"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DBAError, match="without a hash"):
        start(suite(), "second", take=[path])


def test_the_seconds_of_another_machine_are_the_last_thing_to_forecast_from(start, tmp_path):
    """Where the suite says what was measured, that counts; where it does not, they are better than nothing."""
    start(smoke(), "first")
    take = [tmp_path / "first" / "compare.json"]
    guess = {"seconds_per_step": 2, "seconds_per_run": 1}
    _, said = start(smoke(seeds=[1, 2, 3], estimate=guess), "second", take=take, dry_run=True)
    assert "time: about 18 s with 1 at a time" in "\n".join(said)  # 2 runs of 4 steps: 2 · (1 + 4 · 2)
    _, said = start(smoke(seeds=[1, 2, 3]), "second", take=take, dry_run=True)
    assert "time: about" in "\n".join(said)
