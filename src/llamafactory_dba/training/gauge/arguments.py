"""What can be known of the ``dba_gauge_*`` arguments alone. Imports neither torch nor the host."""

from __future__ import annotations

from typing import Any


STAGES = ("sft", "pt")


def uses_gauge(args: Any) -> bool:
    """Whether any argument of the gauge was turned, even if it is off."""
    return bool(
        args.dba_gauge_steps
        or args.dba_gauge_dataset
        or args.dba_gauge_domain_dataset
        or args.dba_gauge_patience
        or args.dba_gauge_keep_best
    )


def gauge_problems(args: Any) -> list[str]:
    """Everything wrong with the gauge's arguments, one sentence each; empty when all is well.

    Args:
        args: the host's ``FinetuningArguments`` with the DBA fields.
    """
    if not uses_gauge(args):
        return []
    problems = []
    for name, smallest in (("dba_gauge_steps", 0), ("dba_gauge_samples", 1), ("dba_gauge_patience", 0)):
        if getattr(args, name) < smallest:
            problems.append(f"`{name}` must be >= {smallest}, found {getattr(args, name)}.")
    if args.dba_gauge_score not in ("exact", "token"):
        problems.append(f"`dba_gauge_score` must be `exact` or `token`, found `{args.dba_gauge_score}`.")
    if not args.dba_gauge_steps:
        problems.append(
            "Gauge arguments are set, but `dba_gauge_steps` is 0: nothing would be measured. Set it to, for example, "
            "100, or remove them."
        )
    if args.dba_stage == "anchor":
        problems.append("An anchor run changes no weights, so there is nothing to gauge; remove `dba_gauge_steps`.")
    if args.stage not in STAGES:
        problems.append(
            f"The gauge measures answers and texts, so it needs stage `sft` or `pt`, found `{args.stage}`: rows of "
            "that stage are pairs or carry a verdict, which has no loss per answer token."
        )
    if args.dba_gauge_patience and not args.dba_gauge_dataset:
        problems.append(
            "`dba_gauge_patience` needs `dba_gauge_dataset`: without general data only the KL divergence to the base "
            "is measured, which is 0 at the start and best there, so every run would stop at once."
        )
    if args.dba_gauge_keep_best and (not args.dba_gauge_dataset or args.stage == "pt"):
        problems.append(
            "`dba_gauge_keep_best` keeps the best S, which needs answers of both kinds: stage `sft`, "
            "`dba_gauge_dataset`, and held-out domain rows."
        )
    if args.dba_gauge_keep_best and getattr(args, "pissa_init", False):
        problems.append(
            "`dba_gauge_keep_best` cannot keep a PiSSA adapter: it belongs to a base whose weights were changed, and "
            "the host converts it at the end only."
        )
    if getattr(args, "use_hyper_parallel", False) or getattr(args, "use_mca", False):
        problems.append("`use_hyper_parallel` and `use_mca` have trainers of their own, which the gauge cannot reach.")
    return problems
