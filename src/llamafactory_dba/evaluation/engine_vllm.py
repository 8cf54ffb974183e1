"""lm-eval's vLLM model for the engine: how our settings become its arguments, and what it cannot tell.

It takes text, not token ids, and does not say which answers ended. So prompts are checked to come out as the same
token ids, and an answer as long as the limit counts as truncated.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import DBAError
from .engine import Observed, Rendered
from .prompting import Prompting


def vllm_arguments(
    folder: Path, *, adapter: Path | None, tokenizer: Path, dtype: str, batch_size: str, trust_remote_code: bool
) -> dict[str, Any]:
    """The arguments of lm-eval's model ``vllm``.

    Args:
        folder: of the model.
        adapter: of a LoRA adapter.
        tokenizer: folder of the tokenizer.
        dtype: such as ``bfloat16``.
        batch_size: ``auto`` leaves it to vLLM, which batches as memory allows.
        trust_remote_code: whether code of the model may run.
    """
    arguments: dict[str, Any] = {
        "pretrained": str(folder),
        "tokenizer": str(tokenizer),
        "dtype": dtype,
        "batch_size": batch_size,
        "trust_remote_code": trust_remote_code,
        # prompts come with everything in them
        "add_bos_token": False,
        # vLLM would take sampling defaults from the model's generation_config.json
        "generation_config": "vllm",
    }
    if adapter is not None:
        arguments |= {"lora_local_path": str(adapter), "max_lora_rank": _rank(adapter)}
    return arguments


def load_vllm(prompting: Prompting, arguments: dict[str, Any]) -> Any:
    """Load a model through lm-eval's registry.

    Raises:
        DBAError: vLLM is not installed, or cannot load the model.
    """
    if find_spec("vllm") is None:
        raise DBAError(
            "vLLM is not installed.",
            expected="the package vllm, for --backend vllm",
            found="no vllm in this environment",
            next_step="use --backend hf, which gives the same answers more slowly",
        )
    from lm_eval.api.registry import get_model

    try:
        return attach(get_model("vllm").create_from_arg_obj(arguments, {}), prompting)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise DBAError("vLLM cannot load the model.", found=str(error)[:500], next_step="try --backend hf") from error


def attach(model: Any, prompting: Prompting) -> Any:
    """Make an lm-eval model of text an `engine.AnswerModel`."""
    tokenizer = prompting.tokenizer
    generate = model.generate_until
    model.observed = Observed()
    model.device_name = "vllm"
    model.expect = lambda tokens: None
    model.count = lambda text: len(model.tok_encode(text))

    def generate_until(requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        prompts = [request.args[0] for request in requests]
        check_texts(tokenizer, prompts)
        limit = requests[0].args[1]["max_gen_toks"]
        room = model.max_length - limit
        model.observed.shortened |= {prompt.place for prompt in prompts if len(prompt.ids) > room}
        stops = tokenizer.convert_ids_to_tokens(list(prompting.stop_ids))
        for request in requests:
            request.args[1]["until"] = list(stops)
        texts: list[str] = generate(requests, disable_tqdm or not sys.stderr.isatty())
        for prompt, text in zip(prompts, texts, strict=True):
            model.observed.ended[prompt.place] = len(tokenizer(text, add_special_tokens=False)["input_ids"]) < limit
        return texts

    model.generate_until = generate_until
    return model


def check_texts(tokenizer: Any, prompts: Sequence[Rendered]) -> None:
    """Refuse prompts that are other token ids once they are read as text.

    Raises:
        DBAError: one is.
    """
    for prompt in prompts:
        if tuple(tokenizer(str(prompt), add_special_tokens=False)["input_ids"]) != prompt.ids:
            raise DBAError(
                "This backend would ask the model something else than training did.",
                expected="prompts whose text gives the template's own tokens",
                found=f"{str(prompt)[:80]!r}",
                next_step="use --backend hf, which takes token ids",
            )


def _rank(adapter: Path) -> int:
    import json

    from .model_hash import ADAPTER_CONFIG

    raw = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return max([int(raw.get("r", 16)), *map(int, (raw.get("rank_pattern") or {}).values())])
