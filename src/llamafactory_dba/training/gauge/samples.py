"""Which rows this run measures, now that its training data is at hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from accelerate.utils import broadcast_object_list
from datasets import Dataset, concatenate_datasets
from llamafactory.extras import logging

from .prepare import Candidates, Plan
from .rows import Sample, choose, order, question, questions_in


logger = logging.get_logger("llamafactory.dba")


class Samples(NamedTuple):
    """The rows; ``training`` ones are for the divergence and only there without a general set."""

    general: Sample | None
    domain: Sample | None
    training: Sample | None

    def describe(self) -> str:
        """One phrase for the log."""
        parts = [
            f"{len(sample.rows)} {kind} rows of {sample.name} ({sample.answer_tokens} answer tokens)"
            for kind, sample in (("general", self.general), ("domain", self.domain), ("training", self.training))
            if sample is not None
        ]
        return " and ".join(parts) + ("" if self.general is not None else ", KL divergence to the base model")


def samples_of(trainer: Any, plan: Plan) -> Samples:
    """Choose the rows, without any that the training asks as well.

    Args:
        trainer: the host's.
        plan: with what was tokenized before.

    Raises:
        DBAError: a set has no row left.
    """
    general, domain = plan.general, plan.domain or _host_rows(trainer, plan)
    sets = [item for item in (general, domain) if item is not None]
    train = trainer.train_dataset
    asked = _asked(trainer, plan, train, [question(row) for item in sets for row in item.rows])
    cutoff = plan.cutoff if plan.stage == "sft" else None  # a text that is cut is still a text
    chosen = {id(item): choose(item.name, item.rows, asked, plan.samples, cutoff) for item in sets}
    for sample in chosen.values():
        if sample.overlapping:
            logger.warning_rank0(
                f"DBA gauge: {sample.overlapping} rows of {sample.name} ask what the training data asks; left out."
            )
        if sample.unanswered or sample.cut:
            logger.warning_rank0(
                f"DBA gauge: of {sample.name}, {sample.unanswered} rows have no answer and {sample.cut} fill "
                "`cutoff_len`, so that they may be cut off; left out."
            )
        if len(sample.rows) < plan.samples:
            logger.warning_rank0(
                f"DBA gauge: {sample.name} has {len(sample.rows)} rows to measure, {plan.samples} were asked for."
            )
    training = None
    if general is None:
        rows = [train[index] for index in order(len(train), plan.samples)]
        training = choose("the training data", rows, set(), plan.samples)
    return Samples(
        chosen[id(general)] if general is not None else None,
        chosen[id(domain)] if domain is not None else None,
        training,
    )


def _host_rows(trainer: Any, plan: Plan) -> Candidates | None:
    """The rows of `eval_dataset` or `val_size`, as the host has tokenized them."""
    found = trainer.eval_dataset
    if found is None:
        return None
    parts = list(found.values()) if isinstance(found, dict) else [found]
    if not plan.host_rows or not all(isinstance(part, Dataset) for part in parts):
        logger.warning_rank0(
            "DBA gauge: the host's evaluation rows are packed, streamed or not answers alone, so the domain is not "
            "measured on them; name rows in `dba_gauge_domain_dataset`."
        )
        return None
    rows = concatenate_datasets(parts) if len(parts) > 1 else parts[0]
    return Candidates("the evaluation rows", tuple(rows[index] for index in order(len(rows), plan.samples)))


def _asked(trainer: Any, plan: Plan, train: Any, questions: Iterable[bytes | None]) -> set[bytes]:
    """Questions that the training data asks, looked up by one process for all."""
    if plan.packed or not isinstance(train, Dataset):
        logger.warning_rank0(
            "DBA gauge: packed or streamed training rows cannot be compared with the gauge's; see to it yourself that "
            "none is in both."
        )
        return set()
    found = questions_in(train, questions) if trainer.accelerator.is_main_process else set()
    (found,) = broadcast_object_list([found])
    return found
