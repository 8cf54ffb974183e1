"""docs/results.md: what stands there is what its template and files give, and what sums over the runs give."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest


RECOMMENDED = "elastic_kronecker"


def run_script(root: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "scripts/update_results.py", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def text(root):
    return (root / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def found(root):
    path = root / "benchmarks" / "results" / "compare_micro.json"
    if not path.is_file():
        pytest.skip("the micro suite's comparison is not in benchmarks/results yet")
    return json.loads(path.read_text(encoding="utf-8"))


def test_page_and_figures_are_current(root):
    result = run_script(root, "--check")
    assert result.returncode == 0, result.stdout + result.stderr


def test_scores_are_sums_over_the_runs(text, found):
    """Of each base model's table, without the code that wrote it: S_D of every method, from the runs."""
    domains = {entry["domain"] for entry in found["bases"]}
    scores = part(text, "### Scores (micro)")
    for base in dict.fromkeys(entry["base"] for entry in found["bases"]):
        rows = part(scores, f"\n**{base}**\n", "\n**")
        for label in plain(found):
            mine = [
                run for run in found["runs"] if (run["base"], run["label"]) == (base, label) and run["s"] is not None
            ]
            seeds = {run["seed"] for run in mine}
            whole = [
                fmean(run["s_d"] for run in mine if run["seed"] == seed)
                for seed in seeds
                if {run["domain"] for run in mine if run["seed"] == seed} == domains
            ]
            row = re.search(rf"^\| \**`{re.escape(label)}`\** \| [^|]* \| ([\d.]+)", rows, re.MULTILINE)
            assert bool(row) == bool(whole), (base, label)
            assert not row or row[1] == f"{fmean(whole):.2f}", (base, label)


def test_differences_are_those_of_the_pairs(text, found):
    scores = {(run["base"], run["domain"], run["seed"], run["label"]): run["s"] for run in found["runs"]}
    rows = re.findall(
        r"^\| `(.+?)` \| ([+-][\d.]+) \|", part(text, "### The recommended setting", "### "), re.MULTILINE
    )
    labels = {key[3] for key, s in scores.items() if s is not None} - {RECOMMENDED}
    assert {label for label, _ in rows} == labels & plain(found)
    for label, shown in dict(rows).items():  # of each label the last, which is of all base models
        pairs = [
            mine - scores[*key[:3], label]
            for key, mine in scores.items()
            if key[3] == RECOMMENDED and mine is not None and scores.get((*key[:3], label)) is not None
        ]
        assert shown == f"{fmean(pairs):+.2f}", label


def test_local_links_and_figures_exist(root, text):
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    assert not {link for link in links if not (root / "docs" / link).exists()}
    assert {f"figures/results-micro-{kind}.svg" for kind in ("plane", "bars")} <= links


def test_an_unknown_key_names_the_nearest(root, tmp_path, found):
    template = root / "docs" / "results.template.md"
    content = template.read_text(encoding="utf-8")
    assert "{{ micro.all.direct.S }}" in content
    (tmp_path / "template.md").write_text(
        content.replace("micro.all.direct.S ", "micro.all.direkt.S "), encoding="utf-8"
    )
    result = run_script(root, "--check", "--template", str(tmp_path / "template.md"))
    assert result.returncode == 1
    assert "`micro.all.direkt.S`: there is no such key, perhaps `micro.all.direct.S`" in result.stderr


def test_a_comparison_is_taken_under_the_name_of_its_suite(root, tmp_path, found):
    raw = tmp_path / "compare.json"
    for other in (root / "benchmarks" / "results").glob("compare_*.json"):  # the page's text names their figures, too
        if other.name != "compare_micro.json":
            shutil.copy(other, tmp_path)
    raw.write_text(json.dumps({**found, "command": "other"}), encoding="utf-8")
    places = ["--results", str(tmp_path), "--page", str(tmp_path / "p.md"), "--figures", str(tmp_path)]
    assert run_script(root, "--take", str(raw), *places).returncode == 2, "the command is asked for"
    result = run_script(root, "--take", str(raw), "--command", "llamafactory-dba compare x.yaml", *places)
    assert result.returncode == 0, result.stderr
    taken = json.loads((tmp_path / "compare_micro.json").read_text(encoding="utf-8"))
    assert taken["command"] == "llamafactory-dba compare x.yaml"
    assert taken["cells"] == found["cells"]
    assert "by `llamafactory-dba compare x.yaml`" in (tmp_path / "p.md").read_text(encoding="utf-8")
    raw.write_text(json.dumps({**found, "suite": {**found["suite"], "name": "mine"}}), encoding="utf-8")
    result = run_script(root, "--take", str(raw), "--command", "x", *places)
    assert result.returncode == 1 and "The page does not show this suite" in result.stderr


def plain(found: dict) -> set[str]:
    """Labels of no sweep."""
    return {entry["label"] for entry in found["methods"] if not set(entry["setting"]) - {"alpha"}}


def part(text: str, start: str, end: str = "\n### ") -> str:
    """From behind a heading to the next."""
    assert start in text
    return text.partition(start)[2].partition(end)[0]
