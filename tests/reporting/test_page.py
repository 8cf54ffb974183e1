"""The report: what it says, that it needs nothing else, and what it refuses."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from reporting.runs import write_gauge, write_layers, write_logs, write_rich_world, write_run, write_world
from typer.testing import CliRunner

from llamafactory_dba.cli.program import app
from llamafactory_dba.errors import DBAError
from llamafactory_dba.reporting.page.collect import collect
from llamafactory_dba.reporting.page.write import escape, save_figures, to_html, to_markdown


EVIL = "<script>alert('$x$ & \"y\"')</script> | `a` _b_ \x07"


class Outline(HTMLParser):
    """Tags in order, cells by row, and whether every tag is closed."""

    VOID = ("meta", "br", "hr", "img", "link", "path", "use", "rect", "defs")

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.ids, self.links, self.rows = [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href", "action")]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root)
    return root


@pytest.fixture(scope="module")
def page(world):
    return to_html(collect([world]))


def test_the_tables_say_what_was_measured(page):
    rows = {row[0]: row for row in Outline(page).rows}
    assert ["ours, seed 1", "80.0", "88.0", "83.8", "97.8", "+70.0", "-2.0", "+65.8"] in Outline(page).rows
    assert ["base model", "10.0", "90.0", "18.0", "–", "–", "–", "–"] in Outline(page).rows
    found = Outline(page).rows
    heading = next(place for place, row in enumerate(found) if row[0].startswith("recall (general"))
    assert [row[0] for row in found[heading + 1 : heading + 4]] == ["base model", "ours, seed 1", "direct, seed 1"]
    assert any("-60.0 ▼" in row and "< 0.001" in row for row in Outline(page).rows)
    assert "wall-clock s" in rows["run"] or ["run", "wall-clock s", "peak host MB"] in Outline(page).rows
    assert "Measured in no run here: whole program s, device h, tokens" in page


def test_the_sentence_names_the_best_and_its_price(page, tmp_path):
    assert "Best S of 2 methods and settings: ours, seed 1 with S = 83.8 (S_D 80.0, S_G 88.0; one seed)" in page
    assert "; against the base model +70.0 on the domain, -2.0 on the general tasks, 97.8 % of its S_G kept." in page
    assert "None of 3 tested general tasks is below it" in page
    write_run(tmp_path / "base", "base", 0.1, 0.9, method="base")
    write_run(tmp_path / "run", "only", 0.9, 0.3, base="../base")
    text = to_markdown(collect([tmp_path]))
    assert "3 of 3 general tasks are below the base model at p &lt; 0.05: arithmetic -60.0" in text


def test_the_page_is_whole_and_alone(page):
    outline = Outline(page)
    assert not outline.open
    assert "script" not in outline.tags and "link" not in outline.tags and "img" not in outline.tags
    assert all(link.startswith("#") for link in outline.links)
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    assert len(outline.ids) == len(set(outline.ids)), "two figures share an id"
    assert {link[1:] for link in outline.links} <= set(outline.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(outline.ids)
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_pictures_are_within_the_page(tmp_path):
    write_rich_world(tmp_path)
    page = to_html(collect([tmp_path]))
    outline = Outline(page)
    assert not outline.open
    outside = [link for link in outline.links if not link.startswith(("#", "data:image/png;base64,"))]
    assert not outside and any(link.startswith("data:") for link in outline.links)
    assert len(outline.ids) == len(set(outline.ids))
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    widths: dict[int, set[int]] = {}
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        rows = [row for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL) if "colspan" not in row]
        widths.setdefault(len({row.count("<t") for row in rows}), set()).add(len(rows))
    assert set(widths) == {1}, "all rows of a table are of one length"


def test_figures_take_the_colour_of_the_text(page):
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(svgs) == 2
    for svg in svgs:
        ElementTree.fromstring(svg)
        assert "currentColor" in svg and "#123457" not in svg
        assert not re.search(r"(fill|stroke): #(000000|ffffff)", svg), "black or white vanishes in one of the modes"
        # a text without fill would be black
        assert all("currentColor" in style for style in re.findall(r'<text style="([^"]*)"', svg))
    assert "S = 80" in svgs[0]
    for title in ("training loss", "boost weight γ", "similarity s", "correction λ", "‖g_D‖"):
        assert title in svgs[1]


def test_everything_is_escaped(tmp_path):
    write_run(tmp_path / "base", EVIL, 0.2, 0.9, method="base", domain=EVIL)
    path = write_run(tmp_path / "run", EVIL, 0.5, 0.8, base="../base", domain=EVIL, versions={EVIL: EVIL})
    write_logs(path.parent, 30)
    report = collect([tmp_path])
    page, text = to_html(report), to_markdown(report)
    assert "script" not in Outline(page).tags and "alert(" in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert "<script" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert set(widths) <= {4, 8, 9, 10}, "a bar in a name must not add a column"
    save_figures(report, tmp_path / "figures")


def test_markdown_escape():
    assert escape("a|b*c_d _e_ <x>\n# y") == r"a\|b\*c_d \_e\_ &lt;x&gt; \# y"


def test_no_base_is_a_dash_and_a_note(tmp_path):
    write_run(tmp_path / "run", "alone", 0.5, 0.8)
    write_run(tmp_path / "other", "lost", 0.5, 0.8, base="../nowhere")
    report = collect([tmp_path])
    page = to_html(report)
    assert ["alone, seed 1", "50.0", "80.0", "61.5", "–", "–", "–", "–"] in Outline(page).rows
    assert "+0.0" not in page
    assert any("was not measured" in note for note in report.notes)
    assert any("'../nowhere' were not found" in note for note in report.notes)
    assert "what was kept is not known" in page


def test_a_base_by_name_and_one_elsewhere(tmp_path):
    write_run(tmp_path / "all" / "b", "the base", 0.1, 0.9, method="base", domain="")
    write_run(tmp_path / "all" / "r", "run", 0.5, 0.45, base="the base")
    write_run(tmp_path / "far", "far base", 0.1, 0.5, method="base")
    write_run(tmp_path / "all" / "s", "second", 0.5, 0.45, base="../../far")
    (group,) = collect([tmp_path / "all"]).groups
    assert [entry.results.run.name for entry in group.bases] == ["the base", "far base"]
    assert {e.results.run.name: e.summary.kept for e in group.runs} == pytest.approx({"run": 50.0, "second": 90.0})


def test_one_section_per_domain(tmp_path):
    for domain in ("law", "finance"):
        write_run(tmp_path / domain, domain, 0.5, 0.8, domain=domain)
    assert [group.domain for group in collect([tmp_path, tmp_path]).groups] == ["finance", "law"]


def test_mixed_versions_are_refused(tmp_path):
    write_run(tmp_path / "one", "one", 0.5, 0.8)
    write_run(tmp_path / "two", "two", 0.5, 0.8, version="2")
    with pytest.raises(DBAError, match="different versions"):
        collect([tmp_path])
    collect([tmp_path / "one"])


def test_foreign_files_are_named_and_nothing_is_an_error(tmp_path):
    (tmp_path / "results.json").write_text('{"schema": "llamafactory-dba/demo/1"}')
    with pytest.raises(DBAError, match="nothing to report"):
        collect([tmp_path])
    with pytest.raises(DBAError, match="not there"):
        collect([tmp_path / "missing"])
    write_run(tmp_path / "run", "run", 0.5, 0.8)
    assert any("another format" in note for note in collect([tmp_path]).notes)


def test_a_long_run_makes_a_small_page(tmp_path):
    path = write_run(tmp_path / "run", "long", 0.5, 0.8)
    write_logs(path.parent, 30_000)
    write_gauge(path.parent, 300)
    kinds = [f"self_attn.{x}_proj" for x in "qkvo"] + [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
    write_layers(path.parent, 36, 100, kinds)
    assert len(to_html(collect([tmp_path])).encode()) < 3_000_000


def test_many_runs_are_told_apart_by_method(tmp_path):
    for seed in range(12):
        method = ("direct", "dba")[seed % 2]
        settings = {"rate": seed}
        write_run(tmp_path / str(seed), f"run-{seed}", 0.5, 0.5 + seed / 50, method=method, settings=settings)
    svg = re.search(r"<svg.*?</svg>", to_html(collect([tmp_path])), re.DOTALL)[0]
    labels = re.findall(r">(direct[^<]*|dba[^<]*)</text>", svg)
    assert sorted(labels) == ["dba", "direct"]


def test_the_command(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["report", str(world), "--out", "r.html", "--markdown", "r.md", "--figures", "pictures"]
    )
    assert done.exit_code == 0, done.output
    assert "2 runs: r.html, r.md, pictures" in done.output
    assert {path.name for path in tmp_path.iterdir()} == {"r.html", "r.md", "pictures"}
    names = {f"{kind}-1.{ending}" for kind in ("scores", "training") for ending in ("png", "svg")}
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == names
    for link in re.findall(r"!\[.*?\]\((.*?)\)", (tmp_path / "r.md").read_text("utf-8")):
        assert (tmp_path / link).stat().st_size > 5000


def test_a_place_that_cannot_be_written_is_refused_first(world, tmp_path):
    done = CliRunner().invoke(app, ["report", str(world), "--out", str(tmp_path / "no" / "r.html")])
    assert isinstance(done.exception, DBAError)
    assert "cannot be written" in str(done.exception)
