"""Whether an anchor belongs to a model, from the files of both; remembered until one of them changes. No gradio."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from llamafactory_dba.anchor.config import CONFIG, AnchorConfig, read_config
from llamafactory_dba.anchor.differences import compare, same_values, without_added_rows
from llamafactory_dba.anchor.fingerprint import find_model, fingerprint_folder

from .problems import Problem


def misfit(folder: Path, config: AnchorConfig, model: str, *, allow_added: bool = False) -> tuple[Problem, ...]:
    """What differs between the anchor's base model and this one, to be said; empty if they are one model.

    Args:
        folder: of the anchor.
        config: its header.
        model: folder or hub id. One that is not on this machine yet cannot be compared, and has no difference.
        allow_added: whether the model may have tokens that the anchor's does not have.
    """
    place = find_model(model)
    if place is None:
        return ()
    stamps = tuple(sorted((path.name, path.stat().st_mtime_ns) for path in place.iterdir() if path.is_file()))
    return _misfit(str(folder), (folder / CONFIG).stat().st_mtime_ns, str(place), stamps, allow_added)


@lru_cache(maxsize=256)
def _misfit(
    folder: str, header: int, model: str, stamps: tuple[tuple[str, int], ...], allow_added: bool
) -> tuple[Problem, ...]:
    config = read_config(folder)
    found, rows = without_added_rows(config.fingerprint, model)
    if same_values(config.fingerprint, found) and (allow_added or not rows):
        return ()
    differences = compare(config.fingerprint, fingerprint_folder(model))
    return tuple(Problem("", f"dba_misfit_{item.kind}", item.values) for item in differences)
