r"""`dba_variant: paper`: Dynamic Boosted Annealing as published, GGB (equation 2) and DC (equations 7-9).

Paper: arXiv 2509.26242. The step is `training.hooks.StepHook`, the mathematics `core.boost` and `core.correction`. One
walk over the gradients does, since γ_t does not depend on them. Limits: docs/real_small.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..anchor.config import AnchorConfig
from ..core.boost import initial_weight
from ..core.convergence import half_cosine_of
from ..sentences import Sentence
from ..training.hooks import Settings, StepHook
from .interface import Method, Wiring


LARGEST_PAPER_WEIGHT = 0.1  # 200 / T at the paper's smallest domain, 28,613 rows in batches of 8, is 0.056
LOW_COSINE = half_cosine_of(0.5**0.5)  # a third; below it, more than half of the anchor's energy is sampling noise
WARNINGS = {
    "large_boost": "the boost starts at {initial}; the paper's runs stay below {largest}. In runs this short it cost "
    "general skill in our measurements (docs/real_small.md): lower `dba_boost_magnitude`.",
    "noisy_anchor": "the means of two halves of the general data have a cosine of {cosine} only, so the anchor is "
    "mostly noise: the base model may be at its optimum on that data already. Make it from more or other general "
    "data, or set `dba_boost_magnitude: 0`.",
}


def make_hook(arguments: Any, wiring: Wiring) -> StepHook:
    """The step hook of these arguments."""
    settings = Settings(
        boost_magnitude=arguments.dba_boost_magnitude,
        use_correction=arguments.dba_use_correction,
        base_correction=arguments.dba_base_correction,
        total_steps=wiring.total_steps,
    )
    return StepHook(
        targets=wiring.targets,
        settings=settings,
        current_step=wiring.current_step,
        on_step=wiring.on_step,
        tolerate_overflow=wiring.tolerate_overflow,
        on_sums=wiring.on_sums,
    )


def describe(arguments: Any, total_steps: int) -> str:
    """Boost and correction, or that they are off."""
    k0 = initial_weight(arguments.dba_boost_magnitude, total_steps)
    boost = f"boost {k0:.4g} fading to 0 over {total_steps} steps" if k0 else "boost off"
    base = arguments.dba_base_correction
    return f"{boost}, " + (f"correction 1/(s + {base:g})" if arguments.dba_use_correction else "correction off")


def facts(arguments: Any, total_steps: int) -> dict[str, Any]:
    """For dba_run.json."""
    return {
        "boost_magnitude": arguments.dba_boost_magnitude,
        "initial_boost_weight": initial_weight(arguments.dba_boost_magnitude, total_steps),
        "use_correction": arguments.dba_use_correction,
        "base_correction": arguments.dba_base_correction,
        "total_steps": total_steps,
    }


def warnings(arguments: Any, config: AnchorConfig, total_steps: int) -> list[Sentence]:
    """See `boost_warnings`."""
    return boost_warnings(initial_weight(arguments.dba_boost_magnitude, total_steps), config.half_cosine)


def boost_warnings(initial: float, half_cosine: Sequence[tuple[int, float]]) -> list[Sentence]:
    """What speaks against boosting in this run, as far as it can be known before the first step (`WARNINGS`).

    Args:
        initial: k0, the boost weight of the first step; 0 with GGB off.
        half_cosine: the anchor's history of (step, cosine between the means of two data halves).
    """
    found = []
    if initial > LARGEST_PAPER_WEIGHT:
        found.append(
            Sentence.of(WARNINGS, "large_boost", initial=f"{initial:.2g}", largest=f"{LARGEST_PAPER_WEIGHT:g}")
        )
    if initial and half_cosine and half_cosine[-1][1] < LOW_COSINE:
        found.append(Sentence.of(WARNINGS, "noisy_anchor", cosine=f"{half_cosine[-1][1]:.2f}"))
    return found


METHOD = Method(
    metrics={
        "dba_gamma": "gamma",
        "dba_similarity": "similarity",
        "dba_correction": "correction",
        "dba_domain_grad_norm": "domain_grad_norm",
    },
    make_hook=make_hook,
    describe=describe,
    facts=facts,
    warnings=warnings,
)
