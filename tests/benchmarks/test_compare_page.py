"""What docs/results.md is made of, against sums by hand: pairs, tables, keys, figures."""

import itertools
import json
import math
import re
from statistics import fmean, stdev
from types import SimpleNamespace

import pytest
import yaml

from benchmarks.compare_page import figures, notes, page, tables
from benchmarks.compare_page.choice import choose
from benchmarks.compare_page.facts import facts_of, facts_of_rates
from benchmarks.compare_page.pairs import RECOMMENDED, gain, time_ratio
from benchmarks.compare_page.source import SOURCES, at_a_time, slim
from benchmarks.compare_page.template import show
from llamafactory_dba.compare.suite import parse_suite, read_suite
from tests.benchmarks.comparisons import ROOT, compared, harmonic, suite


BASES, DOMAINS, SEEDS = ("micro-base", "micro-instruct"), ("finance", "law"), (1, 2, 3)


def scores(run):
    """Elastic is ahead by much on micro-base and by little on micro-instruct/law; LoRA lacks what the runs lack."""
    s_d = {"direct": 60.0, "mix_1_1": 50.0, "lora": 30.0, "elastic_kronecker": 70.0, "wise_ft": 40.0}[
        run.method
    ] + run.seed
    s_g = {"direct": 20.0, "mix_1_1": 60.0, "lora": 40.0, RECOMMENDED: 70.0, "wise_ft": 50.0}[run.method]
    if (run.base, run.domain, run.method) == ("micro-instruct", "law", "elastic_kronecker"):
        s_d, s_g = 58.0 + run.seed, 22.0
    if run.method == "lora" and run.seed == 3:
        return "diverged" if run.domain == "law" else None
    return s_d, s_g


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return slim(compared(suite(), scores), "llamafactory-dba compare micro.yaml --jobs 2")


@pytest.fixture
def source():
    return SOURCES[0]


def deltas(other: str) -> list[list[float]]:
    """Elastic minus another in S: a list for each base and domain, of the seeds that both have."""
    groups = []
    for base, domain in itertools.product(BASES, DOMAINS):
        groups.append([])
        for seed in SEEDS:
            mine, theirs = (
                scores(SimpleNamespace(base=base, domain=domain, method=method, seed=seed))
                for method in ("elastic_kronecker", other)
            )
            if isinstance(theirs, tuple):
                groups[-1].append(harmonic(*mine) - harmonic(*theirs))
    return groups


@pytest.mark.parametrize("other, pairs", [("direct", 12), ("lora", 8)])
def test_the_recommended_setting_minus_another(found, other, pairs):
    item = gain(found, "all", "elastic_kronecker", other)
    groups = deltas(other)
    flat = [value for group in groups for value in group]
    assert (item.pairs.n, item.domains.n, item.clusters, len(flat)) == (pairs, pairs, 4, pairs)
    assert item.pairs.mean == item.domains.mean == pytest.approx(fmean(flat), rel=1e-12)
    # the bootstrap's error is √((n - 1)/n)·std/√n, of pairs and of the means of clusters of equal size; 10,000 draws
    # know it to 0.7 %, four times that
    assert item.pairs.se == pytest.approx(math.sqrt((pairs - 1) / pairs) * stdev(flat) / math.sqrt(pairs), rel=0.028)
    means = [fmean(group) for group in groups]
    assert item.domains.se == pytest.approx(math.sqrt(3 / 4) * stdev(means) / 2, rel=0.028)
    assert item.wins == sum(value > 0 for value in flat)


def test_beaten_asks_for_both_errors(found):
    """One domain of two has next to no difference: many pairs agree, two domains do not."""
    item = gain(found, "micro-instruct", "elastic_kronecker", "direct")
    assert item.pairs.errors > 2 > item.domains.errors
    assert item.beaten is False
    assert gain(found, "micro-base", "elastic_kronecker", "direct").beaten is True
    assert gain(found, "all", "elastic_kronecker", "not_there") is None


def test_tables_show_the_sums(found):
    text = tables.methods(found)
    means = [fmean([harmonic(70.0 + seed, 70.0) for _ in DOMAINS]) for seed in SEEDS]
    row = f"| **`elastic_kronecker`** | elastic_kronecker | {fmean([71, 72, 73]):.2f} ± 1.00 | 70.00 ± 0.00 |"
    assert f"{row} {fmean(means):.2f} ± {stdev(means):.2f} | 3 |" in text
    assert "| – | base model | 5.00 | 80.00 |" in text
    assert "| `wise_ft [alpha=0.5]` | wise_ft, α = 0.5 |" in text
    flat = [value for group in deltas("mix_1_1") for value in group]
    assert re.search(rf"\| all base models \| `mix_1_1` \| .* \| \+{fmean(flat):.2f} \|", tables.mixing(found))
    verdict = tables.verdict(found)
    assert re.search(r"\| `direct` \| (yes|no) \| \+", verdict)
    assert "| `annealing` | not in this suite | – | – | – |" in verdict
    assert f"| **`{RECOMMENDED}`** | {fmean(means):.2f} ± {stdev(means):.2f} (72.0, 70.0) |" in tables.domains(found)
    assert "| **`elastic_kronecker`** | 70.0 |" in tables.skills(found)
    everything = "\n".join(make(found) for name, make in page.TABLES.items() if name != "missing")
    assert not re.search(r"\b(nan|None|inf)\b", everything)


def test_variants_of_the_recommended_setting_have_a_column(found):
    variant = f"{RECOMMENDED}_64"
    runs = [run | {"label": variant, "s": run["s"] - 1} for run in found["runs"] if run["label"] == RECOMMENDED]
    methods = [entry | {"label": variant} for entry in found["methods"] if entry["label"] == RECOMMENDED]
    text = tables.verdict({**found, "runs": found["runs"] + runs, "methods": found["methods"] + methods})
    assert "[learning_rate" not in text
    head, row = (line.split(" | ") for line in text.splitlines() if "against" in line or "`direct`" in line)
    assert head[-1] == f"`{variant}` |"
    all_bases, mine = (float(row[place].split()[0]) for place in (2, -1))
    assert mine == pytest.approx(all_bases - 1, abs=0.011)  # two decimals each


def test_a_rival_at_another_value_has_a_row(found):
    label = "direct [learning_rate=0.1]"
    setting = {"learning_rate": 0.1}
    runs = [run | {"label": label, "setting": setting} for run in found["runs"] if run["label"] == "direct"]
    methods = [e | {"label": label, "setting": setting} for e in found["methods"] if e["label"] == "direct"]
    text = tables.verdict({**found, "runs": found["runs"] + runs, "methods": found["methods"] + methods})
    first, second = (line for line in text.splitlines() if line.startswith("| `direct"))
    assert first.replace("`direct`", f"`{label}`") == second


def test_what_is_missing_is_said(found, source):
    text = notes.missing(found)
    assert "- in part: `lora` (2 of 12 missing)" in text
    assert "- diverged: `micro-base/law/lora/seed3`: grad_norm is nan" in text
    left = {
        **found,
        "left_out": {"galore": "needs galore_torch"},
        "failed": [{"name": "x", "error": "ValueError: a\nb"}],
    }
    assert "- `galore` is left out: needs galore_torch." in notes.missing(left)
    assert "- failed: `x`: ValueError: a" in notes.missing(left)
    assert "Done: 56 of 60 models, 2 diverged, 2 not run or failed." in notes.about(found, source)


def test_times_are_compared_of_one_job_only(found):
    assert at_a_time(found) == 2
    assert "are not compared: 2 ran at a time" in notes.cost(found, None, [])
    assert "| time |" not in tables.methods(found)
    alone = {**found, "command": "llamafactory-dba compare micro.yaml"}
    assert time_ratio(alone, "all", "elastic_kronecker") == (1.5, 1.5, 1.5)
    assert "| 1.50 (1.50–1.50) |" in tables.methods(alone)
    assert show(facts_of(alone, "micro")["micro.all.elastic_kronecker.time"]) == "1.50"
    assert facts_of(found, "micro")["micro.all.elastic_kronecker.time"] is None
    first, *others = alone["runs"]
    taken = {**alone, "runs": [{**first, "taken": "another machine"}, *others]}
    assert at_a_time(alone) == 1 and at_a_time(taken) is None and "| time |" not in tables.methods(taken)
    unknown = {key: value for key, value in found.items() if key != "command"}
    assert "it is not known how many ran at a time" in notes.cost(unknown, None, [])


def test_optimizer_steps_are_compared(found):
    assert "as many optimizer steps as `direct`" in notes.cost(found, None, [])
    runs = [{**run, "steps": (run["steps"] or 0) * (2 if run["label"] == "lora" else 1)} for run in found["runs"]]
    assert "`lora` 2." in notes.cost({**found, "runs": runs}, None, [])


def test_keys(found):
    facts = facts_of(found, "micro")
    assert show(facts["micro.micro-base.elastic_kronecker.S_G"]) == "70.00 ± 0.00"
    assert facts["micro.micro-base/law.elastic_kronecker.S.n"] == 3
    assert facts["micro.all.best_mix.label"] == "mix_1_1"
    assert facts["micro.all.best_mix.behind"] == facts["micro.all.mix_1_1.behind"]
    assert facts["micro.all.best_wise_ft.label"] == "wise_ft [alpha=0.5]"
    behind = [value for group in deltas("direct") for value in group]
    assert facts["micro.all.direct.behind.mean"] == pytest.approx(fmean(behind), rel=1e-12)
    assert facts["micro.all.elastic_kronecker.delta.mean"] == pytest.approx(fmean(behind), rel=1e-12)
    assert (facts["micro.done"], facts["micro.diverged"], facts["micro.wanted"]) == (56, 2, 60)
    assert facts["micro.seeds"] == "1, 2, 3"


def test_a_page_without_any_result(tmp_path):
    facts = page.all_facts(tmp_path)
    text = page.page("{{ micro.tables.all }}\n{{ real_small.tables.rates }}\n", facts)
    assert "Not measured yet: `llamafactory-dba compare examples/compare/micro.yaml` does it." in text
    assert page.out_of_date(tmp_path, tmp_path) == []


def test_a_copy_leaves_out_what_the_page_does_not_use(found):
    assert len(found["runs"]) == 58, "of 60, two were not run"
    assert not {"gauge", "results"} & set(found["runs"][0])
    assert found["command"].endswith("--jobs 2")


def test_figures_name_every_method_and_know_their_numbers(found, tmp_path):
    (tmp_path / "compare_micro.json").write_text(json.dumps(found), encoding="utf-8")
    assert len(page.out_of_date(tmp_path, tmp_path)) == 2
    written = page.draw_all(tmp_path, tmp_path)
    assert [path.name for path in written] == ["results-micro-plane.svg", "results-micro-bars.svg"]
    plane, bars = (path.read_text(encoding="utf-8") for path in written)
    for name in ("direct", "mix_1_1", "lora", "elastic_kronecker", "wise_ft", "base model", "micro-instruct"):
        assert f">{name}<" in plane, name
    for name in ("direct (3)", "lora (2)", "wise_ft α=0.5 (3)"):
        assert f">{name}<" in bars, name
    assert page.out_of_date(tmp_path, tmp_path) == []
    again = figures.draw(found, "micro", tmp_path)
    assert [path.read_text(encoding="utf-8") for path in again] == [plane, bars], "the same numbers, the same bytes"
    changed = json.loads(json.dumps(found))
    changed["methods"][0]["s"]["mean"] += 0.5
    assert figures.digest(changed) != figures.digest(found)


def test_the_page_says_how_rates_were_chosen_and_whether_the_suite_took_them(tmp_path):
    """Direct's best lies at the low end, and the suite runs it at another; LoRA has no whole value at all."""
    raw = suite(
        name="micro_rates",
        methods={"direct": {}, "lora": {"keys": {"finetuning_type": "lora"}}},
        sweeps={"rate": {"key": "learning_rate", "values": [3.0e-4], "methods": ["direct", "lora"]}},
        seeds=[100],
    )

    def chosen(run):
        if run.method == "lora" and run.domain == "law":
            return None
        return (80.0, 80.0) if run.setting else (60.0, 60.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        content = compared(raw, chosen)
        choices = choose(content, parse_suite(raw))
    text = notes.rates(choices, content, "compare_micro_rates.json", parse_suite(suite()))
    grid = "**0.0003**: 80.00, 0.001: 60.00"
    assert f"| `direct` | `learning_rate` | {grid} | 20.00 | **low end** | 0.001, **not the choice** |" in text
    assert "0.0003: 80.00 (2 of 4 cells), 0.001: 60.00 (2 of 4 cells) | – | nothing chosen yet | 0.001 |" in text
    assert (
        f"Without a grid of their own (`examples/compare/micro.yaml` says what they take): `mix_1_1`, `{RECOMMENDED}`."
        in text
    )
    facts = facts_of_rates(choices, "micro_rates")
    assert facts["micro_rates.direct.learning_rate"] == "0.0003"
    assert facts["micro_rates.direct.learning_rate.end"] == "low"
    chosen = facts["micro_rates.direct.learning_rate"]
    assert facts[f"micro_rates.direct.learning_rate={chosen}.S"] == facts["micro_rates.direct.learning_rate.S"]
    # four equal numbers
    assert facts["micro_rates.direct.learning_rate.S"] == pytest.approx(80.0, rel=1e-14)
    assert facts["micro_rates.lora.learning_rate"] is None
    (tmp_path / "compare_micro_rates.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    shown = page.page("{{ micro.tables.rates }} {{ micro_rates.direct.learning_rate }}", page.all_facts(tmp_path))
    assert "**low end** | – |" in shown, "the suite itself was not run, so what it takes is not known"


def test_one_base_and_one_domain(tmp_path):
    """As real_small.yaml: no table of all base models, no error over domains."""
    raw = suite(name="real_small")
    raw["bases"] = {"base": {"model": "examples/micro/models/micro-base", "template": "qwen3_nothink"}}
    raw["domains"] = {"finance": raw["domains"]["finance"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        content = slim(compared(raw, scores), "llamafactory-dba compare real_small.yaml --jobs 2")
    (tmp_path / "compare_real_small.json").write_text(json.dumps(content), encoding="utf-8")
    facts = page.all_facts(tmp_path)
    text = page.page("{{ real_small.tables.all }}\n{{ real_small.base.direct.behind.errors | .0f }}\n", facts)
    assert "all base models" not in text and "**base**" not in text
    assert re.search(r"\| `direct` \| yes \| \+.* \(\+\d+\.\d / –\) \|", text)
    assert "One domain: by pairs alone." in text
    assert "| `lora` | +" in text and "in part: `lora` (1 of 3 missing)" in text
    assert facts["real_small.base.base.S_G"] == 80.0
    assert [path.name for path in page.draw_all(tmp_path, tmp_path)] == [
        "results-real_small-plane.svg",
        "results-real_small-bars.svg",
    ]


def test_what_stands_aside_has_scores_and_no_figure(tmp_path):
    text = "{{ real_small_galore.tables.all }}"
    assert "Not measured yet: `llamafactory-dba compare" in page.page(text, page.all_facts(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        content = slim(compared(suite(name="real_small_galore"), scores), "llamafactory-dba compare it --jobs 2")
    (tmp_path / "compare_real_small_galore.json").write_text(json.dumps(content), encoding="utf-8")
    facts = page.all_facts(tmp_path)
    shown = page.page(text + " {{ real_small_galore.all.lora.S }} {{ real_small_galore.all.lora.delta }}", facts)
    assert "by `llamafactory-dba compare it --jobs 2`" in shown and "| `lora` |" in shown
    assert "real_small_galore.tables.verdict" not in facts and page.draw_all(tmp_path, tmp_path) == []


def test_the_plane_is_enlarged_where_the_methods_lie_together():
    def entry(label, s_d, s_g):
        return {"label": label, "s_d": {"mean": s_d}, "s_g": {"mean": s_g}}

    near = [entry("direct", 60.0, 42.0), entry("lora", 50.0, 41.0), entry("wise_ft [alpha=0.2]", 5.0, 45.0)]
    assert figures._window(near, (6.0, 45.0)) == ((50 - 1.7, 60 + 1.7), (41 - 0.98, 45 + 0.98))
    assert figures._window([*near, entry("asft", 6.5, 44.0)], (6.0, 45.0)) == figures._window(near, (6.0, 45.0))
    assert figures._window([*near, entry("asft", 8.0, 44.0)], (6.0, 45.0)) == figures.WHOLE
    assert figures._window([*near, entry("pcgrad", 60.0, 2.0)], (6.0, 45.0)) == figures.WHOLE
    assert figures._window(near[:1], None) == figures.WHOLE


def test_the_suite_aside_has_the_settings_of_real_small():
    """Its header says so, and of both with `elastic` that these were tuned anew; YAML files cannot share them."""
    whole, aside = (read_suite(ROOT / f"examples/compare/{name}.yaml") for name in ("real_small", "real_small_galore"))
    assert aside.common == whole.common and aside.bases == whole.bases and aside.domains == whole.domains
    for name in ("galore", "annealing"):
        assert aside.methods[name].keys == whole.methods[name].keys


def test_what_micro_variants_shares_with_micro_is_the_same():
    """One names the scores of the other, and takes over its runs; YAML files cannot share them."""
    whole, aside = (read_suite(ROOT / f"examples/compare/{name}.yaml") for name in ("micro", "micro_variants"))
    own = {"elastic_diagonal", "elastic_4", "elastic_galore", "embeddings_10", "ewc_factored"}
    shared = {name: aside.methods[name] for name in aside.methods if name not in own}
    assert set(shared) == set(aside.methods) & set(whole.methods) and RECOMMENDED in shared
    assert shared == {name: whole.methods[name] for name in shared}
    different = {"name", "version", "title", "methods"}
    assert {k: v for k, v in vars(aside).items() if k not in different} == {
        k: v for k, v in vars(whole).items() if k not in different
    }


def test_the_suite_of_more_seeds_differs_from_real_small_in_its_seeds_alone():
    """The page takes both together; YAML files cannot share methods."""
    whole, more = (read_suite(ROOT / f"examples/compare/{name}.yaml") for name in ("real_small", "real_small_seeds"))
    assert (more.common, more.bases, more.domains) == (whole.common, whole.bases, whole.domains)
    assert more.methods == {name: whole.methods[name] for name in more.methods}
    assert (more.evaluate, more.evaluation, more.budget) == (whole.evaluate, whole.evaluation, whole.budget)
    assert not set(more.seeds) & set(whole.seeds)


def test_what_an_earlier_call_measured_is_said(found, source):
    runs = [dict(run) for run in found["runs"]]
    for run in runs[:3]:
        run["taken"] = "compare.json of 2026-01-01"
    text = notes.about({**found, "runs": runs}, source)
    assert "3 of them were measured by an earlier call" in text and "2026-01-01" in text
    assert "earlier call" not in notes.about(found, source)


def test_a_slim_copy_can_be_taken_from(found):
    """`compare --take` needs the hash of each run, and tables by skill its tasks."""
    done = [run for run in found["runs"] if run["state"] == "done"]
    assert all(run["hash"] for run in done)
    assert all(set(task) == {"role", "value"} for run in done for task in run["tasks"].values())
    assert any(run["tasks"] for run in done)
