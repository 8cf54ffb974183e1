"""`llamafactory-dba frontier` as a user runs it, on two small models of the micro world."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import environment


pytest.importorskip("lm_eval", reason="lm_eval is in the extra `eval`")
ROOT = Path(__file__).parents[2]
BASE, TUNED = (ROOT / "examples/micro/models" / name for name in ("micro-base", "micro-instruct"))


def frontier(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "llamafactory_dba.cli", "frontier", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280)


def test_points_between_two_models_and_the_page_of_them(tmp_path):
    common = ("micro_recall,micro_finance", "--model", TUNED, "--base", BASE, "--limit", 12, "--hub", "none")
    common = (*common, "--data", ROOT / "data", "--out", tmp_path / "sweep", "--cache", tmp_path / "cache")
    done = frontier(*common, "--alphas", "0,0.5,1")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:5]] == ["alpha", "0.00", "0.50", "1.00"]
    assert "flatters" in done.stdout
    points = json.loads((tmp_path / "sweep" / "frontier.json").read_text())["points"]
    assert [point["alpha"] for point in points] == [0.0, 0.5, 1.0]
    # limited scores have a version of their own, and each end is the model itself
    ends = [json.loads((tmp_path / "sweep" / point["results"]).read_text()) for point in (points[0], points[2])]
    assert all("limit 12" in task["task_version"] for end in ends for task in end["tasks"])
    assert [end["run"]["method"] for end in ends] == ["base", "wise-ft"]
    assert points[2]["s_g"] > points[0]["s_g"]  # micro-instruct is micro-base after instruction tuning

    again = frontier(*common, "--alphas", "0,0.5,1")
    assert again.returncode == 0 and "alpha 0.5" not in again.stderr  # nothing is measured twice
    other = frontier(*common[:5], "--limit", 6, *common[7:], "--alphas", "0")
    assert other.returncode == 1 and "another frontier" in other.stderr and "differs in limit" in other.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--alphas", "0,x"), "A point is no number"),
        (("--alphas", "0,1.5"), "No such point"),
        (("--hub", "nowhere"), "no such hub"),
        (("--model", "does/not/exist/here"), "is not there"),
    ],
)
def test_bad_input(change, message, tmp_path):
    options = {"--model": TUNED, "--base": BASE, "--out": tmp_path / "out", "--hub": "none", change[0]: change[1]}
    done = frontier("micro_recall", *(part for pair in options.items() for part in pair))
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


def test_a_model_of_unknown_base(tmp_path):
    done = frontier("micro_recall", "--model", TUNED, "--out", tmp_path / "out", "--hub", "none")
    assert done.returncode == 1 and "not known which base model" in done.stderr
