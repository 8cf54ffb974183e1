"""The benchmarks of anchors run to their end and write what they say; their figures are not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(script, out, *options):
    command = [sys.executable, str(FOLDER / script), "--out", str(out), "--threads", "1", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=500)
    return json.loads(out.read_text())


@pytest.mark.slow
def test_truncation(tmp_path):
    result = run("truncation.py", tmp_path / "out.json", "--rows", "256", "--cols", "512", "--rank", "16")
    assert result["shape"] == [256, 512] and result["speedup"] > 0 and len(result["seconds"]["exact"]) == 3
    # the matrix was made with these singular values, in fp32
    assert result["relative_error"]["exact"] == pytest.approx(
        result["relative_error"]["by_the_singular_values"], rel=1e-4
    )
    assert 0.9999 < result["error_ratio"] < 1.1 and result["machine"]["torch"]


@pytest.mark.slow
def test_merge_memory(tmp_path):
    result = run("merge_memory.py", tmp_path / "out.json", "--folder", str(tmp_path))
    assert result["peak_bytes"] > result["imports_alone_bytes"] > 0 and result["bytes"]["merged"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
