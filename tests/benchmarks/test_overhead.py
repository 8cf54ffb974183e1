"""The overhead benchmark runs to its end and writes what its readers expect; its figures are not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


SCRIPT = Path(__file__).parents[2] / "benchmarks" / "overhead.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, kinds",
    [
        ([], ("plain", "dba")),
        (["--anchor"], ("direct", "anchor")),
        (["--elastic", "--kronecker", "--every", "2"], ("plain", "elastic")),
        (
            ["--elastic", "--kronecker", "--directions", "8", "--products", "bfloat16", "--autocast"],
            ("plain", "elastic"),
        ),
    ],
)
def test_overhead_script(tmp_path, options, kinds):
    out = tmp_path / "overhead.json"
    command = [sys.executable, str(SCRIPT), "--params", "tiny", "--tokens", "64", "--pairs", "2", "--out", str(out)]
    subprocess.run([*command, *options], check=True, capture_output=True)
    result = json.loads(out.read_text())
    assert result["ratio"]["median"] > 0 and result["pairs"] == 2 and result["machine"]["torch"]
    assert all(result["memory_bytes"][kind] > 0 and result["seconds"][kind]["median"] > 0 for kind in kinds)
