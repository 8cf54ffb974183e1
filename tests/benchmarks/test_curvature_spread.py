"""benchmarks/curvature_spread.py against the sums over dense curvatures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from anchor.helpers import config, curvature, truncations

from llamafactory_dba.anchor.curvature import load_curvature
from llamafactory_dba.anchor.format import read_config, save_anchor


SCRIPT = Path(__file__).parents[2] / "benchmarks" / "curvature_spread.py"


def test_spread(tmp_path):
    save_anchor(tmp_path / "anchor", truncations(), config(), curvature=curvature())
    out = tmp_path / "out.json"
    subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "anchor"), "--out", str(out)], check=True, capture_output=True
    )
    (found,) = json.loads(out.read_text())["anchors"]
    known = read_config(tmp_path / "anchor")
    items = load_curvature(tmp_path / "anchor", known, known.tensors).values()
    # of one term the eigenvalues: the basis does not matter
    parts = [
        np.linalg.eigvalsh(reference.kronecker_curvature(*item.terms[0]))
        if item.terms
        else np.asarray(reference.curvature_diagonal(*item)).ravel()
        for item in items
    ]
    values = np.sort(np.concatenate(parts))[::-1]
    mean = values.mean()
    assert found["directions"] == len(values)
    # stored as fp32
    assert found["mean"] == pytest.approx(mean, rel=1e-5)
    assert found["weighted_by_itself"] == pytest.approx((values**2).sum() / values.sum() / mean, rel=1e-5)
    assert found["median"] == pytest.approx(values[len(values) // 2] / mean, rel=1e-4)
    half = (np.cumsum(values) / values.sum() < 0.5).mean()
    assert found["directions_with"]["0.5 of the trace"] == pytest.approx(half)
