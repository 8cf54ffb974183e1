"""A question as the model gets it: training's own template around it, as token ids, and what ends an answer.

Training encodes a row piece by piece (`llamafactory.data.template`), so what a model is asked here are those token
ids and not a text that is tokenized again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.catalogue import nearest
from ..errors import DBAError


AUTO, RAW = "auto", "none"
THOUGHT = ("<think>", "</think>")
CHOICES = (
    "--template NAME (LLaMA-Factory's, the one that it was or will be trained with, such as qwen3_nothink), or "
    "--template none (plain text, for a base model)"
)


@dataclass(frozen=True)
class Prompting:
    """How one model is asked.

    Attributes:
        tokenizer: with the special tokens that the template adds.
        template: ``auto``, ``none`` or LLaMA-Factory's name.
        thinking: whether the model may think before it answers.
        stop_ids: tokens that end an answer.
        thought: what stands around a thought; None where nothing is a thought.
        render: a prompt → token ids.
    """

    tokenizer: Any
    template: str
    thinking: bool
    stop_ids: tuple[int, ...]
    thought: tuple[str, str] | None
    render: Callable[[str], list[int]]

    @property
    def is_raw(self) -> bool:
        """Whether prompts are plain text."""
        return self.template == RAW

    def answer(self, text: str) -> str:
        """An answer without the thought before it; "" where the thought never ended."""
        if self.thought is None:
            return text.strip()
        begin, end = self.thought
        if end in text:
            return text.rpartition(end)[2].strip()
        return text.partition(begin)[0].strip() if begin in text else text.strip()


def open_prompting(
    tokenizer: Any, template: str = AUTO, *, thinking: bool = False, end_ids: Iterable[int] = (), vocabulary: int
) -> Prompting:
    """Make ready a tokenizer and a template.

    Args:
        tokenizer: the model's; a named template may add special tokens to it, as in training.
        template: ``auto`` (the tokenizer's chat template), ``none`` (plain text) or LLaMA-Factory's name.
        thinking: let a model that can think do so; else its thought is empty, as training writes it with
            ``enable_thinking: false``.
        end_ids: further tokens that end an answer, of the model's generation_config.json; a named template has its
            own.
        vocabulary: rows of the model's embedding.

    Raises:
        DBAError: there is no chat template, no such template, nothing that ends an answer, or the template is made
            for another model.
    """
    if template == AUTO:
        prompting = _own(tokenizer, thinking, end_ids)
    elif template == RAW:
        ends = _ends(tokenizer, end_ids)
        prompting = Prompting(tokenizer, RAW, thinking, ends, None, lambda text: tokenizer(text)["input_ids"])
    else:
        prompting = _named(tokenizer, template, thinking)
    if not prompting.stop_ids:
        raise DBAError(
            "Nothing ends an answer of this model.",
            expected="an eos_token in its tokenizer, or stop words of a template",
            found="neither",
            next_step=f"choose {CHOICES}",
        )
    foreign = [token for token in (*prompting.render("?"), *prompting.stop_ids) if token >= vocabulary]
    if foreign:
        raise DBAError(
            f"The template {template!r} is made for another model.",
            expected=f"tokens among the {vocabulary} that the model has",
            found=f"{tokenizer.convert_ids_to_tokens(foreign[0])!r}, number {foreign[0]}",
            next_step="name the template that the model was trained with",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(prompting.stop_ids[0])
    return prompting


def load_tokenizer(folder: str | Path, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model folder.

    Raises:
        DBAError: there is none that can be read.
    """
    from transformers import AutoTokenizer

    try:
        # transformers makes an empty tokenizer where a known architecture has no files
        if not any("token" in path.name or "vocab" in path.name for path in Path(folder).iterdir()):
            raise FileNotFoundError("there are no such files")
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    except Exception as error:  # the library raises whatever its parsers do
        raise DBAError(
            "The tokenizer of the model cannot be read.",
            expected="a folder with tokenizer.json, or the older files",
            found=f"{folder}: {str(error).splitlines()[0] if str(error) else error!r}",
            next_step="save the tokenizer beside the model",
        ) from error


def _own(tokenizer: Any, thinking: bool, end_ids: Iterable[int]) -> Prompting:
    if not tokenizer.chat_template:
        raise DBAError(
            "The model has no chat template, so it is not known how to ask it.",
            expected="a chat template in its tokenizer, or --template",
            found=f"none in {tokenizer.name_or_path}",
            next_step=f"choose {CHOICES}",
        )

    def render(text: str) -> list[int]:
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=thinking,  # templates that do not know it take no notice
        )
        return tokenizer(rendered, add_special_tokens=False)["input_ids"]

    return Prompting(tokenizer, AUTO, thinking, _ends(tokenizer, end_ids), THOUGHT, render)


def _named(tokenizer: Any, name: str, thinking: bool) -> Prompting:
    from llamafactory.data.template import TEMPLATES, get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    if name not in TEMPLATES:
        near = nearest(name, TEMPLATES)
        raise DBAError(
            f"LLaMA-Factory has no template {name!r}.",
            expected=f"perhaps {near}" if near else "one of its names (`llamafactory-cli train -h` tells where)",
            next_step=f"choose --template {AUTO} (the tokenizer's own), {CHOICES}",
        )
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name, enable_thinking=thinking))

    def render(text: str) -> list[int]:
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": ""}]
        return template.encode_multiturn(tokenizer, turns, None, None)[0][0]

    ends = {token for token in template.get_stop_token_ids(tokenizer) if token is not None}
    begin, end = (word.strip() for word in template.thought_words)
    return Prompting(tokenizer, name, thinking, tuple(sorted(ends)), (begin, end), render)


def _ends(tokenizer: Any, end_ids: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({token for token in (tokenizer.eos_token_id, *end_ids) if token is not None}))
