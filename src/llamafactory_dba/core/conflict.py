r"""Two gradients made into one: weights (a, b) of a·g_D + b·ĝ_G from three numbers over the whole model.

    d = ⟨g_D , ĝ_G⟩        a conflict is d < 0        cos = d / (‖g_D‖ ‖ĝ_G‖)

| method | no conflict | conflict |
|---|---|---|
| A-GEM (`agem`) | g_D | g_D − (d/‖ĝ_G‖²) ĝ_G, orthogonal to ĝ_G |
| PCGrad (`pcgrad`), weight w | g_D + w ĝ_G | [g_D − (d/‖ĝ_G‖²) ĝ_G] + w [ĝ_G − (d/‖g_D‖²) g_D] |
| GradNorm at α = 0 (`equal_norms`) | w_D g_D + w_G ĝ_G with w_D ‖g_D‖ = w_G ‖ĝ_G‖, w_D + w_G = 2 | the same |

| symbol | argument | what |
|---|---|---|
| d | ``dot`` | summed over all matched tensors |
| ‖g_D‖², ‖ĝ_G‖² | ``grad_sq``, ``anchor_sq`` | over the same tensors |
| w | ``weight`` | of the general task in PCGrad's sum, 1 in the paper |
| a, b | result | `fused.combine_` applies them |

All three are continuous in d at d = 0, so ranks that disagree on a sign by rounding still make the same step to that
rounding. Where either gradient is zero there is no direction and no conflict. Numbers are fp64.

Sources: Yu et al. 2020, arXiv:2001.06782, algorithm 1; Chaudhry et al. 2019, arXiv:1812.00420, equation 11; Chen et
al. 2018, arXiv:1711.02257, equations 1-2 and section 3.2. What a fixed anchor changes in each: `methods/`.
"""

import math
from typing import NamedTuple

from ..errors import DBAError
from .correction import similarity


class Products(NamedTuple):
    """⟨g_D, ĝ_G⟩, ‖g_D‖² and ‖ĝ_G‖², each summed over the same tensors."""

    dot: float
    grad_sq: float
    anchor_sq: float


class Weights(NamedTuple):
    """Factors of g_D and ĝ_G."""

    grad: float
    anchor: float


UNCHANGED = Weights(1.0, 0.0)


def cosine(products: Products) -> float:
    """Signed, in [-1, 1]; 0 where a gradient is zero.

    Raises:
        DBAError: if one of the sums is NaN or infinite, or a square is negative.
    """
    if products.grad_sq < 0 or products.anchor_sq < 0:
        raise DBAError("A sum of squares is negative.", expected=">= 0", found=products)
    norms = math.sqrt(products.grad_sq), math.sqrt(products.anchor_sq)
    return math.copysign(similarity(products.dot, *norms), products.dot)


def agem(products: Products) -> Weights:
    """A-GEM, equation 11: the part of g_D against ĝ_G is taken out; unchanged where there is none."""
    if not _conflict(products):
        return UNCHANGED
    return Weights(1.0, -products.dot / products.anchor_sq)


def pcgrad(products: Products, weight: float = 1.0) -> Weights:
    """PCGrad, algorithm 1 for two tasks: each gradient on the other's normal plane where they conflict, then the sum.

    With two tasks the order in which the paper draws them makes no difference, since each is projected from its
    original gradient.

    Args:
        products: of the two gradients.
        weight: w ≥ 0. The general task's loss times w: its projection scales along, that of g_D does not depend on it.
            At 0 only the domain's projected gradient is left, which is `agem` bit for bit.

    Raises:
        DBAError: for a weight below zero or not finite.
    """
    if not math.isfinite(weight) or weight < 0:
        raise DBAError("The weight of the anchor cannot be used.", expected="a finite number >= 0", found=weight)
    if not _conflict(products):
        return Weights(1.0, weight)
    return Weights(1.0 - weight * products.dot / products.grad_sq, weight - products.dot / products.anchor_sq)


def equal_norms(products: Products) -> Weights:
    """GradNorm's weights at α = 0: both gradients get the same norm, 2 ‖g_D‖ ‖ĝ_G‖ / (‖g_D‖ + ‖ĝ_G‖).

    The minimum of L_grad (equation 2) under Σ w = 2, where the paper takes one step of descent towards it.
    """
    if not products.grad_sq or not products.anchor_sq:
        return UNCHANGED
    grad_norm, anchor_norm = math.sqrt(products.grad_sq), math.sqrt(products.anchor_sq)
    total = grad_norm + anchor_norm
    return Weights(2.0 * anchor_norm / total, 2.0 * grad_norm / total)


def _conflict(products: Products) -> bool:
    return cosine(products) < 0
