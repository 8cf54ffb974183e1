"""The benchmark of `evaluate` runs to its end, and both programs score alike; its times are not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]


def test_evaluate_speed_script(tmp_path):
    pytest.importorskip("lm_eval", reason="lm_eval is in the extra `eval`")
    out = tmp_path / "speed.json"
    script = [sys.executable, "benchmarks/evaluate_speed.py", "--pairs", "1", "--limit", "3", "--out", str(out)]
    subprocess.run(script, check=True, cwd=ROOT)
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["same_scores"] and len(result["pairs"]) == 1
    assert result["pairs"][0]["evaluate_seconds"] > 0
