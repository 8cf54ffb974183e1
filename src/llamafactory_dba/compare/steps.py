"""What there is to do: anchors, base scores, runs. Nothing but data; `expand` makes them from a suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .suite import Suite


@dataclass(frozen=True)
class AnchorPlan:
    """An anchor that runs need."""

    base: str
    keys: Mapping[str, Any]
    hash: str

    @property
    def folder(self) -> str:
        """Below the output folder."""
        return f"anchors/{self.base}-{self.hash[:8]}"


@dataclass(frozen=True)
class Mix:
    """A data descriptor that adds general rows to a domain's, by LLaMA-Factory's own ``num_samples``."""

    folder: str
    info: Mapping[str, Any]


@dataclass(frozen=True)
class RunPlan:
    """One training, or (``of``) the points between a training's base and its result.

    Attributes:
        label: method, with the sweep's setting.
        setting: the sweep's key and value; empty for the method itself.
        keys: what train.yaml says, but for folders.
        anchor: that it needs.
        steps: optimizer steps, as far as they are known beforehand.
        of: folder of the training whose weights are interpolated.
        hash: of everything that decides the result: keys, data, base model, anchor, evaluation.
    """

    base: str
    domain: str
    method: str
    label: str
    seed: int
    keys: Mapping[str, Any]
    hash: str
    setting: Mapping[str, Any] = field(default_factory=dict)
    anchor: AnchorPlan | None = None
    mix: Mix | None = None
    steps: int | None = None
    of: str = ""
    alphas: tuple[float, ...] = ()

    @property
    def folder(self) -> str:
        """Below the output folder; with the hash, so that a changed suite never finds results of an old one."""
        setting = "".join(f"__{key}_{_in_path(value)}" for key, value in self.setting.items())
        return f"runs/{self.base}/{self.domain}/{self.method}{setting}/seed{self.seed}-{self.hash[:8]}"

    @property
    def name(self) -> str:
        """For a line of progress, and what ``--only`` looks at."""
        return f"{self.base}/{self.domain}/{self.label}/seed{self.seed}"


@dataclass(frozen=True)
class BasePlan:
    """A base model's scores on the suites of a domain."""

    base: str
    domain: str
    evaluate: tuple[str, ...]
    hash: str

    @property
    def folder(self) -> str:
        """Below the output folder."""
        return f"bases/{self.base}/{self.domain}-{self.hash[:8]}"


@dataclass(frozen=True)
class Plan:
    """Everything that a suite asks for."""

    suite: Suite
    anchors: tuple[AnchorPlan, ...]
    bases: tuple[BasePlan, ...]
    runs: tuple[RunPlan, ...]
    left_out: Mapping[str, str]


def _in_path(value: Any) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in str(value)) or "empty"
