"""docs/gauge.md has the numbers of benchmarks/results/gauge_cost.json."""

import json
from pathlib import Path


ROOT = Path(__file__).parents[2]


def test_the_page_shows_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where the script finds its own neighbour
    import gauge_cost

    content = json.loads((ROOT / "benchmarks" / "results" / "gauge_cost.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "gauge.md").read_text(encoding="utf-8")
    assert gauge_cost.table(content) in page
    assert content["summary"] == gauge_cost.summary(content["seeds"])
    assert content["summary"]["same_final_weights"]
    cost = content["summary"]["measurement_in_steps"]
    assert f"{cost['mean']:.1f} ± {cost['std']:.1f} training steps" in page
    gauge_cost.plot(content, tmp_path / "gauge.svg")
    assert (tmp_path / "gauge.svg").stat().st_size > 10_000
