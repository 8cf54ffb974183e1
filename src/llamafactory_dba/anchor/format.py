"""The anchor folder: what lies in it, and how it is written, read and checked.

    anchor_config.json               everything about it (`config`)
    anchor.safetensors               "<name>" dense, or "<name>.left" (m, r) = U·Σ and "<name>.right" (r, n) = Vᵀ
    anchor-00001-of-0000N.safetensors, anchor.safetensors.index.json     instead, above 5 GB
    README.md, *.png                 the model card (`card`)

Loading never unpickles. Writing is all or nothing (`store`).
"""

import math
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.lowrank import AnchorTensor, LowRank
from ..errors import AnchorError
from .config import (
    CONFIG,
    FORMAT_VERSION,
    REMAKE,
    AnchorConfig,
    GeneralData,
    Source,
    TensorInfo,
    Totals,
    is_anchor,
    read_config,
    weight_files,
)
from .fingerprint import BaseModel
from .store import describe, save_anchor


__all__ = [
    "FORMAT_VERSION",
    "Anchor",
    "AnchorConfig",
    "AnchorReader",
    "BaseModel",
    "GeneralData",
    "Source",
    "TensorInfo",
    "Totals",
    "describe",
    "is_anchor",
    "load_anchor",
    "open_anchor",
    "read_config",
    "save_anchor",
]


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
    expected = {key: shape for name, info in config.tensors.items() for key, shape in _stored_shapes(name, info)}
    keys = {key for name in wanted for key, _ in _stored_shapes(name, config.tensors[name])}
    loaded: dict[str, Tensor] = {}
    seen: set[str] = set()
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                for key in file.keys():
                    seen.add(key)
                    if key in keys:
                        loaded[key] = _checked(folder, key, file.get_tensor(key), expected[key], dtype)
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
    _check_keys(folder, expected.keys(), seen)
    return Anchor(config, {name: _assemble(name, config.tensors[name], loaded) for name in sorted(wanted)}, folder)


@dataclass(frozen=True)
class AnchorReader:
    """An anchor of which tensors are read one by one; see `open_anchor`.

    Attributes:
        config: its header.
        folder: where it is.
        files: key → the file it lies in.
    """

    config: AnchorConfig
    folder: Path
    files: dict[str, Path]

    def tensor(self, name: str) -> AnchorTensor:
        """One tensor, checked as `load_anchor` does; its memory is free again once the caller drops it."""
        info = self.config.tensors[name]
        loaded = {}
        for key, shape in _stored_shapes(name, info):
            # opened anew for each tensor: pages of a file that stays mapped would pile up
            try:
                with safe_open(self.files[key], framework="pt") as file:
                    loaded[key] = _checked(self.folder, key, file.get_tensor(key), shape, None)
            except (SafetensorError, OSError) as error:
                raise _damaged(self.files[key], error) from error
        return _assemble(name, info, loaded)


def open_anchor(folder: str | Path) -> AnchorReader:
    """Reads the header of an anchor and the headers of its files, no tensor.

    Raises:
        AnchorError: as `read_config`; and for truncated files and tensors that are missing or unexpected.
    """
    folder = Path(folder)
    config = read_config(folder)
    files: dict[str, Path] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                files.update(dict.fromkeys(file.keys(), path))
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
    expected = {key for name, info in config.tensors.items() for key, _ in _stored_shapes(name, info)}
    _check_keys(folder, expected, files.keys())
    return AnchorReader(config, folder, files)


def _damaged(path: Path, error: Exception) -> AnchorError:
    return AnchorError(f"{path} is damaged or cut off.", found=error, next_step=REMAKE)


def _check_keys(folder: Path, expected: Set[str], seen: Set[str]) -> None:
    if seen != expected:
        raise AnchorError(
            f"The tensors in {folder} are not those that {CONFIG} lists.",
            expected=f"{len(expected)} tensors; missing {sorted(expected - seen)[:3]}",
            found=f"{len(seen)} tensors; unexpected {sorted(seen - expected)[:3]}",
            next_step=REMAKE,
        )


def _stored_shapes(name: str, info: TensorInfo) -> list[tuple[str, tuple[int, ...]]]:
    """Keys and shapes under which a tensor is stored."""
    if not info.rank:
        return [(name, info.shape)]
    return [(f"{name}.left", (math.prod(info.shape[:-1]), info.rank)), (f"{name}.right", (info.rank, info.shape[-1]))]


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
