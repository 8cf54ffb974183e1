"""Does this anchor belong to this base model, its tokenizer and its template? Asked before the model is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.extras import logging

from ..anchor.differences import compare, same_values, without_added_rows
from ..anchor.fingerprint import count_tokens, fingerprint_folder, hash_tokenizer
from ..anchor.format import AnchorConfig
from ..errors import AnchorError
from ..host_model import load_tokenizer
from .paths import model_folder


logger = logging.get_logger("llamafactory.dba")

ALLOW = "if tokens were added on purpose, set `dba_allow_added_tokens: true`: their rows get no boost"
# Rendered and cut into tokens, this shows whatever tokenizer and template do: several scripts, digits, white space,
# two turns, with and without a system message.
PROBE = [
    {"role": "user", "content": "Name a colour,\n  please: 1234.5 + 6 = ?"},
    {"role": "assistant", "content": "Blue. It's 1240.5\u2026"},
    {"role": "user", "content": "用中文说。¿Y en español? \t日本語で"},
    {"role": "assistant", "content": "蓝色、azul、青"},
]


def check_base_model(config: AnchorConfig, model_args: Any, *, allow_added: bool = False) -> None:
    """Compare the anchor's fingerprint with the model's files, if those are at hand already.

    A model that still has to be downloaded is compared by tensor names and shapes once it is loaded.

    Args:
        config: of the anchor.
        model_args: the host's.
        allow_added: `dba_allow_added_tokens`: the model may have more tokens, at the end of its vocabulary.

    Raises:
        AnchorError: another base model, or added tokens that were not allowed.
    """
    _check_run_adds_no_tokens(config, model_args, allow_added)
    folder = model_folder(model_args)
    if folder is None:
        return
    found, rows = without_added_rows(config.fingerprint, folder)
    if same_values(config.fingerprint, found):  # another dtype alone is the same model
        _check_added(config, model_args, folder, rows, allow_added)
        return
    differences = compare(config.fingerprint, fingerprint_folder(folder))
    if differences:
        raise AnchorError(
            "The anchor was made from another base model.",
            expected=_base(config),
            found=f"{model_args.model_name_or_path}: " + "; ".join(differences),
            next_step="train the anchor's base model, or make an anchor for this one (`dba_stage: anchor`, or another "
            "`dba_anchor_path` together with `dba_anchor_dataset`)",
        )


def _check_run_adds_no_tokens(config: AnchorConfig, model_args: Any, allow_added: bool) -> None:
    added = [
        name
        for name in ("add_tokens", "add_special_tokens", "new_special_tokens_config")
        if getattr(model_args, name, None)
    ]
    if added and not allow_added:
        raise AnchorError(
            "This run adds tokens that the anchor's base model does not have.",
            expected=_base(config),
            found=", ".join(f"`{name}: {getattr(model_args, name)}`" for name in added),
            next_step=ALLOW,
        )


def _check_added(config: AnchorConfig, model_args: Any, folder: Path, rows: dict[str, int], allow_added: bool) -> None:
    tokens, before = count_tokens(folder), config.base_model.tokens
    found = [f"{name} has more than the {count} rows of the anchor's model" for name, count in rows.items()]
    if before and tokens > before:
        found.append(f"{tokens} tokens in the tokenizer, {before} when the anchor was made")
    if not found:
        return
    if not allow_added:
        raise AnchorError(
            "Tokens were added to the base model after the anchor was made.",
            expected=_base(config),
            found=f"{model_args.model_name_or_path}: " + "; ".join(found),
            next_step=ALLOW,
        )
    logger.warning_rank0(f"DBA: added tokens, as allowed: {'; '.join(found)}.")


def check_template(config: AnchorConfig, model_args: Any, data_args: Any) -> None:
    """Compare how a conversation looks in tokens with how it looked in the anchor run.

    Raises:
        AnchorError: text is cut into other tokens, by other tokenizer files.
    """
    if not config.template_hash:
        return
    if config.template != (data_args.template or ""):
        logger.warning_rank0(
            f"DBA: the anchor was made with template {config.template!r}, this run uses {data_args.template!r}: the "
            "general gradient is that of text in another form."
        )
        return
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    if hash_template(tokenizer, get_template_and_fix_tokenizer(tokenizer, data_args)) == config.template_hash:
        return
    folder = model_folder(model_args)
    files = hash_tokenizer(folder) if folder is not None else ""
    if files and config.tokenizer_hash and files != config.tokenizer_hash:
        raise AnchorError(
            "The tokenizer is not that of the anchor's base model: it cuts the same text into other tokens.",
            expected=f"{_base(config)}, tokenizer files {config.tokenizer_hash[:16]}",
            found=f"tokenizer files {files[:16]} in {model_args.model_name_or_path}",
            next_step="take the tokenizer files that belong to the base model, or make an anchor with these",
        )
    logger.warning_rank0(
        f"DBA: template {config.template!r} looks different now than when the anchor was made (another version of "
        "LLaMA-Factory, or other template settings): the general gradient is that of text in another form."
    )


def hash_template(tokenizer: Any, template: Any) -> str:
    """SHA-256 over the token ids of a fixed conversation, with and without a system message.

    It covers the template and how text is cut, and no more than that: files that were only saved again by another
    version of a library give the same value.
    """
    ids = [template.encode_multiturn(tokenizer, PROBE, system) for system in (None, "Be brief.")]
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()


def _base(config: AnchorConfig) -> str:
    return f"{config.base_model.id} ({config.base_model.architecture or 'architecture unknown'})"
