"""docs/frontier.md shows the file that it names."""

import json
import re

from llamafactory_dba.evaluation.scores import joint_score


def test_the_table_is_that_of_the_file(root):
    points = json.loads((root / "benchmarks/results/frontier_micro.json").read_text(encoding="utf-8"))["points"]
    rows = [f"| {p['alpha']:.1f} | {p['s_d']:.1f} | {p['s_g']:.1f} | {p['s']:.1f} |" for p in points]
    page = (root / "docs" / "frontier.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in page and len(re.findall(r"^\| [0-9]", page, re.MULTILINE)) == len(rows)
    assert all(abs(p["s"] - joint_score(p["s_d"], p["s_g"])) < 1e-9 for p in points)
    demo = json.loads((root / "benchmarks/results/demo.json").read_text(encoding="utf-8"))["records"]
    by_name = {record["name"]: record["s"] for record in demo}
    assert f"annealing alone at S {by_name['annealing alone']:.1f}" in page
    assert re.search(rf"DBA\s+at {by_name['DBA']:.1f}", page)
    direct = by_name["direct fine-tuning"]
    assert abs(points[-1]["s"] - direct) < 1e-9  # the end at 1 is the demo's direct run
