"""Where the fp32 mean of an anchor run is kept: on the device, on the host, or in a file."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil
import torch
from llamafactory.extras import logging

from ..core.sums import ITEM, DiskSums, MemorySums, Shapes, Sums
from ..errors import DBAError


logger = logging.get_logger("llamafactory.dba")

# Activations and one layer's gradients come on top, and how large they get is not known before the first step.
DEVICE_SHARE = 0.5
HOST_SHARE = 0.6
SUMS_FILE = "sums.rank{}.bin"
SQUARES_FILE = "squares.rank{}.bin"


class Free(NamedTuple):
    """Free memory in bytes, for one process: of the device (None for a CPU), of the host, of the disk."""

    device: int | None
    host: int
    disk: int


class Placement(NamedTuple):
    """Where, and why there."""

    where: Literal["device", "host", "disk"]
    reason: str


def choose(asked: str, needed: int, free: Free) -> Placement:
    """Pick a place for the mean.

    Args:
        asked: ``auto``, ``device``, ``host`` or ``disk``.
        needed: bytes, 4 per trainable parameter.
        free: what there is, with the model loaded.

    Raises:
        DBAError: it fits nowhere, or not where it was asked to go.
    """
    have = {"device": free.device if free.device is not None else free.host, "host": free.host, "disk": free.disk}
    if asked == "auto":
        if free.device is not None and needed <= DEVICE_SHARE * free.device:
            return Placement("device", f"{_gb(free.device)} are free there")
        if needed <= HOST_SHARE * free.host:
            why = "" if free.device is None else f"; the device has only {_gb(free.device)} free"
            return Placement("host", f"{_gb(free.host)} are free there{why}")
        asked, why = "disk", f"; memory has only {_gb(free.host)} free"
    else:
        why = "; as asked for"
    if needed > have[asked]:
        raise DBAError(
            "There is no room for the mean gradient.",
            expected=f"{_gb(needed)} (4 bytes per trainable parameter) on {_place(asked)}",
            found=", ".join(f"{_gb(size)} free on {_place(name)}" for name, size in have.items()),
            next_step="free memory or disk space, put the anchor on a larger disk (`dba_anchor_path`), or choose "
            "another `dba_anchor_placement`",
        )
    return Placement(asked, f"{_gb(have[asked])} are free there{why}")  # type: ignore[arg-type]


def place_sums(
    shapes: Shapes,
    device: torch.device,
    asked: str,
    training_args: Any,
    *,
    what: str = "mean",
    name: str = SUMS_FILE,
) -> Sums:
    """Make the sums of an anchor run where they fit, and say where that is.

    Args:
        shapes: of the trainable parameters, by name.
        device: of the parameters.
        asked: `dba_anchor_placement`.
        training_args: the host's; a file goes to `output_dir`.
        what: is summed, for the log.
        name: of the file, with a place for the process's number.
    """
    folder = Path(training_args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    needed = ITEM * sum(math.prod(shape) for shape in shapes.values())
    placement = choose(asked, needed, _free(device, folder))
    logger.info_rank0(
        f"DBA: the {what} ({_gb(needed)} in fp32) is kept on {_place(placement.where)}: {placement.reason}."
    )
    if placement.where == "disk":
        return DiskSums(shapes, folder / name.format(training_args.process_index))
    return MemorySums(shapes, device if placement.where == "device" else "cpu")


def _free(device: torch.device, folder: Path) -> Free:
    # every process of this machine keeps a mean of its own
    ranks = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    on_device = None
    if device.type == "cuda":
        on_device = torch.cuda.mem_get_info(device)[0]
    elif device.type != "cpu":
        backend: Mapping[str, Any] | Any = getattr(torch, device.type, None)
        info = getattr(backend, "mem_get_info", None)
        on_device = info(device)[0] if info is not None else 0
    return Free(on_device, psutil.virtual_memory().available // ranks, shutil.disk_usage(folder).free // ranks)


def _place(where: str) -> str:
    return {"device": "the device", "host": "the host", "disk": "the disk"}[where]


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
