"""Finding a browser: the named one counts, a wrong name is an error, and no browser is a reason, never a failure."""

import browser
import pytest


def program(folder, name):
    path = folder / name
    path.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A system without any browser."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(browser.NAMED_BY, raising=False)
    monkeypatch.setattr(browser, "_playwrights_own", lambda: None)
    return tmp_path


def test_the_named_program_comes_first_and_must_be_there(alone, monkeypatch):
    program(alone, "chromium")
    mine = program(alone, "mine")
    monkeypatch.setenv(browser.NAMED_BY, str(mine))
    assert browser.find() == mine
    monkeypatch.setenv(browser.NAMED_BY, "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        browser.find()


def test_names_on_the_path_in_order(alone):
    assert browser.find() is None
    program(alone, "google-chrome")
    shell = program(alone, "chromium-headless-shell")
    assert browser.find() == shell and browser.install() == ""


def test_why_no_browser_can_be_had_is_said(alone, monkeypatch):
    monkeypatch.setattr(browser, "_ways", lambda: [["/no/such/program"], [str(program(alone, "fails"))]])
    assert "/no/such/program" in browser.install() and "fails" in browser.install()
