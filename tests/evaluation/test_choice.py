"""Choosing the most likely label: batched and padded equals one at a time, and the committed bases are near chance."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamafactory_dba.data.micro.domains import CHANCE
from llamafactory_dba.evaluation.choice import choice_scores, choose, log_likelihoods
from llamafactory_dba.evaluation.micro import LABELS, read_rows


ROOT = Path(__file__).parents[2]
MODELS = ROOT / "examples" / "micro" / "models"


@pytest.fixture(scope="module")
def loaded():
    folder = MODELS / "micro-base"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(
        folder
    )


def test_batches_with_padding_equal_single_questions(loaded):
    model, tokenizer = loaded
    rows = read_rows(ROOT / "data" / "micro" / "finance_test.jsonl")[:9]
    prompts = [row.prompt for row in rows]
    for label in LABELS["finance"]:
        together = log_likelihoods(model, tokenizer, prompts, label, batch_size=4)
        single = []
        for prompt in prompts:
            text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
            start = tokenizer(text, add_special_tokens=False)["input_ids"]
            answer = tokenizer(label + "<|im_end|>", add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = model(torch.tensor([start + answer])).logits[0, len(start) - 1 : -1]
            single.append(-torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum"))
        # fp32 logits of a few tens; padding changes the order of sums in attention only
        torch.testing.assert_close(together, torch.stack(single), rtol=1e-4, atol=1e-3)


def test_chooses_the_most_likely_label(loaded):
    model, tokenizer = loaded
    rows = read_rows(ROOT / "data" / "micro" / "news_test.jsonl")[:10]
    table = torch.stack([log_likelihoods(model, tokenizer, [r.prompt for r in rows], x) for x in LABELS["news"]])
    right = sum(LABELS["news"][best] == row.answer for best, row in zip(table.argmax(0), rows, strict=True))
    assert choose(model, tokenizer, rows, LABELS["news"]).right == right


@pytest.mark.parametrize("name", ["micro-base", "micro-instruct"])
def test_the_committed_bases_are_near_chance_on_every_domain(name):
    for domain, score in choice_scores(MODELS / name, ROOT / "data" / "micro").items():
        # two and a half binomial standard errors of the sample; a domain may be harder than chance, never much easier
        error = 100 * (CHANCE[domain] / 100 * (1 - CHANCE[domain] / 100) / score.total) ** 0.5
        assert abs(score.accuracy - CHANCE[domain]) < 2.5 * error, (domain, score.accuracy)
