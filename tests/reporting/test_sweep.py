"""The free alternative: frontier.json as a line, a row and a sentence, and what is damaged as a note."""

import json
import re

import pytest
from reporting.runs import a_task, write_frontier, write_run

from llamafactory_dba.errors import DBAError
from llamafactory_dba.reporting.page.collect import collect
from llamafactory_dba.reporting.page.skills import headline
from llamafactory_dba.reporting.page.tables import scores, sweep_points
from llamafactory_dba.reporting.page.write import to_html, to_markdown


@pytest.fixture
def world(tmp_path):
    write_run(tmp_path / "base", "base", 0.1, 0.9, method="base", seed=None)
    write_run(tmp_path / "direct", "direct", 0.9, 0.3, method="direct", base="../base")
    write_frontier(tmp_path / "frontier")
    return tmp_path


def test_a_frontier_is_no_run(world):
    report = collect([world])
    (group,) = report.groups
    assert [len(group.runs), len(group.bases), len(group.sweeps)] == [1, 1, 1] and not report.notes
    assert [row[1] for row in sweep_points(group).rows] == ["0", "0.25", "0.5", "0.75", "1"]


def test_the_fine_tuned_model_has_the_name_of_its_run(world):
    """`compare` writes every model into a folder `out`."""
    write_run(world / "runs" / "out", "direct seed 2", 0.9, 0.3, method="direct", seed=2, base="../../base")
    path = world / "frontier" / "frontier.json"
    found = json.loads(path.read_text(encoding="utf-8")) | {"tuned": str(world / "runs" / "out")}
    path.write_text(json.dumps(found), encoding="utf-8")
    (group,) = collect([world]).groups
    assert [sweep.label for sweep in group.sweeps] == ["direct seed 2"]


def test_row_and_sentence_name_the_best_alpha(world):
    (group,) = collect([world]).groups
    row = scores(group).rows[-1]
    assert row[0] == "free alternative: direct interpolated, alpha = 0.5"
    assert row[1:5] == ("63.0", "79.0", "70.1", "87.8") and row[5:7] == ("+53.0", "-11.0")
    assert "Free alternative: interpolation between the base model and direct at alpha = 0.5 has S = 70.1" in headline(
        group
    )
    assert "upper bound" in scores(group).note


def test_the_line_is_drawn_with_its_alphas(world):
    page = to_html(collect([world]))
    svg = re.search(r"<svg.*?</svg>", page, re.DOTALL)[0]
    assert "base to direct, interpolated" in svg
    assert [alpha for alpha in ("0", "0.25", "0.5", "0.75", "1") if f"α {alpha}<" in svg] == [
        "0",
        "0.25",
        "0.5",
        "0.75",
        "1",
    ]
    assert "### Interpolation between base and fine-tuned model" in to_markdown(collect([world]))


def test_a_frontier_alone_is_a_report(world):
    (group,) = collect([world / "frontier"]).groups
    assert not group.runs and group.domain == "finance"
    page = to_html(collect([world / "frontier"]))
    assert "Free alternative" in page and "<svg" in page


def test_a_base_that_runs_name_stays_one(tmp_path):
    write_frontier(tmp_path / "frontier")
    write_run(tmp_path / "run", "run", 0.5, 0.5, base="../frontier/alpha_0.00")
    (group,) = collect([tmp_path]).groups
    assert group.runs[0].summary.kept is not None and len(group.bases) == 1


def change(world, **changes):
    path = world / "frontier" / "frontier.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


def test_damage_is_a_note_and_the_rest_is_shown(world):
    raw = json.loads((world / "frontier" / "frontier.json").read_text("utf-8"))
    raw["points"][1]["s_d"], raw["points"][2]["s"] = "high", 500.0
    change(world, points=raw["points"])
    report = collect([world])
    assert [point.alpha for point in report.groups[0].sweeps[0].points] == [0.0, 0.75, 1.0]
    assert sum("damaged point" in note for note in report.notes) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}'])
def test_a_file_that_is_none_is_a_note(world, text):
    (world / "frontier" / "frontier.json").write_text(text)
    report = collect([world])
    assert not report.groups[0].sweeps
    assert any("frontier.json cannot be read" in note for note in report.notes)


def test_points_of_other_tasks_are_said_not_to_compare(world):
    more = (a_task("fourth", "general", 0.5),)
    write_run(world / "direct", "direct", 0.9, 0.3, method="direct", base="../base", more=more)
    assert any("the tasks of this frontier differ" in note for note in collect([world]).notes)


def test_points_of_another_task_version_are_refused(world):
    write_run(world / "direct", "direct", 0.9, 0.3, method="direct", version="2")
    with pytest.raises(DBAError, match="different versions"):
        collect([world])
