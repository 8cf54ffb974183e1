import math

import pytest
import torch


pytest.importorskip("sklearn", reason="the F1 comes from scikit-learn (extra `eval`)")

from benchmarks.real_small import scoring
from benchmarks.real_small.base_model import new_model, train_tokenizer
from benchmarks.real_small.data import LABELS, Item


TEXTS = ["the price of the stock rises today", "negative neutral positive", "a story of the sea and the wind"] * 20


@pytest.fixture(scope="module")
def small():
    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    return new_model(tokenizer, hidden=64, layers=2, seed=0).eval(), tokenizer


def plain_likelihood(model, tokenizer, item, choice):
    """One sequence per choice, no packing: the twin of the packed scoring."""
    tree = scoring.encode(tokenizer, item)
    answer = tree.choices[item.choices.index(choice)]
    ids = torch.tensor([tree.prompt + answer])
    with torch.inference_mode():
        logs = model(input_ids=ids).logits[0].float().log_softmax(-1)
    return sum(logs[len(tree.prompt) - 1 + j, token].item() for j, token in enumerate(answer)), len(answer)


def test_packed_scoring_equals_one_sequence_per_choice(small):
    model, tokenizer = small
    items = [
        Item("the price of the stock rises", LABELS, 2),
        Item("a story", (" of the sea", " and the wind today rises", " x"), 0, raw=True, per_token=True),
        Item("the wind " * 20, ("A", "B"), 1),
    ]
    scores = scoring.score_choices(model, tokenizer, items, batch_tokens=150)
    for item, score in zip(items, scores, strict=True):
        for choice, found in zip(item.choices, score, strict=True):
            total, tokens = plain_likelihood(model, tokenizer, item, choice)
            assert found.tokens == tokens
            assert found.total == pytest.approx(total, abs=1e-3)  # float32 sums over tens of log-probabilities


def test_answers_end_with_the_end_mark_but_raw_text_does_not(small):
    _, tokenizer = small
    chat = scoring.encode(tokenizer, Item("the sea", ("A",), 0))
    raw = scoring.encode(tokenizer, Item("the sea", (" A",), 0, raw=True))
    assert chat.choices[0][-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in raw.choices[0]
    assert tokenizer.decode(chat.prompt) == "<|im_start|>user\nthe sea<|im_end|>\n<|im_start|>assistant\n"


def likelihoods(*totals, tokens=(1, 1, 1)):
    return [scoring.Likelihood(t, n) for t, n in zip(totals, tokens, strict=False)]


def test_choose_by_sum_or_by_mean():
    found = likelihoods(-2.0, -3.0, tokens=(1, 3))
    assert scoring.choose(Item("q", ("a", "b"), 0), found) == 0
    assert scoring.choose(Item("q", ("a", "b"), 0, per_token=True), found) == 1


def test_weighted_f1_of_a_hand_counted_example():
    items = [Item("q", LABELS, gold) for gold in (0, 1, 1, 2)]
    scores = [likelihoods(*row) for row in ((-1, -2, -3), (-2, -1, -3), (-1, -2, -3), (-3, -2, -1))]
    found = scoring.f1_metrics(items, scores, resamples=20)
    # predictions 0 1 0 2: F1 of the classes 2/3, 2/3, 1 with weights 1, 2, 1
    assert found["weighted_f1"] == pytest.approx(100 * (2 / 3 + 2 * 2 / 3 + 1) / 4)
    assert found["accuracy"] == 75
    # always "neutral": precision 1/2, recall 1, F1 2/3 for half of the rows
    assert found["majority_f1"] == pytest.approx(100 / 3)
    assert found["n"] == 4
    low, high = found["weighted_f1_ci95"]
    assert low <= found["weighted_f1"] <= high


def test_accuracy_loss_and_chance():
    items = [Item("q", ("a", "b"), 0), Item("q", ("a", "b"), 0), Item("q", ("a", "b"), 1)]
    found = scoring.accuracy_metrics(items, [likelihoods(-1, -2), likelihoods(-1, -2), likelihoods(-1, -2)])
    assert found["accuracy"] == pytest.approx(200 / 3)
    assert found["chance"] == pytest.approx(200 / 3)  # a constant "a" gets as much
    assert found["answer_loss"] == pytest.approx(4 / 3)
    low, high = found["accuracy_ci95"]
    assert low < found["accuracy"] < high


def test_chance_of_free_answers_is_one_over_choices():
    items = [Item("q", (f"right {i}", "x", "y", "z"), 0) for i in range(8)]
    assert scoring.chance(items) == 0.25


def test_text_loss_of_a_model_that_knows_nothing(small):
    model, tokenizer = small
    found = scoring.text_loss(model, tokenizer, TEXTS[:3])
    assert found["loss"] == pytest.approx(math.log(len(tokenizer)), rel=0.05)  # a fresh model is near uniform
    assert found["tokens"] > 10


def test_no_samples_is_an_error_not_a_zero(small):
    for call in (
        lambda: scoring.accuracy_metrics([], []),
        lambda: scoring.f1_metrics([], []),
        lambda: scoring.text_loss(*small, []),
    ):
        with pytest.raises(ValueError, match=r"no items|no text"):
            call()


def test_wilson_interval():
    low, high = scoring.wilson(50, 100)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-3), pytest.approx(0.5962, abs=1e-3))
    assert scoring.wilson(0, 10)[0] == pytest.approx(0, abs=1e-9)
