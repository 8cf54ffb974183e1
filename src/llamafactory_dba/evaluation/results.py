"""``results.json``: what one run scored and what it cost, one file per run folder (schema/results.v1.json)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DBAError
from ..files import write_file
from .result_checks import LOSS as LOSS
from .result_checks import ROLES as ROLES
from .result_checks import check_cost, check_task


FILE = "results.json"
FORMAT = "llamafactory-dba/results"
FORMAT_VERSION = 1
EVALUATE = "evaluate the model again"
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Interval:
    """Confidence interval in % (of a difference: in percentage points); ``method`` says how it was computed.

    That of a task with the role "loss" is in the unit of its metric.
    """

    low: float
    high: float
    method: str
    level: float = 0.95


@dataclass(frozen=True)
class TaskResult:
    """Score of one task.

    Attributes:
        suite: the suite that the task belongs to.
        task: its name.
        task_version: scores of different versions are never compared.
        role: ``domain`` (counts for S_D), ``general`` (counts for S_G) or ``loss`` (lower is better; counts for none).
        metric: such as ``accuracy``, ``weighted_f1`` or ``perplexity``.
        value: in %; of a loss in the metric's own unit, such as nats per token.
        n: samples, all of them, unparsed ones included; at least 1.
        unparsed: answers that could be no answer at all, counted as wrong.
        interval: of the value; None where it was not computed.
        per_sample: of every sample, in the task's order, 0 or 1 or a share of 1 (of a loss: 0 or more, in any unit);
            None where it was not kept.
        truncated: answers that the limit of new tokens cut off; scored as they are.
        skipped: samples of the task that were not asked and are not among the n, such as a broken row.
        groups: name, such as a subject of MMLU → [value, n]; None where the task has none.
    """

    suite: str
    task: str
    task_version: str
    role: str
    metric: str
    value: float
    n: int
    unparsed: int = 0
    interval: Interval | None = None
    per_sample: tuple[float, ...] | None = None
    truncated: int = 0
    skipped: int = 0
    groups: dict[str, list[float]] | None = None


@dataclass(frozen=True)
class Run:
    """What was run. ``method`` is ``base`` for the base model itself; unknown strings are empty."""

    name: str
    method: str
    domain: str = ""
    base_model: str = ""
    base_fingerprint: str = ""
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """What the run cost; None means not measured, never 0.

    Attributes:
        wall_seconds: of the training loop, with loading of batches, logging, evaluation and checkpoints on the way.
        program_seconds: of the whole program from start to exit, seen from outside: imports, loading of the model,
            tokenising, training, saving.
        device_hours: ``wall_seconds`` in hours times devices: accelerators, or processes on a CPU.
        tokens: trained on, repeats counted; prompt and answer, no padding.
        peak_device_bytes: of one accelerator.
        peak_host_bytes: resident memory of the run's processes together.
        trainable_parameters: how many numbers were trained.
        anchor_bytes_on_disk: of the anchor's tensors.
        anchor_bytes_in_memory: of the anchor while training.
        step_overhead: mean extra time per optimizer step as a share of a step without DBA (0.02 is 2 %).
        energy_joules: as the platform reports it: of the accelerators used, of a whole processor package.
    """

    wall_seconds: float | None = None
    program_seconds: float | None = None
    device_hours: float | None = None
    tokens: int | None = None
    peak_device_bytes: int | None = None
    peak_host_bytes: int | None = None
    trainable_parameters: int | None = None
    anchor_bytes_on_disk: int | None = None
    anchor_bytes_in_memory: int | None = None
    step_overhead: float | None = None
    energy_joules: float | None = None


@dataclass(frozen=True)
class Results:
    """Everything that results.json says.

    Attributes:
        run: what was run.
        tasks: the scores.
        base: where the base model's results are: a path, relative to this file's folder, or a run's name; None where
            the base model was not measured.
        cost: of the run.
        machine: processor, accelerator, cores; free keys.
        versions: of the tools.
        data: name of a data set → its hash.
        created: date and time, ISO 8601.
    """

    run: Run
    tasks: tuple[TaskResult, ...]
    base: str | None = None
    cost: Cost = field(default_factory=Cost)
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    created: str = ""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise DBAError("There is no score in these results.", expected="one task or more", found="none")
        for task in self.tasks:
            check_task(task)
        check_cost(self.cost)
        keys = [(task.task, task.metric) for task in self.tasks]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise DBAError("A task is there twice.", expected="one score per task and metric", found=twice)

    def to_json(self) -> str:
        """Text of results.json; a list of numbers stands on one line."""
        raw = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        text = json.dumps(raw, indent=2, ensure_ascii=False, allow_nan=False)
        # a line break of the file itself follows the bracket, so nothing within a string is met
        return re.sub(r"\[\n\s+([-+.,\deE\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text) + "\n"


def write_results(results: Results, folder: str | Path) -> Path:
    """Write ``results.json`` into ``folder``, beside first and then in one step; returns its path."""
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, results.to_json())
    return path


def is_results(raw: object) -> bool:
    """Whether decoded JSON says that it is of this format, whatever its version."""
    return isinstance(raw, Mapping) and raw.get("format") == FORMAT


def read_results(path: str | Path) -> Results:
    """Read and check a results file.

    Args:
        path: the file, or the folder it is in.

    Raises:
        DBAError: it is missing or unreadable, of another format or a newer version, or lacks keys.
    """
    path = Path(path)
    path = path / FILE if path.is_dir() else path
    return parse_results(read_raw(path), path)


def read_raw(path: Path) -> Any:
    """The decoded JSON of a file, of whatever format."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DBAError(
            "The results cannot be read.", expected="a JSON file", found=f"{path}: {error}", next_step=EVALUATE
        ) from error


def parse_results(raw: Any, path: str | Path) -> Results:
    """`Results` from decoded JSON; ``path`` is for the errors, which are those of `read_results`."""
    if not is_results(raw):
        raise DBAError("This is no results file.", expected=f'"format": "{FORMAT}"', found=path)
    version = raw.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise DBAError(
            "These results are of a format that this version does not know.",
            expected=f"format_version {FORMAT_VERSION}",
            found=f"{version!r} in {path}",
            next_step="update llamafactory-dba" if newer else EVALUATE,
        )
    try:
        tasks = tuple(_task(item, f"tasks[{place}]") for place, item in enumerate(_value(raw, "tasks", list)))
        base = raw.get("base")
        return Results(
            run=_build(Run, raw.get("run"), "run"),
            tasks=tasks,
            base=None if base is None else str(base),
            cost=_build(Cost, raw.get("cost"), "cost"),
            **{name: dict(_value(raw, name, Mapping)) for name in ("machine", "versions", "data")},
            created=str(raw.get("created", "")),
        )
    except DBAError as error:
        raise DBAError(
            f"{path}: {error.what}", expected=error.expected, found=error.found, next_step=error.next_step or EVALUATE
        ) from None


def _task(raw: Any, where: str) -> TaskResult:
    task = _build(TaskResult, raw, where)
    parts: dict[str, Any] = {}
    if task.interval is not None:
        parts["interval"] = _build(Interval, task.interval, f"{where}.interval")
    if task.per_sample is not None:
        values = _value(raw, "per_sample", list)
        if not set(map(type, values)) <= {int, float}:
            raise DBAError(f"{where}.per_sample is damaged.", expected="numbers", found="something else")
        parts["per_sample"] = tuple(values)
    if task.groups is not None:
        parts["groups"] = dict(_value(raw, "groups", Mapping))
    return TaskResult(**{name.name: getattr(task, name.name) for name in fields(task)} | parts)


def _build(kind: type[Kind], raw: Any, where: str) -> Kind:
    """A dataclass from a mapping; keys that it does not know are left out, so that an addition breaks no reader."""
    if not isinstance(raw, Mapping):
        raise DBAError(f"{where} is missing or damaged.", expected="an object", found=type(raw).__name__)
    known = fields(kind)  # type: ignore[arg-type]
    needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(needed - raw.keys()):
        raise DBAError(f"Keys are missing in {where}.", expected=", ".join(sorted(needed)), found=f"no {missing}")
    return kind(**{f.name: raw[f.name] for f in known if f.name in raw})


def _value(raw: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(raw.get(name), kind):
        raise DBAError(f"{name} is missing or damaged.", expected=kind.__name__, found=type(raw.get(name)).__name__)
    return raw[name]
