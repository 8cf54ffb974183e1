"""The comparison of runs that were made twice."""

import pytest

from benchmarks.compare_repeat import repeat
from llamafactory_dba.errors import DBAError


def row(key, s, taken="", state="done", method="direct", alpha=None):
    return {"hash": key, "alpha": alpha, "s_d": s, "s_g": s, "s": s, "taken": taken, "state": state, "method": method}


def test_only_runs_made_twice_count():
    first = {"runs": [row("a", 50.0), row("b", 40.0, method="lora"), row("c", 1.0), row("d", 2.0, state="failed")]}
    second = {
        "created": "now",
        "runs": [
            row("a", 50.0),
            row("b", 43.0, method="lora"),
            row("c", 9.0, taken="first"),
            row("d", 9.0),
            row("e", 1.0),
        ],
    }
    found = repeat(first, second)
    assert (found["runs"], found["identical"]) == (2, 1)
    assert found["scores"]["s"] == {"mean": 1.5, "mean_absolute": 1.5, "largest": 3.0}
    assert found["methods"]["lora"] == {"runs": 1, "identical": 0, "mean": 3.0, "mean_absolute": 3.0, "largest": 3.0}
    assert found["made"][1]["created"] == "now"


def test_points_of_a_frontier_are_told_apart():
    content = {"runs": [row("a", 10.0, alpha=0.2), row("a", 20.0, alpha=0.8)]}
    assert repeat(content, content)["identical"] == 2


def test_nothing_in_common():
    with pytest.raises(DBAError, match="no run in common"):
        repeat({"runs": [row("a", 1.0)]}, {"runs": [row("a", 1.0, taken="there")]})
