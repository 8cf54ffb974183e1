"""Who watches an anchor run reads its progress; Ctrl-C and SIGTERM save the state, and the run goes on bit for bit."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest
import support
import torch
import yaml
from safetensors.torch import load_file
from support import anchor_arguments

from llamafactory_dba.anchor.estimate import PROGRESS_FILE
from llamafactory_dba.anchor.format import read_config
from llamafactory_dba.anchor.inspect import compare_anchors
from llamafactory_dba.training.anchor_progress import AnchorProgress
from llamafactory_dba.training.stop_request import StopRequest


CHANGES = {"dba_anchor_check_steps": 2, "per_device_train_batch_size": 4}  # 12 steps


def signal_at(monkeypatch, step, number, times=1):
    """Send this process a signal in the middle of a step."""
    original = AnchorProgress.on_step_end

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == step:
            for _ in range(times):
                os.kill(os.getpid(), number)
        original(self, args, state, control, **kwargs)

    monkeypatch.setattr(AnchorProgress, "on_step_end", on_step_end)


def read(folder):
    return [json.loads(line) for line in (folder / PROGRESS_FILE).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_and_the_run_goes_on_bit_for_bit(world, tmp_path, monkeypatch, number):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    support.run_here(anchor_arguments(world, whole, **CHANGES))
    before = signal.getsignal(number)
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
        signal_at(patched, 5, number)
        support.run_here(anchor_arguments(world, broken, **CHANGES))
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) == before
    assert not broken.exists()
    steps, original = [], AnchorProgress.on_step_end

    def count(self, args, state, control, **kwargs):
        steps.append(state.global_step)
        original(self, args, state, control, **kwargs)

    monkeypatch.setattr(AnchorProgress, "on_step_end", count)
    support.run_here(anchor_arguments(world, broken, **CHANGES))
    assert steps == list(range(6, 13))  # dba_anchor_save_steps is 500: the signal alone saved
    left, right = (load_file(folder / "anchor.safetensors") for folder in (whole, broken))
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert read_config(whole).half_cosine == read_config(broken).half_cosine
    assert read_config(whole).data == read_config(broken).data


def test_progress_is_written_and_goes_on_after_a_stop(world, tmp_path, monkeypatch):
    out, partial = tmp_path / "anchor", tmp_path / "anchor.partial"
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        signal_at(patched, 5, signal.SIGINT)
        support.run_here(anchor_arguments(world, out, **CHANGES))
    lines = read(partial)
    assert [line["step"] for line in lines] == [2, 4]
    assert all(line["steps"] == 12 and line["tokens_per_second"] > 0 and line["seconds"] > 0 for line in lines)
    assert lines[0]["tokens"] < lines[1]["tokens"]
    # as a kill leaves it: steps that will be made again, and half a line
    with (partial / PROGRESS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({**lines[-1], "step": 6, "half_cosine": 9.0}) + '\n{"step": 8, "half')
    kept = {}
    original = AnchorProgress.on_train_end

    def keep(self, *args, **kwargs):
        kept["lines"] = read(partial)
        original(self, *args, **kwargs)

    monkeypatch.setattr(AnchorProgress, "on_train_end", keep)
    support.run_here(anchor_arguments(world, out, **CHANGES))
    measured = [(line["step"], line["half_cosine"]) for line in kept["lines"]]
    assert measured == list(read_config(out).half_cosine)
    assert kept["lines"][-1]["tokens"] == read_config(out).data.tokens
    seconds = [line["seconds"] for line in kept["lines"]]
    assert seconds == sorted(seconds)
    assert not partial.exists()


def test_a_second_ctrl_c_ends_at_once(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        signal_at(patched, 5, signal.SIGINT, times=2)
        support.run_here(anchor_arguments(world, tmp_path / "anchor", **CHANGES))
    assert not (tmp_path / "anchor.partial" / "state.pt").exists()


def test_a_signal_in_the_last_step_lets_the_run_finish(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        signal_at(patched, 12, signal.SIGTERM)
        support.run_here(anchor_arguments(world, tmp_path / "anchor", **CHANGES))
    assert read_config(tmp_path / "anchor").steps == 12


def test_a_log_that_cannot_be_written_does_not_end_the_run(world, tmp_path):
    (tmp_path / "anchor.partial" / PROGRESS_FILE).mkdir(parents=True)
    support.run_here(anchor_arguments(world, tmp_path / "anchor", **CHANGES))
    assert read_config(tmp_path / "anchor").steps == 12


def test_an_ignored_signal_stays_ignored():
    """A shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signal == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert (stop.signal, stop.exit_status) == (signal.SIGTERM, 143)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.distributed
def test_two_processes_stop_at_the_same_step(world, tmp_path):
    model = support.without_dropout(world / "model", tmp_path / "model")
    changes = {"model_name_or_path": str(model), "per_device_train_batch_size": 1, "dba_anchor_check_steps": 1}
    arguments = anchor_arguments(world, tmp_path / "anchor", **changes)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(arguments), encoding="utf-8")
    run = subprocess.Popen(
        ["llamafactory-cli", "train", "run.yaml"],
        cwd=tmp_path,
        env=support.environment(FORCE_TORCHRUN="1", NPROC_PER_NODE="2"),
        start_new_session=True,
    )
    partial = tmp_path / "anchor.partial"
    try:
        while not (partial / PROGRESS_FILE).exists() or not read(partial):
            assert run.poll() is None
            time.sleep(0.05)
        ranks = [item for item in psutil.Process(run.pid).children(recursive=True) if "RANK" in item.environ()]
        os.kill(next(item.pid for item in ranks if item.environ()["RANK"] == "1"), signal.SIGINT)  # one of them only
        assert run.wait(timeout=200) != 0
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert (partial / "state.pt").is_file()
    stopped = read(partial)[-1]["step"]
    assert stopped < 24
    support.run_cli(arguments, tmp_path, FORCE_TORCHRUN="1", NPROC_PER_NODE="2").check_returncode()
    assert read_config(tmp_path / "anchor").steps == 24
    whole = anchor_arguments(world, tmp_path / "whole", **changes)
    support.run_cli(whole, tmp_path, FORCE_TORCHRUN="1", NPROC_PER_NODE="2").check_returncode()
    # sums were averaged once more in between: fp32 rounding, which the cosine of the whole sees in its square
    cosine = compare_anchors(tmp_path / "anchor", tmp_path / "whole").total.cosine
    assert cosine == pytest.approx(1.0, abs=1e-6)
