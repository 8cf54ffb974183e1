r"""`dba_variant: pcgrad`: PCGrad between the domain gradient and the anchor, as two tasks.

    no conflict       g = g_D + w ĝ_G
    ⟨g_D, ĝ_G⟩ < 0    g = [g_D − (⟨g_D, ĝ_G⟩/‖ĝ_G‖²) ĝ_G] + w [ĝ_G − (⟨g_D, ĝ_G⟩/‖g_D‖²) g_D]      w: dba_pcgrad_weight

Paper: Yu, Kumar, Gupta, Levine, Hausman and Finn 2020, "Gradient Surgery for Multi-Task Learning", arXiv:2001.06782,
algorithm 1. What is summed: for each task its own gradient, projected on the normal plane of the other one's
*original* gradient where they conflict. w = 1 is the paper's sum. w = 0 leaves out the general task's term and keeps
the projection of g_D: with two tasks that is A-GEM's (`dba_variant: agem`), bit for bit.

What a fixed anchor changes: the general task has no fresh gradient. The paper sums gradients of the present weights;
here ĝ_G is that of the base model throughout, so that its term is a constant push along −ĝ_G which nothing takes back
(linear, as in DBA's equation 2, but without a schedule that ends it), and its size does not shrink as the general
loss is restored. g_D comes clipped (`max_grad_norm`), ĝ_G as it was measured: their ratio decides who leads, and Adam
keeps only that ratio. No general data and no further backward pass is needed.

Limits: as A-GEM's (`agem`). Where w > 0, tensors without a domain gradient (a row of an embedding that the domain
never shows) are moved by the anchor alone, and Adam makes full steps of that.
"""

from __future__ import annotations

from functools import partial

from ..core import conflict
from .combination import combination


METHOD = combination(
    "PCGrad",
    lambda arguments: partial(conflict.pcgrad, weight=arguments.dba_pcgrad_weight),
    options=("dba_pcgrad_weight",),
)
