r"""Equations 7 and 8, Dynamic Correction (DC).

    s_t = |⟨g_D,t , ĝ_G⟩| / (‖g_D,t‖ · ‖ĝ_G‖)        λ_t = 1 / (s_t + λ_0)        0 ≤ s_t ≤ 1,  λ_t ≤ 1/λ_0

| symbol | argument | what |
|---|---|---|
| ⟨g_D,t , ĝ_G⟩ | ``dot`` | summed over all matched parameters |
| ‖g_D,t‖ | ``grad_norm`` | Frobenius norm over the same parameters, before blending |
| ‖ĝ_G‖ | ``anchor_norm`` | Frobenius norm of the anchor *in use*, that is after truncation |
| s_t | ``similarity`` | one number per step over all parameters, no unit |
| λ_0 | ``base`` | base correction coefficient |
| λ_t | result of `correction` | factor on the learning rate of this one step (equation 9) |

*Reading*: the symbols of equation 8 are lost in the published text; λ_t = 1/(s_t + λ_0) is ours. λ scales the step
and not the gradient, because Adam divides a gradient's scale away.

Source: arXiv 2509.26242, section 3.3.
"""

import math

from ..errors import DBAError


def similarity(dot: float, grad_norm: float, anchor_norm: float) -> float:
    """s_t of equation 7, in [0, 1].

    A zero gradient or a zero anchor has no direction: 0. Rounding can carry the quotient a little above one (the
    sums are accumulated separately), so it is clamped.

    Raises:
        DBAError: if one of the sums is NaN or infinite, or a norm is negative.
    """
    if not (math.isfinite(dot) and math.isfinite(grad_norm) and math.isfinite(anchor_norm)):
        raise DBAError(
            "The similarity of gradient and anchor cannot be computed: a sum is NaN or infinite.",
            expected="finite numbers",
            found=f"dot {dot}, gradient norm {grad_norm}, anchor norm {anchor_norm}",
            next_step="look for a diverged loss or an fp16 overflow in this step",
        )
    if grad_norm < 0 or anchor_norm < 0:
        raise DBAError("A norm is negative.", expected=">= 0", found=f"{grad_norm}, {anchor_norm}")
    if grad_norm == 0 or anchor_norm == 0:
        return 0.0
    # one division after the other: the product of two small norms underflows before either quotient does
    return min(1.0, abs(dot) / grad_norm / anchor_norm)


def correction(similarity: float, base: float) -> float:
    """λ_t of equation 8.

    Raises:
        DBAError: for a base that is not above zero (λ would have no bound) or a similarity outside of [0, 1].
    """
    if not math.isfinite(base) or base <= 0:
        raise DBAError("The base correction cannot be used.", expected="a finite number > 0", found=base)
    if not 0.0 <= similarity <= 1.0:
        raise DBAError("The similarity is outside of its range.", expected="0 <= s <= 1", found=similarity)
    return 1.0 / (similarity + base)
