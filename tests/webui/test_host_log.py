"""The host's own look at a training's log goes on whatever a crash or a full disk has left in it."""

import json

import pytest
from llamafactory.webui.control import get_trainer_info

from llamafactory_dba.webui.host_log import patient


LINE = {"current_steps": 3, "total_steps": 9, "loss": 2.5, "percentage": 33.3, "elapsed_time": "0:01"}
LINE["remaining_time"] = "0:02"
WHOLE = json.dumps(LINE) + "\n"
BAD = ["", "[]\n", '{"current_steps": 5}\n', '{"current_steps": 1, "lo' + WHOLE, "\0\0\n", "null\n", WHOLE[:30]]


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_read_is_passed_over(tmp_path, bad):
    log = tmp_path / "trainer_log.jsonl"
    log.write_text(bad + WHOLE if bad.endswith("\n") else WHOLE + bad, encoding="utf-8")
    (tmp_path / "running_log.txt").write_bytes(b"words \xff")
    text, progress, info = patient(get_trainer_info)("en", tmp_path, True)
    assert "words" in text and progress.label == "Running 3/9: 0:01 < 0:02"
    assert "loss_viewer" in info


def test_a_log_without_one_whole_line_shows_nothing_yet(tmp_path):
    (tmp_path / "trainer_log.jsonl").write_text(WHOLE[:20], encoding="utf-8")
    _, progress, info = patient(get_trainer_info)("en", tmp_path, True)
    assert progress.visible is False and info == {}


def test_the_host_itself_would_end_the_page(tmp_path):
    """Why this is needed; if it fails, the host has become patient itself."""
    (tmp_path / "trainer_log.jsonl").write_text(WHOLE + BAD[3], encoding="utf-8")
    with pytest.raises(ValueError, match="delimiter"):
        get_trainer_info("en", tmp_path, True)
