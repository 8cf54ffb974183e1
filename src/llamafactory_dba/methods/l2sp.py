r"""`dba_variant: l2sp`: a pull to the starting point with the same force on every weight.

    g ← g_D + α (W − W0)                                                                α: dba_l2sp_strength

Paper: Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv:1802.01483, eq. 3. Its second term, a decay towards zero of layers that the base model lacks, has nothing to act
on here: nothing is added when a language model is fine-tuned; `weight_decay` is the host's.

The one variant that needs no anchor and no general data at all: what EWC would be if every weight mattered equally.

Limits: as `ewc`; with `use_dba` the run needs no `dba_anchor_path`, and one that is given is not read.
"""

from __future__ import annotations

from .penalty import penalty_method


METHOD = penalty_method(name="L2-SP", strength="dba_l2sp_strength", form="half_square_distance", curvature=False)
