r"""Equation 2, Global Gradient Boosted learning (GGB), and its schedule.

    g_B,t = γ_t · ĝ_G + (1 − γ_t) · g_D,t           γ_t = k0 · (1 − t/T)           k0 = min(1, magnitude / T)

| symbol | argument | what |
|---|---|---|
| g_D,t | ``grad`` | the domain gradient of step t, after accumulation, averaging over ranks and clipping |
| ĝ_G | ``anchor`` | the anchor: mean gradient over general data at the base model |
| γ_t | ``weight`` | share of the anchor, in [0, 1], no unit |
| t, T | ``step``, ``total_steps`` | optimizer steps; t counts from 0 |
| k0 | ``initial_weight`` | γ_0 |
| 200 | ``magnitude`` | Σ γ_t tends to magnitude / 2 for T ≫ magnitude, whatever T is (equation 6) |

*Reading*: the paper states k0 = 200/T without a cap. A weight above one would turn the domain gradient round, so
k0 is capped at 1; the paper's own runs have T ≫ 200 and never meet the cap.

Source: arXiv 2509.26242, section 3.2.
"""

import math

from torch import Tensor

from ..errors import DBAError


def initial_weight(magnitude: float, total_steps: int) -> float:
    """k0 = min(1, magnitude / T).

    Raises:
        DBAError: for a magnitude below zero or not finite, or T < 1.
    """
    if not math.isfinite(magnitude) or magnitude < 0:
        raise DBAError("The boost magnitude cannot be used.", expected="a finite number >= 0", found=magnitude)
    if total_steps < 1:
        raise DBAError("The number of optimizer steps cannot be used.", expected="at least 1", found=total_steps)
    return min(1.0, magnitude / total_steps)


def boost_weight(step: int, total_steps: int, magnitude: float) -> float:
    """γ_t of step t = 0 … T−1; 0 once t ≥ T, so that a run which goes on longer than planned just stops boosting."""
    start = initial_weight(magnitude, total_steps)
    if step < 0:
        raise DBAError("The step number cannot be used.", expected="0 or more", found=step)
    return start * (1.0 - step / total_steps) if step < total_steps else 0.0


def blend(grad: Tensor, anchor: Tensor, weight: float) -> Tensor:
    """Equation 2, out of place, for tensors that are there in full (`fused.blend_` is the one for training).

    Args:
        grad: g_D of any shape.
        anchor: ĝ_G, dense, broadcastable to ``grad``; cast to its dtype.
        weight: γ in [0, 1]. The ends are exact: 0 gives a copy of ``grad`` bit for bit, 1 the anchor.
    """
    check_weight(weight)
    if weight == 0.0:
        return grad.clone()
    return grad.lerp(anchor.to(grad.dtype).expand_as(grad), weight)


def check_weight(weight: float) -> None:
    """Raises `DBAError` unless 0 ≤ γ ≤ 1."""
    if not 0.0 <= weight <= 1.0:
        raise DBAError("The boost weight is outside of its range.", expected="0 <= weight <= 1", found=weight)
