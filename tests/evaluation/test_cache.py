"""Answers are kept under everything that decides them, and only whole."""

import os
from dataclasses import replace

import pytest

from llamafactory_dba.errors import DBAError
from llamafactory_dba.evaluation.cache import Kept, Key, check_folder, default_folder, load, place_of, save


KEY = Key("a" * 64, "hf", "auto", False, "float32", "tfns", "1", "d" * 64, None)
KEPT = Kept([{"text": "positive “é”", "truncated": False}, {"text": "", "truncated": True}], 1.5, ["a note"])


def test_what_is_saved_is_found_again(tmp_path):
    assert load(tmp_path, KEY) is None
    save(tmp_path, KEY, KEPT)
    assert load(tmp_path, KEY) == KEPT
    assert [path.name for path in place_of(tmp_path, KEY).parent.iterdir()] == [place_of(tmp_path, KEY).name]


@pytest.mark.parametrize(
    "change",
    [
        {"model": "b" * 64},
        {"backend": "vllm"},
        {"template": "qwen3"},
        {"thinking": True},
        {"dtype": "bfloat16"},
        {"task": "fpb"},
        {"task_version": "2"},
        {"data": "e" * 64},
        {"limit": 10},
    ],
)
def test_everything_that_decides_answers_is_in_the_key(tmp_path, change):
    save(tmp_path, KEY, KEPT)
    assert load(tmp_path, replace(KEY, **change)) is None


@pytest.mark.parametrize("content", ["", "{}", '{"format": "llamafactory-dba/answers", "key"', "[]"])
def test_a_damaged_file_is_made_again(tmp_path, content):
    save(tmp_path, KEY, KEPT)
    place_of(tmp_path, KEY).write_text(content, encoding="utf-8")
    assert load(tmp_path, KEY) is None
    save(tmp_path, KEY, KEPT)
    assert load(tmp_path, KEY) == KEPT


def test_without_a_folder_nothing_is_kept():
    save(None, KEY, KEPT)
    assert load(None, KEY) is None


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DBAError, match="kept in the cache") as caught:
        check_folder(tmp_path / "file" / "cache")
    assert "--no-cache" in str(caught.value)


def test_the_default_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("LLAMAFACTORY_DBA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "llamafactory-dba" / "evaluate"
    monkeypatch.setenv("LLAMAFACTORY_DBA_CACHE", os.fspath(tmp_path / "else"))
    assert default_folder() == tmp_path / "else" / "evaluate"
