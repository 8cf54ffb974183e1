"""Writes an anchor folder: all or nothing, and never over anything that is not an anchor.

A new folder is filled beside the old one and takes its place only once everything is on the disk.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..core.lowrank import LowRank, Truncation
from ..errors import AnchorError, DBAError
from ..files import hash_file, umask
from .config import CONFIG, DTYPES, INDEX, WEIGHTS, AnchorConfig, TensorInfo, Totals, is_anchor
from .curvature import CURVATURE, CurvatureParts
from .parts import decode, encode, finite, rounding_error


SHARD_BYTES = 5 * 10**9
NOTHING = "There is no tensor to save in the anchor."


def save_anchor(
    folder: str | Path,
    truncations: Mapping[str, Truncation] | Iterable[tuple[str, Truncation]],
    config: AnchorConfig,
    *,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    curvature: CurvatureParts | Path | None = None,
) -> AnchorConfig:
    """Writes the anchor so that ``folder`` holds, at any moment, the old anchor or the new one.

    Everything goes into a hidden folder beside ``folder`` first, is synced to the disk, and then takes its place.
    Files in ``folder`` that are not part of an anchor are kept.

    Args:
        folder: where the anchor goes; its parents are made.
        truncations: name → tensor, or pairs of both that are made while they are written: then no more than one file
            of tensors is in memory at a time. Cast to ``config.dtype``.
        config: `tensors`, `totals` and `files` are filled in here.
        overwrite: whether an anchor that is there already may be replaced.
        shard_bytes: upper bound on one file; above it there are several and an index.
        curvature: to be written beside the tensors; a file is copied, and ``config.curvature`` has to describe it.

    Returns:
        The config as written.

    Raises:
        AnchorError: an anchor is there already, nothing to save, NaN or Inf, or the disk cannot hold it. What was
            there before is still there then.
    """
    folder = Path(os.path.abspath(folder))
    if is_anchor(folder) and not overwrite:
        raise AnchorError(
            f"{folder} holds an anchor already.",
            expected="a folder without one",
            found=CONFIG,
            next_step="choose another folder, or overwrite it on purpose (`overwrite_output_dir: true`)",
        )
    if folder.exists() and not folder.is_dir():
        raise AnchorError("The anchor cannot be written.", expected="a folder or nothing", found=f"a file: {folder}")
    pairs, size = _ordered(truncations, DTYPES[config.dtype])
    fresh: Path | None = None
    shards: _Shards | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
        shards = _Shards(fresh, shard_bytes)
        infos: dict[str, TensorInfo] = {}
        for name, item in pairs:
            parts, infos[name] = _rounded(name, item, config.dtype)
            for key, part in parts.items():
                shards.add(key, part)
            parts.clear()  # written tensors must not wait for the next one to be made
        infos = dict(sorted(infos.items()))
        config = replace(config, tensors=infos, totals=_totals(infos), files=shards.close())
        config = _with_curvature(fresh, config, curvature)
        _write_text(fresh / CONFIG, config.to_json())
        put_in_place(fresh, folder)
    except (OSError, SafetensorError) as error:
        raise _write_error(folder, max(size, shards.size if shards else 0), error) from error
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
    return config


def _with_curvature(fresh: Path, config: AnchorConfig, curvature: CurvatureParts | Path | None) -> AnchorConfig:
    """Writes it into the new folder; the config then has it, or has none."""
    if curvature is None:
        return replace(config, curvature=None)
    path = fresh / CURVATURE
    if isinstance(curvature, Path):
        shutil.copyfile(curvature, path)
        _sync(path)
        return config
    bad = [key for key, tensor in curvature.tensors.items() if not finite(tensor)]
    if bad:
        raise AnchorError(f"{bad[0]} has NaN or Inf in it; the anchor was not written.", expected="finite numbers")
    _write_tensors(path, curvature.tensors)
    return replace(config, curvature=replace(curvature.header, hash=hash_file(path)))


def _ordered(
    truncations: Mapping[str, Truncation] | Iterable[tuple[str, Truncation]], dtype: torch.dtype
) -> tuple[Iterable[tuple[str, Truncation]], int]:
    """Pairs to be written, and their bytes as far as known beforehand."""
    if not isinstance(truncations, Mapping):
        return truncations, 0
    if not truncations:
        raise AnchorError(NOTHING, next_step="check which parameters are trained")
    return sorted(truncations.items()), describe(truncations)[1].stored_numbers * dtype.itemsize


def describe(truncations: Mapping[str, Truncation]) -> tuple[dict[str, TensorInfo], Totals]:
    """`tensors` and `totals` of the config."""
    infos = {name: _info(item) for name, item in sorted(truncations.items())}
    return infos, _totals(infos)


def _info(item: Truncation) -> TensorInfo:
    return TensorInfo(
        item.shape, item.rank, item.norm, item.energy_kept, item.exact, item.added_error, item.rounding_error
    )


def _totals(infos: Mapping[str, TensorInfo]) -> Totals:
    squares = sum(info.norm**2 for info in infos.values())
    kept = sum(info.energy_kept * info.norm**2 for info in infos.values())
    # of what was there before the last merge or truncation, a share of added_error² was cut off
    cut = sum(
        info.energy_kept * info.norm**2 * info.added_error**2 / (1 - info.added_error**2)
        for info in infos.values()
        if info.added_error < 1
    )
    full = sum(math.prod(info.shape) for info in infos.values())
    stored = sum(
        info.rank * (math.prod(info.shape[:-1]) + info.shape[-1]) if info.rank else math.prod(info.shape)
        for info in infos.values()
    )
    error = math.sqrt(cut / (kept + cut)) if kept + cut else 0.0
    rounded = math.sqrt(sum(info.energy_kept * (info.norm * info.rounding_error) ** 2 for info in infos.values()))
    rounding = rounded / math.sqrt(kept) if kept else 0.0
    return Totals(squares**0.5, kept / squares if squares else 1.0, full, stored, error, rounding)


def _rounded(name: str, item: Truncation, dtype: str) -> tuple[dict[str, Tensor], TensorInfo]:
    """Keys and tensors as they will lie in the files, and the header's entry with what rounding them has cost."""
    parts = item.value if isinstance(item.value, LowRank) else (item.value,)
    kind = torch.float32 if DTYPES[dtype] == torch.int8 else DTYPES[dtype]
    # infinite in the dtype that it is stored in is refused, too
    if not all(finite(part.to(kind)) for part in parts):
        raise AnchorError(f"{name} has NaN or Inf in it; the anchor was not written.", expected="finite numbers")
    info, stored = _info(item), encode(name, item.value, dtype)
    if all(part.dtype == kind for part in parts) and DTYPES[dtype] == kind:
        return stored, info
    read = decode(name, info, dtype, stored, torch.float32)
    # errors of independent roundings
    return stored, replace(info, rounding_error=math.hypot(item.rounding_error, rounding_error(item.value, read)))


class _Shards:
    """Takes tensors one by one and writes a file whenever it is full; one larger than a file gets one of its own."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.size = 0
        self._folder, self._limit = folder, limit
        self._open: dict[str, Tensor] = {}
        self._written: list[tuple[Path, list[str]]] = []
        self._keys: set[str] = set()

    def add(self, key: str, tensor: Tensor) -> None:
        if key in self._keys:
            raise DBAError("Two tensors of the anchor would be stored under one name.", found=key)
        if self._open and sum(map(_bytes, self._open.values())) + _bytes(tensor) > self._limit:
            self._flush()
        self._keys.add(key)
        self._open[key] = tensor
        self.size += _bytes(tensor)

    def close(self) -> dict[str, str]:
        """Gives the files their names; file → SHA-256."""
        if self._open:
            self._flush()
        count = len(self._written)
        if not count:
            raise AnchorError(NOTHING, next_step="check which parameters are trained")
        files, weight_map = {}, {}
        for number, (path, keys) in enumerate(self._written, 1):
            name = WEIGHTS if count == 1 else f"anchor-{number:05d}-of-{count:05d}.safetensors"
            path.rename(self._folder / name)
            files[name] = hash_file(self._folder / name)
            weight_map.update(dict.fromkeys(keys, name))
        if count > 1:
            index = {"metadata": {"total_size": self.size}, "weight_map": weight_map}
            _write_text(self._folder / INDEX, json.dumps(index, indent=2))
        return files

    def _flush(self) -> None:
        path = self._folder / f"part-{len(self._written)}"
        _write_tensors(path, self._open)
        self._written.append((path, list(self._open)))
        self._open = {}


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, str(path), metadata={"format": "pt"})
    _sync(path)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(fresh: Path, folder: Path) -> None:
    """Puts ``fresh`` in place of ``folder``; what else lay there moves over, the old anchor's own files go.

    Args:
        fresh: a complete anchor in a folder that `tempfile.mkdtemp` made beside ``folder``.
        folder: holds an anchor, holds none, or is not there.
    """
    os.chmod(fresh, 0o777 & ~umask())  # mkdtemp makes it private
    _sync(fresh)
    if not folder.exists():
        fresh.rename(folder)
        _sync(folder.parent)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent))
    folder.rename(old)  # over the empty folder that mkdtemp has just made
    try:
        fresh.rename(folder)
    except BaseException:  # Ctrl-C, too
        if not folder.exists():
            old.rename(folder)
        raise
    own = {CONFIG, INDEX, WEIGHTS, CURVATURE, *(path.name for path in old.glob("anchor-*-of-*.safetensors"))}
    for entry in sorted(old.iterdir()):
        if entry.name not in own and not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _write_error(folder: Path, size: int, error: Exception) -> AnchorError:
    free = "unknown"
    with contextlib.suppress(OSError):
        free = f"{shutil.disk_usage(folder.parent).free / 1e6:.1f} MB free"
    # safetensors hands the number on in its text only
    number = getattr(error, "errno", None) or int((re.findall(r"os error (\d+)", str(error)) or [0])[-1])
    full = number in (errno.ENOSPC, errno.EDQUOT)
    survived = "the anchor that was there is unchanged" if is_anchor(folder) else "nothing was left behind"
    return AnchorError(
        f"{'The disk is full' if full else 'The anchor could not be written'}: {error}",
        expected=f"{size / 1e6:.1f} MB at {folder.parent}",
        found=f"{free}; {survived}",
        next_step="make room or choose another `dba_anchor_path`, then resume the anchor run: it saves again",
    )
