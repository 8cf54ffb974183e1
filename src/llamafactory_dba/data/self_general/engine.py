"""The host's inference engine, asked to go on from token ids.

`llamafactory.chat.ChatModel` opens the model as `llamafactory-cli chat` does: dtype, quantization, adapters. Its own
``chat`` always writes the whole template, so the bare prefix goes to the model inside the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from llamafactory.chat import ChatModel
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.hparams import GeneratingArguments, get_infer_args
from transformers import GenerationConfig

from ...errors import DBAError
from ...host_model import load_config, load_tokenizer
from .filters import Completion
from .settings import SelfGeneral
from .template import BareTemplate, cut_open


OPTIONS = {"temperature": "--temperature", "top_p": "--top-p", "max_new_tokens": "--max-answer-tokens"}
# where things lie on this machine, and who may fetch them: neither decides the rows
NOT_RECORDED = ("model_name_or_path", "template", "cache_dir", "offload_folder")
SECRET = ("token", "key", "password")


@dataclass(frozen=True)
class Sampling:
    """How one text is drawn: temperature 0 is greedy; what ends it, as tokens and as text."""

    temperature: float
    top_p: float
    max_tokens: int
    stop_ids: tuple[int, ...]
    stop_text: str = ""


class Generator(Protocol):
    """What a backend must be able to do."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, seed: int) -> list[Completion]:
        """One text per prompt, the same ones for the same prompts and seed."""


class Opened(NamedTuple):
    """A model as far as it is known without its weights."""

    arguments: dict[str, Any]
    model_args: Any
    template_name: str
    template: Any
    tokenizer: Any
    bare: BareTemplate


def open_model(arguments: dict[str, Any], settings: SelfGeneral) -> Opened:
    """Read the host's arguments, and from the model's folder its tokenizer, template and sizes, but no weights.

    Args:
        arguments: the host's, as for `llamafactory-cli chat`.
        settings: for the system prompt and the lengths.

    Raises:
        DBAError: unknown or unusable arguments, no such model, no or no fitting chat template, texts too long.
    """
    sampling = sorted({field.name for field in fields(GeneratingArguments)} & arguments.keys())
    if sampling:
        raise DBAError(
            "How texts are drawn is set by the options of this command.",
            found=", ".join(f"{key}={arguments[key]}" for key in sampling),
            next_step="use "
            + ", ".join(OPTIONS.get(key, f"no {key}: there is no option for it") for key in sampling)
            + " and leave these arguments out",
        )
    if not arguments.get("model_name_or_path"):
        raise DBAError("No model is named.", expected="--model, or model_name_or_path in the YAML file")
    check_backend(str(arguments.get("infer_backend", "huggingface")))
    try:
        model_args, data_args, *_ = get_infer_args(dict(arguments))
        if (
            model_args.model_name_or_path.startswith(("/", ".", "~"))
            and not Path(model_args.model_name_or_path).exists()
        ):
            raise OSError("there is no such folder")
        tokenizer = load_tokenizer(model_args)["tokenizer"]
        own_template = tokenizer.chat_template is not None
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        config = load_config(model_args)
    except (OSError, ValueError, ImportError) as error:
        raise DBAError(
            "LLaMA-Factory cannot open the model with these arguments.",
            found=f"{arguments['model_name_or_path']}: {error}",
            next_step="`llamafactory-cli chat` takes the same arguments; see whether it opens the model",
        ) from error
    if data_args.template is None and not own_template:
        raise DBAError(
            "The model has no chat template.",
            expected="--template, or a chat template in the model's tokenizer",
            found="neither",
            next_step="name the template that the model was tuned with; a model that never saw one cannot be asked "
            "for instructions this way: take general data from elsewhere",
        )
    text_config = config.get_text_config()
    name = data_args.template or ""
    bare = cut_open(template, tokenizer, name=name, system=settings.system, vocabulary=text_config.vocab_size)
    places = getattr(text_config, "max_position_embeddings", None)
    # the answer's prompt is the message with what surrounds it; twice the prefix leaves room for what follows it
    needed = 2 * len(bare.prefix) + settings.max_instruction_tokens + settings.max_answer_tokens
    if places and needed > places:
        raise DBAError(
            "Instruction and answer are longer together than the model can read.",
            expected=f"at most {places} tokens with the template",
            found=f"{needed}: {settings.max_instruction_tokens} for the instruction, {settings.max_answer_tokens} for "
            f"the answer, {2 * len(bare.prefix)} for the template",
            next_step="lower --max-answer-tokens or --max-instruction-tokens",
        )
    return Opened(arguments, model_args, name, template, tokenizer, bare)


def check_backend(name: str) -> None:
    """Refuse what cannot run here.

    Raises:
        DBAError: any other backend than the host's own.
    """
    if name == "huggingface":
        return
    raise DBAError(
        f"`infer_backend: {name}` cannot be used here.",
        expected="infer_backend: huggingface",
        found=f"{name}: the newest vllm that LLaMA-Factory 0.9.5 accepts is 0.11.0, which needs torch 2.8, and this "
        "package needs torch 2.11; no environment has both"
        if name == "vllm"
        else f"{name}, which this command has no code for",
        next_step="leave infer_backend out; a larger --batch-size makes the usual backend faster",
    )


def recorded(arguments: dict[str, Any]) -> dict[str, Any]:
    """The host's arguments that a data card may tell: no secrets, and of paths the last part."""
    kept = {}
    for key, value in sorted(arguments.items()):
        if key not in NOT_RECORDED and not any(part in key for part in SECRET) and value is not None:
            text = str(value)
            kept[key] = Path(text).name if "/" in text and Path(text).exists() else value
    return kept


def load_generator(opened: Opened) -> HuggingfaceGenerator:
    """Load the weights.

    Raises:
        DBAError: the host cannot load them.
    """
    try:
        return HuggingfaceGenerator(ChatModel(dict(opened.arguments)).engine)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise DBAError(
            "LLaMA-Factory cannot load the model.",
            found=f"{opened.model_args.model_name_or_path}: {error}",
            next_step="`llamafactory-cli chat` takes the same arguments; see whether it loads the model",
        ) from error


class HuggingfaceGenerator:
    """The host's `HuggingfaceEngine`, whole batches at a time.

    Args:
        engine: loaded.
    """

    def __init__(self, engine: Any) -> None:
        self._model, self._tokenizer = engine.model, engine.tokenizer
        self.device, self.dtype = self._model.device.type, str(self._model.dtype).removeprefix("torch.")
        # `generate` fills in what we do not set from the model's own generation_config.json
        self._model.generation_config = GenerationConfig()

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, seed: int) -> list[Completion]:
        """As `Generator`; the same texts on the same machine with the same versions and number of threads.

        Raises:
            DBAError: the batch does not fit into the device's memory.
        """
        width = max(map(len, prompts))
        pad = self._tokenizer.pad_token_id
        tokens = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        drawing = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        config = GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            do_sample=sampling.temperature > 0,
            eos_token_id=list(sampling.stop_ids),
            pad_token_id=pad,
            use_cache=True,
            **(drawing if sampling.temperature > 0 else {}),
        )
        text = {"stop_strings": [sampling.stop_text], "tokenizer": self._tokenizer} if sampling.stop_text else {}
        torch.manual_seed(seed)
        try:
            output = self._model.generate(
                inputs=tokens.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                generation_config=config,
                **text,
            )
        except torch.cuda.OutOfMemoryError as error:
            raise DBAError(
                "A batch does not fit into the device's memory; what is finished is kept.",
                found=str(error).split(". ")[0],
                next_step="start again with another --name, a smaller --batch-size or fewer tokens (the rows depend "
                "on both), or with quantization_bit=4",
            ) from error
        return [self._completion(row[width:].tolist(), sampling) for row in output]

    def _completion(self, tokens: list[int], sampling: Sampling) -> Completion:
        end = next((place for place, token in enumerate(tokens) if token in sampling.stop_ids), None)
        tokens = tokens[:end]
        text = self._tokenizer.decode(tokens, skip_special_tokens=False)
        if sampling.stop_text and sampling.stop_text in text:
            text = text.split(sampling.stop_text)[0]
            return Completion(self._tokenizer.encode(text, add_special_tokens=False), text.strip(), True)
        return Completion(tokens, text.strip(), end is not None)
