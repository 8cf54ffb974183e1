"""The Results panel in a browser: table, plot, report, two runs; files that are half written; a closed report."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from reporting.runs import write_rich_world


pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def runs(board) -> Iterator[Path]:
    """Runs with scores beside whatever the other tests have trained."""
    folder = board.folder / "runs"
    write_rich_world(folder)
    (folder / "torn").mkdir()
    (folder / "torn" / "results.json").write_text('{"format": "llamafactory-dba/resu', encoding="utf-8")
    yield folder


def open_results(page, folder: str = "runs"):
    panel = page.tab("results")
    page.type("dba_results_folder", folder)
    panel.get_by_role("button", name="Find runs").click()
    page.wait_text("dba_results_note", r"\d")
    page.page.locator("#dba_results_table tbody tr").first.wait_for()
    page.page.wait_for_timeout(800)
    return panel


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_table_plot_and_report(visit, runs, width, dark):
    page = visit(width, dark=dark)
    panel = open_results(page)
    page.expect(page.page.locator("#dba_results_table tbody tr")).to_have_count(9)
    row = panel.locator("tr", has_text="dba-seed0").inner_text()
    assert re.search(r"80\.0\s+79\.4\s+79\.7", row)
    assert "⚠" in panel.locator("tr", has_text="torn").inner_text()
    panel.locator("#dba_results_plot svg").first.wait_for()
    panel.get_by_role("button", name="Open the report").click()
    frame = page.page.frame_locator(".dba-report iframe")
    frame.get_by_text("Free alternative").first.wait_for()
    paper = frame.locator("body").evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 384) == dark
    page.page.locator(".dba-report iframe").scroll_into_view_if_needed()
    page.page.wait_for_timeout(1000)
    page.picture(f"report-{width}-{'dark' if dark else 'light'}")
    with page.page.expect_download() as download:
        panel.get_by_role("button", name="Download the report").click()
    assert "dba (3 seeds)" in Path(download.value.path()).read_text(encoding="utf-8")
    panel.get_by_role("button", name="Close the report").click()
    page.page.locator(".dba-report iframe").wait_for(state="detached")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_two_runs_side_by_side_follow_the_language(visit, runs):
    page = visit()
    panel = open_results(page)
    page.pick("dba_results_first", "direct-seed0")
    page.pick("dba_results_second", "dba-seed0")
    panel.get_by_role("button", name="Side by side").click()
    page.wait_text("dba_results_pair", "arithmetic")
    rows = page.page.locator("#dba_results_pair tr").all_inner_texts()
    assert any(re.search(r"S_G\s+37\.8\s+79\.4\s+\+41\.6", row) for row in rows)
    page.page.locator("#dba_results_pair svg").wait_for()
    page.picture("side-by-side")
    page.language("ja")
    page.wait_text("dba_results_pair", "設定")
    page.wait_text("dba_results_table", "測定済み")
    page.expect(page.page.locator("#dba_results_first input")).to_have_value(re.compile("^direct-seed0"))
    page.picture("side-by-side-ja")


def test_one_domain_and_an_order_of_its_own(visit, runs):
    page = visit()
    open_results(page)
    page.pick("dba_results_domain", "finance")
    page.expect("dba_results_table").not_to_contain_text("torn")
    page.expect("dba_results_table").to_contain_text("wild")
    rows = page.page.locator("#dba_results_table tbody th")
    names = [name.split("\n")[0] for name in rows.all_inner_texts()]
    assert names != sorted(names)  # else nothing is shown by what follows
    page.pick("dba_results_order", "by name")
    page.expect(rows).to_contain_text(sorted(names))
