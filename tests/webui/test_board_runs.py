"""A training through the board's Start button: two pages, no page, a board that is killed, a child that is killed."""

import json
import os
import shutil
import signal
import threading
import time

import psutil
import pytest
import yaml
from board_process import DBA, TRAIN, BoardProcess


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FORM = {
    **TRAIN,
    **DBA,
    "train__batch_size": 8,
    "train__gradient_accumulation_steps": 1,
    "train__extra_args": '{"use_cpu": true, "preprocessing_num_workers": 1, "logging_steps": 2}',
}
LONG = "3000.0"  # epochs: longer than any test
SOON = 500  # seconds; minutes only on a machine that does ten other things


@pytest.fixture
def folder(world, tmp_path):
    for name in ("model", "data", "anchor"):
        shutil.copytree(world / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def board(folder):
    process = BoardProcess(folder)
    yield process
    process.close()
    for state in folder.glob("saves/Custom/full/*/board/process.json"):
        end(json.loads(state.read_text(encoding="utf-8"))["pid"])


def end(pid):
    """A training outlives its board; not this test."""
    try:
        supervisor = psutil.Process(pid)
        for process in [*supervisor.children(recursive=True), supervisor]:
            process.kill()
    except psutil.NoSuchProcess:
        pass


def out(folder, name):
    return folder / "saves" / "Custom" / "full" / name


def begin(board, name, epochs):
    """Press Start as a page does; returns the page's updates, which go on arriving."""
    updates = []
    form = {**FORM, "train__output_dir": name, "train__num_train_epochs": epochs}

    def page():
        try:
            for update in board.steps("run_train", **form):
                updates.append(update)
        except (OSError, ValueError):
            pass  # the board was killed

    thread = threading.Thread(target=page, daemon=True)
    thread.start()
    return updates, thread


def wait(condition, seconds=SOON):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def lines(path):
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_a_run_is_trained_as_the_form_says_and_shown_on_two_pages(board, folder):
    updates, thread = begin(board, "one", "3.0")
    log = out(folder, "one") / "dba_log.jsonl"
    wait(lambda: len(updates) > 0)
    second = list(board.steps("watched"))
    thread.join(SOON)
    assert "Finished" in updates[-1]["train.output_box"]
    assert second  # the other page saw it, too, and no error ended it
    arguments = yaml.safe_load((out(folder, "one") / "training_args.yaml").read_text(encoding="utf-8"))
    assert arguments["dba_use_correction"] is False
    records = [json.loads(line) for line in lines(log)]
    assert len(records) == 18 and {record["correction"] for record in records} == {1.0}
    update = board.call("tick_train", top__lang="en", top__model_name="Custom", train__output_dir="one")
    assert "step 18 of 18. Finished." in update["dba.dba_train_state"]
    assert "polyline" in update["dba.dba_train_curve_similarity"]
    assert "polyline" in update["dba.dba_train_curve_loss"]


def test_a_run_outlives_its_board_and_the_next_board_shows_and_stops_it(board, folder):
    begin(board, "two", LONG)
    log = out(folder, "two") / "trainer_log.jsonl"
    wait(lambda: len(lines(log)) > 2)
    board.close()
    seen = len(lines(log))
    wait(lambda: len(lines(log)) > seen + 5)
    again = BoardProcess(folder)
    try:
        resumed = {}
        for update in again.steps("resume", output="train.resume_btn"):
            resumed.update({name: value for name, value in update.items() if value != {"__type__": "update"}})
        assert resumed["train.resume_btn"]["value"] is True
        assert resumed["dba.dba_train_enabled"]["value"] is True
        assert resumed["top.model_path"]["value"] == "model"
        assert "Training in" in again.call("tick_train", top__lang="en")["dba.dba_train_state"]
        pages = again.steps("watched")
        assert next(pages)["train.progress_bar"]["visible"] is True
        again.call("set_abort")
        last = list(pages)[-1]
        assert last["train.output_box"].startswith("Finished")  # the host's word for it
        wait(lambda: not running(folder, "two"))
    finally:
        again.close()


def running(folder, name):
    state = json.loads((out(folder, name) / "board" / "process.json").read_text(encoding="utf-8"))
    return state.get("code") is None and psutil.pid_exists(state["child"])


def test_a_run_that_is_to_end_with_its_board_does(board, folder):
    form = {**FORM, "dba__dba_train_with_board": True}
    form |= {"train__output_dir": "three", "train__num_train_epochs": LONG}
    threading.Thread(target=lambda: list(board.steps("run_train", **form)), daemon=True).start()
    wait(lambda: len(lines(out(folder, "three") / "trainer_log.jsonl")) > 2)
    board.close()
    wait(lambda: not running(folder, "three"))


def test_a_child_that_is_killed_from_outside_is_told_and_the_board_stays(board, folder):
    updates, thread = begin(board, "four", LONG)
    wait(lambda: len(lines(out(folder, "four") / "trainer_log.jsonl")) > 2)
    state = json.loads((out(folder, "four") / "board" / "process.json").read_text(encoding="utf-8"))
    os.kill(state["child"], signal.SIGKILL)
    thread.join(SOON)
    assert "killed" in updates[-1]["train.output_box"].lower()
    state = board.call("tick_train", top__lang="en", top__model_name="Custom", train__output_dir="four")
    assert "Killed from outside" in state["dba.dba_train_state"]
    assert board.call("preview_train", **{**FORM, "train__output_dir": "five"})["train.output_box"].startswith(
        "```bash"
    )


def test_a_half_written_log_does_not_end_the_page(board, folder):
    updates, thread = begin(board, "six", LONG)
    log = out(folder, "six") / "trainer_log.jsonl"
    wait(lambda: len(lines(log)) > 2)
    with log.open("a", encoding="utf-8") as file:
        file.write('{"current_steps": 1, "lo')
    # the training's next line is appended to the torn one, which stays for good
    count, steps = len(updates), len(lines(log))
    wait(lambda: len(updates) > count + 2 and len(lines(log)) > steps + 2)
    assert updates[-1]["train.progress_bar"]["visible"] is True
    state = board.call("tick_train", top__lang="en", top__model_name="Custom", train__output_dir="six")
    assert "Training in" in state["dba.dba_train_state"] and "polyline" in state["dba.dba_train_curve_loss"]
    board.call("set_abort")
    thread.join(SOON)
    assert not thread.is_alive()
