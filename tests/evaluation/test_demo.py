"""The demo's recipes are twins, its records add up, and its table and plot need nothing but results."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from llamafactory_dba.demo import ANCHORED, METHODS, as_record
from llamafactory_dba.reporting.demo import plot, table


RECIPES = Path(__file__).parents[2] / "examples" / "micro"
RATE = {"learning_rate", "lr_scheduler_type", "warmup_steps"}
OUTPUT = {"output_dir"}


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))


def differing(first: str, second: str) -> set[str]:
    one, two = load(first), load(second)
    return {key for key in one.keys() | two.keys() if one.get(key) != two.get(key)}


def test_recipes_differ_only_where_they_say_so() -> None:
    assert differing("direct", "annealing") == RATE | OUTPUT
    dba_keys = {key for key in load("dba") if key.startswith("dba_")} - {"dba_record"} | {"use_dba"}
    assert differing("annealing", "dba") == dba_keys | {"learning_rate"} | OUTPUT
    assert differing("direct", "dba") == dba_keys | RATE | OUTPUT
    assert differing("dba_twin", "dba") == dba_keys | OUTPUT
    elastic_keys = {key for key in load("elastic") if key.startswith("dba_")} - {"dba_record"} | {"use_dba"}
    assert differing("direct", "elastic") == elastic_keys | RATE - {"learning_rate"} | OUTPUT
    assert differing("anchor", "anchor_curvature") == {"dba_anchor_curvature", "dba_curvature_kind"} | OUTPUT
    assert load("dba")["dba_anchor_path"] == load("anchor")["output_dir"]
    assert load("dba")["dba_svd_rank"] == load("anchor")["dba_svd_rank"]
    assert load("dba")["dba_anchor_dataset"] == load("anchor")["dataset"]


def scores(domain: int, general: int) -> dict[str, Any]:
    task = {"total": 10, "unparsed": 1}
    return {
        "domains": {"finance": {"accuracy": domain, **task}},
        "general": {name: {"accuracy": general, **task} for name in ("a", "b")},
        "s_g": general,
    }


@pytest.fixture
def results() -> dict[str, Any]:
    base = as_record("base", scores(40, 80), "finance", None)
    records = [base]
    for method, title in METHODS.items():
        record = as_record(title, scores(80, 60), "finance", base)
        read = {"anchor_bytes": 6789} if method in ANCHORED else {}
        records.append(record | read | {"seconds": 1.5, "peak_memory_bytes": 10**9})
    return {
        "base": "micro-instruct",
        "domain": "finance",
        "domain_chance": 33.3,
        "seed": 1,
        "records": records,
        "anchor": {"seconds": 2.0, "peak_memory_bytes": 10**9, "bytes": 12345},
        "seconds_total": 60.0,
    }


def test_records_hold_the_joint_score_and_the_change(results: dict[str, Any]) -> None:
    base, direct, *_ = results["records"]
    assert "delta" not in base
    assert base["s"] == pytest.approx(2 * 40 * 80 / 120)
    assert direct["delta"] == pytest.approx({"s_d": 40, "s_g": -20, "s": 2 * 80 * 60 / 140 - 2 * 40 * 80 / 120})
    assert direct["unparsed_general"] == 2


def test_table_and_plot(results: dict[str, Any], tmp_path: Path) -> None:
    text = table(results)
    assert "| base | 40.0 | 80.0 | 80.0 | 80.0 | 53.3 |  |  |  |" in text
    assert "+40.0 | -20.0 |" in text
    assert "12,345" in text
    assert "| annealing alone | 1.5 | 1000 | 0 |" in text
    assert text.count("| 6,789 |") == 2
    plot(results, tmp_path / "plot.png")
    assert 1000 < (tmp_path / "plot.png").stat().st_size < 200_000
