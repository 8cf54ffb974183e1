"""The Anchor form: a good one becomes arguments that the host takes; a bad one a sentence beside the field."""

import json
import shutil
from datetime import datetime

import pytest
import support

from llamafactory_dba.webui import anchor_form, paths
from llamafactory_dba.webui.anchor_form import DATA, METHOD, NUMBERS, OUTPUT, Host, default_output, read_form
from llamafactory_dba.webui.data_preview import names_of, preview
from llamafactory_dba.webui.locales import LANGUAGES


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    folder = tmp_path / "board"
    for name in ("model", "data"):
        shutil.copytree(world / name, folder / name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(paths.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


def form(**changes):
    base = {name: rule.default for name, rule in NUMBERS.items()}
    base |= {
        "dba_anchor_dataset_dir": "data",
        "dba_anchor_dataset": ["general"],
        "dba_anchor_stage": "sft",
        "dba_anchor_placement": "auto",
        "dba_anchor_dtype": "bfloat16",
        "dba_anchor_compute": "fp32",
        "dba_anchor_rank": 8,
        "dba_anchor_stop_cosine": 0,
        "dba_anchor_with_curvature": False,
        "dba_anchor_out": "saves/a",
        "dba_anchor_overwrite": False,
        "dba_anchor_with_board": False,
    }
    return base | {f"dba_anchor_{name}": value for name, value in changes.items()}


HOST = Host("Custom", "model", "qwen3_nothink", None, False)


def test_a_good_form_makes_an_anchor(here):
    """Through the host itself, in this process."""
    from llamafactory_dba.anchor.format import read_config

    request = read_form(form(samples=20, cutoff=64, batch=4, check=2, dtype="float32"), HOST)
    assert request.problems == () and request.folder == here / "saves" / "a"
    support.run_here({**request.arguments, "preprocessing_num_workers": None})
    config = read_config(here / "saves" / "a")
    assert (config.rank, config.data.samples, config.global_batch, config.dtype) == (8, 20, 4, "float32")
    assert [step for step, _ in config.half_cosine] == [2, 4, 5]


def test_only_what_was_asked_for_is_passed_on(here):
    arguments = read_form(form(), HOST).arguments
    assert arguments["use_cpu"] is True and "dba_anchor_samples" not in arguments and "bf16" not in arguments
    assert "overwrite_output_dir" not in arguments and "dba_anchor_stop_cosine" not in arguments
    assert not any(value is None or value is False for value in arguments.values())  # the host drops such values
    gpu = read_form(form(compute="bf16", samples=7, stop_cosine="0.68"), Host("Custom", "model", "default")).arguments
    assert gpu["bf16"] is True and "use_cpu" not in gpu
    assert (gpu["dba_anchor_samples"], gpu["dba_anchor_stop_cosine"]) == (7, 0.68)


@pytest.mark.parametrize(
    ("changes", "group", "key"),
    [
        ({"rank": 0}, METHOD, "dba_anchor_number"),
        ({"rank": -4}, METHOD, "dba_anchor_number"),
        ({"rank": 1.5}, METHOD, "dba_anchor_number"),
        ({"rank": "much"}, METHOD, "dba_anchor_number"),
        ({"rank": float("nan")}, METHOD, "dba_anchor_number"),
        ({"rank": float("inf")}, METHOD, "dba_anchor_number"),
        ({"rank": [8]}, METHOD, "dba_anchor_number"),
        ({"rank": 65}, METHOD, "dba_anchor_number"),  # the model's largest matrix has 64
        ({"batch": 0}, METHOD, "dba_anchor_number"),
        ({"samples": -1}, DATA, "dba_anchor_number"),
        ({"cutoff": 3}, DATA, "dba_anchor_number"),
        ({"stop_cosine": 1}, METHOD, "dba_anchor_cosine_range"),
        ({"stop_cosine": "x"}, METHOD, "dba_anchor_cosine_range"),
        ({"stop_cosine": -0.1}, METHOD, "dba_anchor_cosine_range"),
        ({"dataset": []}, DATA, "dba_anchor_no_data"),
        ({"dataset": None}, DATA, "dba_anchor_no_data"),
        ({"dataset": ["a,b"]}, DATA, "dba_anchor_data_name"),
        ({"dataset": ["nowhere"]}, DATA, "dba_data_unknown"),
        ({"dataset_dir": "../.."}, DATA, "dba_path_outside"),
        ({"dataset_dir": "/etc"}, DATA, "dba_path_outside"),
        ({"dataset_dir": ""}, DATA, "dba_path_empty"),
        ({"dataset_dir": "nowhere"}, DATA, "dba_path_missing"),
        ({"dataset_dir": "model"}, DATA, "dba_data_no_info"),
        ({"stage": "ppo"}, DATA, "dba_anchor_choice"),
        ({"placement": "cloud"}, METHOD, "dba_anchor_choice"),
        ({"dtype": None}, METHOD, "dba_anchor_choice"),
        ({"compute": "fp16"}, METHOD, "dba_anchor_choice"),
        ({"out": "../out"}, OUTPUT, "dba_path_outside"),
        ({"out": "/tmp/elsewhere"}, OUTPUT, "dba_path_outside"),
        ({"out": "saves"}, OUTPUT, "dba_path_root"),
        ({"out": ".git/x"}, OUTPUT, "dba_path_hidden"),
        ({"out": "data"}, OUTPUT, "dba_anchor_folder_taken"),
        ({"out": "data/general.json"}, OUTPUT, "dba_anchor_folder_taken"),
        ({"out": "data", "overwrite": True}, OUTPUT, "dba_anchor_folder_taken"),
        ({"out": "a b"}, OUTPUT, "dba_path_space"),
    ],
)
def test_a_bad_field_is_told_beside_it(here, changes, group, key):
    request = read_form(form(**changes), HOST)
    assert request.arguments is None
    assert (group, key) in [(item.row, item.key) for item in request.problems], request.problems
    assert len(request.problems) == 1
    for lang in LANGUAGES:
        text = request.problems[0].say(lang)
        assert text and "dba_" not in text
    assert list((here / "model").parent.iterdir())  # and nothing was made
    assert not (here / "saves").exists()


@pytest.mark.parametrize(
    ("host", "key"),
    [
        (Host("", "", "default"), "dba_anchor_no_model"),
        (Host("Custom", "", "default"), "dba_anchor_no_model"),
        (Host("Custom", "./nowhere", "default"), "dba_anchor_model_missing"),
        (Host("Custom", "a/b/c", "default"), "dba_anchor_model_missing"),
    ],
)
def test_no_model_is_told(here, host, key):
    assert [item.key for item in read_form(form(), host).problems] == [key]


def test_a_model_that_has_yet_to_be_downloaded_is_fine(here):
    request = read_form(form(rank=512, out=""), Host("Qwen3-8B", "Qwen/Qwen3-8B", "qwen3"))
    assert request.problems == ()
    assert request.folder.parent == here / "saves" / "anchors" and request.folder.name.startswith("Qwen3-8B_20")


def test_a_damaged_model_is_told(here):
    (here / "model" / "model.safetensors").write_bytes(b"\0" * 4)
    (problem,) = read_form(form(), HOST).problems
    assert problem.key == "dba_anchor_model_broken" and "damaged" in problem.fields["reason"]


def test_all_problems_come_at_once(here):
    request = read_form(form(rank=0, dataset=[], out="/etc/x"), HOST)
    assert [item.row for item in request.problems] == [METHOD, DATA, OUTPUT]


def test_an_empty_form_is_told(here):
    assert len(read_form({}, Host()).problems) >= 5


def test_a_broken_data_file_is_told_before_anything_starts(here):
    (here / "data" / "general.json").write_text('[{"instruction": "a", "output"', encoding="utf-8")
    (problem,) = read_form(form(), HOST).problems
    assert (problem.row, problem.key) == (DATA, "dba_data_broken") and "general.json" in problem.say("en")
    info = here / "data" / "dataset_info.json"
    info.write_text(info.read_text(encoding="utf-8")[:50], encoding="utf-8")
    assert [item.key for item in read_form(form(), HOST).problems] == ["dba_data_no_info"]


def test_an_anchor_in_the_folder_is_only_replaced_when_that_is_ticked(here, world):
    shutil.copytree(world / "anchor", here / "saves" / "a")
    assert [item.key for item in read_form(form(), HOST).problems] == ["dba_anchor_folder_anchor"]
    assert read_form(form(overwrite=True), HOST).arguments["overwrite_output_dir"] is True


@pytest.mark.parametrize("name", ["", "Custom", "../../x", "a b/c", "…", "名前"])
def test_the_default_folder_is_always_allowed(here, name):
    text = default_output(Host(name, "some/model path", "default"), datetime(2026, 1, 2, 3, 4, 5))
    assert text.endswith("_2026-01-02-03-04-05")
    assert paths.resolve(text, for_writing=True).parent == here / "saves" / "anchors"


def test_files_of_a_run_lie_beside_the_anchor(here):
    assert anchor_form.job_folder(here / "a") == here / "a.job"
    assert anchor_form.partial_folder(here / "a") == here / "a.partial"


# --- preview


def test_pages_of_a_data_set(here):
    rows = json.loads((here / "data" / "general.json").read_text(encoding="utf-8"))
    first = preview("data", "general", 0, DATA)
    assert (first.rows, first.first, first.count, first.problem) == (tuple(rows[:2]), 1, 48, None)
    assert preview("data", "general", 23, DATA).rows == tuple(rows[46:])
    assert preview("data", "general", 99, DATA) == preview("data", "general", 23, DATA)
    assert preview("data", "general", -5, DATA) == first
    other = here / "data" / "odd.jsonl"
    other.write_text("".join(json.dumps({"text": "x" * number}) + "\n" for number in range(5)), encoding="utf-8")
    info = json.loads((here / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    info |= {"odd": {"file_name": "odd.jsonl"}, "hub": {"hf_hub_url": "a/b"}, "out": {"file_name": "../../x"}}
    info |= {"gone": {"file_name": "gone.json"}, "etc": {"file_name": "/etc/passwd"}, "empty": {"file_name": "e.json"}}
    (here / "data" / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    (here / "data" / "e.json").write_text("[]", encoding="utf-8")
    last = preview("data", "odd", 7, DATA)
    assert (len(last.rows), last.first, last.count) == (1, 5, 5)
    for name, key in (
        ("hub", "dba_preview_online"),
        ("out", "dba_path_outside"),
        ("etc", "dba_path_outside"),
        ("gone", "dba_path_missing"),
        ("none", "dba_preview_unknown"),
        (None, "dba_preview_unknown"),
    ):
        found = preview("data", name, 0, DATA)
        assert found.problem is not None and found.problem.key == key, name
        assert found.problem.say("zh")
    assert preview("data", "empty", 0, DATA).count == 0


def test_a_broken_file_is_told_in_the_preview(here):
    (here / "data" / "general.json").write_text('[{"instruction": "a"}, {"instr', encoding="utf-8")
    found = preview("data", "general", 0, DATA)
    assert found.problem.key == "dba_data_broken" and found.rows == ()
    assert preview("/etc", "general", 0, DATA).problem.key == "dba_path_outside"


def test_long_texts_are_cut_and_any_record_can_be_shown(here):
    rows = [{"instruction": "x" * 9000, "list": list(range(100)), "deep": {"a": ["y" * 9000]}}, "no object", 7]
    (here / "data" / "general.json").write_text(json.dumps(rows), encoding="utf-8")
    found = preview("data", "general", 0, DATA)
    assert len(json.dumps(found.rows)) < 10_000 and found.count == 3


def test_names_are_those_without_preference_pairs(here):
    assert "general" in names_of("data") and "pairs" not in names_of("data")
    assert names_of("nowhere") == names_of("/etc") == names_of("") == names_of(None) == []
