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
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..core.lowrank import LowRank, Truncation
from ..errors import AnchorError, DBAError
from .config import CONFIG, DTYPES, INDEX, WEIGHTS, AnchorConfig, TensorInfo, Totals, is_anchor


SHARD_BYTES = 5 * 10**9


def save_anchor(
    folder: str | Path,
    truncations: Mapping[str, Truncation],
    config: AnchorConfig,
    *,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> AnchorConfig:
    """Writes the anchor so that ``folder`` holds, at any moment, the old anchor or the new one.

    Everything goes into a hidden folder beside ``folder`` first, is synced to the disk, and then takes its place.
    Files in ``folder`` that are not part of an anchor are kept.

    Args:
        folder: where the anchor goes; its parents are made.
        truncations: name → tensor. Cast to ``config.dtype``.
        config: `tensors` and `totals` are filled in here.
        overwrite: whether an anchor that is there already may be replaced.
        shard_bytes: upper bound on one file; above it there are several and an index.

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
    tensors, totals = describe(truncations)
    config = replace(config, tensors=tensors, totals=totals)
    stored = _stored(truncations, DTYPES[config.dtype])
    if folder.exists() and not folder.is_dir():
        raise AnchorError("The anchor cannot be written.", expected="a folder or nothing", found=f"a file: {folder}")
    fresh: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
        _write(fresh, stored, config, shard_bytes)
        _swap(fresh, folder)
    except (OSError, SafetensorError) as error:
        raise _write_error(folder, stored, error) from error
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
    return config


def describe(truncations: Mapping[str, Truncation]) -> tuple[dict[str, TensorInfo], Totals]:
    """`tensors` and `totals` of the config."""
    tensors = {
        name: TensorInfo(item.shape, item.rank, item.norm, item.energy_kept, item.exact)
        for name, item in sorted(truncations.items())
    }
    squares = sum(item.norm**2 for item in truncations.values())
    kept = sum(item.energy_kept * item.norm**2 for item in truncations.values())
    full = sum(math.prod(item.shape) for item in truncations.values())
    stored = sum(part.numel() for item in truncations.values() for part in _parts(item))
    return tensors, Totals(squares**0.5, kept / squares if squares else 1.0, full, stored)


def _parts(item: Truncation) -> tuple[Tensor, ...]:
    return (item.value.left, item.value.right) if isinstance(item.value, LowRank) else (item.value,)


def _stored(truncations: Mapping[str, Truncation], dtype: torch.dtype) -> dict[str, Tensor]:
    """Key → tensor as it will lie in the files."""
    if not truncations:
        raise AnchorError("There is no tensor to save in the anchor.", next_step="check which parameters are trained")
    stored: dict[str, Tensor] = {}
    for name, item in sorted(truncations.items()):
        keys = (f"{name}.left", f"{name}.right") if isinstance(item.value, LowRank) else (name,)
        for key, part in zip(keys, _parts(item), strict=True):
            if key in stored:
                raise DBAError("Two tensors of the anchor would be stored under one name.", found=key)
            cast = part.detach().to(device="cpu", dtype=dtype).contiguous()
            if not bool(torch.isfinite(cast).all()):
                raise AnchorError(
                    f"{name} has NaN or Inf in it; the anchor was not written.", expected="finite numbers"
                )
            stored[key] = cast
    return stored


def _write(folder: Path, stored: Mapping[str, Tensor], config: AnchorConfig, shard_bytes: int) -> None:
    shards = _shards(stored, shard_bytes)
    if len(shards) == 1:
        _write_tensors(folder / WEIGHTS, shards[0])
    else:
        weight_map = {}
        for number, shard in enumerate(shards, 1):
            name = f"anchor-{number:05d}-of-{len(shards):05d}.safetensors"
            _write_tensors(folder / name, shard)
            weight_map.update(dict.fromkeys(shard, name))
        size = sum(_bytes(tensor) for tensor in stored.values())
        _write_text(folder / INDEX, json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}, indent=2))
    _write_text(folder / CONFIG, config.to_json())
    os.chmod(folder, 0o777 & ~_umask())  # mkdtemp makes it private
    _sync(folder)


def _shards(stored: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """Greedy, in order; a tensor larger than the limit gets a file of its own."""
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for key, tensor in stored.items():
        if shards[-1] and filled + _bytes(tensor) > limit:
            shards.append({})
            filled = 0
        shards[-1][key] = tensor
        filled += _bytes(tensor)
    return shards


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap(fresh: Path, folder: Path) -> None:
    """Puts ``fresh`` in place of ``folder``; what else lay there moves over, the old anchor's own files go."""
    if not folder.exists():
        fresh.rename(folder)
        _sync(folder.parent)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent))
    folder.rename(old)  # over the empty folder that mkdtemp has just made
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    own = {CONFIG, INDEX, WEIGHTS, *(path.name for path in old.glob("anchor-*-of-*.safetensors"))}
    for entry in sorted(old.iterdir()):
        if entry.name not in own and not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _write_error(folder: Path, stored: Mapping[str, Tensor], error: Exception) -> AnchorError:
    size = sum(_bytes(tensor) for tensor in stored.values())
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
