"""What is wrong with the Train form, told beside its fields before anything starts. No gradio.

Only what is cheap is looked at: numbers, names, folders, headers. The training itself checks everything again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from llamafactory_dba.anchor.config import AnchorConfig, is_anchor, read_config
from llamafactory_dba.argument_checks import argument_problems
from llamafactory_dba.arguments import DBAArguments
from llamafactory_dba.errors import DBAError
from llamafactory_dba.methods.registry import WITH_CURVATURE, WITHOUT_ANCHOR
from llamafactory_dba.training.gauge.arguments import gauge_problems

from .anchor_fit import misfit
from .data_checks import data_problems
from .fields import DEFAULT, WHOLE, strength_argument, to_arguments
from .jobs import SECRET_KEY
from .paths import NotAllowed, resolve
from .problems import GAUGE, MAIN, MORE, Problem


# switches of the host that the board has no field for, or that the training's own check is left to
OFF = (
    "use_galore",
    "galore_layerwise",
    "use_apollo",
    "apollo_layerwise",
    "use_hyper_parallel",
    "use_mca",
    "pissa_init",
)
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


class Host(NamedTuple):
    """What the check must know of the host's own fields; arguments under the host's names."""

    model_path: str = ""
    stage: str = "sft"
    finetuning_type: str = "full"
    output_dir: str = ""
    dataset_dir: str = "data"
    dataset: tuple[str, ...] = ()
    deepspeed: bool = False
    use_badam: bool = False
    extra: tuple[str, ...] = ()  # names among the extra arguments
    cpu: bool = False  # whether it computes on the processor


class Rule(NamedTuple):
    """Bounds of a number: at least ``low``, or above it; ``optional`` may be empty."""

    row: str
    low: float
    above: bool = False
    optional: bool = False


NUMBERS = {
    "dba_train_boost": Rule(MAIN, 0),
    "dba_train_base": Rule(MAIN, 0, above=True),
    "dba_train_rank": Rule(MAIN, 1),
    "dba_train_strength": Rule(MORE, 0, optional=True),
    "dba_train_every": Rule(MORE, 1),
    "dba_train_embedding_ratio": Rule(MORE, 0),
    "dba_train_general_samples": Rule(MORE, 1, optional=True),
    "dba_train_gauge_steps": Rule(GAUGE, 0),
    "dba_train_gauge_samples": Rule(GAUGE, 1),
    "dba_train_gauge_patience": Rule(GAUGE, 0),
}


def problems(form: Mapping[str, Any], host: Host) -> list[Problem]:
    """Everything that would make this training fail or not do what the form says, as far as it is cheap to know.

    Args:
        form: as of `fields.DEFAULTS`.
        host: the host's fields.
    """
    found = _numbers(form)
    if form["dba_train_enabled"]:
        found += _host_problems(host) + _anchor_problems(form, host) + _output_problems(host)
        found += data_problems(MAIN, "", host.dataset_dir, host.dataset)
        found += data_problems(MORE, "dba_train_general", host.dataset_dir, form["dba_train_general"])
    if form["dba_train_gauge_steps"]:
        for name in ("dba_train_gauge_data", "dba_train_gauge_domain"):
            found += data_problems(GAUGE, name, host.dataset_dir, form[name])
    known = {problem.row for problem in found}
    found += [problem for problem in _package_problems(form, host) if problem.row not in known]
    return found


def _numbers(form: Mapping[str, Any]) -> list[Problem]:
    found = []
    unused = set() if form["dba_train_enabled"] else {name for name, rule in NUMBERS.items() if rule.row != GAUGE}
    if not form["dba_train_boost_on"]:
        unused.add("dba_train_boost")
    if strength_argument(form["dba_train_variant"]) is None:
        unused.add("dba_train_strength")
    for name, rule in NUMBERS.items():
        value = form[name]
        if name in unused or (value is None and rule.optional):
            continue
        number = isinstance(value, int | float) and value == value and abs(value) != float("inf")
        whole = name not in WHOLE or not number or float(value).is_integer()
        if not number or not whole or value < rule.low or (rule.above and value == rule.low):
            key = "dba_number_above" if rule.above else "dba_number_whole" if name in WHOLE else "dba_number_least"
            shown = "–" if value is None else value
            found.append(Problem(rule.row, key, {"label": name, "low": f"{rule.low:g}", "found": shown}))
    return found


def _host_problems(host: Host) -> list[Problem]:
    found = []
    if not host.model_path:
        found.append(Problem(MAIN, "dba_no_model"))
    if host.finetuning_type not in ("full", "freeze"):
        found.append(Problem(MAIN, "dba_need_full", {"found": host.finetuning_type}))
    if host.stage == "ppo":
        found.append(Problem(MAIN, "dba_no_ppo"))
    if host.deepspeed:
        found.append(Problem(MAIN, "dba_no_deepspeed"))
    if host.use_badam:
        found.append(Problem(MAIN, "dba_no_badam"))
    found += [Problem(MAIN, "dba_secret", {"name": name}) for name in host.extra if SECRET_KEY.search(name)]
    return found


def _output_problems(host: Host) -> list[Problem]:
    if not host.output_dir:
        return []
    try:
        resolve(host.output_dir, for_writing=True)
    except NotAllowed as error:
        reason = Problem(MAIN, error.key, error.fields)
        return [Problem(MAIN, "dba_bad_output", {"reason": reason, "path": host.output_dir})]
    return []


def _anchor_problems(form: Mapping[str, Any], host: Host) -> list[Problem]:
    variant = form["dba_train_variant"]
    if variant in WITHOUT_ANCHOR:
        return []
    text = str(form["dba_train_anchor"] or "").strip()
    if not text:
        return [Problem(MAIN, "dba_no_anchor")]
    if host.output_dir and Path(text).absolute().resolve() == Path(host.output_dir).absolute().resolve():
        return [Problem(MAIN, "dba_anchor_is_output")]
    if not Path(text).expanduser().exists():
        if form["dba_train_general"] or HUB_ID.fullmatch(text):
            return []  # made, or downloaded, when the training starts
        return [Problem(MAIN, "dba_anchor_missing", {"path": text})]
    try:
        folder = resolve(text)
        if not is_anchor(folder):
            return [Problem(MAIN, "dba_anchor_none", {"path": text})]
        config = read_config(folder)
    except NotAllowed as error:
        return [Problem(MAIN, error.key, error.fields)]
    except DBAError as error:
        return [Problem(MAIN, "dba_anchor_broken", {"reason": error.what})]
    return _fit_problems(folder, config, host.model_path, variant, bool(form["dba_train_added_tokens"]))


def _fit_problems(folder: Path, config: AnchorConfig, model: str, variant: str, allow_added: bool) -> list[Problem]:
    found = []
    if variant in WITH_CURVATURE and config.curvature is None:
        found.append(Problem(MAIN, "dba_anchor_flat", {"variant": variant}))
    if model and (reason := misfit(folder, config, model, allow_added=allow_added)):
        found.append(Problem(MAIN, "dba_anchor_other", {"base": config.base_model.id, "reason": reason}))
    return found


def _package_problems(form: Mapping[str, Any], host: Host) -> list[Problem]:
    """What the package's own checks say, for rows where nothing was found above (they say the same in English)."""
    arguments = {**to_arguments(form)}
    values = {
        **{name: getattr(DEFAULT, name) for name in DBAArguments.__dataclass_fields__},
        **arguments,
        "stage": host.stage,
        "finetuning_type": host.finetuning_type,
        "use_badam": host.use_badam,
    }
    args = SimpleNamespace(**dict.fromkeys(OFF, False), **values)
    args.needs_anchor = args.use_dba and args.dba_variant not in WITHOUT_ANCHOR
    found = []
    for check, row in ((argument_problems, MAIN), (gauge_problems, GAUGE)):
        if row == MAIN and not args.use_dba:
            continue
        try:
            found += [Problem(row, text=text) for text in check(args)]
        except TypeError:  # a number is missing, which was said already
            continue
    return found
