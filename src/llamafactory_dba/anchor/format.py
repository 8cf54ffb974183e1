"""The anchor folder: what lies in it, and how it is written, read and checked.

    anchor_config.json               everything about it; written last
    anchor.safetensors               "<name>" dense, or "<name>.left" (m, r) = U·Σ and "<name>.right" (r, n) = Vᵀ
    anchor-00001-of-0000N.safetensors, anchor.safetensors.index.json     instead, above 5 GB
    README.md, *.png                 the model card (`card`)

Loading never unpickles. Writing is all or nothing: a new folder is filled beside the old one and takes its place
only once everything is on the disk.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.lowrank import AnchorTensor, LowRank
from ..errors import AnchorError
from .fingerprint import BaseModel, Fingerprint


FORMAT_VERSION = 1
CONFIG, WEIGHTS, INDEX = "anchor_config.json", "anchor.safetensors", "anchor.safetensors.index.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class GeneralData:
    """The general data of the anchor run: names in dataset_info.json, what was used of them, a hash of their rows."""

    datasets: tuple[str, ...] = ()
    samples: int = 0
    tokens: int = 0
    hash: str = ""


@dataclass(frozen=True)
class TensorInfo:
    """Of one tensor: full shape, rank (0: dense), norm before truncation, energy kept, whether the factors are exact."""

    shape: tuple[int, ...]
    rank: int
    norm: float
    energy_kept: float
    exact: bool


@dataclass(frozen=True)
class Totals:
    """Over all tensors: norm before truncation, energy kept of it, numbers before and after."""

    norm: float
    energy_kept: float
    full_numbers: int
    stored_numbers: int


@dataclass(frozen=True)
class AnchorConfig:
    """Everything that anchor_config.json says.

    ``tensors`` and ``totals`` are filled in by `save_anchor`. ``half_cosine`` is the history of (step, cosine between
    the means of the odd and the even steps). ``dtype`` is that of the stored numbers.
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
    half_cosine: tuple[tuple[int, float], ...] = ()
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    totals: Totals | None = None
    versions: dict[str, str] = field(default_factory=dict)
    licence: str = ""
    created: str = ""
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Text of anchor_config.json."""
        return (
            json.dumps({**asdict(self), "fingerprint": self.fingerprint.to_dict()}, indent=2, allow_nan=False) + "\n"
        )


@dataclass(frozen=True)
class Anchor:
    """A loaded anchor."""

    config: AnchorConfig
    tensors: dict[str, AnchorTensor]
    folder: Path

    @property
    def id(self) -> str:
        """Short name for logs: base model, steps and rank."""
        return f"{self.config.base_model.id} s{self.config.steps} r{self.config.rank}"


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
    try:
        parts = {
            "base_model": _build(BaseModel, raw["base_model"]),
            "fingerprint": Fingerprint.from_dict(raw["fingerprint"]),
            "data": _build(GeneralData, {**raw["data"], "datasets": tuple(raw["data"].get("datasets", ()))}),
            "half_cosine": tuple((int(step), float(value)) for step, value in raw.get("half_cosine", ())),
            "tensors": {
                name: _build(TensorInfo, {**info, "shape": tuple(info["shape"])})
                for name, info in raw["tensors"].items()
            },
            "totals": _build(Totals, raw["totals"]),
        }
        config = _build(AnchorConfig, {**raw, **parts})
        if config.dtype not in DTYPES or not config.tensors:
            raise ValueError(f"dtype {config.dtype!r}, {len(config.tensors)} tensors")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"no key {error}" if isinstance(error, KeyError) else str(error)
        raise AnchorError(f"{CONFIG} in {folder} is incomplete or damaged.", found=found, next_step=REMAKE) from error
    _weight_files(folder)
    return config


REMAKE = "make the anchor again (`dba_stage: anchor`) or copy the whole folder again"


def _build(kind: type, raw: dict[str, Any]) -> Any:
    """A dataclass from JSON: unknown keys are of later minor versions and ignored, missing ones are named."""
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


def _weight_files(folder: Path) -> list[Path]:
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


def load_anchor(
    folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    names: Iterable[str] | None = None,
) -> Anchor:
    """Reads an anchor and checks every number of it.

    Args:
        folder: the anchor folder.
        device: where the tensors go.
        dtype: cast on the way; as stored by default.
        names: only these tensors (unknown names are ignored: ask ``config.tensors`` what there is).

    Raises:
        AnchorError: as `read_config`; and for truncated files, tensors that are missing, unexpected or of another
            shape than the config says, and NaN or Inf.
    """
    folder = Path(folder)
    config = read_config(folder)
    wanted = set(config.tensors) if names is None else set(names) & set(config.tensors)
    expected = {key: shape for name, info in config.tensors.items() for key, shape in stored_shapes(name, info)}
    keys = {key for name in wanted for key, _ in stored_shapes(name, config.tensors[name])}
    loaded: dict[str, Tensor] = {}
    seen: set[str] = set()
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                for key in file.keys():
                    seen.add(key)
                    if key in keys:
                        loaded[key] = _checked(folder, key, file.get_tensor(key), expected[key], dtype)
        except (SafetensorError, OSError) as error:
            raise AnchorError(f"{path} is damaged or cut off.", found=error, next_step=REMAKE) from error
    if seen != expected.keys():
        raise AnchorError(
            f"The tensors in {folder} are not those that {CONFIG} lists.",
            expected=f"{len(expected)} tensors; missing {sorted(expected.keys() - seen)[:3]}",
            found=f"{len(seen)} tensors; unexpected {sorted(seen - expected.keys())[:3]}",
            next_step=REMAKE,
        )
    return Anchor(config, {name: _assemble(name, config.tensors[name], loaded) for name in sorted(wanted)}, folder)


def stored_shapes(name: str, info: TensorInfo) -> list[tuple[str, tuple[int, ...]]]:
    """Keys and shapes under which a tensor is stored."""
    if not info.rank:
        return [(name, info.shape)]
    rows = 1
    for size in info.shape[:-1]:
        rows *= size
    return [(f"{name}.left", (rows, info.rank)), (f"{name}.right", (info.rank, info.shape[-1]))]


def _assemble(name: str, info: TensorInfo, loaded: dict[str, Tensor]) -> AnchorTensor:
    return LowRank(loaded[f"{name}.left"], loaded[f"{name}.right"]) if info.rank else loaded[name]


def _checked(folder: Path, key: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype | None) -> Tensor:
    if tuple(tensor.shape) != tuple(shape):
        raise AnchorError(
            f"{key} in {folder} has another shape than {CONFIG} says.",
            expected=tuple(shape),
            found=tuple(tensor.shape),
            next_step=REMAKE,
        )
    if not bool(torch.isfinite(tensor).all()):
        raise AnchorError(f"{key} in {folder} has NaN or Inf in it.", expected="finite numbers", next_step=REMAKE)
    return tensor.to(dtype or tensor.dtype)
