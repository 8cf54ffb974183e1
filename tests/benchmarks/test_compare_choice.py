"""The choice of a rate from a comparison: best mean S over whole grids, ends and gaps said."""

import json

import pytest

from benchmarks import compare_choice
from benchmarks.compare_page import page, sweeps
from benchmarks.compare_page.choice import choose, own_value
from llamafactory_dba.arguments import DBAArguments
from llamafactory_dba.compare.suite import parse_suite, read_suite
from llamafactory_dba.compare.table import read_comparison
from llamafactory_dba.errors import DBAError
from tests.benchmarks.comparisons import ROOT, compared, harmonic, suite, write_suite


# S_D and S_G of each rate, the same in every cell but for one
RATES = {1e-4: (20.0, 80.0), 3e-4: (60.0, 70.0), 1e-3: (90.0, 10.0)}
ELASTIC = {"learning_rate": {1e-3: (60.0, 60.0), 3e-3: (70.0, 65.0)}, "dba_elastic_strength": {1e5: (65.0, 62.0)}}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def rates_suite():
    return suite(
        name="rates_of_a_test",
        methods={
            "direct": {"keys": {"learning_rate": 3.0e-4}},
            "lora": {"keys": {"finetuning_type": "lora", "learning_rate": 3.0e-4}},
            "elastic": {"needs": ["anchor"], "keys": {"use_dba": True, "dba_variant": "elastic"}},
            "agem": {"needs": ["anchor"], "keys": {"use_dba": True, "dba_variant": "agem"}},
        },
        sweeps={
            "rate": {"key": "learning_rate", "values": [1.0e-3, 1.0e-4], "methods": ["direct", "lora"]},
            "elastic": {"key": "learning_rate", "values": [3.0e-3], "methods": ["elastic"]},
            "strength": {"key": "dba_elastic_strength", "values": [1.0e5], "methods": ["elastic"]},
        },
        seeds=[100],
    )


def scores(run):
    if run.method == "elastic":
        if not run.setting:
            return ELASTIC["learning_rate"][1e-3]
        ((key, value),) = run.setting.items()
        return ELASTIC[key][value]
    value = run.setting.get("learning_rate", 3e-4)
    if run.method == "lora":
        if value == 3e-4 and (run.base, run.domain) == ("micro-base", "law"):
            return "diverged"
        if value == 1e-3 and run.domain == "law":
            return None
    return RATES[value]


@pytest.fixture
def choices():
    raw = rates_suite()
    return {choice.method: choice for choice in choose(compared(raw, scores), parse_suite(raw))}


def test_the_best_mean_over_all_cells(choices):
    choice = choices["direct"]
    assert (choice.label, choice.keys, choice.untried) == ("direct", {"learning_rate": 3e-4}, ())
    (axis,) = choice.axes
    assert [item.value for item in axis.grid] == [1e-4, 3e-4, 1e-3]
    # float64 means of four equal numbers: a few roundings
    assert [item.s for item in axis.grid] == pytest.approx([harmonic(*pair) for pair in RATES.values()], rel=1e-14)
    assert (axis.chosen, axis.end, choice.s) == (3e-4, "", axis.grid[1].s)
    assert axis.ahead == pytest.approx(harmonic(60, 70) - harmonic(20, 80), rel=1e-12)
    assert len(axis.grid[0].cells) == 4


def test_values_without_all_cells_are_shown_and_not_chosen(choices):
    (axis,) = choices["lora"].axes
    assert axis.chosen == 1e-4 and axis.end == "low", "3e-4 has the best mean, of three cells"
    lacks = {item.value: (len(item.cells), item.diverged, item.missing) for item in axis.grid}
    assert lacks == {1e-4: (4, 0, 0), 3e-4: (3, 1, 0), 1e-3: (2, 0, 2)}


def test_two_keys_that_both_move_were_not_tried_together(choices):
    choice = choices["elastic"]
    assert choice.untried == ("learning_rate", "dba_elastic_strength")
    # the best of all single moves; the strength stays the argument's default
    assert choice.keys == {"learning_rate": 3e-3, "dba_elastic_strength": DBAArguments().dba_elastic_strength}
    assert [(axis.chosen, axis.end) for axis in choice.axes] == [(3e-3, "high"), (1e5, "high")]
    assert "agem" not in choices, "what is not swept has nothing to choose"


def test_the_sweeps_of_the_repository_have_their_own_values():
    """The page's table names each method's own value of every swept key."""
    found = read_suite(ROOT / "examples/compare/micro_sweeps.yaml")
    own = {
        (method, sweep.key): own_value(found, method, sweep.key)
        for sweep in found.sweeps.values()
        for method in sweep.methods
    }
    assert own["dba", "general_samples"] == own["elastic", "general_samples"] == "all"
    assert own["dba", "dba_svd_rank"] == 16 and own["elastic", "dba_elastic_every"] == 4


def test_an_own_value_that_differs_between_domains_is_an_error():
    raw = rates_suite()
    found = compared(raw, scores)
    raw["methods"]["direct"] = {}
    raw["domains"]["law"]["keys"] = {"learning_rate": 1.0e-2}
    with pytest.raises(DBAError, match=r"own value of learning_rate is not one value(.|\n)*0\.001, 0\.01"):
        choose(found, parse_suite(raw))


def test_a_suite_aside_shows_its_grid(tmp_path):
    raw = {**rates_suite(), "name": "micro_galore"}
    write_suite(raw, tmp_path)
    text = json.dumps(compared(raw, scores))
    (tmp_path / "compare_micro_galore.json").write_text(text, encoding="utf-8")
    shown = page.all_facts(tmp_path)["micro_galore.tables.all"]
    assert f"0.0001: {harmonic(20, 80):.2f}, **0.0003**: {harmonic(60, 70):.2f}" in shown
    assert "Without a grid of their own" in shown, "agem has none"


def test_the_command_prints_and_writes(tmp_path, capsys):
    raw = rates_suite()
    (tmp_path / "compare.json").write_text(json.dumps(compared(raw, scores)), encoding="utf-8")
    with pytest.raises(SystemExit, match="suite of this comparison was not found"):
        compare_choice.main([str(tmp_path / "compare.json")])
    write_suite(raw, tmp_path)
    compare_choice.main([str(tmp_path / "compare.json"), "--out", str(tmp_path / "choice.json")])
    shown = capsys.readouterr().out
    assert f"direct: learning_rate: 0.0003   mean S {harmonic(60, 70):.2f}" in shown
    assert "! best at the low end of the grid of learning_rate" in shown
    assert "(3 of 4 cells, 1 diverged)" in shown and "(2 of 4 cells, 2 not done)" in shown
    assert "not tried together" in shown
    written = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))
    assert {c["method"]: c["keys"] for c in written["choices"]}["direct"] == {"learning_rate": 3e-4}


def test_something_else_is_refused(tmp_path):
    (tmp_path / "compare.json").write_text('{"format": "other"}', encoding="utf-8")
    with pytest.raises(DBAError, match="This is no comparison"):
        read_comparison(tmp_path / "compare.json")
    with pytest.raises(DBAError, match="cannot be read"):
        read_comparison(tmp_path / "missing.json")


def test_the_table_of_sweeps():
    raw = rates_suite()
    text = sweeps.table(compared(raw, scores), parse_suite(raw))
    lines = [line for line in text.splitlines() if line.startswith("| `direct` | `learning_rate`")]
    assert [line.split(" | ")[2] for line in lines] == ["0.0001", "**0.0003**", "0.001"], "rising, its own value bold"
    assert "32.00 (20.0, 80.0), 1" in lines[0], "S of S_D 20 and S_G 80, one seed"
    (lost,) = [line for line in text.splitlines() if line.startswith("| `lora` | `learning_rate` | **0.0003**")]
    assert "1 diverged" in lost
    assert text.splitlines()[-1].startswith("| `direct` |  |  |")
