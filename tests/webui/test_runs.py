"""What the board's Results panel finds on disk: every state a run folder can be in, and what it must not enter."""

import os
from pathlib import Path

import pytest
import yaml
from reporting.runs import write_frontier, write_lines, write_logs, write_run

from llamafactory_dba.training.record import RunRecord, total_cost, write_record
from llamafactory_dba.webui.run_logs import read_args, seconds_of
from llamafactory_dba.webui.runs import find_runs, in_order


def by_name(root: Path) -> dict:
    return {run.name: run for run in find_runs([root]).runs}


def test_scores_and_differences_from_the_base_model(tmp_path: Path):
    write_run(tmp_path / "base", "base", 0.0, 0.9, method="base")
    write_run(tmp_path / "dba", "dba", 0.6, 0.75, base="../base")
    run = by_name(tmp_path)["dba"]
    assert (run.state, run.method, run.domain, run.seed) == ("measured", "dba", "finance", 1)
    assert run.summary.s_d == pytest.approx(60) and run.summary.s_g == pytest.approx(75)
    assert run.summary.s == pytest.approx(2 * 60 * 75 / 135)
    assert run.summary.delta_s_g == pytest.approx(-15) and run.problem == ""
    assert run.base_results == tmp_path / "base" / "results.json"


def test_the_base_model_may_be_named_instead_of_placed(tmp_path: Path):
    write_run(tmp_path / "b", "the base", 0.0, 0.9, method="base")
    write_run(tmp_path / "r", "run", 0.6, 0.75, base="the base")
    assert by_name(tmp_path)["run"].summary.delta_s_g == pytest.approx(-15)


def test_a_missing_or_foreign_base_model_is_said_and_the_scores_stay(tmp_path: Path):
    write_run(tmp_path / "lost", "lost", 0.6, 0.75, base="../nowhere")
    write_run(tmp_path / "base", "base", 0.0, 0.9, method="base", version="2")
    write_run(tmp_path / "other", "other", 0.6, 0.75, base="../base")
    found = by_name(tmp_path)
    assert "nowhere" in found["lost"].problem and found["lost"].summary.s is not None
    assert "different versions" in found["other"].problem and found["other"].summary.delta_s is None


@pytest.mark.parametrize("content", ["", '{"format": "llamafactory-dba/results", "format_ver', "[]", "\x00\xff"])
def test_a_half_written_file_is_a_row_that_says_so(tmp_path: Path, content: str):
    write_run(tmp_path / "fine", "fine", 0.6, 0.75)
    write_logs(tmp_path / "fine", 30)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "results.json").write_bytes(content.encode("latin-1"))
    (tmp_path / "half" / "trainer_log.jsonl").write_text('{"current_st', encoding="utf-8")
    found = by_name(tmp_path)
    assert found["fine"].state == "measured"
    # JSON that is whole but of another kind is no damage: the folder is then a training without scores
    assert found["half"].state == ("unfinished" if content == "[]" else "broken")
    assert bool(found["half"].problem) == (content != "[]")


def test_a_broken_record_and_a_record_without_scores(tmp_path: Path):
    cost = total_cost([])
    write_record(RunRecord("dba", cost, seed=3, finished=True), make(tmp_path / "done"))
    write_record(RunRecord("dba", cost, finished=False), make(tmp_path / "stopped"))
    (make(tmp_path / "torn") / "run_record.json").write_text('{"format"', encoding="utf-8")
    found = by_name(tmp_path)
    assert {name: run.state for name, run in found.items()} == {
        "done": "trained",
        "stopped": "unfinished",
        "torn": "broken",
    }
    assert (found["done"].method, found["done"].seed) == ("dba", 3)


def test_a_training_that_left_only_its_log(tmp_path: Path):
    folder = make(tmp_path / "by_hand")
    rows = [{"current_steps": n, "elapsed_time": f"1 day, 0:0{n}:07"} for n in (1, 2)]
    write_lines(folder / "trainer_log.jsonl", rows)
    (folder / "training_args.yaml").write_text(
        yaml.safe_dump({"use_dba": True, "hf_hub_token": "hf_secret", "finetuning_type": "full"}), encoding="utf-8"
    )
    run = by_name(tmp_path)["by_hand"]
    assert (run.state, run.method, run.cost.wall_seconds) == ("unfinished", "dba", 86400 + 127)
    assert "hf_secret" not in repr(run)
    (folder / "train_results.json").write_text("{}", encoding="utf-8")
    assert by_name(tmp_path)["by_hand"].state == "trained"


def test_anchors_checkpoints_hidden_folders_and_links_out_are_no_runs(tmp_path: Path):
    outside = tmp_path / "outside"
    write_run(outside / "secret", "secret", 0.6, 0.75)
    root = make(tmp_path / "root")
    for name in (".hidden", "checkpoint-5", "node_modules/x"):
        write_run(root / name, name, 0.6, 0.75)
    anchor = make(root / "anchor")
    write_logs(anchor, 30)
    (anchor / "anchor_config.json").write_text("{}", encoding="utf-8")
    (root / "link").symlink_to(outside)
    (root / "round").symlink_to(root)
    assert find_runs([root]).runs == ()


def test_points_of_a_frontier_are_no_runs(tmp_path: Path):
    write_frontier(tmp_path / "f")
    first = next((tmp_path / "f").rglob("results.json"))
    write_run(tmp_path / "run", "run", 0.6, 0.75, base=os.path.relpath(first, tmp_path / "run"))
    found = find_runs([tmp_path])
    assert found.frontiers == (tmp_path / "f" / "frontier.json",)
    # one point is the base model that a run is compared with, so it stays
    assert [run.folder for run in found.runs] == [first.parent, tmp_path / "run"]


def test_a_folder_that_is_too_large_is_cut_short_and_said(tmp_path: Path):
    for place in range(6):
        write_run(tmp_path / str(place), str(place), 0.6, 0.75)
    found = find_runs([tmp_path], limit=3)
    assert found.cut_short and len(found.runs) == 2
    assert not find_runs([tmp_path, tmp_path / "3"]).cut_short and len(find_runs([tmp_path, tmp_path]).runs) == 6
    assert find_runs([tmp_path / "nowhere"]).runs == ()


def test_order(tmp_path: Path):
    for place, (name, share) in enumerate({"b": 0.3, "a": 0.9, "c": 0.6}.items()):
        path = write_run(tmp_path / name, name, share, 0.75)
        os.utime(path, (place, place))
    write_run(tmp_path / "base", "z", 0.0, 0.75, method="base")
    os.utime(tmp_path / "base" / "results.json", (9, 9))
    write_logs(make(tmp_path / "log"), 30)
    runs = find_runs([tmp_path]).runs
    assert [run.name for run in in_order(runs, "score")] == ["z", "a", "c", "b", "log"]
    assert [run.name for run in in_order(runs, "newest")][1:] == ["z", "c", "a", "b"]
    assert [run.name for run in in_order(runs, "name")] == ["a", "b", "c", "log", "z"]


def test_logs_that_say_nothing(tmp_path: Path):
    (tmp_path / "trainer_log.jsonl").write_text('{"elapsed_time": "soon"}\n{"current', encoding="utf-8")
    (tmp_path / "training_args.yaml").write_text("a: [", encoding="utf-8")
    assert seconds_of(tmp_path / "trainer_log.jsonl") is None and read_args(tmp_path) == {}
    assert seconds_of(tmp_path / "none") is None and read_args(tmp_path / "none") == {}


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
