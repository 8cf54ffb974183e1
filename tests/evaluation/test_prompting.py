"""What a model is asked: training's own tokens, whatever the template; and what ends an answer."""

import json

import pytest
from evaluation.models import MICRO, tiny

from llamafactory_dba.data.rows import ALPACA, Entry
from llamafactory_dba.data.show import IGNORED
from llamafactory_dba.data.show import open_model as open_training
from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.prompting import load_tokenizer, open_prompting


PROMPT = "positive, negative or neutral? pakacorp said:\n  revenue  rose in october. "


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("chat") / "model")


def training_prompt(model, template: str | None, **host) -> list[int]:
    """The tokens of a row that the host's own preprocessing does not learn."""
    training = open_training(str(model), template, **host)
    ids, labels = training.encode({"instruction": PROMPT, "input": "", "output": "neutral"}, Entry(columns=ALPACA))
    return [token for token, label in zip(ids, labels, strict=True) if label == IGNORED]


@pytest.mark.parametrize("template", ["qwen3_nothink", "qwen3", "qwen", "chatml", "default", "alpaca", "yi"])
def test_a_named_template_gives_the_tokens_of_training(chat, template):
    asked = open_prompting(load_tokenizer(chat), template, vocabulary=1 << 31).render(PROMPT)
    assert asked == training_prompt(chat, template, enable_thinking=False)
    # of no weight if both were wrong in the same way: the question itself is in there
    assert PROMPT.strip() in load_tokenizer(chat).decode(asked)


def test_the_tokenizers_template_gives_the_tokens_of_training():
    asked = open_prompting(load_tokenizer(MICRO), "auto", vocabulary=1291).render(PROMPT)
    assert asked == training_prompt(MICRO, "qwen3_nothink") == training_prompt(MICRO, None)


def test_not_thinking_is_training_with_thinking_off(chat):
    tokenizer = load_tokenizer(chat)
    quiet = open_prompting(tokenizer, "auto", vocabulary=1 << 31).render(PROMPT)
    assert quiet == open_prompting(load_tokenizer(chat), "qwen3", vocabulary=1 << 31).render(PROMPT)
    assert tokenizer.decode(quiet).endswith("<think>\n\n</think>\n\n")
    loud = open_prompting(tokenizer, "auto", thinking=True, vocabulary=1 << 31).render(PROMPT)
    assert loud == training_prompt(chat, "qwen3", enable_thinking=True)
    assert tokenizer.decode(loud).endswith("assistant\n")


def test_plain_text_is_the_text_alone(chat):
    tokenizer = load_tokenizer(chat)
    prompting = open_prompting(tokenizer, "none", vocabulary=1 << 31)
    assert tokenizer.decode(prompting.render(PROMPT)) == PROMPT
    assert prompting.is_raw
    assert prompting.answer(" <think> 7 ") == "<think> 7", "plain text has no thoughts"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\nA or B\n</think>\n\nB", "B"),
        ("<think>A</think>no <think>B</think> C", "C"),
        ("\n\n</think>\n\n B ", "B"),
        ("<think>\nit could be A", ""),
        ("so <think>", "so"),
        (" B\n", "B"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("template", ["auto", "qwen3"])
def test_thoughts_are_no_part_of_an_answer(chat, template, text, answer):
    assert open_prompting(load_tokenizer(chat), template, vocabulary=1 << 31).answer(text) == answer


def test_every_end_of_the_model_and_of_a_template_ends_an_answer(chat):
    tokenizer = load_tokenizer(chat)
    end, text_end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert open_prompting(tokenizer, "auto", vocabulary=1 << 31).stop_ids == (end,)
    assert open_prompting(tokenizer, "auto", end_ids=(text_end,), vocabulary=1 << 31).stop_ids == (text_end, end)
    assert open_prompting(tokenizer, "qwen3_nothink", vocabulary=1 << 31).stop_ids == (end,)


def test_no_chat_template_names_the_choices(tmp_path):
    bare = tiny(tmp_path / "bare", chat=False)
    with pytest.raises(DBAError, match="no chat template") as caught:
        open_prompting(load_tokenizer(bare), "auto", vocabulary=1 << 31)
    assert "--template none" in str(caught.value) and "qwen3_nothink" in str(caught.value)


def test_an_unknown_template_names_the_nearest(chat):
    with pytest.raises(DBAError, match="no template 'qwen3_nothnk'") as caught:
        open_prompting(load_tokenizer(chat), "qwen3_nothnk", vocabulary=1 << 31)
    assert "qwen3_nothink" in str(caught.value.expected)


def test_a_template_of_another_model_is_refused(chat):
    tokenizer = load_tokenizer(chat)
    with pytest.raises(DBAError, match="made for another model") as caught:
        open_prompting(tokenizer, "llama3", vocabulary=len(tokenizer))
    assert "<|eot_id|>" in str(caught.value.found)


def test_nothing_that_ends_an_answer_is_refused(chat):
    tokenizer = load_tokenizer(chat)
    tokenizer.eos_token = None
    with pytest.raises(DBAError, match="Nothing ends an answer"):
        open_prompting(tokenizer, "auto", vocabulary=1 << 31)


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}), encoding="utf-8")
    with pytest.raises(DBAError, match="tokenizer"):
        load_tokenizer(tmp_path)
