"""Rows as the model will see them: LLaMA-Factory's own converter, template and processor, with what is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import DBAError
from .rows import Entry


IGNORED = -100  # label of a token that is not learned
ENDLESS = 1 << 30  # tokens; nothing is cut off here


class Part(NamedTuple):
    """A stretch of a row: its text, how many tokens, and whether they are learned."""

    text: str
    tokens: int
    learned: bool


@dataclass(frozen=True)
class Model:
    """What turns rows into tokens.

    Attributes:
        tokenizer: the model's.
        template: LLaMA-Factory's, by name; "" for the tokenizer's own.
        processor: for supervised rows.
    """

    tokenizer: Any
    template: str
    processor: Any

    def encode(self, record: Mapping[str, Any], entry: Entry) -> tuple[list[int], list[int]]:
        """Token ids and labels of a row, as the host makes them."""
        if entry.is_text:
            text = str(record[entry.columns["prompt"]]) + self.tokenizer.eos_token
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return ids, list(ids)
        from llamafactory.data.converter import get_dataset_converter

        aligned = get_dataset_converter(entry.formatting, _attributes(entry), self.processor.data_args)(dict(record))
        return self.processor._encode_data_example(
            prompt=aligned["_prompt"],
            response=aligned["_response"][:1],  # of a ranked pair the chosen one
            system=aligned["_system"],
            tools=aligned["_tools"],
            images=[],
            videos=[],
            audios=[],
        )

    def length(self, record: Mapping[str, Any], entry: Entry) -> int:
        """Tokens of a row with its template."""
        return len(self.encode(record, entry)[0])

    def parts(self, record: Mapping[str, Any], entry: Entry) -> list[Part]:
        """A row in stretches that are learned or not."""
        ids, labels = self.encode(record, entry)
        return [Part(self.tokenizer.decode(run), len(run), learned) for run, learned in _runs(ids, labels)]


def _runs(ids: list[int], labels: list[int]) -> Iterator[tuple[list[int], bool]]:
    start = 0
    for place in range(1, len(ids) + 1):
        if place == len(ids) or (labels[place] == IGNORED) != (labels[start] == IGNORED):
            yield ids[start:place], labels[start] != IGNORED
            start = place


def open_model(name: str, template: str | None, **host: Any) -> Model:
    """A model's tokenizer with a template; no weights are read.

    Args:
        name: folder or hub id.
        template: LLaMA-Factory's name; None: the one in the tokenizer.
        host: further arguments of LLaMA-Factory, such as ``train_on_prompt``.

    Raises:
        DBAError: there is no such model or template.
    """
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.data.processor import SupervisedDatasetProcessor
    from llamafactory.hparams import DataArguments, ModelArguments

    from ..host_model import load_tokenizer

    try:
        data_args = DataArguments(template=template, cutoff_len=ENDLESS, **host)
        tokenizer = load_tokenizer(ModelArguments(model_name_or_path=name))["tokenizer"]
        found = get_template_and_fix_tokenizer(tokenizer, data_args)
    except (OSError, ValueError, TypeError) as error:
        raise DBAError(
            "LLaMA-Factory cannot open this tokenizer with this template.",
            found=f"{name}, template {template or 'of the tokenizer'}: {error}",
        ) from error
    processor = SupervisedDatasetProcessor(found, tokenizer, None, data_args)
    return Model(tokenizer, template or "", processor)


def _attributes(entry: Entry) -> Any:
    """The host's description of a data set."""
    from llamafactory.data.parser import DatasetAttr

    attributes = DatasetAttr("file", "rows")
    attributes.join(
        {
            "formatting": entry.formatting,
            "ranking": entry.ranking,
            "columns": dict(entry.columns),
            **({} if entry.formatting == "alpaca" else {"tags": dict(entry.tags)}),
        }
    )
    return attributes


def marked(parts: list[Part], style: Callable[[str], str]) -> str:
    """The text of a row, with the learned stretches in a style."""
    return "".join(style(part.text) if part.learned else part.text for part in parts)
