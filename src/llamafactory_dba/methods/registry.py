"""The values of ``dba_variant``. Imports no torch: the arguments are checked while the host is being imported."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from .holding import HoldingMethod
    from .interface import Method


class Variant(NamedTuple):
    """``module`` in this folder, with a ``METHOD`` (`interface.Method`); what it does, for the help text."""

    module: str
    summary: str


# Methods that edit gradients with the anchor's mean gradient: one line and one file each.
GRADIENT_METHODS = {
    "paper": Variant("paper", "GGB and DC"),
    "agem": Variant("agem", "where the domain gradient conflicts with the anchor, that part is taken out"),
    "pcgrad": Variant("pcgrad", "the anchor is added; where the two conflict, each loses its part against the other"),
    "gradnorm_equal": Variant("gradnorm", "the anchor is added, both scaled to the same norm"),
}
# Methods that hold the weights near the base model: `holding.HoldingMethod`.
HOLDING_METHODS = {
    "elastic": Variant(
        "elastic",
        "the weights are pulled back to the base model where the anchor's curvature says that general skill is lost "
        "(docs/elastic.md)",
    ),
    "ewc": Variant("ewc", "the gradient of that curvature's penalty is added to the domain's"),
    "l2sp": Variant("l2sp", "likewise, with the same force on every weight; needs no anchor"),
}
VARIANTS = (*GRADIENT_METHODS, *HOLDING_METHODS)
WITHOUT_ANCHOR = ("l2sp",)
WITH_CURVATURE = ("elastic", "ewc")


def variant_problem(name: object) -> str | None:
    """A sentence on an unknown ``dba_variant``, with the nearest one; None for a known one."""
    if name in VARIANTS:
        return None
    close = difflib.get_close_matches(str(name).lower(), VARIANTS, n=1, cutoff=0.5)
    known = ", ".join(f"`{item}`" for item in VARIANTS)
    return f"`dba_variant` must be one of {known}, found {name!r}." + (f" Did you mean `{close[0]}`?" if close else "")


def load_method(name: str) -> Method:
    """The gradient method of this ``dba_variant``; imports its file."""
    module = importlib.import_module(f".{GRADIENT_METHODS[name].module}", __package__)
    method: Method = module.METHOD
    return method


def load_holding_method(name: str) -> HoldingMethod:
    """The method of this ``dba_variant`` that holds weights; imports its file."""
    module = importlib.import_module(f".{HOLDING_METHODS[name].module}", __package__)
    method: HoldingMethod = module.METHOD
    return method


def metrics_of(name: str) -> tuple[str, ...]:
    """Names in the trainer's logs of any ``dba_variant``; imports its file."""
    load = load_holding_method if name in HOLDING_METHODS else load_method
    return tuple(load(name).metrics)
