"""`llamafactory-dba compare` as a user starts it: real trainings of the micro world, killed on the way."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.compare.worlds import ROOT, SMOKE, smoke, write
from tests.support import environment, run_cli, same_weights


pytestmark = pytest.mark.slow


def command(suite: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "llamafactory_dba.cli", "compare", str(suite), "--out", str(out), *more]


def run(suite: Path, out: Path, *more: str, timeout: float = 500) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(suite, out, *more),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_until(suite: Path, out: Path, words: str) -> subprocess.Popen:
    """Start it, and come back when it has said this."""
    process = subprocess.Popen(
        command(suite, out), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return process
    raise AssertionError(f"it never said {words!r}:\n{''.join(said)}")


def done(out: Path) -> dict[str, tuple[int, str]]:
    """Of every finished step: when its status was written, and its results."""
    found = {}
    for path in out.glob("**/status.json"):
        if '"done"' in path.read_text(encoding="utf-8"):
            results = [p.read_text(encoding="utf-8") for p in path.parent.glob("**/results.json")]
            found[str(path)] = (path.stat().st_mtime_ns, "".join(results))
    return found


def test_killed_twice_and_finished_by_the_same_command(tmp_path):
    out = tmp_path / "out"
    first = start_until(SMOKE, out, "direct/seed1: S")
    workers = psutil.Process(first.pid).children(recursive=True)
    assert workers
    first.send_signal(signal.SIGKILL)  # the runner alone: its worker has to see to itself
    first.wait()
    psutil.wait_procs(workers, timeout=30)
    assert not [w for w in workers if w.is_running() and w.status() != psutil.STATUS_ZOMBIE]
    after_first = done(out)
    assert len(after_first) >= 3, "anchor, base model, a run"

    second = start_until(SMOKE, out, "seed1: S")
    for worker in psutil.Process(second.pid).children(recursive=True):
        worker.kill()
    second.send_signal(signal.SIGKILL)
    second.wait()
    after_second = done(out)
    assert after_first.items() <= after_second.items()
    assert len(after_first) < len(after_second) < 6

    last = run(SMOKE, out)
    assert last.returncode == 0, last.stdout + last.stderr
    assert after_second.items() <= done(out).items(), "finished work is not done again"
    assert len(done(out)) == 6
    found = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert [row["state"] for row in found["runs"]] == ["done"] * 4
    assert all((row["step_overhead"] is not None) == (row["label"] == "dba") for row in found["runs"])
    assert all(row["step_overhead"] > 0 for row in found["runs"] if row["label"] == "dba")
    assert {entry["label"]: entry["n"] for entry in found["methods"]} == {"direct": 2, "dba": 2}
    assert "<html" in (out / "report.html").read_text(encoding="utf-8")
    assert not list((out / "runs").rglob("*.safetensors"))

    again = run(SMOKE, out)
    assert again.returncode == 0 and "to do: 0 trainings" in again.stdout

    results = json.loads(next(out.glob("runs/*/*/dba/seed1-*/out/results.json")).read_text(encoding="utf-8"))
    assert (results["run"]["method"], results["run"]["seed"], results["run"]["domain"]) == ("dba", 1, "finance")
    assert results["cost"]["wall_seconds"] > 0 and results["cost"]["anchor_bytes_on_disk"] > 0
    base = (next(out.glob("runs/*/*/dba/seed1-*/out")) / results["base"]).resolve()
    assert (base / "results.json").is_file()


def test_a_shared_process_trains_as_a_fresh_one_does(tmp_path):
    """The last of several runs in one worker, and the same train.yaml by `llamafactory-cli train`: bit for bit."""
    methods = {
        "lora": {"keys": {"finetuning_type": "lora", "lora_rank": 4, "bf16": True}},
        "wise": {"of": "lora", "frontier": [0.5]},
        "mix": {"mix": "1:1"},
        "dba": {"needs": ["anchor"], "keys": {"use_dba": True}},
    }
    raw = smoke(methods=methods, seeds=[1], keep_models=True, reference="mix")
    out = tmp_path / "out"
    done = run(write(raw, tmp_path), out)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("mix", "dba"):
        folder = next(out.glob(f"runs/*/*/{name}/*"))
        keys = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))
        fresh = {**keys, "output_dir": str(tmp_path / name)}
        fresh["model_name_or_path"] = str(ROOT / keys["model_name_or_path"])
        if name == "dba":
            fresh["dataset_dir"] = str(ROOT / keys["dataset_dir"])
        by_user = run_cli(fresh, tmp_path)
        assert by_user.returncode == 0, by_user.stdout + by_user.stderr
        assert same_weights(folder / "out", tmp_path / name), name
    found = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert {row["label"]: row["state"] for row in found["runs"]} == dict.fromkeys(
        ["lora", "wise [alpha=0.5]", "mix", "dba"], "done"
    )
    assert (next(out.glob("runs/*/*/wise/*")) / "frontier.json").is_file()


def test_a_process_for_each_run(tmp_path):
    raw = smoke(methods={"direct": {}}, seeds=[1], share_process=False)
    found = run(write(raw, tmp_path), tmp_path / "out")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 of 1 runs done" in found.stdout


def test_a_run_that_diverges_is_shown_and_counted(tmp_path):
    methods = {"wild": {"keys": {"learning_rate": 1.0e30, "max_grad_norm": 1.0e30}}, "direct": {}}
    found = run(write(smoke(methods=methods, seeds=[1]), tmp_path), tmp_path / "out")
    assert "DIVERGED" in found.stdout, found.stdout + found.stderr
    assert found.returncode == 0
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "| wild | – | – | – | – | 0 | 1 | 0 |" in table


def test_settings_that_the_host_does_not_take_are_all_said_before_anything_runs(tmp_path):
    methods = {
        "direct": {"keys": {"learning_rat": 1.0e-4}},
        "dba": {"keys": {"use_dba": True, "finetuning_type": "lora"}},
        "pro": {"keys": {"use_llama_pro": True}},
    }
    found = run(write(smoke(methods=methods), tmp_path), tmp_path / "out")
    assert found.returncode == 1
    assert "unknown key `learning_rat`; did you mean `learning_rate`?" in found.stderr
    assert "DBA needs `finetuning_type: full` or `freeze`" in found.stderr
    assert "`use_llama_pro` is only valid for Freeze or LoRA training" in found.stderr
    assert "Traceback" not in found.stderr
    assert not list((tmp_path / "out").glob("runs/**/train.yaml"))
