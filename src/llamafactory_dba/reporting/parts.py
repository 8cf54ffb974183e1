"""Generated parts of a written page: what lies between ``<!-- name:begin ... -->`` and ``<!-- name:end -->``."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ..files import write_file


def fill(text: str, parts: Mapping[str, str], page: str, *, gap: str = "\n") -> str:
    """Put every part between its markers; text around them is left alone.

    Args:
        text: of the page.
        parts: name → text.
        page: its name, for the error.
        gap: between a marker and its part, beside the end of the line.

    Raises:
        ValueError: a part's markers are missing or occur twice.
    """
    for name, content in parts.items():
        marker = re.compile(rf"(<!-- {name}:begin\b[^>]*-->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        if len(marker.findall(text)) != 1:
            raise ValueError(f"{page} must have <!-- {name}:begin --> and <!-- {name}:end --> once")
        text = marker.sub(lambda match, new=content: f"{match[1]}{gap}{new}\n{gap}{match[2]}", text)  # type: ignore[misc]
    return text


def write_or_check(files: Mapping[Path, str], *, check: bool, command: str) -> None:
    """Write the files whose text is another; or change nothing, show the differences and fail.

    Args:
        files: path → new text.
        check: whether to change nothing.
        command: what brings them up to date.

    Raises:
        SystemExit: with ``check``, something is out of date.
    """
    late = []
    for path, new in files.items():
        old = path.read_text(encoding="utf-8")
        if new == old:
            continue
        if check:
            late.append(path.name)
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), new.splitlines(True), path.name, "generated")
            )
        else:
            write_file(path, new)
    if late:
        raise SystemExit(f"{', '.join(late)} is out of date: run `{command}`")
