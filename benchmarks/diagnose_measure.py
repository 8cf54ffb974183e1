"""Measurements of benchmarks/diagnose.py: general loss, scores, where weights moved, and what a change is made of."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diagnose_hooks import EMBEDDING, FIRST, SMALL, Watch
from torch import Tensor

from llamafactory_dba.evaluation import micro
from llamafactory_dba.evaluation.scores import joint_score


DATA = Path("data/micro")
LOSS_ROWS = 240
POINTS = 8  # of the integral along the line from the base model to the end


class Losses(NamedTuple):
    """Mean cross-entropy in nats per token: of the tokens that training counts, and without the closing line feed."""

    trained: float
    answers: float


class Rows:
    """General test rows as one batch, in the host's qwen3_nothink template."""

    def __init__(self, tokenizer: Any) -> None:
        cut = [encode(tokenizer, row) for row in read("general_test", LOSS_ROWS)]
        width = max(len(prompt) + len(answer) for prompt, answer in cut)
        self.ids = torch.zeros(len(cut), width, dtype=torch.long)
        self.mask = torch.zeros_like(self.ids)
        self.counted = torch.zeros(len(cut), width - 1, 2, dtype=torch.bool)  # trained, answers
        for number, (prompt, answer) in enumerate(cut):
            begin, end = len(prompt), len(prompt) + len(answer)
            self.ids[number, :end] = torch.tensor(prompt + answer)
            self.mask[number, :end] = 1
            self.counted[number, begin - 1 : end - 1, 0] = True
            self.counted[number, begin - 1 : end - 2, 1] = True  # the last token is the line feed
        self.tokens = used(tokenizer, self.ids[self.mask.bool()].tolist())

    def tensors(self, model: Any) -> Tensor:
        """Both means, differentiable."""
        training = model.training
        model.eval()
        logits = model(input_ids=self.ids, attention_mask=self.mask).logits[:, :-1]
        model.train(training)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), self.ids[:, 1:], reduction="none")
        return (loss.unsqueeze(-1) * self.counted).sum((0, 1)) / self.counted.sum((0, 1))

    @torch.no_grad()
    def losses(self, model: Any) -> Losses:
        """Both means."""
        return Losses(*self.tensors(model).tolist())


def read(name: str, rows: int | None = None) -> list[dict[str, str]]:
    lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:rows]]


def encode(tokenizer: Any, row: dict[str, str]) -> tuple[list[int], list[int]]:
    """Token ids of prompt and answer, as the host's template qwen3_nothink cuts them."""
    prompt = f"<|im_start|>user\n{row['instruction']}<|im_end|>\n<|im_start|>assistant\n"
    first, second = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, f"{row['output']}<|im_end|>\n")
    )
    return first, second


def used(tokenizer: Any, ids: list[int]) -> Tensor:
    """(V,) whether a token is among the ids."""
    found = torch.zeros(len(tokenizer), dtype=torch.bool)
    found[ids] = True
    return found


def domain_tokens(tokenizer: Any, domain: str) -> Tensor:
    """(V,) whether the domain's training rows, with the template, show a token."""
    return used(tokenizer, [i for row in read(f"{domain}_train") for part in encode(tokenizer, row) for i in part])


def score(model: Any, tokenizer: Any, domain: str) -> dict[str, float]:
    """Accuracies in percent on the whole test files, by the light evaluator."""
    rows = [row for name in ("general", domain) for row in micro.read_rows(DATA / f"{name}_test.jsonl")]
    training, cached = model.training, model.config.use_cache
    model.eval()
    model.config.use_cache = model.generation_config.use_cache = True
    found = micro.score_answers(rows, micro.generate_answers(model, tokenizer, [row.prompt for row in rows]))
    model.config.use_cache = cached
    model.train(training)
    s_d, s_g = found.pop(domain).accuracy, statistics.fmean(value.accuracy for value in found.values())
    return {"s_d": s_d, "s_g": s_g, "s": joint_score(s_d, s_g)}


def groups(name: str, change: Tensor, shown: Tensor) -> dict[str, Tensor]:
    """The numbers of a tensor by kind: embedding rows that the domain lacks or shows, matrices, vectors."""
    if name == EMBEDDING:
        return {"unseen rows": change[~shown], "seen rows": change[shown]}
    return {"matrices" if change.dim() > 1 else "vectors": change}


def movement(changes: dict[str, Tensor], shown: Tensor, general: Tensor, path: float) -> dict[str, Any]:
    """Mean |Δθ| by kind, as a share of the sum of all rates: 1 is a full step the same way, every step.

    ``general``: which tokens the general test rows show.
    """
    kinds: dict[str, list[Tensor]] = {}
    for name, change in changes.items():
        for kind, part in groups(name, change, shown).items():
            kinds.setdefault(kind, []).append(part.reshape(-1))
    found: dict[str, Any] = {kind: float(torch.cat(items).abs().mean()) / path for kind, items in kinds.items()}
    return found | {"rows_unseen": int((~shown).sum()), "rows_unseen_general": int((~shown & general).sum())}


def split(watch: Watch, rows: Rows, shown: Tensor) -> dict[str, Any]:
    """What the parts of the change have done to the general loss.

    ``change``: ⟨part, Δθ⟩/‖Δθ‖², which add up to 1. ``rise``: the gradient of the general loss, averaged over the line
    from the base model to the end, times the part; they add up to the whole rise but for the error of the integral
    (``rise_missing``). ``without``: the general loss where the part is taken out of the change.
    """
    control = watch.control
    assert control is not None
    whole = watch.changes()
    anchor = {(q, s): {n: control.parts[n][q, s] for n in control.parts} for q in (0, 1) for s in (0, 1)}
    names = {(0, 0): "loud", (1, 0): "quiet", (0, 1): "loud, small step", (1, 1): "quiet, small step"}
    parts = {names[key]: part for key, part in anchor.items()}
    parts["domain"] = {n: whole[n] - sum(part[n] for part in anchor.values()) for n in control.parts}
    length = sum(float(change.square().sum()) for change in whole.values())
    slope, end = mean_gradient(watch, rows), rows.losses(watch.model).answers
    found: dict[str, Any] = {
        "small_steps": sum(norm < SMALL * statistics.fmean(control.grad_norms[:FIRST]) for norm in control.grad_norms),
        "grad_norms": statistics.quantiles(control.grad_norms, n=4),
        "zero_entries": statistics.fmean(control.zeros),
        "anchor_norm": control.anchor_norm,
        "parts": {},
    }
    for name, part in parts.items():
        by_kind: dict[str, float] = {}
        for tensor, value in part.items():
            for kind, numbers in groups(tensor, slope[tensor] * value, shown).items():
                by_kind[kind] = by_kind.get(kind, 0.0) + float(numbers.sum())
        found["parts"][name] = {
            "change": sum(float((value * whole[n]).sum()) for n, value in part.items()) / length,
            "rise": sum(by_kind.values()),
            "rise_by_kind": by_kind,
            "without": loss_at(watch, {n: whole[n] - value for n, value in part.items()}, rows),
        }
    total = sum(item["rise"] for item in found["parts"].values())
    base = loss_at(watch, {n: torch.zeros_like(value) for n, value in whole.items()}, rows)
    return found | {"rise": end - base, "rise_missing": end - base - total}


def mean_gradient(watch: Watch, rows: Rows) -> dict[str, Tensor]:
    """∇ of the general loss, averaged over the line from θ0 to θ (midpoints)."""
    whole = {name: change.clone() for name, change in watch.changes().items()}
    total = {name: torch.zeros_like(change) for name, change in whole.items()}
    for number in range(POINTS):
        place(watch, {name: change * ((number + 0.5) / POINTS) for name, change in whole.items()})
        loss = rows.tensors(watch.model)[1]
        grads = torch.autograd.grad(loss, [watch.parameters[name] for name in total])
        for name, grad in zip(total, grads, strict=True):
            total[name] += grad / POINTS
    place(watch, whole)
    return total


@torch.no_grad()
def place(watch: Watch, changes: dict[str, Tensor]) -> None:
    """θ ← θ0 + change."""
    for name, change in changes.items():
        watch.parameters[name].copy_(watch.start[name] + change)


def loss_at(watch: Watch, changes: dict[str, Tensor], rows: Rows) -> float:
    """General loss on the answers at θ0 + change; the weights are as before afterwards."""
    whole = {name: change.clone() for name, change in watch.changes().items()}
    place(watch, changes)
    found = rows.losses(watch.model).answers
    place(watch, whole)
    return found
