"""The probe: the first steps of a training, made by LLaMA-Factory itself up to the optimizer and no further.

The host's own ``run_<stage>`` runs with the recipe's data, template, collator, model, loss, dropout, seed and
clipping. A hook in front of the optimizer's step looks at the gradients and takes them away; torch's optimizers skip
parameters without a gradient, so that no weight changes and no optimizer state is allocated. When enough steps were
seen the run is abandoned by an exception, before the host could log, evaluate or save.

Dropout stays on: a training has it on, and with the same seed its first step draws the same mask, so that the first
similarity here is the first one in ``dba_log.jsonl``, bit for bit. All later batches differ from the training's in one
thing only: the weights are still those of the base model.

Memory: one fp32 sum of the size of the trainable parameters, half of AdamW's states (which a probe does not have).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from llamafactory.extras.misc import has_tokenized_data
from llamafactory.hparams import get_train_args
from transformers import set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..anchor.format import load_anchor
from ..anchor.inspect import kind_of, layer_of
from ..anchor.similarity import Agreement, Spread, TensorSums, agreement, corrected
from ..errors import AnchorError, DBAError
from ..sentences import Sentence, first_few
from .checks import check_run
from .probe_result import Cell, ProbeResult, advise, plan_of
from .probe_watcher import Finished, Watcher
from .probe_words import NOTES


# what the host raises over a recipe, its data or its model files
HOST_ERRORS = (ValueError, TypeError, AssertionError, ImportError, KeyError, OSError, RuntimeError)
SEVERAL_GPUS = "`torchrun --nproc-per-node N -m llamafactory_dba.cli anchor probe …`, or make only one GPU visible"


def probe(
    arguments: dict[str, Any], *, batches: int = 32, anchor: str | Path | None = None, progress: bool = True
) -> ProbeResult:
    """Measure how similar the first batches of a training are to the anchor, and what DBA would make of them.

    Args:
        arguments: of the training, as in its YAML; `use_dba` need not be set.
        batches: optimizer steps to look at; no more than one pass over the data is made.
        anchor: folder of the anchor; default `dba_anchor_path`.
        progress: whether to show a bar (on a terminal).

    Returns:
        The same on every rank. Nothing is written but the host's cache of tokenized data.

    Raises:
        DBAError: before the model is loaded, for everything that can be known by then; later for NaN or Inf.
        AnchorError: the anchor is missing, damaged, or of another base model.
    """
    if batches < 1:
        raise DBAError("There is nothing to probe.", expected="1 batch or more", found=batches)
    notes = []
    if not arguments.get("use_dba"):
        notes.append(Sentence.of(NOTES, "no_dba"))
    with tempfile.TemporaryDirectory(prefix="dba-probe-") as scratch:
        changed = _dba_arguments(arguments, anchor, scratch)
        with _host_errors():
            parsed = get_train_args(changed)
            check_run(*parsed[:4])
        _, data_args, training_args, finetuning_args, _ = parsed
        loaded = load_anchor(finetuning_args.dba_anchor_path)
        watcher = Watcher(loaded, finetuning_args, training_args, batches, progress)
        _leave_no_trace(data_args, training_args, finetuning_args)
        try:
            with _host_errors(until=lambda: watcher.trainer_is_ready):
                _run_host(finetuning_args.stage, parsed, watcher)
        except Finished:
            pass
        finally:
            watcher.close()
    result = _result(watcher, tuple(data_args.dataset), notes)
    watcher.release()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # for a program that goes on, such as the web board
    return result


def _dba_arguments(arguments: dict[str, Any], anchor: str | Path | None, scratch: str) -> dict[str, Any]:
    """The recipe's arguments with DBA on, an anchor that must exist, and a place of its own to write to."""
    if arguments.get("dba_stage", "train") != "train":
        raise DBAError(
            "This is the recipe of an anchor run; a probe looks at the training that uses the anchor.",
            expected="the YAML of a training",
            found=f"`dba_stage: {arguments['dba_stage']}`",
        )
    path = anchor or arguments.get("dba_anchor_path")
    if not path:
        raise AnchorError(
            "There is no anchor to compare with.",
            expected="`dba_anchor_path` in the recipe, or --anchor",
            found="neither",
            next_step="name the anchor, or make one with `dba_stage: anchor`",
        )
    left_out = ("dba_anchor_dataset", "resume_from_checkpoint", "overwrite_output_dir")
    kept = {key: value for key, value in arguments.items() if key not in left_out}
    return {**kept, "use_dba": True, "dba_anchor_path": str(path), "do_train": True, "output_dir": scratch}


def _leave_no_trace(data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """Switch off all that a run writes, sends or evaluates; what decides the gradients stays as it is."""
    if data_args.tokenized_path is not None and not has_tokenized_data(data_args.tokenized_path):
        data_args.tokenized_path = None  # the host would write it
    finetuning_args.use_dba, finetuning_args.dba_anchor_path = False, None  # the plugin's own hooks stay away
    finetuning_args.dba_gauge_steps, finetuning_args.dba_record = 0, False
    finetuning_args.plot_loss = False
    training_args.save_strategy = SaveStrategy.NO
    training_args.eval_strategy = training_args.logging_strategy = IntervalStrategy.NO
    training_args.do_eval = training_args.do_predict = False
    training_args.load_best_model_at_end = training_args.eval_on_start = training_args.push_to_hub = False
    training_args.logging_first_step = False
    training_args.report_to, training_args.disable_tqdm = [], True


def _run_host(stage: str, parsed: Any, watcher: Watcher) -> None:
    model_args, data_args, training_args, finetuning_args, generating_args = parsed
    run = getattr(importlib.import_module(f"llamafactory.train.{stage}.workflow"), f"run_{stage}")
    extra = (generating_args,) if stage == "sft" else ()
    set_seed(training_args.seed)
    run(model_args, data_args, training_args, finetuning_args, *extra, callbacks=[watcher])


@contextlib.contextmanager
def _host_errors(until: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """What the host finds wrong with a recipe, its data or its model becomes a `DBAError`; ``until`` ends that."""
    try:
        yield
    except (DBAError, torch.OutOfMemoryError):
        raise
    except HOST_ERRORS as error:
        if until():
            raise
        raise _of_host(error) from error


def _of_host(error: BaseException) -> DBAError:
    found, cause = f"{type(error).__name__}: {str(error).strip()}", error.__cause__
    while cause is not None:  # "Failed to load tokenizer." says less than what made it fail
        found, cause = f"{found} ({str(cause).strip()})", cause.__cause__
    return DBAError(
        "LLaMA-Factory cannot start a training from this recipe.",
        found=found,
        next_step=SEVERAL_GPUS
        if "torchrun" in found
        else "mend the recipe; `llamafactory-cli train` says the same of it",
    )


def _result(watcher: Watcher, datasets: tuple[str, ...], notes: list[Sentence]) -> ProbeResult:
    """Put together what was seen."""
    batches, settings = watcher.batches, watcher.settings
    if not batches:
        raise DBAError(
            "No gradient reached the optimizer.",
            expected="finite gradients on the anchor's tensors when the optimizer steps",
            found=f"none in {watcher.skipped} steps" if watcher.skipped else "none",
            next_step="check what is frozen; train without engines that keep gradients of their own",
        )
    tensors = watcher.tensor_sums()
    domain = agreement(tensors)
    factor = Spread.of([batch.correction for batch in batches])
    applied = {batch.step: batch.correction if settings.use_correction else 1.0 for batch in batches}
    rates, config = watcher.rates, watcher.anchor.config
    plan = plan_of(settings, batches, domain.anchor_norm, rates, corrected(rates, applied) if rates else None)
    return ProbeResult(
        anchor=str(watcher.anchor.folder),
        base_model=config.base_model.id,
        stage=watcher.stage,
        datasets=datasets,
        rank=watcher.rank,
        matched_tensors=len(watcher.targets),
        unmatched_tensors=tuple(watcher.unmatched),
        anchor_half_cosine=config.half_cosine[-1][1] if config.half_cosine else None,
        settings=settings,
        batches=tuple(batches),
        similarity=Spread.of([batch.similarity for batch in batches]),
        cosine=Spread.of([batch.cosine for batch in batches]),
        correction=factor,
        mean_gradient=domain,
        layers=_grouped(tensors, layer_of),
        kinds=_grouped(tensors, kind_of),
        cells=_cells(tensors),
        plan=plan,
        notes=(*notes, *_limits(watcher)),
        advice=advise(settings, factor, domain, plan.initial_boost, config.half_cosine),
    )


def _limits(watcher: Watcher) -> list[Sentence]:
    """What limits the numbers."""
    notes = []

    def say(kind: str, **values: object) -> None:
        notes.append(Sentence.of(NOTES, kind, **values))

    if watcher.seen < watcher.wanted:
        say("few", wanted=watcher.wanted, seen=watcher.seen)
    if watcher.skipped:
        say("overflowed", skipped=watcher.skipped)
    if watcher.unmatched:
        say("unmatched", count=len(watcher.unmatched), names=first_few(watcher.unmatched))
    if watcher.rates is None:
        say("no_rates")
    if not watcher.settings.use_correction:
        say("no_correction")
    return notes


def _grouped(tensors: list[TensorSums], label: Callable[[str], str]) -> dict[str, Agreement]:
    """By `layer_of` or `kind_of`: layers by number, then names."""
    members: dict[str, list[TensorSums]] = {}
    for item in tensors:
        members.setdefault(label(item.name), []).append(item)
    order = sorted(members, key=lambda key: (0, int(key), "") if key.isdigit() else (1, 0, key))
    return {key: agreement(members[key]) for key in order}


def _cells(tensors: list[TensorSums]) -> tuple[Cell, ...]:
    """Signed cosine per layer and kind; tensors outside of the layers have a row of their own."""
    members: dict[tuple[str, str], list[TensorSums]] = {}
    for item in tensors:
        members.setdefault((layer_of(item.name), kind_of(item.name)), []).append(item)
    return tuple(Cell(layer, kind, agreement(group).cosine) for (layer, kind), group in members.items())
