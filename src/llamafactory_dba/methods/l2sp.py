r"""`dba_variant: l2sp`: a pull to the starting point with the same force on every weight.

    g ← g_D + α (W − W0)                                                                α: dba_l2sp_strength

Paper: Li, Grandvalet and Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv:1802.01483, eq. 3. Its second term, a decay towards zero of layers that the base model lacks, has nothing to act
on here: nothing is added when a language model is fine-tuned; `weight_decay` is the host's.

The one variant that needs no anchor and no general data at all: what EWC would be if every weight mattered equally.

Limits: as `ewc`; with `use_dba` the run needs no `dba_anchor_path`, and one that is given is not read.
"""

from __future__ import annotations

from .holding import HoldingMethod
from .penalty import PenaltyHook


METHOD = HoldingMethod(
    name="L2-SP",
    curvature=False,
    log_file="dba_penalty.jsonl",
    metrics={"dba_half_square_distance": "half_square_distance"},
    make_hook=lambda arguments, targets, wiring: PenaltyHook(
        targets,
        strength=arguments.dba_l2sp_strength,
        current_step=wiring.current_step,
        on_record=lambda record: wiring.on_record(record.as_record("half_square_distance")),
    ),
    describe=lambda arguments: f"strength {arguments.dba_l2sp_strength:g}",
    facts=lambda arguments: {"strength": arguments.dba_l2sp_strength},
)
