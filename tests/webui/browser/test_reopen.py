"""A training does not need the page that started it, nor the board: two browsers, closed ones, a board that ends."""

import os
import re
import signal
import urllib.request

import psutil
import pytest
from board_page import TRAINED


pytestmark = pytest.mark.browser


def start(page, anchor, name: str) -> None:
    """A training of 5,000 steps with DBA, which no test waits for."""
    page.choose_model()
    page.fill_training(name, epochs="100")
    panel = page.tab("train")
    page.page.locator("#dba_train_enabled input").check()
    page.pick("dba_train_anchor", "saves/anchors/clicked")
    page.type("dba_train_rank", "8")
    panel.get_by_role("button", name="Start").click()
    # by its name, since the page may still show the training before this one
    page.wait_text("dba_train_state", rf"{name}: step [1-9]\d* of 5000", TRAINED)


def step(page) -> int:
    found = re.search(r"step (\d+) of", page.page.locator("#dba_train_state").inner_text())
    assert found is not None
    return int(found[1])


def advance(page, beyond: int) -> int:
    """Wait for a later step than one that was seen."""
    for _ in range(int(TRAINED)):
        if step(page) > beyond:
            return step(page)
        page.page.wait_for_timeout(1000)
    raise AssertionError(f"no step after {beyond}")


def trainers(page, board, name: str) -> list[psutil.Process]:
    """The processes of a training; the page may still show the one before it."""
    for _ in range(int(TRAINED)):
        running = [child for child in board.children() if f"{name}/training_args.yaml" in " ".join(child.cmdline())]
        if running:
            return running
        page.page.wait_for_timeout(1000)
    raise AssertionError(f"no training of {name}")


def end(page, board) -> None:
    page.tab("train").get_by_role("button", name="Abort").click()
    for _ in range(120):
        if not board.children():
            return
        page.page.wait_for_timeout(500)
    raise AssertionError([child.cmdline() for child in board.children()])


def test_two_browsers_and_one_that_is_closed(anchor, visit, board):
    first = visit()
    start(first, anchor, "two")
    second = visit(390)
    second.tab("train")
    second.wait_text("dba_train_state", r"two: step [1-9]\d* of 5000", TRAINED)
    # what the second does is nothing to the first
    second.tab("results")
    second.page.locator("#dba_results_find").click()
    second.language("ko")
    seen = advance(first, step(first))
    assert first.page.locator("#dba_tab_results-button").inner_text() == "Results"
    first.page.context.close()
    third = visit()
    third.tab("train")
    third.wait_text("dba_train_state", r"two: step [1-9]\d* of 5000", TRAINED)
    assert advance(third, seen) > seen
    third.picture("reopened")
    end(third, board)


def test_a_child_that_is_killed_from_outside_is_told_and_the_board_stays(anchor, visit, board):
    page = visit()
    start(page, anchor, "killed")
    for child in trainers(page, board, "killed"):
        os.kill(child.pid, signal.SIGKILL)
    page.wait_text("dba_train_state", r"[Kk]illed from outside", 60)
    page.picture("killed")
    assert urllib.request.urlopen(f"{board.url}/config").status == 200
    end(page, board)


def test_a_log_that_is_half_written_is_drawn_as_far_as_it_goes(visit, board):
    folder = board.folder / "saves/Custom/full/half"
    folder.mkdir(parents=True)
    line = '{"current_steps": %d, "total_steps": 9, "loss": 2.5, "percentage": 1, "elapsed_time": "0:01", '
    line += '"remaining_time": "0:01"}\n'
    (folder / "trainer_log.jsonl").write_text(line % 1 + line % 2 + line[:20], encoding="utf-8")
    page = visit()
    page.tab("results")
    page.type("dba_results_folder", "saves")
    page.page.locator("#dba_results_find").click()
    page.wait_text("dba_results_table", "half")
    # and in the Train panel, once the form names it
    page.choose_model()
    page.page.get_by_role("tab", name="Train").first.click()
    field = page.by_label("Output dir")
    field.fill("half")
    field.press("Enter")
    field.evaluate("(field) => field.blur()")
    page.tab("train")
    page.wait_text("dba_train_state", "half: step 2 of 9")
    page.page.locator("#dba_train_curve_loss polyline").first.wait_for(state="attached")
    page.picture("half-written")


def test_a_board_that_is_started_again_finds_the_training(anchor, visit, board):
    page = visit()
    start(page, anchor, "outlives")
    before = step(page)
    page.page.context.close()
    board.restart()
    assert any("training_args" in part for child in board.children() for part in child.cmdline())
    later = visit()
    later.choose_model()
    later.tab("train")
    later.wait_text("dba_train_state", r"outlives: step [1-9]\d* of 5000", TRAINED)
    assert advance(later, before) > before
    later.picture("restarted")
    end(later, board)
