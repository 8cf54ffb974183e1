"""An anchor by clicking, over HTTP on the stock board: real runs of the micro model, stopped, killed, resumed."""

import errno
import json
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from board_process import BoardProcess

from llamafactory_dba.anchor.estimate import STATE_FILE
from llamafactory_dba.anchor.format import read_config
from llamafactory_dba.anchor.inspect import compare_anchors


ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_" + "Z" * 34
HOST = {
    "top__lang": "en",
    "top__model_name": "Custom",
    "top__model_path": "model",
    "top__template": "qwen3_nothink",
}
FORM = {
    "dba__dba_anchor_dataset": ["micro_general_train"],
    "dba__dba_anchor_rank": 16,
    "dba__dba_anchor_cutoff": 64,
    "dba__dba_anchor_batch": 8,
    "dba__dba_anchor_check": 10,
    "dba__dba_anchor_compute": "fp32",
}
PROBLEMS = [f"dba.dba_anchor_problem_{name}" for name in ("data", "method", "output")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("board")
    shutil.copytree(ROOT / "data", place / "data")
    shutil.copytree(ROOT / "examples" / "micro" / "models" / "micro-instruct", place / "model")
    return place


@pytest.fixture(scope="module")
def board(folder):
    process = BoardProcess(folder, HF_TOKEN=TOKEN)
    yield process
    process.close()
    for path in folder.rglob("process.json"):
        try:
            supervisor = psutil.Process(json.loads(path.read_text(encoding="utf-8"))["pid"])
            for item in [*supervisor.children(recursive=True), supervisor]:
                item.kill()
        except psutil.Error:
            pass


class Page:
    """One browser: what it shows after each look."""

    def __init__(self, board, lang="en"):
        self.board, self.lang, self.shown = board, lang, {}
        self.session = f"page{time.monotonic_ns()}"

    def look(self, model="model"):
        item = self.board.event("watch_anchor")
        values = []
        for number in item["inputs"]:
            name = self.board.names.get(number)
            values.append({"top.lang": self.lang, "top.model_path": model}.get(name))
        body = {"data": values, "fn_index": item["id"], "session_hash": self.session}
        changed = self.board._post(item, body)
        changed = {name: value for name, value in changed.items() if value != {"__type__": "update"}}
        self.shown |= changed
        return changed

    def text(self, name):
        return self.shown[f"dba.dba_anchor_{name}"]

    def wait(self, *words, seconds=180):
        deadline = time.monotonic() + seconds
        while not any(word in str(self.text("status") if self.shown else "") for word in words):
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.5)
            self.look()
        return self.text("status")

    def enabled(self, button):
        return self.text(f"{button}_btn")["interactive"]


def start(board, **changes):
    answer = board.call("start_anchor", **{**HOST, **FORM, **changes})
    return [answer[name] for name in PROBLEMS]


def test_problems_are_told_and_nothing_starts(board, folder):
    data, method, output = start(board, top__model_name=None, top__model_path="", dba__dba_anchor_rank=0)
    assert "No model is chosen" in data and "Rank: a whole number" in method and output == ""
    (_, _, output) = start(board, dba__dba_anchor_out="../../etc/x", top__lang="zh")
    assert "超出了面板允许使用的目录" in output
    (data, _, _) = start(board, dba__dba_anchor_dataset=["<script>x</script>"])
    assert "<script" not in data and "&lt;script" in data
    assert not list(folder.glob("saves/**/*.job"))
    page = Page(board)
    page.look()
    assert "No anchor run yet" in page.text("status")
    assert page.enabled("start") and not page.enabled("stop") and not page.enabled("resume")


def test_preview(board):
    item = next(item for item in board.config["dependencies"] if "preview_general_data" in (item["api_name"] or ""))
    shown = board.post(item, ["data", ["micro_general_train"], 0, "en"])
    assert "rows 1 to 2 of 6000" in shown["dba.dba_anchor_preview_head"]
    assert shown["dba.dba_anchor_rows"].count("&quot;instruction&quot;") == 2
    shown = board.post(item, ["../", ["micro_general_train"], 0, "en"])
    assert "leads out" in shown["dba.dba_anchor_preview_head"]


@pytest.mark.slow
def test_start_stop_restart_of_the_board_resume_and_result(folder, board, tmp_path_factory):
    """The issue's path: progress is seen, the run outlives the board, a new one shows it, and it ends in an anchor."""
    assert start(board, dba__dba_anchor_out="saves/one") == ["", "", ""]
    (_, _, output) = start(board, dba__dba_anchor_out="saves/two")
    assert "already" in output and not (folder / "saves" / "two.job").exists()
    first, second = Page(board), Page(board, lang="ja")
    first.wait("cosine of halves")
    assert first.enabled("stop") and not first.enabled("start")
    assert "remaining" in first.text("status") and "<polyline" in first.text("curve")
    second.look()
    assert "実行中" in second.text("status")
    board.call("stop_anchor")
    stopped = first.wait("Stopped")
    assert "It can go on from step" in stopped and first.enabled("resume") and first.enabled("start")
    first.look()
    assert set(first.look()) <= {str(number) for number in board.components}  # the page's memory only: no flicker
    # killing the board does not stop the run, and the next board shows it
    answer = board.call("resume_anchor")
    assert [answer[name] for name in PROBLEMS] == ["", "", ""]
    before = Page(board).wait("tokens/s")
    assert before
    board.close()
    process = json.loads((folder / "saves" / "one.job" / "process.json").read_text(encoding="utf-8"))
    assert psutil.pid_exists(process["pid"])
    reopened = BoardProcess(folder, HF_TOKEN=TOKEN)
    try:
        page = Page(reopened)
        page.wait("Finished", "Failed")
        assert "Finished" in page.text("status") and "750 of 750" in page.text("status")
        config = read_config(folder / "saves" / "one")
        assert (config.rank, config.data.samples, config.steps) == (16, 6000, 750)
        assert config.fingerprint.total in page.text("result") and "data:image/png" in page.text("result")
        assert "fits: the same model" in page.text("list") and "saves/one" in json.dumps(page.text("pick"))
        page.look(model="data")  # another model path: the list follows
        assert "fits: the same model" not in page.text("list")
    finally:
        reopened.close()
    for path in [*folder.rglob("*.job/*"), *folder.rglob("*.yaml"), folder / "board.log"]:
        assert TOKEN not in path.read_text(encoding="utf-8", errors="replace"), path
    made = ROOT / "runs" / "demo" / "anchor"
    if made.is_dir():  # what the command line made of the same settings, where `make demo` has run
        assert compare_anchors(folder / "saves" / "one", made).total.cosine == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_a_child_killed_from_outside_and_one_that_fails(folder):
    board = BoardProcess(folder)
    try:
        tied = {"dba__dba_anchor_out": "saves/killed", "dba__dba_anchor_with_board": True}
        assert start(board, **tied) == ["", "", ""]
        asked = json.loads((folder / "saves" / "killed.job" / "job.json").read_text(encoding="utf-8"))
        assert asked["board"]["pid"] == board.process.pid and asked["facts"]["ends_with_board"]
        page = Page(board)
        page.wait("tokens/s")
        job = json.loads((folder / "saves" / "killed.job" / "process.json").read_text(encoding="utf-8"))
        psutil.Process(job["child"]).send_signal(signal.SIGKILL)
        failed = page.wait("Killed from outside", "Finished")
        assert "Killed from outside (status -9)" in failed and "Nothing was saved yet" in failed
        assert page.enabled("start") and not page.enabled("stop") and not page.enabled("resume")
        with urllib.request.urlopen(board.url + "/config", timeout=10) as answer:
            assert answer.status == 200
        # a problem that only the run itself can find: its own words are shown
        data = folder / "data" / "empty.json"
        data.write_text(json.dumps([{"instruction": "", "output": ""}]), encoding="utf-8")
        info = json.loads((folder / "data" / "dataset_info.json").read_text(encoding="utf-8"))
        info["empty"] = {"file_name": "empty.json"}
        (folder / "data" / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
        assert start(board, dba__dba_anchor_dataset=["empty"], dba__dba_anchor_out="saves/empty") == ["", "", ""]
        page.wait("saves/empty")
        assert "exit status 1" in page.wait("Failed", "Finished")
        assert "<pre" in page.text("status")
    finally:
        board.close()


@pytest.fixture
def small_disk(folder):
    """A disk of its own that is soon full, inside the board's folder."""
    place = folder / "saves" / "small"
    place.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(path):
    """Write until not a byte is free."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC


@pytest.mark.slow
def test_a_disk_that_fills_up_is_told_and_the_run_goes_on_once_there_is_room(folder, small_disk):
    board = BoardProcess(folder)
    try:
        out = {"dba__dba_anchor_out": "saves/small/one", "dba__dba_anchor_save": 5}
        assert start(board, **out) == ["", "", ""]
        page = Page(board)
        page.wait("tokens/s")
        wait_for_file(small_disk / "one.partial", STATE_FILE)
        fill(small_disk / "filler")
        failed = page.wait("disk is full", "Finished")
        assert "disk is full" in failed and "It can go on from" in failed
        assert page.enabled("start") and page.enabled("resume") and not page.enabled("stop")
        (_, _, output) = start(board, dba__dba_anchor_out="saves/small/two")
        assert "No space left on device" in output
        (small_disk / "filler").unlink()
        answer = board.call("resume_anchor")
        assert [answer[name] for name in PROBLEMS] == ["", "", ""]
        assert "750 of 750" in page.wait("Finished")
        assert read_config(small_disk / "one").steps == 750
    finally:
        board.call("stop_anchor")
        board.close()


def wait_for_file(folder, name, seconds=180):
    deadline = time.monotonic() + seconds
    while not (folder / name).exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
