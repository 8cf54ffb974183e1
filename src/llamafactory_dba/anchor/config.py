"""anchor_config.json: what is known about an anchor, and the checks that need no tensor."""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from ..errors import AnchorError
from .curvature import CURVATURE, Curvature
from .fingerprint import BaseModel, Fingerprint


FORMAT_VERSION = 1
CONFIG, WEIGHTS, INDEX = "anchor_config.json", "anchor.safetensors", "anchor.safetensors.index.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
REMAKE = "make the anchor again (`dba_stage: anchor`) or copy the whole folder again"


@dataclass(frozen=True)
class GeneralData:
    """The general data of the anchor run: names in dataset_info.json, what was used of them, a hash of it.

    ``origins`` says of a data set that has a `data.origin` file where it comes from, such as a model that wrote it.
    """

    datasets: tuple[str, ...] = ()
    samples: int = 0
    tokens: int = 0
    hash: str = ""
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorInfo:
    """Of one tensor: full shape, rank (0: dense), norm before truncation, share of it kept, whether optimal.

    ``added_error`` is what merging or truncating finished anchors cut off, as a share of the norm before that step.
    ``rounding_error`` is what rounding to the anchor's dtype changed when it was written, as a share of the norm of
    what was to be written; with what rounding had changed in the anchors that it was made from.
    """

    shape: tuple[int, ...]
    rank: int
    norm: float
    energy_kept: float
    exact: bool
    added_error: float = 0.0
    rounding_error: float = 0.0


@dataclass(frozen=True)
class Totals:
    """Over all tensors: norm before truncation, energy kept of it, numbers before and after, the two errors."""

    norm: float
    energy_kept: float
    full_numbers: int
    stored_numbers: int
    added_error: float = 0.0
    rounding_error: float = 0.0


@dataclass(frozen=True)
class Source:
    """One anchor that went into a merged one: its name, its share (all add up to 1) and where it is from."""

    name: str
    weight: float
    data: GeneralData
    steps: int
    global_batch: int
    stage: str
    rank: int
    template: str = ""
    norm: float = 0.0
    energy_kept: float = 1.0
    created: str = ""


@dataclass(frozen=True)
class AnchorConfig:
    """Everything that anchor_config.json says.

    Attributes:
        base_model: the model whose gradients were averaged.
        fingerprint: of its files.
        data: the general data.
        steps: optimizer steps that were averaged, of ``global_batch`` samples each.
        stage: ``pt`` or ``sft``, how the data was read.
        rank: directions kept per matrix at most.
        dtype: of the stored numbers, ``float32``, ``bfloat16`` or ``int8`` (with scales, see `core.quantize`).
        seed: of data order and randomised SVD.
        tokenizer_hash: `fingerprint.hash_tokenizer`.
        template: the host's chat template.
        template_hash: of a conversation as that template and the tokenizer cut it into tokens (`guard.hash_template`).
        half_cosine: history of (step, cosine between the means of the odd and the even steps).
        tensors: filled in by `save_anchor`, as ``totals``.
        versions: of the tools.
        licence: of the anchor, as far as known (that of base model and data decide).
        created: date and time, ISO 8601.
        sources: of a merged anchor, the anchors it was made from; empty for one straight from its run.
        files: SHA-256 of each weight file; filled in by `save_anchor`.
        curvature: what lies in curvature.safetensors; None, and no such file, for most anchors.
        format_version: of the folder.
    """

    base_model: BaseModel
    fingerprint: Fingerprint
    data: GeneralData
    steps: int
    global_batch: int
    stage: str
    rank: int
    dtype: str = "float32"
    seed: int = 0
    tokenizer_hash: str = ""
    template: str = ""
    template_hash: str = ""
    half_cosine: tuple[tuple[int, float], ...] = ()
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    totals: Totals | None = None
    versions: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    created: str = ""
    sources: tuple[Source, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    curvature: Curvature | None = None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Text of anchor_config.json."""
        content = {**asdict(self), "fingerprint": self.fingerprint.to_dict()}
        if self.curvature is None:
            del content["curvature"]  # most anchors have none, and their headers stay what they were
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def is_anchor(folder: str | Path) -> bool:
    """Whether there is an anchor in ``folder``, sound or not."""
    return (Path(folder) / CONFIG).is_file()


def read_config(folder: str | Path) -> AnchorConfig:
    """Reads and checks anchor_config.json, and that the files it needs are there.

    Raises:
        AnchorError: missing or foreign folder, unreadable or newer format, missing keys or files.
    """
    folder = Path(folder)
    raw = _read_json(folder)
    version = raw.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise AnchorError("The anchor does not say which format it has.", expected="format_version 1", found=version)
    if version > FORMAT_VERSION:
        raise AnchorError(
            f"The anchor in {folder} has a newer format than this program knows.",
            expected=f"format {FORMAT_VERSION} or older",
            found=f"format {version}",
            next_step="upgrade llamafactory-dba",
        )
    config = _build(folder, raw)
    weight_files(folder)
    if config.curvature is not None and not (folder / CURVATURE).is_file():
        raise AnchorError(f"A file of the anchor in {folder} is missing.", expected=CURVATURE, next_step=REMAKE)
    return config


def _build(folder: Path, raw: dict[str, Any]) -> AnchorConfig:
    try:
        nested = {
            "base_model": _read(BaseModel, raw["base_model"], "base_model."),
            "fingerprint": Fingerprint.from_dict(raw["fingerprint"]),
            "data": _data(raw["data"], "data."),
            "half_cosine": tuple((int(step), float(value)) for step, value in raw.get("half_cosine", ())),
            "tensors": {
                name: _read(TensorInfo, {**info, "shape": tuple(info["shape"])}, f"tensors.{name}.")
                for name, info in raw["tensors"].items()
            },
            "totals": _read(Totals, raw["totals"], "totals."),
            "sources": tuple(
                _read(Source, {**item, "data": _data(item["data"], "sources.data.")}, "sources.")
                for item in raw.get("sources", ())
            ),
            "files": dict(raw.get("files", {})),
            "curvature": Curvature.from_dict(raw["curvature"]) if raw.get("curvature") else None,
        }
        config = _read(AnchorConfig, {**raw, **nested}, "")
        odd = [name for name, info in config.tensors.items() if info.rank and len(info.shape) < 2]
        if config.dtype not in DTYPES or not config.tensors or odd:
            raise ValueError(f"dtype {config.dtype!r}, {len(config.tensors)} tensors, factored vectors {odd}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"the key {error} is missing" if isinstance(error, KeyError) else repr(error)
        raise AnchorError(f"{CONFIG} in {folder} is incomplete or damaged.", found=found, next_step=REMAKE) from error
    return config


def _data(raw: dict[str, Any], where: str) -> GeneralData:
    origins = {str(name): str(line) for name, line in raw.get("origins", {}).items()}
    return _read(GeneralData, {**raw, "datasets": tuple(raw["datasets"]), "origins": origins}, where)


def _read(kind: type, raw: dict[str, Any], where: str) -> Any:
    """A dataclass from JSON: unknown keys come from later programs and are ignored, missing ones are named."""
    for item in fields(kind):
        if item.default is MISSING and item.default_factory is MISSING and item.name not in raw:
            raise KeyError(where + item.name)
    known = {item.name for item in fields(kind)}
    return kind(**{key: value for key, value in raw.items() if key in known})


def _read_json(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        left = sorted(folder.parent.glob(f".{folder.name}.old-*")) if folder.parent.is_dir() else []
        raise AnchorError(
            "The anchor is not there.",
            expected=f"an anchor folder at {folder}",
            found=f"the previous anchor at {left[-1]}" if left else ("a file" if folder.exists() else "nothing"),
            next_step="rename it back: a save was interrupted"
            if left
            else "check `dba_anchor_path`, or name `dba_anchor_dataset` to have the anchor made first",
        )
    path = folder / CONFIG
    if not path.is_file():
        inside = sorted(entry.name for entry in folder.iterdir())
        kind = "a model folder" if "config.json" in inside else "another kind of folder"
        raise AnchorError(
            f"{folder} is not an anchor.",
            expected=f"{CONFIG} in it",
            found=f"{kind}: {', '.join(inside[:6]) or 'it is empty'}{' …' if len(inside) > 6 else ''}",
            next_step="check `dba_anchor_path`",
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise ValueError("no JSON object")
        return raw
    except (OSError, ValueError) as error:
        raise AnchorError(f"{path} cannot be read.", found=error, next_step=REMAKE) from error


def weight_bytes(folder: str | Path) -> int:
    """Bytes of the safetensors files of an anchor, without its curvature."""
    return sum(path.stat().st_size for path in weight_files(Path(folder)))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of an anchor, checked to be there."""
    files = [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            weight_map = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
            # only the last part of a name: an index must not lead out of its folder
            files = [folder / Path(name).name for name in sorted(set(weight_map.values()))]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise AnchorError(f"{INDEX} in {folder} is damaged.", found=repr(error), next_step=REMAKE) from error
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise AnchorError(f"Files of the anchor in {folder} are missing.", expected=missing, next_step=REMAKE)
    return files
