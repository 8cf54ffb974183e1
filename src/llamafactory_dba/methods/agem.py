r"""`dba_variant: agem`: A-GEM with the anchor as its reference gradient.

    g_D                                          if ⟨g_D, g_ref⟩ ≥ 0
    g_D − (⟨g_D, g_ref⟩ / ‖g_ref‖²) g_ref        else                                    (equation 11)

Paper: Chaudhry, Ranzato, Rohrbach and Elhoseiny 2019, "Efficient Lifelong Learning with A-GEM", arXiv:1812.00420. It
is the nearest gradient, by Euclidean norm, whose step does not raise the reference loss to first order (equations
10-11).

What a fixed anchor changes: A-GEM takes g_ref at the present weights, from a new batch of an episodic memory in every
step. Here g_ref = ĝ_G, the mean over all general data at the *base* model, cut to the anchor's rank. No general data
and no further backward pass is needed, and g_ref has less noise; but it ages as the weights move, and at a base model
that is at its optimum on the general data it is little but noise and says nothing of where the loss rises (second
order: `dba_variant: elastic`).

Limits: the gradient is projected, not the step; what Adam makes of it may still go against ĝ_G, and its moments carry
over steps. One product over all matched tensors, so a conflict in one layer can be outweighed by the others. Tensors
that the anchor lacks are trained as they are. Gradients are clipped before, as the host does.
"""

from __future__ import annotations

from ..core import conflict
from .combination import combination


METHOD = combination("A-GEM", lambda arguments: conflict.agem)
