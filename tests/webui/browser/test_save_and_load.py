"""The host's own Save and Load buttons, clicked: the DBA fields come back, also on a page that never showed them."""

import json

import pytest
import yaml


pytestmark = pytest.mark.browser
FIELDS = {"dba_train_boost": "123", "dba_train_base": "0.25", "dba_train_rank": "16"}


def test_what_was_saved_by_clicking_is_loaded_by_clicking(visit, board):
    page = visit()
    page.choose_model()
    page.page.get_by_role("tab", name="Train").first.click()
    page.pick(page.by_label("Dataset"), "micro_finance_train")
    page.type(page.by_label("Learning rate"), "3e-6")
    page.tab("train")
    page.page.locator("#dba_train_enabled input").check()
    page.page.locator("#dba_train_correction input").uncheck()
    page.type("dba_train_anchor", "saves/anchors/typed")
    for name, value in FIELDS.items():
        page.type(name, value)
    choose_file(page, "clicked.yaml")
    page.page.get_by_role("button", name="Save arguments").click()
    path = board.folder / "llamaboard_config" / "clicked.yaml"
    said(page, f"saved at: {path.relative_to(board.folder)}")
    page.picture("saved")
    saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert not any(name.startswith("dba") for name in saved)  # a board without the extension opens it, too
    assert json.loads(saved["train.extra_args"])["dba_boost_magnitude"] == 123

    later = visit()
    later.choose_model()
    choose_file(later, "clicked.yaml")
    later.page.get_by_role("button", name="Load arguments").click()
    said(later, "Arguments have been restored")
    later.expect(later.by_label("Learning rate")).to_have_value("3e-6")
    later.page.get_by_role("button", name="Preview command").first.click()
    # before anybody has looked at the tab
    later.page.get_by_text("--dba_boost_magnitude 123").first.wait_for()
    later.tab("train")
    later.expect(later.page.locator("#dba_train_enabled input")).to_be_checked()
    later.expect(later.page.locator("#dba_train_correction input")).not_to_be_checked()
    later.expect(later.page.locator("#dba_train_anchor input").first).to_have_value("saves/anchors/typed")
    for name, value in FIELDS.items():
        later.expect(later.page.locator(f"#{name} input")).to_have_value(value)
    later.wait_text("dba_train_problem_main", "There is no anchor at saves/anchors/typed")
    later.picture("loaded")
    later.page.get_by_role("tab", name="Train").first.click()
    later.page.get_by_role("button", name="Extra configurations").click()
    assert "dba" not in later.by_label("Extra arguments").input_value()


def choose_file(page, name: str) -> None:
    page.page.get_by_role("tab", name="Train").first.click()
    field = page.by_label("Config path")
    field.fill(name)
    field.press("Enter")
    field.evaluate("(field) => field.blur()")
    page.page.wait_for_timeout(500)


def said(page, words: str) -> None:
    """The host's answer below its buttons."""
    page.page.get_by_text(words).first.wait_for()
