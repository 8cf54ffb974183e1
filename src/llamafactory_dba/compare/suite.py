"""A suite: the YAML file that says what is compared, read and checked. docs/compare.md is its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..errors import DBAError
from .suite_checks import nearest as nearest
from .suite_checks import problems_of
from .suite_checks import ratio_of as ratio_of


Kind = TypeVar("Kind")
NAME = "letters, digits, dot, dash and underscore"
SAMPLES = "general_samples"  # of a sweep: rows of general data, which has all of them otherwise


@dataclass(frozen=True)
class Base:
    """A model to start from.

    Attributes:
        model: folder or hub id.
        template: LLaMA-Factory's name.
        keys: LLaMA-Factory's, for every run on it.
        anchor: keys of its anchor run, over those of ``common`` and ``keys``.
    """

    model: str
    template: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)
    anchor: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Domain:
    """What is learned: training data, the suites that measure it, keys of its own (such as the epochs).

    ``rows`` is needed only where a count is (mixing, equal steps) and the data set is not on this machine.
    """

    dataset: str
    evaluate: tuple[str, ...]
    keys: Mapping[str, Any] = field(default_factory=dict)
    rows: int | None = None


@dataclass(frozen=True)
class Method:
    """A way to fine-tune: LLaMA-Factory keys, and what has to be there before.

    Attributes:
        title: for tables.
        paper: where it is from.
        keys: LLaMA-Factory's.
        needs: ``anchor``: one is made for each base, and ``dba_anchor_path`` set.
        anchor: further keys of the anchor run that this method needs.
        mix: ``1:3``: so many general rows per domain row.
        requires: Python packages; where one is missing the method is left out, and that is said.
        of: another method, whose weights are interpolated with the base's at ``frontier``; nothing is trained.
        frontier: alphas between 0 (base) and 1 (tuned).
    """

    title: str = ""
    paper: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    anchor: Mapping[str, Any] = field(default_factory=dict)
    mix: str = ""
    requires: tuple[str, ...] = ()
    of: str = ""
    frontier: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """A key over values, for some methods: one more run per value, domain, base and seed.

    ``key`` is LLaMA-Factory's, or ``general_samples`` (rows of general data: in an anchor or a mixture), or
    ``anchor.KEY`` for a key of the anchor run.
    """

    key: str
    values: tuple[Any, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    domains: tuple[str, ...] = ()


@dataclass(frozen=True)
class Budget:
    """What is equal between methods: ``epochs`` over their data, or the optimizer ``steps`` of direct fine-tuning."""

    equal: str = "epochs"
    max_steps: int | None = None


@dataclass(frozen=True)
class Estimate:
    """What a user measured before, for the time estimate of a first run."""

    seconds_per_step: float | None = None
    seconds_per_run: float = 0.0


@dataclass(frozen=True)
class Suite:
    """Everything that a suite file says; see docs/compare.md."""

    name: str
    version: str
    bases: Mapping[str, Base]
    domains: Mapping[str, Domain]
    methods: Mapping[str, Method]
    seeds: tuple[int, ...]
    title: str = ""
    common: Mapping[str, Any] = field(default_factory=dict)
    general: str = ""
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    evaluate: str = "full"
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""
    share_process: bool = False
    keep_models: bool = False
    gpus_per_run: int = 1
    timeout: float | None = None
    estimate: Estimate = field(default_factory=Estimate)


def read_suite(path: Path) -> Suite:
    """Read and check a suite file.

    Raises:
        DBAError: it is missing, no YAML, or anything in it is wrong; all problems together.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DBAError("The suite cannot be read.", expected="a YAML file", found=f"{path}: {error}") from error
    return parse_suite(raw, str(path))


def parse_suite(raw: Any, where: str = "suite") -> Suite:
    """`Suite` from decoded YAML; errors as of `read_suite`."""
    problems: list[str] = []
    if not isinstance(raw, Mapping):
        raise DBAError("This is no suite.", expected="keys such as bases, domains, methods, seeds", found=where)
    raw = dict(raw)
    groups: dict[str, dict[str, Any]] = {}
    for name, kind in (("bases", Base), ("domains", Domain), ("methods", Method), ("sweeps", Sweep)):
        groups[name] = _group(raw.pop(name, {}), kind, name, problems, needed=name != "sweeps")
    budget = _build(Budget, raw.pop("budget", {}), "budget", problems) or Budget()
    guess = _build(Estimate, raw.pop("estimate", {}), "estimate", problems) or Estimate()
    suite = _build(Suite, {**raw, **groups, "budget": budget, "estimate": guess}, "suite", problems)
    if suite is not None and not problems:
        problems += problems_of(suite)
    if suite is None or problems:
        raise DBAError(f"{where} cannot be used:\n" + "\n".join(f"  - {text}" for text in problems))
    return suite


def _group(raw: Any, kind: type[Kind], where: str, problems: list[str], *, needed: bool) -> dict[str, Kind]:
    if not isinstance(raw, Mapping) or (needed and not raw):
        problems.append(f"`{where}` must name one or more, found {type(raw).__name__}.")
        return {}
    found = {}
    for name, item in raw.items():
        if not _is_name(name):
            problems.append(f"`{where}.{name}`: a name has {NAME} (in quotes, if it is a number).")
        built = _build(kind, item or {}, f"{where}.{name}", problems)
        if built is not None:
            found[str(name)] = built
    return found


def _build(kind: type[Kind], raw: Any, where: str, problems: list[str]) -> Kind | None:
    if not isinstance(raw, Mapping):
        problems.append(f"`{where}` must be keys with values, found {type(raw).__name__}.")
        return None
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for name in raw:
        if name not in known:
            problems.append(f"`{where}` has an unknown key `{name}`{nearest(name, known)}")
    needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if name not in raw]
    if missing:
        problems.append(f"`{where}` lacks {', '.join(f'`{name}`' for name in missing)}.")
        return None
    values: dict[str, Any] = {}
    for name, item in known.items():
        if name not in raw:
            continue
        ok, values[name] = _value(str(item.type), raw[name])
        if not ok:
            place = name if where == "suite" else f"{where}.{name}"
            problems.append(f"`{place}` must be {_WORDS.get(str(item.type), item.type)}, found {raw[name]!r}.")
    return None if any(name not in values for name in needed) else kind(**values)


_WORDS = {
    "str": "text",
    "bool": "true or false",
    "tuple[str, ...]": "a list of names",
    "tuple[int, ...]": "a list of whole numbers",
    "tuple[float, ...]": "a list of numbers",
    "tuple[Any, ...]": "a list of values",
    "Mapping[str, Any]": "keys with values",
    "float | None": "a number above 0",
    "int | None": "a whole number above 0",
    "float": "a number",
    "int": "a whole number above 0",
}


def _value(kind: str, value: Any) -> tuple[bool, Any]:
    """Whether a value is of the type that is written at its field, and the value as it is kept."""

    def number(item: Any) -> bool:
        return isinstance(item, int | float) and not isinstance(item, bool) and item == item

    def whole(item: Any) -> bool:
        return isinstance(item, int) and not isinstance(item, bool)

    tests: dict[str, Callable[[Any], bool]] = {
        "str": lambda item: isinstance(item, str) or number(item),
        "bool": lambda item: isinstance(item, bool),
        "float": lambda item: number(item) and item >= 0,
        "float | None": lambda item: item is None or (number(item) and item > 0),
        "int": lambda item: whole(item) and item > 0,
        "int | None": lambda item: item is None or (whole(item) and item > 0),
        "Mapping[str, Any]": lambda item: isinstance(item, Mapping) and all(isinstance(key, str) for key in item),
    }
    if kind == "str" and number(value):
        return True, str(value)
    if kind.startswith("tuple["):
        of = kind[len("tuple[") : -len(", ...]")]
        items = value if isinstance(value, list | tuple) else [value]
        checks = {"str": lambda i: isinstance(i, str), "int": whole, "float": number, "Any": lambda i: True}
        return all(checks[of](item) for item in items), tuple(items)
    return tests.get(kind, lambda item: True)(value), value


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name != "" and all(c.isalnum() or c in "._-" for c in name) and name[0] != "."
