"""The anchor run: LLaMA-Factory's own data, template, model and trainer, with an optimizer that only averages.

Nothing is updated and no model is saved. The pass leaves the anchor folder, and while it runs a sibling folder
``<anchor>.partial`` with the state to resume from.
"""

from __future__ import annotations

import copy
import gc
from pathlib import Path
from typing import Any, NamedTuple

import torch
from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
from llamafactory.extras import logging
from llamafactory.extras.constants import IGNORE_INDEX
from transformers import DataCollatorForLanguageModeling, PrinterCallback, set_seed

from ..anchor.card import settled, write_card
from ..anchor.estimate import PartialState, describe_anchor, hash_dataset, truncate_mean
from ..anchor.store import save_anchor
from ..data.origin import origins
from ..errors import DBAError
from ..host_model import load_model, load_tokenizer
from ..sentences import describe_names
from .anchor_progress import AnchorProgress
from .anchor_trainer import anchor_trainer_class
from .guard import hash_template
from .hooks import innermost
from .paths import model_folder


logger = logging.get_logger("llamafactory.dba")


class HostArguments(NamedTuple):
    """The host's argument objects of one run."""

    model: Any
    data: Any
    training: Any
    finetuning: Any


def make_anchor(
    stage: str, folder: Path, model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any
) -> None:
    """Make the zero-learning-rate pass (eq. 5) and write the anchor.

    Args:
        stage: ``pt`` or ``sft``: how the general data is read.
        folder: where the anchor goes; must be checked to be free (`checks.check_new_anchor`).
        model_args: the host's; this and the other arguments are left alone, copies are changed.
        data_args: the host's; its `dataset` is replaced by `dba_anchor_dataset` where that is given.
        training_args: the host's; batch sizes, precision and seed are kept.
        finetuning_args: the host's, with the DBA fields.

    Raises:
        DBAError: no data, non-finite gradients, or a partial state of other settings.
    """
    partial = PartialState(folder.with_name(folder.name + ".partial"))
    arguments = anchor_arguments(stage, partial.folder, model_args, data_args, training_args, finetuning_args)
    set_seed(arguments.training.seed)
    tokenizer_module = load_tokenizer(arguments.model)
    template = get_template_and_fix_tokenizer(tokenizer_module["tokenizer"], arguments.data)
    dataset_module = get_dataset(
        template, arguments.model, arguments.data, arguments.training, stage=stage, **tokenizer_module
    )
    dataset = dataset_module.get("train_dataset")
    if dataset is None or len(dataset) == 0:
        raise DBAError(
            "There is no general data to make the anchor from.",
            expected="at least one sample after tokenization",
            found=f"no usable sample in {', '.join(arguments.data.dataset)}",
            next_step="check `dba_anchor_dataset` (or `dataset`), `cutoff_len` and `template`",
        )
    model = load_model(tokenizer_module["tokenizer"], arguments.model, arguments.finetuning, True)
    switch_off_dropout(model)
    request = request_of(stage, arguments, dataset)
    request["origins"] = origins(arguments.data.dataset, arguments.data.dataset_dir)
    if stage == "sft":
        request["template_hash"] = hash_template(tokenizer_module["tokenizer"], template)
    if arguments.finetuning.makes_curvature:
        # only then: states of runs without it are resumed as before
        request["curvature"] = arguments.finetuning.dba_curvature_kind
        if request["curvature"] == "kronecker":
            request["curvature_rank"] = arguments.finetuning.dba_curvature_rank
    trainer = anchor_trainer_class(stage)(
        model=model,
        args=arguments.training,
        finetuning_args=arguments.finetuning,
        data_collator=_collator(stage, template, model, arguments, tokenizer_module),
        callbacks=[],
        train_dataset=dataset,
        **tokenizer_module,
    )
    trainer.remove_callback(PrinterCallback)
    progress = AnchorProgress(trainer, arguments.finetuning, partial, request)
    trainer.add_callback(progress)
    logger.info_rank0(
        f"DBA: zero-learning-rate pass over {len(dataset)} samples of {', '.join(arguments.data.dataset)}; "
        f"the anchor goes to {folder}."
    )
    with progress.stop:
        trainer.train(resume_from_checkpoint=partial.prepare_resume(request) if partial.exists() else None)
    tokens = progress.total_tokens()  # a collective: every rank takes part, as in the next one
    trainer.dba_average()
    if arguments.training.should_save:
        _write(folder, trainer, tokens, progress.half_cosines, request, arguments)
        partial.remove()
    trainer.accelerator.wait_for_everyone()
    _release(trainer)


def _write(
    folder: Path,
    trainer: Any,
    tokens: int,
    half_cosines: list[tuple[int, float]],
    request: dict[str, Any],
    arguments: HostArguments,
) -> None:
    """Truncate the mean and write the anchor with its card."""
    mean, collector = trainer.dba_mean, trainer.dba_curvature
    config = describe_anchor(
        request=request,
        base_folder=model_folder(arguments.model),
        dtype=arguments.finetuning.dba_anchor_dtype,
        rank=arguments.finetuning.dba_svd_rank,
        steps=mean.steps,
        tokens=tokens,
        half_cosines=half_cosines,
    )
    truncations = truncate_mean(mean, config.rank, device=arguments.training.device)
    curvature = None
    if collector is not None:
        curvature = collector.finish(config.dtype, arguments.training.world_size)
        if collector.uncovered:
            logger.warning_rank0(
                f"DBA: no curvature is recorded for {describe_names(collector.uncovered)}: neither linear layers, "
                "embeddings nor vectors."
            )
    config = save_anchor(
        folder, truncations, config, overwrite=arguments.training.overwrite_output_dir, curvature=curvature
    )
    write_card(folder)
    energy = config.totals.energy_kept if config.totals is not None else 1.0
    logger.info_rank0(
        f"DBA: anchor written to {folder}: {len(config.tensors)} tensors, rank {config.rank}, "
        f"energy kept {energy:.4f}, {mean.steps} steps, {tokens} tokens, "
        f"cosine between data halves {half_cosines[-1][1]:.4f} "
        f"({settled(mean.steps * request['global_batch'], half_cosines[-1][1])})."
    )
    if config.curvature is not None:
        logger.info_rank0(
            f"DBA: with a {config.curvature.kind} curvature over {config.curvature.sequences} sequences, trace "
            f"{config.curvature.trace:.4g}, energy in its directions {config.curvature.energy_kept:.4f}."
        )


def anchor_arguments(
    stage: str, scratch: Path, model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any
) -> HostArguments:
    """The host's arguments for the pass: general data, full model, nothing that alters or saves anything."""
    data, training, finetuning = copy.copy(data_args), copy.copy(training_args), copy.copy(finetuning_args)
    names = finetuning_args.dba_anchor_dataset
    if names is not None:
        data.dataset = [name.strip() for name in names.split(",") if name.strip()]
        data.interleave_probs, data.mix_strategy = None, "concat"
        data.tokenized_path = None
    if not data.dataset:
        raise DBAError(
            "An anchor run needs general data.",
            expected="`dataset` or `dba_anchor_dataset`, named as in dataset_info.json",
            found="neither",
            next_step="add `dataset: alpaca_en_demo` or your own general set",
        )
    if data.streaming:
        raise DBAError(
            "An anchor run needs data of known size.",
            expected="`streaming: false`",
            found="`streaming: true`",
            next_step="switch streaming off; `dba_anchor_samples` limits what is read",
        )
    data.max_samples = finetuning_args.dba_anchor_samples or (None if names else data_args.max_samples)
    data.eval_dataset, data.val_size = None, 0.0
    if stage != finetuning_args.stage:
        data.packing = stage == "pt"
    finetuning.stage, finetuning.finetuning_type = stage, "full"
    for name in ("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon"):
        setattr(finetuning, name, False)
    for name in ("use_dft_loss", "use_asft_loss", "use_eaft_loss", "use_llama_pro"):
        setattr(finetuning, name, False)
    training.output_dir = str(scratch)
    training.num_train_epochs, training.max_steps = 1.0, -1
    training.learning_rate, training.weight_decay, training.max_grad_norm = 0.0, 0.0, 0.0
    training.warmup_steps, training.lr_scheduler_type = 0, _like(training.lr_scheduler_type, "constant")
    training.neftune_noise_alpha, training.label_smoothing_factor = None, 0.0
    training.save_strategy = _like(training.save_strategy, "no")
    training.logging_strategy = _like(training.logging_strategy, "no")
    training.eval_strategy = _like(training.eval_strategy, "no")
    training.do_eval = training.do_predict = training.predict_with_generate = False
    training.load_best_model_at_end = training.eval_on_start = training.push_to_hub = False
    training.report_to, training.disable_tqdm = [], True
    training.resume_from_checkpoint = None
    return HostArguments(model_args, data, training, finetuning)


def _like(member: Any, value: str) -> Any:
    """The member of the same enumeration with another value."""
    return type(member)(value)


def request_of(stage: str, arguments: HostArguments, dataset: Any) -> dict[str, Any]:
    """Everything that decides the mean gradient; a partial state is only resumed for the same request."""
    training, data = arguments.training, arguments.data
    return {
        "model": arguments.model.model_name_or_path,
        "revision": arguments.model.model_revision,
        "stage": stage,
        "datasets": list(data.dataset),
        "samples": len(dataset),
        "data_hash": hash_dataset(dataset),
        "template": data.template,
        "cutoff_len": data.cutoff_len,
        "packing": bool(data.packing),
        "neat_packing": bool(data.neat_packing),
        "train_on_prompt": bool(data.train_on_prompt),
        "global_batch": training.per_device_train_batch_size
        * training.gradient_accumulation_steps
        * training.world_size,
        "micro_batch": training.per_device_train_batch_size,
        "world_size": training.world_size,
        "dtype": str(arguments.model.compute_dtype or "float32").replace("torch.", ""),
        "pure_bf16": bool(arguments.finetuning.pure_bf16),
        "seed": training.seed,
        "data_seed": training.data_seed,
    }


def switch_off_dropout(model: torch.nn.Module) -> None:
    """Set every dropout probability to zero; the model stays in training mode for gradient checkpointing."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in list(vars(module).items()):
            # attention layers keep their probability as a plain number: attention_dropout, dropout_p, ...
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def _collator(
    stage: str, template: Any, model: Any, arguments: HostArguments, tokenizer_module: dict[str, Any]
) -> Any:
    tokenizer = tokenizer_module["tokenizer"]
    if stage == "pt":
        return DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=False)
    return SFTDataCollatorWith4DAttentionMask(
        template=template,
        model=model,
        pad_to_multiple_of=8,
        label_pad_token_id=IGNORE_INDEX if arguments.data.ignore_pad_token_for_loss else tokenizer.pad_token_id,
        block_diag_attn=arguments.model.block_diag_attn,
        neat_packing=arguments.data.neat_packing,
        attn_implementation=getattr(model.config, "_attn_implementation", None),
        compute_dtype=arguments.model.compute_dtype,
        **tokenizer_module,
    )


def _release(trainer: Any) -> None:
    """Give the memory back before a training run loads its own model."""
    trainer.accelerator.free_memory()
    innermost(trainer.optimizer).release()
    trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.dba_mean = trainer.dba_curvature = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
