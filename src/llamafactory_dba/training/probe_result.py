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
from ..sentences import Sentence
from .probe_words import ADVICE


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
    """All that a probe found. JSON: these fields by name, ``schema``, and ``told``: kind and values of each sentence.

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
        notes: what limits the numbers; kinds of `probe_words.NOTES`.
        advice: what they say about this run; kinds of `probe_words.ADVICE` and `methods.paper.WARNINGS`.
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
    notes: tuple[Sentence, ...]
    advice: tuple[Sentence, ...]

    def to_json(self) -> str:
        """One JSON object; no NaN, no Infinity."""
        told = {"notes": [note.told() for note in self.notes], "advice": [item.told() for item in self.advice]}
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps({"schema": SCHEMA, **fields, "told": told}, allow_nan=False, default=dataclasses.asdict)


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
) -> tuple[Sentence, ...]:
    """Sentences that the numbers justify, none where they do not.

    Args:
        settings: of the recipe.
        factor: λ over the batches.
        domain: the mean domain gradient against the anchor.
        start: k0.
        half_cosines: the anchor's history.
    """
    said = []

    def say(kind: str, **values: object) -> None:
        said.append(Sentence.of(ADVICE, kind, **values))

    bound = 1 / settings.base_correction
    if settings.use_correction and factor.std <= CONSTANT * factor.mean:
        below = f"{1 - factor.mean / bound:.1%}"
        say("constant", mean=f"{factor.mean:.3g}", std=f"{factor.std:.1g}", below=below, bound=f"{bound:g}")
    if settings.use_correction and factor.mean < MOVING * bound:
        say("moving", mean=f"{factor.mean:.3g}", bound=f"{bound:g}")
    noisy = bool(half_cosines) and half_cosines[-1][1] < LOW_COSINE
    if domain.cosine is not None and domain.error:
        if abs(domain.cosine) < SIGNIFICANT * domain.error:
            kind = "unclear"
        elif noisy:
            kind = "noisy"
        else:
            kind = "against" if domain.cosine < 0 else "along"
        say(kind, cosine=f"{domain.cosine:+.4f}", error=f"{domain.error:.4f}")
    if domain.half_cosine is not None and domain.half_cosine < LOW_COSINE:
        say("scattered", cosine=f"{domain.half_cosine:.2f}")
    return (*said, *(warning.capitalized() for warning in boost_warnings(start, half_cosines)))
