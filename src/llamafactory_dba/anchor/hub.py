"""Anchors on the Hugging Face hub, found by id and downloaded; `hub_push` uploads them.

All traffic is huggingface_hub's, so its variables count: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

import contextlib
import fnmatch
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RevisionNotFoundError

from ..errors import AnchorError
from .card import PICTURE, README, write_card
from .config import CONFIG, INDEX, WEIGHTS, is_anchor, read_config
from .curvature import CURVATURE
from .format import open_anchor
from .hub_errors import HubId, in_words, is_unreachable
from .origin import COMMIT, Origin, write_origin
from .store import put_in_place
from .verify import verify_content


logger = logging.getLogger("llamafactory.dba")

# Names as they are written, and no wider: of a repository that holds a model, nothing large matches.
FILES = (CONFIG, WEIGHTS, INDEX, CURVATURE, "anchor-?????-of-?????.safetensors", README, PICTURE)
HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


class Pulled(NamedTuple):
    """Where the anchor is now, what it is a copy of, and what could not be checked."""

    folder: Path
    origin: Origin
    notes: list[str]


def parse_hub_id(text: str) -> HubId | None:
    """``owner/name`` or ``owner/name@revision``; None for anything that is, or looks like, a local path."""
    local = text.startswith(("./", "../")) or os.path.lexists(text)
    return as_hub_id(text) if HUB_ID.fullmatch(text) and not local else None


def as_hub_id(text: str) -> HubId:
    """``owner/name`` or ``owner/name@revision``, where nothing else can be meant.

    Raises:
        AnchorError: it is neither.
    """
    found = HUB_ID.fullmatch(text)
    if found is None:
        raise AnchorError("This is no id of a hub repository.", expected="owner/name, owner/name@revision", found=text)
    return HubId(found["repo"], found["revision"] or constants.DEFAULT_REVISION)


def resolve_anchor(path_or_id: str | Path, *, cached_only: bool = False) -> Path:
    """The folder of an anchor that is to be read.

    Args:
        path_or_id: a path is returned as it is, whether there is anything or not. ``owner/name`` and
            ``owner/name@revision``, where no such folder is here, are hub ids: the anchor's files are downloaded into
            the hub cache. Where the hub does not answer, or must not be asked, the copy in the cache is taken.
        cached_only: ask nobody; for processes that come after one which has downloaded.

    Raises:
        AnchorError: no such repository or revision, no permission, no anchor in it, or neither hub nor cache has it.
    """
    hub_id = parse_hub_id(str(path_or_id))
    if hub_id is None:
        return Path(path_or_id)
    with in_words(hub_id, "find"):
        return _cached(hub_id) if cached_only else _fetched(hub_id)


def pull(repo_id: str, out: str | Path, *, overwrite: bool = False) -> Pulled:
    """Downloads an anchor into a folder of its own; the folder holds the old anchor until the new one is checked.

    Args:
        repo_id: ``owner/name`` or ``owner/name@revision``.
        out: the new folder; its parents are made.
        overwrite: whether an anchor in ``out`` may be replaced.

    Raises:
        AnchorError: as `resolve_anchor`; and for an anchor that is damaged, and a folder that is taken or read-only.
    """
    hub_id = as_hub_id(repo_id)
    out = Path(os.path.abspath(out))
    _check_out(out, overwrite)
    with in_words(hub_id, "pull"):
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}.new-", dir=out.parent))
        try:
            origin = _download(hub_id, fresh)
            notes = _check_download(fresh, hub_id, f"{out} is unchanged" if out.exists() else "nothing was written")
            if not (fresh / README).is_file():
                write_card(fresh)
            write_origin(fresh, origin)
            put_in_place(fresh, out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return Pulled(out, origin, notes)


def is_ours(name: str) -> bool:
    """Whether a file of a repository belongs to its anchor."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in FILES)


def ask(hub_id: HubId) -> Any:
    """Commit and file names of a revision, as huggingface_hub's ``ModelInfo``; with a time limit."""
    return HfApi().model_info(hub_id.repo_id, revision=hub_id.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)


def _fetched(hub_id: HubId) -> Path:
    """The snapshot folder in the cache, brought up to date where the hub can be asked."""
    if COMMIT.fullmatch(hub_id.revision):  # a commit never changes
        with contextlib.suppress(LocalEntryNotFoundError):
            return _cached(hub_id)
    try:
        info = ask(hub_id)
    except Exception as error:
        return _stand_in(hub_id, error)
    _check_names(hub_id, info)
    cache = Path(constants.HF_HUB_CACHE, "models--" + hub_id.repo_id.replace("/", "--"))
    known = _is_whole(cache / "snapshots" / info.sha)
    if not known:
        _download_files(hub_id, info)
    folder = Path(snapshot_download(hub_id.repo_id, revision=hub_id.revision, allow_patterns=list(FILES)))
    if not known:
        try:
            _check_download(folder, hub_id, "it is not used")
        except AnchorError:
            shutil.rmtree(folder, ignore_errors=True)  # links only; so that the next run checks again
            raise
    return folder


def _cached(hub_id: HubId) -> Path:
    """The snapshot folder in the cache; nobody is asked.

    Raises:
        LocalEntryNotFoundError: there is none, or an interrupted download has left a part of it.
    """
    patterns = list(FILES)
    folder = Path(
        snapshot_download(hub_id.repo_id, revision=hub_id.revision, allow_patterns=patterns, local_files_only=True)
    )
    if not _is_whole(folder):
        raise LocalEntryNotFoundError(f"{folder} is not complete")
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether the header and all files that it needs are there."""
    try:
        read_config(folder)
    except AnchorError:
        return False
    return True


def _stand_in(hub_id: HubId, error: Exception) -> Path:
    """The copy in the cache where the hub did not answer; it is said which. Raises ``error`` where there is none."""
    # a token that has run out looks like a missing repository; what is in the cache was allowed once
    if isinstance(error, RevisionNotFoundError) or not (is_unreachable(error) or isinstance(error, HfHubHTTPError)):
        raise error
    try:
        folder = _cached(hub_id)
    except LocalEntryNotFoundError:
        raise error from None
    reason = (
        "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"the hub did not give it, {type(error).__name__}"
    )
    logger.warning(f"DBA: the anchor {hub_id} is taken from the cache, commit {folder.name} ({reason}).")
    return folder


def _download(hub_id: HubId, fresh: Path) -> Origin:
    """Fills ``fresh``, past the cache: so the disk holds the files once."""
    try:
        info = ask(hub_id)
    except Exception as error:
        folder = _stand_in(hub_id, error)
        for path in folder.iterdir():
            if is_ours(path.name):
                shutil.copyfile(path, fresh / path.name)
        return Origin(hub_id.repo_id, folder.name)
    _check_names(hub_id, info)
    _download_files(hub_id, info, fresh)
    shutil.rmtree(fresh / ".cache", ignore_errors=True)
    return Origin(hub_id.repo_id, info.sha)


def _download_files(hub_id: HubId, info: Any, folder: Path | None = None) -> None:
    """One file after the other, into ``folder`` or the cache.

    snapshot_download does it in threads, and Ctrl-C then waits until the last byte is there.
    """
    for item in info.siblings:
        if is_ours(item.rfilename):
            hf_hub_download(hub_id.repo_id, item.rfilename, revision=info.sha, local_dir=folder)


def _check_download(folder: Path, hub_id: HubId, fate: str) -> list[str]:
    """Refuses files that are not those of the header; returns what could not be checked."""
    try:
        open_anchor(folder)
        checked = verify_content(folder, checksums_suffice=True)
        wrong, notes = [problem.what for problem in checked.problems], checked.notes
    except AnchorError as error:
        found = f" ({error.expected})" if error.expected else ""
        wrong, notes = [error.what.replace(str(folder), str(hub_id)).rstrip(".") + found], []
    if wrong:
        raise AnchorError(
            f"The anchor in the hub repository {hub_id} is damaged; {fate}.",
            expected="files as its header describes them",
            found="; ".join(wrong),
            next_step="try again; if it stays so, tell the repository's owner, or name an older revision",
        )
    return notes


def _check_names(hub_id: HubId, info: Any) -> None:
    names = [item.rfilename for item in info.siblings or ()]
    if CONFIG not in names:
        raise _no_anchor(hub_id, names)


def _no_anchor(hub_id: HubId, names: Iterable[str]) -> AnchorError:
    inside = sorted(name for name in names if not name.startswith("."))
    kind = "a model" if "config.json" in inside else "something else"
    return AnchorError(
        f"The hub repository {hub_id} holds no anchor.",
        expected=f"{CONFIG} in it",
        found=f"{kind}: {', '.join(inside[:6]) or 'it is empty'}{' …' if len(inside) > 6 else ''}",
        next_step="name a repository that `llamafactory-dba anchor push` has filled"
        + (", or make an anchor for this model (`dba_stage: anchor`)" if kind == "a model" else ""),
    )


def _check_out(out: Path, overwrite: bool) -> None:
    """A folder that may be written: new, empty, or an anchor that may go."""
    if is_anchor(out):
        if not overwrite:
            raise AnchorError(
                f"{out} holds an anchor already.",
                expected="a folder without one",
                found=CONFIG,
                next_step="choose another folder, or replace it with --overwrite",
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AnchorError(
            f"{out} holds something else.",
            expected="a new or an empty folder",
            found="a file" if not out.is_dir() else "other files",
            next_step="choose another folder",
        )
