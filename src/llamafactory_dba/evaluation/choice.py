"""What a model would answer in a micro-world domain if it knew the labels: the most likely one of the closed set.

A base model has never seen a domain's labels, so that in free generation it scores below chance and says nothing about
what it knows. The likelihood of each label given the question does: `python -m llamafactory_dba.evaluation.choice
MODEL_DIR` compares it with chance. Free generation (`micro`) stays the score of trained models.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamafactory_dba.data.micro.domains import CHANCE, DOMAINS

from .micro import LABELS, Row, TaskScore, read_rows


@torch.inference_mode()
def log_likelihoods(
    model: Any, tokenizer: Any, prompts: Sequence[str], label: str, batch_size: int = 128
) -> torch.Tensor:
    """Log-probability of ``label`` and the end mark after each prompt, in nats, shape (prompts,)."""
    answer = tokenizer(label + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    totals = []
    for start in range(0, len(prompts), batch_size):
        rows = []
        for prompt in prompts[start : start + batch_size]:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
            rows.append(tokenizer(text, add_special_tokens=False)["input_ids"] + answer)
        width = max(len(row) for row in rows)
        # padding on the left keeps the answers at the right edge, and the mask keeps it out of the attention
        tokens = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        logits = model(input_ids=tokens, attention_mask=mask, position_ids=positions).logits.float()
        scores = logits[:, -len(answer) - 1 : -1].log_softmax(-1)
        wanted = torch.tensor(answer).expand(len(rows), -1)[..., None]
        totals.append(scores.gather(-1, wanted).sum((1, 2)))
    return torch.cat(totals)


def choose(model: Any, tokenizer: Any, rows: Sequence[Row], labels: Sequence[str]) -> TaskScore:
    """Score of the most likely label of each question; nothing can be unparsed."""
    prompts = [row.prompt for row in rows]
    table = torch.stack([log_likelihoods(model, tokenizer, prompts, label) for label in labels])
    best = [labels[number] for number in table.argmax(0).tolist()]
    right = sum(row.answer == label for row, label in zip(rows, best, strict=True))
    return TaskScore(right, len(rows), 0)


def choice_scores(model_folder: Path, data: Path = Path("data/micro")) -> dict[str, TaskScore]:
    """Scores of all four domains."""
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    return {
        domain: choose(model, tokenizer, read_rows(data / f"{domain}_test.jsonl"), LABELS[domain])
        for domain in DOMAINS
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data/micro"))
    args = parser.parse_args()
    print(f"{'domain':10} {'%':>6} {'chance':>7} {'n':>5}")
    for domain, score in choice_scores(args.model, args.data).items():
        print(f"{domain:10} {score.accuracy:6.1f} {CHANCE[domain]:7.1f} {score.total:5d}")


if __name__ == "__main__":
    main()
