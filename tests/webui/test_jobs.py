"""Children of the board: real processes that outlive it, are stopped, killed and fail, with the end told in words."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import support
import yaml

from llamafactory_dba.errors import DBAError
from llamafactory_dba.webui import job_list, jobs, supervise
from llamafactory_dba.webui.locales import ALERTS, message


TOKEN = "hf_" + "Q" * 34
# writes what it sees into its own folder, then waits for a signal; the first SIGINT is obeyed after a short while
PATIENT = """
import signal, sys, time
stop = []
signal.signal(signal.SIGINT, lambda *_: stop.append(1))
print("ready", flush=True)
while not stop:
    time.sleep(0.02)
print("saved", flush=True)
sys.exit(130)
"""
STUBBORN = PATIENT.replace("while not stop", "while True")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for path in tmp_path.rglob(supervise.PROCESS):
        with contextlib.suppress(ValueError, TypeError, psutil.Error):
            process = psutil.Process(json.loads(path.read_text(encoding="utf-8"))["pid"])
            if process.pid == os.getpid():  # a test has written it there
                continue
            for item in [*process.children(recursive=True), process]:
                item.kill()


def start(code, name="job", **settings):
    return jobs.start(None, Path.cwd() / name, "test", command=[sys.executable, "-c", code], **settings)


def wait(job, *states, seconds=60):
    deadline = time.monotonic() + seconds
    while (now := jobs.state(job.folder)).state not in states:
        assert time.monotonic() < deadline, now
        time.sleep(0.02)
    return now


def wait_for(text, job, seconds=60):
    deadline = time.monotonic() + seconds
    while text not in jobs.log(job.folder):
        assert time.monotonic() < deadline, jobs.log(job.folder)
        time.sleep(0.02)


def say(job, lang="en"):
    return message(job.message, lang, code=job.code)


def test_a_run_from_start_to_end():
    job = start("import time; print('hello'); time.sleep(0.5)", facts={"output": "x"})
    assert (job.state, job.kind, job.facts) == ("running", "test", {"output": "x"})
    assert [item.folder for item in jobs.running()] == [job.folder]
    done = wait(job, "done", "failed", "stopped")
    assert (done.state, done.code, done.message, done.reason) == ("done", 0, "dba_job_done", "")
    assert done.ended >= job.started
    assert jobs.log(job.folder) == "hello\n"
    assert jobs.running() == [] and [item.state for item in jobs.known("test")] == ["done"]
    assert jobs.known("other") == []


def test_arguments_become_yaml_without_secrets_and_without_a_shell(monkeypatch):
    arguments = {"a": "$(touch hacked); `id` && echo 'x'", "hub_token": TOKEN, "swanlab_api_key": "k", "b": None}
    show = [sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())"]
    job = jobs.start(arguments, Path.cwd() / "job; touch hacked", "test", command=show)
    assert wait(job, "done", "failed").state == "done"
    assert yaml.safe_load(jobs.log(job.folder)) == {"a": arguments["a"], "b": None}
    assert jobs.arguments_of(job.folder) == {"a": arguments["a"], "b": None}
    assert not list(Path.cwd().rglob("hacked"))


def test_tokens_are_hidden_wherever_they_are_printed(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    code = "import os; print(os.environ['HF_TOKEN']); print('key=' + os.environ['WANDB_API_KEY'] + '!'); 1/0"
    job = start(code + f"; print('{TOKEN}')")
    failed = wait(job, "failed", "done")
    assert failed.state == "failed"
    for path in (path for path in Path.cwd().rglob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8")
        if path.name == supervise.JOB:  # the command of this test holds it; the board's own never do
            continue
        assert TOKEN not in text and "0123456789abcdef" not in text, path
    assert "ZeroDivisionError" in failed.reason
    assert supervise.HIDDEN in jobs.log(job.folder)


def test_other_things_are_not_hidden():
    text = "TOKENIZERS sk-learn 121,150 tokens, hf_hub, half_cosine 0.52"
    assert supervise.hide(text, supervise.secrets_of({"TOKENIZERS_PARALLELISM": "false", "HF_TOKEN": ""})) == text


def test_a_failure_is_told_in_the_command_s_own_words():
    code = "from llamafactory_dba.errors import DBAError\nprint('before')\n"
    code += "raise DBAError('No data.', expected='rows', found='none', next_step='add some')"
    failed = wait(start(code), "failed", "done")
    assert (failed.code, failed.message) == (1, "dba_job_failed")
    assert failed.reason == "No data.\n  expected: rows\n  found: none\n  next step: add some"
    assert "1" in say(failed)


def test_a_program_that_is_not_there_is_told():
    job = jobs.start(None, Path.cwd() / "job", "test", command=["no-such-program-here"])
    failed = wait(job, "failed")
    assert failed.code == 127 and "no-such-program-here" in failed.reason


def test_stop_lets_it_save_and_says_stopped():
    job = start(PATIENT)
    wait_for("ready", job)
    assert jobs.stop(job.folder).stopping == 1
    stopped = wait(job, "stopped", "failed", "done")
    assert (stopped.state, stopped.code, stopped.message) == ("stopped", 130, "dba_job_stopped")
    assert jobs.log(job.folder) == "ready\nsaved\n"
    assert jobs.stop(job.folder).state == "stopped"  # once more does nothing


def test_a_second_stop_kills():
    job = start(STUBBORN)
    wait_for("ready", job)
    asked = jobs.stop(job.folder)
    assert (asked.state, asked.message) == ("running", "dba_job_stopping")
    jobs.stop(job.folder)
    stopped = wait(job, "stopped", "failed")
    assert (stopped.state, stopped.code) == ("stopped", -signal.SIGKILL)


def test_workers_of_torchrun_are_asked_not_torchrun_itself(tmp_path):
    """torchrun and its launcher end their children at once when they get the signal."""
    (tmp_path / "torchrun.py").write_text(
        "import subprocess, sys\n"
        "workers = [subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True) for _ in '12']\n"
        "print('launched', flush=True)\nsys.exit(max(worker.wait() for worker in workers))\n",
        encoding="utf-8",
    )
    launcher = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'torchrun.py', {PATIENT!r}]))"
    job = start(launcher)
    deadline = time.monotonic() + 60
    while jobs.log(job.folder).count("ready") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    jobs.stop(job.folder)
    stopped = wait(job, "stopped", "failed")
    assert (stopped.state, stopped.code) == ("stopped", 130)
    assert jobs.log(job.folder).count("saved") == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_killed_from_outside_is_told_with_its_last_lines(number):
    job = start("import time; print('step 7', flush=True); time.sleep(600)")
    wait_for("step 7", job)
    (child,) = psutil.Process(job.pid).children()
    child.send_signal(number)
    failed = wait(job, "failed", "done", "stopped")
    assert (failed.state, failed.message, failed.code) == ("failed", "dba_job_killed", -number)
    assert failed.reason == "step 7"


def test_the_whole_group_killed_from_outside_is_told():
    job = start("import time; print('step 7', flush=True); time.sleep(600)")
    wait_for("step 7", job)
    (child,) = psutil.Process(job.pid).children()
    os.killpg(job.pid, signal.SIGKILL)
    failed = wait(job, "failed", "done", "stopped")
    assert (failed.message, failed.code, failed.reason) == ("dba_job_lost", None, "step 7")
    with contextlib.suppress(psutil.TimeoutExpired):
        child.wait(10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_child_does_not_stay_behind_without_its_supervisor():
    job = start("import time; print('ready', flush=True); time.sleep(600)")
    wait_for("ready", job)
    (child,) = psutil.Process(job.pid).children()
    os.kill(job.pid, signal.SIGKILL)
    child.wait(20)
    assert wait(job, "failed").message == "dba_job_lost"


def test_a_process_that_has_got_the_number_since_is_not_taken_for_it():
    job = start("pass")
    wait(job, "done")
    path = job.folder / supervise.PROCESS
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "pid": os.getpid(), "code": None}), encoding="utf-8")
    assert jobs.state(job.folder).message == "dba_job_lost"
    assert jobs.stop(job.folder).state == "failed"  # and it is not signalled: this test goes on


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": ', "\0" * 100, '{"kind": "test"'])
def test_half_written_files_are_no_error(content):
    job = start("pass")
    wait(job, "done")
    (job.folder / supervise.PROCESS).write_text(content, encoding="utf-8")
    assert jobs.state(job.folder).state in ("running", "failed")
    (job.folder / supervise.JOB).write_text(content, encoding="utf-8")
    assert jobs.state(job.folder) is None
    assert jobs.known() == []
    for path in job_list.LIST.glob("*.json"):
        path.write_text(content, encoding="utf-8")
    assert jobs.known() == []


def test_one_run_per_folder_and_it_can_be_started_again():
    job = start(PATIENT)
    wait_for("ready", job)
    with pytest.raises(DBAError, match="under way"):
        start(PATIENT)
    jobs.stop(job.folder)
    wait(job, "stopped")
    again = start("print('again')")
    assert wait(again, "done", "failed").state == "done"
    assert jobs.log(again.folder) == "again\n"
    assert len(jobs.known()) == 1


def test_the_list_keeps_the_latest(monkeypatch):
    monkeypatch.setattr(job_list, "KEPT", 3)
    for number in range(5):
        wait(start("pass", name=f"job{number}"), "done")
    assert [job.folder.name for job in jobs.known("test")] == ["job4", "job3", "job2"]
    wait(start("pass", name="job2"), "done")
    assert jobs.latest("test").folder.name == "job2" and jobs.latest("other") is None


def test_a_folder_that_cannot_be_made_is_told(here):
    (here / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DBAError, match="cannot be started"):
        start("pass", name="file/job")


def test_a_full_disk_is_told_before_and_after_the_start(monkeypatch):
    usage = jobs.shutil.disk_usage
    with monkeypatch.context() as full:  # undo() would leave the test's folder, too
        full.setattr(jobs.shutil, "disk_usage", lambda path: usage(path)._replace(free=1000))
        with pytest.raises(DBAError, match="No space left"):
            start("pass")
    failed = wait(start("raise OSError(28, 'No space left on device')"), "failed")
    assert failed.message == "dba_job_disk_full"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_log_that_cannot_be_written_does_not_end_the_run(here):
    """The disk fills up during the run: it goes on, and its end and its last words are known all the same."""
    (here / "job").mkdir()
    job = start("import time; time.sleep(1); print('last words'); raise SystemExit(3)")
    (job.folder / supervise.LOG).unlink(missing_ok=True)
    (job.folder / supervise.LOG).symlink_to("/dev/full")
    failed = wait(job, "failed")
    assert (failed.code, failed.message) == (3, "dba_job_disk_full")
    assert failed.reason == "last words"


def test_progress_bars_leave_their_last_state():
    code = r"import sys; [print(f'\rbar: {n}%|##| {n}/100 [00:01]', end='') for n in range(100)]; print('[INFO] x')"
    job = start(code + "; print('\\rhalf', end='')")
    wait(job, "done", "failed")
    assert jobs.log(job.folder) == "[INFO] x\nhalf\n"


def test_it_outlives_the_board_and_a_new_board_finds_it(here):
    """The board is a process that starts a run and is killed."""
    board = f"""
import sys
from pathlib import Path
from llamafactory_dba.webui import jobs
jobs.start(None, Path.cwd() / "job", "test", command=[sys.executable, "-c", {PATIENT!r}])
print("started", flush=True)
import time; time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", board], cwd=here, stdout=subprocess.PIPE, text=True, env=support.environment()
    )
    assert process.stdout.readline() == "started\n"
    process.kill()
    process.wait()
    (job,) = jobs.running("test")
    wait_for("ready", job)
    jobs.stop(job.folder)
    assert wait(job, "stopped", "failed").state == "stopped"


def test_it_ends_with_the_board_where_that_is_asked_for(here):
    board = f"""
import sys
from pathlib import Path
from llamafactory_dba.webui import jobs
jobs.start(None, Path.cwd() / "job", "test", command=[sys.executable, "-c", {PATIENT!r}], end_with_board=True)
print("started", flush=True)
import time; time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", board], cwd=here, stdout=subprocess.PIPE, text=True, env=support.environment()
    )
    assert process.stdout.readline() == "started\n"
    (job,) = jobs.running("test")
    wait_for("ready", job)
    process.kill()
    process.wait()
    ended = wait(job, "failed", "stopped")
    assert ended.code == 130
    assert jobs.log(job.folder).endswith("saved\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a\nb", "a\nb"),
        ("Traceback\n  File\nValueError: wrong\n", "ValueError: wrong"),
        (
            "[rank1]: Traceback\n[rank1]: llamafactory_dba.errors.DBAError: No rank.\n"
            "subprocess.CalledProcessError: Command 'torchrun' returned 1",
            "No rank.",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory.", "torch.OutOfMemoryError: CUDA out of memory."),
    ],
)
def test_the_error_of_a_log(text, expected):
    assert jobs.reason_of(text) == expected


def test_every_state_is_told_in_every_language():
    keys = [key for key in ALERTS if key.startswith("dba_job_")]
    assert len(keys) == 8
    for key in keys:
        for lang in ALERTS[key]:
            assert message(key, lang, code=1)
