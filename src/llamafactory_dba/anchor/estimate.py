"""From a running mean to an anchor: truncation, description, and the state of a pass that was interrupted."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from ..core.lowrank import LowRank, Truncation, truncate
from ..core.mean import RunningMean
from ..errors import AnchorError, DBAError
from .config import AnchorConfig, GeneralData
from .fingerprint import BaseModel, Fingerprint, fingerprint_folder, hash_tokenizer, read_base_model


STATE_FILE = "state.pt"
# For whoever watches the run: step, steps, tokens, seconds, tokens_per_second, and half_cosine where it was measured.
# `seconds` counts the runs before an interruption, too; the rate is that of this run alone.
PROGRESS_FILE = "progress.jsonl"
TRAINER_STATE_FILE = "trainer_state.json"  # the host's name: its resume code reads the step from there


class PartialState:
    """The folder ``<anchor>.partial``: what an interrupted anchor run needs to go on bit for bit.

    Args:
        folder: where it is, existing or not.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def exists(self) -> bool:
        """Whether there is something to resume."""
        return (self.folder / STATE_FILE).is_file()

    def save(self, content: dict[str, Any], trainer_state: Any) -> None:
        """Replace the state in one step, so that a kill leaves either the old one or the new one.

        Args:
            content: tensors, numbers, strings, lists and dicts.
            trainer_state: the trainer's state; kept inside the same file, since two files could disagree.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / (STATE_FILE + ".new")
        trainer_state.save_to_json(str(self.folder / "beside.json"))
        text = (self.folder / "beside.json").read_text(encoding="utf-8")
        (self.folder / "beside.json").unlink()
        try:
            torch.save({**content, "trainer_state": text}, beside)
            os.replace(beside, self.folder / STATE_FILE)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise AnchorError(
                "The state of the anchor run could not be saved; the last one saved is intact.",
                found=f"{error}",
                next_step="free disk space (the state takes 4 bytes per parameter) and start the run again to resume",
            ) from error

    def load(self) -> dict[str, Any]:
        """The content given to `save`; tensors on the CPU, never unpickling anything else."""
        try:
            # mapped: the sums in it may be larger than the memory
            return torch.load(self.folder / STATE_FILE, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:
            raise AnchorError(
                "The state of the interrupted anchor run cannot be read.",
                found=f"{self.folder / STATE_FILE}: {error}",
                next_step="delete that folder to start the pass again",
            ) from error

    def prepare_resume(self, request: dict[str, Any]) -> str:
        """Check that the state belongs to this request and lay out what the host's resume code expects.

        Returns:
            The folder, for ``trainer.train(resume_from_checkpoint=...)``.

        Raises:
            AnchorError: the state was made with other data, another model or other settings.
        """
        state = self.load()
        saved = state["request"]
        differing = [
            f"{key}: {saved.get(key)} before, {value} now" for key, value in request.items() if saved.get(key) != value
        ]
        if differing:
            raise AnchorError(
                "An interrupted anchor run of other settings is in the way.",
                expected="the settings it was started with",
                found="; ".join(differing),
                next_step=f"restore the settings to resume it, or delete {self.folder} to start again",
            )
        (self.folder / TRAINER_STATE_FILE).write_text(state["trainer_state"], encoding="utf-8")
        return str(self.folder)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def hash_dataset(dataset: Any) -> str:
    """SHA-256 over token ids and labels of a tokenized data set, in order; 16 hex digits."""
    digest = hashlib.sha256()
    columns = [name for name in ("input_ids", "labels") if name in dataset.column_names]
    for batch in dataset.select_columns(columns).iter(batch_size=1000):
        for name in columns:
            for row in batch[name]:
                digest.update(np.asarray(row, dtype=np.int64).tobytes())
                digest.update(b"|")
    return digest.hexdigest()[:16]


def truncate_mean(
    mean: RunningMean, rank: int, *, seed: int = 0, device: torch.device | str | None = None
) -> Iterator[tuple[str, Truncation]]:
    """Compress the mean gradient tensor by tensor, each when it is asked for.

    Args:
        mean: after at least one step.
        rank: directions kept per matrix.
        seed: of the randomised SVD.
        device: where to compute; where the mean is kept by default.

    Yields:
        Names with their truncations, fp32, on the CPU.

    Raises:
        DBAError: at the end, if the mean is zero everywhere, which no real data gives.
    """
    found = False
    for name, tensor in tqdm(mean.means(), desc="truncating", unit="tensor", leave=False, disable=None):
        item = truncate(tensor if device is None else tensor.to(device), rank, seed=seed)
        found = found or item.norm > 0
        parts = item.value if isinstance(item.value, LowRank) else (item.value,)
        moved = [part.cpu().contiguous() for part in parts]
        yield name, dataclasses.replace(item, value=LowRank(*moved) if isinstance(item.value, LowRank) else moved[0])
    if not found:
        raise DBAError(
            "The mean gradient is zero everywhere.",
            expected="gradients from the general data",
            found="only zeros",
            next_step="check that samples have an answer within `cutoff_len` (labels may all be masked)",
        )


def describe_anchor(
    *,
    request: dict[str, Any],
    base_folder: Path | None,
    dtype: str,
    rank: int,
    steps: int,
    tokens: int,
    half_cosines: list[tuple[int, float]],
) -> AnchorConfig:
    """The header of a new anchor.

    Args:
        request: what the pass was asked for, with the keys of `training.anchor_run.request_of`.
        base_folder: the base model's files, for its fingerprint; None if they are nowhere on this machine.
        dtype: of the stored factors.
        rank: directions kept per matrix.
        steps: steps averaged.
        tokens: tokens read, padding left out.
        half_cosines: history of (step, cosine between the data halves).
    """
    # a local path says nothing to others and may say too much: the folder's name is enough, the fingerprint decides
    local = os.path.isdir(request["model"])
    model_id = Path(request["model"]).name if local else request["model"]
    revision = "" if local else request["revision"]
    if base_folder is not None and base_folder.parent.name == "snapshots":
        revision = base_folder.name  # of the hub's cache: the commit, which a branch's name is not
    return AnchorConfig(
        base_model=read_base_model(base_folder, model_id=model_id, revision=revision)
        if base_folder is not None
        else BaseModel(id=model_id, revision=revision),
        fingerprint=fingerprint_folder(base_folder) if base_folder is not None else Fingerprint(),
        data=GeneralData(
            tuple(request["datasets"]), request["samples"], tokens, request["data_hash"], request.get("origins", {})
        ),
        steps=steps,
        global_batch=request["global_batch"],
        stage=request["stage"],
        rank=rank,
        dtype=dtype,
        seed=request["seed"],
        tokenizer_hash=hash_tokenizer(base_folder) if base_folder is not None else "",
        template=request["template"] or "",
        template_hash=request.get("template_hash", ""),
        half_cosine=tuple(half_cosines),
        versions={name: version(name) for name in ("llamafactory-dba", "llamafactory", "torch", "transformers")},
        licence="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
