"""All scores of one model folder: TFNS, general multiple choice, answer loss, text loss."""

import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from . import data
from .paths import data_root
from .scoring import accuracy_metrics, f1_metrics, score_choices, text_loss


def evaluate(folder: Path) -> dict:
    """Return the scores of the model in ``folder``; bfloat16 autocast as in training, log-likelihoods in float32."""
    start = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    _, test = data.tfns(data_root())
    splits = data.general_splits(data_root())
    with torch.autocast(device, torch.bfloat16):
        return {
            "finance": f1_metrics(test, score_choices(model, tokenizer, test)),
            "general": {
                name: accuracy_metrics(items, score_choices(model, tokenizer, items))
                for name, items in splits.held_out.items()
            },
            "text": {name: text_loss(model, tokenizer, blocks) for name, blocks in splits.text_held_out.items()},
            "seconds": time.perf_counter() - start,
        }
