"""The Train form of the DBA tab as plain values, and the ``dba_*`` arguments that it stands for. No gradio.

Arguments are the one form that is kept: a saved configuration holds them among the host's "extra arguments", so that
it is one file that a board without the extension can open, too (its training then says that the keys are unknown).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llamafactory_dba.arguments import DBAArguments, argument_names
from llamafactory_dba.methods.registry import VARIANTS, WITHOUT_ANCHOR


Form = dict[str, Any]

DEFAULT = DBAArguments()
PREFIX = "dba_train_"
AUTO, ALWAYS, NEVER = "auto", "always", "never"  # when to write run_record.json
NAMES = tuple(argument_names())

DEFAULTS: Form = {
    "dba_train_enabled": False,
    "dba_train_anchor": None,
    "dba_train_boost_on": True,
    "dba_train_boost": DEFAULT.dba_boost_magnitude,
    "dba_train_correction": DEFAULT.dba_use_correction,
    "dba_train_base": DEFAULT.dba_base_correction,
    "dba_train_rank": DEFAULT.dba_svd_rank,
    "dba_train_variant": DEFAULT.dba_variant,
    "dba_train_strength": None,  # the variant's own default
    "dba_train_every": DEFAULT.dba_elastic_every,
    "dba_train_base_weights": DEFAULT.dba_elastic_base,
    "dba_train_embedding_ratio": DEFAULT.dba_embedding_lr_ratio,
    "dba_train_general": [],
    "dba_train_general_samples": None,
    "dba_train_added_tokens": DEFAULT.dba_allow_added_tokens,
    "dba_train_record": AUTO,
    "dba_train_gauge_steps": DEFAULT.dba_gauge_steps,
    "dba_train_gauge_data": [],
    "dba_train_gauge_domain": [],
    "dba_train_gauge_samples": DEFAULT.dba_gauge_samples,
    "dba_train_gauge_score": DEFAULT.dba_gauge_score,
    "dba_train_gauge_patience": DEFAULT.dba_gauge_patience,
    "dba_train_gauge_keep_best": DEFAULT.dba_gauge_keep_best,
    # no arguments of the training: the run ends with the board; it may share its device with another run
    "dba_train_with_board": False,
    "dba_train_beside": False,
}

# fields that are one argument each, as they are
GAUGE = {
    "dba_train_gauge_data": "dba_gauge_dataset",
    "dba_train_gauge_domain": "dba_gauge_domain_dataset",
    "dba_train_gauge_samples": "dba_gauge_samples",
    "dba_train_gauge_score": "dba_gauge_score",
    "dba_train_gauge_patience": "dba_gauge_patience",
    "dba_train_gauge_keep_best": "dba_gauge_keep_best",
}
PLAIN = {
    "dba_train_anchor": "dba_anchor_path",
    "dba_train_base": "dba_base_correction",
    "dba_train_correction": "dba_use_correction",
    "dba_train_rank": "dba_svd_rank",
    "dba_train_variant": "dba_variant",
    "dba_train_every": "dba_elastic_every",
    "dba_train_base_weights": "dba_elastic_base",
    "dba_train_embedding_ratio": "dba_embedding_lr_ratio",
    "dba_train_general": "dba_anchor_dataset",
    "dba_train_general_samples": "dba_anchor_samples",
    "dba_train_added_tokens": "dba_allow_added_tokens",
    "dba_train_gauge_steps": "dba_gauge_steps",
    **GAUGE,
}
LISTS = ("dba_train_general", "dba_train_gauge_data", "dba_train_gauge_domain")
WHOLE = (
    "dba_train_rank",
    "dba_train_every",
    "dba_train_general_samples",
    "dba_train_gauge_steps",
    "dba_train_gauge_samples",
    "dba_train_gauge_patience",
)


def strength_argument(variant: object) -> str | None:
    """The argument that says how strongly a variant acts; None for one that has no such number."""
    return next((name for name in (f"dba_{variant}_strength", f"dba_{variant}_weight") if name in NAMES), None)


def to_arguments(form: Mapping[str, Any]) -> dict[str, Any]:
    """What the form adds to a training's arguments; nothing at all while DBA and gauge are off.

    Args:
        form: `DEFAULTS` with the page's values. Wrong ones are passed on as they are: `train_checks` speaks of them.
    """
    found: dict[str, Any] = {}
    if form["dba_train_enabled"]:
        found |= {"use_dba": True, **_method(form)}
    if form["dba_train_record"] != AUTO:
        found["dba_record"] = form["dba_train_record"] == ALWAYS
    if form["dba_train_gauge_steps"]:
        found["dba_gauge_steps"] = _value(form, "dba_train_gauge_steps")
        for name, argument in GAUGE.items():
            value = _value(form, name)
            if value != getattr(DEFAULT, argument):
                found[argument] = value
    return found


def _method(form: Mapping[str, Any]) -> dict[str, Any]:
    variant = form["dba_train_variant"]
    found: dict[str, Any] = {}
    if form["dba_train_embedding_ratio"] != DEFAULT.dba_embedding_lr_ratio:
        found["dba_embedding_lr_ratio"] = form["dba_train_embedding_ratio"]
    if variant not in WITHOUT_ANCHOR:
        found["dba_anchor_path"] = _value(form, "dba_train_anchor")
        found["dba_svd_rank"] = _value(form, "dba_train_rank")
        for name in ("dba_train_general", "dba_train_general_samples", "dba_train_added_tokens"):
            if value := _value(form, name):
                found[PLAIN[name]] = value
    if variant == DEFAULT.dba_variant:
        found["dba_boost_magnitude"] = form["dba_train_boost"] if form["dba_train_boost_on"] else 0.0
        found["dba_use_correction"] = bool(form["dba_train_correction"])
        found["dba_base_correction"] = form["dba_train_base"]
        return found
    found["dba_variant"] = variant
    name = strength_argument(variant)
    if name is not None and form["dba_train_strength"] is not None:
        found[name] = form["dba_train_strength"]
    if variant == "elastic":
        found["dba_elastic_every"] = _value(form, "dba_train_every")
    if form["dba_train_base_weights"] != DEFAULT.dba_elastic_base:
        found["dba_elastic_base"] = form["dba_train_base_weights"]
    return found


def _value(form: Mapping[str, Any], name: str) -> Any:
    value = form[name]
    if name in LISTS:
        return ",".join(value or []) or None
    if isinstance(value, str):
        return value.strip() or None
    if name in WHOLE and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def from_arguments(arguments: Mapping[str, Any]) -> tuple[Form, dict[str, Any]]:
    """The form that stands for these arguments, and the arguments that it has no field for.

    Args:
        arguments: of a training; those of the host are among the second.
    """
    form, rest = dict(DEFAULTS), dict(arguments)
    if rest.get("dba_stage") == "anchor":
        return form, rest  # the Train form has no field for it, and would not pass on what belongs to it
    form["dba_train_enabled"] = _truth(rest.pop("use_dba", False))
    boost = rest.pop("dba_boost_magnitude", None)
    if boost is not None and boost == 0:
        form["dba_train_boost_on"] = False
    elif boost is not None:
        form["dba_train_boost"] = boost
    if "dba_record" in rest:
        record = rest.pop("dba_record")
        form["dba_train_record"] = AUTO if record is None else ALWAYS if _truth(record) else NEVER
    for name, argument in PLAIN.items():
        if argument in rest:
            value = rest.pop(argument)
            form[name] = _names(value) if name in LISTS else value
    if (strength := strength_argument(form["dba_train_variant"])) in rest:
        form["dba_train_strength"] = rest.pop(strength)
    if form["dba_train_variant"] not in VARIANTS:  # a menu cannot show it; the training will say what is wrong
        rest["dba_variant"], form["dba_train_variant"] = form["dba_train_variant"], DEFAULT.dba_variant
    return form, rest


def _truth(value: Any) -> bool:
    return value.strip().lower() in ("true", "1", "yes", "y", "on") if isinstance(value, str) else bool(value)


def _names(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [name for part in parts if (name := str(part).strip())]


def into_extra(extra: str, form: Mapping[str, Any]) -> str:
    """The host's field "extra arguments" with the form's arguments in it; what it says itself has the last word."""
    found = to_arguments(form)
    if not found:
        return extra
    return json.dumps({**found, **json.loads(extra or "{}")}, ensure_ascii=False)


def out_of_extra(extra: Any) -> tuple[Form, str]:
    """The form in "extra arguments", and that field without it; unchanged if it cannot be read or has nothing."""
    try:
        content = json.loads(extra)
    except (TypeError, ValueError):
        return dict(DEFAULTS), extra
    if not isinstance(content, dict) or not any(name in content for name in NAMES):
        return dict(DEFAULTS), extra
    form, rest = from_arguments(content)
    return form, json.dumps(rest, ensure_ascii=False)
