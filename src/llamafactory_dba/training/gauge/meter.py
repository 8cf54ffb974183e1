"""One measurement: every rank takes its share of the rows, and all ranks get the same sums."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate.utils import gather_object

from ...core.joint import joint_score
from . import base as stored
from .measure import Collate, Counts, answers, count, divergence, log_probabilities, undisturbed
from .rows import Sample


@dataclass
class Meter:
    """Measures a model on fixed rows.

    Args:
        model: not wrapped by DDP, so that its forward pass waits for nobody.
        collate: the host's collator.
        general: general rows; None if the divergence is measured.
        domain: held-out domain rows, if there are any.
        training: training rows for the divergence, if there is no general set.
        exact: whether whole answers are counted; texts (stage pt) have none.
        score: which accuracy S is made of.
        batch: rows in one forward pass.
        end: the token that ends an answer.
        rank: of this process.
        world: how many processes there are.
    """

    model: torch.nn.Module
    collate: Collate
    general: Sample | None
    domain: Sample | None
    training: Sample | None
    exact: bool
    score: Literal["exact", "token"]
    batch: int
    end: int | None = None
    rank: int = 0
    world: int = 1
    positions: stored.Positions | None = None
    base: stored.Base | None = None

    def measure(self) -> dict[str, float]:
        """Losses in nats per answer token, accuracies and s in %, divergence in nats per answer token."""
        values: dict[str, float] = {}
        with undisturbed(self.model):
            for name, sample in (("general", self.general), ("domain", self.domain)):
                if sample is not None:
                    values.update(self._on(name, sample))
            if self.positions is not None and self.base is not None:
                values["forward_kl"] = self._divergence(self.positions, self.base)
        kind = "accuracy" if self.score == "exact" else "token_accuracy"
        pair = [values.get(f"{name}_{kind}") for name in ("domain", "general")]
        if self.exact and pair[0] is not None and pair[1] is not None:
            values["s"] = joint_score(pair[0], pair[1])
        return values

    def remember_base(self, folder: Path) -> int:
        """Store what the model says now as what the base says; how many bytes that is."""
        assert self.training is not None
        if self.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier run that this one may overwrite
        self.wait()
        with undisturbed(self.model):
            first = answers(self.model, self.collate, [self.training.rows[0]])
            self.positions = stored.positions(self.training, first.logits.shape[-1])
            kept = {}
            for rows in self._batches(self.training):
                for row, logits in self._rows(self.training, rows, self.positions):
                    kept[row] = log_probabilities(logits).cpu()
        stored.write_part(folder, self.rank, kept, self.positions.digest)
        self.wait()
        self.base = stored.Base([folder], self.positions.digest)
        return self.positions.compared * first.logits.shape[-1] * 4

    def recall_base(self, folders: Sequence[Path]) -> None:
        """Take what the run's first start has stored."""
        assert self.training is not None
        with undisturbed(self.model):
            first = answers(self.model, self.collate, [self.training.rows[0]])
        self.positions = stored.positions(self.training, first.logits.shape[-1])
        self.base = stored.Base(folders, self.positions.digest)

    def wait(self) -> None:
        """For all ranks."""
        gather_object([None])

    def _on(self, name: str, sample: Sample) -> dict[str, float]:
        counts = Counts()
        for rows in self._batches(sample):
            found = answers(self.model, self.collate, [sample.rows[row] for row in rows], self.end)
            counts = counts.plus(count(found, len(rows)))
        total = Counts()
        for part in gather_object([tuple(counts)]):
            total = total.plus(part)
        values = {f"{name}_loss": total.loss}
        if self.exact:
            values[f"{name}_accuracy"] = total.accuracy
        return {**values, f"{name}_token_accuracy": total.token_accuracy}

    def _divergence(self, positions: stored.Positions, base: stored.Base) -> float:
        assert self.training is not None
        total = sum(
            divergence(base.read(row), logits)
            for rows in self._batches(self.training)
            for row, logits in self._rows(self.training, rows, positions)
        )
        return sum(gather_object([total])) / positions.compared

    def _rows(
        self, sample: Sample, rows: Sequence[int], positions: stored.Positions
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """The logits at the chosen positions, row by row; rows without one are skipped."""
        if not any(positions.chosen[row] for row in rows):
            return
        found = answers(self.model, self.collate, [sample.rows[row] for row in rows])
        for place, row in enumerate(rows):
            if positions.chosen[row]:
                yield row, found.logits[found.rows == place][list(positions.chosen[row])]

    def _batches(self, sample: Sample) -> Iterator[list[int]]:
        """This rank's rows, the shortest first."""
        mine = list(range(self.rank, len(sample.rows), self.world))
        for start in range(0, len(mine), self.batch):
            yield mine[start : start + self.batch]
