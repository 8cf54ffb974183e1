"""What can be read, tokenized and refused before the model is loaded."""

from __future__ import annotations

import copy
import difflib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.loader import _get_dataset_processor, _get_merged_dataset
from llamafactory.data.parser import get_dataset_list

from ...errors import DBAError
from ...host_model import load_tokenizer
from .rows import order


@dataclass(frozen=True)
class Candidates:
    """Tokenized rows in the sample's order, more than are wanted.

    Attributes:
        name: of the data, for messages.
        rows: as the host's collator takes them.
    """

    name: str
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Plan:
    """What one run measures.

    Attributes:
        stage: ``sft`` or ``pt``.
        steps: a measurement every so many optimizer steps.
        samples: rows of each set.
        score: which accuracy S is made of.
        patience: measurements without a new best before the run ends; 0 never ends it.
        keep_best: whether the weights with the best S are kept.
        general: `dba_gauge_dataset`; None measures the divergence from the base instead.
        domain: `dba_gauge_domain_dataset`; None takes the host's evaluation rows where there are any.
        packed: whether training rows hold several samples each.
        host_rows: whether the host's evaluation rows are whole single samples with their answers.
        cutoff: `cutoff_len`.
    """

    stage: str
    steps: int
    samples: int
    score: Literal["exact", "token"]
    patience: int
    keep_best: bool
    general: Candidates | None
    domain: Candidates | None
    packed: bool
    host_rows: bool
    cutoff: int


def prepare(stage: str, model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> Plan:
    """Refuse what cannot work, read and tokenize the named sets.

    Args:
        stage: the host's.
        model_args: the host's; this and the other arguments are left alone.
        data_args: the host's.
        training_args: the host's.
        finetuning_args: the host's, with the DBA fields.

    Raises:
        DBAError: all problems of the settings in one message; or data that cannot be used.
    """
    named = {
        "dba_gauge_dataset": _names(finetuning_args.dba_gauge_dataset),
        "dba_gauge_domain_dataset": _names(finetuning_args.dba_gauge_domain_dataset),
    }
    packed = bool(data_args.packing) or bool(data_args.neat_packing)
    host_rows = not (packed or training_args.predict_with_generate or data_args.streaming or data_args.train_on_prompt)
    problems = _problems(stage, data_args, training_args, finetuning_args, named, host_rows)
    if problems:
        raise DBAError("The gauge cannot be used in this run:\n" + "\n".join(f"  - {text}" for text in problems))
    for argument, names in named.items():
        _check_names(argument, names, data_args)
    samples = finetuning_args.dba_gauge_samples
    found = _tokenize(stage, named, samples, model_args, data_args, training_args)
    return Plan(
        stage=stage,
        steps=finetuning_args.dba_gauge_steps,
        samples=samples,
        score=finetuning_args.dba_gauge_score,
        patience=finetuning_args.dba_gauge_patience,
        keep_best=finetuning_args.dba_gauge_keep_best,
        general=found.get("dba_gauge_dataset"),
        domain=found.get("dba_gauge_domain_dataset"),
        packed=packed,
        host_rows=host_rows,
        cutoff=data_args.cutoff_len,
    )


def _problems(
    stage: str,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    named: Mapping[str, Sequence[str]],
    host_rows: bool,
) -> list[str]:
    problems = []
    for engine in ("deepspeed", "fsdp"):
        if getattr(training_args, engine, None):
            problems.append(
                f"`{engine}` shards the weights over ranks, and the gauge runs whole models: use one process or DDP, "
                "or set `dba_gauge_steps: 0`."
            )
    training = set(data_args.dataset or [])
    for argument, names in named.items():
        if both := sorted(training & set(names)):
            problems.append(
                f"`{argument}` names {', '.join(both)}, which this run trains on: what it has seen says nothing of "
                "what it keeps. Name held-out data."
            )
    held_out = bool(named["dba_gauge_domain_dataset"]) or (
        host_rows and bool(data_args.eval_dataset or data_args.val_size)
    )
    if finetuning_args.dba_gauge_keep_best and not held_out and not data_args.tokenized_path:
        problems.append(
            "`dba_gauge_keep_best` needs held-out domain rows: set `dba_gauge_domain_dataset` (or `eval_dataset` or "
            "`val_size`, without packing, streaming, `train_on_prompt` and `predict_with_generate`)."
        )
    if not named["dba_gauge_dataset"] and data_args.streaming:
        problems.append(
            "Without `dba_gauge_dataset` the gauge needs a fixed sample of training rows, which `streaming` does not "
            "have: name a general dataset."
        )
    return problems


def _check_names(argument: str, names: Sequence[str], data_args: Any) -> None:
    """The host names an unknown data set, but not the one that was meant."""
    try:
        get_dataset_list(list(names), data_args.dataset_dir)
    except ValueError as error:
        known = []
        info = Path(str(data_args.dataset_dir)) / "dataset_info.json"
        if info.is_file():
            known = list(json.loads(info.read_text(encoding="utf-8")))
        unknown = [name for name in names if name not in known] or list(names)
        close = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
        raise DBAError(
            f"`{argument}` names data that is not there.",
            expected="names of dataset_info.json",
            found=f"{', '.join(unknown)} ({error})",
            next_step=f"did you mean `{close[0]}`?" if close else f"add it to {info}",
        ) from error


def _tokenize(
    stage: str, named: Mapping[str, Sequence[str]], samples: int, model_args: Any, data_args: Any, training_args: Any
) -> dict[str, Candidates]:
    """The named sets as the host makes training rows of them: same template, same cuts, one sample a row."""
    if not any(named.values()):
        return {}
    data = copy.copy(data_args)
    data.packing = data.neat_packing = data.streaming = False
    data.max_samples = data.tokenized_path = data.interleave_probs = None
    data.mix_strategy, data.val_size, data.train_on_prompt = "concat", 0.0, False
    found: dict[str, Candidates] = {}
    with generators_kept():
        module = load_tokenizer(model_args)
        template = get_template_and_fix_tokenizer(module["tokenizer"], data)
        processor = _get_dataset_processor(data, stage, template, **module)
        for argument, names in named.items():
            if not names:
                continue
            with training_args.main_process_first(desc="gauge", local=not data.data_shared_file_system):
                merged = _get_merged_dataset(list(names), model_args, data, training_args, stage)
                picked = merged.select(order(len(merged), samples))
                rows = picked.map(
                    processor.preprocess_dataset,
                    batched=True,
                    batch_size=data.preprocessing_batch_size,
                    remove_columns=picked.column_names,
                    keep_in_memory=True,
                    desc=f"Gauge: tokenizing {', '.join(names)}",
                )
            found[argument] = Candidates(", ".join(names), tuple(rows))
    return found


@contextmanager
def generators_kept() -> Iterator[None]:
    """The host samples data with global generators; a run with the gauge must draw the numbers of one without."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _names(value: str | None) -> list[str]:
    return [name.strip() for name in (value or "").split(",") if name.strip()]
