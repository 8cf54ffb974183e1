"""The micro world's tokenizer: every word of the world is one token, digits and capitals stand alone.

A unigram model over a fixed table needs no training, so it is the same wherever it is built. Words come with and
without a leading space; anything else falls back to single characters.
"""

import random
import re
import string
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from .domains import DOMAINS
from .skills import SKILLS
from .text import prose, statement
from .world import World


PIECES = r" ?[a-z]+|[A-Z]|[0-9]|\s|."
"""How text is cut before the table is looked up; no cut depends on what stands beyond a chat mark or a line end."""

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
UNKNOWN = "<|unk|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML without a default system message: LLaMA-Factory's ``template: qwen3_nothink``, token for token."""

TEMPLATE = "qwen3_nothink"


def words_of(world: World) -> list[str]:
    """Every word that the generators can write, sorted."""
    rng = random.Random(f"{world.seed}/vocabulary")
    found = {"user", "assistant", "system", "true", "false"}
    for maker in [*SKILLS.values(), *DOMAINS.values()]:
        for _ in range(6000):
            example = maker(rng, world)
            found.update(re.findall("[a-z]+", f"{example.prompt} {example.answer}"))
    for _ in range(6000):
        found.update(re.findall("[a-z]+", f"{statement(rng, world)} {prose(rng, world)}"))

    return sorted(found)


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a world."""
    characters = sorted(set(string.printable) - set("\t\r\x0b\x0c"))
    words = [word for word in words_of(world) if len(word) > 1]
    table = [(token, 0.0) for token in SPECIAL] + [(UNKNOWN, 0.0)]
    table += [(character, -10.0) for character in characters]
    table += [(piece, -1.0) for word in words for piece in (word, f" {word}")]
    table += [(f" {letter}", -5.0) for letter in "a"]
    model = Tokenizer(models.Unigram(table, unk_id=len(SPECIAL), byte_fallback=False))
    model.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    model.decoder = decoders.Fuse()
    model.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def save_tokenizer(world: World, folder: str | Path) -> int:
    """Write the tokenizer's files; returns the vocabulary size."""
    tokenizer = make_tokenizer(world)
    tokenizer.save_pretrained(str(folder))
    return len(tokenizer)
