"""Makefile, CI and pre-commit: what they would run, without installing anything."""

import os
import re
import shutil
import subprocess

import pytest
import yaml


pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def plan(root, target: str, venv, *arguments: str) -> str:
    """What `make target` would do."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = ["make", "-n", target, f"VENV={venv}", *arguments]
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def installed(root, tmp_path):
    """An environment in which everything is installed already, later than pyproject.toml was changed."""
    (tmp_path / "bin").mkdir()
    for name in ("bin/python", ".installed", ".installed-dev", ".installed-eval"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("target, extra", [("demo", "-e ."), ("test", '-e ".[dev]"')])
def test_a_fresh_machine_gets_everything(root, tmp_path, target, extra):
    steps = plan(root, target, tmp_path / "new")
    positions = [
        steps.find(part) for part in ("-m venv", f"pip install --disable-pip-version-check --no-input {extra}")
    ]
    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.mark.parametrize("target, command", [("demo", "llamafactory_dba.demo"), ("test", "python -m pytest")])
def test_a_second_call_installs_nothing(root, installed, target, command):
    steps = plan(root, target, installed)
    assert "pip" not in steps
    # the host starts torchrun and itself by bare name
    assert re.search(rf'PATH="{re.escape(str(installed))}/bin:\$PATH" .*{re.escape(command)}', steps)


def test_an_old_python_is_named(root, tmp_path):
    command = ["make", "demo", f"VENV={tmp_path / 'new'}", "PYTHON="]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert result.returncode != 0
    assert "No Python >= 3.11" in result.stderr
    assert not (tmp_path / "new").exists()


def test_every_target_can_be_planned(root, installed):
    text = (root / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()
    for target in targets:
        assert plan(root, target, installed)
        assert re.search(rf"^{target}:", text, re.MULTILINE)


def test_markers_are_split_between_targets(root, installed):
    assert '-m "(slow or distributed) and not gpu"' in plan(root, "test-slow", installed)
    assert "-m gpu" in plan(root, "test-gpu", installed)


def test_ci_calls_the_readmes_test_command(root):
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], timeout=300).returncode == 0
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert text.index("step quality") < text.index("step test")


def test_pre_commit_needs_no_network(root):
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    for repository in config["repos"]:
        assert repository["repo"] == "local"
        assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    programs = {hook["entry"].split()[0] for repository in config["repos"] for hook in repository["hooks"]}
    assert programs == {"ruff", "mypy", "python"}


def test_the_licence_is_complete(root):
    text = (root / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text[:200]
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_suite_is_listed(root):
    page = (root / "docs" / "compare.md").read_text(encoding="utf-8")
    table = page[page.index("## The suites that come with it") :]
    there = {path.name for path in (root / "examples" / "compare").glob("*.yaml")}
    assert set(re.findall(r"`([\w.]+\.yaml)`", table)) == there
