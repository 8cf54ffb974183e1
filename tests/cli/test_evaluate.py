"""`llamafactory-dba evaluate`: what a user sees."""

import subprocess
import sys

import pytest
import support
from evaluation.models import MICRO, MICRO_BASE, MICRO_DATA, copy_of, tiny
from typer.testing import CliRunner

from llamafactory_dba.cli import program
from llamafactory_dba.evaluation.results import read_results


runner = CliRunner()
COMMON = ["--data", str(MICRO_DATA), "--hub", "none", "--device", "cpu"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMAFACTORY_DBA_CACHE", str(tmp_path / "cache"))
    return copy_of(MICRO, tmp_path / "runs" / "mine")


def fails(monkeypatch, capsys, *arguments: str) -> str:
    """The message of a command that ends with an error, and without a traceback."""
    monkeypatch.setattr(sys, "argv", ["llamafactory-dba", "evaluate", *arguments])
    with pytest.raises(SystemExit) as stop:
        program.main()
    assert stop.value.code == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_a_table_the_joint_scores_and_unparsed_answers(run):
    pytest.importorskip("lm_eval")
    result = runner.invoke(
        program.app,
        ["evaluate", "micro_finance", "--model", str(run), "--base", str(MICRO_BASE), "--limit", "5", *COMMON],
    )
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    (finance,) = [line.split() for line in lines if line.startswith("micro_finance ")]
    assert finance[:3] == ["micro_finance", "exact_match", "0.00"] and finance[-5:-2] == ["5", "5", "0"]
    assert any(line.startswith("S_D = 0.00 (+0.00), S_G = ") and "of the base model's S_G" in line for line in lines)
    assert "Only 5 questions of each task" in result.output
    assert "5 of 5 answers could not be read" in result.output
    assert "sentiment of this headline" in result.output
    assert len(read_results(run).tasks) == 7
    assert (run.parent / "base" / "results.json").is_file()


def test_the_report_reads_what_evaluate_writes(run, tmp_path):
    pytest.importorskip("lm_eval")
    common = ["--limit", "5", *COMMON]
    runner.invoke(program.app, ["evaluate", "micro_finance", "--model", str(run), "--base", str(MICRO_BASE), *common])
    page = tmp_path / "report.html"
    result = runner.invoke(program.app, ["report", str(run.parent), "--out", str(page)])
    assert result.exit_code == 0, result.output
    assert "mine" in page.read_text(encoding="utf-8")


def test_answers_are_saved_where_asked(run, tmp_path):
    pytest.importorskip("lm_eval")
    arguments = ["evaluate", "micro_news", "--model", str(run), "--limit", "2", "--out", str(tmp_path / "out")]
    result = runner.invoke(program.app, [*arguments, "--save-answers", "--name", "named", *COMMON])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out" / "answers").glob("*.jsonl"))) == 7
    assert read_results(tmp_path / "out").run.name == "named"
    assert not (run / "results.json").exists()


def test_the_list_names_suites_and_tasks():
    result = runner.invoke(program.app, ["evaluate", "--list"])
    assert result.exit_code == 0
    assert "micro_finance" in result.output and "piqa_likelihood" in result.output


def test_errors_are_printed_without_traceback(run, monkeypatch, capsys, tmp_path):
    pytest.importorskip("lm_eval")
    assert "no --model" in fails(monkeypatch, capsys, "micro")
    assert "--list" in fails(monkeypatch, capsys, "--model", str(run))
    assert "perhaps micro_finance" in fails(monkeypatch, capsys, "micro_finanse", "--model", str(run), *COMMON)
    assert "The model is not there" in fails(monkeypatch, capsys, "micro", "--model", str(tmp_path / "no"), *COMMON)
    assert "--limit" in fails(monkeypatch, capsys, "micro", "--model", str(run), "--limit", "0", *COMMON)
    assert "no such hub" in fails(monkeypatch, capsys, "micro", "--model", str(run), "--hub", "github")
    assert "data of tfns" in fails(monkeypatch, capsys, "tfns", "--model", str(run), *COMMON)
    bare = tiny(tmp_path / "bare", chat=False)
    message = fails(monkeypatch, capsys, "micro", "--model", str(bare), *COMMON)
    assert "no chat template" in message and "--template none" in message


def test_help_needs_neither_torch_nor_lm_eval():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from llamafactory_dba.cli import program\n"
        "shown = CliRunner().invoke(program.app, ['evaluate', '--help'], env={'COLUMNS': '200'}).output\n"
        "assert '--adapter' in shown, shown\n"
        "print([name for name in ('torch', 'lm_eval', 'transformers') if name in sys.modules])\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=support.environment(), check=False
    )
    assert child.stdout.strip() == "[]", child.stderr
