"""LLaMA-Factory's own checks on the settings of all runs, in a worker, before anything is trained."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ..sentences import describe_names
from .suite import nearest


def check_configs(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per problem; empty when the host takes them all.

    Args:
        configs: each ``{"name": str, "keys": {...}}``; ``name`` says where the settings are from.
    """
    os.environ.setdefault("LLAMAFACTORY_VERBOSITY", "ERROR")
    from llamafactory.hparams import parser

    try:
        import llamafactory.train.tuner  # noqa: F401  what a training imports; an optional package may be broken
    except Exception as error:
        return [f"LLaMA-Factory cannot be imported: {type(error).__name__}: {error}"]
    known = {item.name for kind in parser._TRAIN_ARGS for item in dataclasses.fields(kind)}
    problems: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for config in configs:
            keys = dict(config["keys"])
            unknown = [key for key in keys if key not in known]
            for key in unknown:
                problems.setdefault(f"unknown key `{key}`{nearest(key, sorted(known))}", []).append(config["name"])
            if unknown:
                continue
            try:
                parser.get_train_args({**keys, "output_dir": folder})
            except Exception as error:  # whatever the host raises on settings: ValueError, ImportError, KeyError, …
                text = " ".join(str(error).split()) or type(error).__name__
                problems.setdefault(text, []).append(config["name"])
    return [f"{describe_names(names)}: {text}" for text, names in problems.items()]
