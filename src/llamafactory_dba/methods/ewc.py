r"""`dba_variant: ewc`: elastic weight consolidation, with the diagonal Fisher matrix of the anchor's general data.

    g ← g_D + λ F (W − W0)                                                              λ: dba_ewc_strength

Paper: Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", arXiv:1612.00796, eq. 3; F
is the diagonal of the Fisher matrix at W0 (`core.fisher`), here with the data's own labels, which the anchor's pass
has anyway, in nats per sequence. `dba_curvature_kind: diagonal` is the paper's, `factored` keeps its row and column
sums.

What it leaves to the optimizer: Adam divides the sum of both gradients by its running size, so λ sets the ratio
between them and not the size of the pull, and where the domain's gradient is small, a small F pulls as hard as a large
one. `dba_variant: elastic` takes the same penalty as a step of its own beside Adam's: all that the two differ in.

Limits: a λ that is large for some F makes the step unstable under plain SGD (above 2/(ηF)). Adam's moments hold the
penalty's gradient, so a change of λ on resuming acts late. The rest as `elastic`: full and freeze tuning, weights
whole on every rank.
"""

from __future__ import annotations

from .penalty import penalty_method


METHOD = penalty_method(name="EWC", strength="dba_ewc_strength", form="predicted_kl", curvature=True)
