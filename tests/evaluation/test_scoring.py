"""Every scorer by hand, against scikit-learn and the light evaluator, and on real questions."""

import json
import math
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llamafactory_dba.data.choices import choice_prompt
from llamafactory_dba.data.micro.domains import DOMAINS
from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.answers.sentiment import CLASSES, parse_sentiment
from llamafactory_dba.evaluation.definitions import load_suite, load_task
from llamafactory_dba.evaluation.f1_interval import confusion, f1_interval, f1_of
from llamafactory_dba.evaluation.intervals import bootstrap, bootstrap_mean, wilson
from llamafactory_dba.evaluation.metrics.f1 import weighted_f1
from llamafactory_dba.evaluation.micro import read_rows, score_answers
from llamafactory_dba.evaluation.questions import MissingData, Place, Question, load_questions
from llamafactory_dba.evaluation.results import Results, Run, TaskResult
from llamafactory_dba.evaluation.scoring import Answer, Likelihoods, TextLoss, score


ROOT = Path(__file__).parents[2]
MICRO = Place(ROOT / "data", None)
REAL = Path(os.environ.get("DBA_REAL_DATA") or ROOT.parent / "shared" / "data")
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"real data is not at {REAL} (DBA_REAL_DATA)")
# LawBench's perfect answers: why they are other texts than their references, or score less than 100, and why empty
# ones score more than 0, says metrics/lawbench.py
IDEAL = {
    "lawbench_1_1": lambda text: text.replace("答案:", ""),
    "lawbench_2_5": lambda text: text.replace("回答:", ""),
    "lawbench_2_6": lambda text: text.replace(";", "\n"),
}
PERFECT = {"lawbench_2_6": (99.889, 11), "lawbench_3_3": (93.224, 7)}
EMPTY = {"lawbench_2_6": 2.2}


def asked(reference, choices=4, group="", several=False):
    prompt = choice_prompt("Which?", [f"choice {place}" for place in range(choices)], several=several)
    right = None if several else "ABCDEFGHIJ".index(reference)
    return Question(prompt, reference, tuple(f"choice {place}" for place in range(choices)), right, group)


def given(*texts):
    return [Answer(text) for text in texts]


def only(name, questions, answers, **options):
    task = load_task(name)
    found = score(replace(task, options={**task.options, **options}), questions, answers)
    assert len(found) == 1 and found[0].metric == task.metric
    return found[0]


def test_letters_with_unparsed_truncated_and_groups():
    questions = [asked(letter, group=group) for letter, group in zip("ABCDD", "xxyyy", strict=True)]
    answers = given("A", "The answer is (C).", "I do not know.", "D", "答案：D")
    answers[3] = Answer("D", truncated=True)
    found = only("mmlu", questions, answers)
    assert (found.value, found.n, found.unparsed, found.truncated, found.skipped) == (40.0, 5, 2, 1, 0)
    assert found.per_sample == (1.0, 0.0, 0.0, 0.0, 1.0)
    assert found.interval == wilson(2, 5)
    assert found.groups == {"x": (50.0, 2), "y": (pytest.approx(100 / 3), 3)}


def test_letters_beyond_the_choices_are_no_answer():
    found = only("mmlu_pro", [asked("A", 3), asked("J", 10)], given("D", "J"))
    assert (found.value, found.unparsed) == (50.0, 1)


@pytest.mark.parametrize(
    "text, right, unparsed",
    [
        ("ABD", 1, 0),
        ("D、B、A", 1, 0),
        ("答案：ABD", 1, 0),
        ("AB", 0, 0),
        ("ABCD", 0, 0),
        ("A", 0, 0),
        ("无", 0, 1),
    ],
)
def test_all_letters_must_match(text, right, unparsed):
    found = only("cmb_exam", [asked("ABD", 5, several=True)], given(text))
    assert (found.value, found.unparsed) == (100.0 * right, unparsed)


def test_one_letter_where_one_is_asked_for():
    found = only("cmb_exam", [asked("A", 5), asked("A", 5, several=True)], given("AB", "AB"))
    assert (found.value, found.unparsed) == (0.0, 1)  # of the second, AB is an answer, and a wrong one


@pytest.mark.parametrize(
    "name, reference, right, wrong, nothing",
    [
        ("gsm8k", "3 + 4 = 7\n#### 1,000", "so it is 1000.", "so it is 999", "seven"),
        ("math", r"So $\boxed{\frac12}$.", r"\boxed{0.5}", r"\boxed{2}", "1/2"),
        ("newsqa", "true", "True.", "false", "maybe"),
        ("newsqa", "错误", "错误", "正确", "也许"),
        ("micro_news", "true", " true\n", "false", "True"),
        ("micro_recall", "abc", "abc", "abd", " "),
    ],
)
def test_one_answer(name, reference, right, wrong, nothing):
    questions = [Question("?", reference)] * 4
    found = only(name, questions, [*given(right, wrong, nothing), Answer(right, truncated=True)])
    assert found.per_sample == (1.0, 0.0, 0.0, 0.0)
    assert (found.value, found.unparsed, found.truncated) == (25.0, 2, 1)


def test_gsm8k_may_be_strict():
    questions = [Question("?", "#### 7")] * 2
    assert only("gsm8k", questions, given("7", "#### 7"), strict=True).per_sample == (0.0, 1.0)


def finance(n, seed, answers=(*CLASSES, "The tone is positive.", "mildly positive", "hm", "", "积极")):
    source = random.Random(seed)
    right = source.choices(CLASSES, (1, 6, 3), k=n)
    return right, [word if source.random() < 0.4 else source.choice(answers) for word in right]


@pytest.mark.parametrize("seed", range(5))
def test_finance_agrees_with_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the extra `eval`")
    right, texts = finance(400, seed)
    found = only("fpb", [Question("?", word) for word in right], given(*texts))
    parsed = [parse_sentiment(text) or "unparsed" for text in texts]
    theirs = 100 * metrics.f1_score(right, parsed, average="weighted", zero_division=0)
    assert found.value == pytest.approx(theirs, abs=1e-10)  # float64 means of three classes
    assert found.unparsed == parsed.count("unparsed") > 0
    assert 100 * sum(found.per_sample) / found.n == pytest.approx(100 * metrics.accuracy_score(right, parsed))
    assert found.interval.low < found.value < found.interval.high


@pytest.mark.parametrize("seed", range(5))
def test_f1_of_resampled_matrices_agrees_with_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the extra `eval`")
    right, texts = finance(60, seed)
    found = [parse_sentiment(text) for text in texts]
    generator = np.random.default_rng(seed)
    matrices, theirs = [], []
    for _ in range(20):
        rows = generator.integers(0, 60, 60)
        some_right, some_found = [right[row] for row in rows], [found[row] for row in rows]
        matrices.append(confusion(some_right, some_found, CLASSES))
        words = [word or "unparsed" for word in some_found]
        theirs.append(100 * metrics.f1_score(some_right, words, average="weighted", zero_division=0))
        assert f1_of(matrices[-1][None])[0] == pytest.approx(weighted_f1(some_right, some_found, CLASSES).value)
    assert f1_of(np.stack(matrices)) == pytest.approx(theirs, abs=1e-10)  # float64 means of three classes


def test_the_f1_interval_is_that_of_resampled_rows():
    """Drawing matrices and drawing rows are the same distribution: their ends differ by the noise of 2,000 draws."""
    right, texts = finance(300, 0)
    found = [parse_sentiment(text) for text in texts]

    def of_rows(rows):
        return weighted_f1([right[row] for row in rows], [found[row] for row in rows], CLASSES).value

    quick, slow = f1_interval(right, found, CLASSES), bootstrap(of_rows, len(right))
    assert quick.method == slow.method
    # the 2.5 % quantile of 2,000 draws has a standard error of about 0.06 standard deviations; half a width is two
    margin = 6 * 0.06 * (slow.high - slow.low) / 4
    assert quick.low == pytest.approx(slow.low, abs=margin) and quick.high == pytest.approx(slow.high, abs=margin)
    assert f1_interval(right, found, CLASSES) == quick != f1_interval(right, found, CLASSES, seed=1)


def test_nwgi_answers_with_seven_labels_are_mapped():
    found = only(
        "nwgi", [Question("?", "neutral"), Question("?", "positive")], given("mildly positive", "strong positive")
    )
    assert found.value == 100.0


def test_sentiment_by_group():
    questions = [Question("?", word, group=group) for word, group in zip(CLASSES, "xxy", strict=True)]
    found = only("fpb", questions, given("negative", "negative", "positive"))
    assert found.groups == {"x": (pytest.approx(100 / 3), 2), "y": (100.0, 1)}


def test_micro_is_scored_as_the_light_evaluator_does():
    suite = load_suite("micro")
    source = random.Random(0)
    for stem in ("general", *DOMAINS):
        rows = read_rows(ROOT / "data" / "micro" / f"{stem}_test.jsonl")
        texts = [source.choice((row.answer, row.answer.upper(), "", "true", "A", None)) for row in rows]
        theirs = score_answers(rows, texts)
        by_skill = {
            skill: [text for row, text in zip(rows, texts, strict=True) if row.skill == skill] for skill in theirs
        }
        for skill, expected in theirs.items():
            task = suite.task(f"micro_{skill}")
            questions = load_questions(task, MICRO).questions
            assert [each.prompt for each in questions] == [row.prompt for row in rows if row.skill == skill]
            answers = [Answer("cut", truncated=True) if text is None else Answer(text) for text in by_skill[skill]]
            found = score(task, questions, answers)[0]
            assert found.value == pytest.approx(expected.accuracy)
            assert (found.n, found.unparsed, found.per_sample) == (
                expected.total,
                expected.unparsed,
                expected.per_sample,
            )
            assert found.truncated == by_skill[skill].count(None) > 0


def test_a_log_distance_below_0_has_no_shares():
    questions = [Question("?", "刑期:0个月"), Question("?", "刑期:3个月"), Question("?", "刑期:死刑")]
    found = only("lawbench_3_4", questions, given("500个月", "3个月", "3个月"))
    assert found.per_sample is None and (found.n, found.skipped) == (2, 1)
    assert found.interval.low == 0.0 and 0 < found.value < 50


def test_truncated_answers_to_lawbench():
    entities = [Question("?", ""), Question("?", "受害人:严某"), Question("?", "")]
    found = only("lawbench_2_6", entities, [Answer("无", truncated=True), Answer("受害人:严某。"), Answer("没有")])
    assert found.per_sample[0] == 0.0 and found.per_sample[2] == 1.0
    assert (found.unparsed, found.truncated) == (1, 1)
    terms = [Question("?", "刑期:死刑"), Question("?", "刑期:3个月")]
    found = only("lawbench_3_4", terms, [Answer("死刑", truncated=True), Answer("3个月")])
    assert (found.value, found.n, found.truncated, found.skipped) == (100.0, 1, 0, 1)  # a skipped one is in no count
    found = only("lawbench_3_4", terms, [Answer("死刑"), Answer("3个月", truncated=True)])
    assert (found.value, found.n, found.truncated, found.unparsed) == (0.0, 1, 1, 1)


def likely(name="piqa_likelihood", rights=(0, 1), choices=((" ab", " abcd"), (" ab", " abcd"))):
    return load_task(name), [Question("Q", "", each, right) for each, right in zip(choices, rights, strict=True)]


def test_likelihoods_by_sum_character_and_token():
    task, questions = likely()
    answers = [Likelihoods((-2.0, -3.0), (1, 2)), Likelihoods((-5.0, -5.0), (2, 2))]
    found = {each.metric: each for each in score(task, questions, answers)}
    assert list(found) == ["accuracy", "accuracy_per_character", "accuracy_per_token"]
    assert found["accuracy"].per_sample == (1.0, 0.0)  # of equal ones the first
    assert found["accuracy_per_character"].per_sample == (0.0, 1.0)  # -1 < -3/4; -5/2 < -5/4
    assert found["accuracy_per_token"].per_sample == (0.0, 0.0)
    assert found["accuracy"].interval == wilson(1, 2)
    by_length = replace(task, metric="accuracy_per_character")
    assert score(by_length, questions, answers)[0].metric == "accuracy_per_character"


def test_likelihoods_that_are_none_are_unparsed():
    task, questions = likely()
    found = score(task, questions, [Likelihoods((math.nan, 0.0)), Likelihoods((-math.inf, -3.0))])
    assert [each.metric for each in found] == ["accuracy", "accuracy_per_character"]
    assert (found[0].value, found[0].unparsed) == (50.0, 1)
    with pytest.raises(DBAError, match="do not belong together"):
        score(task, questions, [Likelihoods((-1.0,)), Likelihoods((-1.0, -2.0))])


def test_losses():
    texts = [Question("", "a bc"), Question("", "d")]
    losses = [TextLoss(3.0, 2, 2, 4), TextLoss(1.0, 2, 1, 1)]
    found = {each.metric: each for each in score(load_task("perplexity_pile"), texts, losses)}
    assert list(found) == ["perplexity", "nats_per_token", "bits_per_byte", "word_perplexity"]
    assert found["nats_per_token"].value == 1.0 and found["perplexity"].value == pytest.approx(math.e)
    assert found["bits_per_byte"].value == pytest.approx(4 / 5 / math.log(2))
    assert found["word_perplexity"].value == pytest.approx(math.exp(4 / 3))
    for name in ("nats_per_token", "bits_per_byte"):
        assert np.mean(found[name].per_sample) == pytest.approx(found[name].value)
    assert found["perplexity"].per_sample is None
    assert found["nats_per_token"].interval.low == 0.5 and found["nats_per_token"].interval.high == 1.5
    assert found["perplexity"].interval.high == pytest.approx(math.exp(1.5))
    grouped = [replace(text, group=text.reference) for text in texts]
    found = score(load_task("perplexity_pile"), grouped, losses)
    assert found[1].groups == {"a bc": (1.5, 1), "d": (0.5, 1)}
    chinese = score(replace(load_task("perplexity_pile"), language="zh"), texts, losses)
    assert "word_perplexity" not in [each.metric for each in chinese]
    assert score(load_task("perplexity_pile"), texts[:1], losses[:1])[0].interval is None
    with pytest.raises(DBAError, match="has no loss"):
        score(load_task("perplexity_pile"), texts, [losses[0], TextLoss(math.nan, 2, 1, 1)])


def test_no_samples_are_no_score():
    for name in ("mmlu", "fpb", "lawbench_1_1", "piqa_likelihood", "perplexity_pile", "micro_law"):
        with pytest.raises(DBAError, match="nothing to score"):
            score(load_task(name), [], [])
    with pytest.raises(DBAError, match="not one answer"):
        score(load_task("mmlu"), [asked("A")], [])
    with pytest.raises(DBAError, match="another kind"):
        score(load_task("mmlu"), [asked("A")], [Likelihoods((0.0,))])
    with pytest.raises(DBAError, match="reference could not be read"):
        score(load_task("gsm8k"), [Question("?", "none")], given("7"))


REAL_TASKS = ["piqa", "medmcqa", "tfns", "mmlu", "cmmlu", "ceval", "gsm8k", "math", *load_suite("law").tasks]


@real
@pytest.mark.parametrize("name", REAL_TASKS)
def test_perfect_empty_and_corrupted_answers_to_real_questions(name):
    task = load_task(name)
    if task.metric == "rouge_l":
        task = replace(task, options={**task.options, "segment": "characters"})  # jieba is slow, and an extra
    try:
        questions = load_questions(replace(task, metric="x"), Place(REAL, None)).questions
    except MissingData as error:
        pytest.skip(str(error))
    ideal = [IDEAL.get(name, str)(each.reference) for each in questions]
    best = score(task, questions, given(*ideal))[0]
    value, unparsed = PERFECT.get(name, (100.0, 0))
    assert best.value == pytest.approx(value, abs=5e-4)
    assert (best.unparsed, best.truncated, best.n + best.skipped) == (unparsed, 0, len(questions))

    for nothing, cut in ((Answer(""), False), (Answer(ideal[0], truncated=True), True)):
        none = score(task, questions, [nothing] * len(questions))[0]
        assert none.value == pytest.approx(0.0 if cut else EMPTY.get(name, 0.0), abs=1e-9)
        assert none.unparsed == none.n == best.n and none.truncated == cut * none.n

    # every second answer is the next row's, every fifth is missing
    last = len(ideal)
    mixed = ["" if not place % 5 else ideal[(place + place % 2) % last] for place in range(last)]
    found = score(task, questions, given(*mixed))[0]
    assert none.value < found.value < best.value and found.unparsed >= last // 5 - found.skipped
    if found.interval is not None:
        assert found.interval.low < found.value < found.interval.high
    else:
        assert name == "lawbench_2_1"
    if found.groups:
        assert sum(n for _, n in found.groups.values()) == last
        assert sum(value * n for value, n in found.groups.values()) / last == pytest.approx(found.value)
    # results.json takes it
    numbers = (found.metric, found.value, found.n, found.unparsed, found.interval, found.per_sample)
    Results(Run("r", "m"), (TaskResult("s", name, task.version, "domain", *numbers),))
    if found.per_sample is not None and found.metric != "weighted_f1":  # of which it says who was right
        assert 100 * sum(found.per_sample) / found.n == pytest.approx(found.value)
        assert json.dumps(found.per_sample)
        if set(found.per_sample) - {0.0, 1.0}:
            drawn = bootstrap_mean(found.per_sample)
            assert (found.interval.low, found.interval.high) == (drawn.low, drawn.high)


@real
def test_answers_of_another_label_table_are_found_out():
    """FPB's table on TFNS' numbers, as a published copy has it: positive and neutral change places."""
    task = load_task("tfns")
    try:
        questions = load_questions(task, Place(REAL, None)).questions
    except MissingData as error:
        pytest.skip(str(error))
    swapped = {"negative": "negative", "neutral": "positive", "positive": "neutral"}
    assert Counter(each.reference for each in questions)["neutral"] == 1566
    assert score(task, questions, given(*(swapped[each.reference] for each in questions)))[0].value < 20.0
