"""Wrong input is told beside the field, in the page's language, before anything starts."""

import json
import shutil

import pytest

from llamafactory_dba.webui.fields import DEFAULTS
from llamafactory_dba.webui.problems import GAUGE, MAIN, MORE, by_row
from llamafactory_dba.webui.train_checks import NUMBERS, Host, problems


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    """A folder like the one that a board is started in."""
    shutil.copytree(world / "anchor", tmp_path / "anchor")
    shutil.copytree(world / "model", tmp_path / "model")
    shutil.copytree(world / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def form(**changes):
    base = {**DEFAULTS, "dba_train_enabled": True, "dba_train_anchor": "anchor", "dba_train_rank": 8}
    return {**base, **{f"dba_train_{name}": value for name, value in changes.items()}}


def host(**changes):
    return Host(**{"model_path": "model", "output_dir": "saves/out", "dataset": ("domain",), **changes})


def keys(found):
    return [problem.key for problem in found]


def test_a_form_that_is_right_has_no_problem(here):
    assert problems(form(), host()) == []


def test_nothing_is_said_while_dba_is_off(here):
    off = form(enabled=False, anchor=None, rank=0)
    assert problems(off, host(model_path="", finetuning_type="lora", deepspeed=True)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank", 0),
        ("rank", 2.5),
        ("rank", None),
        ("boost", -1),
        ("base", 0),
        ("base", float("nan")),
        ("embedding_ratio", -0.5),
        ("embedding_ratio", None),
        ("gauge_steps", -3),
    ],
)
def test_a_number_out_of_range_is_told_in_its_row(here, name, value):
    found = problems(form(**{name: value}), host())
    assert found[0].fields["label"] == f"dba_train_{name}"
    assert found[0].row == NUMBERS[f"dba_train_{name}"].row
    assert all("dba_" not in problem.say("ja") for problem in found[:1])


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model_path": ""}, "dba_no_model"),
        ({"finetuning_type": "lora"}, "dba_need_full"),
        ({"stage": "ppo"}, "dba_no_ppo"),
        ({"deepspeed": True}, "dba_no_deepspeed"),
        ({"use_badam": True}, "dba_no_badam"),
        ({"output_dir": "/etc/out"}, "dba_bad_output"),
        ({"output_dir": "anchor"}, "dba_anchor_is_output"),
        ({"dataset": ("nothing",)}, "dba_data_unknown"),
        ({"extra": ("optim", "hf_hub_token")}, "dba_secret"),
    ],
)
def test_what_the_host_says_is_looked_at(here, changes, key):
    found = problems(form(), host(**changes))
    assert keys(found) == [key]
    assert found[0].row == MAIN


def test_why_an_output_folder_cannot_be_used_is_said_in_the_page_s_language(here):
    (found,) = problems(form(), host(output_dir="/etc/out"))
    assert "leads out of the folders" in found.say("en")
    assert "leads out" not in found.say("ru") and "ведёт за пределы" in found.say("ru")


@pytest.mark.parametrize(
    ("anchor", "key"),
    [
        ("", "dba_no_anchor"),
        ("nowhere", "dba_anchor_missing"),
        ("data", "dba_anchor_none"),
        ("/etc", "dba_path_outside"),
        ("anchor/../../..", "dba_path_outside"),
    ],
)
def test_an_anchor_that_cannot_be_used(here, anchor, key):
    assert keys(problems(form(anchor=anchor), host())) == [key]


def test_a_hub_id_and_an_anchor_that_is_made_on_the_way_are_taken(here):
    assert problems(form(anchor="owner/name@main"), host()) == []
    assert problems(form(anchor="new", general=["general"]), host()) == []


def test_an_anchor_of_another_model_is_told_with_the_reason(here, tmp_path):
    import support

    support.build_model(tmp_path / "other", seed=1)
    (found,) = problems(form(), host(model_path="other"))
    assert found.key == "dba_anchor_other"
    assert "other values" in found.say("en")
    assert "値が異なる" in found.say("ja") and "other values" not in found.say("ja")


def test_a_damaged_header_is_told(here):
    (here / "anchor" / "anchor_config.json").write_text("{", encoding="utf-8")
    assert keys(problems(form(), host())) == ["dba_anchor_broken"]


def test_a_variant_that_needs_a_curvature_says_so(here):
    assert keys(problems(form(variant="elastic"), host())) == ["dba_anchor_flat"]


def test_a_variant_without_an_anchor_needs_none(here):
    assert problems(form(variant="l2sp", anchor=None), host()) == []


def test_a_data_set_with_a_broken_file_is_told(here):
    (here / "data" / "domain.json").write_text('[{"instruction": "a", ', encoding="utf-8")
    (found,) = problems(form(), host())
    assert found.key == "dba_data_broken"
    assert "domain.json" in found.say("ko")
    (here / "data" / "domain.json").write_text("", encoding="utf-8")
    (found,) = problems(form(), host())
    assert "비어 있습니다" in found.say("ko") and "is empty" not in found.say("ko")
    (here / "data" / "domain.json").unlink()
    (found,) = problems(form(), host())
    assert "domain.json нет" in found.say("ru")


def test_files_with_one_object_per_line_are_no_problem(here):
    rows = json.loads((here / "data" / "domain.json").read_text(encoding="utf-8"))
    (here / "data" / "domain.json").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert problems(form(), host()) == []


def test_the_gauge_speaks_in_its_own_row(here):
    found = problems(form(gauge_steps=5, gauge_data=["nothing"]), host())
    assert [(problem.row, problem.key) for problem in found] == [(GAUGE, "dba_data_unknown")]
    found = problems(form(gauge_steps=5, gauge_patience=2), host())
    assert [problem.row for problem in found] == [GAUGE]


def test_general_data_is_told_among_the_advanced_fields(here):
    found = problems(form(anchor="new", general=["nothing"]), host())
    assert [(problem.row, problem.key) for problem in found] == [(MORE, "dba_data_unknown")]


def test_each_row_gets_its_own_text():
    found = problems({**form(anchor=None), "dba_train_gauge_samples": 0}, Host())
    texts = by_row(found, "ru")
    assert "якорь" in texts[MAIN].lower() and "Строк на измерение" in texts[GAUGE] and texts[MORE] == ""
