"""Runs that differ only in their seed: one row, with the mean and the spread of numbers made run by run."""

import dataclasses
from statistics import mean, stdev

import pytest
from reporting.runs import write_logs, write_run

from llamafactory_dba.evaluation.results import Cost
from llamafactory_dba.evaluation.scores import joint_score
from llamafactory_dba.reporting.page.collect import collect
from llamafactory_dba.reporting.page.costs import COST_TITLES, costs, provenance
from llamafactory_dba.reporting.page.skills import headline
from llamafactory_dba.reporting.page.tables import scores, single_runs, single_tasks, tasks


SHARES = ((0.8, 0.5), (0.6, 0.7), (0.4, 0.9))


def write_seeds(root, method="dba", shares=SHARES, **changes):
    for seed, pair in enumerate(shares):
        write_run(root / f"{method}-{seed}", f"{method}-seed{seed}", *pair, method=method, seed=seed, **changes)


@pytest.fixture
def seeds(tmp_path):
    write_run(tmp_path / "base", "base", 0.1, 0.9, method="base", seed=None)
    write_seeds(tmp_path, base="../base")
    (group,) = collect([tmp_path]).groups
    return group


def test_s_is_made_for_each_run_and_then_averaged(seeds):
    (series,) = seeds.series
    assert series.label == "dba (3 seeds)"
    each = [joint_score(100 * d, 100 * g) for d, g in SHARES]
    assert series.number("s") == (pytest.approx(mean(each)), pytest.approx(stdev(each)), 3)
    assert series.number("s").mean != pytest.approx(joint_score(60, 70), abs=1), "S of the means is another number"
    assert ("dba (3 seeds)", "60.0 ± 20.0", "70.0 ± 20.0") == scores(seeds).rows[1][:3]
    assert [row[1] for row in single_runs(seeds).rows] == ["80.0", "60.0", "40.0"]
    assert "computed for each run and then averaged" in scores(seeds).note


def test_the_sentence_says_how_many_seeds(seeds, tmp_path):
    assert "mean ± standard deviation over 3 seeds" in headline(seeds)
    assert "3 of 3 general tasks are below the base model at p < 0.05 in a seed or more: arithmetic -20.0" in headline(
        seeds
    )
    write_run(tmp_path / "one" / "run", "run", 0.5, 0.5)
    assert "; one seed)" in headline(collect([tmp_path / "one"]).groups[0])
    write_run(tmp_path / "none" / "run", "run", 0.5, 0.5, seed=None)
    assert "; one run)" in headline(collect([tmp_path / "none"]).groups[0])


def test_tasks_over_seeds_count_the_seeds_that_are_worse(seeds):
    rows = [row for row in tasks(seeds).rows if row[1] == "dba (3 seeds)"]
    assert [row[6] for row in rows] == ["+50.0 ± 20.0 ▲ 3/3", *["-20.0 ± 20.0 ▼ 2/3"] * 3]
    assert all(row[3] == "–" and row[-1] == "–" for row in rows), "no interval or p of an average"
    assert all(row[5] == "3" for row in rows), "unparsed answers of all seeds"
    single = [row for row in single_tasks(seeds).rows if row[1] == "dba-seed0"]
    assert single[1][6] == "-40.0 ▼" and single[1][-1] == "< 0.001"


@pytest.mark.parametrize(
    "change",
    [{"method": "other"}, {"settings": {"rate": 2}}, {"base_model": "other/model"}, {"data": {"train": "ff"}}],
)
def test_what_differs_in_more_than_the_seed_stays_apart(tmp_path, change):
    write_run(tmp_path / "a", "run", 0.5, 0.5, seed=0)
    write_run(tmp_path / "b", "run", 0.5, 0.5, seed=1, **change)
    (group,) = collect([tmp_path]).groups
    assert len(group.series) == 2
    assert len({series.label for series in group.series}) == 2


def test_settings_that_say_only_where_or_when_do_not_part_runs(tmp_path):
    for seed in range(2):
        how = {"model_hash": str(seed), "seconds": seed, "dtype": "float32"}
        settings = {"rate": 1, "seed": seed, "output_dir": f"run{seed}", "evaluation": how}
        write_run(tmp_path / str(seed), "run", 0.5, 0.5, seed=seed, settings=settings)
    (series,) = collect([tmp_path]).groups[0].series
    assert series.label == "run (2 seeds)"
    write_run(tmp_path / "2", "run", 0.5, 0.5, seed=2, settings={"rate": 1, "evaluation": {"dtype": "float16"}})
    assert len(collect([tmp_path]).groups[0].series) == 2


def test_the_same_seed_twice_or_none_is_no_series(tmp_path):
    for place in ("a", "b"):
        write_run(tmp_path / place, f"run {place}", 0.5, 0.5, seed=7)
        write_run(tmp_path / f"n{place}", f"none {place}", 0.5, 0.5, seed=None)
    (group,) = collect([tmp_path]).groups
    assert [len(series.entries) for series in group.series] == [1] * 4
    assert single_runs(group) is None and single_tasks(group) is None


def test_series_of_one_name_are_told_apart_by_what_differs(tmp_path):
    for rate in (1, 2):
        write_seeds(tmp_path / str(rate), settings={"rate": rate, "epochs": 3})
    labels = {series.label for series in collect([tmp_path]).groups[0].series}
    assert labels == {"dba (3 seeds) [rate 1]", "dba (3 seeds) [rate 2]"}


def test_a_run_that_lacks_a_number_leaves_no_mean_of_the_others(tmp_path):
    write_run(tmp_path / "base", "base", 0.1, 0.9, method="base", seed=None)
    write_run(tmp_path / "0", "run", 0.5, 0.5, seed=0, cost=Cost(tokens=4, wall_seconds=2.0))
    write_run(tmp_path / "1", "run", 0.5, 0.5, seed=1, cost=Cost(wall_seconds=4.0))
    (series,) = collect([tmp_path]).groups[0].series
    assert series.cost("tokens") is None
    assert series.cost("wall_seconds") == (3.0, pytest.approx(2**0.5), 2)
    assert series.number("delta_s") is None, "no base, so no difference"


def test_costs_beside_plain_fine_tuning(tmp_path):
    write_seeds(tmp_path, "direct", cost=Cost(wall_seconds=100.0, step_overhead=0.5))
    write_seeds(tmp_path, "dba", cost=Cost(wall_seconds=104.0, step_overhead=0.02, anchor_bytes_on_disk=10**6))
    table = costs(collect([tmp_path]).groups[0])
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["dba (3 seeds)"] == ("104.0 (1.04×)", "1.00", "+2.0 %")
    assert rows["direct (3 seeds)"] == ("100.0", "–", "+50.0 %")
    assert "times what direct (3 seeds) took" in table.note
    assert costs(collect([tmp_path / "dba-0"]).groups[0]).rows[0][1] == "104.0", "nothing to compare with"


def test_every_cost_has_a_title():
    assert set(COST_TITLES) == {field.name for field in dataclasses.fields(Cost)}


def test_provenance_says_what_is_as_above(tmp_path):
    write_seeds(tmp_path, versions={"torch": "2.11.0", "transformers": "5.6.0"})
    table = provenance(collect([tmp_path]).groups[0])
    versions = [row[2] for row in table.rows if row[1] == "versions"]
    assert versions == ["torch 2.11.0, transformers 5.6.0", "as above", "as above"]
    assert [row[0] for row in table.rows if row[0]] == ["dba-seed0", "dba-seed1", "dba-seed2"]


def test_a_run_that_diverged_is_shown_as_such(tmp_path):
    write_seeds(tmp_path)
    write_logs(tmp_path / "dba-1", 50)
    log = tmp_path / "dba-1" / "dba_log.jsonl"
    log.write_text(
        log.read_text("utf-8") + '{"step": 50, "domain_grad_norm": NaN}\n{"step": 51, "domain_grad_norm": NaN}\n'
    )
    report = collect([tmp_path])
    assert report.groups[0].series[0].label == "dba (3 seeds) (1 of 3 diverged)"
    assert any("no number (NaN or infinite) from step 50 to the end" in note for note in report.notes)
    assert single_runs(report.groups[0]).rows[1][0] == "dba-seed1 (diverged)"
