"""``dba_layers.jsonl``: at some steps, the cosine of every tensor's domain gradient and its part of the anchor.

    {"step": 0, "similarity": {"model.layers.0.mlp.up_proj.weight": -0.0123, …}}

``step`` is the optimizer step, counted from 0 as in dba_log.jsonl. The cosine is signed, which equation 7's similarity
is not: above 0 the step goes along the anchor and so helps the general data, below 0 it goes against it,

    cos_l = ⟨g_D,l , ĝ_G,l⟩ / (‖g_D,l‖ ‖ĝ_G,l‖)        s_t = |Σ_l cos_l ‖g_D,l‖ ‖ĝ_G,l‖| / (‖g_D‖ ‖ĝ_G‖)

and it is of the gradient before blending and of the anchor in use. A tensor whose gradient or anchor is zero has no
direction and is left out of its line. The products are those that the step needs anyhow.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..core.correction import similarity
from .step_log import read_lines


FILE_NAME = "dba_layers.jsonl"
LINES = 100  # of a run, at most, unless the user asks for more


class LayerRecord(NamedTuple):
    """One line of the file: the step and the signed cosine per tensor, in [-1, 1]."""

    step: int
    similarity: dict[str, float]


def interval(asked: int | None, total_steps: int) -> int:
    """Steps from line to line: as asked (0: no lines), by default so many that a run has `LINES` lines at most."""
    return max(1, -(-total_steps // LINES)) if asked is None else asked


def cosines(names: Iterable[str], sums: Iterable[tuple[float, float]], norms: Iterable[float]) -> dict[str, float]:
    """Signed cosine per tensor, six digits; the sums are of fp32 numbers.

    Args:
        names: of the tensors.
        sums: per tensor ⟨g_D, ĝ_G⟩ and ‖g_D‖².
        norms: per tensor ‖ĝ_G‖.
    """
    found = {}
    for name, (dot, square), anchor_norm in zip(names, sums, norms, strict=True):
        if square > 0 and anchor_norm > 0:
            cosine = math.copysign(similarity(dot, math.sqrt(square), anchor_norm), dot)
            found[name] = float(f"{cosine:.6g}")
    return found


def read_layers(folder: Path) -> list[LayerRecord]:
    """The lines of a run's ``dba_layers.jsonl``, ascending; empty without the file."""
    rows = map(json.loads, read_lines(folder / FILE_NAME))
    return [LayerRecord(int(row["step"]), dict(row["similarity"])) for row in rows]
