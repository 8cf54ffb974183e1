"""Anchors on this machine, and whether they fit the model that was chosen. No gradio."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from huggingface_hub import constants

from llamafactory_dba.anchor.config import CONFIG, AnchorConfig, read_config, weight_bytes
from llamafactory_dba.anchor.fingerprint import find_model
from llamafactory_dba.anchor.hub import as_hub_id
from llamafactory_dba.anchor.origin import read_origin
from llamafactory_dba.errors import DBAError

from .anchor_fit import misfit
from .paths import roots as default_roots
from .paths import shorten
from .problems import Problem


FOLDERS = 20_000  # how many are looked into
SKIPPED = ("checkpoint-", ".", "__pycache__", "node_modules", "site-packages")
PULL = ("llamafactory-dba", "anchor", "pull")


@dataclass(frozen=True)
class FoundAnchor:
    """One anchor folder.

    Attributes:
        folder: as a run's `dba_anchor_path` takes it, relative to the current directory where it lies in there.
        fits: whether a training of the model takes it, as far as the files tell.
        key: of the message in `locales` that says why; its field is ``reason``.
        reason: what is wrong with the anchor, in English; "" where it fits.
        differences: between its base model and the chosen one.
        config: None for a folder whose header cannot be read.
        half_cosine: the last one; None for a merged anchor.
        hub_id: where it is from, ``owner/name@commit``; "" if it was made here.
        bytes: of its weight files.
    """

    folder: str
    fits: bool
    key: str
    reason: str = ""
    differences: tuple[Problem, ...] = ()
    config: AnchorConfig | None = None
    rank: int = 0
    samples: int = 0
    half_cosine: float | None = None
    base_model: str = ""
    created: str = ""
    hub_id: str = ""
    bytes: int = 0


def find(model_path: str | None, roots: Iterable[Path] | None = None, *, cached: bool = True) -> list[FoundAnchor]:
    """All anchors below some folders and in the hub cache: those that fit come first, then the youngest.

    Args:
        model_path: folder or hub id of the model; without one nothing is said to fit.
        roots: by default `paths.roots`.
        cached: whether to look into the hub cache, too.
    """
    local = _local(default_roots() if roots is None else roots)
    folders = list(dict.fromkeys([*local, *(_in_cache() if cached else [])]))
    found = [look_at(folder, model_path) for folder in folders]
    return sorted(sorted(found, key=lambda item: item.created, reverse=True), key=lambda item: not item.fits)


def look_at(folder: Path, model_path: str | None) -> FoundAnchor:
    """One anchor folder; never raises for what is in it."""
    shown = shorten(folder)
    try:
        config = _config(folder, (folder / CONFIG).stat().st_mtime_ns)
        origin, size = read_origin(folder), weight_bytes(folder)
    except (DBAError, OSError, ValueError) as error:
        return FoundAnchor(shown, False, "dba_fit_broken", short(error))
    key, reason, differences = _fit(folder, config, model_path)
    return FoundAnchor(
        folder=shown,
        fits=key in ("dba_fit_same", "dba_fit_by_name"),
        key=key,
        reason=reason,
        differences=differences,
        config=config,
        rank=config.rank,
        samples=config.data.samples,
        half_cosine=config.half_cosine[-1][1] if config.half_cosine else None,
        base_model=config.base_model.id,
        created=config.created,
        hub_id=str(origin) if origin else "",
        bytes=size,
    )


def _fit(folder: Path, config: AnchorConfig, model_path: str | None) -> tuple[str, str, tuple[Problem, ...]]:
    """Key of the message, its reason, and what differs."""
    if not model_path:
        return "dba_fit_no_model", "", ()
    try:
        place = find_model(model_path)
        # other formats of weights are compared by a training once it has loaded them
        if place is not None and config.fingerprint.known and any(place.glob("*.safetensors")):
            found = misfit(folder, config, model_path)
            return ("dba_fit_other" if found else "dba_fit_same"), "", found
    except (DBAError, OSError, ValueError) as error:
        return "dba_fit_model_broken", short(error), ()
    # a model that has yet to be downloaded, for one: only the names can be compared, and the training looks again
    same = config.base_model.id.rstrip("/").split("/")[-1] == model_path.rstrip("/").split("/")[-1]
    return ("dba_fit_by_name", "", ()) if same else ("dba_fit_other_name", config.base_model.id, ())


def pull_command(hub_id: str, out: Path, *, overwrite: bool = False) -> list[str]:
    """The command that downloads an anchor into a folder of its own.

    Raises:
        AnchorError: this is no id of a hub repository.
    """
    as_hub_id(hub_id)
    flags = ["--out", str(out), *(["--overwrite"] if overwrite else [])]
    return [*PULL, *flags, "--", hub_id]  # the id comes after --, so that it is never taken for an option


def short(error: BaseException) -> str:
    """An error on one line, without its next step."""
    if isinstance(error, DBAError):
        return f"{error.what}{'' if error.found is None else f' ({error.found})'}".replace("\n", " ")
    return f"{type(error).__name__}: {error}"


@lru_cache(maxsize=512)
def _config(folder: Path, changed: int) -> AnchorConfig:
    return read_config(folder)


def _local(folders: Iterable[Path]) -> Iterator[Path]:
    """Links to folders are not followed, so there is no way out or round."""
    left = FOLDERS
    for root in folders:
        for here, inner, files in os.walk(root):
            left -= 1
            if left < 0:
                return
            if CONFIG in files:
                yield Path(here)
            inner[:] = sorted(name for name in inner if not name.startswith(SKIPPED) and not name.endswith(".partial"))


def _in_cache() -> list[Path]:
    cache = Path(constants.HF_HUB_CACHE)
    return sorted(path.parent for path in cache.glob(f"models--*/snapshots/*/{CONFIG}"))
