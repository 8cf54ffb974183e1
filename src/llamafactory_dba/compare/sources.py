"""What runs start from, found and hashed before anything runs: base models and data sets. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..anchor.fingerprint import find_model
from ..errors import DBAError
from ..files import hash_file
from .suite import nearest


INFO = "dataset_info.json"


@dataclass(frozen=True)
class DataSet:
    """A data set of LLaMA-Factory.

    Attributes:
        name: in dataset_info.json.
        folder: of that file.
        entry: what it says there.
        path: the file or folder; None where it is fetched from a hub.
        hash: of its content and its entry; for the hub, of the entry alone.
        rows: None where it cannot be counted without the host.
    """

    name: str
    folder: Path
    entry: Mapping[str, Any]
    path: Path | None
    hash: str
    rows: int | None


def digest(value: Any) -> str:
    """SHA-256 of plain data, in hex digits; the order of keys does not count."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()


@cache
def find_data(folder: str, name: str) -> DataSet:
    """A data set by its name in the ``dataset_info.json`` of a folder.

    Raises:
        DBAError: the descriptor is missing or does not have the name (with the nearest), or the file is not there.
    """
    place = Path(folder)
    try:
        info = json.loads((place / INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DBAError(
            "The descriptor of the data sets cannot be read.", expected=f"`dataset_dir` with {INFO}", found=error
        ) from error
    if name not in info:
        raise DBAError(f"Data set `{name}` is not in {place / INFO}{nearest(name, info)}")
    entry = info[name]
    file = entry.get("file_name")
    if not file or "hf_hub_url" in entry or "ms_hub_url" in entry:
        return DataSet(name, place, entry, None, digest(["hub", entry]), None)
    path = place / file
    if not path.exists():
        raise DBAError(
            f"Data set `{name}` is not there.",
            found=f"no {path}",
            next_step="`llamafactory-dba data list` says which sets `llamafactory-dba data prepare` makes",
        )
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    content = [[item.name, hash_file(item)] for item in files]
    rows = _rows(path) if path.is_file() else None
    return DataSet(name, place, entry, path, digest([entry, content]), rows)


def _rows(path: Path) -> int | None:
    if path.suffix == ".jsonl":
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    if path.suffix == ".json":
        raw = json.loads(path.read_text(encoding="utf-8"))
        return len(raw) if isinstance(raw, list) else None
    return None


def hash_base(model: str, revision: Any = None, memory: Path | None = None) -> str:
    """Hash of a base model's files in a local folder; of a hub model, its id and the revision that was named.

    A hub model's files are not looked at: whether they are fetched yet must not change the hash of a run. Name a
    ``model_revision`` where the hub's state may change between runs.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if "/" not in model or model.startswith((".", "/", "~")) or model.count("/") > 1:
            raise DBAError("A base model is not there.", expected="a folder or a hub id (owner/name)", found=model)
        return digest(["hub", model, revision])
    from ..evaluation.model_hash import find_files, hash_model

    return hash_model(find_files(str(folder)), memory)


def model_bytes(model: str) -> int | None:
    """Bytes of a base model's weights; None if it is not on this machine."""
    from ..evaluation.model_hash import weight_files

    folder = find_model(Path(model).expanduser() if Path(model).expanduser().is_dir() else model)
    return None if folder is None else sum(path.stat().st_size for path in weight_files(folder))


def collect_problems(asked: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], list[str]]:
    """Ask for several things; what was found, and a line for each that was not."""
    found, problems = {}, []
    for name, ask in asked.items():
        try:
            found[name] = ask()
        except DBAError as error:
            more = [str(part) for part in (error.found, error.next_step) if part is not None]
            problems.append(" ".join([error.what, *more]))
    return found, problems
