"""Which folders a path typed into the board may name: resolved first, links and ``..`` included, then compared.

Allowed are the folder that the board was started in, its ``saves`` (also where that is a link to another disk), the
folders of DBA_BOARD_FOLDERS, and, for reading only, the Hugging Face cache.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from llamafactory_dba.errors import DBAError


SAVES = "saves"  # the host's name for it
ANCHORS = Path(SAVES) / "anchors"  # where the board writes anchors, unless it is told otherwise
MORE_FOLDERS = "DBA_BOARD_FOLDERS"  # environment: further folders, separated as in PATH
LONGEST = 1000  # characters of a path


class NotAllowed(DBAError):
    """A path that the board must not use, or cannot.

    Args:
        key: of the message in `locales`, for the page.
        what: the same in English.
        fields: of the message: ``path``, ``allowed``.
    """

    def __init__(self, key: str, what: str, **fields: Any) -> None:
        self.key, self.fields = key, fields
        super().__init__(what, expected=fields.get("allowed"), found=fields.get("path"))


def roots() -> list[Path]:
    """Folders to read from and write to, resolved, each once; the current directory comes first."""
    named = [name for name in os.environ.get(MORE_FOLDERS, "").split(os.pathsep) if name.strip()]
    folders = [Path.cwd(), Path.cwd() / SAVES, Path.cwd() / ANCHORS, *(Path(name).expanduser() for name in named)]
    found: dict[Path, None] = {}
    for folder in folders:
        try:
            place = folder.resolve()
        except (OSError, RuntimeError):  # a link that leads to itself
            continue
        if not any(place.is_relative_to(other) for other in found):
            found[place] = None
    return list(found)


def reading_roots() -> list[Path]:
    """`roots`, and the Hugging Face cache."""
    return [*roots(), Path(constants.HF_HUB_CACHE).resolve()]


def resolve(text: str | os.PathLike[str] | None, *, must_exist: bool = False, for_writing: bool = False) -> Path:
    """The real path that a text of the page names, if the board may use it.

    Args:
        text: relative to the current directory, or absolute; ``~`` is the home folder.
        must_exist: whether there has to be something.
        for_writing: the Hugging Face cache, the allowed folders themselves, hidden names and names with white space
            (which torchrun's command line cannot hold) are refused, too.

    Raises:
        NotAllowed: with the key of a message for the page.
    """
    plain = "" if text is None else str(text).strip()
    if not plain:
        raise NotAllowed("dba_path_empty", "No path is given.")
    shown = plain if len(plain) <= 100 else plain[:100] + "…"
    allowed = roots() if for_writing else reading_roots()
    try:
        if "\0" in plain or len(plain) > LONGEST:
            raise ValueError
        path = Path(plain).expanduser().resolve()
        exists = path.exists()
    except (OSError, RuntimeError, ValueError):
        raise NotAllowed("dba_path_unreadable", "This cannot be a path.", path=shown) from None
    root = next((folder for folder in allowed if path.is_relative_to(folder)), None)
    if root is None:
        raise NotAllowed(
            "dba_path_outside",
            "This path leads out of the folders that the board may use.",
            path=shown,
            allowed=", ".join(map(str, allowed)),  # in full: "." at the end of a sentence looks like ".."
        )
    if must_exist and not exists:
        raise NotAllowed("dba_path_missing", "There is nothing at this path.", path=shown)
    if for_writing:
        _check_new(path, root, shown)
    return path


def _check_new(path: Path, root: Path, shown: str) -> None:
    parts = path.relative_to(root).parts
    shared = [*roots(), (Path.cwd() / SAVES).resolve(), (Path.cwd() / ANCHORS).resolve()]
    if not parts or path in shared:
        raise NotAllowed("dba_path_root", "This folder holds other things; name a new one in it.", path=shown)
    if any(part.startswith((".", "-")) for part in parts):
        raise NotAllowed("dba_path_hidden", "Names that begin with a dot or a dash are not written to.", path=shown)
    if any(char.isspace() for part in parts for char in part):
        raise NotAllowed("dba_path_space", "The name of a new folder must not hold white space.", path=shown)


def shorten(path: Path) -> str:
    """As the page shows a path: relative to the current directory where it lies in there."""
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
