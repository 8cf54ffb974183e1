"""From nothing to a result by clicking: an anchor, a training with it, its curves, an abort, recipes."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import support
import yaml
from board_page import TRAINED


pytestmark = pytest.mark.browser
CURVES = [f"dba_train_curve_{name}" for name in ("loss", "boost", "similarity", "correction", "gauge")]


def test_an_anchor_is_started_stopped_resumed_and_finished(anchor):
    config = json.loads((anchor.folder / "anchor_config.json").read_text(encoding="utf-8"))
    assert config["rank"] == 8 and (anchor.folder / "anchor.safetensors").is_file()
    running, stopped, again, finished = anchor.states
    assert "tokens/s" in running and "150" in running
    assert "go on from step" in stopped
    assert "tokens/s" in again and "cosine of halves" in finished
    assert anchor.moved == []


def test_a_page_that_is_opened_later_shows_the_anchor_and_that_it_fits(anchor, visit):
    page = visit()
    page.choose_model()
    page.tab("anchor")
    page.wait_text("dba_anchor_status", "Finished")
    assert "fits" in page.wait_text("dba_anchor_list", "clicked")
    page.pick("dba_anchor_pick", "clicked")
    page.wait_text("dba_anchor_details", "micro_general_train")
    page.picture("anchor-details")


def test_a_training_with_the_anchor_shows_its_curves_and_nothing_jumps(anchor, visit, board):
    page = visit()
    page.choose_model()
    page.fill_training("clicked_run")
    panel = page.tab("train")
    panel.get_by_role("button", name="Preset: paper").click()
    page.expect(page.page.locator("#dba_train_enabled input")).to_be_checked()
    page.pick("dba_train_anchor", "saves/anchors/clicked")
    page.type("dba_train_rank", "8")
    panel.get_by_role("button", name="Live gauge").click()
    page.type("dba_train_gauge_steps", "10")
    page.type("dba_train_gauge_samples", "32")
    page.pick("dba_train_gauge_data", "micro_general_test")
    panel.get_by_role("button", name="Live gauge").click()
    page.picture("train-form")

    panel.get_by_role("button", name="Start").click()
    page.wait_text("dba_train_state", "starting", TRAINED)
    page.watch_places(*CURVES)
    page.wait_text("dba_train_state", r"step [1-9]\d* of 50", TRAINED)
    page.page.locator("#dba_train_curve_similarity polyline").first.wait_for(state="attached")
    page.picture("train-running")
    page.wait_text("dba_train_state", "step 50 of 50", TRAINED)
    for curve in CURVES:
        page.page.locator(f"#{curve} polyline").first.wait_for(state="attached")  # a flat line has no height
    assert page.moved() == []
    folder = board.folder / "saves/Custom/full/clicked_run"
    wait_for_file(page, folder / "train_results.json")
    page.picture("train-finished")
    logged = [json.loads(line) for line in (folder / "dba_log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(logged) == 50 and all(0 <= row["similarity"] <= 1 for row in logged)


def test_a_training_is_aborted_and_its_process_is_gone(anchor, visit, board):
    page = visit()
    page.choose_model()
    page.fill_training("aborted", epochs="100")
    panel = page.tab("train")
    page.page.locator("#dba_train_enabled input").check()
    page.pick("dba_train_anchor", "saves/anchors/clicked")
    page.type("dba_train_rank", "8")
    panel.get_by_role("button", name="Start").click()
    page.wait_text("dba_train_state", r"step [1-9]\d* of 5000", TRAINED)
    panel.get_by_role("button", name="Abort").click()
    page.wait_text("dba_train_state", r"[Aa]borted|[Ss]topped|[Ll]ast seen|killed", TRAINED)
    page.picture("train-aborted")
    gone(page, board)


def test_the_recipe_on_the_screen_is_what_the_command_line_runs(anchor, visit, board):
    page = visit()
    page.choose_model()
    page.fill_training("by_recipe", epochs="1", rows="80")
    page.tab("train")
    page.page.locator("#dba_train_enabled input").check()
    page.pick("dba_train_anchor", "saves/anchors/clicked")
    page.type("dba_train_rank", "8")
    panel = page.tab("recipes")
    panel.get_by_role("button", name="Refresh").click()
    page.expect(panel.locator(".cm-content")).to_contain_text("dba_anchor_path: saves/anchors/clicked")
    with page.page.expect_download() as download:
        panel.get_by_role("button", name="Download").last.click()
    path = board.folder / "recipe.yaml"
    download.value.save_as(path)
    page.picture("recipes")
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert recipe["use_dba"] is True and recipe["dba_anchor_path"] == "saves/anchors/clicked"
    done = subprocess.run(
        ["llamafactory-cli", "train", "recipe.yaml"],
        cwd=board.folder,
        env=support.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (board.folder / recipe["output_dir"] / "dba_log.jsonl").is_file()


def test_a_recipe_that_is_dropped_in_fills_the_form(visit, tmp_path):
    recipe = {
        "model_name_or_path": "models/micro-instruct",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "template": "qwen3_nothink",
        "use_dba": True,
        "dba_anchor_path": "saves/anchors/clicked",
        "dba_boost_magnitude": 123.0,
        "dba_base_correction": 0.25,
        "dataset_dir": "data",
        "dataset": "micro_law_train",
        "learning_rate": 3.0e-5,
        "output_dir": "saves/x",
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    page = visit()
    panel = page.tab("recipes")
    panel.locator("input[type=file]").set_input_files(path)
    page.expect(page.by_label("Model path")).to_have_value("models/micro-instruct")
    page.picture("recipe-dropped")
    page.tab("train")
    page.expect(page.page.locator("#dba_train_enabled input")).to_be_checked()
    page.expect(page.page.locator("#dba_train_boost input")).to_have_value("123")
    page.expect(page.page.locator("#dba_train_base input")).to_have_value("0.25")
    page.expect(page.page.locator("#dba_train_anchor input").first).to_have_value("saves/anchors/clicked")
    page.page.get_by_role("tab", name="Train").first.click()
    page.expect(page.by_label("Learning rate")).to_have_value(re.compile(r"^(3e-0?5|0\.00003)$"))


def wait_for_file(page, path: Path) -> None:
    """The end of a training comes some seconds after its last step."""
    for _ in range(int(TRAINED * 2)):
        if path.is_file():
            return
        page.page.wait_for_timeout(500)
    raise TimeoutError(path)


def gone(page, board) -> None:
    """No process of a training is left in the board's folder."""
    for _ in range(60):
        left = board.children()
        if not left:
            return
        page.page.wait_for_timeout(500)
    raise AssertionError([process.cmdline() for process in left])
