"""`llamafactory-dba anchor push|pull|card` as users call them: processes of their own, against a stand-in hub."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from anchor.helpers import config, truncations
from anchor.hub_server import Hub
from safetensors.torch import save_file
from typer.testing import CliRunner

from llamafactory_dba import cli
from llamafactory_dba.anchor.format import read_config, save_anchor
from llamafactory_dba.core.lowrank import truncate
from llamafactory_dba.errors import DBAError


@pytest.fixture
def hub():
    with Hub() as server:
        yield server


@pytest.fixture
def start(hub, tmp_path):
    """Starts a command with the hub's address, alice's token and a cache of its own in the environment."""

    def start(*arguments, **variables):
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_TOKEN": "alice",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        command = [sys.executable, "-m", "llamafactory_dba.cli", "anchor", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heed_ctrl_c
        )

    return start


def _heed_ctrl_c():
    """A shell starts background jobs with SIGINT ignored, and so would everything be that such a pytest starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def run(start):
    def run(*arguments, status=0, **variables):
        process = start(*arguments, **variables)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == status, output + errors
        assert "Traceback" not in errors and "alice" not in (output + errors).replace("alice/", "")
        return output + errors

    return run


@pytest.fixture
def mine(tmp_path):
    save_anchor(tmp_path / "mine", truncations(), config())
    return tmp_path / "mine"


def test_round_trip_and_offline_afterwards(hub, run, mine, tmp_path):
    output = run("push", "mine", "alice/finance", "--private", "-m", "first")
    commit = hub.repositories["alice/finance"].branches["main"]
    assert f"{hub.url}/alice/finance/commit/{commit}" in output and "dba_anchor_path: alice/finance`" in output
    assert hub.repositories["alice/finance"].private and hub.repositories["alice/finance"].messages[-1] == "first"
    assert f"finance: alice/finance@{commit}" in run("pull", "alice/finance", "--revision", commit)
    for name in ("anchor_config.json", "anchor.safetensors", "README.md", "anchor.png"):
        assert (tmp_path / "finance" / name).read_bytes() == (mine / name).read_bytes(), name
    assert f"on the hub    alice/finance@{commit}" in run("info", "alice/finance", "--plot", "a.svg")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")
    hub.stop()
    output = run("compare", "alice/finance", "mine", HF_HUB_OFFLINE="1")
    assert "cosine in total: 1.0000" in output and f"from the cache, commit {commit} (HF_HUB_OFFLINE" in output
    output = run("info", "alice/finance", status=1, HF_HOME=str(tmp_path / "empty"))
    assert "Error: The hub cannot be reached" in output and "anchor pull alice/finance --out FOLDER" in output


def press_ctrl_c(process):
    """Again if nothing happens: an interrupt within a destructor or a callback of C is lost in Python.

    Not soon, since the second would come while the first is being cleaned up after.
    """
    for wait in (20, 100):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=wait)
            return


@pytest.mark.parametrize("command", ["pull", "info", "push"])
def test_ctrl_c_in_the_middle(hub, start, mine, tmp_path, command):
    """A part of a large file has passed when the signal comes; the rest waits until the process has ended."""
    files = {path.name: path.read_bytes() for path in mine.iterdir()}
    large = {"anchor.safetensors": b"\0" * (1 << 23)}
    hub.add("alice/finance", {**files, **large})
    hub.hold = threading.Event()
    arguments = {
        "pull": ("pull", "alice/finance", "--out", "mine", "--overwrite"),
        "info": ("info", "alice/finance"),
        "push": ("push", "mine", "alice/new"),
    }[command]
    if command == "push":
        save_anchor(mine, {"w": truncate(torch.randn(2400, 2400), 2400)}, config(), overwrite=True)
        files = {path.name: path.read_bytes() for path in mine.iterdir()}
    process = start(*arguments)
    assert hub.sending.wait(240), process.communicate()
    press_ctrl_c(process)
    hub.hold.set()
    assert process.returncode not in (0, None)
    assert not any(request.startswith("POST") and "/commit/" in request for request in hub.requests)
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == files, "the anchor that was there is intact"
    assert {path.name for path in tmp_path.iterdir()} <= {"mine", "home"}, "nothing is left behind"


def here(*arguments):
    """In this process; raises what the user would be told."""
    result = CliRunner().invoke(cli.app, ["anchor", *arguments])
    if isinstance(result.exception, DBAError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_card_rewrites_card_and_header(mine, tmp_path):
    weights = (mine / "anchor.safetensors").read_bytes()
    header = json.loads((mine / "anchor_config.json").read_text())
    (mine / "anchor_config.json").write_text(json.dumps({**header, "of_a_later_version": 1}))
    assert (
        here("card", str(mine), "--licence", "cc-by-4.0", "--base-model", "other/model").strip().endswith("README.md")
    )
    text = (mine / "README.md").read_text(encoding="utf-8")
    assert (
        "license: cc-by-4.0" in text
        and "base_model: other/model" in text
        and "model_name_or_path: other/model" in text
    )
    found = read_config(mine)
    assert found.licence == "cc-by-4.0" and found.base_model.id == "other/model" and found.base_model.revision == "abc"
    assert json.loads((mine / "anchor_config.json").read_text())["of_a_later_version"] == 1
    assert (mine / "anchor.safetensors").read_bytes() == weights
    assert not [path for path in mine.iterdir() if path.name.startswith(".")]


def test_card_elsewhere(mine, tmp_path):
    here("card", str(mine), "--out", str(tmp_path / "page" / "new"))
    assert {path.name for path in (tmp_path / "page" / "new").iterdir()} == {"README.md", "anchor.png"}
    assert not (mine / "README.md").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(DBAError, match="card cannot be written"):
        here("card", str(mine), "--out", str(tmp_path / "file"))


def test_what_the_commands_refuse(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DBAError, match="named twice"):
        here("pull", "alice/finance@v1", "--revision", "v2")
    with pytest.raises(DBAError, match="is not there"):
        here("push", "nowhere", "alice/finance")
    with pytest.raises(DBAError, match="is not there"):
        here("card", "nowhere")
    with pytest.raises(DBAError, match="holds an anchor already"):
        here("pull", "alice/mine")  # the default folder is the repository's name
    save_file({}, mine / "anchor.safetensors")
    with pytest.raises(DBAError, match="damaged"):
        here("push", "mine", "alice/finance")


def test_plot_of_info(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "picture: a.png" in here("info", "mine", "--plot", "a.png")
    before = (tmp_path / "a.png").read_bytes()
    assert before.startswith(b"\x89PNG")
    with pytest.raises(DBAError, match=r"\.svg"):
        here("info", "mine", "--plot", "a.jpg")
    with pytest.raises(DBAError, match="picture cannot be written"):
        here("info", "mine", "--plot", "nowhere/a.png")
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "a.png"}
