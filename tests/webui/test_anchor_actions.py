"""The Anchor panel's actions without a page: the states of a run, downloads, and what a handler must survive."""

import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from anchor.hub_server import Hub, Repository

from llamafactory_dba.anchor.estimate import PROGRESS_FILE, STATE_FILE
from llamafactory_dba.anchor.format import read_config
from llamafactory_dba.webui import anchor_actions as actions
from llamafactory_dba.webui import anchor_view as view
from llamafactory_dba.webui import anchors, jobs, paths
from llamafactory_dba.webui.board import Board
from llamafactory_dba.webui.locales import LANGUAGES
from llamafactory_dba.webui.markup import clock, problem, records, size_of


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    folder = tmp_path / "board"
    shutil.copytree(world / "model", folder / "model")
    shutil.copytree(world / "data", folder / "data")
    monkeypatch.chdir(folder)
    for module in (anchors, paths):
        monkeypatch.setattr(module.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


def board(demo=False, training=False):
    return Board(SimpleNamespace(demo_mode=demo, runner=SimpleNamespace(running=training)))


def run(code, kind=actions.KIND, name="saves/a"):
    """A job that stands for an anchor run; it is waited for."""
    folder = Path.cwd() / name
    facts = {"folder": str(folder), "output": name}
    job = jobs.start(
        None, folder.with_name(folder.name + ".job"), kind, command=[sys.executable, "-c", code], facts=facts
    )
    return wait(job)


def wait(job, seconds=120):
    deadline = time.monotonic() + seconds
    while jobs.state(job.folder).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return jobs.state(job.folder)


def progress(lines, name="saves/a"):
    folder = Path.cwd() / f"{name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROGRESS_FILE).write_text(lines, encoding="utf-8")
    return folder


LINE = '{"step": 25, "steps": 100, "seconds": 50.0, "tokens": 5000, "tokens_per_second": 99.6, "half_cosine": 0.4}\n'


@pytest.mark.parametrize("lang", [*LANGUAGES, None])
def test_every_state_is_shown_in_every_language(here, lang):
    folder = here / "saves" / "a"
    job = run("pass")
    states = ("dba_job_running", "dba_job_stopping", "dba_job_done", "dba_job_stopped", "dba_job_failed")
    for lines in ("", LINE, LINE.replace("25", "100"), LINE[:40], LINE + LINE[:30]):
        progress(lines)
        for key in (*states, "dba_job_killed", "dba_job_lost", "dba_job_disk_full"):
            kind = {"running": "running", "stopping": "running", "done": "done", "stopped": "stopped"}
            state = kind.get(key.removeprefix("dba_job_"), "failed")
            fake = jobs.Job(job.folder, "anchor", 1, state, 0.0, None, key, "a <b>", 1, 0, job.facts)
            text = view.status(fake, folder, lang)
            ElementTree.fromstring(text)
            assert "dba_" not in text and "<b>a" not in text
    assert view.status(None, None, lang) and ElementTree.fromstring(view.curve(None, lang)) is not None


def test_numbers_of_a_run(here):
    job = run("pass")
    progress(LINE)
    running = jobs.Job(job.folder, "anchor", 1, "running", 0.0, None, "dba_job_running", facts=job.facts)
    now = view.progress_of(here / "saves" / "a")
    assert (now.step, now.steps, now.tokens, now.rate, now.cosine) == (25, 100, 5000, 99.6, 0.4)
    assert now.remaining == 150.0  # 75 steps of 2 seconds
    text = "".join(ElementTree.fromstring(view.status(running, here / "saves" / "a", "en")).itertext())
    for part in ("Step 25 of 100", "(25%)", "100 tokens/s", "2:30 remaining", "0:50 elapsed", "5,000 tokens read"):
        assert part in text, text
    progress(LINE.replace("25", "100"))
    assert "being compressed" in view.status(running, here / "saves" / "a", "en")
    progress("")
    assert "being loaded" in view.status(running, here / "saves" / "a", "en")


def test_whether_it_can_go_on(here):
    failed = run("raise SystemExit(1)")
    folder = here / "saves" / "a"
    assert view.resumable_step(folder) is None and "starts anew" in view.status(failed, folder, "en")
    (progress(LINE) / STATE_FILE).write_bytes(b"x")
    assert view.resumable_step(folder) == 25 and "from step 25" in view.status(failed, folder, "en")
    progress("")
    assert view.resumable_step(folder) == 0 and "from what was saved" in view.status(failed, folder, "en")


def test_a_page_gets_only_what_has_changed(here):
    def look(seen, **changes):
        values = {"lang": "en", "model_path": "model", "pick": None, **changes}
        answer = actions.watch_anchor(values["lang"], values["model_path"], values["pick"], seen)
        assert len(answer) == len(actions.LIVE) + 1
        skip = {"__type__": "update"}
        return {name for name, value in zip(actions.LIVE, answer, strict=False) if value != skip}, answer[-1]

    first, seen = look({})
    assert "dba_anchor_status" in first and "dba_anchor_list" in first
    assert look(seen)[0] == set()
    assert look(seen, lang="ja")[0] >= {"dba_anchor_status", "dba_anchor_curve", "dba_anchor_list"}
    assert look(seen, model_path="data")[0] == {"dba_anchor_list", "dba_anchor_pick"}
    run("print('x')")
    changed, seen = look(seen)
    assert {"dba_anchor_status", "dba_anchor_log_box"} <= changed
    progress(LINE)
    changed, seen = look(seen)
    assert changed == {"dba_anchor_status", "dba_anchor_curve"}
    assert look(seen)[0] == set()
    assert look(None)[0] and look("nonsense")[0]  # a page may send anything


def test_an_unexpected_error_is_told_in_its_place(here, monkeypatch):
    monkeypatch.setattr(jobs, "latest", lambda kind: 1 / 0)
    answer = actions.watch_anchor("en", "model", None, {"list": 1})
    assert "ZeroDivisionError" in answer[0] and answer[-1] == {"list": 1}


def test_what_is_refused(here):
    form = {"dba_anchor_with_board": False}
    assert [item.key for item in actions.start_anchor(board(demo=True), form, "", "", "").problems] == ["dba_demo"]
    busy = actions.start_anchor(board(training=True), form, "", "", "")
    assert [item.key for item in busy.problems] == ["dba_anchor_train_busy"]
    nothing = actions.resume_anchor(board())
    assert [item.key for item in nothing.problems] == ["dba_anchor_not_resumable"]
    assert "demonstration" in actions.pull_anchor(board(demo=True), "en", "a/b", "")
    assert "leads out" in actions.show_anchor("/etc", "en") and actions.show_anchor(None, "en") == ""
    assert "✗" in actions.show_anchor("data", "en")
    actions.stop_anchor()  # nothing runs: nothing happens


@pytest.mark.parametrize("text", ["", None, "name", "a b/c", "--out/x/y", "../../x", "a/b; ls", 7])
def test_what_is_no_hub_id_is_told(here, text):
    assert "owner/name" in actions.pull_anchor(board(), "en", text, "")
    assert jobs.known() == []


def test_a_download_goes_only_where_the_board_may_write(here):
    assert "leads out" in actions.pull_anchor(board(), "en", "owner/name", "../../x")
    assert "leads out" in actions.pull_anchor(board(), "en", "owner/name", "/etc/anchor")
    assert jobs.known() == []


def test_an_anchor_is_pulled_by_its_hub_id(here, world, tmp_path, monkeypatch):
    for name, value in {
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "alice",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "WANDB_API_KEY": "f" * 40,
    }.items():
        monkeypatch.setenv(name, value)
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        files = {path.name: path.read_bytes() for path in (world / "anchor").iterdir()}
        hub.repositories["alice/mine"] = Repository(private=True)
        hub.repositories["alice/mine"].commit("main", files, "first")
        text = actions.pull_anchor(board(), "en", " alice/mine ", "")
        assert "Downloading alice/mine" in text
        (job,) = jobs.known(actions.PULL)
        assert wait(job).state == "done", jobs.log(job.folder)
        (found,) = anchors.find("model")
        assert found.folder == "saves/anchors/mine" and found.fits and found.hub_id.startswith("alice/mine@")
        assert read_config(here / "saves" / "anchors" / "mine").rank == 8
        assert "alice/mine is in saves/anchors/mine" in view.pull_status(wait(job), "en")
        # again: the folder is taken, and the command's own words say so
        actions.pull_anchor(board(), "en", "alice/mine", "")
        failed = wait(jobs.known(actions.PULL)[0])
        assert failed.state == "failed" and "<pre" in view.pull_status(failed, "en")
        actions.pull_anchor(board(), "en", "alice/nothing", "saves/n")
        failed = wait(jobs.known(actions.PULL)[0])
        assert failed.state == "failed" and "no hub repository" in failed.reason
    for path in (path for path in here.rglob("*") if path.is_file()):
        assert b"f" * 40 not in path.read_bytes(), path


def test_small_words():
    assert [clock(value) for value in (0, 59.6, 61, 3723, -5)] == ["0:00", "1:00", "1:01", "1:02:03", "0:00"]
    assert [size_of(value) for value in (12, 250_000, 3_200_000, 5_100_000_000)] == [
        "0 kB",
        "250 kB",
        "3.2 MB",
        "5.10 GB",
    ]
    assert problem([]) == "" and "&lt;b&gt;" in problem(["<b>"])
    assert "&lt;i&gt;" in records([{"a": "<i>"}])
