"""docs/diagnoses.md shows benchmarks/results/diagnose.json, and what it says of the figures is so."""

import importlib.util
import json

import pytest


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("update_diagnoses", root / "scripts" / "update_diagnoses.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def content(root):
    return json.loads((root / "benchmarks/results/diagnose.json").read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_file(root, script, content):
    text = (root / "docs/diagnoses.md").read_text(encoding="utf-8")
    assert script.document(text, content) == text


def test_a_page_without_its_markers_is_refused(script, content):
    with pytest.raises(ValueError, match="conditions:begin"):
        script.document("# nothing to fill\n", content)


def test_what_the_reading_says_is_so(content):
    """A new measurement that fails here asks for a new reading."""
    runs = {(r["base"], r["run"]): r for r in content["runs"] if (r["domain"], r["seed"]) == ("finance", 1)}

    def s_g(base, name):
        return runs[base, name]["s_g"]

    for base in ("micro-base", "micro-instruct"):
        # 1: leaving the anchor out of quiet entries helps, and does not reach annealing alone; no entry is zero
        assert s_g(base, "ggb") < s_g(base, "ggb, loud") < s_g(base, "annealing")
        assert abs(s_g(base, "ggb, non-zero") - s_g(base, "ggb")) < 1
        split = runs[base, "ggb"]["split"]
        assert split["small_steps"] == 0 and split["zero_entries"] < 1e-6
        assert abs(split["rise_missing"]) < 0.05 * split["rise"]
        quiet, loud = (split["parts"][name]["rise"] for name in ("quiet", "loud"))
        assert quiet > split["rise"] if base == "micro-base" else 1.5 * quiet < loud
        # 2: unseen rows move in annealing alone as well, and are a small part of the rise
        moved = [runs[base, name]["movement"]["unseen rows"] for name in ("annealing", "ggb")]
        assert 0.7 < moved[0] < moved[1] < 0.9
        assert sum(part["rise_by_kind"]["unseen rows"] for part in split["parts"].values()) < 0.2 * split["rise"]
        # 5: the predictions fall to the end; the loss, and its second order, rise from the first measurement on
        predicted, measured = runs[base, "ggb"]["predicted"], runs[base, "ggb"]["measured"]
        assert predicted[-1][1] + predicted[-1][3] < 0.9 * min(a + c for _, a, _, c in predicted)
        assert measured[1][1] > measured[0][1] and sum(runs[base, "ggb"]["expanded"][0][1:]) > 0
        second = [*predicted[-1][2:], runs[base, "ggb"]["expanded"][-1][2]]
        assert second[2] > 100 * second[1] and second[2] > 1000 * second[0]
    # 2: what holding the rows is worth on micro-instruct
    for name in ("direct", "ggb", "dba"):
        assert 2 < s_g("micro-instruct", f"{name}, rows held") - s_g("micro-instruct", name) < 6
    # 3: a constant on the one base, not on the other
    constant = [p for p in content["pairs"] if p["base"] == "micro-instruct" and p["with_seed"] == p["seed"]]
    assert len(constant) >= 2 and all(p["cosine"] > 0.999 for p in constant)
    assert runs["micro-base", "dc"]["factor_range"][0] < 2
    base = {name: runs["micro-base", name]["s"] for name in ("dc", "annealing at dc's mean rate")}
    assert abs(base["dc"] - base["annealing at dc's mean rate"]) < 1.5
    (alike,) = [p for p in content["pairs"] if (p["base"], p["run"]) == ("micro-base", "ggb at dba's mean rate")]
    assert alike["cosine"] > 0.99
    # 4: the line does the harm, either way
    for name, slack in (("micro-instruct", 3), ("micro-base", 4)):
        flipped, signs, noise = (s_g(name, f"ggb, {kind}") for kind in ("flipped", "random signs", "random"))
        assert flipped < s_g(name, "ggb") + 3 and min(signs, noise) > s_g(name, "annealing") - slack
    # 5: stopped by the measured loss at its first measurements, and nothing is gained
    for name in ("micro-instruct", "micro-base"):
        assert runs[name, "ggb, stop by measurement"]["turned"] <= 16
        assert s_g(name, "ggb, stop by measurement") < s_g(name, "annealing")
    assert s_g("micro-instruct", "ggb, stop by measurement") > s_g("micro-instruct", "annealing") - 1
    # 6: frozen embeddings
    for name in ("ggb", "dba"):
        before, after = s_g("micro-instruct", name), s_g("micro-instruct", f"{name}, embeddings held")
        assert 0.35 < (after - before) / (s_g("micro-instruct", "annealing") - before) < 0.65
        assert s_g("micro-base", f"{name}, embeddings held") < 5
    direct = {name: runs["micro-instruct", name]["s"] for name in ("direct", "direct, embeddings held")}
    assert abs(direct["direct"] - direct["direct, embeddings held"]) < 1
