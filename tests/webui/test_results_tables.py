"""The Results panel's tables, figures and report as HTML: numbers, languages, and names that try to be markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reporting.runs import write_logs, write_rich_world, write_run

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.results import Cost
from llamafactory_dba.webui.locales import LANGUAGES
from llamafactory_dba.webui.results_figures import curves_of_two, scatters
from llamafactory_dba.webui.results_report import framed, report_page, to_file
from llamafactory_dba.webui.results_tables import comparison, duration, energy, runs_table, size
from llamafactory_dba.webui.runs import find_runs


EVIL = '<img src=x onerror="alert(1)"></script>\'&'


class Cells(HTMLParser):
    """Text of every cell, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    write_rich_world(folder)
    return folder


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_row_has_as_many_cells_as_the_head_in_every_language(rich, lang):
    found = Cells(runs_table(find_runs([rich]).runs, lang, rich))
    assert len({len(row) for row in found.rows}) == 1 and len(found.rows) == 9
    (row,) = [row for row in found.rows if row[0].startswith("dba-seed0")]
    assert row[4:11] == ["80.0", "79.4", "79.7", "95.4", "+70.0", "-3.8", "+61.8"]
    assert row[11:14] == ["1.7 min", "4,000", "1 GB"]


def test_what_was_not_measured_is_a_dash_and_what_is_broken_says_why(tmp_path):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "results.json").write_text('{"run"', encoding="utf-8")
    (row,) = Cells(runs_table(find_runs([tmp_path]).runs, "en", tmp_path)).rows[1:]
    assert row[4:14] == ["–"] * 10 and row[14].startswith("⚠ cannot be read") and "delimiter" in row[14]


def test_names_are_never_markup(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name, EVIL + name, 0.6, 0.75, method=EVIL, domain=EVIL, settings={EVIL: f"{name}{EVIL}"})
        write_logs(tmp_path / name, 30)
    listing = find_runs([tmp_path])
    first, second = listing.runs
    page = runs_table(listing.runs, "en", tmp_path) + comparison(first, second, "en")
    page += curves_of_two(first, second, "en") + scatters(listing.runs, listing, "en")
    page += framed(report_page(listing.runs, listing), "en", dark=False)
    assert Cells(page).tags.isdisjoint({"img", "script"})
    assert EVIL in "".join("".join(row) for row in Cells(page).rows)


def test_side_by_side_has_scores_tasks_cost_and_what_differs(tmp_path):
    write_run(tmp_path / "a", "a", 0.6, 0.75, settings={"learning_rate": 1e-5, "seed": 1}, cost=Cost(wall_seconds=10))
    write_run(tmp_path / "b", "b", 0.9, 0.45, settings={"learning_rate": 2e-5, "seed": 2}, cost=Cost(wall_seconds=25))
    first, second = find_runs([tmp_path]).runs
    rows = {row[0]: row[1:] for row in Cells(comparison(first, second, "en")).rows}
    assert rows["S_D"] == ["60.0", "90.0", "+30.0", ""] and rows["Time"] == ["10.0 s", "25.0 s", "2.50×", ""]
    assert rows["finance (exact_match)"][:3] == ["60.0", "90.0", "+30.0 ▲"] and rows["finance (exact_match)"][3]
    assert rows["recall (exact_match)"][2] == "-30.0 ▼"
    assert rows["learning_rate"][:2] == ["1e-05", "2e-05"] and "seed" not in rows


def test_what_does_not_compare_is_said_and_the_rest_is_shown(tmp_path):
    write_run(tmp_path / "a", "a", 0.6, 0.75)
    write_run(tmp_path / "b", "b", 0.9, 0.45, version="2")
    (tmp_path / "c").mkdir()
    write_logs(tmp_path / "c", 30)
    a, b, c = find_runs([tmp_path]).runs
    page = comparison(a, b, "en")
    assert "do not compare" in page and "different versions" in page and "finance (exact_match)" not in page
    assert Cells(comparison(a, c, "en")).rows[2][:3] == ["S_D", "60.0", "–"]
    assert "<svg" in curves_of_two(a, c, "en") and curves_of_two(a, b, "en") == ""


def test_figures_of_each_domain_with_its_own_frontier(rich, tmp_path):
    write_run(tmp_path / "law", "law", 0.6, 0.75, domain="law")
    listing = find_runs([rich, tmp_path])
    page = scatters(listing.runs, listing, "en")
    finance, law = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert "interpolated" in finance and "interpolated" not in law
    # both stand in one page, so no id of the one may be an id of the other
    ids = [set(re.findall(r'id="([^"]+)"', part)) for part in (finance, law)]
    assert ids[0] and ids[0].isdisjoint(ids[1])


def test_the_report_is_that_of_the_command_and_takes_the_colours_of_the_board(rich):
    listing = find_runs([rich])
    page = report_page(listing.runs, listing)
    assert "Free alternative" in page and "dba (3 seeds)" in page and "prefers-color-scheme" in page
    shown = framed(page, "en", dark=True)
    assert "prefers-color-scheme" not in shown and "@media all" in shown and "<iframe sandbox " in shown
    assert "@media not all" in framed(page, "en", dark=False)
    assert to_file(page).read_text(encoding="utf-8") == page


def test_no_scores_no_report_and_mixed_versions_are_an_error(tmp_path):
    write_logs(_folder(tmp_path / "log"), 30)
    listing = find_runs([tmp_path])
    assert report_page(listing.runs, listing) == "" and scatters(listing.runs, listing, "en") == ""
    write_run(tmp_path / "a", "a", 0.6, 0.75)
    write_run(tmp_path / "b", "b", 0.9, 0.45, version="2")
    listing = find_runs([tmp_path])
    with pytest.raises(DBAError, match="versions"):
        report_page(listing.runs, listing)


def test_units():
    assert [duration(x) for x in (None, 0.0, 99.9, 100, 7200)] == ["–", "0.0 s", "99.9 s", "1.7 min", "2.0 h"]
    assert [size(x) for x in (None, 0, 999, 1_050_000_000, 2.5e12)] == ["–", "0 kB", "0.999 kB", "1.05 GB", "2,500 GB"]
    assert energy(1500) == "1.5 kJ"


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
