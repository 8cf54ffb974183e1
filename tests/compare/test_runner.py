"""The runner with a worker that answers at once: real processes, files and signals, but no training."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from llamafactory_dba.compare import inventory
from llamafactory_dba.compare.guard import only_runner
from llamafactory_dba.compare.run import compare
from llamafactory_dba.errors import DBAError
from tests.compare.worlds import ROOT, fake_worker, smoke, write


@pytest.fixture
def start(tmp_path):
    """Start a comparison of a suite; returns the outcome and the lines that it said."""
    worker = fake_worker(tmp_path)

    def begin(raw: dict, **options):
        lines: list[str] = []
        outcome = compare(write(raw, tmp_path), tmp_path / "out", say=lines.append, **{"worker": worker, **options})
        return outcome, "\n".join(lines)

    return begin


def methods(**rates: float) -> dict:
    return {name: {"keys": {"learning_rate": rate}} for name, rate in rates.items()}


def found(out: Path) -> dict:
    return json.loads((out / "compare.json").read_text(encoding="utf-8"))


def stamps(out: Path) -> dict[str, str]:
    """When each training was made."""
    return {str(path): path.read_text() for path in out.glob("runs/*/*/*/*/out/trained.txt")}


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_all_is_done_and_nothing_twice(start, tmp_path):
    outcome, text = start(smoke())
    assert (outcome.failures, outcome.stopped, outcome.missing) == ((), "", 0)
    assert "[6/6]" in text and "4 of 4 runs done" in text
    out = tmp_path / "out"
    first, recipes = stamps(out), files(out / "runs")
    assert len(first) == 4
    assert not list((out / "runs").rglob("*.safetensors")), "weights are deleted after measuring"
    outcome, text = start(smoke())
    assert "to do: 0 trainings" in text
    assert stamps(out) == first and files(out / "runs") == recipes
    assert [row["state"] for row in found(out)["runs"]] == ["done"] * 4


def test_another_reference_makes_another_table_and_no_run(start, tmp_path):
    start(smoke())
    first = stamps(tmp_path / "out")
    assert found(tmp_path / "out")["suite"]["reference"] == "direct"
    start({**smoke(), "reference": "dba"})
    assert found(tmp_path / "out")["suite"]["reference"] == "dba"
    assert stamps(tmp_path / "out") == first


def test_a_dry_run_changes_nothing(start, tmp_path):
    _, text = start(smoke(estimate={"seconds_per_step": 2, "seconds_per_run": 1}), dry_run=True)
    assert not (tmp_path / "out").exists()
    assert "to do: 4 trainings, 0 points between weights, 1 anchors, 1 base models" in text
    assert "time: about 36 s with 1 at a time" in text  # 4 runs of 4 steps: 4 · (1 + 4 · 2)
    assert "  micro-instruct/finance/dba/seed2" in text
    start(smoke())
    before = files(tmp_path / "out")
    _, text = start(smoke(seeds=[1, 2, 3]), dry_run=True)
    assert files(tmp_path / "out") == before
    assert "4 done" in text and "to do: 2 trainings" in text


def test_a_failed_run_is_told_with_its_log_and_the_rest_goes_on(start, tmp_path):
    raw = smoke(methods=methods(bad=0.0625, good=1.0), reference="good")
    outcome, text = start(raw)
    assert [failure.name for failure in outcome.failures] == [
        "micro-instruct/finance/bad/seed1",
        "micro-instruct/finance/bad/seed2",
    ]
    assert "FAILED micro-instruct/finance/bad/seed1: ValueError: broken" in text
    assert "    last words of the log" in text
    assert "2 of 4 runs done" in text
    assert {row["label"]: row["state"] for row in found(tmp_path / "out")["runs"]} == {
        "bad": "missing",
        "good": "done",
    }
    good = {path: stamp for path, stamp in stamps(tmp_path / "out").items() if "/good/" in path}
    outcome, _ = start(raw)
    assert len(outcome.failures) == 2, "tried again"
    assert good.items() <= stamps(tmp_path / "out").items(), "what is done is not"


@pytest.mark.parametrize("rate, words", [(0.5, "the worker died (signal 9)"), (0.25, "it took longer than 3 s")])
def test_a_worker_that_dies_or_hangs_is_replaced(start, rate, words):
    raw = smoke(methods=methods(bad=rate, good=1.0), reference="good", seeds=[1], timeout=3)
    outcome, text = start(raw)
    assert [words in failure.error for failure in outcome.failures] == [True]
    assert "1 of 2 runs done" in text


def test_diverged_runs_are_counted(start, tmp_path):
    """One whose training stops at a number that is none, one that the measurement finds; neither is made again."""
    raw = smoke(methods=methods(stops=0.03125, good=1.0), reference="good")
    raw["sweeps"] = {"rate": {"key": "learning_rate", "values": [0.015625], "methods": ["good"]}}
    outcome, text = start(raw)
    assert outcome.failures == () and outcome.diverged == 4
    assert "DIVERGED (DBAError: step 3 is not finite)" in text
    assert "DIVERGED (grad_norm is nan)" in text
    by_label = {entry["label"]: entry for entry in found(tmp_path / "out")["methods"]}
    assert [by_label[name]["diverged"] for name in ("stops", "good", "good [learning_rate=0.015625]")] == [2, 0, 2]
    assert by_label["stops"]["s"] is None and by_label["good"]["s"]["n"] == 2
    assert "| stops | – | – | – | – | 0 | 2 | 0 |" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "to do: 0 trainings" in start(raw)[1]
    lost = {entry["label"]: entry["lost"] for entry in found(tmp_path / "out")["differences"]}
    assert lost["stops"] == 2


def test_a_full_disk_on_the_way_stops_cleanly(start):
    outcome, text = start(smoke(methods=methods(first=0.125, second=1.0), reference="second"))
    assert "the disk is full" in outcome.stopped
    assert [failure.name for failure in outcome.failures] == ["micro-instruct/finance/first/seed1"]
    assert "0 of 4 runs done" in text, "nothing more was begun"
    outcome, _ = start(smoke(methods=methods(first=1.0, second=1.0), reference="second"))
    assert outcome.missing == 0


def test_a_full_disk_is_refused_before(start, monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(inventory.shutil, "disk_usage", lambda path: usage(2e6, 1e6, 1_000_000))
    with pytest.raises(DBAError, match="too full"):
        start(smoke())
    assert not list((tmp_path / "out").glob("runs"))


def test_a_changed_suite_never_finds_old_results(start, tmp_path):
    start(smoke())
    out = tmp_path / "out"
    before = stamps(out)
    changed = smoke()
    changed["methods"]["dba"]["keys"]["learning_rate"] = 7.0e-5
    _, text = start(changed, dry_run=True)
    assert "to do: 2 trainings" in text
    assert "stale (not of this suite, in no table; --remove-stale deletes): runs/micro-instruct/finance/dba/" in text
    start(changed)
    after = stamps(out)
    assert before.items() <= after.items() and len(after) == 6
    results = [row["results"] for row in found(out)["runs"]]
    assert len(results) == 4 and len(set(results)) == 4
    stale = {path for path in before if "/dba/" in path}
    assert not [path for path in stale if any(str(out / row).startswith(str(Path(path).parent)) for row in results)]
    _, text = start(changed, remove_stale=True)
    assert "removed 2 stale folders" in text
    assert stamps(out).keys() == after.keys() - stale


def test_only_some(start):
    _, text = start(smoke(), only=["finance/dba/seed2"])
    assert "1 chosen" in text and "1 of 1 runs done" in text
    with pytest.raises(DBAError, match="No run is of that name"):
        start(smoke(), only=["nothing"])


def test_points_between_weights_come_with_their_training(start, tmp_path):
    raw = smoke(methods={"direct": {}, "wise": {"of": "direct", "frontier": [0.5, 0.25]}})
    start(raw)
    rows = found(tmp_path / "out")["runs"]
    assert {row["label"] for row in rows} == {"direct", "wise [alpha=0.25]", "wise [alpha=0.5]"}
    assert all(row["state"] == "done" for row in rows)
    before = stamps(tmp_path / "out")
    raw["methods"]["wise"]["frontier"] = [0.5]
    start(raw)
    after = stamps(tmp_path / "out")
    assert before.keys() == after.keys() and before != after, "its weights are gone, so it is trained again"


def test_recipes_are_plain_and_say_where_they_are_from(start, tmp_path):
    start(smoke())
    recipe = next((tmp_path / "out").glob("runs/*/*/dba/*/train.yaml")).read_text(encoding="utf-8")
    assert "llamafactory-cli train" in recipe
    assert "dba_anchor_path:" in recipe and "output_dir:" in recipe


def test_two_runners_on_one_folder(start, tmp_path):
    out = tmp_path / "out"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\nimport time\n"
    code += "from llamafactory_dba.compare.guard import only_runner\n"
    code += f"with only_runner(Path({str(out)!r})):\n    print('held', flush=True)\n    time.sleep(60)\n"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DBAError, match=f"Another `compare` is at work(.|\n)*process {other.pid}"):
            start(smoke())
    finally:
        other.kill()
        other.wait()
    assert start(smoke())[0].missing == 0, "a killed runner holds nothing"


def test_a_new_runner_waits_for_children_of_a_killed_one(tmp_path, monkeypatch):
    code = "import sys\nfrom pathlib import Path\nimport time\n"
    code += "from llamafactory_dba.compare.guard import end_with_parent\n"
    code += f"end_with_parent(Path({str(tmp_path)!r}), {os.getpid()})\nprint('child', flush=True)\ntime.sleep(60)\n"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "child\n"
        monkeypatch.setattr("llamafactory_dba.compare.guard.WAIT_SECONDS", 0.1)
        with pytest.raises(DBAError, match="do not end"), only_runner(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
    with only_runner(tmp_path):
        pass


def test_a_measurement_that_failed_is_made_again_without_training_again(start, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_MEASURE", "1")
    outcome, text = start(smoke())
    assert len(outcome.failures) == 4 and "ValueError: no score" in text
    before = stamps(tmp_path / "out")
    monkeypatch.delenv("FAKE_MEASURE")
    outcome, _ = start(smoke())
    assert outcome.missing == 0
    assert stamps(tmp_path / "out") == before


def test_an_answer_that_makes_no_sense_is_a_failure_and_not_the_end_of_a_slot(start, monkeypatch):
    raw = smoke(methods={"direct": {}, "wise": {"of": "direct", "frontier": [0.5]}})
    monkeypatch.setenv("FAKE_NONSENSE", "1")
    outcome, text = start(raw)
    assert len(outcome.failures) == 2, "both seeds were tried"
    assert "KeyError: 'points'" in text


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_run_that_was_killed_goes_on_from_its_checkpoint_or_starts_anew(start, tmp_path, checkpoint):
    start(smoke())
    folder = next((tmp_path / "out").glob("runs/*/*/direct/*"))
    (folder / "status.json").unlink()  # as if killed while it was training
    (folder / "out" / "half_done").touch()
    if checkpoint:
        (folder / "out" / "checkpoint-2").mkdir()
        (folder / "out" / "checkpoint-2" / "trainer_state.json").touch()
    start(smoke())
    assert (folder / "out" / "half_done").exists() == checkpoint
    assert "overwrite_output_dir: false" in (folder / "train.yaml").read_text(encoding="utf-8")
    assert not (folder / "out" / "checkpoint-2").exists(), "it goes with the weights"


def test_refused_settings_leave_no_table(start, tmp_path, monkeypatch):
    worker = [
        sys.executable,
        "-c",
        """
import json, sys
for line in sys.stdin:
    print(json.dumps({"ok": True, "value": {"problems": ["direct: unknown key `x`", "dba: no"]}}), flush=True)
""",
    ]
    with pytest.raises(DBAError, match="nothing was begun:\n  - direct: unknown key `x`\n  - dba: no"):
        start(smoke(), worker=worker)
    assert not (tmp_path / "out" / "compare.json").exists()


def test_a_worker_that_cannot_start_says_why(start):
    with pytest.raises(DBAError, match=r"could not be checked(.|\n)*exit status 1(.|\n)*ZeroDivisionError"):
        start(smoke(), worker=[sys.executable, "-c", "1 / 0"])


def test_damaged_status_files_are_work_to_do(start, tmp_path):
    start(smoke())
    status = next((tmp_path / "out").glob("runs/*/*/direct/*/status.json"))
    status.write_text(status.read_text(encoding="utf-8")[:40], encoding="utf-8")
    _, text = start(smoke())
    assert "to do: 1 trainings" in text and "4 of 4 runs done" in text


def test_more_jobs_than_one(start):
    outcome, text = start(smoke(), jobs=2)
    assert outcome.missing == 0 and "with 2 at a time" in text


def test_too_few_gpus(start):
    with pytest.raises(DBAError, match="fewer GPUs"):
        start(smoke(gpus_per_run=2), gpus=["0"])


def test_gpus_go_to_slots_in_groups(tmp_path):
    from llamafactory_dba.compare.pool import make_slots

    slots = make_slots(tmp_path, share=True, jobs=None, gpus=["0", "1", "3", "4"], gpus_per_run=2, worker=())
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0,1", "3,4"]


def test_killed_with_its_worker_and_finished_by_the_same_command(tmp_path):
    """The runner is killed while a run is under way; its worker ends too, and the next call does only the rest."""
    suite, out = write(smoke(), tmp_path), tmp_path / "out"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
    code += "from llamafactory_dba.compare.run import compare\n"
    code += "from llamafactory_dba.compare import runner\nrunner.SNAPSHOT_SECONDS = 0.0\n"
    code += f"compare(Path({str(suite)!r}), Path({str(out)!r}), worker={fake_worker(tmp_path)!r})\n"
    environment = {**os.environ, "FAKE_SECONDS": "2"}
    seen: list[dict[str, str]] = []
    for _ in range(2):
        runner = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for line in runner.stdout:
            if "/seed" in line and line.startswith("["):
                break
        runner.send_signal(signal.SIGKILL)
        runner.wait()
        seen.append(_done(out))
    assert 0 < len(seen[0]) < len(seen[1]) < 4
    # tables are written on the way, so that a killed call leaves some: what the first had done is in the second's
    assert sum(row["state"] == "done" for row in found(out)["runs"]) >= len(seen[0])
    assert (out / "table.md").is_file()
    time.sleep(3)  # the stand-in knows no guard; it ends when its standard input does
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
    last = _done(out)
    assert len(last) == 4
    assert seen[0].items() <= seen[1].items() <= last.items()
    assert not list((out / "runs").rglob("*.safetensors"))


def _done(out: Path) -> dict[str, str]:
    done = [p.parent for p in out.glob("runs/*/*/*/*/status.json") if '"done"' in p.read_text(encoding="utf-8")]
    return {str(folder): (folder / "out" / "trained.txt").read_text() for folder in done}


def test_interrupted_by_a_signal_it_writes_what_is_done(tmp_path):
    suite, out = write(smoke(), tmp_path), tmp_path / "out"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
    code += "from llamafactory_dba.compare.run import compare\n"
    code += f"compare(Path({str(suite)!r}), Path({str(out)!r}), worker={fake_worker(tmp_path)!r})\n"
    environment = {**os.environ, "FAKE_SECONDS": "2"}
    runner = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for line in runner.stdout:
        if "/seed" in line and line.startswith("["):
            break
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(60) != 0
    states = [row["state"] for row in found(out)["runs"]]
    assert "done" in states and "missing" in states
