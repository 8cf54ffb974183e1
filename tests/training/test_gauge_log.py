"""The log, who is best, and the folder of the best weights."""

import json
import math

import pytest

from llamafactory_dba.errors import DBAError
from llamafactory_dba.training.gauge import best
from llamafactory_dba.training.gauge.log import GaugeLog, Progress, Record, is_better, record


def test_lines_are_plain_json_and_nan_is_null(tmp_path):
    log = GaugeLog(tmp_path, None)
    log.add(record(0, {"general_loss": 1.5, "s": 20.0}, 0.25))
    log.add(record(10, {"general_loss": math.nan, "forward_kl": math.inf}, 0.5))
    lines = (tmp_path / "dba_gauge.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"step": 0, "general_loss": 1.5, "s": 20.0, "seconds": 0.25}
    assert json.loads(lines[1]) == {"step": 10, "general_loss": None, "forward_kl": None, "seconds": 0.5}
    again = GaugeLog(tmp_path, 10)
    assert again.records == [Record(0, {"general_loss": 1.5, "s": 20.0}, 0.25), again.records[1]]


def test_a_resumed_log_drops_what_will_be_made_again(tmp_path):
    log = GaugeLog(tmp_path, None)
    for step in (0, 10, 20, 30):
        log.add(record(step, {"s": float(step)}, 0.0))
    with log.path.open("a") as file:
        file.write('{"step": 40, "s"')  # cut off by a kill
    assert [item.step for item in GaugeLog(tmp_path, 20).records] == [0, 10, 20]
    assert [item.step for item in GaugeLog(tmp_path, 20).records] == [0, 10, 20]
    assert GaugeLog(tmp_path, None).records == []
    assert (tmp_path / "dba_gauge.jsonl").read_text() == ""


def test_patience_counts_measurements_without_a_new_best():
    progress = Progress("s", 2)
    seen = [progress.add(record(step, {"s": s}, 0)) for step, s in enumerate([10.0, 12.0, 12.0, math.nan])]
    assert seen == [True, True, False, False]  # an equal one is not better, one that is not finite never
    assert progress.exhausted and progress.best.step == 1
    assert progress.add(record(5, {"s": 13.0}, 0)) and not progress.exhausted


def test_the_lowest_loss_is_best():
    progress = Progress("general_loss", 1)
    assert progress.add(record(0, {"general_loss": 2.0}, 0))
    assert progress.add(record(1, {"general_loss": 1.0}, 0))
    assert not progress.add(record(2, {"general_loss": 1.5}, 0))
    assert progress.exhausted


def test_nothing_to_judge_by_and_no_patience_never_stop():
    for progress in (Progress(None, 1), Progress("s", 0)):
        for step in range(5):
            progress.add(record(step, {"s": -float(step)}, 0))
        assert not progress.exhausted


def test_a_replayed_progress_equals_one_that_saw_all():
    items = [record(step, {"s": s}, 0) for step, s in enumerate([1.0, 5.0, 4.0, 3.0])]
    whole, resumed = Progress("s", 9), Progress("s", 9)
    for item in items:
        whole.add(item)
    resumed.replay(items[:2])
    resumed.replay(items[2:])
    assert whole == resumed


def test_better():
    assert is_better("s", 1.0, None) and is_better("s", 2.0, 1.0) and is_better("general_loss", 1.0, 2.0)
    assert not is_better("s", None, None) and not is_better("s", 1.0, 1.0)


def save(text):
    def write(place):
        from pathlib import Path

        Path(place).mkdir()
        Path(place, "model").write_text(text)

    return write


def test_the_old_best_is_there_until_the_new_one_is_complete(tmp_path):
    folder = tmp_path / "best"
    best.keep(folder, record(1, {"s": 1.0}, 0), save("one"))

    def dies(place):
        save("half")(place)
        assert (folder / "model").read_text() == "one"
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        best.keep(folder, record(2, {"s": 2.0}, 0), dies)
    assert (folder / "model").read_text() == "one" and best.read(folder).step == 1
    best.keep(folder, record(3, {"s": 3.0}, 0), save("three"))
    assert (folder / "model").read_text() == "three"
    assert best.read(folder) == Record(3, {"s": 3.0}, 0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_run_killed_between_the_two_renames_finds_the_old_best(tmp_path):
    folder = tmp_path / "best"
    best.keep(folder, record(1, {"s": 1.0}, 0), save("one"))
    folder.rename(tmp_path / "best.old")
    assert best.read(folder).step == 1 and (folder / "model").read_text() == "one"


def test_a_damaged_note_is_an_error(tmp_path):
    assert best.read(tmp_path / "best") is None
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "gauge.json").write_text("{")
    with pytest.raises(DBAError, match="cannot be read"):
        best.read(tmp_path / "best")
