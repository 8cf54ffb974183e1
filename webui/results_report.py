"""The report page of what the Results panel shows: in a frame of the board, and as a file to download."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from llamafactory_dba.evaluation.results import FILE
from llamafactory_dba.files import write_file
from llamafactory_dba.reporting.page.collect import collect
from llamafactory_dba.reporting.page.write import to_html

from .locales import message
from .results_figures import frontiers_of
from .results_tables import text
from .runs import Listing, Run


NAME = "report.html"


def report_page(shown: Sequence[Run], listing: Listing) -> str:
    """The page of `llamafactory-dba report` over the shown runs with scores; "" where there is none.

    Raises:
        DBAError: they cannot stand in one report, such as different versions of a task.
    """
    runs = [run for run in shown if run.results is not None]
    if not runs:
        return ""
    files = [run.folder / FILE for run in runs] + [run.base_results for run in runs if run.base_results is not None]
    sweeps = [sweep.path.parent for domain in {run.domain for run in runs} for sweep in frontiers_of(listing, domain)]
    return to_html(collect([*dict.fromkeys(files), *dict.fromkeys(sweeps)]))


def framed(page: str, lang: str, *, dark: bool) -> str:
    """The page in a frame that may do nothing but show it: no script, no form, no way to the board around it.

    Args:
        page: light or dark as the system is.
        lang: of the frame's title.
        dark: what the board is; it may have been told otherwise than the system.
    """
    page = page.replace("(prefers-color-scheme: dark)", "all" if dark else "not all")
    page = page.replace('content="light dark"', f'content="{"dark" if dark else "light"}"')
    title = text(message("dba_results_report_title", lang))
    return f'<div class="dba-report"><iframe sandbox title="{title}" srcdoc="{text(page)}"></iframe></div>'


def to_file(page: str) -> Path:
    """A file that the board may hand out: in a folder of its own below the system's for temporary files."""
    path = Path(tempfile.mkdtemp(prefix="dba-report-")) / NAME
    write_file(path, page)
    return path
