"""What a probe found, as JSON and as sentences; the numbers themselves are defined in `anchor.similarity`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..anchor.similarity import Agreement, Batch, Rates, Spread
from ..core.boost import boost_weight, initial_weight
from ..methods.paper import LOW_COSINE, boost_warnings


SCHEMA = "llamafactory-dba/probe/1"
CONSTANT = 0.05  # λ whose standard deviation over the batches is below a twentieth is called a constant factor
SIGNIFICANT = 2.0  # standard errors
MOVING = 0.8  # λ below this share of its bound has room to rise, which it did in all our measurements (docs/probe.md)


@dataclass(frozen=True)
class Settings:
    """What the recipe asks for.

    Attributes:
        boost_magnitude: `dba_boost_magnitude`.
        use_correction: `dba_use_correction`.
        base_correction: λ_0, `dba_base_correction`.
        total_steps: T, optimizer steps of the whole training.
        global_batch: samples per optimizer step, over all processes of this probe.
    """

    boost_magnitude: float
    use_correction: bool
    base_correction: float
    total_steps: int
    global_batch: int


@dataclass(frozen=True)
class Plan:
    """What the whole training would do if every step found the similarity of the probed batches.

    Attributes:
        initial_boost: k0 = γ_0.
        anchor_share: γ_0 ‖ĝ_G‖ / (γ_0 ‖ĝ_G‖ + (1 − γ_0) ‖g_D‖) with the mean ‖g_D‖ of the batches, in [0, 1].
        anchor_ratio: γ_0 ‖ĝ_G‖ / ((1 − γ_0) ‖g_D‖); None where the domain has no part at all.
        rates: η_t of the recipe's schedule; None if it is not known before training.
        corrected_rates: η_t λ_t; as ``rates`` with the correction off.
        boost_push: Σ γ_t η_t λ_t: how far a constant gradient would push every weight under Adam, where it dominates.
    """

    initial_boost: float
    anchor_share: float
    anchor_ratio: float | None
    rates: Rates | None
    corrected_rates: Rates | None
    boost_push: float | None


@dataclass(frozen=True)
class Cell:
    """Signed cosine of the mean domain gradient with the anchor, for one kind of matrix in one layer."""

    layer: str
    kind: str
    cosine: float | None


@dataclass(frozen=True)
class ProbeResult:
    """All that a probe found. JSON: these fields by name, and ``schema``.

    Attributes:
        anchor: its folder.
        base_model: that it was made from.
        stage: of the recipe.
        datasets: the recipe's, by name.
        rank: in use, per matrix.
        matched_tensors: how many trainable tensors the anchor has.
        unmatched_tensors: names of those that it does not have.
        anchor_half_cosine: between the means of two halves of the general data; None if the anchor does not say.
        settings: of the recipe.
        batches: one per probed optimizer step.
        similarity: s_t of eq. 7 over the batches.
        cosine: the same with its sign.
        correction: λ_t of eq. 8.
        mean_gradient: the mean over the batches, all tensors together.
        layers: the same, per layer.
        kinds: the same, per kind of matrix.
        cells: signed cosine per layer and kind.
        plan: for the whole training.
        notes: what limits the numbers.
        advice: what they say about this run.
    """

    anchor: str
    base_model: str
    stage: str
    datasets: tuple[str, ...]
    rank: int
    matched_tensors: int
    unmatched_tensors: tuple[str, ...]
    anchor_half_cosine: float | None
    settings: Settings
    batches: tuple[Batch, ...]
    similarity: Spread
    cosine: Spread
    correction: Spread
    mean_gradient: Agreement
    layers: dict[str, Agreement]
    kinds: dict[str, Agreement]
    cells: tuple[Cell, ...]
    plan: Plan
    notes: tuple[str, ...]
    advice: tuple[str, ...]

    def to_json(self) -> str:
        """One JSON object; no NaN, no Infinity."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, allow_nan=False)


def plan_of(
    settings: Settings,
    batches: Sequence[Batch],
    anchor_norm: float,
    rates: Sequence[float] | None,
    corrected_rates: Sequence[float] | None,
) -> Plan:
    """The plan of a training.

    Args:
        settings: of the recipe.
        batches: as probed.
        anchor_norm: ‖ĝ_G‖ in use.
        rates: η_t for t = 0 … T−1, or None.
        corrected_rates: η_t λ_t, or None.
    """
    total, magnitude = settings.total_steps, settings.boost_magnitude
    start = initial_weight(magnitude, total)
    general = start * anchor_norm
    domain = (1 - start) * math.fsum(batch.domain_grad_norm for batch in batches) / len(batches)
    push = None
    if corrected_rates is not None:
        push = math.fsum(boost_weight(t, total, magnitude) * rate for t, rate in enumerate(corrected_rates))
    return Plan(
        initial_boost=start,
        anchor_share=general / (general + domain) if general + domain > 0 else 0.0,
        anchor_ratio=general / domain if domain > 0 else None,
        rates=Rates.of(rates) if rates else None,
        corrected_rates=Rates.of(corrected_rates) if corrected_rates else None,
        boost_push=push,
    )


def advise(
    settings: Settings,
    factor: Spread,
    domain: Agreement,
    start: float,
    half_cosines: Sequence[tuple[int, float]],
) -> tuple[str, ...]:
    """Sentences that the numbers justify, none where they do not.

    Args:
        settings: of the recipe.
        factor: λ over the batches.
        domain: the mean domain gradient against the anchor.
        start: k0.
        half_cosines: the anchor's history.
    """
    said = []
    bound = 1 / settings.base_correction
    if settings.use_correction and factor.std <= CONSTANT * factor.mean:
        said.append(
            f"λ hardly varies ({factor.mean:.3g} ± {factor.std:.1g}, {1 - factor.mean / bound:.1%} below its bound "
            f"1/λ_0 = {bound:g}): at the base model the correction acts as a plain learning-rate factor of "
            f"{factor.mean:.3g}."
        )
    if settings.use_correction and factor.mean < MOVING * bound:
        said.append(
            f"λ = {factor.mean:.3g} holds at the base model only. Where s began this high it fell within the first "
            "quarter of the training in our measurements (docs/probe.md), and λ rose towards its bound: choose a "
            f"learning rate that is safe {bound:g} times over."
        )
    noisy = bool(half_cosines) and half_cosines[-1][1] < LOW_COSINE
    if domain.cosine is not None and domain.error:
        shown = f"signed cosine {domain.cosine:+.4f} ± {domain.error:.4f}"
        if abs(domain.cosine) < SIGNIFICANT * domain.error:
            said.append(f"The mean domain gradient has no clear component along the anchor ({shown}).")
        elif noisy:
            said.append(f"The anchor is mostly noise, so the sign of the {shown} says little about the general loss.")
        elif domain.cosine < 0:
            said.append(
                f"The mean domain gradient points against the anchor ({shown}): to first order, a plain gradient step "
                "on the domain raises the general loss."
            )
        else:
            said.append(
                f"The mean domain gradient points the anchor's way ({shown}): to first order, a plain gradient step "
                "on the domain lowers the general loss, too."
            )
    if domain.half_cosine is not None and domain.half_cosine < LOW_COSINE:
        said.append(
            f"The means of two halves of the probed batches have a cosine of {domain.half_cosine:.2f} only: the mean "
            "domain gradient is mostly noise, probe more batches."
        )
    said += [warning[0].upper() + warning[1:] for warning in boost_warnings(start, half_cosines)]
    return tuple(said)
