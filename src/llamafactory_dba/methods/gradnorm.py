r"""`dba_variant: gradnorm_equal`: what is left of GradNorm with a fixed anchor, its case α = 0.

    g = w_D g_D + w_G ĝ_G        w_D ‖g_D‖ = w_G ‖ĝ_G‖        w_D + w_G = 2

Paper: Chen, Badrinarayanan, Lee and Rabinovich 2018, "GradNorm: Gradient Normalization for Adaptive Loss Balancing in
Deep Multitask Networks", arXiv:1711.02257. It learns weights w_i of the tasks' losses by descent on

    L_grad = Σ_i | w_i ‖∇L_i‖ − Ḡ r_i^α |      Ḡ: mean of w_i ‖∇L_i‖      r_i = L̃_i / mean_j L̃_j,  L̃_i = L_i(t)/L_i(0)

with Ḡ r_i^α held fixed in the derivative, and Σ w_i put back to the number of tasks after each step.

What a fixed anchor leaves of it: r_i compares how far each task's *loss* has come, and no general loss is known
during the training. It cannot be had from the anchor either: to first order L_G(t) = L_G(0) + ⟨ĝ_G, θ_t − θ_0⟩, which
is linear in θ, falls without end along −ĝ_G, is not even known to be right in sign once the weights have moved
(curvature), and makes r_G^α undefined where it passes zero. So α ≠ 0 is left out. At α = 0 all r_i^α = 1 and no loss
is needed: every task's gradient is to have the same norm ("will always try to pin the norms of backpropagated
gradients from each task to be equal", section 3.2). For two tasks that minimum is the one above, L_grad = 0, reached
here in every step; the paper makes one step of descent towards it, which needs a rate and a state and follows the
norms more slowly. The norms are over all matched tensors, where the paper takes the last shared layer to save time.

Limits: the direction is that of g_D/‖g_D‖ + ĝ_G/‖ĝ_G‖, and Adam keeps only the direction: the anchor has half of the
say in every step, however small the domain gradient has become, and conflicts are not resolved. Expect it to behave
as DBA's equation 2 at γ = ½ without an end. Else as A-GEM's (`agem`). Where either gradient is zero, g_D is left as
it is.
"""

from __future__ import annotations

from ..core import conflict
from .combination import combination


METHOD = combination("GradNorm at α = 0", lambda arguments: conflict.equal_norms)
