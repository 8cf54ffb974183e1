"""Loss, accuracy and divergence against dense float64 and greedy generation; the model is left as it was."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from llamafactory_dba.evaluation.micro import generate_answers
from llamafactory_dba.training.gauge.measure import (
    Answers,
    Counts,
    answers,
    count,
    divergence,
    log_probabilities,
    undisturbed,
)


ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "micro" / "models" / "micro-instruct"


@pytest.fixture(scope="module")
def micro():
    """The micro world's model, disturbed so that it is right on some answers and wrong on others."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.03 * torch.randn(parameter.shape, generator=generator)
    return model, AutoTokenizer.from_pretrained(MODEL)


def tokenized(tokenizer, questions):
    rows = []
    for item in questions:
        prompt = tokenizer(f"<|im_start|>user\n{item['instruction']}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        answer = tokenizer(f"{item['output']}<|im_end|>\n")["input_ids"]
        rows.append({"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer})
    return rows


def padded(tokenizer):
    def collate(rows):
        longest = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": tokenizer.pad_token_id, "labels": -100, "attention_mask": 0}
        for row in rows:
            row["attention_mask"] = [1] * len(row["input_ids"])
        return {
            name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])
            for name, value in fill.items()
        }

    return collate


@pytest.fixture(scope="module")
def questions():
    lines = (ROOT / "data" / "micro" / "general_test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[::6]]


def test_accuracy_is_exact_match_of_greedy_answers(micro, questions):
    model, tokenizer = micro
    rows = tokenized(tokenizer, questions)
    with undisturbed(model):
        found = count(answers(model, padded(tokenizer), rows, tokenizer.eos_token_id), len(rows))
    generated = generate_answers(model, tokenizer, [item["instruction"] for item in questions])
    right = sum(answer == item["output"] for answer, item in zip(generated, questions, strict=True))
    assert found.right_rows == right
    assert 20 < right < len(questions) - 20  # a model that is always right or wrong would show nothing


def test_loss_and_token_accuracy_equal_dense_float64(micro, questions):
    model, tokenizer = micro
    rows = tokenized(tokenizer, questions[:20])
    with undisturbed(model):
        found = count(answers(model, padded(tokenizer), rows, tokenizer.eos_token_id), len(rows))
    nll, tokens, right = 0.0, 0, 0
    double = type(model)(model.config).double().eval()
    double.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    for row in rows:  # one at a time, no padding
        start = sum(label == -100 for label in row["labels"])
        with torch.no_grad():
            logits = double(torch.tensor([row["input_ids"]])).logits[0, start - 1 : -1]
        target = torch.tensor(row["input_ids"][start:])
        nll -= float(logits.log_softmax(-1)[torch.arange(len(target)), target].sum())
        right += int((logits.argmax(-1) == target).sum())
        tokens += len(target)
    assert found.tokens == tokens
    assert found.right_tokens == right
    assert found.loss == pytest.approx(nll / tokens, rel=1e-5)  # float32 forward pass through two layers


def test_what_follows_the_end_mark_decides_nothing():
    logits = torch.zeros(4, 5)
    logits[[0, 1, 2, 3], [3, 1, 0, 4]] = 1.0  # answer, end, then a wrong guess behind the end; a wrong answer
    found = Answers(
        logits, torch.tensor([3, 1, 2, 2]), torch.tensor([0, 0, 0, 1]), torch.tensor([False, False, True, False])
    )
    assert count(found, 2)[1:] == (4, 2, 2, 1)


def test_trailing_tokens_are_those_behind_the_end_in_the_same_answer():
    from llamafactory_dba.training.gauge.measure import _trailing

    labels = torch.tensor([[-100, 5, 9, 7, 7, -100, 7, 9, -100, -100]])
    assert _trailing(labels, 9).int().tolist() == [[0, 0, 0, 1, 1, 0, 0, 0, 0, 0]]
    assert not _trailing(labels, None).any()


def test_a_loss_that_is_not_finite_is_never_right():
    logits = torch.tensor([[math.nan, 1.0], [0.0, 1.0]])
    found = count(Answers(logits, torch.tensor([0, 1]), torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool)), 2)
    assert math.isnan(found.nll)
    assert (found.right_tokens, found.right_rows) == (1, 1)


def test_divergence_equals_dense_float64(monkeypatch):
    monkeypatch.setattr("llamafactory_dba.training.gauge.measure.CHUNK", 100)  # several parts
    generator = torch.Generator().manual_seed(1)
    before, now = (torch.randn(50, 40, generator=generator) * 3 for _ in range(2))
    p, q = (np.exp(x.double().numpy()) for x in (before, now))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    expected = (p * np.log(p / q)).sum()
    # float32 logarithms, exact to 1e-7 each, summed over 40 terms per position
    assert divergence(log_probabilities(before), now) == pytest.approx(expected, rel=1e-5)
    assert divergence(log_probabilities(before), before) == 0.0


def test_divergence_where_the_base_excludes_a_token():
    before, now = torch.tensor([[0.0, -math.inf]]), torch.tensor([[0.0, 0.0]])
    assert divergence(log_probabilities(before), now) == pytest.approx(math.log(2))
    assert divergence(log_probabilities(before), before) == 0.0
    assert divergence(log_probabilities(now), before) == math.inf


def test_model_and_generators_are_left_alone(micro):
    model, _ = micro
    model.train()
    model.model.layers[0].eval()  # an adapter may have put a part into evaluation mode itself
    modes = [module.training for module in model.modules()]
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = random.random(), np.random.rand(), torch.rand(3).tolist()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        random.random(), np.random.rand(), torch.rand(3), 1 / 0
    assert (random.random(), np.random.rand(), torch.rand(3).tolist()) == expected
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
    model.eval()


def test_counts_of_several_ranks_add_up():
    assert Counts(1.0, 2, 1, 1, 0).plus((3.0, 2, 2, 1, 1)) == Counts(4.0, 4, 3, 2, 1)
    total = Counts(4.0, 4, 3, 2, 1)
    assert (total.loss, total.accuracy, total.token_accuracy) == (1.0, 50.0, 75.0)
