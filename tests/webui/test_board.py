"""The stock board with the DBA tab, over HTTP: the tab, five languages, checks, preview, save and load, recipes."""

import json
import shutil
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml
from board_process import DBA, EXTRA, TRAIN, BoardProcess

from llamafactory_dba.webui import jobs


ROWS = ("dba.dba_train_problem_main", "dba.dba_train_problem_more", "dba.dba_train_problem_gauge")


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("board")
    for name in ("model", "data", "anchor"):
        shutil.copytree(world / name, place / name)
    return place


@pytest.fixture(scope="module")
def board(folder):
    process = BoardProcess(folder)
    yield process
    process.close()


def check(board, **changes):
    """The texts below the groups of fields, those that are not empty."""
    known = {board.names.get(number) for number in board.event("check_train")["inputs"]}
    values = {key: value for key, value in {**TRAIN, **DBA, **changes}.items() if key.replace("__", ".") in known}
    return {row: text for row, text in board.call("check_train", **values).items() if text}


def arguments_of(text):
    """The arguments of a previewed command."""
    lines = [line.strip().removesuffix("\\").split() for line in text.split("\n")]
    return {line[0].removeprefix("--"): " ".join(line[1:]) for line in lines if line and line[0].startswith("--")}


def test_the_tab_is_the_last_of_the_hosts(board):
    tabs = [item["props"].get("label") for item in board.config["components"] if item["type"] == "tabitem"]
    assert {"Train", "Export", "DBA"} <= set(tabs)
    strip = next(
        [board.components[child["id"]]["props"].get("label") for child in item["children"]]
        for item in layouts(board.config["layout"])
        if any(board.components[child["id"]]["props"].get("label") == "Export" for child in item.get("children", []))
    )
    assert strip[-1] == "DBA" and strip[0] == "Train"


def layouts(layout):
    yield layout
    for child in layout.get("children", []):
        yield from layouts(child)


def test_no_part_of_the_tab_failed(board, folder):
    assert "DBA:" not in (folder / "board.log").read_text(encoding="utf-8")
    assert {"dba.dba_tab_anchor", "dba.dba_tab_train", "dba.dba_tab_results", "dba.dba_tab_recipes"} <= set(board.ids)


@pytest.mark.parametrize("lang", ["en", "ru", "zh", "ko", "ja"])
def test_the_language_switch_reaches_the_tab(board, lang):
    from llamafactory_dba.webui.locales import LOCALES

    update = board.call("change_lang", top__lang=lang)
    for name, texts in LOCALES.items():
        if f"dba.{name}" in board.ids:
            shown = update[f"dba.{name}"]
            # JSON has no tuples
            assert {key: shown[key] for key in texts[lang]} == json.loads(json.dumps(texts[lang]))


def test_the_preview_has_the_form_and_says_false(board):
    shown = arguments_of(board.call("preview_train", **TRAIN, **DBA)["train.output_box"])
    assert shown["use_dba"] == "True"
    assert shown["dba_anchor_path"] == "anchor"
    assert shown["dba_use_correction"] == "False"
    assert shown["dba_svd_rank"] == "8"
    assert shown["use_cpu"] == "True"


def test_the_preview_without_dba_is_the_stock_board_s(board):
    shown = arguments_of(board.call("preview_train", **TRAIN)["train.output_box"])
    assert not [name for name in shown if "dba" in name]


def test_the_button_of_the_tab_shows_the_same_command(board):
    here = board.call("preview_dba", **TRAIN, **DBA)["dba.dba_train_command"]
    assert here == board.call("preview_train", **TRAIN, **DBA)["train.output_box"]


def test_a_right_form_is_without_a_word(board):
    assert check(board) == {}


def test_wrong_input_is_told_beside_its_group_in_the_page_s_language(board):
    found = check(board, dba__dba_train_rank=0, dba__dba_train_gauge_steps=-1, top__lang="ja")
    assert set(found) == {ROWS[0], ROWS[2]}
    assert "アンカーのランク" in found[ROWS[0]]
    found = check(board, top__finetuning_type="lora", dba__dba_train_anchor="/etc")
    assert "lora" in found[ROWS[0]] and "/etc" in found[ROWS[0]]


def test_every_listed_bad_input_is_told_on_the_page(board, folder):
    """No model, rank 0, a broken data file, an anchor of another model: the message, and the board answers on."""
    import support

    support.build_model(folder / "other", seed=1)
    (folder / "data" / "torn.json").write_text('[{"instruction": "a", ', encoding="utf-8")
    info = json.loads((folder / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    info["torn"] = {**info["domain"], "file_name": "torn.json"}
    (folder / "data" / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    expected = {
        "Choose a model": {"top__model_name": None, "top__model_path": ""},
        "Anchor rank: must be": {"dba__dba_train_rank": 0},
        "The data set torn cannot be used: data/torn.json": {"train__dataset": ["domain", "torn"]},
        "This anchor belongs to another model": {"top__model_path": "other"},
    }
    for words, changes in expected.items():
        assert words in check(board, **changes)[ROWS[0]]
    said = check(board, top__model_path="other", top__lang="zh")[ROWS[0]]
    assert "数值不同" in said and "other values" not in said
    assert check(board) == {}


def test_an_anchor_run_on_the_same_device_is_told_before_a_training_starts(board, folder, monkeypatch):
    monkeypatch.chdir(folder)  # the list of jobs lies where the board was started
    command = [sys.executable, "-c", "import time; time.sleep(300)"]
    facts = {"folder": str(folder / "saves" / "busy"), "output": "saves/busy"}
    job = jobs.start({"use_cpu": True}, folder / "saves" / "busy.job", "anchor", command=command, facts=facts)
    try:
        refused = board.call("start_dba", **{**TRAIN, "train__output_dir": "beside"}, **DBA)
        for place in ("train.output_box", "dba.dba_train_command"):  # the host's tab, and the one that is looked at
            assert "An anchor is being computed in saves/busy" in refused[place]
            assert "“Start beside other runs”" in refused[place]
        assert not (folder / "saves" / "Custom" / "full" / "beside").exists()
        assert "saves/busy" in check(board)[ROWS[0]]
        assert check(board, dba__dba_train_beside=True) == {}
    finally:
        jobs.stop(job.folder), jobs.stop(job.folder)
    deadline = time.monotonic() + 60
    while jobs.running():  # until its end is noted
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert check(board) == {}


def test_start_refuses_wrong_input_and_begins_nothing(board, folder):
    update = board.call("run_train", **{**TRAIN, "train__output_dir": "refused"}, **{**DBA, "dba__dba_train_rank": 0})
    assert "Anchor rank" in update["train.output_box"]
    assert not (folder / "saves" / "Custom" / "full" / "refused").exists()


def test_start_without_a_model_gets_the_host_s_answer(board):
    update = board.call("run_train", **{**TRAIN, "top__model_name": None}, **DBA)
    assert update["train.output_box"]


def test_the_menu_of_anchors_has_those_that_fit(board):
    (entry,) = board.call("list_anchors", top__model_path="model")["dba.dba_train_anchor"]["choices"]
    assert entry[1] == "anchor"
    assert board.call("list_anchors", top__model_path="")["dba.dba_train_anchor"]["choices"] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", {"dba_train_enabled": True, "dba_train_variant": "paper"}),
        ("annealing", {"dba_train_enabled": False, "dba_train_record": "always"}),
        ("direct", {"dba_train_enabled": False, "dba_train_record": "always"}),
        ("elastic", {"dba_train_enabled": True, "dba_train_variant": "elastic"}),
    ],
)
def test_a_preset_sets_method_and_schedule(board, name, expected):
    update = preset(board, name)
    assert {key: update[f"dba.{key}"] for key in expected} == expected
    assert update["train.learning_rate"] == ("2e-6" if name in ("paper", "annealing") else "1e-5")
    assert update["train.batch_size"] * update["train.gradient_accumulation_steps"] == 8
    assert update["top.finetuning_type"] == "full"


def preset(board, name):
    button = board.ids[f"dba.dba_train_preset_{name}"]
    item = next(found for found in board.config["dependencies"] if [button, "click"] in found["targets"])
    values = [
        {"top.lang": "en", "train.batch_size": 4, "train.device_count": "1"}[board.names[n]] for n in item["inputs"]
    ]
    return board.post(item, values)


def test_a_saved_configuration_comes_back(board, folder):
    board.call("save_args", **TRAIN, **DBA, train__config_path="mine.yaml")
    update = board.call("load_args", top__lang="en", train__config_path="mine.yaml")
    for key, value in DBA.items():
        assert update[key.replace("__", ".")] == value
    assert json.loads(update["train.extra_args"]) == json.loads(EXTRA)


def test_a_saved_configuration_opens_on_a_board_without_the_extension(board, folder):
    board.call("save_args", **TRAIN, **DBA, train__config_path="plain.yaml")
    saved = yaml.safe_load((folder / "llamaboard_config" / "plain.yaml").read_text(encoding="utf-8"))
    # the host looks every id up among its own components
    assert {name.split(".")[0] for name in saved} <= {"top", "train"}
    assert json.loads(saved["train.extra_args"])["use_dba"] is True


def test_a_configuration_of_a_board_without_the_extension_switches_dba_off(board, folder):
    board.call("save_args", **TRAIN, train__config_path="stock.yaml")
    update = board.call("load_args", top__lang="en", train__config_path="stock.yaml")
    assert update["dba.dba_train_enabled"] is False
    assert update["train.extra_args"] == EXTRA


def test_an_output_folder_that_no_board_has_written_is_told(board, folder):
    (folder / "saves" / "Custom" / "full" / "foreign").mkdir(parents=True)
    names = {"top__lang": "en", "top__model_name": "Custom", "top__finetuning_type": "full"}
    update = board.call("check_output_dir", **names, train__output_dir="foreign")
    assert "exists" in update["train.output_box"]


def test_a_configuration_that_is_not_there_is_told(board):
    assert board.call("load_args", top__lang="en", train__config_path="none.yaml")["train.output_box"]


def test_the_recipe_is_what_start_would_run_and_can_be_downloaded(board):
    update = board.call("show_recipe", **TRAIN, **DBA)
    recipe = yaml.safe_load(update["dba.dba_recipe_yaml"])
    shown = arguments_of(board.call("preview_train", **TRAIN, **DBA)["train.output_box"])
    assert set(recipe) == set(shown)
    assert recipe["dba_use_correction"] is False and recipe["learning_rate"] == 5e-5
    with urllib.request.urlopen(update["dba.dba_recipe_download"]["value"]["url"]) as answer:
        assert answer.read().decode().strip() == update["dba.dba_recipe_yaml"].strip()


def test_a_recipe_that_is_dropped_in_fills_the_form(board, folder):
    recipe = {
        "model_name_or_path": "model",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "use_dba": True,
        "dba_anchor_path": "anchor",
        "dba_use_correction": False,
        "dba_svd_rank": 8,
        "dataset_dir": "data",
        "dataset": "domain",
        "template": "qwen3_nothink",
        "cutoff_len": 64,
        "learning_rate": 2e-6,
        "output_dir": "runs/mine",
        "per_device_train_batch_size": 4,
        "use_cpu": True,
        "seed": 3,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    first = drop(board, folder / "recipe.yaml")
    assert "`seed`" in first["dba.dba_recipe_said"]
    filled = board.call("settle_recipe")
    values = {**TRAIN, **{name.replace(".", "__"): value for name, value in filled.items() if set_here(value)}}
    values = {**values, "top__model_name": first["top.model_name"], "top__lang": "en"}
    known = {board.names.get(number) for number in board.event("preview_train")["inputs"]}
    values = {name: value for name, value in values.items() if name.replace("__", ".") in known}
    shown = yaml.safe_load(board.call("show_recipe", **values)["dba.dba_recipe_yaml"])
    for name, value in recipe.items():
        assert shown[name] == value, name


def set_here(value):
    """Whether an event has given a component a value, rather than left it alone."""
    return not (isinstance(value, dict) and "__type__" in value)


def drop(board, path):
    """What the page does with a file: upload it, then say so."""
    boundary = "x" * 20
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n'
        f"Content-Type: text/yaml\r\n\r\n{path.read_text(encoding='utf-8')}\r\n--{boundary}--\r\n"
    )
    request = urllib.request.Request(
        f"{board.url}/gradio_api/upload",
        body.encode(),
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    with urllib.request.urlopen(request) as answer:
        (place,) = json.load(answer)
    file = {"path": place, "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
    return board.call("read_recipe", dba__dba_recipe_file=file, top__lang="en")


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [", "a: !!python/name:os.system x"])
def test_a_file_that_is_no_recipe_is_told(board, folder, text):
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    assert drop(board, folder / "bad.yaml")["dba.dba_recipe_said"].startswith("⚠️")


def test_before_a_training_the_curves_are_there_and_empty(board):
    update = board.call("tick_train", top__lang="en")
    assert "No training" in update["dba.dba_train_state"]
    assert "no values yet" in update["dba.dba_train_curve_loss"]


def test_predict_says_why_a_variant_without_an_anchor_has_nothing_to_compare(board):
    update = board.call("predict", **TRAIN, **{**DBA, "dba__dba_train_variant": "l2sp"})
    assert "l2sp reads no anchor" in update["dba.dba_train_predicted"]


@pytest.mark.slow
def test_predict_of_another_variant_leaves_out_what_it_does_not_have(board):
    fields = {**DBA, "dba__dba_train_variant": "agem", "dba__dba_train_batches": 2}
    text = board.call("predict", **TRAIN, **fields)["dba.dba_train_predicted"]
    assert "similarity s" in text and "signed cosine" in text and "learning rate" in text
    assert "λ |" not in text and "γ at the start" not in text
    assert "agem uses neither" in text
    paper = board.call("predict", **TRAIN, **DBA, dba__dba_train_batches=2)["dba.dba_train_predicted"]
    assert "correction λ" in paper and "γ at the start" in paper
    # the same steps of the same data
    assert paper.split("similarity s")[1].split("|")[1] == text.split("similarity s")[1].split("|")[1]


def test_predict_needs_an_anchor(board):
    update = board.call("predict", **TRAIN, **{**DBA, "dba__dba_train_anchor": None})
    assert update["dba.dba_train_predicted"].startswith("⚠️")
