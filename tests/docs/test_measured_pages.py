"""docs/elastic.md and the comparison's entry in docs/log.md say what their JSON files say."""

import importlib
import json
import re


def test_elastic_page_shows_its_file(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    benchmark = importlib.import_module("elastic")
    content = json.loads((root / "benchmarks/results/elastic.json").read_text(encoding="utf-8"))
    page = (root / "docs/elastic.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- elastic:begin -->")[2].partition("<!-- elastic:end -->")[0]
    assert shown.strip() == benchmark.tables(content).strip()


def test_the_log_has_the_comparisons_figures(root):
    content = json.loads((root / "benchmarks/results/compare_micro_first.json").read_text(encoding="utf-8"))
    rows = {(row["base"], row["label"]): row for row in content["methods"]}
    log = (root / "docs/log.md").read_text(encoding="utf-8")
    entry = re.sub(r"\s+", " ", log.partition("What mends forgetting")[2].partition("\n## ")[0])
    parts = {"micro-instruct": entry.partition("micro-instruct: ")[2].partition("micro-base: ")[0]}
    parts["micro-base"] = entry.partition("micro-base: ")[2].partition("Reading:")[0]
    reading = entry.partition("Reading:")[2].partition("Does not show:")[0]
    several = ("elastic", "mix_1_1", "annealing", "direct")
    single = ("elastic_diagonal", "dba", "freeze", "dora", "lora", "direct_usual")
    for base, text in parts.items():
        best = max(
            (name for at, name in rows if at == base and name.startswith("wise_ft")), key=lambda n: mean(rows, base, n)
        )
        for name in (*several, best):
            s = rows[base, name]["s"]
            assert f"{s['mean']:.2f} ± {s['std']:.2f}" in text, (base, name)
        for name in single:
            assert rows[base, name]["s"]["n"] == 1 and f"{mean(rows, base, name):.2f}" in text, (base, name)
        for found in content["differences"]:
            if (found["base"], found["label"]) == (base, "elastic"):
                assert f"(+{found['mean']:.1f} ± {found['se']:.1f})" in text
    shown = [rows["micro-base", "elastic"]["s_g"], rows["micro-instruct", "direct_usual"]["s_d"]]
    shown += [rows[base, name]["s_d"] for base in parts for name in ("elastic", "direct")]
    assert all(f"{score['mean']:.2f}" in reading for score in shown)


def mean(rows, base, name):
    s = rows[base, name]["s"]
    return -1.0 if s is None or s["mean"] is None else s["mean"]
