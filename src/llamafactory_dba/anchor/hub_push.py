"""Uploads an anchor to the Hugging Face hub: checked first, then everything in one commit."""

import contextlib
import fnmatch
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

from ..errors import AnchorError
from .card import PICTURE, README, card_of, write_card
from .config import CONFIG, INDEX, REMAKE, AnchorConfig, read_config, weight_files
from .curvature import CURVATURE
from .hub import as_hub_id, ask, is_ours
from .hub_errors import HubId, in_words
from .origin import Origin, write_origin
from .verify import verify_content


HARMLESS = (".gitattributes", README, "LICENSE*")  # what a repository may hold before its first anchor
# a path of this machine, alone or within a sentence; slashes of web addresses and dates follow other characters
ABSOLUTE = re.compile(r"""(?:^|[\s"'(=,])(?:/\w|~/|[A-Za-z]:[\\/]|\\\\|file:)""")


class Pushed(NamedTuple):
    """Of an upload: the commit, its page, the files that it has now, what they take, what could not be checked."""

    origin: Origin
    url: str
    files: list[str]
    bytes: int
    notes: list[str]


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    branch: str | None = None,
    message: str | None = None,
    create: bool = True,
) -> Pushed:
    """Checks an anchor and uploads it with a fresh card in one commit; what else lies in the folder stays here.

    Args:
        folder: the anchor.
        repo_id: ``owner/name``.
        private: of a repository that is created; None: as the account is set up.
        branch: instead of main; made where there is none.
        message: of the commit.
        create: whether a repository may be created.

    Raises:
        AnchorError: the anchor is damaged or its header names local paths, the repository holds something else or may
            not be written to, or the hub cannot be reached. The folder is unchanged then.
    """
    folder = Path(folder)
    if as_hub_id(repo_id).revision != constants.DEFAULT_REVISION:
        raise AnchorError("A commit cannot be written to.", expected="owner/name, and --branch", found=repo_id)
    hub_id = HubId(repo_id, branch or constants.DEFAULT_REVISION)
    config = read_config(folder)
    _check_paths(folder)
    checked = verify_content(folder)
    if checked.problems:
        found = "; ".join(problem.what for problem in checked.problems)
        raise AnchorError(f"The anchor in {folder} is damaged; it was not uploaded.", found=found, next_step=REMAKE)
    contents = _contents(folder, config, str(hub_id))
    api = HfApi()
    with in_words(hub_id, "push"):
        if create:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if branch:
                api.create_branch(repo_id, branch=branch, exist_ok=True)
        there = ask(hub_id)
        present = [item.rfilename for item in there.siblings or ()]
        _check_target(hub_id, present)
        files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=item) for name, item in contents.items()]
        stale = [CommitOperationDelete(name) for name in present if is_ours(name) and name not in contents]
        for file in files:  # several at once are uploaded in threads, and Ctrl-C then waits for the last byte
            api.preupload_lfs_files(repo_id, [file], revision=hub_id.revision, free_memory=False)
        # upload_folder may spread the files over several commits: a reader could get half an anchor
        commit = api.create_commit(
            repo_id,
            [*files, *stale],
            commit_message=message or f"DBA anchor of {config.base_model.id}, rank {config.rank}",
            revision=hub_id.revision,
            parent_commit=there.sha,
        )
    origin = Origin(repo_id, commit.oid)
    with contextlib.suppress(OSError):  # a folder that is read-only is uploaded all the same
        write_origin(folder, origin)
        write_card(folder, reference=str(hub_id))
    size = sum(len(item) if isinstance(item, bytes) else os.path.getsize(item) for item in contents.values())
    return Pushed(origin, str(commit.commit_url), sorted(contents), size, checked.notes)


def _contents(folder: Path, config: AnchorConfig, reference: str) -> dict[str, str | bytes]:
    """File name → path or bytes. The card is made in memory: the folder is left alone until the upload is done."""
    card = card_of(config, reference)
    names = [CONFIG, *(path.name for path in weight_files(folder))]
    if (folder / INDEX).is_file():
        names.append(INDEX)
    if config.curvature is not None:
        names.append(CURVATURE)
    return {**{name: str(folder / name) for name in names}, README: card.text.encode(), PICTURE: card.picture}


def _check_paths(folder: Path) -> None:
    """Paths of this machine are of no use to others, and may name people or projects."""
    raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    found = [f"{key}: {value}" for key, value in _texts(raw, "") if ABSOLUTE.search(value)]
    if found:
        raise AnchorError(
            "The header of the anchor names paths of this machine; it was not uploaded.",
            expected="names, or ids of the hub",
            found="; ".join(found),
            next_step=f"for the base model: `llamafactory-dba anchor card {folder} --base-model OWNER/NAME`; "
            f"change other names in {CONFIG}",
        )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """All texts in a JSON value, with where they stand."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)


def _check_target(hub_id: HubId, present: list[str]) -> None:
    """An anchor takes the place of an anchor; a model, and its card, are left alone."""
    if CONFIG in present:
        return
    other = sorted(name for name in present if not any(fnmatch.fnmatchcase(name, known) for known in HARMLESS))
    if other:
        raise AnchorError(
            f"The hub repository {hub_id} holds something else; nothing was uploaded.",
            expected="a new repository, or one with an anchor in it",
            found=", ".join(other[:6]) + (" …" if len(other) > 6 else ""),
            next_step="choose another name for the anchor's repository",
        )
