"""A board and a browser for each session of tests; pages in every size and theme; screenshots, kept where asked for.

DBA_SCREENSHOTS=FOLDER keeps the pictures; without it they lie in pytest's temporary folder.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import browser
import psutil
import pytest
from board_page import WAIT, BoardPage, BoardProcess, build_folder


SANDBOX = ["--no-sandbox"]  # a container's root cannot have one; the page is our own


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Playwright's handle of the browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("playwright is not installed: `make test-browser` does it")
    program = browser.find()
    if program is None:
        pytest.skip(browser.NOT_HERE)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=SANDBOX)
        yield found
        found.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    named = os.environ.get("DBA_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class Board:
    """A board that can be started again in its folder."""

    folder: Path
    process: BoardProcess

    @property
    def url(self) -> str:
        """Changes with a restart."""
        return self.process.url

    def restart(self) -> None:
        """End the board, and only it, and start a new one."""
        self.process.stop()
        self.process = BoardProcess(self.folder)

    def children(self) -> list[psutil.Process]:
        """Everything that runs in the folder, but the board itself."""
        found = []
        for process in psutil.process_iter(["cwd"]):
            if process.info["cwd"] == str(self.folder) and process.pid != self.process.process.pid:
                found.append(process)
        return found


@pytest.fixture(scope="session")
def board(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """The stock board with the micro model and its data, for all tests."""
    folder = build_folder(tmp_path_factory.mktemp("board"))
    running = Board(folder, BoardProcess(folder))
    yield running
    running.process.stop()


@pytest.fixture(autouse=True)
def _nothing_runs_on(board: Board) -> Iterator[None]:
    """A training that a failed test has left would be what the next test finds."""
    yield
    left = board.children()
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may just have ended
            process.kill()
    psutil.wait_procs(left, timeout=60)


@pytest.fixture
def visit(chromium: Any, board: Board, pictures: Path) -> Iterator[Callable[..., BoardPage]]:
    """Opens pages, each in a browser of its own; none may have reported an error of ours at the end."""
    opened: list[BoardPage] = []

    def new_page(width: int = 1280, *, dark: bool = False, **query: str) -> BoardPage:
        # as a new user: the board would remember the language and model of the test before
        (board.folder / "llamaboard_cache/user_config.yaml").unlink(missing_ok=True)
        scheme = "dark" if dark else "light"
        height = 900 if width > 500 else 844
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        page = context.new_page()
        page.set_default_timeout(WAIT)
        opened.append(BoardPage(page, board.url, pictures))
        return opened[-1].open(**query)

    yield new_page
    errors = [error for page in opened for error in page.own_errors()]
    for page in opened:
        page.page.context.close()
    assert not errors


@dataclass
class Anchor:
    """What was seen while an anchor was computed by clicking."""

    folder: Path
    states: list[str]
    moved: list[str]


@pytest.fixture(scope="session")
def anchor(chromium: Any, board: Board, pictures: Path) -> Anchor:
    """An anchor of the micro model, made in the Anchor panel: started, stopped, resumed, finished."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT)
    seen = BoardPage(page, board.url, pictures).open()
    seen.choose_model()
    found = seen.make_anchor("saves/anchors/clicked")
    errors = seen.own_errors()
    context.close()
    assert not errors
    return Anchor(board.folder / "saves/anchors/clicked", *found)
