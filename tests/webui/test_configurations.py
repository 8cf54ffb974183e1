"""A configuration saved on a board with the extension, opened on one without it, and the other way round."""

import json
import shutil

import pytest
from board_process import DBA, EXTRA, TRAIN, BoardProcess


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
CHANGED = {**TRAIN, "train__learning_rate": "3e-5"}


@pytest.fixture
def folder(world, tmp_path):
    for name in ("model", "data", "anchor"):
        shutil.copytree(world / name, tmp_path / name)
    return tmp_path


def test_it_goes_there_and_back(folder):
    board = BoardProcess(folder)
    try:
        board.call("save_args", **CHANGED, **DBA, train__config_path="mine.yaml")
    finally:
        board.close()
    stock = BoardProcess(folder, DBA_DISABLE="1")
    try:
        assert not any("dba" in name for name in stock.ids)
        update = stock.call("load_args", top__lang="en", train__config_path="mine.yaml")
        assert update["train.learning_rate"] == "3e-5" and update["train.dataset"] == ["domain"]
        held = json.loads(update["train.extra_args"])
        assert held == {
            **held,
            **json.loads(EXTRA),
            "use_dba": True,
            "dba_anchor_path": "anchor",
            "dba_use_correction": False,
        }
        # saved again there, with what the page shows
        shown = {**CHANGED, "train__extra_args": update["train.extra_args"], "train__config_path": "again.yaml"}
        stock.call("save_args", **shown)
    finally:
        stock.close()
    board = BoardProcess(folder)
    try:
        update = board.call("load_args", top__lang="en", train__config_path="again.yaml")
        for name, value in DBA.items():
            assert update[name.replace("__", ".")] == value
        assert json.loads(update["train.extra_args"]) == json.loads(EXTRA)
    finally:
        board.close()
