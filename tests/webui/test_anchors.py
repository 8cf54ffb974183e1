"""Anchors are found, and it is said truly whether they fit; details and tables show any header safely."""

import json
import shutil
from xml.etree import ElementTree

import pytest
import support

from llamafactory_dba.anchor.config import CONFIG
from llamafactory_dba.errors import AnchorError
from llamafactory_dba.webui import anchor_details, anchors, paths
from llamafactory_dba.webui.anchors import find, look_at, pull_command
from llamafactory_dba.webui.locales import LANGUAGES
from llamafactory_dba.webui.problems import say_all


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    """A board's folder with a model and its anchor, made by a real run."""
    folder = tmp_path / "board"
    shutil.copytree(world / "model", folder / "model")
    shutil.copytree(world / "anchor", folder / "saves" / "anchors" / "mine")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(anchors.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(paths.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


def test_an_anchor_of_this_model_fits(here):
    (found,) = find("model")
    assert (found.folder, found.fits, found.key, found.reason) == ("saves/anchors/mine", True, "dba_fit_same", "")
    assert (found.rank, found.samples, found.base_model) == (8, 48, "model")
    assert 0 < found.half_cosine <= 1 and found.bytes > 1000


def test_an_anchor_of_another_model_does_not_and_comes_last(here):
    support.build_model(here / "other", seed=1)
    shutil.copytree(here / "saves" / "anchors" / "mine", here / "saves" / "anchors" / "zz")
    (found, _) = find("other")
    assert not found.fits and found.key == "dba_fit_other" and "other values in" in say_all(found.differences, "en")
    assert "数值不同" in anchor_details.table([found], "zh") and "other values" not in anchor_details.table(
        [found], "zh"
    )
    broken = here / "saves" / "anchors" / "broken"
    shutil.copytree(here / "saves" / "anchors" / "mine", broken)
    (broken / CONFIG).write_text("{", encoding="utf-8")
    assert [item.fits for item in find("model")] == [True, True, False]


def test_a_model_with_more_tokens_does_not_fit(here):
    support.build_model(here / "longer", extra_tokens=8)
    (found,) = find("longer")
    assert not found.fits and "279 when the anchor was made, 287 here" in say_all(found.differences, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "cannot be read"), ("{", "cannot be read"), ("[]", ""), ('{"format_version": 99}', "99"), ("{}", "")],
)
def test_a_damaged_header_is_told(here, content, reason):
    (here / "saves" / "anchors" / "mine" / CONFIG).write_text(content, encoding="utf-8")
    (found,) = find("model")
    assert (found.fits, found.key, found.config) == (False, "dba_fit_broken", None)
    assert reason in found.reason and "\n" not in found.reason


def test_a_missing_weight_file_is_told(here):
    (here / "saves" / "anchors" / "mine" / "anchor.safetensors").unlink()
    (found,) = find("model")
    assert not found.fits and found.key == "dba_fit_broken"


def test_a_damaged_model_is_told(here):
    (here / "model" / "model.safetensors").write_bytes(b"\xff" * 100)
    (found,) = find("model")
    assert not found.fits and found.key == "dba_fit_model_broken" and "damaged" in found.reason


def test_without_a_model_nothing_fits(here):
    for model in ("", None):
        (found,) = find(model)
        assert (found.fits, found.key) == (False, "dba_fit_no_model")


def test_a_model_that_is_not_here_is_compared_by_its_name(here):
    assert [item.key for item in find("someone/model")] == ["dba_fit_by_name"]
    (found,) = find("someone/else")
    assert (found.fits, found.key, found.reason) == (False, "dba_fit_other_name", "model")
    (here / "empty").mkdir()  # a folder without weights is not "the same model"
    (found,) = find("empty")
    assert (found.fits, found.key) == (False, "dba_fit_other_name")


def test_where_is_looked(here, tmp_path):
    mine = here / "saves" / "anchors" / "mine"
    for place in ("a/b/c", ".hidden/x", "node_modules/x", "run.partial/x", "runs/checkpoint-5/x"):
        shutil.copytree(mine, here / place)
    (here / "link").symlink_to(tmp_path)  # leads out, and round
    snapshot = tmp_path / "hub" / "models--owner--name" / "snapshots" / ("0" * 40)
    shutil.copytree(mine, snapshot)
    assert {item.folder for item in find("model")} == {"saves/anchors/mine", "a/b/c", str(snapshot)}
    assert {item.hub_id for item in find("model")} == {"", "owner/name@" + "0" * 40}
    assert len(find("model", cached=False)) == 2
    assert find("model", [tmp_path / "nowhere"], cached=False) == []


def test_an_anchor_that_changes_is_read_again(here):
    mine = here / "saves" / "anchors" / "mine"
    assert look_at(mine, "model").fits
    raw = json.loads((mine / CONFIG).read_text(encoding="utf-8"))
    first = next(iter(raw["fingerprint"]["tensors"].values()))
    first[2] = first[3] = "0" * 16
    (mine / CONFIG).write_text(json.dumps(raw), encoding="utf-8")
    assert not look_at(mine, "model").fits


def test_the_pull_command_takes_no_option_for_an_id(tmp_path):
    command = pull_command("owner/name@v2", tmp_path / "x")
    assert command[-2:] == ["--", "owner/name@v2"] and command[:3] == ["llamafactory-dba", "anchor", "pull"]
    for text in ("", "name", "a/b/c", "a b/c", "../x/y", "owner/name; ls", "https://huggingface.co/a/b"):
        with pytest.raises(AnchorError):
            pull_command(text, tmp_path)
    assert pull_command("--overwrite/x", tmp_path)[-2] == "--"


@pytest.mark.parametrize("lang", [*LANGUAGES, None, "xx"])
def test_table_and_details_are_whole_in_every_language(here, lang):
    shutil.copytree(here / "saves" / "anchors" / "mine", here / "broken")
    (here / "broken" / CONFIG).write_text("{", encoding="utf-8")
    found = find("model")
    tree = ElementTree.fromstring(anchor_details.table(found, lang).replace("&nbsp;", " "))
    rows = ["".join(row.itertext()) for row in tree.iter("tr")]
    assert len(rows) == 3 and "✓" in rows[1] and "✗" in rows[2]
    text = anchor_details.details(here / "saves" / "anchors" / "mine", lang)
    assert found[0].config.fingerprint.total in text and "data:image/png;base64," in text
    ElementTree.fromstring(f"<div>{text}</div>")
    assert "✗" in anchor_details.details(here / "broken", lang)
    assert anchor_details.table([], lang)


def test_what_a_header_says_is_escaped(here):
    mine = here / "saves" / "anchors" / "mine"
    raw = json.loads((mine / CONFIG).read_text(encoding="utf-8"))
    evil = "<img src=x onerror=alert(1)>"
    raw["base_model"]["id"] = raw["licence"] = raw["created"] = raw["template"] = evil
    raw["data"]["datasets"] = [evil]
    (mine / CONFIG).write_text(json.dumps(raw), encoding="utf-8")
    (mine / "anchor.png").unlink()  # a picture is not needed
    shown = anchor_details.details(mine, "en") + anchor_details.table(find("model"), "en")
    assert "<img" not in shown and "&lt;img" in shown
