"""docs/report.md: its example is a results file that can be reported on."""

import re
from pathlib import Path

from llamafactory_dba.evaluation.results import read_results
from llamafactory_dba.reporting.page.collect import MAPS, collect
from llamafactory_dba.reporting.page.costs import PLAIN
from llamafactory_dba.reporting.page.layers import MOST
from llamafactory_dba.reporting.page.write import to_html


PAGE = (Path(__file__).parents[2] / "docs" / "report.md").read_text("utf-8")


def test_the_example_can_be_read_and_reported(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "results.json").write_text(example, encoding="utf-8")
    results = read_results(tmp_path)
    assert {task.role for task in results.tasks} == {"domain", "general", "loss"}
    assert "dba-seed0" in to_html(collect([tmp_path]))


def test_numbers_of_the_page_are_those_of_the_code():
    assert f"more than {MOST} kinds" in PAGE
    assert MAPS == 4 and "at most four rows of a domain" in PAGE
    assert all(f"`{method}`" in PAGE for method in PLAIN)
