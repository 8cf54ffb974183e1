"""What is wrong between the parts of a suite that are right each by itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING


if TYPE_CHECKING:  # `suite` uses this module
    from .suite import Suite

EVALUATORS = ("full", "light")
BUDGETS = ("epochs", "steps")
EVALUATION = ("data", "hub", "limit", "batch_size", "dtype", "device", "cache", "version")


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean x?``, or the known names where none is near."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(names[:30])}"


def ratio_of(mix: str) -> float:
    """General rows per domain row, of ``1:3``."""
    domain, _, general = str(mix).partition(":")
    value = float(general) / float(domain)
    if not 0 < value < float("inf"):
        raise ValueError(mix)
    return value


def problems_of(suite: Suite) -> list[str]:
    """One line per problem; empty when all is well."""
    problems = []

    def one_of(where: str, value: str, known: Iterable[str]) -> None:
        if value not in known:
            problems.append(f"`{where}`: {value!r} is unknown{nearest(value, known)}")

    if ":" not in suite.evaluate:  # MODULE:FUNCTION is the user's own
        one_of("evaluate", suite.evaluate, EVALUATORS)
    one_of("budget.equal", suite.budget.equal, BUDGETS)
    for key in suite.evaluation:
        one_of("evaluation", key, EVALUATION)
    if suite.reference:
        one_of("reference", suite.reference, suite.methods)
    if not suite.seeds or len(set(suite.seeds)) < len(suite.seeds):
        problems.append("`seeds` must name one or more, each once.")
    for name, method in suite.methods.items():
        where = f"methods.{name}"
        for need in method.needs:
            one_of(f"{where}.needs", need, ("anchor",))
        if method.mix:
            try:
                ratio_of(method.mix)
            except (ValueError, ZeroDivisionError):
                problems.append(f"`{where}.mix` must be such as '1:3' (in quotes), found {method.mix!r}.")
            if not suite.general:
                problems.append(f"`{where}.mix` needs `general`: the data set of general rows.")
        if bool(method.of) != bool(method.frontier):
            problems.append(f"`{where}`: `of` and `frontier` belong together.")
        if method.of:
            one_of(f"{where}.of", method.of, suite.methods)
            if method.keys or method.mix or method.needs:
                problems.append(f"`{where}` trains nothing, so it has neither `keys` nor `mix` nor `needs`.")
            if (other := suite.methods.get(method.of)) is not None and other.of:
                problems.append(f"`{where}.of` must name a method that trains, found {method.of!r}.")
            if any(not 0 < alpha < 1 for alpha in method.frontier):
                problems.append(f"`{where}.frontier`: alphas lie between 0 (the base) and 1 (`{method.of}` itself).")
    for name, sweep in suite.sweeps.items():
        for method_name in sweep.methods:
            one_of(f"sweeps.{name}.methods", method_name, suite.methods)
            if (other := suite.methods.get(method_name)) is not None and other.of:
                problems.append(f"`sweeps.{name}`: `{method_name}` trains nothing; sweep `frontier` there.")
        for domain in sweep.domains:
            one_of(f"sweeps.{name}.domains", domain, suite.domains)
        if not sweep.values or not sweep.methods:
            problems.append(f"`sweeps.{name}` needs values and methods.")
    return problems
