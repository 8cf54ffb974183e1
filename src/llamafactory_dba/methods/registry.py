"""The values of ``dba_variant``. Imports no torch: the arguments are checked while the host is being imported."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
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
# `elastic` edits weights by the anchor's curvature, with a callback of its own.
VARIANTS = (*GRADIENT_METHODS, "elastic")


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
