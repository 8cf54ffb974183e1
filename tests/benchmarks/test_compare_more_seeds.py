"""A suite with other seeds of what another suite has run: alone, and both together, against sums by hand."""

import json
from statistics import fmean

import pytest

from benchmarks.compare_page import more_seeds, page
from benchmarks.compare_page.source import slim
from llamafactory_dba.errors import DBAError
from tests.benchmarks.comparisons import ROOT, compared, harmonic, suite


METHODS = ("direct", "lora", "elastic_kronecker", "elastic_kronecker_32")


def scores(run):
    """Kronecker factors are ahead by a little that grows with the seed."""
    s_d = {"direct": 60.0, "lora": 40.0, "elastic_kronecker": 61.0, "elastic_kronecker_32": 62.0}
    return s_d[run.method] + (run.seed if "kronecker" in run.method else 0.0), 50.0


def ahead(method: str, other: str, seeds) -> float:
    ends = {"direct": 60.0, "elastic_kronecker": 61.0, "elastic_kronecker_32": 62.0}
    return fmean(harmonic(ends[method] + seed, 50.0) - harmonic(ends[other], 50.0) for seed in seeds)


def content(name: str, seeds: list[int], methods=METHODS):
    base = suite(name=name, seeds=seeds)
    known = {
        **base["methods"],
        "elastic_kronecker_32": {"needs": ["anchor"], "keys": {"use_dba": True, "dba_variant": "l2sp"}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return slim(
            compared({**base, "methods": {m: known[m] for m in methods}}, scores), "llamafactory-dba compare it"
        )


def test_each_alone_and_both_together():
    first, more = content("first", [1, 2]), content("more", [3, 4, 5], METHODS[:1] + METHODS[2:])
    whole = more_seeds.together(more, first)
    assert {(run["label"], run["seed"]) for run in whole["runs"]} == {
        (label, seed) for label in METHODS if label != "lora" for seed in range(1, 6)
    }
    alone, both = more_seeds.facts(more, "m"), more_seeds.facts(whole, "m.together")
    for method in METHODS[2:]:
        where = f"all.{method}.ahead direct"
        assert alone[f"m.{where}.mean"] == pytest.approx(ahead(method, "direct", [3, 4, 5]), rel=1e-12)
        assert both[f"m.together.{where}.mean"] == pytest.approx(ahead(method, "direct", range(1, 6)), rel=1e-12)
        # two base models and two domains
        assert (alone[f"m.{where}.n"], both[f"m.together.{where}.n"]) == (12, 20)
        assert alone[f"m.{where}.wins"] == 12
        errors, se = alone[f"m.{where}.errors"], alone[f"m.{where}.se"]
        assert errors == pytest.approx(alone[f"m.{where}.mean"] / se, rel=1e-12)
    assert alone["m.all.elastic_kronecker.ahead galore"] is None  # a rival that the suite lacks


def test_a_seed_that_both_have_would_count_twice():
    with pytest.raises(DBAError) as caught:
        more_seeds.together(content("more", [2, 3]), content("first", [1, 2]))
    assert "other seeds in more than in first" in str(caught.value) and ", 2)" in str(caught.value)


def test_another_build_of_the_base_model_is_not_the_same():
    more, first = content("more", [3]), content("first", [1])
    more["bases"][0]["s_g"] += 0.5
    with pytest.raises(DBAError) as caught:
        more_seeds.together(more, first)
    assert "different builds" in str(caught.value) and "80.5" in str(caught.value)


def test_the_page_shows_both(tmp_path):
    for name, seeds in (("real_small", [0, 1]), ("real_small_seeds", [5, 6])):
        (tmp_path / f"compare_{name}.json").write_text(json.dumps(content(name, seeds)), encoding="utf-8")
    facts = page.all_facts(tmp_path)
    text = page.page("{{ real_small_seeds.tables.all }}", facts)
    assert "These seeds alone" in text and "With those of real_small (seeds 0, 1, 5, 6):" in text
    assert text.count("| against | beaten |") == 2
    assert facts["real_small_seeds.together.all.elastic_kronecker_32.ahead direct.n"] == 16
    (tmp_path / "compare_real_small.json").unlink()
    alone = page.page("{{ real_small_seeds.tables.all }}", page.all_facts(tmp_path))
    assert "These seeds alone" in alone and "With those of" not in alone
