"""What is wrong with the ``dba_*`` arguments, before any file is looked at. Imports neither torch nor the host."""

from __future__ import annotations

import os
from typing import Any

from .methods.registry import variant_problem


def argument_problems(args: Any) -> list[str]:
    """Everything wrong with the arguments alone, before any file is looked at.

    Args:
        args: the host's ``FinetuningArguments`` with the DBA fields.

    Returns:
        One sentence per problem, with the value found and what to use instead; empty when all is well.
    """
    problems = []
    for name, ok, rule in (
        ("dba_boost_magnitude", _finite(args.dba_boost_magnitude) and args.dba_boost_magnitude >= 0, ">= 0"),
        ("dba_base_correction", _finite(args.dba_base_correction) and args.dba_base_correction > 0, "> 0"),
        ("dba_svd_rank", args.dba_svd_rank > 0, "> 0"),
        ("dba_pcgrad_weight", _finite(args.dba_pcgrad_weight) and args.dba_pcgrad_weight >= 0, ">= 0"),
        ("dba_embedding_lr_ratio", _finite(args.dba_embedding_lr_ratio) and args.dba_embedding_lr_ratio >= 0, ">= 0"),
        ("dba_elastic_base", args.dba_elastic_base in ("device", "host", "none"), "`device`, `host` or `none`"),
        (
            "dba_elastic_products",
            args.dba_elastic_products in ("auto", "float32", "bfloat16"),
            "`auto`, `float32` or `bfloat16`",
        ),
        (
            "dba_curvature_kind",
            args.dba_curvature_kind in ("factored", "diagonal", "kronecker"),
            "`factored`, `diagonal` or `kronecker`",
        ),
        ("dba_elastic_strength", _finite(args.dba_elastic_strength) and args.dba_elastic_strength >= 0, ">= 0"),
        ("dba_ewc_strength", _finite(args.dba_ewc_strength) and args.dba_ewc_strength >= 0, ">= 0"),
        ("dba_l2sp_strength", _finite(args.dba_l2sp_strength) and args.dba_l2sp_strength >= 0, ">= 0"),
        ("dba_elastic_every", args.dba_elastic_every > 0, "> 0"),
        ("dba_curvature_rank", args.dba_curvature_rank > 0, "> 0"),
        (
            "dba_layer_log_steps",
            args.dba_layer_log_steps is None or args.dba_layer_log_steps >= 0,
            "0 or more",
        ),
        ("dba_anchor_samples", args.dba_anchor_samples is None or args.dba_anchor_samples > 0, "> 0"),
        ("dba_anchor_check_steps", args.dba_anchor_check_steps > 0, "> 0"),
        ("dba_anchor_save_steps", args.dba_anchor_save_steps > 0, "> 0"),
        (
            "dba_anchor_stop_cosine",
            args.dba_anchor_stop_cosine is None or 0 < args.dba_anchor_stop_cosine <= 1,
            "above 0 and at most 1",
        ),
    ):
        if not ok:
            problems.append(f"`{name}` must be {rule}, found {getattr(args, name)!r}.")
    if args.dba_elastic_products == "bfloat16" and args.dba_elastic_base == "none":
        problems.append(
            "`dba_elastic_products: bfloat16` rounds the small difference from the base weights, which "
            "`dba_elastic_base: none` does not keep; set `device` or `host`, or `dba_elastic_products: auto`."
        )
    if (unknown := variant_problem(args.dba_variant)) is not None:
        problems.append(unknown)
    if args.needs_anchor and args.dba_stage == "train" and not args.dba_anchor_path:
        problems.append(
            "`use_dba: true` needs `dba_anchor_path`: the folder or hub id of an anchor, or where to write one made "
            "from `dba_anchor_dataset`."
        )
    return problems + _unsupported(args)


def record_problems(args: Any) -> list[str]:
    """Why a record that was asked for cannot be written, one sentence each; empty when all is well."""
    if not args.dba_record or args.use_dba:
        return []  # `argument_problems` refuses the same for DBA
    problems = []
    if args.dba_stage == "anchor":
        problems.append("`dba_record` records a training; an anchor's own files say how it was made.")
    if args.stage == "ppo" or args.use_hyper_parallel or args.use_mca:
        problems.append("Stage `ppo`, `use_hyper_parallel` and `use_mca` have loops that `dba_record` cannot measure.")
    return problems


def _unsupported(args: Any) -> list[str]:
    """Parts of the host that bypass the optimizer hook, or optimizers that update inside the backward pass."""
    problems = []
    training = args.dba_stage == "train"
    if args.stage == "ppo":
        problems.append("Stage `ppo` has its own training loop that bypasses the optimizer hook; use sft, dpo or kto.")
    elif not training and args.stage not in ("pt", "sft"):
        problems.append(f"An anchor is made with stage `pt` or `sft`, found `{args.stage}`.")
    if training and args.finetuning_type not in ("full", "freeze"):
        problems.append(
            f"DBA needs `finetuning_type: full` or `freeze`, found `{args.finetuning_type}`: the anchor holds "
            "gradients of the base model's own tensors and would match none of the adapter's."
        )
    if training and args.use_galore and args.galore_layerwise:
        problems.append(
            "Layer-wise GaLore steps inside the backward pass, before a gradient can be blended; set "
            "`galore_layerwise: false`."
        )
    if training and args.use_apollo and args.apollo_layerwise:
        problems.append(
            "Layer-wise APOLLO steps inside the backward pass, before a gradient can be blended; set "
            "`apollo_layerwise: false`."
        )
    if training and args.use_badam:
        problems.append(
            "BAdam trains one block at a time, so neither the similarity nor the boost is defined over the model; use "
            "another optimizer."
        )
    if args.use_hyper_parallel:
        problems.append("`use_hyper_parallel` has its own trainer without the optimizer hook; switch it off.")
    if args.use_mca or os.environ.get("USE_MCA", "0").lower() in ("1", "true", "y"):
        problems.append("Megatron (`USE_MCA`) has its own trainer without the optimizer hook; unset it.")
    return problems


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")
