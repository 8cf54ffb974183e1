"""The micro tokenizer: lossless on the world's text, and its chat template equals the host's, token for token."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from llamafactory_dba.data.micro.domains import DOMAINS
from llamafactory_dba.data.micro.skills import SKILLS, draw
from llamafactory_dba.data.micro.text import raw_text, transcript
from llamafactory_dba.data.micro.tokenizer import TEMPLATE, make_tokenizer
from llamafactory_dba.data.micro.world import make_world


MODELS = Path(__file__).parents[2] / "examples" / "micro" / "models"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(MODELS / "micro-instruct")


def test_committed_tokenizers_are_the_generators(tokenizer: PreTrainedTokenizerFast) -> None:
    fresh = make_tokenizer(make_world())
    assert fresh.get_vocab() == tokenizer.get_vocab()
    assert fresh.chat_template == tokenizer.chat_template
    other = AutoTokenizer.from_pretrained(MODELS / "micro-base")
    assert other.get_vocab() == tokenizer.get_vocab()


def test_text_survives_and_nothing_is_unknown(tokenizer: PreTrainedTokenizerFast) -> None:
    unknown = tokenizer.convert_tokens_to_ids("<|unk|>")
    for text in raw_text(make_world(), 1000):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert unknown not in ids
        assert tokenizer.decode(ids) == text


def test_chat_template_equals_the_hosts(tokenizer: PreTrainedTokenizerFast) -> None:
    from llamafactory.data.template import TEMPLATES

    template = TEMPLATES[TEMPLATE]
    template.fix_special_tokens(tokenizer)
    world = make_world()
    for table in (SKILLS, DOMAINS):
        for name in table:
            for item in draw(name, table, world, "train", 20, "parity"):
                messages = [
                    {"role": "user", "content": item.prompt},
                    {"role": "assistant", "content": item.answer},
                ]
                prompt_ids, answer_ids = template.encode_oneturn(tokenizer, messages)
                ours = tokenizer.apply_chat_template(messages)["input_ids"]
                question = tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True)["input_ids"]
                assert prompt_ids + answer_ids == ours
                assert prompt_ids == question
                written = transcript([(item.prompt, item.answer)]) + "<|im_end|>"
                assert tokenizer(written, add_special_tokens=False)["input_ids"] == ours[:-1]


def test_end_and_padding_marks(tokenizer: PreTrainedTokenizerFast) -> None:
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
