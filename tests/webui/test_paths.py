"""Paths typed into the board stay inside the folders that it may use."""

import os
from pathlib import Path

import pytest

from llamafactory_dba.webui import paths
from llamafactory_dba.webui.locales import ALERTS, message
from llamafactory_dba.webui.paths import NotAllowed, resolve


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "board"
    (folder / "saves" / "old").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("x", encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(paths.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv(paths.MORE_FOLDERS, raising=False)
    return folder


def test_what_is_allowed(here):
    assert resolve("saves/new", for_writing=True) == here / "saves" / "new"
    assert resolve(" saves/old ", must_exist=True) == here / "saves" / "old"
    assert resolve(str(here / "data" / "x")) == here / "data" / "x"
    assert resolve("saves/../data") == here / "data"


@pytest.mark.parametrize(
    "text",
    [
        "../secret/key",
        "saves/../../secret",
        "/etc/passwd",
        "/",
        "..",
        "~/.ssh/id_rsa",
        "saves/link/key",
        "~root",
        "/proc/self/environ",
        "../board2",
    ],
)
def test_ways_out_are_refused(here, text):
    (here / "saves" / "link").symlink_to(here.parent / "secret")
    (here.parent / "board2").mkdir()  # a name that begins like an allowed one
    with pytest.raises(NotAllowed) as error:
        resolve(text)
    assert error.value.key in ("dba_path_outside", "dba_path_unreadable")
    with pytest.raises(NotAllowed):
        resolve(text, for_writing=True)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "dba_path_empty"),
        ("   ", "dba_path_empty"),
        (None, "dba_path_empty"),
        ("a\0b", "dba_path_unreadable"),
        ("x" * 5000, "dba_path_unreadable"),
        ("a/" * 400 + "y" * 300, "dba_path_unreadable"),
        (".", "dba_path_root"),
        ("saves", "dba_path_root"),
        ("saves/anchors", "dba_path_root"),
        (".git/hooks", "dba_path_hidden"),
        ("saves/-rf", "dba_path_hidden"),
        ("saves/a b", "dba_path_space"),
        ("saves/a\nb", "dba_path_space"),
    ],
)
def test_what_cannot_be_written_is_told(here, text, key):
    with pytest.raises(NotAllowed) as error:
        resolve(text, for_writing=True)
    assert error.value.key == key
    for lang in ALERTS[key]:
        assert message(key, lang, **error.value.fields)


def test_links_that_go_round_are_told(here):
    (here / "a").symlink_to("b")
    (here / "b").symlink_to("a")
    with pytest.raises(NotAllowed):
        resolve("a/x", must_exist=True)


def test_saves_may_be_a_link_to_another_disk(here, tmp_path):
    (here / "saves" / "old").rmdir()
    (here / "saves").rmdir()
    (tmp_path / "disk").mkdir()
    (here / "saves").symlink_to(tmp_path / "disk")
    assert resolve("saves/run", for_writing=True) == tmp_path / "disk" / "run"


def test_more_folders_come_from_the_environment(here, tmp_path, monkeypatch):
    monkeypatch.setenv(paths.MORE_FOLDERS, os.pathsep.join([str(tmp_path / "secret"), "", str(tmp_path / "none")]))
    assert resolve(str(tmp_path / "secret" / "key"), must_exist=True)
    assert len(paths.roots()) == 3
    with pytest.raises(NotAllowed):
        resolve(str(tmp_path / "elsewhere"))


def test_the_hub_cache_is_for_reading(here, tmp_path):
    snapshot = tmp_path / "hub" / "models--a--b" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    assert resolve(str(snapshot), must_exist=True) == snapshot
    with pytest.raises(NotAllowed):
        resolve(str(snapshot / "x"), for_writing=True)


def test_paths_are_shown_short(here):
    assert paths.shorten(here / "saves" / "old") == str(Path("saves") / "old")
    assert paths.shorten(Path("/usr/lib")) == "/usr/lib"


def test_what_is_allowed_is_named_in_full(here):
    """ "." before a full stop would read like the folder above."""
    with pytest.raises(NotAllowed) as refused:
        resolve("../secret", for_writing=True)
    said = message(refused.value.key, "en", **refused.value.fields)
    assert said.endswith(f"may use: {here}.")
