"""Where the raw records of a corpus come from: local files, the Hugging Face hub, or ModelScope.

Downloads are the hubs' own clients': they resume, keep a cache, and obey HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN and
HTTPS_PROXY. The revision is resolved to a commit, which goes into the data card.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import DBAError
from ..files import hash_file
from ..sentences import describe_names
from .raw_files import RawFile, members
from .reading import Records, read_records
from .source import Drop, Hub, Record, Source


Place = Literal["huggingface", "modelscope", "local"]
LOG_IN = "log in (`hf auth login`) or set HF_TOKEN"
FROM_FILES = "download it elsewhere and use --from PATH; a cache that is there already serves with HF_HUB_OFFLINE=1"


class Found(NamedTuple):
    """One raw record: the file it is in as messages name it, its number there from 1, and itself."""

    file: str
    number: int
    record: Record | Drop


@dataclass(frozen=True)
class Inputs:
    """The raw records of one corpus.

    Attributes:
        origin: where they are from, for the card: hub, id, commit, or local files.
        streams: split, as the place names it → opens its records.
        files: split, name for the card, and file; none where a hub's library reads them.
    """

    origin: dict[str, Any]
    streams: Mapping[str, Callable[[], Iterator[Found]]]
    files: tuple[tuple[str, str, RawFile], ...] = field(default=(), repr=False)

    def hashes(self) -> list[dict[str, Any]]:
        """Name, size and SHA-256 of every raw file, each once."""
        sizes: dict[Path, dict[str, Any]] = {}
        for split, name, file in self.files:
            if file.path not in sizes:
                size, sha256 = file.path.stat().st_size, hash_file(file.path)
                sizes[file.path] = {"file": name.split("!")[0], "splits": [], "bytes": size, "sha256": sha256}
            if split not in sizes[file.path]["splits"]:
                sizes[file.path]["splits"].append(split)
        return sorted(sizes.values(), key=lambda entry: entry["file"])


def find_inputs(source: Source, place: Place, path: Path | None = None, split: str | None = None) -> Inputs:
    """Find the raw records, downloading them if need be.

    Args:
        source: the corpus.
        place: which hub, or ``local``.
        path: for ``local``: a file or a folder.
        split: for a local file whose name does not tell.

    Raises:
        DBAError: there is no such place, file, or permission, or the network is down.
    """
    if path is not None:
        return _local(source, path, split)
    hub = source.huggingface if place == "huggingface" else source.modelscope
    if hub is None:
        other = {"huggingface": source.modelscope, "modelscope": source.huggingface}.get(place)
        raise DBAError(
            f"{source.name} is not known to be on {place}." if place != "local" else "No files are named.",
            next_step=f"use --hub {'modelscope' if place == 'huggingface' else 'huggingface'}"
            if other is not None
            else f"get the raw files ({source.homepage}) and use --from PATH",
        )
    return _huggingface(source, hub) if place == "huggingface" else _modelscope(source, hub)


def _local(source: Source, path: Path, split: str | None) -> Inputs:
    if not source.local:
        raise DBAError(f"{source.name} cannot be read from local files.", next_step="leave out --from")
    wanted = ", ".join(f"{name}: {patterns}" for name, patterns in source.local.items())
    if path.is_file():
        names = [name for name, patterns in source.local.items() if _matches(path.name, patterns)]
        if len(names) != 1 and path.suffix.lower() != ".zip":
            names = list(source.local) if len(source.local) == 1 else []
        if split is not None:
            names = [split] if split in source.local else []
        if not names:
            raise DBAError(
                f"The name of {path} does not tell which split of {source.name} it is.",
                expected=wanted,
                found=path.name if split is None else f"--split {split}",
                next_step="use --split",
            )
        return _from_files(
            source, path.parent, {name: _expand(path, source.local[name]) for name in names}, {"place": "local files"}
        )
    if not path.is_dir():
        raise DBAError("There is no such file or folder.", expected=wanted, found=path)
    return _from_files(source, path, _search(path, source.local), {"place": "local files"}, wanted)


def _matches(name: str, patterns: str) -> bool:
    return any(fnmatch(name, pattern.split("!")[0].strip().split("/")[-1]) for pattern in patterns.split(","))


def _expand(path: Path, patterns: str) -> list[RawFile]:
    """A file, or the members of an archive that a pattern names."""
    if path.suffix.lower() != ".zip":
        return [RawFile(path)]
    inside = [pattern.split("!", 1)[1].strip() for pattern in patterns.split(",") if "!" in pattern]
    return [file for pattern in inside or ["*"] for file in members(path, pattern)]


def _search(folder: Path, splits: Mapping[str, str]) -> dict[str, list[RawFile]]:
    found: dict[str, list[RawFile]] = {}
    for split, patterns in splits.items():
        files: dict[RawFile, None] = {}
        for pattern in patterns.split(","):
            name, _, inside = pattern.strip().partition("!")
            paths = sorted(folder.glob(name)) or sorted(folder.rglob(name))
            for path in paths:
                if path.is_file():
                    packed = path.suffix.lower() == ".zip"
                    files.update(dict.fromkeys(members(path, inside or "*") if packed else [RawFile(path)]))
        if files:
            found[split] = list(files)
    return found


def _from_files(
    source: Source,
    folder: Path,
    found: Mapping[str, list[RawFile]],
    origin: dict[str, Any],
    wanted: str = "",
) -> Inputs:
    if not any(found.values()):
        there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        raise DBAError(
            f"There is no raw file of {source.name} in {folder}.",
            expected=wanted,
            found=describe_names(there, 10) or "no files",
            next_step="rename the file, or name it itself: --from FILE --split NAME",
        )

    def opened(files: list[RawFile]) -> Callable[[], Iterator[Found]]:
        return lambda: (
            Found(name, number, record)
            for name, file in [(_shown(file, folder), file) for file in files]
            for number, record in enumerate(_records(source, file), 1)
        )

    named = tuple((split, _shown(file, folder), file) for split, files in found.items() for file in files)
    return Inputs(origin, {split: opened(files) for split, files in found.items()}, named)


def _records(source: Source, file: RawFile) -> Records:
    if source.read is None:
        return read_records(file, source.encoding)
    return iter(source.read(file))


def _shown(file: RawFile, folder: Path) -> str:
    """The name without the path of this machine."""
    name = file.path.relative_to(folder).as_posix() if file.path.is_relative_to(folder) else file.path.name
    return name + (f"!{file.member}" if file.member else "")


def _huggingface(source: Source, hub: Hub) -> Inputs:
    from huggingface_hub import snapshot_download

    with _in_words(hub, "Hugging Face"):
        if hub.files:
            folder = Path(
                snapshot_download(
                    hub.id, repo_type="dataset", revision=hub.revision, allow_patterns=_to_download(hub.splits)
                )
            )
            origin = {"place": "huggingface", "id": hub.id, "revision": folder.name}
            return _from_files(source, folder, _search(folder, hub.splits), origin, str(dict(hub.splits)))
        import datasets

        builder = datasets.load_dataset_builder(hub.id, hub.config, revision=hub.revision)
        builder.download_and_prepare()
        # the library names its cache by the commit of the repository
        origin = {"place": "huggingface", "id": hub.id, "revision": str(builder.hash or hub.revision)}
        tables = {split: builder.as_dataset(split=theirs) for split, theirs in hub.splits.items()}
    return _from_tables(tables, {**origin, **({"config": hub.config} if hub.config else {})})


def _modelscope(source: Source, hub: Hub) -> Inputs:
    if importlib.util.find_spec("modelscope") is None:
        raise DBAError("ModelScope's client is not installed.", next_step="pip install modelscope")
    revision = "master" if hub.revision == "main" else hub.revision  # its name for the default branch
    origin = {"place": "modelscope", "id": hub.id, "revision": revision}
    with _in_words(hub, "ModelScope"):
        if hub.files:
            from modelscope.hub.snapshot_download import dataset_snapshot_download

            patterns = _to_download(hub.splits)
            folder = Path(dataset_snapshot_download(hub.id, revision=revision, allow_patterns=patterns))
            return _from_files(source, folder, _search(folder, hub.splits), origin, str(dict(hub.splits)))
        try:
            from modelscope import MsDataset
        except Exception as error:  # its lazy imports turn a missing package into RuntimeError
            raise DBAError(
                "ModelScope's client cannot load data sets as it is installed.",
                found=str(error).splitlines()[-1],
                next_step='pip install "modelscope[datasets]"',
            ) from error
        tables = {}
        for split, theirs in hub.splits.items():
            loaded = MsDataset.load(hub.id, subset_name=hub.config, split=theirs, version=revision)
            tables[split] = loaded.to_hf_dataset() if isinstance(loaded, MsDataset) else loaded
    return _from_tables(tables, {**origin, **({"config": hub.config} if hub.config else {})})


def _to_download(splits: Mapping[str, str]) -> list[str]:
    return sorted({part.split("!")[0].strip() for patterns in splits.values() for part in patterns.split(",")})


def _from_tables(tables: Mapping[str, Any], origin: dict[str, Any]) -> Inputs:
    def opened(split: str, table: Any) -> Callable[[], Iterator[Found]]:
        return lambda: (Found(split, number, record) for number, record in enumerate(_table_rows(table), 1))

    return Inputs(origin, {split: opened(split, table) for split, table in tables.items()})


def _table_rows(table: Any) -> Iterable[Record]:
    for batch in table.data.to_batches(max_chunksize=1000):  # several times faster than the library's own iterator
        yield from batch.to_pylist()


@contextlib.contextmanager
def _in_words(hub: Hub, where: str) -> Iterator[None]:
    """Turns what the hubs' clients and the network raise into `DBAError`."""
    try:
        yield
    except DBAError:
        raise
    except Exception as error:
        known = _explain(error, hub, where)
        if known is None:
            raise
        raise known from error


def _explain(error: Exception, hub: Hub, where: str) -> DBAError | None:
    from ..anchor.hub_errors import is_unreachable

    kind = type(error).__name__
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), kind)
    if "Gated" in kind or "gated" in said:
        return DBAError(
            f"{hub.id} is gated: its owner wants its licence accepted first.",
            found=said,
            next_step=f"accept it on the data set's page, then {LOG_IN}",
        )
    if kind == "RevisionNotFoundError":
        return DBAError(f"{hub.id} has no revision {hub.revision}.", found=said)
    # the last one is ModelScope's
    words = ("LocalEntryNotFoundError", "OfflineMode", "Couldn't reach", "offline", "check your connection")
    cut_off = (*words, "NetworkError")
    if is_unreachable(error) or any(part in f"{kind}: {said}" for part in cut_off):
        return DBAError(
            f"{where} cannot be reached, and there is no whole copy of {hub.id} in the cache.",
            found=f"{kind}: {said}",
            next_step=FROM_FILES if where == "Hugging Face" else "download it elsewhere and use --from PATH",
        )
    if kind in ("RepositoryNotFoundError", "DatasetNotFoundError", "NotExistError"):
        return DBAError(
            f"There is no data set {hub.id} on {where} that you may read.",
            found=said,
            next_step=f"for a private one {LOG_IN}; if it was moved, download it by hand and use --from PATH",
        )
    if "scripts are no longer supported" in said:
        return DBAError(
            f"{hub.id} is a loading script, which `datasets` no longer runs.",
            found=said,
            next_step="download its raw files by hand and use --from PATH",
        )
    if isinstance(error, (OSError, ValueError)) or type(error).__module__.startswith(("datasets", "modelscope")):
        return DBAError(f"{hub.id} cannot be loaded from {where}.", found=f"{kind}: {said}", next_step=FROM_FILES)
    return None
