"""The engine: lm-evaluation-harness asks, and gives the numbers that it and our light evaluator give alone."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
import yaml
from evaluation.models import MICRO, MICRO_BASE, MICRO_DATA, REAL_DATA, adapter_on, answers, task, tiny

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation import micro
from llamafactory_dba.evaluation.definitions import load_task
from llamafactory_dba.evaluation.measure import ModelSpec, as_answer, measure, prompting_of
from llamafactory_dba.evaluation.model_hash import find_files
from llamafactory_dba.evaluation.prompting import load_tokenizer
from llamafactory_dba.evaluation.questions import Place, Question, load_questions
from llamafactory_dba.evaluation.scoring import score
from llamafactory_dba.evaluation.selection import choose, load_all


pytest.importorskip("lm_eval", reason="lm_eval is in the extra `eval`")


QUESTIONS = [Question(prompt=f"say {'red blue ' * n}", reference="red") for n in range(1, 9)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("engine") / "model")


@pytest.mark.parametrize("folder", [MICRO, MICRO_BASE], ids=lambda folder: folder.name)
def test_micro_equals_the_light_evaluator_on_every_sample(folder):
    light = micro.evaluate(folder, MICRO_DATA / "micro", device="cpu")
    asked = load_all(choose(["micro"]), Place(MICRO_DATA, None), None).asked
    found = measure(ModelSpec(str(folder), device="cpu"), asked, folder=None)
    ours = {done.asked.task.name.removeprefix("micro_"): done.measured[0] for done in found.done}
    theirs = {**light.general, **light.domains}
    assert ours.keys() == theirs.keys() and len(ours) == 10
    for name, score_ in theirs.items():
        assert ours[name].per_sample == score_.per_sample, name
        assert (ours[name].unparsed, ours[name].n) == (score_.unparsed, score_.total), name


def test_answers_are_what_the_model_writes_greedily(model):
    from transformers import AutoModelForCausalLM

    kept = answers(model, task(max_new_tokens=5), QUESTIONS)
    prompting = prompting_of(ModelSpec(str(model)), find_files(str(model)))
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    for question, answer in zip(QUESTIONS, kept.answers, strict=True):
        ids = prompting.render(question.prompt)
        for _ in range(5):  # by hand, one at a time, without a cache or padding
            ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
        written = prompting.tokenizer.decode(ids[-5:])
        assert answer["text"] == prompting.answer(written)


@pytest.mark.parametrize("batch_size", ["1", "3", "auto"])
def test_the_batch_size_changes_no_answer(model, batch_size):
    wanted = answers(model, task(max_new_tokens=5), QUESTIONS, batch_size="8").answers
    assert answers(model, task(max_new_tokens=5), QUESTIONS, batch_size=batch_size).answers == wanted


@pytest.mark.parametrize("output", ["generate", "likelihood", "perplexity"])
def test_lm_eval_may_find_the_batch_size_out(model, output):
    """As on a GPU, where memory that runs out is an error that can be caught; for the length of the task's own."""
    questions = [Question(q.prompt, q.prompt, (" red", " blue sun"), 0) for q in QUESTIONS]
    found = answers(model, task(output), questions, batch_size="auto:1").answers
    wanted = answers(model, task(output), questions, batch_size="4").answers
    if output == "generate":
        assert found == wanted
    for one, other in zip(found, wanted, strict=True):
        # fp32 sums of up to 30 logits in another order of batches
        key = {"likelihood": "log_likelihoods", "perplexity": "nll"}.get(output)
        assert key is None or one[key] == pytest.approx(other[key], abs=1e-3)


def test_an_answer_that_did_not_end_is_truncated():
    ends = Question("sentiment of this headline: pakacorp said revenue rose in october.", "positive")
    assert answers(MICRO, task(max_new_tokens=14), [ends]).answers[0]["truncated"] is False
    assert answers(MICRO, task(max_new_tokens=1), [ends]).answers[0]["truncated"] is True


def test_prompts_longer_than_the_context_are_counted(model):
    long = Question("red " * 400, "red")  # the tiny model reads 256 tokens
    kept = answers(model, task(), [*QUESTIONS, long])
    assert len(kept.answers) == 9
    assert kept.notes == ["1 of 9 prompts lost their beginning: they are longer than the context, 256 tokens"]
    assert answers(model, task(), QUESTIONS).notes == []


def test_a_limit_beyond_the_context_is_lowered_and_said(model):
    kept = answers(model, task(max_new_tokens=1000), QUESTIONS[:1])
    assert kept.notes == ["answers end at 128 tokens, not 1000: half of the model's context"]


def test_sampling_of_the_models_own_file_is_not_used(model, tmp_path):
    import shutil

    copy = shutil.copytree(model, tmp_path / "copy")
    wanted = answers(model, task(), QUESTIONS).answers
    own = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 9.0, "eos_token_id": 2}
    (copy / "generation_config.json").write_text(json.dumps(own), encoding="utf-8")
    assert answers(copy, task(), QUESTIONS).answers == wanted


def test_likelihoods_are_sums_over_the_tokens_of_a_choice(model):
    from transformers import AutoModelForCausalLM

    question = Question("Question: red?\nAnswer:", " red", (" red cat", " sun", " blue dog moon"), 0)
    found = answers(model, task("likelihood"), [question]).answers[0]
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    tokenizer = load_tokenizer(model)
    context = tokenizer(question.prompt)["input_ids"]
    for choice, value, count in zip(question.choices, found["log_likelihoods"], found["tokens"], strict=True):
        ids = tokenizer(question.prompt + choice)["input_ids"]
        assert ids[: len(context)] == context
        with torch.no_grad():
            logits = network(torch.tensor([ids])).logits[0].log_softmax(-1)
        wanted = sum(float(logits[place - 1, ids[place]]) for place in range(len(context), len(ids)))
        # fp32 sums of about ten logits of order 1, against float64
        assert value == pytest.approx(wanted, abs=1e-4)
        assert count == len(ids) - len(context)


def test_a_perplexity_is_of_all_tokens(model):
    from transformers import AutoModelForCausalLM

    text = "red green  blue\ncat “dog”"
    found = answers(model, task("perplexity"), [Question("", text)]).answers[0]
    tokenizer = load_tokenizer(model)
    ids = [tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]  # this model has no token that begins a text
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64).eval()
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0].log_softmax(-1)
    wanted = -sum(float(logits[place - 1, ids[place]]) for place in range(1, len(ids)))
    assert found["nll"] == pytest.approx(wanted, abs=1e-3)  # fp32 sum over some twenty tokens
    assert (found["tokens"], found["words"], found["bytes"]) == (len(ids) - 1, 5, len(text.encode()))


def test_an_adapter_changes_the_answers(model, tmp_path):
    from safetensors.torch import load_file, save_file

    adapter = adapter_on(model, tmp_path / "adapter")
    plain = answers(model, task("perplexity"), [Question("", "red cat")]).answers
    # a fresh adapter's B is zero
    assert answers(model, task("perplexity"), [Question("", "red cat")], adapter=str(adapter)).answers == plain
    weights = {name: tensor + 0.5 for name, tensor in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(weights, adapter / "adapter_model.safetensors")
    assert answers(model, task("perplexity"), [Question("", "red cat")], adapter=str(adapter)).answers != plain


def test_a_choice_longer_than_the_context_is_an_error(model):
    with pytest.raises(DBAError, match="longer than the model's context"):
        answers(model, task("likelihood"), [Question("Question?", " red", (" red", " cat" * 300), 0)])


def test_nothing_to_ask_is_an_error(model):
    with pytest.raises(DBAError, match="nothing to ask"):
        answers(model, task(), [])
    with pytest.raises(DBAError, match="no choices"):
        answers(model, task("likelihood"), [Question("Question?", "", ())])


# --- lm-eval's own tasks -----------------------------------------------------------------------------------------


def stock_piqa(model, path) -> list[dict]:
    """Per sample what lm-eval's own task `piqa` gives on these rows."""
    import lm_eval
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    stock = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks" / "piqa" / "piqa.yaml").read_text("utf-8"))
    here = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"validation": str(path)}},
        "training_split": None,
    }
    loaded = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=16)
    manager = TaskManager(include_defaults=False)  # saves the reading of all of its YAML files
    found = simple_evaluate(loaded, tasks=[{**stock, **here}], bootstrap_iters=0, task_manager=manager)
    return sorted(found["samples"]["piqa"], key=lambda sample: sample["doc_id"])


def check_piqa(model, rows, folder) -> None:
    """Ours and theirs, sample for sample."""
    path = folder / "piqa_validation.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    asked = load_questions(load_task("piqa_likelihood"), Place(folder, None))
    kept = answers(model, load_task("piqa_likelihood"), list(asked.questions), batch_size="16")
    found = [as_answer(load_task("piqa_likelihood"), answer) for answer in kept.answers]
    ours = {each.metric: each for each in score(load_task("piqa_likelihood"), asked.questions, found)}
    theirs = stock_piqa(model, path)
    assert len(theirs) == len(asked.questions)
    for sample, answer in zip(theirs, kept.answers, strict=True):
        assert [value for value, _ in sample["filtered_resps"]] == answer["log_likelihoods"]
    assert [sample["acc"] for sample in theirs] == list(ours["accuracy"].per_sample)
    assert [sample["acc_norm"] for sample in theirs] == list(ours["accuracy_per_character"].per_sample)
    assert 0 < sum(ours["accuracy"].per_sample) < len(theirs), "neither all nor none: equality says something"


def test_piqa_is_lm_evals_own(model, tmp_path):
    source = random.Random(0)
    words = "red green blue cat dog sun moon sky tree".split()

    def phrase(longest: int) -> str:
        return " ".join(source.choices(words, k=source.randint(1, longest)))

    rows = [
        {"goal": phrase(6), "sol1": phrase(8), "sol2": phrase(8) + " x", "label": source.randint(0, 1)}
        for _ in range(40)
    ]
    check_piqa(model, rows, tmp_path)


def test_piqa_is_lm_evals_own_on_the_real_questions(tmp_path):
    path = REAL_DATA / "commonsense_en" / "piqa_test.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path}: set DBA_REAL_DATA")
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if max(map(len, (row["question"], *row["choices"]))) < 150:  # the micro model reads 256 tokens
            first, second = row["choices"]
            rows.append({"goal": row["question"], "sol1": first, "sol2": second, "label": "AB".index(row["answer"])})
    check_piqa(MICRO, rows[:200], tmp_path)


GENERATED = {  # answer → what lm-eval's two filters read, None where they find nothing
    "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\n#### 18": ("18", "18"),
    "#### 1,234": ("1,234", "1,234"),
    "#### -5": ("-5", "-5"),
    "The answer is $12.50": (None, "$12.50"),
    "It is 7 dollars, so 70.": (None, "70."),
    "no number at all": (None, None),
    "": (None, None),
}


@pytest.mark.parametrize("text", GENERATED)
def test_gsm8k_filters_of_lm_eval_read_the_same_numbers(text):
    from fractions import Fraction

    from lm_eval.filters.extraction import RegexFilter

    from llamafactory_dba.evaluation.answers.numbers import parse_number

    strict = RegexFilter(regex_pattern=r"#### (\-?[0-9\.\,]+)", fallback=None)
    flexible = RegexFilter(regex_pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1, fallback=None)
    read = tuple(each.apply([[text]], [{}])[0][0] for each in (strict, flexible))
    assert read == GENERATED[text]

    def value(raw: str | None) -> Fraction | None:  # as lm-eval's exact_match compares: no commas, no $, no last dot
        return None if raw is None else Fraction(raw.replace(",", "").replace("$", "").rstrip("."))

    assert parse_number(text, strict=True) == value(read[0])
    assert parse_number(text) == value(read[1])


def test_where_our_reading_of_gsm8k_differs_from_lm_evals():
    """After ####, ours takes the number and theirs the last of the text; 18.0 is 18 for ours alone."""
    from lm_eval.filters.extraction import RegexFilter

    from llamafactory_dba.evaluation.answers.numbers import parse_number

    flexible = RegexFilter(regex_pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1, fallback=None)
    text = "#### 18\nQuestion: Tom has 3"
    assert flexible.apply([[text]], [{}])[0][0] == "3" and parse_number(text) == 18
    text = "That makes 18.0"
    assert flexible.apply([[text]], [{}])[0][0] == "18.0" and parse_number(text) == 18


# --- vLLM: not installed where this was written, so only what goes into it --------------------------------------


def test_vllm_gets_our_settings(model, tmp_path):
    from llamafactory_dba.evaluation.engine_vllm import vllm_arguments

    adapter = adapter_on(model, tmp_path / "adapter")
    found = vllm_arguments(
        model, adapter=adapter, tokenizer=model, dtype="bfloat16", batch_size="auto", trust_remote_code=False
    )
    assert found == {
        "pretrained": str(model),
        "tokenizer": str(model),
        "dtype": "bfloat16",
        "batch_size": "auto",
        "trust_remote_code": False,
        "add_bos_token": False,
        "generation_config": "vllm",
        "lora_local_path": str(adapter),
        "max_lora_rank": 4,
    }


def test_a_model_of_text_is_asked_and_its_lengths_say_what_ended(model):
    from types import SimpleNamespace

    from llamafactory_dba.evaluation.engine import Rendered
    from llamafactory_dba.evaluation.engine_vllm import attach

    prompting = prompting_of(ModelSpec(str(model)), find_files(str(model)))
    ids = prompting.render("say red")
    prompts = [Rendered(prompting.tokenizer.decode(ids), ids, place) for place in range(2)]
    fake = SimpleNamespace(
        max_length=64, generate_until=lambda requests, quiet: ["red", "red blue cat dog sun"][: len(requests)]
    )
    loaded = attach(fake, prompting)
    requests = [SimpleNamespace(args=(prompt, {"until": [], "max_gen_toks": 5})) for prompt in prompts]
    assert loaded.generate_until(requests) == ["red", "red blue cat dog sun"]
    assert loaded.observed.ended == {0: True, 1: False}
    assert requests[0].args[1]["until"] == ["<|im_end|>"]
    with pytest.raises(DBAError, match="something else than training"):
        loaded.generate_until([SimpleNamespace(args=(Rendered("say", [5, 6], 0), {"max_gen_toks": 5}))])


def test_no_likelihood_is_above_one(model):
    question = Question("Question: red?\nAnswer:", " red", (" red", " sun"), 0)
    found = answers(model, task("likelihood"), [question]).answers[0]
    assert all(value < 0 and math.isfinite(value) for value in found["log_likelihoods"])
