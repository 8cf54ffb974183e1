"""What runs on the same device is told before anything starts beside it, unless that is wanted."""

import sys
import time

import pytest

from llamafactory_dba.webui import busy, jobs
from llamafactory_dba.webui.locales import LANGUAGES
from llamafactory_dba.webui.problems import MAIN


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for job in jobs.running():
        jobs.stop(job.folder), jobs.stop(job.folder)


def start(kind, folder, **arguments):
    command = [sys.executable, "-c", "import time; time.sleep(300)"]
    facts = {"folder": str(folder.with_name("anchor"))}
    return jobs.start(arguments, folder, kind, command=command, facts=facts)


def test_nothing_is_said_while_nothing_runs(here):
    assert busy.others(MAIN, "dba_train_beside", cpu=True) == []
    job = start("anchor", here / "anchor.job", use_cpu=True)
    jobs.stop(job.folder), jobs.stop(job.folder)
    deadline = time.monotonic() + 60
    while jobs.running():  # until its end is noted
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert busy.others(MAIN, "dba_train_beside", cpu=True) == []


def test_an_anchor_is_told_with_its_folder_and_the_way_to_go_on(here):
    start("anchor", here / "anchor.job", use_cpu=True)
    (found,) = busy.others(MAIN, "dba_train_beside", cpu=True)
    assert found.row == MAIN and found.key == "dba_busy_anchor"
    for lang in LANGUAGES:
        assert "anchor" in found.say(lang) and "dba_" not in found.say(lang)
    assert "“Start beside other runs”" in found.say("en")
    assert busy.others(MAIN, "dba_train_beside", cpu=True, kinds=("train",)) == []


def test_a_training_is_told_by_its_output_folder(here):
    (here / "run" / "board").mkdir(parents=True)
    (here / "run" / "training_args.yaml").write_text("use_cpu: true\n", encoding="utf-8")
    start("train", here / "run" / "board")
    (found,) = busy.others(MAIN, "dba_train_beside", cpu=True)
    assert "in run on the same device" in found.say("en")


def test_a_download_and_a_run_on_another_device_are_no_matter(here, monkeypatch):
    start("pull", here / "x.pull", use_cpu=True)
    assert busy.others(MAIN, "dba_train_beside", cpu=True) == []
    start("anchor", here / "anchor.job")
    monkeypatch.setattr("llamafactory.extras.misc.is_accelerator_available", lambda: True)
    assert busy.others(MAIN, "dba_train_beside", cpu=True) == []  # the anchor is on the GPU, the training is not
    assert len(busy.others(MAIN, "dba_train_beside", cpu=False)) == 1
