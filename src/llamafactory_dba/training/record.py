"""``run_record.json``: what one training was and what it cost, in its output folder. Needs neither torch nor the host.

    {"format": "llamafactory-dba/run-record", "format_version": 1,
     "method": "dba", "seed": 42, "base_model": "Qwen/Qwen3-8B", "base_fingerprint": "…",
     "settings": {"learning_rate": 1e-05, …}, "steps": 1000, "finished": true,
     "cost": {"wall_seconds": …, "tokens": …, …}, "segments": [{"first_step": 0, "last_step": 500, …}, …],
     "anchor": {"id": "…", …} or null, "machine": {…}, "versions": {…}, "data": {"finance": "sha256…"}, "created": "…"}

``cost`` has the keys of `evaluation.results.Cost`; null means not measured. It is the sum over ``segments``: stretches
between two checkpoints. A resumed run drops the segments after its checkpoint, so that steps which were made twice
count once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DBAError
from ..files import write_file


FILE = "run_record.json"
FORMAT = "llamafactory-dba/run-record"
FORMAT_VERSION = 1
AGAIN = "train again with `dba_record: true`, or delete the file"
COST_KEYS = (
    "wall_seconds",
    "program_seconds",
    "device_hours",
    "tokens",
    "peak_device_bytes",
    "peak_host_bytes",
    "trainable_parameters",
    "anchor_bytes_on_disk",
    "anchor_bytes_in_memory",
    "step_overhead",
    "energy_joules",
)
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Segment:
    """What one stretch of a run cost; over all processes where it says nothing else. None means not measured.

    Attributes:
        first_step: optimizer steps made before it.
        last_step: optimizer steps made at its end.
        seconds: wall-clock on rank 0; of the training loop with everything in it: steps, loading of batches, logging,
            evaluation and checkpoints on the way.
        step_seconds: the part of it from the first forward to the end of the update, on rank 0.
        hook_seconds: the part of ``step_seconds`` that the method's optimizer hooks took, on rank 0; None without any.
        devices: accelerators, or processes on a CPU.
        tokens: that went through a forward pass with gradients; prompt and answer, no padding.
        energy_joules: as the platform reports it (`cost.EnergyMeter`).
        peak_device_bytes: allocated by torch since the program's start, on the device with the most.
        peak_host_bytes: largest resident memory since the program's start, all processes together.
    """

    first_step: int
    last_step: int
    seconds: float
    step_seconds: float
    devices: int
    hook_seconds: float | None = None
    tokens: int | None = None
    energy_joules: float | None = None
    peak_device_bytes: int | None = None
    peak_host_bytes: int | None = None


@dataclass(frozen=True)
class RunRecord:
    """Everything that run_record.json says.

    Attributes:
        method: ``dba``, ``ggb_only``, ``dc_only``, ``dba_off``, ``full``, ``freeze``, ``lora``, ``galore``, … as the
            arguments say it (`cost.method_name`).
        cost: `COST_KEYS` → number or None.
        seed: of the training.
        base_model: as the run named it.
        base_fingerprint: of its files; "" where they hold no safetensors.
        settings: the arguments that shape the result.
        steps: optimizer steps made so far.
        finished: whether the training came to its end; False in a record written at a checkpoint.
        segments: ascending, without gap or overlap.
        anchor: id and data of the anchor; None without one.
        machine: processor, accelerator, memory; free keys.
        versions: of the tools.
        data: name of a data set → SHA-256 of its files, or for one of the hub ``revision …``.
        created: date and time of this file, ISO 8601.
    """

    method: str
    cost: dict[str, float | int | None]
    seed: int | None = None
    base_model: str = ""
    base_fingerprint: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    finished: bool = False
    segments: tuple[Segment, ...] = ()
    anchor: dict[str, Any] | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    created: str = ""


def kept_segments(segments: Iterable[Segment], first_step: int) -> tuple[Segment, ...]:
    """The segments that lead to a checkpoint; the steps of all later ones will be made again.

    Args:
        segments: ascending.
        first_step: the checkpoint's.
    """
    return tuple(segment for segment in segments if segment.last_step <= first_step)


def total_cost(segments: Sequence[Segment], **fixed: int | None) -> dict[str, float | int | None]:
    """Cost of a run from its segments.

    A sum is None if one of its parts was not measured, or if steps are missing (the run was resumed from a checkpoint
    whose record is lost): a sum of some of the steps would look like a cheap run.

    Args:
        segments: ascending, from step 0.
        **fixed: the costs that belong to no segment: trainable_parameters and the anchor's.
    """
    ends = [0, *(segment.last_step for segment in segments)]
    whole = bool(segments) and all(end == segment.first_step for end, segment in zip(ends, segments, strict=False))

    def total(name: str) -> Any:
        values = [getattr(segment, name) for segment in segments]
        return sum(values) if whole and None not in values else None

    def largest(name: str) -> Any:
        return max((value for s in segments if (value := getattr(s, name)) is not None), default=None)

    hook, steps = total("hook_seconds"), total("step_seconds")
    cost: dict[str, float | int | None] = dict.fromkeys(COST_KEYS)
    return cost | {
        "wall_seconds": total("seconds"),
        "device_hours": sum(s.seconds * s.devices for s in segments) / 3600 if whole else None,
        "tokens": total("tokens"),
        "peak_device_bytes": largest("peak_device_bytes"),
        "peak_host_bytes": largest("peak_host_bytes"),
        "step_overhead": hook / (steps - hook) if hook is not None and steps > hook else None,
        "energy_joules": total("energy_joules"),
        **fixed,
    }


def write_record(record: RunRecord, folder: str | Path) -> Path:
    """Write ``run_record.json`` into ``folder``, beside first and then in one step; returns its path."""
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(record)}
    write_file(path, json.dumps(raw, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def read_record(folder: str | Path) -> RunRecord | None:
    """The record of a run; None if there is none in the folder.

    Args:
        folder: a run's output folder, or the file itself.

    Raises:
        DBAError: it is unreadable, of another format or a newer version, or lacks keys.
    """
    path = Path(folder)
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DBAError(
            "The record of a run cannot be read.", expected="a JSON file", found=f"{path}: {error}", next_step=AGAIN
        ) from error
    if not isinstance(raw, Mapping) or raw.get("format") != FORMAT:
        raise DBAError("This is no record of a run.", expected=f'"format": "{FORMAT}"', found=path, next_step=AGAIN)
    version = raw.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        raise DBAError(
            "This record is of a format that this version does not know.",
            expected=f"format_version {FORMAT_VERSION}",
            found=f"{version!r} in {path}",
            next_step="update llamafactory-dba" if newer else AGAIN,
        )
    try:
        return _record(raw)
    except DBAError as error:
        raise DBAError(f"{path}: {error.what}", expected=error.expected, found=error.found, next_step=AGAIN) from None


def _record(raw: Mapping[str, Any]) -> RunRecord:
    record = _build(RunRecord, raw, "the record")
    for name, kind in (("cost", Mapping), ("settings", Mapping), ("machine", Mapping), ("versions", Mapping)):
        _is(getattr(record, name), kind, name)
    _is(record.data, Mapping, "data")
    _is(record.segments, list, "segments")
    cost: dict[str, float | int | None] = dict.fromkeys(COST_KEYS)
    for name, value in record.cost.items():
        if value is not None and not _amount(value):
            raise DBAError(f"cost.{name} is damaged.", expected="a number, 0 or more, or null", found=value)
        if name in cost:
            cost[name] = value
    segments = tuple(_build(Segment, item, f"segments[{place}]") for place, item in enumerate(record.segments))
    for place, segment in enumerate(segments):
        for item in fields(Segment):
            value = getattr(segment, item.name)
            if value is None and item.default is None:
                continue
            if not _amount(value):
                raise DBAError(f"segments[{place}].{item.name} is damaged.", expected="a number", found=value)
    return RunRecord(
        **{item.name: getattr(record, item.name) for item in fields(RunRecord)} | {"cost": cost, "segments": segments}
    )


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is(value: Any, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise DBAError(f"{name} is damaged.", expected=kind.__name__, found=type(value).__name__)


def _build(kind: type[Kind], raw: Any, where: str) -> Kind:
    """A dataclass from a mapping; keys that it does not know are left out, so that an addition breaks no reader."""
    if not isinstance(raw, Mapping):
        raise DBAError(f"{where} is damaged.", expected="an object", found=type(raw).__name__)
    known = fields(kind)  # type: ignore[arg-type]
    needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(needed - raw.keys()):
        raise DBAError(f"Keys are missing in {where}.", expected=", ".join(sorted(needed)), found=f"no {missing}")
    return kind(**{f.name: raw[f.name] for f in known if f.name in raw})
