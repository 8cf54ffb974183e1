"""Loss, accuracy and divergence over answer tokens under teacher forcing; the model comes out as it went in."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from ...errors import DBAError
from .rows import IGNORED


CHUNK = 1 << 24  # numbers turned into float32 at once: 64 MiB

Collate = Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]


class Counts(NamedTuple):
    """Sums over rows; those of several ranks are added up. ``nll`` in nats."""

    nll: float = 0.0
    tokens: int = 0
    right_tokens: int = 0
    rows: int = 0
    right_rows: int = 0

    def plus(self, other: Sequence[float]) -> Counts:
        """Both together."""
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))  # type: ignore[arg-type]

    @property
    def loss(self) -> float:
        """Nats per answer token."""
        return self.nll / self.tokens

    @property
    def accuracy(self) -> float:
        """Rows in %, all of whose answer tokens, up to and with the end mark, have the highest logit.

        For a model that answers greedily this is exact match: as long as every token so far was the expected one,
        teacher forcing and generation see the same text.
        """
        return 100.0 * self.right_rows / self.rows

    @property
    def token_accuracy(self) -> float:
        """Answer tokens in % with the highest logit."""
        return 100.0 * self.right_tokens / self.tokens


class Answers(NamedTuple):
    """What a model says at the answer positions of a batch, row after row.

    ``logits``: [n, vocabulary], the model's dtype; ``targets``: [n]; ``rows``: [n], place of the row in the batch;
    ``trailing``: [n], whether the token comes after an answer's end mark, as the line break of many templates does.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor
    trailing: torch.Tensor


@contextlib.contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards modes and random generators are what they were.

    Args:
        model: its dropout is off inside, and gradient checkpointing has nothing to do.
    """
    modes = {module: module.training for module in model.modules()}
    states = random.getstate(), np.random.get_state()
    device = next(model.parameters()).device
    devices = [] if device.type in ("cpu", "meta") else [device]
    forked = {} if device.type in ("cpu", "meta") else {"device_type": device.type}
    try:
        with torch.random.fork_rng(devices=devices, **forked), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        random.setstate(states[0])
        np.random.set_state(states[1])


def answers(
    model: torch.nn.Module, collate: Collate, rows: Sequence[Mapping[str, Any]], end: int | None = None
) -> Answers:
    """One forward pass.

    Args:
        model: in evaluation mode.
        collate: the host's collator.
        rows: tokenized, as the collator takes them.
        end: the token that ends an answer, if one does.

    Raises:
        DBAError: the model gives no logits per token (a fused loss, or a kernel that hides them).
    """
    device = next(model.parameters()).device
    batch = {  # the host's collator empties the rows that it gets
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in collate([dict(row) for row in rows]).items()
    }
    labels = batch.pop("labels")
    logits = getattr(model(**batch, use_cache=False), "logits", None)
    if not isinstance(logits, torch.Tensor) or logits.shape[:2] != labels.shape:
        raise DBAError(
            "The gauge cannot measure this model.",
            expected=f"logits for each of {list(labels.shape)} tokens",
            found=list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__,
            next_step="set `dba_gauge_steps: 0`, or switch off what replaces the model's output (`use_unsloth`)",
        )
    mask = labels[:, 1:] != IGNORED
    trailing = _trailing(labels, end)[:, 1:][mask]
    return Answers(logits[:, :-1][mask], labels[:, 1:][mask], mask.nonzero()[:, 0], trailing)


def count(found: Answers, rows: int) -> Counts:
    """Loss and hits of one batch.

    Args:
        found: as `answers` gives them.
        rows: of the batch.
    """
    losses, hits = [], []
    for part, target in _chunks(found.logits, found.targets):
        loss = cross_entropy(part.float(), target, reduction="none")
        hits.append((part.argmax(-1) == target) & loss.isfinite())  # argmax of NaN may be the right one by chance
        losses.append(loss)
    nll, right = torch.cat(losses).cpu().double(), torch.cat(hits).cpu()
    # generation stops at the end mark, so what follows it decides nothing
    wrong = set(found.rows.cpu()[~right & ~found.trailing.cpu()].tolist())
    return Counts(float(nll.sum()), len(nll), int(right.sum()), rows, rows - len(wrong))


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """[n, vocabulary], float32."""
    return logits.float().log_softmax(-1)


def divergence(base: torch.Tensor, logits: torch.Tensor) -> float:
    """Forward KL(p_base || p_theta) in nats, summed over positions.

    Args:
        base: log-probabilities [n, vocabulary], float32.
        logits: of the model now, [n, vocabulary].
    """
    total = 0.0
    for part, now in _chunks(base, logits):
        before = part.to(now.device)
        weight = before.exp()
        terms = weight * (before - log_probabilities(now))
        # an entry that the base excludes (-inf) adds nothing: p log p -> 0
        terms = torch.where(weight > 0, terms, torch.zeros_like(terms))
        total += float(terms.sum(-1).cpu().double().sum())
    return max(total, 0.0) if math.isfinite(total) else total  # rounding may leave -1e-9 for equal distributions


def _trailing(labels: torch.Tensor, end: int | None) -> torch.Tensor:
    """Which labels [batch, length] stand behind an end mark, in the same answer."""
    found = torch.zeros_like(labels, dtype=torch.bool)
    if end is None:
        return found
    while True:
        before = torch.nn.functional.pad(((labels == end) | found)[:, :-1], (1, 0))
        more = before & (labels != IGNORED)
        if torch.equal(more, found):
            return found
        found = more


def _chunks(first: torch.Tensor, second: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    size = max(1, CHUNK // first.shape[-1])
    for start in range(0, len(first), size):
        yield first[start : start + size], second[start : start + size]
